//! Reading: a watch that reports edges, receives that never wait, and a line for the buffers.

use std::os::fd::BorrowedFd;

use socket2::SockRef;

use super::ops::{RECEIVE, WATCH};
use super::ring::{Cqe, Target};
use super::state::{Outcome, UringDriver, cause_of};
use super::table::{
    AGAIN, CLOSING, CONNECTING, ENDING, IN_LINE, PAUSED, READ_ENDED, READING, RELEASING, WATCHED,
};
use crate::{CloseCause, ConnKey, Event};

impl UringDriver {
    /// Watches the socket for bytes, FIN and faults.
    pub(super) fn watch(&mut self, key: ConnKey) {
        if let Some(target) = self.table.target(key) {
            self.ring.watch(target, key.with_op(WATCH).to_bits());
            self.table.set(key, WATCHED);
        }
    }

    /// The watch has seen a change, and goes on.
    pub(super) fn watch_reported(&mut self, key: ConnKey, events: i32) {
        if !self.table.holds(key) {
            self.count_stale();
            return;
        }
        let fault = events & i32::from(libc::POLLERR) != 0;
        if events & i32::from(libc::POLLERR | libc::POLLHUP | libc::POLLRDHUP) != 0 {
            self.table.set(key, ENDING);
        }
        if fault && self.table.any(key, PAUSED | READ_ENDED | CLOSING) {
            // No receive will find it out.
            let cause = self.fault_of(key);
            self.tear_down(key, cause);
        } else if self.table.any(key, READING | IN_LINE) {
            self.table.set(key, AGAIN);
        } else {
            self.read(key);
        }
    }

    /// The watch has ended: it was taken away, or the kernel could not keep it.
    pub(super) fn watch_done(&mut self, key: ConnKey, result: i32) -> Option<Outcome> {
        self.table.clear(key, WATCHED);
        if self.table.any(key, CLOSING | RELEASING) {
            return self.advance(key);
        }
        if result < 0 && result != -libc::ECANCELED {
            self.tear_down(key, CloseCause::Error(-result));
            return None;
        }
        // Its last report is a report like others. The new watch reports what is there already.
        self.watch(key);
        if result > 0 {
            self.watch_reported(key, result);
        }
        None
    }

    /// Submits a receive if one is allowed and a buffer free; else the connection gets in line.
    pub(super) fn read(&mut self, key: ConnKey) {
        let barred = PAUSED | READ_ENDED | CLOSING | RELEASING | CONNECTING | READING | IN_LINE;
        if self.table.any(key, barred) {
            return;
        }
        if self.line.is_empty() && self.buffers.claim() {
            self.submit_receive(key);
        } else {
            self.get_in_line(key);
        }
    }

    /// Submits receives for those in line, as many as there are buffers.
    pub(super) fn read_line(&mut self) {
        while let Some(&key) = self.line.front() {
            let waits = self.table.holds(key) && self.table.any(key, IN_LINE);
            if waits && !self.table.any(key, PAUSED) {
                if !self.buffers.claim() {
                    return;
                }
                self.submit_receive(key);
            }
            self.line.pop_front();
            if waits {
                self.table.clear(key, IN_LINE);
            }
        }
    }

    fn get_in_line(&mut self, key: ConnKey) {
        self.stats.buffers_exhausted += 1;
        self.table.set(key, IN_LINE);
        self.line.push_back(key);
        self.line_water.note(self.line.len());
    }

    /// A buffer is claimed for this.
    fn submit_receive(&mut self, key: ConnKey) {
        let target = self
            .table
            .target(key)
            .expect("a connection that reads has a socket");
        self.table.set(key, READING);
        self.stats.receives += 1;
        self.ring
            .receive(target, self.buffers.bytes(), key.with_op(RECEIVE).to_bits());
    }

    pub(super) fn receive_done(&mut self, key: ConnKey, cqe: Cqe) -> Option<Outcome> {
        let buffer = cqe.buffer();
        self.buffers.complete(buffer);
        let again = self.table.any(key, AGAIN);
        self.table.clear(key, READING | AGAIN);
        let closing = self.table.any(key, CLOSING);
        if let Some(buffer) = buffer {
            if cqe.result > 0 && !closing {
                let len = cqe.result as u32;
                self.stats.received_bytes += u64::from(len);
                // Other connections' receives are ahead in the queue: this one is read in turn.
                if again || cqe.socket_nonempty() || self.table.any(key, ENDING) {
                    self.read(key);
                }
                if self.table.any(key, RELEASING) {
                    self.note_advance(key);
                }
                return Some(Outcome::Bytes(key, buffer, len));
            }
            self.buffers.shrink(buffer);
        }
        if closing {
            return self.advance(key);
        }
        match cqe.result {
            // FIN. A paused connection finds it again when resumed, a released one elsewhere.
            0 if self.table.any(key, PAUSED | RELEASING) => return self.advance(key),
            0 => {
                self.table.set(key, READ_ENDED);
                return Some(Outcome::Event(Event::ReadClosed(key)));
            }
            result if result == -libc::EAGAIN => {
                if again {
                    self.read(key);
                }
                return self.advance(key);
            }
            result if result == -libc::EINTR => self.read(key),
            result if result == -libc::ENOBUFS => self.get_in_line(key),
            result => self.tear_down(key, cause_of(-result)),
        }
        None
    }

    /// Why the watch reported a fault.
    fn fault_of(&self, key: ConnKey) -> CloseCause {
        let Some(Target::Fd(fd)) = self.table.target(key) else {
            return CloseCause::Reset;
        };
        // SAFETY: the table owns the descriptor and is borrowed meanwhile.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        match SockRef::from(&fd).take_error() {
            Ok(Some(error)) => cause_of(error.raw_os_error().unwrap_or(libc::ECONNRESET)),
            _ => CloseCause::Reset,
        }
    }
}
