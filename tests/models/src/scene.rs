//! Domains at a start, and their run on processors that are threads.

use crate::host::{Bell, Bells, Woken, until_over};
use hv_abi::XEN_MARK;
use hv_core::{Frame, Hypervisor, Next, Processor, Storage};
use hv_fake::{Board, Fake, Guest, make_resident};
use k42_lib::{GuestAddr, RealAddr, vector};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use xen_sys::{domctl, memory, sched, vcpu, xen};

/// Where domains map `shared_info`, and from where on they have their calls' arguments.
const SHARED: u64 = 16 << 20;
/// The first argument's place; each has [`ROOM`] for itself.
const ARGUMENTS: u64 = 0x2_0000;
const ROOM: u64 = 0x100;
/// Where further vCPUs have their `vcpu_info`.
const INFO: u64 = 0x6000;
const DOMCTL: u64 = 36;

/// What a guest does in its domain's memory, told what its last hypercall answered.
pub type Work = dyn FnOnce(&Fake, i64) + Send;

/// What a vCPU does next.
pub enum Step {
    /// A hypercall: r3 and what follows it.
    Call(Vec<u64>),
    /// Something in its domain's memory, with what the last hypercall answered.
    Do(Box<Work>),
    /// Looks, and makes this hypercall until the look has found what it wants.
    Until(Box<dyn FnMut(&Fake) -> bool + Send>, Vec<u64>),
    /// Runs without hypercalls from here on.
    Compute,
}

/// A hypercall of Xen's, by its number.
pub fn call(number: u64, arguments: &[u64]) -> Step {
    Step::Call([&[XEN_MARK | number], arguments].concat())
}

fn block() -> Vec<u64> {
    vec![XEN_MARK | xen::HYPERVISOR_SCHED_OP, sched::SCHEDOP_BLOCK.into()]
}

/// Where a vCPU is told of events: what its guest knows of its `vcpu_info` and of its domain's ports.
#[derive(Clone, Copy)]
pub struct Info {
    shared: RealAddr,
    own: RealAddr,
}

impl Info {
    fn ports(self, offset: u64) -> RealAddr {
        self.shared.offset(48 + offset)
    }

    /// Takes an event of this port, if there is one.
    pub fn take(self, machine: &Fake, port: u64) -> bool {
        machine.fetch_and(self.own, !0xff);
        machine.fetch_and(self.ports(0), !(1 << port)) >> port & 1 == 1
    }

    /// Whether there is an event of this port.
    pub fn pending(self, machine: &Fake, port: u64) -> bool {
        machine.load_shared(self.ports(0)) >> port & 1 == 1
    }

    /// Blocks until there is an event of this port, and takes it.
    pub fn wait(self, port: u64) -> Step {
        self.wait_by(port, block())
    }

    /// The same, by this hypercall.
    pub fn wait_by(self, port: u64, call: Vec<u64>) -> Step {
        Step::Until(Box::new(move |machine| self.take(machine, port)), call)
    }

    /// A poll of one port, until a time of the system: its registers.
    pub fn poll(scene: &mut Scene, domain: u16, port: u64, until: u64) -> Vec<u64> {
        let ports = scene.argument(domain, &[port]);
        let at = scene.argument(domain, &[ports, 1, until]);
        vec![XEN_MARK | xen::HYPERVISOR_SCHED_OP, sched::SCHEDOP_POLL.into(), at]
    }

    /// Masks a port.
    pub fn mask(self, port: u64) -> Step {
        Step::Do(Box::new(move |machine, _| {
            machine.fetch_or(self.ports(512), 1 << port);
        }))
    }
}

/// A vCPU's program: it blocks at its end.
struct Program {
    steps: VecDeque<Step>,
    info: Info,
    answer: i64,
}

impl Program {
    /// What it does next: a hypercall, or `None` to run without.
    fn next(&mut self, machine: &Fake) -> Option<Vec<u64>> {
        loop {
            match self.steps.pop_front() {
                None => {
                    machine.fetch_and(self.info.own, !0xff);
                    return Some(block());
                }
                Some(Step::Call(registers)) => return Some(registers),
                Some(Step::Do(work)) => work(machine, self.answer),
                Some(Step::Until(mut found, registers)) => {
                    if !found(machine) {
                        self.steps.push_front(Step::Until(found, registers.clone()));
                        return Some(registers);
                    }
                }
                Some(Step::Compute) => {
                    self.steps.push_front(Step::Compute);
                    return None;
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.steps.front(), None | Some(Step::Compute))
    }
}

/// Domains and what their vCPUs do.
pub struct Scene {
    /// The hypervisor with its processors.
    pub board: Board,
    /// By a vCPU's place in the table: its domain, and its program.
    programs: Vec<(u16, Mutex<Program>)>,
    arguments: u64,
}

impl Scene {
    /// These guests as domains 1, 2, …, all of whose vCPUs are up and have mapped what they share
    /// with the hypervisor.
    pub fn new(processors: u32, guests: &[Guest]) -> Scene {
        let board = Board::new(64, processors, guests);
        let mut scene = Scene { board, programs: Vec::new(), arguments: ARGUMENTS };
        for (domain, guest) in (1..).zip(guests) {
            let first = scene.programs.len();
            let map = [u64::from(xen::DOMID_SELF), 0, SHARED >> 12];
            let map = scene.memory(domain, memory::XENMEM_ADD_TO_PHYSMAP, &map);
            scene.now(first, map);
            let shared = scene.real(domain, SHARED);
            scene.add(domain, Info { shared, own: shared });
            for number in 1..u64::from(guest.vcpus) {
                let info = INFO + number * 0x40;
                let start = [0x4000, 0x8000, 7, 1];
                let place = [info >> 12, info & 0xfff];
                for (command, argument) in [
                    (vcpu::VCPUOP_REGISTER_VCPU_INFO, &place[..]),
                    (vcpu::VCPUOP_INITIALISE, &start),
                    (vcpu::VCPUOP_UP, &[]),
                ] {
                    let step = scene.vcpu(domain, command, number, argument);
                    scene.now(first, step);
                }
                let own = scene.real(domain, info);
                scene.board.hv.machine.fetch_and(own, 0);
                scene.board.hv.machine.fetch_and(own.offset(8), 0);
                scene.add(domain, Info { shared, own });
            }
        }
        scene
    }

    fn add(&mut self, domain: u16, info: Info) {
        self.programs
            .push((domain, Mutex::new(Program { steps: VecDeque::new(), info, answer: 0 })));
    }

    /// Where a page of a domain's memory is.
    pub fn real(&self, domain: u16, at: u64) -> RealAddr {
        let found = self.board.hv.machine.guest_translate(domain, GuestAddr::new(at));
        found.expect("the domain's memory")
    }

    /// Puts an argument where no other is; its address.
    pub fn argument(&mut self, domain: u16, words: &[u64]) -> u64 {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let at = self.arguments;
        self.arguments += ROOM;
        self.board.poke(domain, at, &bytes);
        at
    }

    /// An `event_channel_op` of a domain.
    pub fn event(&mut self, domain: u16, command: u32, argument: &[u64]) -> Step {
        let at = self.argument(domain, argument);
        call(xen::HYPERVISOR_EVENT_CHANNEL_OP, &[command.into(), at])
    }

    /// A `memory_op` of a domain.
    pub fn memory(&mut self, domain: u16, command: u32, argument: &[u64]) -> Step {
        let at = self.argument(domain, argument);
        call(xen::HYPERVISOR_MEMORY_OP, &[command.into(), at])
    }

    /// A `vcpu_op` of a domain on its vCPU of that number.
    pub fn vcpu(&mut self, domain: u16, command: u32, number: u64, argument: &[u64]) -> Step {
        let at = self.argument(domain, argument);
        call(xen::HYPERVISOR_VCPU_OP, &[command.into(), number, at])
    }

    /// A `domctl` of domain 1 on another, with what follows the envelope.
    pub fn control(&mut self, command: u32, domain: u16, own: &[u64]) -> Step {
        let version = u64::from(domctl::XEN_DOMCTL_INTERFACE_VERSION) << 32;
        let envelope = [u64::from(command) | version, domain.into()];
        let at = self.argument(1, &[&envelope, own].concat());
        call(DOMCTL, &[at])
    }

    /// The end of a domain by its own will.
    pub fn shutdown(&mut self, domain: u16) -> Step {
        let at = self.argument(domain, &[sched::SHUTDOWN_POWEROFF.into()]);
        call(xen::HYPERVISOR_SCHED_OP, &[sched::SCHEDOP_SHUTDOWN.into(), at])
    }

    /// What the vCPU with this place knows of events.
    pub fn info(&mut self, vcpu: usize) -> Info {
        self.programs[vcpu].1.get_mut().unwrap().info
    }

    /// What the vCPU with this place is to do.
    pub fn program(&mut self, vcpu: usize, steps: impl IntoIterator<Item = Step>) {
        self.programs[vcpu].1.get_mut().unwrap().steps.extend(steps);
    }

    /// Has the vCPU with this place make a hypercall before the run; it must succeed.
    pub fn now(&mut self, vcpu: usize, step: Step) {
        let Step::Call(registers) = step else { panic!("no hypercall") };
        let n = self.bring(vcpu);
        assert_eq!(self.board.hypercall(n, &registers), 0, "{registers:x?} of vCPU {vcpu}");
    }

    /// Has the vCPU run on some processor.
    fn bring(&mut self, vcpu: usize) -> usize {
        let processors = self.board.processors.len();
        for _ in 0..100 {
            if let Some(n) = (0..processors).find(|n| self.board.running(*n) == Some(vcpu)) {
                return n;
            }
            self.board.hv.machine.state().now += 1 << 24;
            for n in 0..processors {
                if self.board.running(n).is_none() {
                    self.board.look(n);
                } else {
                    let decrementer = vector::HYPERVISOR_DECREMENTER;
                    self.board.exit(n, decrementer, &mut Frame::default());
                }
            }
        }
        panic!("vCPU {vcpu} does not run");
    }

    /// Lets all processors run at once, until they sleep for good. Meanwhile it becomes these times,
    /// in ticks from now.
    ///
    /// # Panics
    /// When a vCPU has not come to its program's end and its domain is still there; when the walker
    /// finds something wrong.
    pub fn run(&mut self, times: &[u64]) {
        let now = self.board.hv.machine.state().now;
        let bells = Bells::new(self.board.processors.len(), now);
        self.board.hv.machine.host = Some(Box::new(Bell(Arc::clone(&bells))));
        let Board { hv, processors, .. } = &mut self.board;
        let (hv, programs, bells) = (&**hv, &self.programs, &*bells);
        shuttle::thread::scope(|scope| {
            for processor in processors {
                scope.spawn(move || until_over(|| drive(hv, processor, programs, bells)));
            }
            for passed in times {
                hv.machine.state().now = now + passed;
                bells.pass(now + passed);
            }
            bells.stop();
        });
        self.board.hv.machine.host = None;
        self.board.check();
        let said = self.board.said(0);
        for (vcpu, (domain, program)) in self.programs.iter_mut().enumerate() {
            // One that computes is left in the middle of it.
            let over = program.get_mut().unwrap_or_else(PoisonError::into_inner).is_over();
            let ended = said.lines().any(|line| {
                line.contains(&format!("domain {domain} (")) && line.contains("): ended")
            });
            assert!(over || ended, "vCPU {vcpu} sleeps for good in the middle of its program");
        }
    }
}

/// What a processor does.
fn drive(
    hv: &Hypervisor<Fake>,
    processor: &mut Processor,
    programs: &[(u16, Mutex<Program>)],
    bells: &Bells,
) {
    Bells::take_part(processor.id().0 as usize);
    loop {
        let mut next = match processor.vcpu() {
            None => Next::Switch(hv.idle(processor)),
            Some(vcpu) => {
                // A vCPU that ran on two processors would meet itself here.
                let alone = programs[vcpu.index()].1.try_lock();
                let mut program = alone.expect("a vCPU runs on one processor at a time");
                let mut frame = Frame::default();
                let vector = match program.next(&hv.machine) {
                    Some(registers) => {
                        frame.gpr[3..3 + registers.len()].copy_from_slice(&registers);
                        vector::SYSTEM_CALL
                    }
                    None => match bells.sleep() {
                        Woken::Kick => vector::HYPERVISOR_DOORBELL,
                        Woken::Alarm => vector::HYPERVISOR_DECREMENTER,
                    },
                };
                let next = hv.exit(processor, vector, &mut frame);
                program.answer = frame.gpr[3].cast_signed();
                next
            }
        };
        while let Next::Switch(vcpu) = next {
            make_resident(hv, processor.id(), vcpu);
            next = hv.leave(processor, &mut Frame::default());
        }
    }
}
