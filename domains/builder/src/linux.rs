//! A Linux domain: an unmodified Debian kernel as a pSeries guest.
//!
//! The kernel lies where its ELF file says, from guest real address 0. Above it follow, each on
//! pages of its own, the RTAS trampoline and the device tree, which the kernel must reach before it
//! has mapped its memory (RTAS in 32-bit real mode), and then the initial file system.

mod features;
mod tree;

use boot_archive::write::Domain;
use boot_archive::{Machine, Personality};
use hv_abi::papr::rtas;

use crate::layout::{Layout, PAGE};
use crate::{BuildError, File, Image, Plan};

/// What runs in a Linux domain.
#[derive(Clone, Debug)]
pub struct Linux {
    /// The kernel: an ELF file, as Debian packages it.
    pub kernel: File,
    /// The initial file system, compressed or not.
    pub initrd: Option<File>,
    /// The kernel's command line.
    pub command_line: String,
}

/// Where the parts are that the device tree tells the kernel of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Places {
    rtas: u64,
    initrd: Option<(u64, u64)>,
}

/// What the kernel calls as RTAS, in 32-bit big-endian real mode with r3 = its argument block: the
/// platform's firmware is the hypervisor, behind the PAPR token `h_rtas` (0xf000).
const RTAS: [u32; 5] = [
    0x7c64_1b78, // mr   r4, r3
    0x3c60_0000, // lis  r3, 0
    0x6063_f000, // ori  r3, r3, 0xf000
    0x4400_0022, // sc   1
    0x4e80_0020, // blr
];

/// What the tree announces of RTAS: properties of /rtas, and the tokens that call what they name.
pub const RTAS_FUNCTIONS: [(&str, u32); 12] = [
    ("start-cpu", rtas::START_CPU),
    ("query-cpu-stopped-state", rtas::QUERY_CPU_STOPPED_STATE),
    ("power-off", rtas::POWER_OFF),
    ("system-reboot", rtas::SYSTEM_REBOOT),
    ("ibm,os-term", rtas::OS_TERM),
    ("stop-self", rtas::STOP_SELF),
    ("get-time-of-day", rtas::GET_TIME_OF_DAY),
    ("set-time-of-day", rtas::SET_TIME_OF_DAY),
    ("ibm,get-xive", rtas::GET_XIVE),
    ("ibm,set-xive", rtas::SET_XIVE),
    ("ibm,int-on", rtas::INT_ON),
    ("ibm,int-off", rtas::INT_OFF),
];

/// The memory that the kernel keeps for RTAS. A page of the smallest size is the least it maps.
const RTAS_SIZE: u32 = 4 << 10;

/// Builds the domain.
pub(crate) fn build(machine: Machine, plan: &Plan, guest: &Linux) -> Result<Domain, BuildError> {
    let wrong = |error| BuildError::Image("the Linux kernel", error);
    let image = Image::parse(&guest.kernel).map_err(wrong)?;
    let mut layout = Layout::new(plan.memory_size);
    for segment in &image.segments {
        let (at, size) = (segment.physical_address, segment.memory_size);
        layout.put_at("the Linux kernel", at, size, segment.data.into())?;
    }
    let trampoline: Vec<u8> = RTAS.iter().flat_map(|word| word.to_be_bytes()).collect();
    let rtas = layout.above();
    layout.put_at("RTAS", rtas, RTAS_SIZE.into(), trampoline.into())?;
    let device_tree = layout.above();
    // The places are numbers of a fixed size: they do not change the tree's length.
    let file = guest.initrd.clone().unwrap_or_default();
    let mut places = Places { rtas, initrd: guest.initrd.is_some().then_some((0, 0)) };
    let length = tree::write(machine, plan, guest, places)?.len() as u64;
    let start = (device_tree + length).next_multiple_of(PAGE);
    places.initrd = places.initrd.map(|_| (start, start + file.len() as u64));
    let tree = tree::write(machine, plan, guest, places)?;
    layout.put_at("the device tree", device_tree, 0, tree.into())?;
    layout.put_at("the initial file system", start, 0, file)?;
    Ok(Domain {
        number: plan.number,
        name: plan.name.clone(),
        personality: Personality::Papr,
        memory_size: plan.memory_size,
        vcpus: plan.vcpus,
        weight: plan.weight,
        scheduling: plan.scheduling,
        rights: plan.rights.bits(),
        lan: plan.lan,
        entry: image.entry_at(|segment| segment.physical_address).map_err(wrong)?,
        device_tree,
        // The kernel's first instructions switch to its own byte order; PAPR starts big-endian.
        little_endian: false,
        loads: layout.into_loads(),
        disks: Vec::new(),
    })
}
