//! Who runs next. Each processor has a queue of its own (`queue`); another takes its lock to make
//! a vCPU ready, or, with nothing to run itself, to take one over. `account` says what a vCPU may
//! have and who goes first; `control` pauses vCPUs and changes their shares.
//!
//! A vCPU's registers stay in its processor until another one runs there, and a vCPU that waits
//! moves only while no processor has its registers (`Machine::holder`): so nothing has to be
//! fetched from a processor that is busy. Its home is the processor whose queue it is in. One that
//! sleeps is in none: its processor sees to its waking as to any timer (`timer`).

pub mod account;
mod control;
pub mod queue;

pub use control::Refused;

use crate::machine::{Machine, ProcessorId};
use crate::vcpu::{Ask, State, Status, VcpuId};
use crate::{Current, Hypervisor, Processor};
use account::Rank;
use core::sync::atomic::Ordering;
use queue::{Choice, Entry, Processors, bit};
use spin::MutexGuard;
use xen_sys::trace::{TRC_SCHED_SWITCH_INFNEXT, TRC_SCHED_SWITCH_INFPREV};

/// The longest a vCPU runs while others wait, and the longest before consoles are looked at.
pub const SLICE_TICKS: u64 = 512_000_000 / 100;

/// The same while input is coming in: the line holds 16 bytes.
pub(crate) const LISTENING_TICKS: u64 = SLICE_TICKS / 32;

/// More than a look at the serial line takes, 25 µs: the firmware's calls take 20.
pub(crate) const LOOK_TICKS: u64 = SLICE_TICKS / 400;

impl<M: Machine> Hypervisor<M> {
    /// An event has come for a vCPU: it is ready if it was blocked; if it runs or is ready already,
    /// its next block returns at once. Any processor may call this.
    pub(crate) fn wake(&self, vcpu: VcpuId) {
        self.notify(vcpu, Ask::empty());
    }

    /// The same, and the vCPU sees to what is asked before its guest goes on.
    pub(crate) fn notify(&self, vcpu: VcpuId, what: Ask) {
        let slot = self.vcpu(vcpu);
        let mut status = slot.status.lock();
        slot.ask(what);
        match status.state {
            State::Blocked(_) => self.make_ready(vcpu, status),
            State::Running if !what.is_empty() => {
                status.woken = true;
                self.machine.kick(status.home);
            }
            State::Running | State::Ready => status.woken = true,
            State::Unused | State::Ended | State::Stopped => {}
        }
    }

    /// Lets a stopped vCPU run; the machine has been told where it starts.
    pub(crate) fn launch(&self, vcpu: VcpuId) {
        let mut status = self.vcpu(vcpu).status.lock();
        status.stopping = false;
        if status.state == State::Stopped {
            self.make_ready(vcpu, status);
        }
    }

    /// Stops a vCPU where it is, until it is launched again. One that runs, be it the caller, stops
    /// at its next exit, which is soon.
    pub(crate) fn stop(&self, vcpu: VcpuId) {
        let slot = self.vcpu(vcpu);
        let mut status = slot.status.lock();
        match status.state {
            State::Unused | State::Ended | State::Stopped => {}
            State::Running => {
                status.stopping = true;
                slot.ask(Ask::STOP);
                self.machine.kick(status.home);
            }
            State::Ready | State::Blocked(_) => {
                status.enter(State::Stopped, self.machine.timebase());
                self.forget(status.home, vcpu);
            }
        }
    }

    pub(crate) fn make_ready(&self, vcpu: VcpuId, mut status: MutexGuard<'_, Status>) {
        let now = self.machine.timebase();
        status.enter(State::Ready, now);
        status.account.wake(now);
        if self.enqueue(vcpu, &mut status, now) {
            self.machine.kick(status.home);
        }
        self.offer(&status);
    }

    /// Puts a ready vCPU in its queue, unless it is paused. Returns whether the processor has to be
    /// told: it runs nothing, or has to choose anew.
    #[inline]
    fn enqueue(&self, vcpu: VcpuId, status: &mut Status, now: u64) -> bool {
        let mut queue = self.queue(status.home).lock();
        if status.pauses > 0 {
            queue.remove(vcpu);
            return false;
        }
        // Who has been away does not come back with credit.
        status.account.pass = status.account.pass.max(queue.pass);
        let (rank, until) = status.account.rank(now);
        let weight = status.account.share.weight.max(1);
        queue.insert(Entry { vcpu, rank, until, processors: status.may_run_on(), weight });
        let Some(running) = queue.running else { return true };
        let told = running.vcpu != vcpu && (rank.preempts(running.rank) || until < queue.due);
        if told {
            self.vcpu(running.vcpu).ask(Ask::PREEMPT);
        }
        told
    }

    /// Lets an idle processor know of a vCPU that waits for a busy one, if it may run it.
    fn offer(&self, status: &Status) {
        let fit = self.idle.load(Ordering::SeqCst) & status.may_run_on() & !bit(status.home);
        let ready = fit != 0 && status.state == State::Ready;
        if ready && self.queue(status.home).lock().is_contended() {
            self.machine.kick(ProcessorId(fit.trailing_zeros()));
        }
    }

    /// The registers of a vCPU have left its processor, where another one runs now: the machine
    /// says so, for another processor may take it.
    pub fn released(&self, vcpu: VcpuId) {
        if self.idle.load(Ordering::SeqCst) != 0 {
            self.offer(&self.vcpu(vcpu).status.lock());
        }
    }

    /// Takes the current vCPU off the processor until it is woken or `until` has come. It goes on
    /// when it was woken before, or has something to see to.
    pub(crate) fn block(&self, processor: &mut Processor, until: u64) {
        let Some(vcpu) = processor.vcpu() else { return };
        let slot = self.vcpu(vcpu);
        let mut status = slot.status.lock();
        let now = self.machine.timebase();
        if !core::mem::take(&mut status.woken) && until > now && !slot.is_asked() {
            self.take_off(processor, &mut status, State::Blocked(until), now);
            processor.timers.add(vcpu, until);
        }
    }

    /// Lets the others run; the current vCPU stays ready.
    pub(crate) fn yield_now(&self, processor: &mut Processor) {
        processor.yielded = processor.vcpu();
        processor.reschedule = true;
    }

    /// The same, and has `to` chosen next by its processor, if it is ready.
    pub(crate) fn yield_to(&self, processor: &mut Processor, to: VcpuId) {
        let home = self.vcpu(to).status.lock().home;
        self.queue(home).lock().favourite = Some(to);
        self.yield_now(processor);
    }

    /// Charges the current vCPU for its time and puts it back in the queue.
    pub(crate) fn put_back(&self, processor: &mut Processor) {
        let Some(vcpu) = processor.vcpu() else { return };
        let mut status = self.vcpu(vcpu).status.lock();
        let now = self.machine.timebase();
        self.take_off(processor, &mut status, State::Ready, now);
        self.enqueue(vcpu, &mut status, now);
    }

    /// Takes the current vCPU off the processor, to be in this state, and charges it for its time.
    pub(crate) fn take_off(
        &self,
        processor: &mut Processor,
        status: &mut Status,
        state: State,
        now: u64,
    ) {
        status.account.charge(processor.rank, now.saturating_sub(processor.since));
        status.enter(state, now);
        status.papr.left(&self.machine);
        processor.unseat();
        let Status { domain, server, .. } = *status;
        self.trace(processor, TRC_SCHED_SWITCH_INFPREV, || [domain.number().into(), server, 0]);
    }

    /// A vCPU in this processor's queue was due: its rank is another.
    #[cold]
    #[inline(never)]
    fn see_to_due(&self, processor: ProcessorId, vcpu: VcpuId, now: u64) {
        let mut status = self.vcpu(vcpu).status.lock();
        if status.state == State::Ready && status.home == processor {
            self.enqueue(vcpu, &mut status, now);
            self.offer(&status);
        }
    }

    /// Chooses the next vCPU and sets the alarm for the time when another choice is due; `None`
    /// when there is nothing to run.
    pub(crate) fn choose(&self, processor: &mut Processor) -> Option<VcpuId> {
        processor.reschedule = false;
        let yielded = processor.yielded.take();
        let queue = self.queue(processor.id);
        loop {
            let now = self.machine.timebase();
            if now >= processor.timers.first {
                self.see_to_timers(processor, now);
            }
            let (choice, due) = {
                let mut queue = queue.lock();
                (queue.choose(now, yielded), queue.due)
            };
            // The queue's lock is let go before a vCPU's is taken: `wake` takes them the other way.
            match choice {
                Choice::Due(vcpu) => self.see_to_due(processor.id, vcpu, now),
                Choice::Run(vcpu, rank) => {
                    if self.put_on(processor, vcpu, rank, now, due) {
                        return Some(vcpu);
                    }
                }
                Choice::Nothing if self.take_over(processor.id) => {}
                Choice::Nothing => {
                    self.set_alarm(processor, due.min(processor.look));
                    return None;
                }
            }
        }
    }

    /// Gives the processor to a vCPU that was chosen; false if that is not to be any more.
    fn put_on(
        &self,
        processor: &mut Processor,
        vcpu: VcpuId,
        rank: Rank,
        now: u64,
        due: u64,
    ) -> bool {
        let slot = self.vcpu(vcpu);
        let mut status = slot.status.lock();
        if status.state != State::Ready || status.home != processor.id || status.pauses > 0 {
            return false; // its domain was ended or paused in between, or another runs it
        }
        status.enter(State::Running, now);
        let Status { papr, times, .. } = &mut *status;
        papr.dispatched(&self.machine, processor.id, times);
        processor.since = now;
        processor.rank = rank;
        let slice = now.saturating_add(SLICE_TICKS).min(processor.look_due(now).max(now));
        self.set_alarm(processor, due.min(slice).min(status.account.limit(rank, now)));
        let Status { domain, rights, server, .. } = *status;
        processor.current = Current { vcpu, server, domain, rights };
        processor.seated = true;
        self.trace(processor, TRC_SCHED_SWITCH_INFNEXT, || [domain.number().into(), server, 0]);
        if status.times_at.is_some() {
            slot.ask(Ask::TIMES);
        }
        if core::mem::take(&mut status.fresh) {
            drop(status);
            self.announce(processor, domain);
        }
        true
    }

    /// Takes a vCPU over from the processor with the most load, for one that is left with less
    /// than that; false when there is none. No two queues are locked at once: the vCPU's own lock
    /// keeps it in place.
    #[cold]
    #[inline(never)]
    pub(crate) fn take_over(&self, to: ProcessorId) -> bool {
        let own = self.queue(to).lock().load();
        let fits = |e: &Entry| e.processors & bit(to) != 0 && self.machine.holder(e.vcpu).is_none();
        let others = self.processors_from(to.0, Processors::MAX).skip(1);
        let spare = others.filter_map(|from| {
            let (load, vcpu) = self.queue(from).lock().spare(own, fits)?;
            Some((load, vcpu, from))
        });
        let Some((_, vcpu, from)) = spare.max_by_key(|(load, ..)| *load) else { return false };
        let mut status = self.vcpu(vcpu).status.lock();
        let stays = status.state != State::Ready || status.may_run_on() & bit(to) == 0;
        if stays || status.home != from || self.machine.holder(vcpu).is_some() {
            return true; // another processor was faster, or things have changed: look again
        }
        self.forget(from, vcpu);
        status.home = to;
        status.account.pass = 0; // virtual time is another there: it comes as from a sleep
        self.enqueue(vcpu, &mut status, self.machine.timebase());
        true
    }

    /// What a processor does while it has nothing to run. Returns the vCPU to run. Processor 0
    /// looks at the serial line every slice; the others sleep until there is something to do.
    pub fn idle(&self, processor: &mut Processor) -> VcpuId {
        // Whoever makes a vCPU ready from now on sees that this processor is idle.
        self.idle.fetch_or(bit(processor.id), Ordering::SeqCst);
        let vcpu = loop {
            if let Some(vcpu) = self.look_for_work(processor) {
                break vcpu;
            }
            self.machine.wait();
        };
        self.idle.fetch_and(!bit(processor.id), Ordering::SeqCst);
        vcpu
    }

    /// One look at the queues, and where there is nothing to run, at consoles if that is due; the
    /// vCPU to run, if there is one.
    pub fn look_for_work(&self, processor: &mut Processor) -> Option<VcpuId> {
        self.examine(processor);
        let found = self.choose(processor);
        if found.is_some() || self.machine.timebase() < processor.look {
            return found;
        }
        self.look_around(processor);
        self.choose(processor)
    }

    /// Takes a vCPU out of whatever queue it is in. The caller has set its state.
    pub(crate) fn forget(&self, home: ProcessorId, vcpu: VcpuId) {
        self.queue(home).lock().remove(vcpu);
    }
}
