//! Bandwidth limits, with real traffic through a real bridge. A functional test: the bounds are wide.

#![allow(clippy::unwrap_used, reason = "a test")]

mod lab;

use lab::{Pod, apply, has_link, ip, json, plan_of, run, spec, undo};
use offramp_core::plan::Plan;
use offramp_core::spec::{Bandwidth, Rate, Spec};
use offramp_core::step::{Shape, Step};
use offramp_kernel::{Error, Netns};
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const LIMIT: u64 = 20_000_000;
const GATEWAYS: [&str; 2] = ["10.88.0.1", "fd88::1"];
const POD: [&str; 2] = ["10.88.0.2", "fd88::2"];

/// Pod 2's plan without its limits, and the step that sets them.
fn plan_with(change: impl FnOnce(&mut Spec)) -> (Plan, Shape) {
    let mut wanted = spec(2);
    change(&mut wanted);
    let mut plan = plan_of(2, &wanted);
    let at = plan.steps.iter().position(|s| matches!(s, Step::Shape(_))).unwrap();
    let Step::Shape(shape) = plan.steps.remove(at) else { unreachable!() };
    (plan, shape)
}

fn both(rate: Rate) -> Bandwidth {
    Bandwidth { ingress: Some(rate), egress: Some(rate) }
}

/// What TCP carries in a second once it is under way, in bits.
fn throughput(from: &Netns, to: &Netns, address: &str) -> u64 {
    let address: IpAddr = address.parse().unwrap();
    let fail = |e: std::io::Error| Error::io(format!("TCP to {address}"), &e);
    let listener = to.inside(|| TcpListener::bind((address, 0)).map_err(fail)).unwrap();
    let to = listener.local_addr().unwrap();
    let mut sender = from.inside(|| TcpStream::connect(to).map_err(fail)).unwrap();
    // Ends when the receiver hangs up.
    let sending = std::thread::spawn(move || while sender.write_all(&[0; 32 << 10]).is_ok() {});
    let (mut receiver, _) = listener.accept().unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    read_for(&mut receiver, Duration::from_millis(500));
    let start = Instant::now();
    let bytes = read_for(&mut receiver, Duration::from_secs(1));
    let rate = (bytes * 8) as f64 / start.elapsed().as_secs_f64();
    drop(receiver);
    sending.join().unwrap();
    rate as u64
}

fn read_for(stream: &mut TcpStream, time: Duration) -> u64 {
    let (end, mut bytes, mut buffer) = (Instant::now() + time, 0, vec![0; 256 << 10]);
    while Instant::now() < end {
        bytes += stream.read(&mut buffer).unwrap() as u64;
    }
    bytes
}

/// To the pod, and from the pod, in both families.
fn measure(pod: &Pod) -> Vec<(String, u64)> {
    let node = Netns::current().unwrap();
    let to_pod = POD.map(|ip| (format!("ingress to {ip}"), throughput(&node, &pod.netns, ip)));
    let from_pod = GATEWAYS.map(|ip| (format!("egress to {ip}"), throughput(&pod.netns, &node, ip)));
    to_pod.into_iter().chain(from_pod).collect()
}

#[test]
fn traffic_keeps_to_the_limit_both_ways() {
    lab::enter();
    let (pod, rate) = (Pod::new(), Rate::new(LIMIT, 0));
    let (plan, shape) = plan_with(|s| s.bandwidth = both(rate));
    let mut executor = pod.executor();
    apply(&mut executor, &plan.steps).unwrap();
    for (what, rate) in measure(&pod) {
        println!("{what}, without a limit: {} Mbit/s", rate / 1_000_000);
        assert!(rate > LIMIT * 5, "{what} is slow without a limit: {rate} bit/s");
    }
    let step = Step::Shape(shape.clone());
    executor.apply(&step).unwrap();
    for (what, rate) in measure(&pod) {
        println!("{what}, limited: {} Mbit/s", rate / 1_000_000);
        // How little passes is a matter of the machine's load; that something does, of the limit.
        assert!((1..LIMIT * 3 / 2).contains(&rate), "{what}: {rate} bit/s, limit {LIMIT}");
    }
    ifb_is_as_planned(&shape);

    undo(&mut executor, std::slice::from_ref(&step));
    assert!(!has_link(shape.ifb.as_str()), "the ifb is still there");
    undo(&mut executor, &plan.steps);
    undo(&mut executor, &[step]);
    assert!(!has_link(shape.link.as_str()), "the host end is still there");
    let left = json("tc -j qdisc show");
    let ours = |q: &&serde_json::Value| q["kind"] == "tbf" || q["kind"] == "clsact";
    assert_eq!(left.as_array().unwrap().iter().find(ours), None);
}

fn ifb_is_as_planned(shape: &Shape) {
    let link = &ip(&format!("-d link show dev {}", shape.ifb))[0];
    assert_eq!(link["linkinfo"]["info_kind"], "ifb");
    assert_eq!(link["address"], shape.ifb_mac.to_string());
    assert_eq!(link["inet6_addr_gen_mode"], "none");
    assert_eq!(link["mtu"], ip(&format!("link show dev {}", shape.link))[0]["mtu"]);
}

#[test]
fn one_direction_leaves_the_other_alone() {
    lab::enter();
    let pod = Pod::new();
    for (ingress, egress) in [(true, false), (false, true)] {
        let rate = Rate::new(LIMIT, 0);
        let (plan, shape) = plan_with(|s| {
            s.bandwidth = Bandwidth { ingress: ingress.then_some(rate), egress: egress.then_some(rate) };
        });
        let mut executor = pod.executor();
        apply(&mut executor, &plan.steps).unwrap();
        let step = Step::Shape(shape.clone());
        executor.apply(&step).unwrap();
        let host = run(&format!("tc qdisc show dev {}", shape.link));
        assert_eq!((host.contains("tbf"), host.contains("clsact")), (ingress, egress), "{host}");
        assert_eq!(has_link(shape.ifb.as_str()), egress);
        undo(&mut executor, &[step]);
        undo(&mut executor, &plan.steps);
    }
}

#[test]
fn rates_of_fast_nics_reach_the_kernel() {
    lab::enter();
    let pod = Pod::new();
    for gigabits in [1, 34, 35, 100, 800] {
        let rate = Rate::new(gigabits * 1_000_000_000, 0);
        let (plan, shape) = plan_with(|s| s.bandwidth = both(rate));
        let mut executor = pod.executor();
        apply(&mut executor, &plan.steps).unwrap();
        let step = Step::Shape(shape.clone());
        executor.apply(&step).unwrap();
        for link in [&shape.link, &shape.ifb] {
            let qdiscs = json(&format!("tc -j qdisc show dev {link} root"));
            assert_eq!(qdiscs[0]["options"]["rate"], rate.bytes_per_second, "{link} at {gigabits} Gbit/s");
        }
        undo(&mut executor, &[step]);
        undo(&mut executor, &plan.steps);
    }
}

#[test]
fn a_burst_below_the_mtu_lets_jumbo_frames_pass() {
    lab::enter();
    let pod = Pod::new();
    let (plan, shape) = plan_with(|s| {
        s.mtu = Some(9000.try_into().unwrap());
        s.bandwidth = both(Rate::new(LIMIT, 8));
        s.bridge.ensure.as_mut().unwrap().mtu = s.mtu;
    });
    let mut executor = pod.executor();
    apply(&mut executor, &plan.steps).unwrap();
    executor.apply(&Step::Shape(shape.clone())).unwrap();
    run("ping -c 1 -W 5 -M do -s 8972 10.88.0.2");
    run("ping -c 1 -W 5 -M do -s 8952 fd88::2");
    ifb_is_as_planned(&shape);
}

#[test]
fn an_ifb_of_somebody_else_is_named_and_left() {
    lab::enter();
    let pod = Pod::new();
    let (plan, shape) = plan_with(|s| s.bandwidth = both(Rate::new(LIMIT, 0)));
    run(&format!("ip link add {} type ifb", shape.ifb));
    let before = ip(&format!("link show dev {}", shape.ifb));
    let mut executor = pod.executor();
    apply(&mut executor, &plan.steps).unwrap();
    let step = Step::Shape(shape.clone());
    let error = executor.apply(&step).unwrap_err().to_string();
    assert_eq!(error, format!("link {} exists already", shape.ifb));
    undo(&mut executor, &[step]);
    assert_eq!(ip(&format!("link show dev {}", shape.ifb)), before);
}
