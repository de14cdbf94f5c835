//! Connecting. A direct socket is made by the ring first; an ordinary one is there at once.

use std::io;
use std::os::fd::OwnedFd;

use socket2::SockAddr;

use super::ops::{BIND, CONNECT, OPEN};
use super::ring::{SocketOption, Target};
use super::state::{Outcome, UringDriver};
use super::table::{self, CLOSING, CONNECTING, Dial};
use crate::{CloseCause, ConnKey, ConnectOptions, Event, socket};

impl UringDriver {
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

    pub(super) fn open_done(&mut self, key: ConnKey, result: i32) -> Option<Outcome> {
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

    pub(super) fn bind_done(&mut self, key: ConnKey, result: i32) -> Option<Outcome> {
        let busy = self.table.busy(key);
        if result < 0
            && let Some(dial) = &mut busy.connect
        {
            dial.bind_errno = Some(-result);
        }
        self.owed_done(key, table::BIND)
    }

    pub(super) fn connect_done(&mut self, key: ConnKey, result: i32) -> Option<Outcome> {
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
        self.table.drop_idle_record(key);
        if self.table.peek(key).is_some() {
            self.note_advance(key);
        }
        Some(Outcome::Event(Event::Connected(key)))
    }
}
