//! The K42 kernel's image: the kernel's objects (`guest-kernel`) on a domain (`kernel-arch`).
#![no_std]
#![no_main]

use guest_kernel::Kernel;
use guest_kernel::boot_info::BootInfo;
use guest_kernel::pm::PageManager;
use kernel_arch::{Boot, boot};

kernel_arch::main!(main);

fn main(boot: Boot) -> ! {
    let status = run(boot).unwrap_or_else(|problem| panic!("cannot start: {problem}"));
    boot::exit(status)
}

/// Runs the domain's program; returns its exit status.
fn run(boot: Boot) -> Result<u8, &'static str> {
    let info = BootInfo::read(&boot.tree, boot.tree_at)?;
    let pm = PageManager::new(boot.domain.frames().iter().cloned());
    let version = boot.domain.processor_version();
    let (mut kernel, mut library) = Kernel::new(boot.domain, pm, &info, version)?;
    Ok(kernel.run(&mut library))
}
