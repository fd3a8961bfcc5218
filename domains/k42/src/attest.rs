//! `k42 attest`: did a machine's last run start from what the files here hold?
//!
//! [`parts`] works out from built domains which records the hypervisor should have logged,
//! [`read_log`] reads those that it has and holds their chain, and [`compare`] names what differs.
//! Records and chain are those of `boot/measure` (docs/interfaces.md §6).

use std::path::Path;

use anyhow::{Context, ensure};
use boot_archive::write::Domain;
use boot_archive::{Console, Personality, Scheduling};
use domain_builder::Image;
use elf::ElfBytes;
use elf::endian::LittleEndian;
use k42_measure::{Digest, Kind, Record};
use k42_wire::Event;

use crate::compile::{build, build_started};
use crate::description::{Description, Rights};
use crate::files;

/// All kinds of records.
const KINDS: [Kind; 6] =
    [Kind::Hypervisor, Kind::Description, Kind::Rights, Kind::Load, Kind::Start, Kind::Declared];
/// What the hypervisor's image calls the end of what it measures of itself.
const IMAGE_END: &str = "__constants_end";

/// Something that a machine starts from.
#[derive(Clone, Debug)]
pub struct Part {
    /// Whose it is: `hypervisor`, or `domain 1 (linux)`.
    pub owner: String,
    /// What a person calls it.
    pub what: &'static str,
    /// The text that is measured, if it is one.
    pub text: Option<String>,
    /// What should be in the log.
    pub record: Record,
}

/// What there is to tell of a log.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// A line for each difference; none if all agrees.
    pub differences: Vec<String>,
    /// A line for each owner: its register, as the log has it.
    pub registers: Vec<String>,
}

/// Compares the log in `folder` with the files of `description`.
pub fn attest(description: &Description, folder: &Path) -> anyhow::Result<Verdict> {
    let path = folder.join("hypervisor.log");
    let name = path.display();
    let log = std::fs::read(&path).with_context(|| format!("{name}: boot the machine first"))?;
    let log = String::from_utf8_lossy(&log);
    let name = files::hypervisor(description.model);
    let image = std::fs::read(files::top().join(name))
        .with_context(|| format!("{name}; {}", files::remedy(name)))?;
    let built = build(description, Console::Framed)?;
    let started = build_started(description, Console::Framed)?;
    let parts = parts(constants(&image).context(name)?, &built, &started);
    let records = match read_log(&log) {
        Ok(records) => records,
        Err(error) => {
            return Ok(Verdict { differences: vec![format!("{error:#}")], registers: Vec::new() });
        }
    };
    ensure!(!records.is_empty(), "{}: no measurements; boot the machine first", path.display());
    Ok(Verdict { differences: compare(&parts, &records), registers: registers(&parts, &records) })
}

/// The bytes of the hypervisor's image that it measures: what nobody writes to.
fn constants(file: &[u8]) -> anyhow::Result<&[u8]> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(file)?;
    let (symbols, names) = elf.symbol_table()?.context("it has no symbols")?;
    let named = |symbol: &elf::symbol::Symbol| {
        names.get(symbol.st_name as usize).is_ok_and(|name| name == IMAGE_END)
    };
    let end = symbols.iter().find(named).with_context(|| format!("it has no {IMAGE_END}"))?;
    let image = Image::parse(file)?;
    let first = image.segments.first().context("nothing in it is loaded")?;
    let length = end.st_value.checked_sub(first.virtual_address).and_then(|n| n.try_into().ok());
    let length: usize = length.with_context(|| format!("{IMAGE_END} is nowhere"))?;
    first.data.get(..length).with_context(|| format!("{IMAGE_END} is nowhere"))
}

/// What a hypervisor with this image should log of these domains, those that it starts at boot and
/// those that controllers start: what is loaded into these, the controllers declare.
pub fn parts(image: &[u8], at_boot: &[Domain], started: &[Domain]) -> Vec<Part> {
    let part = |owner: &str, what, domain, kind, at, bytes: &[u8]| {
        let (size, digest) = (bytes.len() as u64, Digest::of(bytes));
        let record = Record { domain, kind, at, size, digest };
        Part { owner: owner.into(), what, text: None, record }
    };
    let mut parts = vec![part("hypervisor", "its image", 0, Kind::Hypervisor, 0, image)];
    let at_boot = at_boot.iter().map(|domain| (domain, Kind::Load));
    let started = started.iter().map(|domain| (domain, Kind::Declared));
    for (domain, load_kind) in at_boot.chain(started) {
        let owner = &format!("domain {} ({})", domain.number, domain.name);
        let text = |what, kind, text: String| {
            let part = part(owner, what, domain.number, kind, 0, text.as_bytes());
            Part { text: Some(text), ..part }
        };
        let Domain { name, vcpus, entry, device_tree, little_endian, lan, .. } = domain;
        let personality = domain.personality.name();
        parts.push(text(
            "the description",
            Kind::Description,
            format!("{name} {personality} vcpus {vcpus} little {little_endian} lan {lan}"),
        ));
        let rights = rights(domain);
        let bytes = rights.bits().to_le_bytes();
        let rights_part = part(owner, "the rights", domain.number, Kind::Rights, 0, &bytes);
        parts.push(Part { text: Some(names(rights)), ..rights_part });
        for load in domain.loads.iter().filter(|load| !load.data.is_empty()) {
            let at = load.guest_address;
            parts.push(part(owner, load.what, domain.number, load_kind, at, &load.data));
        }
        let Domain { memory_size, weight, .. } = domain;
        let Scheduling { cap, processors, reserved } = domain.scheduling;
        let (budget, period) = reserved.unwrap_or_default();
        parts.push(text(
            "the start",
            Kind::Start,
            format!(
                "entry {entry:#x} argument {device_tree:#x} little {little_endian} \
                 memory {memory_size} weight {weight} cap {cap} reserved {budget}/{period} \
                 processors {processors:#x}"
            ),
        ));
    }
    parts
}

/// The rights that a domain has, with those of its personality.
fn rights(domain: &Domain) -> Rights {
    let own = match domain.personality {
        Personality::Papr => Rights::PAPR,
        Personality::Xen => Rights::XEN,
    };
    own | Rights::from_bits_truncate(domain.rights)
}

fn names(rights: Rights) -> String {
    let names: Vec<String> =
        rights.iter_names().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.join(" ")
}

/// The records in what the hypervisor has said, if each follows from those before it.
pub fn read_log(log: &str) -> anyhow::Result<Vec<Record>> {
    let mut records = Vec::new();
    let mut register = Digest::ZERO;
    for line in log.lines() {
        let Some(Event::Measured(text)) = Event::parse(line.trim_end_matches('\r')) else {
            continue;
        };
        let number = records.len();
        let (record, said) = read_record(text)
            .with_context(|| format!("the log's record {number} is none: {text}"))?;
        register.extend(&record);
        ensure!(
            register == said,
            "the log's record {number} does not follow from those before it: one was changed, \
             moved or left out"
        );
        records.push(record);
    }
    Ok(records)
}

/// A record and the log's register after it, as the hypervisor writes them.
fn read_record(text: &str) -> Option<(Record, Digest)> {
    let (domain, rest) = text.strip_prefix("domain ")?.split_once(' ')?;
    let (kind, rest) = rest.split_once(" at 0x")?;
    let (at, rest) = rest.split_once(", ")?;
    let (size, rest) = rest.split_once(" bytes, ")?;
    let (digest, register) = rest.split_once(", log ")?;
    let record = Record {
        domain: domain.parse().ok()?,
        kind: KINDS.into_iter().find(|known| format!("{known:?}") == kind)?,
        at: u64::from_str_radix(at, 16).ok()?,
        size: size.parse().ok()?,
        digest: read_digest(digest)?,
    };
    Some((record, read_digest(register)?))
}

fn read_digest(text: &str) -> Option<Digest> {
    let mut digest = Digest::ZERO;
    if text.len() != 2 * digest.0.len() {
        return None;
    }
    for (at, byte) in digest.0.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(digest)
}

/// The records of a domain, those of each of its lives together.
fn lives(records: &[Record], domain: u16) -> Vec<Vec<Record>> {
    let mut lives: Vec<Vec<Record>> = Vec::new();
    for record in records.iter().filter(|record| record.domain == domain) {
        match lives.last_mut() {
            Some(life) if record.kind != Kind::Description => life.push(*record),
            _ => lives.push(vec![*record]),
        }
    }
    lives
}

/// A line for each thing in which the log is not what it should be.
pub fn compare(parts: &[Part], records: &[Record]) -> Vec<String> {
    let mut differences = Vec::new();
    for own in parts.chunk_by(|one, next| one.record.domain == next.record.domain) {
        let Some(first) = own.first() else { continue };
        let lives = lives(records, first.record.domain);
        if lives.is_empty() {
            differences.push(format!("{}: it is not in the log: it did not start", first.owner));
        }
        for life in lives {
            differences.extend(compare_life(parts, own, &life));
        }
    }
    for record in records {
        let line = format!("domain {}: it started, and is not in the description", record.domain);
        let known = parts.iter().any(|part| part.record.domain == record.domain);
        if !known && !differences.contains(&line) {
            differences.push(line);
        }
    }
    differences
}

fn compare_life(all: &[Part], own: &[Part], life: &[Record]) -> Vec<String> {
    let Some(first) = own.first() else { return Vec::new() };
    let started = life.first().filter(|record| record.kind == Kind::Description);
    let other = all.iter().find(|part| {
        part.record.domain != first.record.domain
            && part.record.kind == Kind::Description
            && started.is_some_and(|record| record.digest == part.record.digest)
    });
    if let Some(other) = other {
        return vec![format!("{}: the log has {} in its place", first.owner, other.owner)];
    }
    let mut differences = Vec::new();
    for kind in KINDS {
        let mut parts = own.iter().filter(|part| part.record.kind == kind);
        let mut records = life.iter().filter(|record| record.kind == kind);
        loop {
            match (parts.next(), records.next()) {
                (None, None) => break,
                (Some(part), Some(record)) if part.record == *record => {}
                (Some(part), Some(record)) => {
                    let how = difference(part, record);
                    differences.push(format!("{}: {} differs: {how}", part.owner, part.what));
                }
                (Some(part), None) => {
                    differences.push(format!("{}: {} is not in the log", part.owner, part.what));
                }
                (None, Some(record)) => differences.push(format!(
                    "{}: the log has what the files have not: {record}",
                    first.owner
                )),
            }
        }
    }
    differences
}

/// How a part is not what was measured.
fn difference(part: &Part, record: &Record) -> String {
    let text = part.text.as_deref().unwrap_or_default();
    match part.record.kind {
        Kind::Rights => {
            // There are few enough to find the ones that were measured.
            let all = (0..=Rights::all().bits()).filter_map(Rights::from_bits);
            let mut all =
                all.filter(|rights| Digest::of(&rights.bits().to_le_bytes()) == record.digest);
            let ran = all.next().map_or("unknown ones".into(), names);
            format!("it ran with {ran}; the files give {text}")
        }
        Kind::Description | Kind::Start => format!("the files give \"{text}\""),
        _ if part.record.size != record.size => {
            format!("{} bytes were loaded, the files give {}", record.size, part.record.size)
        }
        _ if part.record.digest != record.digest => "its bytes are others".into(),
        _ => format!("it was loaded to {:#x}, the files give {:#x}", record.at, part.record.at),
    }
}

/// The register of the log and of each domain's last life.
fn registers(parts: &[Part], records: &[Record]) -> Vec<String> {
    let register = |records: &[Record]| {
        let mut register = Digest::ZERO;
        records.iter().for_each(|record| register.extend(record));
        register
    };
    let mut lines = vec![format!("log, {} records: {}", records.len(), register(records))];
    for own in parts.chunk_by(|one, next| one.record.domain == next.record.domain) {
        let domain = own.first().filter(|part| part.record.domain > 0);
        let last = domain.and_then(|part| Some((part, lives(records, part.record.domain).pop()?)));
        if let Some((part, life)) = last {
            lines.push(format!("{}: {}", part.owner, register(&life)));
        }
    }
    lines
}
