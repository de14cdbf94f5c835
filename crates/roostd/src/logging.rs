//! Logs: lines for people, or JSON for machines, on standard error.
//!
//! A thread that logs never waits: a line goes into a queue ([`queue`]), and one thread writes. What the
//! queue cannot take, or the thread cannot write, is lost and counted. A queue of our own and not
//! `tracing-appender`: that one has no bound in bytes, does not say how many lines were lost, and
//! waits for its reader when the process ends.

mod queue;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::time::Duration;
use std::{panic, thread};

use roost_config::{Log, LogFormat, LogLevel};
use serde_json::{Value, json};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

use queue::LogQueue;

/// The process's log, once there is one.
static LOG: OnceLock<&'static LogQueue> = OnceLock::new();
/// Its level, to change it by.
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// Installs the process's log. Logs go to standard error: standard output is for what a command
/// prints.
///
/// # Errors
/// What the system says when the thread that writes cannot be started.
pub(crate) fn init(log: &Log) -> io::Result<()> {
    let format = log.format;
    let queue: &'static LogQueue = Box::leak(Box::new(LogQueue::new(QUEUE_BYTES_MAX)));
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || queue.write_to(io::stderr(), |lost| lost_line(format, lost)))?;
    LOG.get_or_init(|| queue);
    let (filter, handle) = reload::Layer::new(filter_of(log.level));
    LEVEL.get_or_init(|| handle);
    let lines = tracing_subscriber::fmt::layer()
        // It would print them with `eprintln!`, which panics when standard error is closed.
        .log_internal_errors(false)
        .with_writer(Queued);
    let filtered = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => filtered
            .with(lines.with_ansi(io::stderr().is_terminal()))
            .init(),
        LogFormat::Json => filtered.with(lines.json().flatten_event(true)).init(),
    }
    panic::set_hook(Box::new(move |what| {
        let trace = Backtrace::capture();
        let trace = match trace.status() {
            BacktraceStatus::Captured => format!("\n{trace}"),
            _ => String::new(),
        };
        error_line(format, &format!("{what}{trace}"));
        if let Some(queue) = LOG.get() {
            queue.flush(PANIC_WAIT);
        }
    }));
    Ok(())
}

/// Lines of this level and above it are logged from now on. Returns the name of the level before. Threads
/// that log meanwhile wait for no more than an assignment.
///
/// # Errors
/// A sentence, if there is no such level or no log.
pub(crate) fn set_level(name: &str) -> Result<String, String> {
    let found = LEVELS.iter().find(|(known, _)| *known == name);
    let &(_, level) = found.ok_or_else(|| {
        let names: Vec<&str> = LEVELS.iter().map(|(name, _)| *name).collect();
        format!("\"{name}\" is no level of the log: {}", names.join(", "))
    })?;
    let handle = LEVEL.get().ok_or("there is no log yet")?;
    let mut before = String::new();
    let changed = handle.modify(|filter| {
        before = filter.to_string();
        *filter = filter_of(level);
    });
    changed.map_err(|error| format!("the log takes no other level: {error}"))?;
    Ok(before)
}

/// The level of the configuration is another from now on.
pub(crate) fn set_configured(level: LogLevel) {
    if let Some(handle) = LEVEL.get() {
        let _ = handle.modify(|filter| *filter = filter_of(level)); // the log has ended: nothing is logged
    }
}

fn filter_of(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// By the names that the configuration has.
const LEVELS: [(&str, LogLevel); 6] = [
    ("off", LogLevel::Off),
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];

/// Says why the daemon does not start or has ended, whatever the level.
pub(crate) fn error_line(format: LogFormat, message: &str) {
    let line = match format {
        LogFormat::Text => format!("roostd: {message}\n"),
        LogFormat::Json => json_line("ERROR", message, &[]),
    };
    match LOG.get() {
        Some(queue) => queue.push(line.as_bytes()),
        None => crate::output::error(&line),
    }
}

/// One JSON object as the subscriber writes it, and a newline.
pub(crate) fn json_line(level: &str, message: &str, fields: &[(&str, Value)]) -> String {
    let mut object = json!({"timestamp": timestamp(), "level": level, "message": message});
    for (name, value) in fields {
        object[*name] = value.clone();
    }
    format!("{object}\n")
}

/// Waits until what was logged has been written, but no longer than this.
pub(crate) fn finish(wait: Duration) {
    if let Some(queue) = LOG.get() {
        queue.finish(wait);
    }
}

fn lost_line(format: LogFormat, lost: u64) -> String {
    let message = "log lines were lost: the log's reader is slow, gone, or its disk is full";
    match format {
        LogFormat::Text => format!("{} WARN roostd::logging: {lost} {message}\n", timestamp()),
        LogFormat::Json => json_line(
            "WARN",
            &format!("{lost} {message}"),
            &[("lost", json!(lost))],
        ),
    }
}

fn timestamp() -> String {
    let mut text = String::new();
    // Writing to a String cannot fail; a clock before 1970 leaves it empty.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

/// Where the subscriber writes its lines.
struct Queued;

impl MakeWriter<'_> for Queued {
    type Writer = Queued;

    fn make_writer(&self) -> Queued {
        Queued
    }
}

impl Write for Queued {
    /// The subscriber writes a whole line at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(queue) = LOG.get() {
            queue.push(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes of lines that may wait; as many are with the thread that writes. About 8,000 lines: what a
/// thousand clients that come and go at once make at level debug.
pub(crate) const QUEUE_BYTES_MAX: usize = 1 << 20;
/// How long a panic waits for its line to be written.
const PANIC_WAIT: Duration = Duration::from_millis(500);
