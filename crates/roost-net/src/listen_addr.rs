//! Where a driver listens: a TCP address, or a unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::unix_socket::{UnixOptions, UnixSocket};

/// An address to listen on.
#[derive(Debug, Clone)]
pub enum ListenAddr {
    /// TCP; port 0 picks a free one that browsers connect to (see [`ports`](crate::ports)).
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(UnixAddr),
}

/// A unix socket to listen on. As [`Driver::listen`](crate::Driver::listen) gives it back it holds
/// the socket: drivers that listen on it, and on clones of it, accept from one backlog. The socket's
/// file is removed when the last of all these is gone.
#[derive(Debug, Clone)]
pub struct UnixAddr {
    options: UnixOptions,
    socket: Option<Arc<UnixSocket>>,
}

/// How to listen. On a unix socket, which no two sockets can share, the next three fields mean
/// nothing: drivers share the one socket that the bound address holds (see [`UnixAddr`]).
#[derive(Debug, Clone)]
pub struct ListenOptions {
    /// Address to bind.
    pub addr: ListenAddr,
    /// Length of the accept queue; the kernel caps it at `net.core.somaxconn`.
    pub backlog: u32,
    /// `SO_REUSEPORT`, so that each reactor has a listener of its own on one port (Linux 3.9).
    pub reuse_port: bool,
    /// With `reuse_port`: the first listener of this process on the port. Fails while another
    /// process listens there, though that one may share its port as well.
    pub exclusive: bool,
    /// How many listeners the port will have, all with the same number here: new connections are dealt
    /// to them at random (Linux 4.5). Below 2, and where the kernel does not take it, they are
    /// dealt by the kernel's hash of the addresses, which is less even.
    pub sharers: u16,
    /// Whether [`Event::Accepted`](crate::Event::Accepted) must carry the peer's address.
    pub want_peer: bool,
}

impl ListenAddr {
    /// A unix socket that is not bound yet.
    pub fn unix(options: UnixOptions) -> ListenAddr {
        ListenAddr::Unix(UnixAddr {
            options,
            socket: None,
        })
    }

    /// The IP address and port, of TCP.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            ListenAddr::Tcp(addr) => Some(*addr),
            ListenAddr::Unix(_) => None,
        }
    }

    /// The path, of a unix socket.
    pub fn path(&self) -> Option<&Path> {
        match self {
            ListenAddr::Tcp(_) => None,
            ListenAddr::Unix(addr) => Some(&addr.options.path),
        }
    }

    /// The same without the socket it may hold, which goes when no driver listens on it any more.
    #[must_use]
    pub fn without_socket(self) -> ListenAddr {
        match self {
            ListenAddr::Tcp(_) => self,
            ListenAddr::Unix(addr) => ListenAddr::unix(addr.options),
        }
    }
}

impl ListenAddr {
    /// The unix socket it holds.
    pub(crate) fn unix_socket(&self) -> Option<&Arc<UnixSocket>> {
        match self {
            ListenAddr::Tcp(_) => None,
            ListenAddr::Unix(addr) => addr.socket(),
        }
    }
}

impl UnixAddr {
    pub(crate) fn options(&self) -> &UnixOptions {
        &self.options
    }

    /// The socket it holds.
    pub(crate) fn socket(&self) -> Option<&Arc<UnixSocket>> {
        self.socket.as_ref()
    }

    /// The same, with its socket.
    pub(crate) fn holding(&self, socket: Arc<UnixSocket>) -> UnixAddr {
        UnixAddr {
            options: self.options.clone(),
            socket: Some(socket),
        }
    }
}

impl From<SocketAddr> for ListenAddr {
    fn from(addr: SocketAddr) -> ListenAddr {
        ListenAddr::Tcp(addr)
    }
}

/// As the configuration writes it: `127.0.0.1:8080`, `unix:/run/roost/clients.sock`.
impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddr::Tcp(addr) => addr.fmt(f),
            ListenAddr::Unix(addr) => write!(f, "unix:{}", addr.options.path.display()),
        }
    }
}
