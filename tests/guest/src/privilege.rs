//! What a guest's kernel and its users may not do is theirs to hear of, not the hypervisor's.

use crate::user::{USER_AT, User};
use crate::{Options, Verdict};
use alloc::format;
use guest_kernel::context::Context;
use k42_lib::vector;
use kernel_arch::{Boot, entry};

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

/// A hypercall from user mode: a program interrupt in the guest's kernel.
pub fn hypercall_from_user(boot: Boot, _: Options) -> Verdict {
    let mut user = User::new(boot.domain, &USER)?;
    user.context.gpr[3] = hv_abi::Number::Xen(17).encode();
    let context = user.run()?;
    let program = context.vector == u64::from(vector::PROGRAM);
    if program && context.msr & PRIVILEGED != 0 && context.next == USER_AT {
        Ok(())
    } else {
        let Context { vector, next, msr, gpr, .. } = context;
        Err(format!("interrupt {vector:#x} at {next:#x}, state {msr:#x}, r3 {:#x}", gpr[3]))
    }
}
