//! A run that is told to end writes down what it has, and says that it is not all.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use roost_load::output::Document;
use roost_net::process::end_with_parent;

/// A process of ours, ended with the test, also when the test is killed.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A floor that sends every message to all, and its address.
fn floor() -> (Running, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roost-load"));
    command.arg("floor").stdout(Stdio::piped());
    let mut child = end_with_parent(&mut command).spawn().expect("it starts");
    let out = child.stdout.take().expect("it is piped");
    let child = Running(child);
    let mut address = String::new();
    let read = BufReader::new(out).read_line(&mut address);
    read.expect("it says its address");
    (child, address.trim().to_owned())
}

/// Runs `arguments` against a floor, ends the run by `signal` once it has come to `phase`, and
/// returns its exit status and its file.
fn interrupted(signal: &str, phase: &str, arguments: &[&str]) -> (Option<i32>, Document) {
    let (_floor, address) = floor();
    let name = format!("roost-load-interrupt-{}-{signal}.json", std::process::id());
    let json: PathBuf = std::env::temp_dir().join(name);
    let mut command = Command::new(env!("CARGO_BIN_EXE_roost-load"));
    command
        .args(arguments)
        .arg(format!("ws://{address}"))
        .args(["--memory-wait", "0s", "--json"])
        .arg(&json)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let child = end_with_parent(&mut command).spawn().expect("it starts");
    let mut child = Running(child);
    let said = BufReader::new(child.0.stderr.take().expect("it is piped"));
    let mut lines = said.lines().map_while(Result::ok);
    assert!(lines.any(|line| line == format!("… {phase}")));
    thread::sleep(Duration::from_millis(300));
    let pid = child.0.id().to_string();
    let sent = Command::new("kill")
        .args([&format!("-{signal}"), &pid])
        .status();
    assert!(sent.expect("kill runs").success());
    let until = Instant::now() + Duration::from_secs(20);
    let status = loop {
        if let Some(status) = child.0.try_wait().expect("it is ours") {
            break status;
        }
        assert!(Instant::now() < until, "it does not end");
        thread::sleep(Duration::from_millis(20));
    };
    let text = std::fs::read_to_string(&json).expect("the file is written");
    std::fs::remove_file(&json).expect("it was written");
    let document = serde_json::from_str(&text).expect("a document");
    (status.code(), document)
}

#[test]
fn a_hold_that_is_interrupted_is_written_down_as_such() {
    let arguments = ["idle", "-n", "20", "--hold", "60s"];
    let (status, document) = interrupted("TERM", "hold", &arguments);
    assert_eq!(status, Some(1));
    assert!(document.interrupted);
    assert_eq!(document.problems, ["hold: interrupted"]);
    let held: Vec<_> = document
        .phases
        .iter()
        .map(|phase| (phase.name.as_str(), phase.held))
        .collect();
    assert_eq!(held, [("open", 20), ("hold", 20)]);
    let hold = &document.phases[1];
    assert!(
        hold.seconds > 0.2 && hold.seconds < 20.0,
        "{}",
        hold.seconds
    );
}

#[test]
fn traffic_that_is_interrupted_loses_nothing() {
    let arguments = [
        "fanout",
        "-n",
        "20",
        "--rate",
        "200",
        "--warm-up",
        "0s",
        "--time",
        "60s",
    ];
    let (status, document) = interrupted("INT", "traffic", &arguments);
    assert_eq!(status, Some(1));
    assert_eq!(document.problems, ["traffic: interrupted"]);
    let traffic = &document.phases[1];
    assert!(traffic.sent > 20, "{}", traffic.sent);
    assert_eq!(traffic.deliveries.received, traffic.sent * 20);
}
