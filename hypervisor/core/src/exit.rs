//! Exits: whatever stops a guest ends up here, and leaves with the guest's next instruction
//! decided.
//!
//! What the guest may bring about: its own end, an interrupt to itself, a switch to another vCPU.
//! Never a panic: a guest's registers are data.

use crate::machine::{Fault, Frame, Machine, status};
use crate::schedule::{LISTENING_TICKS, SLICE_TICKS};
use crate::vcpu::{Ask, State, Vcpu, VcpuId};
use crate::{Current, Hypervisor, Processor};
use k42_lib::{msr, vector};
use k42_wire::Channel;
use xen_sys::trace::TRC_HVM_VMEXIT64;

/// What the processor does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The same vCPU goes on.
    Resume,
    /// Another one gets the processor.
    Switch(VcpuId),
    /// Nothing can run, or the vCPU is to be reported on: put its registers in place, then call
    /// [`Hypervisor::idle`].
    Idle,
}

/// Why a guest gets a program interrupt (Power ISA v3.0B, Book III, 6.5.9): SRR1 bits.
mod cause {
    /// Illegal instruction.
    pub(super) const ILLEGAL: u64 = 0x0008_0000;
    /// Privileged instruction.
    pub(super) const PRIVILEGED: u64 = 0x0004_0000;
}

impl<M: Machine> Hypervisor<M> {
    /// A guest stopped with the interrupt at `vector`. `frame` has its registers, and on return
    /// those that it resumes with.
    pub fn exit(&self, processor: &mut Processor, vector: u16, frame: &mut Frame) -> Next {
        if !processor.seated {
            return Next::Idle;
        }
        if vector == vector::SYSTEM_CALL {
            self.system_call(processor, frame);
        } else {
            self.interrupted(processor, vector, frame);
        }
        self.leave(processor, frame)
    }

    /// Every exit but a system call. Out of line, so that a hypercall does not save the registers
    /// this needs.
    #[inline(never)]
    fn interrupted(&self, processor: &mut Processor, vector: u16, frame: &mut Frame) {
        self.trace(processor, TRC_HVM_VMEXIT64, || {
            [vector.into(), low(frame.nip), low(frame.nip >> 32)]
        });
        match vector {
            vector::HYPERVISOR_DECREMENTER => self.tick(processor),
            // A kick, or the guest has enabled interrupts while one waits: see below.
            vector::HYPERVISOR_DOORBELL | vector::HYPERVISOR_VIRTUALIZATION => {}
            // An instruction or a facility that the guest has not: the guest's own affair.
            vector::HYPERVISOR_EMULATION | vector::HYPERVISOR_FACILITY_UNAVAILABLE => {
                self.interrupt(frame, vector::PROGRAM, frame.nip, cause::ILLEGAL);
            }
            vector::HYPERVISOR_DATA_STORAGE | vector::HYPERVISOR_INSTRUCTION_STORAGE => {
                self.storage_fault(processor, vector, frame);
            }
            other => {
                let text = format_args!("interrupt {other:#x}{}", At(frame));
                self.crash(processor, processor.current.domain, text);
            }
        }
    }

    fn system_call(&self, processor: &mut Processor, frame: &mut Frame) {
        if frame.msr & msr::PR == 0 {
            return self.hypercall(processor, frame);
        }
        // The architecture lets problem state make this call; a domain's kernel shall not have to
        // answer for its programs, so they get the interrupt that any privileged instruction gives.
        let call = frame.nip.wrapping_sub(4);
        self.interrupt(frame, vector::PROGRAM, call, cause::PRIVILEGED);
    }

    /// The slice is over, a sleeper of this processor is due, or a look at the serial line.
    fn tick(&self, processor: &mut Processor) {
        let now = self.machine.timebase();
        if now >= processor.look_due(now) {
            self.look_around(processor);
        }
        if now.saturating_sub(processor.since) >= SLICE_TICKS && !processor.rank.is_reserved() {
            self.take_over(processor.id);
        }
        processor.reschedule = true;
    }

    /// Looks after the serial line, which raises no interrupt, and the watchdogs.
    pub(crate) fn look_around(&self, processor: &mut Processor) {
        let mut woken = heapless::Vec::<_, 64>::new();
        let overrun = {
            let mut console = self.console.lock();
            console.flush_all(&self.machine);
            console.poll(&self.machine, |channel| {
                let _ = woken.push(channel); // more than 64 at a poll: the next poll wakes them
            })
        };
        if overrun {
            self.note(format_args!("console input is lost: more was sent than its domain takes"));
        }
        self.check_watchdogs(processor);
        // The line holds a few bytes at a time: where some were, more are to come soon.
        let ticks = if woken.is_empty() { SLICE_TICKS } else { LISTENING_TICKS };
        processor.look = self.machine.timebase().saturating_add(ticks);
        for channel in woken {
            match channel {
                Channel::HYPERVISOR => self.obey(),
                channel => self.console_input(channel),
            }
        }
    }

    fn storage_fault(&self, processor: &mut Processor, vector: u16, frame: &Frame) {
        let fault: Fault = self.machine.fault(vector);
        let access = if vector == vector::HYPERVISOR_INSTRUCTION_STORAGE {
            "instruction fetch"
        } else if fault.status & status::TABLE_WALK != 0 {
            "walk of its page tables"
        } else if fault.status & status::STORE != 0 {
            "store"
        } else {
            "load"
        };
        let Fault { guest, effective, .. } = fault;
        let text = format_args!(
            "{access} at guest real {guest} (effective {effective}), outside its memory{}",
            At(frame)
        );
        self.crash(processor, processor.current.domain, text);
    }

    /// What every exit ends with: the guest goes on, unless something is to be seen to. A machine
    /// that has put another vCPU's registers in the processor calls it as well: something may have
    /// come for that one while it was away.
    pub fn leave(&self, processor: &mut Processor, frame: &mut Frame) -> Next {
        // Who has lost its vCPU has to choose anew.
        let slot = self.vcpu(processor.current.vcpu);
        if !processor.reschedule && !slot.is_asked() {
            return Next::Resume;
        }
        self.see_to_it(processor, frame)
    }

    /// The domain's end, an interrupt that waits, another vCPU's turn. What is frequent is that the
    /// vCPU has gone to sleep, or that an event has come while it slept.
    #[inline(never)]
    fn see_to_it(&self, processor: &mut Processor, frame: &mut Frame) -> Next {
        let Some(vcpu) = processor.vcpu() else {
            return self.choose(processor).map_or(Next::Idle, Next::Switch);
        };
        if !processor.reschedule && self.vcpu(vcpu).take_upcall() {
            self.machine.ring();
            return Next::Resume;
        }
        self.see_to_all(processor, frame)
    }

    #[inline(never)]
    fn see_to_all(&self, processor: &mut Processor, frame: &mut Frame) -> Next {
        loop {
            let slot = self.vcpu(processor.current.vcpu);
            if processor.seated && !processor.examine && slot.is_asked() {
                self.attend(processor, processor.current, slot, frame);
            }
            if processor.examine {
                return Next::Idle;
            }
            if processor.seated && !processor.reschedule {
                return Next::Resume;
            }
            let before = processor.vcpu();
            self.put_back(processor);
            match self.choose(processor) {
                Some(vcpu) if Some(vcpu) == before => {} // a timer may have come for it
                Some(vcpu) => return Next::Switch(vcpu),
                None => return Next::Idle,
            }
        }
    }

    /// Does what is asked of the vCPU on this processor.
    #[inline(never)]
    fn attend(&self, processor: &mut Processor, current: Current, slot: &Vcpu, frame: &mut Frame) {
        let asked = slot.take_asked();
        if asked.contains(Ask::EXAMINE) {
            processor.examine = true;
            return slot.ask(asked.difference(Ask::EXAMINE));
        }
        if asked.contains(Ask::END) {
            return self.leave_domain(processor, current);
        }
        processor.reschedule |= asked.contains(Ask::PREEMPT);
        if asked.contains(Ask::UPCALL) {
            self.machine.ring();
        }
        if asked.intersects(Ask::STOP | Ask::TIMES) {
            self.stop_or_tell(processor, current, slot);
        }
        if asked.contains(Ask::RESET) {
            // It would spoil what an interrupt has just left in registers.
            if frame.msr & msr::RI == 0 {
                slot.ask(asked.intersection(Ask::RESET | Ask::INTERRUPT));
                return self.machine.request_window();
            }
            self.interrupt(frame, vector::SYSTEM_RESET, frame.nip, 0);
        }
        if !asked.contains(Ask::INTERRUPT) || !slot.status.lock().papr.pending() {
            return;
        }
        slot.ask(Ask::INTERRUPT); // until the guest has accepted it
        if frame.msr & msr::EE != 0 {
            self.interrupt(frame, vector::EXTERNAL, frame.nip, 0);
        } else {
            self.machine.request_window();
        }
    }

    #[inline(never)]
    fn stop_or_tell(&self, processor: &mut Processor, current: Current, slot: &Vcpu) {
        let times_at = {
            let mut status = slot.status.lock();
            if core::mem::take(&mut status.stopping) {
                self.take_off(processor, &mut status, State::Stopped, self.machine.timebase());
            }
            status.times_at
        };
        if let Some(at) = times_at {
            let _ = self.write_times(current.domain, current.vcpu, at); // the guest's loss
        }
    }

    /// Makes the guest take an interrupt, as the processor would: in its byte order, and in real mode
    /// unless it is set to stay translated.
    fn interrupt(&self, frame: &mut Frame, vector: u16, nip: u64, information: u64) {
        let msr = (frame.msr & !msr::SRR1_INFORMATION) | information;
        self.machine.set_interrupted_state(nip, msr);
        let mode = self.machine.interrupt_mode();
        let order = if mode.little_endian { msr::LE } else { 0 };
        let relocation = frame.msr & (msr::IR | msr::DR);
        let stays = mode.translated && relocation == msr::IR | msr::DR;
        let (base, relocation) = if stays && vector != vector::SYSTEM_RESET {
            (vector::TRANSLATED, relocation)
        } else {
            (0, 0)
        };
        frame.nip = base | u64::from(vector);
        frame.msr = msr::SF | msr::ME | order | relocation;
    }
}

/// The lower half of a register.
pub(crate) const fn low(register: u64) -> u32 {
    (register & 0xffff_ffff) as u32
}

/// Where a guest was.
pub(crate) struct At<'a>(pub &'a Frame);

impl core::fmt::Display for At<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Frame { nip, link, msr, .. } = self.0;
        write!(f, "; instruction {nip:#x}, link {link:#x}, msr {msr:#x}")
    }
}
