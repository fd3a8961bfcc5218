//! Pools on the host: a thread is whichever vCPU it says.
#![allow(dead_code, missing_docs)] // not every test takes all of it

pub mod memory;

use k42_alloc::Processor;
use std::cell::Cell;

thread_local! {
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

pub struct Thread;

impl Thread {
    /// From now on this thread is that vCPU.
    pub fn becomes(vcpu: usize) {
        CURRENT.set(vcpu);
    }
}

// SAFETY: tests give each vCPU to one thread at a time.
unsafe impl Processor for Thread {
    fn current() -> usize {
        CURRENT.get()
    }

    /// Even numbers are of one node, odd ones of the other, where there are two.
    fn node(vcpu: usize) -> usize {
        vcpu % 2
    }
}

/// The same, all of one node.
pub struct Near;

// SAFETY: as above.
unsafe impl Processor for Near {
    fn current() -> usize {
        CURRENT.get()
    }
}
