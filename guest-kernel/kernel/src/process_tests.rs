//! A process on the fake machine: what the program sees through the processor's eyes.

use super::*;
use crate::fake::Fake;
use crate::fcm::Image;
use proptest::prelude::*;

const SPACE: SpaceId = SpaceId(1);
const READ: Access = Access::READ;
const BASE: u64 = 0x1000_0000;

fn rw() -> Access {
    Access::READ | Access::WRITE
}

struct World {
    machine: Fake,
    pm: PageManager,
    process: Process,
}

impl World {
    fn new(frames: u64) -> World {
        let (mut machine, mut pm) = Fake::with_frames(frames);
        let process = Process::new(SPACE, &mut pm, &mut machine).unwrap();
        World { machine, pm, process }
    }

    fn create(&mut self, pages: Range<u64>, protection: Access) -> Result<(), Error> {
        let range = BASE + pages.start * PAGE_SIZE..BASE + pages.end * PAGE_SIZE;
        self.process.create_region(range, Kind::Default, protection, Backing::Computation)
    }

    fn destroy(&mut self, pages: Range<u64>) -> Result<(), Error> {
        let range = BASE + pages.start * PAGE_SIZE..BASE + pages.end * PAGE_SIZE;
        self.process.destroy_regions(range, &mut self.pm, &mut self.machine)
    }

    fn protect(&mut self, pages: Range<u64>, protection: Access) -> Result<(), Error> {
        let range = BASE + pages.start * PAGE_SIZE..BASE + pages.end * PAGE_SIZE;
        self.process.protect_regions(range, protection, &mut self.pm, &mut self.machine)
    }

    /// An access of the program, with the kernel's help if it faults.
    fn touch(&mut self, address: u64, access: Access) -> Result<GuestAddr, Fault> {
        let address = EffAddr::new(address);
        if let Some(at) = self.machine.user_access(SPACE, address, access) {
            return Ok(at);
        }
        self.process.handle_fault(address, access, &mut self.pm, &mut self.machine)?;
        Ok(self.machine.user_access(SPACE, address, access).expect("resolved faults stay resolved"))
    }
}

#[test]
fn the_fault_path_gives_pages_on_demand() {
    let mut world = World::new(16);
    world.create(0..4, rw()).unwrap();
    let before = world.pm.free_frames();
    let first = world.touch(BASE + 8, Access::WRITE).unwrap();
    assert_eq!(first.value() % PAGE_SIZE, 8);
    assert_eq!(world.touch(BASE + 9, READ).unwrap(), first.offset(1));
    assert_eq!(before - world.pm.free_frames(), 2, "a page and a frame for small tables");
    assert_eq!(world.touch(BASE + 4 * PAGE_SIZE, READ), Err(Fault::NoRegion));
    assert_eq!(world.touch(BASE, Access::EXECUTE), Err(Fault::Forbidden));
}

#[test]
fn memory_that_runs_out_is_the_programs_fault() {
    let mut world = World::new(3);
    world.create(0..4, rw()).unwrap();
    world.touch(BASE, READ).unwrap();
    assert_eq!(world.touch(BASE + PAGE_SIZE, READ), Err(Fault::NoMemory));
    world.destroy(0..1).unwrap();
    world.touch(BASE + PAGE_SIZE, READ).unwrap();
}

#[test]
fn the_systems_regions_stay() {
    let mut world = World::new(16);
    let start = world.machine.place_image(b"library");
    let range = BASE..BASE + PAGE_SIZE;
    let image = Backing::Copy(Image { start, size: 7 });
    world.process.create_region(range, Kind::Fixed, READ, image).unwrap();
    assert_eq!(world.destroy(0..1), Err(Error::NotPermitted));
    assert_eq!(world.protect(0..1, rw()), Err(Error::NotPermitted));
    assert_eq!(world.create(0..1, rw()), Err(Error::Exists));
    let at = world.touch(BASE, READ).unwrap();
    let mut bytes = [0; 8];
    world.machine.load_bytes(at, &mut bytes);
    assert_eq!(&bytes, b"library\0");
}

#[test]
fn impossible_ranges_are_refused() {
    let mut world = World::new(8);
    let kernel = 0xc000_0000_0000_0000;
    let backwards = Range { start: PAGE_SIZE, end: 0 };
    for range in [0..0, backwards, 0..1, kernel..kernel + PAGE_SIZE, 0..u64::MAX] {
        let made = world.process.create_region(range, Kind::Default, READ, Backing::Computation);
        assert_eq!(made, Err(Error::Invalid));
    }
    world.create(1..2, READ).unwrap();
    assert_eq!(world.protect(0..2, rw()), Err(Error::NoMemory));
    assert_eq!(world.protect(1..3, rw()), Err(Error::NoMemory));
}

#[test]
fn chosen_places_are_free() {
    let mut world = World::new(8);
    let mut seen = Vec::new();
    for pages in [1, 3, 2, 1] {
        let length = pages * PAGE_SIZE;
        let at = world.process.find_free(length).unwrap().value();
        let range = at..at + length;
        assert!(seen.iter().all(|other: &Range<u64>| other.end <= at || range.end <= other.start));
        let kind = Kind::Default;
        world.process.create_region(range.clone(), kind, READ, Backing::Computation).unwrap();
        seen.push(range);
    }
    let hole = seen[1].clone();
    world.process.destroy_regions(hole.clone(), &mut world.pm, &mut world.machine).unwrap();
    assert_eq!(world.process.find_free(3 * PAGE_SIZE).unwrap().value(), hole.start);
    assert_eq!(world.process.find_free(1 << 60), None);
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
        let mut world = World::new(64);
        let mut model: [Option<bool>; 32] = [None; 32]; // writable?
        let access = |writable| if writable { rw() } else { READ };
        for step in steps {
            match step {
                Step::Create(range, writable) => {
                    let made = world.create(range.clone(), access(writable));
                    let free = range.clone().all(|page| model[page as usize].is_none());
                    prop_assert_eq!(made, if free { Ok(()) } else { Err(Error::Exists) });
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
                    prop_assert_eq!(done, if whole { Ok(()) } else { Err(Error::NoMemory) });
                    if whole {
                        range.for_each(|page| model[page as usize] = Some(writable));
                    }
                }
                Step::Touch(page, write) => {
                    let wanted = if write { Access::WRITE } else { READ };
                    let touched = world.touch(BASE + page * PAGE_SIZE, wanted).map(|_| ());
                    let expected = match model[page as usize] {
                        None => Err(Fault::NoRegion),
                        Some(false) if write => Err(Fault::Forbidden),
                        Some(_) => Ok(()),
                    };
                    prop_assert_eq!(touched, expected);
                }
            }
        }
        world.destroy(0..32).unwrap();
        let tables = world.process.hat.tables_in_frames();
        prop_assert_eq!(world.pm.free_frames() + tables, 64);
    }
}
