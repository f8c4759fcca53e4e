//! `offrampd nics` beside an igb PF called nic0, whose VFs somebody changes by hand. It wants the VM's initial
//! network namespace: `hack/vm --nic igb:4 -- TEST_BINARY sriov_`
#![expect(clippy::unwrap_used, reason = "a test")]

mod sriov_nics {
    use serde_json::Value;
    use std::path::Path;
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    /// Long enough for an emulated machine: only a failing test waits for it.
    const PATIENCE: Duration = Duration::from_secs(60);

    struct Daemon(Child);

    impl Drop for Daemon {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// It looks regularly once a day: what shows here shows because the kernel told of it.
    fn start(dir: &Path) -> Daemon {
        let config = dir.join("offrampd.yaml");
        let text = format!(
            "node: {{name: n, uplink: nic0}}\n\
             cluster: {{source: standalone, podCIDRs: [10.244.1.0/24]}}\n\
             overlay: {{mode: none}}\n\
             paths: {{stateDir: {}}}\n\
             http: {{address: none}}\n\
             reconcile: {{interval: 24h}}\n",
            dir.display()
        );
        std::fs::write(&config, text).unwrap();
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_offrampd"));
        Daemon(
            command.args(["run", "--config"]).arg(&config).stdout(Stdio::null()).stderr(log).spawn().unwrap(),
        )
    }

    fn nics(dir: &Path, output: &str) -> (String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_offrampd"));
        let out =
            command.args(["nics", "-o", output, "--socket"]).arg(dir.join("offrampd.sock")).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(out.status.success(), "{}", text(&out.stderr));
        (text(&out.stdout), text(&out.stderr))
    }

    /// nic0 as the daemon has it; null if the daemon does not tell.
    fn nic0(dir: &Path) -> Value {
        let (json, note) = nics(dir, "json");
        if !note.is_empty() {
            return Value::Null;
        }
        let all: Value = serde_json::from_str(&json).unwrap();
        let ports = all["ports"].as_array().unwrap();
        ports.iter().find(|port| port["netdev"] == "nic0").cloned().unwrap_or_default()
    }

    fn until(what: &str, mut done: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < end, "never: {what}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn sh(script: &str) {
        assert!(Command::new("bash").args(["-ec", script]).status().unwrap().success(), "{script}");
    }

    #[test]
    fn what_somebody_changes_shows_and_is_logged() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let numvfs = "/sys/class/net/nic0/device/sriov_numvfs";
        sh(&format!(
            "ip link set nic0 up; n=$(cat {numvfs}); [ $n = 4 ] || {{ echo 0 > {numvfs}; echo 4 > {numvfs}; }}"
        ));
        let (table, note) = nics(dir, "table");
        assert!(table.contains("4 of 7  4     0     0 "), "{table}");
        assert!(note.contains("offrampd is not running"), "{note}");

        let daemon = start(dir);
        until("the daemon tells", || nic0(dir)["numVfs"] == 4);
        let logged = |words: &str| std::fs::read_to_string(dir.join("log")).unwrap().contains(words);

        sh(&format!("echo 0 > {numvfs}; echo 2 > {numvfs}"));
        until("two VFs", || nic0(dir)["vfs"].as_array().is_some_and(|vfs| vfs.len() == 2));
        // It may have seen them come one by one.
        until("it is logged", || ["4", "1", "0"].iter().any(|n| logged(&format!("VFs {n} -> 2"))));
        let name = || nic0(dir)["vfs"][1]["netdev"].clone();
        until("a netdev", || name()["in"] == "host");
        sh(&format!(
            "ip netns add pod; ip link set {} netns pod name net1",
            name()["name"].as_str().unwrap()
        ));
        until("a VF in a pod", || name()["netns"] == "/run/netns/pod" && name()["name"] == "net1");
        sh("ip netns del pod");
        until("it is back", || name()["in"] == "host");
        sh("ip link set nic0 down");
        until("the PF is down", || nic0(dir)["up"] == false);
        until("it is logged", || logged("state up -> down"));
        sh("ip link set nic0 up");
        until("the PF is up", || nic0(dir)["carrier"] == true);
        drop(daemon);
    }
}
