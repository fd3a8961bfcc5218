//! `event_channel_op`: the arguments' structures, and what each operation answers.

use super::Caller;
use super::argument::code;
use crate::Hypervisor;
use crate::domain::DomainId;
use crate::events::Port;
use crate::machine::Machine;
use k42_lib::GuestAddr;
use xen_sys::event_channel as op;
use xen_sys::{errno, xen};

const NAME: &str = "event_channel_op";

impl<M: Machine> Hypervisor<M> {
    #[inline(never)]
    pub(super) fn event_channel_op(&self, caller: &Caller<'_>, command: u64, at: GuestAddr) -> i64 {
        let own = caller.current.domain;
        let outcome = match u32::try_from(command) {
            Ok(op::EVTCHNOP_ALLOC_UNBOUND) => self.argument::<8>(caller, NAME, at).and_then(|a| {
                own_domain(own, a.u16(0))?;
                let port = self.event_allocate(own, domain(own, a.u16(2))?)?;
                self.answer(caller, at.offset(4), u32::from(port))
            }),
            Ok(op::EVTCHNOP_BIND_INTERDOMAIN) => {
                self.argument::<12>(caller, NAME, at).and_then(|a| {
                    let port = self.event_connect(own, domain(own, a.u16(0))?, a.u32(4))?;
                    self.answer(caller, at.offset(8), u32::from(port))
                })
            }
            Ok(op::EVTCHNOP_BIND_VIRQ) => self.argument::<12>(caller, NAME, at).and_then(|a| {
                self.own_vcpu(caller, a.u32(4))?;
                let port = self.event_bind_virq(own, a.u32(0))?;
                self.answer(caller, at.offset(8), u32::from(port))
            }),
            Ok(op::EVTCHNOP_BIND_IPI) => self.argument::<8>(caller, NAME, at).and_then(|a| {
                self.own_vcpu(caller, a.u32(0))?;
                let port = self.event_bind_ipi(own)?;
                self.answer(caller, at.offset(4), u32::from(port))
            }),
            Ok(op::EVTCHNOP_CLOSE) => {
                self.argument::<4>(caller, NAME, at).and_then(|a| self.event_close(own, a.u32(0)))
            }
            Ok(op::EVTCHNOP_SEND) => {
                self.argument::<4>(caller, NAME, at).and_then(|a| self.event_send(own, a.u32(0)))
            }
            Ok(op::EVTCHNOP_UNMASK) => {
                self.argument::<4>(caller, NAME, at).and_then(|a| self.event_unmask(own, a.u32(0)))
            }
            Ok(op::EVTCHNOP_STATUS) => self.argument::<24>(caller, NAME, at).and_then(|a| {
                own_domain(own, a.u16(0))?;
                let (status, first, second) = words(self.event_status(own, a.u32(4))?);
                for (offset, word) in [(8, status), (12, 0), (16, first), (20, second)] {
                    self.answer(caller, at.offset(offset), word)?;
                }
                Ok(())
            }),
            _ => Err(errno::ENOSYS),
        };
        code(outcome)
    }

    fn answer(&self, caller: &Caller<'_>, at: GuestAddr, word: u32) -> Result<(), i32> {
        if self.copy_out(caller, at, &word.to_le_bytes()) { Ok(()) } else { Err(errno::EFAULT) }
    }

    /// Events go to the first vCPU so far.
    fn own_vcpu(&self, caller: &Caller<'_>, number: u32) -> Result<(), i32> {
        let first = self.sibling(caller, number.into()).is_some() && number == 0;
        if first { Ok(()) } else { Err(errno::EINVAL) }
    }
}

/// The domain that a number means.
fn domain(own: DomainId, number: u16) -> Result<DomainId, i32> {
    if number == xen::DOMID_SELF { Ok(own) } else { DomainId::new(number).ok_or(errno::ESRCH) }
}

/// Ports are the caller's own.
fn own_domain(own: DomainId, number: u16) -> Result<(), i32> {
    if domain(own, number)? == own { Ok(()) } else { Err(errno::EPERM) }
}

/// What EVTCHNOP_status says of a port.
fn words(port: Port) -> (u32, u32, u32) {
    match port {
        Port::Free => (op::EVTCHNSTAT_CLOSED, 0, 0),
        Port::Unbound(domain) => (op::EVTCHNSTAT_UNBOUND, domain.number().into(), 0),
        Port::Interdomain(domain, port) => {
            (op::EVTCHNSTAT_INTERDOMAIN, domain.number().into(), port.into())
        }
        Port::Virq(virq) => (op::EVTCHNSTAT_VIRQ, virq, 0),
        Port::Ipi => (op::EVTCHNSTAT_IPI, 0, 0),
    }
}
