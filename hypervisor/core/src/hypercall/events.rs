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
const NOT_MEMORY: &str = "its argument is not the domain's memory";

impl<M: Machine> Hypervisor<M> {
    /// The one operation that is frequent has a short way.
    #[inline(never)]
    pub(super) fn event_channel_op(&self, caller: &Caller<'_>, command: u64, at: GuestAddr) -> i64 {
        if command != op::EVTCHNOP_SEND.into() {
            return self.event_channel_operation(caller, command, at);
        }
        match self.event_send(caller.current.domain, at) {
            Ok(()) => 0,
            Err(errno) => {
                if errno == errno::EFAULT {
                    self.refused(caller, NAME, NOT_MEMORY);
                }
                i64::from(errno).saturating_neg()
            }
        }
    }

    #[inline(never)]
    fn event_channel_operation(&self, caller: &Caller<'_>, command: u64, at: GuestAddr) -> i64 {
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
                let port = self.event_bind_virq(own, a.u32(0), self.own_vcpu(caller, a.u32(4))?)?;
                self.answer(caller, at.offset(8), u32::from(port))
            }),
            Ok(op::EVTCHNOP_BIND_IPI) => self.argument::<8>(caller, NAME, at).and_then(|a| {
                let port = self.event_bind_ipi(own, self.own_vcpu(caller, a.u32(0))?)?;
                self.answer(caller, at.offset(4), u32::from(port))
            }),
            Ok(op::EVTCHNOP_BIND_VCPU) => self.argument::<8>(caller, NAME, at).and_then(|a| {
                self.event_bind_vcpu(own, a.u32(0), self.own_vcpu(caller, a.u32(4))?)
            }),
            Ok(op::EVTCHNOP_CLOSE) => {
                self.argument::<4>(caller, NAME, at).and_then(|a| self.event_close(own, a.u32(0)))
            }
            Ok(op::EVTCHNOP_UNMASK) => {
                self.argument::<4>(caller, NAME, at).and_then(|a| self.event_unmask(own, a.u32(0)))
            }
            Ok(op::EVTCHNOP_STATUS) => self.argument::<24>(caller, NAME, at).and_then(|a| {
                own_domain(own, a.u16(0))?;
                let (port, vcpu) = self.event_status(own, a.u32(4))?;
                let (status, first, second) = words(port);
                for (offset, word) in [(8, status), (12, vcpu.into()), (16, first), (20, second)] {
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

    /// The number of a vCPU, if the domain has it.
    fn own_vcpu(&self, caller: &Caller<'_>, number: u32) -> Result<u8, i32> {
        self.sibling(caller, number.into()).ok_or(errno::ENOENT)?;
        u8::try_from(number).map_err(|_| errno::ENOENT)
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
        Port::Virq(virq) => (op::EVTCHNSTAT_VIRQ, virq.into(), 0),
        Port::Ipi => (op::EVTCHNSTAT_IPI, 0, 0),
    }
}
