//! The log of requests: what RBAC is asked, in its words.

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Logged {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`
    pub verb: String,
    /// Empty for the core's.
    pub group: String,
    /// The plural.
    pub resource: String,
    /// Empty without one.
    pub namespace: String,
    /// Empty without one.
    pub name: String,
    /// `status`, or empty.
    pub subresource: String,
    /// The fieldSelector, or empty.
    pub field_selector: String,
    /// The resourceVersion that was asked for; none: the parameter was not there.
    pub resource_version: Option<String>,
    /// Who asked, as it says.
    pub user_agent: String,
    /// The response's status.
    pub code: u16,
}

impl Logged {
    /// `patch nodes/status n1`, `create default/events`
    pub fn short(&self) -> String {
        let slash = |s: &str| if s.is_empty() { String::new() } else { format!("/{s}") };
        let namespace =
            if self.namespace.is_empty() { String::new() } else { format!("{}/", self.namespace) };
        let text =
            format!("{} {namespace}{}{} {}", self.verb, self.resource, slash(&self.subresource), self.name);
        text.trim_end().to_owned()
    }
}
