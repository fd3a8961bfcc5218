//! What passes between a hypervisor and the one below it: the nested API, version 1 (Linux,
//! Documentation/virt/kvm and arch/powerpc/include/asm/hvcall.h, `hv_guest_state`, `pt_regs`).
//!
//! Fields are in the byte order of QEMU's host, which our target shares.

use hv_core::Frame;
use k42_lib::msr;

/// The version of the structures.
pub(crate) const VERSION: u64 = 1;

/// A guest's privileged registers, which H_ENTER_NESTED loads and gives back.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct GuestState {
    pub(crate) version: u64,
    /// The partition, which is not 0.
    pub(crate) lpid: u32,
    pub(crate) vcpu_token: u32,
    pub(crate) lpcr: u64,
    pub(crate) pcr: u64,
    pub(crate) amor: u64,
    pub(crate) dpdes: u64,
    pub(crate) hfscr: u64,
    pub(crate) timebase_offset: i64,
    pub(crate) dawr0: u64,
    pub(crate) dawrx0: u64,
    pub(crate) ciabr: u64,
    /// When the guest exits at the latest: timebase.
    pub(crate) hdec_expiry: u64,
    pub(crate) purr: u64,
    pub(crate) spurr: u64,
    pub(crate) ic: u64,
    pub(crate) vtb: u64,
    pub(crate) hdar: u64,
    pub(crate) hdsisr: u64,
    pub(crate) heir: u64,
    pub(crate) asdr: u64,
    pub(crate) srr0: u64,
    pub(crate) srr1: u64,
    pub(crate) sprg: [u64; 4],
    pub(crate) pidr: u64,
    pub(crate) cfar: u64,
    pub(crate) ppr: u64,
}

/// A guest's other registers: Linux's `pt_regs`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Registers {
    gpr: [u64; 32],
    nip: u64,
    msr: u64,
    original_gpr3: u64,
    counter: u64,
    link: u64,
    xer: u64,
    cr: u64,
    soft_enable: u64,
    trap: u64,
    dar: u64,
    dsisr: u64,
    result: u64,
}

impl Registers {
    /// Those of a guest that can fetch no instruction: in real mode, where no domain has memory.
    pub(crate) fn nowhere() -> Registers {
        Registers { nip: 1 << 51, msr: msr::SF | msr::ME, ..Registers::default() }
    }

    /// As the policy sees them.
    pub(crate) fn frame(&self) -> Frame {
        let Registers { gpr, nip, msr, counter, link, xer, cr, .. } = *self;
        Frame { gpr, nip, msr, link, counter, xer, cr }
    }

    /// Where the guest is.
    pub(crate) fn nip(&self) -> u64 {
        self.nip
    }
}

impl From<&Frame> for Registers {
    fn from(frame: &Frame) -> Registers {
        let Frame { gpr, nip, msr, link, counter, xer, cr } = *frame;
        Registers { gpr, nip, msr, counter, link, xer, cr, ..Registers::default() }
    }
}
