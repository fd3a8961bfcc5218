//! PAPR's interrupt presentation (XICS, LoPAR chapter 6.5): the state of one vCPU's controller.
//! Only inter-processor interrupts have a source so far. Smaller numbers are more urgent.

/// The lowest priority: nothing is asked for, everything is let through.
pub const IDLE: u8 = 0xff;
/// The source number of an inter-processor interrupt.
const IPI: u32 = 2;

/// A vCPU's interrupt presentation controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presentation {
    /// The processor's priority: only more urgent interrupts come through (CPPR).
    priority: u8,
    /// The priority of the inter-processor interrupt somebody asks for (MFRR).
    pub request: u8,
}

impl Presentation {
    /// A controller that lets nothing through, as after a reset.
    pub(crate) const fn new() -> Presentation {
        Presentation { priority: 0, request: IDLE }
    }

    /// Whether an interrupt waits that the processor would take.
    pub const fn pending(&self) -> bool {
        self.request < self.priority
    }

    /// What accepting would give: the priority and the source, 0 for none (XIRR).
    pub const fn peek(&self) -> u32 {
        ((self.priority as u32) << 24) | if self.pending() { IPI } else { 0 }
    }

    /// Accepts the pending interrupt.
    pub fn accept(&mut self) -> u32 {
        let xirr = self.peek();
        self.priority = self.priority.min(self.request);
        xirr
    }

    /// Sets the processor's priority, the low byte of a register, or ends an interrupt with its old.
    pub fn set_priority(&mut self, priority: u64) {
        [self.priority, ..] = priority.to_le_bytes();
    }

    /// Asks for an inter-processor interrupt, the low byte of a register; [`IDLE`] takes it back.
    pub fn request(&mut self, priority: u64) {
        [self.request, ..] = priority.to_le_bytes();
    }
}
