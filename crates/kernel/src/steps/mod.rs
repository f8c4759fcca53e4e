//! One file a step, or a few of one object.

pub(crate) mod announce;
pub(crate) mod bridge;
pub(crate) mod carrier;
pub(crate) mod host_route;
pub(crate) mod lease;
pub(crate) mod pair;
pub(crate) mod pod;
pub(crate) mod port;
pub(crate) mod representor;
pub(crate) mod routed;
pub(crate) mod shape;
pub(crate) mod steer;
pub(crate) mod vf;

use crate::executor::{Executor, Pod};
use crate::{Error, Result};

impl<'a> Executor<'a> {
    /// The pod's side; a step within the pod without it is a fault of the caller.
    pub(crate) fn pod(&mut self, step: &str) -> Result<&mut Pod<'a>> {
        self.pod.as_mut().ok_or_else(|| Error::Missing { what: format!("{step}: the pod's netns") })
    }
}
