//! Two nodes with a daemon each. Run below `hack/lab`. The daemons look regularly once a day: what is mended here
//! is mended because the kernel, or the peers file, told of it.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Long enough for a machine under load: only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

struct Daemon {
    child: Child,
    dir: PathBuf,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    fn start(root: &Path, n: u8) -> Self {
        let dir = root.join(format!("n{n}"));
        std::fs::create_dir(&dir).unwrap();
        let config = dir.join("offrampd.yaml");
        let text = format!(
            "node: {{name: n{n}, uplink: eth0}}\n\
             cluster: {{source: standalone, podCIDRs: [10.244.{n}.0/24, 'fd44:{n}::/64'], peersFile: {peers}}}\n\
             overlay: {{mode: vxlan}}\n\
             paths: {{stateDir: {dir}}}\n\
             http: {{address: none}}\n\
             reconcile: {{interval: 24h}}\n",
            peers = root.join("peers/peers.yaml").display(),
            dir = dir.display(),
        );
        std::fs::write(&config, text).unwrap();
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let child = Command::new("ip")
            .args(["netns", "exec", &format!("n{n}"), env!("CARGO_BIN_EXE_offrampd"), "run", "--config"])
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, dir }
    }

    fn status(&self) -> Option<serde_json::Value> {
        let socket = self.dir.join("offrampd.sock");
        let mut command = Command::new(env!("CARGO_BIN_EXE_offrampd"));
        let out = command.args(["status", "-o", "json", "--socket"]).arg(socket).output().unwrap();
        serde_json::from_slice(&out.stdout).ok()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Waits until `done`.
    fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < end, "never: {what}\n{:?}\n{}", self.status(), self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn attempt(command: &str) -> (bool, String) {
    let mut words = command.split_whitespace();
    let out = Command::new(words.next().unwrap()).args(words).output().unwrap();
    (out.status.success(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

fn run(command: &str) -> String {
    let (ok, text) = attempt(command);
    assert!(ok, "{command}: {text}");
    text
}

fn ping(from: &str, to: &str) -> bool {
    attempt(&format!("ip netns exec {from} ping -n -c 1 -W 1 {to}")).0
}

fn wire() {
    assert!(
        std::env::var_os("OFFRAMP_LAB").is_some(),
        "this test changes the network: run it by hack/lab, or with hack/lab as cargo's runner"
    );
    run("ip netns add n1");
    run("ip netns add n2");
    run("ip -n n1 link add eth0 type veth peer name eth0 netns n2");
    for n in [1, 2] {
        run(&format!("ip -n n{n} link set lo up"));
        run(&format!("ip -n n{n} link set eth0 up"));
        run(&format!("ip -n n{n} addr add 10.99.0.{n}/24 dev eth0"));
        run(&format!("ip -n n{n} addr add fd99::{n}/64 dev eth0 nodad"));
    }
}

/// Puts another peers file in place as a ConfigMap does: by a link that is swapped.
fn publish(root: &Path, version: u32, text: &str) {
    let dir = root.join("peers");
    let data = dir.join(format!("..{version}"));
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("peers.yaml"), text).unwrap();
    let swap = dir.join("..tmp");
    std::os::unix::fs::symlink(format!("..{version}"), &swap).unwrap();
    std::fs::rename(&swap, dir.join("..data")).unwrap();
    let _ = std::os::unix::fs::symlink("..data/peers.yaml", dir.join("peers.yaml"));
}

/// Both nodes may share one list.
fn both() -> String {
    let peer = |n: u8| {
        format!(
            "- {{name: n{n}, endpoints: [10.99.0.{n}, 'fd99::{n}'], podCIDRs: [10.244.{n}.0/24, 'fd44:{n}::/64']}}\n"
        )
    };
    peer(1) + &peer(2)
}

/// What the overlay of node 1 has in the kernel.
fn state() -> String {
    let sorted = |command: &str| {
        let (_, text) = attempt(command);
        let mut lines: Vec<_> = text.lines().map(str::trim).collect();
        lines.sort_unstable();
        lines.join("\n")
    };
    [
        "ip -n n1 route show proto 213",
        "ip -n n1 -6 route show proto 213",
        "ip -n n1 neigh show dev offramp-vxlan nud permanent",
        "ip -n n1 -6 neigh show dev offramp-vxlan nud permanent",
        "bridge -n n1 fdb show dev offramp-vxlan",
    ]
    .map(sorted)
    .join("\n")
}

#[test]
fn events_alone_keep_the_ways_right() {
    wire();
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    publish(root, 1, &both());
    let (first, second) = (Daemon::start(root, 1), Daemon::start(root, 2));
    for (daemon, from, to) in
        [(&first, "n1", "10.244.2.1"), (&first, "n1", "fd44:2::1"), (&second, "n2", "fd44:1::1")]
    {
        daemon.until(&format!("{from} reaches {to}"), || ping(from, to));
    }
    let peers = first.status().unwrap()["overlay"]["peers"].clone();
    assert_eq!((&peers[0]["path"], &peers[0]["endpoint"]), (&"vxlan".into(), &"10.99.0.2".into()), "{peers}");
    let good = state();
    for command in [
        "ip -n n1 route del 10.244.2.0/24",
        "ip -n n1 -6 route del fd44:2::/64",
        "ip -n n1 neigh flush dev offramp-vxlan nud permanent",
        "bridge -n n1 fdb flush dev offramp-vxlan",
        "ip -n n1 link set offramp-vxlan down",
        "ip -n n1 link del offramp-vxlan",
        "ip -n n1 addr del 10.244.1.1/24 dev offramp0",
        "ip -n n1 link del offramp0",
    ] {
        let before = repairs(&first);
        run(command);
        first.until(&format!("{command}: repaired"), || state() == good && repairs(&first) > before);
    }
    assert!(ping("n1", "10.244.2.1") && ping("n1", "fd44:2::1"));
    goes_quiet(&first);
    follows_the_peers_file(root, &first, &good);
}

/// The overlay's repairs, or the bridge's.
fn repairs(daemon: &Daemon) -> u64 {
    let status = daemon.status().unwrap();
    let loops = status["reconcile"].as_array().unwrap();
    loops.iter().filter_map(|l| l["repairs"].as_u64()).sum()
}

/// What the daemon does itself is heard by it too, which must not go on for ever.
fn goes_quiet(daemon: &Daemon) {
    // But for what who asks has it look at.
    let last = || {
        let mut all = daemon.status().unwrap()["reconcile"].as_array().unwrap().clone();
        all.retain(|run| run["name"] != "offloads" && run["name"] != "tuning");
        all
    };
    let mut before = (last(), Instant::now());
    daemon.until("it stops looking", || {
        let now = last();
        if now != before.0 {
            before = (now, Instant::now());
        }
        before.1.elapsed() > Duration::from_secs(3)
    });
}

fn follows_the_peers_file(root: &Path, daemon: &Daemon, good: &str) {
    publish(root, 2, "- {name: [");
    daemon.until("the broken file is reported", || {
        daemon.status().unwrap()["problems"].to_string().contains("peers file")
    });
    assert_eq!(state(), good, "the last good one is in force");
    publish(root, 3, "[]\n");
    daemon.until("the peer is gone", || state().trim().is_empty());
    publish(root, 4, &both());
    daemon.until("the peer is back", || state() == *good);
}
