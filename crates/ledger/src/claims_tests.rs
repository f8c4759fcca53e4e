use super::*;
use crate::Store;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use offramp_core::nic::PortKey;
use offramp_core::vf::{Claimed as State, NetdevState, PfSide, VfMode, VfRef, VfState};
use std::fs;
use std::time::SystemTime;

pub(crate) fn vf(pci: &str) -> VfRef {
    VfRef {
        pci: pci.parse().unwrap(),
        port: PortKey { device: "0000:02:00.0".into(), port: 0 },
        pf: "nic0".parse().unwrap(),
        index: 3,
    }
}

pub(crate) fn before() -> VfState {
    VfState {
        driver: Some("igbvf".into()),
        pf_side: PfSide { spoofchk: Some(true), trust: Some(false), ..PfSide::default() },
        netdev: Some(NetdevState {
            name: "nic0v3".parse().unwrap(),
            mac: "02:00:00:00:00:07".parse().unwrap(),
            mtu: 1500,
            alias: None,
            altnames: Vec::new(),
            promisc: false,
            allmulticast: false,
            up: false,
        }),
        ..VfState::default()
    }
}

pub(crate) fn claim(pci: &str, holder: &str) -> Claim {
    Claim::lent(vf(pci), holder.parse().unwrap(), VfMode::Netdev, before(), 1000)
}

const PCI: &str = "0000:02:10.6";

fn claims() -> (tempfile::TempDir, Claims) {
    let dir = tempfile::tempdir().unwrap();
    let claims = Store::at(dir.path().join("state")).claims();
    (dir, claims)
}

#[test]
fn a_vf_is_free_or_has_one_holder() {
    let (_dir, claims) = claims();
    let (first, second) = (claim(PCI, "a@net1"), claim(PCI, "b@net1"));
    assert_eq!(claims.read(first.vf.pci).unwrap(), None);
    claims.take(&first).unwrap();
    let e = claims.take(&second).unwrap_err();
    assert_eq!(e.to_string(), "VF 3 of nic0 (0000:02:10.6) is held by a@net1 since 1970-01-01 00:16:40 UTC");
    assert_eq!(offramp_core::CniError::from(e).code, 11);
    assert_eq!(claims.of(&second.holder).unwrap(), []);
    assert_eq!(claims.of(&first.holder).unwrap(), std::slice::from_ref(&first));

    let mut given_back = first.given_back(2000);
    claims.set(&given_back).unwrap();
    let e = claims.take(&second).unwrap_err().to_string();
    assert!(
        e.ends_with(
            "in quarantine since 1970-01-01 00:33:20 UTC: a@net1 is done with it, and it is being cleaned"
        ),
        "{e}"
    );
    given_back.state = State::Quarantine { attempts: 2, reason: "trust is on".into() };
    claims.set(&given_back).unwrap();
    let e = claims.take(&second).unwrap_err().to_string();
    assert!(e.ends_with("cleaning it failed 2 times: trust is on"), "{e}");

    claims.remove(given_back.vf.pci).unwrap();
    claims.remove(given_back.vf.pci).unwrap();
    claims.take(&second).unwrap();
}

#[test]
fn of_many_who_try_one_gets_it() {
    let (_dir, claims) = claims();
    for slot in 0..0x20 {
        let pci = format!("0000:02:{slot:02x}.0");
        let won = std::thread::scope(|s| {
            let start = |n: usize| {
                let (claims, pci) = (&claims, &pci);
                s.spawn(move || claims.take(&claim(pci, &format!("c{n}@net1"))).is_ok())
            };
            let threads: Vec<_> = (0..8).map(start).collect();
            threads.into_iter().map(|t| t.join().unwrap()).filter(|won| *won).count()
        });
        assert_eq!(won, 1, "{pci}");
    }
    let listing = claims.list().unwrap();
    assert!(listing.claims.len() == 0x20 && listing.unreadable.is_empty(), "{listing:?}");
    assert!(listing.claims.windows(2).all(|w| w[0].vf.pci < w[1].vf.pci));
    let mut files =
        fs::read_dir(claims.dir()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    assert!(files.all(|name| !name.starts_with('.')), "no temporary is left");
}

/// Runs `child` in a process of its own, which ends with its answer.
fn process(child: impl FnOnce() -> bool) -> nix::unistd::Pid {
    // SAFETY: the child uses files only, and ends without running anything of its parent's.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => child,
        // SAFETY: it takes a number and does not return.
        ForkResult::Child => unsafe { nix::libc::_exit(i32::from(child())) },
    }
}

#[test]
fn of_many_processes_one_gets_it() {
    let (_dir, claims) = claims();
    let children: Vec<_> =
        (0..8).map(|n| process(|| claims.take(&claim(PCI, &format!("c{n}@net1"))).is_ok())).collect();
    let ends = children.into_iter().map(|pid| waitpid(pid, None).unwrap());
    assert_eq!(ends.filter(|end| matches!(end, WaitStatus::Exited(_, 1))).count(), 1);
}

#[test]
fn a_child_that_lives_on_keeps_the_lock() {
    let (_dir, claims) = claims();
    let pci = PCI.parse().unwrap();
    let lock = claims.lock(pci, Duration::ZERO).unwrap();
    let child = process(|| {
        loop {
            nix::unistd::pause();
        }
    });
    drop(lock);
    let e = claims.lock(pci, Duration::ZERO).unwrap_err();
    assert!(matches!(e, Error::Locked { .. }), "{e}");
    nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL).unwrap();
    waitpid(child, None).unwrap();
    claims.lock(pci, Duration::from_secs(10)).unwrap();
}

#[test]
fn what_is_no_claim_is_named_and_in_the_way() {
    let (_dir, claims) = claims();
    let good = claim(PCI, "a@net1");
    claims.take(&good).unwrap();
    let text = serde_json::to_string(&good).unwrap();
    let other = text.replace(PCI, "0000:02:10.4");
    let cases = [
        (&text[..text.len() / 2], "no claim"),
        ("", "no claim"),
        (r#"{"format": 99}"#, "format is 99"),
        (other.as_str(), "it is of VF 3 of nic0 (0000:02:10.4)"),
    ];
    for (content, why) in cases {
        fs::write(claims.path(good.vf.pci), content).unwrap();
        let e = claims.read(good.vf.pci).unwrap_err().to_string();
        assert!(e.contains(why) && e.contains("vfs/0000:02:10.6"), "{e}");
        assert_eq!(claims.list().unwrap().unreadable.len(), 1);
        assert!(claims.take(&good).is_err());
    }
}

#[test]
fn what_died_writers_left_is_removed_and_what_is_being_written_is_not() {
    let (_dir, claims) = claims();
    claims.take(&claim(PCI, "a@net1")).unwrap();
    let (old, new) = (claims.dir().join(".0000:02:10.6.1"), claims.dir().join(".0000:02:10.6.2"));
    for path in [&old, &new] {
        fs::write(path, "torn").unwrap();
    }
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    fs::File::options().write(true).open(&old).unwrap().set_modified(hour_ago).unwrap();
    claims.remove_torn().unwrap();
    assert!(!old.exists() && new.exists());
    assert_eq!(claims.list().unwrap().claims.len(), 1);
}
