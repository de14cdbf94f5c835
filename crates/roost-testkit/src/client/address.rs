//! Where a server listens, and whether it speaks TLS there.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::{io, option};

use super::Failure;

/// Where a server listens, and whether it speaks TLS there. Displayed as a Host header has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The TCP address.
    pub socket: SocketAddr,
    /// Connections begin with a TLS handshake.
    pub tls: bool,
}

impl Address {
    /// `ws://` or `wss://` and the TCP address.
    pub fn url(self) -> String {
        let scheme = if self.tls { "wss" } else { "ws" };
        format!("{scheme}://{}", self.socket)
    }
}

impl From<SocketAddr> for Address {
    fn from(socket: SocketAddr) -> Address {
        Address { socket, tls: false }
    }
}

impl FromStr for Address {
    type Err = Failure;

    /// Reads what [`Address::url`] writes.
    fn from_str(url: &str) -> Result<Address, Failure> {
        let (scheme, socket) = url.split_once("://").unwrap_or_default();
        let tls = match scheme {
            "ws" => false,
            "wss" => true,
            _ => return Err(Failure::new(format!("{url:?} is not ws://IP:PORT"))),
        };
        let socket = socket.parse();
        let socket = socket.map_err(|error| Failure::new(format!("{url:?}: {error}")))?;
        Ok(Address { socket, tls })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

/// For sockets that a test opens by itself.
impl ToSocketAddrs for Address {
    type Iter = option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        self.socket.to_socket_addrs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_back() {
        for url in ["ws://127.0.0.1:1", "wss://127.0.0.1:443", "wss://[::1]:443"] {
            assert_eq!(url.parse::<Address>().map(Address::url), Ok(url.to_owned()));
        }
        for wrong in ["127.0.0.1:1", "http://127.0.0.1:1", "ws://localhost:1", ""] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }
}
