//! What the hypervisor says: one line an event, on its own console channel.

use crate::domain::DomainId;
use crate::machine::Machine;
use crate::{Hypervisor, Processor};
use arrayvec::ArrayString;
use core::fmt::{self, Write};
use core::sync::atomic::Ordering;
use k42_wire::{Channel, Event};

/// The longest line; what is longer is cut.
const LINE: usize = 240;

/// A line, finished.
pub(crate) type Line = ArrayString<LINE>;

/// A line that never fails to be written: it is cut at its end.
struct Cut(Line);

impl Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            // A guest's words reach the line too: they shall not break out of it.
            let c = if c.is_control() { '.' } else { c };
            if self.0.try_push(c).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Formats a line.
pub(crate) fn line(text: impl fmt::Display) -> Line {
    let mut line = Cut(ArrayString::new_const());
    let _ = write!(line, "{text}"); // `Cut` does not fail
    line.0
}

impl<M: Machine> Hypervisor<M> {
    /// Says something on channel 0.
    pub(crate) fn say(&self, event: Event<'_>) {
        let line = line(event);
        let mut console = self.console.lock();
        console.write(&self.machine, Channel::HYPERVISOR, line.as_bytes());
        console.write(&self.machine, Channel::HYPERVISOR, b"\n");
    }

    /// Says something that is no domain's event.
    pub fn note(&self, text: fmt::Arguments<'_>) {
        let line = line(text);
        self.say(Event::Note(&line));
    }

    /// Says that a domain's first instruction comes next.
    #[cold]
    #[inline(never)]
    pub(crate) fn announce(&self, processor: &Processor, id: DomainId) {
        let now = self.machine.timebase();
        let Some((name, size)) = self.domain(id).as_ref().map(|d| (d.name, d.memory.size())) else {
            return;
        };
        self.say(Event::Started {
            number: id.number().into(),
            name: &name,
            processor: processor.id.0,
            mebibytes: size >> 20,
            ticks: now.saturating_sub(self.entered.load(Ordering::Relaxed)),
        });
    }
}
