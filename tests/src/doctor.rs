//! Faults that are planted on a node, and what `offrampd doctor` says of it.

use crate::netns::Netns;
use crate::{binary, wait_for};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// What the doctor of a node is told.
pub struct Doctor<'a> {
    /// Where it looks.
    pub netns: &'a Netns,
    /// The daemon's configuration.
    pub config: &'a Path,
    /// The folder of the plugin.
    pub bin_dir: &'a Path,
}

/// What it said.
#[derive(Debug)]
pub struct Said {
    /// Its exit code.
    pub code: Option<i32>,
    /// With `-o json`.
    pub report: Value,
}

impl Doctor<'_> {
    /// Looks.
    pub fn look(&self) -> Said {
        let mut command = self.netns.command(binary("offrampd"));
        command
            .args(["doctor", "-o", "json", "--config"])
            .arg(self.config)
            .arg("--bin-dir")
            .arg(self.bin_dir);
        let output = command.output().unwrap();
        let report = serde_json::from_slice(&output.stdout);
        let report = report.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
        Said { code: output.status.code(), report }
    }

    /// It finds nothing, and could look at everything.
    #[track_caller]
    pub fn finds_nothing(&self, when: &str) {
        let mut last = self.look();
        // What was planted before may still be mended.
        for _ in 0..10 {
            if last.ids().is_empty() {
                break;
            }
            last = self.look();
        }
        assert_eq!((last.code, last.ids()), (Some(0), BTreeSet::new()), "{when}: {:#}", last.report);
        assert_eq!(last.report["notSeen"], serde_json::json!([]), "{when}");
    }

    /// It finds exactly these, and the first with these words.
    #[track_caller]
    pub fn finds(&self, ids: &[&str], words: &[&str]) {
        let wanted: BTreeSet<String> = ids.iter().map(ToString::to_string).collect();
        let mut last = self.look();
        for _ in 0..10 {
            if last.ids() == wanted {
                break;
            }
            last = self.look();
        }
        assert_eq!(last.ids(), wanted, "{:#}", last.report);
        let finding = last.finding(ids[0]);
        let text = finding.to_string();
        for word in words {
            assert!(text.contains(word), "{word:?} is not in {finding:#}");
        }
        let is_filled = |key: &str| finding[key].as_str().is_some_and(|s| !s.is_empty());
        assert!(["what", "todo", "docs"].into_iter().all(is_filled), "{finding:#}");
        assert!(!finding["evidence"].as_array().unwrap().is_empty(), "{finding:#}");
        let bad = |f: &Value| f["severity"] != "hint";
        let code = i32::from(last.report["findings"].as_array().unwrap().iter().any(bad));
        assert_eq!(last.code, Some(code), "{:#}", last.report);
    }
}

impl Said {
    /// The kinds of what it found.
    pub fn ids(&self) -> BTreeSet<String> {
        let all = self.report["findings"].as_array().unwrap().iter();
        all.map(|f| f["id"].as_str().unwrap().to_owned()).collect()
    }

    /// One of them.
    pub fn finding(&self, id: &str) -> Value {
        let all = self.report["findings"].as_array().unwrap().iter();
        all.clone().find(|f| f["id"] == id).unwrap().clone()
    }
}

/// The kinds that are planted in a VM, where VFs are (`sriov_doctor`).
pub const IN_VM: [&str; 9] = [
    "pf-down",
    "vfs-otherwise",
    "vf-leftover",
    "vf-astray",
    "vf-quarantined",
    "queues-shared",
    "eswitch-fdb-missing",
    "representor-not-offloading",
    "queues-below-cpus",
];

/// Waits for a daemon to be ready again.
pub fn until_ready(node: &crate::Node) {
    wait_for("the daemon to be ready", || node.ask_daemon(offramp_core::wire::Request::Ready));
}
