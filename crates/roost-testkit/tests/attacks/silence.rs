//! Peers that never do what comes next.

use std::thread;
use std::time::{Duration, Instant};

use roost_testkit::client::{Address, Checked, Client, Frame, Received, Request};
use roost_testkit::server::{Backend, TestServer};

use crate::child::{Child, tell, wait_for_end};
use crate::support::{nothing_left, still_serves};

roost_testkit::on_each_backend_and_over_tls!(
    attack_34_tomcat_cve_2024_23672_close_frame_never_answered,
    attack_34_tomcat_cve_2024_23672_connection_never_ended,
    attack_35_tomcat_cve_2021_42340_upgrades_leave_nothing_behind,
    attack_41_hyper_3756_handshake_never_begun,
    attack_41_websocketpp_789_handshake_never_finished,
    attack_41_handshake_dripped_for_ever,
    attack_41_tokio_tungstenite_347_silent_peers_hold_nobody_up,
);

/// The peer gets our close frame and says nothing.
fn attack_34_tomcat_cve_2024_23672_close_frame_never_answered(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.limits.close_timeout_ms = 300;
        settings.limits.idle_timeout_ms = 200;
    });
    let mut client = server.open("/raw/room")?;
    client.expect_close(1001)?;
    // It may even go on talking, and is answered (RFC 6455 §5.5.2), but gains no time by it.
    client.send_anyway(&Frame::ping("not gone").bytes());
    client.expect_pong(b"not gone")?;
    client.expect_end()?;
    server.wait_for_count("close_timeouts_total", |count| count == 1);
    nothing_left(&server);
    Ok(())
}

/// Both close frames are there, and our FIN; the peer's never comes.
fn attack_34_tomcat_cve_2024_23672_connection_never_ended(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.limits.close_timeout_ms = 300
    });
    let mut closed = server.open("/echo")?;
    closed.send_close(1000, "")?;
    closed.expect_close(1000)?;
    closed.expect_fin()?;
    let mut failed = server.open("/echo")?;
    failed.send_frame(&Frame::new(3, ""))?;
    failed.expect_close(1002)?;
    failed.expect_fin()?;
    let mut refused = Client::connect(server.address())?;
    let last = Request::get("h", "/nothing").header("Connection: close");
    refused.send(&last.bytes())?;
    assert_eq!(refused.read_response()?.status, 404);
    server.wait_for_count("close_timeouts_total", |count| count == 3);
    nothing_left(&server);
    Ok(())
}

/// What an upgrade had made was kept when its connection had ended.
fn attack_35_tomcat_cve_2021_42340_upgrades_leave_nothing_behind(backend: Backend) -> Checked {
    let case = "attack_35_tomcat_cve_2021_42340_upgrades_leave_nothing_behind";
    if crate::child::role().is_some() {
        let server = TestServer::start(backend);
        tell(&server.address().url());
        wait_for_end();
        nothing_left(&server);
        return Ok(());
    }
    let mut child = Child::start("silence", backend, case, None);
    let address: Address = child.read_line().parse().expect("an address");
    let rounds = |rounds: u32| -> Checked {
        for round in 0..rounds {
            let mut client =
                Client::open(address, ["/echo", "/raw/room", "/wamp"][round as usize % 3])?;
            match round % 4 {
                0 => client.reset()?,
                1 => {
                    client.send(&Frame::text("half").declare(1000).bytes())?;
                    client.half_close()?;
                    client.read_to_end()?;
                }
                2 => {
                    client.send_close(1000, "")?;
                    client.read_to_end()?;
                }
                _ => drop(client),
            }
        }
        Ok(())
    };
    rounds(600)?; // what there is only once
    let before = child.memory_bytes();
    rounds(3_000)?;
    let grown = child.memory_bytes().saturating_sub(before);
    println!("{grown} bytes more after 3,000 upgrades");
    assert!(grown < 3_000 * 200, "{grown} bytes more");
    child.finish();
    Ok(())
}

/// The header timeout began with the first byte, not with the connection.
fn attack_41_hyper_3756_handshake_never_begun(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.limits.handshake_timeout_ms = 400;
    });
    let mut client = Client::connect(server.address())?;
    let begun = Instant::now();
    assert_eq!(client.receive_any()?, Received::Reset);
    assert!(begun.elapsed() >= Duration::from_millis(200), "cut early");
    assert_eq!(server.count("handshake_timeouts_total"), 1);
    nothing_left(&server);
    Ok(())
}

fn attack_41_websocketpp_789_handshake_never_finished(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.limits.handshake_timeout_ms = 400;
    });
    for part in [
        &b"G"[..],
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n\r",
    ] {
        let mut client = Client::connect(server.address())?;
        client.send(part)?;
        assert_eq!(client.read_response()?.status, 408);
    }
    assert_eq!(server.count("handshake_timeouts_total"), 3);
    nothing_left(&server);
    Ok(())
}

/// A byte now and then does not put the deadline off.
fn attack_41_handshake_dripped_for_ever(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.limits.handshake_timeout_ms = 1_000;
    });
    let mut client = Client::connect(server.address())?;
    let begun = Instant::now();
    let head = Request::websocket("h", "/echo").header(format!("X: {}", "x".repeat(4000)));
    for byte in head.bytes() {
        if server.count("handshake_timeouts_total") > 0 {
            break;
        }
        client.send_anyway(&[byte]);
        thread::sleep(Duration::from_millis(20));
    }
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "the drip went on for ever"
    );
    assert_eq!(client.read_response()?.status, 408);
    Ok(())
}

/// As many silent peers as may be in a handshake: those inside are served, and those outside as
/// soon as the deadline has cleared the way.
fn attack_41_tokio_tungstenite_347_silent_peers_hold_nobody_up(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.limits.handshakes_in_flight_max = 50;
        settings.limits.handshake_timeout_ms = 1_000;
    });
    let mut inside = server.open("/echo")?;
    let mut silent = Vec::new();
    for _ in 0..150 {
        silent.push(Client::connect(server.address())?);
    }
    let mut most = 0;
    for _ in 0..200 {
        inside.send_text("served")?;
        inside.expect_text("served")?;
        most = most.max(server.count("handshakes_in_flight"));
    }
    println!("{most} in a handshake at most, of 50 allowed");
    still_serves(&server)?; // behind three rounds of them
    drop(silent);
    Ok(())
}
