//! Whatever becomes of the log, clients are served and told to go, and the daemon ends well.

use roost_testkit::client::{Client, Request};
use roost_testkit::server::wait_until;

use crate::daemon::{Daemon, Log};

/// So many lines of log that a pipe and the queue together cannot hold them: each of the requests is
/// refused for an origin that the log repeats.
fn fill_the_log(daemon: &Daemon) {
    let origin = format!("Origin: https://{}.example", "x".repeat(7_000));
    for _ in 0..500 {
        let mut client = Client::connect(daemon.address).expect("it accepts");
        let request = Request::websocket("h", "/echo").header(&origin);
        client.send(&request.bytes()).expect("it is read");
        assert_eq!(client.read_response().expect("an answer").status, 403);
    }
}

fn start(log: Log, level: &str, format: &str) -> Daemon {
    let (level, format) = (format!("log.level={level}"), format!("log.format={format}"));
    let origins = "listener.allowed_origins=[]";
    let args = ["--set", &level, "--set", &format, "--set", origins];
    Daemon::start(&args, log)
}

/// Clients that were there before the log failed are served and closed with 1001.
#[track_caller]
fn serve_and_stop(mut daemon: Daemon, mut clients: Vec<Client>) {
    for client in &mut clients {
        client.send_text("hello").expect("it is read");
        client.expect_text("hello").expect("an echo");
    }
    daemon.signal("TERM");
    for mut client in clients {
        client.expect_close(1001).expect("it is told");
        client.send_close(1001, "").expect("it is read");
    }
    let status = daemon.wait();
    assert!(status.success(), "{status}");
}

#[track_caller]
fn survives(log: fn() -> Log, is_lost_at_info: bool) {
    for format in ["text", "json"] {
        for level in ["off", "info", "debug"] {
            let daemon = start(log(), level, format);
            let clients = (0..20).map(|_| daemon.open()).collect();
            match level {
                "debug" => {
                    fill_the_log(&daemon);
                    wait_until(
                        || daemon.count("log_lines_dropped_total") > 0,
                        || format!("{format}: no line of the flood is lost"),
                    );
                }
                "info" if is_lost_at_info => wait_until(
                    || daemon.count("log_lines_dropped_total") > 0,
                    || format!("{format}: no line is lost"),
                ),
                _ => assert_eq!(daemon.count("log_lines_dropped_total"), 0, "{level}"),
            }
            daemon.check_it_serves();
            serve_and_stop(daemon, clients);
        }
    }
}

#[test]
fn a_reader_that_has_gone_costs_lines_only() {
    survives(|| Log::Gone, true);
}

#[test]
fn a_full_disk_costs_lines_only() {
    survives(|| Log::DiskFull, true);
}

#[test]
fn a_reader_that_does_not_read_costs_lines_only() {
    survives(|| Log::Stalled, false);
}

#[test]
fn lines_lost_are_told_of_when_the_reader_reads_again() {
    let mut daemon = start(Log::Stalled, "debug", "json");
    fill_the_log(&daemon);
    wait_until(
        || daemon.count("log_lines_dropped_total") > 0,
        || "no line is lost".to_owned(),
    );
    daemon.read_stalled_log();
    let text = daemon.stderr.wait_for("log lines were lost");
    let line = text.lines().find(|line| line.contains("lines were lost"));
    let line = line.expect("it has been waited for");
    let line: serde_json::Value = serde_json::from_str(line).expect("an object");
    assert!(line["lost"].as_u64() > Some(0), "{line}");
}

#[test]
fn a_second_signal_ends_the_process_though_the_log_stalls() {
    let mut daemon = start(Log::Stalled, "debug", "text");
    fill_the_log(&daemon);
    let mut client = daemon.open(); // and never answers the close frame
    daemon.signal("TERM");
    client.expect_close(1001).expect("it is told");
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(130));
}

/// Every line of both streams is an object: the start block, warnings, connections, signals, the
/// reason why another does not start.
#[test]
fn with_json_every_line_is_an_object() {
    let exposed = ["--reactors", "2", "--set", "server.connections_max=1000000"];
    let mut daemon = Daemon::start_logging("debug", "json", &exposed);
    daemon.check_it_serves();
    daemon.get("/no such \"path\"\\");
    daemon.signal("HUP");
    daemon.signal("USR1");
    daemon.stderr.wait_for("reloaded");
    daemon.stderr.wait_for("\"counters\"");
    let address = daemon.address.to_string();
    let args = ["--listen", &address, "--set", "log.format=json"];
    let mut second = crate::daemon::dying_with_us();
    second.arg(crate::daemon::ROOSTD).args(args);
    let second = crate::daemon::run(second);
    assert_eq!(second.status.code(), Some(1));
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    daemon.stderr.wait_for("\"stopped\"");
    let mut lines = 0;
    for text in [
        daemon.stdout.get(),
        daemon.stderr.get(),
        second.stdout,
        second.stderr,
    ] {
        for line in text.lines() {
            let value: serde_json::Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(value["timestamp"].is_string(), "{line}");
            assert!(value["level"].is_string(), "{line}");
            assert!(value["message"].is_string(), "{line}");
            lines += 1;
        }
    }
    assert!(lines > 10, "only {lines} lines");
}
