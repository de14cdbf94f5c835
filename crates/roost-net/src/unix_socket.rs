//! Unix sockets to listen on, and the files they have: who may connect is a matter of the file.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::waker::Waker;

/// Where a unix socket is to be, and who may connect to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixOptions {
    /// The path of its file: at most 107 bytes (unix(7)).
    pub path: PathBuf,
    /// The file's mode, such as `0o660`: a process that may write to it may connect.
    pub mode: u32,
    /// The file's group, where it is not what the system gives it.
    pub group: Option<u32>,
}

/// A listening unix socket. Dropping it removes its file, unless another has taken its place.
#[derive(Debug)]
pub struct UnixSocket {
    // Dropped in this order: no client finds a file that leads nowhere.
    file: SocketFile,
    socket: Socket,
    /// Drivers that are told when another leaves connections in the backlog.
    sharers: Mutex<Vec<Waker>>,
    /// How often that has happened.
    left_behind: AtomicU32,
}

#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and inode: a file that has taken its place since is another's.
    identity: (u64, u64),
}

impl UnixSocket {
    /// Listens at the path; `backlog` connections may wait to be accepted. Non-blocking. The file of
    /// a process that has not removed it itself is replaced.
    ///
    /// # Errors
    /// `AddrInUse` when another process listens there, `AlreadyExists` when the path is that of a
    /// file of another kind, `InvalidInput` when it is too long, and what the system says. The text
    /// says what is wrong.
    pub fn bind(options: &UnixOptions, backlog: u32) -> io::Result<UnixSocket> {
        remove_left_behind(&options.path)?;
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new_raw(Domain::UNIX, kind, None)?;
        socket.bind(&SockAddr::unix(&options.path)?)?;
        let bound = fs::symlink_metadata(&options.path)?;
        let file = SocketFile {
            path: options.path.clone(),
            identity: (bound.dev(), bound.ino()),
        };
        // Between bind and listen no client can connect: by then the file has its mode and group.
        fs::set_permissions(&options.path, fs::Permissions::from_mode(options.mode))?;
        if let Some(group) = options.group.filter(|&group| group != bound.gid()) {
            chown(&options.path, None, Some(group))?;
        }
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        Ok(UnixSocket {
            file,
            socket,
            sharers: Mutex::default(),
            left_behind: AtomicU32::new(0),
        })
    }

    /// The path of its file.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Another descriptor of the same socket: what waits to be accepted waits for all of them.
    ///
    /// # Errors
    /// When no descriptor is free.
    pub fn share(&self) -> io::Result<Socket> {
        self.socket.try_clone()
    }

    /// Has `waker` used whenever a driver stops to accept that was told of connections and may not
    /// have accepted them all. Returns how often that was until now.
    pub(crate) fn join(&self, waker: Waker) -> u32 {
        let mut sharers = self.sharers.lock().expect("no holder panics");
        sharers.push(waker);
        self.left_behind()
    }

    /// A driver stops to accept that was told of connections: the others are to look.
    pub(crate) fn leave_behind(&self) {
        self.left_behind.fetch_add(1, Ordering::Release);
        for waker in self.sharers.lock().expect("no holder panics").iter() {
            waker.wake();
        }
    }

    /// How often one has.
    pub(crate) fn left_behind(&self) -> u32 {
        self.left_behind.load(Ordering::Acquire)
    }
}

impl AsFd for UnixSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
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

/// Whether a socket could be made at this path, as far as can be told without making it.
pub(crate) fn check_path(path: &Path) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::metadata(directory)?;
    is_left_behind(path).map(drop)
}

/// Removes the socket of a process that has not removed it itself. One that somebody serves stays,
/// and so does every other file.
fn remove_left_behind(path: &Path) -> io::Result<()> {
    if !is_left_behind(path)? {
        return Ok(());
    }
    fs::remove_file(path).map_err(|error| {
        let why = format!("a socket that no process serves cannot be removed: {error}");
        io::Error::new(error.kind(), why)
    })
}

/// Whether a socket is there that no process serves. One that is served is an error, and so is every
/// other file.
fn is_left_behind(path: &Path) -> io::Result<bool> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(false); // binding says what else may be wrong
    };
    let stays = |kind, why: String| Err(io::Error::new(kind, why));
    if !found.file_type().is_socket() {
        let why = "a file that is no socket is there".to_owned();
        return stays(io::ErrorKind::AlreadyExists, why);
    }
    match try_it(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Ok(_) => stays(
            io::ErrorKind::AddrInUse,
            "another process serves it".to_owned(),
        ),
        Err(error) => stays(
            error.kind(),
            format!("a socket is there that cannot be tried: {error}"),
        ),
    }
}

/// Connects. Where that succeeds, again after a while: the kernel takes its time to close what an
/// io_uring of a process has held that was killed.
fn try_it(path: &Path) -> io::Result<UnixStream> {
    let mut pause = Duration::from_millis(10);
    loop {
        let tried = UnixStream::connect(path);
        if tried.is_err() || pause > TRY_PAUSE_MAX {
            return tried;
        }
        drop(tried);
        thread::sleep(pause);
        pause *= 2;
    }
}

/// The last pause between two tries; they are 630 ms together.
const TRY_PAUSE_MAX: Duration = Duration::from_millis(320);

/// A group's number, given by itself or by name. Only `/etc/group` is read.
///
/// # Errors
/// `NotFound` when it has no such group.
pub fn group_number(group: &str) -> io::Result<u32> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    find_group(&groups, group).ok_or_else(|| {
        let why = format!("/etc/group has no group {group:?}");
        io::Error::new(io::ErrorKind::NotFound, why)
    })
}

/// group(5): `name:password:number:users`.
fn find_group(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Options for a path that no other test has.
    fn options() -> UnixOptions {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("roost-unix-{}-{number}.sock", std::process::id());
        UnixOptions {
            path: std::env::temp_dir().join(name),
            mode: 0o660,
            group: None,
        }
    }

    #[test]
    fn the_file_has_its_mode_and_goes_with_the_socket() {
        for mode in [0o600, 0o660, 0o666] {
            let options = UnixOptions { mode, ..options() };
            let socket = UnixSocket::bind(&options, 8).expect("binds");
            let file = fs::metadata(&options.path).expect("it is there");
            assert_eq!(file.permissions().mode() & 0o777, mode);
            let shared = socket.share().expect("a descriptor is free");
            drop(socket);
            assert!(!options.path.exists(), "{mode:o}: it is still there");
            drop(shared);
        }
    }

    #[test]
    fn only_a_socket_that_nobody_serves_is_replaced() {
        let options = options();
        drop(UnixListener::bind(&options.path).expect("binds")); // std leaves the file
        let first = UnixSocket::bind(&options, 8).expect("no process serves it");
        let second = UnixSocket::bind(&options, 8).expect_err("the first serves it");
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse, "{second}");
        UnixStream::connect(&options.path).expect("it is still the first's");
        drop(first);
        fs::write(&options.path, "precious").expect("writes");
        let third = UnixSocket::bind(&options, 8).expect_err("it is no socket");
        assert_eq!(third.kind(), io::ErrorKind::AlreadyExists, "{third}");
        assert_eq!(
            fs::read_to_string(&options.path).expect("reads"),
            "precious"
        );
        fs::remove_file(&options.path).expect("removes");
    }

    #[test]
    fn a_file_that_has_taken_its_place_stays() {
        let options = options();
        let first = UnixSocket::bind(&options, 8).expect("binds");
        fs::remove_file(&options.path).expect("removes");
        let other = UnixListener::bind(&options.path).expect("binds");
        drop(first);
        assert!(options.path.exists(), "it is another's");
        drop(other);
        fs::remove_file(&options.path).expect("removes");
    }

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
