//! A kernel that does one thing and ends, for tests of the hypervisor: it boots as the K42 kernel
//! does (`kernel-arch`) and runs the test that `/chosen/bootargs` names: `test=NAME key=value ...`.
//!
//! Its console says `ok NAME`, or `not ok NAME: why`; some tests are meant to end otherwise.
#![no_std]
#![no_main]

extern crate alloc;

mod allocator;
mod attack;
mod bench;
mod coherence;
mod costs;
mod count;
mod create;
mod disjoint;
mod disk;
mod events;
mod faults;
mod fuzz;
mod grants;
mod isolation;
mod lan;
mod latency;
mod measure;
mod objects;
mod platform;
mod privilege;
mod random;
mod siblings;
mod sync;
mod talk;
mod trace;
mod traced;
mod upcall;
mod user;
mod vcpus;
mod work;

use kernel_arch::{Boot, boot, hypercall};

kernel_arch::main!(main);

/// Writes a line to the console.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => { kernel_arch::hypercall::print(format_args!("{}\n", format_args!($($text)*))) };
}

/// What a test came to: nothing to add, or what went wrong.
type Verdict = Result<(), alloc::string::String>;

/// A test.
type Test = fn(Boot, Options) -> Verdict;

const TESTS: &[(&str, Test)] = &[
    ("hello", talk::hello),
    ("time", talk::time),
    ("count", talk::count),
    ("spin", talk::spin),
    ("watchdog", talk::watchdog),
    ("jump", isolation::jump),
    ("read", isolation::read),
    ("write", isolation::write),
    ("chain", isolation::chain),
    ("fuzz", fuzz::fuzz),
    ("attack", attack::attack),
    ("platform", platform::platform),
    ("faults", faults::faults),
    ("hcall", bench::hypercall),
    ("alloc", allocator::pairs),
    ("echo", events::echo),
    ("ping", events::ping),
    ("lend", grants::lend),
    ("borrow", grants::borrow),
    ("balloon", grants::balloon),
    ("lanstation", lan::station),
    ("lanping", lan::ping),
    ("lansource", lan::source),
    ("laninternet", lan::internet),
    ("lansink", lan::sink),
    ("disk", disk::disk),
    ("diskreads", disk::reads),
    ("measure", measure::own),
    ("vcpus", vcpus::vcpus),
    ("switches", vcpus::switches),
    ("bug", siblings::bug),
    ("interrupted", siblings::interrupted),
    ("objects", objects::objects),
    ("calls", costs::calls),
    ("increments", costs::increments),
    ("sync", sync::figures),
    ("contention", sync::contention),
    ("wakes", costs::wakes),
    ("coherence", coherence::known),
    ("sharing", coherence::sharing),
    ("disjoint", disjoint::disjoint),
    ("signal", latency::signal),
    ("signalled", latency::signalled),
    ("timer", latency::timer),
    ("lateness", latency::lateness),
    ("create", create::create),
    ("trace", trace::own_calls),
    ("traced", traced::costs),
    ("work", work::work),
    ("periods", work::periods),
    ("priv", privilege::privileged_instruction),
    ("userhcall", privilege::hypercall_from_user),
];

/// The words of the kernel's options.
#[derive(Clone, Copy)]
pub struct Options(&'static str);

impl Options {
    fn text(self, key: &str) -> Option<&'static str> {
        let mut words = self.0.split_whitespace();
        words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// A number, decimal or hexadecimal.
    fn number(self, key: &str) -> Option<u64> {
        let text = self.text(key)?;
        match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        }
    }
}

fn main(boot: Boot) -> ! {
    let options = Options(boot.tree.chosen().bootargs().unwrap_or_default());
    let name = options.text("test").unwrap_or("hello");
    let Some((_, test)) = TESTS.iter().find(|(known, _)| *known == name) else {
        say!("not ok {name}: there is no such test");
        boot::exit(2)
    };
    match test(boot, options) {
        Ok(()) => {
            say!("ok {name}");
            hypercall::exit(0)
        }
        Err(problem) => {
            say!("not ok {name}: {problem}");
            hypercall::exit(1)
        }
    }
}
