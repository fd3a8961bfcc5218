//! Time: the timebase, and a calendar. No clock of the machine's knows the date, so the calendar
//! starts with the newest file of the root file system, or with this release of the system if that
//! is newer: it never shows a time before what is known to have been.

use crate::abi::Structure;
use crate::{Arguments, Errno, Linux, Outcome};
use alloc::vec::Vec;
use kernel_abi::stub;

const NANOSECONDS: u64 = 1_000_000_000;

/// When this release was made, in seconds since 1970: 1 January 2026.
pub(crate) const RELEASE: u64 = 1_767_225_600;

/// `TIMER_ABSTIME`
const ABSOLUTE: u64 = 1;

impl Linux {
    /// Seconds and nanoseconds since the machine's start.
    pub(crate) fn since_start(&self) -> (u64, u64) {
        let frequency = self.hardware.timebase_frequency.max(1);
        let ticks = self.system.timebase();
        let part = u128::from(ticks % frequency) * u128::from(NANOSECONDS);
        (ticks / frequency, (part / u128::from(frequency)) as u64)
    }

    fn calendar(&self) -> (u64, u64) {
        let (seconds, nanoseconds) = self.since_start();
        (seconds + RELEASE.max(self.files.newest().into()), nanoseconds)
    }

    /// A clock's time, by its number.
    fn clock(&self, clock: u64) -> Result<(u64, u64), Errno> {
        match clock {
            // Real time, its coarse and its alarm variants, international atomic time.
            0 | 5 | 8 | 11 => Ok(self.calendar()),
            // Monotonic, raw, coarse, boot time; and the time of process and thread, which have had
            // the processor to themselves.
            1..=4 | 6 | 7 | 9 => Ok(self.since_start()),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The timebase after so much time from now.
    pub(crate) fn deadline(&self, seconds: u64, nanoseconds: u64) -> u64 {
        self.system.timebase().saturating_add(self.ticks(seconds, nanoseconds))
    }

    fn ticks(&self, seconds: u64, nanoseconds: u64) -> u64 {
        let frequency = self.hardware.timebase_frequency;
        let part = u128::from(nanoseconds) * u128::from(frequency) / u128::from(NANOSECONDS);
        seconds.saturating_mul(frequency).saturating_add(u64::try_from(part).unwrap_or(u64::MAX))
    }

    fn duration(&self, at: u64) -> Result<(u64, u64), Errno> {
        let [seconds, nanoseconds] = self.read_words(at)?;
        if seconds.cast_signed() < 0 || nanoseconds >= NANOSECONDS {
            return Err(Errno::EINVAL);
        }
        Ok((seconds, nanoseconds))
    }

    fn sleep_until(&self, deadline: u64) -> Outcome {
        stub::wait_until(&*self.system, deadline).map_err(Errno::from_number)
    }
}

fn pair(first: u64, second: u64) -> Vec<u8> {
    Structure::default().u64(first).u64(second).0
}

/// `time(result)`
pub(crate) fn time(linux: &mut Linux, args: &Arguments) -> Outcome {
    let (seconds, _) = linux.calendar();
    linux.write_optional(args[0], &seconds.to_le_bytes())?;
    Ok(seconds)
}

/// `gettimeofday(time, zone)`
pub(crate) fn gettimeofday(linux: &mut Linux, args: &Arguments) -> Outcome {
    let (seconds, nanoseconds) = linux.calendar();
    linux.write_optional(args[0], &pair(seconds, nanoseconds / 1000))?;
    linux.write_optional(args[1], &[0; 8])?;
    Ok(0)
}

/// `clock_gettime(clock, result)`
pub(crate) fn clock_gettime(linux: &mut Linux, args: &Arguments) -> Outcome {
    let (seconds, nanoseconds) = linux.clock(args[0])?;
    linux.write_bytes(args[1], &pair(seconds, nanoseconds))?;
    Ok(0)
}

/// `clock_getres(clock, result)`
pub(crate) fn clock_getres(linux: &mut Linux, args: &Arguments) -> Outcome {
    linux.clock(args[0])?;
    linux.write_optional(args[1], &pair(0, 1))?;
    Ok(0)
}

/// `nanosleep(time, rest)`
pub(crate) fn nanosleep(linux: &mut Linux, args: &Arguments) -> Outcome {
    let (seconds, nanoseconds) = linux.duration(args[0])?;
    linux.sleep_until(linux.deadline(seconds, nanoseconds))
}

/// `clock_nanosleep(clock, flags, time, rest)`
pub(crate) fn clock_nanosleep(linux: &mut Linux, args: &Arguments) -> Outcome {
    let [clock, flags, time, ..] = *args;
    let (seconds, nanoseconds) = linux.duration(time)?;
    let now = linux.clock(clock)?;
    if flags & ABSOLUTE == 0 {
        return linux.sleep_until(linux.deadline(seconds, nanoseconds));
    }
    let (wanted, now) = (linux.ticks(seconds, nanoseconds), linux.ticks(now.0, now.1));
    linux.sleep_until(linux.system.timebase().saturating_add(wanted.saturating_sub(now)))
}

/// `times(result)`: all in ticks of a hundredth of a second, all the program's own.
pub(crate) fn times(linux: &mut Linux, args: &Arguments) -> Outcome {
    let (seconds, nanoseconds) = linux.since_start();
    let ticks = seconds * 100 + nanoseconds / 10_000_000;
    linux.write_optional(args[0], &Structure::default().u64(ticks).text(b"", 24).0)?;
    Ok(ticks)
}

/// `getrusage(who, result)`: user time; nothing else is counted.
pub(crate) fn getrusage(linux: &mut Linux, args: &Arguments) -> Outcome {
    let (seconds, nanoseconds) = linux.since_start();
    let usage = Structure::default().u64(seconds).u64(nanoseconds / 1000).text(b"", 128);
    linux.write_bytes(args[1], &usage.0)?;
    Ok(0)
}
