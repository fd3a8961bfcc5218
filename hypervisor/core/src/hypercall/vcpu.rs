//! `vcpu_op`: a domain's own vCPUs, their start and stop, their times and timers (xen/vcpu.h).

use super::memory::address;
use super::{Caller, Done};
use crate::domain::DomainId;
use crate::grants::PAGE;
use crate::machine::{InterruptMode, Machine, Partition, Start};
use crate::vcpu::{State, VcpuId};
use crate::{Hypervisor, timer};
use hv_abi::xen::VcpuGuestContext;
use k42_lib::GuestAddr;
use k42_wire::End;
use xen_sys::vcpu::{self as op, RegisterRunstate, RegisterVcpuInfo, RunstateInfo};
use xen_sys::xen::VcpuInfo;
use xen_sys::{errno, plain::Plain};

impl<M: Machine> Hypervisor<M> {
    #[inline(never)]
    pub(super) fn vcpu_op(
        &self,
        caller: &mut Caller<'_>,
        command: u64,
        number: u64,
        at: GuestAddr,
    ) -> Done<i64> {
        let vcpu = self.vcpu_of(caller.current.domain, number).ok_or(errno::ENOENT)?;
        let done = match u32::try_from(command) {
            Ok(op::VCPUOP_INITIALISE) => self.initialise(caller, vcpu, at),
            Ok(op::VCPUOP_UP) => self.up(vcpu),
            Ok(op::VCPUOP_DOWN) => {
                self.down(caller, vcpu);
                Ok(())
            }
            Ok(op::VCPUOP_IS_UP) => return Ok(self.is_up(vcpu).into()),
            Ok(op::VCPUOP_GET_RUNSTATE_INFO) => self.write_times(caller.current.domain, vcpu, at),
            Ok(op::VCPUOP_REGISTER_RUNSTATE_MEMORY_AREA) => self.keep_times(caller, vcpu, at),
            Ok(op::VCPUOP_SET_SINGLESHOT_TIMER) => self.start_timer(caller, vcpu, at),
            Ok(op::VCPUOP_STOP_SINGLESHOT_TIMER) => self.own_timer(caller, vcpu, u64::MAX),
            Ok(op::VCPUOP_REGISTER_VCPU_INFO) => self.register_info(caller, number, at),
            _ => Err(errno::ENOSYS),
        };
        done.map(|()| 0)
    }

    /// The vCPU of a domain with this number.
    pub(crate) fn vcpu_of(&self, id: DomainId, number: u64) -> Option<VcpuId> {
        self.domain(id).as_ref()?.vcpu(u32::try_from(number).ok()?)
    }

    /// Gives a vCPU that has never run its first registers.
    fn initialise(&self, caller: &Caller<'_>, vcpu: VcpuId, at: GuestAddr) -> Done {
        let start = start(caller.current.domain, self.argument(caller, at)?)?;
        let mut status = self.vcpu(vcpu).status.lock();
        if core::mem::replace(&mut status.initialised, true) {
            return Err(errno::EEXIST);
        }
        self.machine.install(vcpu, &start);
        Ok(())
    }

    fn up(&self, vcpu: VcpuId) -> Done {
        if !self.vcpu(vcpu).status.lock().initialised {
            return Err(errno::EINVAL);
        }
        self.launch(vcpu);
        Ok(())
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
        let status = self.vcpu(vcpu).status.lock();
        status.state != State::Stopped && !status.stopping
    }

    fn keep_times(&self, caller: &Caller<'_>, vcpu: VcpuId, at: GuestAddr) -> Done {
        let RegisterRunstate { addr } = self.argument(caller, at)?;
        let area = GuestAddr::new(addr.0);
        self.write_times(caller.current.domain, vcpu, area)?;
        self.vcpu(vcpu).status.lock().times_at = Some(area);
        Ok(())
    }

    /// Writes a vCPU's `vcpu_runstate_info`.
    pub(crate) fn write_times(&self, id: DomainId, vcpu: VcpuId, at: GuestAddr) -> Done {
        let mut status = *self.vcpu(vcpu).status.lock();
        let (state, since) = (status.state, timer::nanoseconds(status.times.since));
        status.enter(state, self.machine.timebase()); // a copy: until now counts, too
        let info = RunstateInfo {
            state: state.number() as u32,
            _hole: [0; 4],
            state_entry_time: since,
            time: status.times.spent.map(timer::nanoseconds),
        };
        let slot = self.domain(id);
        let memory = &slot.as_ref().ok_or(errno::ESRCH)?.memory;
        memory.write(&self.machine, at, &info.bytes()).map_err(|_| errno::EFAULT)
    }

    fn start_timer(&self, caller: &mut Caller<'_>, vcpu: VcpuId, at: GuestAddr) -> Done {
        let argument: op::SetSingleshotTimer = self.argument(caller, at)?;
        let at = timer::ticks(argument.timeout_abs_ns);
        if argument.flags & op::VCPU_SSHOTTMR_FUTURE != 0 && at < self.machine.timebase() {
            return Err(errno::ETIME);
        }
        self.own_timer(caller, vcpu, at)
    }

    /// A vCPU has a timer for itself alone, as in Xen.
    fn own_timer(&self, caller: &mut Caller<'_>, vcpu: VcpuId, at: u64) -> Done {
        if vcpu != caller.current.vcpu {
            return Err(errno::EINVAL);
        }
        self.set_timer(caller.processor, at);
        Ok(())
    }

    fn register_info(&self, caller: &Caller<'_>, number: u64, at: GuestAddr) -> Done {
        let RegisterVcpuInfo { mfn, offset, .. } = self.argument(caller, at)?;
        if u64::from(offset).saturating_add(size_of::<VcpuInfo>() as u64) > PAGE {
            return Err(errno::EINVAL);
        }
        let number = u32::try_from(number).map_err(|_| errno::ENOENT)?;
        self.event_register(caller.current.domain, number, address(mfn)?.offset(offset.into()))
    }
}

/// How a vCPU of domain `id` is to start.
pub(super) fn start(id: DomainId, context: VcpuGuestContext) -> Done<Start> {
    let little_endian = match context.flags {
        0 => false,
        VcpuGuestContext::LITTLE_ENDIAN => true,
        _ => return Err(errno::EINVAL),
    };
    Ok(Start {
        partition: Partition(id.number().into()),
        entry: GuestAddr::new(context.entry),
        argument: context.argument,
        stack: context.stack,
        little_endian,
        interrupts: InterruptMode { little_endian, translated: false },
    })
}
