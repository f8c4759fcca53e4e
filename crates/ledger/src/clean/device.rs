//! A VF of this machine.

use super::Device;
use crate::claims::VfLock;
use offramp_core::vf::{Claim, VfRef, VfState, differences};
use offramp_kernel::{Result as KernelResult, vf};
use std::os::fd::AsFd;

/// A VF that is locked. The lock is given back when this is dropped, unless a child that hangs has it too.
#[derive(Debug)]
pub struct KernelDevice {
    host: vf::Host<'static>,
    vf: VfRef,
    lock: VfLock,
}

impl KernelDevice {
    pub(super) fn new(host: vf::Host<'static>, claim: Claim, lock: VfLock) -> Self {
        Self { host, vf: claim.vf, lock }
    }

    fn with<T>(&self, work: impl FnOnce(&vf::Host<'_>) -> KernelResult<T>) -> Result<T, String> {
        work(&self.host.clone().with_lock(self.vf.pci, self.lock.as_fd())).map_err(|e| e.to_string())
    }
}

impl Device for KernelDevice {
    fn is_there(&mut self) -> bool {
        // What cannot be found out is taken for there: its claim must not go.
        let gone = self.host.driver(self.vf.pci);
        !matches!(gone, Err(offramp_kernel::Error::Missing { .. }))
    }

    fn holders(&mut self) -> Result<Vec<String>, String> {
        let holders = self.with(|host| vf::holders(host, self.vf.pci))?;
        Ok(holders.iter().map(ToString::to_string).collect())
    }

    fn unbind(&mut self) -> Result<(), String> {
        self.with(|host| vf::unbind(host, self.vf.pci))
    }

    fn reset(&mut self) -> Result<(), String> {
        self.with(|host| vf::reset(host, self.vf.pci))
    }

    fn restore(&mut self, before: &VfState) -> Result<(), String> {
        self.with(|host| vf::restore(host, &self.vf, before))
    }

    fn differences(&mut self, before: &VfState) -> Result<Vec<String>, String> {
        self.with(|host| vf::state(host, &self.vf)).map(|now| differences(before, &now))
    }
}
