//! The system library: Linux in a program's own address space. The kernel starts it; it loads the
//! program, enters it, and from then on serves its system calls.
#![no_std]
#![no_main]

extern crate alloc;

mod domain;
mod entry;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::panic::PanicInfo;
use domain::Domain;
use fdt::Fdt;
use fdt::node::FdtNode;
use kernel_abi::stub;
use libos::runtime::{self, Native};
use linux_syscalls::{Arguments, Errno, Hardware, Linux, Start};

/// Exit status when the program is not found, as shells have it.
const NOT_FOUND: u64 = 127;
/// Exit status when it cannot be run.
const NOT_RUNNABLE: u64 = 126;
/// Exit status when the library itself has gone wrong: that of an abort.
const ABORTED: u64 = 134;

/// The one Linux of the one program.
struct State(UnsafeCell<Option<Linux>>);

// SAFETY: the library runs on one thread, and only `start` and `serve` use its state, which never
// run inside each other.
unsafe impl Sync for State {}

static STATE: State = State(UnsafeCell::new(None));

/// The library's first Rust: device tree and root file system are mapped read-only.
#[unsafe(no_mangle)]
extern "C" fn start(
    tree: *const u8,
    tree_size: usize,
    files: *const u8,
    size: usize,
    version: u64,
) -> ! {
    // SAFETY: called once.
    if let Err(errno) = unsafe { runtime::start_heap() } {
        fail(NOT_RUNNABLE, &alloc::format!("no heap: error {errno}"));
    }
    // SAFETY: the kernel's promise: bytes that are mapped and never change.
    let tree = unsafe { core::slice::from_raw_parts(tree, tree_size) };
    // SAFETY: the same; without a root file system the size is zero and the address not null.
    let files = unsafe { core::slice::from_raw_parts(files, size) };
    // The entry is an address of the library's own.
    let _ = stub::set_entry_point(&Native, entry::system_call_address());
    match run(tree, files, version) {
        // SAFETY: the program was just loaded, and the library starts anew with its first call.
        Ok(start) => unsafe { entry::enter(start) },
        Err((status, problem)) => fail(status, &problem),
    }
}

/// Loads the program that the device tree names.
fn run(tree: &[u8], files: &'static [u8], processor_version: u64) -> Result<Start, (u64, String)> {
    let not_runnable = |problem: &str| (NOT_RUNNABLE, String::from(problem));
    let tree = Fdt::new(tree).map_err(|_| not_runnable("the device tree is broken"))?;
    let frequency = tree.cpus().next().map(|cpu| cpu.timebase_frequency() as u64);
    let timebase_frequency = frequency.ok_or_else(|| not_runnable("no processor is described"))?;
    let chosen = tree.find_node("/chosen").ok_or_else(|| not_runnable("nothing is chosen"))?;
    let program = strings(chosen, "k42,program").pop().unwrap_or_default();
    let arguments = strings(chosen, "k42,arguments");
    let environment = strings(chosen, "k42,environment");

    let memory_size =
        tree.memory().regions().filter_map(|region| region.size).sum::<usize>() as u64;
    let hardware = Hardware { processor_version, timebase_frequency, memory_size };
    let linux = Linux::new(Box::new(Domain), hardware, files).map_err(|broken| {
        let offset = broken.offset;
        (NOT_RUNNABLE, alloc::format!("the root file system is no archive at byte {offset}"))
    })?;
    // SAFETY: nothing else runs yet.
    let state = unsafe { &mut *STATE.0.get() };
    let linux = state.insert(linux);
    linux.execute(&program, arguments, &environment).map_err(|error| match error {
        Errno::ENOENT | Errno::ENOTDIR => (NOT_FOUND, String::from("not found")),
        Errno::EACCES => not_runnable("permission denied"),
        Errno::ENOEXEC => not_runnable("not a static program for this processor"),
        other => (NOT_RUNNABLE, alloc::format!("cannot be loaded: {other:?}")),
    })
}

/// A property that is a list of strings.
fn strings(node: FdtNode<'_, '_>, name: &str) -> Vec<Vec<u8>> {
    let value = node.property(name).map_or(&[][..], |property| property.value);
    let value = value.strip_suffix(b"\0").unwrap_or(value);
    if node.property(name).is_none_or(|property| property.value.is_empty()) {
        return Vec::new();
    }
    value.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
}

/// Serves a Linux system call.
#[unsafe(no_mangle)]
extern "C" fn serve(number: u64, arguments: &Arguments) -> i64 {
    // SAFETY: one thread; a call does not begin before the one before it has ended.
    let state = unsafe { &mut *STATE.0.get() };
    let Some(linux) = state else { fail(ABORTED, "a system call before there is a program") };
    let result = linux.system_call(number, arguments);
    match linux.take_start() {
        None => result,
        // SAFETY: the program was just loaded, and the one that made the call is gone.
        Some(start) => unsafe { entry::enter(start) },
    }
}

/// Ends the domain with a line that says why.
fn fail(status: u64, problem: &str) -> ! {
    // It fails for bad pointers only.
    let _ = stub::log(&Native, problem.as_ptr() as u64, problem.len() as u64);
    loop {
        let _ = stub::exit(&Native, status);
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    fail(ABORTED, &alloc::format!("the system library failed: {info}"))
}
