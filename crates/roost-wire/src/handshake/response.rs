//! What a server answers.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1_smol::Sha1;

/// The value of Sec-WebSocket-Accept for a client's key, ASCII.
///
/// RFC 6455 §4.2.2: the key as sent, with a fixed GUID behind it, through SHA-1 and base64.
pub fn accept_value(key: &str) -> [u8; 28] {
    let mut sha1 = Sha1::new();
    sha1.update(key.as_bytes());
    sha1.update(GUID);
    let mut accept = [0; 28];
    STANDARD
        .encode_slice(sha1.digest().bytes(), &mut accept)
        .expect("20 bytes are 28 characters of base64");
    accept
}

/// Appends the 101 that opens the WebSocket. `protocol` is one that the client named; `extensions`
/// is the whole value of Sec-WebSocket-Extensions.
pub fn write_accept(
    out: &mut Vec<u8>,
    key: &str,
    protocol: Option<&str>,
    extensions: Option<&str>,
) {
    write_accept_with(out, key, protocol, extensions, None);
}

/// The same with one more header.
pub fn write_accept_with(
    out: &mut Vec<u8>,
    key: &str,
    protocol: Option<&str>,
    extensions: Option<&str>,
    header: Option<(&str, &str)>,
) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\n\
          Upgrade: websocket\r\n\
          Connection: Upgrade\r\n\
          Sec-WebSocket-Accept: ",
    );
    out.extend_from_slice(&accept_value(key));
    out.extend_from_slice(b"\r\n");
    if let Some(protocol) = protocol {
        write_header(out, "Sec-WebSocket-Protocol", protocol);
    }
    if let Some(extensions) = extensions {
        write_header(out, "Sec-WebSocket-Extensions", extensions);
    }
    if let Some((name, value)) = header {
        write_header(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a whole plain HTTP response, after which the connection closes. Header values must not
/// hold line ends: they are ours, never a peer's.
pub fn write_response(
    out: &mut Vec<u8>,
    status: u16,
    content_type: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) {
    // Writing to a Vec cannot fail.
    let _ = write!(
        out,
        "HTTP/1.1 {status} {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\
         Connection: close\r\n",
        reason_phrase(status),
        body.len(),
    );
    for (name, value) in headers {
        write_header(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}

pub(crate) fn write_header(out: &mut Vec<u8>, name: &str, value: &str) {
    debug_assert!(
        !value.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)),
        "a header value without line ends"
    );
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The status as people know it (RFC 9110 §15). Recipients ignore it; logs show it.
pub(crate) fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        // RFC 9112 §4: the phrase may be empty.
        _ => "",
    }
}

pub(super) const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        // RFC 6455 §1.3.
        assert_eq!(
            &accept_value("dGhlIHNhbXBsZSBub25jZQ=="),
            b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn an_accept_names_only_what_was_chosen() {
        let mut out = Vec::new();
        write_accept(&mut out, "dGhlIHNhbXBsZSBub25jZQ==", Some("chat"), None);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
             Sec-WebSocket-Protocol: chat\r\n\r\n"
        );
    }

    #[test]
    fn a_response_is_complete() {
        let mut out = Vec::new();
        write_response(&mut out, 404, "text/plain", &[("X-A", "b")], b"gone\n");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\
             Connection: close\r\nX-A: b\r\n\r\ngone\n"
        );
    }
}
