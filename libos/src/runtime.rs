//! The part of the library that only runs in a K42 domain: native calls, heap, time, randomness.

use core::arch::asm;
use k42_alloc::{FirstFit, Node, Pools, Processor};
use kernel_abi::{MAX_ARGUMENTS, Trap, protection, stub};

/// The kernel below, reached by `sc`.
#[derive(Clone, Copy, Debug)]
pub struct Native;

impl Trap for Native {
    #[inline]
    fn native(&self, r0: u64, arguments: [u64; MAX_ARGUMENTS]) -> u64 {
        let [r3, r4, r5, r6, r7, r8] = arguments;
        let result;
        // SAFETY: the kernel preserves every register but r3, and touches no memory of the
        // library's but the buffers that a call names.
        unsafe {
            asm!(
                "sc",
                in("r0") r0,
                inlateout("r3") r3 => result,
                in("r4") r4, in("r5") r5, in("r6") r6, in("r7") r7, in("r8") r8,
                out("cr0") _,
                options(nostack),
            );
        }
        result
    }
}

/// Now, in ticks of the timebase.
#[inline]
pub fn timebase() -> u64 {
    let ticks;
    // SAFETY: reads a counter.
    unsafe { asm!("mfspr {}, 268", out(reg) ticks, options(nomem, nostack)) };
    ticks
}

/// A random number from the processor's generator (Power ISA v3.0B, Book I, `darn`).
pub fn random() -> u64 {
    loop {
        let number: u64;
        // SAFETY: changes nothing but the register. The word is darn r3, 1: a conditioned number.
        unsafe { asm!(".long 0x7c6105e6", out("r3") number, options(nomem, nostack)) };
        // All ones says that there was none to be had.
        if number != u64::MAX {
            return number;
        }
    }
}

/// What the library runs on.
struct Vcpu;

// SAFETY: the library runs on one thread.
unsafe impl Processor for Vcpu {
    #[inline(always)]
    fn current() -> usize {
        0
    }
}

#[global_allocator]
static HEAP: Pools<Vcpu, FirstFit, 1> = Pools::new([Node::new(FirstFit::empty())]);

/// Addresses for the heap, in bytes. Memory comes with use.
const HEAP_SIZE: u64 = 64 << 20;

/// Gives the library its heap.
///
/// # Errors
/// The kernel's errno, when there is no room.
///
/// # Safety
/// To be called once.
pub unsafe fn start_heap() -> Result<(), u64> {
    let access = protection::READ | protection::WRITE;
    let start = stub::region_create(&Native, 0, HEAP_SIZE, access, 0, 0, 0)?;
    let begin = |source: &mut FirstFit| {
        // SAFETY: a region of zeros that is nobody else's; called once.
        unsafe { source.start(start as *mut u8, HEAP_SIZE as usize) };
    };
    // SAFETY: it has given nothing yet.
    unsafe { HEAP.change(0, begin) };
    Ok(())
}
