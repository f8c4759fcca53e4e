//! Label and field selectors.

use serde_json::Value;

/// What a list or watch is confined to.
#[derive(Debug, Clone, Default)]
pub struct Selector {
    pub namespace: Option<String>,
    labels: Vec<Term>,
    fields: Vec<Term>,
}

#[derive(Debug, Clone)]
enum Term {
    Is(String, String),
    IsNot(String, String),
    Has(String),
    HasNot(String),
}

/// The fields that every kind has, and those of pods that are used.
const FIELDS: [&str; 5] = ["metadata.name", "metadata.namespace", "spec.nodeName", "status.phase", "type"];

impl Selector {
    /// The error is what the server would answer.
    pub fn parse(namespace: Option<&str>, labels: &str, fields: &str) -> Result<Self, String> {
        let fields = terms(fields)?;
        for term in &fields {
            match term {
                Term::Is(field, _) | Term::IsNot(field, _) if FIELDS.contains(&field.as_str()) => {}
                other => return Err(format!("field label not supported: {other:?}")),
            }
        }
        Ok(Self { namespace: namespace.map(str::to_owned), labels: terms(labels)?, fields })
    }

    pub fn selects(&self, object: &Value) -> bool {
        let meta = &object["metadata"];
        let in_namespace = self.namespace.as_ref().is_none_or(|ns| meta["namespace"] == ns.as_str());
        let label = |name: &str| meta["labels"][name].as_str().map(str::to_owned);
        let field = |path: &str| {
            let value = path.split('.').fold(object, |at, key| &at[key]);
            // An absent field is an empty one.
            Some(value.as_str().unwrap_or_default().to_owned())
        };
        in_namespace
            && self.labels.iter().all(|t| t.holds(label))
            && self.fields.iter().all(|t| t.holds(field))
    }
}

impl Term {
    fn holds(&self, value: impl Fn(&str) -> Option<String>) -> bool {
        match self {
            Self::Is(key, wanted) => value(key).as_ref() == Some(wanted),
            Self::IsNot(key, wanted) => value(key).as_ref() != Some(wanted),
            Self::Has(key) => value(key).is_some(),
            Self::HasNot(key) => value(key).is_none(),
        }
    }
}

fn terms(text: &str) -> Result<Vec<Term>, String> {
    let term = |part: &str| {
        if part.contains(" in ") || part.contains(" notin ") || part.contains('(') {
            return Err(format!("this double knows no sets in selectors: {part:?}"));
        }
        let pair = |(key, value): (&str, &str)| (key.trim().to_owned(), value.trim().to_owned());
        if let Some((k, v)) = part.split_once("!=").map(pair) {
            return Ok(Term::IsNot(k, v));
        }
        if let Some((k, v)) = part.split_once("==").or_else(|| part.split_once('=')).map(pair) {
            return Ok(Term::Is(k, v));
        }
        Ok(part.strip_prefix('!').map_or_else(|| Term::Has(part.into()), |key| Term::HasNot(key.into())))
    };
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(term).collect()
}
