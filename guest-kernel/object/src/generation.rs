//! How a vCPU knows that every activation has ended which it had at some moment, without a list of
//! them: activations are counted by generation, in two counts in turn (K42's active thread counts).

use core::cell::Cell;

/// A moment on a vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Marker(u64);

/// A vCPU's generations. Activations that begin now are of the current one; the next begins when all
/// have ended of the one before. When two have begun since a moment, all have ended that were there.
pub(crate) struct Generations {
    current: Cell<u64>,
    /// How many activations have not ended, of even and of odd generations. No machine counts to the
    /// end of 64 bits, however many activations are forgotten.
    active: [Cell<u64>; 2],
}

impl Generations {
    pub(crate) const fn new() -> Generations {
        Generations { current: Cell::new(0), active: [Cell::new(0), Cell::new(0)] }
    }

    /// An activation begins; which generation it ends with.
    #[inline]
    pub(crate) fn enter(&self) -> u64 {
        let generation = self.current.get();
        let count = self.count(generation);
        count.set(count.get() + 1);
        generation
    }

    /// An activation of this generation ends.
    #[inline]
    pub(crate) fn leave(&self, generation: u64) {
        let count = self.count(generation);
        count.set(count.get() - 1);
    }

    /// This moment.
    pub(crate) fn now(&self) -> Marker {
        Marker(self.current.get())
    }

    /// Whether all activations have ended that were there at that moment.
    pub(crate) fn elapsed(&self, marker: Marker) -> bool {
        self.current.get() >= marker.0 + 2
    }

    /// Begins the next generation if it may begin, and that after it.
    pub(crate) fn advance(&self) {
        for _ in 0..2 {
            let next = self.current.get() + 1;
            // The one before the current has the next one's count.
            if self.count(next).get() == 0 {
                self.current.set(next);
            }
        }
    }

    fn count(&self, generation: u64) -> &Cell<u64> {
        &self.active[(generation % 2) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn a_vcpu_at_rest_goes_on_at_once() {
        let generations = Generations::new();
        let marker = generations.now();
        assert!(!generations.elapsed(marker));
        generations.advance();
        assert!(generations.elapsed(marker));
    }

    #[test]
    fn an_activation_holds_its_moment_and_no_later_one_for_ever() {
        let generations = Generations::new();
        let (old, first) = (generations.enter(), generations.now());
        generations.advance();
        generations.advance();
        assert!(!generations.elapsed(first));
        let young = generations.enter();
        generations.leave(old);
        generations.advance();
        assert!(generations.elapsed(first));
        let second = generations.now();
        generations.leave(young);
        generations.advance();
        generations.advance();
        assert!(generations.elapsed(second));
    }

    proptest! {
        /// Steps: 0 begins an activation, 1 to 3 end one, 4 and 5 advance, 6 and 7 mark the moment.
        #[test]
        fn what_has_elapsed_has_ended(steps in prop::collection::vec((0u8..8, any::<usize>()), 1..80)) {
            let generations = Generations::new();
            let mut active = Vec::new();
            let mut markers: Vec<(Marker, Vec<usize>)> = Vec::new();
            for (number, (step, which)) in steps.into_iter().enumerate() {
                match step {
                    0 => active.push((number, generations.enter())),
                    1..4 if !active.is_empty() => {
                        let (_, generation) = active.swap_remove(which % active.len());
                        generations.leave(generation);
                    }
                    4 | 5 => generations.advance(),
                    _ => {
                        let there = active.iter().map(|(number, _)| *number).collect();
                        markers.push((generations.now(), there));
                    }
                }
                for (marker, there) in &markers {
                    let lives = there.iter().any(|n| active.iter().any(|(number, _)| number == n));
                    prop_assert!(!(lives && generations.elapsed(*marker)));
                }
            }
            for (_, generation) in active {
                generations.leave(generation);
            }
            generations.advance();
            generations.advance();
            prop_assert!(markers.iter().all(|(marker, _)| generations.elapsed(*marker)));
        }
    }
}
