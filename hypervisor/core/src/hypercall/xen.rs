//! Xen's calls, as our own guests make them (public/*.h; numbers in `xen_sys`).

use super::Caller;
use super::argument::code;
use crate::Hypervisor;
use crate::machine::Machine;
use hv_abi::XenCall;
use k42_lib::GuestAddr;
use k42_wire::End;
use xen_sys::{errno, sched, version, xen};

/// What an unknown number gives.
pub(super) const NO_SUCH_CALL: i64 = -(errno::ENOSYS as i64);
/// What a call gives that the domain has no right to.
pub(super) const NOT_PERMITTED: i64 = -(errno::EPERM as i64);
/// What a call gives that names memory that is not the domain's.
pub(super) const BAD_ADDRESS: i64 = -(errno::EFAULT as i64);
/// What a call gives that asks for more than there is.
pub(super) const NO_ENTRY: i64 = -(errno::ENOENT as i64);
const INVALID: i64 = -(errno::EINVAL as i64);

/// The version of Xen's interface that the structures follow, as XENVER_version gives it.
const INTERFACE: i64 = (4 << 16) | 17;
/// A shutdown code with this in its upper 24 bits carries an exit status (docs/interfaces.md §3).
const EXIT_STATUS: u32 = 0x4b34_3200;
/// Bytes moved between console and guest at a time; a longer buffer takes several rounds.
const CHUNK: usize = 128;
/// The most bytes one console call moves, so that a call is short.
const MOST: u64 = 4096;

// What takes more than a few instructions is out of line: a short call shall not save the registers
// that a long one needs.
impl<M: Machine> Hypervisor<M> {
    #[inline]
    pub(super) fn xen_call(&self, caller: &mut Caller<'_>, call: XenCall) -> i64 {
        match call {
            XenCall::XenVersion { command, argument: _ } => match u32::try_from(command) {
                Ok(version::XENVER_VERSION) => INTERFACE,
                _ => NO_SUCH_CALL,
            },
            XenCall::MemoryOp { command, argument } => self.memory_op(caller, command, argument),
            XenCall::HvmOp { command, argument } => self.hvm_op(caller, command, argument),
            XenCall::Domctl { argument } => self.domctl(caller, argument),
            XenCall::Sysctl { argument } => self.sysctl(caller, argument),
            XenCall::GrantTableOp { command, list, count } => {
                self.grant_table_op(caller, command, list, count)
            }
            XenCall::EventChannelOp { command, argument } => {
                self.event_channel_op(caller, command, argument)
            }
            XenCall::VcpuOp { command, vcpu, argument } => {
                self.vcpu_op(caller, command, vcpu, argument)
            }
            XenCall::ConsoleIo { command, count, buffer } => match u32::try_from(command) {
                Ok(xen::CONSOLEIO_WRITE) => self.console_write(caller, count, buffer),
                Ok(xen::CONSOLEIO_READ) => self.console_read(caller, count, buffer),
                _ => NO_SUCH_CALL,
            },
            XenCall::SchedOp { command, argument } => match u32::try_from(command) {
                Ok(sched::SCHEDOP_YIELD) => {
                    self.yield_now(caller.processor);
                    0
                }
                Ok(sched::SCHEDOP_BLOCK) => {
                    self.block_for_event(caller);
                    0
                }
                Ok(sched::SCHEDOP_POLL) => self.poll(caller, argument),
                Ok(sched::SCHEDOP_SHUTDOWN) => self.shutdown(caller, argument),
                Ok(sched::SCHEDOP_SHUTDOWN_CODE) => self.latch_code(caller, argument),
                Ok(sched::SCHEDOP_WATCHDOG) => self
                    .watchdog(caller, argument)
                    .unwrap_or_else(|error| i64::from(error).saturating_neg()),
                _ => NO_SUCH_CALL,
            },
            XenCall::Measurement { buffer } => self.read_measurement(caller, buffer),
            XenCall::MeasurementLog { number, buffer } => self.read_log(caller, number, buffer),
            XenCall::Declare { domain, argument } => code(self.declare(caller, domain, argument)),
        }
    }

    #[inline(never)]
    fn console_write(&self, caller: &Caller<'_>, count: u64, buffer: GuestAddr) -> i64 {
        let channel = caller.current.domain.channel();
        let count = count.min(MOST);
        let mut done: u64 = 0;
        while done < count {
            let mut chunk = [0; CHUNK];
            let length = usize::try_from(count.saturating_sub(done)).unwrap_or(CHUNK).min(CHUNK);
            let Some(part) = chunk.get_mut(..length) else { break };
            if !self.copy_in(caller, buffer.offset(done), part) {
                self.refused(caller, "console_io", "its buffer is not the domain's memory");
                return BAD_ADDRESS;
            }
            self.console.lock().write(&self.machine, channel, part);
            done = done.saturating_add(length as u64);
        }
        done.cast_signed()
    }

    #[inline(never)]
    fn console_read(&self, caller: &Caller<'_>, count: u64, buffer: GuestAddr) -> i64 {
        let channel = caller.current.domain.channel();
        let mut chunk = [0; CHUNK];
        let length = usize::try_from(count).unwrap_or(CHUNK).min(CHUNK);
        let Some(room) = chunk.get_mut(..length) else { return INVALID };
        // Nothing is taken from the console before the buffer has proved to be the domain's.
        let mut probe = [0; CHUNK];
        let probed = probe.get_mut(..length).is_some_and(|p| self.copy_in(caller, buffer, p));
        if !probed {
            self.refused(caller, "console_io", "its buffer is not the domain's memory");
            return BAD_ADDRESS;
        }
        let got = self.console.lock().read(&self.machine, channel, room);
        match chunk.get(..got) {
            Some(part) if self.copy_out(caller, buffer, part) => got as i64,
            _ => BAD_ADDRESS,
        }
    }

    #[inline(never)]
    fn shutdown(&self, caller: &mut Caller<'_>, argument: GuestAddr) -> i64 {
        let Some(reason) = self.u32_argument(caller, argument) else { return BAD_ADDRESS };
        let id = caller.current.domain;
        let code = self.domain(id).as_ref().and_then(|d| d.shutdown_code).unwrap_or(reason);
        match code {
            sched::SHUTDOWN_POWEROFF => self.end(caller.processor, id, End::PowerOff),
            sched::SHUTDOWN_REBOOT => self.end(caller.processor, id, End::Reboot),
            sched::SHUTDOWN_CRASH => {
                let text = format_args!("its kernel gave up{}", crate::exit::At(caller.frame));
                self.crash(caller.processor, id, text);
            }
            code if code & !0xff == EXIT_STATUS => {
                let [status, ..] = code.to_le_bytes();
                self.end(caller.processor, id, End::Exit(status));
            }
            _ => return INVALID,
        }
        0
    }

    #[inline(never)]
    fn latch_code(&self, caller: &Caller<'_>, argument: GuestAddr) -> i64 {
        let Some(code) = self.u32_argument(caller, argument) else { return BAD_ADDRESS };
        if let Some(domain) = self.domain(caller.current.domain).as_mut() {
            domain.shutdown_code = Some(code);
        }
        0
    }

    /// The one field of `sched_shutdown`.
    fn u32_argument(&self, caller: &Caller<'_>, argument: GuestAddr) -> Option<u32> {
        let mut bytes = [0; 4];
        if !self.copy_in(caller, argument, &mut bytes) {
            self.refused(caller, "sched_op", "its argument is not the domain's memory");
            return None;
        }
        Some(u32::from_le_bytes(bytes))
    }

    /// Copies from the caller's memory; false when it is not the caller's.
    #[inline(never)]
    pub(super) fn copy_in(&self, caller: &Caller<'_>, from: GuestAddr, into: &mut [u8]) -> bool {
        let slot = self.domain(caller.current.domain);
        slot.as_ref().is_some_and(|d| d.memory.read(&self.machine, from, into).is_ok())
    }

    /// Copies to the caller's memory; false when it is not the caller's.
    #[inline(never)]
    pub(super) fn copy_out(&self, caller: &Caller<'_>, to: GuestAddr, from: &[u8]) -> bool {
        let slot = self.domain(caller.current.domain);
        slot.as_ref().is_some_and(|d| d.memory.write(&self.machine, to, from).is_ok())
    }
}
