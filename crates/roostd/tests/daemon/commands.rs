//! Commands that print and end: a reader that has gone is a quiet end, lost results are a failure.

use std::fs::File;
use std::io;
use std::process::{Command, Stdio};

use crate::daemon::{ROOSTD, dying_with_us, run};

const BAD_FILE: &str = "/nonexistent/roost.toml";

fn roostd(args: &[&str]) -> Command {
    let mut command = dying_with_us();
    command.arg(ROOSTD).args(args);
    command
}

fn good_file() -> String {
    format!("{}/../../config/roost.toml", env!("CARGO_MANIFEST_DIR"))
}

/// Writes to a pipe without a reader.
fn gone() -> Stdio {
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    let full = File::options().write(true).open("/dev/full");
    full.expect("Linux has it").into()
}

#[test]
fn a_reader_that_has_gone_is_a_quiet_end() {
    let good = good_file();
    for args in [
        &["print-config"][..],
        &["check-config", &good],
        &["--help"],
        &["--version"],
        &["print-config", "--help"],
    ] {
        let mut command = roostd(args);
        command
            .stdin(Stdio::null())
            .stdout(gone())
            .stderr(Stdio::piped());
        let output = command.spawn().expect("it starts").wait_with_output();
        let output = output.expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
    }
}

#[test]
fn lost_results_are_a_failure() {
    let good = good_file();
    for args in [
        &["print-config"][..],
        &["check-config", &good],
        &["--help"],
        &["--version"],
    ] {
        let mut command = roostd(args);
        command
            .stdin(Stdio::null())
            .stdout(full())
            .stderr(Stdio::piped());
        let output = command.spawn().expect("it starts").wait_with_output();
        let output = output.expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("No space left"), "{args:?}: {said}");
        assert!(!said.contains("panicked"), "{args:?}: {said}");
    }
}

#[test]
fn an_error_that_cannot_be_printed_keeps_its_status() {
    let address = "127.0.0.1:0";
    for (args, status) in [
        (&["check-config", BAD_FILE][..], 1),
        (&["run", "--config", BAD_FILE], 1),
        (&["run", "--listen", "nowhere"], 1),
        (&["--no-such-option"], 2),
        (&["run", "--listen", address, "--driver", "none"], 1),
    ] {
        for lost in [gone, full] {
            let mut command = roostd(args);
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(lost());
            let ended = command.status().expect("it ends");
            assert_eq!(ended.code(), Some(status), "{args:?}");
        }
        let ended = run(roostd(args));
        assert!(!ended.stderr.is_empty(), "{args:?}: says nothing");
    }
}
