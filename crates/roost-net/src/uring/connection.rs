//! One connection: reading, sending, connecting, closing, releasing.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

use socket2::{SockAddr, SockRef};

use super::batch::Batch;
use super::ring::{Cqe, SocketOption, Target};
use super::table::{
    self, AGAIN, CLOSING, CONNECTING, Dial, END, FIN, IN_LINE, PAUSED, READ_ENDED, READING,
    RELEASING, SENT_DUE, WATCHED,
};
use super::{
    ADVANCE, BIND, CLOSE, CONNECT, INSTALL, OPEN, Outcome, RECEIVE, SEND, SENT, SHUTDOWN,
    UringDriver, UringSocket, WATCH, cause_of,
};
use crate::{CloseCause, CloseMode, ConnKey, ConnectOptions, Event, SendStatus, socket};

impl UringDriver {
    /// A request of a live connection has completed.
    pub(super) fn connection_done(&mut self, key: ConnKey, op: u8, cqe: Cqe) -> Option<Outcome> {
        match op {
            WATCH => self.watch_done(key, cqe.result),
            RECEIVE => self.receive_done(key, cqe),
            SEND => self.send_done(key, cqe.result),
            OPEN => self.open_done(key, cqe.result),
            BIND => self.bind_done(key, cqe.result),
            CONNECT => self.connect_done(key, cqe.result),
            INSTALL => self.install_done(key, cqe.result),
            SHUTDOWN => self.owed_done(key, table::SHUTDOWN),
            CLOSE => self.owed_done(key, table::CLOSE),
            ADVANCE => self.advance(key),
            SENT => self.sent(key),
            _ => None,
        }
    }

    // Reading.

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
    fn watch_done(&mut self, key: ConnKey, result: i32) -> Option<Outcome> {
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

    fn receive_done(&mut self, key: ConnKey, cqe: Cqe) -> Option<Outcome> {
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
                if again || cqe.socket_nonempty() {
                    self.read(key);
                }
                if self.table.any(key, RELEASING) {
                    self.note_advance(key);
                }
                return Some(Outcome::Bytes(key, buffer, len));
            }
            self.buffers.give_back(buffer);
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

    // Sending.

    pub(super) fn start_send(&mut self, key: ConnKey, batch: Batch) -> SendStatus {
        let connecting = self.table.any(key, CONNECTING);
        let sent_due = self.table.any(key, SENT_DUE);
        let busy = self.table.busy(key);
        if busy.batch.is_some() || sent_due {
            debug_assert!(false, "a batch is in flight on {key:?}");
            self.start_close(key, CloseMode::Abort);
            return SendStatus::Gone;
        }
        busy.batch = Some(batch);
        if !connecting {
            self.submit_send(key);
        }
        // In a fan-out the queue is submitted every time it is full: the records of those sends
        // are free for the next.
        self.sort_arrived();
        SendStatus::Pending
    }

    fn submit_send(&mut self, key: ConnKey) {
        let busy = self.table.busy(key);
        let (Some(batch), Some(target)) = (&mut busy.batch, busy.target) else {
            return;
        };
        busy.owed |= table::SEND;
        self.stats.sends += 1;
        // SAFETY: the batch stays in the record until `send_done`, and so does the record; the
        // driver waits for the completion, or leaks the record, before it goes.
        unsafe { batch.submit(&mut self.ring, target, key.with_op(SEND).to_bits()) };
    }

    /// Answers the completion of a send before the caller's turn, if all went well: most do, and
    /// a fan-out to all connections then needs as many records as requests fit the queue, not as
    /// there are connections. False if there is more to it than telling `Sent`.
    pub(super) fn send_done_early(&mut self, key: ConnKey, result: i32) -> bool {
        if !self.table.holds(key) || self.table.any(key, CLOSING | RELEASING) {
            return false;
        }
        let busy = self.table.busy(key);
        let whole = |batch: &Batch| usize::try_from(result).is_ok_and(|n| n == batch.left());
        if busy.wanted != 0 || !busy.batch.as_ref().is_some_and(whole) {
            return false;
        }
        busy.owed &= !table::SEND;
        self.stats.sent_bytes += result as u64;
        if let Some(batch) = busy.batch.take() {
            self.batches.recycle(batch);
        }
        self.table.settle(key);
        self.table.set(key, SENT_DUE);
        true
    }

    /// Tells what `send_done_early` has found.
    fn sent(&mut self, key: ConnKey) -> Option<Outcome> {
        self.table.clear(key, SENT_DUE);
        let closing = self.table.any(key, CLOSING);
        (!closing).then_some(Outcome::Event(Event::Sent(key)))
    }

    fn send_done(&mut self, key: ConnKey, result: i32) -> Option<Outcome> {
        let tearing = self.is_tearing(key);
        let busy = self.table.busy(key);
        busy.owed &= !table::SEND;
        let batch = busy
            .batch
            .as_mut()
            .expect("a batch is kept until its completion");
        if result > 0 {
            batch.take(result as usize);
            self.stats.sent_bytes += result as u64;
        }
        if tearing {
            return self.advance(key);
        }
        let retry = matches!(-result, libc::EAGAIN | libc::EINTR);
        if result < 0 && !retry {
            self.tear_down(key, cause_of(-result));
            return None;
        }
        if batch.left() > 0 {
            self.submit_send(key);
            return None;
        }
        if let Some(batch) = busy.batch.take() {
            self.batches.recycle(batch);
        }
        if self.table.any(key, CLOSING) {
            return self.advance(key);
        }
        self.table.settle(key);
        if self.table.peek(key).is_some() || self.table.any(key, RELEASING) {
            self.note_advance(key);
        }
        Some(Outcome::Event(Event::Sent(key)))
    }

    /// Notes what is to be done when the batch in flight is out.
    pub(super) fn want(&mut self, key: ConnKey, wanted: u8) {
        self.table.busy(key).wanted |= wanted;
        self.note_advance(key);
    }

    // Connecting.

    pub(super) fn start_connect(
        &mut self,
        key: ConnKey,
        options: &ConnectOptions,
    ) -> io::Result<()> {
        if self.table.occupied(key.slot()) {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the slot is taken",
            ));
        }
        let mut dial = Dial {
            remote: SockAddr::from(options.addr),
            local: None,
            bind_errno: None,
        };
        if self.direct {
            if options.local.is_some() && !self.ring.can_bind() {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "connecting from a given address with direct descriptors needs Linux 6.11",
                ));
            }
            dial.local = options.local.map(SockAddr::from);
            let domain = i32::from(dial.remote.family());
            self.table.insert(key, None, CONNECTING);
            self.table.busy(key).owed = table::OPEN;
            self.table.busy(key).connect = Some(Box::new(dial));
            self.ring.open_direct(domain, key.with_op(OPEN).to_bits());
        } else {
            let fd = OwnedFd::from(socket::for_connect(options)?);
            self.table.insert(key, Some(Target::from(fd)), CONNECTING);
            self.table.busy(key).connect = Some(Box::new(dial));
            self.submit_connect(key);
        }
        Ok(())
    }

    fn open_done(&mut self, key: ConnKey, result: i32) -> Option<Outcome> {
        let tearing = self.is_tearing(key);
        let busy = self.table.busy(key);
        busy.owed &= !table::OPEN;
        if result < 0 {
            return if tearing {
                self.advance(key)
            } else {
                self.tear_down(key, CloseCause::ConnectFailed(-result));
                self.advance(key)
            };
        }
        let target = Target::Slot(result as u32);
        busy.target = Some(target);
        self.slots_used += 1;
        if tearing {
            self.close_socket(key);
            return None;
        }
        self.ring.set_option(target, &SocketOption::NO_DELAY);
        self.submit_connect(key);
        None
    }

    fn submit_connect(&mut self, key: ConnKey) {
        let busy = self.table.busy(key);
        let (Some(target), Some(dial)) = (busy.target, busy.connect.as_deref()) else {
            return;
        };
        if let Some(local) = &dial.local {
            busy.owed |= table::BIND;
            if local.as_socket().is_some_and(|local| local.port() == 0) {
                self.ring.set_option(target, &SocketOption::BIND_NO_PORT);
            }
            let user_data = key.with_op(BIND).to_bits();
            // SAFETY: the address is in a box that the record keeps until the connect is done.
            unsafe {
                self.ring
                    .bind_then(target, local.as_ptr().cast(), local.len(), user_data);
            }
        }
        busy.owed |= table::CONNECT;
        let user_data = key.with_op(CONNECT).to_bits();
        // SAFETY: as above.
        unsafe {
            self.ring.connect(
                target,
                dial.remote.as_ptr().cast(),
                dial.remote.len(),
                user_data,
            );
        }
    }

    fn bind_done(&mut self, key: ConnKey, result: i32) -> Option<Outcome> {
        let busy = self.table.busy(key);
        if result < 0
            && let Some(dial) = &mut busy.connect
        {
            dial.bind_errno = Some(-result);
        }
        self.owed_done(key, table::BIND)
    }

    fn connect_done(&mut self, key: ConnKey, result: i32) -> Option<Outcome> {
        let tearing = self.is_tearing(key);
        let busy = self.table.busy(key);
        busy.owed &= !table::CONNECT;
        let dial = busy.connect.take();
        if tearing {
            return self.advance(key);
        }
        if result < 0 {
            let errno = dial.and_then(|dial| dial.bind_errno).unwrap_or(-result);
            self.tear_down(key, CloseCause::ConnectFailed(errno));
            return None;
        }
        self.table.clear(key, CONNECTING);
        if self.table.any(key, CLOSING) {
            // Closed gracefully while connecting: the batch that waited goes out first.
            self.submit_send(key);
            return self.advance(key);
        }
        self.watch(key);
        self.submit_send(key);
        self.table.settle(key);
        if self.table.peek(key).is_some() {
            self.note_advance(key);
        }
        Some(Outcome::Event(Event::Connected(key)))
    }

    // Ending.

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

    fn reset_on_close(&mut self, key: ConnKey) {
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
    fn tear_down(&mut self, key: ConnKey, cause: CloseCause) {
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

    fn close_socket(&mut self, key: ConnKey) {
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

    fn install_done(&mut self, key: ConnKey, result: i32) -> Option<Outcome> {
        let fd = (result >= 0).then(|| {
            // SAFETY: the request has just made this descriptor; nobody else knows it.
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

    fn owed_done(&mut self, key: ConnKey, owed: u8) -> Option<Outcome> {
        self.table.busy(key).owed &= !owed;
        self.advance(key)
    }

    /// Does what is next, if nothing stands before it. The one place where a connection ends.
    fn advance(&mut self, key: ConnKey) -> Option<Outcome> {
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
        self.table.settle(key);
        None
    }

    /// Asks for a descriptor: for shutdown(2), which the kernel would do on a thread of its own
    /// if the ring were asked, or to give the socket away.
    fn install(&mut self, key: ConnKey, slot: u32) {
        self.table.busy(key).owed |= table::INSTALL;
        self.ring.install(slot, key.with_op(INSTALL).to_bits());
    }

    /// Has `advance` called when the completions before are handled.
    fn note_advance(&mut self, key: ConnKey) {
        self.ready
            .push_back(Cqe::note(key.with_op(ADVANCE).to_bits()));
    }

    fn is_tearing(&self, key: ConnKey) -> bool {
        self.table
            .peek(key)
            .is_some_and(|busy| busy.cause.is_some())
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

impl From<OwnedFd> for Target {
    /// The table owns the descriptor from here on.
    fn from(fd: OwnedFd) -> Target {
        Target::Fd(fd.into_raw_fd())
    }
}

fn shutdown_write(fd: &impl std::os::fd::AsFd) {
    // Fails only if the connection is gone, which the watch reports.
    let _ = SockRef::from(fd).shutdown(std::net::Shutdown::Write);
}
