//! DEL as runtimes really call it: thrice, late, without a namespace, with a stale result, after failures.

use offramp_tests::{Lab, Node, Pod, Snapshot, assert_same, over, traffic};
use serde_json::{Value, json};

fn with_port(conf: Value) -> Value {
    over(conf, json!({"runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80}]}}))
}

/// Both modes, a daemon beside them.
fn in_both_modes(test: impl Fn(&Lab, &Node, &Value)) {
    let lab = Lab::new();
    let node = lab.node("node");
    let _daemon = node.daemon(json!({}));
    for conf in [node.inline(json!({"name": "inline"})), node.conf(json!({}))] {
        test(&lab, &node, &with_port(conf));
    }
}

#[test]
fn thrice_the_last_ones_without_namespace_and_result() {
    in_both_modes(|lab, node, conf| {
        let pod = lab.pod("pod");
        let (before, pod_before) = (node.snapshot(), Snapshot::take(&pod));
        let result = node.add(&pod, conf).ok();
        assert_ne!(before, node.snapshot());
        node.del(&pod, &over(conf.clone(), json!({"prevResult": result}))).ok();
        assert_same(&before, &node.snapshot());
        assert_same(&pod_before, &Snapshot::take(&pod));
        for _ in 0..2 {
            let late = over(conf.clone(), json!({"runtimeConfig": null}));
            let answer = node.call_for("DEL", &pod).netns("").config(&late).run();
            assert_eq!((answer.code, answer.stdout.as_str()), (Some(0), ""));
            assert_same(&before, &node.snapshot());
        }
    });
}

#[test]
fn when_the_namespace_is_deleted() {
    in_both_modes(|lab, node, conf| {
        let before = node.snapshot();
        for netns in ["", "/run/netns/gone", "its own"] {
            let pod = lab.pod("pod");
            node.add(&pod, conf).ok();
            pod.delete();
            let path = if netns == "its own" { pod.path() } else { netns.into() };
            node.call_for("DEL", &pod).netns(path).config(conf).run().ok();
            assert_same(&before, &node.snapshot());
        }
    });
}

#[test]
fn with_an_empty_namespace_while_the_pod_lives() {
    in_both_modes(|lab, node, conf| {
        let pod = lab.pod("pod");
        let before = node.snapshot();
        node.add(&pod, conf).ok();
        node.call_for("DEL", &pod).netns("").config(conf).run().ok();
        assert_same(&before, &node.snapshot());
        assert_eq!(pod.link("eth0"), None);
    });
}

#[test]
fn with_a_stale_a_broken_or_no_result() {
    in_both_modes(|lab, node, conf| {
        let neighbour = lab.pod("neighbour");
        let theirs = node.add(&neighbour, &over(conf.clone(), json!({"runtimeConfig": null}))).ok();
        let before = node.snapshot();
        for prev in [theirs, json!({"cniVersion": "0.0.1", "ips": 7}), json!("x"), json!(null)] {
            let pod = lab.pod("pod");
            node.add(&pod, conf).ok();
            let mut conf = conf.clone();
            conf["prevResult"] = prev;
            node.del(&pod, &conf).ok();
            assert_same(&before, &node.snapshot());
            node.del(&pod, &conf).ok();
            assert_same(&before, &node.snapshot());
        }
        node.del(&neighbour, conf).ok();
    });
}

#[test]
fn of_what_was_never_attached() {
    in_both_modes(|lab, node, conf| {
        let (pod, stranger) = (lab.pod("pod"), lab.pod("stranger"));
        let result = node.add(&pod, conf).ok();
        let before = node.snapshot();
        // Even if it comes with somebody else's namespace and result.
        let conf = over(conf.clone(), json!({"prevResult": result}));
        let call = node.call("DEL").container(&stranger.container).ifname("eth0").netns(pod.path());
        call.config(&conf).run().ok();
        assert_same(&before, &node.snapshot());
        assert!(traffic::ping(&pod, &pod.node_address("-4").unwrap()));
        node.del(&pod, &conf).ok();
    });
}

#[test]
fn after_a_failed_add() {
    in_both_modes(|lab, node, conf| {
        let pod = lab.pod("pod");
        pod.ip("link add eth0 type veth peer name eth9");
        let (before, pod_before) = (node.snapshot(), Snapshot::take(&pod));
        node.add(&pod, conf).failed(101, &["eth0"]);
        for _ in 0..2 {
            node.del(&pod, conf).ok();
            assert_same(&before, &node.snapshot());
            assert_same(&pod_before, &Snapshot::take(&pod));
        }
    });
}

/// A namespace's path can be used again: by the same pod's next sandbox, for one.
#[test]
fn of_an_old_sandbox_whose_path_a_new_one_has() {
    in_both_modes(|lab, node, conf| {
        let old = lab.pod("pod");
        let conf = over(conf.clone(), json!({"runtimeConfig": null}));
        let old_result = node.add(&old, &conf).ok();
        let (path, name) = (old.path(), old.name().to_owned());
        old.delete();
        node.ip(&format!("netns add {name}"));
        let new = Pod { container: format!("new-{}", old.container), ..old };
        assert_eq!(new.path(), path);
        node.add(&new, &conf).ok();
        let old_call = node.call("DEL").container(new.container.trim_start_matches("new-")).ifname("eth0");
        let old_call = old_call.netns(&path).config(&over(conf.clone(), json!({"prevResult": old_result})));
        old_call.run().ok();
        assert_eq!(node.records(), [format!("{}@eth0.json", new.container)]);
        let after = node.snapshot();
        old_call.run().ok();
        assert_same(&after, &node.snapshot());
        assert!(traffic::ping(&new, &new.node_address("-4").unwrap()));
        node.del(&new, &conf).ok();
    });
}

/// Everything that the old sandbox held is the new one's by now: addresses, port, namespace path.
#[test]
fn late_it_frees_nothing_of_the_newer_sandbox() {
    let lab = Lab::new();
    let (node, outside) = (lab.node("node"), lab.netns("outside"));
    node.uplink(&outside);
    let tiny = json!({"ipam": {"ranges": [[{"subnet": "10.88.0.0/30"}], [{"subnet": "fd88::/126", "rangeEnd": "fd88::2"}]]}});
    let conf = with_port(node.inline(tiny));
    let (old, new) = (lab.pod("pod"), lab.pod("pod"));
    let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=same";
    let call = |verb: &str, pod: &Pod| node.call_for(verb, pod).args(args);
    let old_result = call("ADD", &old).config(&conf).run().ok();
    old.delete();
    // The runtime's first DEL is still to come: nothing is free yet.
    call("ADD", &new).config(&conf).run().failed(11, &["no free address"]);
    call("DEL", &old).config(&conf).run().ok();
    traffic::serve(&new, "new", 80);
    let result = call("ADD", &new).config(&conf).run().ok();
    assert_eq!(result["ips"], old_result["ips"]);
    let before = node.snapshot();
    let stale = over(conf.clone(), json!({"prevResult": old_result}));
    for late in [call("DEL", &old).config(&stale), call("DEL", &old).netns("").config(&conf)] {
        late.run().ok();
        assert_same(&before, &node.snapshot());
    }
    assert_eq!(traffic::tcp(&outside, traffic::at("198.51.100.1", 8080)).unwrap(), "new 198.51.100.2");
    node.check(&new, &conf, &result).ok();
}

#[test]
fn beside_the_add_of_a_new_sandbox() {
    in_both_modes(|lab, node, conf| {
        let conf = over(conf.clone(), json!({"runtimeConfig": null}));
        let empty = node.snapshot();
        let mut old = lab.pod("pod");
        node.add(&old, &conf).ok();
        for _ in 0..10 {
            let new = lab.pod("pod");
            let (add, del) = std::thread::scope(|scope| {
                let add = scope.spawn(|| node.add(&new, &conf));
                let del = scope.spawn(|| node.del(&old, &conf));
                (add.join().unwrap(), del.join().unwrap())
            });
            del.ok();
            let result = add.ok();
            node.check(&new, &conf, &result).ok();
            assert_eq!(node.records(), [format!("{}@eth0.json", new.container)]);
            node.del(&old, &conf).ok();
            assert!(traffic::ping(&new, &new.node_address("-6").unwrap()));
            old = new;
        }
        node.del(&old, &conf).ok();
        assert_same(&empty, &node.snapshot());
    });
}

#[test]
fn several_interfaces_go_one_by_one() {
    in_both_modes(|lab, node, conf| {
        let inline = conf.get("bridge").is_some();
        let gateway = if inline { json!({"isDefaultGateway": false, "isGateway": true}) } else { json!({}) };
        let conf = over(over(conf.clone(), gateway), json!({"runtimeConfig": null}));
        let mut pod = lab.pod("pod");
        let before = node.snapshot();
        node.add(&pod, &conf).ok();
        let one = node.snapshot();
        pod.ifname = "net1".into();
        node.add(&pod, &conf).ok();
        node.del(&pod, &conf).ok();
        assert_same(&one, &node.snapshot());
        pod.ifname = "eth0".into();
        node.del(&pod, &conf).ok();
        assert_same(&before, &node.snapshot());
    });
}
