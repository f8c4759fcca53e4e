//! Real VFs that kubelet lends: over restarts and a reboot, as a network of a NetworkAttachmentDefinition, and by a daemon
//! that has sysfs elsewhere.

use crate::lab::{pci, run, state};
use crate::sriov_devices::{FAST, eth0, pcis, wired};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use offramp_tests::kubelet::{PodSpec, Runtime};
use offramp_tests::{Cluster, over, until, wait_for};
use serde_json::{Value, json};
use std::os::unix::process::CommandExt;

/// Takes all VFs away and makes as many anew, as a reboot does.
fn make_vfs_anew() {
    let file = "/sys/class/net/nic0/device/sriov_numvfs";
    run(&format!("n=$(cat {file}); echo 0 > {file}; echo $n > {file}"));
    until("the VFs to have netdevs", || [0, 1].iter().all(|index| !state(*index)["netdev"].is_null()));
}

#[test]
fn a_pod_has_its_vf_over_restarts_and_again_after_a_reboot() {
    let (w, mut kubelet, more) = wired();
    let daemon = w.start_with(more.clone());
    kubelet.wait_for_healthy(FAST, 2);
    let runtime = Runtime::new(&w.m.lab, &w.m.node);
    let pod = eth0("default/web");
    assert_eq!(kubelet.admit(&pod).unwrap()[0].ids, [pci(0)]);
    let (old, answer) = runtime.run(&pod);
    assert_eq!(pcis(&answer.ok()), [pci(0)]);

    kubelet.start();
    kubelet.wait_for_healthy(FAST, 2);
    daemon.kill();
    let before = kubelet.registrations(FAST);
    let daemon = w.start_with(more.clone());
    until("it to register", || kubelet.registrations(FAST) > before);
    kubelet.wait_for_healthy(FAST, 2);
    assert_eq!(w.m.claim(0).unwrap()["holder"]["container"], old.pod.container);
    old.pod.run("ping -n -c 1 -W 2 192.0.2.1");
    let next = eth0("default/next");
    assert_eq!(kubelet.admit(&next).unwrap()[0].ids, [pci(1)], "the other one is lent");
    kubelet.forget(&next);

    kubelet.stop();
    daemon.kill();
    old.pod.delete();
    std::fs::remove_dir_all(w.m.node.state()).unwrap();
    make_vfs_anew();
    let as_booted = state(0);
    kubelet.start();
    kubelet.readmit(&pod).unwrap_err();
    let _daemon = w.start_with(more);
    kubelet.wait_for_healthy(FAST, 2);
    kubelet.readmit(&pod).unwrap();
    let (new, answer) = runtime.run(&pod);
    assert_eq!(pcis(&answer.ok()), [pci(0)]);
    runtime.stop_after_reboot(&old).ok();
    assert_eq!(w.m.claim(0).unwrap()["holder"]["container"], new.pod.container);
    new.pod.run("ping -n -c 1 -W 2 192.0.2.1");
    assert!(kubelet.delete(&runtime, &pod, &new));
    w.m.assert_vf_free(0, &as_booted);
}

/// What `k8s.v1.cni.cncf.io/network-status` tells of a network, as soon as it tells something.
fn network_status(cluster: &Cluster, pod: &str, network: &str) -> Value {
    wait_for("the network's status", || {
        let stored = cluster.api.get("pods", Some("default"), pod)?;
        let text =
            stored["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"].as_str()?.to_owned();
        let all: Vec<Value> = serde_json::from_str(&text).unwrap();
        all.into_iter().find(|entry| entry["name"] == network)
    })
}

#[test]
fn a_network_with_a_resource_is_the_vf_that_kubelet_assigned() {
    let (w, kubelet, more) = wired();
    let cluster = Cluster::new(&w.m.lab);
    cluster.connect(&w.m.node, 1, "wire0");
    cluster.put_node(1, &["10.244.1.0/24", "fd44:1::/64"]);
    let before = [0, 1].map(state);
    let _daemon = w.start_with(over(cluster.conf(more), json!({"node": {"name": "n1", "uplink": "wire0"}})));
    kubelet.wait_for_healthy(FAST, 2);
    let runtime = Runtime::new(&w.m.lab, &w.m.node);
    until("pods can be attached", || runtime.node_is_ready());
    let ranges = json!([[{"subnet": "10.97.0.0/24"}]]);
    let own = json!({"type": "offramp", "ranges": ranges});
    let configs = [
        ("given", json!({"cniVersion": "1.0.0", "type": "offramp", "pool": "fast", "ipam": own})),
        ("pooled", json!({"cniVersion": "1.0.0", "type": "offramp", "pool": "fast"})),
        (
            "inline",
            json!({"cniVersion": "1.1.0", "type": "offramp", "stateDir": w.m.node.state(), "ipam": {"type": "offramp", "ranges": ranges}}),
        ),
    ];
    for (name, config) in configs {
        let annotations = json!({"k8s.v1.cni.cncf.io/resourceName": FAST});
        cluster.api.put(json!({
            "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": name, "namespace": "default", "annotations": annotations},
            "spec": {"config": config.to_string()},
        }));
        let mut pod = PodSpec::new(&format!("default/{name}"))
            .annotation("k8s.v1.cni.cncf.io/networks", name)
            .requests(FAST, 1);
        let stored = cluster.api.put(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": "default", "name": name, "annotations": pod.annotations},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]},
        }));
        pod.uid = stored["metadata"]["uid"].as_str().unwrap().to_owned();
        let assigned = kubelet.admit(&pod).unwrap().remove(0).ids;
        assert_eq!(assigned, [pci(0)]);
        let (sandbox, answer) = runtime.run(&pod);
        answer.ok();
        assert_eq!(w.m.claim(0).unwrap()["holder"]["container"], sandbox.pod.container);
        assert!(w.m.claim(1).is_none());
        let link = sandbox.pod.link("net1").unwrap();
        let told = network_status(&cluster, name, &format!("default/{name}"));
        assert_eq!((&told["interface"], &told["mac"]), (&json!("net1"), &link["address"]), "{told}");
        assert_eq!(told["device-info"]["pci"]["pci-address"], assigned[0], "{told}");
        let addressed = (name != "pooled").then(|| json!(["10.97.0.2"]));
        assert_eq!(told.get("ips").cloned(), addressed, "{told}");
        assert!(kubelet.delete(&runtime, &pod, &sandbox));
        for (index, before) in before.iter().enumerate() {
            w.m.assert_vf_free(index, before);
        }
        assert!(w.m.node.records().is_empty(), "{:?}", w.m.node.records());
        kubelet.wait_for_healthy(FAST, 2);
    }
}

/// As in a container that has the host's at another place.
#[test]
fn a_daemon_finds_lends_takes_back_and_cleans_by_a_sysfs_that_is_elsewhere() {
    let (w, kubelet, more) = wired();
    let before = state(0);
    let sysfs = w.m.node.dir().join("sys");
    std::fs::create_dir(&sysfs).unwrap();
    let conf = over(w.conf(), over(more, json!({"paths": {"sysfs": sysfs}})));
    let daemon = w.m.node.daemon_as(conf, |command| {
        // SAFETY: between fork and exec only system calls are made: unshare(2) and mount(2), on paths made before.
        unsafe {
            command.pre_exec(move || {
                let none = None::<&str>;
                unshare(CloneFlags::CLONE_NEWNS)?;
                mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)?;
                mount(Some("/sys"), &sysfs, none, MsFlags::MS_BIND, none)?;
                Ok(mount(Some("none"), "/sys", Some("tmpfs"), MsFlags::empty(), none)?)
            });
        }
    });
    kubelet.wait_for_healthy(FAST, 2);
    let pod = eth0("default/web");
    kubelet.admit(&pod).unwrap();
    let args = "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web";
    let info = w.m.node.dir().join("devinfo/web");
    let conf = w.m.node.conf(json!({"runtimeConfig": {
        "CNIDeviceInfoFile": info, "io.kubernetes.cri.pod-annotations": pod.annotations,
    }}));
    for has_del in [true, false] {
        let sandbox = w.m.lab.pod("web");
        let result = w.m.node.call_for("ADD", &sandbox).args(args).config(&conf).run().ok();
        assert_eq!(pcis(&result), [pci(0)]);
        assert!(info.exists());
        if has_del {
            w.m.node.call_for("DEL", &sandbox).args(args).config(&conf).run().ok();
        }
        // Otherwise the daemon notices.
        sandbox.delete();
        until("its record to go", || w.m.node.records().is_empty());
        w.m.assert_vf_free(0, &before);
        assert!(!info.exists(), "what told of the VF");
    }
    drop(daemon);
}
