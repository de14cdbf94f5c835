//! How far a drain has come.

use roost_reactor::Pace;
use roost_testkit::client::{Checked, Client, Failure, Request};
use roost_testkit::server::{TestServer, wait_until};
use serde_json::Value;

use crate::harness::{Admin, server};

#[test]
fn a_drain_first_fails_checks_of_readiness_and_then_tells_so_many_a_second() -> Checked {
    let server = server();
    let admin = Admin::of(server.shared());
    let state = || -> Value { serde_json::from_str(&admin.get("/drain").body).expect("an object") };
    assert_eq!(state()["state"], "serving");
    let clients: Result<Vec<_>, _> = (0..8).map(|_| server.open("/echo")).collect();
    let mut clients = clients?;
    let check = |server: &TestServer| -> Result<u16, Failure> {
        let mut balancer = Client::connect(server.address())?;
        balancer.send(&Request::get("localhost", "/health").bytes())?;
        Ok(balancer.read_response()?.status)
    };
    assert_eq!(check(&server)?, 200);
    server.begin_paced_stop(Pace {
        delay_ms: 1_500,
        timeout_ms: 60_000,
        per_second: 4,
    });
    wait_until(
        || admin.get("/ready").status == 503,
        || "it is not ready".to_owned(),
    );
    assert_eq!(state()["state"], "waiting");
    // Clients are served, and new ones too.
    clients.push(server.open("/echo")?);
    for client in &mut clients {
        client.send_text("still")?;
        client.expect_text("still")?;
    }
    assert_eq!(check(&server)?, 503);
    wait_until(|| state()["state"] == "closing", || state().to_string());
    let told = || state()["told"].as_u64().expect("a number");
    wait_until(|| told() >= 1, || state().to_string());
    assert!(told() < 9, "not all at once: {}", state());
    assert_eq!(state()["connections_per_second"], 4);
    // Faster from now on.
    server.begin_paced_stop(Pace {
        delay_ms: 0,
        timeout_ms: 1,
        per_second: 1_000,
    });
    assert_eq!(state()["timeout_ms"], 60_000, "only the rate changes");
    for mut client in clients {
        client.expect_close(1001)?;
        client.send_close(1001, "")?;
    }
    server.wait_stopped();
    Ok(())
}
