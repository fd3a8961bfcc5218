//! Where things are: paths in descriptions count from the top of the source tree.

use std::path::{Path, PathBuf};

use boot_archive::Machine;

/// The hypervisor's image, which the firmware loads.
pub const HYPERVISOR: &str = "target/images/hypervisor";
/// The same for a partition that has guests of its own.
pub const HYPERVISOR_NESTED: &str = "target/images/hypervisor-nested";
/// What the names of images end in that check the hypervisor's state when a guest asks, for tests.
pub const WALKER: &str = "-walker";
/// The guest kernel of K42 domains.
pub const GUEST_KERNEL: &str = "target/images/guest-kernel";
/// The kernel of controllers.
pub const CONTROLLER: &str = "target/images/controller";
/// The kernel of storage domains.
pub const STORAGE: &str = "target/images/storage";
/// The system library of K42 domains.
pub const LINUX_COMPAT: &str = "target/images/linux-compat";
/// The root file system of K42 domains that name none.
pub const ROOT: &str = "target/inputs/root.cpio";
/// Where a machine's archive and logs go, in a folder of its name.
pub const RUN: &str = "target/run";

/// The top of the source tree: the one that this tool was built from, or what `K42_TOP` in the
/// environment names.
pub fn top() -> PathBuf {
    if let Some(top) = std::env::var_os("K42_TOP") {
        return top.into();
    }
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    top.canonicalize().unwrap_or(top)
}

/// The image that this machine needs.
pub fn hypervisor(model: Machine) -> &'static str {
    if model.is_nested() { HYPERVISOR_NESTED } else { HYPERVISOR }
}

/// How to come by a file that is not there, for the end of an error.
pub fn remedy(path: &str) -> &'static str {
    if path.ends_with(WALKER) {
        "`make walker` makes it"
    } else if path.starts_with("target/images/") {
        "`make build` makes it"
    } else if path == "target/inputs/debian.img" {
        "`make debian` makes it"
    } else if path.starts_with("target/inputs/") {
        "`make setup` fetches it"
    } else {
        "paths count from the top of the source tree"
    }
}
