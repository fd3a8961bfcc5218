//! The making of a domain, from the boot archive (`start`) or for a controller (`control`): its
//! slot, its memory, its vCPUs, none of which runs yet.

use crate::domain::{Domain, DomainId, MAX_DOMAIN_VCPUS, PARAMETERS};
use crate::events::Ports;
use crate::frames::{FRAME_SIZE, Owner};
use crate::lan::LANS;
use crate::machine::{InterruptMode, Machine, Partition, Start};
use crate::memory::GuestMemory;
use crate::report::line;
use crate::schedule::Refused;
use crate::schedule::account::{Allowance, Share};
use crate::schedule::queue::Processors;
use crate::vcpu::{State, Status, Times, VcpuId};
use crate::{Hypervisor, papr};
use arrayvec::{ArrayString, ArrayVec};
use boot_archive::Personality;
use core::fmt;
use hv_abi::Rights;
use k42_measure::Kind;
use xen_sys::errno;

/// What a new domain is to be.
pub(crate) struct Creation<'a> {
    /// What messages call it.
    pub(crate) name: &'a str,
    /// The hypercalls it speaks.
    pub(crate) personality: Personality,
    /// Bits of the rights it is given.
    pub(crate) rights: u32,
    /// Bytes of memory from guest real address 0.
    pub(crate) memory: u64,
    /// How many vCPUs it has.
    pub(crate) vcpus: u32,
    /// The processors that they may run on.
    pub(crate) processors: Processors,
    /// It takes interrupts little-endian.
    pub(crate) little_endian: bool,
    /// The LAN on which its port is, if it may have one.
    pub(crate) lan: u16,
    /// The domain that creates it; [`DomainId::NONE`] at boot.
    pub(crate) creator: DomainId,
}

/// What is measured of it, as text: no field is forgotten here. The rights are measured by
/// themselves, memory and processors with the start: a controller gives them in between.
impl fmt::Display for Creation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[rustfmt::skip]
        let Creation { name, personality, vcpus, little_endian, lan,
            rights: _, memory: _, processors: _, creator: _ } = self;
        let personality = personality.name();
        write!(f, "{name} {personality} vcpus {vcpus} little {little_endian} lan {lan}")
    }
}

/// Why a domain was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateError {
    /// Its number is taken, or is none.
    Number(u16),
    /// There is too little free memory: bytes wanted, bytes free.
    Memory(u64, u64),
    /// Too many vCPUs in the domain or in the machine, or none, or no processor for them.
    Vcpus(u32),
    /// A part of its image lies outside its memory.
    Load(u64),
    /// The hypervisor is built without its personality.
    Personality,
    /// There is no LAN of that number.
    Lan(u16),
    /// Rights that are none to be given.
    Rights(u32),
    /// The measurement log is full.
    Log,
    /// There is no such disk that is nobody's yet.
    Disk(u32),
    /// Its vCPUs get no such share of a processor.
    Share(Refused),
}

impl CreateError {
    /// What a controller is told.
    pub(crate) fn errno(self) -> i32 {
        match self {
            CreateError::Number(_) => errno::EEXIST,
            CreateError::Memory(..) => errno::ENOMEM,
            CreateError::Log => errno::ENOSPC,
            CreateError::Vcpus(_)
            | CreateError::Load(_)
            | CreateError::Personality
            | CreateError::Lan(_)
            | CreateError::Rights(_)
            | CreateError::Disk(_)
            | CreateError::Share(_) => errno::EINVAL,
        }
    }
}

impl<M: Machine> Hypervisor<M> {
    /// Makes a domain of that number, without contents and at rest. After an error nothing of it
    /// is left.
    pub(crate) fn create(&self, id: DomainId, new: &Creation<'_>) -> Result<(), CreateError> {
        let mut slot = self.domain(id);
        if slot.is_some() {
            return Err(CreateError::Number(id.number().into()));
        }
        let made = self.make(id, new);
        if made.is_err() {
            self.frames.lock().reclaim(Owner::domain(id.number()));
        }
        let domain = made?;
        let partition = Partition(id.number().into());
        self.machine.set_partition(partition, [domain.memory.partition_entry(), 0]);
        self.machine.flush_partition(partition);
        self.console.lock().set_name(id.channel(), &domain.name);
        *slot = Some(domain);
        Ok(())
    }

    fn make(&self, id: DomainId, new: &Creation<'_>) -> Result<Domain, CreateError> {
        let given = Rights::given(new.rights).ok_or(CreateError::Rights(new.rights))?;
        let rights = given.union(match new.personality {
            Personality::Papr => papr::RIGHTS.ok_or(CreateError::Personality)?,
            Personality::Xen => Rights::XEN,
        });
        if usize::from(new.lan) >= LANS {
            return Err(CreateError::Lan(new.lan));
        }
        let owner = Owner::domain(id.number());
        let mut frames = self.frames.lock();
        let memory = GuestMemory::new(&self.machine, &mut frames, owner, new.memory);
        let shares = new.personality == Personality::Xen;
        let shared = shares.then(|| frames.allocate(&self.machine, FRAME_SIZE, owner));
        let papr = papr::DomainState::new(&self.machine, &mut frames, owner, rights);
        let (Ok(memory), None | Some(Some(_)), Ok(papr)) = (memory, shared, papr) else {
            // What it has got already is given back.
            let free = frames.count(Owner::FREE).saturating_add(frames.count(owner)) as u64;
            return Err(CreateError::Memory(new.memory, free.saturating_mul(FRAME_SIZE)));
        };
        drop(frames);
        self.measure(id, Kind::Description, 0, line(new).as_bytes())?;
        self.measure(id, Kind::Rights, 0, &rights.bits().to_le_bytes())?;
        Ok(Domain {
            name: ArrayString::from(new.name).unwrap_or_default(),
            rights,
            memory,
            vcpus: self.take_vcpus(id, new, rights)?,
            ports: Ports::FREE,
            shared: shared.flatten(),
            handle: 0,
            lan: None,
            lan_number: new.lan,
            vcpu_infos: [None; MAX_DOMAIN_VCPUS],
            polling: 0,
            interrupts: InterruptMode { little_endian: new.little_endian, translated: false },
            papr,
            watchdog: None,
            refusal_reported: false,
            parameters: [0; PARAMETERS.len()],
            ending: false,
            deserted: false,
            creator: new.creator,
            reason: 0,
        })
    }

    /// Takes unused vCPUs for a domain and spreads them over the processors.
    fn take_vcpus(
        &self,
        id: DomainId,
        new: &Creation<'_>,
        rights: Rights,
    ) -> Result<ArrayVec<VcpuId, MAX_DOMAIN_VCPUS>, CreateError> {
        let mut taken = ArrayVec::new();
        for vcpu in VcpuId::all() {
            let server = u32::try_from(taken.len()).unwrap_or(u32::MAX);
            if server == new.vcpus {
                break;
            }
            let slot = self.vcpu(vcpu);
            let first = u32::from(id.number()).wrapping_sub(1).wrapping_add(server);
            let Some(home) = self.processors_from(first, new.processors).next() else { break };
            let mut status = slot.status.lock();
            // A processor may have the registers of one whose domain has ended.
            if status.state != State::Unused || self.machine.holder(vcpu).is_some() {
                continue;
            }
            if taken.try_push(vcpu).is_err() {
                break;
            }
            *status = Status {
                state: State::Stopped,
                times: Times { since: self.machine.timebase(), spent: [0; 4] },
                domain: id,
                rights,
                server,
                home,
                processors: new.processors,
                ..Status::UNUSED
            };
        }
        if !taken.is_empty() && taken.len() as u64 == u64::from(new.vcpus) {
            return Ok(taken);
        }
        for vcpu in taken {
            self.vcpu(vcpu).status.lock().state = State::Unused;
        }
        Err(CreateError::Vcpus(new.vcpus))
    }

    /// Lets a domain's first vCPU run; its first turn is announced.
    pub(crate) fn set_off(
        &self,
        domain: &Domain,
        boot: VcpuId,
        start: &Start,
    ) -> Result<(), CreateError> {
        let mut status = self.vcpu(boot).status.lock();
        let Start { entry, argument, little_endian, .. } = start;
        let Share { weight, cap, reserved } = status.account.share;
        let Allowance { budget, period } = reserved.unwrap_or_default();
        let text = format_args!(
            "entry {entry} argument {argument:#x} little {little_endian} memory {} weight {weight} \
             cap {cap} reserved {budget}/{period} processors {:#x}",
            domain.memory.size(),
            status.processors
        );
        self.measure(status.domain, Kind::Start, 0, line(text).as_bytes())?;
        self.machine.install(boot, start);
        (status.fresh, status.initialised) = (true, true);
        drop(status);
        self.launch(boot);
        Ok(())
    }
}
