//! A trace as text: an event a line, or sums.

use std::collections::BTreeMap;
use std::fmt::Write;

use k42_lib::trace::{Event, Kind, Phase, events};

use super::hypervisor;
use super::record::{Trace, Track, What};

/// Ticks of the timebase in a microsecond.
const TICKS: f64 = domain_builder::TIMEBASE_FREQUENCY as f64 / 1e6;

/// Microseconds since the trace's first event.
pub(super) fn micros(trace: &Trace, time: u64) -> f64 {
    let first = trace.events.first().map_or(0, |happened| happened.time);
    time.saturating_sub(first) as f64 / TICKS
}

/// The declaration of a domain's event, if it is one that this tool knows.
pub(super) fn declared(major: u8, minor: u8, data: &[u64]) -> Option<&'static Event> {
    events::find(major, minor).filter(|event| event.has_words(data.len()))
}

/// A field's value for people.
pub(super) fn value(kind: Kind, words: &[u64]) -> String {
    match (kind, words) {
        (Kind::Text, words) => {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let text = String::from_utf8_lossy(&bytes);
            let text = text.trim_end_matches('\0');
            // Whatever a program writes, it moves nobody's cursor.
            text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
        }
        (Kind::Hex, [word, ..]) => format!("{word:#x}"),
        (Kind::Number, [word, ..]) => format!("{word}"),
        (_, []) => String::new(),
    }
}

/// The fields of an event with their values.
pub(super) fn values(event: &Event, data: &[u64]) -> Vec<(&'static str, String)> {
    let field = |(n, field): (usize, &k42_lib::trace::schema::Field)| {
        (field.name, value(field.kind, data.get(n..).unwrap_or_default()))
    };
    event.fields.iter().enumerate().map(field).collect()
}

/// The name of what happened, and what it says.
pub(super) fn words(what: &What) -> (String, String) {
    let (name, text) = match what {
        What::Hole(words) => ("trace::hole", format!("{words} words are no event")),
        What::Lost(count) => ("trace::lost", format!("{count} lost")),
        What::Domain(major, minor, data) => match declared(*major, *minor, data) {
            Some(event) => {
                let mut text = event.format.to_string();
                for (name, value) in values(event, data) {
                    text = text.replace(&format!("{{{name}}}"), &value);
                }
                return (format!("{}::{}", event.class, event.name), text);
            }
            None => return (format!("{major}::{minor}"), format!("{data:x?}")),
        },
        What::Hypervisor(event) => match event {
            hypervisor::Event::Runs(domain, vcpu) => {
                ("hypervisor::runs", format!("domain {domain}, vCPU {vcpu}"))
            }
            hypervisor::Event::Leaves(domain, vcpu) => {
                ("hypervisor::leaves", format!("domain {domain}, vCPU {vcpu}"))
            }
            hypervisor::Event::Exit(vector, at) => {
                ("hypervisor::exit", format!("vector {vector:#x} at {at:#x}"))
            }
            hypervisor::Event::Call(number, argument) => {
                ("hypervisor::call", format!("{number:#x} of {argument:#x}"))
            }
            hypervisor::Event::Other(event, words) => {
                ("hypervisor::other", format!("{event:#x} {words:x?}"))
            }
        },
    };
    (name.into(), text)
}

/// A track's name.
pub(super) fn track(track: &Track) -> String {
    match track {
        Track::Processor(number) => format!("processor {number}"),
        Track::Vcpu(domain, vcpu) => format!("{domain}/{vcpu}"),
    }
}

/// A line for each event: microseconds since the first, where, what.
pub fn text(trace: &Trace) -> String {
    let mut text = String::new();
    for happened in &trace.events {
        let (name, says) = words(&happened.what);
        let (time, track) = (micros(trace, happened.time), track(&happened.track));
        let _ = writeln!(text, "{time:>14.3} {track:<12} {name:<22} {says}");
    }
    if trace.dropped > 0 {
        let _ = writeln!(text, "{} more events are not kept", trace.dropped);
    }
    text
}

/// What there is of an event.
#[derive(Default)]
struct Sum {
    count: u64,
    /// Time from what began to what ended, and how often.
    time: u64,
    spans: u64,
}

/// A line for each event there is: how often, and for those that end something, how long it took.
pub fn sums(trace: &Trace) -> String {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    // By track and class, what has begun.
    let mut begun: BTreeMap<(&Track, u8), Vec<u64>> = BTreeMap::new();
    for happened in &trace.events {
        let sum = sums.entry(words(&happened.what).0).or_default();
        sum.count += 1;
        let What::Domain(major, minor, data) = &happened.what else { continue };
        let open = begun.entry((&happened.track, *major)).or_default();
        match declared(*major, *minor, data).map(|event| event.phase) {
            Some(Phase::Begins) => open.push(happened.time),
            Some(Phase::Ends) => {
                if let Some(start) = open.pop() {
                    sum.time += happened.time.saturating_sub(start);
                    sum.spans += 1;
                }
            }
            _ => {}
        }
    }
    let mut text = format!("{:>10} {:<24}{:>14}{:>12}\n", "count", "event", "µs", "µs each");
    for (name, sum) in sums {
        let _ = write!(text, "{:>10} {name:<24}", sum.count);
        if sum.spans > 0 {
            let micros = sum.time as f64 / TICKS;
            let _ = write!(text, "{micros:>14.3}{:>12.3}", micros / sum.spans as f64);
        }
        text = text.trim_end().to_string() + "\n";
    }
    text
}
