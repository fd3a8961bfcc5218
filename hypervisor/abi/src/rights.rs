//! What a domain may ask of the hypervisor. The default is nothing.

bitflags::bitflags! {
    /// A set of rights. A domain's set is fixed when it is built; each hypercall names the one it
    /// needs in its table.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Rights: u32 {
        /// Asking who the hypervisor is, giving up the processor, ending itself.
        const BASIC = 1 << 0;
        /// Its own console channel.
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
    }
}

impl Rights {
    /// What a domain of Xen's personality starts with.
    pub const XEN: Rights =
        Rights::BASIC.union(Rights::CONSOLE).union(Rights::TRANSLATION).union(Rights::EVENTS);
    /// What a domain of PAPR's personality starts with.
    pub const PAPR: Rights =
        Rights::BASIC.union(Rights::CONSOLE).union(Rights::TRANSLATION).union(Rights::PLATFORM);
}
