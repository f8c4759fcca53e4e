//! One JSON line a call, in a file with a size bound. A log that cannot be written fails no call.

use crate::context::{Context, now};
use nix::libc::O_NOFOLLOW;
use offramp_core::CniError;
use offramp_core::cni::config::{Local, LogLevel};
use serde_json::{Map, Value, json};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The most of a text that comes from outside, in characters: a line stays readable, and JSON.
const MAX_TEXT: usize = 1000;

/// Logs a call that was served.
pub fn write(cx: &Context, error: Option<&CniError>) {
    let mut entry = entry(cx.call.verb.as_str(), error);
    entry["network"] = cx.conf.name.as_str().into();
    entry["micros"] = cx.micros().into();
    if let Some(id) = &cx.call.attachment {
        entry["attachment"] = id.to_string().into();
    }
    if let Some(pod) = &cx.call.args.pod {
        entry["pod"] = short(&pod.to_string());
    }
    let steps: Map<String, Value> =
        cx.times.iter().map(|(name, micros)| ((*name).to_owned(), (*micros).into())).collect();
    entry["steps"] = steps.into();
    if cx.conf.local.log_level == LogLevel::Debug {
        entry["netns"] = cx.call.netns.as_deref().map_or(Value::Null, short);
        entry["args"] = short(&cx.call.raw_args);
        entry["stdin_bytes"] = cx.stdin_bytes.into();
    }
    put(&cx.conf.local, error, &entry);
}

/// Logs a call that was refused for its environment or configuration, if the latter tells where.
pub fn refused(stdin: &[u8], error: &CniError) {
    if let Some(local) = Local::of(stdin) {
        let verb = std::env::var_os("CNI_COMMAND").unwrap_or_default();
        put(&local, Some(error), &entry(&verb.to_string_lossy(), Some(error)));
    }
}

fn entry(verb: &str, error: Option<&CniError>) -> Value {
    let outcome = if error.is_some() { "error" } else { "ok" };
    let mut entry = json!({"time": now(), "verb": short(verb), "outcome": outcome});
    if let Some(e) = error {
        entry["code"] = e.code.into();
        entry["error"] = short(&e.to_string());
    }
    entry
}

fn short(text: &str) -> Value {
    text.chars().take(MAX_TEXT).collect::<String>().into()
}

fn put(local: &Local, error: Option<&CniError>, entry: &Value) {
    let level = local.log_level;
    if level >= LogLevel::Info || (level == LogLevel::Error && error.is_some()) {
        let _ = append(&local.log_file, local.log_max_bytes, format!("{entry}\n").as_bytes());
    }
}

fn append(path: &Path, max_bytes: u64, line: &[u8]) -> std::io::Result<()> {
    let mut file = open(path)?;
    if file.metadata()?.len() >= max_bytes {
        let mut old = path.as_os_str().to_owned();
        old.push(".1");
        std::fs::rename(path, old)?;
        file = open(path)?;
    }
    file.write_all(line)
}

/// The place may be one where others can put a link to a file of the node's.
fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(O_NOFOLLOW).open(path)
}
