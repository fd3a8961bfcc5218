//! Structures as they lie in a guest's memory: their fields one after the other, little-endian.

/// What has a place in a structure.
pub trait Field: Copy {
    /// Takes it from the front of some bytes; if they are too few it is zero.
    fn take(bytes: &mut &[u8]) -> Self;
    /// Puts it at the front of some bytes, which then begin behind it.
    fn put(self, bytes: &mut &mut [u8]);
    /// The one whose bytes are all zero.
    fn zero() -> Self {
        Self::take(&mut [].as_slice())
    }
}

/// What is passed as a whole.
pub trait Plain: Field {
    /// Its bytes.
    type Bytes: AsRef<[u8]> + AsMut<[u8]>;
    /// Room for them.
    const ROOM: Self::Bytes;
    /// As bytes.
    fn bytes(self) -> Self::Bytes {
        let mut bytes = Self::ROOM;
        self.put(&mut bytes.as_mut());
        bytes
    }
}

// All is inlined, so that a field becomes one load or one store.

/// Makes a structure plain, by the names of all its fields in their order. It has no other holes.
#[macro_export]
macro_rules! plain {
    ($name:ident { $( $field:tt )* }) => {
        impl $crate::plain::Field for $name {
            #[inline(always)]
            fn take(bytes: &mut &[u8]) -> $name {
                $name { $( $field: $crate::plain::Field::take(bytes) ),* }
            }
            #[inline(always)]
            fn put(self, bytes: &mut &mut [u8]) {
                $( $crate::plain::Field::put(self.$field, bytes); )*
            }
        }
        $crate::plain!($name);
    };
    ($name:ident) => {
        impl $crate::plain::Plain for $name {
            type Bytes = [u8; size_of::<$name>()];
            const ROOM: Self::Bytes = [0; size_of::<$name>()];
        }
    };
}

macro_rules! integers {
    ($( $name:ident )*) => { $(
        impl Field for $name {
            #[inline(always)]
            fn take(bytes: &mut &[u8]) -> $name {
                let Some((own, rest)) = bytes.split_first_chunk() else { return 0 };
                *bytes = rest;
                $name::from_le_bytes(*own)
            }
            #[inline(always)]
            fn put(self, bytes: &mut &mut [u8]) {
                if let Some(own) = bytes.split_off_mut(..size_of::<$name>()) {
                    own.copy_from_slice(&self.to_le_bytes());
                }
            }
        }
        plain!($name);
    )* };
}

integers!(u8 i8 u16 i16 u32 i32 u64);

impl<T: Field, const N: usize> Field for [T; N] {
    #[inline(always)]
    fn take(bytes: &mut &[u8]) -> [T; N] {
        core::array::from_fn(|_| T::take(bytes))
    }
    #[inline(always)]
    fn put(self, bytes: &mut &mut [u8]) {
        self.into_iter().for_each(|item| item.put(bytes));
    }
}
