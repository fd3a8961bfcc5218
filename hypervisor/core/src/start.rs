//! The start: of the hypervisor, then of domains from the boot archive: memory, images, vCPUs. What can be parsed on the
//! host was parsed there (`domains/builder`); here bytes are copied.

use crate::console::Style;
use crate::create::{CreateError, Creation};
use crate::domain::DomainId;
use crate::frames::{Frames, Owner};
use crate::machine::{Machine, Partition, Start};
use crate::measure;
use crate::memory::disk::Disk;
use crate::schedule::Refused;
use crate::schedule::account::{Allowance, Share};
use crate::{Hypervisor, MAX_PROCESSORS};
use boot_archive::{Archive, DomainImage, Scheduling};
use core::fmt;
use core::sync::atomic::Ordering;
use k42_lib::GuestAddr;
use k42_measure::Kind;
use xen_sys::plain::Field;
use xen_sys::sysctl::{self, TbufOp};

/// As the reason why a domain of the archive is not started.
impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CreateError::Number(number) => write!(f, "domain number {number} is taken or invalid"),
            CreateError::Memory(wanted, free) => write!(
                f,
                "needs {} MiB and {} MiB are free: give the machine more memory or the domain less",
                wanted >> 20,
                free >> 20
            ),
            CreateError::Vcpus(count) => {
                write!(f, "{count} vCPUs are none, or more than there are, or have no processor")
            }
            CreateError::Load(at) => write!(f, "its image at {at:#x} lies outside its memory"),
            CreateError::Personality => {
                f.write_str("the hypervisor is built without its personality")
            }
            CreateError::Lan(number) => write!(f, "there is no LAN {number}"),
            CreateError::Rights(bits) => write!(f, "no such rights: {bits:#x}"),
            CreateError::Disk(number) => write!(
                f,
                "disk {number} is not there, is of another size, or is another domain's already"
            ),
            CreateError::Log => write!(f, "the measurement log is full: boot the machine again"),
            CreateError::Share(Refused::Full) => {
                f.write_str("no processor that it may use has so much time free to reserve")
            }
            CreateError::Share(_) => f.write_str("its share of the processors cannot be held"),
        }
    }
}

impl<M: Machine> Hypervisor<M> {
    /// Gives it storage, processors and the time: `entered` is the timebase at the image's first
    /// instruction, `clock` what time it is now, in seconds since 1970 began, as far as is known.
    pub fn init(&self, mut frames: Frames, processors: u32, entered: u64, clock: u64) {
        let most = u32::try_from(MAX_PROCESSORS).unwrap_or(u32::MAX);
        self.log.lock().start = frames.allocate(&self.machine, measure::SIZE, Owner::PLATFORM);
        *self.frames.lock() = frames;
        self.processors.store(processors.clamp(1, most), Ordering::Relaxed);
        self.entered.store(entered, Ordering::Relaxed);
        let passed = self.machine.timebase().checked_div(M::TICKS_PER_SECOND).unwrap_or(0);
        self.epoch.store(clock.saturating_sub(passed), Ordering::Relaxed);
    }

    /// Frames that nobody owns.
    pub fn free_frames(&self) -> usize {
        self.frames.lock().count(Owner::FREE)
    }

    /// Introduces the machine with `words` and measures the hypervisor's own `image`, then builds and
    /// starts the domains of an archive, which take from `disks` those that are theirs, by number. What
    /// cannot be started is reported; the rest runs. Before any processor runs a guest.
    pub fn start_all(
        &self,
        archive: &Archive<'_>,
        image: &[u8],
        disks: &mut [Option<Disk>],
        words: fmt::Arguments<'_>,
    ) {
        self.console.lock().set_style(match archive.console() {
            boot_archive::Console::Framed => Style::Framed,
            boot_archive::Console::Plain => Style::Plain,
        });
        self.console.lock().set_name(k42_wire::Channel::HYPERVISOR, "hypervisor");
        self.note(words);
        if archive.trace() {
            let enable = TbufOp { cmd: sysctl::XEN_SYSCTL_TBUFOP_ENABLE, ..TbufOp::zero() };
            // Without storage for buffers nothing is traced.
            let _ = self.trace_control(&mut { enable });
        }
        // A log without room refuses every domain below.
        let _ = self.measure(DomainId::NONE, Kind::Hypervisor, 0, image);
        for image in archive.domains() {
            match image {
                Err(error) => self.note(format_args!("boot archive: {error}")),
                Ok(image) => {
                    if let Err(error) = self.start(&image, disks) {
                        self.note(format_args!("domain {} is not started: {error}", image.name));
                    }
                }
            }
        }
        self.power_off_if_done();
    }

    fn start(
        &self,
        image: &DomainImage<'_>,
        disks: &mut [Option<Disk>],
    ) -> Result<(), CreateError> {
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
                lan: image.lan,
                creator: DomainId::NONE,
            },
        )?;
        let Scheduling { cap, reserved, .. } = image.scheduling;
        let reserved = reserved.map(|(budget, period)| Allowance { budget, period });
        let share = Share { weight: image.weight, cap, reserved };
        let placed = self.set_share(id, share).map_err(CreateError::Share);
        let loaded = placed.and_then(|()| self.load(id, image));
        let whole = loaded.and_then(|()| self.attach(id, image, disks));
        let made = whole.and_then(|()| self.set_off_first(id, image));
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
                interrupts: domain.interrupts,
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

    /// Gives a domain the disks that are its own. What is on them is not measured: it changes.
    fn attach(
        &self,
        id: DomainId,
        image: &DomainImage<'_>,
        disks: &mut [Option<Disk>],
    ) -> Result<(), CreateError> {
        let mut slot = self.domain(id);
        let domain = slot.as_mut().ok_or(CreateError::Number(image.number))?;
        let mut frames = self.frames.lock();
        for wanted in image.disks() {
            let none = CreateError::Disk(wanted.number);
            let there = usize::try_from(wanted.number).ok().and_then(|n| disks.get_mut(n));
            let disk = there.and_then(|disk| disk.take_if(|(_, size)| *size == wanted.size));
            let mut change = domain.memory.change(&self.machine, &mut frames);
            let at = GuestAddr::new(wanted.guest_address);
            change.map_disk(at, disk.ok_or(none)?).map_err(|_| none)?;
        }
        Ok(())
    }
}
