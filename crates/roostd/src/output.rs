//! The one place that writes to standard output and, beside the log, to standard error.
//!
//! A reader that has gone (`roostd print-config | head -1`) is a quiet end. Results that are lost
//! for another cause, such as a full disk, are a failure. Nothing here panics, which `print!` and
//! `eprintln!` do.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::Parser;

/// The command line; `--help`, `--version` and mistakes end the process here.
pub(crate) fn parse_command_line<C: Parser>() -> C {
    C::try_parse().unwrap_or_else(|answer| {
        let printed = answer.print().and_then(|()| io::stdout().flush());
        match printed {
            Err(error) if !answer.use_stderr() && error.kind() != ErrorKind::BrokenPipe => {
                lost(&error);
                std::process::exit(1);
            }
            _ => std::process::exit(answer.exit_code()),
        }
    })
}

/// Writes a command's result to standard output.
pub(crate) fn result(text: &str) -> ExitCode {
    match write(io::stdout().lock(), text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            lost(&error);
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard error. When that fails it cannot be reported.
pub(crate) fn error(text: &str) {
    let _ = write(io::stderr().lock(), text);
}

/// Writes to standard output, but waits no longer than this for a reader that does not read. The
/// thread that is left behind then ends with the process.
pub(crate) fn within(wait: Duration, text: String) {
    let (written, ended) = mpsc::channel();
    let started = thread::Builder::new()
        .name("start-block".to_owned())
        .spawn(move || {
            // A closed standard output is no reason to stop serving.
            let _ = write(io::stdout().lock(), &text);
            let _ = written.send(());
        });
    if started.is_ok() {
        let _ = ended.recv_timeout(wait);
    }
}

fn write(mut out: impl Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn lost(why: &io::Error) {
    error(&format!("roostd: standard output: {why}\n"));
}
