//! Native system calls, served. Whatever a program passes, the worst it gets is an error.

use crate::fcm::Image;
use crate::fcm::computation::{self, Source};
use crate::kernel::Kernel;
use crate::process::{Memory, Process};
use crate::region::{self, Kind};
use crate::user_memory::UserRange;
use alloc::string::String;
use core::ops::Range;
use k42_lib::radix::Access;
use k42_lib::trace::events::user;
use k42_object::Here;
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

impl Kernel {
    /// Serves a native call.
    pub fn native_call(&self, here: &Here<'_>, call: Call) -> After {
        After::Resume(match call {
            Call::SetEntryPoint { entry } => {
                self.memory.machine.set_system_call_entry(entry);
                Ok(0)
            }
            Call::ConsoleWrite { buffer, length } => {
                self.console_write(here, UserRange::new(buffer, length))
            }
            Call::ConsoleRead { buffer, length, deadline } => {
                self.console_read(here, UserRange::new(buffer, length), deadline)
            }
            Call::WaitUntil { deadline } => {
                while self.memory.machine.timebase() < deadline {
                    self.memory.machine.wait(deadline);
                }
                Ok(0)
            }
            Call::RegionCreate { address, length, protection, flags, offset, size } => {
                let image = Image { start: self.root_file_system.start.offset(offset), size };
                let end = offset.checked_add(size);
                if flags & flags::FILE == 0 {
                    self.region_create(here, address, length, protection, flags, Source::Zeros)
                } else if end.is_some_and(|end| end <= self.root_file_system.size) {
                    let source = Source::Image(image);
                    self.region_create(here, address, length, protection, flags, source)
                } else {
                    Err(Error::Invalid)
                }
            }
            Call::RegionDestroy { address, length } => span(address, length).and_then(|range| {
                self.process.destroy_regions(here, range)?;
                Ok(0)
            }),
            Call::RegionProtect { address, length, protection } => {
                span(address, length).and_then(|range| {
                    let protection = region::access(protection)?;
                    self.process.protect_regions(here, range, protection)?;
                    Ok(0)
                })
            }
            Call::Exit { status } => return After::Exit(status as u8),
            Call::Log { buffer, length } => {
                self.log(here, UserRange::new(buffer, length.min(LOG_LINE))).map(|()| 0)
            }
            Call::Trace { first, second } => {
                user::numbers(here, first, second);
                Ok(0)
            }
            Call::FreeMemory {} => Ok(self.memory.pm.free_frames() as u64 * PAGE_SIZE),
        })
    }

    /// Writes piece by piece; a bad pointer counts only if nothing was written before it.
    fn console_write(&self, here: &Here<'_>, range: UserRange) -> Outcome {
        let mut left = range;
        loop {
            match left.split_first(Access::READ, here, self.process) {
                Ok(Some((piece, rest))) => {
                    self.memory.machine.console_write(piece.at, piece.bytes);
                    left = rest;
                }
                Ok(None) => break,
                Err(error) if left == range => return Err(error),
                Err(_) => break,
            }
        }
        Ok(range.length() - left.length())
    }

    fn console_read(&self, here: &Here<'_>, range: UserRange, deadline: u64) -> Outcome {
        let Some((piece, _)) = range.split_first(Access::WRITE, here, self.process)? else {
            return Ok(0);
        };
        loop {
            let count = self.memory.machine.console_read(piece.at, piece.bytes);
            if count != 0 || self.memory.machine.timebase() >= deadline {
                return Ok(count);
            }
            self.memory.machine.wait(deadline);
        }
    }

    fn region_create(
        &self,
        here: &Here<'_>,
        address: u64,
        length: u64,
        protection: u64,
        flags: u64,
        source: Source,
    ) -> Outcome {
        if flags & !(flags::FILE | flags::EXACT | flags::REPLACE) != 0 {
            return Err(Error::Invalid);
        }
        let protection = region::access(protection)?;
        let start = if flags & flags::EXACT != 0 {
            address
        } else {
            self.process.find_free(here, length)?.value()
        };
        let range = span(start, length)?;
        if flags & flags::EXACT != 0 && flags & flags::REPLACE != 0 {
            self.process.destroy_regions(here, range.clone())?;
        }
        let Memory { machine, pm, .. } = &self.memory;
        let fcm = computation::create(here, machine, pm, source)?;
        self.process.create_region(here, range, Kind::Default, protection, fcm)?;
        Ok(start)
    }

    /// Puts a line of the library's on the console, whatever bytes it holds.
    fn log(&self, here: &Here<'_>, range: UserRange) -> Result<(), Error> {
        let mut line = String::new();
        let mut left = range;
        loop {
            let next = left.split_first(Access::READ, here, self.process)?;
            let Some((piece, rest)) = next else { break };
            let mut bytes = [0; LOG_LINE as usize];
            let bytes = &mut bytes[..piece.bytes as usize];
            self.memory.machine.load_bytes(piece.at, bytes);
            line.extend(bytes.iter().map(|byte| match byte {
                b' '..=b'~' => *byte as char,
                _ => '?',
            }));
            left = rest;
        }
        user::text(here, &line);
        self.memory.machine.console_line(format_args!("{}: {line}", self.program));
        Ok(())
    }
}

/// The range that starts at `address`.
fn span(address: u64, length: u64) -> Result<Range<u64>, Error> {
    Ok(address..address.checked_add(length).ok_or(Error::Invalid)?)
}
