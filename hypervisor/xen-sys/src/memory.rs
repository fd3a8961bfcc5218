//! Operations of `memory_op` and their arguments (xen/memory.h).

use crate::{DomainId, Frame, Handle};

numbers! {
    /// Get memory, wherever it is.
    XENMEM_INCREASE_RESERVATION: u32 = 0, "XENMEM_increase_reservation";
    /// Give memory back.
    XENMEM_DECREASE_RESERVATION: u32 = 1, "XENMEM_decrease_reservation";
    /// The highest frame of the machine.
    XENMEM_MAXIMUM_RAM_PAGE: u32 = 2, "XENMEM_maximum_ram_page";
    /// Pages that a domain has.
    XENMEM_CURRENT_RESERVATION: u32 = 3, "XENMEM_current_reservation";
    /// Pages that it may have.
    XENMEM_MAXIMUM_RESERVATION: u32 = 4, "XENMEM_maximum_reservation";
    /// Get memory at given frames.
    XENMEM_POPULATE_PHYSMAP: u32 = 6, "XENMEM_populate_physmap";
    /// Map a page that the hypervisor has for the domain, by [`AddToPhysmap`].
    XENMEM_ADD_TO_PHYSMAP: u32 = 7, "XENMEM_add_to_physmap";
    /// Which memory does the domain have? By [`MemoryMap`].
    XENMEM_MEMORY_MAP: u32 = 9, "XENMEM_memory_map";
    /// The highest frame of a domain.
    XENMEM_MAXIMUM_GPFN: u32 = 14, "XENMEM_maximum_gpfn";
    /// Take a page out of the domain's memory, by [`RemoveFromPhysmap`].
    XENMEM_REMOVE_FROM_PHYSMAP: u32 = 15, "XENMEM_remove_from_physmap";
    /// Map many of them, by [`AddToPhysmapBatch`].
    XENMEM_ADD_TO_PHYSMAP_BATCH: u32 = 23, "XENMEM_add_to_physmap_batch";

    /// Space: the page of `shared_info`.
    XENMAPSPACE_SHARED_INFO: u32 = 0, "XENMAPSPACE_shared_info";
    /// Space: the pages of the grant table.
    XENMAPSPACE_GRANT_TABLE: u32 = 1, "XENMAPSPACE_grant_table";
    /// Space: another domain's memory.
    XENMAPSPACE_GMFN_FOREIGN: u32 = 4, "XENMAPSPACE_gmfn_foreign";
}

structures! {
    /// Argument of `XENMEM_populate_physmap` and of increase and decrease of the reservation.
    "struct xen_memory_reservation" Reservation {
        /// The frames, a [`Frame`] each.
        extent_start: Handle,
        /// How many extents.
        nr_extents: u64,
        /// Each is 2^order pages.
        extent_order: u32,
        /// Flags.
        mem_flags: u32,
        /// Whose memory.
        domid: DomainId,
        /// A hole.
        _hole: [u8; 6],
    }

    /// Argument of `XENMEM_add_to_physmap`.
    "struct xen_add_to_physmap" AddToPhysmap {
        /// Whose memory.
        domid: DomainId,
        /// Pages, where the space is a range.
        size: u16,
        /// One of `XENMAPSPACE_*`.
        space: u32,
        /// Which page of the space.
        idx: u64,
        /// Where it shall be.
        gpfn: Frame,
    }

    /// Argument of `XENMEM_add_to_physmap_batch`.
    "struct xen_add_to_physmap_batch" AddToPhysmapBatch {
        /// Whose memory.
        domid: DomainId,
        /// One of `XENMAPSPACE_*`.
        space: u16,
        /// How many pages.
        size: u16,
        /// Whose pages, where the space is another domain's memory.
        u: DomainId,
        /// Which pages of the space: a number each.
        idxs: Handle,
        /// Where they shall be: a [`Frame`] each.
        gpfns: Handle,
        /// Out: an error or 0 for each, of type `i32`.
        errs: Handle,
    }

    /// Argument of `XENMEM_remove_from_physmap`.
    "struct xen_remove_from_physmap" RemoveFromPhysmap {
        /// Whose memory.
        domid: DomainId,
        /// A hole.
        _hole: [u8; 6],
        /// Which page.
        gpfn: Frame,
    }

    /// Argument of `XENMEM_memory_map`.
    "struct xen_memory_map" MemoryMap {
        /// In: room in the buffer; out: entries.
        nr_entries: u32,
        /// A hole.
        _hole: [u8; 4],
        /// The entries.
        buffer: Handle,
    }
}
