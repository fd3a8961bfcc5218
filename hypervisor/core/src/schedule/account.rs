//! What a vCPU may have of its processor, and what it has had.
//!
//! Two classes. A *reserved* vCPU may run so many ticks in every period before anyone else; among
//! reserved ones the nearest end of a period goes first (EDF). What they leave is *shared*: the
//! vCPU with the least virtual time (`pass`) runs next, which advances by the ticks it used divided
//! by its weight. One that has used its budget up takes part in the sharing if it has a weight, and
//! waits for its next period if its weight is 0. A cap bounds what a vCPU gets by sharing.

use super::SLICE_TICKS;

/// The period that a cap is held in.
const CAP_PERIOD: u64 = 4 * SLICE_TICKS;
/// The shortest budget, 20 µs: a few times what two switches take.
const LEAST_BUDGET: u64 = 512_000_000 / 50_000;
/// The longest period, a second.
const LONGEST_PERIOD: u64 = 512_000_000;

/// So many ticks in every period of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// The ticks.
    pub budget: u64,
    /// Ticks of a period.
    pub period: u64,
}

/// What each vCPU of a domain may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Its part of what is shared, relative to the others'; 0 only with a reservation.
    pub weight: u16,
    /// The most it gets by sharing, in hundredths of a processor; 0 for no such bound.
    pub cap: u16,
    /// What it gets before any sharing.
    pub reserved: Option<Allowance>,
}

impl Share {
    /// Whether it can be held.
    pub(super) fn is_valid(&self) -> bool {
        let reserved = self.reserved.is_none_or(|Allowance { budget, period }| {
            budget >= LEAST_BUDGET && budget <= period && period <= LONGEST_PERIOD
        });
        reserved && self.cap <= 100 && (self.weight > 0 || self.reserved.is_some())
    }

    /// Millionths of a processor that are reserved.
    pub(super) fn millionths(&self) -> u64 {
        let part = |r: Allowance| r.budget.saturating_mul(1_000_000).checked_div(r.period);
        self.reserved.and_then(part).unwrap_or(0)
    }

    fn capped(&self) -> Option<Allowance> {
        let budget = u64::from(self.cap).saturating_mul(CAP_PERIOD / 100);
        (budget > 0).then_some(Allowance { budget, period: CAP_PERIOD })
    }
}

/// Who runs before whom: the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank(u64);

impl Rank {
    /// It waits for something.
    pub(crate) const WAITS: Rank = Rank(u64::MAX);
    /// It goes before all others, or after all that do not wait.
    pub(super) const FIRST: Rank = Rank(0);
    pub(super) const LAST: Rank = Rank(u64::MAX - 1);
    /// Marks virtual time: what is below is time.
    const SHARED: u64 = 1 << 63;

    /// It has budget left in a period that ends then.
    const fn reserved(end: u64) -> Rank {
        Rank(end)
    }

    /// It shares, at this virtual time.
    pub(super) const fn shared(pass: u64) -> Rank {
        Rank(Rank::SHARED | pass)
    }

    pub(crate) const fn is_reserved(self) -> bool {
        self.0 < Rank::SHARED
    }

    /// The virtual time, if it shares.
    pub(super) fn pass(self) -> Option<u64> {
        (!self.is_reserved() && self != Rank::WAITS).then_some(self.0 & !Rank::SHARED)
    }

    /// Whether one of this rank takes the processor from one of that: those that share take turns.
    pub(super) fn preempts(self, running: Rank) -> bool {
        self.is_reserved() && self < running
    }
}

/// What is used of an allowance.
#[derive(Clone, Copy, Debug)]
struct Used {
    ticks: u64,
    /// The period's end.
    end: u64,
}

impl Used {
    const NOTHING: Used = Used { ticks: 0, end: 0 };

    /// What is left, after the next period has begun if this one is over. What was used beyond the
    /// budget, as a hypercall may, counts for the next.
    fn left(&mut self, Allowance { budget, period }: Allowance, now: u64) -> u64 {
        if now >= self.end {
            self.ticks = self.ticks.saturating_sub(budget);
            let next = self.end.saturating_add(period);
            self.end = if next > now { next } else { now.saturating_add(period) };
        }
        budget.saturating_sub(self.ticks)
    }
}

/// A vCPU's share, and what it has used of it.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    /// What it may have.
    pub share: Share,
    /// Its virtual time.
    pub(super) pass: u64,
    reserved: Used,
    capped: Used,
}

impl Account {
    /// One that has used nothing.
    pub const fn new(share: Share) -> Account {
        Account { share, pass: 0, reserved: Used::NOTHING, capped: Used::NOTHING }
    }

    /// After a sleep: a period too short for what is left of the budget gives way to a new one.
    /// Otherwise a late riser would take the time of those who ran meanwhile (the rule of the
    /// constant bandwidth server; Abeni and Buttazzo 1998).
    pub(super) fn wake(&mut self, now: u64) {
        let Some(allowance) = self.share.reserved else { return };
        let left = self.reserved.left(allowance, now);
        let remains = self.reserved.end.saturating_sub(now);
        if left.saturating_mul(allowance.period) > remains.saturating_mul(allowance.budget) {
            self.reserved = Used { ticks: 0, end: now.saturating_add(allowance.period) };
        }
    }

    /// Its rank at this time, and when that changes by itself.
    pub(super) fn rank(&mut self, now: u64) -> (Rank, u64) {
        let mut until = u64::MAX;
        if let Some(allowance) = self.share.reserved {
            let left = self.reserved.left(allowance, now);
            until = self.reserved.end;
            if left > 0 {
                return (Rank::reserved(until), until);
            }
        }
        match self.share.capped().map(|cap| self.capped.left(cap, now)) {
            Some(0) => (Rank::WAITS, until.min(self.capped.end)),
            _ if self.share.weight == 0 => (Rank::WAITS, until),
            _ => (Rank::shared(self.pass), until),
        }
    }

    /// When a rank that it runs with from `now` on changes.
    pub(super) fn limit(&self, rank: Rank, now: u64) -> u64 {
        let Share { reserved, .. } = self.share;
        let left = match (reserved, self.share.capped()) {
            (Some(r), _) if rank.is_reserved() => r.budget.saturating_sub(self.reserved.ticks),
            (_, Some(cap)) => cap.budget.saturating_sub(self.capped.ticks),
            _ => u64::MAX,
        };
        reserved.map_or(u64::MAX, |_| self.reserved.end).min(now.saturating_add(left))
    }

    /// It has run for so many ticks with this rank.
    pub(super) fn charge(&mut self, rank: Rank, ticks: u64) {
        if rank.is_reserved() {
            self.reserved.ticks = self.reserved.ticks.saturating_add(ticks);
            return;
        }
        let unit = u64::from(boot_archive::DEFAULT_WEIGHT);
        let virtual_ticks = ticks.saturating_mul(unit).checked_div(self.share.weight.into());
        self.pass = self.pass.saturating_add(virtual_ticks.unwrap_or(ticks).max(1));
        self.capped.ticks = self.capped.ticks.saturating_add(ticks);
    }
}
