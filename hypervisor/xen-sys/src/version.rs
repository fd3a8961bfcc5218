//! Operations of `xen_version` (xen/version.h).

numbers! {
    /// The version: major in the upper 16 bits, minor in the lower.
    XENVER_VERSION: u32 = 0, "XENVER_version";
}
