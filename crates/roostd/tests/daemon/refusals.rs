//! Refusals and closes are told of at level info, with their number, and not one by one.

use roost_testkit::client::{Client, Request};
use roost_testkit::server::wait_until;

use crate::daemon::Daemon;

/// The lines about one counter.
fn lines(daemon: &Daemon, counter: &str) -> Vec<serde_json::Value> {
    let log = daemon.stderr.get();
    let lines = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object"));
    lines
        .filter(|line: &serde_json::Value| line["counter"] == counter)
        .collect()
}

/// Stops it, so that nothing is kept back, and expects so many in few lines.
#[track_caller]
fn expect(mut daemon: Daemon, counter: &str, count: u64) {
    wait_until(
        || !lines(&daemon, counter).is_empty(),
        || format!("{counter}: no line in\n{}", daemon.stderr.get()),
    );
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    daemon.stderr.wait_for("\"stopped\"");
    let lines = lines(&daemon, counter);
    let told: u64 = lines.iter().filter_map(|line| line["count"].as_u64()).sum();
    assert_eq!(told, count, "{lines:?}");
    assert!(lines.len() <= 3, "{lines:?}");
    assert!(
        lines.iter().all(|line| line["level"] == "WARN"),
        "{lines:?}"
    );
}

#[test]
fn a_full_server_says_so() {
    let args = ["--set", "server.connections_max=3"];
    let daemon = Daemon::start_logging("info", "json", &args);
    let clients: Vec<Client> = (0..3).map(|_| daemon.open()).collect();
    for _ in 0..25 {
        // The reset may come before connect() has returned.
        if let Ok(mut refused) = Client::connect(daemon.address) {
            refused.expect_end().expect("it is reset");
        }
    }
    drop(clients);
    expect(daemon, "refused_connections_max_total", 25);
}

#[test]
fn accepting_that_pauses_for_handshakes_is_told_of() {
    let args = [
        "--set",
        "server.reactors=1",
        "--set",
        "limits.handshakes_in_flight_max=2",
    ];
    let daemon = Daemon::start_logging("info", "json", &args);
    // They send nothing: the third waits in the backlog, and accepting pauses once.
    let clients: Vec<Client> = (0..5)
        .map(|_| Client::connect(daemon.address).expect("the kernel accepts it"))
        .collect();
    expect(daemon, "accept_pauses_total", 1);
    drop(clients);
}

#[test]
fn origins_refused_are_told_of() {
    let origins = "listener.allowed_origins=[\"https://example.org\"]";
    let daemon = Daemon::start_logging("info", "json", &["--set", origins]);
    for _ in 0..9 {
        let mut client = Client::connect(daemon.address).expect("it accepts");
        let request = Request::websocket("h", "/echo").header("Origin: https://example.com");
        client.send(&request.bytes()).expect("it is read");
        assert_eq!(client.read_response().expect("an answer").status, 403);
    }
    expect(daemon, "origins_refused_total", 9);
}

#[test]
fn publishes_and_subscriptions_refused_are_told_of() {
    let daemon = Daemon::start_logging("info", "json", &["--set", "channels.publish=nobody"]);
    for _ in 0..4 {
        let mut client = Client::open(daemon.address, "/raw/x").expect("a WebSocket opens");
        client.send_text("not allowed").expect("it is read");
        client.expect_close(1008).expect("a policy violation");
    }
    expect(daemon, "publishes_refused_total", 4);
    let daemon = Daemon::start_logging("info", "json", &["--set", "channels.subscribe=nobody"]);
    for _ in 0..6 {
        let mut client = Client::connect(daemon.address).expect("it accepts");
        client
            .send(&Request::websocket("h", "/raw/x").bytes())
            .expect("it is read");
        assert_eq!(client.read_response().expect("an answer").status, 403);
    }
    expect(daemon, "subscriptions_refused_total", 6);
}

#[test]
fn handshakes_that_take_too_long_are_told_of() {
    let args = ["--set", "limits.handshake_timeout=200ms"];
    let daemon = Daemon::start_logging("info", "json", &args);
    let mut clients: Vec<Client> = (0..5)
        .map(|_| Client::connect(daemon.address).expect("it accepts"))
        .collect();
    for client in &mut clients {
        client.expect_end().expect("it is cut");
    }
    expect(daemon, "handshake_timeouts_total", 5);
}
