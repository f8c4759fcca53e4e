//! Logs go to stderr, as text or as one JSON object a line.

use crate::config::{Log, LogFormat};
use tracing::level_filters::LevelFilter;

/// Starts logging for the whole process.
pub fn init(log: Log) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from_level(log.level))
        .with_writer(std::io::stderr)
        .with_target(log.level > tracing::Level::INFO);
    match log.format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
