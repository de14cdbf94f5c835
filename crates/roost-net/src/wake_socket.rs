//! A wake-up for a thread that waits in an event loop of its own.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use crate::waker::{Wake, Waker};

/// A waker, and the socket that becomes readable when it is used: for a thread whose event loop
/// takes sockets and no driver. That thread reads the socket empty before it looks for what it was
/// woken for.
///
/// A socket pair and not an eventfd: std and tokio take it as it is, without `unsafe`.
///
/// # Errors
/// When the process or the system has no descriptors left.
pub fn wake_socket() -> io::Result<(Waker, UnixStream)> {
    let (sender, receiver) = UnixStream::pair()?;
    sender.set_nonblocking(true)?;
    receiver.set_nonblocking(true)?;
    Ok((Waker::new(Arc::new(WakeSocket(sender))), receiver))
}

struct WakeSocket(UnixStream);

impl Wake for WakeSocket {
    fn wake(&self) {
        // It never waits. A full buffer means that it is readable; a closed end, that the reader is gone.
        let _ = (&self.0).write(&[1]);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_wake_makes_the_socket_readable_and_a_reader_that_stands_still_stops_nobody() {
        let (waker, mut socket) = wake_socket().expect("two descriptors");
        let mut bytes = [0; 64];
        let empty = socket.read(&mut bytes).map_err(|error| error.kind());
        assert_eq!(empty, Err(io::ErrorKind::WouldBlock));
        waker.wake();
        assert_eq!(socket.read(&mut bytes).expect("readable"), 1);
        for _ in 0..1_000_000 {
            waker.wake(); // far more than the buffer takes
        }
        assert_eq!(socket.read(&mut bytes).expect("readable"), bytes.len());
        drop(socket);
        waker.wake();
    }
}
