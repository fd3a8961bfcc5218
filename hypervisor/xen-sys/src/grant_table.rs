//! Grant tables of version 1, operations of `grant_table_op` and their arguments
//! (xen/grant_table.h).

use crate::{DomainId, Frame};

/// An entry's number in its domain's grant table (`grant_ref_t`).
pub type Reference = u32;
/// What mapping a grant gives, to unmap it by (`grant_handle_t`).
pub type MapHandle = u32;

numbers! {
    /// Map pages that other domains have granted, by [`MapGrantRef`].
    GNTTABOP_MAP_GRANT_REF: u32 = 0, "GNTTABOP_map_grant_ref";
    /// Unmap them, by [`UnmapGrantRef`].
    GNTTABOP_UNMAP_GRANT_REF: u32 = 1, "GNTTABOP_unmap_grant_ref";
    /// Copy between pages, granted or own, by [`GrantCopy`].
    GNTTABOP_COPY: u32 = 5, "GNTTABOP_copy";
    /// How large is a domain's table? By [`QuerySize`].
    GNTTABOP_QUERY_SIZE: u32 = 6, "GNTTABOP_query_size";
    /// Choose the version of the table's entries, by [`SetVersion`].
    GNTTABOP_SET_VERSION: u32 = 8, "GNTTABOP_set_version";
    /// Which is it? By [`GetVersion`].
    GNTTABOP_GET_VERSION: u32 = 10, "GNTTABOP_get_version";

    /// The entry lets its domain map its frame.
    GTF_PERMIT_ACCESS: u16 = 1, "GTF_permit_access";
    /// The bits of an entry's type.
    GTF_TYPE_MASK: u16 = 3, "GTF_type_mask";
    /// The frame may only be read.
    GTF_READONLY: u16 = 1 << 2, "GTF_readonly";
    /// Set by the hypervisor: the frame is mapped to be read.
    GTF_READING: u16 = 1 << 3, "GTF_reading";
    /// Set by the hypervisor: the frame is mapped to be written.
    GTF_WRITING: u16 = 1 << 4, "GTF_writing";

    /// Map for the processor.
    GNTMAP_HOST_MAP: u32 = 1 << 1, "GNTMAP_host_map";
    /// Map to be read only.
    GNTMAP_READONLY: u32 = 1 << 2, "GNTMAP_readonly";
    /// The source is a grant, not a frame of the caller's.
    GNTCOPY_SOURCE_GREF: u16 = 1, "GNTCOPY_source_gref";
    /// The destination is a grant, not a frame of the caller's.
    GNTCOPY_DEST_GREF: u16 = 1 << 1, "GNTCOPY_dest_gref";

    /// Done.
    GNTST_OKAY: i16 = 0, "GNTST_okay";
    /// Refused for a reason that has no number.
    GNTST_GENERAL_ERROR: i16 = -1, "GNTST_general_error";
    /// There is no such domain.
    GNTST_BAD_DOMAIN: i16 = -2, "GNTST_bad_domain";
    /// There is no such entry, or it grants nothing to the caller.
    GNTST_BAD_GNTREF: i16 = -3, "GNTST_bad_gntref";
    /// There is no such mapping.
    GNTST_BAD_HANDLE: i16 = -4, "GNTST_bad_handle";
    /// The address is none to map at.
    GNTST_BAD_VIRT_ADDR: i16 = -5, "GNTST_bad_virt_addr";
    /// Too many mappings.
    GNTST_NO_DEVICE_SPACE: i16 = -7, "GNTST_no_device_space";
    /// The entry allows less than was asked for.
    GNTST_PERMISSION_DENIED: i16 = -8, "GNTST_permission_denied";
    /// The frame is not the granting domain's memory.
    GNTST_BAD_PAGE: i16 = -9, "GNTST_bad_page";
    /// A copy crosses the end of a page.
    GNTST_BAD_COPY_ARG: i16 = -10, "GNTST_bad_copy_arg";
    /// Not now; try again.
    GNTST_EAGAIN: i16 = -12, "GNTST_eagain";
}

structures! {
    /// An entry of a grant table.
    "struct grant_entry_v1" Entry {
        /// `GTF_*`; written last.
        flags: u16,
        /// Who may map the frame.
        domid: DomainId,
        /// The frame.
        frame: u32,
    }

    /// Argument of `GNTTABOP_map_grant_ref`.
    "struct gnttab_map_grant_ref" MapGrantRef {
        /// In: where to map it, a guest real address.
        host_addr: u64,
        /// In: `GNTMAP_*`.
        flags: u32,
        /// In: the entry.
        r#ref: Reference,
        /// In: whose entry.
        dom: DomainId,
        /// Out: one of `GNTST_*`.
        status: i16,
        /// Out: what to unmap it by.
        handle: MapHandle,
        /// Out: for devices; 0.
        dev_bus_addr: u64,
    }

    /// Argument of `GNTTABOP_unmap_grant_ref`.
    "struct gnttab_unmap_grant_ref" UnmapGrantRef {
        /// In: where it is mapped.
        host_addr: u64,
        /// In: for devices; 0.
        dev_bus_addr: u64,
        /// In: what mapping it gave.
        handle: MapHandle,
        /// Out: one of `GNTST_*`.
        status: i16,
        /// A hole.
        _hole: [u8; 2],
    }

    /// One end of a copy.
    "struct gnttab_copy_ptr" CopyEnd {
        /// The entry, in the lower 32 bits, or the frame.
        u: Frame,
        /// Whose.
        domid: DomainId,
        /// Where in the page.
        offset: u16,
        /// A hole.
        _hole: [u8; 4],
    }

    /// Argument of `GNTTABOP_copy`.
    "struct gnttab_copy" GrantCopy {
        /// In: from where.
        source: CopyEnd,
        /// In: to where.
        dest: CopyEnd,
        /// In: how many bytes.
        len: u16,
        /// In: `GNTCOPY_*`.
        flags: u16,
        /// Out: one of `GNTST_*`.
        status: i16,
        /// A hole.
        _hole: [u8; 2],
    }

    /// Argument of `GNTTABOP_query_size`.
    "struct gnttab_query_size" QuerySize {
        /// In: whose table.
        dom: DomainId,
        /// A hole.
        _hole: [u8; 2],
        /// Out: pages of the table.
        nr_frames: u32,
        /// Out: pages that it may have.
        max_nr_frames: u32,
        /// Out: one of `GNTST_*`.
        status: i16,
        /// A hole.
        _hole_after: [u8; 2],
    }

    /// Argument of `GNTTABOP_set_version`.
    "struct gnttab_set_version" SetVersion {
        /// In: wanted; out: in force.
        version: u32,
    }

    /// Argument of `GNTTABOP_get_version`.
    "struct gnttab_get_version" GetVersion {
        /// In: whose table.
        dom: DomainId,
        /// Unused.
        pad: u16,
        /// Out.
        version: u32,
    }
}
