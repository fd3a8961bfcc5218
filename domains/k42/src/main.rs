//! k42.
fn main() {}
