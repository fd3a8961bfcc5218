//! The calls of the logical LAN (LoPAR 16.4), for both personalities.
//!
//! A sender waits for nobody: a frame that a port has no buffer for is dropped there, and counted.

use super::{Caller, Coded};
use crate::Hypervisor;
use crate::bus::Bus;
use crate::domain::DomainId;
use crate::lan::port::{Outgoing, PARTS, Port};
use crate::lan::{Mac, members};
use crate::machine::Machine;
use hv_abi::CommonCall;
use hv_abi::common::{LAN_UNIT, code, multicast};
use hv_abi::papr::source;

/// Ports that one call sends to. A frame to more takes several calls, so that each is short.
const AT_ONCE: usize = 8;

impl<M: Machine> Hypervisor<M> {
    #[inline(never)]
    pub(super) fn lan_call(&self, caller: &mut Caller<'_>, call: CommonCall) -> Coded {
        // Each of these calls has the device's unit address in r4.
        let outcome = match call {
            _ if caller.frame.gpr[4] != LAN_UNIT => Err(code::PARAMETER),
            CommonCall::SendLogicalLan {
                part0, part1, part2, part3, part4, part5, token, ..
            } => {
                let parts = [part0, part1, part2, part3, part4, part5];
                self.lan_send(caller, parts, token)
            }
            other => self.lan_change(caller.current.domain, other),
        };
        if outcome == Err(code::PARAMETER) {
            self.refused(caller, call.name(), "an argument is not what the call takes");
        }
        outcome
    }

    /// Changes the domain's own port.
    fn lan_change(&self, id: DomainId, call: CommonCall) -> Coded {
        let mut slot = self.domain(id);
        let domain = slot.as_mut().ok_or(code::RESOURCE)?;
        let number = domain.lan_number;
        let (bus, port) = Bus::with_port(&self.machine, domain);
        match (call, port) {
            (CommonCall::RegisterLogicalLan { list, queue, mac, .. }, port @ None) => {
                let new = Port::new(&bus, list, queue).ok_or(code::PARAMETER)?;
                let mut switch = self.lan.lock();
                switch.take(id, Mac::new(mac)).ok_or(code::PARAMETER)?;
                switch.open(id, number);
                *port = Some(new);
            }
            (CommonCall::FreeLogicalLan { .. }, port @ Some(_)) => {
                self.lan.lock().close(id);
                *port = None;
            }
            (CommonCall::AddLogicalLanBuffer { buffer, .. }, Some(port)) => {
                port.post(&bus, buffer)?
            }
            (CommonCall::ChangeLogicalLanMac { mac, .. }, _) => {
                self.lan.lock().take(id, Mac::new(mac)).ok_or(code::PARAMETER)?;
            }
            // Frames to groups go to all. A table of those that a port wants would have no room.
            (CommonCall::MulticastCtrl { flags, .. }, Some(_))
                if flags & multicast::OPERATION != multicast::ADD => {}
            (CommonCall::VioSignal { mode: 2.., .. }, _) => return Err(code::PARAMETER),
            (CommonCall::VioSignal { mode, .. }, Some(port)) => port.signal = mode != 0,
            (CommonCall::VioSignal { .. }, None) => {}
            _ => return Err(code::RESOURCE),
        }
        Ok(())
    }

    /// Sends a frame to [`AT_ONCE`] of the ports that it goes to. When there are more, the answer
    /// is H_BUSY, and r4 has the token with which the same call goes on.
    fn lan_send(&self, caller: &mut Caller<'_>, parts: [u64; PARTS], token: u64) -> Coded {
        let id = caller.current.domain;
        let (lan, frame);
        {
            let slot = self.domain(id);
            let open = slot.as_ref().filter(|domain| domain.lan.is_some());
            let domain = open.ok_or(code::DROPPED)?;
            lan = domain.lan_number;
            frame = Outgoing::gather(&Bus::new(&self.machine, domain), parts);
        }
        let frame = frame.ok_or(code::PARAMETER)?;
        let (destination, source) = frame.addresses();
        let Some(ports) = self.lan.lock().route(id, lan, destination, source) else {
            self.refused(caller, "h_send_logical_lan", "the source is not its port's address");
            return Err(code::DROPPED);
        };
        let mut ports = members(ports).filter(|port| u64::from(port.number()) >= token);
        for port in ports.by_ref().take(AT_ONCE) {
            self.lan_deliver(id, port, &frame);
        }
        let next = ports.next();
        caller.frame.gpr[4] = next.map_or(0, |port| port.number().into());
        if next.is_some() { Err(code::BUSY) } else { Ok(()) }
    }

    fn lan_deliver(&self, from: DomainId, to: DomainId, frame: &Outgoing) {
        let (tell, by_event) = {
            let Some((sender, mut receiver)) = self.pair(from, to) else { return };
            let Some((sender, receiver)) = sender.as_ref().zip(receiver.as_mut()) else { return };
            let (bus, Some(port)) = Bus::with_port(&self.machine, receiver) else { return };
            let sender = Bus::new(&self.machine, sender);
            let received = port.receive(&bus, frame, &sender);
            if received.is_none() {
                port.count_dropped(&bus);
            }
            (received.is_some() && port.signal, receiver.shared.is_some())
        };
        match (tell, by_event) {
            (true, true) => self.event_raise(to, xen_sys::xen::VIRQ_ARCH_0),
            (true, false) => self.papr_raise(to, source::LAN),
            (false, _) => {}
        }
    }
}
