//! Exits: whatever stops a guest ends up here, and leaves with the guest's next instruction
//! decided.
//!
//! What the guest may bring about: its own end, an interrupt to itself, a switch to another vCPU.
//! Never a panic: a guest's registers are data.

use crate::machine::{Fault, Frame, Machine, ProcessorId, status};
use crate::vcpu::{Vcpu, VcpuId};
use crate::{Current, Hypervisor, Processor};
use k42_lib::{msr, vector};
use k42_wire::Channel;

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
        let Some(current) = processor.current else { return Next::Idle };
        if vector == vector::SYSTEM_CALL {
            self.system_call(processor, current, frame);
        } else {
            self.interrupted(processor, current, vector, frame);
        }
        self.leave(processor, frame)
    }

    /// Every exit but a system call. Out of line, so that a hypercall does not save the registers
    /// this needs.
    #[inline(never)]
    fn interrupted(
        &self,
        processor: &mut Processor,
        current: Current,
        vector: u16,
        frame: &mut Frame,
    ) {
        match vector {
            vector::HYPERVISOR_DECREMENTER => self.tick(processor),
            // A kick, or the guest has enabled interrupts while one waits: see below.
            vector::HYPERVISOR_DOORBELL | vector::HYPERVISOR_VIRTUALIZATION => {}
            // An instruction or a facility that the guest has not: the guest's own affair.
            vector::HYPERVISOR_EMULATION | vector::HYPERVISOR_FACILITY_UNAVAILABLE => {
                self.interrupt(frame, vector::PROGRAM, frame.nip, cause::ILLEGAL);
            }
            vector::HYPERVISOR_DATA_STORAGE | vector::HYPERVISOR_INSTRUCTION_STORAGE => {
                self.storage_fault(processor, current, vector, frame);
            }
            other => {
                let text = format_args!("interrupt {other:#x}{}", At(frame));
                self.crash(processor, current.domain, text);
            }
        }
    }

    fn system_call(&self, processor: &mut Processor, current: Current, frame: &mut Frame) {
        if frame.msr & msr::PR == 0 {
            return self.hypercall(processor, current, frame);
        }
        // The architecture lets problem state make this call; a domain's kernel shall not have to
        // answer for its programs, so they get the interrupt that any privileged instruction gives.
        let call = frame.nip.wrapping_sub(4);
        self.interrupt(frame, vector::PROGRAM, call, cause::PRIVILEGED);
    }

    /// The slice is over, or a sleeper of this processor is due.
    fn tick(&self, processor: &mut Processor) {
        self.poll_console(processor);
        processor.reschedule = true;
    }

    /// Looks after the serial line and the watchdogs; one processor does it for all.
    pub(crate) fn poll_console(&self, processor: &mut Processor) {
        if processor.id != ProcessorId(0) {
            return;
        }
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
        processor.listening = !woken.is_empty();
        for channel in woken {
            match channel {
                Channel::HYPERVISOR => self.obey(),
                channel => self.console_input(channel),
            }
        }
    }

    fn storage_fault(
        &self,
        processor: &mut Processor,
        current: Current,
        vector: u16,
        frame: &Frame,
    ) {
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
        self.crash(processor, current.domain, text);
    }

    /// What every exit ends with: the guest goes on, unless something is to be seen to.
    fn leave(&self, processor: &mut Processor, frame: &mut Frame) -> Next {
        let slot = processor.vcpu().and_then(|v| self.vcpu(v));
        if slot.is_some_and(|slot| !slot.wants_attention()) && !processor.reschedule {
            return Next::Resume;
        }
        self.see_to_it(processor, frame)
    }

    /// The domain's end, an interrupt that waits, another vCPU's turn.
    #[inline(never)]
    fn see_to_it(&self, processor: &mut Processor, frame: &mut Frame) -> Next {
        let slot = processor.vcpu().and_then(|v| self.vcpu(v));
        if !processor.examine && slot.is_some_and(Vcpu::wants_attention) {
            self.attend(processor, frame);
        }
        if processor.examine {
            return Next::Idle;
        }
        if processor.current.is_some() && !processor.reschedule {
            return Next::Resume;
        }
        let before = processor.vcpu();
        self.put_back(processor);
        match self.choose(processor) {
            Some(vcpu) if Some(vcpu) == before => Next::Resume,
            Some(vcpu) => Next::Switch(vcpu),
            None => Next::Idle,
        }
    }

    fn attend(&self, processor: &mut Processor, frame: &mut Frame) {
        let Some(current) = processor.current else { return };
        let Some(slot) = self.vcpu(current.vcpu) else { return };
        // Taken back before it is looked what for: who asks from now on is not overlooked.
        slot.set_attention(false);
        if slot.take_preempted() {
            processor.reschedule = true;
            processor.examine = core::mem::take(&mut slot.status.lock().examine);
            if processor.examine {
                return slot.set_attention(true); // the rest comes when it runs again
            }
            if self.is_ending(current.domain) {
                return self.leave_domain(processor, current);
            }
        }
        let (pending, upcall) = {
            let mut status = slot.status.lock();
            (status.interrupts.pending(), core::mem::take(&mut status.upcall))
        };
        if pending {
            slot.set_attention(true);
        }
        if upcall {
            self.machine.ring();
        }
        if !pending {
        } else if frame.msr & msr::EE != 0 {
            self.interrupt(frame, vector::EXTERNAL, frame.nip, 0);
        } else {
            self.machine.request_window();
        }
    }

    /// Makes the guest take an interrupt, as the processor would: real mode, its byte order.
    fn interrupt(&self, frame: &mut Frame, vector: u16, nip: u64, information: u64) {
        let msr = (frame.msr & !msr::SRR1_INFORMATION) | information;
        self.machine.set_interrupted_state(nip, msr);
        let order = if self.machine.interrupt_endian() { msr::LE } else { 0 };
        frame.nip = u64::from(vector);
        frame.msr = msr::SF | msr::ME | order;
    }
}

/// Where a guest was.
pub(crate) struct At<'a>(pub &'a Frame);

impl core::fmt::Display for At<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Frame { nip, link, msr, .. } = self.0;
        write!(f, "; instruction {nip:#x}, link {link:#x}, msr {msr:#x}")
    }
}
