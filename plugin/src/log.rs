//! One JSON line a call, in a file with a size bound. A log that cannot be written fails no call.

use crate::context::{Context, now};
use offramp_core::CniError;
use offramp_core::cni::config::LogLevel;
use serde_json::{Map, Value, json};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub fn write(cx: &Context, error: Option<&CniError>) {
    let level = cx.conf.local.log_level;
    if level == LogLevel::None || (level == LogLevel::Error && error.is_none()) {
        return;
    }
    let mut line = format!("{}\n", entry(cx, error)).into_bytes();
    line.truncate(4096);
    let _ = append(&cx.conf.local.log_file, cx.conf.local.log_max_bytes, &line);
}

fn entry(cx: &Context, error: Option<&CniError>) -> Value {
    let mut entry = json!({
        "time": now(),
        "verb": cx.call.verb.as_str(),
        "network": cx.conf.name,
        "micros": cx.micros(),
        "outcome": if error.is_some() { "error" } else { "ok" },
    });
    if let Some(id) = &cx.call.attachment {
        entry["attachment"] = id.to_string().into();
    }
    if let Some(pod) = &cx.call.args.pod {
        entry["pod"] = pod.to_string().into();
    }
    if let Some(e) = error {
        entry["code"] = e.code.into();
        entry["error"] = e.to_string().into();
    }
    let steps: Map<String, Value> =
        cx.times.iter().map(|(name, micros)| ((*name).to_owned(), (*micros).into())).collect();
    entry["steps"] = steps.into();
    entry
}

fn append(path: &Path, max_bytes: u64, line: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    if file.metadata()?.len() >= max_bytes {
        let mut old = path.as_os_str().to_owned();
        old.push(".1");
        std::fs::rename(path, old)?;
        file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    }
    file.write_all(line)
}
