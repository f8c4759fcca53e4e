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
"
    );
    assert_eq!(
        attachments::render(&[with_vfs(), record()], &lent(), 1060, true),
        "\
"
    );
}

#[test]
fn explain_tells_all_of_vfs() {
    assert_eq!(
        explain::render(&[with_vfs()], &lent(), &[], 1060),
        "\
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
