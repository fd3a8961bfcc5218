//! The project's figures: instructions under `-icount`, and sizes. Not a test: it prints.
//!
//! With `shift=0` an instruction takes one nanosecond of the emulated time, whatever else the host
//! does, and the timebase counts them, 0.512 ticks each (docs/measuring.md).
#![forbid(unsafe_code)]

use k42_tests::{KERNELS, Machine, Model, describe};

/// One instruction is one nanosecond; what else is in the options makes runs repeatable.
const COUNTED: [&str; 6] =
    ["-icount", "shift=0,sleep=off", "-rtc", "base=2024-01-01,clock=vm", "-seed", "1"];

fn main() -> anyhow::Result<()> {
    println!("Instructions, counted by QEMU (-icount)\n");
    println!("{:<44}{:>12}{:>12}", "", "powernv9", "powernv10");
    row("null hypercall, K42 guest, round trip", null_hypercall)?;
    let [k42, linux]: [Vec<u64>; 2] = getppid()?;
    print_row("getppid, reflected in a K42 domain", &k42);
    print_row("getppid, the same program under Linux", &linux);
    let [k42, linux]: [Vec<u64>; 2] = starts()?;
    print_row("hypervisor entry to first instruction: K42", &k42);
    print_row("  the same, Linux 6.12 (512 MiB), after it", &linux);
    sizes()
}

fn instructions(ticks: u64) -> u64 {
    ticks * 1000 / 512
}

fn print_row(name: &str, figures: &[u64]) {
    print!("{name:<44}");
    for figure in figures {
        print!("{figure:>12}");
    }
    println!();
}

fn row(name: &str, measure: fn(Model) -> anyhow::Result<u64>) -> anyhow::Result<()> {
    let figures: anyhow::Result<Vec<u64>> = k42_tests::MODELS.into_iter().map(measure).collect();
    print_row(name, &figures?);
    Ok(())
}

/// What the guest says it measured.
fn figure(machine: &mut Machine, console: &str, name: &str) -> anyhow::Result<u64> {
    let text = machine.console(console).expect(&format!(r"^BENCH {name} +(\d+) "))?;
    Ok(text.parse()?)
}

fn null_hypercall(model: Model) -> anyhow::Result<u64> {
    let domains = vec![describe::bare("guest", "test=hcall")];
    let mut machine =
        Machine::boot_with(&describe::machine("bench-hypercall", model, domains), &COUNTED)?;
    figure(&mut machine, "guest", "null-hypercall")
}

/// A K42 and a Linux domain with the same program, side by side in one run.
fn side_by_side(model: Model) -> anyhow::Result<Machine> {
    let domains = vec![
        describe::k42("k42", &["/bin/getppid"]),
        describe::linux("linux", KERNELS[1], r#"quiet mitigations=off run="/bin/getppid""#),
    ];
    Machine::boot_with(&describe::machine("bench-getppid", model, domains), &COUNTED)
}

fn getppid() -> anyhow::Result<[Vec<u64>; 2]> {
    let mut figures = [Vec::new(), Vec::new()];
    for model in k42_tests::MODELS {
        let mut machine = side_by_side(model)?;
        for (figures, console) in figures.iter_mut().zip(["k42", "linux"]) {
            figures.push(figure(&mut machine, console, "getppid")?);
        }
    }
    Ok(figures)
}

fn starts() -> anyhow::Result<[Vec<u64>; 2]> {
    let mut figures = [Vec::new(), Vec::new()];
    for model in k42_tests::MODELS {
        let mut machine = side_by_side(model)?;
        for (figures, console) in figures.iter_mut().zip(["k42", "linux"]) {
            figures.push(instructions(machine.console(console).started()?));
        }
    }
    Ok(figures)
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
