//! libFuzzer on the target `registers`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hv_fake::fuzz::registers(data));
