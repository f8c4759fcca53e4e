//! Three nodes with a pod each, every one a network namespace; the third node is behind a router:
//!
//! ```text
//! p1 10.244.1.2 fd44:1::2 - br0 n1 eth0 10.99.0.1 fd99::1 -+
//!                                                         wire - eth0 router eth1 - eth0 10.98.0.3 fd98::3 n3 br0 - p3
//! p2 10.244.2.2 fd44:2::2 - br0 n2 eth0 10.99.0.2 fd99::2 -+
//! ```

use nix::sched::{CloneFlags, setns};
use offramp_core::ids::{Mtu, Vni};
use offramp_core::overlay::{Mode, Node, Settings, VXLAN_PORT};
use offramp_core::peer::Peer;
use offramp_kernel::netlink::Socket;
use offramp_kernel::overlay::{Choice, Monitor, Report, Tools, follow, reconcile};
use offramp_kernel::sysctl::Sysctl;
use std::fs::File;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The VXLAN device of every node.
pub const DEVICE: &str = "offramp-vxlan";

/// Tests in one process share its namespaces: one lab at a time.
static ONE: Mutex<()> = Mutex::new(());

pub struct Lab {
    pub mode: Mode,
    /// The tunnel's family; none: the default.
    pub family: Option<offramp_core::net::Family>,
    pub pod_mtu: u32,
    _one: MutexGuard<'static, ()>,
}

impl Lab {
    pub fn new(mode: Mode) -> Self {
        assert!(
            std::env::var_os("OFFRAMP_LAB").is_some(),
            "this test changes the network: run it by hack/lab, or with hack/lab as cargo's runner"
        );
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let lab = Self { mode, family: None, pod_mtu: 1450, _one: one };
        for name in NAMESPACES {
            ip(&format!("netns add {name}"));
            ip(&format!("-n {name} link set lo up"));
        }
        ip("-n wire link add wire type bridge mcast_snooping 0");
        ip("-n wire link set wire up");
        plug("n1", "eth0", "wire");
        plug("n2", "eth0", "wire");
        plug("router", "eth0", "wire");
        ip("-n n3 link add eth0 type veth peer name eth1 netns router");
        ip("-n n3 link set eth0 up");
        ip("-n router link set eth1 up");
        for (name, link, v4, v6) in [
            ("n1", "eth0", "10.99.0.1/24", "fd99::1/64"),
            ("n2", "eth0", "10.99.0.2/24", "fd99::2/64"),
            ("router", "eth0", "10.99.0.254/24", "fd99::fe/64"),
            ("router", "eth1", "10.98.0.254/24", "fd98::fe/64"),
            ("n3", "eth0", "10.98.0.3/24", "fd98::3/64"),
        ] {
            address(name, link, v4, v6);
        }
        for (name, v4, v6) in [
            ("n1", "10.99.0.254", "fd99::fe"),
            ("n2", "10.99.0.254", "fd99::fe"),
            ("n3", "10.98.0.254", "fd98::fe"),
        ] {
            default_routes(name, v4, v6);
        }
        (1..=3).for_each(|n| pod(n, lab.pod_mtu));
        ["n1", "n2", "n3", "router"].into_iter().for_each(forward);
        lab
    }

    /// Gives pods and bridges another MTU.
    pub fn set_pod_mtu(&mut self, mtu: u32) {
        self.pod_mtu = mtu;
        for n in 1..=3 {
            ip(&format!("-n n{n} link set pod mtu {mtu}"));
            ip(&format!("-n n{n} link set br0 mtu {mtu}"));
            ip(&format!("-n p{n} link set eth0 mtu {mtu}"));
        }
    }

    pub fn settings(&self) -> Settings {
        let vni = Vni::try_from(77).unwrap();
        let device = DEVICE.parse().unwrap();
        Settings { mode: self.mode, device, vni, port: VXLAN_PORT, family: self.family }
    }

    /// What node `n` knows of itself.
    pub fn node(&self, n: u8) -> Node {
        Node {
            name: format!("n{n}").parse().unwrap(),
            mac: None,
            gateways: vec![format!("10.244.{n}.1").parse().unwrap(), format!("fd44:{n}::1").parse().unwrap()],
            pod_mtu: Mtu::try_from(u64::from(self.pod_mtu)).ok(),
        }
    }

    /// One look of node `n`, whatever comes of it.
    pub fn look(&self, n: u8, peers: &[Peer]) -> Report {
        self.look_heard(n, peers, None)
    }

    /// The same, of which a monitor is to know.
    pub fn look_heard(&self, n: u8, peers: &[Peer], monitor: Option<&mut Monitor>) -> Report {
        self.with(n, monitor, |tools| {
            reconcile(tools, &self.settings(), &self.node(n), &Choice::default(), peers)
        })
    }

    /// What follows a look of node `n` when peers go and others come.
    pub fn follow(&self, n: u8, last: &Report, (gone, new): (&[Peer], &[Peer])) -> Report {
        self.with(n, None, |tools| follow(tools, &self.settings(), &self.node(n), last, (gone, new)))
    }

    fn with<T: Send>(
        &self,
        n: u8,
        monitor: Option<&mut Monitor>,
        work: impl FnOnce(&mut Tools<'_>) -> T + Send,
    ) -> T {
        inside(&format!("n{n}"), || {
            let (mut socket, sysctl) = (Socket::open().unwrap(), Sysctl::default());
            work(&mut Tools { socket: &mut socket, sysctl: &sysctl, monitor })
        })
    }

    /// One look of node `n` without errors, and then one that finds nothing to do.
    pub fn settle(&self, n: u8, peers: &[Peer]) -> Report {
        let first = self.look(n, peers);
        assert!(first.errors.is_empty(), "n{n}: {:?}", first.errors);
        let second = self.look(n, peers);
        assert!(second.errors.is_empty(), "n{n}: {:?}", second.errors);
        assert_eq!(second.changes.first, Vec::<String>::new(), "n{n}: a second look finds nothing to do");
        first
    }

    /// All nodes know each other.
    pub fn converge(&self) {
        for n in 1..=3 {
            self.settle(n, &peers_of(n));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in NAMESPACES {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

const NAMESPACES: [&str; 8] = ["wire", "router", "n1", "n2", "n3", "p1", "p2", "p3"];

fn plug(name: &str, link: &str, wire: &str) {
    ip(&format!("-n {name} link add {link} type veth peer name {name} netns {wire}"));
    ip(&format!("-n {wire} link set {name} master wire up"));
    ip(&format!("-n {name} link set {link} up"));
}

fn address(name: &str, link: &str, v4: &str, v6: &str) {
    ip(&format!("-n {name} addr add {v4} dev {link}"));
    ip(&format!("-n {name} addr add {v6} dev {link} nodad"));
}

fn default_routes(name: &str, v4: &str, v6: &str) {
    ip(&format!("-n {name} route add default via {v4}"));
    ip(&format!("-n {name} -6 route add default via {v6}"));
}

fn pod(n: u8, mtu: u32) {
    ip(&format!("-n n{n} link add br0 address 02:00:00:00:01:0{n} type bridge mcast_snooping 0"));
    ip(&format!("-n n{n} link set br0 up"));
    ip(&format!("-n p{n} link add eth0 mtu {mtu} type veth peer name pod mtu {mtu} netns n{n}"));
    ip(&format!("-n n{n} link set pod master br0 up"));
    ip(&format!("-n p{n} link set eth0 up"));
    address(&format!("n{n}"), "br0", &format!("10.244.{n}.1/24"), &format!("fd44:{n}::1/64"));
    address(&format!("p{n}"), "eth0", &format!("10.244.{n}.2/24"), &format!("fd44:{n}::2/64"));
    default_routes(&format!("p{n}"), &format!("10.244.{n}.1"), &format!("fd44:{n}::1"));
}

fn forward(name: &str) {
    inside(name, || {
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
    });
}

/// Node `n`, as the others know it.
pub fn peer(n: u8) -> Peer {
    let subnet = if n == 3 { 98 } else { 99 };
    Peer {
        name: format!("n{n}").parse().unwrap(),
        endpoints: vec![
            format!("10.{subnet}.0.{n}").parse().unwrap(),
            format!("fd{subnet}::{n}").parse().unwrap(),
        ],
        pod_cidrs: vec![
            format!("10.244.{n}.0/24").parse().unwrap(),
            format!("fd44:{n}::/64").parse().unwrap(),
        ],
        mac: None,
    }
}

/// All nodes but `n`.
pub fn peers_of(n: u8) -> Vec<Peer> {
    (1..=3).filter(|m| *m != n).map(peer).collect()
}

/// Runs `f` in a thread inside of `namespace`.
pub fn inside<T: Send>(namespace: &str, f: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let ns = File::open(format!("/run/netns/{namespace}")).unwrap();
            setns(ns, CloneFlags::CLONE_NEWNET).unwrap();
            f()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs a program: whether it succeeded, and all that it printed.
pub fn attempt(command: &str) -> (bool, String) {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// Runs a program that must succeed.
pub fn run(command: &str) -> String {
    let (ok, text) = attempt(command);
    assert!(ok, "{command}: {text}");
    text
}

/// Runs `ip`.
pub fn ip(args: &str) -> String {
    run(&format!("ip {args}"))
}

/// Pings.
pub fn ping(from: &str, to: &str, options: &str) -> (bool, String) {
    attempt(&format!("ip netns exec {from} ping -n -W 5 {options} {to}"))
}

/// Every pod and every node reaches each pod of these nodes, by both families.
pub fn all_reach(nodes: &[u8]) {
    for (from, to) in nodes.iter().flat_map(|a| nodes.iter().map(move |b| (a, b))).filter(|(a, b)| a != b) {
        for target in [format!("10.244.{to}.2"), format!("fd44:{to}::2")] {
            for source in [format!("p{from}"), format!("n{from}")] {
                let (ok, text) = ping(&source, &target, "-c 1");
                assert!(ok, "{source} -> {target}: {text}{}", ip(&format!("-n n{from} route")));
            }
        }
    }
}

/// Packets that node `n` has sent and received by its tunnel.
pub fn tunnelled(n: u8) -> (u64, u64) {
    let read = |what: &str| -> u64 {
        let path = format!("/sys/class/net/{DEVICE}/statistics/{what}");
        run(&format!("ip netns exec n{n} cat {path}")).trim().parse().unwrap()
    };
    (read("tx_packets"), read("rx_packets"))
}
