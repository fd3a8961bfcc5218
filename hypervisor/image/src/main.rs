//! The hypervisor's boot image: the bare-metal machine, linked where QEMU puts it. Everything is in
//! `hypervisor/powernv` and `hypervisor/core`; the linker script is `boot/hypervisor.ld`.
#![no_std]
#![no_main]

use hv_powernv as _;
