//! A pod that is not on the bridge: without the node's route to it nothing reaches it. The daemon puts it back, so it is away.

use crate::site::Site;
use offramp_tests::until;
use serde_json::json;

pub const ID: &str = "pod-cut-off";

#[test]
fn a_pod_whose_route_is_gone_is_found() {
    let site = Site::new();
    let conf = site.conf(json!({"path": "netkit-l3-required"}));
    let daemon = site.node.daemon(conf.clone());
    site.add(&site.pod);
    site.doctor(|d| d.finds_nothing("a pod without a bridge"));
    daemon.kill();
    for (ip, prefix) in [("10.244.1.2", "10.244.1.2/32"), ("fd00:244:1::2", "fd00:244:1::2/128")] {
        site.node.ip(&format!("route del {prefix}"));
        site.doctor(|d| d.finds(&[ID, "daemon-away"], &[&format!("eth0: no route to {ip}")]));
    }
    let _daemon = site.node.daemon(conf);
    until("the routes to be back", || site.doctor(|d| !d.look().ids().contains(ID)));
    site.doctor(|d| d.finds_nothing("a daemon that is back"));
    site.del(&site.pod);
    site.doctor(|d| d.finds_nothing("a pod that is gone"));
}
