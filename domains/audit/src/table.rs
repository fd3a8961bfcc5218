//! A table of the audit, and how it looks in a terminal. [`crate::page`] makes HTML of the same.

use std::fmt;

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name in links.
    pub id: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// What one has to know to read it; may be empty.
    pub note: String,
    /// Heads of the columns.
    pub columns: Vec<&'static str>,
    /// The rows, each as long as `columns`.
    pub rows: Vec<Vec<String>>,
    /// Whether it is too long for a terminal, and on the page alone.
    pub page_only: bool,
}

impl Table {
    /// A table without rows.
    pub fn new(id: &'static str, title: &'static str, columns: &[&'static str]) -> Table {
        let (note, columns, rows) = (String::new(), columns.to_vec(), Vec::new());
        Table { id, title, note, columns, rows, page_only: false }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// When it is not as long as the columns are many.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        assert_eq!(cells.len(), self.columns.len(), "{}", self.title);
        self.rows.push(cells);
    }
}

/// Whether a cell is a number, and so stands to the right.
pub(crate) fn is_number(cell: &str) -> bool {
    !cell.is_empty() && cell.chars().all(|c| c.is_ascii_digit() || c == ',')
}

/// A number with its thousands apart.
pub fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A name that is not longer than a line: Rust's generic ones may be.
pub(crate) fn short(name: &str) -> String {
    const MOST: usize = 96;
    if name.chars().count() <= MOST {
        return name.to_owned();
    }
    name.chars().take(MOST).chain(['…']).collect()
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.title)?;
        if !self.note.is_empty() {
            writeln!(f, "{}\n", self.note)?;
        }
        let heads: Vec<String> = self.columns.iter().map(|&head| head.to_owned()).collect();
        let all = || std::iter::once(&heads).chain(&self.rows);
        let widths: Vec<usize> = (0..heads.len())
            .map(|column| all().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        for (at, row) in all().enumerate() {
            let mut line = String::new();
            for ((column, cell), &width) in row.iter().enumerate().zip(&widths) {
                // A head stands where its column does.
                let below = self.rows.first().map_or(cell, |first| &first[column]);
                let right = is_number(if at == 0 { below } else { cell });
                let cell =
                    if right { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
                line = line + &cell + "  ";
            }
            writeln!(f, "  {}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn columns_stand_under_their_heads() {
        let mut table = Table::new("t", "Title", &["name", "n"]);
        table.row(["a".into(), "1,000".into()]);
        table.row(["longer".into(), "7".into()]);
        let want = "Title\n\n  name        n\n  a       1,000\n  longer      7\n";
        assert_eq!(table.to_string(), want);
    }

    proptest! {
        #[test]
        fn numbers_keep_their_digits(value: u64) {
            let text = number(value);
            prop_assert!(is_number(&text));
            prop_assert_eq!(text.replace(',', "").parse::<u64>().unwrap(), value);
            prop_assert!(text.split(',').skip(1).all(|group| group.len() == 3));
        }
    }
}
