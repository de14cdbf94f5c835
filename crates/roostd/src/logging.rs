//! Logs: lines for people, or JSON for machines, on standard error.

use std::io::IsTerminal;

use roost_config::{Log, LogFormat, LogLevel};
use tracing_subscriber::filter::LevelFilter;

/// Installs the process's subscriber. Logs go to standard error: standard output is for what a
/// command prints.
pub(crate) fn init(log: &Log) {
    let level = match log.level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
