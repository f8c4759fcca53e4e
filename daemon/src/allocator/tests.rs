use super::*;
use offramp_core::cni::result::Ip;
use offramp_core::plan::Plan;
use offramp_core::record::{FORMAT, IpamHold, Mode, NetnsRef};
use offramp_core::spec::Protocol;

fn allocator() -> Allocator {
    let range = |s: &str| Range::new(s.parse().unwrap(), None, None, None).unwrap();
    Allocator::new(vec![vec![range("10.0.0.0/29")], vec![range("fd00::/64")]])
}

fn port(host_port: u16) -> HostPortRule {
    HostPortRule {
        protocol: Protocol::Tcp,
        host_ip: None,
        host_port,
        to: "10.0.0.2".parse().unwrap(),
        to_port: 80,
        subnet: "10.0.0.0/29".parse().unwrap(),
    }
}

fn record(id: &str, ips: &[IpAddr], ports: Vec<HostPortRule>) -> Record {
    let mut plan = Plan {
        path: Path::Veth,
        reason: String::new(),
        steps: vec![],
        firewall: Default::default(),
        result: Default::default(),
    };
    plan.firewall.host_ports = ports;
    plan.result.ips =
        ips.iter().map(|ip| Ip { address: (*ip).into(), gateway: None, interface: None }).collect();
    Record {
        format: FORMAT,
        attachment: id.parse().unwrap(),
        network: "pods".parse().unwrap(),
        mode: Mode::Node,
        state: State::Ready,
        netns: NetnsRef { path: "/x".into(), inode: 1 },
        pod: None,
        ipam: IpamHold::Daemon,
        plan,
        device_info: None,
        networks: Vec::new(),
        asked: Default::default(),
        numa: Default::default(),
        created: 0,
    }
}

fn give(a: &mut Allocator, id: &str) -> Result<Vec<IpAddr>, CniError> {
    let ips: Vec<IpAddr> = a.pick(&[])?.into_iter().map(|(ip, _)| ip).collect();
    a.hold(&record(id, &ips, vec![]));
    Ok(ips)
}

#[test]
fn each_address_has_one_holder_until_the_range_is_exhausted() {
    let mut a = allocator();
    let mut all: Vec<IpAddr> = (0..5).flat_map(|i| give(&mut a, &format!("c{i}@eth0")).unwrap()).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 10);
    assert_eq!(give(&mut a, "c6@eth0").unwrap_err().code, 11);
    assert!(a.ranges()[0].is_short() && !a.ranges()[1].is_short());
    a.forget(&"c3@eth0".parse().unwrap());
    a.forget(&"c3@eth0".parse().unwrap());
    assert!(give(&mut a, "c7@eth0").is_ok());
    assert_eq!(a.counts()[0].count, 5);
}

#[test]
fn an_old_record_frees_nothing_of_a_newer_holder() {
    let mut a = allocator();
    let ip: IpAddr = "10.0.0.2".parse().unwrap();
    a.hold(&record("new@eth0", &[ip], vec![]));
    a.hold(&record("old@eth0", &[ip], vec![]));
    a.forget(&"old@eth0".parse().unwrap());
    let e = a.pick(&[ip]).unwrap_err();
    assert!(e.code == 11 && e.details.contains("new@eth0"), "{e}");
}

#[test]
fn a_port_has_one_holder() {
    let mut a = allocator();
    a.hold(&record("c1@eth0", &[], vec![port(8080)]));
    let (one, two) = ("c1@eth0".parse().unwrap(), "c2@eth0".parse().unwrap());
    assert!(a.check_ports(&one, &[port(8080)]).is_ok() && a.check_ports(&two, &[port(8081)]).is_ok());
    let e = a.check_ports(&two, &[port(8080)]).unwrap_err();
    assert!(e.code == 11 && e.msg.contains("tcp/8080") && e.msg.contains("c1@eth0"), "{e}");
}

/// A pod's author chooses the addresses of its further interfaces: they must not use up the node's.
#[test]
fn addresses_of_further_interfaces_are_not_held() {
    use offramp_core::cni::result::Interface;
    let mut a = allocator();
    let ips = ["10.0.0.2", "10.0.0.3"].map(|ip| ip.parse().unwrap());
    let mut r = record("c1@eth0", &ips, vec![]);
    let interface = |name: &str| Interface { name: name.into(), ..Interface::default() };
    r.plan.result.interfaces = ["of1", "eth0", "net1"].map(interface).to_vec();
    r.plan.result.ips[0].interface = Some(1);
    r.plan.result.ips[1].interface = Some(2);
    a.hold(&r);
    assert!(a.pick(&ips[..1]).is_err());
    assert_eq!(a.pick(&ips[1..]).unwrap()[0].0, ips[1]);
}
