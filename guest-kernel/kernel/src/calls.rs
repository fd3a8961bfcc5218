//! Native system calls, served. Whatever a program passes, the worst it gets is an error.

use crate::fcm::{Backing, Image};
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::region::{self, Kind};
use crate::user_memory::UserRange;
use alloc::string::String;
use core::ops::Range;
use k42_lib::radix::Access;
use k42_lib::trace::events::user;
use kernel_abi::{Call, Error, Outcome, PAGE_SIZE, region as flags};

/// The most bytes of a logged line.
const LOG_LINE: u64 = 256;

/// What becomes of the program after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It resumes with this in r3.
    Resume(Outcome),
    /// It has ended with this status.
    Exit(u8),
}

impl<M: Machine> Kernel<M> {
    /// Serves a native call.
    pub fn native_call(&mut self, call: Call) -> After {
        After::Resume(match call {
            Call::SetEntryPoint { entry } => {
                self.machine.set_system_call_entry(entry);
                Ok(0)
            }
            Call::ConsoleWrite { buffer, length } => {
                self.console_write(UserRange::new(buffer, length))
            }
            Call::ConsoleRead { buffer, length, deadline } => {
                self.console_read(UserRange::new(buffer, length), deadline)
            }
            Call::WaitUntil { deadline } => {
                while self.machine.timebase() < deadline {
                    self.machine.wait(deadline);
                }
                Ok(0)
            }
            Call::RegionCreate { address, length, protection, flags, offset, size } => {
                let image = Image { start: self.root_file_system.start.offset(offset), size };
                let end = offset.checked_add(size);
                if flags & flags::FILE == 0 {
                    self.region_create(address, length, protection, flags, Backing::Computation)
                } else if end.is_some_and(|end| end <= self.root_file_system.size) {
                    self.region_create(address, length, protection, flags, Backing::Copy(image))
                } else {
                    Err(Error::Invalid)
                }
            }
            Call::RegionDestroy { address, length } => span(address, length).and_then(|range| {
                self.process.destroy_regions(range, &mut self.pm, &mut self.machine)?;
                Ok(0)
            }),
            Call::RegionProtect { address, length, protection } => {
                span(address, length).and_then(|range| {
                    let protection = region::access(protection)?;
                    let (pm, machine) = (&mut self.pm, &mut self.machine);
                    self.process.protect_regions(range, protection, pm, machine)?;
                    Ok(0)
                })
            }
            Call::Exit { status } => return After::Exit(status as u8),
            Call::Log { buffer, length } => {
                self.log(UserRange::new(buffer, length.min(LOG_LINE))).map(|()| 0)
            }
            Call::Trace { first, second } => {
                user::numbers(&self.machine, first, second);
                Ok(0)
            }
            Call::FreeMemory {} => Ok(self.pm.free_frames() as u64 * PAGE_SIZE),
        })
    }

    /// Writes piece by piece; a bad pointer counts only if nothing was written before it.
    fn console_write(&mut self, range: UserRange) -> Outcome {
        let mut left = range;
        loop {
            let (process, pm) = (&mut self.process, &mut self.pm);
            match left.split_first(Access::READ, process, pm, &mut self.machine) {
                Ok(Some((piece, rest))) => {
                    self.machine.console_write(piece.at, piece.bytes);
                    left = rest;
                }
                Ok(None) => break,
                Err(error) if left == range => return Err(error),
                Err(_) => break,
            }
        }
        Ok(range.length() - left.length())
    }

    fn console_read(&mut self, range: UserRange, deadline: u64) -> Outcome {
        let (process, pm) = (&mut self.process, &mut self.pm);
        let Some((piece, _)) = range.split_first(Access::WRITE, process, pm, &mut self.machine)?
        else {
            return Ok(0);
        };
        loop {
            let count = self.machine.console_read(piece.at, piece.bytes);
            if count != 0 || self.machine.timebase() >= deadline {
                return Ok(count);
            }
            self.machine.wait(deadline);
        }
    }

    fn region_create(
        &mut self,
        address: u64,
        length: u64,
        protection: u64,
        flags: u64,
        backing: Backing,
    ) -> Outcome {
        if flags & !(flags::FILE | flags::EXACT | flags::REPLACE) != 0 {
            return Err(Error::Invalid);
        }
        let protection = region::access(protection)?;
        let start = if flags & flags::EXACT != 0 {
            address
        } else {
            self.process.find_free(length).ok_or(Error::NoMemory)?.value()
        };
        let range = span(start, length)?;
        if flags & flags::EXACT != 0 && flags & flags::REPLACE != 0 {
            let (pm, machine) = (&mut self.pm, &mut self.machine);
            self.process.destroy_regions(range.clone(), pm, machine)?;
        }
        self.process.create_region(range, Kind::Default, protection, backing)?;
        Ok(start)
    }

    /// Puts a line of the library's on the console, whatever bytes it holds.
    fn log(&mut self, range: UserRange) -> Result<(), Error> {
        let mut line = String::new();
        let mut left = range;
        loop {
            let (process, pm) = (&mut self.process, &mut self.pm);
            let next = left.split_first(Access::READ, process, pm, &mut self.machine)?;
            let Some((piece, rest)) = next else { break };
            let mut bytes = [0; LOG_LINE as usize];
            let bytes = &mut bytes[..piece.bytes as usize];
            self.machine.load_bytes(piece.at, bytes);
            line.extend(bytes.iter().map(|byte| match byte {
                b' '..=b'~' => *byte as char,
                _ => '?',
            }));
            left = rest;
        }
        user::text(&self.machine, &line);
        self.machine.console_line(format_args!("{}: {line}", self.program));
        Ok(())
    }
}

/// The range that starts at `address`.
fn span(address: u64, length: u64) -> Result<Range<u64>, Error> {
    Ok(address..address.checked_add(length).ok_or(Error::Invalid)?)
}
