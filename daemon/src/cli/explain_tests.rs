use super::*;
use crate::cli::fixture::{record, with_networks};
use offramp_core::plan::Path;
use offramp_core::traffic::{Bytes, Moved};

fn unread(record: Record) -> Explained {
    Explained::new(record, Vec::new())
}

#[test]
fn a_paragraph() {
    assert_eq!(
        render(&[unread(record())], &[], &[], 1260),
        "\
eth0 of pod default/web-0
  Path        veth: no offload was asked for
  State       ready: all steps were executed
  Age         4m 20s
  Container   4f1f8a0c9d2e7b6a5c4d3e2f
  Pod UID     u-1
  Network     offramp, planned by the daemon
  Netns       /run/netns/cni-1 (inode 4026532201)
  Interfaces  offramp0  on the node
              ofj1xot1xg8z9j2  02:00:00:00:00:01  MTU 1450  on the node
              eth0  02:00:00:00:00:02  MTU 1450  in the pod
  Addresses   10.244.1.7/24  gateway 10.244.1.1  from the daemon
              fd00:244:1::7/64  gateway fd00:244:1::1  from the daemon
  Routes      0.0.0.0/0 via 10.244.1.1
              ::/0 via fd00:244:1::1
  Ports       tcp port 8080 of the node to 10.244.1.7:80
              tcp port 8080 of the node to [fd00:244:1::7]:80
  Bandwidth   to the pod: 100 Mbit/s, burst 610.3 KiB
              from the pod: no limit
  DNS         servers 10.96.0.10
  Steps       create-veth, attach-port, shape, neighbours, configure-pod, await-carrier, announce
"
    );
}

#[test]
fn what_was_asked_what_was_refused_and_what_was_moved() {
    let mut r = record();
    r.asked = [("offload", "preferred"), ("interfaces", "- name: net1\n  pool: fast\n")]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into();
    r.plan.reason =
        "no VF for eth0: pool fast, ens1f0: 3 lent; pool telco: it has no VFs on this node".into();
    r.numa = [0].into();
    let bytes = Bytes { rx: 1 << 20, tx: 2048 };
    let eth0 = InterfaceTraffic {
        name: "eth0".parse().unwrap(),
        path: Some(Path::Veth),
        numa: Some(1),
        queues: Some((2, 4)),
        flow_rules: None,
        routed: false,
        moved: Moved::Counted { bytes, cpu: Some(bytes) },
    };
    let explained = Explained::new(r, vec![eth0]);
    let text = render(std::slice::from_ref(&explained), &[], &[], 1260);
    for told in [
        "\
  Asked       interfaces:
                - name: net1
                  pool: fast
              offload: preferred
  Path        veth: no VF for eth0: pool fast, ens1f0: 3 lent
              pool telco: it has no VFs on this node
  State ",
        "
  NUMA        pod: on node 0, as kubelet has placed it
              eth0: its device is on node 1
  Queues      eth0: 2 to receive, 4 to send
",
        "
  Moved       eth0: 1 MiB received, 2 KiB sent, all over the node's CPU
  Share       100% of 1 MiB went over the node's CPU
  Steps ",
    ] {
        assert!(text.contains(told), "{text}");
    }
    let json = serde_json::to_value(&explained).unwrap();
    assert_eq!(
        (&json["attachment"]["ifname"], &json["traffic"][0]["is"]),
        (&"eth0".into(), &"counted".into())
    );
    assert_eq!((&json["share"]["cpu"], &json["share"]["byVf"]), (&(bytes.sum()).into(), &0.into()));
}

#[test]
fn networks_that_other_plugins_made() {
    let text = render(&[unread(with_networks())], &[], &[], 1260);
    let told = "  Networks    net1  default/storage  by bridge, tuning  192.168.50.2  02:00:00:00:00:07
              net2  default/backup  by bridge, tuning  its plugins were not started
";
    assert!(text.contains(told), "{text}");
}

#[test]
fn a_record_without_a_pod_has_its_id_as_title() {
    let mut r = record();
    r.pod = None;
    let text = render(&[unread(r.clone()), unread(r)], &[], &[], 1000);
    assert_eq!(text.matches("\n\n4f1f8a0c9d2e7b6a5c4d3e2f@eth0\n  Path ").count(), 1);
}

#[test]
fn targets() {
    let r = record();
    for good in ["default/web-0", "4f1f8a0c9d2e7b6a5c4d3e2f@eth0", "4f1f", "4f1f8a0c9d2e7b6a5c4d3e2f"] {
        assert!(good.parse::<Target>().unwrap().matches(&r), "{good}");
    }
    for other in ["default/web-00", "kube-system/web-0", "4f1f8a0c9d2e7b6a5c4d3e2f@net1", "4f1e"] {
        assert!(!other.parse::<Target>().unwrap().matches(&r), "{other}");
    }
    for bad in ["", "/web-0", "default/", "a/b/c", "@eth0", "a@", "a@b/c"] {
        assert!(bad.parse::<Target>().is_err(), "{bad:?}");
    }
}
