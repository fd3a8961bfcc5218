//! A domain's watchdog (SCHEDOP_watchdog): who does not call it in time is ended, with a report.

use super::{Caller, Done};
use crate::domain::DomainId;
use crate::machine::Machine;
use crate::{Hypervisor, Processor};
use k42_lib::GuestAddr;
use xen_sys::{errno, sched};

/// The number of the only one that a domain has.
const WATCHDOG: u32 = 1;

impl<M: Machine> Hypervisor<M> {
    /// Sets up, calls or stops the caller's watchdog.
    #[inline(never)]
    pub(super) fn watchdog(&self, caller: &Caller<'_>, at: GuestAddr) -> Done<i64> {
        let sched::Watchdog { id, timeout } = self.argument(caller, at)?;
        let mut slot = self.domain(caller.current.domain);
        let watchdog = &mut slot.as_mut().ok_or(errno::ESRCH)?.watchdog;
        let ticks = u64::from(timeout).saturating_mul(M::TICKS_PER_SECOND);
        let deadline = (timeout != 0).then(|| self.machine.timebase().saturating_add(ticks));
        match (id, *watchdog) {
            (0, _) if deadline.is_none() => return Err(errno::EINVAL),
            (0, Some(_)) => return Err(errno::ENOSPC),
            (0, None) | (WATCHDOG, Some(_)) => *watchdog = deadline,
            _ => return Err(errno::EINVAL),
        }
        Ok(if id == 0 { WATCHDOG.into() } else { 0 })
    }

    /// Ends the domains whose watchdogs have not been called. One processor does it for all.
    pub(crate) fn check_watchdogs(&self, processor: &mut Processor) {
        let now = self.machine.timebase();
        for id in (1..).map_while(DomainId::new) {
            let expired = self.domain(id).as_mut().is_some_and(|domain| {
                let expired = domain.watchdog.take_if(|deadline| *deadline <= now).is_some();
                if expired && domain.reason == 0 {
                    domain.reason = sched::SHUTDOWN_WATCHDOG;
                }
                expired
            });
            if expired {
                self.crash(processor, id, format_args!("its watchdog has not been called in time"));
            }
        }
    }
}
