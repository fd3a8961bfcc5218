//! What a guest's kernel and its users may not do is theirs to hear of, not the hypervisor's.

use crate::{Options, Verdict};
use alloc::format;
use alloc::string::String;
use guest_kernel::Machine;
use guest_kernel::context::Context;
use guest_kernel::fcm::{Backing, Image};
use guest_kernel::machine::SpaceId;
use guest_kernel::pm::PageManager;
use guest_kernel::process::Process;
use guest_kernel::region::Kind;
use k42_lib::radix::Access;
use k42_lib::{EffAddr, msr, vector};
use kernel_arch::{Boot, Domain, entry, guest_address};

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

/// A user, who runs some code at [`USER_AT`].
pub struct User {
    machine: Domain,
    pm: PageManager,
    process: Process,
    context: Context,
}

impl User {
    /// A user who is about to run two instructions.
    pub fn new(mut machine: Domain, code: &'static [u32; 2]) -> Result<User, String> {
        let mut pm = PageManager::new(machine.frames().iter().cloned());
        let no_memory = |_| String::from("no memory");
        let mut process = Process::new(SpaceId(1), &mut pm, &mut machine).map_err(no_memory)?;
        let code = Image { start: guest_address(&raw const *code), size: size_of_val(code) as u64 };
        let (range, access) = (USER_AT..USER_AT + 0x1_0000, Access::READ | Access::EXECUTE);
        process
            .create_region(range, Kind::Default, access, Backing::Copy(code))
            .map_err(|error| format!("{error:?}"))?;
        let state = msr::SF | msr::EE | msr::PR | msr::ME | msr::IR | msr::DR | msr::RI | msr::LE;
        let context = Context { next: USER_AT, msr: state, ..Context::default() };
        Ok(User { machine, pm, process, context })
    }

    /// Runs it until an interrupt that is neither for want of its code nor the decrementer's.
    pub fn run(&mut self) -> Result<&Context, String> {
        loop {
            self.machine.run(SpaceId(1), &mut self.context);
            match self.context.vector as u16 {
                vector::DECREMENTER => self.machine.rearm_timer(),
                vector::INSTRUCTION_STORAGE => {
                    let at = EffAddr::new(self.context.next);
                    self.process
                        .handle_fault(at, Access::EXECUTE, &mut self.pm, &mut self.machine)
                        .map_err(|fault| format!("{fault:?}"))?;
                }
                _ => return Ok(&self.context),
            }
        }
    }
}
