//! PCI addresses.

use crate::ids::Invalid;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The address of a PCI function, `0000:02:10.3`. Its order is that of the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PciAddr {
    /// 16 bits on most machines, 32 behind a VMD controller (drivers/pci/controller/vmd.c).
    domain: u32,
    bus: u8,
    /// 5 bits.
    device: u8,
    /// 3 bits.
    function: u8,
}

impl FromStr for PciAddr {
    type Err = Invalid;
    /// The form of sysfs, with the domain.
    fn from_str(s: &str) -> Result<Self, Invalid> {
        let wrong = || Invalid::new("PCI address", s, "it has the form 0000:02:10.3");
        let hex = |part: &str, digits: std::ops::RangeInclusive<usize>| {
            let fits = digits.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_hexdigit());
            u32::from_str_radix(part, 16).ok().filter(|_| fits).ok_or_else(wrong)
        };
        let (rest, function) = s.split_once('.').ok_or_else(wrong)?;
        let mut parts = rest.split(':');
        let mut next = || parts.next().ok_or_else(wrong);
        let (domain, bus, device) = (hex(next()?, 4..=8)?, hex(next()?, 2..=2)?, hex(next()?, 2..=2)?);
        let function = hex(function, 1..=1)?;
        if parts.next().is_some() || device > 0x1f || function > 7 {
            return Err(wrong());
        }
        Ok(Self { domain, bus: bus as u8, device: device as u8, function: function as u8 })
    }
}

impl TryFrom<String> for PciAddr {
    type Error = Invalid;
    fn try_from(s: String) -> Result<Self, Invalid> {
        s.parse()
    }
}

impl From<PciAddr> for String {
    fn from(pci: PciAddr) -> String {
        pci.to_string()
    }
}

impl fmt::Display for PciAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{:x}", self.domain, self.bus, self.device, self.function)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_form_of_sysfs_is_an_address() {
        for good in ["0000:02:10.3", "10000:e1:00.0", "ffff:ff:1f.7"] {
            assert_eq!(good.parse::<PciAddr>().unwrap().to_string(), good);
        }
        assert_eq!("0000:AB:10.0".parse::<PciAddr>().unwrap().to_string(), "0000:ab:10.0");
        for bad in [
            "02:10.3",
            "0000:02:20.0",
            "0000:02:10.8",
            "0000:02:10",
            "../0000:02:10.3",
            "0000:02:10.3/x",
            "0000:+2:10.3",
        ] {
            assert!(bad.parse::<PciAddr>().is_err(), "{bad}");
        }
    }
}
