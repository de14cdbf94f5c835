//! What becomes of a run whose standard streams fail: a reader that has gone is a quiet end, lost
//! results are a failure.

use std::fs::File;
use std::io;
use std::process::{Command, Output, Stdio};

use roost_net::epoll::{EpollDriver, EpollOptions};
use roost_net::process::end_with_parent;
use roost_reactor::{Server, Settings};

fn gone() -> Stdio {
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    let full = File::options().write(true).open("/dev/full");
    full.expect("Linux has it").into()
}

/// A short run against a server in this process.
fn run(stdout: Stdio, stderr: Stdio) -> Output {
    let make = || EpollDriver::new(&EpollOptions::default());
    let server = Server::start(Settings::for_tests(), 1, make).expect("a free port");
    let url = format!("ws://{}", server.address());
    let mut command = Command::new(env!("CARGO_BIN_EXE_roost-load"));
    command.args([
        "idle",
        "-n",
        "20",
        "--hold",
        "0s",
        "--memory-wait",
        "0s",
        &url,
    ]);
    command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    let output = end_with_parent(&mut command)
        .spawn()
        .expect("it starts")
        .wait_with_output();
    server.begin_stop(0);
    output.expect("it ends")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_reader_that_has_gone_is_a_quiet_end() {
    let output = run(gone(), Stdio::piped());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(!said(&output).contains("panicked"), "{}", said(&output));
    for lost in [gone, full] {
        let output = run(Stdio::piped(), lost());
        assert_eq!(output.status.code(), Some(0));
        let table = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            table.contains("no connection and no message was lost"),
            "{table}"
        );
    }
}

#[test]
fn lost_results_are_a_failure() {
    let output = run(full(), Stdio::piped());
    let said = said(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("the results are lost"), "{said}");
    assert!(said.contains("No space left"), "{said}");
}
