//! systemd's readiness protocol, sd_notify(3): one datagram to `$NOTIFY_SOCKET`.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use roost_net::process::monotonic_us;
use tracing::warn;

/// Tells systemd, if it listens, that the daemon is in `state`: `READY=1`, `STOPPING=1`. A failure
/// is a line of the log; a service manager that reads nothing is waited for no longer than `wait`.
pub(crate) fn notify(state: &str, wait: Duration) {
    if let Some(path) = env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty())
        && let Err(error) = send(&path, state, wait)
    {
        let socket = path.display();
        warn!(%error, state, %socket, "cannot notify the service manager ($NOTIFY_SOCKET)");
    }
}

/// A reload begins; `READY=1` ends it. systemd 253 and later asks for both in one datagram
/// (`Type=notify-reload`, sd_notify(3)); others take the first.
pub(crate) fn notify_reloading(wait: Duration) {
    notify(&reloading(monotonic_us()), wait);
}

fn reloading(monotonic_us: u64) -> String {
    format!("RELOADING=1\nMONOTONIC_USEC={monotonic_us}")
}

fn send(path: &OsStr, state: &str, wait: Duration) -> io::Result<()> {
    // A leading @ is the abstract name space's zero byte.
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(wait))?;
    socket.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_reload_is_told_with_its_time_in_one_datagram() {
        assert_eq!(reloading(12), "RELOADING=1\nMONOTONIC_USEC=12");
        let uptime = std::fs::read_to_string("/proc/uptime").expect("proc is mounted");
        let uptime: f64 = uptime
            .split(' ')
            .next()
            .and_then(|s| s.parse().ok())
            .expect("seconds");
        // It does not go on while the machine sleeps.
        assert!((monotonic_us() as f64) / 1e6 <= uptime + 1.0);
    }

    #[test]
    fn states_arrive_and_a_full_socket_is_not_waited_for() {
        let name = format!("@roost-notify-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name[1..]).expect("a name");
        let manager = UnixDatagram::bind_addr(&address).expect("the name is free");
        let wait = Duration::from_millis(10);
        send(OsStr::new(&name), "READY=1", wait).expect("it is received");
        let mut state = [0; 16];
        let len = manager.recv(&mut state).expect("one datagram");
        assert_eq!(&state[..len], b"READY=1");
        let began = Instant::now();
        // net.unix.max_dgram_qlen is 512 at most by default.
        let full = (0..100_000).find_map(|_| send(OsStr::new(&name), "STOPPING=1", wait).err());
        let kind = full.expect("the queue is full").kind();
        assert_eq!(kind, io::ErrorKind::WouldBlock);
        assert!(began.elapsed() < Duration::from_secs(10), "it waited");
        drop(manager);
        let gone = send(OsStr::new(&name), "STOPPING=1", wait).expect_err("the socket is gone");
        assert_eq!(gone.kind(), io::ErrorKind::ConnectionRefused);
    }
}
