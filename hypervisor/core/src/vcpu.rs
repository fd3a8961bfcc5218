//! Virtual processors: what the scheduler and the interrupt controller know of one. Its registers
//! are the machine's affair.

use crate::domain::DomainId;
use crate::hypercall::xics::Presentation;
use crate::machine::ProcessorId;
use crate::schedule::account::{Account, Share};
use crate::schedule::queue::{Processors, bit};
use core::sync::atomic::{AtomicBool, Ordering};
use hv_abi::Rights;
use spin::Mutex;

/// The most vCPUs in the machine.
pub const MAX_VCPUS: usize = 128;

/// A vCPU, by its place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VcpuId(u16);

impl VcpuId {
    /// Its place in a table of [`MAX_VCPUS`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = VcpuId> {
        (0..MAX_VCPUS).filter_map(|index| u16::try_from(index).ok().map(VcpuId))
    }
}

/// Where a vCPU is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It belongs to nobody.
    Unused,
    /// Its domain ends, and it never runs again. It is somebody's until the domain is gone.
    Ended,
    /// It has not been started, or has stopped itself.
    Stopped,
    /// It waits for its processor, in that processor's queue.
    Ready,
    /// It is on its processor.
    Running,
    /// It waits for an event, or for this timebase.
    Blocked(u64),
}

/// What is known of a vCPU; under a lock of its own.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// Where it is in its life.
    pub state: State,
    /// Its domain.
    pub domain: DomainId,
    /// What its domain may ask for.
    pub rights: Rights,
    /// Its number in the domain.
    pub server: u32,
    /// The processor it runs on, or whose queue it is in.
    pub home: ProcessorId,
    /// The processors it may run on.
    pub processors: Processors,
    /// What it may have of them, and what it has had.
    pub account: Account,
    /// So many pauses have not been taken back: it is not chosen while there are some.
    pub pauses: u32,
    /// Its domain has not run yet: its first turn is to be announced.
    pub fresh: bool,
    /// An event is to be announced to it by a doorbell.
    pub upcall: bool,
    /// An event came while it was not blocked: the next block returns at once.
    pub woken: bool,
    /// It is to leave its processor and be reported on.
    pub examine: bool,
    /// Its interrupt controller.
    pub interrupts: Presentation,
}

impl Status {
    /// The processors that may run it: with a reservation only the one where that is.
    pub(crate) fn may_run_on(&self) -> Processors {
        let reserved = self.account.share.reserved.is_some();
        if reserved { bit(self.home) } else { self.processors }
    }

    /// The status of a slot that belongs to nobody.
    pub const UNUSED: Status = Status {
        state: State::Unused,
        domain: DomainId::NONE,
        rights: Rights::empty(),
        server: 0,
        home: ProcessorId(0),
        processors: Processors::MAX,
        account: Account::new(Share { weight: 1, cap: 0, reserved: None }),
        pauses: 0,
        fresh: false,
        upcall: false,
        woken: false,
        examine: false,
        interrupts: Presentation::new(),
    };
}

/// A slot of the table of vCPUs.
pub struct Vcpu {
    /// All but the flags.
    pub status: Mutex<Status>,
    /// Something is to be seen to before the guest goes on: an interrupt, or its domain's end. Set
    /// by any processor, looked at by the vCPU's own at every exit without taking the lock.
    attention: AtomicBool,
    /// It shall leave its processor, which has to choose anew.
    preempted: AtomicBool,
}

impl Vcpu {
    /// An unused slot.
    pub const fn unused() -> Vcpu {
        Vcpu {
            status: Mutex::new(Status::UNUSED),
            attention: AtomicBool::new(false),
            preempted: AtomicBool::new(false),
        }
    }

    /// Makes the vCPU's processor look at its status before the guest goes on.
    pub fn set_attention(&self, wanted: bool) {
        self.attention.store(wanted, Ordering::Release);
    }

    /// Whether somebody asked for that.
    pub fn wants_attention(&self) -> bool {
        self.attention.load(Ordering::Acquire)
    }

    /// Makes the vCPU's processor choose anew at its next exit.
    pub fn preempt(&self) {
        self.preempted.store(true, Ordering::Release);
        self.set_attention(true);
    }

    /// Whether somebody asked for that since this was last called.
    pub fn take_preempted(&self) -> bool {
        self.preempted.swap(false, Ordering::AcqRel)
    }
}
