//! Packets of more than 64 KiB: where the kernel was shown to carry them, all devices on pods' way take them, and none else; what
//! was changed is put back.

mod undone;

use crate::decided::decided;
use crate::nodes::Nodes;
use offramp_core::offload::Sizes;
use offramp_kernel::netlink::Socket;
use offramp_kernel::offload::{set_sizes, sizes_by_name};
use offramp_tests::{Daemon, Lab, Netns, Node, Pod, binary, traffic, until};
use serde_json::{Value, json};

const BIG: u32 = 192 << 10;
const USUAL: u32 = 65_536;

/// What IPv6 and IPv4 packets may have that leave by a link, or that it joins; none: no such link.
fn sizes(netns: &Netns, link: &str) -> Option<[u32; 4]> {
    let all = netns.inside(|| sizes_by_name(&mut Socket::open().unwrap()).unwrap());
    let sizes = all.get(link)?.sizes;
    let all = [sizes.gso_max_size, sizes.gso_ipv4_max_size, sizes.gro_max_size, sizes.gro_ipv4_max_size];
    Some(all.map(Option::unwrap))
}

/// The node's ends of pods' pairs.
fn ports(node: &Node) -> Vec<String> {
    let bridge = node.ip_json("link show master offramp0");
    bridge.as_array().unwrap().iter().map(|link| link["ifname"].as_str().unwrap().to_owned()).collect()
}

fn conf(mode: &str, big_tcp: &str) -> Value {
    let offloads = json!({"probe": false, "bigTcp": big_tcp});
    json!({"overlay": {"mode": mode}, "reconcile": {"interval": "200ms"}, "offloads": offloads})
}

/// What a daemon that was to try came to, once it has: which sizes IPv6 and IPv4 packets get, and why.
fn tried(daemon: &Daemon<'_>, scope: &str) -> ([u32; 2], String) {
    let why = || decided(&daemon.ask("status"), scope, "sizes");
    let open = ["left alone", "not looked at yet", "is being tried"];
    until("it was tried", || why().contains("BIG TCP") && !open.iter().any(|open| why().contains(open)));
    let why = why();
    let size = |family: &str, other: &str| {
        let is = why.contains("BIG TCP: this")
            || why.contains(&format!("BIG TCP over {family}; not over {other}"));
        if is { BIG } else { USUAL }
    };
    ([size("IPv6", "IPv4"), size("IPv4", "IPv6")], why)
}

fn are_all(node: &Node, pods: &[&Pod], wanted: [u32; 2]) -> bool {
    let [v6, v4] = wanted;
    let sends = |netns: &Netns, link: &str| sizes(netns, link).is_some_and(|is| is[..2] == wanted);
    sizes(node, "eth0") == Some([v6, v4, v6, v4])
        && sends(node, "offramp0")
        && ports(node).iter().all(|port| sends(node, port))
        && pods.iter().all(|pod| sends(pod, &pod.ifname))
}

#[test]
fn all_devices_of_the_path_take_large_packets_and_what_was_changed_is_put_back() {
    let lab = Lab::new();
    let nodes = Nodes::new(&lab);
    nodes.bridge();
    let (node, old, new) = (&nodes.all[0], lab.pod("old"), lab.pod("new"));
    let off = nodes.daemon(1, conf("direct", "off"));
    node.add(&old, &node.conf(json!({}))).ok();
    until("it was looked at", || !decided(&off.ask("status"), "direct", "sizes").is_empty());
    assert!(are_all(node, &[&old], [USUAL; 2]), "off is the default: nothing is touched");
    off.stop();

    let auto = nodes.daemon(1, conf("direct", "auto"));
    let (wanted, why) = tried(&auto, "direct");
    assert_eq!(wanted[1], BIG, "Linux 6.3 carries them over IPv4 where they are routed: {why}");
    until("the path has them, and a pod that was there before", || are_all(node, &[&old], wanted));
    node.add(&new, &node.conf(json!({}))).ok();
    until("a new pod has them too", || are_all(node, &[&old, &new], wanted));
    assert!(ports(node).len() == 2 && auto.ask("status")["problems"] == json!([]));

    // From pod to pod they pass whole.
    let before = received(&old, &old.ifname);
    let bytes = 64 << 20;
    assert_eq!(traffic::bulk(&new, &old, &old.address(false), 5001, bytes), bytes);
    let packets = received(&old, &old.ifname) - before;
    assert!(bytes / packets > 4096, "{bytes} bytes in {packets} packets: cut to the MTU on the way");

    // Somebody changes one; the daemon is killed, and another one wants them no more.
    set(node, "eth0", Sizes { gso_ipv4_max_size: Some(USUAL), ..Sizes::default() });
    until("it is put right", || are_all(node, &[&old, &new], wanted));
    auto.kill();
    assert!(are_all(node, &[&old, &new], wanted), "they stay while nobody says otherwise");
    let off = nodes.daemon(1, conf("direct", "off"));
    until("all is as before", || are_all(node, &[&old, &new], [USUAL; 2]));
    assert!(decided(&off.ask("status"), "direct", "sizes").contains("left alone"));
}

/// Packets that a link has received.
fn received(netns: &Netns, link: &str) -> u64 {
    netns.ip_json(&format!("-s link show {link}"))[0]["stats64"]["rx"]["packets"].as_u64().unwrap()
}

/// As somebody else does.
fn set(netns: &Netns, link: &str, sizes: Sizes) {
    netns.inside(|| {
        let mut socket = Socket::open().unwrap();
        let index = sizes_by_name(&mut socket).unwrap()[link].link.index;
        socket.batch(vec![set_sizes(link, index, &sizes)]).unwrap();
    });
}

#[test]
fn what_a_tunnel_loses_is_not_sent_and_uninstall_leaves_the_uplink_as_it_was() {
    let lab = Lab::new();
    let nodes = Nodes::new(&lab);
    nodes.bridge();
    let node = &nodes.all[0];
    // Somebody's own choice, smaller than the kernel's.
    set(node, "eth0", Sizes { gro_ipv4_max_size: Some(32_768), ..Sizes::default() });
    let daemon = nodes.daemon(1, conf("vxlan", "auto"));
    let (wanted, why) = tried(&daemon, "vxlan");
    let tunnel = |wanted: [u32; 2]| sizes(node, "offramp-vxlan").is_some_and(|is| is[..2] == wanted);
    until("the tunnel has what it carries", || tunnel(wanted));
    if wanted == [USUAL; 2] {
        assert!(why.contains("this kernel does not carry larger ones"), "{why}");
        assert_eq!(sizes(node, "eth0"), Some([USUAL, USUAL, USUAL, 32_768]), "all devices or none");
    }
    daemon.stop();
    let mut uninstall = node.command(binary("offrampd"));
    uninstall.arg("uninstall").arg("--bin-dir").arg(node.dir().join("bin"));
    let done = uninstall.arg("--config").arg(node.dir().join("offrampd.yaml")).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(sizes(node, "eth0"), Some([USUAL, USUAL, USUAL, 32_768]));
}
