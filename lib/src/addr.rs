//! A type for every kind of address, so that one kind cannot be used as another.
//!
//! Only whoever owns a translation may turn one kind into the next: the hypervisor's partition
//! tables make real addresses of guest addresses, a kernel's trees make guest addresses of
//! effective ones.

use core::fmt;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name(u64);

        impl $name {
            /// The address with this value.
            pub const fn new(value: u64) -> Self {
                Self(value)
            }
            /// The address as a number.
            pub const fn value(self) -> u64 {
                self.0
            }
            /// The address `bytes` further on; `None` past the end of the address space.
            pub const fn checked_add(self, bytes: u64) -> Option<Self> {
                match self.0.checked_add(bytes) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }
            /// The address `bytes` further on, modulo 2^64.
            pub const fn offset(self, bytes: u64) -> Self {
                Self(self.0.wrapping_add(bytes))
            }
            /// The address rounded down to a multiple of `size`, a power of two.
            pub const fn align_down(self, size: u64) -> Self {
                Self(self.0 & !(size - 1))
            }
            /// How far the address lies above the last multiple of `size`, a power of two.
            pub const fn offset_in(self, size: u64) -> u64 {
                self.0 & (size - 1)
            }
            /// Whether the address is a multiple of `size`, a power of two.
            pub const fn is_aligned(self, size: u64) -> bool {
                self.offset_in(size) == 0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    };
}

address! {
    /// An address of the machine's real storage. Only the hypervisor has these.
    RealAddr
}
address! {
    /// A guest real address: what a domain takes for real storage. From a domain it is an
    /// allegation, and gives no access until the domain's own tables have translated it.
    GuestAddr
}
address! {
    /// An address on a domain's I/O bus: what it names memory by to its virtual devices. An
    /// allegation, as a guest real address is.
    BusAddr
}
address! {
    /// An effective address: what an instruction computes.
    EffAddr
}
