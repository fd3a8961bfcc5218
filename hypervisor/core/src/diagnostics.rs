//! Reports on vCPUs: registers and the chain of callers, on the domain's own console. A domain that
//! crashes leaves one; one that a person asks about goes on (docs/debugging.md).
//!
//! r14 to r31 stay in the processor while a vCPU is on it, and an exit does not save them. So a vCPU
//! that is to be reported on leaves its processor by [`crate::Next::Idle`], as if nothing could
//! run: the machine then puts all registers in place, and the report is what the processor does first.

use crate::domain::DomainId;
use crate::machine::{Frame, Machine};
use crate::report::line;
use crate::vcpu::{Ask, State, VcpuId};
use crate::{Hypervisor, Processor};
use arrayvec::ArrayVec;
use core::fmt;
use k42_lib::{GuestAddr, msr};
use k42_wire::{Channel, End};

/// The most callers that a report names: the chain is the guest's, and may be a circle.
const DEPTH: usize = 24;
/// Where a stack frame has what its function returns to (ELFv2 ABI 2.2.2.1).
const SAVED_LINK: u64 = 16;
/// Effective addresses that begin so are the kernel's, of Linux and of K42: below the top four bits
/// is the guest real address.
const KERNEL: u64 = 0xc;

/// Where a guest's own address lies, if that is plain to see: in real mode, or in the kernel.
fn locate(frame: &Frame, address: u64) -> Option<GuestAddr> {
    let plain = frame.msr & msr::DR == 0 || address >> 60 == KERNEL;
    plain.then(|| GuestAddr::new(address & (u64::MAX >> 4)))
}

impl<M: Machine> Hypervisor<M> {
    /// Stops a domain for what it did, and says so when its vCPUs have been reported on.
    pub(crate) fn crash(&self, processor: &mut Processor, id: DomainId, text: fmt::Arguments<'_>) {
        let text = line(text);
        if processor.current().is_some_and(|current| current.domain == id) {
            processor.crash = Some(text);
            processor.examine = true;
            processor.reschedule = true;
        } else {
            self.dump(id);
            self.end(processor, id, End::Crash(&text));
        }
    }

    /// Reports on the vCPU that has left the processor for it, which then goes on or ends.
    pub(crate) fn examine(&self, processor: &mut Processor) {
        if !core::mem::take(&mut processor.examine) {
            return;
        }
        let crash = processor.crash.take();
        let Some(current) = processor.current() else { return };
        let special = Some(self.machine.interrupted_state());
        match &crash {
            Some(text) => self.report(current.vcpu, special, format_args!("crashed: {text}")),
            None => self.report(current.vcpu, special, format_args!("running")),
        }
        if let Some(text) = crash {
            self.dump(current.domain);
            self.end(processor, current.domain, End::Crash(&text));
        }
        if processor.seated && self.is_ending(current.domain) {
            self.leave_domain(processor, current);
        }
        self.put_back(processor);
    }

    /// Does what was asked on channel 0: each byte is the number of a domain to be reported on.
    pub(crate) fn obey(&self) {
        let mut numbers = [0; 16];
        let count = self.console.lock().read(&self.machine, Channel::HYPERVISOR, &mut numbers);
        let domains = numbers.iter().take(count).filter_map(|n| DomainId::new((*n).into()));
        for id in domains {
            self.dump(id);
            self.raise_debug(id);
        }
    }

    /// Reports on a domain's vCPUs: those that run do so when they have left their processors.
    fn dump(&self, id: DomainId) {
        for vcpu in self.vcpus_of(id) {
            let slot = self.vcpu(vcpu);
            let status = slot.status.lock();
            let (state, home) = (status.state, status.home);
            if state == State::Running {
                slot.ask(Ask::EXAMINE);
                drop(status);
                self.machine.kick(home);
            } else {
                drop(status);
                self.report(vcpu, None, format_args!("{state:?}"));
            }
        }
    }

    /// The report: what a vCPU does, its registers if it is on no processor, and its callers.
    fn report(&self, vcpu: VcpuId, special: Option<[u64; 4]>, what: fmt::Arguments<'_>) {
        let slot = self.vcpu(vcpu);
        let status = slot.status.lock(); // so that it gets no processor meanwhile
        let (id, number, registers) = (status.domain, status.server, self.machine.registers(vcpu));
        drop(status);
        let callers = registers.map(|frame| self.callers(id, &frame)).unwrap_or_default();
        let mut console = self.console.lock();
        let mut say = |text: fmt::Arguments<'_>| {
            let text = line(format_args!("vcpu {number}: {text}"));
            console.write(&self.machine, id.channel(), text.as_bytes());
            console.write(&self.machine, id.channel(), b"\n");
        };
        say(format_args!("{what}"));
        let Some(Frame { gpr, nip, msr, link, counter, xer, cr }) = registers else { return };
        say(format_args!("nip {nip:016x} msr {msr:016x} lr  {link:016x} ctr {counter:016x}"));
        say(format_args!("cr  {cr:016x} xer {xer:016x}"));
        if let Some([srr0, srr1, dar, dsisr]) = special {
            say(format_args!("srr {srr0:016x} {srr1:016x} dar {dar:016x} dsisr {dsisr:08x}"));
        }
        for (first, [a, b, c, d]) in (0..).step_by(4).zip(gpr.as_chunks::<4>().0) {
            say(format_args!("r{first:<2} {a:016x} {b:016x} {c:016x} {d:016x}"));
        }
        for address in [nip, link].into_iter().chain(callers) {
            say(format_args!("at {address:016x}"));
        }
    }

    /// The addresses that a guest's functions return to, by the chain of its stack frames. Whatever
    /// the chain holds is an allegation: it is followed for a while, in the domain's own memory.
    fn callers(&self, id: DomainId, frame: &Frame) -> ArrayVec<u64, DEPTH> {
        let slot = self.domain(id);
        let Some(domain) = slot.as_ref() else { return ArrayVec::new() };
        let word = |address: u64| {
            let mut bytes = [0; 8];
            domain.memory.read(&self.machine, locate(frame, address)?, &mut bytes).ok()?;
            // The kernel's byte order: a call of RTAS changes that in the MSR.
            let little = domain.interrupts.little_endian;
            Some(if little { u64::from_le_bytes(bytes) } else { u64::from_be_bytes(bytes) })
        };
        let [_, stack, ..] = frame.gpr;
        let sound = |address: &u64| *address != 0 && address.is_multiple_of(16);
        core::iter::successors(Some(stack).filter(sound), |at| word(*at).filter(sound))
            .skip(1)
            .map_while(|at| word(at.wrapping_add(SAVED_LINK)))
            .take(DEPTH)
            .collect()
    }
}
