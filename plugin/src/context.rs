//! What every verb needs: the call, its configuration, the state, and the times of its parts.

use offramp_core::cni::{Call, CniError, NetConf};
use offramp_core::ids::AttachmentId;
use offramp_core::step::Step;
use offramp_kernel::{Executor, Netns, crash};
use offramp_ledger::{Lock, Store};
use std::time::{Duration, Instant};

/// Another call for the same attachment ends within the runtime's own time-out, or with its process.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);

/// One call.
pub struct Context {
    pub call: Call,
    pub conf: NetConf,
    pub store: Store,
    pub started: Instant,
    pub stdin_bytes: usize,
    /// What was done, and how many microseconds it took.
    pub times: Vec<(&'static str, u64)>,
}

impl Context {
    pub fn new(call: Call, conf: NetConf, stdin_bytes: usize) -> Self {
        let store = Store::at(&conf.local.state_dir);
        Self { call, conf, store, started: Instant::now(), stdin_bytes, times: Vec::new() }
    }

    /// The attachment; the environment was checked to have it for the verbs that ask.
    pub fn id(&self) -> Result<AttachmentId, CniError> {
        self.call
            .attachment
            .clone()
            .ok_or_else(|| CniError::environment("CNI_CONTAINERID and CNI_IFNAME are needed"))
    }

    /// The pod's netns, which must not be the node's own: its interfaces and routes would be changed.
    pub fn netns(&self) -> Result<Netns, CniError> {
        let netns = Netns::open(self.call.netns.clone().unwrap_or_default())?;
        if netns.inode() == Netns::current()?.inode() {
            let path = netns.path().display();
            return Err(CniError::environment(format!(
                "CNI_NETNS {path} is the node's own network namespace"
            )));
        }
        Ok(netns)
    }

    /// Locks the attachment.
    pub fn lock(&self, id: &AttachmentId) -> Result<Lock, CniError> {
        Ok(self.store.lock(id, LOCK_PATIENCE)?)
    }

    /// Runs a part and notes its time.
    pub fn timed<T>(&mut self, name: &'static str, part: impl FnOnce(&Self) -> T) -> T {
        let start = Instant::now();
        let result = part(self);
        self.note(name, start);
        result
    }

    fn note(&mut self, name: &'static str, start: Instant) {
        self.times.push((name, u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)));
    }

    /// Executes steps in order, up to the first that fails.
    pub fn execute(&mut self, executor: &mut Executor<'_>, steps: &[Step]) -> Result<(), CniError> {
        for step in steps {
            crash::point(step.name());
            let start = Instant::now();
            let outcome = executor.apply(step);
            self.note(step.name(), start);
            outcome?;
        }
        crash::point("steps.executed");
        Ok(())
    }

    /// Since the plugin's start, in microseconds.
    pub fn micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    #[test]
    fn what_is_not_utf8_is_named() {
        use std::os::unix::ffi::OsStringExt;
        let with = |verb: &'static str, wrong: &'static str| {
            Call::from_env(move |key| {
                Some(match key {
                    key if key == wrong => OsString::from_vec(vec![b'/', 0xff]),
                    "CNI_COMMAND" => verb.into(),
                    "CNI_ARGS" => "IgnoreUnknown=1".into(),
                    _ => "x".into(),
                })
            })
        };
        for key in ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"] {
            let e = with("ADD", key).unwrap_err();
            assert!(e.code == 4 && e.msg.contains(key) && e.msg.contains(r"/\xFF"), "{e}");
        }
        // A release needs none of these.
        for key in ["CNI_NETNS", "CNI_ARGS", "CNI_PATH"] {
            assert!(with("DEL", key).is_ok(), "{key}");
        }
    }
}
