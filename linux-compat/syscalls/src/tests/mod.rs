//! The library on the kernel's own objects, on the fake machine: a program's calls without its
//! instructions.

mod calls;
mod programs;

use crate::{Arguments, Hardware, Linux, Outcome, System};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;
use core::ops::DerefMut;
use guest_kernel::Kernel;
use guest_kernel::boot_info::{BootInfo, Library};
use guest_kernel::calls::After;
use guest_kernel::fake::{Fake, State};
use guest_kernel::fcm::Image;
use k42_object::Vcpu;
use kernel_abi::{Call, Error, MAX_ARGUMENTS, Trap};
use libos::console;

/// The kernel, and how the program ended.
#[derive(Clone)]
pub(crate) struct Below(Rc<Parts>);

struct Parts {
    machine: Arc<Fake>,
    vcpu: Vcpu,
    kernel: Kernel,
    ended: Cell<Option<u8>>,
}

impl Trap for Below {
    fn native(&self, r0: u64, arguments: [u64; MAX_ARGUMENTS]) -> u64 {
        let Parts { vcpu, kernel, ended, .. } = &*self.0;
        let Some(call) = Call::decode(r0, arguments) else {
            return Error::NoSuchCall.to_register();
        };
        match kernel.native_call(&vcpu.enter(), call) {
            After::Resume(outcome) => outcome.unwrap_or_else(Error::to_register),
            After::Exit(status) => {
                ended.set(Some(status));
                0
            }
        }
    }
}

impl System for Below {
    fn load(&self, from: u64, into: &mut [u8]) {
        let Parts { machine, vcpu, kernel, .. } = &*self.0;
        let loaded = kernel.user_load(&vcpu.enter(), machine, from, into);
        loaded.expect("the library checked the pointer");
    }
    fn store(&self, to: u64, bytes: &[u8]) {
        let Parts { machine, vcpu, kernel, .. } = &*self.0;
        let stored = kernel.user_store(&vcpu.enter(), machine, to, bytes);
        stored.expect("the library checked the pointer");
    }
    fn console_read(&self, into: &mut [u8], deadline: u64) -> usize {
        let mut machine = self.machine();
        if machine.input.is_empty() && deadline == u64::MAX {
            machine.input.push_back(console::END);
        }
        let count = machine.input.len().min(into.len());
        into.iter_mut().zip(machine.input.drain(..count)).for_each(|(to, byte)| *to = byte);
        machine.time = if count == 0 { deadline } else { machine.time };
        count
    }
    fn console_write(&self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.machine().output.push_str(&text);
    }
    fn log(&self, line: &str) {
        let output = &mut self.machine().output;
        output.push_str(line);
        output.push('\n');
    }
    fn timebase(&self) -> u64 {
        self.machine().time
    }
    fn random(&self) -> u64 {
        4
    }
}

/// Adds a file to an archive.
fn append(image: &mut Vec<u8>, name: &str, mode: u32, data: &[u8]) {
    let header = [mode, 0, 0, 1, 1000, data.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
    image.extend_from_slice(b"07070100000001");
    header
        .iter()
        .for_each(|field| image.extend_from_slice(alloc::format!("{field:08x}").as_bytes()));
    for bytes in [[name.as_bytes(), b"\0"].concat(), data.to_vec()] {
        image.extend_from_slice(&bytes);
        image.resize(image.len().next_multiple_of(4), 0);
    }
}

/// A machine with these files.
pub(crate) fn machine(files: &[(&str, u32, &[u8])]) -> (Linux, Below) {
    let mut image = Vec::new();
    files.iter().for_each(|(name, mode, data)| append(&mut image, name, *mode, data));
    append(&mut image, "TRAILER!!!", 0, b"");
    let image: &'static [u8] = Box::leak(image.into_boxed_slice());
    let (fake, memory) = Fake::with_frames(400, 1);
    let start = fake.place_image(image);
    let boot = BootInfo {
        device_tree: Image { start, size: 8 },
        root_file_system: Image { start, size: image.len() as u64 },
        library: Library { entry: 0, segments: vec![] },
        program: "/bin/test".into(),
    };
    let vcpu = k42_object::vcpus(1).remove(0);
    let (kernel, _) = Kernel::new(&vcpu.enter(), memory, &boot, 0).unwrap();
    let below = Below(Rc::new(Parts { machine: fake, vcpu, kernel, ended: Cell::new(None) }));
    let hardware =
        Hardware { processor_version: 0x4e_1202, timebase_frequency: 1000, memory_size: 400 << 16 };
    (Linux::new(Box::new(below.clone()), hardware, image).unwrap(), below)
}

/// Where tests keep what they point to.
pub(crate) const SCRATCH: u64 = 0x10_0000;

/// A machine with some files, and 64 KiB of memory at [`SCRATCH`].
pub(crate) fn ready() -> (Linux, Below) {
    let (mut linux, below) = machine(&[
        ("etc", 0o040_755, b""),
        ("etc/motd", 0o100_644, b"welcome"),
        ("etc/link", 0o120_777, b"motd"),
        ("dev/zero", 0o020_666, b""),
    ]);
    linux.map_at(SCRATCH..SCRATCH + 0x1_0000, 3, None, false).unwrap();
    (linux, below)
}

/// Makes a call by its name.
pub(crate) fn call(linux: &mut Linux, name: &str, arguments: &[u64]) -> Outcome {
    let row = crate::table::ROWS.iter().find(|row| row.name == name).expect("a call of the ABI");
    let mut all: Arguments = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    row.handler.expect("it is there")(linux, &all)
}

impl Below {
    pub(crate) fn machine(&self) -> impl DerefMut<Target = State> {
        self.0.machine.state()
    }
    pub(crate) fn output(&self) -> String {
        core::mem::take(&mut self.machine().output)
    }
    pub(crate) fn input(&self, bytes: &[u8]) {
        self.machine().input.extend(bytes);
    }
    pub(crate) fn ended(&self) -> Option<u8> {
        self.0.ended.get()
    }
    pub(crate) fn bytes(&self, at: u64, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.load(at, &mut bytes);
        bytes
    }
    pub(crate) fn word(&self, at: u64) -> u64 {
        u64::from_le_bytes(self.bytes(at, 8).try_into().unwrap())
    }
}
