//! Giving up the processor until something comes: SCHEDOP_block, SCHEDOP_poll (xen/sched.h).

use super::{Caller, Done};
use crate::machine::Machine;
use crate::{Hypervisor, timer};
use k42_lib::GuestAddr;
use xen_sys::errno;
use xen_sys::sched::Poll;

/// The most ports of one poll, as in Xen.
const MOST_PORTS: usize = 128;

impl<M: Machine> Hypervisor<M> {
    /// Blocks until an event, console input or the decrementer.
    #[inline(never)]
    pub(super) fn block_for_event(&self, caller: &mut Caller<'_>) -> Done {
        let id = caller.current.domain;
        if !self.event_pending(id, caller.current.server)
            && !self.console.lock().has_input(id.channel())
        {
            self.block(caller.processor, self.machine.guest_deadline());
        }
        Ok(())
    }

    /// Blocks until one of some ports is pending, a time has come, or for any event or the
    /// decrementer.
    #[inline(never)]
    pub(super) fn poll(&self, caller: &mut Caller<'_>, at: GuestAddr) -> Done {
        let Poll { ports, nr_ports, timeout, .. } = self.argument(caller, at)?;
        let mut bytes = [0; MOST_PORTS * 4];
        let length = usize::try_from(nr_ports).ok().and_then(|count| count.checked_mul(4));
        let bytes = length.and_then(|length| bytes.get_mut(..length)).ok_or(errno::EINVAL)?;
        if !self.copy_in(caller, GuestAddr::new(ports.0), bytes) {
            return Err(errno::EFAULT);
        }
        let numbers = bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word));
        let (id, vcpu) = (caller.current.domain, caller.current.server);
        if self.event_poll(id, vcpu, numbers)? || self.event_pending(id, vcpu) {
            return Ok(());
        }
        let timeout = if timeout == 0 { u64::MAX } else { timer::ticks(timeout) };
        self.block(caller.processor, self.machine.guest_deadline().min(timeout));
        Ok(())
    }
}
