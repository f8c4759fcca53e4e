//! What a namespace and a state directory hold, as text that can be compared before and after.

use crate::netns::{Netns, parse};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// Sorted lines. Left out is what attachments share by design: bridges with their addresses and routes, nftables'
/// chains and empty sets, locks, logs, sockets, the hints of where to look for the next free address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot(BTreeSet<String>);

impl Snapshot {
    /// The kernel's part.
    pub fn take(netns: &Netns) -> Self {
        let links = netns.ip_json("link show");
        let shared: Vec<String> = netns.links_of_kind("bridge");
        let is_shared = |v: &Value| {
            let device = v["dev"].as_str().or(v["ifname"].as_str());
            device.is_some_and(|d| shared.iter().any(|s| s == d))
        };
        let mut lines = BTreeSet::new();
        let mut add = |all: &Value, line: &dyn Fn(&Value) -> Option<String>| {
            lines.extend(all.as_array().into_iter().flatten().filter_map(line));
        };
        add(&links, &|l| (!is_shared(l)).then(|| link(l)));
        for family in ["-4", "-6"] {
            add(&netns.ip_json(&format!("{family} addr show")), &|l| (!is_shared(l)).then(|| addresses(l)));
            add(&netns.ip_json(&format!("{family} route show table all")), &|r| route(r, is_shared(r)));
            add(&netns.ip_json(&format!("{family} neigh show")), &|n| {
                words(n, "neighbour", &["dev", "dst", "lladdr"])
            });
            add(&netns.ip_json(&format!("{family} rule show")), &|r| {
                words(r, "rule", &["priority", "src", "dst", "table"])
            });
        }
        add(&parse(&netns.run("bridge -j fdb show")), &|f| {
            (!is_shared_fdb(f, &shared)).then(|| words(f, "fdb", &["mac", "ifname", "vlan", "dst"])).flatten()
        });
        add(&parse(&netns.run("tc -j qdisc show")), &|q| {
            (!is_shared(q)).then(|| words(q, "qdisc", &["dev", "kind"])).flatten()
        });
        let ruleset = parse(&netns.run("nft -j list ruleset"));
        add(&ruleset["nftables"], &nft);
        Self(lines)
    }

    /// With the records and address files below `dir`.
    pub fn with_state(mut self, dir: &Path) -> Self {
        files(dir, &mut self.0);
        self
    }

    /// Without the lines that have this word.
    pub fn without(mut self, word: &str) -> Self {
        self.0.retain(|line| !line.contains(word));
        self
    }

    /// The lines, one below the other.
    pub fn text(&self) -> String {
        self.0.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// Panics with what came and what went.
#[track_caller]
pub fn assert_same(before: &Snapshot, after: &Snapshot) {
    let gone = before.0.difference(&after.0).map(|line| format!("- {line}\n"));
    let come = after.0.difference(&before.0).map(|line| format!("+ {line}\n"));
    let difference: String = gone.chain(come).collect();
    assert!(difference.is_empty(), "it is not as it was before:\n{difference}");
}

/// `KIND key=value ...` of the keys that are there; none if `lladdr` is wanted and missing: an entry that failed.
fn words(value: &Value, kind: &str, keys: &[&str]) -> Option<String> {
    if keys.contains(&"lladdr") && value["lladdr"].is_null() {
        return None;
    }
    let pairs = keys.iter().filter(|k| !value[**k].is_null()).map(|k| format!(" {k}={}", plain(&value[*k])));
    Some(kind.to_owned() + &pairs.collect::<String>())
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn link(l: &Value) -> String {
    let kind = l["linkinfo"]["info_kind"].as_str().unwrap_or("-");
    let up = l["flags"].as_array().is_some_and(|f| f.contains(&"UP".into()));
    let (name, mac, mtu) = (plain(&l["ifname"]), plain(&l["address"]), &l["mtu"]);
    format!("link {name} kind={kind} mac={mac} mtu={mtu} up={up}")
}

fn addresses(l: &Value) -> String {
    let each = l["addr_info"].as_array().into_iter().flatten();
    let all: BTreeSet<String> = each.map(|a| format!(" {}/{}", plain(&a["local"]), a["prefixlen"])).collect();
    format!("addresses {}{}", plain(&l["ifname"]), all.into_iter().collect::<String>())
}

/// The kernel's own routes of a shared link come and go with its carrier.
fn route(r: &Value, shared: bool) -> Option<String> {
    if shared && r["protocol"] == "kernel" {
        return None;
    }
    words(r, "route", &["dst", "dev", "gateway", "table", "protocol"])
}

/// A bridge's own entries are shared.
fn is_shared_fdb(f: &Value, shared: &[String]) -> bool {
    let device = f["ifname"].as_str().unwrap_or_default();
    shared.iter().any(|s| s == device)
}

/// Elements of sets and maps one by one; of other tables everything.
fn nft(object: &Value) -> Option<String> {
    let (kind, body) = object.as_object()?.iter().next()?;
    let ours = body["table"] == "offramp" || (kind == "table" && body["name"] == "offramp");
    match kind.as_str() {
        // The mark of which rules the table has.
        "set" if ours && plain(&body["name"]).starts_with("rules_") => None,
        "set" | "map" if ours => {
            let elements = body["elem"].as_array().filter(|e| !e.is_empty())?;
            let mut elements: Vec<String> = elements.iter().map(Value::to_string).collect();
            elements.sort();
            let (family, name) = (plain(&body["family"]), plain(&body["name"]));
            Some(format!("nft {family} {name} {}", elements.join(" ")))
        }
        "metainfo" => None,
        _ if ours => None,
        _ => {
            let mut body = body.clone();
            body.as_object_mut()?.remove("handle");
            for expression in body["expr"].as_array_mut().into_iter().flatten() {
                expression.as_object_mut()?.remove("counter");
            }
            Some(format!("nft {kind} {body}"))
        }
    }
}

fn files(dir: &Path, lines: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "locks" {
            files(&path, lines);
        } else if path.is_file() && !is_shared_file(name) {
            let content = std::fs::read_to_string(&path).unwrap_or_default();
            lines.insert(format!("file {}: {content}", path.display()));
        }
    }
}

fn is_shared_file(name: &str) -> bool {
    name == "lock" || name.starts_with("last") || name.contains(".log") || name.starts_with("offrampd.")
}
