//! The whole audit: every table, and what passes its budget.

use crate::specification::{budgets, hold};
use crate::table::Table;
use crate::{Count, HYPERVISOR, calls, count, crates, image, members, page, stack, unsafes};
use std::fmt;

/// The audit of this source tree and of the image that was built from it.
pub struct Report {
    /// The tables, budgets first.
    pub tables: Vec<Table>,
    /// A line for each budget that is passed, and for each unsafe place that gives no reason.
    pub wrong: Vec<String>,
}

/// The unsafe code of what runs in hypervisor mode, and of all else.
pub fn unsafe_sites() -> anyhow::Result<[Vec<unsafes::Site>; 2]> {
    let [mut inside, mut outside] = [Vec::new(), Vec::new()];
    for folder in members()? {
        let sites = unsafes::crate_sites(&folder)?;
        let into = if HYPERVISOR.contains(&&*folder) { &mut inside } else { &mut outside };
        into.extend(sites);
    }
    Ok([inside, outside])
}

/// Audits.
pub fn audit() -> anyhow::Result<Report> {
    let images = crate::images()?;
    let largest = |lines: fn(&(&str, Count, Count)) -> usize| {
        images.iter().map(lines).max().unwrap_or(usize::MAX) as u64
    };
    let (stack_table, stack_bytes) = stack::measure(&image::functions("hypervisor")?);
    let [inside, outside] = unsafe_sites()?;
    let [named, host_only] = crates::measured()?;
    let papr = count::papr()?.code as u64;
    let measured = [
        ("hypervisor-rust-lines", largest(|image| image.1.code).saturating_sub(papr)),
        ("papr-rust-lines", papr),
        ("hypervisor-assembly-lines", largest(|image| image.2.code)),
        ("hypervisor-unsafe", inside.len() as u64),
        ("hypervisor-image-bytes", image::loaded_bytes("hypervisor")?),
        ("hypervisor-stack-bytes", stack_bytes),
        named,
        host_only,
    ];
    let (held, mut wrong) = hold(&budgets()?, &measured);
    for site in inside.iter().chain(&outside).filter(|site| site.reason.is_none()) {
        wrong.push(format!("{}:{}: unsafe, and no reason given", site.file, site.line));
    }
    let mut tables = vec![held, count::table()?];
    tables.push(unsafes::table("unsafe", "Unsafe code in hypervisor mode", &inside));
    tables.push(unsafes::table("unsafe-elsewhere", "Unsafe code elsewhere", &outside));
    tables.extend(calls::tables());
    tables.extend(crates::tables()?);
    tables.extend(image::tables("hypervisor")?);
    tables.push(stack_table);
    Ok(Report { tables, wrong })
}

impl Report {
    /// The audit as one HTML page.
    pub fn page(&self) -> String {
        page::page("Audit of the hypervisor", &self.wrong, &self.tables)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for table in self.tables.iter().filter(|table| !table.page_only) {
            writeln!(f, "{table}")?;
        }
        Ok(())
    }
}
