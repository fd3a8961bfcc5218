//! The measurement log: all that a domain starts from is hashed before the domain first runs. What
//! a record is and how the registers vouch for the records is in `boot/measure`; guests read both
//! by hypercall (`hypercall/measure.rs`), the host tool in the lines of channel 0.
//!
//! The log only grows. It has storage for 37,449 records, and when that is used up a domain is not
//! started rather than not logged.

use crate::Hypervisor;
use crate::create::CreateError;
use crate::domain::{DomainId, MAX_DOMAINS};
use crate::frames::FRAME_SIZE;
use crate::machine::{Machine, Storage};
use crate::report::line;
use k42_lib::RealAddr;
use k42_measure::{Digest, Kind, Record};
use k42_wire::Event;

/// Bytes of the log.
pub const SIZE: u64 = 32 * FRAME_SIZE;
/// Records that they have room for.
const ROOM: u64 = SIZE / Record::SIZE as u64;

/// The records, in storage of the platform's, and the registers.
pub(crate) struct Log {
    /// The storage; without it there is room for nothing.
    pub(crate) start: Option<RealAddr>,
    count: u64,
    register: Digest,
    /// Each domain's own, by its number; number 0 is the hypervisor's.
    domains: [Digest; MAX_DOMAINS + 1],
}

impl Log {
    /// A log without storage.
    pub(crate) const fn new() -> Log {
        let domains = [Digest::ZERO; MAX_DOMAINS + 1];
        Log { start: None, count: 0, register: Digest::ZERO, domains }
    }

    /// Where a record is, if the log has room for so many.
    fn place(&self, number: u64) -> Option<RealAddr> {
        let start = self.start.filter(|_| number < ROOM)?;
        Some(start.offset(number.checked_mul(Record::SIZE as u64)?))
    }
}

impl<M: Machine> Hypervisor<M> {
    /// Measures bytes of a domain's, which are put at `at`.
    pub(crate) fn measure(
        &self,
        domain: DomainId,
        kind: Kind,
        at: u64,
        bytes: &[u8],
    ) -> Result<(), CreateError> {
        let (size, digest) = (bytes.len() as u64, Digest::of(bytes));
        self.log(Record { domain: domain.number().into(), kind, at, size, digest })
    }

    /// Appends a record, extends the log's register and the domain's, and says so.
    pub fn log(&self, record: Record) -> Result<(), CreateError> {
        let log = &mut *self.log.lock();
        let place = log.place(log.count).ok_or(CreateError::Log)?;
        self.machine.write(place, &record.bytes());
        log.count = log.count.saturating_add(1);
        log.register.extend(&record);
        if let Some(own) = log.domains.get_mut(usize::from(record.domain)) {
            if record.kind == Kind::Description {
                *own = Digest::ZERO;
            }
            own.extend(&record);
        }
        self.say(Event::Measured(&line(format_args!("{record}, log {}", log.register))));
        Ok(())
    }

    /// A domain's own register.
    pub fn measurement(&self, domain: DomainId) -> Digest {
        let log = self.log.lock();
        log.domains.get(usize::from(domain.number())).copied().unwrap_or(Digest::ZERO)
    }

    /// A record as it lies in the log, if there are so many.
    pub fn record(&self, number: u64) -> Option<[u8; Record::SIZE]> {
        let log = self.log.lock();
        let place = log.place(number).filter(|_| number < log.count)?;
        let mut bytes = [0; Record::SIZE];
        self.machine.read(place, &mut bytes);
        Some(bytes)
    }
}
