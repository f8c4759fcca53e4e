//! Other plugins: delegated IPAM plugins (CNI spec, section 4, "Plugin Delegation"), and those of further networks. They
//! are found in `CNI_PATH` and called with a complete configuration and the same environment.
//!
//! The child has a process group of its own and a deadline, and files in memory for stdin, stdout and stderr: a
//! grandchild that lives on holds neither our stdout nor us.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use offramp_core::cni::error::codes;
use offramp_core::cni::ipam::delegate_timeout;
use offramp_core::cni::result::CniResult;
use offramp_core::cni::{CniError, Verb};
use offramp_core::ids::AttachmentId;
use offramp_kernel::child::die_with_caller;
use serde::Deserialize;
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Of plugins of further networks, which may have delegates of their own; the runtime gives a sandbox four minutes.
const DEADLINE: Duration = Duration::from_secs(90);
/// STATUS must be answered within 500 ms: the rest is ours and the runtime's.
const STATUS_DEADLINE: Duration = Duration::from_millis(400);
/// More is no CNI result.
const MAX_OUTPUT: u64 = 1 << 20;

/// A plugin and what it is called with.
#[derive(Debug, Clone)]
pub struct Delegate<'a> {
    /// What it is, for messages.
    pub role: &'a str,
    /// Its file name.
    pub plugin: &'a str,
    /// The complete configuration.
    pub config: &'a Value,
    /// `CNI_PATH`
    pub path: &'a [String],
    /// `CNI_ARGS`
    pub args: &'a str,
    /// How long a call may take before it is killed; STATUS never takes longer than its own limit.
    pub patience: Duration,
    /// When it is killed, if that is sooner.
    pub until: Option<Instant>,
}

impl<'a> Delegate<'a> {
    /// A plugin that gives addresses; its configuration says how long it may take.
    pub fn ipam(plugin: &'a str, config: &'a Value, path: &'a [String], args: &'a str) -> Self {
        let patience = delegate_timeout(config);
        Self { role: "IPAM plugin", plugin, config, path, args, patience, until: None }
    }

    /// A plugin of a further network, for messages by its `role`.
    pub fn of_network(
        role: &'a str,
        plugin: &'a str,
        config: &'a Value,
        (path, args): (&'a [String], &'a str),
        until: Option<Instant>,
    ) -> Self {
        Self { role, plugin, config, path, args, patience: DEADLINE, until }
    }

    /// Killed then, if it takes that long.
    pub fn until(self, until: Instant) -> Self {
        Self { until: Some(until), ..self }
    }
}

impl Delegate<'_> {
    /// ADD. When it fails, its DEL is called, as the specification demands.
    pub fn add(&self, id: &AttachmentId, netns: &str) -> Result<CniResult, CniError> {
        let result = self.add_alone(id, netns);
        if result.is_err() {
            let _ = self.del(id, netns); // the first error is the one to tell
        }
        result
    }

    /// ADD, for who has written down that its DEL is to be called whatever comes of it.
    pub fn add_alone(&self, id: &AttachmentId, netns: &str) -> Result<CniResult, CniError> {
        let answer = self.call(Verb::Add, Some(id), netns)?;
        let json = serde_json::from_slice(&answer)
            .map_err(|e| CniError::decode(format!("{}: its answer is not JSON: {e}", self.name())))?;
        CniResult::from_json(json).map_err(|e| e.context(self.name()))
    }

    /// DEL; `netns` may be empty. A plugin that does not speak the configuration's version holds nothing: it refused
    /// the ADD too.
    pub fn del(&self, id: &AttachmentId, netns: &str) -> Result<(), CniError> {
        match self.call(Verb::Del, Some(id), netns) {
            Err(e) if e.code == codes::VERSION => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// CHECK, GC or STATUS.
    pub fn ask(&self, verb: Verb, id: Option<&AttachmentId>, netns: &str) -> Result<(), CniError> {
        self.call(verb, id, netns).map(drop)
    }

    /// As messages name it.
    fn name(&self) -> String {
        format!("{} {}", self.role, self.plugin)
    }

    /// Any verb; what the plugin answered.
    pub fn call(&self, verb: Verb, id: Option<&AttachmentId>, netns: &str) -> Result<Vec<u8>, CniError> {
        let program = self.find()?;
        let failed = |what: &str, e: std::io::Error| CniError::io(format!("{}: {what}: {e}", self.name()));
        let io = |e| failed("make its files", e);
        let (mut stdin, mut stdout, mut stderr) =
            (memory_file().map_err(io)?, memory_file().map_err(io)?, memory_file().map_err(io)?);
        stdin.write_all(self.config.to_string().as_bytes()).and_then(|()| stdin.rewind()).map_err(io)?;
        let mut command = Command::new(&program);
        command
            .env("CNI_COMMAND", verb.as_str())
            .env("CNI_CONTAINERID", id.map_or("", |id| id.container.as_str()))
            .env("CNI_IFNAME", id.map_or("", |id| id.ifname.as_str()))
            .env("CNI_NETNS", netns)
            .env("CNI_ARGS", self.args)
            .env("CNI_PATH", self.path.join(":"))
            .stdin(stdin)
            .stdout(Stdio::from(stdout.try_clone().map_err(io)?))
            .stderr(Stdio::from(stderr.try_clone().map_err(io)?))
            .process_group(0);
        // The delegate of a plugin that was killed must not take an address after the DEL that follows.
        let child = die_with_caller(&mut command)
            .spawn()
            .map_err(|e| failed(&format!("start {}", program.display()), e))?;
        offramp_kernel::crash::point("delegate.started");
        let patience = if verb == Verb::Status { STATUS_DEADLINE } else { self.patience };
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        let patience = left.map_or(patience, |left| left.min(patience));
        let status = self.wait(child, patience).map_err(|e| failed("wait for it", e))?;
        let out = read_back(&mut stdout).map_err(|e| failed("read its answer", e))?;
        match status {
            Some(status) if status.success() => Ok(out),
            Some(status) => {
                Err(self.refusal(verb, &out, status, &read_back(&mut stderr).unwrap_or_default()))
            }
            None if verb == Verb::Status => Err(CniError::unavailable(format!(
                "{} did not answer STATUS within {} ms, killed",
                self.name(),
                patience.as_millis()
            ))),
            None => Err(CniError::try_again(format!(
                "{}: {} did not end within {:.1} s, killed",
                self.name(),
                verb.as_str(),
                patience.as_secs_f64()
            ))),
        }
    }

    /// Its program, the first in the path.
    pub fn find(&self) -> Result<PathBuf, CniError> {
        let found = self.path.iter().map(|dir| Path::new(dir).join(self.plugin)).find(|p| p.is_file());
        found.ok_or_else(|| {
            CniError::config(format!(
                "{} {:?} is not in CNI_PATH {:?}",
                self.role,
                self.plugin,
                self.path.join(":")
            ))
        })
    }

    /// Waits as long as that, then kills the whole group; none if it came to that.
    fn wait(&self, mut child: Child, patience: Duration) -> std::io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + patience;
        let ended = pidfd(child.id())?;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // The group's number is the child's, which is not reaped yet: it is nobody else's.
                let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
                child.wait()?;
                return Ok(None);
            }
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let _ = poll(&mut [PollFd::new(ended.as_fd(), PollFlags::POLLIN)], timeout);
        }
    }

    /// The plugin's own error with its code, or what is known otherwise.
    fn refusal(&self, verb: Verb, out: &[u8], status: ExitStatus, stderr: &[u8]) -> CniError {
        #[derive(Deserialize)]
        struct Wire {
            code: u32,
            msg: String,
            #[serde(default)]
            details: String,
        }
        let what = self.name();
        match serde_json::from_slice(out) {
            Ok(Wire { code, msg, details }) => CniError::new(code, msg).with_details(details).context(what),
            Err(_) => {
                CniError::internal(format!("{what}: {} ended with {status} and no error", verb.as_str()))
                    .with_details(String::from_utf8_lossy(stderr).trim().to_owned())
            }
        }
    }
}

fn memory_file() -> std::io::Result<File> {
    Ok(File::from(memfd_create(c"offramp", MFdFlags::MFD_CLOEXEC)?))
}

fn read_back(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(MAX_OUTPUT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A descriptor that becomes readable when the process ends (pidfd_open(2)).
fn pidfd(pid: u32) -> std::io::Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let fd = unsafe { nix::libc::syscall(nix::libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
