//! Linux for a program in its own address space: system calls by topic, and the loader.
//!
//! [`table`] has every call of the ABI with its state; a call that is not there yet says so once on
//! the console and gives ENOSYS. The topics are [`files`], [`directories`], [`status`], [`polling`],
//! [`memory`], [`process`], [`identity`], [`time`] and [`signals`]. [`loader`] and [`stack`] make a
//! program ready to run. What a program points to is checked in [`user`], against what the library
//! has mapped for it.
//!
//! Nothing here is unsafe or depends on the machine: [`System`] is implemented by
//! `linux-compat/image` in a domain, and by the tests on the kernel's objects themselves.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod abi;
pub mod directories;
pub mod errno;
pub mod files;
pub mod identity;
pub mod loader;
pub mod memory;
pub mod polling;
pub mod process;
pub mod signals;
pub mod stack;
pub mod status;
pub mod table;
#[cfg(test)]
mod tests;
pub mod time;
pub mod user;

pub use errno::Errno;

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use libos::console::Input;
use libos::descriptors::Descriptors;
use libos::files::{Files, NodeId};

/// The six arguments of a system call, r3 to r8.
pub type Arguments = [u64; 6];

/// What a call gives.
pub type Outcome = Result<u64, Errno>;

/// What the library has below it: the kernel's native calls, and its own address space.
pub trait System: kernel_abi::Trap {
    /// Loads the program's bytes. The caller has checked that they are there.
    fn load(&self, from: u64, into: &mut [u8]);
    /// Stores into the program's memory. The caller has checked that it may.
    fn store(&self, to: u64, bytes: &[u8]);
    /// Reads the console: as native call `console_read`, into the library's own memory.
    fn console_read(&self, into: &mut [u8], deadline: u64) -> usize;
    /// Writes the library's own bytes to the console.
    fn console_write(&self, bytes: &[u8]);
    /// One line of the library's own on the console.
    fn log(&self, line: &str);
    /// Now, in ticks of the timebase.
    fn timebase(&self) -> u64;
    /// A random number.
    fn random(&self) -> u64;
}

/// What a domain's machine is, as far as a program can tell.
#[derive(Clone, Copy, Debug)]
pub struct Hardware {
    /// The processor version register.
    pub processor_version: u64,
    /// Ticks of the timebase in a second.
    pub timebase_frequency: u64,
    /// Bytes of memory.
    pub memory_size: u64,
}

/// Where a program starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Address of its first instruction.
    pub entry: u64,
    /// Its stack pointer.
    pub stack: u64,
}

/// Linux, as one program sees it.
pub struct Linux {
    system: Box<dyn System>,
    hardware: Hardware,
    /// The image that `files` was read from; file mappings name offsets in it.
    image: &'static [u8],
    files: Files<'static>,
    descriptors: Descriptors,
    directory: NodeId,
    memory: memory::AddressSpace,
    process: process::Process,
    signals: signals::Signals,
    input: Input,
    unimplemented: BTreeSet<u64>,
    /// A program has been loaded over the one that made the call.
    start: Option<Start>,
}

impl Linux {
    /// Linux without a program, on this root file system.
    ///
    /// # Errors
    /// What is wrong with the image.
    pub fn new(
        system: Box<dyn System>,
        hardware: Hardware,
        image: &'static [u8],
    ) -> Result<Linux, libos::cpio::Broken> {
        let mut files = Files::read(image)?;
        let devices: [(&[u8], u32, u32); 7] = [
            (b"dev/null", 1, 3),
            (b"dev/zero", 1, 5),
            (b"dev/full", 1, 7),
            (b"dev/random", 1, 8),
            (b"dev/urandom", 1, 9),
            (b"dev/tty", 5, 0),
            (b"dev/console", 5, 1),
        ];
        for (path, major, minor) in devices {
            files.provide_device(path, major, minor);
        }
        let mut linux = Linux {
            system,
            hardware,
            image,
            files,
            descriptors: Descriptors::default(),
            directory: Files::ROOT,
            memory: memory::AddressSpace::default(),
            process: process::Process::default(),
            signals: signals::Signals::default(),
            input: Input::new(),
            unimplemented: BTreeSet::new(),
            start: None,
        };
        linux.open_console();
        Ok(linux)
    }

    /// Serves a system call. The result is negative when it failed.
    #[inline]
    pub fn system_call(&mut self, number: u64, arguments: &Arguments) -> i64 {
        let outcome = match table::handler(number) {
            Some(handler) => handler(self, arguments),
            None => self.not_implemented(number),
        };
        match outcome {
            Ok(value) => value.cast_signed(),
            Err(errno) => -i64::from(errno as u16),
        }
    }

    /// Where to go on when the last call has put a new program in place.
    #[inline]
    pub fn take_start(&mut self) -> Option<Start> {
        self.start.take()
    }

    /// Says, once for each call, that it is not there.
    #[cold]
    fn not_implemented(&mut self, number: u64) -> Outcome {
        if self.unimplemented.insert(number) {
            match table::name(number) {
                Some(name) => self.log(format_args!("system call {name} is not implemented")),
                None => self.log(format_args!("there is no system call {number}")),
            }
        }
        Err(Errno::ENOSYS)
    }

    fn log(&self, line: core::fmt::Arguments<'_>) {
        self.system.log(&alloc::format!("{line}"));
    }
}
