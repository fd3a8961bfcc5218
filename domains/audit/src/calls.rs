//! The hypercall tables, as `hypervisor/abi` declares them.

use crate::table::Table;
use hv_abi::{CommonCall, PaprCall, Rights, Row, XenCall};

/// Xen's table, that of the calls which both personalities have, and PAPR's.
pub fn tables() -> [Table; 3] {
    let xen = table("xen", "Hypercalls of Xen's personality", XenCall::ROWS);
    let common = table("common", "Hypercalls of both personalities", CommonCall::ROWS);
    let papr = table("papr", "Hypercalls of PAPR's personality", PaprCall::ROWS);
    [xen, common, papr]
}

fn table(id: &'static str, title: &'static str, rows: &[Row]) -> Table {
    let mut table =
        Table::new(id, title, &["number", "name", "arguments", "right", "what it does"]);
    for row in rows {
        let mut right = names(row.right);
        for (command, other) in row.commands {
            right += &format!(", command {command}: {}", names(*other));
        }
        // Xen numbers its calls in decimal, PAPR in hexadecimal.
        let number =
            if id == "xen" { row.number.to_string() } else { format!("{:#x}", row.number) };
        let cells = [&number, row.name, &row.arguments.join(", "), &right];
        let doc = row.doc.trim().to_owned();
        table.row(cells.map(str::to_owned).into_iter().chain([doc]));
    }
    table
}

fn names(rights: Rights) -> String {
    rights.iter_names().map(|(name, _)| name).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_its_row() {
        let [xen, common, papr] = tables();
        assert_eq!(xen.rows.len(), XenCall::ROWS.len());
        assert_eq!(common.rows.len(), CommonCall::ROWS.len());
        assert_eq!(papr.rows.len(), PaprCall::ROWS.len());
        let row = xen.rows.iter().find(|row| row[1] == "console_io").unwrap();
        assert_eq!(
            row[..4],
            ["18", "console_io", "command, count, buffer", "CONSOLE, command 1: INPUT"]
        );
        assert!(papr.rows.iter().any(|row| row[0] == "0x58" && row[1] == "h_put_term_char"));
        let all = xen.rows.iter().chain(&common.rows).chain(&papr.rows);
        assert!(all.flatten().filter(|c| c.is_empty()).count() < 9);
    }
}
