//! What the tables hold.

use crate::lab::{Lab, inside, run};
use crate::{host_port, pod_a};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use offramp_core::firewall::{Masquerade, NodeRules, Rules, SpoofCheck};
use offramp_core::spec::Protocol;
use offramp_kernel::nft::{self, Listing, Monitor, NftError, Tables};
use std::os::fd::AsFd;

/// Pod number `n` with a bit of everything.
fn pod(n: u8) -> Rules {
    Rules {
        host_ports: vec![
            host_port(Protocol::Tcp, None, 8000 + u16::from(n), &format!("10.20.0.{n}")),
            host_port(Protocol::Sctp, Some("192.0.2.1"), 8000 + u16::from(n), &format!("10.20.0.{n}")),
            host_port(Protocol::Udp, None, 8000 + u16::from(n), &format!("fd20::{n}")),
        ],
        masquerade: vec![
            Masquerade {
                ip: format!("10.20.0.{n}").parse().unwrap(),
                exempt: "10.20.0.0/24".parse().unwrap(),
            },
            Masquerade { ip: format!("fd20::{n}").parse().unwrap(), exempt: "::/0".parse().unwrap() },
        ],
        spoof_check: Some(SpoofCheck {
            link: format!("of{n}").parse().unwrap(),
            mac: format!("02:00:00:00:00:{n:02}").parse().unwrap(),
        }),
    }
}

fn node() -> NodeRules {
    let nets = |text: &[&str]| text.iter().map(|n| n.parse().unwrap()).collect();
    NodeRules {
        pod_subnets: nets(&["10.20.0.0/24", "10.20.1.0/24", "fd20::/64"]),
        no_masquerade: nets(&["10.0.0.0/8", "10.20.0.0/16", "fd00::/8"]),
        ..NodeRules::default()
    }
}

fn in_node<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    inside("node", f)
}

fn nft_command(args: &str) {
    run("ip", &format!("netns exec node nft {args}"));
}

#[test]
fn what_was_added_is_removed_and_both_can_be_repeated() {
    let _lab = Lab::new();
    in_node(|| {
        assert!(Listing::read().unwrap().is_empty());
        // Nothing there at all.
        Tables::unlocked().remove(&pod(1)).unwrap();
        assert!(Listing::read().unwrap().is_empty());

        Tables::unlocked().add(&pod(1)).unwrap();
        Tables::unlocked().remove(&pod(1)).unwrap();
        let empty = Listing::read().unwrap();
        Tables::unlocked().add(&pod(1)).unwrap();
        let one = Listing::read().unwrap();
        assert_eq!(empty.difference(&one).len(), 3 + 5 + 4 + 2, "{:?}", empty.difference(&one));
        Tables::unlocked().add(&pod(2)).unwrap();
        Tables::unlocked().add(&pod(2)).unwrap();
        Tables::unlocked().remove(&pod(2)).unwrap();
        Tables::unlocked().remove(&pod(2)).unwrap();
        assert_eq!(Listing::read().unwrap(), one);
        Tables::unlocked().remove(&pod(1)).unwrap();
        assert_eq!(Listing::read().unwrap(), empty);
        nft::drop_tables().unwrap();
        nft::drop_tables().unwrap();
        assert!(Listing::read().unwrap().is_empty());
    });
}

#[test]
fn no_rules_no_nft() {
    let _lab = Lab::new();
    in_node(|| {
        Tables::unlocked().add(&Rules::default()).unwrap();
        Tables::unlocked().remove(&Rules::default()).unwrap();
        assert!(Listing::read().unwrap().is_empty());
    });
}

#[test]
fn a_port_that_is_taken_is_named_and_nothing_is_changed() {
    let _lab = Lab::new();
    in_node(|| {
        Tables::unlocked().add(&pod_a()).unwrap();
        let before = Listing::read().unwrap();
        let late = Rules {
            host_ports: vec![
                host_port(Protocol::Tcp, None, 9090, "10.20.0.12"),
                host_port(Protocol::Udp, None, 8080, "10.20.0.12"),
            ],
            ..Rules::default()
        };
        let error = Tables::unlocked().add(&late).unwrap_err();
        assert!(
            matches!(error, NftError::PortTaken { protocol: Protocol::Udp, host_ip: None, host_port: 8080 }),
            "{error}"
        );
        assert_eq!(error.to_string(), "udp port 8080 of the node is another pod's");
        assert_eq!(Listing::read().unwrap(), before);
        // What the first has is not the second's to remove; the rest goes.
        Tables::unlocked().remove(&late).unwrap();
        assert_eq!(Listing::read().unwrap(), before);
    });
}

#[test]
fn remove_keeps_what_is_anothers_and_removes_the_rest() {
    let _lab = Lab::new();
    in_node(|| {
        Tables::unlocked().add(&pod(1)).unwrap();
        // Its port 8001 goes to another pod in the meantime.
        nft_command("delete element inet offramp host_ports4 { tcp . 8001 }");
        let other =
            Rules { host_ports: vec![host_port(Protocol::Tcp, None, 8001, "10.20.0.9")], ..Rules::default() };
        Tables::unlocked().add(&other).unwrap();
        Tables::unlocked().remove(&pod(1)).unwrap();
        let left = Listing::read().unwrap();
        nft::drop_tables().unwrap();
        Tables::unlocked().add(&pod(1)).unwrap();
        Tables::unlocked().remove(&pod(1)).unwrap();
        Tables::unlocked().add(&other).unwrap();
        assert_eq!(left.difference(&Listing::read().unwrap()), [""; 0]);
    });
}

#[test]
fn replace_repairs_whatever_somebody_did() {
    let _lab = Lab::new();
    in_node(|| {
        let pods = [pod(1), pod(2)];
        let pods: Vec<&Rules> = pods.iter().collect();
        let replace = || Tables::unlocked().replace(&node(), &pods).unwrap();
        replace();
        let wanted = Listing::read().unwrap();
        let damage = [
            "delete element inet offramp host_ports4 { tcp . 8001 }",
            "flush set inet offramp pod_subnets4",
            "flush chain inet offramp postrouting",
            "insert rule inet offramp postrouting masquerade",
            "add element inet offramp masquerade4 { 10.66.0.1 }",
            "add chain inet offramp foreign",
            "flush set bridge offramp senders",
            "delete table bridge offramp",
            "delete table inet offramp",
        ];
        for command in damage {
            nft_command(command);
            let difference = wanted.difference(&Listing::read().unwrap());
            assert!(!difference.is_empty(), "{command}");
            replace();
            assert_eq!(wanted.difference(&Listing::read().unwrap()), [""; 0], "{command}");
        }
        // Less is wanted: the bridge table goes with the last check.
        Tables::unlocked().replace(&node(), &[]).unwrap();
        assert_eq!(run("ip", "netns exec node nft list tables").trim(), "table inet offramp");
    });
}

#[test]
fn replace_gives_a_disputed_port_to_the_first() {
    let _lab = Lab::new();
    in_node(|| {
        let rules =
            |to| Rules { host_ports: vec![host_port(Protocol::Tcp, None, 8080, to)], ..Rules::default() };
        Tables::unlocked()
            .replace(&NodeRules::default(), &[&rules("10.20.0.12"), &rules("10.20.0.11")])
            .unwrap();
        let map = run("ip", "netns exec node nft list map inet offramp host_ports4");
        assert!(map.contains("{ tcp . 8080 : 10.20.0.12 . 80 }"), "{map}");
    });
}

/// A plugin that was replaced by a newer one left its rules: they are made anew, the elements stay.
#[test]
fn add_makes_the_rules_of_another_version_anew() {
    let _lab = Lab::new();
    in_node(|| {
        Tables::unlocked().add(&pod(1)).unwrap();
        Tables::unlocked().add(&pod(2)).unwrap();
        let wanted = Listing::read().unwrap();
        Tables::unlocked().remove(&pod(2)).unwrap();
        for table in ["inet", "bridge"] {
            let json = run("ip", &format!("netns exec node nft list table {table} offramp"));
            let set = json.split_whitespace().find(|w| w.starts_with("rules_")).unwrap();
            nft_command(&format!("delete set {table} offramp {set}"));
            nft_command(&format!("add set {table} offramp rules_old {{ type mark; }}"));
            nft_command(&format!("flush table {table} offramp"));
        }
        Tables::unlocked().add(&pod(2)).unwrap();
        let leftovers = wanted.difference(&Listing::read().unwrap());
        assert_eq!(leftovers.len(), 2, "{leftovers:?}");
        assert!(leftovers.iter().all(|l| l.starts_with("+set") && l.contains("rules_old")), "{leftovers:?}");
    });
}

#[test]
fn parallel_changes_lose_nothing() {
    let _lab = Lab::new();
    in_node(|| Tables::unlocked().add(&pod(99)).unwrap());
    let before = in_node(|| Listing::read().unwrap());
    std::thread::scope(|scope| {
        for n in 1..=8 {
            scope.spawn(move || {
                in_node(|| {
                    for _ in 0..5 {
                        Tables::unlocked().add(&pod(n)).unwrap();
                        Tables::unlocked().remove(&pod(n)).unwrap();
                    }
                    Tables::unlocked().add(&pod(n)).unwrap();
                });
            });
        }
    });
    in_node(|| {
        assert_eq!(before.difference(&Listing::read().unwrap()).len(), 8 * 14);
        (1..=8).for_each(|n| Tables::unlocked().remove(&pod(n)).unwrap());
        assert_eq!(before.difference(&Listing::read().unwrap()), [""; 0]);
    });
}

#[test]
fn the_monitor_sees_what_others_do_to_our_tables() {
    let _lab = Lab::new();
    let readable = |monitor: &Monitor, timeout| {
        poll(&mut [PollFd::new(monitor.as_fd(), PollFlags::POLLIN)], timeout).unwrap() == 1
    };
    in_node(|| {
        Tables::unlocked().add(&pod(1)).unwrap();
        let mut monitor = Monitor::open().unwrap();
        assert!(!readable(&monitor, PollTimeout::ZERO));
        assert!(!monitor.drain().unwrap());

        nft_command("add table ip offramp");
        nft_command("add table inet other");
        assert!(readable(&monitor, PollTimeout::NONE));
        assert!(!monitor.drain().unwrap(), "other tables");
        assert!(!readable(&monitor, PollTimeout::ZERO));

        for change in [
            "delete element inet offramp host_ports4 { tcp . 8001 }",
            "delete element inet offramp exempt4 { 10.20.0.1 . 10.20.0.0/24 }",
            "flush chain inet offramp prerouting",
            "flush set bridge offramp senders",
            "delete table bridge offramp",
        ] {
            nft_command(change);
            assert!(readable(&monitor, PollTimeout::NONE), "{change}");
            assert!(monitor.drain().unwrap(), "{change}");
        }
    });
}
