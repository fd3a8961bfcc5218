//! The hypervisor's boot image for a pSeries partition, linked where QEMU puts it. Everything is in
//! `hypervisor/nested` and `hypervisor/core`; the linker script is `boot/hypervisor-nested.ld`.
#![no_std]
#![no_main]

use hv_nested as _;
