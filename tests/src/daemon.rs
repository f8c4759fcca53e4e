//! A node's daemon as a child process.

use crate::lab::binary;
use crate::node::{Node, over, path};
use crate::wait::wait_for;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use offramp_core::wire::{Envelope, Request, Response, frame_header, frame_len};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

/// `offrampd run` on a node. Killed on drop; its log is printed if the test fails.
pub struct Daemon<'a> {
    node: &'a Node,
    child: Child,
    log: PathBuf,
}

impl Node {
    /// Starts a daemon and waits until it serves. `more` is laid over the configuration.
    pub fn daemon(&self, more: Value) -> Daemon<'_> {
        self.daemon_as(more, |_| {})
    }

    /// Starts a daemon, as `change` wants it, and waits until it serves.
    pub fn daemon_as(&self, more: Value, change: impl FnOnce(&mut Command)) -> Daemon<'_> {
        let mut daemon = self.daemon_unready(more, change);
        wait_for("the daemon's answer", || {
            let ended = daemon.child.try_wait().unwrap();
            assert_eq!(ended, None, "the daemon ended: {}", daemon.log());
            self.ask_daemon(Request::Ready)
        });
        daemon
    }

    /// Sends a request to the daemon; none if it is not there. It listens before it has looked at its node, and
    /// answers after.
    pub fn ask_daemon(&self, request: Request) -> Option<Response> {
        let mut stream = UnixStream::connect(self.socket()).ok()?;
        let json = serde_json::to_vec(&Envelope::new(request)).unwrap();
        stream.write_all(&[frame_header(json.len()).unwrap().as_slice(), &json].concat()).ok()?;
        let mut header = [0; 4];
        stream.read_exact(&mut header).ok()?;
        let mut answer = vec![0; frame_len(header).unwrap()];
        stream.read_exact(&mut answer).ok()?;
        Some(serde_json::from_slice(&answer).unwrap())
    }

    /// Starts a daemon, as `change` wants it, and does not wait.
    pub fn daemon_unready(&self, more: Value, change: impl FnOnce(&mut Command)) -> Daemon<'_> {
        let config = self.dir().join("offrampd.yaml");
        std::fs::write(&config, self.daemon_conf(more).to_string()).unwrap();
        let log = self.dir().join("offrampd.log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let mut command = self.command(binary("offrampd"));
        command.args(["run", "--config"]).arg(&config).stdin(Stdio::null());
        command.stdout(file.try_clone().unwrap()).stderr(file);
        change(&mut command);
        Daemon { node: self, child: command.spawn().unwrap(), log }
    }

    /// The daemon's configuration (JSON is YAML too): dual stack, no peers, no HTTP; `more` is laid over it.
    pub fn daemon_conf(&self, more: Value) -> Value {
        let base = json!({
            "node": {"name": self.node_name()},
            "cluster": {"source": "standalone", "podCIDRs": ["10.244.1.0/24", "fd00:244:1::/64"]},
            "paths": {"stateDir": self.state(), "socket": self.socket()},
            "http": {"address": "none"},
            "log": {"level": "debug"},
        });
        over(over(base, path()), more)
    }
}

impl Daemon<'_> {
    /// Its process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logged so far, earlier daemons of the node included.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Sends SIGTERM and waits for its end.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.child.wait().unwrap()
    }

    /// Kills it, as the kernel does when memory runs out.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for an end that it comes to by itself.
    pub fn wait(&mut self) -> ExitStatus {
        wait_for("the daemon's end", || self.child.try_wait().unwrap())
    }

    /// Runs the command line against it: `offrampd LINE -o json`.
    pub fn ask(&self, line: &str) -> Value {
        let mut command = self.node.command(binary("offrampd"));
        command.args(line.split_whitespace()).args(["-o", "json", "--socket"]).arg(self.node.socket());
        serde_json::from_str(&crate::netns::run(&mut command)).unwrap()
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of offrampd on {} ---\n{}", self.node.node_name(), self.log());
        }
    }
}
