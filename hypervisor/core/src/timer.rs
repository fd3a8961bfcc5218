//! System time, and each vCPU's one timer (xen/vcpu.h, VCPUOP_set_singleshot_timer).
//!
//! System time is the timebase in nanoseconds: guests read the timebase themselves. A timer is due
//! on the processor where it was set, wherever its vCPU is by then; what it brings is VIRQ_TIMER
//! (`events`). The alarm of a processor is set here, so that it is never later than a timer.

use crate::machine::Machine;
use crate::vcpu::{State, Status, VcpuId};
use crate::{Hypervisor, Processor};
use xen_sys::xen::VIRQ_TIMER;

/// 512 MHz: so many ticks ...
const TICKS: u64 = 64;
/// ... are so many nanoseconds.
const NANOSECONDS: u64 = 125;

/// System time at a timebase.
pub(crate) fn nanoseconds(ticks: u64) -> u64 {
    scale(ticks, NANOSECONDS, TICKS, 0)
}

/// The first timebase that is not before a system time.
pub(crate) fn ticks(nanoseconds: u64) -> u64 {
    scale(nanoseconds, TICKS, NANOSECONDS, NANOSECONDS.saturating_sub(1))
}

/// `value * by / over` without overflow on the way, `round` added before the division.
fn scale(value: u64, by: u64, over: u64, round: u64) -> u64 {
    let value = u128::from(value).saturating_mul(by.into()).saturating_add(round.into());
    value.checked_div(over.into()).and_then(|v| u64::try_from(v).ok()).unwrap_or(u64::MAX)
}

/// The timers that a processor sees to: when the first may be due, and whose they are, a bit for
/// each vCPU. When each is due its vCPU knows (`Status::timer`), which may have set it anew since.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timers {
    pub(crate) first: u64,
    set: u128,
}

impl Timers {
    pub(crate) const NONE: Timers = Timers { first: u64::MAX, set: 0 };

    /// Has this vCPU looked at then.
    pub(crate) fn add(&mut self, vcpu: VcpuId, at: u64) {
        self.first = self.first.min(at);
        self.set |= vcpu.bit();
    }
}

impl<M: Machine> Hypervisor<M> {
    /// Sets the timer of the vCPU on this processor; `u64::MAX` stops it.
    pub(crate) fn set_timer(&self, processor: &mut Processor, at: u64) {
        let Some(vcpu) = processor.vcpu() else { return };
        let slot = self.vcpu(vcpu);
        slot.status.lock().timer = at;
        processor.timers.add(vcpu, at);
        self.set_alarm(processor, processor.alarm);
    }

    /// Has the processor exit, or stop waiting, at this timebase or when a timer is due.
    pub(crate) fn set_alarm(&self, processor: &mut Processor, at: u64) {
        processor.alarm = at;
        self.machine.set_alarm(at.min(processor.timers.first));
    }

    /// Sees to the processor's timers, and wakes those that have slept long enough.
    #[cold]
    #[inline(never)]
    pub(crate) fn see_to_timers(&self, processor: &mut Processor, now: u64) {
        let set = core::mem::replace(&mut processor.timers, Timers::NONE).set;
        for vcpu in VcpuId::of(set) {
            let mut status = self.vcpu(vcpu).status.lock();
            let Status { domain, server, timer, .. } = *status;
            let wakes = if let State::Blocked(until) = status.state { until } else { u64::MAX };
            for later in [timer, wakes] {
                if later > now && later != u64::MAX {
                    processor.timers.add(vcpu, later);
                }
            }
            if timer <= now {
                status.timer = u64::MAX;
            }
            if wakes <= now {
                self.make_ready(vcpu, status);
            } else {
                drop(status);
            }
            if timer <= now {
                self.event_raise_for(domain, server, VIRQ_TIMER);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{nanoseconds, ticks};

    #[test]
    fn system_time_is_the_timebase_in_nanoseconds() {
        assert_eq!(nanoseconds(512_000_000), 1_000_000_000);
        assert_eq!(ticks(1_000_000_000), 512_000_000);
        for at in [0, 1, 2, 63, 64, 12_345_678_901, 1 << 60] {
            assert!(nanoseconds(ticks(at)) >= at && ticks(nanoseconds(at)) <= at, "{at}");
        }
        assert_eq!(ticks(u64::MAX), u64::MAX / 125 * 64 + (u64::MAX % 125 * 64).div_ceil(125));
        assert_eq!(nanoseconds(u64::MAX), u64::MAX);
    }
}
