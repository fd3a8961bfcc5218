//! Users that tests run: a few instructions in an address space of their own.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use guest_kernel::context::Context;
use guest_kernel::fcm::Image;
use guest_kernel::fcm::computation::{self, Source};
use guest_kernel::problem::Problem;
use guest_kernel::process::{self, Memory, Process};
use guest_kernel::region::Kind;
use k42_lib::radix::Access;
use k42_lib::{EffAddr, msr, vector};
use k42_object::{Here, Ref, Vcpu};
use kernel_arch::{Domain, guest_address};

/// Where a user's code is.
pub const USER_AT: u64 = 0x1_0000;

/// A user, who runs some code at [`USER_AT`].
pub struct User {
    memory: Memory,
    vcpu: Vcpu,
    process: Ref<dyn Process>,
    /// Its registers.
    pub context: Context,
}

impl User {
    /// A user who is about to run these instructions.
    pub fn new(machine: Domain, code: &'static [u32]) -> Result<User, String> {
        let frames = machine.frames().to_vec();
        let memory = Memory::new(Arc::new(machine), frames, 1);
        // The one vCPU that knows objects, whichever it is that runs the user.
        let vcpu = k42_object::vcpus(1).remove(0);
        let process = process(&vcpu.enter(), &memory, code).map_err(told)?;
        let state = msr::SF | msr::EE | msr::PR | msr::ME | msr::IR | msr::DR | msr::RI | msr::LE;
        let context = Context { next: USER_AT, msr: state, ..Context::default() };
        Ok(User { memory, vcpu, process, context })
    }

    /// Runs it until an interrupt that is neither for want of its code nor the decrementer's.
    pub fn run(&mut self) -> Result<&Context, String> {
        let machine = &self.memory.machine;
        let space = self.process.space(&self.vcpu.enter()).map_err(told)?;
        loop {
            machine.run(space, &mut self.context);
            match self.context.vector as u16 {
                vector::DECREMENTER => machine.rearm_timer(),
                vector::INSTRUCTION_STORAGE => {
                    let at = EffAddr::new(self.context.next);
                    let here = self.vcpu.enter();
                    self.process.handle_fault(&here, at, Access::EXECUTE).map_err(told)?;
                }
                _ => return Ok(&self.context),
            }
        }
    }
}

fn told(problem: Problem) -> String {
    format!("{problem:?}")
}

/// A process that has this code, and nothing else.
pub fn process(
    here: &Here<'_>,
    memory: &Memory,
    code: &'static [u32],
) -> Result<Ref<dyn Process>, Problem> {
    let process = process::create(here, memory)?;
    let code = Image { start: guest_address(&raw const *code), size: size_of_val(code) as u64 };
    let fcm = computation::create(here, &memory.machine, &memory.pm, Source::Image(code))?;
    let (range, access) = (USER_AT..USER_AT + 0x1_0000, Access::READ | Access::EXECUTE);
    process.create_region(here, range, Kind::Default, access, fcm)?;
    Ok(process)
}
