//! systemd's readiness protocol, sd_notify(3): one datagram to `$NOTIFY_SOCKET`.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use tracing::warn;

/// Tells systemd, if it listens, that the daemon is in `state`: `READY=1`, `STOPPING=1`.
pub(crate) fn notify(state: &str) {
    if let Some(path) = env::var_os("NOTIFY_SOCKET")
        && let Err(error) = send(&path, state)
    {
        warn!(%error, state, "cannot notify systemd");
    }
}

fn send(path: &OsStr, state: &str) -> io::Result<()> {
    // A leading @ is the abstract name space's zero byte.
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(path)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}
