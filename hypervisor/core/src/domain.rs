//! Domains: partitions with their own memory, vCPUs and rights.

use crate::console::NAME;
use crate::events::Ports;
use crate::lan::port::Port;
use crate::machine::InterruptMode;
use crate::memory::GuestMemory;
use crate::papr;
use crate::vcpu::VcpuId;
use arrayvec::{ArrayString, ArrayVec};
pub use hv_abi::MAX_DOMAIN_VCPUS;
use hv_abi::Rights;
use k42_lib::{GuestAddr, RealAddr};
use k42_wire::Channel;
use xen_sys::hvm;

/// The most domains at a time: each has a console channel.
pub const MAX_DOMAINS: usize = Channel::MAX as usize;

/// The parameters that a domain has.
pub const PARAMETERS: [u32; 5] = [
    hvm::HVM_PARAM_CALLBACK_IRQ,
    hvm::HVM_PARAM_STORE_PFN,
    hvm::HVM_PARAM_STORE_EVTCHN,
    hvm::HVM_PARAM_CONSOLE_PFN,
    hvm::HVM_PARAM_CONSOLE_EVTCHN,
];

/// A domain's number, from 1: also its console channel and its partition number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DomainId(u8);

impl DomainId {
    /// No domain.
    pub const NONE: DomainId = DomainId(0);

    /// Domain `number`; `None` outside 1..=[`MAX_DOMAINS`].
    pub fn new(number: u16) -> Option<DomainId> {
        let number = u8::try_from(number).ok()?;
        (number != 0 && usize::from(number) <= MAX_DOMAINS).then_some(DomainId(number))
    }

    /// The number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Its console channel.
    pub fn channel(self) -> Channel {
        Channel::new(self.0).unwrap_or(Channel::HYPERVISOR)
    }
}

/// A domain. Its slot holds it from its building to its end.
pub struct Domain {
    /// What messages call it.
    pub name: ArrayString<NAME>,
    /// What it may ask for.
    pub rights: Rights,
    /// Its memory.
    pub memory: GuestMemory,
    /// Its vCPUs, in the order of their numbers.
    pub vcpus: ArrayVec<VcpuId, MAX_DOMAIN_VCPUS>,
    /// Its event channels.
    pub ports: Ports,
    /// The page it shares with the hypervisor (`shared_info`), if its personality has one.
    pub shared: Option<RealAddr>,
    /// Where the search for the next mapping's handle starts ([`crate::grants`]).
    pub handle: u32,
    /// Where each vCPU's `vcpu_info` is, if it has registered it.
    pub vcpu_infos: [Option<GuestAddr>; MAX_DOMAIN_VCPUS],
    /// The vCPUs that wait for ports whatever is masked (SCHEDOP_poll): a bit each.
    pub polling: u32,
    /// How vCPUs take interrupts that are started from now on.
    pub interrupts: InterruptMode,
    /// What it has of PAPR's personality.
    pub papr: papr::DomainState,
    /// Its port of the logical LAN, if it is open.
    pub lan: Option<Port>,
    /// Which LAN that is.
    pub lan_number: u16,
    /// When its watchdog ends it, in timebase ticks.
    pub watchdog: Option<u64>,
    /// A refused hypercall has been reported.
    pub refusal_reported: bool,
    /// It has ended, and goes away when the last of its vCPUs has left its processor.
    pub ending: bool,
    /// Its parameters, as [`PARAMETERS`] names them.
    pub parameters: [u64; PARAMETERS.len()],
    /// The last of its vCPUs has left: it is being taken apart.
    pub deserted: bool,
    /// Who created it; [`DomainId::NONE`] at boot, and once that domain is gone.
    pub creator: DomainId,
    /// What its creator is told of its end: [`crate::control::Remains`].
    pub reason: u32,
}

impl Domain {
    /// The vCPU with this number.
    pub fn vcpu(&self, number: u32) -> Option<VcpuId> {
        self.vcpus.get(usize::try_from(number).ok()?).copied()
    }
}
