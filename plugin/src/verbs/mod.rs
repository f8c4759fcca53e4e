//! One file a verb.

pub mod add;
pub mod check;
pub mod del;
pub mod gc;
pub mod status;
pub mod version;

use offramp_core::cni::{CniError, Verb, Version};

/// Error 1 for a verb that the configuration's version does not have yet.
fn since(verb: Verb, first: Version, version: Version) -> Result<(), CniError> {
    if version >= first {
        return Ok(());
    }
    let verb = verb.as_str();
    Err(CniError::version(format!("{verb} exists since CNI {first}, the configuration is of {version}")))
}
