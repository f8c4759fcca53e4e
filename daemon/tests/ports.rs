//! Pods whose bridge somebody deletes. Run below `hack/lab`. The daemon looks regularly once a day: what is mended
//! here is mended because the kernel told of it.
#![expect(clippy::unwrap_used, reason = "a test")]

use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Long enough for a machine under load: only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(dir: &Path, sysfs: &Path) -> Daemon {
    let config = dir.join("offrampd.yaml");
    let text = format!(
        "cluster: {{source: standalone, podCIDRs: [10.244.1.0/24]}}\n\
         overlay: {{mode: none}}\n\
         paths: {{stateDir: {0}, sysfs: {1}}}\n\
         http: {{address: none}}\n\
         reconcile: {{interval: 24h}}\n",
        dir.display(),
        sysfs.display()
    );
    std::fs::write(&config, text).unwrap();
    let log = std::fs::File::create(dir.join("log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_offrampd"));
    Daemon(command.args(["run", "--config"]).arg(&config).stderr(log).spawn().unwrap())
}

fn ip(arguments: &str) -> (bool, String) {
    let out = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    (out.status.success(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

fn made(arguments: &str) {
    let (ok, text) = ip(arguments);
    assert!(ok, "ip {arguments}: {text}");
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "never: {what}\n{}", ip("-d link").1);
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn link(name: &str) -> Value {
    serde_json::from_str::<Value>(&ip(&format!("-j link show dev {name}")).1).unwrap_or_default()[0].take()
}

/// The record of a pod that is attached by `host`, with what the daemon needs of it.
fn record(host: &str, pod: &str) -> Value {
    let netns = format!("/run/netns/{pod}");
    let inode = std::fs::metadata(&netns).unwrap().ino();
    json!({
        "format": 1, "network": "pods", "mode": "node", "state": "ready", "created": 1,
        "attachment": {"container": pod, "ifname": "eth0"},
        "netns": {"path": netns, "inode": inode},
        "ipam": {"by": "daemon"},
        "plan": {
            "path": "veth", "reason": "a test",
            "steps": [
                {"step": "create-veth", "host": host, "host_mac": link(host)["address"], "pod": "eth0",
                 "pod_mac": "02:00:00:00:00:02", "mtu": null},
                {"step": "attach-port", "link": host, "bridge": "offramp0", "port": {
                    "hairpin": true, "isolated": false, "vlan": null, "trunk": [], "keep_default_vlan": false}},
                {"step": "neighbours", "bridge": "offramp0", "ips": ["10.244.1.2"], "mac": "02:00:00:00:00:02"},
            ],
            "result": {"interfaces": [], "ips": [], "routes": [], "dns": {}},
        },
    })
}

#[test]
fn pods_come_back_when_the_bridge_is_deleted() {
    assert!(std::env::var_os("OFFRAMP_LAB").is_some(), "this test changes the network: run it by hack/lab");
    let dir = tempfile::tempdir().unwrap();
    let _daemon = start(dir.path(), Path::new("/sys"));
    let gateway = || ip("address show dev offramp0").1.contains("10.244.1.1/24");
    until("the daemon makes the bridge", || gateway() && dir.path().join("offrampd.sock").exists());
    made("netns add pod");
    made("link add veth-pod type veth peer name eth0 address 02:00:00:00:00:02 netns pod");
    made("link set veth-pod up master offramp0");
    made("-n pod link set eth0 up");
    made("-n pod address add 10.244.1.2/24 dev eth0");
    let file = dir.path().join("attachments/pod@eth0.json");
    std::fs::write(file, record("veth-pod", "pod").to_string()).unwrap();
    let ping = || ip("netns exec pod ping -n -c 1 -W 1 10.244.1.1").0;
    until("the pod reaches its gateway", ping);

    let mac = link("offramp0")["address"].clone();
    made("link delete offramp0");
    until("the pod is plugged in again", || link("veth-pod")["master"] == "offramp0");
    let known = || ip("neighbour show 10.244.1.2 dev offramp0").1.contains("02:00:00:00:00:02");
    until("the node knows the pod, unasked", known);
    until("the pod reaches its gateway again", ping);
    assert_eq!(link("offramp0")["address"], mac, "pods know the gateway by its MAC");
}

/// What hinders a representor is told, of the VF that the configured sysfs has.
#[test]
fn a_representor_is_looked_up_where_the_configuration_says() {
    assert!(std::env::var_os("OFFRAMP_LAB").is_some(), "this test changes the network: run it by hack/lab");
    let dir = tempfile::tempdir().unwrap();
    let sysfs = dir.path().join("sys");
    let port = sysfs.join("bus/pci/devices/0000:7e:00.0");
    std::fs::create_dir_all(&port).unwrap();
    std::os::unix::fs::symlink("../0000:7e:10.7", port.join("virtfn0")).unwrap();
    made("netns add lent");
    made("link add veth-lent type veth peer name eth0 netns lent");
    let mut record = record("veth-lent", "lent");
    record["plan"]["steps"] = json!([{
        "step": "plug-representor", "representor": "pf0vf0", "bridge": "offramp0", "mtu": null, "up": true,
        "hairpin": false,
        "vf": {"pci": "0000:7e:10.0", "port": {"device": "0000:7e:00.0", "port": 0}, "pf": "pf0", "index": 0},
    }]);
    let file = dir.path().join("attachments/lent@eth0.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, record.to_string()).unwrap();
    let _daemon = start(dir.path(), &sysfs);
    let log = || std::fs::read_to_string(dir.path().join("log")).unwrap();
    until("the VF is told to be another", || log().contains("it is 0000:7e:10.7 now"));
}
