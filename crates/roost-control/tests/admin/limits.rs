//! Clients of the admin listeners that keep it waiting.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use roost_control::Limits;

use crate::harness::{Admin, SOON, ask, read_to_end, server};

#[test]
fn heads_that_do_not_end_are_given_up() {
    let server = server();
    let limits = Limits {
        head_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let admin = Admin::with(server.shared(), limits);
    for start in ["", "GET /st", "GET /stats HTTP/1.1\r\nHost: h\r\n"] {
        let mut stream = admin.tcp();
        stream.write_all(start.as_bytes()).expect("writes");
        let begin = Instant::now();
        let bytes = read_to_end(&mut stream);
        assert!(begin.elapsed() < SOON, "{start:?} is waited for");
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            bytes.is_empty() || text.starts_with("HTTP/1.1 408"),
            "{start:?}: {text}"
        );
    }
}

#[test]
fn unfinished_requests_do_not_block_new_connections() {
    let server = server();
    let limits = Limits {
        closes_busy: true,
        connections_max: 8,
        head_timeout: Duration::from_secs(3_600),
        connection_timeout: Duration::from_secs(3_600),
    };
    let admin = Admin::with(server.shared(), limits);
    let mut slow: Vec<_> = (0..40)
        .map(|_| {
            let mut stream = admin.tcp();
            let _ = stream.write_all(b"GET /stats HTTP/1.1\r\n"); // it may be closed already
            stream
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(admin.get("/live").status, 200);
        let answer = ask(&mut admin.tcp(), "GET", "/live", "", b"");
        assert_eq!(answer.status, 200);
    }
    // All but the limit are closed.
    let mut closed = 0;
    for stream in &mut slow {
        stream
            .set_read_timeout(Some(Duration::from_millis(20)))
            .expect("a timeout");
        let ended = match stream.read(&mut [0; 16]) {
            Ok(length) => length == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        };
        closed += usize::from(ended);
    }
    assert!(
        closed >= slow.len() - limits.connections_max,
        "{closed} are closed"
    );
}

#[test]
fn a_connection_ends_with_its_time() {
    let server = server();
    let limits = Limits {
        connection_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let admin = Admin::with(server.shared(), limits);
    let mut stream = admin.unix();
    let begin = Instant::now();
    stream
        .write_all(b"GET /live HTTP/1.1\r\nHost: h\r\n\r\n")
        .expect("writes");
    let text = String::from_utf8_lossy(&read_to_end(&mut stream)).into_owned();
    assert!(
        text.starts_with("HTTP/1.1 200") && text.ends_with("live\n"),
        "{text}"
    );
    assert!(begin.elapsed() < SOON, "it was kept open");
}

#[test]
fn a_head_without_end_is_refused() {
    let server = server();
    let admin = Admin::of(server.shared());
    let mut stream = admin.tcp();
    let mut head = b"GET /live HTTP/1.1\r\nHost: h\r\nX: ".to_vec();
    head.resize(1 << 20, b'x');
    let _ = stream.write_all(&head); // it may be refused before all is written
    let text = String::from_utf8_lossy(&read_to_end(&mut stream)).into_owned();
    assert!(
        text.is_empty() || text.starts_with("HTTP/1.1 431"),
        "{text}"
    );
    assert_eq!(admin.get("/live").status, 200);
}

#[test]
fn requests_that_are_none_are_refused() {
    let server = server();
    let admin = Admin::of(server.shared());
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = admin.tcp();
        stream.write_all(bytes).expect("writes");
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let text = String::from_utf8_lossy(&read_to_end(&mut stream)).into_owned();
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    }
    assert_eq!(admin.get("/live").status, 200);
}
