//! New connections: from a completed accept to [`Event::Accepted`].

use std::net::SocketAddr;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use super::accept::is_limit;
use super::handle::UringSocket;
use super::ring::Cqe;
use super::state::{Outcome, UringDriver, peer_of};
use crate::{ConnKey, Event, ListenerId};

impl UringDriver {
    pub(super) fn accept_done(&mut self, key: ConnKey, cqe: Cqe) -> Option<Outcome> {
        let result = if cqe.result < 0 {
            Err(-cqe.result)
        } else {
            Ok(())
        };
        let peer = self.listeners.accepted(key, result, cqe.more());
        if let Err(errno) = result {
            if is_limit(errno) {
                self.stats.accept_limit += 1;
            }
            return None;
        }
        let number = cqe.result;
        if self.direct {
            self.slots_used += 1;
            let socket = UringSocket::slot(number as u32, &self.dropped);
            return Some(self.arrival(key.slot(), socket, peer));
        }
        // SAFETY: the accept has just made this descriptor; it is known nowhere else.
        let fd = unsafe { OwnedFd::from_raw_fd(number) };
        Some(self.arrival_by_fd(key.slot(), fd))
    }

    pub(super) fn listener_ready(&mut self, key: ConnKey) -> Option<Outcome> {
        let (fd, reset) = self.listeners.retry_full(key.slot());
        self.stats.accept_limit += reset;
        self.stats.accept_reset += reset;
        fd.map(|fd| self.arrival_by_fd(key.slot(), fd))
    }

    pub(super) fn late_arrival(&mut self, key: ConnKey) -> Option<Outcome> {
        let (fd, peer) = self.late.pop_front()?;
        Some(self.arrival(key.slot(), UringSocket::from(fd), peer))
    }

    fn arrival_by_fd(&mut self, listener: u32, fd: OwnedFd) -> Outcome {
        let asked = self.listeners.wants_peer(listener);
        let peer = asked.then(|| peer_of(fd.as_fd())).flatten();
        self.arrival(listener, UringSocket::from(fd), peer)
    }

    fn arrival(&mut self, listener: u32, socket: UringSocket, peer: Option<SocketAddr>) -> Outcome {
        self.stats.accepted += 1;
        Outcome::Event(Event::Accepted {
            listener: ListenerId(listener),
            socket,
            peer,
        })
    }
}
