//! A VF's driver and its reset. All of these may hang in the kernel.

use super::{Host, holders};
use crate::{Error, Result, stubborn};
use nix::errno::Errno;
use offramp_core::nic::PciAddr;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// Unbinds the device from its driver; one without a driver is left. A device that a process holds open by vfio is
/// an error that names the process: the kernel would wait for it.
pub fn unbind(host: &Host<'_>, pci: PciAddr) -> Result<()> {
    let Some(driver) = host.driver(pci)? else { return Ok(()) };
    let what = format!("unbind {pci} from {driver}");
    if driver.contains("vfio") {
        let held: Vec<String> = holders(host, pci)?.iter().map(ToString::to_string).collect();
        if !held.is_empty() {
            return Err(Error::Unfit { what, why: format!("it is held open by {}", held.join(", ")) });
        }
    }
    match host.write(pci, &what, &host.device(pci)?.path("driver/unbind"), &pci.to_string()) {
        // Somebody was faster.
        Err(e) if is(&e, &[Errno::ENODEV, Errno::ENOENT]) && host.driver(pci)?.is_none() => Ok(()),
        other => other,
    }
}

/// Binds a device without a driver to this one. vfio-pci keeps the device by `driver_override`, so that no probe of
/// the bus takes it away; another one is named by `driver_override` while it is bound only, which
/// `sriov_drivers_autoprobe` 0 demands.
pub fn bind(host: &Host<'_>, pci: PciAddr, driver: &str) -> Result<()> {
    let what = format!("bind {pci} to {driver}");
    let file = host.sysfs.path("bus/pci/drivers").join(driver).join("bind");
    if !file.exists() {
        let why = "the kernel has no such driver, its module may have to be loaded".to_owned();
        return Err(Error::Unfit { what, why });
    }
    driver_override(host, pci, Some(driver))?;
    let bound = match host.write(pci, &what, &file, &pci.to_string()) {
        Err(_) if host.driver(pci)?.as_deref() == Some(driver) => Ok(()),
        other => other,
    };
    if !driver.contains("vfio") {
        driver_override(host, pci, None)?;
    }
    bound
}

/// Sets the only driver that the device may be bound to; none: any that fits.
pub fn driver_override(host: &Host<'_>, pci: PciAddr, driver: Option<&str>) -> Result<()> {
    let what = format!("set driver_override of {pci} to {}", driver.unwrap_or("none"));
    // An empty line clears it; nothing at all does not reach the driver core.
    let value = format!("{}\n", driver.unwrap_or_default());
    std::fs::write(host.device(pci)?.path("driver_override"), value).map_err(|e| Error::io(what, &e))
}

/// Resets the function (FLR), which must have no driver: with a netdev that is down the kernel's igbvf waits for
/// ever. A device that cannot be reset is left.
pub fn reset(host: &Host<'_>, pci: PciAddr) -> Result<()> {
    let what = format!("reset {pci}");
    if let Some(driver) = host.driver(pci)? {
        return Err(Error::Unfit { what, why: format!("it is bound to {driver}, whose netdev would hang") });
    }
    let file = host.device(pci)?.path("reset");
    if file.exists() { host.write(pci, &what, &file, "1") } else { Ok(()) }
}

impl Host<'_> {
    /// A write that may hang, and then keeps the lock of this VF.
    pub(super) fn write(&self, pci: PciAddr, what: &str, file: &Path, value: &str) -> Result<()> {
        let own = self.locks.iter().filter(|(of, _)| *of == pci);
        let keep: Vec<BorrowedFd<'_>> = own.map(|(_, lock)| *lock).collect();
        match stubborn::write(file, value, self.patience, &keep) {
            Ok(written) => written.within(what, self.patience),
            Err(Error::Refused { errno, extack, .. }) => {
                Err(Error::Refused { what: what.to_owned(), errno, extack })
            }
            Err(e) => Err(e),
        }
    }
}

fn is(error: &Error, errnos: &[Errno]) -> bool {
    errnos.iter().any(|e| error.errno() == Some(*e as i32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::fixture::Machine;
    use std::fs::{File, create_dir_all, read_dir, read_link, read_to_string};
    use std::os::fd::AsFd;
    use std::time::Duration;

    /// A FIFO without a reader blocks its writer, as a driver would.
    #[test]
    fn what_hangs_keeps_the_lock_of_its_vf_and_no_other() {
        let machine = Machine::new();
        let pf = machine.pf("0000:01:00.0");
        machine.vf(&pf, 0, "0000:02:10.0", "igbvf");
        let driver = machine.sysfs().path("bus/pci/drivers/igbvf");
        create_dir_all(&driver).unwrap();
        let unbind_file = driver.join("unbind");
        nix::unistd::mkfifo(&unbind_file, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create(dir.path().join(name)).unwrap();
        let (own, other) = (file("own"), file("other"));
        let [pci, beside] = ["0000:02:10.0", "0000:02:10.2"].map(|pci| pci.parse::<PciAddr>().unwrap());

        let host = Host { sysfs: machine.sysfs(), patience: Duration::from_millis(50), ..Host::default() };
        let host = host.with_lock(beside, other.as_fd()).with_lock(pci, own.as_fd());
        let error = unbind(&host, pci).unwrap_err();
        let Error::Stuck { pid, .. } = error else { panic!("{error}") };
        let has_open = |name: &str| {
            let open = read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
            open.flat_map(|fd| read_link(fd.path())).any(|path| path == dir.path().join(name))
        };
        // On a busy machine it is still closing what it was born with.
        crate::wait::until(|| "the other lock to be closed".into(), || Ok(!has_open("other"))).unwrap();
        assert!(has_open("own"));
        assert_eq!(read_to_string(unbind_file).unwrap(), pci.to_string());
    }
}
