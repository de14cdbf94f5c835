//! The admin listeners: bound before the reactors start, so that a mistake is a start error.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use roost_net::unix_socket::{UnixOptions, UnixSocket, group_number};

/// The admin listeners to bind.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A unix socket.
    pub socket: Option<Socket>,
    /// A TCP address; port 0 picks a free one.
    pub listen: Option<SocketAddr>,
}

/// A unix socket to listen on.
#[derive(Debug, Clone)]
pub struct Socket {
    /// Its path, in a directory that exists.
    pub path: PathBuf,
    /// Permission bits: write permission is permission to connect.
    pub mode: u32,
    /// The group that owns it, by its number or its name in `/etc/group`; `None` leaves it to the
    /// kernel.
    pub group: Option<String>,
}

/// Listeners that are bound and not yet served: new connections wait in the backlog.
#[derive(Debug)]
pub struct Listeners {
    pub(crate) unix: Option<(UnixListener, UnixSocket)>,
    pub(crate) tcp: Option<TcpListener>,
}

/// Why there is no admin listener.
#[derive(Debug)]
pub struct BindError {
    what: String,
    remedy: &'static str,
}

impl Listeners {
    /// Binds what the options name.
    ///
    /// # Errors
    /// The first that cannot be bound; the other is closed again.
    pub fn bind(options: &Options) -> Result<Listeners, BindError> {
        let unix = options.socket.as_ref().map(bind_unix).transpose()?;
        let tcp = options.listen.map(bind_tcp).transpose()?;
        Ok(Listeners { unix, tcp })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.unix.is_none() && self.tcp.is_none()
    }

    /// The unix socket's path.
    pub fn path(&self) -> Option<&Path> {
        self.unix.as_ref().map(|(_, socket)| socket.path())
    }

    /// The TCP address, with its port.
    pub fn address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref()?.local_addr().ok()
    }
}

impl BindError {
    fn new(what: String, remedy: &'static str) -> BindError {
        BindError { what, remedy }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. Remedy: {}.", self.what, self.remedy)
    }
}

impl Error for BindError {}

fn bind_tcp(address: SocketAddr) -> Result<TcpListener, BindError> {
    let bind = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    bind().map_err(|error: io::Error| {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "another process has this address: give admin.listen another"
            }
            io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE",
            io::ErrorKind::AddrNotAvailable => "no interface here has this address",
            _ => "see the error",
        };
        BindError::new(
            format!("cannot listen on admin.listen {address}: {error}"),
            remedy,
        )
    })
}

fn bind_unix(socket: &Socket) -> Result<(UnixListener, UnixSocket), BindError> {
    let group = socket.group.as_deref().map(group_number).transpose();
    let group = group.map_err(|error| {
        BindError::new(
            format!("admin.socket_group: {error}"),
            "make it, or give the group's number",
        )
    })?;
    let options = UnixOptions {
        path: socket.path.clone(),
        mode: socket.mode,
        group,
    };
    let listen = || {
        let bound = UnixSocket::bind(&options, BACKLOG)?;
        Ok((bound.share()?.into(), bound))
    };
    listen().map_err(|error: io::Error| {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => "stop that process, or give admin.socket another path",
            io::ErrorKind::AlreadyExists => "move it away, or give admin.socket another path",
            io::ErrorKind::NotFound => "make its directory, or give admin.socket another path",
            io::ErrorKind::PermissionDenied if group.is_some() => {
                "the daemon's user must be able to write to its directory and be in \
                 admin.socket_group; under systemd set Group= in the unit instead"
            }
            io::ErrorKind::PermissionDenied => {
                "let the daemon's user write to its directory, or give admin.socket another path"
            }
            io::ErrorKind::InvalidInput => "a unix socket's path has at most 107 bytes",
            _ => "see the error, or give admin.socket another path",
        };
        let path = socket.path.display();
        BindError::new(
            format!("cannot listen on admin.socket {path}: {error}"),
            remedy,
        )
    })
}

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 128;
