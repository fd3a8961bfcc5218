use super::record::{Happened, Track, What};
use super::*;
use k42_lib::trace::{Buffer, Tracer, events};
use proptest::prelude::*;
use std::cell::Cell;
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicU64;
use tempfile::NamedTempFile;

/// A domain's vCPU as the host may have one.
struct Vcpu(Box<Buffer>, Cell<u64>);

impl Tracer for Vcpu {
    type Word = AtomicU64;

    fn now(&self) -> u64 {
        self.1.set(self.1.get() + 512);
        self.1.get()
    }

    fn buffer(&self) -> &Buffer {
        &self.0
    }
}

/// A machine's memory of 2 MiB.
struct Machine(NamedTempFile);

impl Machine {
    fn new() -> Machine {
        let file = NamedTempFile::new().unwrap();
        file.as_file().set_len(2 << 20).unwrap();
        Machine(file)
    }

    fn store(&self, at: u64, words: impl IntoIterator<Item = u64>) {
        let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        self.0.as_file().write_all_at(&bytes, at).unwrap();
    }

    fn recorder(&self, domain: Option<&str>) -> Recorder {
        Recorder::new(Memory::open(self.0.path()).unwrap(), domain)
    }
}

/// A vCPU that wants all of its domain's events.
fn vcpu(name: &str) -> Vcpu {
    let buffer = Box::new(Buffer::default());
    buffer.start(2, 0, name);
    buffer.switch(!0);
    Vcpu(buffer, Cell::new(512_000))
}

/// A fault within a trap of a process.
fn fault(vcpu: &Vcpu) {
    events::process::switch(vcpu, 7);
    events::trap::trap(vcpu, 0x300, 4);
    events::mem::fault_start(vcpu, 0x1000, 2);
    events::mem::hat(vcpu, 0x1000, 0x2_0000);
    events::user::text(vcpu, "a \x1b text");
    events::mem::fault_end(vcpu, 0x1000, 0);
    events::trap::resume(vcpu, 4);
}

/// The list and the buffer of one processor at 1 MiB, with these records.
fn hypervisor(machine: &Machine, records: &[[u64; 3]]) {
    let first: u64 = (1 << 20) + (64 << 10);
    machine.store(1 << 20, [16 | 32 << 16]);
    let pages = (first >> 12..).step_by(2).take(8).map(|page| page | (page + 1) << 32);
    machine.store((1 << 20) + 128, pages);
    machine.store(first, [(records.len() as u64 * 24) << 32]);
    machine.store(first + 8, records.iter().copied().flatten());
}

#[test]
fn what_all_wrote_is_on_one_time_line() {
    let (machine, vcpu) = (Machine::new(), vcpu("one"));
    fault(&vcpu);
    machine.store(512 << 10, vcpu.0.copy());
    let runs = [0x2_800f | 512_100 << 32, 1 << 32, 0];
    let call = [0x8_2012 | 514_100 << 32, 0x37c << 32, 5];
    hypervisor(&machine, &[runs, call]);
    let trace = machine.recorder(None).finish().unwrap();
    let lines: Vec<String> = show::text(&trace).lines().map(String::from).collect();
    let says = |n: usize| lines[n].split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(lines.len(), 9, "{lines:#?}");
    assert_eq!(says(0), "0.000 processor 0 hypervisor::runs domain 1, vCPU 0");
    assert_eq!(says(1), "1.805 one/2 process::switch process 7 runs");
    assert_eq!(says(3), "3.805 one/2 mem::fault_start fault at 0x1000, access 0x2");
    assert_eq!(says(4), "3.906 processor 0 hypervisor::call 0x37c of 0x5");
    assert_eq!(says(6), "5.805 one/2 user::text a ? text");
    let sums = show::sums(&trace);
    let ends = sums.lines().find(|line| line.contains("fault_end")).unwrap();
    assert_eq!(
        ends.split_whitespace().collect::<Vec<_>>(),
        ["1", "mem::fault_end", "3.000", "3.000"]
    );
    // The records have been taken out.
    let only = machine.recorder(None).finish().unwrap().events;
    assert!(only.iter().all(|event| event.track != Track::Processor(0)), "{only:?}");
}

#[test]
fn perfetto_gets_processors_vcpus_and_processes() {
    let (machine, vcpu) = (Machine::new(), vcpu("one"));
    fault(&vcpu);
    machine.store(512 << 10, vcpu.0.copy());
    hypervisor(&machine, &[[0x2_800f | 512_100 << 32, 1 << 32, 0]]);
    let trace = machine.recorder(None).finish().unwrap();
    let json = chrome::export(&trace);
    let list = json["traceEvents"].as_array().unwrap();
    let of = |phase: &str| list.iter().filter(|event| event["ph"] == phase).count();
    assert_eq!((of("B"), of("E"), of("X")), (2, 2, 2), "{list:#?}");
    let named = |name: &str| list.iter().any(|event| event["args"]["name"] == name);
    for name in ["processors", "processor 0", "one: vCPUs", "vCPU 2", "one: processes", "process 7"]
    {
        assert!(named(name), "{name}");
    }
    let slices: Vec<_> = list.iter().filter(|event| event["ph"] == "X").collect();
    assert!(slices.iter().any(|event| event["name"] == "domain 1, vCPU 0"), "{slices:#?}");
    assert!(slices.iter().all(|event| event["dur"].as_f64() > Some(0.0)), "{slices:#?}");
}

#[test]
fn what_is_read_in_time_is_whole_and_what_is_not_is_told() {
    let (machine, vcpu) = (Machine::new(), vcpu("one"));
    let mut recorder = machine.recorder(None);
    let note = |from: u64, to: u64| {
        (from..to).for_each(|n| events::user::numbers(&vcpu, n, 0));
        machine.store(512 << 10, vcpu.0.copy());
    };
    // A buffer has room for some 10,900 of these.
    for part in 0..4 {
        note(part * 5000, part * 5000 + 5000);
        recorder.poll().unwrap();
    }
    note(20_000, 50_000);
    let events = recorder.finish().unwrap().events;
    let numbers = |event: &Happened| match &event.what {
        What::Domain(7, 0, data) => data.first().copied(),
        _ => None,
    };
    let read: Vec<u64> = events.iter().filter_map(numbers).collect();
    let gap = read.windows(2).position(|pair| pair[1] != pair[0] + 1).unwrap();
    assert!((18_000..20_000).contains(&gap) && read.last() == Some(&49_999), "{gap}");
    let lost: Vec<_> = events.iter().filter(|event| numbers(event).is_none()).collect();
    assert!(matches!(lost[..], [Happened { what: What::Lost(50..), .. }]), "{lost:?}");
}

#[test]
fn masks_are_switched_where_the_domain_sees_it() {
    let (machine, vcpu) = (Machine::new(), vcpu("one"));
    machine.store(512 << 10, vcpu.0.copy());
    let mut recorder = machine.recorder(Some("one"));
    recorder.find().unwrap();
    recorder.switch(classes("mem,user").unwrap()).unwrap();
    let memory = Memory::open(machine.0.path()).unwrap();
    let mask = memory.word((512 << 10) + k42_lib::trace::read::at::MASK as u64 * 8).unwrap();
    assert_eq!(mask, events::mem::MASK | events::user::MASK);
    let mut other = machine.recorder(Some("two"));
    other.find().unwrap();
    assert!(!other.has_domain() && recorder.has_domain());
    assert_eq!(classes("none"), Ok(0));
    let error = classes("mem,nix").unwrap_err();
    assert!(
        error.starts_with("there is no class nix: there are all, none, mem, object"),
        "{error}"
    );
}

proptest! {
    /// Whatever the memory has, reading it ends, and what is shown is text.
    #[test]
    fn any_memory_is_read(
        words in prop::collection::vec((0u64..2048, any::<u64>()), 0..200),
        ends in any::<u64>(),
        index in any::<u64>(),
    ) {
        let (machine, vcpu) = (Machine::new(), vcpu("o\x07ne"));
        fault(&vcpu);
        machine.store(512 << 10, vcpu.0.copy());
        hypervisor(&machine, &[]);
        machine.store((1 << 20) + (64 << 10), [ends]);
        for (at, word) in words {
            machine.store((512 << 10) + 2048 + at * 8, [word]);
        }
        machine.store((512 << 10) + k42_lib::trace::read::at::INDEX as u64 * 8, [index]);
        let trace = machine.recorder(None).finish().unwrap();
        prop_assert!(trace.events.len() < 50_000);
        let text = show::text(&trace) + &show::sums(&trace);
        prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
        chrome::export(&trace);
    }
}
