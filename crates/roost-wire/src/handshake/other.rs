//! Telling other protocols from HTTP/1 by the first bytes of a connection, so that a client on the
//! wrong port is answered at once instead of when its time is over.

/// Another protocol than HTTP/1, of which a port for plain HTTP and WebSocket hears now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OtherProtocol {
    /// A TLS handshake: `https://` or `wss://`, or a proxy that speaks TLS to its backend.
    Tls,
    /// The header of the PROXY protocol, version 1 or 2: a proxy that announces its client.
    Proxy,
    /// HTTP/2 without negotiation ("prior knowledge").
    Http2,
    /// A client of SSH.
    Ssh,
    /// Bytes with which no HTTP/1 request begins.
    Unknown,
}

impl OtherProtocol {
    /// Which protocol these first bytes of a connection begin, once enough of them have come:
    /// `None` for HTTP/1 and for what may still become either. After [`Self::BYTES_MAX`] bytes the
    /// answer stays the same.
    pub fn detect(bytes: &[u8]) -> Option<OtherProtocol> {
        let &first = bytes.first()?;
        match first {
            // RFC 8446 §5.1: a record of type handshake (22), legacy version 3.x.
            0x16 => match bytes.get(1) {
                Some(3) => Some(OtherProtocol::Tls),
                Some(_) => Some(OtherProtocol::Unknown),
                None => None,
            },
            b'P' if bytes.starts_with(b"PROXY ") => Some(OtherProtocol::Proxy),
            b'P' if bytes.starts_with(HTTP2_PREFACE) => Some(OtherProtocol::Http2),
            b'S' if bytes.starts_with(b"SSH-") => Some(OtherProtocol::Ssh),
            b'\r' if bytes.starts_with(PROXY_2) => Some(OtherProtocol::Proxy),
            // RFC 9112 §2.2 and §3: empty lines, then a method, which is a token.
            b'\r' | b'\n' => None,
            _ if first.is_ascii_graphic() => None,
            _ => Some(OtherProtocol::Unknown),
        }
    }

    /// From so many bytes on the answer does not change.
    pub const BYTES_MAX: usize = HTTP2_PREFACE.len();

    /// What went wrong and what to do about it: sentences on one line, for the body of a 400.
    pub const fn reason(self) -> &'static str {
        match self {
            OtherProtocol::Tls => {
                "This port speaks plain HTTP and WebSocket: use http:// or ws://, or put a TLS proxy before it."
            }
            OtherProtocol::Proxy => {
                "This port does not take the PROXY protocol: turn it off in the proxy (HAProxy: send-proxy, nginx: proxy_protocol), or set listener.proxy_protocol."
            }
            OtherProtocol::Http2 => {
                "This port speaks HTTP/1.1 and WebSocket over it, no HTTP/2: let the client or the proxy use HTTP/1.1."
            }
            OtherProtocol::Ssh => "This port speaks HTTP/1.1 and WebSocket, no SSH.",
            OtherProtocol::Unknown => {
                "This port speaks HTTP/1.1 and WebSocket; these bytes begin no HTTP request."
            }
        }
    }

    /// The HTTP status of the answer.
    pub const fn status(self) -> u16 {
        match self {
            // RFC 9110 §15.6.6.
            OtherProtocol::Http2 => 505,
            _ => 400,
        }
    }

    /// Its name for logs and counters.
    pub const fn name(self) -> &'static str {
        match self {
            OtherProtocol::Tls => "tls",
            OtherProtocol::Proxy => "proxy",
            OtherProtocol::Http2 => "http2",
            OtherProtocol::Ssh => "ssh",
            OtherProtocol::Unknown => "unknown",
        }
    }
}

/// The first line of RFC 9113 §3.4, which a server without HTTP/2 takes for a request.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";
/// The PROXY protocol, version 2, §2.2.
const PROXY_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

#[cfg(test)]
mod tests {
    use super::*;

    const OTHERS: &[(&[u8], OtherProtocol)] = &[
        (b"\x16\x03\x01\x02\x00\x01", OtherProtocol::Tls),
        (b"\x16\x03\x03", OtherProtocol::Tls),
        (b"\x16\x02", OtherProtocol::Unknown),
        (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 5 80\r\n",
            OtherProtocol::Proxy,
        ),
        (b"PROXY UNKNOWN\r\n", OtherProtocol::Proxy),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11", OtherProtocol::Proxy),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", OtherProtocol::Http2),
        (b"SSH-2.0-OpenSSH_9.2\r\n", OtherProtocol::Ssh),
        (b"\0\0", OtherProtocol::Unknown),
        (b"\x80\x2e\x01", OtherProtocol::Unknown),
        (b"\xff", OtherProtocol::Unknown),
    ];

    #[test]
    fn other_protocols_are_recognised_in_any_pieces() {
        for &(bytes, expected) in OTHERS {
            assert_eq!(OtherProtocol::detect(bytes), Some(expected), "{bytes:?}");
            let answers: Vec<_> = (0..=bytes.len())
                .filter_map(|end| OtherProtocol::detect(&bytes[..end]))
                .collect();
            assert!(
                answers.iter().all(|&answer| answer == expected),
                "{bytes:?}"
            );
            let longest = &bytes[..bytes.len().min(OtherProtocol::BYTES_MAX)];
            assert_eq!(OtherProtocol::detect(longest), Some(expected), "{bytes:?}");
        }
    }

    #[test]
    fn requests_are_not() {
        for request in [
            "GET / HTTP/1.1\r\n",
            "POST / HTTP/1.1\r\n",
            "PROPFIND / HTTP/1.1\r\n",
            "PROXYING / HTTP/1.1\r\n",
            "PRINT * HTTP/2.0\r\n",
            "PRI * HTTP/1.1\r\n",
            "SSH / HTTP/1.1\r\n",
            "SEARCH / HTTP/1.1\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\n",
            "\nGET / HTTP/1.1\r\n",
            "get / HTTP/1.1\r\n",
            "!x / HTTP/1.1\r\n",
        ] {
            for end in 0..=request.len() {
                let begun = &request.as_bytes()[..end];
                assert_eq!(OtherProtocol::detect(begun), None, "{begun:?}");
            }
        }
    }
}
