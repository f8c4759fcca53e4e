//! A named network namespace.

use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// A network namespace below `/run/netns`; deleted on drop.
pub struct Netns {
    name: String,
}

impl Netns {
    pub(crate) fn create(name: &str) -> Self {
        run(Command::new("ip").args(["netns", "add", name]));
        let netns = Self { name: name.to_owned() };
        netns.ip("link set lo up");
        netns
    }

    /// A name for the machine's initial namespace, where NICs and their VFs are. For throw-away machines only.
    pub(crate) fn initial(name: &str) -> Self {
        run(Command::new("ip").args(["netns", "attach", name, "1"]));
        Self { name: name.to_owned() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As a runtime names it.
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// Its identity.
    pub fn inode(&self) -> u64 {
        std::fs::metadata(self.path()).unwrap().ino()
    }

    /// Deletes the namespace, as a runtime does when the sandbox ends.
    pub fn delete(&self) {
        run(Command::new("ip").args(["netns", "del", &self.name]));
    }

    /// A program that will run inside.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let namespace = File::open(self.path()).unwrap();
        // SAFETY: between fork and exec only the system call setns(2) is made; its descriptor is owned by the closure.
        unsafe {
            command.pre_exec(move || Ok(setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?));
        }
        command
    }

    /// Runs a program inside; its words are split at blanks. Returns what it printed; panics if it fails.
    pub fn run(&self, line: &str) -> String {
        let mut words = line.split_whitespace();
        run(self.command(words.next().unwrap()).args(words))
    }

    /// `ip LINE` inside.
    pub fn ip(&self, line: &str) -> String {
        self.run(&format!("ip {line}"))
    }

    /// `ip -j -d LINE` inside, parsed.
    pub fn ip_json(&self, line: &str) -> serde_json::Value {
        parse(&self.run(&format!("ip -j -d {line}")))
    }

    /// The link of this name, as `ip -j -d link` shows it; none if it is not there.
    pub fn link(&self, name: &str) -> Option<serde_json::Value> {
        let all = self.ip_json("link show");
        all.as_array()?.iter().find(|l| l["ifname"] == name).cloned()
    }

    /// The names of links of a kind.
    pub fn links_of_kind(&self, kind: &str) -> Vec<String> {
        let all = self.ip_json("link show");
        let all = all.as_array().unwrap().iter().filter(|l| l["linkinfo"]["info_kind"] == kind);
        all.map(|l| l["ifname"].as_str().unwrap().to_owned()).collect()
    }

    /// The addresses of a link with their prefix lengths, without link-local ones.
    pub fn addresses(&self, link: &str) -> Vec<String> {
        let shown = self.ip_json(&format!("addr show dev {link}"));
        let all = shown[0]["addr_info"].as_array().unwrap().iter().filter(|a| a["scope"] != "link");
        all.map(|a| format!("{}/{}", a["local"].as_str().unwrap(), a["prefixlen"])).collect()
    }

    /// The node's address that its default route leads to. One that the node routes to has a next hop that is nobody's address.
    pub fn node_address(&self, family: &str) -> Option<String> {
        self.default_gateway(family).map(|gateway| match gateway.as_str() {
            "169.254.1.1" => "10.244.1.1".to_owned(),
            "fe80::1" => "fd00:244:1::1".to_owned(),
            _ => gateway,
        })
    }

    /// The next hop of the default route of a family (`-4` or `-6`).
    pub fn default_gateway(&self, family: &str) -> Option<String> {
        let routes = self.ip_json(&format!("{family} route show default"));
        routes[0]["gateway"].as_str().map(str::to_owned)
    }

    /// Runs `work` in a thread inside.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(self.path()).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

/// Runs a command; returns what it printed; panics if it fails.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("start {command:?}: {e}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// `ip -j` prints nothing where there is nothing.
pub(crate) fn parse(text: &str) -> serde_json::Value {
    if text.trim().is_empty() { serde_json::json!([]) } else { serde_json::from_str(text).unwrap() }
}
