//! A TOML table as typed fields. Every misfit becomes a [`Problem`] that names file, line, field
//! and a way to mend it; reading goes on, so that one look finds them all.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One thing wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// Where in the file's structure, such as `domain "clock": memory`.
    pub place: String,
    /// What is wrong and how to mend it.
    pub text: String,
}

/// All that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file's name.
    pub file: String,
    /// The problems, in the file's order.
    pub list: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.list.iter().enumerate() {
            let end = if number == 0 { "" } else { "\n" };
            write!(f, "{end}{}:{}: {}{}", self.file, problem.line, problem.place, problem.text)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Where problems are collected while a file is read.
pub(crate) struct Report<'t> {
    file: &'t str,
    source: &'t str,
    list: RefCell<Vec<Problem>>,
}

impl<'t> Report<'t> {
    pub(crate) fn new(file: &'t str, source: &'t str) -> Report<'t> {
        Report { file, source, list: RefCell::new(Vec::new()) }
    }

    /// Takes down a problem at `span`.
    pub(crate) fn add(&self, span: Range<usize>, place: &str, text: impl Into<String>) {
        let before = self.source.get(..span.start).unwrap_or(self.source);
        let line = before.matches('\n').count() + 1;
        let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
        self.list.borrow_mut().push(Problem { line, place, text: text.into() });
    }

    /// The problems; `None` when there are none.
    pub(crate) fn finish(self) -> Option<Problems> {
        let mut list = self.list.into_inner();
        list.sort_by_key(|problem| problem.line);
        (!list.is_empty()).then(|| Problems { file: self.file.into(), list })
    }
}

/// The fields of one table.
pub(crate) struct Fields<'r, 't> {
    report: &'r Report<'t>,
    /// What errors call the table.
    place: String,
    table: &'r DeTable<'t>,
    /// Where the table is, for what it lacks.
    span: Range<usize>,
}

impl<'r, 't> Fields<'r, 't> {
    pub(crate) fn new(
        report: &'r Report<'t>,
        place: impl Into<String>,
        table: &'r DeTable<'t>,
        span: Range<usize>,
    ) -> Fields<'r, 't> {
        Fields { report, place: place.into(), table, span }
    }

    /// From now on errors call the table this.
    pub(crate) fn rename(&mut self, place: String) {
        self.place = place;
    }

    /// Takes down a problem with a field.
    pub(crate) fn wrong(&self, name: &str, text: impl Into<String>) {
        let span = self.value(name).map_or(self.span.clone(), |value| value.span());
        self.report.add(span, &self.place_of(name), text);
    }

    fn place_of(&self, name: &str) -> String {
        if self.place.is_empty() { name.into() } else { format!("{}: {name}", self.place) }
    }

    /// Takes down every field that is not one of `known`.
    pub(crate) fn only(&self, known: &[&str]) {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let text = format!("there is no such field here; there are {}", known.join(", "));
                self.report.add(key.span(), &self.place_of(name), text);
            }
        }
    }

    /// Takes down that a field is not there.
    pub(crate) fn missing(&self, name: &str, example: &str) {
        self.wrong(name, format!("is missing; add a line such as `{name} = {example}`"));
    }

    /// Takes down that a table is not there.
    pub(crate) fn missing_table(&self, name: &str, header: &str) {
        self.wrong(name, format!("is missing; begin one with a line `{header}`"));
    }

    pub(crate) fn value(&self, name: &str) -> Option<&'r Spanned<DeValue<'t>>> {
        self.table.get(name)
    }

    fn wrong_type(&self, name: &str, value: &DeValue<'_>, example: &str) {
        let text = format!(
            "{} {} cannot stand here; write for example `{name} = {example}`",
            if value.type_str().starts_with(['a', 'i']) { "an" } else { "a" },
            value.type_str()
        );
        self.wrong(name, text);
    }

    /// A text; `example` is one as it stands in the file.
    pub(crate) fn text(&self, name: &str, example: &str) -> Option<&'r str> {
        let value = self.value(name)?.get_ref();
        let text = value.as_str();
        if text.is_none() {
            self.wrong_type(name, value, example);
        }
        text.filter(|text| self.no_nul(name, text))
    }

    /// Whether a field is `true`; what is left out is not.
    pub(crate) fn flag(&self, name: &str) -> bool {
        match self.value(name).map(|value| value.get_ref()) {
            Some(DeValue::Boolean(flag)) => *flag,
            Some(value) => {
                self.wrong_type(name, value, "true");
                false
            }
            None => false,
        }
    }

    /// A whole number that is not negative.
    pub(crate) fn count(&self, name: &str, example: &str) -> Option<u32> {
        let value = self.value(name)?.get_ref();
        let Some(integer) = value.as_integer() else {
            self.wrong_type(name, value, example);
            return None;
        };
        let number = u32::from_str_radix(integer.as_str(), integer.radix()).ok();
        if number.is_none() {
            let text = format!("{integer} is out of range; write for example `{name} = {example}`");
            self.wrong(name, text);
        }
        number
    }

    /// A list of whole numbers that are not negative.
    pub(crate) fn counts(&self, name: &str, example: &str) -> Option<Vec<u32>> {
        let value = self.value(name)?.get_ref();
        let number = |value: &Spanned<DeValue<'_>>| {
            let integer = value.get_ref().as_integer()?;
            u32::from_str_radix(integer.as_str(), integer.radix()).ok()
        };
        let numbers = value.as_array().and_then(|list| list.iter().map(number).collect());
        if numbers.is_none() {
            self.wrong_type(name, value, example);
        }
        numbers
    }

    /// A table.
    pub(crate) fn table(&self, name: &str, example: &str) -> Option<Fields<'r, 't>> {
        let value = self.value(name)?;
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type(name, value.get_ref(), example);
            return None;
        };
        Some(Fields::new(self.report, self.place_of(name), table, value.span()))
    }

    /// A list of texts.
    pub(crate) fn texts(&self, name: &str, example: &str) -> Option<Vec<String>> {
        let value = self.value(name)?.get_ref();
        let texts = value
            .as_array()
            .and_then(|list| list.iter().map(|text| text.get_ref().as_str()).collect());
        let Some(texts): Option<Vec<&str>> = texts else {
            self.wrong_type(name, value, example);
            return None;
        };
        texts.iter().all(|text| self.no_nul(name, text)).then_some(())?;
        Some(texts.into_iter().map(String::from).collect())
    }

    /// Texts end at a NUL where they are going.
    fn no_nul(&self, name: &str, text: &str) -> bool {
        if text.contains('\0') {
            self.wrong(name, "a NUL cannot stand here; remove the \\u0000");
            return false;
        }
        true
    }
}
