//! Passes the linker script.
fn main() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../boot/hypervisor-nested.ld");
    println!("cargo:rerun-if-changed={script}");
    println!("cargo:rustc-link-arg-bins=-T{script}");
}
