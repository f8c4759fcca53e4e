//! The overlay with real traffic. Run below `hack/lab`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod lab;
mod monitor;
mod paths;
mod repair;
mod scale;
