//! Networks of NetworkAttachmentDefinitions that are VFs of a pool, with addresses by their own `ipam`.

use crate::lab::{run, state};
use crate::sriov_node::{Wired, of_pod, pool, reach};
use offramp_tests::{Pod, over, until};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";

fn wired() -> Wired {
    Wired::with_pools(json!([pool("telco", "0-1", json!({"policy": {"vlans": ["100-199"]}}))]))
}

fn telco(more: Value) -> Value {
    over(json!({"cniVersion": "1.0.0", "type": "offramp", "pool": "telco"}), more)
}

fn asks(networks: &str) -> Value {
    json!({ NETWORKS: networks })
}

/// The addresses that files of a network hold.
fn held(dir: PathBuf) -> Vec<String> {
    let names = std::fs::read_dir(dir).into_iter().flatten();
    let names = names.map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("10.") || name.starts_with("fd")).collect()
}

fn record(w: &Wired, pod: &Pod) -> Value {
    serde_json::from_slice(&std::fs::read(w.m.node.record(pod)).unwrap()).unwrap()
}

/// Its DEL knows nothing but the record.
fn del_by_record(w: &Wired, pod: &Pod) {
    w.m.node.call_for("DEL", pod).netns("").without("CNI_PATH").config(&w.m.node.conf(json!({}))).run().ok();
}

#[test]
fn our_own_ranges() {
    let w = wired();
    let before = [0, 1].map(state);
    let ranges = json!([[{"subnet": "10.97.0.0/24", "gateway": "10.97.0.254"}], [{"subnet": "fd97::/64"}]]);
    let ipam = json!({"type": "offramp", "ranges": ranges, "routes": [{"dst": "10.98.0.0/16"}]});
    let refused = over(json!({"ipam": ipam}), json!({"vlan": 200}));
    let node = json!({"type": "static", "addresses": [{"address": "192.0.2.1/24"}]});
    let pods = json!({"type": "offramp", "ranges": [[{"subnet": "10.244.1.0/24"}]]});
    let definitions = w.m.node.networks(&[
        ("own", telco(json!({"ipam": ipam}))),
        ("refused", telco(refused)),
        ("asked", telco(json!({"ipam": {"type": "static"}}))),
        ("node", telco(json!({"ipam": node}))),
        ("pods", telco(json!({"ipam": pods}))),
    ]);
    let _daemon = w.start_with(definitions);
    let held = || held(w.m.node.state().join("ipam/own"));
    run("ip addr add 10.97.0.254/24 dev nic0");
    let (a, b) = (w.m.lab.pod("a"), w.m.lab.pod("b"));
    let result = w.add(&a, "default", asks("own")).ok();
    let wished = r#"[{"name": "own", "ips": ["10.97.0.77/24"], "default-route": ["10.97.0.254"]}]"#;
    w.add(&b, "default", asks(wished)).ok();
    assert_eq!(a.addresses("net1"), ["10.97.0.1/24", "fd97::2/64"], "{result}");
    assert_eq!(b.addresses("net1")[0], "10.97.0.77/24");
    assert_eq!(held().len(), 4);
    // The first packet passes: by the embedded switch, to the node and to the other VF.
    reach(&a, &["10.97.0.254".into(), "10.97.0.77".into()]);
    assert!(a.ip("route show 10.98.0.0/16").contains("via 10.97.0.254 dev net1"));
    assert!(a.ip("route show default").contains("dev eth0"));
    assert_eq!(b.default_gateway("-4").as_deref(), Some("10.97.0.254"));
    assert!(b.ip("-4 route show default").contains("dev net1"));
    let told = &record(&w, &a)["networks"][0];
    assert_eq!(told["result"]["ips"].as_array().unwrap().len(), 2, "{told}");
    let conf = w.m.node.conf(json!({}));
    w.m.node.check(&a, &conf, &result).ok();
    a.ip("addr del 10.97.0.1/24 dev net1");
    w.m.node.check(&a, &conf, &result).failed(102, &["net1", "10.97.0.1/24"]);

    w.add(&w.m.lab.pod("c"), "default", asks("refused")).failed(107, &["vlan 200", "telco"]);
    let own = r#"[{"name": "own", "ips": ["192.0.2.1/24"]}]"#;
    let d = w.m.lab.pod("d");
    w.add(&d, "default", asks(own)).failed(107, &[NETWORKS, "192.0.2.1", "a node"]);
    // Nor by what goes past the judge.
    let args = r#"[{"name": "asked", "cni-args": {"ips": ["192.0.2.1/24"]}}]"#;
    w.add(&d, "default", asks(args)).failed(7, &[NETWORKS, "cni-args", "\"ips\"", "use `ips`"]);
    assert_eq!((w.m.node.records().len(), held().len()), (2, 4));
    del_by_record(&w, &a);
    // Nor from a definition that is wrong.
    for (nad, ip, whose) in [("node", "192.0.2.1", "a node"), ("pods", "10.244.1.", "the cluster's pods")] {
        let network = format!("default/{nad}");
        w.add(&d, "default", asks(nad)).failed(107, &[&network, "gave", ip, whose]);
    }
    let elsewhere = asks(r#"[{"name": "own", "default-route": ["10.98.0.1"]}]"#);
    w.add(&d, "default", elsewhere).failed(7, &["default-route 10.98.0.1", "default/own", "10.97.0."]);
    w.m.node.gc(&conf, &[]).ok();
    (0..2).for_each(|vf| w.m.assert_vf_free(vf, &before[vf]));
    assert!(held().is_empty() && w.m.node.records().is_empty(), "{:?}", held());

    // Nobody calls DEL: the daemon frees the addresses with the VF.
    let gone = w.m.lab.pod("gone");
    w.add(&gone, "default", asks("own")).ok();
    gone.delete();
    w.m.assert_vf_free(0, &before[0]);
    until("addresses and record to be gone", || held().is_empty() && w.m.node.records().is_empty());
}

/// Called, killed and failing: what it gave is told back once the VF has left the pod.
#[test]
fn a_delegated_plugin() {
    let w = wired();
    let before = state(0);
    let data = w.m.node.dir().join("host-local");
    let ranges = json!([[{"subnet": "10.97.0.0/24"}], [{"subnet": "fd97::/64"}]]);
    let ipam = json!({"type": "host-local", "dataDir": data, "ranges": ranges});
    let missing = json!({"type": "no-such-plugin"});
    let definitions = w.m.node.networks(&[
        ("local", telco(json!({"vlan": 100, "ipam": ipam}))),
        ("missing", telco(json!({"ipam": missing}))),
    ]);
    let daemon = w.start_with(definitions.clone());
    let held = || held(data.join("local"));
    let pod = w.m.lab.pod("pod");
    let conf = w.m.node.conf(json!({"runtimeConfig": {"io.kubernetes.cri.pod-annotations": asks("local")}}));
    let result = w.add(&pod, "default", asks("local")).ok();
    assert_eq!(pod.addresses("net1").len(), 2, "{result}");
    assert_eq!((held().len(), &state(0)["pf"]["vlan_list"][0]["vlan"]), (2, &json!(100)));
    w.m.node.check(&pod, &conf, &result).ok();
    for name in held() {
        std::fs::remove_file(data.join("local").join(name)).unwrap();
    }
    w.m.node.check(&pod, &conf, &result).failed(999, &["default/local", "host-local"]);
    (0..3).for_each(|_| del_by_record(&w, &pod));
    w.m.assert_vf_free(0, &before);
    assert!(held().is_empty() && w.m.node.records().is_empty());

    for point in ["network.begun:1", "delegate.started:1", "network.added:1", "configure-pod:3"] {
        let (answer, at) = w.m.killed("ADD", &pod, &conf, point);
        assert!(answer.code.is_none() && at.is_some(), "{point}: {answer:?}");
        (0..2).for_each(|_| del_by_record(&w, &pod));
        w.m.assert_vf_free(0, &before);
        assert!(held().is_empty() && w.m.node.records().is_empty(), "{point}: {:?}", held());
    }

    w.add(&pod, "default", asks("missing")).failed(7, &["default/missing", "no-such-plugin", "CNI_PATH"]);
    // Neither daemon nor definition is needed to take it back.
    w.add(&pod, "default", asks("local")).ok();
    daemon.kill();
    w.m.node.networks(&[]);
    (0..2).for_each(|_| del_by_record(&w, &pod));
    assert!(held().is_empty() && w.m.node.records().is_empty(), "{:?}", held());
    let _daemon = w.start_with(definitions);
    w.m.assert_vf_free(0, &before);
}

/// A plugin that does `on_add` when it is told ADD, and notes each call, and whether the VF is in the pod then.
fn script(bin: &Path, name: &str, on_add: &str) {
    let text = format!(
        "#!/bin/sh\ncd ${{0%/*}}; ip netns exec ${{CNI_NETNS##*/}} ip link show net1 >/dev/null 2>&1 && in=in || in=out\n\
         echo $CNI_COMMAND $CNI_IFNAME $in >>calls; [ $CNI_COMMAND = DEL ] && exit 0\n{on_add}\n"
    );
    std::fs::write(bin.join(name), text).unwrap();
    std::fs::set_permissions(bin.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Whatever comes of its ADD, a plugin is told DEL, once, when the VF has left the pod; of one that hangs nothing stays.
#[test]
fn a_delegated_plugin_that_fails() {
    let w = wired();
    let before = state(0);
    let bin = w.m.node.dir().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let cases: [(&str, &str, u64, &[&str]); 4] = [
        ("failing", "exit 1", 105, &["failing"]),
        ("empty", r#"echo '{"cniVersion": "1.0.0"}'"#, 7, &["empty", "no address"]),
        ("talking", "echo hello", 6, &["talking", "not JSON"]),
        ("hanging", "sleep 1000 & echo $$ $! >pids; wait", 11, &["hanging", "within 10.0 s", "killed"]),
    ];
    let definition = |(name, ..): &(&'static str, &str, u64, &[&str])| {
        (*name, telco(json!({"ipam": {"type": *name}, "ipamTimeout": 10})))
    };
    let definitions: Vec<(&str, Value)> = cases.iter().map(definition).collect();
    let _daemon = w.start_with(w.m.node.networks(&definitions));
    for (name, on_add, code, words) in cases {
        script(&bin, name, on_add);
        let pod = w.m.lab.pod(name);
        let conf = w.m.node.conf(json!({"runtimeConfig": {"io.kubernetes.cri.pod-annotations": asks(name)}}));
        let call = w.m.node.call_for("ADD", &pod).config(&conf).args(&of_pod("default"));
        let network = format!("default/{name}");
        call.env("CNI_PATH", bin.to_str().unwrap())
            .run()
            .failed(code, &[&[network.as_str()], words].concat());
        w.m.assert_vf_free(0, &before);
        let calls = std::fs::read_to_string(bin.join("calls")).unwrap();
        assert_eq!(calls.lines().collect::<Vec<_>>(), ["ADD net1 in", "DEL net1 out"], "{name}");
        std::fs::remove_file(bin.join("calls")).unwrap();
        assert!(w.m.node.records().is_empty(), "{name}");
    }
    let pids = std::fs::read_to_string(bin.join("pids")).unwrap();
    let lives = |pid: &str| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !status.is_empty() && !status.contains(") Z ")
    };
    assert_eq!(pids.split_whitespace().count(), 2);
    until("what hung to be gone", || !pids.split_whitespace().any(lives));
}

/// The VFs are held by pods whose DEL never came, and only a plugin can take them back: one that is refused does.
#[test]
fn who_finds_no_vf_takes_back_what_was_left() {
    let w = wired();
    let data = w.m.node.dir().join("host-local");
    let ipam = json!({"type": "host-local", "dataDir": data, "ranges": [[{"subnet": "10.97.0.0/24"}]]});
    let _daemon = w.start_with(w.m.node.networks(&[("local", telco(json!({"ipam": ipam})))]));
    let gone = [w.m.lab.pod("a"), w.m.lab.pod("b")];
    for pod in &gone {
        w.add(pod, "default", asks("local")).ok();
        pod.delete();
    }
    until("the daemon to give up", || gone.iter().all(|pod| record(&w, pod)["state"] == "deleting"));
    let pod = w.m.lab.pod("pod");
    let add = || w.add(&pod, "default", asks("local"));
    add().failed(11, &["telco", "2 lent"]);
    until("a VF", || add().code == Some(0));
    assert_eq!(pod.addresses("net1").len(), 1);
    w.del(&pod);
    until("all to be free", || held(data.join("local")).is_empty() && w.m.node.records().is_empty());
}
