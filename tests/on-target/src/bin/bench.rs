//! Prints the project's figures: instructions under `-icount`, and sizes. Not a test.
#![forbid(unsafe_code)]

use k42_tests::MODELS;
use k42_tests::figures::{SideBySide, null_hypercall, side_by_side};

fn main() -> anyhow::Result<()> {
    let hypercalls: Vec<u64> =
        MODELS.into_iter().map(null_hypercall).collect::<anyhow::Result<_>>()?;
    let pairs: Vec<SideBySide> =
        MODELS.into_iter().map(side_by_side).collect::<anyhow::Result<_>>()?;
    let column = |pick: fn(&SideBySide) -> u64| pairs.iter().map(pick).collect::<Vec<u64>>();

    println!("Instructions, counted by QEMU (-icount)\n");
    println!("{:<44}{:>12}{:>12}", "", "powernv9", "powernv10");
    row("null hypercall, K42 guest, round trip", &hypercalls);
    row("getppid, reflected in a K42 domain", &column(|pair| pair.k42));
    row("getppid, the same program under Linux", &column(|pair| pair.linux));
    row("hypervisor entry to first instruction: K42", &column(|pair| pair.k42_start));
    row("  the same, Linux 6.12 (512 MiB), after it", &column(|pair| pair.linux_start));
    sizes()
}

fn row(name: &str, figures: &[u64]) {
    print!("{name:<44}");
    for figure in figures {
        print!("{figure:>12}");
    }
    println!();
}

fn sizes() -> anyhow::Result<()> {
    let (code, assembly) = k42_audit::hypervisor()?;
    println!("\nSizes of the hypervisor (all code that runs in hypervisor mode)\n");
    println!("lines of Rust, without tests                {:>12}", code.code);
    println!("lines of Rust, with tests of these crates   {:>12}", code.code + code.tests);
    println!("lines of comment                            {:>12}", code.comment);
    println!("lines of assembly                           {:>12}", assembly.code);
    println!("unsafe blocks, functions, implementations   {:>12}", code.unsafes);
    for image in ["hypervisor", "guest-kernel", "linux-compat"] {
        let bytes = k42_audit::image::loaded_bytes(image)?;
        println!("bytes of the image {image:<25}{bytes:>12}");
    }
    Ok(())
}
