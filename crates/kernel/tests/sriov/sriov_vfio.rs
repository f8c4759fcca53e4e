//! VFs for userspace.

use crate::lab::{Lab, apply, mac, run, timed};
use offramp_core::step::BindTo;
use offramp_core::vf::VfSettings;
use offramp_kernel::Executor;
use offramp_kernel::vf::{self, Holder, Host};
use std::fs::OpenOptions;

#[test]
fn a_vf_is_bound_to_vfio_and_back_once_nobody_holds_it() {
    run("modprobe vfio-pci");
    let (lab, host) = (Lab::new(0), Host::default());
    let mut executor = Executor::new(None).unwrap();
    let settings = VfSettings { mac: Some(mac(5)), trust: Some(true), ..VfSettings::default() };
    apply(&mut executor, &lab.configure(settings)).unwrap();
    for _ in 0..2 {
        apply(&mut executor, &lab.bind(BindTo::VfioPci)).unwrap();
    }
    let now = lab.state();
    assert_eq!((now.driver.as_deref(), now.netdev), (Some("vfio-pci"), None));
    assert_eq!(now.pf_side.mac, Some(mac(5)));

    let group = host.iommu_group(lab.vf.pci).unwrap().unwrap();
    assert_eq!(vf::holders(&host, lab.vf.pci).unwrap(), []);
    let path = format!("/dev/vfio/{group}");
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let (pid, comm) = (std::process::id(), run("cat /proc/self/comm"));
    let found = timed("holders", || vf::holders(&host, lab.vf.pci)).unwrap();
    assert_eq!(found.iter().map(|h| h.pid).collect::<Vec<_>>(), [pid], "{comm}");
    let [Holder { comm, .. }] = found.as_slice() else { panic!("{found:?}") };
    let error = vf::unbind(&host, lab.vf.pci).unwrap_err().to_string();
    let why = format!("it is held open by process {pid} ({comm})");
    assert_eq!(error, format!("unbind {} from vfio-pci: {why}", lab.vf.pci));
    drop(file);
    lab.clean();
    let left = std::fs::read_to_string(format!("/sys/bus/pci/devices/{}/driver_override", lab.vf.pci));
    assert_eq!(left.unwrap().trim(), "(null)");
}
