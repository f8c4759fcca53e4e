//! What a network's plugins are told of its device, and tell.

use offramp_core::cni::CniError;
use offramp_core::networks::{Delegation, DeviceInfo};
use offramp_ledger::device_info;

/// Before its first plugin is started: they find what the device plugin says.
pub fn begin(network: &Delegation) -> Result<(), CniError> {
    match &network.device {
        Some(DeviceInfo { source, file: Some(file), .. }) => Ok(device_info::copy(source, file)?),
        _ => Ok(()),
    }
}

/// After its last plugin: what is to be told of it.
pub fn settle(network: &mut Delegation) {
    if let Some(info) = &mut network.device {
        info.told = device_info::read(info.file.as_ref().unwrap_or(&info.source));
    }
}

/// It is detached.
pub fn end(network: &Delegation) -> Result<(), CniError> {
    match &network.device {
        Some(DeviceInfo { file: Some(file), .. }) => Ok(device_info::remove(file)?),
        _ => Ok(()),
    }
}
