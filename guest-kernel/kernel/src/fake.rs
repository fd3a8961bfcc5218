//! A machine that runs on the host: memory is a vector, and a TLB remembers every translation until
//! it is told to forget, so that a forgotten invalidation fails a test.

use crate::context::Context;
use crate::kernel::Kernel;
use crate::machine::{Machine, SpaceId};
use crate::problem::Problem;
use crate::process::{Memory, Process};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use k42_lib::radix::{Access, TableMemory, TableSize, Tree};
use k42_lib::{EffAddr, GuestAddr};
use k42_object::{Here, Ref};
use kernel_abi::PAGE_SIZE;
use spin::{Mutex, MutexGuard};

/// A scripted user: gets the registers and the machine, leaves the registers of its next trap.
pub type User = fn(&Fake, SpaceId, &mut Context);

/// The machine. All vCPUs share it, one access at a time.
#[derive(Default)]
pub struct Fake(Mutex<State>);

/// What is in the machine.
#[derive(Default)]
pub struct State {
    memory: Vec<u8>,
    roots: BTreeMap<SpaceId, u64>,
    tlb: BTreeMap<(SpaceId, u64), (u64, Access)>,
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
}

impl Fake {
    /// A machine with this many frames, all free, and so many vCPUs.
    pub fn with_frames(frames: u64, vcpus: u32) -> (Arc<Fake>, Memory) {
        let memory = alloc::vec![0xa5; (frames * PAGE_SIZE) as usize];
        let machine = Arc::new(Fake(Mutex::new(State { memory, ..State::default() })));
        (machine.clone(), Memory::new(machine, Some(0..frames * PAGE_SIZE), vcpus))
    }

    /// What is in the machine. It stands still meanwhile.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// Adds memory after all frames and puts these bytes there.
    pub fn place_image(&self, bytes: &[u8]) -> GuestAddr {
        let memory = &mut self.state().memory;
        let at = memory.len();
        memory.extend_from_slice(bytes);
        memory.resize(memory.len().next_multiple_of(PAGE_SIZE as usize), 0);
        GuestAddr::new(at as u64)
    }

    /// Stores bytes, as a program would.
    pub fn poke(&self, at: GuestAddr, bytes: &[u8]) {
        self.state().poke(at, bytes);
    }

    /// What an access in user mode reaches, through the TLB; `None` is a fault.
    pub fn user_access(&self, space: SpaceId, at: EffAddr, access: Access) -> Option<GuestAddr> {
        self.state().user_access(space, at, access)
    }

    /// A store of a program in this process, within a page, faults served.
    ///
    /// # Errors
    /// What would end it.
    pub fn store(
        &self,
        here: &Here<'_>,
        process: Ref<dyn Process>,
        at: EffAddr,
        bytes: &[u8],
    ) -> Result<(), Problem> {
        self.access(here, process, at, Access::WRITE, |state, found| state.poke(found, bytes))
    }

    /// Where an access of a program in this process goes, faults served.
    ///
    /// # Errors
    /// What would end it.
    pub fn touch(
        &self,
        here: &Here<'_>,
        process: Ref<dyn Process>,
        at: EffAddr,
        access: Access,
    ) -> Result<GuestAddr, Problem> {
        self.access(here, process, at, access, |_, found| found)
    }

    /// Does something where an access goes, in one step with the look where that is.
    fn access<A>(
        &self,
        here: &Here<'_>,
        process: Ref<dyn Process>,
        at: EffAddr,
        access: Access,
        what: impl Fn(&mut State, GuestAddr) -> A,
    ) -> Result<A, Problem> {
        let space = process.space(here)?;
        // Another vCPU may change what there is to see between a fault and the next try.
        loop {
            let mut state = self.state();
            if let Some(found) = state.user_access(space, at, access) {
                return Ok(what(&mut state, found));
            }
            drop(state);
            process.handle_fault(here, at, access)?;
        }
    }
}

impl State {
    fn user_access(&mut self, space: SpaceId, at: EffAddr, access: Access) -> Option<GuestAddr> {
        let page = at.align_down(PAGE_SIZE).value();
        let entry = match self.tlb.get(&(space, page)) {
            Some(entry) => *entry,
            None => {
                let found = Tree::at(*self.roots.get(&space)?).translate(&Walk(self), page)?;
                self.tlb.insert((space, page), (found.address, found.access));
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

    fn poke(&mut self, at: GuestAddr, bytes: &[u8]) {
        self.slice(at, bytes.len() as u64).copy_from_slice(bytes);
    }

    fn entry(&self, at: u64) -> u64 {
        let at = at as usize;
        u64::from_be_bytes(self.memory[at..at + 8].try_into().expect("eight bytes"))
    }
}

/// A table walk of the processor.
struct Walk<'a>(&'a State);

impl TableMemory for Walk<'_> {
    fn load(&self, at: u64) -> u64 {
        self.0.entry(at)
    }
    fn store(&mut self, _: u64, _: u64) {
        unreachable!("a walk stores nothing")
    }
    fn allocate(&mut self, _: TableSize) -> Option<u64> {
        None
    }
}

impl Kernel {
    /// Loads bytes as the program would, faults served.
    ///
    /// # Errors
    /// What would end it.
    pub fn user_load(
        &self,
        here: &Here<'_>,
        machine: &Fake,
        from: u64,
        into: &mut [u8],
    ) -> Result<(), Problem> {
        for (n, byte) in into.iter_mut().enumerate() {
            let at = EffAddr::new(from.wrapping_add(n as u64));
            let at = machine.touch(here, self.process, at, Access::READ)?;
            machine.load_bytes(at, core::slice::from_mut(byte));
        }
        Ok(())
    }

    /// Stores bytes as the program would, faults served.
    ///
    /// # Errors
    /// What would end it.
    pub fn user_store(
        &self,
        here: &Here<'_>,
        machine: &Fake,
        to: u64,
        bytes: &[u8],
    ) -> Result<(), Problem> {
        for (n, byte) in bytes.iter().enumerate() {
            let at = EffAddr::new(to.wrapping_add(n as u64));
            machine.store(here, self.process, at, &[*byte])?;
        }
        Ok(())
    }
}

impl Machine for Fake {
    fn load_entry(&self, at: GuestAddr) -> u64 {
        self.state().entry(at.value())
    }
    fn store_entry(&self, at: GuestAddr, entry: u64) {
        self.poke(at, &entry.to_be_bytes());
    }
    fn link_entry(&self, at: GuestAddr, entry: u64) -> u64 {
        let mut state = self.state();
        let there = state.entry(at.value());
        if there != 0 {
            return there;
        }
        state.poke(at, &entry.to_be_bytes());
        entry
    }
    fn zero(&self, at: GuestAddr, bytes: u64) {
        self.state().slice(at, bytes).fill(0);
    }
    fn copy(&self, to: GuestAddr, from: GuestAddr, bytes: u64) {
        let mut state = self.state();
        let from = state.slice(from, bytes).to_vec();
        state.poke(to, &from);
    }
    fn load_bytes(&self, at: GuestAddr, into: &mut [u8]) {
        into.copy_from_slice(self.state().slice(at, into.len() as u64));
    }
    fn synchronize_instructions(&self, _: GuestAddr, _: u64) {}
    fn tables_changed(&self) {}
    fn invalidate(&self, space: SpaceId, page: EffAddr) {
        self.state().tlb.remove(&(space, page.value()));
    }
    fn set_space(&self, space: SpaceId, root: GuestAddr) {
        let mut state = self.state();
        state.tlb.retain(|(known, _), _| *known != space);
        state.roots.insert(space, root.value());
    }
    fn spaces(&self) -> u16 {
        256
    }
    fn set_system_call_entry(&self, entry: u64) {
        self.state().entry = entry;
    }
    fn console_write(&self, at: GuestAddr, bytes: u64) {
        let mut state = self.state();
        let text = String::from_utf8_lossy(state.slice(at, bytes)).into_owned();
        state.output.push_str(&text);
    }
    fn console_read(&self, at: GuestAddr, bytes: u64) -> u64 {
        let mut state = self.state();
        let count = state.input.len().min(bytes as usize);
        let input: Vec<u8> = state.input.drain(..count).collect();
        state.poke(at, &input);
        count as u64
    }
    fn console_line(&self, line: core::fmt::Arguments<'_>) {
        self.state().output.push_str(&format!("{line}\n"));
    }
    fn wait(&self, deadline: u64) {
        self.state().time = deadline;
    }
    fn timebase(&self) -> u64 {
        self.state().time
    }
    fn rearm_timer(&self) {}
    fn run(&self, space: SpaceId, context: &mut Context) {
        let user = self.state().script.pop_front();
        user.expect("the script has ended, the program has not")(self, space, context);
    }
}
