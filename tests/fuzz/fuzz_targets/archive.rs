//! libFuzzer on the target `archive`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hv_fake::fuzz::archive(data));
