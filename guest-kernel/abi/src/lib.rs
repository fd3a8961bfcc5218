//! Native system calls: what the library OS asks of the K42 kernel.
//!
//! A program's `sc` with r0 below [`LINUX_CALLS`] is a Linux call and never gets here: the kernel
//! reflects it to the system library. `sc` with r0 = n << 16 is native call n: arguments r3 to r8,
//! result r3, an [`Error`] negated when it failed. One table makes the kernel's decoder
//! ([`Call::decode`]), the user's stubs ([`stub`]) and the names ([`Call::NAMES`]). The objects
//! behind the calls are in `guest-kernel/kernel`, the way in from user mode in `libos`.
#![no_std]
#![forbid(unsafe_code)]

/// Numbers below this one in r0 are Linux system calls.
pub const LINUX_CALLS: u64 = 1 << 16;

/// The kernel's only page size, in bytes.
pub const PAGE_SIZE: u64 = 1 << 16;

/// The most arguments a call has: r3 to r8.
pub const MAX_ARGUMENTS: usize = 6;

/// A deadline that never comes.
pub const FOREVER: u64 = u64::MAX;

/// Why a call failed. The numbers are Linux's, so that the library can pass them on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Error {
    /// The region belongs to the system.
    NotPermitted = 1,
    /// No memory, or no room in the address space.
    NoMemory = 12,
    /// A pointer to nothing, or to what may not be touched like that.
    Fault = 14,
    /// Something is there already.
    Exists = 17,
    /// An argument makes no sense.
    Invalid = 22,
    /// There is no such call.
    NoSuchCall = 38,
}

impl Error {
    /// The value of r3 that says so.
    pub const fn to_register(self) -> u64 {
        (self as u8 as u64).wrapping_neg()
    }
}

/// What a call gives: a value, or why not.
pub type Outcome = Result<u64, Error>;

/// What may be done with a region's bytes: bits of the `protection` arguments.
pub mod protection {
    /// Nothing: a reservation.
    pub const NONE: u64 = 0;
    /// Loads.
    pub const READ: u64 = 1;
    /// Stores.
    pub const WRITE: u64 = 2;
    /// Instruction fetches.
    pub const EXECUTE: u64 = 4;
}

/// Bits of `region_create`'s `flags`.
pub mod region {
    /// The bytes are a private copy of the root file system image from `offset` on, `size` bytes of
    /// it; zeros after them. Without this flag all bytes are zero.
    pub const FILE: u64 = 1;
    /// At `address`, nowhere else; an error when something is there. Without this flag the kernel
    /// chooses the place.
    pub const EXACT: u64 = 2;
    /// With [`EXACT`]: what was there goes.
    pub const REPLACE: u64 = 4;
}

/// The way into the kernel: `sc` with these registers. Returns r3.
pub trait Trap {
    /// Makes the call.
    fn native(&self, r0: u64, arguments: [u64; MAX_ARGUMENTS]) -> u64;
}

macro_rules! native_calls {
    ( $( $(#[doc = $doc:literal])+ $number:literal $name:ident = $variant:ident
         ( $( $argument:ident ),* ); )* ) => {
        /// A native call, decoded.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)] // each call's documentation names its arguments
        pub enum Call {
            $( $(#[doc = $doc])+ $variant { $( $argument: u64 ),* }, )*
        }

        impl Call {
            /// Number and name of every call, in the order of the numbers.
            pub const NAMES: &'static [(u64, &'static str)] = &[ $( ($number, stringify!($name)) ),* ];

            /// The call that r0 and r3.. mean; `None` when there is none with this number.
            pub const fn decode(r0: u64, arguments: [u64; MAX_ARGUMENTS]) -> Option<Call> {
                if r0 & (LINUX_CALLS - 1) != 0 {
                    return None;
                }
                match r0 >> 16 {
                    $( $number => {
                        let [ $( $argument, )* .. ] = arguments;
                        Some(Call::$variant { $( $argument ),* })
                    } )*
                    _ => None,
                }
            }
        }

        /// The user's side: one function a call.
        pub mod stub {
            use super::{MAX_ARGUMENTS, Trap};
            $(
                $(#[doc = $doc])+
                ///
                /// # Errors
                /// The errno of the kernel's refusal ([`super::Error`]).
                #[inline]
                pub fn $name(trap: &(impl Trap + ?Sized) $(, $argument: u64)*) -> Result<u64, u64> {
                    let given: &[u64] = &[ $( $argument ),* ];
                    let mut registers = [0; MAX_ARGUMENTS];
                    for (register, value) in registers.iter_mut().zip(given) {
                        *register = *value;
                    }
                    let result = trap.native($number << 16, registers);
                    if (result as i64) < 0 { Err(result.wrapping_neg()) } else { Ok(result) }
                }
            )*
        }
    };
}

native_calls! {
    /// From now on the program's Linux calls enter user mode at `entry`, a user address.
    1 set_entry_point = SetEntryPoint(entry);
    /// Writes `length` bytes at user address `buffer` to the console. Returns how many.
    2 console_write = ConsoleWrite(buffer, length);
    /// Reads at least one and up to `length` bytes from the console to user address `buffer`,
    /// waiting for them until the timebase reaches `deadline`. Returns how many; 0 at the deadline.
    3 console_read = ConsoleRead(buffer, length, deadline);
    /// Returns when the timebase has reached `deadline`.
    4 wait_until = WaitUntil(deadline);
    /// Makes a region of `length` bytes, a multiple of the page size, with `protection` and `flags`
    /// (see [`region`]; `offset` and `size` in bytes of the image). Returns its address.
    5 region_create = RegionCreate(address, length, protection, flags, offset, size);
    /// Removes whatever regions, or parts of them, lie in `length` bytes from `address`.
    6 region_destroy = RegionDestroy(address, length);
    /// Changes the protection of all of `length` bytes from `address`.
    7 region_protect = RegionProtect(address, length, protection);
    /// Ends the program, and with it the domain, with `status` (its low eight bits).
    8 exit = Exit(status);
    /// Writes one line of the system's own to the console: `length` bytes of text at `buffer`.
    9 log = Log(buffer, length);
    /// Returns how many bytes of memory nobody uses.
    10 free_memory = FreeMemory();
    /// Notes an event of the program's own, two numbers that it knows the meaning of, if such are traced.
    11 trace = Trace(first, second);
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::cell::Cell;

    /// A kernel that notes what arrived.
    struct Wire(Cell<(u64, [u64; MAX_ARGUMENTS])>, u64);

    impl Trap for Wire {
        fn native(&self, r0: u64, arguments: [u64; MAX_ARGUMENTS]) -> u64 {
            self.0.set((r0, arguments));
            self.1
        }
    }

    #[test]
    fn what_a_stub_sends_is_what_the_kernel_decodes() {
        let wire = Wire(Cell::new((0, [0; MAX_ARGUMENTS])), 5);
        assert_eq!(stub::region_create(&wire, 1, 2, 3, 4, 5, 6), Ok(5));
        let (r0, arguments) = wire.0.get();
        let call = Call::RegionCreate {
            address: 1,
            length: 2,
            protection: 3,
            flags: 4,
            offset: 5,
            size: 6,
        };
        assert_eq!(Call::decode(r0, arguments), Some(call));
    }

    #[test]
    fn numbers_that_are_no_native_call_are_refused() {
        let none = [0; MAX_ARGUMENTS];
        for r0 in [0, 1, 0xffff, 0x1_0001, 99 << 16, u64::MAX, 12 << 16] {
            assert_eq!(Call::decode(r0, none), None, "{r0:#x}");
        }
        for (number, name) in Call::NAMES {
            assert!(Call::decode(number << 16, none).is_some(), "{name}");
        }
    }

    #[test]
    fn errors_travel_as_negative_numbers() {
        let wire = Wire(Cell::new((0, [0; MAX_ARGUMENTS])), Error::Fault.to_register());
        assert_eq!(stub::console_write(&wire, 0, 1), Err(14));
    }
}
