//! Pods that are routed to, without a bridge, in a cluster: they reach, and are reached, as any.

use super::peers::{reaches, routes};
use offramp_tests::traffic::{at, bulk, serve, tcp, udp};
use offramp_tests::{Cluster, Lab, Netns, Node, Pod, until};
use serde_json::{Value, json};

/// More than fits into one packet of any kind.
const MUCH: u64 = 1 << 20;

struct Site {
    routed: Node,
    other: Node,
    /// On the wire, and no node.
    outside: Node,
    pod: Pod,
    /// Of the other node.
    peer: Pod,
}

impl Site {
    /// All serve at port 80, the pod at its node's port 8080 too.
    fn new(lab: &Lab, cluster: &Cluster) -> Self {
        let (routed, other) = (cluster.node(lab, 1), cluster.node(lab, 2));
        let (outside, pod, peer) = (cluster.machine(lab, 9), lab.pod("pod"), lab.pod("peer"));
        for (netns, name) in [(&*pod, "pod"), (&peer, "peer"), (&outside, "outside")] {
            serve(netns, name, 80);
        }
        Self { routed, other, outside, pod, peer }
    }

    fn add_pods(&self) {
        let port = json!({"hostPort": 8080, "containerPort": 80, "protocol": "tcp"});
        add(&self.routed, &self.pod, json!({"portMappings": [port]}));
        add(&self.other, &self.peer, json!({}));
        let both = || reaches(&self.pod, &self.peer) && reaches(&self.peer, &self.pod);
        until("the pods reach each other", both);
    }

    fn pods_see_each_others_own_addresses(&self) {
        for (from, to, name) in [(&self.pod, &self.peer, "peer"), (&self.peer, &self.pod, "pod")] {
            for v6 in [false, true] {
                let (own, server) = (from.address(v6), to.address(v6));
                let told = [tcp(from, at(&server, 80)), udp(from, at(&server, 80))].map(Result::unwrap);
                assert_eq!(told, [format!("{name} {own}"), format!("{name} {own}")]);
                assert_eq!(bulk(from, to, &server, 81, MUCH), MUCH, "{own} -> {server}");
            }
        }
    }

    fn the_largest_packets_pass(&self, mtu: u32) {
        for (from, to) in [(&self.pod, &self.peer), (&self.peer, &self.pod)] {
            for (v6, headers) in [(false, 28), (true, 48)] {
                let size = mtu - headers;
                from.run(&format!("ping -n -c1 -W10 -M do -s {size} {}", to.address(v6)));
            }
        }
    }

    fn the_outside_sees_the_node_and_is_served_by_it(&self) {
        let all: [&Netns; 5] = [&self.outside, &self.other, &self.peer, &self.routed, &self.pod];
        for (node, outside) in [("10.99.0.1", "10.99.0.9"), ("fd99::1", "fd99::9")] {
            assert_eq!(tcp(&self.pod, at(outside, 80)).unwrap(), format!("outside {node}"));
            for from in all {
                let answer = tcp(from, at(node, 8080)).unwrap();
                assert!(answer.starts_with("pod "), "{} -> {node}: {answer}", from.name());
            }
        }
    }
}

fn add(node: &Node, pod: &Pod, runtime: Value) {
    until("it can serve", || node.status(&node.conf(json!({}))).code == Some(0));
    node.add(pod, &node.conf(json!({"runtimeConfig": runtime}))).ok();
}

/// `path`: of the other node's pods.
fn all_is_as_for_any_pod(mode: &str, path: &str, mtu: u32) {
    let lab = Lab::new();
    let cluster = Cluster::new(&lab);
    let site = Site::new(&lab, &cluster);
    let conf = |path: &str| cluster.conf(json!({"overlay": {"mode": mode}, "path": path}));
    let _daemons = [site.routed.daemon(conf("netkit-l3-required")), site.other.daemon(conf(path))];
    site.add_pods();
    assert_eq!(routes(&site.routed).contains("offramp-vxlan"), mode == "vxlan");
    site.pods_see_each_others_own_addresses();
    site.the_largest_packets_pass(mtu);
    site.the_outside_sees_the_node_and_is_served_by_it();
}

#[test]
fn over_vxlan_a_routed_pod_and_one_on_a_bridge_reach_each_other() {
    all_is_as_for_any_pod("vxlan", "veth", 1450);
}

#[test]
fn over_direct_routes_routed_pods_reach_each_other() {
    all_is_as_for_any_pod("direct", "netkit-l3-required", 1500);
}
