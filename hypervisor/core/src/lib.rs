//! The hypervisor's policy: domains, memory, processors, interrupts, hypercalls. It runs on any
//! [`Machine`], so all of it runs in host tests as well.
//!
//! Top-down: a machine calls [`Hypervisor::exit`] (`exit`) for whatever stops a guest; hypercalls
//! are decoded, authorised and carried out in `hypercall`; `schedule` says who runs next, `timer`
//! what is due when; `start` (with `create`) and `end` are a domain's birth and death, `measure` logs
//! what it starts from; `control` is what one domain may do to others; `memory` and `frames` own
//! storage, `grants` lends it; `lan` is the switch between domains' network ports, which reach memory
//! through `bus`; `console` shares the serial line; `report` says who did what, where. `papr` has all
//! that Linux needs of a platform and nobody else does: a personality, which can be left out.
//!
//! Lock order, outermost first: admission, a domain's slot (two: by number), the LAN's switch, frames,
//! a vCPU's status, a run queue, the measurement log, console.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(feature = "papr"), allow(dead_code))] // what no other personality needs
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

pub mod bus;
pub mod console;
pub mod control;
mod create;
mod diagnostics;
pub mod domain;
mod end;
pub mod events;
mod exit;
pub mod frames;
pub mod grants;
pub mod hypercall;
pub mod lan;
pub mod machine;
pub mod measure;
pub mod memory;
#[cfg_attr(not(feature = "papr"), path = "papr/absent.rs")]
pub mod papr;
mod report;
pub mod schedule;
mod start;
mod timer;
mod trace;
pub mod vcpu;
#[cfg(feature = "walker")]
pub mod walker;

pub use exit::Next;
pub use machine::{Fault, Frame, InterruptMode, Machine, Partition, ProcessorId, Start, Storage};
pub use vcpu::VcpuId;

use arrayvec::ArrayVec;
use console::Console;
use control::RemainsList;
use core::sync::atomic::{AtomicU32, AtomicU64};
use domain::{Domain, DomainId, MAX_DOMAINS};
use frames::Frames;
use hv_abi::Rights;
use lan::Switch;
use measure::Log;
use schedule::account::Rank;
use schedule::queue::RunQueue;
use spin::{Mutex, MutexGuard};
use trace::{Trace, Writer};
use vcpu::{MAX_VCPUS, Vcpu};
use xen_sys::errno;

/// The most processors of the machine.
pub const MAX_PROCESSORS: usize = 32;

/// A domain's slot, locked.
type Slot<'a> = MutexGuard<'a, Option<Domain>>;

/// The whole hypervisor. There is one in a machine.
///
/// What every exit looks at comes first, within reach of a load's 16-bit displacement.
#[repr(C)]
pub struct Hypervisor<M> {
    /// The machine it runs on.
    pub machine: M,
    /// The processors that have nothing to run, a bit for each.
    idle: AtomicU32,
    trace: Trace,
    vcpus: [Vcpu; MAX_VCPUS],
    queues: [Mutex<RunQueue>; MAX_PROCESSORS],
    /// By number; there is no domain 0.
    domains: [Mutex<Option<Domain>>; MAX_DOMAINS + 1],
    frames: Mutex<Frames>,
    /// Held while processor time is reserved: one at a time looks at what is free.
    admission: Mutex<()>,
    log: Mutex<Log>,
    console: Mutex<Console>,
    /// What is left of created domains that have ended.
    remains: Mutex<RemainsList>,
    lan: Mutex<Switch>,
    /// How many processors take part.
    processors: AtomicU32,
    /// Timebase at the hypervisor's entry.
    entered: AtomicU64,
    /// When the timebase was 0, in seconds since 1970 began.
    epoch: AtomicU64,
}

/// What a processor knows of its vCPU without taking a lock.
#[derive(Clone, Copy, Debug)]
struct Current {
    vcpu: VcpuId,
    /// Its number in the domain.
    server: u32,
    domain: DomainId,
    rights: Rights,
}

/// A processor's own state: nobody else touches it.
#[derive(Debug)]
pub struct Processor {
    id: ProcessorId,
    /// The vCPU on it; the one that was there last if it is not `seated`.
    current: Current,
    seated: bool,
    /// When the current vCPU was put on the processor.
    since: u64,
    /// The rank it was chosen with.
    rank: Rank,
    /// When the scheduler wants it to exit.
    alarm: u64,
    /// The timers that were set on it.
    timers: timer::Timers,
    /// Another vCPU should get the processor.
    reschedule: bool,
    /// The one that has just let the others run.
    yielded: Option<VcpuId>,
    /// When to look at the serial line and the watchdogs: processor 0 does it for all.
    look: u64,
    /// The current vCPU leaves the processor to be reported on (`diagnostics`).
    examine: bool,
    /// What its domain then ends for.
    crash: Option<report::Line>,
    writer: Writer,
}

impl Processor {
    /// A processor that runs nothing yet.
    pub const fn new(id: ProcessorId) -> Processor {
        Processor {
            id,
            current: Current {
                vcpu: VcpuId::FIRST,
                server: 0,
                domain: DomainId::NONE,
                rights: Rights::empty(),
            },
            seated: false,
            since: 0,
            rank: Rank::WAITS,
            alarm: u64::MAX,
            timers: timer::Timers::NONE,
            reschedule: false,
            yielded: None,
            look: if id.0 == 0 { schedule::SLICE_TICKS } else { u64::MAX },
            examine: false,
            crash: None,
            writer: Writer::START,
        }
    }

    /// Which one it is.
    pub const fn id(&self) -> ProcessorId {
        self.id
    }

    fn current(&self) -> Option<Current> {
        self.seated.then_some(self.current)
    }

    /// When a look comes before the vCPU on it: one that can wait takes no reserved time, and makes
    /// nobody late who is woken soon.
    fn look_due(&self, now: u64) -> u64 {
        let soon = self.timers.first <= now.saturating_add(schedule::LOOK_TICKS);
        let grace = if soon || self.rank.is_reserved() { schedule::SLICE_TICKS } else { 0 };
        self.look.saturating_add(grace)
    }

    /// The vCPU leaves it, which then has to choose another.
    fn unseat(&mut self) {
        (self.seated, self.reschedule) = (false, true);
    }

    /// The vCPU on this processor.
    pub fn vcpu(&self) -> Option<VcpuId> {
        self.current().map(|current| current.vcpu)
    }
}

impl<M: Machine> Hypervisor<M> {
    /// A hypervisor without storage and without domains: a constant, since it is too large for any
    /// stack. [`Hypervisor::init`] makes it usable.
    pub const fn new(machine: M) -> Hypervisor<M> {
        Hypervisor {
            machine,
            frames: Mutex::new(Frames::none()),
            domains: [const { Mutex::new(None) }; MAX_DOMAINS + 1],
            vcpus: [const { Vcpu::unused() }; MAX_VCPUS],
            queues: [const { Mutex::new(RunQueue::EMPTY) }; MAX_PROCESSORS],
            idle: AtomicU32::new(0),
            trace: Trace::new(),
            admission: Mutex::new(()),
            log: Mutex::new(Log::new()),
            console: Mutex::new(Console::new()),
            remains: Mutex::new(RemainsList::new_const()),
            lan: Mutex::new(Switch::new()),
            processors: AtomicU32::new(1),
            entered: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
        }
    }

    /// There are no numbers but those of the table.
    fn vcpu(&self, id: VcpuId) -> &Vcpu {
        self.vcpus.get(id.index()).unwrap_or(&self.vcpus[0])
    }

    /// Its queue: there are no more processors than queues.
    fn queue(&self, processor: ProcessorId) -> &Mutex<RunQueue> {
        self.queues.get(processor.0 as usize).unwrap_or(&self.queues[0])
    }

    /// The domain's slot, locked.
    fn domain(&self, id: DomainId) -> Slot<'_> {
        self.domains.get(usize::from(id.number())).unwrap_or(&self.domains[0]).lock()
    }

    /// Does something with a domain, if there is one.
    fn with<R>(&self, id: DomainId, does: impl FnOnce(&mut Domain) -> R) -> Result<R, i32> {
        self.domain(id).as_mut().map(does).ok_or(errno::ESRCH)
    }

    /// Two domains' slots, locked in the order of their numbers; `None` where they are one.
    fn pair(&self, one: DomainId, other: DomainId) -> Option<(Slot<'_>, Slot<'_>)> {
        let mut first = self.domain(one.min(other));
        let mut second = (one != other).then(|| self.domain(one.max(other)))?;
        if one > other {
            core::mem::swap(&mut first, &mut second);
        }
        Some((first, second))
    }

    /// The vCPUs of a domain.
    fn vcpus_of(&self, id: DomainId) -> ArrayVec<VcpuId, { domain::MAX_DOMAIN_VCPUS }> {
        self.domain(id).as_ref().map(|d| d.vcpus.clone()).unwrap_or_default()
    }
}
