//! Request heads.

use std::time::Duration;

use roost_testkit::client::{ACCEPT, Checked, Client, Frame, Request};
use roost_testkit::server::{Backend, TestServer};
use roost_wire::handshake::{HeadScanner, Request as ParsedRequest};

use crate::support::{PINNED_BYTES_BASE, cpu_ratio, nothing_left, still_serves};

roost_testkit::on_each_backend_and_over_tls!(
    attack_16_tungstenite_cve_2023_43669_a_head_byte_by_byte,
    attack_17_ws_cve_2024_37890_more_headers_than_allowed,
    attack_18_cowboy_cve_2026_65624_more_headers_of_one_name,
    attack_19_ws_cve_2021_32640_long_lists,
    attack_21_uws_1583_frames_behind_the_handshake,
    other_protocols_are_answered_at_once,
);

/// The head was parsed from its start at every byte.
fn attack_16_tungstenite_cve_2023_43669_a_head_byte_by_byte(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let long = Request::websocket("h", "/echo").header(format!("X: {}", "x".repeat(7900)));
    let bytes = long.bytes();
    assert!((8000..8192).contains(&bytes.len()));
    let mut client = Client::connect(server.address())?;
    client.send_in_pieces(&bytes, 1, Duration::ZERO)?;
    client.read_response()?.check_accepted(ACCEPT)?;
    client.close()?;

    // Memory follows what has come, and the limit is kept although no line ends.
    let mut client = Client::connect(server.address())?;
    client.send(b"GET / HTTP/1.1\r\nX: ")?;
    for sent in (1000..=8000).step_by(1000) {
        client.send_in_pieces(&[b'x'; 1000], 100, Duration::ZERO)?;
        server.wait_for_count("input_buffered_bytes", |pinned| pinned >= sent);
        let pinned = server.count("input_buffered_bytes");
        assert!(
            pinned <= PINNED_BYTES_BASE + 2 * (sent + 20),
            "{pinned} for {sent}"
        );
    }
    client.send(&[b'x'; 200])?;
    assert_eq!(client.read_response()?.status, 431);
    drop(client);
    nothing_left(&server);
    Ok(())
}

/// The same without a socket: twice the head is twice the work.
#[test]
fn attack_16_tungstenite_cve_2023_43669_work_is_linear() {
    let scan = |length: usize| {
        let mut head = b"GET / HTTP/1.1\r\nX: ".to_vec();
        head.resize(length, b'x');
        let mut scanner = HeadScanner::default();
        (0..=head.len()).for_each(|end| assert_eq!(scanner.scan(&head[..end]), None));
    };
    let ratio = cpu_ratio(|| scan(30_000), || scan(60_000));
    println!("a head byte by byte, twice as long: {ratio:.2} times the CPU");
    assert!(ratio < 3.0, "{ratio:.2} times the CPU for twice the head");
}

/// One header more than the limit crashed the server.
fn attack_17_ws_cve_2024_37890_more_headers_than_allowed(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let with = |count: usize| {
        let request = Request::websocket("h", "/echo");
        (5..count).fold(request, |request, n| request.header(format!("X{n}: 1")))
    };
    for (count, status) in [
        (63, 101),
        (64, 101),
        (65, 431),
        (66, 431),
        (400, 431),
        (5000, 431),
    ] {
        let mut client = Client::connect(server.address())?;
        client.send_anyway(&with(count).bytes());
        assert_eq!(client.read_response()?.status, status, "{count} headers");
    }
    still_serves(&server)?;
    Ok(())
}

/// Headers of one name were counted as one.
fn attack_18_cowboy_cve_2026_65624_more_headers_of_one_name(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    for name in [
        "Cookie: a=b",
        "X-Same: 1",
        "Sec-WebSocket-Protocol: a",
        "Host: h",
    ] {
        let request = Request::websocket("h", "/echo");
        let request = (0..200).fold(request, |request, _| request.header(name));
        let mut client = Client::connect(server.address())?;
        client.send_anyway(&request.bytes());
        assert_eq!(client.read_response()?.status, 431, "{name}");
    }
    still_serves(&server)?;
    Ok(())
}

/// The header's name and a value of about so many bytes.
type List = (&'static str, fn(usize) -> String);

/// Values that take a head's whole room: Sec-WebSocket-Protocol, and Sec-WebSocket-Extensions with
/// an unclosed quote full of backslashes (websocket-extensions CVE-2020-7662 and -7663).
const LISTS: &[List] = &[
    ("Protocol", |n| format!("a,{}b", " ".repeat(n))),
    ("Protocol", |n| format!("a{}", ",".repeat(n))),
    ("Protocol", |n| "a".repeat(n)),
    ("Extensions", |n| format!("x; y=\"{}", "\\".repeat(n))),
    ("Extensions", |n| format!("x; y=\"{}", "\\a".repeat(n / 2))),
    ("Extensions", |n| format!("x{}", ";".repeat(n))),
    ("Extensions", |n| format!("x{}", ";a".repeat(n / 2))),
];

fn attack_19_ws_cve_2021_32640_long_lists(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    for (name, value) in LISTS {
        let line = format!("Sec-WebSocket-{name}: {}", value(7000));
        let mut client = Client::connect(server.address())?;
        client.send(&Request::websocket("h", "/echo").header(line).bytes())?;
        let status = client.read_response()?.status;
        assert!(matches!(status, 101 | 400), "{status}");
    }
    still_serves(&server)?;
    Ok(())
}

#[test]
fn attack_19_ws_cve_2021_32640_work_is_linear() {
    for (name, value) in LISTS {
        let head = |n| {
            let line = format!("Sec-WebSocket-{name}: {}", value(n));
            Request::websocket("h", "/echo").header(line).bytes()
        };
        let parse = |head: &[u8]| {
            let request = ParsedRequest::parse(head, 64).expect("a head");
            std::hint::black_box(format!("{:?}", request.upgrade()).len());
        };
        let (once, twice) = (head(200_000), head(400_000));
        let ratio = cpu_ratio(|| parse(&once), || parse(&twice));
        println!("{name}: {ratio:.2} times the CPU for twice the list");
        assert!(
            ratio < 3.0,
            "{name}: {ratio:.2} times the CPU for twice the list"
        );
    }
}

/// No timeout is waited for, whole or byte by byte, and each is counted.
fn other_protocols_are_answered_at_once(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.limits.handshake_timeout_ms = 3_600_000;
    });
    let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    hello.resize(517, 7);
    for (bytes, status, counter) in [
        (&hello[..], 400, "tls_on_plain_total"),
        (
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0",
            505,
            "other_protocol_total",
        ),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", 400, "other_protocol_total"),
        (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 5 80\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
            400,
            "proxy_header_unexpected_total",
        ),
        (
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
            400,
            "proxy_header_unexpected_total",
        ),
        (b"\0\0\0", 400, "other_protocol_total"),
    ] {
        for piece in [bytes.len(), 1] {
            let before = server.count(counter);
            let mut client = Client::connect(server.address())?;
            let bytes = &bytes[..bytes.len().min(64)];
            client.send_in_pieces(bytes, piece.min(bytes.len()), Duration::from_millis(1))?;
            let response = client.read_response()?;
            assert_eq!(response.status, status, "{bytes:?}");
            client.read_body(&response)?;
            client.expect_fin()?;
            server.wait_for_count(counter, |count| count == before + 1);
        }
    }
    assert_eq!(server.count("handshakes_refused_total"), 0);
    still_serves(&server)?;
    nothing_left(&server);
    Ok(())
}

/// Frames behind the handshake, while the 101 was still corked, were used after their end.
fn attack_21_uws_1583_frames_behind_the_handshake(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    for path in ["/echo", "/raw/room"] {
        for frames in [
            vec![Frame::close(1000, b"")],
            vec![Frame::ping("p"), Frame::close(1000, b"")],
            vec![
                Frame::text("t"),
                Frame::close(1000, b""),
                Frame::text("late"),
            ],
            vec![Frame::new(3, "")],
            vec![Frame::text("cut").declare(100)],
        ] {
            let mut bytes = Request::websocket("h", path).bytes();
            bytes.extend(frames.iter().flat_map(Frame::bytes));
            let mut client = Client::connect(server.address())?;
            client.send(&bytes)?;
            client.read_response()?.check_accepted(ACCEPT)?;
            client.half_close()?;
            client.read_to_end()?;
        }
        // And the peer gone before its 101.
        for _ in 0..20 {
            let mut client = Client::connect(server.address())?;
            client.send(&Request::websocket("h", path).bytes())?;
            client.reset()?;
        }
    }
    still_serves(&server)?;
    nothing_left(&server);
    Ok(())
}
