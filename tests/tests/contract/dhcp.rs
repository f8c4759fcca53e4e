//! The reference IPAM plugin `dhcp`, with its daemon and a server on the bridge: an IPAM plugin that wants the pod's link
//! before it gives an address.

use crate::node_and_pod;
use offramp_tests::{Lab, Netns, Node, assert_same, over, traffic, wait_for};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Ends with the test.
struct Service(Child);

impl Service {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A machine on the node's bridge `br0` that gives leases of 10.59.0.0/24.
struct Lan {
    netns: Netns,
    leases: PathBuf,
    _server: Service,
}

impl Lan {
    fn new(lab: &Lab, node: &Node) -> Self {
        let netns = lab.netns("lan");
        node.run("ip link add br0 type bridge");
        node.run("ip link set br0 up");
        node.run(&format!("ip link add lan0 master br0 up type veth peer name eth0 netns {}", netns.name()));
        netns.run("ip address add 10.59.0.1/24 dev eth0");
        netns.run("ip link set eth0 up");
        let leases = node.dir().join("leases");
        let server = Service::start(
            netns
                .command("dnsmasq")
                .args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=eth0"])
                .args(["--user=root", "--pid-file=", "--dhcp-range=10.59.0.50,10.59.0.60,1h"])
                .args(["--dhcp-no-override", "--no-ping"])
                .arg(format!("--dhcp-leasefile={}", leases.display())),
        );
        Self { netns, leases, _server: server }
    }

    fn has_lease(&self, ip: &str) -> bool {
        std::fs::read_to_string(&self.leases).is_ok_and(|text| text.contains(ip))
    }
}

fn dhcp_daemon(node: &Node, socket: &Path) -> Service {
    let daemon = Service::start(
        node.command("/usr/lib/cni/dhcp").arg("daemon").arg("-socketpath").arg(socket).stderr(Stdio::null()),
    );
    wait_for("the dhcp daemon", || socket.exists().then_some(()));
    daemon
}

#[test]
fn a_lease_is_taken_and_given_back() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let lan = Lan::new(&lab, &node);
    let socket = node.dir().join("dhcp.sock");
    let daemon = dhcp_daemon(&node, &socket);
    let conf = json!({"cniVersion": "1.0.0", "isDefaultGateway": null, "ipam": null});
    let ipam = json!({"ipam": {"type": "dhcp", "daemonSocketPath": socket}});
    let conf = over(node.inline(conf), ipam);

    let result = node.add(&pod, &conf).ok();
    let ip = pod.address(false);
    assert!(ip.starts_with("10.59.0.5") || ip == "10.59.0.60", "{ip}");
    assert_eq!(pod.default_gateway("-4").as_deref(), Some("10.59.0.1"));
    assert!(lan.has_lease(&ip));
    assert!(traffic::ping(&pod, "10.59.0.1") && traffic::ping(&lan.netns, &ip));
    node.check(&pod, &conf, &result).ok();
    node.del(&pod, &conf).ok();
    wait_for("the lease to be given back", || (!lan.has_lease(&ip)).then_some(()));
    assert!(node.records().is_empty());

    // Without its daemon there is no address, and none can be given back: only the record stays, until a DEL can.
    drop(daemon);
    std::fs::remove_file(&socket).ok();
    let before = node.snapshot().without("file ");
    node.add(&pod, &conf).failed(999, &["IPAM plugin dhcp"]);
    assert_same(&before, &node.snapshot().without("file "));
    node.del(&pod, &conf).failed(999, &["IPAM plugin dhcp"]);
    let _daemon = dhcp_daemon(&node, &socket);
    node.del(&pod, &conf).ok();
    assert!(node.records().is_empty());
}
