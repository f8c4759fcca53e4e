//! Token buckets on the host end.

use crate::Result;
use crate::executor::Executor;
use offramp_core::step::Shape;

pub(crate) fn apply(_executor: &mut Executor, _shape: &Shape) -> Result<()> {
    Ok(())
}
