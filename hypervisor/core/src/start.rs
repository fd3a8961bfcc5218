//! The start of domains from the boot archive: memory, images, vCPUs. What can be parsed on the
//! host was parsed there (`domains/builder`); here bytes are copied.

use crate::console::Style;
use crate::domain::{Domain, DomainId};
use crate::events::Ports;
use crate::frames::Owner;
use crate::machine::{Machine, Partition, ProcessorId, Start};
use crate::memory::GuestMemory;
use crate::vcpu::{State, Status, VcpuId};
use crate::{Hypervisor, Processor};
use arrayvec::{ArrayString, ArrayVec};
use boot_archive::{Archive, DomainImage, Personality};
use core::fmt;
use core::sync::atomic::Ordering;
use hv_abi::Rights;
use k42_lib::GuestAddr;
use k42_wire::Event;

/// Why a domain was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// Its number is taken, or is none.
    Number(u16),
    /// There is too little free memory: bytes wanted, bytes free.
    Memory(u64, u64),
    /// Too many vCPUs in the domain or in the machine.
    Vcpus(u32),
    /// A part of its image lies outside its memory.
    Load(u64),
    /// Rights that are none to be given.
    Rights(u32),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Number(number) => write!(f, "domain number {number} is taken or invalid"),
            StartError::Memory(wanted, free) => write!(
                f,
                "needs {} MiB and {} MiB are free: give the machine more memory or the domain less",
                wanted >> 20,
                free >> 20
            ),
            StartError::Vcpus(count) => write!(f, "{count} vCPUs are more than there are"),
            StartError::Load(at) => write!(f, "its image at {at:#x} lies outside its memory"),
            StartError::Rights(bits) => write!(f, "no such rights: {bits:#x}"),
        }
    }
}

impl<M: Machine> Hypervisor<M> {
    /// Introduces the machine with `words`, then builds and starts the domains of an archive. What
    /// cannot be started is reported; the rest runs. Before any processor runs a guest.
    pub fn start_all(&self, archive: &Archive<'_>, words: fmt::Arguments<'_>) {
        self.console.lock().set_style(match archive.console() {
            boot_archive::Console::Framed => Style::Framed,
            boot_archive::Console::Plain => Style::Plain,
        });
        self.console.lock().set_name(k42_wire::Channel::HYPERVISOR, "hypervisor");
        self.note(words);
        for image in archive.domains() {
            match image {
                Err(error) => self.note(format_args!("boot archive: {error}")),
                Ok(image) => {
                    if let Err(error) = self.start(&image) {
                        if let Some(id) = DomainId::new(image.number) {
                            self.frames.lock().reclaim(Owner::domain(id.number()));
                        }
                        self.note(format_args!("domain {} is not started: {error}", image.name));
                    }
                }
            }
        }
        self.power_off_if_done();
    }

    fn start(&self, image: &DomainImage<'_>) -> Result<(), StartError> {
        let id = DomainId::new(image.number).ok_or(StartError::Number(image.number))?;
        if self.domain(id).is_some() {
            return Err(StartError::Number(image.number));
        }
        let memory = self.build_memory(id, image)?;
        let given = Rights::given(image.rights).ok_or(StartError::Rights(image.rights))?;
        let rights = given.union(match image.personality {
            Personality::Papr => Rights::PAPR,
            Personality::Xen => Rights::XEN,
        });
        let shared = match image.personality {
            Personality::Papr => None,
            Personality::Xen => {
                let frame =
                    self.frames.lock().allocate(&self.machine, 1, Owner::domain(id.number()));
                Some(frame.ok_or(StartError::Memory(crate::frames::FRAME_SIZE, 0))?)
            }
        };
        let name = ArrayString::from(image.name).unwrap_or_default();
        let vcpus = self.take_vcpus(id, image, rights)?;
        let boot = vcpus.first().copied().ok_or(StartError::Vcpus(image.vcpus))?;
        self.console.lock().set_name(id.channel(), &name);
        let partition = Partition(id.number().into());
        self.machine.set_partition(partition, [memory.partition_entry(), 0]);
        self.machine.flush_partition(partition);
        self.machine.install(
            boot,
            &Start {
                partition,
                entry: GuestAddr::new(image.entry),
                argument: image.device_tree,
                little_endian: image.little_endian,
                little_endian_interrupts: image.little_endian,
            },
        );
        *self.domain(id) = Some(Domain {
            name,
            rights,
            memory,
            vcpus,
            ports: Ports::new(),
            shared,
            little_endian_interrupts: image.little_endian,
            shutdown_code: None,
            refusal_reported: false,
            ending: false,
        });
        if let Some(slot) = self.vcpu(boot) {
            slot.status.lock().fresh = true;
        }
        self.launch(boot);
        Ok(())
    }

    /// Says that a domain's first instruction comes next.
    pub(crate) fn announce(&self, processor: &Processor, id: DomainId) {
        let now = self.machine.timebase();
        let Some((name, size)) = self.domain(id).as_ref().map(|d| (d.name, d.memory.size())) else {
            return;
        };
        self.say(Event::Started {
            number: id.number().into(),
            name: &name,
            processor: processor.id.0,
            mebibytes: size >> 20,
            ticks: now.saturating_sub(self.entered.load(Ordering::Relaxed)),
        });
    }

    fn build_memory(
        &self,
        id: DomainId,
        image: &DomainImage<'_>,
    ) -> Result<GuestMemory, StartError> {
        let mut frames = self.frames.lock();
        let owner = Owner::domain(id.number());
        let free = (frames.count(Owner::FREE) as u64).saturating_mul(crate::frames::FRAME_SIZE);
        let memory = GuestMemory::new(&self.machine, &mut frames, owner, image.memory_size)
            .map_err(|_| StartError::Memory(image.memory_size, free))?;
        for load in image.loads() {
            memory
                .write(&self.machine, GuestAddr::new(load.guest_address), load.data)
                .map_err(|error| StartError::Load(error.0.value()))?;
        }
        Ok(memory)
    }

    /// Takes unused vCPUs for a domain and spreads them over the processors.
    fn take_vcpus(
        &self,
        id: DomainId,
        image: &DomainImage<'_>,
        rights: Rights,
    ) -> Result<ArrayVec<VcpuId, { crate::domain::MAX_DOMAIN_VCPUS }>, StartError> {
        let mut taken = ArrayVec::new();
        for vcpu in VcpuId::all() {
            let server = u32::try_from(taken.len()).unwrap_or(u32::MAX);
            if server == image.vcpus {
                return Ok(taken);
            }
            let Some(slot) = self.vcpu(vcpu) else { break };
            let mut status = slot.status.lock();
            if status.state != State::Unused {
                continue;
            }
            if taken.try_push(vcpu).is_err() {
                break;
            }
            let place = u32::from(id.number()).wrapping_sub(1).wrapping_add(server);
            *status = Status {
                state: State::Stopped,
                domain: id,
                rights,
                server,
                home: ProcessorId(
                    place.checked_rem(self.processors.load(Ordering::Relaxed)).unwrap_or(0),
                ),
                weight: image.weight.max(1),
                ..Status::UNUSED
            };
        }
        for vcpu in taken {
            if let Some(slot) = self.vcpu(vcpu) {
                slot.status.lock().state = State::Unused;
            }
        }
        Err(StartError::Vcpus(image.vcpus))
    }
}
