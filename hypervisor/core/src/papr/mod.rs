//! PAPR's personality: what an unmodified Linux asks of its platform (LoPAR). Here are its hypercalls
//! (chapter 14); [`rtas`] is its firmware, [`xics`] its interrupt controller, [`tce`] translates bus
//! addresses.
//!
//! All of it is in this folder, and the hypervisor is built without it, too: `absent.rs` then takes
//! its place (feature `papr`). It uses the rest of the hypervisor; that knows no more of it than the
//! few names which both have.

mod rtas;
mod tce;
mod xics;

pub use tce::Window;
pub use xics::Presentation;

use crate::Hypervisor;
use crate::hypercall::{Caller, Coded};
use crate::machine::Machine;
use crate::vcpu::{Ask, VcpuId};
use hv_abi::common::code;
use hv_abi::{PaprCall, Rights};
use k42_lib::msr;
use tce::Entries;

/// The virtual terminal's unit address, as the domain's device tree says (`domains/builder`).
const TERMINAL: u64 = 0x3000_0000;
/// Characters of one terminal call: two registers full.
const CHARACTERS: usize = 16;
/// H_SET_MODE's resource for the byte order of interrupts: 0 is big-endian, 1 little-endian (LoPAR
/// 14.5.4.8).
const ENDIAN: u64 = 4;

/// What a domain of this personality has of itself.
pub(crate) const RIGHTS: Option<Rights> = Some(Rights::PAPR);

impl<M: Machine> Hypervisor<M> {
    /// Serves a call that only this personality has.
    #[inline(never)]
    pub(crate) fn papr_call(&self, caller: &mut Caller<'_>, token: u64) -> Coded {
        let call = PaprCall::decode(token, &caller.arguments()).ok_or(code::FUNCTION)?;
        self.permit(caller, call.name(), call.right())?;
        let id = caller.current.domain;
        let sibling = |server| self.vcpu_of(id, server).ok_or(code::PARAMETER);
        match call {
            PaprCall::GetTermChar { unit: TERMINAL | 0 } => self.get_characters(caller),
            PaprCall::PutTermChar { unit: TERMINAL | 0, count, high, low } => {
                self.put_characters(caller, count, u128::from(high) << 64 | u128::from(low))?
            }
            PaprCall::Eoi { xirr } => self.present(caller, |p| p.set_priority(xirr >> 24)),
            PaprCall::Cppr { priority } => self.present(caller, |p| p.set_priority(priority)),
            PaprCall::Xirr {} => {
                let mut xirr = 0;
                self.present(caller, |p| xirr = p.accept());
                caller.frame.gpr[4] = xirr.into();
            }
            PaprCall::Ipi { server, priority } => self.ask_interrupt(sibling(server)?, priority),
            PaprCall::Ipoll { server } => {
                let interrupts = self.vcpu(sibling(server)?).status.lock().interrupts;
                caller.frame.gpr[4] = interrupts.peek().into();
                caller.frame.gpr[5] = interrupts.request.into();
            }
            // An interrupt that waits is to be seen to, so it ends this at once.
            PaprCall::Cede {} => {
                caller.frame.msr |= msr::EE;
                self.block(caller.processor, self.machine.guest_deadline());
            }
            // A guest reads dispatch counts in an area that H_REGISTER_VPA would give it, so none
            // can be stale here.
            PaprCall::Confer { server: u64::MAX, .. } => self.yield_now(caller.processor),
            PaprCall::Confer { server, .. } => {
                let vcpu = sibling(server)?;
                self.yield_to(caller.processor, vcpu);
            }
            PaprCall::Prod { server } => self.wake(sibling(server)?),
            PaprCall::SetMode { flags: order @ ..=1, resource: ENDIAN, value1: 0, value2: 0 } => {
                let little = order == 1;
                self.machine.set_interrupt_endian(little);
                let _ = self.with(id, |domain| domain.little_endian_interrupts = little);
            }
            PaprCall::GetTermChar { .. }
            | PaprCall::PutTermChar { .. }
            | PaprCall::SetMode { resource: ENDIAN, .. } => return Err(code::PARAMETER),
            // Interrupts in translated mode (resource 3) would reach the hypervisor that way too
            // on POWER9 (docs/hypervisor.md, "Real mode for ever"); breakpoints are not offered.
            PaprCall::SetMode { .. } => return Err(code::P2),
            PaprCall::PutTce { bus, at, tce } => {
                self.put_tces(caller, call, [bus, at, 1], Entries::Same(tce))?
            }
            PaprCall::StuffTce { bus, at, tce, count } => {
                self.put_tces(caller, call, [bus, at, count], Entries::Same(tce))?
            }
            PaprCall::PutTceIndirect { bus, at, list, count } => {
                self.put_tces(caller, call, [bus, at, count], Entries::Listed(list))?
            }
            PaprCall::Rtas { arguments } => self.rtas(caller, arguments)?,
        }
        Ok(())
    }

    fn get_characters(&self, caller: &mut Caller<'_>) {
        let channel = caller.current.domain.channel();
        let mut characters = [0; CHARACTERS];
        let count = self.console.lock().read(&self.machine, channel, &mut characters);
        let both = u128::from_be_bytes(characters);
        let gpr = &mut caller.frame.gpr;
        (gpr[4], gpr[5], gpr[6]) = (count as u64, (both >> 64) as u64, both as u64);
    }

    /// Writes the first of these characters, of which the most significant byte is the first.
    fn put_characters(&self, caller: &Caller<'_>, count: u64, both: u128) -> Coded {
        let (count, characters) = (usize::try_from(count), both.to_be_bytes());
        let text = count.ok().and_then(|count| characters.get(..count)).ok_or(code::PARAMETER)?;
        self.console.lock().write(&self.machine, caller.current.domain.channel(), text);
        Ok(())
    }

    /// Changes the caller's own interrupt controller.
    fn present(&self, caller: &Caller<'_>, change: impl FnOnce(&mut Presentation)) {
        let slot = self.vcpu(caller.current.vcpu);
        let mut status = slot.status.lock();
        change(&mut status.interrupts);
        if status.interrupts.pending() {
            slot.ask(Ask::INTERRUPT);
        }
    }

    fn ask_interrupt(&self, vcpu: VcpuId, priority: u64) {
        let pending = {
            let mut status = self.vcpu(vcpu).status.lock();
            status.interrupts.request(priority);
            status.interrupts.pending()
        };
        if pending {
            self.notify(vcpu, Ask::INTERRUPT);
        }
    }
}
