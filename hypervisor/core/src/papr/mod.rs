//! PAPR's personality: what an unmodified Linux asks of its platform (LoPAR). Here are its hypercalls
//! (chapter 14); [`rtas`] is its firmware, [`clock`] the firmware's clock, [`xics`] its interrupt
//! controller, [`vpa`] what a vCPU shares with the hypervisor, [`tce`] its bus addresses.
//!
//! All of it is in this folder, and the hypervisor is built without it, too: `absent.rs` then takes
//! its place (feature `papr`). It uses the rest of the hypervisor; that knows no more of it than the
//! few names which both have.

mod clock;
mod rtas;
mod tce;
mod vpa;
mod xics;

use crate::Hypervisor;
use crate::domain::DomainId;
use crate::frames::{Frames, Owner};
use crate::hypercall::{Caller, Coded};
use crate::machine::{InterruptMode, Machine, ProcessorId};
use crate::memory::OutOfMemory;
use crate::vcpu::{Ask, Times};
use hv_abi::common::code;
use hv_abi::papr::source;
use hv_abi::{PaprCall, Rights};
use k42_lib::radix::Access;
use k42_lib::{BusAddr, GuestAddr, RealAddr, msr};
use tce::{Entries, Window};
use vpa::Areas;
use xics::{Presentation, Route};

/// The virtual terminal's unit address, as the domain's device tree says (`domains/builder`).
const TERMINAL: u64 = 0x3000_0000;
/// Characters of one terminal call: two registers full.
const CHARACTERS: usize = 16;
/// H_SET_MODE's resources (LoPAR 14.5.4.8): where interrupts arrive, 0 in real mode, 3 at the kernel's
/// addresses; their byte order, 0 is big-endian, 1 little-endian.
const LOCATION: u64 = 3;
const ENDIAN: u64 = 4;
/// H_SIGNAL_SYS_RESET's targets that are no vCPU: all of them, all but the caller.
const ALL: u64 = u64::MAX;
const OTHERS: u64 = u64::MAX - 1;

/// What a domain of this personality has of itself.
pub(crate) const RIGHTS: Option<Rights> = Some(Rights::PAPR);

/// What a domain has of this personality.
pub struct DomainState {
    /// The sources of its virtual devices.
    routes: [Route; source::COUNT],
    /// So many seconds its clock is ahead of the machine's.
    ahead: i64,
    /// Its bus addresses.
    window: Window,
}

impl DomainState {
    pub(crate) fn new(
        machine: &impl Machine,
        frames: &mut Frames,
        owner: Owner,
        rights: Rights,
    ) -> Result<DomainState, OutOfMemory> {
        let window = Window::new(machine, frames, owner, rights)?;
        Ok(DomainState { routes: [Route::OFF; source::COUNT], ahead: 0, window })
    }

    /// The guest real address of a bus address, and how much of `wanted` bytes follows it there;
    /// `None` where the domain's devices have no such access.
    pub(crate) fn translate(
        &self,
        machine: &impl Machine,
        at: BusAddr,
        wanted: usize,
        access: Access,
    ) -> Option<(GuestAddr, usize)> {
        self.window.translate(machine, at, wanted, access)
    }

    /// How many frames it takes.
    #[cfg(feature = "walker")]
    pub(crate) fn frames(&self) -> u64 {
        self.window.frames()
    }
}

/// What a vCPU has of it.
#[derive(Clone, Copy, Debug)]
pub struct VcpuState {
    interrupts: Presentation,
    areas: Areas,
}

impl VcpuState {
    pub(crate) const fn new() -> VcpuState {
        VcpuState { interrupts: Presentation::new(), areas: Areas::NONE }
    }

    /// Whether an interrupt waits that the vCPU would take.
    pub(crate) fn pending(&self) -> bool {
        self.interrupts.pending()
    }

    /// The vCPU gets a processor.
    pub(crate) fn dispatched(&mut self, machine: &impl Machine, on: ProcessorId, times: &Times) {
        self.areas.dispatched(machine, on, times);
    }

    /// It has none any more.
    pub(crate) fn left(&mut self, machine: &impl Machine) {
        self.areas.left(machine);
    }

    /// The pages of its domain that are held for it.
    pub(crate) fn held(&self) -> impl Iterator<Item = RealAddr> {
        self.areas.pages()
    }
}

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
            PaprCall::Ipi { server, priority } => self.ask_ipi(sibling(server)?, priority),
            PaprCall::Ipoll { server } => {
                let interrupts = self.vcpu(sibling(server)?).status.lock().papr.interrupts;
                caller.frame.gpr[4] = interrupts.peek().into();
                caller.frame.gpr[5] = interrupts.request().into();
            }
            // An interrupt that waits is to be seen to, so it ends this at once.
            PaprCall::Cede {} => {
                caller.frame.msr |= msr::EE;
                self.block(caller.processor, self.machine.guest_deadline());
            }
            PaprCall::RegisterVpa { flags, server, at } => {
                self.register_area(id, sibling(server)?, flags, at)?
            }
            PaprCall::Confer { server: ALL, .. } => self.yield_now(caller.processor),
            PaprCall::Confer { server, dispatch } => {
                let vcpu = sibling(server)?;
                // Who has had a processor since the caller looked needs no help.
                let now = self.vcpu(vcpu).status.lock().papr.areas.dispatches;
                if u64::from(now) == dispatch {
                    self.yield_to(caller.processor, vcpu);
                }
            }
            PaprCall::Prod { server } => self.wake(sibling(server)?),
            PaprCall::Random {} => {
                caller.frame.gpr[4] = self.machine.random().ok_or(code::HARDWARE)?;
            }
            PaprCall::SignalSysReset { target } => self.reset(caller, target)?,
            PaprCall::SetMode { flags: order @ ..=1, resource: ENDIAN, value1: 0, value2: 0 } => {
                self.set_mode(id, |mode| mode.little_endian = order == 1)?
            }
            PaprCall::SetMode {
                flags: place @ (0 | 3),
                resource: LOCATION,
                value1: 0,
                value2: 0,
            } => self.set_mode(id, |mode| mode.translated = place == 3)?,
            PaprCall::GetTermChar { .. }
            | PaprCall::PutTermChar { .. }
            | PaprCall::SetMode { resource: ENDIAN | LOCATION, .. } => return Err(code::PARAMETER),
            // Breakpoints are not offered.
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

    /// Changes how the caller's vCPU takes interrupts, and those do that are started later.
    fn set_mode(&self, id: DomainId, change: impl FnOnce(&mut InterruptMode)) -> Coded {
        let mut mode = self.machine.interrupt_mode();
        change(&mut mode);
        if !self.machine.set_interrupt_mode(mode) {
            return Err(code::P2);
        }
        self.with(id, |domain| domain.interrupts = mode).map_err(|_| code::PARAMETER)
    }

    /// Has vCPUs of the caller's domain take a system reset interrupt, which is how a kernel learns
    /// what a processor is at that takes no other.
    fn reset(&self, caller: &Caller<'_>, target: u64) -> Coded {
        let own = caller.current.vcpu;
        let vcpus = self.vcpus_of(caller.current.domain);
        let chosen = match target {
            ALL | OTHERS => 0..vcpus.len(),
            n => {
                let n = usize::try_from(n).unwrap_or(usize::MAX);
                n..n.saturating_add(1)
            }
        };
        for vcpu in vcpus.get(chosen).ok_or(code::PARAMETER)? {
            if target != OTHERS || *vcpu != own {
                self.notify(*vcpu, Ask::RESET);
            }
        }
        Ok(())
    }

    /// Changes the caller's own interrupt controller.
    fn present(&self, caller: &Caller<'_>, change: impl FnOnce(&mut Presentation)) {
        let slot = self.vcpu(caller.current.vcpu);
        let mut status = slot.status.lock();
        change(&mut status.papr.interrupts);
        if status.papr.pending() {
            slot.ask(Ask::INTERRUPT);
        }
    }
}
