//! A real runtime takes what the daemon tells of devices (Container Device Interface): podman, which finds them by name in
//! the folder that is the daemon's default.

use crate::node::{DPDK, FAST, Wired};
use offramp_tests::Sysfs;
use offramp_tests::kubelet::PodSpec;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

/// A container with device NAME; everything that podman writes is below DIR. The machine's cgroups are out of sight: crun
/// can do without any, runc cannot. The nodes of the group are those of /dev/null and /dev/zero, in a /dev of this
/// namespace: there is no VF.
const RUN: &str = r#"
set -eu
dir=$1 name=$2
mkdir -p "$dir/dev" "$dir/rootfs/bin"
if ! mountpoint -q "$dir/dev"; then
    mount -t tmpfs dev "$dir/dev"
    mkdir "$dir/dev/pts" "$dir/dev/shm" "$dir/dev/mqueue" "$dir/dev/vfio"
    cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty "$dir/dev"
    mknod "$dir/dev/vfio/vfio" c 1 3
    mknod "$dir/dev/vfio/13" c 1 5
    mount --bind "$dir/dev" /dev
    mount -t tmpfs none /sys/fs/cgroup
    cp /bin/busybox "$dir/rootfs/bin"
fi
printf '[engine]\nruntime = "crun"\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\n' >"$dir/containers.conf"
printf '[containers]\nseccomp_profile = "unconfined"\ndefault_sysctls = []\n' >>"$dir/containers.conf"
export CONTAINERS_CONF=$dir/containers.conf HOME=$dir XDG_RUNTIME_DIR=$dir TMPDIR=$dir
podman --root "$dir/storage" --runroot "$dir/run" --tmpdir "$dir/tmp" --storage-driver vfs \
    run --rm --network none --cgroups=disabled --device "$name" --rootfs "$dir/rootfs" \
    /bin/busybox sh -c 'cd /dev/vfio && busybox stat -c "%n %t:%T" * && busybox head -c 2 13 | busybox od -An -tx1'
"#;

fn run(dir: &Path, name: &str) -> Output {
    Command::new("sh").args(["-c", RUN, "run"]).arg(dir).arg(name).output().unwrap()
}

#[test]
fn podman_finds_the_devices_of_a_vf_by_its_name() {
    let w = Wired::new();
    let mut kubelet = w.kubelet();
    kubelet.start();
    let mut conf = w.conf();
    conf["paths"].as_object_mut().unwrap().remove("cdi");
    conf["pools"][1]["devicePlugin"]["cdi"] = json!(true);
    let _daemon = w.node.daemon(conf);
    kubelet.wait_for_healthy(DPDK, 1);
    kubelet.wait_for_healthy(FAST, 5);
    let named = kubelet.admit(&PodSpec::new("default/dpdk").requests(DPDK, 1)).unwrap().remove(0);
    let [name] = &named.cdi[..] else { panic!("{:?}", named.cdi) };
    assert_eq!(*name, format!("offramp.dev/vf={}", Sysfs::vf(1, 3)));

    let dir = tempfile::Builder::new().prefix("podman").tempdir_in("/run").unwrap();
    let found = run(dir.path(), name);
    let (told, error) = (String::from_utf8_lossy(&found.stdout), String::from_utf8_lossy(&found.stderr));
    assert!(found.status.success(), "{error}");
    let lines: Vec<&str> = told.lines().map(str::trim).collect();
    assert_eq!(lines, ["13 1:5", "vfio 1:3", "00 00"], "both nodes, and the group's can be read");

    // A VF that nobody lends by name has none.
    let other = run(dir.path(), &format!("offramp.dev/vf={}", Sysfs::vf(1, 2)));
    assert!(String::from_utf8_lossy(&other.stderr).contains("unresolvable CDI devices"), "{other:?}");
    assert!(!other.status.success());
    let file: Value =
        serde_json::from_slice(&std::fs::read("/run/cdi/offramp.dev-vf.json").unwrap()).unwrap();
    assert_eq!(file["devices"].as_array().unwrap().len(), 1, "{file}");
}
