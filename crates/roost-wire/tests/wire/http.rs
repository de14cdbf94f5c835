//! Bodies of plain HTTP requests, attempts to smuggle one past us among them, and what is answered.

use roost_wire::handshake::{HandshakeError, Request};
use roost_wire::http::{
    self, BodyDecoder, BodyError, BodyLimits, ResponseBody, ResponseHead, expects_continue,
    wants_keep_alive, write_chunk, write_head, write_last_chunk,
};

const LIMITS: BodyLimits = BodyLimits {
    body_bytes_max: 1_000,
    extension_bytes_max: 16,
    trailer_bytes_max: 32,
};

/// A decoder for a request with these header lines, of HTTP/1.`minor`.
fn decoder(minor: u8, headers: &[&str]) -> Result<BodyDecoder, BodyError> {
    let head = head(minor, headers);
    let request = Request::parse(head.as_bytes(), 16).expect("a good head");
    BodyDecoder::of(&request, LIMITS)
}

fn head(minor: u8, headers: &[&str]) -> String {
    let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    format!("POST /api HTTP/1.{minor}\r\nHost: h\r\n{lines}\r\n")
}

/// The body, and what of the input is left when it is over.
fn read(mut decoder: BodyDecoder, input: &[u8]) -> Result<(Vec<u8>, &[u8]), BodyError> {
    let (mut rest, mut body) = (input, Vec::new());
    while let Some(piece) = decoder.next(&mut rest)? {
        body.extend_from_slice(piece);
    }
    assert!(decoder.is_finished(), "{input:?}: more is needed");
    Ok((body, rest))
}

fn chunked(input: &[u8]) -> Result<(Vec<u8>, &[u8]), BodyError> {
    let decoder = decoder(1, &["Transfer-Encoding: chunked"]);
    read(decoder.expect("a good head"), input)
}

#[test]
fn a_length_is_kept_to_the_byte() {
    let next = b"GET /next HTTP/1.1\r\n";
    for (length, body) in [(0, &b""[..]), (1, b"x"), (5, b"hello")] {
        for line in ["Content-Length: ", "content-length:\t00"] {
            let decoder = decoder(1, &[&format!("{line}{length}")]).expect("a good head");
            assert_eq!(decoder.remaining_bytes(), Some(length));
            let input = [body, next].concat();
            assert_eq!(read(decoder, &input), Ok((body.to_vec(), &next[..])));
        }
    }
    // RFC 9112 §6.3: without either header there is no body.
    assert!(decoder(1, &[]).expect("a good head").is_finished());
    let mut half = decoder(0, &["Content-Length: 5"]).expect("a good head");
    assert_eq!(half.next(&mut &b"hel"[..]), Ok(Some(&b"hel"[..])));
    assert_eq!(
        (half.remaining_bytes(), half.is_finished()),
        (Some(2), false)
    );
}

#[test]
fn what_a_proxy_may_read_otherwise_is_refused() {
    const TE: &str = "Transfer-Encoding: chunked";
    for (headers, error) in [
        // CL.TE and TE.CL.
        (&["Content-Length: 5", TE][..], BodyError::LengthAndEncoding),
        (&[TE, "Content-Length: 5"], BodyError::LengthAndEncoding),
        (&[TE, "Content-Length: 0"], BodyError::LengthAndEncoding),
        (&[TE, "Content-Length: x"], BodyError::LengthAndEncoding),
        // Several lengths, alike or not.
        (
            &["Content-Length: 5", "Content-Length: 6"],
            BodyError::LengthRepeated,
        ),
        (
            &["Content-Length: 5", "content-length: 5"],
            BodyError::LengthRepeated,
        ),
        (&["Content-Length: 5, 5"], BodyError::LengthRepeated),
        (&["Content-Length: 5,6"], BodyError::LengthRepeated),
        // What is no number, to some.
        (&["Content-Length:"], BodyError::LengthInvalid),
        (&["Content-Length: +5"], BodyError::LengthInvalid),
        (&["Content-Length: -5"], BodyError::LengthInvalid),
        (&["Content-Length: 0x5"], BodyError::LengthInvalid),
        (&["Content-Length: 5 5"], BodyError::LengthInvalid),
        (&["Content-Length: 5_0"], BodyError::LengthInvalid),
        (&["Content-Length: 5."], BodyError::LengthInvalid),
        (&["Content-Length: \u{661}"], BodyError::LengthInvalid),
        // 2^64, which wraps to 0; 2^64 + 5.
        (
            &["Content-Length: 18446744073709551616"],
            BodyError::TooLong,
        ),
        (
            &["Content-Length: 18446744073709551621"],
            BodyError::TooLong,
        ),
        (
            &["Content-Length: 18446744073709551615"],
            BodyError::TooLong,
        ),
        (&["Content-Length: 1001"], BodyError::TooLong),
        // TE.TE: what one end takes for chunked.
        (&["Transfer-Encoding: xchunked"], BodyError::EncodingInvalid),
        (
            &["Transfer-Encoding: chunked", TE],
            BodyError::EncodingInvalid,
        ),
        (
            &["Transfer-Encoding: chunked, chunked"],
            BodyError::EncodingInvalid,
        ),
        (
            &["Transfer-Encoding: chunked, identity"],
            BodyError::EncodingInvalid,
        ),
        (
            &["Transfer-Encoding: chunked;q=1"],
            BodyError::EncodingInvalid,
        ),
        (
            &["Transfer-Encoding: \"chunked\""],
            BodyError::EncodingInvalid,
        ),
        (&["Transfer-Encoding: ,chunked"], BodyError::EncodingInvalid),
        (&["Transfer-Encoding:"], BodyError::EncodingInvalid),
        (&["Transfer-Encoding: chun ked"], BodyError::EncodingInvalid),
        (&["Transfer-Encoding: x"], BodyError::EncodingInvalid),
        (&["Transfer-Encoding: x", TE], BodyError::EncodingInvalid),
        (
            &["Transfer-Encoding: gzip, chunked"],
            BodyError::EncodingUnknown,
        ),
        (&["Transfer-Encoding: GZIP"], BodyError::EncodingUnknown),
        (
            &["Transfer-Encoding: identity", TE],
            BodyError::EncodingUnknown,
        ),
    ] {
        let got = decoder(1, headers).map(|_| "accepted");
        assert_eq!(got, Err(error), "{headers:?}");
        let status = error.status();
        assert!((400..=501).contains(&status) && !error.reason().is_empty());
    }
    // RFC 9112 §6.1: not in HTTP/1.0.
    assert_eq!(
        decoder(0, &[TE]).map(|_| ()),
        Err(BodyError::EncodingInvalid)
    );
    assert!(decoder(1, &["transfer-encoding: CHUNKED"]).is_ok());
    // What is refused with the head: space before the colon, folded lines, bytes that are no text.
    for line in [
        "Transfer-Encoding : chunked",
        "Content-Length : 5",
        "X: y\r\n Transfer-Encoding: chunked",
        "X: y\r\n\tContent-Length: 5",
        "Transfer-Encoding: chunked\x0b",
        "Transfer-Encoding\x00: chunked",
        "Content-Length: 5\rX",
    ] {
        let head = head(1, &[line]);
        let parsed = Request::parse(head.as_bytes(), 16).map(|_| ());
        assert_eq!(parsed, Err(HandshakeError::HeadMalformed), "{line:?}");
    }
}

#[test]
fn chunks_are_joined_and_the_rest_is_left() {
    for (input, body, rest) in [
        (&b"0\r\n\r\n"[..], &b""[..], &b""[..]),
        (b"5\r\nhello\r\n0\r\n\r\nGET /", b"hello", b"GET /"),
        (
            b"5\r\nhello\r\n7\r\n, world\r\n000\r\n\r\n",
            b"hello, world",
            b"",
        ),
        (b"00000005\r\nhello\r\n0\r\n\r\n", b"hello", b""),
        (
            b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
            b"01234567890123456789",
            b"",
        ),
        // Extensions and trailers are dropped.
        (b"5;a=b\r\nhello\r\n0;c\r\n\r\n", b"hello", b""),
        (b"5 ;\ta=\"b\"\r\nhello\r\n0\r\n\r\n", b"hello", b""),
        (
            b"1\r\nx\r\n0\r\nContent-Length: 9\r\nA: b\r\n\r\nnext",
            b"x",
            b"next",
        ),
        // What looks like framing, in the body.
        (b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n", b""),
    ] {
        let shown = String::from_utf8_lossy(input);
        assert_eq!(chunked(input), Ok((body.to_vec(), rest)), "{shown:?}");
    }
}

#[test]
fn chunks_that_may_be_read_otherwise_are_refused() {
    for input in [
        &b"\r\n"[..],
        b"x\r\n",
        b"0x5\r\nhello",
        b"+5\r\nhello",
        b" 5\r\nhello",
        b"5 \r\nhello",
        b"5 x\r\nhello",
        b";a\r\n",
        // A bare LF or CR is no line's end.
        b"5\nhello\r\n0\r\n\r\n",
        b"5\rhello\r\n",
        b"5;a\nhello\r\n0\r\n\r\n",
        b"5;a\rb\r\nhello",
        b"5;a\0\r\nhello",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\r0\r\n\r\n",
        b"5\r\nhelloX0\r\n\r\n",
        b"0\r\nA: b\n\r\n",
        b"0\r\n\n",
        b"0\r\nA: \0\r\n\r\n",
        b"0\r\n\rX",
        // 17 digits; 2^64 + 5, which wraps to 5.
        b"00000000000000005\r\nhello\r\n0\r\n\r\n",
        b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    ] {
        let shown = String::from_utf8_lossy(input);
        assert_eq!(chunked(input), Err(BodyError::ChunkInvalid), "{shown:?}");
    }
}

#[test]
fn limits_hold_before_the_bytes_have_come() {
    assert_eq!(chunked(b"3e9\r\n"), Err(BodyError::TooLong), "1001 bytes");
    assert_eq!(chunked(b"ffffffffffffffff\r\n"), Err(BodyError::TooLong));
    let many = [b"3e8\r\n", &[7; 1_000][..], b"\r\n1\r\n"].concat();
    assert_eq!(
        chunked(&many),
        Err(BodyError::TooLong),
        "one more than 1000"
    );
    let all = [b"3e8\r\n", &[7; 1_000][..], b"\r\n0\r\n\r\n"].concat();
    assert_eq!(chunked(&all).map(|(body, _)| body.len()), Ok(1_000));
    // Of all chunks together.
    let extended = b"1;aaaaaaa\r\nx\r\n".repeat(2);
    let over = [&extended[..], b"1;\r\nx"].concat();
    assert_eq!(chunked(&over), Err(BodyError::ExtensionsTooLong));
    assert!(chunked(&[&extended[..], b"0\r\n\r\n"].concat()).is_ok());
    let trailers = format!("0\r\nA: {}\r\n", "b".repeat(29));
    let over = format!("{trailers}C");
    assert_eq!(chunked(over.as_bytes()), Err(BodyError::TrailersTooLong));
    assert!(chunked(format!("{trailers}\r\n").as_bytes()).is_ok());
}

#[test]
fn a_connection_goes_on_as_both_ends_say() {
    for (minor, headers, expected) in [
        (1, &[][..], true),
        (0, &[], false),
        (1, &["Connection: close"], false),
        (1, &["Connection: CLOSE"], false),
        (1, &["Connection: x, close"], false),
        (1, &["Connection: x", "Connection: y ,\tclose"], false),
        (1, &["Connection: closed, Upgrade"], true),
        (0, &["Connection: Keep-Alive"], true),
        (0, &["Connection: keep-alive, close"], false),
        (1, &["Connection: keep-alive"], true),
    ] {
        let head = head(minor, headers);
        let request = Request::parse(head.as_bytes(), 16).expect("a good head");
        assert_eq!(wants_keep_alive(&request), expected, "{head:?}");
    }
}

#[test]
fn a_client_may_wait_for_a_word() {
    for (minor, headers, expected) in [
        (1, &[][..], Ok(false)),
        (1, &["Expect: 100-continue"], Ok(true)),
        (1, &["Expect: 100-Continue"], Ok(true)),
        (0, &["Expect: 100-continue"], Ok(false)),
        (0, &["Expect: x"], Ok(false)),
        (1, &["Expect: x"], Err(BodyError::ExpectationUnknown)),
        (
            1,
            &["Expect: 100-continue, x"],
            Err(BodyError::ExpectationUnknown),
        ),
        (
            1,
            &["Expect: 100-continue", "Expect: x"],
            Err(BodyError::ExpectationUnknown),
        ),
    ] {
        let head = head(minor, headers);
        let request = Request::parse(head.as_bytes(), 16).expect("a good head");
        assert_eq!(expects_continue(&request), expected, "{head:?}");
    }
    assert_eq!(http::CONTINUE, b"HTTP/1.1 100 Continue\r\n\r\n");
}

#[test]
fn heads_say_how_the_body_ends() {
    let written = |body, keep_alive, minor_version| {
        let head = ResponseHead {
            status: 200,
            headers: &[("X-A", "b")],
            body,
            keep_alive,
            minor_version,
        };
        let mut out = Vec::new();
        write_head(&mut out, &head);
        let text = String::from_utf8(out).expect("ASCII");
        let lines = text.strip_suffix("X-A: b\r\n\r\n").expect("the end");
        let framing = lines.strip_prefix("HTTP/1.1 200 OK\r\n").expect("the line");
        (framing.to_owned(), head.keeps_alive())
    };
    let expected = |lines: &str, keeps_alive| (lines.to_owned(), keeps_alive);
    for (body, keep_alive, minor, lines, keeps_alive) in [
        (
            ResponseBody::Length(7),
            true,
            1,
            "Content-Length: 7\r\n",
            true,
        ),
        (
            ResponseBody::Length(7),
            true,
            0,
            "Content-Length: 7\r\nConnection: keep-alive\r\n",
            true,
        ),
        (
            ResponseBody::Length(0),
            false,
            1,
            "Content-Length: 0\r\nConnection: close\r\n",
            false,
        ),
        (
            ResponseBody::Stream,
            true,
            1,
            "Transfer-Encoding: chunked\r\n",
            true,
        ),
        (
            ResponseBody::Stream,
            true,
            0,
            "Connection: close\r\n",
            false,
        ),
        (
            ResponseBody::Stream,
            false,
            1,
            "Transfer-Encoding: chunked\r\nConnection: close\r\n",
            false,
        ),
        (ResponseBody::None, true, 1, "", true),
    ] {
        assert_eq!(
            written(body, keep_alive, minor),
            expected(lines, keeps_alive),
            "{body:?}"
        );
    }
    let mut stream = Vec::new();
    write_chunk(&mut stream, b"hello");
    write_chunk(&mut stream, b"");
    write_chunk(&mut stream, &[b'x'; 26]);
    write_last_chunk(&mut stream);
    let expected = format!("5\r\nhello\r\n1a\r\n{}\r\n0\r\n\r\n", "x".repeat(26));
    assert_eq!(String::from_utf8(stream).expect("ASCII"), expected);
}

/// RFC 9112 §3.2.
#[test]
fn a_plain_request_names_one_host() {
    for (minor, lines, expected) in [
        (1, "Host: h\r\n", Ok(())),
        (1, "host: h.example:80\r\n", Ok(())),
        (1, "Host: [::1]:80\r\n", Ok(())),
        (1, "Host:\r\n", Ok(())),
        (0, "", Ok(())),
        (0, "Host: h\r\n", Ok(())),
        (1, "", Err(HandshakeError::HostMissing)),
        (
            1,
            "Host: h\r\nHost: h\r\n",
            Err(HandshakeError::HostRepeated),
        ),
        (
            0,
            "Host: h\r\nhost: g\r\n",
            Err(HandshakeError::HostRepeated),
        ),
        (1, "Host: a b\r\n", Err(HandshakeError::HostInvalid)),
        (1, "Host: user@h\r\n", Err(HandshakeError::HostInvalid)),
        (0, "Host: h/path\r\n", Err(HandshakeError::HostInvalid)),
    ] {
        let head = format!("GET / HTTP/1.{minor}\r\n{lines}\r\n");
        let request = Request::parse(head.as_bytes(), 16).expect("a good head");
        assert_eq!(request.check_host(), expected, "{head:?}");
    }
}
