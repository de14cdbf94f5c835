//! Whether reactors deliver, as `/ready` and `/metrics` say it.

use std::time::{Duration, Instant};

use roost_testkit::client::Checked;
use roost_testkit::server::{Backend, TestServer, wait_until};

use crate::harness::{Admin, server};
use crate::stalled::HalfServer;

const INTERVAL: Duration = Duration::from_millis(500);

#[test]
fn a_server_that_delivers_is_ready_and_says_how_long_it_takes() -> Checked {
    for backend in Backend::ALL {
        let server = TestServer::with(backend, 2, |_| {});
        let admin = Admin::with_canary(server.shared(), INTERVAL);
        let count_of = |text: &str| {
            let line = text
                .lines()
                .find(|line| line.starts_with("roost_publish_seconds_count "));
            let count = line.and_then(|line| line.split(' ').nth(1)?.parse::<u64>().ok());
            count.unwrap_or_default()
        };
        wait_until(
            || count_of(&admin.get("/metrics").body) >= 6,
            || admin.get("/metrics").body,
        );
        let ready = admin.get("/ready");
        assert_eq!((ready.status, &*ready.body), (200, "ready\n"));
        let metrics = admin.get("/metrics").body;
        for home in 0..2 {
            let misses = format!("roost_canary_misses{{home=\"{home}\"}} 0");
            assert!(metrics.contains(&misses), "{metrics}");
            let none = format!("roost_canary_seconds{{home=\"{home}\"}} 0\n");
            assert!(!metrics.contains(&none), "it was measured: {metrics}");
        }
        assert_eq!(server.count("publishes_total"), 0, "it is no user's");
        assert_eq!(admin.get("/channels").body, "", "nor its channel");
    }
    Ok(())
}

#[test]
fn a_reactor_that_does_not_deliver_is_named_with_the_hop() {
    let server = HalfServer::start();
    let admin = Admin::with_canary(&server.shared, INTERVAL);
    let began = Instant::now();
    let hop = "reactor 1 does not deliver: its loop stands still\n";
    wait_until(
        || admin.get("/ready").body.contains(hop),
        || admin.get("/ready").body,
    );
    assert!(
        began.elapsed() >= INTERVAL,
        "one that is missed is not enough"
    );
    let ready = admin.get("/ready");
    assert_eq!(ready.status, 503);
    assert!(!ready.body.contains("reactor 0"), "{ready:?}");
    let metrics = admin.get("/metrics").body;
    assert!(
        metrics.contains("roost_canary_misses{home=\"0\"} 0\n"),
        "{metrics}"
    );
    assert!(
        !metrics.contains("roost_canary_misses{home=\"1\"} 0\n"),
        "{metrics}"
    );
}

#[test]
fn no_client_can_name_its_channel() -> Checked {
    let server = server();
    let admin = Admin::with_canary(server.shared(), INTERVAL);
    for name in ["$%7Fcanary:0.0", "%24%7Fcanary:1.0"] {
        let answer = admin.post(&format!("/publish?channel={name}"), "", b"1");
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(server.open(&format!("/raw/{name}")).is_err(), "{name}");
    }
    Ok(())
}
