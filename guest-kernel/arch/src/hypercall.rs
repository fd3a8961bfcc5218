//! The way into the hypervisor, and the calls a K42 domain makes (docs/interfaces.md, §3).

use crate::current;
use core::arch::asm;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU32, Ordering};
use hv_abi::table::MAX_ARGUMENTS;
use hv_abi::{Trap, common, xen};
use k42_lib::GuestAddr;
use xen_sys::plain::Field;
use xen_sys::{memory, sched, version, xen as numbers};

/// A shutdown code that carries an exit status in its low byte.
const EXIT_STATUS: u32 = 0x4b34_3200;

/// The processor's way: `sc 1`.
#[derive(Clone, Copy, Debug)]
pub struct Hypervisor;

impl Trap for Hypervisor {
    #[inline]
    fn hypercall(&self, r3: u64, arguments: [u64; MAX_ARGUMENTS]) -> [u64; MAX_ARGUMENTS + 1] {
        let mut r = [0; MAX_ARGUMENTS + 1];
        // SAFETY: the hypervisor preserves what is not named here and touches no memory of ours but
        // the buffers that a call names.
        unsafe {
            asm!(
                "sc 1",
                inlateout("r3") r3 => r[0],
                inlateout("r4") arguments[0] => r[1],
                inlateout("r5") arguments[1] => r[2],
                inlateout("r6") arguments[2] => r[3],
                inlateout("r7") arguments[3] => r[4],
                inlateout("r8") arguments[4] => r[5],
                inlateout("r9") arguments[5] => r[6],
                inlateout("r10") arguments[6] => r[7],
                inlateout("r11") arguments[7] => r[8],
                inlateout("r12") arguments[8] => r[9],
                out("r0") _, out("ctr") _, out("xer") _,
                out("cr0") _, out("cr1") _, out("cr5") _, out("cr6") _, out("cr7") _,
                options(nostack),
            );
        }
        r
    }
}

/// Writes memory to the domain's console.
pub fn console_write(at: GuestAddr, bytes: u64) {
    let mut done = 0;
    while done < bytes {
        let operation = numbers::CONSOLEIO_WRITE.into();
        let [written, ..] =
            xen::stub::console_io(&Hypervisor, operation, bytes - done, at.offset(done));
        if (written as i64) <= 0 {
            break; // there is nobody to tell
        }
        done += written;
    }
}

/// Reads from the domain's console into memory; 0 when nothing waits.
pub fn console_read(at: GuestAddr, bytes: u64) -> u64 {
    let operation = numbers::CONSOLEIO_READ.into();
    let [count, ..] = xen::stub::console_io(&Hypervisor, operation, bytes, at);
    if (count as i64) < 0 { 0 } else { count }
}

/// Gives up the processor until console input waits or the decrementer has expired.
pub fn block() {
    xen::stub::sched_op(&Hypervisor, sched::SCHEDOP_BLOCK.into(), GuestAddr::new(0));
}

/// Lets others have the processor.
pub fn yield_now() {
    xen::stub::sched_op(&Hypervisor, sched::SCHEDOP_YIELD.into(), GuestAddr::new(0));
}

/// Makes a call about one of the domain's vCPUs; 0 or more, or a negative errno.
pub fn vcpu_op<T: Field>(command: u32, number: u32, argument: &T) -> i64 {
    let at = crate::guest_address(&raw const *argument);
    xen::stub::vcpu_op(&Hypervisor, command.into(), number.into(), at)[0].cast_signed()
}

/// Makes a call about event channels, which may write to its argument; 0, or a negative errno.
pub fn event_channel_op<T: Field>(command: u32, argument: &mut T) -> i64 {
    let at = crate::guest_address(&raw mut *argument);
    xen::stub::event_channel_op(&Hypervisor, command.into(), at)[0].cast_signed()
}

/// Maps the page that the domain shares with the hypervisor at a guest real address without memory; 0,
/// or a negative errno.
pub fn map_shared_page(at: GuestAddr) -> i64 {
    let argument = memory::AddToPhysmap {
        domid: numbers::DOMID_SELF,
        size: 0,
        space: memory::XENMAPSPACE_SHARED_INFO,
        idx: 0,
        gpfn: at.value() >> 12,
    };
    let argument = crate::guest_address(&raw const argument);
    let command = memory::XENMEM_ADD_TO_PHYSMAP.into();
    xen::stub::memory_op(&Hypervisor, command, argument)[0].cast_signed()
}

/// Asks for the interface's version: a call that does next to nothing.
#[inline]
pub fn version() -> u64 {
    let command = version::XENVER_VERSION.into();
    xen::stub::xen_version(&Hypervisor, command, GuestAddr::new(0))[0]
}

/// Makes the table at `base`, of 4 KiB, the domain's process table; the result is H_SUCCESS (0) or
/// why not.
pub fn register_process_table(base: GuestAddr) -> u64 {
    /// Register (0x10 | 0x08) a radix table (0x04) for guests that invalidate the TLB (0x01).
    const FLAGS: u64 = 0x1d;
    common::stub::h_register_process_table(&Hypervisor, FLAGS, base, 0, 0)[0]
}

fn shut_down(command: u32, code: u32) {
    let argument = code;
    let at = crate::guest_address(&raw const argument);
    xen::stub::sched_op(&Hypervisor, command.into(), at);
}

/// Ends the domain with an exit status.
pub fn exit(status: u8) -> ! {
    loop {
        shut_down(sched::SCHEDOP_SHUTDOWN, EXIT_STATUS | u32::from(status));
    }
}

/// Ends the domain as crashed.
pub fn crash() -> ! {
    loop {
        shut_down(sched::SCHEDOP_SHUTDOWN, sched::SHUTDOWN_CRASH);
    }
}

/// The vCPU that writes to the console, counted from 1; 0 for none.
static WRITER: AtomicU32 = AtomicU32::new(0);

/// While a vCPU has this, no other writes to the console: so lines stay whole. It may have it twice, as
/// a bug while it writes is told, too.
pub struct Writing {
    first: bool,
}

impl Writing {
    /// Waits for the others to have written.
    pub fn begin() -> Writing {
        let me = current() + 1;
        let first = WRITER.load(Ordering::Relaxed) != me;
        while first && WRITER.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed).is_err()
        {
            yield_now();
        }
        Writing { first }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if self.first {
            WRITER.store(0, Ordering::Release);
        }
    }
}

/// The console as something to format to. A line leaves in one call if it is not too long.
struct Console {
    line: [u8; 512],
    used: usize,
}

impl Console {
    fn flush(&mut self) {
        console_write(crate::guest_address(&raw const self.line), self.used as u64);
        self.used = 0;
    }
}

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.used == self.line.len() {
                self.flush();
            }
            self.line[self.used] = byte;
            self.used += 1;
        }
        Ok(())
    }
}

/// Writes text to the console, in one piece.
pub fn print(text: fmt::Arguments<'_>) {
    let _whole = Writing::begin();
    let mut console = Console { line: [0; 512], used: 0 };
    // It never fails.
    let _ = console.write_fmt(text);
    console.flush();
}
