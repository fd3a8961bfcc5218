//! A vCPU's vector and floating-point registers. `vsx.S` moves them.

/// Vector and floating-point registers, FPSCR and VSCR, as `vsx.S` lays them out.
#[repr(C, align(16))]
pub struct Vectors([u8; 1056]);

unsafe extern "C" {
    fn vsx_save(area: *mut Vectors);
    fn vsx_load(area: *const Vectors);
}

impl Vectors {
    /// All zero.
    pub const ZERO: Vectors = Vectors([0; 1056]);

    /// Fills it from the processor, inside [`crate::spr::with_vectors`].
    pub fn save(&mut self) {
        // SAFETY: the area is as large as `vsx.S` fills; vectors are on.
        unsafe { vsx_save(self) };
    }

    /// Loads the processor from it, inside [`crate::spr::with_vectors`].
    pub fn load(&self) {
        // SAFETY: the area was filled by `vsx_save` or is zero; no Rust code has vectors live.
        unsafe { vsx_load(self) };
    }
}
