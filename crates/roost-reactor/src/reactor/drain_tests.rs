//! How fast a drain goes.

use std::net::SocketAddr;
use std::time::Duration;

use roost_net::sim::{SimFaults, SimNet, SimOptions};
use roost_net::{ConnKey, ConnectOptions, Driver, Waker};

use super::http_world::World;
use super::{listen_at, token_tests};
use crate::{Iteration, Pace, Reactor, Settings, Shared};

fn world(connections: usize) -> World {
    let mut world = World::new(Settings::for_tests());
    for _ in 0..connections {
        world.connect();
    }
    world
}

const PACE: Pace = Pace {
    delay_ms: 2_000,
    timeout_ms: 60_000,
    per_second: 10,
};

#[test]
fn connections_are_told_at_the_rate_that_holds_at_the_time_and_none_before_the_delay_is_over() {
    let mut world = world(100);
    world.begin_paced_drain(PACE);
    world.run(1_900);
    assert_eq!(world.count("drain_told_total"), 0);
    assert_eq!(world.count("reactors_draining"), 0);
    let new = world.connect();
    assert!(!world.is_reset(new), "new ones are welcome meanwhile");
    world.run(1_100);
    let told = world.count("drain_told_total");
    assert!((8..=13).contains(&told), "{told} in a second");
    world.run(2_000);
    let told = world.count("drain_told_total");
    assert!((28..=33).contains(&told), "{told} in three");
    world.begin_paced_drain(Pace {
        delay_ms: 50_000,
        timeout_ms: 1,
        per_second: 40,
    });
    world.run(1_000);
    let more = world.count("drain_told_total") - told;
    assert!((36..=46).contains(&more), "{more} in the next one");
    world.begin_paced_drain(Pace {
        per_second: 0,
        ..PACE
    });
    world.run(300);
    assert_eq!(world.count("drain_told_total"), 101, "all at once");
}

#[test]
fn a_rate_that_is_too_low_for_the_timeout_is_exceeded_so_that_all_are_told() {
    let mut world = world(60);
    world.begin_paced_drain(Pace {
        delay_ms: 0,
        timeout_ms: 4_000,
        per_second: 1,
    });
    world.run(1_500);
    let told = world.count("drain_told_total");
    assert!((25..=35).contains(&told), "{told}: half the time");
    world.run(1_700);
    assert_eq!(world.count("drain_told_total"), 60);
}

/// A client that has not been told yet asks for something that goes on: it is sent elsewhere with an answer
/// that it takes as such. A browser takes any status but 200 of an event stream as final.
#[test]
fn what_would_go_on_is_not_begun_while_connections_are_told() {
    let mut world = world(0);
    let cases = [
        ("POST /connection/http_stream", "Content-Length: 2\r\n", 503),
        ("GET /connection/sse?cf_connect=%7B%7D", "", 503),
        ("GET /connection/websocket", UPGRADE, 503),
        ("GET /sse/a", "", 200),
        ("GET /sse?channel=a&channel=b", "", 200),
    ];
    world.connect(); // it is told at once
    let clients = cases.map(|_| world.connect());
    world.begin_paced_drain(Pace {
        delay_ms: 0,
        timeout_ms: 600_000,
        per_second: 1,
    });
    world.run(100);
    assert_eq!(world.count("drain_told_total"), 1);
    for (client, (line, headers, status)) in clients.into_iter().zip(cases) {
        let body = if line.starts_with("POST") { "{}" } else { "" };
        let request = format!("{line} HTTP/1.1\r\nHost: h\r\n{headers}\r\n{body}");
        world.send(client, request);
        world.run(20);
        let said = world.take(client);
        let said = String::from_utf8_lossy(&said);
        let beginning = format!("HTTP/1.1 {status} ");
        assert!(said.starts_with(&beginning), "{line}: {said}");
        let comes_back = match status {
            200 => said.contains("\r\n\r\n: this server cannot serve the stream now\nretry: "),
            _ => said.contains("going down"),
        };
        assert!(comes_back, "{line}: {said}");
        assert!(world.has_fin(client), "{line}: it is the last answer");
    }
    assert_eq!(world.count("event_streams_open"), 0);
    assert_eq!(world.count("websockets_open"), 0);
    assert_eq!(world.count("drain_told_total"), 1, "none of them was told");
}

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Its ring is full, and more waits for it: the reactor looks each millisecond whether there is room.
#[test]
fn a_drain_begins_and_ends_in_time_while_the_control_thread_takes_nothing() {
    let mut world = token_tests::world(|auth| auth.wait_ms = 600_000);
    let control = world.control();
    let clients: Vec<_> = (0..40)
        .map(|n| token_tests::connect(&mut world, &format!("token {n}")))
        .collect();
    assert!(
        world.reactor.core.token_checks.has_unsent(),
        "32 fill the ring"
    );
    world.begin_paced_drain(Pace {
        delay_ms: 500,
        timeout_ms: 2_000,
        per_second: 0,
    });
    world.run(400);
    assert_eq!(world.count("reactors_draining"), 0);
    world.run(300);
    assert_eq!(world.count("reactors_draining"), 1);
    for client in clients {
        let answer = world.take(client);
        assert!(answer.starts_with(b"HTTP/1.1 503 "), "{answer:?}");
    }
    world.run(2_500);
    assert!(world.has_stopped(), "what it had to say is for none");
    drop(control);
}

/// Its channels are at home there: the last ones told are served as long as they are there.
#[test]
fn a_reactor_without_connections_stays_for_those_of_others() {
    let net = SimNet::new(3, SimFaults::none());
    let shared = Shared::new(Settings::for_tests(), 2, 3);
    let mut reactors = [0, 1].map(|id| {
        Some(Reactor::new(
            net.driver(SimOptions::default()),
            id,
            shared.clone(),
        ))
    });
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let addr = reactors[1].as_mut().map(|one| listen_at(one, any));
    let wakers = reactors
        .each_ref()
        .map(|one| one.as_ref().map(Reactor::waker));
    let mut client = net.driver(SimOptions::default());
    let options = ConnectOptions {
        addr: addr.expect("it runs"),
        local: None,
    };
    client.connect(ConnKey::new(0, 0), &options).expect("free");
    let mut run = |ms: u64| {
        let until = net.now() + ms * 1_000_000;
        while net.now() < until {
            for slot in &mut reactors {
                let due = slot.as_mut().filter(|reactor| reactor.driver.is_due());
                let iteration = due.map(|reactor| reactor.run_once().expect("simulated"));
                if iteration == Some(Iteration::Stopped) {
                    *slot = None;
                }
            }
            client.wait(Some(Duration::ZERO)).expect("simulated");
            while client.next_event().is_some() {}
            net.advance(Duration::from_millis(1));
        }
        [0, 1].map(|id: usize| reactors[id].is_some())
    };
    assert_eq!(run(100), [true, true]);
    assert_eq!(shared.registry().sum("connections_open"), Some(1));
    shared.begin_paced_drain(Pace {
        delay_ms: 2_000,
        timeout_ms: 4_000,
        per_second: 1,
    });
    wakers.iter().flatten().for_each(Waker::wake);
    assert_eq!(run(2_900), [true, true], "the second reactor begins later");
    assert_eq!(shared.registry().sum("connections_open"), Some(1));
    assert_eq!(run(4_000), [false, false]);
}
