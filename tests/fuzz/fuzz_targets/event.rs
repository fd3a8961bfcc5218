//! libFuzzer on the target `event`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hv_fake::fuzz::event(data));
