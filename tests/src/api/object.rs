//! Parts of objects.

use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// A string in the metadata; empty if it is not there.
pub fn meta<'a>(object: &'a Value, key: &str) -> &'a str {
    object["metadata"][key].as_str().unwrap_or_default()
}

/// What the server gives a new object.
pub fn stamp(object: &mut Value) {
    object["metadata"]["uid"] = json!(new_uid());
    object["metadata"]["creationTimestamp"] = json!(timestamp());
    object["metadata"]["generation"] = json!(1);
}

/// What a client cannot change comes from `old`.
pub fn keep_identity(new: &mut Value, old: &Value) {
    for key in ["uid", "creationTimestamp", "generation", "deletionTimestamp"] {
        match &old["metadata"][key] {
            Value::Null => drop(new["metadata"].as_object_mut().map(|m| m.remove(key))),
            value => new["metadata"][key] = value.clone(),
        }
    }
}

/// A member, moved over from another object or removed.
pub fn take_member(to: &mut Value, from: &Value, key: &str) {
    match &from[key] {
        Value::Null => drop(to.as_object_mut().map(|o| o.remove(key))),
        value => to[key] = value.clone(),
    }
}

/// Whether two differ in more than the version.
pub fn differ(a: &Value, b: &Value) -> bool {
    let bare = |v: &Value| {
        let mut v = v.clone();
        v["metadata"]["resourceVersion"] = Value::Null;
        v
    };
    bare(a) != bare(b)
}

/// A version 4 UUID.
fn new_uid() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
    text.trim().to_owned()
}

/// Now, as RFC 3339 in seconds.
pub fn timestamp() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (days, rest) = (seconds / 86400, seconds % 86400);
    // Gregorian calendar from days: Howard Hinnant, chrono-Compatible Low-Level Date Algorithms, civil_from_days.
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1460 + doe / 36524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}
