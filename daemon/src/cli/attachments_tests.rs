use super::*;
use crate::cli::client::ClientError;
use crate::cli::fixture::{record, with_networks};

#[test]
fn tables() {
    let mut no_pod = record();
    no_pod.pod = None;
    let records = [record(), no_pod];
    assert_eq!(
        render(&records, &[], 4660, false),
        "\
POD            CONTAINER      INTERFACE  ADDRESSES                  PATH  STATE  AGE
default/web-0  4f1f8a0c9d2e7  eth0       10.244.1.7, fd00:244:1::7  veth  ready  1h 1m
-              4f1f8a0c9d2e7  eth0       10.244.1.7, fd00:244:1::7  veth  ready  1h 1m
"
    );
    assert_eq!(render(&records[..1], &[], 1000, true), "\
POD            INTERFACE  ADDRESSES                  PATH  STATE  AGE  VF  POOL  HOST INTERFACE   NETWORK  MODE  NETNS             CONTAINER
default/web-0  eth0       10.244.1.7, fd00:244:1::7  veth  ready  0s   -   -     ofj1xot1xg8z9j2  offramp  node  /run/netns/cni-1  4f1f8a0c9d2e7b6a5c4d3e2f
");
    assert_eq!(render(&[], &[], 0, false), "No pod is attached on this node.\n");
}

#[test]
fn networks_that_other_plugins_made() {
    let mut records = vec![with_networks()];
    let columns = |text: &str| {
        let cells =
            |line: &str| line.split("  ").filter(|c| !c.is_empty()).map(|c| c.trim().to_owned()).collect();
        text.lines().skip(1).map(cells).collect::<Vec<Vec<String>>>()
    };
    let rows = columns(&render(&records, &[], 1000, false));
    let told: Vec<_> = rows.iter().map(|r| r[2..5].join(" ")).collect();
    assert_eq!(told, ["eth0 10.244.1.7, fd00:244:1::7 veth", "net1 192.168.50.2 plugins", "net2 - plugins"]);
    let wide = columns(&render(&records, &[], 1000, true));
    assert_eq!(wide[1][6..11], ["-", "-", "-", "default/storage (bridge, tuning)", "node"]);
    // What our own plugin made has a record, and is shown once.
    let ours = Record { attachment: "4f1f8a0c9d2e7b6a5c4d3e2f@net2".parse().unwrap(), ..record() };
    records.push(Record { networks: Vec::new(), ..ours });
    assert_eq!(render(&records, &[], 1000, false).lines().count(), 4);
}

#[test]
fn without_the_daemon_the_records_are_read() {
    let state = tempfile::tempdir().unwrap();
    let dir = state.path().join("attachments");
    std::fs::create_dir(&dir).unwrap();
    let good = record();
    let mut foreign = serde_json::to_value(&good).unwrap();
    foreign["format"] = 99.into();
    let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
    write("a@eth0.json", &serde_json::to_string(&good).unwrap());
    write("b@eth0.json", "{\"format\": 1, \"atta");
    write("c@eth0.json", &foreign.to_string());
    write(".d@eth0.json.tmp", "half");
    let socket = state.path().join("offrampd.sock");
    let found = fetch(&socket).unwrap();
    assert_eq!(found.records, [good]);
    let mut notes = found.notes;
    notes.sort();
    assert_eq!(notes.len(), 3);
    assert_eq!(
        notes[0],
        format!(
            "offrampd is not running on this node (connect {}: No such file or directory (os error 2)); this is \
             from the records in {}",
            socket.display(),
            dir.display()
        )
    );
    assert!(notes[1].starts_with(&format!("read record {}/b@eth0.json: EOF while parsing", dir.display())));
    assert!(notes[2].ends_with("c@eth0.json: its format is 99, this offrampd reads 1"), "{}", notes[2]);
}

#[test]
fn without_daemon_and_records_both_are_told() {
    let state = tempfile::tempdir().unwrap();
    let error = fetch(&state.path().join("offrampd.sock")).unwrap_err();
    assert!(matches!(&error, CliError::Records { client: ClientError::NotRunning { .. }, .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with("offrampd is not running on this node (connect "), "{text}");
    assert!(text.ends_with("/attachments: No such file or directory (os error 2)"), "{text}");
}
