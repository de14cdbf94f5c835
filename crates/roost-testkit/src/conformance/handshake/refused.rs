//! Requests that open nothing, and the status that says why.

use super::super::case::{Case, case};
use super::super::target::{Target, fail, loose, pass};
use super::super::verdict::Outcome;
use crate::client::{Client, Failure, KEY};

pub(crate) const CASES: &[Case] = &[
    case(
        "handshake.host.missing",
        "a request without Host is refused",
        "9112 §3.2",
        |t| t.refuses(&t.request().without("Host"), &[400]),
    ),
    case(
        "handshake.host.twice",
        "a request with two Host lines is refused",
        "9112 §3.2",
        |t| t.refuses(&t.request().header("Host: other.example"), &[400]),
    ),
    case(
        "handshake.host.twice_same",
        "two Host lines are refused even when they agree",
        "9112 §3.2",
        |t| t.refuses(&t.request().header(format!("Host: {}", t.host)), &[400]),
    ),
    case(
        "handshake.host.empty",
        "an empty Host is refused: no http URI has one",
        "9110 §4.2.1",
        |t| t.refuses(&t.request().replace("Host", "Host:"), &[400]),
    ),
    case(
        "handshake.host.space",
        "a Host with a space in it is refused",
        "9112 §3.2",
        |t| t.refuses(&t.request().replace("Host", "Host: a b"), &[400]),
    ),
    case(
        "handshake.host.path",
        "a Host with a path is refused",
        "9112 §3.2",
        |t| t.refuses(&t.request().replace("Host", "Host: a/b"), &[400]),
    ),
    case(
        "handshake.host.user_information",
        "a Host with user information is refused",
        "9110 §4.2.4",
        |t| t.refuses(&t.request().replace("Host", "Host: user@host"), &[400]),
    ),
    case(
        "handshake.upgrade.missing",
        "without Upgrade no WebSocket opens",
        "6455 §4.2.1",
        |t| t.refuses(&t.request().without("Upgrade"), &[400, 426]),
    ),
    case(
        "handshake.upgrade.other",
        "Upgrade: h2c opens no WebSocket",
        "6455 §4.2.1",
        |t| t.refuses(&t.request().replace("Upgrade", "Upgrade: h2c"), &[400, 426]),
    ),
    case(
        "handshake.upgrade.part",
        "Upgrade: websocketx opens no WebSocket",
        "6455 §4.2.1",
        |t| {
            t.refuses(
                &t.request().replace("Upgrade", "Upgrade: websocketx"),
                &[400, 426],
            )
        },
    ),
    case(
        "handshake.upgrade.two_words",
        "Upgrade: web socket opens no WebSocket",
        "6455 §4.2.1",
        |t| {
            t.refuses(
                &t.request().replace("Upgrade", "Upgrade: web socket"),
                &[400, 426],
            )
        },
    ),
    case(
        "handshake.connection.missing",
        "without Connection no WebSocket opens",
        "6455 §4.2.1",
        |t| t.refuses(&t.request().without("Connection"), &[400, 426]),
    ),
    case(
        "handshake.connection.keep_alive_only",
        "Connection: keep-alive alone opens no WebSocket",
        "6455 §4.2.1",
        |t| {
            t.refuses(
                &t.request().replace("Connection", "Connection: keep-alive"),
                &[400, 426],
            )
        },
    ),
    case(
        "handshake.connection.part",
        "Connection: x-upgrade, upgraded opens no WebSocket",
        "6455 §4.2.1",
        |t| {
            let line = "Connection: x-upgrade, upgraded";
            t.refuses(&t.request().replace("Connection", line), &[400, 426])
        },
    ),
    case(
        "handshake.key.missing",
        "a request without key is refused",
        "6455 §4.2.1",
        |t| t.refuses(&t.request().without("Sec-WebSocket-Key"), &[400]),
    ),
    case(
        "handshake.key.empty",
        "an empty key is refused",
        "6455 §4.2.1",
        |t| key(t, ""),
    ),
    case(
        "handshake.key.twice",
        "two different keys are refused",
        "6455 §11.3.1",
        |t| {
            t.refuses(
                &t.request()
                    .header("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="),
                &[400],
            )
        },
    ),
    case(
        "handshake.key.twice_same",
        "the same key twice is refused",
        "6455 §11.3.1",
        |t| {
            t.refuses(
                &t.request().header(format!("Sec-WebSocket-Key: {KEY}")),
                &[400],
            )
        },
    ),
    case(
        "handshake.key.15_bytes",
        "a key of 15 bytes is refused",
        "6455 §4.2.1",
        |t| key(t, "AAAAAAAAAAAAAAAAAAAA"),
    ),
    case(
        "handshake.key.17_bytes",
        "a key of 17 bytes is refused",
        "6455 §4.2.1",
        |t| key(t, "AAAAAAAAAAAAAAAAAAAAAAA="),
    ),
    case(
        "handshake.key.18_bytes",
        "a key of 18 bytes in 24 characters is refused",
        "6455 §4.2.1",
        |t| key(t, "AAAAAAAAAAAAAAAAAAAAAAAA"),
    ),
    case(
        "handshake.key.not_base64",
        "a key that is not base64 is refused",
        "6455 §4.2.1",
        |t| key(t, "AAAAAAAAAA!AAAAAAAAAAA=="),
    ),
    case(
        "handshake.key.unpadded",
        "a key without its padding is refused",
        "6455 §4.2.1",
        |t| key(t, "AAAAAAAAAAAAAAAAAAAAAA"),
    ),
    case(
        "handshake.key.url_alphabet",
        "a key in base64url is refused",
        "4648 §4",
        |t| key(t, "__--__--__--__--__--__=="),
    ),
    case(
        "handshake.key.space",
        "a key with a space in it is refused",
        "6455 §4.2.1",
        |t| key(t, "AAAAAAAAAA AAAAAAAAAAAA=="),
    ),
    case(
        "handshake.version.missing",
        "a request without version is refused",
        "6455 §4.2.1",
        |t| t.refuses(&t.request().without("Sec-WebSocket-Version"), &[400, 426]),
    ),
    case(
        "handshake.version.0",
        "version 0 is answered with 426 and the version spoken",
        "6455 §4.4",
        |t| version(t, "0"),
    ),
    case(
        "handshake.version.7",
        "version 7 is answered with 426 and the version spoken",
        "6455 §4.4",
        |t| version(t, "7"),
    ),
    case(
        "handshake.version.8",
        "version 8 is answered with 426 and the version spoken",
        "6455 §4.4",
        |t| version(t, "8"),
    ),
    case(
        "handshake.version.12",
        "version 12 is answered with 426 and the version spoken",
        "6455 §4.4",
        |t| version(t, "12"),
    ),
    case(
        "handshake.version.14",
        "version 14 is answered with 426 and the version spoken",
        "6455 §4.4",
        |t| version(t, "14"),
    ),
    case(
        "handshake.version.255",
        "version 255 is answered with 426 and the version spoken",
        "6455 §4.4",
        |t| version(t, "255"),
    ),
    case(
        "handshake.version.leading_zero",
        "version 013 is not 13",
        "6455 §4.3",
        |t| version(t, "013"),
    ),
    case(
        "handshake.version.word",
        "a version that is no number is refused",
        "6455 §4.3",
        |t| version(t, "thirteen"),
    ),
    case(
        "handshake.version.empty",
        "an empty version is refused",
        "6455 §4.3",
        |t| version(t, ""),
    ),
    case(
        "handshake.version.list",
        "a request names one version, not a list",
        "6455 §4.3",
        |t| version(t, "13, 8"),
    ),
    case(
        "handshake.version.twice",
        "two version lines are refused",
        "6455 §11.3.5",
        |t| {
            t.refuses(
                &t.request().header("Sec-WebSocket-Version: 13"),
                &[400, 426],
            )
        },
    ),
    case(
        "handshake.method.post",
        "POST opens no WebSocket",
        "6455 §4.2.1",
        |t| method(t, "POST"),
    ),
    case(
        "handshake.method.put",
        "PUT opens no WebSocket",
        "6455 §4.2.1",
        |t| method(t, "PUT"),
    ),
    case(
        "handshake.method.head",
        "HEAD opens no WebSocket",
        "6455 §4.2.1",
        |t| method(t, "HEAD"),
    ),
    case(
        "handshake.method.options",
        "OPTIONS opens no WebSocket",
        "6455 §4.2.1",
        |t| method(t, "OPTIONS"),
    ),
    case(
        "handshake.method.unknown",
        "an unknown method opens no WebSocket",
        "6455 §4.2.1",
        |t| method(t, "FETCH"),
    ),
    case(
        "handshake.method.lower_case",
        "get is not GET",
        "9110 §9.1",
        |t| method(t, "get"),
    ),
    case(
        "handshake.http.1_0",
        "HTTP/1.0 opens no WebSocket",
        "6455 §4.2.1",
        |t| {
            t.refuses(
                &t.request().line(format!("GET {} HTTP/1.0", t.echo)),
                &[400, 426, 505],
            )
        },
    ),
    case(
        "handshake.http.2_0",
        "HTTP/2.0 in a request line is refused",
        "9110 §15.6.6",
        |t| {
            t.refuses(
                &t.request().line(format!("GET {} HTTP/2.0", t.echo)),
                &[400, 505],
            )
        },
    ),
    case(
        "handshake.http.lower_case",
        "http/1.1 is no HTTP version",
        "9112 §2.3",
        |t| {
            t.refuses(
                &t.request().line(format!("GET {} http/1.1", t.echo)),
                &[400, 505],
            )
        },
    ),
    case(
        "handshake.http.none",
        "a request line without version is refused",
        "9112 §3",
        |t| t.refuses(&t.request().line(format!("GET {}", t.echo)), &[400, 505]),
    ),
    case(
        "handshake.http.preface_of_2",
        "the preface of HTTP/2 is refused",
        "9113 §3.4",
        |t| t.refuses_bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[400, 505]),
    ),
    case(
        "handshake.line.words",
        "a request line of one word is refused",
        "9112 §3",
        |t| t.refuses(&t.request().line("GET"), &[400]),
    ),
    case(
        "handshake.line.empty_target",
        "a request line without target is refused",
        "9112 §3",
        |t| t.refuses(&t.request().line("GET  HTTP/1.1"), &[400]),
    ),
    case(
        "handshake.target.fragment",
        "a target with a fragment is refused",
        "6455 §3",
        |t| t.refuses(&t.request_for(&format!("{}#top", t.echo)), &[400]),
    ),
    case(
        "handshake.target.relative",
        "a target without its slash is refused",
        "9112 §3.2",
        |t| t.refuses(&t.request_for(t.echo.trim_start_matches('/')), &[400]),
    ),
    case(
        "handshake.target.asterisk",
        "the target * is refused",
        "9112 §3.2.4",
        |t| t.refuses(&t.request_for("*"), &[400, 404]),
    ),
    case(
        "handshake.target.authority",
        "a target in authority form is refused",
        "9112 §3.2.3",
        |t| t.refuses(&t.request_for("localhost:80"), &[400, 404]),
    ),
    case(
        "handshake.target.control",
        "a target with a control character is refused",
        "3986 §2",
        |t| t.refuses(&t.request_for(&format!("{}?\x01", t.echo)), &[400]),
    ),
    case(
        "handshake.target.unknown",
        "an unknown path is answered with 404",
        "6455 §4.2.2",
        |t| t.refuses(&t.request_for("/no/such/path"), &[404]),
    ),
    case(
        "handshake.header.space_before_colon",
        "space before a header's colon is refused",
        "9112 §5.1",
        |t| t.refuses(&t.request().header("X-Space : 1"), &[400]),
    ),
    case(
        "handshake.header.no_colon",
        "a header line without colon is refused",
        "9112 §5",
        |t| t.refuses(&t.request().header("nothing"), &[400]),
    ),
    case(
        "handshake.header.empty_name",
        "a header without name is refused",
        "9112 §5",
        |t| t.refuses(&t.request().header(": 1"), &[400]),
    ),
    case(
        "handshake.header.name_not_ascii",
        "a header name outside ASCII is refused",
        "9110 §5.1",
        |t| t.refuses(&t.request().header("X-Stra\u{df}e: 1"), &[400]),
    ),
    case(
        "handshake.header.name_nul",
        "NUL in a header name is refused",
        "9110 §5.1",
        |t| t.refuses(&t.request().header("X-\0: 1"), &[400]),
    ),
    case(
        "handshake.header.target_nul",
        "NUL in the target is refused",
        "9112 §3",
        |t| t.refuses(&t.request_for(&format!("{}\0", t.echo)), &[400]),
    ),
    case(
        "handshake.limits.one_long_header",
        "a header of 1 MiB is refused, not stored",
        "6585 §5",
        |t| {
            let head = t
                .request()
                .header(format!("X-Long: {}", "x".repeat(1 << 20)));
            too_much(t, &head.bytes())
        },
    ),
    case(
        "handshake.limits.many_headers",
        "20,000 headers are refused",
        "6585 §5",
        |t| {
            let head = (0..20_000).fold(t.request(), |r, n| r.header(format!("X-{n}: {n}")));
            too_much(t, &head.bytes())
        },
    ),
    case(
        "handshake.limits.repeated_header",
        "20,000 headers of one name are refused",
        "6585 §5",
        |t| {
            let head = (0..20_000).fold(t.request(), |r, _| r.header("X-Same: 1"));
            too_much(t, &head.bytes())
        },
    ),
    case(
        "handshake.limits.long_target",
        "a target of 1 MiB is refused",
        "9112 §3",
        |t| {
            too_much(
                t,
                &t.request_for(&format!("{}?{}", t.echo, "q".repeat(1 << 20)))
                    .bytes(),
            )
        },
    ),
    case(
        "handshake.limits.endless_line",
        "1 MiB without a line's end is refused",
        "9112 §3",
        |t| too_much(t, &[b'x'; 1 << 20]),
    ),
    case(
        "handshake.refused.speaks_no_frames",
        "after a refusal no frame is answered",
        "6455 §4.2.1",
        |t| {
            let mut client = t.connect()?;
            client.send(&t.request().without("Sec-WebSocket-Key").bytes())?;
            let response = client.read_response()?;
            client.read_body(&response)?;
            client.send_anyway(&crate::client::Frame::text("hello").bytes());
            client.half_close().ok();
            no_frame(&mut client)
        },
    ),
];

fn key(t: &Target, key: &str) -> Outcome {
    let line = format!("Sec-WebSocket-Key: {key}");
    t.refuses(&t.request().replace("Sec-WebSocket-Key", line), &[400])
}

fn version(t: &Target, version: &str) -> Outcome {
    let line = format!("Sec-WebSocket-Version: {version}");
    let mut client = t.connect()?;
    client.send(&t.request().replace("Sec-WebSocket-Version", line).bytes())?;
    let response = client.read_response()?;
    // RFC 6455 §4.2.2: an appropriate error code, such as 426, and the header with the versions
    // that the server understands.
    let spoken = response.all("Sec-WebSocket-Version").join(",");
    match response.status {
        426 if response.header("Upgrade").is_none() => fail("426 without Upgrade (9110 §15.5.22)"),
        400..=499 if !spoken.split(',').any(|version| version.trim() == "13") => fail(format!(
            "status {} without Sec-WebSocket-Version: 13",
            response.status
        )),
        426 => pass(),
        400..=499 => loose(format!("status {} instead of 426", response.status)),
        status => fail(format!("status {status} instead of 426")),
    }
}

fn method(t: &Target, method: &str) -> Outcome {
    let mut client = t.connect()?;
    client.send(
        &t.request()
            .line(format!("{method} {} HTTP/1.1", t.echo))
            .bytes(),
    )?;
    let response = client.read_response()?;
    match response.status {
        // RFC 9110 §15.5.6.
        405 if response.header("Allow").is_none() => fail("405 without Allow"),
        400..=599 => pass(),
        // A method may mean something of its own, but never a WebSocket.
        101 => fail("a WebSocket opens"),
        status => loose(format!("status {status}")),
    }
}

/// Sends a head beyond any limit; the server may answer before it has come whole.
fn too_much(t: &Target, bytes: &[u8]) -> Outcome {
    let mut client = t.connect()?;
    client.send_anyway(bytes);
    super::super::target::refused(&mut client, &[400, 413, 414, 431])
}

fn no_frame(client: &mut Client) -> Outcome {
    match client.receive_response() {
        Ok(None) | Err(Failure { .. }) => pass(),
        Ok(Some(response)) if response.status >= 400 => pass(),
        Ok(Some(response)) => fail(format!("status {} to a frame", response.status)),
    }
}
