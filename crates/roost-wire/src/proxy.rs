//! The header of the PROXY protocol, versions 1 and 2, by which a proxy tells whose connection it
//! forwards: [HAProxy's document](https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt), to which
//! the sections here refer.
//!
//! It is the first thing on a connection, before TLS. What it says is worth as much as the sender:
//! the caller decides who may say it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str;

/// A header, as far as it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    Incomplete,
    /// It ends behind so many bytes.
    Whole(usize, Source),
}

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The proxy's own, such as a health check, or one whose client has no address that is known
    /// (`LOCAL`, `UNKNOWN`, a unix socket): the socket's address counts.
    Socket,
    /// That of the client at this address.
    Client(SocketAddr),
}

/// Why the bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyError {
    /// They begin neither with `PROXY ` nor with the signature of version 2.
    NoHeader,
    /// Version 1: the line is not as it should be.
    Line,
    /// Version 2: another version or command.
    Command,
    /// Version 2: an address family or protocol that no TCP proxy forwards.
    Family,
    /// Version 2: shorter than the addresses that it announces, or longer than is taken.
    Length,
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProxyError::NoHeader => "no PROXY header",
            ProxyError::Line => "a PROXY header of version 1 that cannot be read",
            ProxyError::Command => "a PROXY header of version 2 with an unknown version or command",
            ProxyError::Family => "a PROXY header of version 2 for another protocol than TCP",
            ProxyError::Length => "a PROXY header of version 2 that is too short or too long",
        })
    }
}

impl std::error::Error for ProxyError {}

/// Reads the header at the front of `bytes`, the first of a connection. Whatever they are, after
/// [`HEADER_BYTES_MAX`] of them the answer is not [`Progress::Incomplete`].
///
/// # Errors
/// They are no header, which is said as soon as it is certain.
pub fn parse(bytes: &[u8]) -> Result<Progress, ProxyError> {
    if begins(bytes, LINE_BEGIN) {
        parse_line(bytes)
    } else if begins(bytes, SIGNATURE) {
        parse_binary(bytes)
    } else {
        Err(ProxyError::NoHeader)
    }
}

/// Whether `bytes` begin with `beginning`, as far as they have come.
fn begins(bytes: &[u8], beginning: &[u8]) -> bool {
    let len = bytes.len().min(beginning.len());
    bytes[..len] == beginning[..len]
}

/// §2.1
fn parse_line(bytes: &[u8]) -> Result<Progress, ProxyError> {
    let window = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = window.iter().position(|&byte| byte == b'\n') else {
        return match window.len() {
            LINE_BYTES_MAX => Err(ProxyError::Line),
            _ => Ok(Progress::Incomplete),
        };
    };
    let line = window[..end].strip_suffix(b"\r").ok_or(ProxyError::Line)?;
    let line = str::from_utf8(line).map_err(|_| ProxyError::Line)?;
    let mut words = line.split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        // What stands behind it is to be ignored.
        return Ok(Progress::Whole(end + 1, Source::Socket));
    }
    let (Some(source), Some(destination)) = (words.next(), words.next()) else {
        return Err(ProxyError::Line);
    };
    let (Some(port), Some(destination_port), None) = (words.next(), words.next(), words.next())
    else {
        return Err(ProxyError::Line);
    };
    let address = |word: &str| match family {
        Some("TCP4") => word.parse().map(IpAddr::V4).ok(),
        Some("TCP6") => word.parse().map(IpAddr::V6).ok(),
        _ => None,
    };
    let ip = address(source).ok_or(ProxyError::Line)?;
    let port = parse_port(port).ok_or(ProxyError::Line)?;
    if address(destination).is_none() || parse_port(destination_port).is_none() {
        return Err(ProxyError::Line);
    }
    let client = Source::Client(SocketAddr::new(ip, port));
    Ok(Progress::Whole(end + 1, client))
}

/// Digits without a leading zero.
fn parse_port(word: &str) -> Option<u16> {
    let is_canonical =
        word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    word.parse().ok().filter(|_| is_canonical)
}

/// §2.2
fn parse_binary(bytes: &[u8]) -> Result<Progress, ProxyError> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return match bytes.get(SIGNATURE.len()) {
            Some(command) if !matches!(command, 0x20 | 0x21) => Err(ProxyError::Command),
            _ => Ok(Progress::Incomplete),
        };
    };
    let &[.., command, family, high, low] = head;
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(ProxyError::Command),
    };
    let len = usize::from(u16::from_be_bytes([high, low]));
    // Addresses come first; behind them may stand other values, which are ignored (§2.2.7).
    let addresses_len = match family {
        // The receiver "must ignore" the addresses of a local connection.
        _ if is_local => 0,
        UNSPECIFIED => 0,
        TCP_OVER_IPV4 => 12,
        TCP_OVER_IPV6 => 36,
        UNIX_STREAM => 216,
        _ => return Err(ProxyError::Family),
    };
    if len < addresses_len || len > REST_BYTES_MAX {
        return Err(ProxyError::Length);
    }
    let Some(rest) = rest.get(..len) else {
        return Ok(Progress::Incomplete);
    };
    let source = match family {
        _ if is_local => Source::Socket,
        TCP_OVER_IPV4 => client(rest, 8, |address: [u8; 4]| Ipv4Addr::from(address).into()),
        TCP_OVER_IPV6 => client(rest, 32, |address: [u8; 16]| Ipv6Addr::from(address).into()),
        _ => Source::Socket,
    };
    Ok(Progress::Whole(HEAD_BYTES + len, source))
}

/// The client's address stands at the front, its port behind both addresses.
fn client<const N: usize>(rest: &[u8], port_at: usize, ip: impl Fn([u8; N]) -> IpAddr) -> Source {
    let address = rest.first_chunk().copied().map(ip);
    let port = rest[port_at..].first_chunk().copied();
    match (address, port.map(u16::from_be_bytes)) {
        (Some(ip), Some(port)) => Source::Client(SocketAddr::new(ip, port)),
        _ => Source::Socket,
    }
}

/// The most bytes that a header has.
pub const HEADER_BYTES_MAX: usize = HEAD_BYTES + REST_BYTES_MAX;

const LINE_BEGIN: &[u8] = b"PROXY ";
/// §2.1: the longest line, with its end.
const LINE_BYTES_MAX: usize = 107;
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const HEAD_BYTES: usize = SIGNATURE.len() + 4;
/// Addresses and other values that are taken: §2.2 has receivers take headers of 536 bytes, the
/// smallest maximum segment of TCP, and nothing that HAProxy, nginx, AWS and GCP send comes near it.
const REST_BYTES_MAX: usize = 536;
const UNSPECIFIED: u8 = 0;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).expect("a short rest");
        [SIGNATURE, &[command, family], &len.to_be_bytes(), rest].concat()
    }

    fn addresses(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    fn at(address: &str) -> Source {
        Source::Client(address.parse().expect("an address"))
    }

    /// Good headers, and whose connection they announce.
    fn good() -> Vec<(Vec<u8>, Source)> {
        let line = |text: &str| text.as_bytes().to_vec();
        let four = addresses(&[&[192, 0, 2, 1], &[192, 0, 2, 2], &[0xdc, 4], &[1, 0xbb]]);
        let six = addresses(&[
            &Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).octets(),
            &Ipv6Addr::LOCALHOST.octets(),
            &[0, 80],
            &[1, 0xbb],
        ]);
        let with_values = addresses(&[&four, &[4, 0, 3, 1, 2, 3], &[0xea, 0, 0]]);
        vec![
            (
                line("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"),
                at("192.0.2.1:56324"),
            ),
            (
                line("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n"),
                at("0.0.0.0:0"),
            ),
            (
                line("PROXY TCP6 2001:db8::1 ::1 80 443\r\n"),
                at("[2001:db8::1]:80"),
            ),
            (
                line(
                    "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
                ),
                at("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
            ),
            (line("PROXY UNKNOWN\r\n"), Source::Socket),
            (
                line(
                    "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
                ),
                Source::Socket,
            ),
            (binary(0x21, 0x11, &four), at("192.0.2.1:56324")),
            (binary(0x21, 0x11, &with_values), at("192.0.2.1:56324")),
            (binary(0x21, 0x21, &six), at("[2001:db8::1]:80")),
            (binary(0x21, 0x31, &[b'/'; 216]), Source::Socket),
            (binary(0x21, 0, &[]), Source::Socket),
            (binary(0x21, 0, &[7; 536]), Source::Socket),
            (binary(0x20, 0, &[]), Source::Socket),
            (binary(0x20, 0x11, &four), Source::Socket),
        ]
    }

    #[test]
    fn headers_are_read_at_every_cut_and_end_where_they_end() {
        for (header, source) in good() {
            let len = header.len();
            for cut in 0..len {
                assert_eq!(
                    parse(&header[..cut]),
                    Ok(Progress::Incomplete),
                    "{cut} of {header:?}"
                );
            }
            for behind in [&b""[..], b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"] {
                let bytes = [&header[..], behind].concat();
                assert_eq!(
                    parse(&bytes),
                    Ok(Progress::Whole(len, source)),
                    "{header:?}"
                );
            }
        }
        let longest = good().iter().map(|(header, _)| header.len()).max();
        assert_eq!(longest, Some(HEADER_BYTES_MAX));
    }

    #[test]
    fn what_is_no_header_is_refused_as_soon_as_it_is_certain() {
        let line = |text: &str| text.as_bytes().to_vec();
        let mut long = line("PROXY UNKNOWN ");
        long.resize(LINE_BYTES_MAX, b'x');
        for (bytes, error) in [
            (line("G"), ProxyError::NoHeader),
            (line("PROXYING"), ProxyError::NoHeader),
            (line("proxy TCP4"), ProxyError::NoHeader),
            (vec![0x16, 3, 1], ProxyError::NoHeader),
            (line("\r\n\r\nG"), ProxyError::NoHeader),
            (long, ProxyError::Line),
            (
                line("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n"),
                ProxyError::Line,
            ),
            (line("PROXY \r\n"), ProxyError::Line),
            (
                line("PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n"),
                ProxyError::Line,
            ),
            (line("PROXY TCP4 ::1 ::1 1 2\r\n"), ProxyError::Line),
            (
                line("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n"),
                ProxyError::Line,
            ),
            (
                line("PROXY TCP4 192.0.2.1 192.0.2.256 1 2\r\n"),
                ProxyError::Line,
            ),
            (
                line("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n"),
                ProxyError::Line,
            ),
            (
                line("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n"),
                ProxyError::Line,
            ),
            (
                line("PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n"),
                ProxyError::Line,
            ),
            (
                line("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n"),
                ProxyError::Line,
            ),
            (
                line("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n"),
                ProxyError::Line,
            ),
            (
                line("PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n"),
                ProxyError::Line,
            ),
            (
                line("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n"),
                ProxyError::Line,
            ),
            ([SIGNATURE, &[0x11]].concat(), ProxyError::Command),
            (binary(0x22, 0x11, &[0; 12]), ProxyError::Command),
            (binary(0x21, 0x12, &[0; 12]), ProxyError::Family),
            (binary(0x21, 0x41, &[0; 12]), ProxyError::Family),
            (binary(0x21, 0x11, &[0; 11]), ProxyError::Length),
            (binary(0x21, 0x21, &[0; 35]), ProxyError::Length),
            (binary(0x21, 0x31, &[0; 215]), ProxyError::Length),
            (binary(0x20, 0, &[0; 537]), ProxyError::Length),
        ] {
            assert_eq!(parse(&bytes), Err(error), "{}", bytes.escape_ascii());
        }
    }
}
