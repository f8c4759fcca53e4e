use super::*;
use crate::cni::result::CniResult;
use crate::plan::{Path, Plan};
use crate::record::{FORMAT, IpamHold, Mode, State};

/// A record whose JSON is a little larger than `bytes`.
fn record(bytes: usize) -> Record {
    Record {
        format: FORMAT,
        attachment: "c@eth0".parse().unwrap(),
        network: "n".parse().unwrap(),
        mode: Mode::Node,
        state: State::Ready,
        netns: NetnsRef { path: "/run/netns/a".into(), inode: 1 },
        pod: None,
        ipam: IpamHold::Daemon,
        plan: Plan {
            path: Path::Veth,
            reason: "x".repeat(bytes),
            steps: vec![],
            firewall: Default::default(),
            result: CniResult::default(),
        },
        device_info: None,
        networks: Vec::new(),
        asked: Default::default(),
        numa: Default::default(),
        created: 0,
    }
}

#[test]
fn many_records_take_several_frames_none_too_large() {
    let frames = Response::attachments(vec![record(100_000); 30], vec!["why".into()]);
    assert!(frames.len() >= 6);
    let mut total = 0;
    for (i, frame) in frames.iter().enumerate() {
        assert!(frame_header(serde_json::to_vec(frame).unwrap().len()).is_ok());
        let Response::Attachments { records, unreadable, more } = frame else { panic!("{frame:?}") };
        total += records.len();
        assert_eq!(*more, i + 1 < frames.len());
        assert_eq!(unreadable.len(), usize::from(!more));
    }
    assert_eq!(total, 30);
}

#[test]
fn no_record_is_one_frame_and_a_giant_one_is_named() {
    let empty = Response::Attachments { records: vec![], unreadable: vec![], more: false };
    assert_eq!(Response::attachments(vec![], vec![]), [empty]);
    let frames = Response::attachments(vec![record(MAX_FRAME)], vec![]);
    let [Response::Attachments { records, unreadable, more: false }] = frames.as_slice() else {
        panic!("one frame")
    };
    assert!(records.is_empty() && unreadable[0].starts_with("c@eth0: a record of "), "{unreadable:?}");
}
