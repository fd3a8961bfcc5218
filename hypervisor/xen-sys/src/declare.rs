//! The two macros that declare the interface. Each keeps, for the tests, a list of what it has
//! declared, so that nothing can be added that is not compared with Xen's own.

/// Constants, each with its name in C.
macro_rules! numbers {
    ($( $(#[$doc:meta])* $name:ident: $type:ty = $value:expr, $c:literal; )*) => {
        $( $(#[$doc])* pub const $name: $type = $value; )*

        /// Each number's name in C, and its value.
        #[cfg(test)]
        pub(crate) const NUMBERS: &[(&str, i64)] = &[ $( ($c, $name as i64), )* ];
    };
}

/// Structures, each with its name in C. A field whose name begins with `_` is a hole in the C
/// structure: there are no others, so every byte of a structure is defined and may be shown to a
/// guest.
macro_rules! structures {
    ($( $(#[$doc:meta])* $c:literal $name:ident {
        $( $(#[$field_doc:meta])* $field:ident: $type:ty, )*
    } )*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            #[repr(C)]
            pub struct $name { $( $(#[$field_doc])* pub $field: $type, )* }

            const _: () = assert!(size_of::<$name>() == 0 $( + size_of::<$type>() )*);

            $crate::plain!($name { $($field)* });
        )*

        /// Each structure's name in C, its size, and its fields' names, offsets and sizes.
        #[cfg(test)]
        pub(crate) const STRUCTURES: &[crate::tests::Structure] = &[ $(
            crate::tests::Structure {
                c: $c,
                size: size_of::<$name>(),
                fields: &[ $(
                    (stringify!($field), core::mem::offset_of!($name, $field), size_of::<$type>()),
                )* ],
            },
        )* ];
    };
}
