//! Image (target only).
#![no_std]
#![no_main]
