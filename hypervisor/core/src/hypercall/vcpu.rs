//! `vcpu_op`: a domain's own vCPUs, their start and stop, their times and timers (xen/vcpu.h).

use super::Caller;
use super::argument::Argument;
use crate::domain::DomainId;
use crate::machine::{Machine, Partition, Start};
use crate::vcpu::{State, VcpuId};
use crate::{Hypervisor, timer};
use core::mem::offset_of;
use hv_abi::xen::VcpuGuestContext;
use k42_lib::GuestAddr;
use k42_wire::End;
use xen_sys::{errno, vcpu as op};

const NAME: &str = "vcpu_op";
/// log2 of a page, as Xen counts them.
const PAGE_SHIFT: u32 = 12;
/// Bytes of `vcpu_runstate_info`.
const TIMES: usize = size_of::<op::RunstateInfo>();

impl<M: Machine> Hypervisor<M> {
    #[inline(never)]
    pub(super) fn vcpu_op(
        &self,
        caller: &mut Caller<'_>,
        command: u64,
        number: u64,
        at: GuestAddr,
    ) -> i64 {
        let Some((vcpu, _)) = self.sibling(caller, number) else {
            return i64::from(errno::ENOENT).saturating_neg();
        };
        let outcome = match u32::try_from(command) {
            Ok(op::VCPUOP_INITIALISE) => self.initialise(caller, vcpu, at),
            Ok(op::VCPUOP_UP) => self.up(vcpu),
            Ok(op::VCPUOP_DOWN) => {
                self.down(caller, vcpu);
                Ok(0)
            }
            Ok(op::VCPUOP_IS_UP) => Ok(self.is_up(vcpu).into()),
            Ok(op::VCPUOP_GET_RUNSTATE_INFO) => self.tell_times(caller, vcpu, at),
            Ok(op::VCPUOP_REGISTER_RUNSTATE_MEMORY_AREA) => self.keep_times(caller, vcpu, at),
            Ok(op::VCPUOP_SET_SINGLESHOT_TIMER) => self.start_timer(caller, vcpu, at),
            Ok(op::VCPUOP_STOP_SINGLESHOT_TIMER) => self.own_timer(caller, vcpu, u64::MAX),
            Ok(op::VCPUOP_REGISTER_VCPU_INFO) => self.register_info(caller, number, at),
            _ => Err(errno::ENOSYS),
        };
        outcome.unwrap_or_else(|errno| i64::from(errno).saturating_neg())
    }

    /// How a vCPU of domain `id` is to start, as the argument of call `name` says.
    pub(super) fn start_argument(
        &self,
        caller: &Caller<'_>,
        name: &str,
        at: GuestAddr,
        id: DomainId,
    ) -> Result<Start, i32> {
        let context: Argument<{ size_of::<VcpuGuestContext>() }> =
            self.argument(caller, name, at)?;
        let little_endian = match context.u64(offset_of!(VcpuGuestContext, flags)) {
            0 => false,
            VcpuGuestContext::LITTLE_ENDIAN => true,
            _ => return Err(errno::EINVAL),
        };
        Ok(Start {
            partition: Partition(id.number().into()),
            entry: GuestAddr::new(context.u64(offset_of!(VcpuGuestContext, entry))),
            argument: context.u64(offset_of!(VcpuGuestContext, argument)),
            stack: context.u64(offset_of!(VcpuGuestContext, stack)),
            little_endian,
            little_endian_interrupts: little_endian,
        })
    }

    /// Gives a vCPU that has never run its first registers.
    fn initialise(&self, caller: &Caller<'_>, vcpu: VcpuId, at: GuestAddr) -> Result<i64, i32> {
        let start = self.start_argument(caller, NAME, at, caller.current.domain)?;
        let mut status = self.vcpu(vcpu).ok_or(errno::ENOENT)?.status.lock();
        if core::mem::replace(&mut status.initialised, true) {
            return Err(errno::EEXIST);
        }
        self.machine.install(vcpu, &start);
        Ok(0)
    }

    fn up(&self, vcpu: VcpuId) -> Result<i64, i32> {
        let initialised = self.vcpu(vcpu).is_some_and(|slot| slot.status.lock().initialised);
        if !initialised {
            return Err(errno::EINVAL);
        }
        self.launch(vcpu);
        Ok(0)
    }

    /// Stops a vCPU where it is. When none is left that is up, the domain has ended.
    fn down(&self, caller: &mut Caller<'_>, vcpu: VcpuId) {
        let id = caller.current.domain;
        if self.vcpus_of(id).iter().all(|other| *other == vcpu || !self.is_up(*other)) {
            return self.end(caller.processor, id, End::PowerOff);
        }
        self.stop(vcpu);
    }

    fn is_up(&self, vcpu: VcpuId) -> bool {
        self.vcpu(vcpu).is_some_and(|slot| {
            let status = slot.status.lock();
            status.state != State::Stopped && !status.stopping
        })
    }

    fn tell_times(&self, caller: &Caller<'_>, vcpu: VcpuId, at: GuestAddr) -> Result<i64, i32> {
        if self.write_times(caller.current.domain, vcpu, at) { Ok(0) } else { Err(errno::EFAULT) }
    }

    fn keep_times(&self, caller: &Caller<'_>, vcpu: VcpuId, at: GuestAddr) -> Result<i64, i32> {
        let area = GuestAddr::new(self.argument::<8>(caller, NAME, at)?.u64(0));
        self.tell_times(caller, vcpu, area)?;
        self.vcpu(vcpu).ok_or(errno::ENOENT)?.status.lock().times_at = Some(area);
        Ok(0)
    }

    /// Writes a vCPU's `vcpu_runstate_info`; false when that is not the domain's memory.
    pub(crate) fn write_times(&self, id: DomainId, vcpu: VcpuId, at: GuestAddr) -> bool {
        let Some(slot) = self.vcpu(vcpu) else { return false };
        let mut status = *slot.status.lock();
        let (state, since) = (status.state, timer::nanoseconds(status.times.since));
        status.enter(state, self.machine.timebase()); // a copy: until now counts, too
        let [running, ready, blocked, stopped] = status.times.spent.map(timer::nanoseconds);
        let mut bytes = [0; TIMES];
        let words = [state.number() as u64, since, running, ready, blocked, stopped];
        for (to, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
            *to = word.to_le_bytes();
        }
        let slot = self.domain(id);
        slot.as_ref().is_some_and(|d| d.memory.write(&self.machine, at, &bytes).is_ok())
    }

    fn start_timer(
        &self,
        caller: &mut Caller<'_>,
        vcpu: VcpuId,
        at: GuestAddr,
    ) -> Result<i64, i32> {
        let argument = self.argument::<16>(caller, NAME, at)?;
        let at = timer::ticks(argument.u64(0));
        let must_be_future = argument.u32(8) & op::VCPU_SSHOTTMR_FUTURE != 0;
        if must_be_future && at < self.machine.timebase() {
            return Err(errno::ETIME);
        }
        self.own_timer(caller, vcpu, at)
    }

    /// A vCPU has a timer for itself alone, as in Xen.
    fn own_timer(&self, caller: &mut Caller<'_>, vcpu: VcpuId, at: u64) -> Result<i64, i32> {
        if vcpu != caller.current.vcpu {
            return Err(errno::EINVAL);
        }
        self.set_timer(caller.processor, at);
        Ok(0)
    }

    fn register_info(&self, caller: &Caller<'_>, number: u64, at: GuestAddr) -> Result<i64, i32> {
        let argument = self.argument::<16>(caller, NAME, at)?;
        let (page, offset) = (argument.u64(0), u64::from(argument.u32(8)));
        let start = page.checked_shl(PAGE_SHIFT).filter(|start| start >> PAGE_SHIFT == page);
        let fits = offset.saturating_add(size_of::<xen_sys::xen::VcpuInfo>() as u64);
        let start = start.filter(|_| fits <= 1 << PAGE_SHIFT).ok_or(errno::EINVAL)?;
        let number = u32::try_from(number).map_err(|_| errno::ENOENT)?;
        self.event_register(caller.current.domain, number, GuestAddr::new(start).offset(offset))?;
        Ok(0)
    }
}
