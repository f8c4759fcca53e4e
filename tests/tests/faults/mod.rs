//! A node whose plugin and daemon can be killed at a chosen point.

#![allow(dead_code, reason = "each test binary uses a part")]

use offramp_tests::{Call, Daemon, Lab, Node, Pod, Snapshot, assert_same, over, wait_for};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How a call with a crash point ended.
pub enum Crash {
    /// It was killed at this point.
    At(String),
    /// It was through before it passed so many points.
    Survived,
}

/// What comes after a kill.
pub type Way = fn(&mut Fault<'_>, &Value);

/// After an ADD that was killed.
pub const AFTER_ADD: [(&str, Way); 3] =
    [("DEL three times", del_thrice), ("GC", gc), ("the daemon's restart", restart)];

/// After a DEL that was killed.
pub const AFTER_DEL: [(&str, Way); 3] = [
    ("DEL three times", del_thrice),
    ("GC", gc),
    ("the sandbox's end and the daemon's restart", end_and_restart),
];

/// One node, one pod, and a daemon if the mode needs it.
pub struct Fault<'a> {
    pub node: &'a Node,
    lab: &'a Lab,
    pod: Pod,
    daemon: Option<Daemon<'a>>,
    with_daemon: bool,
    daemon_conf: Value,
    args: String,
}

impl<'a> Fault<'a> {
    pub fn new(lab: &'a Lab, node: &'a Node, with_daemon: bool) -> Self {
        Self {
            node,
            lab,
            pod: lab.pod("pod"),
            daemon: None,
            with_daemon,
            daemon_conf: daemon_conf(),
            args: String::new(),
        }
    }

    /// With more in the daemon's configuration.
    pub fn with_daemon_conf(mut self, more: Value) -> Self {
        self.daemon_conf = over(self.daemon_conf, more);
        self
    }

    /// With `CNI_ARGS`.
    pub fn with_args(mut self, args: &str) -> Self {
        self.args = args.to_owned();
        self
    }

    /// Has everything there that stays by design: bridges, tables, the daemon's devices.
    pub fn settle(&mut self, conf: &Value) {
        self.start_daemon();
        self.add_and_del(conf);
        if !self.with_daemon {
            self.stop_daemon();
        }
    }

    pub fn start_daemon(&mut self) {
        if self.daemon.is_none() {
            self.daemon = Some(self.node.daemon(self.daemon_conf.clone()));
        }
    }

    pub fn stop_daemon(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.kill();
        }
    }

    pub fn add(&self, conf: &Value) {
        self.call("ADD", conf).run().ok();
    }

    fn call(&self, verb: &str, conf: &Value) -> Call<'_> {
        self.node.call_for(verb, &self.pod).args(&self.args).config(conf)
    }

    pub fn del(&self, conf: &Value) {
        self.node.del(&self.pod, conf).ok();
    }

    /// The record's text; empty if there is none.
    pub fn record(&self) -> String {
        std::fs::read_to_string(self.node.record(&self.pod)).unwrap_or_default()
    }

    /// What was killed must be in nobody's way.
    pub fn add_and_del(&self, conf: &Value) {
        let result = self.call("ADD", conf).run().ok();
        self.node.check(&self.pod, conf, &result).ok();
        self.del(conf);
    }

    /// A call that is killed at its `at`th point.
    pub fn killed(&self, verb: &str, conf: &Value, at: usize) -> Crash {
        let trace = self.node.dir().join("trace");
        let _ = std::fs::remove_file(&trace);
        let call = self.call(verb, conf);
        let call =
            call.env("OFFRAMP_CRASH_AT", at.to_string()).env("OFFRAMP_CRASH_TRACE", trace.to_str().unwrap());
        let answer = call.run();
        if answer.code.is_some() {
            answer.ok();
            return Crash::Survived;
        }
        let passed = std::fs::read_to_string(trace).unwrap();
        Crash::At(passed.lines().last().unwrap().to_owned())
    }

    /// The node is as it was `before`, at once, or when the daemon is through.
    pub fn assert_same_soon(&self, before: &Snapshot, what: &str) {
        assert_soon(before, || self.node.snapshot(), what);
    }
}

/// What `look` finds becomes what was `before`.
pub fn assert_soon(before: &Snapshot, look: impl Fn() -> Snapshot, what: &str) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while look() != *before {
        if Instant::now() > deadline {
            eprintln!("{what}:");
            assert_same(before, &look());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ports, masquerading and limits both ways: everything that an attachment can have.
pub fn everything() -> Value {
    json!({
        "capabilities": {"portMappings": true, "bandwidth": true},
        "runtimeConfig": {
            "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
            "bandwidth": {"ingressRate": 8_000_000, "ingressBurst": 800_000,
                          "egressRate": 8_000_000, "egressBurst": 800_000},
        },
    })
}

/// Dead attachments are looked for often, so that no test waits for it.
pub fn daemon_conf() -> Value {
    json!({"reclaim": {"interval": "200ms"}, "overlay": {"mode": "none"}, "log": {"level": "info"}})
}

pub fn del_thrice(fault: &mut Fault<'_>, conf: &Value) {
    for _ in 0..3 {
        fault.del(conf);
    }
}

pub fn gc(fault: &mut Fault<'_>, conf: &Value) {
    let conf = over(conf.clone(), json!({"cniVersion": "1.1.0"}));
    // The daemon may be at it, which GC leaves to it.
    wait_for("GC to find nothing more", || {
        fault.node.gc(&conf, &[]).ok();
        fault.node.records().is_empty().then_some(())
    });
}

/// What was never ready is taken back while its sandbox lives; a ready one's sandbox must have ended.
fn restart(fault: &mut Fault<'_>, _: &Value) {
    let record = fault.record();
    if record.contains(r#""state":"ready""#) {
        fault.pod = fault.lab.pod("pod");
    }
    fault.stop_daemon();
    fault.start_daemon();
    wait_for("the record to be reclaimed", || fault.node.records().is_empty().then_some(()));
    if !fault.with_daemon {
        fault.stop_daemon();
    }
}

fn end_and_restart(fault: &mut Fault<'_>, conf: &Value) {
    fault.pod = fault.lab.pod("pod");
    restart(fault, conf);
}
