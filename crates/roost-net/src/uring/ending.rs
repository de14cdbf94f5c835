//! Ending: FIN, close, release, and [`UringDriver::advance`], which does what is next.

use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use socket2::SockRef;

use super::handle::UringSocket;
use super::ops::{ADVANCE, CLOSE, CONNECT, INSTALL, SEND, SHUTDOWN, WATCH};
use super::ring::{Cqe, SocketOption, Target};
use super::state::{Outcome, UringDriver};
use super::table::{
    self, AGAIN, CLOSING, CONNECTING, END, FIN, IN_LINE, READING, RELEASING, WATCHED,
};
use crate::{CloseCause, CloseMode, ConnKey, Event, socket};

impl UringDriver {
    /// Notes what is to be done when the batch in flight is out.
    pub(super) fn want(&mut self, key: ConnKey, wanted: u8) {
        self.table.busy(key).wanted |= wanted;
        self.note_advance(key);
    }

    pub(super) fn start_close(&mut self, key: ConnKey, mode: CloseMode) {
        if self.is_tearing(key) {
            return;
        }
        let sending = self
            .table
            .peek(key)
            .is_some_and(|busy| busy.batch.is_some());
        if mode == CloseMode::Graceful && sending {
            self.table.set(key, CLOSING);
            self.want(key, END);
            return;
        }
        if mode == CloseMode::Abort {
            self.reset_on_close(key);
        }
        self.tear_down(key, CloseCause::Requested);
    }

    pub(super) fn reset_on_close(&mut self, key: ConnKey) {
        match self.table.target(key) {
            Some(Target::Fd(fd)) => {
                // SAFETY: the table owns the descriptor, which is open until `close_socket`.
                let fd = unsafe { BorrowedFd::borrow_raw(fd) };
                socket::reset_on_close(&fd);
            }
            Some(target) => self.ring.set_option(target, &SocketOption::RESET_ON_CLOSE),
            None => {}
        }
    }

    /// Begins the end: nothing new is submitted, what is armed is cancelled, the socket closed.
    /// `Closed` comes when all of it has completed.
    pub(super) fn tear_down(&mut self, key: ConnKey, cause: CloseCause) {
        if self.is_tearing(key) {
            return;
        }
        // Closing gracefully, when a fault came first: the caller had asked for the end.
        let asked = self.table.any(key, CLOSING);
        self.table.set(key, CLOSING);
        self.table.clear(key, IN_LINE);
        let watched = self.table.any(key, WATCHED);
        let busy = self.table.busy(key);
        busy.cause = Some(if asked { CloseCause::Requested } else { cause });
        let owed = busy.owed;
        if watched {
            self.ring.cancel(key.with_op(WATCH).to_bits());
        }
        if owed & table::SEND != 0 {
            self.ring.cancel(key.with_op(SEND).to_bits());
        }
        if owed & table::CONNECT != 0 {
            self.ring.cancel(key.with_op(CONNECT).to_bits());
        }
        self.close_socket(key);
        if self.table.busy(key).owed == 0 {
            self.note_advance(key);
        }
    }

    pub(super) fn close_socket(&mut self, key: ConnKey) {
        let busy = self.table.busy(key);
        let Some(target) = busy.target.take() else {
            return;
        };
        busy.owed |= table::CLOSE;
        self.ring.close(target, Some(key.with_op(CLOSE).to_bits()));
        if let Target::Slot(_) = target {
            // The request that frees the slot is in the queue ahead of any accept that may use it.
            self.slot_is_free();
        }
    }

    pub(super) fn start_release(&mut self, key: ConnKey) {
        if self.table.any(key, RELEASING) {
            return;
        }
        self.table.set(key, RELEASING);
        self.table.clear(key, IN_LINE | AGAIN);
        if self.table.any(key, WATCHED) {
            self.ring.cancel(key.with_op(WATCH).to_bits());
        }
        self.note_advance(key);
    }

    pub(super) fn install_done(&mut self, key: ConnKey, result: i32) -> Option<Outcome> {
        let fd = (result >= 0).then(|| {
            // SAFETY: the request has just made this descriptor; it is known nowhere else.
            unsafe { OwnedFd::from_raw_fd(result) }
        });
        let tearing = self.is_tearing(key);
        let busy = self.table.busy(key);
        busy.owed &= !table::INSTALL;
        if tearing {
            return self.advance(key);
        }
        if busy.wanted & FIN != 0 {
            busy.wanted &= !FIN;
            match fd {
                Some(fd) => shutdown_write(&fd),
                None => self.shutdown_by_ring(key),
            }
            return self.advance(key);
        }
        // Released. Without a descriptor to spare it is given out as it is, for this driver only.
        let target = busy.target;
        self.table.remove(key);
        let socket = match (fd, target) {
            (Some(fd), Some(Target::Slot(slot))) => {
                self.close_slot(slot);
                UringSocket::from(fd)
            }
            (None, Some(Target::Slot(slot))) => UringSocket::slot(slot, &self.dropped),
            _ => unreachable!("only the socket of a slot is installed"),
        };
        Some(Outcome::Event(Event::Released(key, socket)))
    }

    fn shutdown_by_ring(&mut self, key: ConnKey) {
        let busy = self.table.busy(key);
        if let Some(target) = busy.target {
            busy.owed |= table::SHUTDOWN;
            self.ring
                .shutdown_write(target, key.with_op(SHUTDOWN).to_bits());
        }
    }

    pub(super) fn owed_done(&mut self, key: ConnKey, owed: u8) -> Option<Outcome> {
        self.table.busy(key).owed &= !owed;
        self.advance(key)
    }

    /// Does what is next, if nothing stands before it. The one place where a connection ends.
    pub(super) fn advance(&mut self, key: ConnKey) -> Option<Outcome> {
        let armed = self.table.any(key, WATCHED | READING);
        let releasing = self.table.any(key, RELEASING);
        if self.table.peek(key).is_none() && !releasing {
            return None;
        }
        let connecting = self.table.any(key, CONNECTING);
        let busy = self.table.busy(key);
        if let Some(cause) = busy.cause {
            if busy.owed != 0 || armed {
                return None;
            }
            let busy = self.table.remove(key)?;
            if let Some(batch) = busy.batch {
                self.batches.recycle(batch);
            }
            return Some(Outcome::Event(Event::Closed(key, cause)));
        }
        if busy.owed != 0 || busy.batch.is_some() || connecting {
            return None;
        }
        if busy.wanted & END != 0 {
            // `tear_down` knows from CLOSING that this was asked for.
            self.tear_down(key, CloseCause::Requested);
            return None;
        }
        let target = busy
            .target
            .expect("a connection that is not closing has a socket");
        if busy.wanted & FIN != 0 {
            match target {
                Target::Fd(fd) => {
                    busy.wanted &= !FIN;
                    // SAFETY: the table owns the descriptor.
                    shutdown_write(&unsafe { BorrowedFd::borrow_raw(fd) });
                }
                Target::Slot(slot) => {
                    self.install(key, slot);
                    return None;
                }
            }
        }
        if releasing && !armed {
            match target {
                Target::Fd(fd) => {
                    self.table.remove(key);
                    // SAFETY: the table owned the descriptor until now.
                    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
                    return Some(Outcome::Event(Event::Released(key, fd.into())));
                }
                Target::Slot(slot) => {
                    self.install(key, slot);
                    return None;
                }
            }
        }
        self.table.drop_idle_record(key);
        None
    }

    /// Asks for a descriptor: for shutdown(2), which the kernel would do on a thread of its own
    /// if the ring were asked, or to give the socket away.
    pub(super) fn install(&mut self, key: ConnKey, slot: u32) {
        self.table.busy(key).owed |= table::INSTALL;
        self.ring.install(slot, key.with_op(INSTALL).to_bits());
    }

    /// Has `advance` called when the completions before are handled.
    pub(super) fn note_advance(&mut self, key: ConnKey) {
        self.ready
            .push_back(Cqe::note(key.with_op(ADVANCE).to_bits()));
    }

    pub(super) fn is_tearing(&self, key: ConnKey) -> bool {
        self.table
            .peek(key)
            .is_some_and(|busy| busy.cause.is_some())
    }
}

fn shutdown_write(fd: &impl AsFd) {
    // Fails only if the connection is gone, which the watch reports.
    let _ = SockRef::from(fd).shutdown(Shutdown::Write);
}
