//! Waiting until a descriptor is ready. All but the console's input always are.

use crate::abi::PROT_READ;
use crate::{Arguments, Errno, Linux, Outcome};
use alloc::vec;
use kernel_abi::{FOREVER, stub};
use libos::descriptors::{MAX_DESCRIPTORS, Object};

const POLLIN: u16 = 1;
const POLLOUT: u16 = 4;
const POLLNVAL: u16 = 0x20;
/// Normal data to read, room for normal data, as `POLLIN` and `POLLOUT`.
const ALWAYS: u16 = POLLIN | POLLOUT | 0x40 | 0x100;
/// Bytes of a `struct pollfd`: descriptor, events, results.
const RECORD: usize = 8;

impl Linux {
    fn ready(&self, descriptor: i32, events: u16) -> u16 {
        let Ok(descriptor) = u64::try_from(descriptor) else { return 0 };
        match self.descriptors.get(descriptor) {
            Err(_) => POLLNVAL,
            Ok(file) if file.object == Object::Console && !self.input.is_ready() => {
                events & ALWAYS & !(POLLIN | 0x40)
            }
            Ok(_) => events & ALWAYS,
        }
    }

    fn poll(&mut self, at: u64, count: u64, deadline: u64) -> Outcome {
        if count > MAX_DESCRIPTORS as u64 {
            return Err(Errno::EINVAL);
        }
        self.memory.check(at, count * RECORD as u64, PROT_READ)?;
        let mut records = vec![0; count as usize * RECORD];
        self.read_bytes(at, &mut records)?;
        loop {
            let mut found = 0;
            let mut waits_for_input = false;
            for record in records.chunks_exact_mut(RECORD) {
                let descriptor = i32::from_le_bytes([record[0], record[1], record[2], record[3]]);
                let events = u16::from_le_bytes([record[4], record[5]]);
                let result = self.ready(descriptor, events);
                record[6..].copy_from_slice(&result.to_le_bytes());
                found += u64::from(result != 0);
                waits_for_input |= descriptor >= 0 && events & POLLIN != 0;
            }
            if found != 0 || self.system.timebase() >= deadline {
                self.write_bytes(at, &records)?;
                return Ok(found);
            }
            if waits_for_input {
                self.await_input(deadline);
            } else {
                stub::wait_until(&*self.system, deadline).map_err(Errno::from_number)?;
            }
        }
    }
}

/// `poll(records, count, milliseconds)`
pub(crate) fn poll(linux: &mut Linux, args: &Arguments) -> Outcome {
    let milliseconds = args[2] as u32 as i32;
    let deadline = match u64::try_from(milliseconds) {
        Ok(0) => 0,
        Ok(milliseconds) => linux.deadline(milliseconds / 1000, milliseconds % 1000 * 1_000_000),
        Err(_) => FOREVER,
    };
    linux.poll(args[0], args[1], deadline)
}

/// `ppoll(records, count, time, ...)`: no signal comes, so its mask does not matter.
pub(crate) fn ppoll(linux: &mut Linux, args: &Arguments) -> Outcome {
    let deadline = match args[2] {
        0 => FOREVER,
        at => {
            let [seconds, nanoseconds] = linux.read_words(at)?;
            linux.deadline(seconds, nanoseconds)
        }
    };
    linux.poll(args[0], args[1], deadline)
}
