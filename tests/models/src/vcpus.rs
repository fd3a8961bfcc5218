//! vCPUs of a K42 kernel that share clustered objects, as threads of the scheduler.

use k42_object::Vcpu;
use shuttle::thread::{JoinHandle, spawn, yield_now};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Each vCPU runs this on a thread, and then does its part for the others until all have ended.
pub fn run(vcpus: Vec<Vcpu>, work: impl Fn(&Vcpu, usize) + Send + Sync + 'static) -> Vec<Vcpu> {
    let (work, left) = (Arc::new(work), Arc::new(AtomicUsize::new(vcpus.len())));
    let start = |(number, vcpu): (usize, Vcpu)| -> JoinHandle<Vcpu> {
        let (work, left) = (work.clone(), left.clone());
        spawn(move || {
            work(&vcpu, number);
            left.fetch_sub(1, Relaxed);
            while left.load(Relaxed) != 0 {
                vcpu.clean();
                yield_now();
            }
            vcpu
        })
    };
    let threads: Vec<_> = vcpus.into_iter().enumerate().map(start).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// Lets the token go round until nothing is left to end, which it comes to soon.
pub fn settle(vcpus: &[Vcpu]) {
    for vcpu in (0..3).flat_map(|_| vcpus) {
        vcpu.clean();
    }
    assert!(!vcpus.iter().any(Vcpu::clean), "something does not end");
}
