//! Prints the project's figures: instructions under `-icount`, and sizes. Not a test.
#![forbid(unsafe_code)]

use k42_tests::figures::{event_round_trip, null_hypercall, side_by_side, start};
use k42_tests::{KERNELS, MODELS, Model, describe};

fn main() -> anyhow::Result<()> {
    let hypercalls = on_both(null_hypercall)?;
    let events = on_both(event_round_trip)?;
    let pairs = on_both(side_by_side)?;
    let k42 = on_both(|model| start(model, describe::k42("k42", &["true"])))?;
    let linux = on_both(|model| start(model, describe::linux("linux", KERNELS[1], "quiet")))?;

    println!("Instructions, counted by QEMU (-icount)\n");
    println!("{:<44}{:>12}{:>12}", "", "powernv9", "powernv10");
    row("null hypercall, K42 guest, round trip", &hypercalls);
    row("event to another domain and back", &events);
    row("getppid, reflected in a K42 domain", &pairs.map(|pair| pair.k42));
    row("getppid, the same program under Linux", &pairs.map(|pair| pair.linux));
    row("entry to first instruction, K42, 64 MiB", &k42);
    row("entry to first instruction, Linux, 512 MiB", &linux);
    sizes()
}

/// The figure on each machine.
fn on_both<T>(measure: fn(Model) -> anyhow::Result<T>) -> anyhow::Result<[T; 2]> {
    let [old, new] = MODELS;
    Ok([measure(old)?, measure(new)?])
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
