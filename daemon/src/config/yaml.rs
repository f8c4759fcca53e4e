//! YAML into raw types whose scalars keep their place, and the checks that turn those into real types.

use super::fault::Fault;
use serde::de::DeserializeOwned;
use serde_saphyr::{Spanned, UserMessageFormatter, options, render_options};
use std::fmt::Display;
use std::time::Duration;

/// A scalar as it was written, with its place. What it means is decided by a check that knows what is allowed.
pub type Text = Spanned<String>;

/// Reads one document. The fault is of the syntax, the structure, an unknown key or a key given twice; after
/// such a one the rest cannot be judged, so it comes alone.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    let mut key = String::new();
    let options = options! { with_snippet: false };
    let parsed = serde_saphyr::with_deserializer_from_str_with_options(text, options, |yaml| {
        serde_path_to_error::deserialize(yaml).map_err(|e| {
            key = e.path().to_string();
            e.into_inner()
        })
    });
    parsed.map_err(|e| {
        let place = e.location().map(super::fault::Place::from);
        let why = e.render_with_options(render_options! { formatter: &UserMessageFormatter });
        // The library ends its message with the place, which we say first.
        let suffix = place.map(|p| format!(" at line {}, column {}", p.line, p.column)).unwrap_or_default();
        let why = why.strip_suffix(&suffix).unwrap_or(&why).to_owned();
        Fault { place, key: clean(&key), why }
    })
}

/// `serde_path_to_error` writes `.` for the root and `?` for what it could not follow.
fn clean(key: &str) -> String {
    key.trim_end_matches(".?").trim_matches(['.', '?']).to_owned()
}

/// Checks values one after another and collects what is wrong.
#[derive(Default)]
pub struct Checker {
    faults: Vec<Fault>,
}

impl Checker {
    /// The value of an optional key; none if it is missing or wrong (then a fault is noted).
    pub fn opt<T, E: Display>(
        &mut self,
        key: &str,
        raw: Option<&Text>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = raw?;
        parse(text.value.trim()).map_err(|why| self.fault(key, Some(text), why)).ok()
    }

    /// The values of a list, with their texts for later faults; wrong ones are noted and left out.
    pub fn list<'a, T, E: Display>(
        &mut self,
        key: &str,
        raw: &'a [Text],
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<(&'a Text, T)> {
        let mut values = Vec::with_capacity(raw.len());
        for (i, text) in raw.iter().enumerate() {
            values.extend(self.opt(&format!("{key}[{i}]"), Some(text), &parse).map(|value| (text, value)));
        }
        values
    }

    /// Notes a fault of `key`, at `text` if there is one.
    pub fn fault(&mut self, key: &str, text: Option<&Text>, why: impl Display) {
        let place = text.map(|t| t.referenced.into());
        self.faults.push(Fault { place, key: key.to_owned(), why: why.to_string() });
    }

    /// All faults, in the file's order; what is missing comes last.
    pub fn finish(mut self) -> Vec<Fault> {
        self.faults.sort_by_key(|f| (f.place.is_none(), f.place));
        self.faults
    }
}

/// One of a few words.
pub fn one_of<T: Copy>(words: &[(&str, T)]) -> impl Fn(&str) -> Result<T, String> {
    move |text| {
        words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
            let allowed: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            format!("{text:?} is not allowed; allowed: {}", allowed.join(", "))
        })
    }
}

/// `true` or `false`.
pub fn boolean(text: &str) -> Result<bool, String> {
    one_of(&[("true", true), ("false", false)])(text)
}

/// A whole number within bounds.
pub fn number(min: u64, max: u64) -> impl Fn(&str) -> Result<u64, String> {
    move |text| {
        text.parse()
            .ok()
            .filter(|n| (min..=max).contains(n))
            .ok_or_else(|| format!("{text:?} is not allowed; allowed: a whole number from {min} to {max}"))
    }
}

/// A time such as `500ms`, `30s`, `5m`, `1h`, within bounds.
pub fn duration(min: Duration, max: Duration) -> impl Fn(&str) -> Result<Duration, String> {
    move |text| {
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(split);
        let millis_per_unit = match unit {
            "ms" => Some(1),
            "s" => Some(1000),
            "m" => Some(60_000),
            "h" => Some(3_600_000),
            _ => None,
        };
        digits
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(millis_per_unit?))
            .map(Duration::from_millis)
            .filter(|d| (min..=max).contains(d))
            .ok_or_else(|| {
                format!("{text:?} is not allowed; allowed: {min:?} to {max:?}, such as 30s, 5m or 1h")
            })
    }
}
