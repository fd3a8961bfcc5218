//! `sysctl`: what a controller asks of the machine (xen/sysctl.h).

use super::Caller;
use super::argument::{Argument, Record, code};
use crate::Hypervisor;
use crate::domain::DomainId;
use crate::frames::{FRAME_SIZE, Owner};
use crate::machine::Machine;
use core::mem::{offset_of, size_of};
use core::sync::atomic::Ordering;
use k42_lib::GuestAddr;
use xen_sys::domctl::GetDomainInfo;
use xen_sys::errno;
use xen_sys::sysctl::{self as op, GetDomainInfoList, PhysicalInfo, ReadConsole};

const NAME: &str = "sysctl";
/// Where the command's own argument is: after command and version.
const OWN: usize = 8;
/// Pages of a frame, as Xen counts them.
const PAGES: u64 = FRAME_SIZE >> 12;
/// Bytes of the console's history copied at a time.
const CHUNK: usize = 128;

impl<M: Machine> Hypervisor<M> {
    #[inline(never)]
    pub(super) fn sysctl(&self, caller: &Caller<'_>, at: GuestAddr) -> i64 {
        let outcome = self.argument(caller, NAME, at).and_then(|call: Argument<OWN>| {
            if call.u32(4) != op::XEN_SYSCTL_INTERFACE_VERSION {
                return Err(errno::EACCES);
            }
            let own = at.offset(OWN as u64);
            match call.u32(0) {
                op::XEN_SYSCTL_PHYSINFO => self.physical_info(caller, own),
                op::XEN_SYSCTL_GETDOMAININFOLIST => self.list_domains(caller, own),
                op::XEN_SYSCTL_READCONSOLE => self.read_history(caller, own),
                _ => Err(errno::ENOSYS),
            }
        });
        code(outcome)
    }

    fn physical_info(&self, caller: &Caller<'_>, own: GuestAddr) -> Result<(), i32> {
        let processors = self.processors.load(Ordering::Relaxed);
        let (free, total) = {
            let frames = self.frames.lock();
            (frames.count(Owner::FREE) as u64, frames.total() as u64)
        };
        let khz = u32::try_from(M::TICKS_PER_SECOND / 1000).unwrap_or(0);
        let mut record: Record<{ size_of::<PhysicalInfo>() }> = Record::new();
        let words = [
            (offset_of!(PhysicalInfo, threads_per_core), 1),
            (offset_of!(PhysicalInfo, cores_per_socket), processors),
            (offset_of!(PhysicalInfo, nr_cpus), processors),
            (offset_of!(PhysicalInfo, max_cpu_id), processors.saturating_sub(1)),
            (offset_of!(PhysicalInfo, nr_nodes), 1),
            (offset_of!(PhysicalInfo, cpu_khz), khz),
        ];
        for (place, word) in words {
            record.put(place, &word.to_le_bytes());
        }
        let pages = [
            (offset_of!(PhysicalInfo, total_pages), total),
            (offset_of!(PhysicalInfo, free_pages), free),
        ];
        for (place, frames) in pages {
            record.put(place, &frames.saturating_mul(PAGES).to_le_bytes());
        }
        record.put(
            offset_of!(PhysicalInfo, max_mfn),
            &total.saturating_mul(PAGES).saturating_sub(1).to_le_bytes(),
        );
        self.tell(caller, own, &record.0)
    }

    fn list_domains(&self, caller: &Caller<'_>, own: GuestAddr) -> Result<(), i32> {
        let call: Argument<{ size_of::<GetDomainInfoList>() }> =
            self.argument(caller, NAME, own)?;
        let first = call.u16(offset_of!(GetDomainInfoList, first_domain));
        let most = call.u32(offset_of!(GetDomainInfoList, max_domains));
        let mut place = GuestAddr::new(call.u64(offset_of!(GetDomainInfoList, buffer)));
        let mut found: u32 = 0;
        for id in (first.max(1)..).map_while(DomainId::new) {
            if found == most {
                break;
            }
            let Some(info) = self.domain_info(id) else { continue };
            self.tell(caller, place, &info.0)?;
            place = place.offset(size_of::<GetDomainInfo>() as u64);
            found = found.saturating_add(1);
        }
        let count = own.offset(offset_of!(GetDomainInfoList, num_domains) as u64);
        self.tell(caller, count, &found.to_le_bytes())
    }

    /// Copies what the hypervisor has said on its own channel, as far as it is kept.
    fn read_history(&self, caller: &Caller<'_>, own: GuestAddr) -> Result<(), i32> {
        let call: Argument<{ size_of::<ReadConsole>() }> = self.argument(caller, NAME, own)?;
        let room = call.u32(offset_of!(ReadConsole, count));
        let incremental = call.u8(offset_of!(ReadConsole, incremental)) != 0;
        let index = call.u32(offset_of!(ReadConsole, index));
        let buffer = GuestAddr::new(call.u64(offset_of!(ReadConsole, buffer)));
        let mut at = if incremental { index } else { 0 };
        let mut done: u32 = 0;
        while done < room {
            let mut chunk = [0; CHUNK];
            let left = usize::try_from(room.saturating_sub(done)).unwrap_or(CHUNK).min(CHUNK);
            let Some(part) = chunk.get_mut(..left) else { break };
            let (next, count) = self.console.lock().history(at, part);
            let Some(part) = chunk.get(..count).filter(|part| !part.is_empty()) else { break };
            self.tell(caller, buffer.offset(done.into()), part)?;
            at = next;
            done = done.saturating_add(u32::try_from(count).unwrap_or(0));
        }
        if call.u8(offset_of!(ReadConsole, clear)) != 0 {
            self.console.lock().forget_history();
        }
        self.tell(caller, own.offset(offset_of!(ReadConsole, index) as u64), &at.to_le_bytes())?;
        self.tell(caller, own.offset(offset_of!(ReadConsole, count) as u64), &done.to_le_bytes())
    }
}
