//! Ends that meet other ends, publications or beginnings. What threads and sockets can show; the
//! simulator goes through the orders that they rarely take.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use roost_testkit::client::{Checked, Client, Failure, Frame, Message};
use roost_testkit::server::{Backend, TestServer};
use serde_json::{Value, json};

use crate::support::{nothing_left, open_wamp, still_serves};

roost_testkit::on_each_backend_and_over_tls!(
    attack_20_uws_1863_the_server_closes_first,
    attack_23_uws_962_subscribe_twice_unsubscribe_twice,
    attack_24_uws_1320_close_inside_close,
    attack_24_uws_1746_mass_close_during_publish,
    attack_33_tomcat_cve_2022_25762_a_slot_used_again_hears_nothing_old,
    attack_39_ws_cve_2026_45736_close_reasons_are_ours,
);

/// Memory was freed twice when the server closed and the peer did at the same time.
fn attack_20_uws_1863_the_server_closes_first(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| settings.limits.idle_timeout_ms = 300);
    let mut clients = Vec::new();
    for _ in 0..60 {
        clients.push(server.open("/raw/room")?);
    }
    server.wait_for_count("idle_timeouts_total", |count| count > 0);
    for (number, mut client) in clients.into_iter().enumerate() {
        match number % 4 {
            0 => client.send_anyway(&Frame::close(1000, b"").bytes()),
            1 => client.send_anyway(&Frame::new(3, "").bytes()),
            2 => drop(client.half_close()),
            _ => client.reset()?,
        }
    }
    nothing_left(&server);
    still_serves(&server)?;
    Ok(())
}

fn say(client: &mut Client, message: &Value) -> Result<(), Failure> {
    client.send_text(&message.to_string())
}

fn receive_json(client: &mut Client) -> Result<Value, Failure> {
    match client.receive()? {
        Message::Text(text) => serde_json::from_str(&text).map_err(|e| Failure::new(e.to_string())),
        other => Err(Failure::new(format!("expected JSON, received {other:?}"))),
    }
}

fn joined(server: &TestServer) -> Result<Client, Failure> {
    let mut client = open_wamp(server)?;
    let roles = json!({"roles": {"publisher": {}, "subscriber": {}}});
    say(&mut client, &json!([1, "realm1", roles]))?;
    receive_json(&mut client)?;
    Ok(client)
}

/// To subscribe twice freed what was still in use; also uWS.js#221.
fn attack_23_uws_962_subscribe_twice_unsubscribe_twice(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let mut other = joined(&server)?;
    let mut client = joined(&server)?;
    for round in 0..20 {
        say(&mut client, &json!([32, 1, {}, "com.example.a"]))?;
        say(&mut client, &json!([32, 2, {}, "com.example.a"]))?;
        let (first, second) = (receive_json(&mut client)?, receive_json(&mut client)?);
        assert_eq!(first[2], second[2], "one topic has one subscription");
        say(
            &mut other,
            &json!([16, 1, {"acknowledge": true}, "com.example.a", [round]]),
        )?;
        assert_eq!(receive_json(&mut other)?[0], 17);
        assert_eq!(
            receive_json(&mut client)?[4],
            json!([round]),
            "received once"
        );
        for (request, answer) in [(3, 35), (4, 8), (5, 8)] {
            say(&mut client, &json!([34, request, first[2]]))?;
            assert_eq!(
                receive_json(&mut client)?[0],
                answer,
                "unsubscribe {request}"
            );
        }
        say(
            &mut other,
            &json!([16, 2, {"acknowledge": true}, "com.example.a", ["late"]]),
        )?;
        assert_eq!(receive_json(&mut other)?[0], 17);
    }
    // Subscribed twice, and gone.
    say(&mut client, &json!([32, 6, {}, "com.example.a"]))?;
    say(&mut client, &json!([32, 7, {}, "com.example.a"]))?;
    drop(client);
    server.wait_for_count("subscriptions", |count| count == 0);
    drop(other);
    nothing_left(&server);
    Ok(())
}

/// A close frame while the closing handshake is under way, from either side.
fn attack_24_uws_1320_close_inside_close(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| settings.limits.idle_timeout_ms = 300);
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(server.open("/echo")?);
    }
    for client in &mut clients {
        client.expect_close(1001)?;
        client.send_frames(&[
            Frame::close(1000, b"first"),
            Frame::close(1001, b"second"),
            Frame::ping("third"),
        ])?;
        client.expect_fin()?;
        client.send_anyway(&Frame::close(1002, b"after the FIN").bytes());
    }
    drop(clients);
    nothing_left(&server);
    Ok(())
}

/// Hundreds of subscribers went while a publication was on its way to them.
fn attack_24_uws_1746_mass_close_during_publish(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 3, |_| {});
    let mut publisher = server.open("/raw/many")?;
    let mut witness = server.open("/raw/many")?;
    let done = AtomicBool::new(false);
    let published = thread::scope(|scope| {
        let publishing = scope.spawn(|| -> Result<u32, Failure> {
            let mut number = 0;
            while !done.load(Ordering::Acquire) {
                publisher.send_text(&number.to_string())?;
                witness.expect_text(&number.to_string())?;
                number += 1;
            }
            Ok(number)
        });
        let leaving = || -> Result<(), Failure> {
            for round in 0..5 {
                let clients: Result<Vec<Client>, Failure> =
                    (0..150).map(|_| server.open("/raw/many")).collect();
                for (number, mut client) in clients?.into_iter().enumerate() {
                    match (number + round) % 3 {
                        0 => client.reset()?,
                        1 => client.send_anyway(&Frame::close(1000, b"").bytes()),
                        _ => drop(client),
                    }
                }
            }
            Ok(())
        };
        let left = leaving();
        done.store(true, Ordering::Release);
        let published = publishing.join().expect("the publisher does not panic");
        left.and(published)
    })?;
    assert!(published > 0, "nothing was published meanwhile");
    server.wait_for_count("subscriptions", |count| count == 2);
    drop((publisher, witness));
    nothing_left(&server);
    Ok(())
}

/// A response racing with a close went to the connection that had the object by then.
fn attack_33_tomcat_cve_2022_25762_a_slot_used_again_hears_nothing_old(
    backend: Backend,
) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let mut publisher = server.open("/raw/secret")?;
    for round in 0..100 {
        let eavesdropper = server.open("/raw/secret")?;
        publisher.send_text("for the old one")?;
        eavesdropper.reset()?;
        publisher.send_text("for the old one")?;
        // Its slot is likely to be the one that came free.
        let mut next = server.open("/raw/public")?;
        publisher.send_text("for the old one")?;
        next.send_frame(&Frame::ping([round]))?;
        next.expect_pong(&[round])?;
        next.close()?;
    }
    drop(publisher);
    nothing_left(&server);
    Ok(())
}

/// A close reason carried memory that was never written.
fn attack_39_ws_cve_2026_45736_close_reasons_are_ours(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    for length in 0..=123 {
        let mut client = server.open("/echo")?;
        let reason: String = (0..length)
            .map(|at| char::from(b'a' + at as u8 % 26))
            .collect();
        client.send_close(4000, &reason)?;
        assert_eq!(client.expect_close(4000)?, reason, "the reason itself");
    }
    for (frame, code, reason) in [
        (
            Frame::new(3, ""),
            1002,
            "A frame has a reserved opcode; known are 0, 1, 2, 8, 9 and 10.",
        ),
        (
            Frame::text(b"\xff"),
            1007,
            "A text message must be UTF-8; send other bytes as a binary message.",
        ),
        (
            Frame::close(1005, b""),
            1002,
            "The close code must be one that may be sent: 1000 to 1003, 1007 to 1014 or 3000 to 4999.",
        ),
    ] {
        let mut client = server.open("/echo")?;
        client.send_frame(&frame)?;
        assert_eq!(client.expect_close(code)?, reason);
    }
    Ok(())
}
