//! A VF's interrupts (MSI-X vectors), where its PF's driver shares some out among VFs
//! (`sriov_vf_msix_count`, Documentation/ABI/testing/sysfs-bus-pci). Each channel needs one.

use super::{Host, driver, mac};
use crate::{Error, Result};
use offramp_core::vf::VfRef;

/// How many a VF has; none: its PF's driver shares none out.
pub fn vectors(host: &Host<'_>, vf: &VfRef) -> Result<Option<u32>> {
    let device = host.device(vf.pci)?;
    let total = device.other("physfn").and_then(|pf| pf.number::<u32>("sriov_vf_total_msix"));
    if total.is_none_or(|total| total == 0) {
        return Ok(None);
    }
    let config = std::fs::read(device.path("config"));
    let config = config.map_err(|e| Error::io(format!("read the PCI configuration of {vf}"), &e))?;
    Ok(table_size(&config))
}

/// Has a VF's port give it so many. That is possible only without a driver: the VF's is unbound meanwhile, and its netdev is
/// another one afterwards, in any case.
///
/// # Errors
/// Why not, in the words of the PF's driver.
pub fn set_vectors(host: &Host<'_>, vf: &VfRef, count: u32) -> Result<()> {
    let missing = || Error::Missing { what: format!("the driver of {vf}") };
    let driver = host.driver(vf.pci)?.ok_or_else(missing)?;
    driver::unbind(host, vf.pci)?;
    crate::crash::point("vf.without-driver");
    let set = share(host, vf, count);
    driver::bind(host, vf.pci, &driver)?;
    mac::netdev_of_bound(host, vf.pci)?;
    set
}

/// Puts back what a VF had, if its PF's driver still shares any out.
pub(super) fn restore_vectors(host: &Host<'_>, vf: &VfRef, before: Option<u32>) -> Result<()> {
    let Some((count, now)) = before.zip(vectors(host, vf)?) else { return Ok(()) };
    if now == count {
        return Ok(());
    }
    driver::unbind(host, vf.pci)?;
    share(host, vf, count)
}

/// Of a VF without a driver.
fn share(host: &Host<'_>, vf: &VfRef, count: u32) -> Result<()> {
    let what = format!("give {vf} {count} MSI-X vectors");
    let file = host.device(vf.pci)?.path("sriov_vf_msix_count");
    host.write(vf.pci, &what, &file, &count.to_string())?;
    match vectors(host, vf)? {
        Some(now) if now != count => Err(Error::Unfit { what, why: format!("it has {now}") }),
        _ => Ok(()),
    }
}

/// The size of the table in a function's MSI-X capability; none: it has no MSI-X (PCI Local Bus Specification 3.0, 6.7 and
/// 6.8.2).
fn table_size(config: &[u8]) -> Option<u32> {
    const FIRST: usize = 0x34;
    const MSI_X: u8 = 0x11;
    /// Each has four bytes at least, all within the first 256.
    const MOST: usize = 48;
    let mut at = usize::from(*config.get(FIRST)?);
    for _ in 0..MOST {
        let capability = config.get(at..at + 4).filter(|_| at >= 0x40)?;
        if capability[0] == MSI_X {
            let control = u16::from_le_bytes([capability[2], capability[3]]);
            return Some(u32::from(control & 0x7ff) + 1);
        }
        at = usize::from(capability[1]);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::fixture::Machine;
    use offramp_core::nic::PortKey;
    use std::fs::{read_to_string, write};

    /// As a VF of an 82576 has it: MSI-X at 0x70, PCI Express at 0xa0.
    fn config(vectors: u16) -> Vec<u8> {
        let mut config = vec![0; 256];
        config[0x34] = 0xa0;
        config[0xa0..0xa4].copy_from_slice(&[0x10, 0x70, 0x02, 0x00]);
        let [low, high] = (0x8000 | (vectors - 1)).to_le_bytes();
        config[0x70..0x74].copy_from_slice(&[0x11, 0x00, low, high]);
        config
    }

    #[test]
    fn the_size_of_the_table_is_read_whatever_is_there() {
        assert_eq!(table_size(&config(3)), Some(3));
        assert_eq!(table_size(&config(2048)), Some(2048));
        let mut round = config(3);
        round[0x70] = 0x05;
        round[0x71] = 0xa0;
        assert_eq!(table_size(&round), None, "a list without an end");
        for len in 0..0x74 {
            table_size(&config(3)[..len]);
        }
        assert_eq!(table_size(&[0xff; 256]), None);
    }

    #[test]
    fn a_vf_without_a_driver_gets_what_its_port_shares_out() {
        let machine = Machine::new();
        let pf = machine.pf("0000:01:00.0");
        let device = machine.vf(&pf, 0, "0000:02:10.0", "");
        let host = Host { sysfs: machine.sysfs(), ..Host::default() };
        let vf = VfRef {
            pci: "0000:02:10.0".parse().unwrap(),
            port: PortKey { device: "0000:01:00.0".into(), port: 0 },
            pf: "ens1f0".parse().unwrap(),
            index: 0,
        };
        let given = || read_to_string(device.path.join("sriov_vf_msix_count")).unwrap();
        write(device.path.join("config"), config(3)).unwrap();
        device.set("sriov_vf_msix_count", "");
        for total in [None, Some("0")] {
            total.iter().for_each(|total| pf.set("sriov_vf_total_msix", total));
            assert_eq!(vectors(&host, &vf).unwrap(), None);
            restore_vectors(&host, &vf, Some(5)).unwrap();
            assert_eq!(given(), "\n", "who shares none out is not asked");
        }
        pf.set("sriov_vf_total_msix", "64");
        assert_eq!(vectors(&host, &vf).unwrap(), Some(3));
        restore_vectors(&host, &vf, None).unwrap();
        restore_vectors(&host, &vf, Some(3)).unwrap();
        assert_eq!(given(), "\n", "it has them");
        // Nobody does here what is asked for.
        let e = restore_vectors(&host, &vf, Some(5)).unwrap_err().to_string();
        assert_eq!(
            (e.as_str(), given().trim()),
            ("give VF 0 of ens1f0 (0000:02:10.0) 5 MSI-X vectors: it has 3", "5")
        );
        assert!(set_vectors(&host, &vf, 5).unwrap_err().to_string().contains("the driver of VF 0"));
    }
}
