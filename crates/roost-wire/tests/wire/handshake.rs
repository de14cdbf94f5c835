//! RFC 6455 §4: the opening handshake, header by header.

use std::borrow::Cow;
use std::time::Instant;

use roost_wire::fuzz;
use roost_wire::handshake::{
    ClientRequest, HandshakeError, HeadScanner, Protocols, Request, ResponseError, Upgrade,
    encode_key, parse_response, write_accept,
};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A good request, line by line.
const GOOD: [&str; 6] = [
    "GET /chat?room=1 HTTP/1.1",
    "Host: server.example.com",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

/// The good request with `replaced` (found by its beginning) replaced by `lines`.
fn with(replaced: &str, lines: &[&str]) -> String {
    let mut head = String::new();
    let mut found = replaced.is_empty();
    for line in GOOD {
        if !replaced.is_empty() && line.starts_with(replaced) {
            found = true;
            lines.iter().for_each(|line| head += &format!("{line}\r\n"));
        } else {
            head += &format!("{line}\r\n");
        }
    }
    assert!(found, "the good request has a line {replaced}");
    if replaced.is_empty() {
        lines.iter().for_each(|line| head += &format!("{line}\r\n"));
    }
    head + "\r\n"
}

fn added(lines: &[&str]) -> String {
    with("", lines)
}

fn verdict(head: &str) -> Result<(), Option<HandshakeError>> {
    fuzz::head(head.as_bytes());
    let found = HeadScanner::default().scan(head.as_bytes());
    assert_eq!(found, Some(head.len()));
    let request = Request::parse(head.as_bytes(), 32).map_err(Some)?;
    match request.upgrade() {
        Upgrade::Plain => Err(None),
        Upgrade::WebSocket(_) => Ok(()),
        Upgrade::Refused(error) => Err(Some(error)),
    }
}

#[track_caller]
fn granted(head: &str) {
    assert_eq!(verdict(head), Ok(()), "{head}");
}

#[track_caller]
fn refused(head: &str, error: HandshakeError) {
    assert_eq!(verdict(head), Err(Some(error)), "{head}");
}

#[track_caller]
fn plain(head: &str) {
    assert_eq!(verdict(head), Err(None), "{head}");
}

#[test]
fn the_example_of_section_1_2() {
    let head = "GET /chat HTTP/1.1\r\n\
        Host: server.example.com\r\n\
        Upgrade: websocket\r\n\
        Connection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Origin: http://example.com\r\n\
        Sec-WebSocket-Protocol: chat, superchat\r\n\
        Sec-WebSocket-Version: 13\r\n\r\n";
    let request = Request::parse(head.as_bytes(), 16).unwrap();
    assert_eq!(request.method(), "GET");
    assert_eq!((request.path(), request.query()), ("/chat", None));
    assert_eq!(request.host(), Some("server.example.com"));
    let Upgrade::WebSocket(granted) = request.upgrade() else {
        panic!("a WebSocket");
    };
    assert_eq!(granted.key(), KEY);
    assert_eq!(granted.origin(), Some("http://example.com"));
    assert!(granted.protocols().eq(["chat", "superchat"]));
    assert_eq!(granted.extensions().count(), 0);
}

#[test]
fn header_names_and_tokens_in_any_case_and_spacing() {
    granted(&with("Upgrade", &["uPGRADE:   WebSocket \t"]));
    granted(&with(
        "Connection",
        &["CONNECTION:keep-alive,\tupgrade , x"],
    ));
    granted(&with(
        "Connection",
        &["Connection: keep-alive", "Connection: Upgrade"],
    ));
    granted(&with("Upgrade", &["Upgrade: h2c, websocket"]));
    granted(&with("Host", &["host:server"]));
    granted(&with("Host", &["Host: [::1]:8080"]));
    granted(&with(
        "Sec-WebSocket-Version",
        &["sec-websocket-version:13 "],
    ));
    granted(&added(&["Content-Length: 0"]));
}

#[test]
fn bare_line_feeds_end_lines_too() {
    let head = with("", &[]).replace("\r\n", "\n");
    granted(&head);
}

#[test]
fn method_and_version() {
    refused(&with("GET", &["POST / HTTP/1.1"]), HandshakeError::Method);
    refused(&with("GET", &["get / HTTP/1.1"]), HandshakeError::Method);
    refused(
        &with("GET", &["GET / HTTP/1.0"]),
        HandshakeError::HttpVersion,
    );
    refused(
        &with("GET", &["GET / HTTP/2.0"]),
        HandshakeError::HttpVersion,
    );
    refused(
        &with("GET", &["GET /  HTTP/1.1"]),
        HandshakeError::HeadMalformed,
    );
    refused(
        &with("GET", &["GET / FTP/1.1"]),
        HandshakeError::HeadMalformed,
    );
    refused(&with("GET", &["GET /"]), HandshakeError::HeadMalformed);
    refused(&with("Host", &["Host : x"]), HandshakeError::HeadMalformed);
    refused(
        &with("Host", &["Host: a", " folded"]),
        HandshakeError::HeadMalformed,
    );
    refused(&with("Host", &["Host: a\0"]), HandshakeError::HeadMalformed);
}

#[test]
fn targets() {
    let parse = |target: &str| {
        let head = with("GET", &[&format!("GET {target} HTTP/1.1")]);
        let request = Request::parse(head.as_bytes(), 32)?;
        Ok((
            request.path().to_owned(),
            request.query().map(str::to_owned),
            request.host().map(str::to_owned),
        ))
    };
    let ok = |path: &str, query: Option<&str>, host: &str| {
        Ok((
            path.to_owned(),
            query.map(str::to_owned),
            Some(host.to_owned()),
        ))
    };
    let own = "server.example.com";
    assert_eq!(parse("/a/b?c=d?e"), ok("/a/b", Some("c=d?e"), own));
    assert_eq!(parse("/?"), ok("/", Some(""), own));
    assert_eq!(parse("//x"), ok("//x", None, own));
    assert_eq!(
        parse("http://other:80/a?b"),
        ok("/a", Some("b"), "other:80")
    );
    assert_eq!(parse("WSS://other"), ok("/", None, "other"));
    assert_eq!(parse("ws://other?q"), ok("/", Some("q"), "other"));
    // RFC 9112 §3.2.4: for OPTIONS alone.
    let options = with("GET", &["OPTIONS * HTTP/1.0"]);
    assert_eq!(Request::parse(options.as_bytes(), 32).unwrap().path(), "*");
    for bad in [
        "/a#b",
        "*",
        "other:80",
        "ftp://other/",
        "http:///a",
        "http://u@other/",
        "a/b",
    ] {
        assert_eq!(parse(bad), Err(HandshakeError::TargetInvalid), "{bad}");
    }
}

#[test]
fn host_is_there_once_and_an_authority() {
    refused(&with("Host", &[]), HandshakeError::HostMissing);
    refused(
        &with("Host", &["Host: a", "Host: a"]),
        HandshakeError::HostRepeated,
    );
    refused(&with("Host", &["Host:"]), HandshakeError::HostInvalid);
    refused(&with("Host", &["Host: a b"]), HandshakeError::HostInvalid);
    refused(&with("Host", &["Host: a/b"]), HandshakeError::HostInvalid);
    refused(
        &with("Host", &["Host: user@a"]),
        HandshakeError::HostInvalid,
    );
}

#[test]
fn without_upgrade_websocket_it_is_plain() {
    plain(&with("Upgrade", &[]));
    plain(&with("Upgrade", &["Upgrade: h2c"]));
    plain(&with("Upgrade", &["Upgrade: websocket13"]));
    plain("GET / HTTP/1.0\r\n\r\n");
    plain("POST /publish HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n");
}

#[test]
fn connection_names_upgrade() {
    for lines in [
        &[][..],
        &["Connection: keep-alive"],
        &["Connection: upgraded"],
    ] {
        refused(
            &with("Connection", lines),
            HandshakeError::ConnectionLacksUpgrade,
        );
    }
}

#[test]
fn a_key_is_16_bytes_in_base64() {
    let key = |lines: &[&str]| with("Sec-WebSocket-Key", lines);
    refused(&key(&[]), HandshakeError::KeyMissing);
    let line = format!("Sec-WebSocket-Key: {KEY}");
    refused(&key(&[&line, &line]), HandshakeError::KeyRepeated);
    for bad in [
        "",
        "dGhlIHNhbXBsZSBub25jZQ",   // no padding
        "dGhlIHNhbXBsZSBub25jZQ=",  // half of it
        "dGhlIHNhbXBsZSBub25jZWU=", // 17 bytes
        "dGhlIHNhbXBsZSBub24=",     // 14 bytes
        "dGhlIHNhbXBsZSBub25jZ!==",
        "dGhlIHNhbXBsZSBub25j_-==",
        "========================",
        "dGhlIHNhbXBsZSBub25jZQ== x",
    ] {
        refused(
            &key(&[&format!("Sec-WebSocket-Key: {bad}")]),
            HandshakeError::KeyInvalid,
        );
    }
    // Bits beyond the 16th byte need not be zero.
    granted(&key(&["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR=="]));
}

#[test]
fn only_version_13() {
    let version = |lines: &[&str]| with("Sec-WebSocket-Version", lines);
    for lines in [
        &[][..],
        &["Sec-WebSocket-Version: 8"],
        &["Sec-WebSocket-Version: 13, 8"],
    ] {
        refused(&version(lines), HandshakeError::VersionUnsupported);
    }
    let line = "Sec-WebSocket-Version: 13";
    refused(&version(&[line, line]), HandshakeError::VersionRepeated);
    let mut response = Vec::new();
    HandshakeError::VersionUnsupported.write_response(&mut response);
    let response = String::from_utf8(response).unwrap();
    assert!(response.starts_with("HTTP/1.1 426 Upgrade Required\r\n"));
    assert!(response.contains("\r\nSec-WebSocket-Version: 13\r\n"));
    assert!(response.contains("\r\nUpgrade: websocket\r\n"));
    assert!(response.ends_with("the only version that this server speaks.\n"));
}

#[test]
fn no_body_and_one_origin() {
    refused(&added(&["Content-Length: 1"]), HandshakeError::Body);
    refused(
        &added(&["Content-Length: 0", "Content-Length: 5"]),
        HandshakeError::Body,
    );
    refused(&added(&["Content-Length: x"]), HandshakeError::Body);
    refused(
        &added(&["Transfer-Encoding: chunked"]),
        HandshakeError::Body,
    );
    granted(&added(&["Origin: null"]));
    refused(
        &added(&["Origin: a", "Origin: b"]),
        HandshakeError::OriginRepeated,
    );
}

fn protocols(lines: &[&str]) -> Result<Vec<String>, HandshakeError> {
    let head = added(lines);
    let request = Request::parse(head.as_bytes(), 128)?;
    match request.upgrade() {
        Upgrade::WebSocket(granted) => Ok(granted.protocols().map(str::to_owned).collect()),
        Upgrade::Refused(error) => Err(error),
        Upgrade::Plain => unreachable!("it asks for a WebSocket"),
    }
}

#[test]
fn subprotocols_in_order_over_all_headers() {
    let heard = protocols(&[
        "Sec-WebSocket-Protocol: wamp.2.json,soap",
        "X: y",
        "sec-websocket-protocol:\t, a ,,b\t",
    ]);
    assert_eq!(heard.unwrap(), ["wamp.2.json", "soap", "a", "b"]);
    assert_eq!(protocols(&[]).unwrap(), [""; 0]);
}

/// RFC 9110 §5.6.1.2, in every header that is a list.
#[test]
fn empty_elements_count_for_nothing() {
    for empty in ["", " ", "\t", ",", " , ,\t,", ",,,,"] {
        let line = format!("Sec-WebSocket-Protocol:{empty}");
        assert_eq!(protocols(&[&line]).unwrap(), [""; 0], "{line:?}");
        let with_one = [line.as_str(), "Sec-WebSocket-Protocol: a"];
        assert_eq!(protocols(&with_one).unwrap(), ["a"], "{line:?}");
        let line = format!("Sec-WebSocket-Extensions:{empty}");
        assert_eq!(extensions(&[&line]).unwrap(), [], "{line:?}");
        let lines = [format!("Connection:{empty}"), "Connection: Upgrade".into()];
        granted(&with("Connection", &lines.each_ref().map(String::as_str)));
        let line = format!(
            "Connection: {empty},keep-alive,{empty},Upgrade{}",
            if empty.contains(',') { empty } else { "" }
        );
        granted(&with("Connection", &[&line]));
        let line = format!("Upgrade: {empty},websocket,{empty}");
        granted(&with("Upgrade", &[&line]));
    }
}

/// What a person reads.
#[test]
fn reasons_are_sentences_on_one_line() {
    use HandshakeError::*;
    for error in [
        HeadMalformed,
        HeadersTooMany,
        HeadTooLong,
        HttpVersion,
        TargetInvalid,
        Method,
        Body,
        HostMissing,
        HostRepeated,
        HostInvalid,
        ConnectionLacksUpgrade,
        KeyMissing,
        KeyRepeated,
        KeyInvalid,
        VersionRepeated,
        VersionUnsupported,
        OriginRepeated,
        OriginInvalid,
        ProtocolsInvalid,
        ProtocolRepeated,
        ProtocolsTooMany,
        ExtensionsInvalid,
    ] {
        let reason = error.reason();
        assert!(
            reason.starts_with(|c: char| c.is_ascii_uppercase()),
            "{reason}"
        );
        assert!(reason.ends_with('.') && !reason.contains('\n'), "{reason}");
        assert!((30..180).contains(&reason.len()), "{reason}");
    }
}

#[test]
fn subprotocols_are_distinct_tokens() {
    let one = |value: &str| protocols(&[&format!("Sec-WebSocket-Protocol: {value}")]);
    for bad in ["a b", "a;b", "\"a\"", "a, b/c", "a, é", "a=b", "(a)"] {
        assert_eq!(one(bad), Err(HandshakeError::ProtocolsInvalid), "{bad}");
    }
    assert_eq!(one("a, b, a"), Err(HandshakeError::ProtocolRepeated));
    assert_eq!(one("a, A").unwrap(), ["a", "A"], "case matters");
    let names = |count: usize| (0..count).map(|n| format!("p{n}")).collect::<Vec<_>>();
    let most = names(Protocols::MAX);
    assert_eq!(one(&most.join(",")).unwrap(), most);
    let many = names(Protocols::MAX + 1);
    assert_eq!(one(&many.join(",")), Err(HandshakeError::ProtocolsTooMany));
    let lines = ["Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: a"];
    assert_eq!(protocols(&lines), Err(HandshakeError::ProtocolRepeated));
}

/// An offer: name, parameters.
type Offer = (String, Vec<(String, Option<String>)>);

fn extensions(lines: &[&str]) -> Result<Vec<Offer>, HandshakeError> {
    let head = added(lines);
    let request = Request::parse(head.as_bytes(), 128)?;
    match request.upgrade() {
        Upgrade::WebSocket(granted) => Ok(granted
            .extensions()
            .map(|offer| {
                let params = offer.params();
                let params =
                    params.map(|(name, value)| (name.to_owned(), value.map(Cow::into_owned)));
                (offer.name.to_owned(), params.collect())
            })
            .collect()),
        Upgrade::Refused(error) => Err(error),
        Upgrade::Plain => unreachable!("it asks for a WebSocket"),
    }
}

#[test]
fn extensions_and_their_parameters() {
    let offers = extensions(&[
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; \
         server_max_window_bits=10 , x",
        "Sec-WebSocket-Extensions: ,y ; a=\"b\";c=\"d\\e\" ; f",
    ])
    .unwrap();
    let param = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
    assert_eq!(
        offers,
        [
            (
                "permessage-deflate".to_owned(),
                vec![
                    param("client_max_window_bits", None),
                    param("server_max_window_bits", Some("10")),
                ]
            ),
            ("x".to_owned(), vec![]),
            (
                "y".to_owned(),
                vec![
                    param("a", Some("b")),
                    param("c", Some("de")),
                    param("f", None)
                ]
            ),
        ]
    );
}

#[test]
fn malformed_extensions_are_refused() {
    for bad in [
        ";",
        "a;",
        "a;;b",
        "a b",
        "a; b=",
        "a; =b",
        "a; b=\"c",
        "a; b=\"\"",
        "a; b=\"c d\"",
        "a; b=\"c\\",
        "a; b=\"c\\\"",
        "a; b=\"c\\ d\"",
        "a; b=\"c\"d",
        "a; b c",
        "a=b",
        "é",
    ] {
        let lines = [&*format!("Sec-WebSocket-Extensions: {bad}")];
        assert_eq!(
            extensions(&lines),
            Err(HandshakeError::ExtensionsInvalid),
            "{bad}"
        );
    }
}

/// ws CVE-2021-32640, websocket-extensions CVE-2020-7662: long runs that made parsers go back.
#[test]
#[expect(clippy::disallowed_methods, reason = "it compares times")]
fn list_headers_parse_in_linear_time() {
    let hostile: [(&str, &str, &str); 5] = [
        ("Sec-WebSocket-Extensions", "a; b=\"", "\\a"),
        ("Sec-WebSocket-Extensions", "a", "; b"),
        ("Sec-WebSocket-Extensions", "a", ", a"),
        ("Sec-WebSocket-Protocol", "a", " ,"),
        ("Sec-WebSocket-Protocol", "a", " \t"),
    ];
    for (name, begin, again) in hostile {
        let time = |len: usize| {
            let head = added(&[&format!(
                "{name}: {begin}{}",
                again.repeat(len / again.len())
            )]);
            let start = Instant::now();
            let request = Request::parse(head.as_bytes(), 16).expect("a good head");
            let _ = request.upgrade();
            start.elapsed()
        };
        // Quadratic, the ratio would be 1,024; linear, 32. A busy machine may spoil a
        // measurement, not twenty.
        let linear = |_| time(512 << 10) < time(16 << 10) * 256;
        assert!((0..20).any(linear), "{name}: {again:?}");
    }
}

/// ws CVE-2024-37890, Cowboy CVE-2026-65624: more headers than allowed, also of one name.
#[test]
fn the_number_of_headers_is_limited() {
    let head = |count: usize| {
        let headers = "X: y\r\n".repeat(count);
        format!("GET / HTTP/1.1\r\n{headers}\r\n")
    };
    assert!(Request::parse(head(32).as_bytes(), 32).is_ok());
    let error = Request::parse(head(33).as_bytes(), 32).expect_err("33 headers are too many");
    assert_eq!(
        (error, error.status()),
        (HandshakeError::HeadersTooMany, 431)
    );
    assert!(Request::parse(head(0).as_bytes(), 0).is_ok());
}

#[test]
fn a_client_gets_through() {
    let key = encode_key(*b"the sample nonce");
    assert_eq!(key, KEY);
    let mut head = Vec::new();
    ClientRequest {
        host: "127.0.0.1:8080",
        target: "/raw/lobby?x=y",
        key: &key,
        protocols: &["wamp.2.json", "raw"],
        extensions: Some("permessage-deflate"),
        origin: Some("http://localhost"),
    }
    .write(&mut head);
    let request = Request::parse(&head, 16).unwrap();
    assert_eq!(
        (request.path(), request.query()),
        ("/raw/lobby", Some("x=y"))
    );
    let Upgrade::WebSocket(granted) = request.upgrade() else {
        panic!("a WebSocket");
    };
    assert!(granted.protocols().eq(["wamp.2.json", "raw"]));
    assert_eq!(granted.origin(), Some("http://localhost"));
    assert_eq!(
        granted.extensions().next().unwrap().name,
        "permessage-deflate"
    );

    let mut response = Vec::new();
    write_accept(
        &mut response,
        granted.key(),
        Some("raw"),
        Some("permessage-deflate"),
    );
    let accepted = parse_response(&response, &key, &["wamp.2.json", "raw"]).unwrap();
    assert_eq!(accepted.protocol, Some("raw"));
    assert_eq!(accepted.extensions, Some("permessage-deflate"));
}

#[test]
fn a_client_checks_the_response() {
    let mut good = Vec::new();
    write_accept(&mut good, KEY, Some("raw"), None);
    let good = String::from_utf8(good).unwrap();
    let check = |response: &str| parse_response(response.as_bytes(), KEY, &["raw"]).map(|_| ());
    assert_eq!(check(&good), Ok(()));
    let changed = |from: &str, to: &str| {
        assert!(good.contains(from));
        check(&good.replace(from, to))
    };
    assert_eq!(changed("101", "200"), Err(ResponseError::Status(200)));
    assert_eq!(
        changed("Upgrade: websocket\r\n", ""),
        Err(ResponseError::Upgrade)
    );
    assert_eq!(
        changed("Connection: Upgrade\r\n", ""),
        Err(ResponseError::Connection)
    );
    assert_eq!(changed("s3pPLMB", "s3pPLMb"), Err(ResponseError::Accept));
    assert_eq!(changed(": raw", ": soap"), Err(ResponseError::Protocol));
    let twice = ": raw\r\nSec-WebSocket-Protocol: raw";
    assert_eq!(changed(": raw", twice), Err(ResponseError::Protocol));
    assert_eq!(
        changed("HTTP/1.1", "HTTP:1.1"),
        Err(ResponseError::Malformed)
    );
    assert_eq!(changed("\r\n\r\n", "\r\n"), Err(ResponseError::Malformed));
}
