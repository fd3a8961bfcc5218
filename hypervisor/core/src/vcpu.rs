//! Virtual processors: what the scheduler and the interrupt controller know of one. Its registers
//! are the machine's affair.

use crate::domain::DomainId;
use crate::machine::ProcessorId;
use crate::papr;
use crate::schedule::account::{Account, Share};
use crate::schedule::queue::{Processors, bit};
use boot_archive::DEFAULT_WEIGHT;
use core::sync::atomic::{AtomicU32, Ordering};
use hv_abi::Rights;
use k42_lib::GuestAddr;
use spin::Mutex;

/// The most vCPUs in the machine.
pub const MAX_VCPUS: usize = 128;

/// A vCPU, by its place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VcpuId(u16);

impl VcpuId {
    pub(crate) const FIRST: VcpuId = VcpuId(0);

    /// Its place in a table of [`MAX_VCPUS`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = VcpuId> {
        VcpuId::of(u128::MAX)
    }

    /// Those of a set, a bit for each.
    pub(crate) fn of(mut set: u128) -> impl Iterator<Item = VcpuId> {
        core::iter::from_fn(move || {
            let first = (set != 0).then(|| set.trailing_zeros())?;
            set &= set.wrapping_sub(1);
            u16::try_from(first).ok().map(VcpuId)
        })
    }

    /// It alone in a set.
    pub(crate) fn bit(self) -> u128 {
        1u128.checked_shl(self.0.into()).unwrap_or(0)
    }
}

/// Where a vCPU is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It belongs to nobody.
    Unused,
    /// Its domain ends, and it never runs again. It is somebody's until the domain is gone.
    Ended,
    /// It has not been started, or has stopped itself.
    Stopped,
    /// It waits for its processor, in that processor's queue.
    Ready,
    /// It is on its processor.
    Running,
    /// It waits for an event, or for this timebase.
    Blocked(u64),
}

impl State {
    /// Its number in Xen's interface (`RUNSTATE_*`).
    pub const fn number(self) -> usize {
        match self {
            State::Running => 0,
            State::Ready => 1,
            State::Blocked(_) => 2,
            State::Stopped | State::Unused | State::Ended => 3,
        }
    }
}

/// How long a vCPU has been in each state: running, ready, blocked, stopped, as Xen counts them.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// When it came into the state it is in, in timebase ticks.
    pub since: u64,
    /// Ticks in each state until then.
    pub spent: [u64; 4],
}

/// What is known of a vCPU; under a lock of its own.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// Where it is in its life; changed by [`Status::enter`].
    pub state: State,
    /// Where its time went.
    pub times: Times,
    /// Its domain.
    pub domain: DomainId,
    /// What its domain may ask for.
    pub rights: Rights,
    /// Its number in the domain.
    pub server: u32,
    /// The processor it runs on, or whose queue it is in.
    pub home: ProcessorId,
    /// The processors it may run on.
    pub processors: Processors,
    /// What it may have of them, and what it has had.
    pub account: Account,
    /// So many pauses have not been taken back: it is not chosen while there are some.
    pub pauses: u32,
    /// Its domain has not run yet: its first turn is to be announced.
    pub fresh: bool,
    /// An event came while it was not blocked: the next block returns at once.
    pub woken: bool,
    /// What it has of PAPR's personality.
    pub papr: papr::VcpuState,
    /// It has its first registers: it may be let run.
    pub initialised: bool,
    /// It runs, and is to stop at its next exit.
    pub stopping: bool,
    /// When VIRQ_TIMER is due for it, in timebase ticks; `u64::MAX` for never.
    pub timer: u64,
    /// Where its domain wants its times written whenever it gets a processor.
    pub times_at: Option<GuestAddr>,
}

impl Status {
    /// The processors that may run it: with a reservation only the one where that is.
    pub(crate) fn may_run_on(&self) -> Processors {
        if self.account.share.reserved.is_some() { bit(self.home) } else { self.processors }
    }

    /// The status of a slot that belongs to nobody.
    pub const UNUSED: Status = Status {
        state: State::Unused,
        times: Times { since: 0, spent: [0; 4] },
        domain: DomainId::NONE,
        rights: Rights::empty(),
        server: 0,
        home: ProcessorId(0),
        processors: Processors::MAX,
        account: Account::new(Share { weight: DEFAULT_WEIGHT, cap: 0, reserved: None }),
        pauses: 0,
        fresh: false,
        woken: false,
        papr: papr::VcpuState::new(),
        initialised: false,
        stopping: false,
        timer: u64::MAX,
        times_at: None,
    };

    /// Changes its state, and notes how long it was in the one before.
    pub fn enter(&mut self, state: State, now: u64) {
        if let Some(spent) = self.times.spent.get_mut(self.state.number()) {
            *spent = spent.saturating_add(now.saturating_sub(self.times.since));
        }
        self.times.since = now;
        self.state = state;
    }
}

bitflags::bitflags! {
    /// What a vCPU's processor is to see to before the guest goes on.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Ask: u32 {
        /// An event has come: ring the doorbell.
        const UPCALL = 1 << 0;
        /// Its interrupt controller has something.
        const INTERRUPT = 1 << 1;
        /// Stop, if `Status::stopping` still says so.
        const STOP = 1 << 2;
        /// Write its times where its domain wants them.
        const TIMES = 1 << 3;
        /// Its domain has ended.
        const END = 1 << 4;
        /// Leave the processor, to be reported on (`diagnostics`), before anything else.
        const EXAMINE = 1 << 5;
        /// Leave the processor, which has to choose anew.
        const PREEMPT = 1 << 6;
        /// Take a system reset interrupt.
        const RESET = 1 << 7;
    }
}

/// A slot of the table of vCPUs.
pub struct Vcpu {
    /// All but what is asked.
    pub status: Mutex<Status>,
    /// Set by any processor, looked at by the vCPU's own at every exit without taking the lock.
    asked: AtomicU32,
}

impl Vcpu {
    /// An unused slot.
    pub const fn unused() -> Vcpu {
        Vcpu { status: Mutex::new(Status::UNUSED), asked: AtomicU32::new(0) }
    }

    /// Has the vCPU's processor see to something; the caller makes it look.
    pub fn ask(&self, what: Ask) {
        self.asked.fetch_or(what.bits(), Ordering::AcqRel);
    }

    /// Whether something is asked; what that is, taking it says.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed) != 0
    }

    /// Takes that an event has come, if nothing else is asked.
    pub fn take_upcall(&self) -> bool {
        let upcall = Ask::UPCALL.bits();
        self.asked.compare_exchange(upcall, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Takes what is asked.
    pub fn take_asked(&self) -> Ask {
        Ask::from_bits_retain(self.asked.swap(0, Ordering::AcqRel))
    }
}
