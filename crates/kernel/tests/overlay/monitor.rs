//! The monitor hears what matters, and only that.

use crate::lab::*;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use offramp_core::overlay::Mode;
use offramp_core::peer::Peer;
use offramp_kernel::link;
use offramp_kernel::netlink::Socket;
use offramp_kernel::overlay::{Choice, Interest, Monitor, Report, Tools, follow, reconcile};
use offramp_kernel::sysctl::Sysctl;
use std::os::fd::AsFd;

/// As the daemon's loop has it.
fn interest(report: &Report) -> Interest {
    let uplink = report.underlay.as_ref().map(|u| u.index);
    let bridge = inside("n1", || link::find(&mut Socket::open().unwrap(), &"br0".parse().unwrap()).unwrap());
    Interest {
        names: [DEVICE, "eth0", "br0"].map(str::to_owned).into(),
        tunnel: report.tunnel,
        addressed: bridge.map(|b| b.index).into_iter().chain(uplink).collect(),
        uplink,
        default_route: true,
        routes: true,
        own: None,
    }
}

/// Waits until something is heard.
fn heard(monitor: &mut Monitor) -> bool {
    told(monitor, 5000) && monitor.drain().unwrap()
}

/// What the kernel's workers still tell of the last change is heard.
fn settle(monitor: &mut Monitor) {
    while told(monitor, 300) {
        monitor.drain().unwrap();
    }
}

fn told(monitor: &Monitor, millis: u16) -> bool {
    let mut fds = [PollFd::new(monitor.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::from(millis)).unwrap() == 1
}

#[test]
fn every_breakage_is_heard_and_nothing_else() {
    let lab = Lab::new(Mode::Vxlan);
    let mut monitor = inside("n1", || Monitor::open().unwrap());
    let report = lab.look_heard(1, &peers_of(1), Some(&mut monitor));
    run("ip -n n1 neigh add 10.99.0.51 lladdr 02:00:00:00:00:51 dev eth0 nud permanent");
    run("ip -n n1 neigh add 10.244.1.51 lladdr 02:00:00:00:00:51 dev br0 nud stale");
    monitor.follow(interest(&report));
    monitor.drain().unwrap();
    for command in [
        "ip -n n1 route del 10.244.2.0/24",
        "ip -n n1 -6 route del fd44:2::/64",
        "ip -n n1 neigh del 10.244.2.0 dev offramp-vxlan",
        "ip -n n1 -6 neigh flush dev offramp-vxlan nud permanent",
        "bridge -n n1 fdb add 02:00:00:00:00:99 dev offramp-vxlan dst 10.99.0.77",
        "ip -n n1 link set offramp-vxlan mtu 1280",
        "ip -n n1 link set offramp-vxlan down",
        "ip -n n1 link del offramp-vxlan",
        "ip -n n1 link set eth0 mtu 1400",
        "ip -n n1 addr add 10.99.0.66/24 dev eth0",
        "ip -n n1 -6 addr add fd99::66/64 dev eth0 nodad",
        "ip -n n1 route del default",
        "ip -n n1 route add default via 10.99.0.254",
        "ip -n n1 link set br0 mtu 1300",
        "ip -n n1 neigh del 10.99.0.51 dev eth0",
    ] {
        run(command);
        assert!(heard(&mut monitor), "{command}");
        let report = lab.look_heard(1, &peers_of(1), Some(&mut monitor));
        monitor.follow(interest(&report));
        // Routes that we made ourselves are heard as well, of a socket that is not named; the look that follows is the last.
        monitor.drain().unwrap();
        let report = lab.look_heard(1, &peers_of(1), Some(&mut monitor));
        assert_eq!(report.changes.first, Vec::<String>::new(), "{command}");
        assert!(!monitor.drain().unwrap(), "{command}: a look that changes nothing is not heard");
    }
    settle(&mut monitor);
    for command in [
        "ip -n n1 link add other type veth peer name other2",
        "ip -n n1 link set other master br0 up",
        "ip -n n1 neigh add 10.99.0.50 lladdr 02:00:00:00:00:50 dev eth0",
        "ip -n n1 addr add 192.0.2.1/24 dev other2",
        "ip -n n1 route add 203.0.113.0/24 via 10.99.0.254",
        "ip -n n1 link del other",
        "ip -n n1 neigh del 10.244.1.51 dev br0",
    ] {
        run(command);
        assert!(!monitor.drain().unwrap(), "{command}");
    }
}

/// Of thousands of changes none may call for a look.
#[test]
fn what_is_done_by_ourselves_does_not_matter() {
    let lab = Lab::new(Mode::Vxlan);
    let (settings, node) = (lab.settings(), lab.node(1));
    inside("n1", || {
        let (mut socket, sysctl) = (Socket::open().unwrap(), Sysctl::default());
        let mut monitor = Monitor::open_of_ways().unwrap();
        let own = socket.port().ok();
        let mut tools = Tools { socket: &mut socket, sysctl: &sysctl, monitor: Some(&mut monitor) };
        let last = reconcile(&mut tools, &settings, &node, &Choice::default(), &peers_of(1));
        let follows = Interest { tunnel: last.tunnel, routes: true, own, ..Interest::default() };
        let heard = |tools: &mut Tools<'_>| tools.monitor.as_mut().unwrap().drain().unwrap();
        tools.monitor.as_mut().unwrap().follow(follows);
        heard(&mut tools);
        let (two, three) = (peer(2), peer(3));
        let moved = Peer { endpoints: vec!["10.99.0.22".parse().unwrap()], ..two.clone() };
        for (gone, new) in
            [(vec![&two], vec![&moved]), (vec![&moved, &three], vec![]), (vec![], vec![&two, &three])]
        {
            let report = follow(&mut tools, &settings, &node, &last, (&gone, &new));
            assert!(report.errors.is_empty() && report.changes.count > 0, "{report:?}");
            assert!(!heard(&mut tools), "{:?}", report.changes);
        }
        let report = reconcile(&mut tools, &settings, &node, &Choice::default(), &peers_of(1));
        assert_eq!(report.changes.first, Vec::<String>::new());
        for command in [
            "bridge fdb replace 02:00:00:00:00:99 dev offramp-vxlan dst 10.99.0.77",
            "ip neigh replace 10.244.2.0 lladdr 02:00:00:00:00:99 dev offramp-vxlan nud permanent",
            "ip route del 10.244.2.0/24",
            "ip -6 route replace fd44:3::/64 via fe80::9 dev offramp-vxlan proto 213",
        ] {
            run(command);
            assert!(heard(&mut tools), "{command}");
        }
    });
}

/// Changes read from the socket with our own, while these are made, are not lost; nor those of a tunnel whose number was not
/// known before.
#[test]
fn what_others_do_meanwhile_is_told_later() {
    let lab = Lab::new(Mode::Vxlan);
    let (settings, node) = (lab.settings(), lab.node(1));
    inside("n1", || {
        let (mut socket, sysctl) = (Socket::open().unwrap(), Sysctl::default());
        let mut monitor = Monitor::open_of_ways().unwrap();
        // The tunnel is not known.
        let interest = Interest { routes: true, own: socket.port().ok(), ..Interest::default() };
        monitor.follow(interest.clone());
        let mut look = |monitor: &mut Monitor| {
            let mut tools = Tools { socket: &mut socket, sysctl: &sysctl, monitor: Some(monitor) };
            reconcile(&mut tools, &settings, &node, &Choice::default(), &peers_of(1))
        };
        let first = look(&mut monitor);
        assert!(first.changes.count > 0 && first.errors.is_empty(), "{first:?}");
        assert!(!monitor.has_heard(), "there are only changes of our own");
        for command in [
            "bridge fdb add 02:00:00:00:00:99 dev offramp-vxlan dst 10.99.0.77",
            "ip neigh del 10.244.2.0 dev offramp-vxlan",
            "ip route del 10.244.2.0/24",
        ] {
            monitor.follow(interest.clone());
            run(command);
            look(&mut monitor);
            let mut fds = [PollFd::new(monitor.as_fd(), PollFlags::POLLIN)];
            assert_eq!(poll(&mut fds, PollTimeout::ZERO).unwrap(), 0, "{command}: the socket is empty");
            assert!(monitor.has_heard(), "{command}");
            assert!(monitor.drain().unwrap() && !monitor.has_heard(), "{command}");
        }
    });
}

#[test]
fn what_was_lost_counts_as_a_change() {
    let lab = Lab::new(Mode::Vxlan);
    let mut monitor = inside("n1", || Monitor::open().unwrap());
    let report = lab.settle(1, &peers_of(1));
    monitor.follow(interest(&report));
    monitor.drain().unwrap();
    // More than fits: neighbours of no interest, until the kernel drops some.
    let lines: String = (0..20_000)
        .map(|n| {
            format!("neigh replace 10.99.{}.{} lladdr 02:00:00:00:00:50 dev eth0\n", 1 + n / 250, n % 250)
        })
        .collect();
    let file = tempfile(&lines);
    attempt(&format!("ip -n n1 -force -batch {file}"));
    assert!(monitor.drain().unwrap());
    assert!(!monitor.drain().unwrap());
}

fn tempfile(text: &str) -> String {
    let path = format!("/run/batch-{}", std::process::id());
    std::fs::write(&path, text).unwrap();
    path
}
