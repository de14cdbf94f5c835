//! Requests that open a WebSocket.

use std::time::Duration;

use super::super::case::{Case, case};
use super::super::target::{Target, fail, loose, pass, works, works_and_closes};
use super::super::verdict::Outcome;
use crate::client::{ACCEPT, Frame, KEY, Request};

pub(crate) const CASES: &[Case] = &[
    case(
        "handshake.accept.minimal",
        "a request with nothing optional is answered with 101 and the key's accept value",
        "6455 §4.2.2",
        |t| t.accepts(&t.request()),
    ),
    case(
        "handshake.accept.other_key",
        "another key is answered with another accept value",
        "6455 §4.2.2",
        other_key,
    ),
    case(
        "handshake.accept.bare",
        "without an offer the 101 names neither subprotocol nor extension",
        "6455 §4.2.2",
        bare,
    ),
    case(
        "handshake.accept.chrome",
        "the head that Chrome sends opens a WebSocket",
        "6455 §4.1",
        |t| t.accepts(&with_lines(t.request(), CHROME)),
    ),
    case(
        "handshake.accept.firefox",
        "the head that Firefox sends opens a WebSocket",
        "6455 §4.1",
        |t| {
            let request = t
                .request()
                .replace("Connection", "Connection: keep-alive, Upgrade");
            t.accepts(&with_lines(request, FIREFOX))
        },
    ),
    case(
        "handshake.names.lower_case",
        "header names in lower case are the same",
        "9110 §5.1",
        |t| t.accepts(&t.request().rename(|byte| byte.to_ascii_lowercase())),
    ),
    case(
        "handshake.names.upper_case",
        "header names in upper case are the same",
        "9110 §5.1",
        |t| t.accepts(&t.request().rename(|byte| byte.to_ascii_uppercase())),
    ),
    case(
        "handshake.upgrade.mixed_case",
        "Upgrade: WebSocket is compared without case",
        "6455 §4.2.1",
        |t| t.accepts(&t.request().replace("Upgrade", "Upgrade: WebSocket")),
    ),
    case(
        "handshake.upgrade.upper_case",
        "Upgrade: WEBSOCKET is compared without case",
        "6455 §4.2.1",
        |t| t.accepts(&t.request().replace("Upgrade", "Upgrade: WEBSOCKET")),
    ),
    case(
        "handshake.upgrade.list",
        "websocket is found in a list of protocols to upgrade to",
        "9110 §7.8",
        |t| {
            t.accepts(
                &t.request()
                    .replace("Upgrade", "Upgrade: foo/1, websocket, bar"),
            )
        },
    ),
    case(
        "handshake.upgrade.two_lines",
        "websocket is found in the second of two Upgrade lines",
        "9110 §5.3",
        |t| t.accepts(&t.request().first_header("Upgrade: foo/1")),
    ),
    case(
        "handshake.connection.lower_case",
        "Connection: upgrade is compared without case",
        "6455 §4.2.1",
        |t| t.accepts(&t.request().replace("Connection", "Connection: upgrade")),
    ),
    case(
        "handshake.connection.keep_alive",
        "Upgrade is found behind keep-alive",
        "6455 §4.2.1",
        |t| {
            t.accepts(
                &t.request()
                    .replace("Connection", "Connection: keep-alive, Upgrade"),
            )
        },
    ),
    case(
        "handshake.connection.no_space",
        "Upgrade is found in a list without spaces",
        "9110 §5.6.1",
        |t| {
            t.accepts(
                &t.request()
                    .replace("Connection", "Connection: keep-alive,Upgrade,x"),
            )
        },
    ),
    case(
        "handshake.connection.empty_elements",
        "empty elements of a list are ignored",
        "9110 §5.6.1.2",
        |t| {
            t.accepts(
                &t.request()
                    .replace("Connection", "Connection: , ,\tUpgrade ,,"),
            )
        },
    ),
    case(
        "handshake.connection.two_lines",
        "two Connection lines are one list",
        "9110 §5.3",
        |t| t.accepts(&t.request().first_header("Connection: keep-alive")),
    ),
    case(
        "handshake.spacing.none",
        "no space is needed behind a colon",
        "9112 §5",
        |t| t.accepts(&respace(t, "", "")),
    ),
    case(
        "handshake.spacing.much",
        "spaces and tabs around a value are not part of it",
        "9112 §5",
        |t| t.accepts(&respace(t, " \t  ", "\t   ")),
    ),
    case(
        "handshake.head.unknown_headers",
        "unknown headers are ignored",
        "6455 §4.2.1",
        |t| {
            t.accepts(&with_lines(
                t.request(),
                &["X-Unknown: 1", "X-Unknown: 2", "Trace: a:b:c"],
            ))
        },
    ),
    case(
        "handshake.head.empty_value",
        "an unknown header may be empty",
        "9110 §5.5",
        |t| t.accepts(&t.request().header("X-Empty:")),
    ),
    case(
        "handshake.head.obs_text",
        "bytes above 127 in an unknown header's value are opaque",
        "9110 §5.5",
        |t| t.accepts(&t.request().header(b"X-Name: J\xf6rg \xe2\x82")),
    ),
    case(
        "handshake.head.long_value",
        "a cookie of 4,000 bytes is accepted",
        "6265 §6.1",
        |t| {
            t.accepts(
                &t.request()
                    .header(format!("Cookie: a={}", "c".repeat(3996))),
            )
        },
    ),
    case(
        "handshake.head.thirty_headers",
        "thirty headers are not too many",
        "9110 §5.4",
        |t| {
            let many = (0..25).fold(t.request(), |r, n| r.header(format!("X-{n}: {n}")));
            t.accepts(&many)
        },
    ),
    case(
        "handshake.head.accept_in_request",
        "a Sec-WebSocket-Accept in the request means nothing",
        "6455 §11.3.3",
        |t| t.accepts(&t.request().header("Sec-WebSocket-Accept: AAAA")),
    ),
    case(
        "handshake.head.leading_empty_line",
        "an empty line before the request line is ignored",
        "9112 §2.2",
        leading_empty_line,
    ),
    case(
        "handshake.host.no_port",
        "the Host header may come without a port",
        "9110 §7.2",
        |t| t.accepts(&t.request().replace("Host", "Host: localhost")),
    ),
    case(
        "handshake.host.ipv6",
        "the Host header may be an IPv6 literal",
        "3986 §3.2.2",
        |t| t.accepts(&t.request().replace("Host", "Host: [::1]:8080")),
    ),
    case(
        "handshake.target.query",
        "a query belongs to the target and does no harm",
        "6455 §3",
        |t| t.accepts(&t.request_for(&format!("{}?a=b&c=%20/?x", t.echo))),
    ),
    case(
        "handshake.target.long_query",
        "a target of 2,000 bytes is accepted",
        "9112 §3",
        |t| t.accepts(&t.request_for(&format!("{}?{}", t.echo, "q".repeat(1990)))),
    ),
    case(
        "handshake.target.absolute",
        "a target in absolute form is accepted",
        "9112 §3.2.2",
        |t| {
            t.accepts(
                &t.request()
                    .line(format!("GET http://{}{} HTTP/1.1", t.host, t.echo)),
            )
        },
    ),
    case(
        "handshake.target.absolute_other_host",
        "with an absolute target the Host header is ignored",
        "9112 §3.2.2",
        |t| {
            let line = format!("GET http://{}{} HTTP/1.1", t.host, t.echo);
            t.accepts(
                &t.request()
                    .line(line)
                    .replace("Host", "Host: other.example"),
            )
        },
    ),
    case(
        "handshake.segments.bytes",
        "a head that comes byte by byte is the same",
        "6455 §4.2.1",
        |t| {
            let mut client = t.connect()?;
            let bytes = t.request().bytes();
            client.send_in_pieces(&bytes, 1, Duration::from_micros(100))?;
            client.read_response()?.check_accepted(ACCEPT)?;
            works_and_closes(client)
        },
    ),
    case(
        "handshake.segments.line_ends",
        "a head cut inside each line end, and inside the last two, is the same",
        "9112 §2.1",
        cut_line_ends,
    ),
    case(
        "handshake.segments.frame_behind",
        "a frame in the head's segment is not lost",
        "6455 §4.1",
        |t| pipelined(t, &Frame::text("early").bytes(), &[]),
    ),
    case(
        "handshake.segments.half_frame_behind",
        "half a frame in the head's segment is completed by the next",
        "6455 §4.1",
        |t| {
            let bytes = Frame::text("early").bytes();
            pipelined(t, &bytes[..4], &bytes[4..])
        },
    ),
    case(
        "handshake.segments.close_behind",
        "a close frame in the head's segment is answered behind the 101",
        "6455 §7.1.2",
        close_behind,
    ),
];

fn with_lines(request: Request, lines: &[&str]) -> Request {
    lines
        .iter()
        .fold(request, |request, line| request.header(line))
}

fn other_key(t: &Target) -> Outcome {
    let mut client = t.connect()?;
    let key = "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==";
    client.send(&t.request().replace("Sec-WebSocket-Key", key).bytes())?;
    // Worked out with another program's SHA-1.
    let accept = "HSmrc0sMlYUkAGmm5OPpG2HaGWk=";
    client.read_response()?.check_accepted(accept)?;
    works_and_closes(client)
}

fn bare(t: &Target) -> Outcome {
    let response = t.connect()?.shake_hands(&t.request())?;
    for name in ["Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"] {
        if let Some(value) = response.header(name) {
            return fail(format!("{name}: {value}"));
        }
    }
    pass()
}

/// A right request with other space around each value.
fn respace(t: &Target, before: &str, after: &str) -> Request {
    let line = |name: &str, value: &str| format!("{name}:{before}{value}{after}");
    Request::get(&t.host, &t.echo)
        .replace("Host", line("Host", &t.host))
        .header(line("Upgrade", "websocket"))
        .header(line("Connection", "Upgrade"))
        .header(line("Sec-WebSocket-Key", KEY))
        .header(line("Sec-WebSocket-Version", "13"))
}

fn leading_empty_line(t: &Target) -> Outcome {
    let mut client = t.connect()?;
    client.send(&[b"\r\n", t.request().bytes().as_slice()].concat())?;
    let response = client.read_response()?;
    if response.status != 101 {
        // RFC 9112 §2.2: a server SHOULD ignore at least one empty line.
        return loose(format!("status {}", response.status));
    }
    works_and_closes(client)
}

fn cut_line_ends(t: &Target) -> Outcome {
    let head = t.request().bytes();
    let cuts: Vec<usize> = (1..head.len())
        .filter(|&at| head[at - 1] == b'\r')
        .collect();
    for pause in [Duration::ZERO, Duration::from_millis(1)] {
        let mut client = t.connect()?;
        let mut sent = 0;
        for &cut in cuts.iter().chain([&(head.len() - 1), &head.len()]) {
            client.send(&head[sent..cut])?;
            sent = cut;
            std::thread::sleep(pause);
        }
        client.read_response()?.check_accepted(ACCEPT)?;
        works(&mut client)?;
    }
    pass()
}

/// A client must wait for the 101 (RFC 6455 §4.1); what it sends before is best kept.
fn pipelined(t: &Target, with_head: &[u8], later: &[u8]) -> Outcome {
    let mut client = t.connect()?;
    client.send(&[t.request().bytes().as_slice(), with_head].concat())?;
    client.read_response()?.check_accepted(ACCEPT)?;
    client.send(later)?;
    client.expect_text("early")?;
    works_and_closes(client)
}

fn close_behind(t: &Target) -> Outcome {
    let mut client = t.connect()?;
    let close = Frame::close(1000, b"").bytes();
    client.send(&[t.request().bytes(), close].concat())?;
    client.read_response()?.check_accepted(ACCEPT)?;
    client.expect_close(1000)?;
    client.expect_fin()?;
    pass()
}

const CHROME: &[&str] = &[
    "Pragma: no-cache",
    "Cache-Control: no-cache",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
     Chrome/141.0.0.0 Safari/537.36",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-US,en;q=0.9,de;q=0.8",
    "Cookie: a=b; c=d",
    "Sec-WebSocket-Extensions: x-none; client_max_window_bits",
];

const FIREFOX: &[&str] = &[
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: */*",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Sec-Fetch-Dest: empty",
    "Sec-Fetch-Mode: websocket",
    "Sec-Fetch-Site: same-origin",
    "Pragma: no-cache",
    "Cache-Control: no-cache",
];
