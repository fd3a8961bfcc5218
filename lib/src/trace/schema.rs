//! What an event is, to those who read traces, and the macro that declares events.

/// An event's declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Number of its class, below 64: which bit of a mask switches it.
    pub major: u8,
    /// Name of its class.
    pub class: &'static str,
    /// Its number in the class, below 32; they are dense.
    pub minor: u8,
    /// Its name.
    pub name: &'static str,
    /// Its fields, a word each, but that a text has what is left.
    pub fields: &'static [Field],
    /// What it says, with names of fields in braces.
    pub format: &'static str,
    /// What it means for the time line.
    pub phase: Phase,
}

/// A field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What its words are.
    pub kind: Kind,
}

/// What a field's words are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An address or a set of bits.
    Hex,
    /// A number.
    Number,
    /// UTF-8, eight bytes a word, zeros after it. Always an event's only field.
    Text,
}

/// What an event means for the time line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It happened.
    Instant,
    /// Something begins that the next event of the same class that ends something ends.
    Begins,
    /// It ends.
    Ends,
    /// From now on this vCPU works for the process of the first field.
    Switches,
}

impl Event {
    /// Whether it may have so many words of data.
    pub fn has_words(&self, words: usize) -> bool {
        match self.fields {
            [Field { kind: Kind::Text, .. }] => words > 0,
            fields => words == fields.len(),
        }
    }
}

/// Declares classes of events: a module for each with a function for each event, and [`EVENTS`], the
/// table of all.
///
/// `number name(field: Kind, …) Phase "format"`, in classes `name = number`. Without a phase it is an
/// instant.
///
/// [`EVENTS`]: super::EVENTS
macro_rules! events {
    ( $( $(#[doc = $about:literal])+ $class:ident = $major:literal { $(
        $(#[doc = $doc:literal])+
        $minor:literal $name:ident ( $( $field:ident : $kind:ident ),* ) $($phase:ident)? $format:literal;
    )* } )* ) => {
        $(
            $(#[doc = $about])+
            pub mod $class {
                /// The number of the class: its bit in masks.
                pub const MAJOR: u8 = $major;
                /// The class in a mask.
                pub const MASK: u64 = 1 << MAJOR;
                $( $crate::trace::schema::events!(@function $(#[doc = $doc])+ $minor $name ( $( $field : $kind ),* )); )*
            }
        )*

        /// Every event there is, by class and number.
        pub static EVENTS: &[Event] = &[ $( $( Event {
            major: $major,
            class: stringify!($class),
            minor: $minor,
            name: stringify!($name),
            fields: &[ $( Field { name: stringify!($field), kind: Kind::$kind } ),* ],
            format: $format,
            phase: events!(@phase $($phase)?),
        }, )* )* ];
    };
    (@phase) => { Phase::Instant };
    (@phase $phase:ident) => { Phase::$phase };
    (@function $(#[doc = $doc:literal])+ $minor:literal $name:ident ( $field:ident : Text )) => {
        $(#[doc = $doc])+
        #[inline(always)]
        pub fn $name<T: $crate::trace::Tracer + ?Sized>(tracer: &T, $field: &str) {
            if T::COMPILED && tracer.wants(MASK) {
                const EVENT: u16 = $crate::trace::Head::event(0, MAJOR, $minor);
                tracer.buffer().write_text(|| tracer.now(), EVENT, $field);
            }
        }
    };
    (@function $(#[doc = $doc:literal])+ $minor:literal $name:ident ( $( $field:ident : $kind:ident ),* )) => {
        $(#[doc = $doc])+
        #[inline(always)]
        pub fn $name<T: $crate::trace::Tracer + ?Sized>(tracer: &T $(, $field: u64)*) {
            if T::COMPILED && tracer.wants(MASK) {
                const FIELDS: &[&str] = &[ $( stringify!($field) ),* ];
                const WORDS: usize = FIELDS.len();
                const EVENT: u16 = $crate::trace::Head::event(WORDS, MAJOR, $minor);
                tracer.buffer().write(|| tracer.now(), EVENT, [ $( $field ),* ]);
            }
        }
    };
}
pub(crate) use events;
