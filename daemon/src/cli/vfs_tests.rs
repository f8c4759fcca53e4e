use super::*;
use crate::cli::fixture::{claim, record, with_vfs};
use crate::cli::{attachments, explain};
use offramp_core::vf::{Claimed, VfMode};

/// Of VFs 3 to 5.
fn lent() -> Vec<Claim> {
    let r = with_vfs();
    vec![claim(&r, 3, VfMode::Netdev), claim(&r, 4, VfMode::Netdev), claim(&r, 5, VfMode::Vfio)]
}

fn quarantined(claim: Claim) -> Claim {
    let reason = "process 77 (testpmd) has its vfio device open".into();
    Claim { state: Claimed::Quarantine { attempts: 2, reason }, ..claim }
}

#[test]
fn attachments_have_a_row_an_interface() {
    assert_eq!(
        attachments::render(&[with_vfs()], &lent(), 1060, false),
        "\
POD          CONTAINER      INTERFACE  ADDRESSES     PATH          STATE  AGE
telco/dpu-0  9c2e4f1f8a0c9  eth0       10.244.1.8    vf            ready  1m
telco/dpu-0  9c2e4f1f8a0c9  net1       192.168.10.5  vf            ready  1m
telco/dpu-0  9c2e4f1f8a0c9  net2       192.168.11.5  vf-userspace  ready  1m
"
    );
    assert_eq!(
        attachments::render(&[with_vfs(), record()], &lent(), 1060, true),
        "\
POD            INTERFACE  ADDRESSES                  PATH          STATE  AGE  VF            POOL  HOST INTERFACE   NETWORK  MODE  NETNS             CONTAINER
telco/dpu-0    eth0       10.244.1.8                 vf            ready  1m   0000:02:10.3  fast  -                offramp  node  /run/netns/cni-2  9c2e4f1f8a0c9d2e7b6a5c4d
telco/dpu-0    net1       192.168.10.5               vf            ready  1m   0000:02:10.4  fast  -                offramp  node  /run/netns/cni-2  9c2e4f1f8a0c9d2e7b6a5c4d
telco/dpu-0    net2       192.168.11.5               vf-userspace  ready  1m   0000:02:10.5  fast  -                offramp  node  /run/netns/cni-2  9c2e4f1f8a0c9d2e7b6a5c4d
default/web-0  eth0       10.244.1.7, fd00:244:1::7  veth          ready  1m   -             -     ofj1xot1xg8z9j2  offramp  node  /run/netns/cni-1  4f1f8a0c9d2e7b6a5c4d3e2f
"
    );
}

#[test]
fn explain_tells_all_of_vfs() {
    assert_eq!(
        explain::render(&[explain::Explained::new(with_vfs(), Vec::new())], &lent(), &[], 1060),
        "\
eth0 of pod telco/dpu-0
  Path        vf: VF 3 of ens1f0 (0000:02:10.3) of pool fast
  State       ready: all steps were executed
  Age         1m
  Container   9c2e4f1f8a0c9d2e7b6a5c4d
  Network     offramp, planned by the daemon
  Netns       /run/netns/cni-2 (inode 4026532202)
  Interfaces  eth0  02:00:00:00:00:03  MTU 1500  in the pod
              net1  02:00:00:00:00:04  MTU 1500  in the pod
              net2  02:00:00:00:00:05  MTU 1500  in the pod
  Addresses   10.244.1.8/32  from the daemon
              192.168.10.5/24  as the pod asked
              192.168.11.5/24  as the pod asked
  VFs         eth0: VF 3 of ens1f0 (0000:02:10.3), pool fast, mode netdev
              net1: VF 4 of ens1f0 (0000:02:10.4), pool fast, mode netdev
              net2: VF 5 of ens1f0 (0000:02:10.5), pool fast, mode vfio
  Settings    eth0: trust off, spoofchk on
              net1: vlan 100 qos 3, max rate 1000 Mbit/s
  Host route  10.244.1.8 by ens1f0 to 02:00:00:00:00:03
  Claims      VF 3 of ens1f0 (0000:02:10.3) is held by telco/dpu-0@eth0 since 2026-01-01 00:00:00 UTC
              VF 4 of ens1f0 (0000:02:10.4) is held by telco/dpu-0@eth0 since 2026-01-01 00:00:00 UTC
              VF 5 of ens1f0 (0000:02:10.5) is held by telco/dpu-0@eth0 since 2026-01-01 00:00:00 UTC
  Steps       configure-vf, move-vf, configure-pod, await-carrier, host-route, configure-vf, move-vf, configure-pod, await-carrier, announce, configure-vf, bind-vf
"
    );
}

#[test]
fn explain_tells_what_is_left_of_pods_that_are_gone() {
    let (target, r) = ("telco/dpu-0".parse::<Target>().unwrap(), with_vfs());
    let claims = [quarantined(claim(&r, 3, VfMode::Netdev)), claim(&record(), 4, VfMode::Netdev)];
    let gone = left(&claims, &[], &target);
    assert_eq!(
        explain::render(&[], &claims, &gone, 1060),
        "\
VFs of interfaces that are gone
  Quarantine  VF 3 of ens1f0 (0000:02:10.3) is in quarantine since 2026-01-01 00:00:00 UTC: cleaning it failed 2 times: process 77 (testpmd) has its vfio device open
"
    );
    assert!(left(&claims, &[r], &target).is_empty(), "its record tells");
    let by_container = left(&claims, &[], &"9c2e".parse().unwrap());
    assert_eq!(by_container, gone);
}
