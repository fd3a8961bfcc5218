//! The kernel: builds the address space in which the system library starts, then runs the program
//! from trap to trap.

use crate::boot_info::BootInfo;
use crate::calls::After;
use crate::context::Context;
use crate::fcm::computation::{self, Source};
use crate::fcm::{Image, fixed};
use crate::layout;
use crate::problem::Problem;
use crate::process::{self, Memory, Process};
use crate::region::Kind;
use crate::trap::{Offence, Trap};
use alloc::string::String;
use core::ops::Range;
use k42_lib::msr;
use k42_lib::radix::Access;
use k42_lib::trace::events::{mem, process as processes, trap};
use k42_object::{Here, Ref, Vcpu};
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

/// The kernel and its one process.
pub struct Kernel {
    /// What it runs on, and what processes are made of.
    pub memory: Memory,
    pub(crate) process: Ref<dyn Process>,
    pub(crate) root_file_system: Image,
    pub(crate) program: String,
}

impl Kernel {
    /// Builds the program's address space: system library with its stack, device tree and root file
    /// system. Returns the kernel and the registers with which the library starts
    /// (docs/interfaces.md, §5).
    ///
    /// # Errors
    /// What is wrong with the domain: memory too small, or regions that cannot be made.
    pub fn new(
        here: &Here<'_>,
        memory: Memory,
        boot: &BootInfo,
        processor_version: u64,
    ) -> Result<(Self, Context), &'static str> {
        let no_memory = |_| "the domain's memory is too small";
        let process = process::create(here, &memory).map_err(no_memory)?;
        process.space(here).map_err(no_memory)?;
        let Memory { machine, pm, .. } = &memory;
        let (read, write) = (Access::READ, Access::READ | Access::WRITE);
        let copy = |image| computation::create(here, machine, pm, Source::Image(image));
        let zeros = || computation::create(here, machine, pm, Source::Zeros);
        let create = |range: Range<u64>, kind, access, fcm: Result<_, Problem>| {
            let made = fcm.and_then(|fcm| process.create_region(here, range, kind, access, fcm));
            made.map_err(|problem| match problem {
                Problem::NoMemory => "the domain's memory is too small",
                _ => "two parts of the system lie on top of each other",
            })
        };

        for segment in &boot.library.segments {
            let mut access = read;
            access.set(Access::WRITE, segment.writable);
            access.set(Access::EXECUTE, segment.executable);
            let range = segment.address..segment.address.saturating_add(segment.memory_size);
            create(pages(range), Kind::Fixed, access, copy(segment.data))?;
        }
        let stack_end = layout::LIBRARY_STACK_TOP.value();
        let stack = stack_end - layout::LIBRARY_STACK_SIZE;
        create(stack..stack_end, Kind::Fixed, write, zeros())?;
        create(stack - PAGE_SIZE..stack, Kind::RedZone, Access::empty(), zeros())?;
        let tree = layout::DEVICE_TREE.value();
        let range = pages(tree..tree + boot.device_tree.size);
        create(range, Kind::Fixed, read, copy(boot.device_tree))?;
        let files = layout::ROOT_FILE_SYSTEM.value();
        if boot.root_file_system.size != 0 {
            let image = boot.root_file_system;
            let fcm = if image.start.is_aligned(PAGE_SIZE) {
                fixed::create(here, machine, image.start)
            } else {
                copy(image)
            };
            create(pages(files..files + image.size), Kind::Fixed, read, fcm)?;
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
        Ok((Kernel { memory, process, root_file_system, program }, context))
    }

    /// Runs the program to its end, on this vCPU; returns its exit status.
    ///
    /// # Panics
    /// When this is not the vCPU that made the kernel, and has no memory for the program's address space.
    pub fn run(&self, vcpu: &Vcpu, context: &mut Context) -> u8 {
        let space = {
            let here = vcpu.enter();
            let space = self.process.space(&here).expect("memory for an address space");
            processes::create(&here, space.0.into());
            processes::switch(&here, space.0.into());
            trap::resume(&here, context.next);
            space
        };
        loop {
            self.memory.machine.run(space, context);
            let here = vcpu.enter();
            trap::trap(&here, context.vector, context.next);
            let trap = Trap::decode(context);
            if let Some(status) = self.answer(&here, trap, context) {
                processes::exit(&here, space.0.into(), status.into());
                return status;
            }
            trap::resume(&here, context.next);
            drop(here);
            // Calls end objects, faults do not. Now no activation is there: what has ended can go.
            if trap == Trap::NativeCall {
                vcpu.clean();
            }
        }
    }

    /// Answers the trap that `context` holds; the exit status when it was the last one.
    fn answer(&self, here: &Here<'_>, trap: Trap, context: &mut Context) -> Option<u8> {
        let offence = match trap {
            Trap::NativeCall => {
                let gpr = &context.gpr;
                trap::call(here, gpr[0] >> 16, gpr[3]);
                let arguments = [gpr[3], gpr[4], gpr[5], gpr[6], gpr[7], gpr[8]];
                let after = match Call::decode(gpr[0], arguments) {
                    Some(call) => self.native_call(here, call),
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
            Trap::Access(address, access) => {
                mem::fault_start(here, address.value(), access.bits());
                let outcome = self.process.handle_fault(here, address, access);
                let why = outcome.map_or_else(|problem| problem as u64, |()| 0);
                mem::fault_end(here, address.value(), why);
                match outcome {
                    Ok(()) => return None,
                    Err(Problem::NoMemory) => Offence::NoMemory(address),
                    Err(_) => Offence::Segmentation(address),
                }
            }
            Trap::Timer => {
                self.memory.machine.rearm_timer();
                return None;
            }
            Trap::Nothing => return None,
            Trap::Offence(offence) => offence,
        };
        let (program, next, link) = (&self.program, context.next, context.link);
        self.memory.machine.console_line(format_args!(
            "{program}: {offence} (instruction {next:#x}, link {link:#x})"
        ));
        Some(128 + offence.signal() as u8)
    }
}

/// The whole pages that hold `range`.
fn pages(range: Range<u64>) -> Range<u64> {
    range.start & !(PAGE_SIZE - 1)..range.end.saturating_add(PAGE_SIZE - 1) & !(PAGE_SIZE - 1)
}

#[cfg(test)]
#[path = "kernel_tests.rs"]
mod tests;
