//! What is done for a key from the ready-list, and how a connection ends.

use std::io::{self, ErrorKind};

use socket2::SockRef;

use super::accept::Accept;
use super::batch::Written;
use super::state::{Done, EpollDriver, EpollSocket, Step};
use super::table::{
    CLOSING, CONNECTING, ENDED, FAULT, FIN, PAUSED, QUEUED, READ_ENDED, READ_TO_END, READABLE,
    RELEASING, Sock, WRITABLE, WRITING,
};
use crate::{CloseCause, ConnKey, Event, ListenerId, sys};

impl EpollDriver {
    /// Accepts one new connection; the listener stays first until its budget is spent.
    pub(super) fn serve_listener(&mut self, key: ConnKey) -> Option<Step> {
        let listener = ListenerId(key.slot());
        match self
            .listeners
            .accept(&self.poll, listener, self.clock.now(), &mut self.stats)
        {
            Accept::One(fd, peer) => {
                self.put_first(key);
                let socket = EpollSocket(fd);
                Some(Step::Event(Event::Accepted {
                    listener,
                    socket,
                    peer,
                }))
            }
            Accept::NextTurn => {
                self.ready.push_back(key);
                None
            }
            Accept::Rest => None,
        }
    }

    /// Does what is to be done for a socket from the ready-list: one thing at a time, in the
    /// order connected, written, read.
    pub(super) fn serve(&mut self, key: ConnKey) -> Option<Step> {
        let sock = self.table.get_mut(key)?;
        sock.clear(QUEUED);
        if sock.any(ENDED) {
            return None;
        }
        let step = if sock.any(CONNECTING) {
            self.finish_connect(key)
        } else if sock.any(WRITING) && sock.any(WRITABLE) {
            self.go_on_writing(key)
        } else if sock.any(PAUSED | READ_ENDED | CLOSING | RELEASING) {
            self.take_fault(key);
            None
        } else {
            // What came before an error is read before the error.
            return self.read(key);
        };
        // The rest belongs to this pass as well.
        if let Some(sock) = self.table.get_mut(key)
            && sock.has_work()
            && !sock.any(QUEUED)
        {
            sock.set(QUEUED);
            self.put_first(key);
        }
        self.table.check(key);
        step
    }

    fn finish_connect(&mut self, key: ConnKey) -> Option<Step> {
        let sock = self.table.get_mut(key)?;
        if !sock.any(WRITABLE | FAULT) {
            return None;
        }
        match take_error(sock) {
            Some(error) => {
                self.fail(key, &error);
                None
            }
            None => {
                sock.clear(CONNECTING | FAULT);
                if sock.any(FIN) && !sock.any(WRITING) {
                    send_fin(sock);
                }
                self.finish_release(key);
                let closing = self.table.get(key)?.any(CLOSING);
                (!closing).then_some(Step::Event(Event::Connected(key)))
            }
        }
    }

    fn go_on_writing(&mut self, key: ConnKey) -> Option<Step> {
        let sock = self.table.get_mut(key)?;
        let batch = self
            .batches
            .get_mut(&key.slot())
            .expect("WRITING says it is there");
        let fd = sock.fd.as_ref().expect("not ENDED");
        match batch.write(fd, &mut self.stats) {
            Written::Full => {
                sock.clear(WRITABLE);
                None
            }
            Written::Failed(error) => {
                self.fail(key, &error);
                None
            }
            Written::All => {
                sock.clear(WRITING);
                if let Some(batch) = self.batches.remove(&key.slot()) {
                    self.stats.pinned_bytes -= batch.pinned_bytes();
                }
                if sock.any(FIN) {
                    send_fin(sock);
                }
                if sock.any(CLOSING) {
                    self.end(key, CloseCause::Requested);
                    return None;
                }
                self.finish_release(key);
                Some(Step::Event(Event::Sent(key)))
            }
        }
    }

    fn read(&mut self, key: ConnKey) -> Option<Step> {
        let sock = self.table.get_mut(key)?;
        if !sock.any(READABLE) {
            return None;
        }
        let socket = sock.fd.as_ref().expect("not ENDED");
        let result = loop {
            self.stats.receives += 1;
            match sys::recv(socket, &mut self.read_buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        let step = match result {
            Ok(0) => {
                sock.set(READ_ENDED);
                sock.clear(READABLE);
                Some(Step::Event(Event::ReadClosed(key)))
            }
            Ok(n) => {
                self.stats.received_bytes += n as u64;
                // A short read leaves the socket empty, and what comes later makes a new edge.
                // What READ_TO_END tells of makes none: then read on.
                if n < self.read_buffer.len() && !sock.any(READ_TO_END) {
                    sock.clear(READABLE);
                }
                Some(Step::Bytes(key, n))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                sock.clear(READABLE | READ_TO_END);
                self.take_fault(key);
                None
            }
            Err(error) => {
                self.fail(key, &error);
                None
            }
        };
        self.enqueue(key);
        self.table.check(key);
        step
    }

    /// Ends the connection if the error epoll has reported is still there.
    fn take_fault(&mut self, key: ConnKey) {
        let Some(sock) = self.table.get_mut(key) else {
            return;
        };
        if !sock.any(FAULT) {
            return;
        }
        sock.clear(FAULT);
        if let Some(error) = take_error(sock) {
            self.fail(key, &error);
        }
    }

    /// Puts the key at the back of the ready-list if it has work.
    #[inline]
    pub(super) fn enqueue(&mut self, key: ConnKey) {
        if let Some(sock) = self.table.get_mut(key)
            && sock.has_work()
            && !sock.any(QUEUED)
        {
            sock.set(QUEUED);
            self.ready.push_back(key);
        }
    }

    /// Puts the key at the front of this pass.
    fn put_first(&mut self, key: ConnKey) {
        self.ready.push_front(key);
        self.turn_left += 1;
    }

    /// Ends a connection that `error` has broken.
    pub(super) fn fail(&mut self, key: ConnKey, error: &io::Error) {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        let connecting = self.table.get(key).is_some_and(|sock| sock.any(CONNECTING));
        let cause = match errno {
            _ if connecting => CloseCause::ConnectFailed(errno),
            libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED => CloseCause::Reset,
            _ => CloseCause::Error(errno),
        };
        self.end(key, cause);
    }

    /// Closes the socket and lets `Closed` follow.
    pub(super) fn end(&mut self, key: ConnKey, cause: CloseCause) {
        let Some(sock) = self.table.get_mut(key) else {
            return;
        };
        if sock.any(ENDED) {
            return;
        }
        if sock.any(WRITING)
            && let Some(batch) = self.batches.remove(&key.slot())
        {
            self.stats.pinned_bytes -= batch.pinned_bytes();
        }
        sock.clear(WRITING | CONNECTING | CLOSING | RELEASING);
        sock.set(ENDED);
        // Closing takes it out of the epoll set: it is the only descriptor.
        sock.fd = None;
        self.listeners.descriptor_freed();
        self.done.push_back(Done::Closed(key, cause));
        self.table.check(key);
    }

    /// Lets `Released` follow if it was asked for and nothing delays it.
    pub(super) fn finish_release(&mut self, key: ConnKey) {
        if let Some(sock) = self.table.get(key)
            && sock.any(RELEASING)
            && !sock.any(WRITING | CONNECTING)
        {
            self.done.push_back(Done::Released(key));
        }
    }
}

/// The socket's error, which the kernel then forgets.
fn take_error(sock: &Sock) -> Option<io::Error> {
    SockRef::from(sock.fd.as_ref()?).take_error().ok().flatten()
}

/// Sends FIN.
pub(super) fn send_fin(sock: &Sock) {
    if let Some(fd) = &sock.fd {
        // Fails only when the connection is already broken, which epoll tells as well.
        let _ = SockRef::from(fd).shutdown(std::net::Shutdown::Write);
    }
}
