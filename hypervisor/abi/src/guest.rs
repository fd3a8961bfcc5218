//! The guest's side of the tables: a function for each call. Nothing of it is in the hypervisor's
//! image.

use crate::table::MAX_ARGUMENTS;
use crate::{Number, XEN_MARK};
use k42_lib::GuestAddr;

/// A guest's way into the hypervisor: `sc 1` with these registers. Returns r3 to r12.
pub trait Trap {
    /// Makes the call.
    fn hypercall(&self, r3: u64, arguments: [u64; MAX_ARGUMENTS]) -> [u64; MAX_ARGUMENTS + 1];
}

/// A kind of argument: how it goes into a register.
pub trait Given {
    /// Puts it in a register.
    fn to_register(self) -> u64;
}

impl Given for u64 {
    fn to_register(self) -> u64 {
        self
    }
}

impl Given for GuestAddr {
    fn to_register(self) -> u64 {
        self.value()
    }
}

impl Number {
    /// The value of r3 that makes the call.
    pub const fn encode(self) -> u64 {
        match self {
            Number::Xen(number) => XEN_MARK | number,
            Number::Token(token) => token,
        }
    }
}

/// An argument of `domctl`: what every command has, its own, and room: the hypervisor reads as much
/// as the longest command has.
#[repr(C)]
pub struct Domctl<T> {
    /// The command.
    pub command: u32,
    /// The version of the interface.
    pub version: u32,
    /// The domain it is about.
    pub domain: u16,
    /// A hole.
    pub pad: [u16; 3],
    /// The command's own argument.
    pub own: T,
    /// Room.
    pub rest: [u64; 16],
}

/// The same of `sysctl`.
#[repr(C)]
pub struct Sysctl<T> {
    /// The command.
    pub command: u32,
    /// The version of the interface.
    pub version: u32,
    /// The command's own argument.
    pub own: T,
    /// Room.
    pub rest: [u64; 16],
}

/// Declares the module `stub` of a table: one function a row. Each returns r3 to r12 as the
/// hypervisor left them.
#[macro_export]
#[doc(hidden)]
macro_rules! guest_side {
    ($encode:path; $( $doc:literal $number:literal $name:ident
                      ( $( $argument:ident : $type:ty ),* ) )*) => {
        /// The guest's side: one function a row. Each returns r3 to r12 as the hypervisor left them.
        pub mod stub {
            #[allow(unused_imports)] // a table may use one of the two
            use k42_lib::GuestAddr;
            use $crate::table::MAX_ARGUMENTS;
            $(
                #[doc = $doc]
                #[inline]
                #[allow(clippy::too_many_arguments)] // a call has as many as its specification says
                pub fn $name(trap: &impl $crate::Trap $(, $argument: $type )*) -> [u64; MAX_ARGUMENTS + 1] {
                    let given: &[u64] = &[ $( <$type as $crate::guest::Given>::to_register($argument) ),* ];
                    let mut registers = [0; MAX_ARGUMENTS];
                    for (register, value) in registers.iter_mut().zip(given) {
                        *register = *value;
                    }
                    trap.hypercall($encode($number).encode(), registers)
                }
            )*
        }
    };
}
