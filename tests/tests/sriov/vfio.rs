//! A program that uses a VF by vfio, as far as the kernel can tell (Documentation/driver-api/vfio.rst).

use crate::lab::run;
use nix::errno::Errno;
use nix::libc;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// `_IO(';', 100 + N)` of include/uapi/linux/vfio.h
const SET_IOMMU: libc::Ioctl = 0x3b66;
const SET_CONTAINER: libc::Ioctl = 0x3b68;
const GET_DEVICE_FD: libc::Ioctl = 0x3b6a;
const TYPE1_IOMMU: libc::c_ulong = 1;

/// A device that this process has open, until it is dropped.
#[expect(dead_code, reason = "held for their drop, in this order")]
pub struct Held {
    device: OwnedFd,
    group: Option<File>,
    container: File,
}

impl Held {
    pub fn new(pci: &str, group_stays_open: bool) -> Self {
        let open = |path: &str| File::options().read(true).write(true).open(path).unwrap();
        let group = run(&format!("basename $(readlink /sys/bus/pci/devices/{pci}/iommu_group)"));
        let (container, group) = (open("/dev/vfio/vfio"), open(&format!("/dev/vfio/{}", group.trim())));
        let (fd, name) = (container.as_raw_fd(), CString::new(pci).unwrap());
        // SAFETY: the first reads an int, the second takes a number, the third reads a string that ends with NUL; the
        // descriptor that it returns is new, and nobody else's.
        let device = unsafe {
            Errno::result(libc::ioctl(group.as_raw_fd(), SET_CONTAINER, &raw const fd)).unwrap();
            Errno::result(libc::ioctl(fd, SET_IOMMU, TYPE1_IOMMU)).unwrap();
            let device = libc::ioctl(group.as_raw_fd(), GET_DEVICE_FD, name.as_ptr());
            OwnedFd::from_raw_fd(Errno::result(device).unwrap())
        };
        Self { device, group: Some(group).filter(|_| group_stays_open), container }
    }

    /// Whether the kernel tells by /proc which device a descriptor is of.
    pub fn is_told() -> bool {
        let release = run("uname -r");
        let mut numbers = release.split(['.', '-']).map_while(|n| n.parse::<u32>().ok());
        (numbers.next(), numbers.next()) >= (Some(6), Some(18))
    }
}
