//! A trace in the JSON that Perfetto and Chrome read (the Trace Event Format): processors, each
//! domain's vCPUs and each domain's processes are tracks.

use std::collections::BTreeMap;

use k42_lib::trace::Phase;
use serde_json::{Map, Value, json};

use super::hypervisor::Event;
use super::record::{Trace, Track, What};
use super::show::{declared, micros, values, words};

/// The group of the processors' tracks; domains' groups follow, two each.
const PROCESSORS: u64 = 1;

/// The events as the format has them, with the names of tracks.
#[derive(Default)]
struct Export {
    events: Vec<Value>,
    /// Domains in the order in which they were met.
    domains: Vec<String>,
    /// What tracks have been named.
    tracks: BTreeMap<(u64, u64), String>,
    /// Who runs on a processor, or which process on a vCPU: since when, and a name.
    running: BTreeMap<(u64, u64), (f64, String)>,
    /// What has begun on a track, by class.
    open: BTreeMap<(u64, u64), Vec<u8>>,
}

/// The trace as a value to be written to a file.
pub fn export(trace: &Trace) -> Value {
    let mut export = Export::default();
    let mut end = 0.0;
    for happened in &trace.events {
        end = micros(trace, happened.time);
        match (&happened.track, &happened.what) {
            (Track::Processor(number), what) => export.processor(end, *number, what),
            (Track::Vcpu(domain, vcpu), what) => export.vcpu(end, domain, *vcpu, what),
        }
    }
    for place in export.running.keys().copied().collect::<Vec<_>>() {
        export.stops(end, place);
    }
    for ((group, track), open) in std::mem::take(&mut export.open) {
        for _ in open {
            export.events.push(json!({"ph": "E", "ts": end, "pid": group, "tid": track}));
        }
    }
    export.names();
    json!({"displayTimeUnit": "ns", "traceEvents": export.events})
}

impl Export {
    fn processor(&mut self, time: f64, number: u32, what: &What) {
        let place = (PROCESSORS, number.into());
        self.tracks.entry(place).or_insert_with(|| format!("processor {number}"));
        match what {
            What::Hypervisor(Event::Runs(domain, vcpu)) => {
                self.stops(time, place);
                self.running.insert(place, (time, format!("domain {domain}, vCPU {vcpu}")));
            }
            What::Hypervisor(Event::Leaves(..)) => self.stops(time, place),
            what => self.instant(time, place, what, Map::new()),
        }
    }

    fn vcpu(&mut self, time: f64, domain: &str, vcpu: u32, what: &What) {
        let number = self.domains.iter().position(|name| name == domain);
        let number = number.unwrap_or_else(|| {
            self.domains.push(domain.into());
            self.domains.len() - 1
        }) as u64;
        let (vcpus, processes) = (PROCESSORS + 1 + 2 * number, PROCESSORS + 2 + 2 * number);
        let place = (vcpus, vcpu.into());
        self.tracks.entry(place).or_insert_with(|| format!("vCPU {vcpu}"));
        let event = match what {
            What::Domain(major, minor, data) => declared(*major, *minor, data).zip(Some(data)),
            _ => None,
        };
        let Some((event, data)) = event else {
            return self.instant(time, place, what, Map::new());
        };
        let values = values(event, data);
        let fields = values.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let open = self.open.entry(place).or_default();
        match event.phase {
            Phase::Begins => {
                open.push(event.major);
                self.push("B", time, place, what, fields);
            }
            // The innermost span is the one that ends: those of other classes have lost their ends.
            Phase::Ends if open.contains(&event.major) => {
                while let Some(major) = self.open.entry(place).or_default().pop() {
                    self.push("E", time, place, what, Map::new());
                    if major == event.major {
                        break;
                    }
                }
            }
            Phase::Switches => {
                let process = data.first().copied().unwrap_or(0);
                let old = self.running.keys().copied().filter(|(group, _)| *group == processes);
                for place in old.collect::<Vec<_>>() {
                    let on = format!("on vCPU {vcpu}");
                    if self.running.get(&place).is_some_and(|(_, name)| *name == on) {
                        self.stops(time, place);
                    }
                }
                let place = (processes, process);
                self.tracks.entry(place).or_insert_with(|| format!("process {process}"));
                self.running.insert(place, (time, format!("on vCPU {vcpu}")));
            }
            Phase::Ends | Phase::Instant => self.instant(time, place, what, fields),
        }
    }

    /// What runs at this place runs no longer.
    fn stops(&mut self, time: f64, (group, track): (u64, u64)) {
        if let Some((start, name)) = self.running.remove(&(group, track)) {
            let event = json!({"ph": "X", "name": name, "ts": start, "dur": time - start,
                "pid": group, "tid": track});
            self.events.push(event);
        }
    }

    fn instant(&mut self, time: f64, place: (u64, u64), what: &What, fields: Map<String, Value>) {
        self.push("i", time, place, what, fields);
    }

    fn push(
        &mut self,
        phase: &str,
        time: f64,
        (group, track): (u64, u64),
        what: &What,
        mut fields: Map<String, Value>,
    ) {
        let (name, says) = words(what);
        fields.insert("says".into(), says.into());
        let mut event = json!({"ph": phase, "name": name, "ts": time, "pid": group, "tid": track,
            "args": fields});
        if phase == "i" {
            event["s"] = "t".into();
        }
        self.events.push(event);
    }

    /// Says what groups and tracks are called.
    fn names(&mut self) {
        let mut groups = vec![(PROCESSORS, "processors".to_string())];
        for (number, domain) in (0..).zip(&self.domains) {
            groups.push((PROCESSORS + 1 + 2 * number, format!("{domain}: vCPUs")));
            groups.push((PROCESSORS + 2 + 2 * number, format!("{domain}: processes")));
        }
        let group = |(number, name): (u64, String)| json!({"ph": "M", "name": "process_name", "pid": number, "args": {"name": name}});
        let track = |((group, track), name): (&(u64, u64), &String)| {
            json!({"ph": "M", "name": "thread_name", "pid": group, "tid": track,
                "args": {"name": name}})
        };
        self.events.extend(groups.into_iter().map(group));
        let tracks: Vec<Value> = self.tracks.iter().map(track).collect();
        self.events.extend(tracks);
    }
}
