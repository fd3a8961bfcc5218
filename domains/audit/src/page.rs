//! The audit as one HTML page that needs nothing else: no script, no font, no other file.

use crate::table::{Table, is_number};

/// How the page looks.
const STYLE: &str = "\
body { font: 15px/1.4 sans-serif; margin: 2em auto; max-width: 90em; padding: 0 1em; }
table { border-collapse: collapse; }
th, td { border-bottom: 1px solid #ccc; padding: .2em .7em; text-align: left; vertical-align: top; }
td { font-family: monospace; overflow-wrap: anywhere; }
.number { text-align: right; white-space: nowrap; }
.passed { background: #fcc; padding: .5em; }
";

/// The page: `summary` lines of what is wrong (none is good), then the tables.
pub fn page(title: &str, wrong: &[String], tables: &[Table]) -> String {
    let title = escape(title);
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    for line in wrong {
        html += &format!("<p class=\"passed\">{}</p>\n", escape(line));
    }
    if wrong.is_empty() {
        html += "<p>Every budget holds.</p>\n";
    }
    html += "<ul>\n";
    for table in tables {
        html += &format!("<li><a href=\"#{}\">{}</a></li>\n", table.id, escape(table.title));
    }
    html += "</ul>\n";
    for table in tables {
        section(&mut html, table);
    }
    html + "</body>\n</html>\n"
}

fn section(html: &mut String, table: &Table) {
    *html += &format!("<h2 id=\"{}\">{}</h2>\n", table.id, escape(table.title));
    if !table.note.is_empty() {
        *html += &format!("<p>{}</p>\n", escape(&table.note));
    }
    *html += "<table>\n<tr>";
    for (at, column) in table.columns.iter().enumerate() {
        let numbers = table.rows.first().is_some_and(|row| is_number(&row[at]));
        *html += &cell("th", numbers, column);
    }
    *html += "</tr>\n";
    for row in &table.rows {
        *html += "<tr>";
        for text in row {
            *html += &cell("td", is_number(text), text);
        }
        *html += "</tr>\n";
    }
    *html += "</table>\n";
}

fn cell(tag: &str, number: bool, text: &str) -> String {
    let class = if number { " class=\"number\"" } else { "" };
    format!("<{tag}{class}>{}</{tag}>", escape(text))
}

/// Text as HTML shows it.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn everything_is_escaped() {
        let mut table = Table::new("t", "A & B", &["a<b"]);
        table.row(["<script>\"'".into()]);
        table.note = "1 > 0".into();
        let html = page("<title>", &["x < y".into()], &[table]);
        for text in ["A &amp; B", "a&lt;b", "&lt;script&gt;&quot;&#39;", "1 &gt; 0", "x &lt; y"] {
            assert!(html.contains(text), "{text}");
        }
        assert!(!html.contains("<script"));
    }

    proptest! {
        #[test]
        fn escaped_text_has_no_marks_left(text: String) {
            let escaped = escape(&text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
            let entities = ["amp;", "lt;", "gt;", "quot;", "#39;"];
            for (at, _) in escaped.match_indices('&') {
                prop_assert!(entities.iter().any(|e| escaped[at + 1..].starts_with(e)));
            }
        }
    }
}
