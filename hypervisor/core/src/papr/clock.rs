//! The firmware's clock (LoPAR 7.3.3): date and time of day, UTC. Each domain has its own, which it may set;
//! none is the machine's, which is read once, at the start.

use crate::Hypervisor;
use crate::domain::DomainId;
use crate::machine::Machine;
use arrayvec::ArrayVec;
use core::sync::atomic::Ordering;
use hv_abi::papr::rtas;
use k42_lib::calendar::DateTime;

/// What is told of a time: its six numbers, and nanoseconds, which are not kept.
pub(super) type Told = ArrayVec<u32, 7>;

impl<M: Machine> Hypervisor<M> {
    /// The machine's time, in seconds of the year 1970.
    fn machine_clock(&self) -> i64 {
        let passed = self.machine.timebase().checked_div(M::TICKS_PER_SECOND).unwrap_or(0);
        let now = self.epoch.load(Ordering::Relaxed).saturating_add(passed);
        i64::try_from(now).unwrap_or(i64::MAX)
    }

    /// The domain's time.
    pub(super) fn time_of_day(&self, id: DomainId) -> Result<Told, u32> {
        let ahead = self.with(id, |d| d.papr.ahead).map_err(|_| rtas::PARAMETER_ERROR)?;
        let now = self.machine_clock().saturating_add(ahead);
        let DateTime { year, month, day, hour, minute, second } =
            DateTime::from_unix(u64::try_from(now).unwrap_or(0));
        Ok([year, month, day, hour, minute, second, 0].into())
    }

    /// Sets it.
    pub(super) fn set_time_of_day(&self, id: DomainId, to: [u32; 6]) -> Result<(), u32> {
        let [year, month, day, hour, minute, second] = to;
        let to = DateTime { year, month, day, hour, minute, second }.to_unix();
        let to = to.and_then(|to| i64::try_from(to).ok()).ok_or(rtas::PARAMETER_ERROR)?;
        let ahead = to.saturating_sub(self.machine_clock());
        self.with(id, |d| d.papr.ahead = ahead).map_err(|_| rtas::PARAMETER_ERROR)
    }
}
