//! A hypervisor on a fake machine, with as many processors as a test wants.

use crate::{DISKS, Fake, make_resident};
use boot_archive::write::{Blob, Domain};
use boot_archive::{Archive, Console, Personality, Scheduling};
use hv_abi::{Rights, XEN_MARK};
use hv_core::memory::disk::Disk;
use hv_core::{Frame, Hypervisor, Next, Processor, ProcessorId, Storage, VcpuId};
use k42_lib::GuestAddr;
use k42_lib::radix::Access;

/// The time at which the machine starts: 2026-11-27, 12:34:56.
pub const CLOCK: u64 = 1_795_782_896;

/// What stands for the hypervisor's own image.
pub const IMAGE: &[u8] = b"the hypervisor's code and constants";

/// A domain of a test.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Its name.
    pub name: &'static str,
    /// What it speaks.
    pub personality: Personality,
    /// Its memory in MiB.
    pub mebibytes: u64,
    /// Its vCPUs.
    pub vcpus: u32,
    /// Its share.
    pub weight: u16,
    /// How else its vCPUs take part in the processors.
    pub scheduling: Scheduling,
    /// The rights it is given.
    pub rights: Rights,
    /// The LAN that it is on.
    pub lan: u16,
    /// Bytes of its image, at guest real address 0.
    pub image: Vec<u8>,
    /// Which of [`DISKS`] it has; the first at 1 TiB, and so on.
    pub disks: Vec<u32>,
}

impl Guest {
    /// A guest of one vCPU and 4 MiB.
    pub fn new(name: &'static str, personality: Personality) -> Guest {
        let rights = Rights::INPUT | Rights::EVENTS | Rights::GRANTS | Rights::LAN;
        let image = vec![0x60; 16];
        Guest {
            name,
            personality,
            mebibytes: 4,
            vcpus: 1,
            weight: 256,
            scheduling: Scheduling::default(),
            rights,
            lan: 0,
            image,
            disks: Vec::new(),
        }
    }
}

/// A hypervisor under test.
pub struct Board {
    /// The hypervisor; too large for a test's stack.
    pub hv: Box<Hypervisor<Fake>>,
    /// Its processors.
    pub processors: Vec<Processor>,
    /// Frames that were free before any domain was started.
    pub free_at_start: usize,
    /// Disks that nobody has had.
    pub disks: [Option<Disk>; DISKS.len()],
}

impl Board {
    /// A board with `mebibytes` of storage, `processors`, and these guests as domains 1, 2, …
    pub fn new(mebibytes: u64, processors: u32, guests: &[Guest]) -> Board {
        let hv = Box::new(Hypervisor::new(Fake::new(mebibytes)));
        hv.init(hv.machine.frames(), processors, 0, CLOCK);
        hv.machine.state().deadline = u64::MAX;
        let free_at_start = hv.free_frames();
        let processors = (0..processors).map(|n| Processor::new(ProcessorId(n))).collect();
        let mut board = Board { hv, processors, free_at_start, disks: DISKS.map(Some) };
        board.start(1, guests);
        board
    }

    /// Starts these guests as the domains from `first` on.
    pub fn start(&mut self, first: u16, guests: &[Guest]) {
        let domains: Vec<Domain> =
            (first..).zip(guests).map(|(number, g)| domain(number, g)).collect();
        let bytes = boot_archive::write::write(
            boot_archive::Machine::Powernv9,
            Console::Framed,
            false,
            &domains,
        )
        .expect("the test's domains are sound");
        let archive = Archive::parse(&bytes).expect("what was written can be read");
        self.hv.start_all(&archive, IMAGE, &mut self.disks, format_args!("test"));
    }

    /// Lets processor `n` choose what to run, as if it had nothing so far; the place of the vCPU.
    pub fn dispatch(&mut self, n: usize) -> usize {
        let vcpu = self.hv.idle(&mut self.processors[n]);
        let vcpu = self.seat(n, vcpu);
        self.check();
        vcpu
    }

    /// Has processor `n`, which runs nothing, look for work once.
    pub fn look(&mut self, n: usize) -> Option<usize> {
        let vcpu = self.hv.look_for_work(&mut self.processors[n])?;
        Some(self.seat(n, vcpu))
    }

    /// The place of the vCPU on processor `n`, if there is one.
    pub fn running(&self, n: usize) -> Option<usize> {
        self.processors[n].vcpu().map(VcpuId::index)
    }

    /// An exit of the guest on processor `n`. One that is to be reported on has been when this
    /// returns, and the processor has looked for work. If another vCPU comes, it sees to what has
    /// come for it meanwhile, as on a real machine.
    pub fn exit(&mut self, n: usize, vector: u16, frame: &mut Frame) -> Next {
        let processor = &mut self.processors[n];
        let vcpu = processor.vcpu().map(VcpuId::index);
        let mut next = self.hv.exit(processor, vector, frame);
        if next != Next::Resume {
            self.hv.machine.state().registers.extend(vcpu.map(|vcpu| (vcpu, *frame)));
        }
        loop {
            if next == Next::Idle && self.processors[n].vcpu().is_some() {
                let found = self.hv.look_for_work(&mut self.processors[n]);
                next = found.map_or(Next::Idle, Next::Switch);
            }
            if let Next::Switch(vcpu) = next {
                self.seat(n, vcpu);
            }
            self.check();
            let Next::Switch(_) = next else { return next };
            match self.hv.leave(&mut self.processors[n], &mut Frame::default()) {
                Next::Resume => return next,
                other => next = other,
            }
        }
    }

    fn seat(&self, n: usize, vcpu: VcpuId) -> usize {
        make_resident(&self.hv, ProcessorId(u32::try_from(n).expect("a processor")), vcpu);
        vcpu.index()
    }

    /// A hypercall with r3 and what follows it; returns r3.
    pub fn hypercall(&mut self, n: usize, registers: &[u64]) -> i64 {
        let mut frame = Frame::default();
        for (slot, value) in frame.gpr[3..].iter_mut().zip(registers) {
            *slot = *value;
        }
        self.exit(n, k42_lib::vector::SYSTEM_CALL, &mut frame);
        frame.gpr[3].cast_signed()
    }

    /// Gives processor 0 to a domain, of one vCPU as all those before it.
    pub fn be(&mut self, domain: u16) {
        while self.processors[0].vcpu().map(|v| v.index()) != Some(usize::from(domain) - 1) {
            self.hv.machine.state().now += 1;
            self.exit(0, k42_lib::vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
        }
    }

    /// A Xen hypercall of a domain with its argument at [`Board::ARGUMENT`]; what it returns.
    pub fn operate(&mut self, domain: u16, call: u64, command: u32, argument: &[u8]) -> i64 {
        self.be(domain);
        self.poke(domain, Board::ARGUMENT, argument);
        self.hypercall(0, &[XEN_MARK | call, command.into(), Board::ARGUMENT, 1])
    }

    /// Where [`Board::operate`] puts arguments in a domain's memory.
    pub const ARGUMENT: u64 = 0x2000;

    /// Writes to a domain's memory, as its guest would.
    pub fn poke(&self, domain: u16, at: u64, bytes: &[u8]) {
        let at = GuestAddr::new(at);
        let real = self.hv.machine.guest_access(domain, at, Access::WRITE).expect("its memory");
        self.hv.machine.write(real, bytes);
    }

    /// Reads a little-endian word of a domain's memory, as its guest would.
    pub fn peek(&self, domain: u16, at: u64) -> u64 {
        let real = self.hv.machine.guest_translate(domain, GuestAddr::new(at)).expect("its memory");
        let mut bytes = [0; 8];
        self.hv.machine.read(real, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// What the hypervisor said on its own channel, and each domain on its.
    pub fn said(&self, channel: u8) -> String {
        let mut decoder = k42_wire::Decoder::new();
        let state = self.hv.machine.state();
        let bytes = state.output.iter().filter_map(|byte| match decoder.push(*byte) {
            Some(k42_wire::Item::Data(from, byte)) if from.number() == channel => Some(byte),
            _ => None,
        });
        String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned()
    }

    /// Puts bytes on the serial line for a domain, and lets the time pass after which processor 0
    /// looks at it.
    pub fn type_to(&self, channel: u8, bytes: &[u8]) {
        let channel = k42_wire::Channel::new(channel).expect("a channel");
        let mut state = self.hv.machine.state();
        for chunk in bytes.chunks(k42_wire::frame::MAX_PAYLOAD) {
            let header = k42_wire::frame::header(channel, chunk.len()).expect("a chunk");
            state.input.extend(header);
            state.input.extend(chunk);
        }
        state.now += hv_core::schedule::SLICE_TICKS;
    }
}

fn domain(number: u16, guest: &Guest) -> Domain {
    let disk = |(place, disk): (u64, &u32)| {
        let size = DISKS.get(*disk as usize).map_or(2 << 20, |(_, size)| *size);
        boot_archive::Disk { number: *disk, guest_address: place << 40, size }
    };
    Domain {
        number,
        name: guest.name.into(),
        personality: guest.personality,
        memory_size: guest.mebibytes << 20,
        vcpus: guest.vcpus,
        weight: guest.weight,
        scheduling: guest.scheduling,
        rights: guest.rights.bits(),
        lan: guest.lan,
        entry: 0,
        device_tree: 0x1000,
        little_endian: guest.personality == Personality::Xen,
        loads: vec![Blob { what: "image", guest_address: 0, data: guest.image.clone().into() }],
        disks: (1..).zip(&guest.disks).map(disk).collect(),
    }
}
