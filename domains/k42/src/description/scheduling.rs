//! A domain's part of the processors: cap, the processors it may use, reserved time.

use domain_builder::{Scheduling, TIMEBASE_FREQUENCY};

use super::fields::Fields;

/// The shortest budget and the longest period, in microseconds; the hypervisor refuses others.
const LEAST_BUDGET: u64 = 20;
const LONGEST_PERIOD: u64 = 1_000_000;
/// The most of a processor that all reservations there may take, in hundredths.
const MOST_RESERVED: u64 = 90;

/// Reads the three fields, on a machine of so many processors.
pub(super) fn read(fields: &Fields<'_, '_>, machine: u32) -> Option<Scheduling> {
    let (cap, processors, reserved) = (cap(fields), processors(fields, machine), reserved(fields));
    Some(Scheduling { cap: cap?, processors: processors?, reserved: reserved? })
}

fn cap(fields: &Fields<'_, '_>) -> Option<u16> {
    if fields.value("cap").is_none() {
        return Some(0);
    }
    let cap = fields.count("cap", "50")?;
    let good = (1..=100).contains(&cap);
    if !good {
        fields.wrong("cap", format!("{cap} is none of 1 to 100, hundredths of a processor"));
    }
    cap.try_into().ok().filter(|_| good)
}

fn processors(fields: &Fields<'_, '_>, machine: u32) -> Option<u32> {
    if fields.value("processors").is_none() {
        return Some(u32::MAX);
    }
    let mut set = 0;
    for number in fields.counts("processors", "[0, 1]")? {
        if number >= machine {
            let text =
                format!("there is no processor {number}; the machine has 0 to {}", machine - 1);
            fields.wrong("processors", text);
            return None;
        }
        set |= 1 << number;
    }
    if set == 0 {
        fields.wrong("processors", "an empty list would never run; leave the line out for all");
    }
    (set != 0).then_some(set)
}

/// Budget and period in ticks.
fn reserved(fields: &Fields<'_, '_>) -> Option<Option<(u64, u64)>> {
    const EXAMPLE: &str = "{ budget = \"2ms\", period = \"10ms\" }";
    if fields.value("reserved").is_none() {
        return Some(None);
    }
    let table = fields.table("reserved", EXAMPLE)?;
    table.only(&["budget", "period"]);
    let time = |name| {
        if table.value(name).is_none() {
            table.missing(name, "\"10ms\"");
        }
        let parsed = microseconds(table.text(name, "\"10ms\"")?);
        if parsed.is_none() {
            table.wrong(name, "not a time; write a whole number of us or ms, such as \"10ms\"");
        }
        parsed
    };
    let (budget, period) = (time("budget"), time("period"));
    let (budget, period) = (budget?, period?);
    if period > LONGEST_PERIOD {
        table.wrong("period", "longer than 1000ms; write a shorter one");
    } else if budget < LEAST_BUDGET {
        table.wrong("budget", format!("shorter than {LEAST_BUDGET}us; write a longer one"));
    } else if budget * 100 > period * MOST_RESERVED {
        let text =
            format!("more than {MOST_RESERVED} hundredths of the period; write a shorter one");
        table.wrong("budget", text);
    } else {
        let ticks = |microseconds| microseconds * u64::from(TIMEBASE_FREQUENCY) / 1_000_000;
        return Some(Some((ticks(budget), ticks(period))));
    }
    None
}

/// `500us` or `10ms` in microseconds.
fn microseconds(text: &str) -> Option<u64> {
    let (number, unit) = match text.strip_suffix("us") {
        Some(number) => (number, 1),
        None => (text.strip_suffix("ms")?, 1000),
    };
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| number.parse::<u32>().ok().map(|n| u64::from(n) * unit)).flatten()
}
