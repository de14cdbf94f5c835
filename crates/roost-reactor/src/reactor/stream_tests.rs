//! Responses whose body comes in pieces, on a simulated network.

use roost_net::sim::SimFaults;

use super::http_world::{Client, World, answers};
use crate::Settings;
use crate::connections::Phase;
use crate::streams;

const GET: &str = "GET /test/stream HTTP/1.1\r\nHost: h\r\n\r\n";
const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: h\r\n\r\n";

fn world() -> World {
    World::new(Settings::for_tests())
}

fn narrow(change: impl FnOnce(&mut Settings)) -> World {
    let mut settings = Settings::for_tests();
    change(&mut settings);
    let faults = SimFaults {
        window_bytes: 4_096..=4_096,
        ..SimFaults::none()
    };
    World::on(settings, faults)
}

/// As a handler does: between two loop iterations, which the waker begins.
fn write(world: &mut World, client: Client, piece: &[u8]) -> bool {
    let key = world.key(client);
    let written = streams::write(&mut world.reactor.core, key, piece);
    world.reactor.waker().wake();
    world.run(10);
    written
}

fn end(world: &mut World, client: Client) {
    let key = world.key(client);
    streams::end(&mut world.reactor.core, key);
    world.reactor.waker().wake();
    world.run(10);
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_stream_comes_in_chunks_and_the_connection_goes_on() {
    let mut world = world();
    let client = world.connect();
    let head = text(&world.ask(client, GET));
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"),
        "{head}"
    );
    assert!(
        head.ends_with("\r\n\r\n") && !head.contains("Connection"),
        "{head}"
    );
    assert!(write(&mut world, client, b"hello"));
    assert_eq!(text(&world.take(client)), "5\r\nhello\r\n");
    // An empty piece would be the last chunk.
    assert!(write(&mut world, client, b""));
    assert_eq!(world.take(client), b"");
    world.run(60_000);
    assert!(write(&mut world, client, &[b'x'; 26]));
    assert_eq!(
        text(&world.take(client)),
        format!("1a\r\n{}\r\n", "x".repeat(26))
    );
    end(&mut world, client);
    assert_eq!(text(&world.take(client)), "0\r\n\r\n");
    assert!(!write(&mut world, client, b"late"));
    let received = world.ask(client, HEALTH);
    assert_eq!(
        answers(&received, &["GET"]).0.len(),
        1,
        "{}",
        text(&received)
    );
}

/// RFC 9112 §6.1, §6.3: to HTTP/1.0 the body ends with the connection.
#[test]
fn a_stream_without_chunks_ends_with_its_connection() {
    let mut world = world();
    for keep_alive in ["", "Connection: keep-alive\r\n"] {
        let client = world.connect();
        let asked = format!("GET /test/stream HTTP/1.0\r\n{keep_alive}\r\n");
        let head = text(&world.ask(client, asked));
        assert!(
            !head.contains("chunked") && head.contains("Connection: close"),
            "{head}"
        );
        assert!(write(&mut world, client, b"hello"));
        assert!(!world.has_fin(client));
        end(&mut world, client);
        assert_eq!(world.take(client), b"hello");
        assert!(world.has_fin(client));
    }
    // In chunks, and behind the last of them the connection's end.
    let client = world.connect();
    let head = text(&world.ask(
        client,
        GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"),
    ));
    assert!(
        head.contains("chunked") && head.contains("Connection: close"),
        "{head}"
    );
    end(&mut world, client);
    assert_eq!(world.take(client), b"0\r\n\r\n");
    assert!(world.has_fin(client));
}

#[test]
fn a_head_request_begins_no_stream() {
    let mut world = world();
    let client = world.connect();
    let head = text(&world.ask(client, GET.replace("GET", "HEAD")));
    assert!(
        head.contains("chunked") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    assert!(!write(&mut world, client, b"no"));
    let received = world.ask(client, HEALTH);
    assert_eq!(answers(&received, &["GET"]).0.len(), 1);
}

#[test]
fn requests_behind_a_stream_wait_for_its_end() {
    let mut world = world();
    let client = world.connect();
    world.ask(client, [GET, HEALTH].concat());
    world.send(client, HEALTH);
    world.send(client, "GET /heal");
    assert!(write(&mut world, client, b"x"));
    assert_eq!(world.take(client), b"1\r\nx\r\n");
    end(&mut world, client);
    let received = world.take(client);
    let rest = received.strip_prefix(b"0\r\n\r\n").expect("the last chunk");
    let (answered, rest) = answers(rest, &["GET", "GET"]);
    assert!(answered.len() == 2 && rest.is_empty());
    let received = world.ask(client, "th HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(answers(&received, &["GET"]).0[0].body, b"ok\n");
    assert_eq!(world.count("input_buffered_bytes"), 0);
}

/// Whether it resets its connection, or ends it in order.
#[test]
fn a_stream_ends_when_its_client_leaves() {
    let mut world = world();
    let (aborts, leaves) = (world.connect(), world.connect());
    for client in [aborts, leaves] {
        world.ask(client, GET);
        assert!(write(&mut world, client, b"x"));
    }
    let (key, other) = (world.key(aborts), world.key(leaves));
    world.abort(aborts);
    world.send_fin(leaves);
    assert!(!streams::write(&mut world.reactor.core, key, b"x"));
    assert!(!streams::write(&mut world.reactor.core, other, b"x"));
    streams::end(&mut world.reactor.core, key);
    world.run(100);
    assert_eq!(world.count("connections_open"), 0);
}

#[test]
fn a_slow_consumer_of_a_stream_is_closed() {
    let mut world = narrow(|settings| settings.limits.outbox_bytes_max = 20_000);
    let (slow, good) = (world.connect(), world.connect());
    for client in [slow, good] {
        world.ask(client, GET);
    }
    world.set_reading(slow, false);
    let mut written = 0;
    for n in 0..100 {
        let key = world.reactor.core.connections.key_at(0);
        let slow_goes_on = key.is_some_and(|_| write(&mut world, slow, &[b's'; 1_000]));
        written += usize::from(slow_goes_on);
        assert!(write(&mut world, good, &[b'g'; 1_000]), "piece {n}");
    }
    assert!((20..40).contains(&written), "{written} pieces");
    assert_eq!(world.count("slow_consumers_total"), 1);
    assert!(world.take(good).len() > 100_000);
    world.run(100);
    assert!(
        world.is_reset(slow),
        "a body that is cut must not look whole"
    );
    assert_eq!(world.count("outbox_bytes"), 0);
}

/// A client that is gone without a word takes nothing; one that takes some now and then stays.
#[test]
fn a_client_that_takes_nothing_of_a_stream_is_cut() {
    let mut world = narrow(|settings| settings.limits.ping_timeout_ms = 2_000);
    let (gone, slow, quiet) = (world.connect(), world.connect(), world.connect());
    for client in [gone, slow, quiet] {
        world.ask(client, GET);
    }
    for client in [gone, slow] {
        world.set_reading(client, false);
        for _ in 0..40 {
            assert!(write(&mut world, client, &[b'x'; 1_000]));
        }
    }
    for _ in 0..8 {
        world.run(1_200);
        world.set_reading(slow, true);
        world.set_reading(slow, false);
        // So that there always is something more.
        assert!(write(&mut world, slow, &[b'x'; 4_000]));
    }
    assert_eq!(world.count("http_stream_timeouts_total"), 1);
    assert_eq!(world.phase(slow), Some(Phase::Http));
    assert_eq!(world.phase(quiet), Some(Phase::Http));
    assert!(write(&mut world, quiet, b"x"));
    assert_ne!(world.phase(gone), Some(Phase::Http));
}

#[test]
fn a_drain_ends_a_stream() {
    let mut world = world();
    let client = world.connect();
    world.ask(client, GET);
    write(&mut world, client, b"x");
    world.begin_drain();
    world.run(50);
    assert!(text(&world.take(client)).ends_with("1\r\nx\r\n0\r\n\r\n"));
    assert!(world.has_fin(client));
}
