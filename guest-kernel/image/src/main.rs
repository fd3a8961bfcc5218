//! The K42 kernel's image: the kernel's objects (`guest-kernel`) on a domain (`kernel-arch`).
//!
//! The first vCPU runs the program. The others have nothing to run yet: they do their part in ending
//! clustered objects, give back the memory that they do not use, and sleep.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::sync::Arc;
use guest_kernel::Kernel;
use guest_kernel::boot_info::BootInfo;
use guest_kernel::process::Memory;
use k42_object::Vcpu;
use kernel_arch::{Boot, boot, heap, registers};

kernel_arch::main!(main);

fn main(boot: Boot) -> ! {
    let status = run(boot).unwrap_or_else(|problem| panic!("cannot start: {problem}"));
    boot::exit(status)
}

/// Ticks between two looks of an idle vCPU's at objects that end: 10 ms.
const TICK: u64 = 5_120_000;

/// Runs the domain's program; returns its exit status.
fn run(boot: Boot) -> Result<u8, &'static str> {
    let vcpus = k42_object::vcpus(boot.vcpus);
    vcpus.iter().zip(&boot.traces).for_each(|(vcpu, trace)| vcpu.trace_to(trace));
    let mut vcpus = vcpus.into_iter();
    let first = vcpus.next().ok_or("the domain has no vCPU")?;
    for (number, vcpu) in (1..).zip(vcpus) {
        kernel_arch::start(number, move || idle(&vcpu))?;
    }
    let info = BootInfo::read(&boot.tree, boot.tree_at)?;
    let version = boot.domain.processor_version();
    let frames = boot.domain.frames().to_vec();
    let memory = Memory::new(Arc::new(boot.domain), frames, boot.vcpus);
    let (kernel, mut library) = Kernel::new(&first.enter(), memory, &info, version)?;
    Ok(kernel.run(&first, &mut library))
}

fn idle(vcpu: &Vcpu) {
    loop {
        vcpu.clean();
        heap::pinned().tidy();
        kernel_arch::sleep(registers::timebase() + TICK);
    }
}
