//! A machine that runs on the host: memory is a vector, and a TLB remembers every translation until
//! it is told to forget, so that a forgotten invalidation fails a test.

use crate::context::Context;
use crate::kernel::Kernel;
use crate::machine::{Machine, SpaceId};
use crate::pm::PageManager;
use crate::process::Fault;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::sync::atomic::AtomicU64;
use k42_lib::radix::{Access, TableMemory, TableSize, Tree};
use k42_lib::trace::{Buffer, Tracer};
use k42_lib::{EffAddr, GuestAddr};
use kernel_abi::PAGE_SIZE;

/// A scripted user: gets the registers and the machine, leaves the registers of its next trap.
pub type User = fn(&mut Fake, SpaceId, &mut Context);

/// The machine.
#[derive(Default)]
pub struct Fake {
    memory: Vec<u8>,
    roots: BTreeMap<SpaceId, u64>,
    tlb: RefCell<BTreeMap<(SpaceId, u64), (u64, Access)>>,
    /// Everything written to the console.
    pub output: String,
    /// What the console will say.
    pub input: VecDeque<u8>,
    /// The timebase; each wait moves it on.
    pub time: u64,
    /// Where Linux calls enter.
    pub entry: u64,
    /// What runs in user mode, trap by trap.
    pub script: VecDeque<User>,
    /// Where events go.
    pub trace: Box<Buffer>,
}

impl Fake {
    /// A machine with this many frames, all free.
    pub fn with_frames(frames: u64) -> (Fake, PageManager) {
        let memory = alloc::vec![0xa5; (frames * PAGE_SIZE) as usize];
        (Fake { memory, ..Fake::default() }, PageManager::new(Some(0..frames * PAGE_SIZE)))
    }

    /// Adds memory after all frames and puts these bytes there.
    pub fn place_image(&mut self, bytes: &[u8]) -> GuestAddr {
        let at = self.memory.len();
        self.memory.extend_from_slice(bytes);
        self.memory.resize(self.memory.len().next_multiple_of(PAGE_SIZE as usize), 0);
        GuestAddr::new(at as u64)
    }

    /// Stores bytes, as a program would.
    pub fn poke(&mut self, at: GuestAddr, bytes: &[u8]) {
        let at = at.value() as usize;
        self.memory[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// What an access in user mode reaches, through the TLB; `None` is a fault.
    pub fn user_access(&self, space: SpaceId, at: EffAddr, access: Access) -> Option<GuestAddr> {
        let page = at.align_down(PAGE_SIZE).value();
        let mut tlb = self.tlb.borrow_mut();
        let entry = match tlb.get(&(space, page)) {
            Some(entry) => *entry,
            None => {
                let found = tree_at(*self.roots.get(&space)?).translate(&Walk(self), page)?;
                tlb.insert((space, page), (found.address, found.access));
                (found.address, found.access)
            }
        };
        let allowed = entry.1.contains(access) && !entry.1.contains(Access::PRIVILEGED);
        allowed.then(|| GuestAddr::new(entry.0 + at.offset_in(PAGE_SIZE)))
    }

    fn slice(&mut self, at: GuestAddr, bytes: u64) -> &mut [u8] {
        let at = at.value() as usize;
        &mut self.memory[at..at + bytes as usize]
    }
}

/// The tree whose root table is at `root`, for walks only.
fn tree_at(root: u64) -> Tree {
    struct Root(u64);
    impl TableMemory for Root {
        fn load(&self, _: u64) -> u64 {
            0
        }
        fn store(&mut self, _: u64, _: u64) {}
        fn allocate(&mut self, _: TableSize) -> Option<u64> {
            Some(self.0)
        }
    }
    Tree::new(&mut Root(root)).expect("its root is given")
}

/// A table walk of the processor.
struct Walk<'a>(&'a Fake);

impl TableMemory for Walk<'_> {
    fn load(&self, at: u64) -> u64 {
        self.0.load_entry(GuestAddr::new(at))
    }
    fn store(&mut self, _: u64, _: u64) {
        unreachable!("a walk stores nothing")
    }
    fn allocate(&mut self, _: TableSize) -> Option<u64> {
        None
    }
}

impl Kernel<Fake> {
    /// Loads bytes as the program would, faults served.
    ///
    /// # Errors
    /// The fault that would end it.
    pub fn user_load(&mut self, from: u64, into: &mut [u8]) -> Result<(), Fault> {
        for (n, byte) in into.iter_mut().enumerate() {
            let at = from.wrapping_add(n as u64);
            let at = self.touch(EffAddr::new(at), Access::READ)?;
            self.machine.load_bytes(at, core::slice::from_mut(byte));
        }
        Ok(())
    }

    /// Stores bytes as the program would, faults served.
    ///
    /// # Errors
    /// The fault that would end it.
    pub fn user_store(&mut self, to: u64, bytes: &[u8]) -> Result<(), Fault> {
        for (n, byte) in bytes.iter().enumerate() {
            let at = to.wrapping_add(n as u64);
            let at = self.touch(EffAddr::new(at), Access::WRITE)?;
            self.machine.poke(at, &[*byte]);
        }
        Ok(())
    }

    fn touch(&mut self, at: EffAddr, access: Access) -> Result<GuestAddr, Fault> {
        let space = self.process.space();
        if let Some(found) = self.machine.user_access(space, at, access) {
            return Ok(found);
        }
        self.process.handle_fault(at, access, &mut self.pm, &mut self.machine)?;
        Ok(self.machine.user_access(space, at, access).expect("a served fault stays served"))
    }
}

impl Tracer for Fake {
    type Word = AtomicU64;

    fn now(&self) -> u64 {
        self.time
    }

    fn buffer(&self) -> &Buffer {
        &self.trace
    }
}

impl Machine for Fake {
    fn load_entry(&self, at: GuestAddr) -> u64 {
        let at = at.value() as usize;
        u64::from_be_bytes(self.memory[at..at + 8].try_into().expect("eight bytes"))
    }
    fn store_entry(&mut self, at: GuestAddr, entry: u64) {
        self.poke(at, &entry.to_be_bytes());
    }
    fn zero(&mut self, at: GuestAddr, bytes: u64) {
        self.slice(at, bytes).fill(0);
    }
    fn copy(&mut self, to: GuestAddr, from: GuestAddr, bytes: u64) {
        let from = self.slice(from, bytes).to_vec();
        self.poke(to, &from);
    }
    fn load_bytes(&self, at: GuestAddr, into: &mut [u8]) {
        let at = at.value() as usize;
        into.copy_from_slice(&self.memory[at..at + into.len()]);
    }
    fn synchronize_instructions(&mut self, _: GuestAddr, _: u64) {}
    fn tables_changed(&mut self) {}
    fn invalidate(&mut self, space: SpaceId, page: EffAddr) {
        self.tlb.borrow_mut().remove(&(space, page.value()));
    }
    fn set_space(&mut self, space: SpaceId, root: GuestAddr) {
        self.roots.insert(space, root.value());
    }
    fn set_system_call_entry(&mut self, entry: u64) {
        self.entry = entry;
    }
    fn console_write(&mut self, at: GuestAddr, bytes: u64) {
        let text = String::from_utf8_lossy(self.slice(at, bytes)).into_owned();
        self.output.push_str(&text);
    }
    fn console_read(&mut self, at: GuestAddr, bytes: u64) -> u64 {
        let count = self.input.len().min(bytes as usize);
        let input: Vec<u8> = self.input.drain(..count).collect();
        self.poke(at, &input);
        count as u64
    }
    fn console_line(&mut self, line: core::fmt::Arguments<'_>) {
        self.output.push_str(&format!("{line}\n"));
    }
    fn wait(&mut self, deadline: u64) {
        self.time = deadline;
    }
    fn timebase(&self) -> u64 {
        self.time
    }
    fn rearm_timer(&mut self) {}
    fn run(&mut self, space: SpaceId, context: &mut Context) {
        let user = self.script.pop_front().expect("the script has ended, the program has not");
        user(self, space, context);
    }
}
