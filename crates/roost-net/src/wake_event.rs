//! A wake-up for a thread that waits in an event loop of its own.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::sys;
use crate::waker::{Wake, Waker};

/// A waker, and the descriptor that becomes readable when it is used: for a thread whose event loop
/// takes descriptors and no driver.
///
/// It is an eventfd that is never waited for by a writer. An edge-triggered epoll reports each use, also
/// where those before were not read; so that thread need not read it.
///
/// # Errors
/// When the process or the system has no descriptor left.
pub fn wake_event() -> io::Result<(Waker, OwnedFd)> {
    let receiver = sys::eventfd()?;
    let sender = File::from(receiver.try_clone()?);
    Ok((Waker::new(Arc::new(WakeEvent(sender))), receiver))
}

struct WakeEvent(File);

impl Wake for WakeEvent {
    fn wake(&self) {
        // It never waits. A counter that is full, after 2^64 uses, means that it is readable.
        let _ = (&self.0).write(&1_u64.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::Duration;

    use mio::unix::SourceFd;
    use mio::{Events, Interest, Poll, Token};
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn each_use_is_an_event_and_a_reader_that_stands_still_stops_nobody() {
        let (waker, receiver) = wake_event().expect("two descriptors");
        let mut poll = Poll::new().expect("an epoll");
        let mut source = SourceFd(&receiver.as_raw_fd());
        poll.registry()
            .register(&mut source, Token(7), Interest::READABLE)
            .expect("it is added");
        let mut events = Events::with_capacity(4);
        let mut is_woken = || {
            poll.poll(&mut events, Some(Duration::ZERO))
                .expect("it looks");
            events.iter().any(|event| event.token() == Token(7))
        };
        assert!(!is_woken());
        for _ in 0..3 {
            waker.wake();
            assert!(is_woken(), "though nothing was read");
            assert!(!is_woken(), "and only once");
        }
        for _ in 0..1_000_000 {
            waker.wake(); // nobody reads
        }
        assert!(is_woken());
        let mut count = [0; 8];
        let read = File::from(receiver).read(&mut count).expect("readable");
        assert_eq!((read, u64::from_ne_bytes(count)), (8, 1_000_003));
        waker.wake();
    }
}
