//! The parts of cleaning, in the one order that neither hangs the kernel nor leaks a setting.

use offramp_core::vf::VfState;
use offramp_kernel::crash;

/// A VF, as far as cleaning has to do with it. Errors say what was tried, on what, and why it failed.
pub trait Device {
    /// Whether the VF is there at all: it goes when its PF's driver is unbound, or the number of VFs changes.
    fn is_there(&mut self) -> bool;
    /// Who has it open for userspace: `qemu (pid 4711)`.
    fn holders(&mut self) -> Result<Vec<String>, String>;
    /// Takes its driver away; with that its netdev is gone, in whichever namespace.
    fn unbind(&mut self) -> Result<(), String>;
    /// Resets the function. Never with a driver bound: the kernel may hang for ever.
    fn reset(&mut self) -> Result<(), String>;
    /// Puts back what its PF has set, gives it its driver back, and puts back what is its netdev's own.
    fn restore(&mut self, before: &VfState) -> Result<(), String>;
    /// Reads everything anew, and says what is not as before.
    fn differences(&mut self, before: &VfState) -> Result<Vec<String>, String>;
}

/// What cleaning came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    /// The VF is as it was.
    Clean,
    /// There is no such VF any more.
    Gone,
}

/// Cleans, or says why the VF is not clean.
pub fn clean(device: &mut impl Device, before: &VfState) -> Result<Ran, String> {
    match parts(device, before) {
        // Whatever failed of a VF that has gone meanwhile.
        Err(_) if !device.is_there() => Ok(Ran::Gone),
        other => other,
    }
}

fn parts(device: &mut impl Device, before: &VfState) -> Result<Ran, String> {
    if !device.is_there() {
        return Ok(Ran::Gone);
    }
    // Before anything that would wait in the kernel until they are gone.
    let holders = device.holders()?;
    if !holders.is_empty() {
        return Err(format!("it is held open by {}", holders.join(", ")));
    }
    device.unbind()?;
    crash::point("clean.unbound");
    device.reset()?;
    crash::point("clean.reset");
    device.restore(before)?;
    crash::point("clean.restored");
    let differences = device.differences(before)?;
    if differences.is_empty() {
        Ok(Ran::Clean)
    } else {
        Err(format!("not as before: {}", differences.join(", ")))
    }
}
