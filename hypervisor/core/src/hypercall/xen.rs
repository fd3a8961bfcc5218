//! Xen's calls, as our own guests make them (public/*.h; numbers in `xen_sys`).

use super::{Caller, Done, failed};
use crate::Hypervisor;
use crate::machine::Machine;
use hv_abi::XenCall;
use k42_lib::GuestAddr;
use k42_wire::End;
use xen_sys::{errno, sched, version, xen};

/// The version of Xen's interface that the structures follow, as XENVER_version gives it.
const INTERFACE: i64 = (4 << 16) | 17;
/// A shutdown code with this in its upper 24 bits carries an exit status (docs/interfaces.md §3).
const EXIT_STATUS: u32 = 0x4b34_3200;
/// Bytes moved between console and guest at a time; a longer buffer takes several rounds.
const CHUNK: usize = 128;
/// The most bytes one console call moves, so that a call is short.
const MOST: u64 = 4096;

/// Moves `count` bytes in chunks until one of them moves nothing; how many were moved. `each` gets
/// where its chunk is in the guest's buffer, and room for it.
pub(super) fn in_chunks(
    buffer: GuestAddr,
    count: u64,
    mut each: impl FnMut(GuestAddr, &mut [u8]) -> Done<usize>,
) -> Done<u64> {
    let (mut chunk, mut done) = ([0; CHUNK], 0_u64);
    while done < count {
        let left = usize::try_from(count.saturating_sub(done)).unwrap_or(CHUNK).min(CHUNK);
        match each(buffer.offset(done), chunk.get_mut(..left).unwrap_or_default())? {
            0 => break,
            moved => done = done.saturating_add(moved as u64),
        }
    }
    Ok(done)
}

/// What a guest gets: the value, or a negative errno.
fn value(done: Done<i64>) -> i64 {
    done.unwrap_or_else(failed)
}

/// The same for a call without a value.
fn code(done: Done) -> i64 {
    done.map_or_else(failed, |()| 0)
}

// What takes more than a few instructions is out of line: a short call shall not save the registers
// that a long one needs.
impl<M: Machine> Hypervisor<M> {
    #[inline(always)]
    pub(super) fn xen_call(&self, caller: &mut Caller<'_>, call: XenCall) -> i64 {
        match call {
            XenCall::XenVersion { command, argument: _ } => {
                let known = command == version::XENVER_VERSION.into();
                if known { INTERFACE } else { failed(errno::ENOSYS) }
            }
            XenCall::MemoryOp { command, argument } => {
                value(self.memory_op(caller, command, argument))
            }
            XenCall::VcpuOp { command, vcpu, argument } => {
                value(self.vcpu_op(caller, command, vcpu, argument))
            }
            XenCall::ConsoleIo { command, count, buffer } => {
                value(self.console_io(caller, command, count, buffer))
            }
            XenCall::HvmOp { command, argument } => code(self.hvm_op(caller, command, argument)),
            XenCall::Domctl { argument } => code(self.domctl(caller, argument)),
            XenCall::Sysctl { argument } => code(self.sysctl(caller, argument)),
            XenCall::GrantTableOp { command, list, count } => {
                code(self.grant_table_op(caller, command, list, count))
            }
            XenCall::EventChannelOp { command, argument } => {
                code(self.event_channel_op(caller, command, argument))
            }
            XenCall::SchedOp { command, argument } => match u32::try_from(command) {
                Ok(sched::SCHEDOP_YIELD) => {
                    self.yield_now(caller.processor);
                    0
                }
                Ok(sched::SCHEDOP_BLOCK) => code(self.block_for_event(caller)),
                Ok(sched::SCHEDOP_POLL) => code(self.poll(caller, argument)),
                Ok(sched::SCHEDOP_SHUTDOWN) => code(self.shutdown(caller, argument)),
                Ok(sched::SCHEDOP_WATCHDOG) => value(self.watchdog(caller, argument)),
                _ => failed(errno::ENOSYS),
            },
            XenCall::Measurement { buffer } => code(self.read_measurement(caller, buffer)),
            XenCall::MeasurementLog { number, buffer } => {
                code(self.read_log(caller, number, buffer))
            }
            XenCall::Declare { domain, argument } => code(self.declare(caller, domain, argument)),
        }
    }

    /// Writes to or reads from the domain's console; how many bytes.
    #[inline(never)]
    fn console_io(
        &self,
        caller: &Caller<'_>,
        command: u64,
        count: u64,
        buffer: GuestAddr,
    ) -> Done<i64> {
        let channel = caller.current.domain.channel();
        let moved = match u32::try_from(command) {
            Ok(xen::CONSOLEIO_WRITE) => in_chunks(buffer, count.min(MOST), |at, part| {
                self.buffer(caller, self.copy_in(caller, at, part))?;
                self.console.lock().write(&self.machine, channel, part);
                Ok(part.len())
            }),
            Ok(xen::CONSOLEIO_READ) => in_chunks(buffer, count.min(CHUNK as u64), |at, room| {
                // Nothing is taken from the console before the buffer has proved to be the domain's.
                self.buffer(caller, self.copy_in(caller, at, room))?;
                let got = self.console.lock().read(&self.machine, channel, room);
                let told = room.get(..got).is_some_and(|part| self.copy_out(caller, at, part));
                if told { Ok(got) } else { Err(errno::EFAULT) }
            }),
            _ => Err(errno::ENOSYS),
        };
        moved.map(u64::cast_signed)
    }

    #[inline(never)]
    fn shutdown(&self, caller: &mut Caller<'_>, argument: GuestAddr) -> Done {
        let sched::Shutdown { reason } = self.argument(caller, argument)?;
        let id = caller.current.domain;
        match reason {
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
            _ => return Err(errno::EINVAL),
        }
        Ok(())
    }

    /// Reports a call whose buffer could not be copied, as it is no memory of the caller's.
    pub(super) fn buffer(&self, caller: &Caller<'_>, copied: bool) -> Done {
        if !copied {
            self.refused_xen(caller, "its buffer is not the domain's memory");
        }
        copied.then_some(()).ok_or(errno::EFAULT)
    }

    /// Copies from the caller's memory; false when it is not the caller's.
    #[inline(never)]
    pub(crate) fn copy_in(&self, caller: &Caller<'_>, from: GuestAddr, into: &mut [u8]) -> bool {
        let slot = self.domain(caller.current.domain);
        slot.as_ref().is_some_and(|d| d.memory.read(&self.machine, from, into).is_ok())
    }

    /// Copies to the caller's memory; false when it is not the caller's.
    #[inline(never)]
    pub(crate) fn copy_out(&self, caller: &Caller<'_>, to: GuestAddr, from: &[u8]) -> bool {
        let slot = self.domain(caller.current.domain);
        slot.as_ref().is_some_and(|d| d.memory.write(&self.machine, to, from).is_ok())
    }
}
