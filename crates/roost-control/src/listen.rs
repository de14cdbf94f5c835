//! The admin listeners: bound before the reactors start, so that a mistake is a start error.

use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Type};

use crate::{Options, Socket};

/// Listeners that are bound and not yet served: new connections wait in the backlog.
#[derive(Debug)]
pub struct Listeners {
    pub(crate) unix: Option<(UnixListener, SocketFile)>,
    pub(crate) tcp: Option<TcpListener>,
}

/// The file of a unix socket, removed when this is dropped.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode: a file that has taken its place since is another's.
    identity: (u64, u64),
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
        self.unix.as_ref().map(|(_, file)| file.path.as_path())
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

fn bind_unix(socket: &Socket) -> Result<(UnixListener, SocketFile), BindError> {
    let group = socket.group.as_deref().map(group_number).transpose()?;
    remove_stale(&socket.path)?;
    let listener = listen_at(socket, group).map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => "make its directory, or give admin.socket another path",
            io::ErrorKind::PermissionDenied if group.is_some() => {
                "the daemon's user must be able to write to its directory and be in \
                 admin.socket_group; under systemd set Group= in the unit instead"
            }
            io::ErrorKind::PermissionDenied => {
                "let the daemon's user write to its directory, or give admin.socket another path"
            }
            io::ErrorKind::InvalidInput => "a unix socket's path has at most 107 bytes",
            _ => "see the error",
        };
        BindError::new(cannot_listen(&socket.path, &error), remedy)
    })?;
    Ok(listener)
}

/// The file has its mode and group before listen: until then no process can connect.
fn listen_at(socket: &Socket, group: Option<u32>) -> io::Result<(UnixListener, SocketFile)> {
    let path = &socket.path;
    let made = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    made.bind(&SockAddr::unix(path)?)?;
    let bound = fs::symlink_metadata(path)?;
    let file = SocketFile {
        path: path.clone(),
        identity: (bound.dev(), bound.ino()),
    };
    fs::set_permissions(path, fs::Permissions::from_mode(socket.mode))?;
    if let Some(group) = group.filter(|&group| group != bound.gid()) {
        chown(path, None, Some(group))?;
    }
    made.listen(BACKLOG)?;
    made.set_nonblocking(true)?;
    Ok((made.into(), file))
}

/// Removes a stale socket. One that a process serves stays, and so does every other file.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(()); // bind reports other errors
    };
    let stays = |why: &str, remedy| {
        let what = format!("cannot listen on admin.socket {}: {why}", path.display());
        Err(BindError::new(what, remedy))
    };
    if !found.file_type().is_socket() {
        return stays(
            "a file that is no socket is there",
            "move it away, or give admin.socket another path",
        );
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            match fs::remove_file(path) {
                Ok(()) => Ok(()),
                Err(error) => stays(
                    &format!("a stale socket cannot be removed: {error}"),
                    "remove it",
                ),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(_) => stays(
            "another process serves it",
            "stop that process, or give admin.socket another path",
        ),
        Err(error) => stays(
            &format!("a socket is there that cannot be tried: {error}"),
            "find out whose it is, or give admin.socket another path",
        ),
    }
}

fn cannot_listen(path: &Path, error: &io::Error) -> String {
    format!("cannot listen on admin.socket {}: {error}", path.display())
}

/// A group's number, given by itself or by name. Only `/etc/group` is read.
fn group_number(group: &str) -> Result<u32, BindError> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    find_group(&groups, group).ok_or_else(|| {
        BindError::new(
            format!("admin.socket_group: /etc/group has no group {group:?}"),
            "make it, or give the group's number",
        )
    })
}

/// group(5): `name:password:number:users`.
fn find_group(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.identity);
        if is_ours {
            let _ = fs::remove_file(&self.path); // the next start removes what is left
        }
    }
}

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_name_alone() {
        let groups = "root:x:0:\nadm:x:4:syslog,adm2\nbroken\nadm2:x:77:\n";
        assert_eq!(find_group(groups, "adm"), Some(4));
        assert_eq!(find_group(groups, "adm2"), Some(77));
        assert_eq!(find_group(groups, "syslog"), None);
        assert_eq!(find_group(groups, "broken"), None);
        assert_eq!(group_number("12").expect("a number is one"), 12);
    }
}
