//! The K42 kernel's image: the kernel's objects (`guest-kernel`) on a domain (`kernel-arch`).
//!
//! The first vCPU runs the program. The others have nothing to run yet: they do their part in ending
//! clustered objects, and sleep.
#![no_std]
#![no_main]

use guest_kernel::Kernel;
use guest_kernel::boot_info::BootInfo;
use guest_kernel::pm::PageManager;
use k42_object::Vcpu;
use kernel_arch::{Boot, boot, registers};

kernel_arch::main!(main);

fn main(boot: Boot) -> ! {
    let status = run(boot).unwrap_or_else(|problem| panic!("cannot start: {problem}"));
    boot::exit(status)
}

/// Ticks between two looks of an idle vCPU's at objects that end: 10 ms.
const TICK: u64 = 5_120_000;

/// Runs the domain's program; returns its exit status.
fn run(boot: Boot) -> Result<u8, &'static str> {
    start_vcpus(boot.vcpus)?;
    let info = BootInfo::read(&boot.tree, boot.tree_at)?;
    let pm = PageManager::new(boot.domain.frames().iter().cloned());
    let version = boot.domain.processor_version();
    let (mut kernel, mut library) = Kernel::new(boot.domain, pm, &info, version)?;
    Ok(kernel.run(&mut library))
}

/// Gives each vCPU its part in clustered objects. The first one's is found by [`kernel_arch::kept`].
fn start_vcpus(count: u32) -> Result<(), &'static str> {
    for (number, vcpu) in (0..).zip(k42_object::vcpus(count)) {
        if number == 0 {
            kernel_arch::keep(vcpu).map_err(|_| "something is kept already")?;
        } else {
            kernel_arch::start(number, move || idle(&vcpu))?;
        }
    }
    Ok(())
}

fn idle(vcpu: &Vcpu) {
    loop {
        vcpu.clean();
        kernel_arch::sleep(registers::timebase() + TICK);
    }
}
