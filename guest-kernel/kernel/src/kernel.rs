//! The kernel: builds the address space in which the system library starts, then runs the program
//! from trap to trap.

use crate::boot_info::BootInfo;
use crate::calls::After;
use crate::context::Context;
use crate::fcm::{Backing, Image};
use crate::layout;
use crate::machine::{Machine, SpaceId};
use crate::pm::PageManager;
use crate::process::{Fault, Process};
use crate::region::Kind;
use crate::trap::{Offence, Trap};
use alloc::string::String;
use core::ops::Range;
use k42_lib::radix::Access;
use k42_lib::trace::events::{mem, process, trap};
use k42_lib::{EffAddr, msr};
use kernel_abi::{Call, Error, PAGE_SIZE};

/// What a user runs with: 64-bit, translated, interruptible, with floating point and vectors, which
/// the kernel itself never uses.
const USER_MSR: u64 = msr::SF
    | msr::VEC
    | msr::VSX
    | msr::EE
    | msr::PR
    | msr::FP
    | msr::ME
    | msr::IR
    | msr::DR
    | msr::RI
    | msr::LE;

/// The address space of the domain's one process. 0 is the kernel's own.
const FIRST_SPACE: SpaceId = SpaceId(1);

/// The kernel and its one process.
pub struct Kernel<M> {
    /// What it runs on.
    pub machine: M,
    pub(crate) pm: PageManager,
    pub(crate) process: Process,
    pub(crate) root_file_system: Image,
    pub(crate) program: String,
}

impl<M: Machine> Kernel<M> {
    /// Builds the program's address space: system library with its stack, device tree and root file
    /// system. Returns the kernel and the registers with which the library starts
    /// (docs/interfaces.md, §5).
    ///
    /// # Errors
    /// What is wrong with the domain: memory too small, or regions that cannot be made.
    pub fn new(
        mut machine: M,
        mut pm: PageManager,
        boot: &BootInfo,
        processor_version: u64,
    ) -> Result<(Self, Context), &'static str> {
        let no_memory = |_| "the domain's memory is too small";
        let mut process = Process::new(FIRST_SPACE, &mut pm, &mut machine).map_err(no_memory)?;
        let (read, write) = (Access::READ, Access::READ | Access::WRITE);
        let mut create = |range: Range<u64>, kind, protection, backing| {
            process
                .create_region(range, kind, protection, backing)
                .map_err(|_: Error| "two parts of the system lie on top of each other")
        };

        for segment in &boot.library.segments {
            let mut protection = read;
            protection.set(Access::WRITE, segment.writable);
            protection.set(Access::EXECUTE, segment.executable);
            let range = segment.address..segment.address.saturating_add(segment.memory_size);
            create(pages(range), Kind::Fixed, protection, Backing::Copy(segment.data))?;
        }
        let stack_end = layout::LIBRARY_STACK_TOP.value();
        let stack = stack_end - layout::LIBRARY_STACK_SIZE;
        create(stack..stack_end, Kind::Fixed, write, Backing::Computation)?;
        let (zone, refused) = (stack - PAGE_SIZE..stack, Access::empty());
        create(zone, Kind::RedZone, refused, Backing::Computation)?;
        let tree = layout::DEVICE_TREE.value();
        let range = pages(tree..tree + boot.device_tree.size);
        create(range, Kind::Fixed, read, Backing::Copy(boot.device_tree))?;
        let files = layout::ROOT_FILE_SYSTEM.value();
        if boot.root_file_system.size != 0 {
            let image = boot.root_file_system;
            let backing = if image.start.is_aligned(PAGE_SIZE) {
                Backing::Fixed(image.start)
            } else {
                Backing::Copy(image)
            };
            create(pages(files..files + image.size), Kind::Fixed, read, backing)?;
        }

        let mut context = Context { next: boot.library.entry, msr: USER_MSR, ..Context::default() };
        context.gpr[1] = stack_end - 256; // room for a first frame, aligned
        context.gpr[3] = tree;
        context.gpr[4] = boot.device_tree.size;
        context.gpr[5] = files;
        context.gpr[6] = boot.root_file_system.size;
        context.gpr[7] = processor_version;
        context.gpr[12] = boot.library.entry;
        let program = boot.program.clone();
        let root_file_system = boot.root_file_system;
        Ok((Kernel { machine, pm, process, root_file_system, program }, context))
    }

    /// Runs the program to its end; returns its exit status.
    pub fn run(&mut self, context: &mut Context) -> u8 {
        let space = self.process.space();
        process::create(&self.machine, space.0.into());
        process::switch(&self.machine, space.0.into());
        loop {
            trap::resume(&self.machine, context.next);
            self.machine.run(space, context);
            trap::trap(&self.machine, context.vector, context.next);
            if let Some(status) = self.answer(context) {
                process::exit(&self.machine, space.0.into(), status.into());
                return status;
            }
        }
    }

    /// Answers the trap that `context` holds; the exit status when it was the last one.
    fn answer(&mut self, context: &mut Context) -> Option<u8> {
        let offence = match Trap::decode(context) {
            Trap::NativeCall => {
                let gpr = &context.gpr;
                trap::call(&self.machine, gpr[0] >> 16, gpr[3]);
                let arguments = [gpr[3], gpr[4], gpr[5], gpr[6], gpr[7], gpr[8]];
                let after = match Call::decode(gpr[0], arguments) {
                    Some(call) => self.native_call(call),
                    None => After::Resume(Err(Error::NoSuchCall)),
                };
                match after {
                    After::Resume(outcome) => {
                        context.gpr[3] = outcome.unwrap_or_else(Error::to_register);
                        return None;
                    }
                    After::Exit(status) => return Some(status),
                }
            }
            Trap::Access(address, access) => match self.fault(address, access) {
                Ok(()) => return None,
                Err(Fault::NoMemory) => Offence::NoMemory(address),
                Err(Fault::NoRegion | Fault::Forbidden) => Offence::Segmentation(address),
            },
            Trap::Timer => {
                self.machine.rearm_timer();
                return None;
            }
            Trap::Nothing => return None,
            Trap::Offence(offence) => offence,
        };
        let (program, next, link) = (&self.program, context.next, context.link);
        self.machine.console_line(format_args!(
            "{program}: {offence} (instruction {next:#x}, link {link:#x})"
        ));
        Some(128 + offence.signal() as u8)
    }

    fn fault(&mut self, address: EffAddr, access: Access) -> Result<(), Fault> {
        mem::fault_start(&self.machine, address.value(), access.bits());
        let (pm, machine) = (&mut self.pm, &mut self.machine);
        let outcome = self.process.handle_fault(address, access, pm, machine);
        mem::fault_end(
            &self.machine,
            address.value(),
            outcome.map_or_else(|why| why as u64, |()| 0),
        );
        outcome
    }
}

/// The whole pages that hold `range`.
fn pages(range: Range<u64>) -> Range<u64> {
    range.start & !(PAGE_SIZE - 1)..range.end.saturating_add(PAGE_SIZE - 1) & !(PAGE_SIZE - 1)
}

#[cfg(test)]
#[path = "kernel_tests.rs"]
mod tests;
