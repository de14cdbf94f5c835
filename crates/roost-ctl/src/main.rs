//! `roostctl`: see the library.

#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

fn main() -> ExitCode {
    roost_ctl::run()
}
