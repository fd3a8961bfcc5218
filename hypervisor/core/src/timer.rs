//! System time, and each vCPU's one timer (xen/vcpu.h, VCPUOP_set_singleshot_timer).
//!
//! System time is the timebase in nanoseconds: guests read the timebase themselves. A timer is due
//! on the processor where it was set, wherever its vCPU is by then; what it brings is VIRQ_TIMER
//! (`events`). The alarm of a processor is set here, so that it is never later than a timer.

use crate::machine::Machine;
use crate::vcpu::{MAX_VCPUS, VcpuId};
use crate::{Hypervisor, Processor};
use arrayvec::ArrayVec;
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

/// Timers that were set on a processor.
pub(crate) type Timers = ArrayVec<(VcpuId, u64), MAX_VCPUS>;

impl<M: Machine> Hypervisor<M> {
    /// Sets the timer of the vCPU on this processor; `u64::MAX` stops it.
    pub(crate) fn set_timer(&self, processor: &mut Processor, at: u64) {
        let Some(vcpu) = processor.vcpu() else { return };
        if let Some(slot) = self.vcpu(vcpu) {
            slot.status.lock().timer = at;
        }
        processor.timers.retain(|(other, _)| *other != vcpu);
        if at != u64::MAX {
            let _ = processor.timers.try_push((vcpu, at)); // there is room for every vCPU
        }
        self.set_alarm(processor, processor.alarm);
    }

    /// Has the processor exit, or stop waiting, at this timebase or when a timer is due.
    pub(crate) fn set_alarm(&self, processor: &mut Processor, at: u64) {
        processor.alarm = at;
        self.machine.set_alarm(processor.timers.iter().fold(at, |first, (_, at)| first.min(*at)));
    }

    /// Sees to the processor's timers that are due.
    pub(crate) fn see_to_timers(&self, processor: &mut Processor) {
        if processor.timers.is_empty() {
            return;
        }
        let now = self.machine.timebase();
        while let Some(index) = processor.timers.iter().position(|(_, at)| *at <= now) {
            let (vcpu, at) = processor.timers.swap_remove(index);
            let Some(slot) = self.vcpu(vcpu) else { continue };
            let (domain, server) = {
                let mut status = slot.status.lock();
                if status.timer != at {
                    continue; // it has been set anew on another processor
                }
                status.timer = u64::MAX;
                (status.domain, status.server)
            };
            self.event_raise_for(domain, server, VIRQ_TIMER);
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
