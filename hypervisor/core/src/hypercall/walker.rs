//! The hypercall by which a guest of a test has the walker look at all of the hypervisor.
//!
//! Other processors work meanwhile. So a complaint is the end only if [`LOOKS`] looks in a row find
//! something wrong: what is on its way under no lock arrives, what is broken for good stays.

use crate::Hypervisor;
use crate::machine::Machine;
use core::fmt::{self, Write};

/// The Xen number of the hypercall: of those that Xen leaves to an architecture, the last.
pub(super) const NUMBER: u64 = 55;
/// So many looks in a row that find something wrong are the end, with a pause between two that is
/// twice as long each time: on a busy host the processor that holds something up may itself be held
/// up, for as long as a hundred looks take.
const LOOKS: u32 = 16;
const PAUSE: u64 = 10_000;

impl<M: Machine> Hypervisor<M> {
    /// Gives the number of leaves that all domains' tables have.
    ///
    /// # Panics
    /// Something is not as it has to be.
    #[allow(clippy::panic)] // the machine is to stop: this is for tests
    pub(super) fn walk_for_guest(&self) -> i64 {
        let mut complaints = heapless::String::<400>::new();
        for look in 0..LOOKS {
            let (mut right, mut leaves) = (true, 0_i64);
            complaints.clear();
            let mut wrong = |what: fmt::Arguments<'_>| {
                let and = if core::mem::take(&mut right) { "" } else { " and " };
                let _ = write!(complaints, "{and}{what}"); // as far as there is room
            };
            self.walk(&mut wrong, &mut |_, _| leaves = leaves.saturating_add(1));
            if right {
                return leaves;
            }
            for turn in 0..PAUSE << look {
                // Others get on. The hint alone is nothing on Power, and such a loop would be none.
                core::hint::spin_loop();
                core::hint::black_box(turn);
            }
        }
        panic!("the walker: {complaints}");
    }
}
