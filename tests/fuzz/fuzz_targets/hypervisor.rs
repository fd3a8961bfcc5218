//! libFuzzer on the target `hypervisor`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hv_fake::fuzz::hypervisor(data));
