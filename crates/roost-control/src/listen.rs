//! The listeners of administrators and of the API: bound before the reactors start, so that a mistake
//! is a start error.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use roost_net::ports;
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

/// A listener of the API, bound and not yet served: new connections wait in the backlog.
#[derive(Debug)]
pub struct ApiListener(pub(crate) Bound);

#[derive(Debug)]
pub(crate) enum Bound {
    Unix(UnixListener, UnixSocket),
    Tcp(TcpListener),
}

/// Why there is no listener.
#[derive(Debug)]
pub struct BindError {
    what: String,
    remedy: String,
    /// Another process has the address.
    is_in_use: bool,
}

impl Listeners {
    /// Binds what the options name.
    ///
    /// # Errors
    /// The first that cannot be bound; the other is closed again.
    pub fn bind(options: &Options) -> Result<Listeners, BindError> {
        let socket = options.socket.as_ref();
        let unix = socket.map(|socket| bind_unix(&ADMIN_SOCKET, socket));
        let unix = unix.transpose()?;
        let tcp = options
            .listen
            .map(|address| bind_tcp("admin.listen", address));
        Ok(Listeners {
            unix,
            tcp: tcp.transpose()?,
        })
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

impl ApiListener {
    /// Binds a TCP address; port 0 picks a free one.
    ///
    /// # Errors
    /// When it cannot be bound.
    pub fn tcp(address: SocketAddr) -> Result<ApiListener, BindError> {
        Ok(ApiListener(Bound::Tcp(bind_tcp("api.listen", address)?)))
    }

    /// Binds a unix socket.
    ///
    /// # Errors
    /// When it cannot be bound.
    pub fn unix(socket: &Socket) -> Result<ApiListener, BindError> {
        let (listener, file) = bind_unix(&API_SOCKET, socket)?;
        Ok(ApiListener(Bound::Unix(listener, file)))
    }

    /// The TCP address, with its port.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.0 {
            Bound::Tcp(listener) => listener.local_addr().ok(),
            Bound::Unix(..) => None,
        }
    }

    /// The unix socket's path.
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Bound::Tcp(_) => None,
            Bound::Unix(_, socket) => Some(socket.path()),
        }
    }
}

impl BindError {
    fn new(what: String, remedy: impl Into<String>) -> BindError {
        BindError {
            what,
            remedy: remedy.into(),
            is_in_use: false,
        }
    }

    /// Whether another process has the address.
    pub fn is_in_use(&self) -> bool {
        self.is_in_use
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. Remedy: {}.", self.what, self.remedy)
    }
}

impl Error for BindError {}

/// The keys of a unix socket, for messages.
struct SocketKeys {
    path: &'static str,
    group: &'static str,
}

const ADMIN_SOCKET: SocketKeys = SocketKeys {
    path: "admin.socket",
    group: "admin.socket_group",
};
const API_SOCKET: SocketKeys = SocketKeys {
    path: "api.listen",
    group: "api.socket_group",
};

fn bind_tcp(key: &str, address: SocketAddr) -> Result<TcpListener, BindError> {
    let bind = || {
        let bind = || TcpListener::bind(address);
        let listener = ports::bind(address, bind, TcpListener::local_addr)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    bind().map_err(|error: io::Error| {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => {
                &format!("another process has this address: give {key} another")
            }
            io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE",
            io::ErrorKind::AddrNotAvailable => "no interface here has this address",
            _ => "see the error",
        };
        let what = format!("cannot listen on {key} {address}: {error}");
        BindError {
            is_in_use: error.kind() == io::ErrorKind::AddrInUse,
            ..BindError::new(what, remedy)
        }
    })
}

fn bind_unix(keys: &SocketKeys, socket: &Socket) -> Result<(UnixListener, UnixSocket), BindError> {
    let SocketKeys { path: key, group } = *keys;
    let number = socket.group.as_deref().map(group_number).transpose();
    let number = number.map_err(|error| {
        let what = format!("{group}: {error}");
        BindError::new(what, "make it, or give the group's number")
    })?;
    let options = UnixOptions {
        path: socket.path.clone(),
        mode: socket.mode,
        group: number,
    };
    let listen = || {
        let bound = UnixSocket::bind(&options, BACKLOG)?;
        Ok((bound.share()?.into(), bound))
    };
    listen().map_err(|error: io::Error| {
        let other = format!("give {key} another path");
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => format!("stop that process, or {other}"),
            io::ErrorKind::AlreadyExists => format!("move it away, or {other}"),
            io::ErrorKind::NotFound => format!("make its directory, or {other}"),
            io::ErrorKind::PermissionDenied if number.is_some() => format!(
                "the daemon's user must be able to write to its directory and be in {group}; \
                 under systemd set Group= in the unit instead"
            ),
            io::ErrorKind::PermissionDenied => {
                format!("let the daemon's user write to its directory, or {other}")
            }
            io::ErrorKind::InvalidInput => "a unix socket's path has at most 107 bytes".to_owned(),
            _ => format!("see the error, or {other}"),
        };
        let path = socket.path.display();
        BindError::new(format!("cannot listen on {key} {path}: {error}"), remedy)
    })
}

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 128;
