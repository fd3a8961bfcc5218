//! The partition table (Power ISA v3.0B, Book III, 5.7.6.1): 64 KiB, as POWER9 wants it, and the
//! most that a hypervisor below us takes.

use crate::storage::RealStorage;
use core::cell::UnsafeCell;
use hv_core::{Partition, Storage};
use k42_lib::RealAddr;

#[repr(C, align(65536))]
pub(crate) struct Table(pub(crate) UnsafeCell<[[u64; 2]; 4096]>);

// SAFETY: entries are written by `set` only, through `storage`, a doubleword at a time.
unsafe impl Sync for Table {}

pub(crate) static TABLE: Table = Table(UnsafeCell::new([[0; 2]; 4096]));

/// Sets a partition's two doublewords.
pub fn set(partition: Partition, [host, guest]: [u64; 2]) {
    let at = RealAddr::new(TABLE.0.get() as u64 + u64::from(partition.0) * 16);
    RealStorage.store_entry(at.offset(8), guest);
    RealStorage.store_entry(at, host);
}
