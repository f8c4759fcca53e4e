//! VFs for userspace.

use crate::lab::{Lab, apply, mac, run, timed};
use offramp_core::step::BindTo;
use offramp_core::vf::VfSettings;
use offramp_kernel::sysfs::Places;
use offramp_kernel::vf::{self, Holder, Host};
use offramp_kernel::{Error, Executor};
use std::fs::{File, OpenOptions, TryLockError};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

// include/uapi/linux/vfio.h
nix::ioctl_write_int_bad!(set_iommu, nix::request_code_none!(b';', 102));
nix::ioctl_write_ptr_bad!(set_container, nix::request_code_none!(b';', 104), i32);
nix::ioctl_write_ptr_bad!(get_device, nix::request_code_none!(b';', 106), u8);

fn open(path: &str) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Opens a VF as a program for userspace networking does.
fn open_device(lab: &Lab, host: &Host<'_>) -> [OwnedFd; 3] {
    const TYPE1: i32 = 1;
    let container = open("/dev/vfio/vfio");
    let group = open(&format!("/dev/vfio/{}", host.iommu_group(lab.vf.pci).unwrap().unwrap()));
    let name = std::ffi::CString::new(lab.vf.pci.to_string()).unwrap();
    // SAFETY: the descriptors are open, the first pointer leads to a descriptor, the second to a string; the
    // descriptor that comes back is new.
    let device = unsafe {
        set_container(group.as_raw_fd(), &container.as_raw_fd()).unwrap();
        set_iommu(container.as_raw_fd(), TYPE1).unwrap();
        OwnedFd::from_raw_fd(get_device(group.as_raw_fd(), name.as_ptr().cast()).unwrap())
    };
    [device, group.into(), container.into()]
}

/// The kernel waits for whoever has the device, if nobody looked for holders before.
#[test]
fn an_unbind_that_hangs_keeps_the_lock_until_it_is_through() {
    run("modprobe vfio-pci");
    let (lab, host) = (Lab::new(0), Host::default());
    apply(&mut Executor::new(None).unwrap(), &lab.bind(BindTo::VfioPci)).unwrap();
    let held = open_device(&lab, &host);
    let found = vf::holders(&host, lab.vf.pci).unwrap();
    assert_eq!(found.iter().map(|h| h.pid).collect::<Vec<_>>(), [std::process::id()]);

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let lock = File::create(&path).unwrap();
    lock.lock().unwrap();
    let patience = Duration::from_millis(300);
    let blind = Places { named: Vec::new(), proc: dir.path().into() };
    let hasty = Host { places: blind, patience, ..Host::default() }.with_lock(lab.vf.pci, lock.as_fd());
    let error = vf::unbind(&hasty, lab.vf.pci).unwrap_err();
    let Error::Stuck { pid, .. } = error else { panic!("{error}") };
    assert!(
        error.to_string().starts_with(&format!("unbind {} from vfio-pci: it hangs", lab.vf.pci)),
        "{error}"
    );
    drop(hasty);
    drop(lock);
    let again = File::open(&path).unwrap();
    assert!(matches!(again.try_lock(), Err(TryLockError::WouldBlock)), "process {pid} has the lock");
    drop(held);
    again.lock().unwrap();
    assert_eq!(lab.state().driver, None);
    lab.clean();
}

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
    let file = open(&path);
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
