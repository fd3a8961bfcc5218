//! The macro behind both tables, and the few types it speaks of. What it makes for guests is in
//! [`crate::guest`], what for people in [`crate::rows`].

use k42_lib::GuestAddr;

/// The most arguments a call has: r4 to r12.
pub const MAX_ARGUMENTS: usize = 9;

/// A kind of argument: how it comes in a register.
pub trait Argument {
    /// Takes it from a register: no side effect, no judgement.
    fn from_register(value: u64) -> Self;
}

impl Argument for u64 {
    fn from_register(value: u64) -> u64 {
        value
    }
}

impl Argument for GuestAddr {
    fn from_register(value: u64) -> GuestAddr {
        GuestAddr::new(value)
    }
}

/// Declares a personality's calls. See [`crate::xen`] for what a row looks like.
#[macro_export]
#[doc(hidden)]
macro_rules! hypercall_table {
    (
        $(#[$meta:meta])*
        pub enum $call:ident, numbered by $encode:path;
        $( #[doc = $doc:literal] $number:literal $name:ident = $variant:ident
           ( $( $argument:ident : $type:ty ),* )
           needs $right:ident $( ( $( $command:path => $command_right:ident ),* ) )?; )*
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)] // each argument is named by the specification its call cites
        pub enum $call {
            $( #[doc = $doc] $variant { $( $argument: $type ),* }, )*
        }

        impl $call {
            /// The call with this number and these arguments (r4 first); `None` when there is none.
            #[inline]
            pub fn decode(number: u64, arguments: &[u64; $crate::table::MAX_ARGUMENTS]) -> Option<$call> {
                $call::serve(number, arguments, |call| call)
            }

            /// What `serve` makes of it. It is compiled for each call by itself, so that none is
            /// looked for twice.
            #[inline(always)]
            pub fn serve<T>(
                number: u64,
                arguments: &[u64; $crate::table::MAX_ARGUMENTS],
                serve: impl FnOnce(Option<$call>) -> T,
            ) -> T {
                match number {
                    $( $number => {
                        let [ $( $argument, )* .. ] = *arguments;
                        serve(Some($call::$variant {
                            $( $argument: <$type as $crate::Argument>::from_register($argument) ),*
                        }))
                    } )*
                    _ => serve(None),
                }
            }

            /// The right this call needs.
            #[inline]
            pub const fn right(&self) -> $crate::Rights {
                match self {
                    $(
                        $( $( $call::$variant { command, .. } if *command == $command as u64 => {
                            $crate::Rights::$command_right
                        } )* )?
                        $call::$variant { .. } => $crate::Rights::$right,
                    )*
                }
            }

            /// Its name.
            pub const fn name(&self) -> &'static str {
                match self { $( $call::$variant { .. } => stringify!($name), )* }
            }
        }

        $crate::rows! { $call; $( $doc $number $name ( $( $argument ),* )
                                  $right ( $( $( $command => $command_right ),* )? ) )* }
        $crate::guest_side! { $encode; $( $doc $number $name ( $( $argument: $type ),* ) )* }
    };
}
