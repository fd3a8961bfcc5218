//! What is in a trace buffer (xen/trace.h). A record is a word, the timebase in two, and up to seven
//! of its own: the first word has the event in its low 28 bits, the number of own words above, and
//! on top a bit that says that the time is there.

numbers! {
    /// Where in a record's first word the number of its own words is.
    TRACE_EXTRA_SHIFT: u32 = 28, "TRACE_EXTRA_SHIFT";
    /// All events.
    TRC_ALL: u32 = 0x0fff_f000, "TRC_ALL";
    /// Events: so many bytes of records had no room; one own word.
    TRC_LOST_RECORDS: u32 = 0x1_f001, "TRC_LOST_RECORDS";
    /// No event: what is left at the buffer's end. Without a time.
    TRC_TRACE_WRAP_BUFFER: u32 = 0x1_f002, "TRC_TRACE_WRAP_BUFFER";
    /// A vCPU leaves its processor: domain, vCPU.
    TRC_SCHED_SWITCH_INFPREV: u32 = 0x2_800e, "TRC_SCHED_SWITCH_INFPREV";
    /// A vCPU gets a processor: domain, vCPU.
    TRC_SCHED_SWITCH_INFNEXT: u32 = 0x2_800f, "TRC_SCHED_SWITCH_INFNEXT";
    /// A guest exits for an interrupt: vector, instruction (low word, high word).
    TRC_HVM_VMEXIT64: u32 = 0x8_1102, "TRC_HVM_VMEXIT64";
    /// A guest makes a hypercall: its number.
    TRC_HVM_VMMCALL: u32 = 0x8_2012, "TRC_HVM_VMMCALL";
}

structures! {
    /// What a processor's buffer begins with; records follow. Both are offsets into twice the space
    /// for records, so that full and empty differ.
    "struct t_buf" Buffer {
        /// Where the reader goes on.
        cons: u32,
        /// Where the hypervisor goes on.
        prod: u32,
    }
}
