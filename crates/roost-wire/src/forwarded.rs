//! Whose request a proxy forwards, as the headers `X-Forwarded-For` and `Forwarded` (RFC 7239) tell.
//!
//! Each proxy puts the address that it was asked from behind what was there, and a client may send
//! anything. So the values are read from their end: what a proxy has written that may say so is believed,
//! and nothing before the first address that is no such proxy's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The header that is believed. A proxy that writes one of them forwards the other as the client sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For: ADDRESS, ADDRESS`, what most proxies write.
    XForwardedFor,
    /// `Forwarded: for=ADDRESS;proto=https, for="[ADDRESS]"`.
    Forwarded,
}

impl ForwardedHeader {
    /// The header's name.
    pub fn name(self) -> &'static str {
        match self {
            ForwardedHeader::XForwardedFor => "X-Forwarded-For",
            ForwardedHeader::Forwarded => "Forwarded",
        }
    }
}

/// The address of the client, of a request that has come from a trusted proxy: the last in `values`, the
/// header's in the order in which they came, that is not a trusted proxy's; if all are, the first. `None`
/// if the proxy, or one that it trusts, does not tell: what stands before that could be anybody's.
pub fn client_of<'v>(
    header: ForwardedHeader,
    values: impl DoubleEndedIterator<Item = &'v [u8]>,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let mut found = None;
    for value in values.rev() {
        let mut rest = value;
        while !rest.is_empty() {
            let element = match header {
                ForwardedHeader::XForwardedFor => last_element(&mut rest),
                ForwardedHeader::Forwarded => last_quoted_element(&mut rest),
            };
            if element.is_empty() {
                continue; // RFC 9110 §5.6.1.2: empty elements are ignored
            }
            let address = match header {
                ForwardedHeader::XForwardedFor => address(element),
                ForwardedHeader::Forwarded => forwarded_for(element).and_then(address),
            };
            let address = address?.to_canonical();
            if !is_trusted(address) {
                return Some(address);
            }
            found = Some(address);
        }
    }
    found
}

/// Takes the last element off a list, with the comma before it.
fn last_element<'v>(rest: &mut &'v [u8]) -> &'v [u8] {
    let comma = rest.iter().rposition(|byte| *byte == b',');
    take_from(rest, comma)
}

/// The same where commas in quotes divide nothing. From the end quotes are a proxy's before they are a
/// client's: one that the client has opened and not closed swallows nothing of what stands behind.
fn last_quoted_element<'v>(rest: &mut &'v [u8]) -> &'v [u8] {
    let mut is_quoted = false;
    let comma = rest.iter().rposition(|byte| {
        is_quoted ^= *byte == b'"';
        *byte == b',' && !is_quoted
    });
    take_from(rest, comma)
}

fn take_from<'v>(rest: &mut &'v [u8], comma: Option<usize>) -> &'v [u8] {
    let all = *rest;
    let (before, element) = match comma {
        Some(at) => (&all[..at], &all[at + 1..]),
        None => (&all[..0], all),
    };
    *rest = before;
    element.trim_ascii()
}

/// The node that an element of `Forwarded` names with `for`, without its quotes. RFC 7239 §4: each
/// parameter occurs once.
fn forwarded_for(element: &[u8]) -> Option<&[u8]> {
    let mut found = None;
    let pairs = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    for pair in pairs.filter(|pair| !pair.is_empty()) {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"for") && found.replace(value).is_some() {
            return None;
        }
    }
    let node = found?;
    match node.strip_prefix(b"\"") {
        None => Some(node),
        Some(node) => node.strip_suffix(b"\""),
    }
}

/// An address, which may have a port behind it; an IPv6 address with a port stands in brackets (RFC 7239
/// §6). `None` for `unknown`, for names that hide one (`_hidden`), and for all else.
fn address(node: &[u8]) -> Option<IpAddr> {
    let node = std::str::from_utf8(node).ok()?;
    if let Some(bracketed) = node.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        return (port.is_empty() || is_port(port.strip_prefix(':')?)).then_some(address.into());
    }
    if let Ok(address) = node.parse::<IpAddr>() {
        return Some(address);
    }
    let (address, port) = node.split_once(':')?;
    let address: Ipv4Addr = address.parse().ok()?;
    is_port(port).then_some(address.into())
}

/// A port's number, or a name that hides it.
fn is_port(port: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match port.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(is_part),
        None => (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn find(header: ForwardedHeader, values: &[&str]) -> Option<IpAddr> {
        let is_trusted =
            |address: IpAddr| matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 10);
        client_of(
            header,
            values.iter().map(|value| value.as_bytes()),
            is_trusted,
        )
    }

    #[test]
    fn the_last_address_that_is_no_proxys_is_the_clients() {
        let cases: [(&[&str], Option<&str>); 17] = [
            (&["192.0.2.1"], Some("192.0.2.1")),
            (&["192.0.2.9, 192.0.2.1"], Some("192.0.2.1")),
            (&["192.0.2.1, 10.0.0.7"], Some("192.0.2.1")),
            (
                &["192.0.2.9,192.0.2.1,10.0.0.7 , 10.0.0.8"],
                Some("192.0.2.1"),
            ),
            (&["192.0.2.9", "192.0.2.1", "10.0.0.7"], Some("192.0.2.1")),
            (&["192.0.2.1", "", ", ,"], Some("192.0.2.1")),
            (&["10.0.0.7, 10.0.0.8"], Some("10.0.0.7")),
            (&["192.0.2.1:5000"], Some("192.0.2.1")),
            (&["2001:db8::1"], Some("2001:db8::1")),
            (&["[2001:db8::1]:5000"], Some("2001:db8::1")),
            (&["::ffff:10.0.0.7"], Some("10.0.0.7")),
            (&["192.0.2.1, ::ffff:10.0.0.7"], Some("192.0.2.1")),
            (&[], None),
            (&[" "], None),
            (&["192.0.2.1, unknown"], None),
            (&["192.0.2.1, unknown, 10.0.0.7"], None),
            (&["192.0.2.1, 192.0.2.1.1"], None),
        ];
        for (values, expected) in cases {
            let found = find(ForwardedHeader::XForwardedFor, values);
            assert_eq!(found, expected.map(ip), "{values:?}");
        }
    }

    #[test]
    fn the_same_of_forwarded() {
        let cases: [(&[&str], Option<&str>); 17] = [
            (&["for=192.0.2.1;"], Some("192.0.2.1")),
            (&["For=\"192.0.2.1:5000\";proto=https"], Some("192.0.2.1")),
            (
                &["proto=http;by=_a;for=\"[2001:db8::1]:_x\""],
                Some("2001:db8::1"),
            ),
            (
                &["for=192.0.2.9, for=192.0.2.1;host=\"a,b\", for=10.0.0.7"],
                Some("192.0.2.1"),
            ),
            (&["for=192.0.2.9", "for=192.0.2.1"], Some("192.0.2.1")),
            (&["for=\", for=192.0.2.1"], Some("192.0.2.1")),
            (&["for=\"192.0.2.9, for=192.0.2.1"], Some("192.0.2.1")),
            (&["for=_hidden"], None),
            (&["for=unknown"], None),
            (&["192.0.2.1"], None),
            (&["for=192.0.2.9, proto=https"], None),
            (&["for=192.0.2.1;for=192.0.2.2"], None),
            (&["for=\"192.0.2.1"], None),
            (&["for=[2001:db8::1"], None),
            (&["for=192.0.2.1:"], None),
            (&["for=192.0.2.1:x"], None),
            (&["for"], None),
        ];
        for (values, expected) in cases {
            let found = find(ForwardedHeader::Forwarded, values);
            assert_eq!(found, expected.map(ip), "{values:?}");
        }
    }
}
