//! `roostctl`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    roost_ctl::run()
}
