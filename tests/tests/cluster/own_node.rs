//! What the Node says of a node: its podCIDRs, early, late, others, none.

use super::peers::KIND;
use super::{add, problems};
use offramp_tests::api::Gone;
use offramp_tests::{Cluster, Lab, traffic, until};
use serde_json::json;

#[test]
fn pods_wait_for_the_podcidr_and_a_restart_without_the_api_goes_on() {
    let lab = Lab::new();
    let cluster = Cluster::new(&lab);
    let node = cluster.machine(&lab, 1);
    let (pod, other, third) = (lab.pod("pod"), lab.pod("other"), lab.pod("third"));
    let conf = node.conf(json!({}));
    let daemon = node.daemon(cluster.conf(json!({})));
    add(&node, &pod).failed(11, &["no podCIDR yet"]);
    node.status(&conf).failed(50, &["no podCIDR yet"]);
    node.del(&pod, &conf).ok();
    until("the missing Node is told", || problems(&daemon).contains("no Node n1"));
    cluster.put_node(1, &[]);
    until("the missing podCIDR is told", || problems(&daemon).contains("it has no podCIDR (yet)"));
    add(&node, &pod).failed(11, &["no podCIDR yet"]);
    cluster.put_node(1, &["10.244.1.0/24", "fd44:1::/64"]);
    until("it can serve", || node.status(&conf).code == Some(0));
    add(&node, &pod).ok();
    assert_eq!(pod.ips().len(), 2);
    until("the gateway answers", || {
        traffic::reaches(&pod, "10.244.1.1") && traffic::reaches(&pod, "fd44:1::1")
    });
    until("nothing is wrong", || problems(&daemon) == "[]");

    daemon.kill();
    cluster.api.outage(true);
    let daemon = node.daemon(cluster.conf(json!({})));
    add(&node, &other).ok();
    assert!(traffic::ping(&other, &pod.address(false)) && traffic::ping(&other, "fd44:1::1"));
    node.del(&pod, &conf).ok();
    until("the outage is told", || problems(&daemon).contains("Kubernetes API"));
    cluster.api.outage(false);
    until("the outage is over", || problems(&daemon) == "[]");
    add(&node, &third).ok();
}

#[test]
fn both_forms_of_gone_are_survived() {
    let lab = Lab::new();
    let cluster = Cluster::new(&lab);
    let node = cluster.node(&lab, 1);
    let daemon = node.daemon(cluster.conf(json!({})));
    let ranges = || daemon.ask("status")["ranges"].to_string();
    until("the ranges", || ranges().contains("10.244.1.0/24"));
    for (gone, net) in [(Gone::Event, "10.244.11.0/24"), (Gone::Http, "10.244.12.0/24")] {
        cluster.api.gone_as(gone);
        cluster.api.outage(true);
        // An unrelated change: the version from which the daemon would go on is older than what is known.
        cluster
            .api
            .put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("{gone:?}")}}));
        cluster.put_node(1, &[net]);
        cluster.api.compact();
        cluster.api.outage(false);
        until(&format!("it goes on after {gone:?}"), || ranges().contains(net));
    }
    let refused = cluster.api.requests().iter().filter(|r| r.code == 410).count();
    assert!(refused > 0, "no watch was refused by HTTP status");
}

#[test]
fn another_podcidr_is_for_new_pods_and_the_old_ones_are_told() {
    let lab = Lab::new();
    let cluster = Cluster::new(&lab);
    let node = cluster.node(&lab, 1);
    let daemon = node.daemon(cluster.conf(json!({})));
    let conf = node.conf(json!({}));
    until("it can serve", || node.status(&conf).code == Some(0));
    let (old, new) = (lab.pod("old"), lab.pod("new"));
    add(&node, &old).ok();
    // A Node of the same name without a podCIDR is another one: its pods cannot have the old one's addresses.
    cluster.api.delete("nodes", None, "n1");
    until("its end is told", || problems(&daemon).contains("no Node n1"));
    cluster.put_node(1, &[]);
    until("the networks are taken back", || node.status(&conf).code != Some(0));
    cluster.put_node(1, &["10.244.9.0/24"]);
    until("it can serve again", || node.status(&conf).code == Some(0));
    add(&node, &new).ok();
    assert!(new.address(false).starts_with("10.244.9."), "{:?}", new.ips());
    until("pods of the old ones are told", || problems(&daemon).contains("2 addresses of pods are in none"));
    node.del(&old, &conf).ok();
    until("nothing is wrong", || problems(&daemon) == "[]");
    // What no pod can have leaves the good one in force.
    cluster.put_node(1, &["127.0.0.0/24"]);
    until("the bad one is told", || {
        problems(&daemon).contains("127.0.0.0/24 is not a network that pods can have")
    });
    assert_eq!(daemon.ask("status")["ranges"][0]["subnet"], "10.244.9.0/24");
}

#[test]
fn what_the_node_can_offload_is_said_and_labels_are_ours_alone() {
    let lab = Lab::new();
    let cluster = Cluster::new(&lab);
    let node = cluster.node(&lab, 1);
    let labels = || cluster.api.get("nodes", None, "n1").unwrap()["metadata"]["labels"].clone();
    let vxlan = || labels()["offload.offramp.dev/kernel.vxlan"] == "true";
    let labelled = |on: bool| cluster.conf(json!({"cluster": {"kubernetes": {"nodeLabels": on}}}));
    let daemon = node.daemon(labelled(true));
    // Every kernel that runs these tests has VXLAN.
    until("the label", vxlan);
    let said = || cluster.api.get(KIND, None, "n1").map(|object| object["spec"]["offload"]["kernel"].clone());
    until("OfframpNode", || said().is_some_and(|kernel| kernel.to_string().contains("\"vxlan\"")));
    assert_eq!(daemon.ask("nics")["offload"]["kernel"]["vxlan"]["is"], "there");

    // Somebody takes ours, and sets another that is not so.
    let mut object = cluster.api.get("nodes", None, "n1").unwrap();
    let foreign = json!({"kubernetes.io/hostname": "n1", "zone": "a", "offload.offramp.dev/warp": "true"});
    object["metadata"]["labels"] = foreign;
    cluster.api.put(object);
    until("all is as it should be", || vxlan() && labels()["offload.offramp.dev/warp"].is_null());
    assert_eq!(labels()["zone"], "a");

    daemon.kill();
    let _daemon = node.daemon(labelled(false));
    until("ours are gone", || labels() == json!({"kubernetes.io/hostname": "n1", "zone": "a"}));
    assert!(said().is_some_and(|kernel| kernel.to_string().contains("\"vxlan\"")), "it is no label");
}
