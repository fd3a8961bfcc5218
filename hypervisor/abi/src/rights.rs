//! What a domain may ask of the hypervisor. The default is nothing but its own affairs.

bitflags::bitflags! {
    /// A set of rights. A domain's set is fixed when it is built; each hypercall names the one it
    /// needs in its table.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Rights: u32 {
        /// Asking who the hypervisor is, giving up the processor, ending itself.
        const BASIC = 1 << 0;
        /// Writing to its own console channel.
        const CONSOLE = 1 << 1;
        /// Its own translation and interrupt mode: process table, interrupt endianness.
        const TRANSLATION = 1 << 2;
        /// PAPR's interrupt presentation and firmware (RTAS), for Linux.
        const PLATFORM = 1 << 3;
        /// Event channels with other domains.
        const EVENTS = 1 << 4;
        /// Making, changing and ending other domains; looking at the whole machine.
        const CONTROL = 1 << 5;
        /// Lending its pages to other domains, and using theirs.
        const GRANTS = 1 << 6;
        /// A port of the logical LAN.
        const LAN = 1 << 7;
        /// Processor time that is set aside for it.
        const RESERVED = 1 << 8;
        /// Reading what is typed at its console.
        const INPUT = 1 << 9;
    }
}

impl Rights {
    /// What a domain of Xen's personality has of itself: nobody else is concerned.
    pub const XEN: Rights = Rights::BASIC.union(Rights::CONSOLE).union(Rights::TRANSLATION);
    /// What a domain of PAPR's personality has of itself.
    pub const PAPR: Rights = Rights::XEN.union(Rights::PLATFORM);

    /// The rights that are given to a domain one by one, by the names that descriptions use.
    pub const GIVEN: [(&str, Rights); 6] = [
        ("console-input", Rights::INPUT),
        ("events", Rights::EVENTS),
        ("grants", Rights::GRANTS),
        ("lan", Rights::LAN),
        ("reserved-time", Rights::RESERVED),
        ("control", Rights::CONTROL),
    ];

    /// The given rights with these bits; `None` when some bit is none of [`Rights::GIVEN`].
    pub fn given(bits: u32) -> Option<Rights> {
        let rights = Rights::from_bits(bits)?;
        let all = Rights::GIVEN.iter().fold(Rights::empty(), |all, (_, right)| all | *right);
        all.contains(rights).then_some(rights)
    }
}
