//! The pure part of Offramp.
