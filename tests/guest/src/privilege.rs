//! What a guest's kernel and its users may not do is theirs to hear of, not the hypervisor's.

use crate::{Options, Verdict};
use alloc::format;
use alloc::sync::Arc;
use guest_kernel::context::Context;
use guest_kernel::fcm::Image;
use guest_kernel::fcm::computation::{self, Source};
use guest_kernel::problem::Problem;
use guest_kernel::process::{self, Memory, Process};
use guest_kernel::region::Kind;
use k42_lib::radix::Access;
use k42_lib::{EffAddr, msr, vector};
use kernel_arch::{Boot, entry, guest_address};

/// SRR1 after a program interrupt: privileged instruction (Power ISA v3.0B, Book III, 6.5.9).
const PRIVILEGED: u64 = 0x0004_0000;

/// An instruction of the hypervisor's, in the guest's own kernel: a program interrupt there.
pub fn privileged_instruction(_: Boot, _: Options) -> Verdict {
    match entry::violate_privilege() {
        vector if vector == u64::from(vector::PROGRAM) => Ok(()),
        vector => Err(format!("interrupt {vector:#x}")),
    }
}

/// `sc 1`, and a branch to itself.
static USER: [u32; 2] = [0x4400_0022, 0x4800_0000];
/// Where the user runs.
const USER_AT: u64 = 0x1_0000;

/// A hypercall from user mode: a program interrupt in the guest's kernel.
pub fn hypercall_from_user(boot: Boot, _: Options) -> Verdict {
    let frames = boot.domain.frames().to_vec();
    let memory = Memory::new(Arc::new(boot.domain), frames, 1);
    let vcpu = k42_object::vcpus(1).remove(0);
    let here = &vcpu.enter();
    let problem = |problem: Problem| format!("{problem:?}");
    let process = process::create(here, &memory).map_err(problem)?;
    let code = Image { start: guest_address(&raw const USER), size: size_of_val(&USER) as u64 };
    let (range, access) = (USER_AT..USER_AT + 0x1_0000, Access::READ | Access::EXECUTE);
    let fcm = computation::create(here, &memory.machine, &memory.pm, Source::Image(code));
    let made = fcm.and_then(|fcm| process.create_region(here, range, Kind::Default, access, fcm));
    made.map_err(problem)?;
    let (space, machine) = (process.space(here).map_err(problem)?, &memory.machine);

    let state = msr::SF | msr::PR | msr::ME | msr::IR | msr::DR | msr::RI | msr::LE;
    let mut context = Context { next: USER_AT, msr: state, ..Context::default() };
    context.gpr[3] = hv_abi::Number::Xen(17).encode();
    machine.run(space, &mut context);
    if context.vector != u64::from(vector::INSTRUCTION_STORAGE) {
        return Err(format!("the first fetch gave interrupt {:#x}", context.vector));
    }
    let at = EffAddr::new(context.next);
    process.handle_fault(here, at, Access::EXECUTE).map_err(problem)?;
    machine.run(space, &mut context);
    let program = context.vector == u64::from(vector::PROGRAM);
    if program && context.msr & PRIVILEGED != 0 && context.next == USER_AT {
        Ok(())
    } else {
        let Context { vector, next, msr, .. } = context;
        Err(format!("interrupt {vector:#x} at {next:#x}, state {msr:#x}, r3 {:#x}", context.gpr[3]))
    }
}
