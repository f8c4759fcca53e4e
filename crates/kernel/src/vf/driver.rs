//! A VF's driver and its reset. All of these may hang in the kernel.

use super::{Host, holders};
use crate::{Error, Result, stubborn};
use nix::errno::Errno;
use offramp_core::nic::PciAddr;
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
    match host.write(&what, &host.device(pci)?.path("driver/unbind"), &pci.to_string()) {
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
    let bound = match host.write(&what, &file, &pci.to_string()) {
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
    if file.exists() { host.write(&what, &file, "1") } else { Ok(()) }
}

impl Host<'_> {
    /// A write that may hang.
    fn write(&self, what: &str, file: &Path, value: &str) -> Result<()> {
        match stubborn::write(file, value, self.patience, &self.locks) {
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
