//! Logs go to stderr, as text or as one JSON object a line.

use crate::config::{Log, LogFormat};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The API's client reports each request that fails once more, without what was tried.
const REPEATS_US: &str = "kube_client";

/// Starts logging for the whole process.
pub fn init(log: Log) {
    let level = LevelFilter::from_level(log.level);
    let debugs = log.level > tracing::Level::INFO;
    let repeated = if debugs { level } else { LevelFilter::OFF };
    let targets = Targets::new().with_default(level).with_target(REPEATS_US, repeated);
    let builder =
        tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(debugs);
    match log.format {
        LogFormat::Text => builder.with_ansi(false).finish().with(targets).init(),
        LogFormat::Json => builder.json().flatten_event(true).finish().with(targets).init(),
    }
}
