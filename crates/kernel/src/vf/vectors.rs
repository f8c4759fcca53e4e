//! A VF's interrupts (MSI-X vectors), where its PF's driver shares some out among VFs
//! (`sriov_vf_msix_count`, Documentation/ABI/testing/sysfs-bus-pci). Each channel needs one.

use super::{Host, driver, mac};
use crate::{Error, Result};
use offramp_core::vf::VfRef;

/// How many a VF has; none: its PF's driver shares none out, or it has no MSI-X.
pub fn vectors(host: &Host<'_>, vf: &VfRef) -> Result<Option<u32>> {
    let device = host.device(vf.pci)?;
    let total = device.other("physfn").and_then(|pf| pf.number::<u32>("sriov_vf_total_msix"));
    if total.is_none_or(|total| total == 0) {
        return Ok(None);
    }
    let config = std::fs::read(device.path("config"));
    let config = config.map_err(|e| Error::io(format!("read the PCI configuration of {vf}"), &e))?;
    table_size(&config).map_err(|why| Error::Unfit { what: format!("the PCI configuration of {vf}"), why })
}

/// Has a VF's port give it so many. That is possible only without a driver: the VF's is unbound meanwhile, and its netdev is
/// another one afterwards, in any case.
///
/// # Errors
/// Why not, in the words of the PF's driver. One whose driver hangs over it is [`Error::Stuck`]: it has no driver then.
pub fn set_vectors(host: &Host<'_>, vf: &VfRef, count: u32) -> Result<()> {
    let missing = || Error::Missing { what: format!("the driver of {vf}") };
    let driver = host.driver(vf.pci)?.ok_or_else(missing)?;
    driver::unbind(host, vf.pci)?;
    crate::crash::point("vf.without-driver");
    let set = share(host, vf, count);
    if matches!(set, Err(Error::Stuck { .. })) {
        return set;
    }
    let bound = driver::bind(host, vf.pci, &driver).and_then(|()| mac::netdev_of_bound(host, vf.pci));
    match (set, bound) {
        (Err(set), Err(bound)) => Err(Error::Unfit { what: set.to_string(), why: format!("then {bound}") }),
        (set, bound) => set.and(bound.map(drop)),
    }
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
/// 6.8.2). The error is why that cannot be told: a device that does not answer reads as ones. That its first bytes are
/// ones says nothing: VFs have no vendor there (Single Root I/O Virtualization and Sharing 1.1, 3.4.1.1).
fn table_size(config: &[u8]) -> std::result::Result<Option<u32>, String> {
    const FIRST: usize = 0x34;
    const HEADER: usize = 0x40;
    const MSI_X: u8 = 0x11;
    /// Each has four bytes at least, all within the first 256.
    const MOST: usize = 48;
    let header = config.get(..HEADER).ok_or_else(|| format!("it ends after {} bytes", config.len()))?;
    if header.iter().all(|byte| *byte == 0xff) {
        return Err("the device does not answer".into());
    }
    // The lowest two bits are reserved.
    let next = |pointer: u8| usize::from(pointer & !3);
    let mut at = next(header[FIRST]);
    for _ in 0..MOST {
        if at == 0 {
            return Ok(None);
        }
        let capability = config.get(at..at + 4).filter(|_| at >= HEADER);
        let capability = capability.ok_or_else(|| format!("it has no capability at {at:#x}"))?;
        if capability[0] == MSI_X {
            let control = u16::from_le_bytes([capability[2], capability[3]]);
            return Ok(Some(u32::from(control & 0x7ff) + 1));
        }
        at = next(capability[1]);
    }
    Err("its list of capabilities has no end".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::fixture::Machine;
    use offramp_core::nic::PortKey;
    use std::fs::{create_dir_all, read_to_string, remove_file, write};
    use std::time::Duration;

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
        assert_eq!(table_size(&config(3)), Ok(Some(3)));
        assert_eq!(table_size(&config(2048)), Ok(Some(2048)));
        let mut without = config(3);
        without[0x70] = 0x05;
        assert_eq!(table_size(&without), Ok(None), "it has other capabilities only");
        without[0x34] = 0;
        assert_eq!(table_size(&without), Ok(None), "it has none");
        let mut of_vf = config(3);
        of_vf[..4].fill(0xff);
        assert_eq!(table_size(&of_vf), Ok(Some(3)), "VFs have no vendor there");
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_none() {
        let why = |config: &[u8]| table_size(config).unwrap_err();
        let mut round = config(3);
        round[0x70] = 0x05;
        round[0x71] = 0xa0;
        assert_eq!(why(&round), "its list of capabilities has no end");
        assert_eq!(why(&[0xff; 256]), "the device does not answer");
        // It is gone meanwhile.
        let mut half = config(3);
        half[0x70..].fill(0xff);
        assert_eq!(why(&half), "its list of capabilities has no end");
        for len in 0..0x74 {
            why(&config(3)[..len]);
        }
    }

    fn vf() -> VfRef {
        VfRef {
            pci: "0000:02:10.0".parse().unwrap(),
            port: PortKey { device: "0000:01:00.0".into(), port: 0 },
            pf: "ens1f0".parse().unwrap(),
            index: 0,
        }
    }

    #[test]
    fn a_vf_without_a_driver_gets_what_its_port_shares_out() {
        let machine = Machine::new();
        let pf = machine.pf("0000:01:00.0");
        let device = machine.vf(&pf, 0, "0000:02:10.0", "");
        let host = Host { sysfs: machine.sysfs(), ..Host::default() };
        let vf = vf();
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
        write(device.path.join("config"), [0xff; 256]).unwrap();
        let e = restore_vectors(&host, &vf, Some(3)).unwrap_err().to_string();
        assert_eq!(
            e, "the PCI configuration of VF 0 of ens1f0 (0000:02:10.0): the device does not answer",
            "what it has is not known: it is not as it was"
        );
    }

    /// Nothing unbinds here: a driver that is written to does nothing, and cannot be bound.
    #[test]
    fn a_driver_is_bound_again_unless_the_port_s_hangs_and_the_port_s_reason_is_told() {
        let machine = Machine::new();
        let pf = machine.pf("0000:01:00.0");
        pf.set("sriov_vf_total_msix", "64");
        let device = machine.vf(&pf, 0, "0000:02:10.0", "igbvf");
        write(device.path.join("config"), config(3)).unwrap();
        let driver = machine.sysfs().path("bus/pci/drivers/igbvf");
        create_dir_all(&driver).unwrap();
        write(driver.join("unbind"), "").unwrap();
        device.set("sriov_vf_msix_count", "");
        let patience = Duration::from_millis(50);
        let host = Host { sysfs: machine.sysfs(), patience, ..Host::default() };

        let both = set_vectors(&host, &vf(), 5).unwrap_err().to_string();
        let (port, then) =
            ("give VF 0 of ens1f0 (0000:02:10.0) 5 MSI-X vectors: it has 3", "then bind 0000:02:10.0");
        assert!(both.starts_with(port) && both.contains(then), "{both}");

        // Without a reader it blocks its writer.
        let count = device.path.join("sriov_vf_msix_count");
        remove_file(&count).unwrap();
        nix::unistd::mkfifo(&count, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let stuck = set_vectors(&host, &vf(), 5).unwrap_err();
        assert!(matches!(stuck, Error::Stuck { .. }), "{stuck}");
        read_to_string(count).unwrap(); // its writer ends
    }
}
