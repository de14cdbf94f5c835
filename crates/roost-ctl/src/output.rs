//! The one place that writes to standard output and standard error.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use clap::Parser;

/// The command line; `--help`, `--version` and mistakes end the process here.
pub(crate) fn parse_command_line<C: Parser>() -> C {
    C::try_parse().unwrap_or_else(|answer| {
        let _ = answer.print(); // what cannot be printed cannot be reported either
        std::process::exit(answer.exit_code())
    })
}

/// Writes to standard output. A reader that has gone (`| head -1`) is a quiet end of the process.
pub(crate) fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.map_err(|error| format!("standard output: {error}")),
    }
}

/// Writes to standard error, beside what is printed.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}"); // when that fails it cannot be reported
}

/// Says why nothing was printed.
pub(crate) fn fail(error: &str) -> ExitCode {
    note(&format!("roostctl: {error}"));
    ExitCode::FAILURE
}
