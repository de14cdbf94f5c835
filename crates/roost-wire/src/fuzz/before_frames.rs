//! The same for what comes before frames: the header of a proxy, a request's head, its body.

use std::net::IpAddr;

use crate::forwarded::{ForwardedHeader, client_of};
use crate::handshake::{self, HeadScanner, Request, Upgrade};
use crate::hixie;
use crate::http::{self, BodyDecoder, BodyError, BodyLimits};
use crate::proxy::{self, Progress};

/// A request head: the scanner agrees with the parser and with itself, and what is accepted can be
/// answered.
pub fn head(data: &[u8]) {
    let mut scanner = HeadScanner::default();
    let whole = HeadScanner::default().scan(data);
    let stepped = (0..=data.len()).find_map(|len| scanner.scan(&data[..len]));
    assert_eq!(whole, stepped, "a head found whole is found in steps");
    let steps = scanner.steps();
    assert!(steps <= data.len() as u64, "{steps} steps: a byte twice");

    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let parsed = httparse::Request::new(&mut headers).parse(data);
    if let Ok(httparse::Status::Complete(len)) = parsed {
        assert_eq!(whole, Some(len), "the parser ends where the scanner does");
    }
    let Some(head_len) = whole else {
        return;
    };
    assert_ne!(
        parsed,
        Ok(httparse::Status::Partial),
        "a whole head is not partial"
    );
    let Ok(request) = Request::parse(&data[..head_len], HEADERS_MAX) else {
        return;
    };
    assert!(
        request.path().starts_with('/'),
        "a path begins with a slash"
    );
    let mut response = Vec::new();
    if let Some(Ok(early)) = hixie::detect(&request) {
        let protocol = early.protocols().next();
        early.write_accept(&mut response, false, [0; 8], protocol);
        assert!(HeadScanner::default().scan(&response).is_some());
        assert!(matches!(request.upgrade(), Upgrade::Refused(_)));
        return;
    }
    match request.upgrade() {
        Upgrade::Plain => {}
        Upgrade::Refused(error) => {
            error.write_response(&mut response);
            let refused = handshake::parse_response(&response, "", &[]);
            assert_eq!(
                refused,
                Err(handshake::ResponseError::Status(error.status()))
            );
        }
        Upgrade::WebSocket(granted) => {
            let protocols: Vec<&str> = granted.protocols().collect();
            let params = granted.extensions().map(|offer| offer.params().count());
            assert!(params.sum::<usize>() <= data.len());
            let chosen = protocols.first().copied();
            handshake::write_accept(&mut response, granted.key(), chosen, None);
            let accepted = handshake::parse_response(&response, granted.key(), &protocols)
                .expect("a client takes what we grant");
            assert_eq!(accepted.protocol, chosen);
        }
    }
}

/// The header of the PROXY protocol: what is known at some byte stays so with more, and soon all is.
pub fn proxy(data: &[u8]) {
    let whole = proxy::parse(data);
    let mut decided = None;
    for len in 0..=data.len().min(proxy::HEADER_BYTES_MAX) {
        let progress = proxy::parse(&data[..len]);
        match decided {
            Some(before) => assert_eq!(progress, before, "another answer with {len} bytes"),
            None if progress != Ok(Progress::Incomplete) => decided = Some(progress),
            None => {}
        }
    }
    match (decided, whole) {
        (Some(decided), whole) => assert_eq!(decided, whole),
        (None, Ok(Progress::Incomplete)) => assert!(data.len() < proxy::HEADER_BYTES_MAX),
        (None, whole) => panic!("{whole:?} only when it is whole"),
    }
    if let Ok(Progress::Whole(len, _)) = whole {
        assert!(len <= data.len() && len <= proxy::HEADER_BYTES_MAX);
    }
}

/// What a client may have put before what a proxy says, each line a value of the header: it is never taken
/// for the client's address.
pub fn forwarded(data: &[u8]) {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let is_trusted = |address: IpAddr| matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 10);
    for (header, parts) in [
        (ForwardedHeader::XForwardedFor, ["192.0.2.1", "10.0.0.1"]),
        (
            ForwardedHeader::Forwarded,
            ["for=\"192.0.2.1:80\";proto=https", "for=10.0.0.1"],
        ),
    ] {
        let find = |values: &[&[u8]]| client_of(header, values.iter().copied(), is_trusted);
        find(&lines);
        let client = Some(IpAddr::from([192, 0, 2, 1]));
        let parts = parts.map(str::as_bytes);
        // The proxies put theirs behind it, on lines of their own or on its line.
        let mut own_lines = lines.clone();
        own_lines.extend(parts);
        assert_eq!(find(&own_lines), client, "{header:?}");
        let last = lines.last().copied().unwrap_or_default();
        let joined = [last, parts[0], parts[1]].join(&b", "[..]);
        let mut same_line = lines.clone();
        same_line.pop();
        same_line.push(&joined);
        assert_eq!(find(&same_line), client, "{header:?}");
        // A proxy that does not know ends it.
        let mut unknown = lines.clone();
        unknown.extend([&b"unknown"[..], parts[1]]);
        assert_eq!(find(&unknown), None, "{header:?}");
    }
}

/// A request's head with what follows it: the body is the same however it is cut, no longer than
/// allowed, and means the same when it is written again.
pub fn body(data: &[u8]) {
    let Some(head_len) = HeadScanner::default().scan(data) else {
        return;
    };
    let Ok(request) = Request::parse(&data[..head_len], HEADERS_MAX) else {
        return;
    };
    let rest = &data[head_len..];
    let limits = BodyLimits {
        body_bytes_max: 100,
        extension_bytes_max: 20,
        trailer_bytes_max: 30,
    };
    let Ok(whole) = BodyDecoder::of(&request, limits) else {
        return;
    };
    let read = read_body(whole.clone(), rest, rest.len());
    for piece in [1, 2, 7] {
        let cut = read_body(whole.clone(), rest, piece);
        assert_eq!(cut, read, "in pieces of {piece}");
    }
    let Ok((bytes, Some(used))) = read else {
        return;
    };
    assert!(bytes.len() as u64 <= limits.body_bytes_max, "too long");
    assert!(
        used >= bytes.len() && used <= rest.len(),
        "{used} of {rest:?}"
    );
    if request.values("Transfer-Encoding").next().is_none() {
        assert_eq!(
            &rest[..used],
            bytes,
            "a body without chunks is all there is"
        );
        return;
    }
    // What we would send for it reads the same.
    let mut written = Vec::new();
    bytes
        .chunks(9)
        .for_each(|piece| http::write_chunk(&mut written, piece));
    http::write_last_chunk(&mut written);
    let len = written.len();
    assert_eq!(read_body(whole, &written, 5), Ok((bytes, Some(len))));
}

/// The body in `input`, given in pieces, and how many bytes of it that took, if it is over.
fn read_body(
    mut decoder: BodyDecoder,
    input: &[u8],
    piece: usize,
) -> Result<(Vec<u8>, Option<usize>), BodyError> {
    let (mut bytes, mut used) = (Vec::new(), 0);
    for mut lease in input.chunks(piece.max(1)) {
        let len = lease.len();
        while let Some(piece) = decoder.next(&mut lease)? {
            assert!(!piece.is_empty(), "an empty piece says nothing");
            bytes.extend_from_slice(piece);
        }
        used += len - lease.len();
        if decoder.is_finished() {
            break;
        }
        assert!(lease.is_empty(), "it stops in the middle of a lease");
    }
    Ok((bytes, decoder.is_finished().then_some(used)))
}

const HEADERS_MAX: usize = 64;
