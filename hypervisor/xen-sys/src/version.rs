//! Operations of `xen_version` (xen/version.h, xen/features.h).

numbers! {
    /// The version: major in the upper 16 bits, minor in the lower.
    XENVER_VERSION: u32 = 0, "XENVER_version";
    /// The rest of the version's name, 16 bytes of text.
    XENVER_EXTRAVERSION: u32 = 1, "XENVER_extraversion";
    /// One word of feature bits, by [`FeatureInfo`].
    XENVER_GET_FEATURES: u32 = 6, "XENVER_get_features";
    /// The size of a page.
    XENVER_PAGESIZE: u32 = 7, "XENVER_pagesize";

    /// Feature bit: guest real addresses are translated.
    XENFEAT_AUTO_TRANSLATED_PHYSMAP: u32 = 2, "XENFEAT_auto_translated_physmap";
}

structures! {
    /// Argument of `XENVER_get_features`.
    "struct xen_feature_info" FeatureInfo {
        /// In: which word of feature bits.
        submap_idx: u32,
        /// Out: the word.
        submap: u32,
    }
}
