//! Queue leasing: netdevsim has it (7.3), igb and vmxnet3 have not, and 6.12 has none at all.

use crate::lab::{enter, inventory, json, port, sh};
use offramp_core::nic::Port;
use offramp_core::step::{CreateNetkit, CreatePair, LeaseQueues, Step};
use offramp_kernel::ethtool::Ethtool;
use offramp_kernel::queues::{Lacking, Queues, RxQueue, lacking};
use offramp_kernel::{Executor, Netns};

const POD: &str = "/run/netns/leasepod";

/// A simulated NIC with 8 queues, up, and a pod's namespace; gone when dropped.
struct Sim {
    port: Port,
}

impl Sim {
    fn new() -> Self {
        sh("ip netns add leasepod; echo '78 1 8' > /sys/bus/netdevsim/new_device");
        let netdev = sh("ls /sys/bus/netdevsim/devices/netdevsim78/net").trim().to_owned();
        sh(&format!("ip link set {netdev} up"));
        Self { port: port(&netdev) }
    }

    fn queues(&self) -> Vec<RxQueue> {
        Queues::open().unwrap().of_link(self.port.ifindex).unwrap()
    }

    fn leased(&self) -> Vec<u32> {
        self.queues().iter().filter(|q| q.leased).map(|q| q.id).collect()
    }

    fn steps(&self, queues: &[u32]) -> [Step; 2] {
        let pair = CreatePair {
            host: "leasehost".parse().unwrap(),
            host_mac: "02:00:00:00:00:11".parse().unwrap(),
            pod: "eth0".parse().unwrap(),
            pod_mac: "02:00:00:00:00:12".parse().unwrap(),
            mtu: None,
        };
        let (port, nic) = (self.port.key.clone(), self.port.netdev.clone());
        let lease = LeaseQueues { link: "eth0".parse().unwrap(), port, nic, queues: queues.to_vec() };
        let rx_queues = 1 + queues.len() as u32;
        [Step::CreateNetkit(CreateNetkit { pair, rx_queues }), Step::LeaseQueues(lease)]
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        sh(
            "ip netns del leasepod; ip link del leasehost 2>/dev/null || true; echo 78 > /sys/bus/netdevsim/del_device",
        );
    }
}

fn can_lease() -> bool {
    !sh("uname -r").starts_with("6.")
}

#[test]
fn queues_are_leased_by_the_pods_end_and_given_back_with_it() {
    let _one = enter();
    let sim = Sim::new();
    let nic = sim.port.netdev.as_str();
    assert_eq!(sim.queues().len(), 8);
    let answer = lacking(nic, sim.port.ifindex).unwrap();
    if !can_lease() {
        let Some(Lacking::Kernel(why)) = answer else { panic!("{answer:?}") };
        assert!(why.contains("cannot lease queues (Operation not supported"), "{why}");
        return;
    }
    assert_eq!(answer, None);
    assert_eq!(sim.leased(), [] as [u32; 0], "who asks leases nothing");

    let netns = Netns::open(POD).unwrap();
    let mut executor = Executor::new(Some(&netns)).unwrap();
    let steps = sim.steps(&[5, 6]);
    steps.iter().for_each(|step| executor.apply(step).unwrap());
    assert_eq!(sim.leased(), [5, 6]);
    sh("ip -n leasepod link set eth0 up");
    let in_pod = netns.inside(Queues::open).unwrap().of_link(index_in_pod()).unwrap();
    let ids: Vec<u32> = in_pod.iter().map(|q| q.id).collect();
    assert_eq!(ids, [0, 1, 2], "one of its own, then the NIC's");

    // Another pod cannot have them, in the kernel's own words.
    let second = Step::LeaseQueues(LeaseQueues { link: "eth1".parse().unwrap(), ..lease_of(&steps[1]) });
    sh("ip -n leasepod link add nk0 type netkit mode l2 peer name eth1 numrxqueues 2");
    let words = executor.apply(&second).unwrap_err().to_string();
    assert!(words.contains("queue 5") && words.contains("due to queue leasing"), "{words}");
    sh("ip -n leasepod link del nk0");

    let errors = executor.undo_all(&steps);
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(sim.leased(), [] as [u32; 0]);

    // Or the pod's namespace ends.
    steps.iter().for_each(|step| executor.apply(step).unwrap());
    drop(executor);
    drop(netns);
    sh("ip netns del leasepod");
    crate::lab::eventually("the queues to be free", || sim.leased().is_empty());
    sh("ip netns add leasepod");
}

fn lease_of(step: &Step) -> LeaseQueues {
    let Step::LeaseQueues(lease) = step else { panic!("{step:?}") };
    lease.clone()
}

fn index_in_pod() -> u32 {
    json("ip -n leasepod -j link show eth0")[0]["ifindex"].as_u64().unwrap() as u32
}

#[test]
fn who_cannot_lease_says_so_in_its_own_words() {
    let _one = enter();
    for port in inventory().ports.iter().filter(|p| ["igb", "vmxnet3"].contains(&p.driver.as_str())) {
        let answer = lacking(port.netdev.as_str(), port.ifindex).unwrap().unwrap();
        match (can_lease(), answer) {
            (true, Lacking::Driver(words)) => {
                assert!(words.contains("does not support queue management"), "{words}");
            }
            (false, Lacking::Kernel(_)) => {}
            other => panic!("{}: {other:?}", port.driver),
        }
    }
    let rss = Ethtool::open().unwrap().unwrap().rss(&"nic0".parse().unwrap()).unwrap();
    assert!(rss.is_some_and(|rss| rss.queues.contains(&0)), "what the node itself needs is told");
}

#[test]
fn a_lease_of_what_is_not_there_changes_nothing() {
    let _one = enter();
    let sim = Sim::new();
    if !can_lease() {
        return;
    }
    let netns = Netns::open(POD).unwrap();
    let mut executor = Executor::new(Some(&netns)).unwrap();
    let steps = sim.steps(&[8]);
    executor.apply(&steps[0]).unwrap();
    let words = executor.apply(&steps[1]).unwrap_err().to_string();
    assert!(words.starts_with(&format!("lease queue 8 of {}: ", sim.port.netdev)), "{words}");
    let other = LeaseQueues { nic: "nic0".parse().unwrap(), ..lease_of(&steps[1]) };
    let words = executor.apply(&Step::LeaseQueues(other)).unwrap_err().to_string();
    assert!(words.contains("it is not of netdevsim78 any more"), "{words}");
    assert_eq!(sim.leased(), [] as [u32; 0]);
    assert!(executor.undo_all(&steps).is_empty());
}
