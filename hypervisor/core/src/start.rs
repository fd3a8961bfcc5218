//! The start of domains from the boot archive: memory, images, vCPUs. What can be parsed on the
//! host was parsed there (`domains/builder`); here bytes are copied.

use crate::Hypervisor;
use crate::console::Style;
use crate::create::{CreateError, Creation};
use crate::domain::DomainId;
use crate::machine::{Machine, Partition, Start};
use crate::schedule::account::{Allowance, Share};
use boot_archive::{Archive, DomainImage, Scheduling};
use core::fmt;
use k42_lib::GuestAddr;
use k42_measure::Kind;

impl<M: Machine> Hypervisor<M> {
    /// Introduces the machine with `words` and measures the hypervisor's own `image`, then builds and
    /// starts the domains of an archive. What cannot be started is reported; the rest runs. Before any
    /// processor runs a guest.
    pub fn start_all(&self, archive: &Archive<'_>, image: &[u8], words: fmt::Arguments<'_>) {
        self.console.lock().set_style(match archive.console() {
            boot_archive::Console::Framed => Style::Framed,
            boot_archive::Console::Plain => Style::Plain,
        });
        self.console.lock().set_name(k42_wire::Channel::HYPERVISOR, "hypervisor");
        self.note(words);
        // A log without room refuses every domain below.
        let _ = self.measure(DomainId::NONE, Kind::Hypervisor, 0, image);
        for image in archive.domains() {
            match image {
                Err(error) => self.note(format_args!("boot archive: {error}")),
                Ok(image) => {
                    if let Err(error) = self.start(&image) {
                        self.note(format_args!("domain {} is not started: {error}", image.name));
                    }
                }
            }
        }
        self.power_off_if_done();
    }

    fn start(&self, image: &DomainImage<'_>) -> Result<(), CreateError> {
        let id = DomainId::new(image.number).ok_or(CreateError::Number(image.number))?;
        self.create(
            id,
            &Creation {
                name: image.name,
                personality: image.personality,
                rights: image.rights,
                memory: image.memory_size,
                vcpus: image.vcpus,
                processors: image.scheduling.processors,
                little_endian: image.little_endian,
                creator: DomainId::NONE,
            },
        )?;
        let Scheduling { cap, reserved, .. } = image.scheduling;
        let reserved = reserved.map(|(budget, period)| Allowance { budget, period });
        let share = Share { weight: image.weight, cap, reserved };
        let placed = self.set_share(id, share).map_err(CreateError::Share);
        let loaded = placed.and_then(|()| self.load(id, image));
        let made = loaded.and_then(|()| self.set_off_first(id, image));
        if made.is_err() {
            self.discard(id);
        }
        made
    }

    fn set_off_first(&self, id: DomainId, image: &DomainImage<'_>) -> Result<(), CreateError> {
        let slot = self.domain(id);
        let domain = slot.as_ref().ok_or(CreateError::Number(image.number))?;
        let boot = domain.vcpus.first().copied().ok_or(CreateError::Vcpus(image.vcpus))?;
        self.set_off(
            domain,
            boot,
            &Start {
                partition: Partition(id.number().into()),
                entry: GuestAddr::new(image.entry),
                argument: image.device_tree,
                stack: 0,
                little_endian: image.little_endian,
                little_endian_interrupts: image.little_endian,
            },
        )
    }

    /// Fills a domain's memory, and measures what with.
    fn load(&self, id: DomainId, image: &DomainImage<'_>) -> Result<(), CreateError> {
        let slot = self.domain(id);
        let domain = slot.as_ref().ok_or(CreateError::Number(image.number))?;
        for load in image.loads() {
            domain
                .memory
                .write(&self.machine, GuestAddr::new(load.guest_address), load.data)
                .map_err(|error| CreateError::Load(error.0.value()))?;
            self.measure(id, Kind::Load, load.guest_address, load.data)?;
        }
        Ok(())
    }
}
