//! `sysctl`: what a controller asks of the machine (xen/sysctl.h).

use super::argument::item;
use super::xen::in_chunks;
use super::{Caller, Done};
use crate::Hypervisor;
use crate::domain::DomainId;
use crate::frames::{FRAME_SIZE, Owner};
use crate::machine::Machine;
use core::mem::offset_of;
use core::sync::atomic::Ordering;
use k42_lib::GuestAddr;
use xen_sys::domctl::GetDomainInfo;
use xen_sys::errno;
use xen_sys::plain::Field;
use xen_sys::sysctl::{self as op, GetDomainInfoList, PhysicalInfo, ReadConsole, Sysctl};

/// Pages of a frame, as Xen counts them.
const PAGES: u64 = FRAME_SIZE >> 12;

impl<M: Machine> Hypervisor<M> {
    #[inline(never)]
    pub(super) fn sysctl(&self, caller: &Caller<'_>, at: GuestAddr) -> Done {
        let call: Sysctl = self.argument(caller, at)?;
        if call.interface_version != op::XEN_SYSCTL_INTERFACE_VERSION {
            return Err(errno::EACCES);
        }
        let own = at.offset(offset_of!(Sysctl, u) as u64);
        match call.cmd {
            op::XEN_SYSCTL_PHYSINFO => self.tell(caller, own, self.physical_info()),
            op::XEN_SYSCTL_GETDOMAININFOLIST => {
                self.answer(caller, own, |call| self.list_domains(caller, call))
            }
            op::XEN_SYSCTL_READCONSOLE => {
                self.answer(caller, own, |call| self.read_history(caller, call))
            }
            op::XEN_SYSCTL_TBUF_OP => self.answer(caller, own, |call| self.trace_control(call)),
            _ => Err(errno::ENOSYS),
        }
    }

    fn physical_info(&self) -> PhysicalInfo {
        let processors = self.processors.load(Ordering::Relaxed);
        let frames = self.frames.lock();
        let pages = |frames: usize| (frames as u64).saturating_mul(PAGES);
        PhysicalInfo {
            threads_per_core: 1,
            cores_per_socket: processors,
            nr_cpus: processors,
            max_cpu_id: processors.saturating_sub(1),
            nr_nodes: 1,
            cpu_khz: u32::try_from(M::TICKS_PER_SECOND / 1000).unwrap_or(0),
            total_pages: pages(frames.total()),
            free_pages: pages(frames.count(Owner::FREE)),
            max_mfn: pages(frames.total()).saturating_sub(1),
            ..PhysicalInfo::zero()
        }
    }

    fn list_domains(&self, caller: &Caller<'_>, call: &mut GetDomainInfoList) -> Done {
        call.num_domains = 0;
        for id in (call.first_domain.max(1)..).map_while(DomainId::new) {
            if call.num_domains == call.max_domains {
                break;
            }
            let Some(info) = self.domain_info(id) else { continue };
            let place = item::<GetDomainInfo>(call.buffer.0, call.num_domains.into());
            self.tell(caller, place, info)?;
            call.num_domains = call.num_domains.saturating_add(1);
        }
        Ok(())
    }

    /// Copies what the hypervisor has said on its own channel, as far as it is kept.
    fn read_history(&self, caller: &Caller<'_>, call: &mut ReadConsole) -> Done {
        if call.incremental == 0 {
            call.index = 0;
        }
        let buffer = GuestAddr::new(call.buffer.0);
        let copied = in_chunks(buffer, call.count.into(), |place, room| {
            let (next, count) = self.console.lock().history(call.index, room);
            let told = room.get(..count).is_some_and(|part| self.copy_out(caller, place, part));
            call.index = next;
            if told { Ok(count) } else { Err(errno::EFAULT) }
        })?;
        call.count = u32::try_from(copied).unwrap_or(0);
        if call.clear != 0 {
            self.console.lock().forget_history();
        }
        Ok(())
    }
}
