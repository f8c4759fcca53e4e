//! Address ranges and the choice of the next address. Pure: who holds what is passed in.

mod pick;
mod range;

pub use pick::{PickError, pick, pick_all};
pub use range::{Range, RangeError, check_disjoint};
