//! The number of VFs.

use crate::lab::*;
use offramp_core::nic::Port;
use offramp_kernel::netlink::Socket;
use offramp_kernel::stubborn::Written;
use offramp_kernel::sysfs::{Sysfs, set_num_vfs};
use offramp_kernel::{Error, Result};
use std::fs::OpenOptions;
use std::time::Duration;

fn try_set(port: &Port, number: u16) -> Result<Written> {
    set_num_vfs(&Sysfs::default(), &mut Socket::open().unwrap(), port, number, LONG, &[])
}

#[test]
fn it_changes_through_zero_and_brings_the_port_up() {
    let _lab = enter();
    for number in [3, 4, 0, 1] {
        set(number);
        assert_eq!(port(PF).num_vfs, number);
        assert_eq!(port(PF).vfs.len(), usize::from(number));
    }
    set(0);
    sh("ip link set nic0 down");
    set(2);
    assert!(port(PF).up);
    // The port was up before its VFs were made: it has told them their addresses.
    let shown = json("ip -j -d link show nic0");
    for index in 0..2 {
        let netdev = vf(index).netdev.on_host().unwrap().clone();
        let own = json(&format!("ip -j link show {netdev}"))[0]["address"].clone();
        assert_eq!(own, shown[0]["vfinfo_list"][index]["address"]);
    }
}

#[test]
fn what_is_there_already_is_not_made_again() {
    let _lab = enter();
    let before = vf(0).netdev;
    // As a mark that another device would not have.
    sh(&format!("ip link set {} alias mark", before.on_host().unwrap()));
    set(4);
    assert_eq!(vf(0).netdev, before);
    assert!(sh(&format!("ip link show {}", before.on_host().unwrap())).contains("alias mark"));
}

#[test]
fn refusals_say_why() {
    let _lab = enter();
    let port = port(PF);
    let name = format!("nic0 ({})", port.key.device);
    let error = try_set(&port, 8).unwrap_err();
    assert_eq!(error.to_string(), format!("set the number of VFs of {name} to 8: it can have at most 7"));
    let mut other = port;
    other.key.device = "0000:09:00.0".into();
    let error = try_set(&other, 2).unwrap_err();
    assert!(error.to_string().ends_with("the link is of another device by now"), "{error}");
    other.netdev = "gone0".parse().unwrap();
    assert!(matches!(try_set(&other, 2), Err(Error::Missing { .. })));
    assert_eq!(crate::lab::port(PF).num_vfs, 4);
}

#[test]
fn a_vf_that_userspace_holds_is_waited_for_no_longer_than_said() {
    let _lab = enter();
    let (vf, pci) = (vf(1), pci(1));
    let device = format!("/sys/bus/pci/devices/{pci}");
    sh(&format!(
        "modprobe vfio-pci; echo {pci} > {device}/driver/unbind; echo vfio-pci > {device}/driver_override
        echo {pci} > /sys/bus/pci/drivers_probe"
    ));
    let group = vf.iommu_group.expect("run it by hack/vm --iommu");
    let holder = Holder::of(group, &pci.to_string());
    let socket = &mut Socket::open().unwrap();
    let written = set_num_vfs(&Sysfs::default(), socket, &port(PF), 0, Duration::from_secs(2), &[]).unwrap();
    let Written::Stuck { pid } = written else { panic!("{written:?}") };
    assert!(port(PF).num_vfs > 0, "to look does not wait for it");
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
    drop(holder);
    eventually("the child goes on", || port(PF).num_vfs == 0);
}

/// Holds a vfio device open, as a userspace driver does (Documentation/driver-api/vfio.rst).
struct Holder(#[allow(dead_code, reason = "it is held")] [std::os::fd::OwnedFd; 3]);

impl Holder {
    fn of(group: u32, pci: &str) -> Self {
        use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
        // include/uapi/linux/vfio.h: _IO(';', 100 + n)
        const SET_CONTAINER: u64 = 0x3b68;
        const SET_IOMMU: u64 = 0x3b66;
        const GET_DEVICE_FD: u64 = 0x3b6a;
        let open = |path: &str| -> OwnedFd {
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(path)
                .unwrap_or_else(|e| panic!("{path}: {e}"))
                .into()
        };
        let (container, group) = (open("/dev/vfio/vfio"), open(&format!("/dev/vfio/{group}")));
        let name = std::ffi::CString::new(pci).unwrap();
        let number = container.as_raw_fd();
        // SAFETY: the arguments are what these calls take: a pointer to a number, a number, a string.
        let device = unsafe {
            assert_eq!(nix::libc::ioctl(group.as_raw_fd(), SET_CONTAINER, &raw const number), 0);
            assert_eq!(nix::libc::ioctl(container.as_raw_fd(), SET_IOMMU, 1u64), 0);
            nix::libc::ioctl(group.as_raw_fd(), GET_DEVICE_FD, name.as_ptr())
        };
        assert!(device >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: the descriptor is new, and nobody else's.
        Self([unsafe { OwnedFd::from_raw_fd(device) }, group, container])
    }
}
