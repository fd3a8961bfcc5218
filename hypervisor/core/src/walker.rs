//! The invariants of the whole hypervisor, checked over all of its state: for tests, on the host
//! after every step and on the target on request. Not in the image that is shipped (feature
//! `walker`).
//!
//! It holds every lock that what it looks at has, in the order of `lib.rs`, so that it sees one
//! moment. What a processor is about to do under no lock at all it cannot see (a vCPU that has left
//! its queue and is not on its processor yet): where several run, it complains of that, too.
//!
//! It does not see what the fake machine knows besides: translations in a TLB, the partition table,
//! the registers that a processor has. Nor does it look at what is typed and said, at what is left of
//! ended domains, at the measurement log, at the LAN ports' buffers, or at who has how much
//! processor time.

use crate::domain::{Domain, DomainId};
use crate::events::{MAX_PORTS, Port};
use crate::frames::{FRAME_SIZE, Frames, Owner};
use crate::grants::{self, NO_ENTRY};
use crate::machine::{Machine, Storage};
use crate::schedule::queue::RunQueue;
use crate::vcpu::{MAX_VCPUS, State, Status, VcpuId};
use crate::{Hypervisor, MAX_PROCESSORS, ProcessorId};
use arrayvec::ArrayVec;
use core::fmt;
use hv_abi::Rights;
use k42_lib::RealAddr;
use k42_lib::radix::{ADDRESS_BITS, Access, Entry, LeafSize, TableSize};
use spin::MutexGuard;

/// Tables are read in parts: the root, which is large and almost empty, in large ones, the others
/// in such that a walk needs little stack.
const ROOT_PART: usize = 4096;
const PART: usize = TableSize::Last.bytes() as usize;

/// Takes what is wrong.
pub type Wrong<'a> = dyn FnMut(fmt::Arguments<'_>) + 'a;

/// A leaf of a partition-scoped tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The guest real address it maps.
    pub at: u64,
    /// To what.
    pub to: u64,
    /// How much.
    pub size: u64,
    /// What is allowed.
    pub access: Access,
}

/// What a tree is made of.
pub enum Part {
    /// A table: where, and how large.
    Table(u64, u64),
    /// A leaf.
    Leaf(Leaf),
}

/// Calls `each` with every table and every leaf of the tree whose root table is at `root`.
pub fn tree(machine: &impl Machine, root: u64, each: &mut dyn FnMut(Part)) {
    each(Part::Table(root, TableSize::Root.bytes()));
    let index_bits = TableSize::Root.index_bits();
    table::<ROOT_PART>(machine, root, index_bits, ADDRESS_BITS, 0, each);
}

/// The table at `base`, whose entries have `index_bits` bits of an address below bit `top`.
fn table<const N: usize>(
    machine: &impl Machine,
    base: u64,
    index_bits: u32,
    top: u32,
    prefix: u64,
    each: &mut dyn FnMut(Part),
) {
    let shift = top.saturating_sub(index_bits);
    let bytes = 8_u64.checked_shl(index_bits).unwrap_or(0);
    let mut done: u64 = 0;
    while done < bytes {
        let mut part = [0; N];
        machine.read(RealAddr::new(base.saturating_add(done)), &mut part);
        if part == [0; N] {
            done = done.saturating_add(N as u64);
            continue;
        }
        for (raw, n) in part.chunks_exact(8).zip(done / 8..) {
            let raw = raw.try_into().map_or(0, u64::from_be_bytes);
            let at = prefix | n.checked_shl(shift).unwrap_or(0);
            match Entry::decode(raw) {
                Entry::Invalid => {}
                Entry::Leaf { base: to, access } => {
                    let size = 1_u64.checked_shl(shift).unwrap_or(0);
                    each(Part::Leaf(Leaf { at, to, size, access }));
                }
                Entry::Table { base, index_bits } => {
                    each(Part::Table(base, 8_u64.checked_shl(index_bits).unwrap_or(0)));
                    // A table of a level that there is not would be the walk's own end.
                    if shift > 12 && index_bits < shift {
                        table::<PART>(machine, base, index_bits, shift, at, each);
                    }
                }
            }
        }
        done = done.saturating_add(N as u64);
    }
}

impl<M: Machine> Hypervisor<M> {
    /// Calls `wrong` for everything that is not as it has to be, and `seen` for each leaf on the way.
    pub fn walk(&self, wrong: &mut Wrong<'_>, seen: &mut dyn FnMut(DomainId, Leaf)) {
        let domains: ArrayVec<_, { crate::domain::MAX_DOMAINS + 1 }> =
            self.domains.iter().map(spin::Mutex::lock).collect();
        let switch = self.lan.lock();
        let frames = self.frames.lock();
        let vcpus: ArrayVec<MutexGuard<'_, Status>, MAX_VCPUS> =
            self.vcpus.iter().map(|slot| slot.status.lock()).collect();
        let queues: ArrayVec<MutexGuard<'_, RunQueue>, MAX_PROCESSORS> =
            self.queues.iter().map(spin::Mutex::lock).collect();
        let traced = self.traced();
        let all = All { hv: self, domains: &domains, frames: &frames, traced };
        all.owners(wrong);
        for (lan, open) in (0..).zip(switch.open) {
            let own = |domain: &Domain| domain.lan.is_some() && domain.lan_number == lan;
            let ports = all.living().filter(|(_, domain)| own(domain));
            let ports = ports.fold(0, |open, (id, _)| open | crate::lan::bit(id));
            if open != ports {
                wrong(format_args!(
                    "LAN {lan}: ports {ports:#x} are open, the switch has {open:#x}"
                ));
            }
        }
        let (mut borrowed, mut uses) = (0_u64, [0_u64; crate::domain::MAX_DOMAINS + 1]);
        for (id, domain) in all.living() {
            let pages = all.memory(id, domain, wrong, seen);
            borrowed = borrowed.saturating_add(pages);
            let noted = all.mappings(id, domain, &mut uses, wrong);
            if pages != noted {
                wrong(format_args!("{id:?} has noted {noted} mappings and has {pages}"));
            }
            all.ports(id, domain, wrong);
            vcpus_of(id, domain, &vcpus, wrong);
        }
        for (id, domain) in all.living() {
            let counted = grants::walker::uses(&self.machine, domain);
            let there = uses.get(usize::from(id.number())).copied().unwrap_or(0);
            if counted != there {
                wrong(format_args!("{id:?}: its grants count {counted:#x} uses, not {there:#x}"));
            }
        }
        // What vCPUs share with the hypervisor is held as if it were lent.
        let held = vcpus.iter().filter(|status| status.state != State::Unused);
        let held =
            held.fold(0, |sum: u64, status| sum.saturating_add(status.papr.held().count() as u64));
        let borrowed = borrowed.saturating_add(held);
        let lent = frames.all().fold(0, |sum: u64, (_, lent)| sum.saturating_add(lent.into()));
        if lent != borrowed {
            wrong(format_args!("pages are lent {lent} times and mapped {borrowed} times"));
        }
        for (vcpu, status) in VcpuId::all().zip(&vcpus) {
            all.vcpu(vcpu, status, wrong);
            queued(vcpu, status, &queues, wrong);
        }
        for (processor, queue) in (0..).map(ProcessorId).zip(&queues) {
            waiting(processor, queue, &vcpus, wrong);
        }
        one_running_each(&vcpus, wrong);
    }

    /// The root table of a domain's tree.
    pub fn root(&self, number: u16) -> Option<u64> {
        self.domain(DomainId::new(number)?).as_ref().map(|domain| domain.memory.root())
    }

    /// Whether a vCPU is on this processor, as far as its status says.
    pub fn is_running(&self, vcpu: VcpuId, processor: ProcessorId) -> bool {
        let status = self.vcpu(vcpu).status.lock();
        status.state == State::Running && status.home == processor
    }

    /// Whether none of the domain's vCPUs is on a processor.
    pub fn at_rest(&self, id: DomainId) -> bool {
        let running = |vcpu| self.vcpu(vcpu).status.lock().state == State::Running;
        !self.vcpus_of(id).into_iter().any(running)
    }

    /// How many vCPUs are on processors.
    pub fn running(&self) -> usize {
        self.vcpus.iter().filter(|slot| slot.status.lock().state == State::Running).count()
    }
}

/// What is looked at, with all locks held.
struct All<'a, M> {
    hv: &'a Hypervisor<M>,
    domains: &'a [MutexGuard<'a, Option<Domain>>],
    frames: &'a Frames,
    /// The trace buffers, which controllers may have mapped.
    traced: core::ops::Range<u64>,
}

impl<M: Machine> All<'_, M> {
    fn living(&self) -> impl Iterator<Item = (DomainId, &Domain)> {
        (0..)
            .zip(self.domains)
            .filter_map(|(number, slot)| Some((DomainId::new(number)?, slot.as_ref()?)))
    }

    fn domain(&self, id: DomainId) -> Option<&Domain> {
        self.domains.get(usize::from(id.number()))?.as_ref()
    }

    /// A frame is free, the platform's, a living domain's, or a dead one's that others still have
    /// mapped.
    fn owners(&self, wrong: &mut Wrong<'_>) {
        if self.domains.first().is_some_and(|slot| slot.is_some()) {
            wrong(format_args!("there is a domain 0"));
        }
        let mut dead = [true; 256];
        let living = self.living().map(|(id, _)| Owner::domain(id.number()));
        for owner in living.chain([Owner::FREE, Owner::PLATFORM, Owner::ORPHAN]) {
            if let Some(dead) = dead.get_mut(owner.index()) {
                *dead = false;
            }
        }
        for (frame, (owner, lent)) in self.frames.all().enumerate() {
            if dead.get(owner.index()).is_none_or(|dead| *dead) {
                wrong(format_args!("frame {frame:#x} is {owner:?}'s, who does not live"));
            }
            let nobodys = owner == Owner::FREE || owner == Owner::PLATFORM;
            if nobodys && lent != 0 || owner == Owner::ORPHAN && lent == 0 {
                wrong(format_args!("frame {frame:#x} is {owner:?}'s, and lent {lent} times"));
            }
        }
    }

    /// Memory and tables are of the domain's own frames, pages of 4 KiB of those that are lent to
    /// it; and it has no frame besides. A disk is no frame, and is mapped as it was at the start, by
    /// large leaves. Returns how many of those pages there are.
    fn memory(
        &self,
        id: DomainId,
        domain: &Domain,
        wrong: &mut Wrong<'_>,
        seen: &mut dyn FnMut(DomainId, Leaf),
    ) -> u64 {
        let owner = Owner::domain(id.number());
        let own = |from: u64, size: u64| {
            let frames = from / FRAME_SIZE..from.saturating_add(size).div_ceil(FRAME_SIZE);
            frames
                .map(|f| RealAddr::new(f.saturating_mul(FRAME_SIZE)))
                .all(|f| self.frames.at(f).0 == owner)
        };
        let end = (self.frames.total() as u64).saturating_mul(FRAME_SIZE);
        let (mut memory, mut borrowed) = (0, 0);
        tree(&self.hv.machine, domain.memory.root(), &mut |part| match part {
            Part::Table(base, size) if !own(base, size) => {
                wrong(format_args!("{id:?}: its table at {base:#x} is not its own"));
            }
            Part::Table(..) => {}
            Part::Leaf(leaf) => {
                seen(id, leaf);
                let Leaf { at, to, size, .. } = leaf;
                if to >= end && size >= LeafSize::Mib2.bytes() {
                    // A disk's.
                } else if size > LeafSize::Kib4.bytes() {
                    memory = u64::saturating_add(memory, size);
                    if !own(to, size) {
                        wrong(format_args!("{id:?}: {at:#x} leads to {to:#x}, not its own"));
                    }
                } else if !self.is_shared(domain, to) {
                    borrowed = u64::saturating_add(borrowed, 1);
                    if let (owner, 0) = self.frames.at(RealAddr::new(to)) {
                        wrong(format_args!(
                            "{id:?}: {at:#x} leads to {to:#x}, which {owner:?} has not lent"
                        ));
                    }
                }
            }
        });
        if memory != domain.memory.size() {
            let counted = domain.memory.size();
            wrong(format_args!("{id:?}: {memory:#x} bytes are mapped of {counted:#x}"));
        }
        let (tables, window) = (domain.memory.table_frames(), domain.papr.frames());
        let used = [memory / FRAME_SIZE, tables, self.shared_frames(domain), window];
        let owned = self.frames.count(owner) as u64;
        if owned != used.into_iter().fold(0, u64::saturating_add) {
            wrong(format_args!("{id:?}: it has {owned} frames and uses {used:?}"));
        }
        borrowed
    }

    /// What a domain has noted as mapped is in its tables, and the lender's while that lives: then
    /// it is a use of the lender's entry. Returns how many mappings there are.
    fn mappings(
        &self,
        id: DomainId,
        domain: &Domain,
        uses: &mut [u64],
        wrong: &mut Wrong<'_>,
    ) -> u64 {
        let machine = &self.hv.machine;
        let mut count = 0;
        grants::walker::mappings(machine, domain, &mut |mapping, one_use| {
            count = u64::saturating_add(count, 1);
            let Some(page) = domain.memory.page(machine, mapping.at) else {
                return wrong(format_args!("{id:?}: {mapping:?} is not in its tables"));
            };
            // A frame that is not the lender's was lent by a domain that is gone.
            let lives = self.frames.at(page).0 == Owner::domain(mapping.lender.number());
            if lives
                && mapping.reference != NO_ENTRY
                && let Some(uses) = uses.get_mut(usize::from(mapping.lender.number()))
            {
                *uses = uses.saturating_add(one_use);
            }
        });
        count
    }

    /// Whether a page is one that the domain shares with the hypervisor.
    fn is_shared(&self, domain: &Domain, page: u64) -> bool {
        let page = RealAddr::new(page);
        let offset = page.offset_in(FRAME_SIZE);
        let table = grants::offset::TABLE..grants::offset::USES;
        let own = domain.shared == Some(page.align_down(FRAME_SIZE))
            && (offset == 0 || table.contains(&offset));
        own || domain.rights.contains(Rights::CONTROL) && self.traced.contains(&page.value())
    }

    /// How many frames of the domain those pages are.
    fn shared_frames(&self, domain: &Domain) -> u64 {
        u64::from(domain.shared.is_some())
    }

    /// A connected port's other end is connected to it.
    fn ports(&self, id: DomainId, domain: &Domain, wrong: &mut Wrong<'_>) {
        for number in (1..MAX_PORTS).filter_map(|n| u16::try_from(n).ok()) {
            let Some(Port::Interdomain(remote, there)) = domain.ports.get(number.into()) else {
                continue;
            };
            let other = self.domain(remote).and_then(|d| d.ports.get(there.into()));
            if other != Some(Port::Interdomain(id, number)) || remote == id {
                wrong(format_args!(
                    "{id:?}: its port {number} is connected to {there} of {remote:?}, which is {other:?}"
                ));
            }
        }
    }

    /// A vCPU that is somebody's is in its domain's list.
    fn vcpu(&self, vcpu: VcpuId, status: &Status, wrong: &mut Wrong<'_>) {
        if status.state == State::Unused {
            return;
        }
        let place = usize::try_from(status.server).unwrap_or(usize::MAX);
        let listed = self.domain(status.domain).and_then(|d| d.vcpus.get(place));
        if listed != Some(&vcpu) {
            wrong(format_args!("{vcpu:?} is of {:?}, whose list has {listed:?}", status.domain));
        }
    }
}

/// The vCPUs that a domain lists are its own. One that ends has some that run, or it would be gone.
fn vcpus_of(
    id: DomainId,
    domain: &Domain,
    vcpus: &[MutexGuard<'_, Status>],
    wrong: &mut Wrong<'_>,
) {
    let of = |vcpu: &VcpuId| vcpus.get(vcpu.index());
    for (vcpu, status) in domain.vcpus.iter().filter_map(|vcpu| Some((vcpu, of(vcpu)?))) {
        if status.domain != id || status.state == State::Unused {
            let Status { state, domain, .. } = **status;
            wrong(format_args!("{id:?} lists {vcpu:?}, which is {state:?} of {domain:?}"));
        }
        if status.rights != domain.rights {
            wrong(format_args!("{id:?} and its {vcpu:?} have different rights"));
        }
        let ends = matches!(status.state, State::Running | State::Ended);
        if domain.ending && !ends || !domain.ending && status.state == State::Ended {
            wrong(format_args!(
                "{vcpu:?} is {:?}, its domain's end {}",
                status.state, domain.ending
            ));
        }
    }
    let runs = domain.vcpus.iter().filter_map(of).any(|status| status.state == State::Running);
    if domain.ending && !runs {
        wrong(format_args!("{id:?} has ended on every processor and is still there"));
    }
}

/// A vCPU is in the queue that its state says, once.
fn queued(
    vcpu: VcpuId,
    status: &Status,
    queues: &[MutexGuard<'_, RunQueue>],
    wrong: &mut Wrong<'_>,
) {
    let want = match status.state {
        State::Ready => usize::from(status.pauses == 0),
        _ => 0,
    };
    let home = usize::try_from(status.home.0).ok().and_then(|home| queues.get(home));
    let have = home.map(|queue| queue.holds(vcpu));
    if have != Some(want) {
        let Status { state, home, .. } = *status;
        wrong(format_args!("{vcpu:?} is {state:?} at {home:?}, whose queue has it {have:?} times"));
    }
}

/// A queue has nobody else's vCPUs.
fn waiting(
    processor: ProcessorId,
    queue: &RunQueue,
    vcpus: &[MutexGuard<'_, Status>],
    wrong: &mut Wrong<'_>,
) {
    for vcpu in queue.all() {
        let waits = vcpus
            .get(vcpu.index())
            .is_some_and(|status| status.state == State::Ready && status.home == processor);
        if !waits {
            wrong(format_args!(
                "{vcpu:?} is in the queue of {processor:?} and does not wait there"
            ));
        }
    }
}

/// No two vCPUs are on one processor.
fn one_running_each(vcpus: &[MutexGuard<'_, Status>], wrong: &mut Wrong<'_>) {
    let running = || vcpus.iter().filter(|status| status.state == State::Running);
    for (n, status) in running().enumerate() {
        if running().skip(n.saturating_add(1)).any(|other| other.home == status.home) {
            wrong(format_args!("{:?} runs two vCPUs", status.home));
        }
    }
}
