//! A process on the fake machine: what the program sees through the processor's eyes.

use super::*;
use crate::fake::Fake;
use crate::fcm::Image;
use crate::fcm::computation::{self, Source};
use alloc::vec::Vec;
use k42_object::Vcpu;
use proptest::prelude::*;
use std::sync::Barrier;

const READ: Access = Access::READ;
const BASE: u64 = 0x1000_0000;

fn rw() -> Access {
    Access::READ | Access::WRITE
}

fn bytes_of(pages: &Range<u64>) -> Range<u64> {
    BASE + pages.start * PAGE_SIZE..BASE + pages.end * PAGE_SIZE
}

struct World {
    machine: Arc<Fake>,
    memory: Memory,
    vcpus: Vec<Vcpu>,
    process: Ref<dyn Process>,
}

impl World {
    fn new(frames: u64, vcpus: u32) -> World {
        let (machine, memory) = Fake::with_frames(frames, vcpus);
        let vcpus = k42_object::vcpus(vcpus);
        let process = super::create(&vcpus[0].enter(), &memory).unwrap();
        World { machine, memory, vcpus, process }
    }

    fn free(&self) -> usize {
        self.memory.pm.free_frames()
    }

    fn create_in(
        &self,
        process: Ref<dyn Process>,
        pages: Range<u64>,
        access: Access,
    ) -> Result<(), Problem> {
        let here = self.vcpus[0].enter();
        let Memory { machine, pm, .. } = &self.memory;
        let fcm = computation::create(&here, machine, pm, Source::Zeros)?;
        process.create_region(&here, bytes_of(&pages), Kind::Default, access, fcm)
    }

    fn create(&self, pages: Range<u64>, access: Access) -> Result<(), Problem> {
        self.create_in(self.process, pages, access)
    }

    fn destroy(&self, pages: Range<u64>) -> Result<(), Problem> {
        self.process.destroy_regions(&self.vcpus[0].enter(), bytes_of(&pages))
    }

    fn protect(&self, pages: Range<u64>, access: Access) -> Result<(), Problem> {
        self.process.protect_regions(&self.vcpus[0].enter(), bytes_of(&pages), access)
    }

    /// An access of the program, with the kernel's help if it faults.
    fn touch(&self, address: u64, access: Access) -> Result<GuestAddr, Problem> {
        self.machine.touch(&self.vcpus[0].enter(), self.process, EffAddr::new(address), access)
    }

    fn fork(&self, process: Ref<dyn Process>) -> Ref<dyn Process> {
        process.fork(&self.vcpus[0].enter()).unwrap()
    }

    fn end(&self, process: Ref<dyn Process>) {
        let here = self.vcpus[0].enter();
        process.end(&here).unwrap();
        here.destroy(process).unwrap();
    }

    /// What a process stores to a page, all of it one byte.
    fn store(&self, process: Ref<dyn Process>, page: u64, byte: u8) -> Result<(), Problem> {
        let at = EffAddr::new(BASE + page * PAGE_SIZE);
        self.machine.store(&self.vcpus[0].enter(), process, at, &[byte; PAGE_SIZE as usize])
    }

    /// What it loads from there.
    fn load(&self, process: Ref<dyn Process>, page: u64) -> Result<u8, Problem> {
        let at = EffAddr::new(BASE + page * PAGE_SIZE);
        let at = self.machine.touch(&self.vcpus[0].enter(), process, at, READ)?;
        let mut bytes = [0; PAGE_SIZE as usize];
        self.machine.load_bytes(at, &mut bytes);
        assert!(bytes.iter().all(|byte| *byte == bytes[0]));
        Ok(bytes[0])
    }

    /// All that has ended is forgotten.
    fn clean(&self) {
        for _ in 0..4 {
            self.vcpus.iter().for_each(|vcpu| {
                vcpu.clean();
            });
        }
    }
}

#[test]
fn the_fault_path_gives_pages_on_demand() {
    let world = World::new(16, 1);
    world.create(0..4, rw()).unwrap();
    let before = world.free();
    let first = world.touch(BASE + 8, Access::WRITE).unwrap();
    assert_eq!(first.value() % PAGE_SIZE, 8);
    assert_eq!(world.touch(BASE + 9, READ).unwrap(), first.offset(1));
    assert_eq!(before - world.free(), 3, "a root, a page and a frame for small tables");
    assert_eq!(world.touch(BASE + 4 * PAGE_SIZE, READ), Err(Problem::NoRegion));
    assert_eq!(world.touch(BASE, Access::EXECUTE), Err(Problem::Forbidden));
}

#[test]
fn memory_that_runs_out_is_the_programs_fault() {
    let world = World::new(3, 1);
    world.create(0..4, rw()).unwrap();
    world.touch(BASE, READ).unwrap();
    assert_eq!(world.touch(BASE + PAGE_SIZE, READ), Err(Problem::NoMemory));
    world.destroy(0..1).unwrap();
    world.touch(BASE + PAGE_SIZE, READ).unwrap();
}

#[test]
fn the_systems_regions_stay() {
    let world = World::new(16, 1);
    let start = world.machine.place_image(b"library");
    let here = world.vcpus[0].enter();
    let Memory { machine, pm, .. } = &world.memory;
    let image = Source::Image(Image { start, size: 7 });
    let fcm = computation::create(&here, machine, pm, image).unwrap();
    world.process.create_region(&here, bytes_of(&(0..1)), Kind::Fixed, READ, fcm).unwrap();
    assert_eq!(world.destroy(0..1), Err(Problem::NotPermitted));
    assert_eq!(world.protect(0..1, rw()), Err(Problem::NotPermitted));
    assert_eq!(world.create(0..1, rw()), Err(Problem::Exists));
    let at = world.touch(BASE, READ).unwrap();
    let mut bytes = [0; 8];
    world.machine.load_bytes(at, &mut bytes);
    assert_eq!(&bytes, b"library\0");
}

#[test]
fn impossible_ranges_are_refused() {
    let world = World::new(8, 1);
    let kernel = 0xc000_0000_0000_0000;
    let here = world.vcpus[0].enter();
    let Memory { machine, pm, .. } = &world.memory;
    let backwards = Range { start: PAGE_SIZE, end: 0 };
    for range in [0..0, backwards, 0..1, kernel..kernel + PAGE_SIZE, 0..u64::MAX] {
        let fcm = computation::create(&here, machine, pm, Source::Zeros).unwrap();
        let made = world.process.create_region(&here, range, Kind::Default, READ, fcm);
        assert_eq!(made, Err(Problem::Invalid));
    }
    world.create(1..2, READ).unwrap();
    assert_eq!(world.protect(0..2, rw()), Err(Problem::NoMemory));
    assert_eq!(world.protect(1..3, rw()), Err(Problem::NoMemory));
}

#[test]
fn chosen_places_are_free() {
    let world = World::new(8, 1);
    let here = world.vcpus[0].enter();
    let Memory { machine, pm, .. } = &world.memory;
    let mut seen = Vec::new();
    for pages in [1, 3, 2, 1] {
        let length = pages * PAGE_SIZE;
        let at = world.process.find_free(&here, length).unwrap().value();
        let range = at..at + length;
        assert!(seen.iter().all(|other: &Range<u64>| other.end <= at || range.end <= other.start));
        let fcm = computation::create(&here, machine, pm, Source::Zeros).unwrap();
        world.process.create_region(&here, range.clone(), Kind::Default, READ, fcm).unwrap();
        seen.push(range);
    }
    let hole = seen[1].clone();
    world.process.destroy_regions(&here, hole.clone()).unwrap();
    assert_eq!(world.process.find_free(&here, 3 * PAGE_SIZE).unwrap().value(), hole.start);
    assert_eq!(world.process.find_free(&here, 1 << 60), Err(Problem::NoMemory));
}

#[derive(Clone, Debug)]
enum Step {
    Create(Range<u64>, bool),
    Destroy(Range<u64>),
    Protect(Range<u64>, bool),
    Touch(u64, bool),
}

fn pages() -> impl Strategy<Value = Range<u64>> {
    (0u64..24, 1u64..8).prop_map(|(start, length)| start..start + length)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (pages(), any::<bool>()).prop_map(|(p, w)| Step::Create(p, w)),
        pages().prop_map(Step::Destroy),
        (pages(), any::<bool>()).prop_map(|(p, w)| Step::Protect(p, w)),
        (0u64..32, any::<bool>()).prop_map(|(p, w)| Step::Touch(p, w)),
        (0u64..32, any::<bool>()).prop_map(|(p, w)| Step::Touch(p, w)),
    ]
}

proptest! {
    /// An address space agrees with an array of pages about who may do what, through a TLB that
    /// forgets nothing by itself; no frame is lost.
    #[test]
    fn an_address_space_is_an_array_of_pages(steps in prop::collection::vec(step(), 1..80)) {
        let world = World::new(64, 1);
        let mut model: [Option<bool>; 32] = [None; 32]; // writable?
        let access = |writable| if writable { rw() } else { READ };
        for step in steps {
            match step {
                Step::Create(range, writable) => {
                    let made = world.create(range.clone(), access(writable));
                    let free = range.clone().all(|page| model[page as usize].is_none());
                    prop_assert_eq!(made, if free { Ok(()) } else { Err(Problem::Exists) });
                    if free {
                        range.for_each(|page| model[page as usize] = Some(writable));
                    }
                }
                Step::Destroy(range) => {
                    world.destroy(range.clone()).unwrap();
                    range.for_each(|page| model[page as usize] = None);
                }
                Step::Protect(range, writable) => {
                    let whole = range.clone().all(|page| model[page as usize].is_some());
                    let done = world.protect(range.clone(), access(writable));
                    prop_assert_eq!(done, if whole { Ok(()) } else { Err(Problem::NoMemory) });
                    if whole {
                        range.for_each(|page| model[page as usize] = Some(writable));
                    }
                }
                Step::Touch(page, write) => {
                    let wanted = if write { Access::WRITE } else { READ };
                    let touched = world.touch(BASE + page * PAGE_SIZE, wanted).map(|_| ());
                    let expected = match model[page as usize] {
                        None => Err(Problem::NoRegion),
                        Some(false) if write => Err(Problem::Forbidden),
                        Some(_) => Ok(()),
                    };
                    prop_assert_eq!(touched, expected);
                }
            }
        }
        world.destroy(0..32).unwrap();
        world.end(world.process);
        world.clean();
        prop_assert_eq!(world.free(), 64);
    }
}

#[test]
fn a_fork_copies_what_is_stored_to_and_nothing_else() {
    let world = World::new(64, 1);
    let parent = world.process;
    world.create(0..8, rw()).unwrap();
    (0..4).for_each(|page| world.store(parent, page, 1).unwrap());
    let before = world.free();
    let child = world.fork(parent);
    assert_eq!(world.free(), before, "nothing is copied yet");
    assert_eq!(world.load(child, 0), Ok(1));
    assert_eq!(before - world.free(), 2, "a root, and a frame for small tables");
    let before = world.free();
    world.store(child, 1, 2).unwrap();
    world.store(parent, 2, 3).unwrap();
    assert_eq!(before - world.free(), 2, "each copied the page that it stored to");
    assert_eq!(
        (0..5).map(|page| world.load(parent, page).unwrap()).collect::<Vec<u8>>(),
        [1, 1, 3, 1, 0]
    );
    assert_eq!(
        (0..5).map(|page| world.load(child, page).unwrap()).collect::<Vec<u8>>(),
        [1, 2, 1, 1, 0]
    );
}

#[test]
fn the_last_one_has_its_pages_without_a_copy() {
    let world = World::new(64, 1);
    let parent = world.process;
    world.create(0..4, rw()).unwrap();
    (0..4).for_each(|page| world.store(parent, page, 1).unwrap());
    let child = world.fork(parent);
    (0..2).for_each(|page| world.store(child, page, 2).unwrap());
    world.end(child);
    world.clean();
    let before = world.free();
    (0..4).for_each(|page| world.store(parent, page, 3).unwrap());
    assert_eq!(world.free(), before);
    world.destroy(0..4).unwrap();
    assert_eq!(world.free(), before + 4);
}

/// Forks, one after the other, whose children live longer than the next: what only an ancestor has
/// below itself goes, too.
#[test]
fn ancestors_without_other_children_go() {
    let world = World::new(64, 1);
    let parent = world.process;
    world.create(0..8, rw()).unwrap();
    world.store(parent, 0, 1).unwrap();
    let mut children = Vec::new();
    for round in 2..8 {
        let child = world.fork(parent);
        assert_eq!(world.load(child, 0), Ok(round - 1));
        world.store(parent, 0, round).unwrap();
        children.push(child);
        if children.len() > 2 {
            world.end(children.remove(0));
            world.clean();
        }
        assert_eq!(world.load(children[0], 0).unwrap() + children.len() as u8, round);
        // All ancestors are asked for a page that none has.
        assert_eq!(world.load(children[0], 7), Ok(0));
        // That page, the parent's, one of an ancestor for each child, and what translates them.
        let pages = 64 - world.free() - 2 * (1 + children.len());
        assert!(pages <= 4, "{pages} frames have pages in round {round}");
    }
}

/// To take a page away needs no memory, on whichever vCPU: nobody sees a frame that is another's.
#[test]
fn pages_go_on_a_vcpu_where_the_process_never_ran() {
    let world = World::new(4, 2);
    world.create(0..2, rw()).unwrap();
    world.store(world.process, 0, 1).unwrap();
    world.store(world.process, 1, 2).unwrap();
    assert_eq!(world.free(), 0);
    let there = world.vcpus[1].enter();
    assert_eq!(world.process.space(&there), Err(Problem::NoMemory));
    world.process.destroy_regions(&there, bytes_of(&(0..1))).unwrap();
    let here = world.vcpus[0].enter();
    let (space, at) = (world.process.space(&here).unwrap(), EffAddr::new(BASE));
    assert_eq!(world.machine.user_access(space, at, READ), None);
    assert_eq!(world.free(), 1);
}

#[test]
fn a_fork_without_memory_is_refused_and_changes_nothing() {
    let world = World::new(5, 1);
    world.create(0..2, rw()).unwrap();
    world.store(world.process, 0, 1).unwrap();
    world.store(world.process, 1, 2).unwrap();
    let child = world.fork(world.process);
    assert_eq!(world.load(child, 0), Err(Problem::NoMemory), "no room for its tables");
    assert_eq!(world.load(world.process, 0), Ok(1));
    assert_eq!(world.load(world.process, 1), Ok(2));
    world.end(child);
    world.clean();
    assert_eq!(world.store(world.process, 1, 3), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Processes that fork, store, and end are as many arrays of bytes; at the end no frame is lost.
    #[test]
    fn forks_are_copies(steps in prop::collection::vec((0u8..8, any::<usize>(), 0u64..6, 1u8..255), 1..60)) {
        let world = World::new(256, 1);
        world.create(0..6, rw()).unwrap();
        let mut processes = alloc::vec![(world.process, [0u8; 6])];
        for (step, which, page, byte) in steps {
            let which = which % processes.len();
            let (process, mut bytes) = processes[which];
            match step {
                0 | 1 if processes.len() < 8 => processes.push((world.fork(process), bytes)),
                2 if processes.len() > 1 => {
                    world.end(process);
                    processes.swap_remove(which);
                }
                3..6 => {
                    world.store(process, page, byte).unwrap();
                    bytes[page as usize] = byte;
                    processes[which].1 = bytes;
                }
                6 => world.clean(),
                _ => prop_assert_eq!(world.load(process, page), Ok(bytes[page as usize])),
            }
        }
        for (process, bytes) in &processes {
            for (page, byte) in bytes.iter().enumerate() {
                prop_assert_eq!(world.load(*process, page as u64), Ok(*byte));
            }
        }
        processes.into_iter().for_each(|(process, _)| world.end(process));
        world.clean();
        prop_assert_eq!(world.free(), 256);
    }
}

/// Four vCPUs fault in one process, in regions of their own and in one of all, while its regions come
/// and go and it is forked.
#[test]
fn vcpus_fault_at_once() {
    const ROUNDS: u64 = 60;
    let mut world = World::new(512, 4);
    world.create(0..16, rw()).unwrap();
    let (machine, memory, process) = (world.machine.clone(), world.memory.clone(), world.process);
    let barrier = Barrier::new(4);
    let vcpus = mem::take(&mut world.vcpus);
    let run = |vcpu: &Vcpu, number: u64| {
        barrier.wait();
        for round in 0..ROUNDS {
            let here = vcpu.enter();
            let own = 100 + number * 8..104 + number * 8;
            let fcm =
                computation::create(&here, &memory.machine, &memory.pm, Source::Zeros).unwrap();
            process.create_region(&here, bytes_of(&own), Kind::Default, rw(), fcm).unwrap();
            for page in own.clone() {
                let at = EffAddr::new(BASE + page * PAGE_SIZE);
                machine.store(&here, process, at, &[number as u8]).unwrap();
                let common = (page - own.start + round * 4) % 16;
                let common = EffAddr::new(BASE + common * PAGE_SIZE + number);
                machine.store(&here, process, common, &[number as u8]).unwrap();
            }
            if number == 0 && round % 8 == 0 {
                let child = process.fork(&here).unwrap();
                for page in 0..16 {
                    let at = EffAddr::new(BASE + page * PAGE_SIZE);
                    machine.touch(&here, child, at, Access::WRITE).unwrap();
                }
                child.end(&here).unwrap();
                here.destroy(child).unwrap();
            }
            process.destroy_regions(&here, bytes_of(&own)).unwrap();
            drop(here);
            vcpu.clean();
        }
        barrier.wait();
        // The token goes round.
        for _ in 0..8 {
            vcpu.clean();
            barrier.wait();
        }
    };
    let vcpus = std::thread::scope(|scope| {
        let threads: Vec<_> = vcpus
            .into_iter()
            .enumerate()
            .map(|(number, vcpu)| {
                let run = &run;
                scope.spawn(move || {
                    run(&vcpu, number as u64);
                    vcpu
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    world.vcpus = vcpus;
    for number in 0..4 {
        let mut byte = [9];
        let at = EffAddr::new(BASE + 4 * PAGE_SIZE + number);
        let here = world.vcpus[0].enter();
        let at = world.machine.touch(&here, process, at, READ).unwrap();
        world.machine.load_bytes(at, &mut byte);
        assert!(byte[0] == number as u8, "what {number} stored is there: {byte:?}");
    }
    world.end(process);
    world.clean();
    world.clean();
    assert_eq!(world.free(), 512);
}
