//! `event_channel_op`: the arguments' structures, and what each operation answers.

use super::argument::NOT_MEMORY;
use super::{Caller, Done};
use crate::Hypervisor;
use crate::domain::DomainId;
use crate::events::Port;
use crate::machine::Machine;
use k42_lib::GuestAddr;
use xen_sys::event_channel::*;
use xen_sys::{errno, xen};

impl<M: Machine> Hypervisor<M> {
    /// The one operation that is frequent has a short way.
    #[inline(never)]
    pub(super) fn event_channel_op(
        &self,
        caller: &Caller<'_>,
        command: u64,
        at: GuestAddr,
    ) -> Done {
        if command != EVTCHNOP_SEND.into() {
            return self.event_channel_operation(caller, command, at);
        }
        let sent = self.event_send(caller.current.domain, at);
        if sent == Err(errno::EFAULT) {
            self.refused_xen(caller, NOT_MEMORY);
        }
        sent
    }

    #[inline(never)]
    fn event_channel_operation(&self, caller: &Caller<'_>, command: u64, at: GuestAddr) -> Done {
        let own = caller.current.domain;
        match u32::try_from(command) {
            Ok(EVTCHNOP_ALLOC_UNBOUND) => self.answer(caller, at, |a: &mut AllocUnbound| {
                own_domain(own, a.dom)?;
                self.event_allocate(own, domain(own, a.remote_dom)?)
                    .map(|port| a.port = port.into())
            }),
            Ok(EVTCHNOP_BIND_INTERDOMAIN) => self.answer(caller, at, |a: &mut BindInterdomain| {
                let remote = domain(own, a.remote_dom)?;
                let port = self.event_connect(own, remote, a.remote_port);
                port.map(|port| a.local_port = port.into())
            }),
            Ok(EVTCHNOP_BIND_VIRQ) => self.answer(caller, at, |a: &mut BindVirq| {
                let vcpu = self.own_vcpu(caller, a.vcpu)?;
                self.event_bind_virq(own, a.virq, vcpu).map(|port| a.port = port.into())
            }),
            Ok(EVTCHNOP_BIND_IPI) => self.answer(caller, at, |a: &mut BindIpi| {
                let vcpu = self.own_vcpu(caller, a.vcpu)?;
                self.event_bind_ipi(own, vcpu).map(|port| a.port = port.into())
            }),
            Ok(EVTCHNOP_BIND_VCPU) => {
                let a: BindVcpu = self.argument(caller, at)?;
                self.event_bind_vcpu(own, a.port, self.own_vcpu(caller, a.vcpu)?)
            }
            Ok(EVTCHNOP_CLOSE) => {
                let Close { port } = self.argument(caller, at)?;
                self.event_close(own, port)
            }
            Ok(EVTCHNOP_UNMASK) => {
                let Unmask { port } = self.argument(caller, at)?;
                self.event_unmask(own, port)
            }
            Ok(EVTCHNOP_STATUS) => self.answer(caller, at, |a: &mut Status| {
                own_domain(own, a.dom)?;
                let (port, vcpu) = self.event_status(own, a.port)?;
                (a.status, a.u) = words(port);
                a.vcpu = vcpu.into();
                Ok(())
            }),
            _ => Err(errno::ENOSYS),
        }
    }

    /// The number of a vCPU, if the domain has it.
    fn own_vcpu(&self, caller: &Caller<'_>, number: u32) -> Done<u8> {
        self.vcpu_of(caller.current.domain, number.into()).ok_or(errno::ENOENT)?;
        u8::try_from(number).map_err(|_| errno::ENOENT)
    }
}

/// The domain that a number means.
fn domain(own: DomainId, number: u16) -> Done<DomainId> {
    if number == xen::DOMID_SELF { Ok(own) } else { DomainId::new(number).ok_or(errno::ESRCH) }
}

/// Ports are the caller's own.
fn own_domain(own: DomainId, number: u16) -> Done {
    if domain(own, number)? == own { Ok(()) } else { Err(errno::EPERM) }
}

/// What EVTCHNOP_status says of a port.
fn words(port: Port) -> (u32, [u32; 2]) {
    match port {
        Port::Free => (EVTCHNSTAT_CLOSED, [0, 0]),
        Port::Unbound(domain) => (EVTCHNSTAT_UNBOUND, [domain.number().into(), 0]),
        Port::Interdomain(domain, port) => {
            (EVTCHNSTAT_INTERDOMAIN, [domain.number().into(), port.into()])
        }
        Port::Virq(virq) => (EVTCHNSTAT_VIRQ, [virq.into(), 0]),
        Port::Ipi => (EVTCHNSTAT_IPI, [0, 0]),
    }
}
