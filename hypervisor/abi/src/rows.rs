//! The tables as rows, for manuals, audits and tests. Nothing of it is in the hypervisor's image.

use crate::Rights;

/// A row of a table, for manuals, audits and tests.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Xen number or PAPR token.
    pub number: u64,
    /// The name its specification gives it.
    pub name: &'static str,
    /// Names of the arguments, r4 first.
    pub arguments: &'static [&'static str],
    /// The right a caller needs.
    pub right: Rights,
    /// Commands, by the first argument, that need another one.
    pub commands: &'static [(u64, Rights)],
    /// One line of documentation.
    pub doc: &'static str,
}

/// Declares a table's rows.
#[macro_export]
#[doc(hidden)]
macro_rules! rows {
    ($call:ident; $( $doc:literal $number:literal $name:ident ( $( $argument:ident ),* )
                     $right:ident ( $( $command:path => $command_right:ident ),* ) )*) => {
        impl $call {
            /// The table, in the order of its numbers.
            pub const ROWS: &'static [$crate::Row] = &[
                $( $crate::Row {
                    number: $number,
                    name: stringify!($name),
                    arguments: &[ $( stringify!($argument) ),* ],
                    right: $crate::Rights::$right,
                    commands: &[ $( ($command as u64, $crate::Rights::$command_right) ),* ],
                    doc: $doc,
                }, )*
            ];
        }
    };
}
