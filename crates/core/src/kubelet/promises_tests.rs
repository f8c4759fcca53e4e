use super::*;
use crate::lend::fixture::pci;
use crate::nic::PortKey;
use crate::vf::{VfMode, VfRef, VfState};

fn claim(index: u16, container: &str, pod: Option<&str>) -> Claim {
    let port = PortKey { device: "0000:01:00.0".into(), port: 0 };
    let vf = VfRef { pci: pci(1, index), port, pf: "nic1".parse().unwrap(), index };
    let holder = AttachmentId { container: container.parse().unwrap(), ifname: "eth0".parse().unwrap() };
    let before = VfState::default();
    let pod = pod.map(|name| PodRef { namespace: "a".into(), name: name.into(), uid: String::new() });
    Claim { pod, ..Claim::lent(vf, holder, VfMode::Netdev, before, 0) }
}

fn pod(name: &str, devices: &[u16]) -> PodDevices {
    let device = |index: &u16| Promised {
        resource: "offramp.dev/fast".into(),
        id: pci(1, *index).to_string(),
        numa: [0].into(),
    };
    PodDevices {
        namespace: "a".into(),
        name: name.into(),
        devices: devices.iter().map(device).collect(),
        ..PodDevices::default()
    }
}

#[test]
fn a_stranger_is_missing_twice_from_lists_of_a_kubelet_that_has_settled() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let claims = [claim(0, "c0", Some("old")), claim(1, "c1", Some("web")), claim(2, "c2", None)];
    let (incomplete, complete) = ([], [pod("web", &[1]), pod("inline", &[2])]);
    let mut strangers = Strangers::new(Duration::from_mins(1));
    for seconds in [0, 10, 59] {
        strangers.listed(at(seconds), 1, &incomplete, &claims);
        assert!(strangers.of(&claims).is_empty(), "after {seconds} s");
    }
    strangers.listed(at(60), 1, &complete, &claims);
    assert!(strangers.of(&claims).is_empty(), "one list is none");
    strangers.listed(at(70), 1, &complete, &claims);
    assert_eq!(strangers.of(&claims), [pci(1, 0)].into());
    // Somebody else has it by now, or it is being cleaned: no stranger holds it.
    assert!(strangers.of(&[claim(0, "c9", Some("new"))]).is_empty());
    assert!(strangers.of(&[claims[0].clone().given_back(1)]).is_empty());

    // The next kubelet begins with nothing.
    strangers.listed(at(80), 2, &incomplete, &claims);
    strangers.listed(at(90), 2, &incomplete, &claims);
    assert!(strangers.of(&claims).is_empty());
    strangers.listed(at(140), 2, &complete, &claims);
    strangers.listed(at(150), 2, &complete, &claims);
    assert_eq!(strangers.of(&claims), [pci(1, 0)].into());
}

#[test]
fn a_device_that_was_promised_to_another_pod_is_held_by_a_stranger() {
    let start = Instant::now();
    let mut strangers = Strangers::new(Duration::from_mins(1));
    let (claims, list) = ([claim(0, "c0", Some("old"))], [pod("new", &[0])]);
    for seconds in [0, 60, 61] {
        strangers.listed(start + Duration::from_secs(seconds), 7, &list, &claims);
    }
    assert_eq!(strangers.of(&claims), [pci(1, 0)].into());
    strangers.listed(start + Duration::from_secs(62), 7, &[pod("old", &[0])], &claims);
    assert!(strangers.of(&claims).is_empty(), "kubelet knows it after all");
}

#[test]
fn vfs_are_told_from_what_other_plugins_have() {
    let mut pod = pod("web", &[3]);
    let gpu = Promised { resource: "nvidia.com/gpu".into(), id: "GPU-1".into(), numa: [1].into() };
    pod.devices.push(gpu);
    let resource: ResourceName = "offramp.dev/fast".parse().unwrap();
    assert_eq!(pod.assigned(), Assigned::Known([(pci(1, 3), resource.clone())].into()));
    assert_eq!(pod.numa_of_others(&[resource]).collect::<Vec<_>>(), [1]);
}

#[test]
fn what_is_gone_is_nobodys_by_two_lists_since_then() {
    let (start, gone) = (Instant::now(), BTreeSet::from([pci(1, 0), pci(1, 1)]));
    let mut strangers = Strangers::new(Duration::ZERO);
    let mut list = |seconds, kubelet, pods: &[PodDevices]| {
        strangers.listed(start + Duration::from_secs(seconds), kubelet, pods, &[]);
        strangers.nobodys_of(gone.clone()).into_iter().collect::<Vec<_>>()
    };
    let web = [pod("web", &[1])];
    assert_eq!(list(0, 1, &web), [], "it may have gone after the list");
    assert_eq!(list(10, 1, &web), [], "one list is none");
    assert_eq!(list(20, 1, &web), [pci(1, 0)]);
    assert_eq!(list(30, 1, &[]), [pci(1, 0)]);
    assert_eq!(list(40, 1, &[]), [pci(1, 0), pci(1, 1)]);
    assert_eq!(list(50, 2, &[]), [], "another kubelet's");
    assert_eq!(list(60, 2, &[]), [pci(1, 0), pci(1, 1)]);
    // What has come back and goes again is gone since then.
    assert_eq!(strangers.nobodys_of(BTreeSet::new()), BTreeSet::new());
    assert_eq!(strangers.nobodys_of(BTreeSet::from([pci(1, 0)])), BTreeSet::new());
}
