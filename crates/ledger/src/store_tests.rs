use super::*;
use offramp_core::plan::{Path as PlanPath, Plan};
use offramp_core::record::{IpamHold, Mode, NetnsRef, State};

pub(crate) fn record(id: &str) -> Record {
    Record {
        format: FORMAT,
        attachment: id.parse().unwrap(),
        network: "net".parse().unwrap(),
        mode: Mode::Inline,
        state: State::Adding,
        netns: NetnsRef { path: "/run/netns/x".into(), inode: 1 },
        pod: None,
        ipam: IpamHold::None,
        plan: Plan {
            path: PlanPath::Veth,
            reason: String::new(),
            steps: vec![],
            firewall: Default::default(),
            result: Default::default(),
        },
        device_info: None,
        networks: Vec::new(),
        asked: Default::default(),
        numa: Default::default(),
        created: 0,
    }
}

#[test]
fn a_record_is_there_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::at(dir.path().join("state"));
    let mut r = record("c@eth0");
    assert_eq!(store.read(&r.attachment).unwrap(), None);
    assert!(store.list().unwrap().records.is_empty());
    store.write(&r).unwrap();
    r.state = State::Ready;
    store.write(&r).unwrap();
    assert_eq!(store.read(&r.attachment).unwrap(), Some(r.clone()));
    assert_eq!(store.list().unwrap().records, [r.clone()]);
    store.remove(&r.attachment).unwrap();
    store.remove(&r.attachment).unwrap();
    assert_eq!(store.ids().unwrap(), []);
}

#[test]
fn what_is_no_record_is_named_and_left() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::at(dir.path());
    let good = record("good@eth0");
    store.write(&good).unwrap();
    let half = serde_json::to_string(&good).unwrap();
    let cases = [
        ("half@eth0", &half[..half.len() / 2], "no record"),
        ("empty@eth0", "", "no record"),
        ("new@eth0", r#"{"format": 99}"#, "format is 99"),
        ("other@eth0", half.as_str(), "it is of good@eth0"),
    ];
    for (id, content, why) in cases {
        let id: AttachmentId = id.parse().unwrap();
        fs::write(store.path(&id), content).unwrap();
        let e = store.read(&id).unwrap_err();
        assert!(e.to_string().contains(why), "{e}");
        assert_eq!(offramp_core::CniError::from(e).code, 6);
    }
    let listing = store.list().unwrap();
    assert_eq!((listing.records.len(), listing.unreadable.len()), (1, 4));
}

#[test]
fn a_lock_has_one_holder() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::at(dir.path());
    let id = record("c@eth0").attachment;
    let lock = store.lock(&id, Duration::ZERO).unwrap();
    let e = store.lock(&id, Duration::from_millis(1)).unwrap_err();
    assert!(e.to_string().contains("c@eth0"), "{e}");
    drop(lock);
    store.lock(&id, Duration::ZERO).unwrap();
}

#[test]
fn what_a_dead_writer_left_goes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::at(dir.path());
    let (lost, kept) = (record("lost@eth0"), record("kept@eth0"));
    store.write(&kept).unwrap();
    let torn = |r: &Record, w: Writer| store.attachments_dir().join(w.temporary(&r.attachment));
    for writer in Writer::ALL {
        fs::write(torn(&lost, writer), "{").unwrap();
        fs::write(torn(&kept, writer), "{").unwrap();
    }
    let lock = store.lock(&lost.attachment, Duration::ZERO).unwrap();
    assert_eq!(store.remove_torn().unwrap(), 0);
    drop(lock);
    assert_eq!(store.remove_torn().unwrap(), 2);
    assert!(!torn(&lost, Writer::Daemon).exists());
    store.remove(&kept.attachment).unwrap();
    assert_eq!(fs::read_dir(store.attachments_dir()).unwrap().count(), 0);
}
