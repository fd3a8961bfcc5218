//! The controller: a program in a domain of its own that starts the domains of an archive, waits
//! for their ends, and starts those again that ask for a reboot.
//!
//! The archive is the hypervisor's own format (`boot/archive`), with domains that the host tool has
//! built: here bytes are copied, and declared for the measurement log. `control` makes the calls; `window` is how another domain's memory
//! is filled, and where the page lies that the hypervisor shares with this domain. All of it runs
//! in real mode: an address is a guest real one.
//!
//! Options: `cycles=N` starts every domain N times; `end=NAME,NAME` ends domains that would not
//! end by themselves as soon as another has ended.
#![no_std]
#![no_main]

extern crate alloc;

mod control;
mod window;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use boot_archive::{Archive, DomainImage};
use control::State;
use k42_measure::Digest;
use kernel_arch::{Boot, boot, bug, entry, hypercall};
use window::Window;

kernel_arch::main!(main);

/// Writes a line to the console.
macro_rules! say {
    ($($text:tt)*) => { hypercall::print(format_args!("{}\n", format_args!($($text)*))) };
}

/// A domain that is the controller's.
struct Domain<'a> {
    image: DomainImage<'a>,
    /// Of what is loaded into its memory.
    digests: Vec<Digest>,
    starts: u64,
    /// It has been told to end.
    ending: bool,
    done: bool,
}

fn main(boot: Boot) -> ! {
    // SAFETY: the kernel's addresses mean the same in real mode.
    unsafe { entry::set_machine_state(entry::REAL_MSR) };
    bug::ignore_interrupts();
    match run(&boot) {
        Ok(()) => hypercall::exit(0),
        Err(problem) => {
            say!("controller: {problem}");
            boot::exit(1)
        }
    }
}

fn run(boot: &Boot) -> Result<(), String> {
    let bytes = window::archive(&boot.tree)?;
    let archive = Archive::parse(bytes).map_err(|error| format!("{error}"))?;
    let words = boot.tree.chosen().bootargs().unwrap_or_default().split_whitespace();
    let option = |name| words.clone().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let cycles: u64 = match option("cycles").map(str::parse) {
        None => 1,
        Some(Ok(cycles)) => cycles,
        Some(Err(_)) => return Err(String::from("cycles= wants a number")),
    };
    let ended_by_us: Vec<&str> = option("end").unwrap_or_default().split(',').collect();

    let window = Window::new()?;
    let port = control::bind_ends()?;
    let before = control::free_pages()?;
    let mut domains = Vec::new();
    for image in archive.domains() {
        let image = image.map_err(|error| format!("{error}"))?;
        let digests = image.loads().map(|load| Digest::of(load.data)).collect();
        domains.push(Domain { image, digests, starts: 0, ending: false, done: false });
    }
    for domain in &mut domains {
        start(domain, &window)?;
    }
    while domains.iter().any(|domain| !domain.done) {
        let mut some_ended = false;
        for domain in domains.iter_mut().filter(|domain| !domain.done) {
            let state = control::state(domain.image.number)?;
            let again = match state {
                State::Alive => continue,
                State::Gone => false,
                State::Ended { reboot } => {
                    control::destroy(domain.image.number)?; // its end has been seen
                    reboot
                }
            };
            some_ended = true;
            domain.done = domain.starts >= cycles && !again;
            if !domain.done {
                start(domain, &window)?;
            }
        }
        let idle =
            |d: &&mut Domain<'_>| !d.done && !d.ending && ended_by_us.contains(&d.image.name);
        for domain in domains.iter_mut().filter(idle).filter(|_| some_ended) {
            control::destroy(domain.image.number)?;
            domain.ending = true;
        }
        if !some_ended {
            window.wait(port);
        }
    }
    let starts: u64 = domains.iter().map(|domain| domain.starts).sum();
    let after = control::free_pages()?;
    say!("{starts} starts, free pages: {before} before, {after} after");
    if before == after { Ok(()) } else { Err(String::from("memory has been lost")) }
}

/// Makes the domain, fills its memory and lets it run.
fn start(domain: &mut Domain<'_>, window: &Window) -> Result<(), String> {
    let image = &domain.image;
    let name = image.name;
    let wrong = |what: &str, error: i64| format!("{name}: {what}: error {error}");
    control::create(image).map_err(|error| wrong("it cannot be made", error))?;
    control::populate(image).map_err(|error| wrong("there is no memory for it", error))?;
    for (load, digest) in image.loads().zip(&domain.digests) {
        window
            .copy(image.number, load.guest_address, load.data)
            .map_err(|error| wrong("its memory cannot be filled", error))?;
        control::declare(image.number, &load, digest)
            .map_err(|error| wrong("what is loaded cannot be logged", error))?;
    }
    control::share(image).map_err(|error| wrong("it gets no such part of the time", error))?;
    control::launch(image).map_err(|error| wrong("it cannot be started", error))?;
    domain.starts += 1;
    domain.ending = false;
    Ok(())
}
