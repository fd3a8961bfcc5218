//! The device tree of a Linux domain: the least that takes Debian's kernels to a shell with the
//! hypervisor's console, timers and interrupts. LoPAR names the properties.

use boot_archive::{Machine, Processor};
use hv_abi::Rights;
use hv_abi::common::{LAN_ADDRESS, LAN_UNIT};
use hv_abi::papr::{LAN_WINDOW, source};
use vm_fdt::{Error, FdtWriter};

use super::{Linux, Places, RTAS_FUNCTIONS, RTAS_SIZE, features};
use crate::tree::{begin, memory, node};
use crate::{Plan, TIMEBASE_FREQUENCY};

/// The node of the console. Its address is the unit that H_PUT_TERM_CHAR and H_GET_TERM_CHAR name.
const CONSOLE: &str = "vty@30000000";
const CONSOLE_UNIT: u32 = 0x3000_0000;

const INTERRUPT_CONTROLLER: u32 = 1;

/// What the hypervisor offers. `hcall-term` is the console, `hcall-interrupt` the interrupt
/// controller by hypercall, `hcall-set-mode` how interrupts arrive, `hcall-splpar` that processors are
/// shared: areas that say who has one, and calls to give it up; `hcall-vio` and the rest are for the port
/// of the logical LAN and its table of translations, many at a time. The property's presence alone tells
/// the kernel that it is a guest.
const HYPERTAS_FUNCTIONS: [&str; 8] = [
    "hcall-term",
    "hcall-interrupt",
    "hcall-set-mode",
    "hcall-splpar",
    "hcall-vio",
    "hcall-lLAN",
    "hcall-tce",
    "hcall-multi-tce",
];

/// Option vector 5, what client and platform have agreed on. Only these bytes are not 0.
const VECTOR_5_SIZE: usize = 27;
/// Byte and value: radix translation and nothing else. Without it the kernel uses a hash table.
const VECTOR_5_RADIX: (usize, u8) = (0x18, 0x40);
/// Byte and value: the guest may invalidate its own translations (GTSE).
const VECTOR_5_GTSE: (usize, u8) = (0x1a, 0x40);

/// The page sizes that radix translation has: the top three bits of a cell are what `tlbie` calls
/// the size, the rest is its logarithm. 4 KiB, 64 KiB, 2 MiB, 1 GiB.
const RADIX_SIZES: [u32; 4] = [12, 5 << 29 | 16, 1 << 29 | 21, 2 << 29 | 30];

/// Their property's name, but for its last letter: it has 32 of them, and `vm-fdt` holds to the 31
/// that the specification allows. See [`lengthen_last_name`].
const RADIX_SIZES_NAME: &str = "ibm,processor-radix-AP-encoding";
const RADIX_SIZES_NAME_END: u8 = b's';

/// The bytes of the tree.
pub(super) fn write(
    machine: Machine,
    plan: &Plan,
    guest: &Linux,
    places: Places,
) -> Result<Vec<u8>, Error> {
    // The kernel keeps its own image, the initial file system and the tree by itself.
    let mut tree = begin([(places.rtas, RTAS_SIZE.into())].into_iter())?;
    node(&mut tree, "", |tree| {
        tree.property_u32("#address-cells", 2)?;
        tree.property_u32("#size-cells", 2)?;
        // The kernel takes itself for a pSeries guest by this type alone.
        tree.property_string("device_type", "chrp")?;
        tree.property_string("model", "K42 domain")?;
        tree.property_string("compatible", "k42,domain")?;
        chosen(tree, guest, places)?;
        memory(tree, plan.memory_size)?;
        node(tree, "rtas", |tree| rtas(tree, places))?;
        node(tree, "interrupt-controller@0", |tree| interrupt_controller(tree, plan.vcpus))?;
        node(tree, "vdevice", |tree| devices(tree, plan))?;
        node(tree, "ibm,platform-facilities", facilities)?;
        node(tree, "cpus", |tree| {
            tree.property_u32("#address-cells", 1)?;
            tree.property_u32("#size-cells", 0)?;
            (0..plan.vcpus).try_for_each(|number| processor(tree, machine, number))
        })
    })?;
    let mut bytes = tree.finish()?;
    lengthen_last_name(&mut bytes, RADIX_SIZES_NAME_END);
    Ok(bytes)
}

/// Adds a letter to the name that was used last for the first time: names stand at the end of the
/// tree, in that order, each with a NUL behind it.
fn lengthen_last_name(tree: &mut Vec<u8>, letter: u8) {
    const TOTAL_SIZE: usize = 4;
    const NAMES_SIZE: usize = 32;
    tree.pop();
    tree.extend([letter, 0]);
    for field in [TOTAL_SIZE, NAMES_SIZE] {
        if let Some(size) = tree.get_mut(field..).and_then(|rest| rest.first_chunk_mut::<4>()) {
            *size = (u32::from_be_bytes(*size) + 1).to_be_bytes();
        }
    }
}

fn chosen(tree: &mut FdtWriter, guest: &Linux, places: Places) -> Result<(), Error> {
    let mut vector_5 = [0; VECTOR_5_SIZE];
    for (byte, value) in [VECTOR_5_RADIX, VECTOR_5_GTSE] {
        vector_5[byte] = value;
    }
    node(tree, "chosen", |tree| {
        tree.property_string("bootargs", &guest.command_line)?;
        tree.property_string("linux,stdout-path", &format!("/vdevice/{CONSOLE}"))?;
        if let Some((start, end)) = places.initrd {
            tree.property_u64("linux,initrd-start", start)?;
            tree.property_u64("linux,initrd-end", end)?;
        }
        tree.property("ibm,architecture-vec-5", &vector_5)
    })
}

/// One node a vCPU: cores with one thread each, so that the kernel never sends a doorbell between
/// threads of a core.
fn processor(tree: &mut FdtWriter, machine: Machine, number: u32) -> Result<(), Error> {
    let model = match machine.processor() {
        Processor::Power9 => "POWER9",
        Processor::Power10 => "POWER10",
    };
    node(tree, &format!("PowerPC,{model}@{number:x}"), |tree| {
        tree.property_string("device_type", "cpu")?;
        tree.property_u32("reg", number)?;
        tree.property_string("status", "okay")?;
        tree.property_u32("ibm,ppc-interrupt-server#s", number)?;
        tree.property_u32("timebase-frequency", TIMEBASE_FREQUENCY)?;
        // No one asks for it but /proc/cpuinfo: twice the timebase is as good as any.
        tree.property_u32("clock-frequency", TIMEBASE_FREQUENCY * 2)?;
        for cache in ["d-cache", "i-cache"] {
            tree.property_u32(&format!("{cache}-block-size"), 128)?;
            tree.property_u32(&format!("{cache}-size"), 32 << 10)?;
        }
        tree.property("ibm,pa-features", &features::property(machine))?;
        // VMX and VSX; decimal floating point.
        tree.property_u32("ibm,vmx", 2)?;
        tree.property_u32("ibm,dfp", 1)?;
        // The last name of all: it is not finished.
        tree.property_array_u32(RADIX_SIZES_NAME, &RADIX_SIZES)
    })
}

fn rtas(tree: &mut FdtWriter, places: Places) -> Result<(), Error> {
    // The layout's memory is far below 4 GiB where RTAS is; what is not cannot be said in a cell.
    let base = u32::try_from(places.rtas).map_err(|_| Error::InvalidMemoryReservation)?;
    tree.property_u32("linux,rtas-base", base)?;
    tree.property_u32("linux,rtas-entry", base)?;
    tree.property_u32("rtas-size", RTAS_SIZE)?;
    let functions = HYPERTAS_FUNCTIONS.map(String::from).to_vec();
    tree.property_string_list("ibm,hypertas-functions", functions)?;
    // Linux calls ibm,os-term in a panic only where this says that it may.
    tree.property_null("ibm,extended-os-term")?;
    RTAS_FUNCTIONS.iter().try_for_each(|(name, token)| tree.property_u32(name, *token))
}

fn interrupt_controller(tree: &mut FdtWriter, vcpus: u32) -> Result<(), Error> {
    tree.property_string("device_type", "PowerPC-External-Interrupt-Presentation")?;
    tree.property_string("compatible", "ibm,ppc-xicp")?;
    tree.property_null("interrupt-controller")?;
    tree.property_u32("#interrupt-cells", 2)?;
    tree.property_array_u32("ibm,interrupt-server-ranges", &[0, vcpus])?;
    tree.property_phandle(INTERRUPT_CONTROLLER)
}

fn devices(tree: &mut FdtWriter, plan: &Plan) -> Result<(), Error> {
    tree.property_u32("#address-cells", 1)?;
    tree.property_u32("#size-cells", 0)?;
    tree.property_string("device_type", "vdevice")?;
    tree.property_string("compatible", "IBM,vdevice")?;
    node(tree, CONSOLE, |tree| {
        tree.property_string("device_type", "serial")?;
        tree.property_string("compatible", "hvterm1")?;
        tree.property_u32("reg", CONSOLE_UNIT)?;
        // The second cell: it is edge-triggered.
        tree.property_array_u32("interrupts", &[source::CONSOLE, 0])?;
        tree.property_u32("interrupt-parent", INTERRUPT_CONTROLLER)
    })?;
    if plan.rights.contains(Rights::LAN) {
        node(tree, &format!("l-lan@{LAN_UNIT:x}"), |tree| lan(tree, plan))?;
    }
    Ok(())
}

/// What a guest may ask for that is no device: H_RANDOM. Without it the kernel gathers randomness
/// itself for long, and each process and each slab of memory costs some more.
fn facilities(tree: &mut FdtWriter) -> Result<(), Error> {
    tree.property_u32("#address-cells", 1)?;
    tree.property_u32("#size-cells", 0)?;
    tree.property_string("device_type", "ibm,platform-facilities")?;
    node(tree, "ibm,random-v1", |tree| {
        tree.property_string("device_type", "ibm,random-v1")?;
        tree.property_string("compatible", "ibm,random")?;
        tree.property_u32("reg", 1)
    })
}

/// The port of the logical LAN, with a bus of its own for it.
fn lan(tree: &mut FdtWriter, plan: &Plan) -> Result<(), Error> {
    tree.property_string("device_type", "network")?;
    tree.property_string("compatible", "IBM,l-lan")?;
    tree.property_u32("reg", LAN_UNIT as u32)?;
    let [_, _, address @ ..] = (LAN_ADDRESS | u64::from(plan.number)).to_be_bytes();
    tree.property("local-mac-address", &address)?;
    // The hypervisor has no table of multicast addresses: the kernel then takes them all.
    tree.property_u32("ibm,mac-address-filters", 0)?;
    // Bus number, start and size of the window.
    tree.property_u32("ibm,#dma-address-cells", 2)?;
    tree.property_u32("ibm,#dma-size-cells", 2)?;
    let window = [LAN_UNIT, 0, 0, LAN_WINDOW >> 32, LAN_WINDOW & 0xffff_ffff];
    tree.property_array_u32("ibm,my-dma-window", &window.map(|cell| cell as u32))?;
    tree.property_array_u32("interrupts", &[source::LAN, 0])?;
    tree.property_u32("interrupt-parent", INTERRUPT_CONTROLLER)
}
