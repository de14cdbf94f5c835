//! Addresses to listen on, and what to write instead of one that is none.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix socket: the absolute path of its file.
    Unix(String),
}

/// As it is written.
impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => address.fmt(f),
            ListenAddress::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

impl ListenAddress {
    /// Whether only this machine reaches it.
    pub fn is_local(&self) -> bool {
        match self {
            ListenAddress::Tcp(address) => address.ip().is_loopback(),
            ListenAddress::Unix(_) => true,
        }
    }

    /// Whether the kernel would not give out both. A port 0 never is another's.
    pub fn clashes_with(&self, other: &ListenAddress) -> bool {
        match (self, other) {
            (ListenAddress::Tcp(one), ListenAddress::Tcp(other)) => {
                let same_ip = one.ip() == other.ip()
                    || one.is_ipv4() == other.is_ipv4()
                        && (one.ip().is_unspecified() || other.ip().is_unspecified());
                one.port() != 0 && one.port() == other.port() && same_ip
            }
            (ListenAddress::Unix(one), ListenAddress::Unix(other)) => one == other,
            _ => false,
        }
    }
}

/// unix(7): a path has at most 107 bytes, so that a NUL follows it.
pub(crate) fn check_socket(word: &str) -> Result<(), String> {
    if word.is_empty() || (word.starts_with('/') && !word.ends_with('/')) {
        return match word.len() <= SOCKET_PATH_BYTES_MAX && !word.contains(char::is_control) {
            true => Ok(()),
            false => Err(format!(
                "a unix socket's path has at most {SOCKET_PATH_BYTES_MAX} bytes, none of them a control character"
            )),
        };
    }
    Err("it begins with a slash and names a file".to_owned())
}

/// What is wrong with an address that cannot be read, and the nearest one that can.
pub(crate) fn address_hint(text: &str) -> Option<String> {
    let text = text.trim();
    if text.starts_with("unix:") || text.starts_with('/') {
        return Some("a unix socket stands at the key admin.socket".to_owned());
    }
    if let Some((_, rest)) = text.split_once("://") {
        let bare = rest.split('/').next().unwrap_or_default();
        return Some(match suggestion(bare) {
            Some(address) => format!("without scheme and path: \"{address}\""),
            None => "without scheme and path".to_owned(),
        });
    }
    let (host, port) = split(text);
    let port = match port.map(read_port) {
        None => None,
        Some(Ok(port)) => Some(port),
        Some(Err(hint)) => return Some(hint.to_owned()),
    };
    match (host, port) {
        (Host::Every, port) => {
            let port = port.unwrap_or(EXAMPLE_PORT);
            let hint = format!("for every address write \"0.0.0.0:{port}\" or \"[::]:{port}\"");
            Some(hint)
        }
        (Host::Ip(ip), None) => {
            let address = SocketAddr::new(ip, EXAMPLE_PORT);
            Some(format!("the port is missing: \"{address}\""))
        }
        (Host::Ip(ip @ IpAddr::V6(_)), Some(port)) => {
            let address = SocketAddr::new(ip, port);
            Some(format!("an IPv6 address stands in brackets: \"{address}\""))
        }
        // A space at an end.
        (Host::Ip(ip), Some(port)) => Some(format!("write \"{}\"", SocketAddr::new(ip, port))),
        (Host::Name("localhost"), port) => {
            let port = port.unwrap_or(EXAMPLE_PORT);
            Some(format!(
                "names are not looked up: write \"127.0.0.1:{port}\""
            ))
        }
        (Host::Name(_), _) => Some("names are not looked up: write its IP address".to_owned()),
        (Host::Unreadable, _) => None,
    }
}

/// The address that a text without scheme means.
fn suggestion(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (host, port) = split(text);
    let port = match port {
        None => EXAMPLE_PORT,
        Some(port) => port.parse().ok()?,
    };
    let ip = match host {
        Host::Ip(ip) => ip,
        Host::Every => Ipv4Addr::UNSPECIFIED.into(),
        Host::Name("localhost") => Ipv4Addr::LOCALHOST.into(),
        Host::Name(_) | Host::Unreadable => return None,
    };
    Some(SocketAddr::new(ip, port))
}

enum Host<'a> {
    /// Nothing, or `*`.
    Every,
    Ip(IpAddr),
    Name(&'a str),
    Unreadable,
}

/// Host and port as they were meant.
fn split(text: &str) -> (Host<'_>, Option<&str>) {
    if let Some(rest) = text.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((inside, "")) => split_ipv6(inside),
            Some((inside, after)) => (host(inside), after.strip_prefix(':')),
            None => (Host::Unreadable, None),
        };
    }
    if text.bytes().filter(|byte| *byte == b':').count() > 1 {
        return split_ipv6(text);
    }
    match text.split_once(':') {
        Some((before, port)) => (host(before), Some(port)),
        None if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            (Host::Every, Some(text))
        }
        None => (host(text), None),
    }
}

/// An IPv6 address with a port and without brackets: `::1:8080` is an address by itself, but a
/// group of two or more decimal digits at the end was meant as a port.
fn split_ipv6(text: &str) -> (Host<'_>, Option<&str>) {
    let (before, last) = text.rsplit_once(':').unwrap_or((text, ""));
    let before = if before == ":" { "::" } else { before };
    let is_port = last.len() >= 2 && last.bytes().all(|byte| byte.is_ascii_digit());
    match before.parse::<Ipv6Addr>() {
        Ok(ip) if is_port => (Host::Ip(ip.into()), Some(last)),
        _ => (host(text), None),
    }
}

fn host(text: &str) -> Host<'_> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match text.parse() {
        Ok(ip) => Host::Ip(ip),
        Err(_) if matches!(text, "" | "*") => Host::Every,
        Err(_) if text.contains(|c: char| c.is_ascii_alphabetic()) && text.chars().all(is_name) => {
            Host::Name(text)
        }
        Err(_) => Host::Unreadable,
    }
}

fn read_port(text: &str) -> Result<u16, &'static str> {
    if text.is_empty() {
        return Err("the port is missing after the colon");
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("the port is a number, and nothing follows it");
    }
    text.parse().map_err(|_| "a port is at most 65535")
}

/// A port for hints at addresses without one.
const EXAMPLE_PORT: u16 = 8080;
const SOCKET_PATH_BYTES_MAX: usize = 107;
