//! Who runs next. Each processor has a queue of its own; nothing here is shared by processors but
//! the queue's lock, which another takes only to make a vCPU ready.
//!
//! Proportional share by stride: a vCPU's virtual time (`pass`) advances by the ticks it used
//! divided by its weight, and the one with the least runs next. One that has slept does not come
//! back with credit: it starts at the queue's present virtual time.

use crate::machine::{Machine, ProcessorId};
use crate::vcpu::{MAX_VCPUS, State, Status, VcpuId};
use crate::{Current, Hypervisor, Processor};
use arrayvec::ArrayVec;
use spin::{Mutex, MutexGuard};

/// The longest a vCPU runs while others wait, and the longest before consoles are looked at.
pub const SLICE_TICKS: u64 = 512_000_000 / 100;

/// The same while input is coming in: the line holds 16 bytes.
const LISTENING_TICKS: u64 = SLICE_TICKS / 32;

/// A vCPU in a queue, with the number it is queued by: its virtual time, or when it is due.
type Entry = (VcpuId, u64);

/// A processor's vCPUs that are not on it.
pub struct RunQueue {
    ready: ArrayVec<Entry, MAX_VCPUS>,
    blocked: ArrayVec<Entry, MAX_VCPUS>,
    /// Virtual time of the vCPU that was chosen last.
    pass: u64,
}

impl RunQueue {
    /// An empty queue.
    pub const fn new() -> RunQueue {
        RunQueue { ready: ArrayVec::new_const(), blocked: ArrayVec::new_const(), pass: 0 }
    }

    /// Takes out the vCPU with the least virtual time.
    fn take_least(&mut self) -> Option<VcpuId> {
        let least = self.ready.iter().enumerate().min_by_key(|(_, (_, pass))| *pass);
        let (index, (vcpu, pass)) = least.map(|(index, entry)| (index, *entry))?;
        self.ready.remove(index);
        self.pass = self.pass.max(pass);
        Some(vcpu)
    }

    /// How often it has a vCPU among the ready ones, and among the sleepers.
    #[cfg(feature = "walker")]
    pub(crate) fn holds(&self, vcpu: VcpuId) -> (usize, usize) {
        let count = |list: &[Entry]| list.iter().filter(|(other, _)| *other == vcpu).count();
        (count(&self.ready), count(&self.blocked))
    }

    /// All that it has.
    #[cfg(feature = "walker")]
    pub(crate) fn all(&self) -> impl Iterator<Item = VcpuId> {
        self.ready.iter().chain(&self.blocked).map(|(vcpu, _)| *vcpu)
    }

    /// A vCPU that was due by `now`, if there is one; else when the next is.
    fn due(&self, now: u64) -> Result<VcpuId, u64> {
        let first = self.blocked.iter().min_by_key(|(_, until)| *until);
        match first {
            Some((vcpu, until)) if *until <= now => Ok(*vcpu),
            Some((_, until)) => Err(*until),
            None => Err(u64::MAX),
        }
    }
}

impl Default for RunQueue {
    fn default() -> RunQueue {
        RunQueue::new()
    }
}

fn remove(list: &mut ArrayVec<Entry, MAX_VCPUS>, vcpu: VcpuId) {
    if let Some(index) = list.iter().position(|(other, _)| *other == vcpu) {
        list.remove(index);
    }
}

impl<M: Machine> Hypervisor<M> {
    /// An event has come for a vCPU: it is ready if it was blocked; if it runs or is ready already,
    /// its next block returns at once. Any processor may call this.
    pub(crate) fn wake(&self, vcpu: VcpuId) {
        let Some(slot) = self.vcpu(vcpu) else { return };
        let mut status = slot.status.lock();
        match status.state {
            State::Unused | State::Ended | State::Stopped => {}
            State::Ready | State::Running => status.woken = true,
            State::Blocked(_) => self.make_ready(vcpu, status),
        }
    }

    /// Lets a stopped vCPU run; the machine has been told where it starts.
    pub(crate) fn launch(&self, vcpu: VcpuId) {
        let Some(slot) = self.vcpu(vcpu) else { return };
        let status = slot.status.lock();
        if status.state == State::Stopped {
            self.make_ready(vcpu, status);
        }
    }

    fn make_ready(&self, vcpu: VcpuId, mut status: MutexGuard<'_, Status>) {
        let Some(queue) = self.queue(status.home) else { return };
        let mut queue = queue.lock();
        status.state = State::Ready;
        status.pass = status.pass.max(queue.pass);
        remove(&mut queue.blocked, vcpu);
        let _ = queue.ready.try_push((vcpu, status.pass)); // there is room for every vCPU
        drop(queue);
        let home = status.home;
        drop(status);
        self.machine.kick(home);
    }

    /// Takes the current vCPU off the processor until it is woken or `until` has come. Returns
    /// false, and leaves it running, when it was woken before.
    pub(crate) fn block(&self, processor: &mut Processor, until: u64) -> bool {
        let Some(vcpu) = processor.vcpu() else { return false };
        let Some(slot) = self.vcpu(vcpu) else { return false };
        let mut status = slot.status.lock();
        if core::mem::take(&mut status.woken) || until <= self.machine.timebase() {
            return false;
        }
        status.state = State::Blocked(until);
        if let Some(queue) = self.queue(status.home) {
            let _ = queue.lock().blocked.try_push((vcpu, until)); // as above
        }
        processor.reschedule = true;
        true
    }

    /// Takes the current vCPU off the processor; it stays ready.
    pub(crate) fn yield_now(&self, processor: &mut Processor) {
        processor.reschedule = true;
    }

    /// Charges the current vCPU for its time and puts it back, if it still runs.
    pub(crate) fn put_back(&self, processor: &mut Processor) {
        let now = self.machine.timebase();
        let Some(current) = processor.current.take() else { return };
        let used = now.saturating_sub(processor.since);
        let Some(slot) = self.vcpu(current.vcpu) else { return };
        let mut status = slot.status.lock();
        let share = used.saturating_mul(256).checked_div(u64::from(status.weight)).unwrap_or(used);
        status.pass = status.pass.saturating_add(share.max(1));
        if status.state == State::Running {
            status.state = State::Ready;
            if let Some(queue) = self.queue(status.home) {
                let _ = queue.lock().ready.try_push((current.vcpu, status.pass)); // as above
            }
        }
    }

    /// Wakes the vCPUs of this processor whose time has come, and says when the next is due.
    fn wake_due(&self, queue: &Mutex<RunQueue>, now: u64) -> u64 {
        loop {
            let due = queue.lock().due(now);
            match due {
                Ok(vcpu) => self.wake(vcpu),
                Err(next) => return next,
            }
        }
    }

    /// Chooses the next vCPU and sets the alarm for the end of its slice; `None` when there is
    /// nothing to run.
    pub(crate) fn choose(&self, processor: &mut Processor) -> Option<VcpuId> {
        processor.reschedule = false;
        let queue = self.queue(processor.id)?;
        let now = self.machine.timebase();
        let due = self.wake_due(queue, now);
        let slice = if processor.listening { LISTENING_TICKS } else { SLICE_TICKS };
        self.machine.set_alarm(due.min(now.saturating_add(slice)));
        loop {
            // The queue's lock is let go before a vCPU's is taken: `wake` takes them the other way.
            let vcpu = queue.lock().take_least()?;
            let mut status = self.vcpu(vcpu)?.status.lock();
            if status.state != State::Ready {
                continue; // its domain ended in between
            }
            status.state = State::Running;
            processor.since = now;
            let Status { domain, rights, .. } = *status;
            processor.current = Some(Current { vcpu, domain, rights });
            if core::mem::take(&mut status.fresh) {
                drop(status);
                self.announce(processor, domain);
            }
            return Some(vcpu);
        }
    }

    /// What a processor does while it has nothing to run. Returns the vCPU to run.
    pub fn idle(&self, processor: &mut Processor) -> VcpuId {
        loop {
            if let Some(vcpu) = self.look_for_work(processor) {
                return vcpu;
            }
            self.machine.wait();
        }
    }

    /// One look at consoles and queue; the vCPU to run, if there is one.
    pub fn look_for_work(&self, processor: &mut Processor) -> Option<VcpuId> {
        self.examine(processor);
        self.poll_console(processor);
        self.choose(processor)
    }

    /// Takes a vCPU out of whatever queue it is in. The caller has set its state.
    pub(crate) fn forget(&self, home: ProcessorId, vcpu: VcpuId) {
        if let Some(queue) = self.queue(home) {
            let mut queue = queue.lock();
            remove(&mut queue.ready, vcpu);
            remove(&mut queue.blocked, vcpu);
        }
    }
}
