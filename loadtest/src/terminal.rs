//! The one place that writes to standard output and standard error.
//!
//! A reader that has gone (`roost-load … | head -1`) is a quiet end: the run goes on, and what it
//! found is written to its files. Results that are lost for another cause, such as a full disk, are
//! a failure. Nothing here panics, which `print!` and `eprintln!` do.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use clap::Parser;

/// The command line; `--help`, `--version` and mistakes end the process here.
pub fn parse_command_line<C: Parser>() -> C {
    C::try_parse().unwrap_or_else(|answer| {
        let printed = answer.print().and_then(|()| io::stdout().flush());
        match printed {
            Err(error) if !answer.use_stderr() && error.kind() != ErrorKind::BrokenPipe => {
                say(&format!("roost-load: {}", lost(&error)));
                std::process::exit(1);
            }
            _ => std::process::exit(answer.exit_code()),
        }
    })
}

/// Writes results to standard output.
///
/// # Errors
/// A sentence for people, when they are lost.
pub fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(lost(&error)),
        _ => Ok(()),
    }
}

/// Writes a line to standard error. When that fails it cannot be reported.
pub fn say(line: &str) {
    let _ = io::stderr()
        .lock()
        .write_all(format!("{line}\n").as_bytes());
}

/// Says why there is no result, or why it is lost.
pub fn fail(message: &str, code: u8) -> ExitCode {
    say(&format!("roost-load: {message}"));
    ExitCode::from(code)
}

fn lost(why: &io::Error) -> String {
    format!("the results are lost: standard output: {why}")
}
