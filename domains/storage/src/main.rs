//! The storage domain: serves disks to the domains that they belong to, by ATA over Ethernet, through
//! its port of the logical LAN.
//!
//! Its disks are storage of its own, beyond its memory, that a file of the host's is behind
//! (docs/hypervisor.md, Disks): a read is a copy, and so is a write. Who may have which is told by a
//! frame's source address, which the hypervisor vouches for: a port sends from its own alone. What is
//! answered is the business of the crate `aoe`; `lan` has the port. All of it runs in real mode: an
//! address is a guest real one.
#![no_std]
#![no_main]

extern crate alloc;

mod lan;

use alloc::string::String;
use alloc::vec::Vec;
use aoe::{LONGEST, Mac, Request, SECTOR, UNDER_WAY};
use core::sync::atomic::{Ordering, fence};
use fdt::node::FdtNode;
use kernel_arch::{Boot, boot, bug, entry, hypercall};
use lan::Port;

kernel_arch::main!(main);

/// Writes a line to the console.
macro_rules! say {
    ($($text:tt)*) => { hypercall::print(format_args!("{}\n", format_args!($($text)*))) };
}

/// A disk, and whose it is.
struct Disk {
    client: Mac,
    unit: u8,
    storage: Storage,
}

/// A disk's storage: where it is, and how many sectors.
struct Storage {
    at: u64,
    sectors: u64,
}

impl aoe::Disk for Storage {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn read(&mut self, first: u64, into: &mut [u8]) {
        let from = (self.at + first * SECTOR as u64) as *const u8;
        // SAFETY: the hypervisor has mapped the disk there, where no Rust object lies; the caller has
        // checked that the sectors are there.
        unsafe { core::ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) };
    }

    fn write(&mut self, first: u64, from: &[u8]) {
        let to = (self.at + first * SECTOR as u64) as *mut u8;
        // SAFETY: as in `read`.
        unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) };
    }

    /// What has reached storage is in the host's file.
    fn flush(&mut self) {
        fence(Ordering::SeqCst);
    }
}

fn main(boot: Boot) -> ! {
    // SAFETY: the kernel's addresses mean the same in real mode.
    unsafe { entry::set_machine_state(entry::REAL_MSR) };
    bug::ignore_interrupts();
    let Err(problem) = serve(&boot);
    say!("storage: {problem}");
    boot::exit(1)
}

fn serve(boot: &Boot) -> Result<core::convert::Infallible, String> {
    let node = boot.tree.find_node("/chosen/storage").ok_or("it has no disks")?;
    let own = number(node, "domain").and_then(mac).ok_or("it is not told who it is")?;
    let mut disks: Vec<Disk> = node.children().filter_map(disk).collect();
    let mut port = Port::open(own, disks.len() * usize::from(UNDER_WAY))?;
    let mut answer = [0; LONGEST];
    for disk in &disks {
        let length = aoe::announcement(disk.client, disk.unit, own, &mut answer);
        port.send(&answer[..length]);
    }
    say!("serving {} disks", disks.len());
    loop {
        while let Some(received) = port.receive()? {
            if let Some(request) = Request::parse(received.bytes()) {
                let client = request.client();
                let asked = |disk: &&mut Disk| disk.client == client && request.asks(disk.unit);
                for disk in disks.iter_mut().filter(asked) {
                    let length = request.answer(&mut disk.storage, disk.unit, own, &mut answer);
                    if length != 0 {
                        // One that is lost is asked for again.
                        port.send(&answer[..length]);
                    }
                }
            }
            port.post(received)?;
        }
        port.wait();
    }
}

/// The disk that a node describes.
fn disk(node: FdtNode<'_, '_>) -> Option<Disk> {
    let (at, size) = (number(node, "address")?, number(node, "size")?);
    let storage = Storage { at, sectors: size / SECTOR as u64 };
    let unit = number(node, "unit")?.try_into().ok()?;
    Some(Disk { client: mac(number(node, "client")?)?, unit, storage })
}

/// A property of one cell or two.
fn number(node: FdtNode<'_, '_>, name: &str) -> Option<u64> {
    node.property(name)?.as_usize().map(|number| number as u64)
}

/// The address that the port of a domain is given.
fn mac(domain: u64) -> Option<Mac> {
    Some([0x52, 0x4b, 0x34, 0x32, 0, domain.try_into().ok()?])
}
