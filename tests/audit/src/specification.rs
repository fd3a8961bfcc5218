//! SPECIFICATION.md: rows `| `key` | budget | … |`, where a budget is `≤ N`.

use anyhow::Context;

/// The budget of `key`.
pub fn budget(key: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(super::root().join("SPECIFICATION.md"))?;
    find(&text, key).with_context(|| format!("SPECIFICATION.md has no row `{key}` with a budget"))
}

fn find(text: &str, key: &str) -> Option<u64> {
    let start = format!("| `{key}` |");
    let row = text.lines().find_map(|line| line.strip_prefix(&start))?;
    let cell = row.split('|').next()?.trim().strip_prefix('≤')?;
    cell.trim().replace(',', "").parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn budgets_are_found_by_key() {
        let text = "| key | budget |\n| `lines` | ≤ 7,000 | code |\n| `other` | 5 |\n";
        assert_eq!(super::find(text, "lines"), Some(7000));
        assert_eq!(super::find(text, "other"), None);
        assert_eq!(super::find(text, "absent"), None);
    }
}
