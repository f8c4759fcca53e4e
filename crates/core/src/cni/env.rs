//! The environment of a call (CNI spec, "Parameters").

use super::{args::Args, error::CniError};
use crate::ids::{AttachmentId, ContainerId, IfName};
use std::ffi::OsString;

/// What the runtime wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Attach.
    Add,
    /// Detach; may be repeated.
    Del,
    /// Compare with what ADD did.
    Check,
    /// Remove what the valid list does not name.
    Gc,
    /// Could an ADD succeed?
    Status,
    /// Which versions are spoken?
    Version,
}

impl Verb {
    /// As in `CNI_COMMAND`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        use Verb::{Add, Check, Del, Gc, Status, Version};
        [Add, Del, Check, Gc, Status, Version].into_iter().find(|v| v.as_str() == text)
    }

    /// The variables without which the verb cannot be served.
    fn required(self) -> &'static [&'static str] {
        match self {
            Self::Add | Self::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
            Self::Del => &["CNI_CONTAINERID", "CNI_IFNAME"],
            Self::Gc | Self::Status | Self::Version => &[],
        }
    }
}

/// The environment, parsed.
#[derive(Debug, Clone)]
pub struct Call {
    /// `CNI_COMMAND`
    pub verb: Verb,
    /// `CNI_CONTAINERID` and `CNI_IFNAME`; there for ADD, DEL and CHECK.
    pub attachment: Option<AttachmentId>,
    /// `CNI_NETNS`; DEL may come without.
    pub netns: Option<String>,
    /// `CNI_ARGS`; of DEL, GC and STATUS nothing is read, so that a wrong one stops no release.
    pub args: Args,
    /// `CNI_ARGS` as it came, for delegated plugins.
    pub raw_args: String,
    /// `CNI_PATH`: where delegated plugins are searched.
    pub path: Vec<String>,
}

impl Call {
    /// Parses the environment, given as a lookup. Error 4 names every variable that is missing or wrong.
    pub fn from_env(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, CniError> {
        let get = |key: &str| lookup(key).and_then(|v| v.into_string().ok()).filter(|v| !v.is_empty());
        let text = |keys: &[&str]| {
            keys.iter().try_for_each(|k| match lookup(k).map(OsString::into_string) {
                Some(Err(v)) => Err(CniError::environment(format!("{k} {v:?} is not UTF-8"))),
                _ => Ok(()),
            })
        };
        text(&["CNI_COMMAND"])?;
        let command = get("CNI_COMMAND").unwrap_or_default();
        let verb = Verb::parse(&command).ok_or_else(|| {
            CniError::environment(format!(
                "CNI_COMMAND {command:?} is not ADD, DEL, CHECK, GC, STATUS or VERSION"
            ))
        })?;
        text(verb.required())?;
        if matches!(verb, Verb::Add | Verb::Check) {
            text(&["CNI_ARGS", "CNI_PATH"])?;
        }
        let missing: Vec<_> = verb.required().iter().filter(|k| get(k).is_none()).copied().collect();
        if !missing.is_empty() {
            let list = missing.join(", ");
            return Err(CniError::environment(format!("{command} needs the environment variable(s) {list}")));
        }
        let attachment = match verb {
            Verb::Add | Verb::Del | Verb::Check => Some(attachment(&get)?),
            Verb::Gc | Verb::Status | Verb::Version => None,
        };
        let raw_args = get("CNI_ARGS").unwrap_or_default();
        let args = match verb {
            Verb::Add | Verb::Check => Args::parse(&raw_args)?,
            _ => Args::default(),
        };
        let path = get("CNI_PATH")
            .unwrap_or_default()
            .split(':')
            .filter(|p| !p.is_empty())
            .map(Into::into)
            .collect();
        Ok(Self { verb, attachment, netns: get("CNI_NETNS"), args, raw_args, path })
    }
}

fn attachment(get: &impl Fn(&str) -> Option<String>) -> Result<AttachmentId, CniError> {
    let container = get("CNI_CONTAINERID").unwrap_or_default().parse::<ContainerId>();
    let ifname = get("CNI_IFNAME").unwrap_or_default().parse::<IfName>();
    match (container, ifname) {
        (Ok(container), Ok(ifname)) => Ok(AttachmentId { container, ifname }),
        (Err(e), Ok(_)) => Err(CniError::environment(format!("CNI_CONTAINERID: {e}"))),
        (Ok(_), Err(e)) => Err(CniError::environment(format!("CNI_IFNAME: {e}"))),
        (Err(c), Err(i)) => Err(CniError::environment(format!("CNI_CONTAINERID: {c}; CNI_IFNAME: {i}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(pairs: &[(&str, &str)]) -> Result<Call, CniError> {
        Call::from_env(|key| pairs.iter().find(|(k, _)| *k == key).map(|(_, v)| (*v).into()))
    }

    #[test]
    fn missing_variables_are_all_named() {
        let e = call(&[("CNI_COMMAND", "ADD"), ("CNI_NETNS", "")]).unwrap_err();
        assert_eq!(e.code, 4);
        for name in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"] {
            assert!(e.msg.contains(name), "{e}");
        }
        assert_eq!(call(&[("CNI_COMMAND", "FLY")]).unwrap_err().code, 4);
        let e =
            call(&[("CNI_COMMAND", "DEL"), ("CNI_CONTAINERID", "../x"), ("CNI_IFNAME", "a/b")]).unwrap_err();
        assert!(e.msg.contains("CNI_CONTAINERID") && e.msg.contains("CNI_IFNAME"), "{e}");
    }

    #[test]
    fn del_reads_no_args_and_needs_no_netns() {
        let c = call(&[
            ("CNI_COMMAND", "DEL"),
            ("CNI_CONTAINERID", "c"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_ARGS", "broken"),
        ])
        .unwrap();
        assert_eq!((c.netns, c.args), (None, Args::default()));
        let c = call(&[("CNI_COMMAND", "STATUS"), ("CNI_CONTAINERID", ""), ("CNI_PATH", "/a:/b")]).unwrap();
        assert_eq!((c.attachment, c.path.len()), (None, 2));
    }
}
