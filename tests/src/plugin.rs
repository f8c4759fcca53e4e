//! Calling the plugin as a runtime does.

use crate::lab::binary;
use crate::netns::Netns;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

/// A call to be made.
#[derive(Clone)]
pub struct Call<'a> {
    node: &'a Netns,
    program: PathBuf,
    env: Vec<(String, String)>,
    stdin: Vec<u8>,
}

/// How a call ended.
#[derive(Debug)]
pub struct Answer {
    /// Exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said to nobody.
    pub stderr: String,
    /// From start to end.
    pub took: Duration,
}

/// An error as a runtime reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// CNI error code.
    pub code: u64,
    /// `msg`
    pub msg: String,
    /// `details`; may be empty.
    pub details: String,
}

impl<'a> Call<'a> {
    /// `verb` on this node, with an empty environment but for `PATH`.
    pub fn new(node: &'a Netns, verb: &str) -> Self {
        let path = std::env::var("PATH").unwrap_or_default();
        let env = vec![("PATH".into(), path), ("CNI_PATH".into(), "/usr/lib/cni".into())];
        Self { node, program: binary("offramp"), env, stdin: Vec::new() }.env("CNI_COMMAND", verb)
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, key: &str, value: impl Into<String>) -> Self {
        self.env.retain(|(k, _)| k != key);
        self.env.push((key.to_owned(), value.into()));
        self
    }

    /// Unsets one.
    pub fn without(mut self, key: &str) -> Self {
        self.env.retain(|(k, _)| k != key);
        self
    }

    /// `CNI_CONTAINERID`
    pub fn container(self, id: &str) -> Self {
        self.env("CNI_CONTAINERID", id)
    }

    /// `CNI_IFNAME`
    pub fn ifname(self, name: &str) -> Self {
        self.env("CNI_IFNAME", name)
    }

    /// `CNI_NETNS`
    pub fn netns(self, path: impl AsRef<Path>) -> Self {
        self.env("CNI_NETNS", path.as_ref().to_str().unwrap())
    }

    /// `CNI_ARGS`
    pub fn args(self, args: &str) -> Self {
        self.env("CNI_ARGS", args)
    }

    /// The network configuration.
    pub fn config(self, config: &Value) -> Self {
        self.stdin(config.to_string())
    }

    /// Anything.
    pub fn stdin(mut self, stdin: impl Into<Vec<u8>>) -> Self {
        self.stdin = stdin.into();
        self
    }

    /// Calls.
    pub fn run(&self) -> Answer {
        self.run_for(None)
    }

    /// Calls, and kills the plugin if it takes longer than that.
    pub fn killed_after(&self, time: Duration) -> Answer {
        self.run_for(Some(time))
    }

    fn run_for(&self, time: Option<Duration>) -> Answer {
        let start = Instant::now();
        let mut command = self.node.command(&self.program);
        command.env_clear().envs(self.env.iter().map(|(k, v)| (k, v)));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("start {}: {e}", self.program.display()));
        let mut pipe = child.stdin.take().unwrap();
        // A plugin that refuses early does not read all of it.
        let _ = pipe.write_all(&self.stdin);
        drop(pipe);
        if let Some(time) = time {
            std::thread::sleep(time);
            child.kill().unwrap(); // of one that has ended, but was not waited for, it is nothing
        }
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        Answer {
            code: status.code(),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            took: start.elapsed(),
        }
    }
}

impl Answer {
    /// The call succeeded; its result, `null` for verbs that have none.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.code, Some(0), "the call failed: {}{}", self.stdout, self.stderr);
        if self.stdout.is_empty() { Value::Null } else { serde_json::from_str(&self.stdout).unwrap() }
    }

    /// The call failed, as the specification wants it.
    #[track_caller]
    pub fn error(&self) -> Failed {
        assert_ne!(self.code, Some(0), "the call succeeded: {}", self.stdout);
        let json: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("{e}: {:?}, {}", self.code, self.stdout));
        let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
        assert!(json["cniVersion"].is_string(), "{json}");
        assert!(!text("msg").is_empty(), "{json}");
        Failed { code: json["code"].as_u64().unwrap(), msg: text("msg"), details: text("details") }
    }

    /// The call failed with this code, and its text has all of `words`.
    #[track_caller]
    pub fn failed(&self, code: u64, words: &[&str]) -> Failed {
        let error = self.error();
        assert_eq!(error.code, code, "{error:?}");
        let text = format!("{} {}", error.msg, error.details);
        for word in words {
            assert!(text.contains(word), "{word:?} is not in {text:?}");
        }
        error
    }
}
