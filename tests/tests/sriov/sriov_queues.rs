//! Pods whose eth0 leases queues of a NIC: of a simulated one with 7.3; refused on igb, and by 6.12 altogether.

use crate::lab::run;
use crate::sriov_node::Wired;
use offramp_kernel::netkit;
use offramp_kernel::netlink::Socket;
use offramp_kernel::queues::Queues;
use offramp_tests::{Answer, Daemon, Pod, until};
use serde_json::{Value, json};

const NUMBER: u32 = 79;

/// A simulated NIC with 8 queues of which 4 are a pool's; gone when dropped.
struct Leasing {
    w: Wired,
    nic: String,
}

impl Leasing {
    fn new() -> Self {
        run(&format!("echo '{NUMBER} 1 8' > /sys/bus/netdevsim/new_device"));
        let nic = run(&format!("ls /sys/bus/netdevsim/devices/netdevsim{NUMBER}/net")).trim().to_owned();
        run(&format!("ip link set {nic} up"));
        let policy = json!({"namespaces": ["*"], "maxQueues": 3});
        let pool = |name: &str, nic: &str| json!({"name": name, "queues": {"nics": [nic]}, "policy": policy});
        let w = Wired::with_pools(json!([pool("xdp", &format!("{nic}#4-7")), pool("none", "nic0#1")]));
        Self { w, nic }
    }

    /// The queues that are leased, by the kernel.
    fn leased(&self) -> Vec<u32> {
        let index = run(&format!("cat /sys/class/net/{}/ifindex", self.nic)).trim().parse().unwrap();
        let queues = Queues::open().unwrap().of_link(index).unwrap();
        queues.iter().filter(|q| q.leased).map(|q| q.id).collect()
    }

    fn claimed(&self) -> usize {
        std::fs::read_dir(self.w.m.node.state().join("queues")).map_or(0, |dir| dir.count())
    }

    fn add(&self, pod: &Pod, offload: &str, pool: &str, queues: u32) -> Answer {
        self.w.add(pod, "default", wish(offload, pool, queues))
    }

    /// Nobody has anything.
    #[track_caller]
    fn assert_free(&self, what: &str) {
        let node = &self.w.m.node;
        until(&format!("all queues to be free: {what}"), || {
            self.leased().is_empty() && self.claimed() == 0 && node.records().is_empty()
        });
        assert_eq!(run("ip -o link show type netkit"), "", "{what}");
    }

    fn plan(&self, pod: &Pod) -> Value {
        let record = std::fs::read(self.w.m.node.record(pod)).unwrap();
        serde_json::from_slice::<Value>(&record).unwrap()["plan"].clone()
    }
}

impl Drop for Leasing {
    fn drop(&mut self) {
        run(&format!("echo {NUMBER} > /sys/bus/netdevsim/del_device"));
    }
}

fn wish(offload: &str, pool: &str, queues: u32) -> Value {
    let (offload, pool, queues) = (offload.to_owned(), pool.to_owned(), queues.to_string());
    json!({"offramp.dev/offload": offload, "offramp.dev/pool": pool, "offramp.dev/queues": queues})
}

/// Kernels that lease queues came after 6.x.
fn can_lease() -> bool {
    assert_eq!(netkit::lacking(&mut Socket::open().unwrap()).unwrap(), None);
    !run("uname -r").starts_with("6.")
}

#[test]
fn eth0_has_queues_of_its_own_while_there_are_any() {
    let l = Leasing::new();
    let daemon = l.w.start();
    let [a, b, c] = ["a", "b", "c"].map(|n| l.w.m.lab.pod(n));
    if !can_lease() {
        let refused =
            l.add(&a, "required", "xdp", 2).failed(106, &["pool xdp", &l.nic, "cannot lease queues"]);
        assert!(refused.msg.contains("Operation not supported"), "{refused:?}");
        return l.assert_free("refused");
    }
    let result = l.add(&a, "required", "xdp", 2).ok();
    assert_eq!(l.leased(), [4, 5]);
    let plan = l.plan(&a);
    assert_eq!(
        (plan["path"].as_str(), plan["reason"].as_str()),
        (Some("queues"), Some(&*format!("queues 4 and 5 of {}, pool xdp", l.nic)))
    );
    a.run("ping -n -c 1 -W 2 10.244.1.1");
    let conf = l.w.m.node.conf(json!({}));
    l.w.m.node.check(&a, &conf, &result).ok();
    // As many as the pod has, no channel can be taken from the NIC.
    assert!(
        run(&format!("ethtool -L {} combined 4 2>&1 || true", l.nic)).contains("rror"),
        "while they are leased"
    );

    l.add(&b, "required", "xdp", 4).failed(107, &["queues 4", "up to 3"]);
    l.add(&b, "required", "xdp", 3).failed(11, &["pool xdp", "2 lent", "2 free, but 3 are wanted"]);
    l.add(&b, "required", "xdp", 2).ok();
    assert_eq!(l.leased(), [4, 5, 6, 7]);
    let third = l.add(&c, "preferred", "xdp", 1).ok();
    assert!(!third["ips"].as_array().unwrap().is_empty());
    let plan = l.plan(&c);
    assert_eq!(plan["path"], "veth");
    assert!(plan["reason"].as_str().unwrap().contains("no queues can be eth0: pool xdp"), "{plan}");

    let explained = daemon.ask(&format!("explain {}@eth0", a.container));
    let rules = &explained[0]["traffic"][0]["flowRules"];
    assert_eq!(*rules, json!({"1": [], "2": []}), "netdevsim has none: {explained}");
    let status = daemon.ask("status").to_string();
    assert!(status.contains("queuePools") && status.contains("\"lent\":4"), "{status}");
    [&a, &b, &c].into_iter().for_each(|pod| l.w.del(pod));
    l.w.del(&a);
    l.assert_free("DEL");
    l.add(&c, "required", "xdp", 3).ok();
    assert_eq!(l.leased(), [4, 5, 6]);
    l.w.del(&c);
    l.assert_free("DEL again");
}

#[test]
fn a_driver_that_leases_none_is_quoted_and_preferred_falls_back() {
    let l = Leasing::new();
    let _daemon = l.w.start();
    let pod = l.w.m.lab.pod("pod");
    let words =
        if can_lease() { "does not support queue management operations" } else { "cannot lease queues" };
    l.add(&pod, "required", "none", 1)
        .failed(106, &["offload of eth0 is required", "pool none, nic0", words]);
    l.add(&pod, "preferred", "none", 1).ok();
    let plan = l.plan(&pod);
    assert_eq!(plan["path"], "veth");
    assert!(plan["reason"].as_str().unwrap().contains(words), "{plan}");
    l.w.del(&pod);
    l.assert_free("DEL");
}

/// Of a queue that somebody else leases, the claim stays in quarantine and says so.
#[test]
fn a_queue_is_lent_again_only_when_nobody_has_it() {
    use offramp_core::step::{CreateNetkit, CreatePair, LeaseQueues, Step};
    use offramp_kernel::{Executor, Netns};
    if !can_lease() {
        return;
    }
    let l = Leasing::new();
    let [pod, other] = ["pod", "other"].map(|n| l.w.m.lab.pod(n));
    let daemon = l.w.start();
    l.add(&pod, "required", "xdp", 2).ok();
    daemon.kill();
    l.w.del(&pod);
    assert_eq!((l.leased().len(), l.claimed()), (0, 2), "the daemon alone says that they are free");

    let netns = Netns::open(other.path()).unwrap();
    let mut executor = Executor::new(Some(&netns)).unwrap();
    let link = |name: &str| name.parse().unwrap();
    let mac = |n: u8| format!("02:00:00:00:00:0{n}").parse().unwrap();
    let pair = CreatePair {
        host: link("stranger"),
        host_mac: mac(1),
        pod: link("thief"),
        pod_mac: mac(2),
        mtu: None,
    };
    let port = serde_json::from_value(json!({"device": format!("netdevsim{NUMBER}"), "port": 0})).unwrap();
    let lease = LeaseQueues { link: link("thief"), port, nic: link(&l.nic), queues: vec![4] };
    let steps = [Step::CreateNetkit(CreateNetkit { pair, rx_queues: 2 }), Step::LeaseQueues(lease)];
    steps.iter().for_each(|step| executor.apply(step).unwrap());

    let daemon = l.w.start();
    until("queue 4 alone to be in quarantine", || {
        l.claimed() == 1 && daemon.ask("status").to_string().contains("still leased")
    });
    let third = l.w.m.lab.pod("third");
    l.add(&third, "required", "xdp", 3).ok();
    assert_eq!(l.leased(), [4, 5, 6, 7]);
    assert!(executor.undo_all(&steps).is_empty());
    l.w.del(&third);
    l.assert_free("the stranger is gone");
}

/// The points that the plugin passes, from the making of the pair on; of its messages to the kernel none.
fn points(l: &Leasing, verb: &str, pod: &Pod, conf: &Value) -> Vec<String> {
    let trace = l.w.m.node.dir().join("queue-trace");
    let call = l.w.m.node.call_for(verb, pod).config(conf);
    call.env("OFFRAMP_CRASH_TRACE", trace.to_str().unwrap()).run().ok();
    let passed = std::fs::read_to_string(&trace).expect("built with the feature crash-points");
    std::fs::remove_file(&trace).unwrap();
    let points = passed.lines().map(|line| line.split(' ').nth(1).unwrap().to_owned());
    points.filter(|p| !p.starts_with("netlink.") && !p.starts_with("nft.")).collect()
}

fn conf(l: &Leasing) -> Value {
    let annotations = wish("required", "xdp", 2);
    l.w.m.node.conf(json!({"runtimeConfig": {"io.kubernetes.cri.pod-annotations": annotations}}))
}

#[test]
fn a_plugin_that_is_killed_anywhere_leaves_no_queue_behind() {
    if !can_lease() {
        return;
    }
    let l = Leasing::new();
    let conf = conf(&l);
    let daemon = l.w.start();
    let pod = l.w.m.lab.pod("pod");
    let of_add = points(&l, "ADD", &pod, &conf);
    assert!(of_add.iter().any(|p| p == "queue.leased:2"), "{of_add:?}");
    l.w.del(&pod);
    l.assert_free("no kill");
    for (n, point) in of_add.iter().enumerate() {
        let (answer, last) = l.w.m.killed("ADD", &pod, &conf, point);
        println!("ADD killed at {last:?}, {:?}", answer.code);
        // The daemon takes it back, or a DEL does.
        if n % 2 == 0 || last.is_none() {
            l.w.del(&pod);
        }
        if answer.code.is_none() && l.w.m.node.record(&pod).exists() {
            let record = std::fs::read_to_string(l.w.m.node.record(&pod)).unwrap_or_default();
            if record.contains("\"ready\"") {
                l.w.del(&pod);
            }
        }
        l.assert_free(&format!("ADD killed at {point}"));
    }
    daemon.kill();
    // Without the daemon the plugin does it alone.
    let daemon = l.w.start();
    l.w.m.node.add(&pod, &conf).ok();
    daemon.kill();
    let of_del = points(&l, "DEL", &pod, &l.w.m.node.conf(json!({})));
    assert!(of_del.iter().any(|p| p == "queue.given-back:2"), "{of_del:?}");
    for point in of_del.iter().filter(|p| p.starts_with("detach.") || p.starts_with("queue.")) {
        let daemon = l.w.start();
        l.assert_free("before");
        l.w.m.node.add(&pod, &conf).ok();
        daemon.kill();
        let (answer, last) = l.w.m.killed("DEL", &pod, &l.w.m.node.conf(json!({})), point);
        println!("DEL killed at {last:?}, {:?}", answer.code);
        l.w.del(&pod);
    }
    let _daemon = l.w.start();
    l.assert_free("DEL killed");
}

#[test]
fn a_daemon_that_is_killed_anywhere_leaves_no_queue_behind() {
    if !can_lease() {
        return;
    }
    let l = Leasing::new();
    let conf = conf(&l);
    let points = [
        "queue.taken:1",
        "queue.taken:2",
        "prepare.written:1",
        "detach.undone:1",
        "queue.given-back:1",
        "queue.given-back:2",
        "queue.looked-at:1",
    ];
    for point in points {
        let pod = l.w.m.lab.pod("pod");
        let mut daemon: Daemon<'_> = l.w.start_in("OFFRAMP_CRASH_AT", point);
        std::thread::scope(|scope| {
            let calls = scope.spawn(|| {
                // As runtimes do: error 11 is to be tried again.
                until("the ADD to succeed", || l.w.m.node.add(&pod, &conf).code == Some(0));
                l.w.del(&pod);
            });
            until("the daemon to die", || daemon.has_ended());
            let second = l.w.start();
            calls.join().unwrap_or_else(|_| panic!("offrampd was killed at {point}"));
            l.w.del(&pod);
            l.assert_free(&format!("offrampd killed at {point}"));
            second.kill();
        });
        daemon.kill();
    }
}
