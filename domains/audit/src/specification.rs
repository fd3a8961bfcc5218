//! SPECIFICATION.md: rows `| `key` | budget | measured | what |`, where a budget is `≤ N`.

use crate::table::{Table, number};
use anyhow::Context;

/// A key with the value that was just measured.
pub type Measured = (&'static str, u64);

/// A row of the specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Its key.
    pub key: String,
    /// The most that it may be.
    pub most: u64,
    /// The values written beside it.
    pub written: Vec<u64>,
}

/// The budget of `key`.
pub fn budget(key: &str) -> anyhow::Result<u64> {
    let found = budgets()?.into_iter().find(|budget| budget.key == key);
    let found = found.with_context(|| format!("SPECIFICATION.md has no `{key}` with a budget"))?;
    Ok(found.most)
}

/// All budgets.
pub fn budgets() -> anyhow::Result<Vec<Budget>> {
    Ok(read(&std::fs::read_to_string(super::root().join("SPECIFICATION.md"))?))
}

fn read(text: &str) -> Vec<Budget> {
    text.lines().filter_map(read_row).collect()
}

fn read_row(row: &str) -> Option<Budget> {
    let mut cells = row.strip_prefix('|')?.split('|').map(str::trim);
    let key = cells.next()?.strip_prefix('`')?.strip_suffix('`')?.to_owned();
    let value = |text: &str| text.trim().replace(',', "").parse().ok();
    let most = value(cells.next()?.strip_prefix('≤')?)?;
    let written = cells.next().unwrap_or_default().split('/').filter_map(value).collect();
    Some(Budget { key, most, written })
}

/// The table of budgets against what was measured, and a line for each that is passed. What is
/// measured on the machine is taken as it is written in SPECIFICATION.md.
pub fn hold(budgets: &[Budget], measured: &[Measured]) -> (Table, Vec<String>) {
    let columns = ["key", "budget", "value", "from", "holds"];
    let mut table = Table::new("budgets", "Budgets of SPECIFICATION.md", &columns);
    let mut passed = Vec::new();
    for Budget { key, most, written } in budgets {
        let now = measured.iter().find(|(name, _)| name == key);
        let values = now.map_or(written.clone(), |&(_, value)| vec![value]);
        let holds = values.iter().all(|value| value <= most);
        let text = values.iter().map(|&value| number(value)).collect::<Vec<_>>().join(" / ");
        let from = if now.is_some() { "this audit" } else { "SPECIFICATION.md" };
        let most = number(*most);
        if !holds {
            passed.push(format!("{key} is {text}, and its budget {most}"));
        }
        let verdict = if holds { "yes" } else { "NO" };
        table.row([key.clone(), most, text, from.into(), verdict.into()]);
    }
    (table, passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "| key | budget |\n| `lines` | ≤ 7,000 | 6,000 | code |\n| `other` | 5 |\n\
                        | `two` | ≤ 9 | 8 / 10 | a |\n| `bare` | ≤ 1 |\nprose | `x` | ≤ 2 |\n";

    #[test]
    fn budgets_are_found_by_key() {
        let budget = |key: &str, most, written: &[u64]| Budget {
            key: key.into(),
            most,
            written: written.into(),
        };
        let want =
            [budget("lines", 7000, &[6000]), budget("two", 9, &[8, 10]), budget("bare", 1, &[])];
        assert_eq!(read(TEXT), want);
    }

    #[test]
    fn a_budget_that_is_passed_is_told() {
        let (table, passed) = hold(&read(TEXT), &[("lines", 7001)]);
        assert_eq!(table.rows[0][2..], ["7,001", "this audit", "NO"]);
        assert_eq!(table.rows[1][2..], ["8 / 10", "SPECIFICATION.md", "NO"]);
        assert_eq!(passed[0], "lines is 7,001, and its budget 7,000");
        assert_eq!(passed.len(), 2);
        assert!(hold(&read(TEXT)[..1], &[("lines", 7000)]).1.is_empty());
    }
}
