//! What a trap of the program means.

use crate::context::Context;
use core::fmt;
use k42_lib::radix::Access;
use k42_lib::{EffAddr, vector};

/// Why the program stopped running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// It made a native system call.
    NativeCall,
    /// It touched an address that is not mapped like that.
    Access(EffAddr, Access),
    /// It did something no handler can make good.
    Offence(Offence),
    /// The decrementer expired.
    Timer,
    /// Something that concerns nobody here.
    Nothing,
}

/// What a program can do wrong; each has the name a shell would print and a Linux signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offence {
    /// A bad address (SIGSEGV).
    Segmentation(EffAddr),
    /// No memory was left for this address (SIGKILL).
    NoMemory(EffAddr),
    /// A misaligned access that the processor does not make (SIGBUS).
    Alignment(EffAddr),
    /// An instruction that is none, or none of the program's (SIGILL).
    Illegal,
    /// A trap instruction (SIGTRAP).
    TrapInstruction,
    /// A floating-point exception (SIGFPE).
    FloatingPoint,
    /// An interrupt that should not come, with its vector (SIGILL).
    Unexpected(u64),
}

impl Offence {
    /// The Linux signal for it.
    pub const fn signal(self) -> u64 {
        match self {
            Offence::Illegal | Offence::Unexpected(_) => 4,
            Offence::TrapInstruction => 5,
            Offence::Alignment(_) => 7,
            Offence::FloatingPoint => 8,
            Offence::NoMemory(_) => 9,
            Offence::Segmentation(_) => 11,
        }
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Offence::Segmentation(at) => write!(f, "segmentation fault at {at}"),
            Offence::NoMemory(at) => write!(f, "out of memory at {at}"),
            Offence::Alignment(at) => write!(f, "bus error at {at}"),
            Offence::Illegal => f.write_str("illegal instruction"),
            Offence::TrapInstruction => f.write_str("trap instruction"),
            Offence::FloatingPoint => f.write_str("floating point exception"),
            Offence::Unexpected(vector) => write!(f, "unexpected interrupt {vector:#x}"),
        }
    }
}

/// DSISR: the access was a store (Power ISA v3.0B, Book III, 6.5.3, bit 38).
const CAUSE_STORE: u64 = 0x0200_0000;
/// SRR1 after a program interrupt (6.5.9): floating-point enabled exception.
const CAUSE_FLOATING_POINT: u64 = 0x0010_0000;
/// The same: trap instruction.
const CAUSE_TRAP: u64 = 0x0002_0000;

impl Trap {
    /// Reads it from the registers the interrupt left.
    pub fn decode(context: &Context) -> Trap {
        let data = EffAddr::new(context.fault_address);
        let next = EffAddr::new(context.next);
        match context.vector as u16 {
            vector::SYSTEM_CALL => Trap::NativeCall,
            vector::DATA_STORAGE if context.fault_cause & CAUSE_STORE != 0 => {
                Trap::Access(data, Access::WRITE)
            }
            vector::DATA_STORAGE => Trap::Access(data, Access::READ),
            vector::INSTRUCTION_STORAGE => Trap::Access(next, Access::EXECUTE),
            vector::DATA_SEGMENT => Trap::Offence(Offence::Segmentation(data)),
            vector::INSTRUCTION_SEGMENT => Trap::Offence(Offence::Segmentation(next)),
            vector::ALIGNMENT => Trap::Offence(Offence::Alignment(data)),
            vector::PROGRAM if context.msr & CAUSE_FLOATING_POINT != 0 => {
                Trap::Offence(Offence::FloatingPoint)
            }
            vector::PROGRAM if context.msr & CAUSE_TRAP != 0 => {
                Trap::Offence(Offence::TrapInstruction)
            }
            vector::PROGRAM | vector::FACILITY_UNAVAILABLE => Trap::Offence(Offence::Illegal),
            vector::DECREMENTER => Trap::Timer,
            vector::EXTERNAL | vector::DOORBELL | vector::PERFORMANCE_MONITOR => Trap::Nothing,
            _ => Trap::Offence(Offence::Unexpected(context.vector)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(vector: u16, fault_cause: u64, msr: u64) -> Trap {
        let vector = vector.into();
        Trap::decode(&Context {
            vector,
            fault_cause,
            msr,
            fault_address: 7,
            next: 4,
            ..Context::default()
        })
    }

    #[test]
    fn faults_say_what_was_tried_and_where() {
        let (data, code) = (EffAddr::new(7), EffAddr::new(4));
        assert_eq!(decode(0x300, 0x4200_0000, 0), Trap::Access(data, Access::WRITE));
        assert_eq!(decode(0x300, 0x4000_0000, 0), Trap::Access(data, Access::READ));
        assert_eq!(decode(0x400, 0, 0x4000_0000), Trap::Access(code, Access::EXECUTE));
        assert_eq!(decode(0x380, 0, 0), Trap::Offence(Offence::Segmentation(data)));
        assert_eq!(decode(0x700, 0, 0x2_0000), Trap::Offence(Offence::TrapInstruction));
        assert_eq!(decode(0x700, 0, 0x8_0000), Trap::Offence(Offence::Illegal));
        assert_eq!(decode(0x1234, 0, 0), Trap::Offence(Offence::Unexpected(0x1234)));
    }
}
