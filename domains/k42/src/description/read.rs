//! From a TOML file to a [`Description`]: which fields there are and what they may say.

use std::path::PathBuf;

use boot_archive::{
    DEFAULT_WEIGHT, MAX_DOMAIN, MEMORY_GRANULE, Machine, Personality, is_domain_name,
};
use toml::de::{DeTable, DeValue};

use super::fields::{Fields, Problems, Report};
use super::{
    Description, DomainDescription, Kind, LEAST_MEMORY, Rights, TAKEN_MEMORY, disks, scheduling,
    size,
};
use crate::files;

/// The most processors of a machine.
const MAX_PROCESSORS: u32 = 8;
/// The most vCPUs a domain may have: `hv_abi::MAX_DOMAIN_VCPUS`.
const MAX_VCPUS: u32 = 32;
/// The longest name of a domain that a controller makes: it travels in a UUID's place.
const MOST_CREATED_NAME: usize = 16;
/// Names that the logs of others have.
const RESERVED_NAMES: [&str; 3] = ["hypervisor", "firmware", "qemu"];

const MACHINE: [&str; 4] = ["model", "processors", "memory", "trace"];
pub(super) const DOMAIN: [&str; 14] = [
    "name",
    "kind",
    "kernel",
    "memory",
    "vcpus",
    "weight",
    "cap",
    "processors",
    "reserved",
    "rights",
    "lan",
    "started-by",
    "disks",
    "console",
];
const LINUX: [&str; 2] = ["initrd", "command-line"];
const K42: [&str; 5] = ["program", "arguments", "environment", "root", "bootargs"];
/// Of a controller too.
const BARE: [&str; 1] = ["bootargs"];

/// Reads a whole file.
pub(super) fn description(name: &str, file: &str, source: &str) -> Result<Description, Problems> {
    let report = Report::new(file, source);
    let description = whole(name, &report, source);
    match (report.finish(), description) {
        (None, Some(description)) => Ok(description),
        (problems, _) => Err(problems.unwrap_or(Problems { file: file.into(), list: Vec::new() })),
    }
}

fn whole(name: &str, report: &Report<'_>, source: &str) -> Option<Description> {
    let parsed = DeTable::parse(source);
    let table = match &parsed {
        Ok(table) => table.get_ref(),
        Err(error) => {
            report.add(error.span().unwrap_or(0..0), "", format!("not TOML: {}", error.message()));
            return None;
        }
    };
    let top = Fields::new(report, "", table, 0..0);
    top.only(&["machine", "domain"]);

    let none = DeTable::new();
    let (table, span) = match top.value("machine").map(|value| (value.get_ref(), value.span())) {
        Some((DeValue::Table(table), span)) => (table, span),
        Some(_) => {
            top.wrong("machine", "is not a table; write a line `[machine]` and its fields below");
            return None;
        }
        None => {
            top.missing_table("machine", "[machine]");
            (&none, 0..0)
        }
    };
    let machine = Fields::new(report, "machine", table, span);
    machine.only(&MACHINE);

    let domains = match top.value("domain").map(|value| value.get_ref()) {
        Some(DeValue::Array(list)) if list.iter().all(|d| d.get_ref().is_table()) => list,
        Some(_) => {
            top.wrong("domain", "is not a list of tables; begin each domain with `[[domain]]`");
            return None;
        }
        None => {
            top.missing_table("domain", "[[domain]]");
            return None;
        }
    };
    let domains: Vec<_> = domains
        .iter()
        .filter_map(|value| Some((value.get_ref().as_table()?, value.span())))
        .enumerate()
        .map(|(n, (table, span))| {
            let place = format!("domain number {}", n + 1);
            Fields::new(report, place, table, span)
        })
        .collect();
    if domains.len() > usize::from(MAX_DOMAIN) {
        top.wrong("domain", format!("a machine has at most {MAX_DOMAIN} domains"));
    }
    let (model, processors) = (model(&machine), processors(&machine));
    let mut complete = model.is_some() && processors.is_some();
    let mut description = Description {
        name: name.into(),
        model: model.unwrap_or(Machine::Powernv9),
        processors: processors.unwrap_or(1),
        memory: None,
        trace: machine.flag("trace"),
        domains: Vec::new(),
    };
    let mut domains = domains;
    for fields in &mut domains {
        match domain(fields, &description) {
            Some(domain) => description.domains.push(domain),
            None => complete = false,
        }
    }
    if complete {
        disks::served(&domains, &description);
    }
    description.memory = complete.then(|| memory(&machine, &description)).flatten();
    complete.then_some(description)
}

fn model(machine: &Fields<'_, '_>) -> Option<Machine> {
    const EXAMPLE: &str = "\"powernv9\"";
    let name = machine.text("model", EXAMPLE);
    if machine.value("model").is_none() {
        machine.missing("model", EXAMPLE);
    }
    let model = Machine::from_name(name?);
    if model.is_none() {
        let names = Machine::ALL.map(|model| format!("\"{}\"", model.name())).join(", ");
        machine.wrong("model", format!("there is no such machine; there are {names}"));
    }
    model
}

fn processors(machine: &Fields<'_, '_>) -> Option<u32> {
    if machine.value("processors").is_none() {
        return Some(1);
    }
    let number = machine.count("processors", "2")?;
    let good = (1..=MAX_PROCESSORS).contains(&number);
    if !good {
        machine.wrong("processors", format!("{number} is none of 1 to {MAX_PROCESSORS}"));
    }
    good.then_some(number)
}

/// The machine's memory, if it is said: enough for QEMU and for the domains.
fn memory(machine: &Fields<'_, '_>, description: &Description) -> Option<u64> {
    let Some(bytes) = size::parse(machine.text("memory", "\"2G\"")?) else {
        machine.wrong("memory", format!("not an amount of memory; {}", size::HOW));
        return None;
    };
    let least = (description.domains_memory() + TAKEN_MEMORY).max(LEAST_MEMORY);
    if bytes < least {
        let text = format!(
            "too small: the domains, the hypervisor and the firmware need {} together; \
             leave the line out for what is needed",
            size::show(least)
        );
        machine.wrong("memory", text);
    }
    Some(bytes)
}

fn domain(fields: &mut Fields<'_, '_>, before: &Description) -> Option<DomainDescription> {
    let name = name(fields, before);
    if let Some(name) = name {
        fields.rename(format!("domain \"{name}\""));
    }
    let kind_name = fields.text("kind", "\"k42\"");
    if fields.value("kind").is_none() {
        fields.missing("kind", "\"k42\"");
    }
    let (kind, default_kernel) = match kind_name? {
        "linux" => (linux(fields), None),
        "k42" => (k42(fields), Some(files::GUEST_KERNEL)),
        "controller" => (controller(fields), Some(files::CONTROLLER)),
        "storage" => (disks::storage(fields, before), Some(files::STORAGE)),
        "bare" => (bare(fields), None),
        other => {
            let text = format!(
                "there is no kind \"{other}\"; write \"linux\", \"k42\", \"controller\", \"storage\" or \"bare\""
            );
            fields.wrong("kind", text);
            return None;
        }
    };
    let kernel = file(fields, "kernel", default_kernel);
    if fields.value("kernel").is_none() && default_kernel.is_none() {
        fields.missing("kernel", "\"target/inputs/vmlinux-6.12\"");
    }
    // Each is read before the first `?`, so that all problems are found.
    let memory = domain_memory(fields);
    let vcpus = vcpus(fields);
    let scheduling = scheduling::read(fields, before.processors);
    // Whoever has reserved time gets no more than that unless a weight is written.
    let reserved = scheduling.is_some_and(|scheduling| scheduling.reserved.is_some());
    let weight = match fields.value("weight") {
        None if reserved => Some(0),
        _ => weight(fields),
    };
    let rights = rights(fields);
    if let (Some(Kind::Controller { .. }), Some(rights)) = (&kind, rights)
        && !rights.contains(Rights::CONTROL)
    {
        fields.wrong("kind", "a controller needs a right; write `rights = [\"control\"]`");
    }
    if let (Some(Kind::Storage), Some(rights)) = (&kind, rights)
        && !rights.contains(disks::SERVER)
    {
        fields.wrong("kind", "it needs two rights; write `rights = [\"events\", \"lan\"]`");
    }
    let disks = disks::read(fields, rights, before);
    let lan = lan(fields, rights);
    let started_by = started_by(fields, name, rights, reserved, before);
    let console_first = console_first(fields, before);
    Some(DomainDescription {
        name: name?.into(),
        memory: memory?,
        vcpus: vcpus?,
        weight: weight?,
        scheduling: scheduling?,
        rights: rights?,
        lan: lan?,
        started_by: started_by?,
        disks: disks?,
        console_first: console_first?,
        kernel: kernel?,
        kind: kind?,
    })
}

fn name<'r>(fields: &Fields<'r, '_>, before: &Description) -> Option<&'r str> {
    const EXAMPLE: &str = "\"clock\"";
    if fields.value("name").is_none() {
        fields.missing("name", EXAMPLE);
    }
    let name = fields.text("name", EXAMPLE)?;
    if !is_domain_name(name) {
        fields.wrong("name", "use 1 to 24 of the letters a to z, digits and `-`");
    } else if RESERVED_NAMES.contains(&name) {
        fields.wrong("name", format!("\"{name}\" is the name of another log; choose another"));
    } else if before.domains.iter().any(|domain| domain.name == name) {
        fields.wrong("name", format!("there is a domain \"{name}\" already; choose another name"));
    } else {
        return Some(name);
    }
    None
}

fn domain_memory(fields: &Fields<'_, '_>) -> Option<u64> {
    const EXAMPLE: &str = "\"512M\"";
    if fields.value("memory").is_none() {
        fields.missing("memory", EXAMPLE);
    }
    let Some(bytes) = size::parse(fields.text("memory", EXAMPLE)?) else {
        fields.wrong("memory", format!("not an amount of memory; {}", size::HOW));
        return None;
    };
    if bytes == 0 || !bytes.is_multiple_of(MEMORY_GRANULE) {
        let next = size::show(bytes.next_multiple_of(MEMORY_GRANULE).max(MEMORY_GRANULE));
        fields.wrong("memory", format!("not a multiple of 2 MiB; the next is \"{next}\""));
        return None;
    }
    Some(bytes)
}

fn vcpus(fields: &Fields<'_, '_>) -> Option<u32> {
    let vcpus = at_least_1(fields, "vcpus", 1)?;
    if vcpus > MAX_VCPUS {
        fields.wrong("vcpus", format!("a domain has 1 to {MAX_VCPUS}"));
    }
    (vcpus <= MAX_VCPUS).then_some(vcpus)
}

fn at_least_1(fields: &Fields<'_, '_>, name: &str, default: u32) -> Option<u32> {
    if fields.value(name).is_none() {
        return Some(default);
    }
    let number = fields.count(name, &default.to_string())?;
    if number == 0 {
        fields.wrong(name, "0 would never run; write at least 1");
    }
    (number > 0).then_some(number)
}

/// Its part of what is shared: a number of 16 bits, as in Xen's calls.
fn weight(fields: &Fields<'_, '_>) -> Option<u16> {
    let weight = at_least_1(fields, "weight", DEFAULT_WEIGHT.into())?;
    if weight > u16::MAX.into() {
        fields.wrong("weight", format!("{weight} is too much; write at most {}", u16::MAX));
    }
    weight.try_into().ok()
}

/// The rights it is given; none unless they are named.
fn rights(fields: &Fields<'_, '_>) -> Option<Rights> {
    let names = list(fields, "rights", "[\"console-input\"]", Vec::new)?;
    let mut rights = Rights::empty();
    for name in &names {
        let Some((_, right)) = Rights::GIVEN.iter().find(|(known, _)| known == name) else {
            let known = Rights::GIVEN.map(|(name, _)| format!("\"{name}\"")).join(", ");
            fields.wrong("rights", format!("there is no right \"{name}\"; there are {known}"));
            return None;
        };
        rights |= *right;
    }
    Some(rights)
}

/// The name of the LAN that its port is on.
fn lan(fields: &Fields<'_, '_>, rights: Option<Rights>) -> Option<Option<String>> {
    if fields.value("lan").is_none() {
        return Some(None);
    }
    let name = fields.text("lan", "\"office\"")?;
    if !is_domain_name(name) {
        fields.wrong("lan", "use 1 to 24 of the letters a to z, digits and `-`");
    } else if rights.is_some_and(|rights| !rights.contains(Rights::LAN)) {
        fields.wrong("lan", "it needs a right to a port; write `rights = [\"lan\"]`");
    } else {
        return Some(Some(name.into()));
    }
    None
}

/// The controller that starts the domain, which gives no right that it has not itself.
fn started_by(
    fields: &Fields<'_, '_>,
    own: Option<&str>,
    rights: Option<Rights>,
    reserved: bool,
    before: &Description,
) -> Option<Option<String>> {
    if fields.value("started-by").is_none() {
        return Some(None);
    }
    let name = fields.text("started-by", "\"controller\"")?;
    let controller = before
        .domains
        .iter()
        .find(|domain| domain.name == name && matches!(domain.kind, Kind::Controller { .. }));
    match controller {
        None => {
            let text =
                format!("there is no domain \"{name}\" of kind \"controller\" above this one");
            fields.wrong("started-by", text);
        }
        Some(controller) if !controller.rights.contains(rights.unwrap_or_default()) => {
            let text = "its controller cannot give rights that it has not; name them there too";
            fields.wrong("rights", text);
        }
        Some(_) if own.is_some_and(|own| own.len() > MOST_CREATED_NAME) => {
            let text = format!("a controller's domain has at most {MOST_CREATED_NAME} letters");
            fields.wrong("name", text);
        }
        Some(_) if reserved && !rights.unwrap_or_default().contains(Rights::RESERVED) => {
            let text = "what a controller starts needs a right to it; name \"reserved-time\"";
            fields.wrong("reserved", text);
        }
        Some(_) => return Some(Some(name.into())),
    }
    None
}

fn console_first(fields: &Fields<'_, '_>, before: &Description) -> Option<bool> {
    if fields.value("console").is_none() {
        return Some(false);
    }
    let text = fields.text("console", "\"first\"")?;
    let taken = before.domains.iter().find(|domain| domain.console_first);
    if text != "first" {
        fields.wrong("console", "write \"first\", or leave the line out");
    } else if let Some(domain) = taken {
        let text = format!("domain \"{}\" is shown first already; remove one line", domain.name);
        fields.wrong("console", text);
    } else {
        return Some(true);
    }
    None
}

fn linux(fields: &Fields<'_, '_>) -> Option<Kind> {
    fields.only(&[&DOMAIN[..], &LINUX].concat());
    let initrd = match fields.value("initrd") {
        Some(_) => Some(file(fields, "initrd", None)?),
        None => None,
    };
    let words = text_or(fields, "command-line", "")?;
    // The console is the hypervisor's; a line that names another means it.
    let command_line = match words.contains("console=") {
        true => words,
        false => format!("console=hvc0 {words}").trim_end().into(),
    };
    Some(Kind::Linux { initrd, command_line })
}

fn k42(fields: &Fields<'_, '_>) -> Option<Kind> {
    fields.only(&[&DOMAIN[..], &K42].concat());
    if fields.value("program").is_none() {
        fields.missing("program", "\"/bin/sh\"");
    }
    let root = file(fields, "root", Some(files::ROOT));
    let arguments = list(fields, "arguments", "[\"-l\", \"/\"]", Vec::new);
    let environment = list(fields, "environment", "[\"PATH=/bin\"]", super::default_environment);
    if let Some(word) = environment.iter().flatten().find(|word| !word.contains('=')) {
        fields.wrong("environment", format!("\"{word}\" has no value; write \"{word}=value\""));
    }
    Some(Kind::K42 {
        root: root?,
        program: fields.text("program", "\"/bin/sh\"")?.into(),
        arguments: arguments?,
        environment: environment?,
        bootargs: text_or(fields, "bootargs", "")?,
    })
}

fn controller(fields: &Fields<'_, '_>) -> Option<Kind> {
    fields.only(&[&DOMAIN[..], &BARE].concat());
    Some(Kind::Controller { bootargs: text_or(fields, "bootargs", "")? })
}

fn bare(fields: &Fields<'_, '_>) -> Option<Kind> {
    fields.only(&[&DOMAIN[..], &BARE].concat());
    Some(Kind::Bare { personality: Personality::Xen, bootargs: text_or(fields, "bootargs", "")? })
}

/// A text that may be left out; `None` when what is there is no text.
fn text_or(fields: &Fields<'_, '_>, name: &str, default: &str) -> Option<String> {
    match fields.value(name) {
        Some(_) => fields.text(name, "\"words\"").map(String::from),
        None => Some(default.into()),
    }
}

pub(super) fn list(
    fields: &Fields<'_, '_>,
    name: &str,
    example: &str,
    default: impl FnOnce() -> Vec<String>,
) -> Option<Vec<String>> {
    match fields.value(name) {
        Some(_) => fields.texts(name, example),
        None => Some(default()),
    }
}

/// The path of a file that is there.
fn file(fields: &Fields<'_, '_>, name: &str, default: Option<&str>) -> Option<PathBuf> {
    let path = match fields.value(name) {
        Some(_) => fields.text(name, "\"target/inputs/root.cpio\"")?,
        None => default?,
    };
    let place = files::top().join(path);
    if !place.is_file() {
        fields.wrong(name, format!("there is no file {path}; {}", files::remedy(path)));
        return None;
    }
    Some(place)
}
