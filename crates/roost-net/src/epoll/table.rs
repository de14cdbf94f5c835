//! The table of sockets: one entry of eight bytes per slot, and nothing else for a quiet one.

use std::os::fd::OwnedFd;

use crate::ConnKey;
use crate::memory::{HighWater, PagedVec};

/// One slot.
#[derive(Debug, Default)]
pub(super) struct Sock {
    /// None in a free slot, and in one whose socket is closed but whose `Closed` is not yet reported.
    pub(super) fd: Option<OwnedFd>,
    generation: u16,
    flags: u16,
}

const _: () = assert!(size_of::<Sock>() <= 8);

/// Room for so many is not worth giving back.
const SOCKS_FLOOR: usize = 512;

/// The slot is taken; its key has not had its last event.
const LIVE: u16 = 1;
/// The key is on the ready-list.
pub(super) const QUEUED: u16 = 1 << 1;
/// A read may find something: no read since the last edge has shown the socket empty.
pub(super) const READABLE: u16 = 1 << 2;
/// FIN, an error or urgent data stands behind the bytes: a short read does not mean that the
/// socket is empty.
pub(super) const READ_TO_END: u16 = 1 << 3;
/// A write may succeed: no write since the last edge has been short.
pub(super) const WRITABLE: u16 = 1 << 4;
/// epoll has reported an error not yet taken.
pub(super) const FAULT: u16 = 1 << 5;
/// The caller does not want bytes.
pub(super) const PAUSED: u16 = 1 << 6;
/// The peer's FIN has been reported.
pub(super) const READ_ENDED: u16 = 1 << 7;
/// A batch is in flight, in the batches beside the table.
pub(super) const WRITING: u16 = 1 << 8;
/// FIN was asked for; it is out unless WRITING or CONNECTING.
pub(super) const FIN: u16 = 1 << 9;
/// Not connected yet.
pub(super) const CONNECTING: u16 = 1 << 10;
/// Closes when the batch in flight is out.
pub(super) const CLOSING: u16 = 1 << 11;
/// Is given back when connected and the batch in flight is out.
pub(super) const RELEASING: u16 = 1 << 12;
/// The socket is closed and `Closed` is still to be reported.
pub(super) const ENDED: u16 = 1 << 13;

impl Sock {
    /// True if any of `flags` is set.
    pub(super) fn any(&self, flags: u16) -> bool {
        self.flags & flags != 0
    }

    pub(super) fn set(&mut self, flags: u16) {
        self.flags |= flags;
    }

    pub(super) fn clear(&mut self, flags: u16) {
        self.flags &= !flags;
    }

    /// True when the next pass has something to do for this socket.
    pub(super) fn has_work(&self) -> bool {
        if self.any(ENDED) {
            return false;
        }
        let write = self.any(WRITABLE) && self.any(WRITING | CONNECTING);
        self.has_input() || write || self.any(FAULT)
    }

    /// A read is wanted and may find something.
    pub(super) fn has_input(&self) -> bool {
        self.any(READABLE) && !self.any(PAUSED | READ_ENDED | CONNECTING | CLOSING | RELEASING)
    }

    /// What must hold between two calls.
    fn check_invariants(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        let flags = self.flags;
        assert_eq!(
            self.fd.is_some(),
            self.any(LIVE) && !self.any(ENDED),
            "{flags:#x}: a live slot holds its socket"
        );
        assert!(
            !self.any(CLOSING) || self.any(WRITING),
            "{flags:#x}: only a batch in flight delays a close"
        );
        assert!(
            !self.any(ENDED) || !self.any(WRITING | CONNECTING | CLOSING | RELEASING),
            "{flags:#x}: nothing goes on after the end"
        );
        assert!(
            self.any(LIVE) || flags == 0,
            "{flags:#x}: a free slot has no state"
        );
    }
}

/// The slots, indexed by [`ConnKey::slot`]. Grows to the highest slot used.
#[derive(Debug, Default)]
pub(super) struct Table {
    socks: PagedVec<Sock>,
    /// Slots used.
    water: HighWater,
    live: u64,
}

impl Table {
    /// Takes the slot of `key` for `fd`. Gives `fd` back when the slot is taken.
    pub(super) fn insert(&mut self, key: ConnKey, fd: OwnedFd, flags: u16) -> Result<(), OwnedFd> {
        let slot = key.slot() as usize;
        self.socks.grow_to(slot + 1, Sock::default);
        self.water.note(slot + 1);
        let sock = &mut self.socks[slot];
        if sock.any(LIVE) {
            return Err(fd);
        }
        *sock = Sock {
            fd: Some(fd),
            generation: key.generation(),
            flags: flags | LIVE,
        };
        self.live += 1;
        Ok(())
    }

    /// Frees the slot of `key`, and gives its socket if it was still open.
    pub(super) fn remove(&mut self, key: ConnKey) -> Option<OwnedFd> {
        let sock = std::mem::take(self.get_mut(key)?);
        self.live -= 1;
        sock.fd
    }

    /// Frees what was not needed since the last call; in bytes. A free slot keeps nothing
    /// that is still of use: the generations of keys are the caller's.
    pub(super) fn shrink(&mut self) -> usize {
        let before = self.socks.memory_bytes();
        while self.socks.pop_if(|sock| !sock.any(LIVE)).is_some() {}
        self.water.note(self.socks.len());
        let room = before / size_of::<Sock>();
        if self.water.shrink_target(room, SOCKS_FLOOR).is_some() {
            self.socks.release_free();
        }
        before - self.socks.memory_bytes()
    }

    /// True while an earlier connection has the slot of `key`.
    pub(super) fn is_taken(&self, key: ConnKey) -> bool {
        self.socks
            .get(key.slot() as usize)
            .is_some_and(|sock| sock.any(LIVE))
    }

    pub(super) fn get(&self, key: ConnKey) -> Option<&Sock> {
        self.socks
            .get(key.slot() as usize)
            .filter(|sock| sock.any(LIVE) && sock.generation == key.generation())
    }

    pub(super) fn get_mut(&mut self, key: ConnKey) -> Option<&mut Sock> {
        self.socks
            .get_mut(key.slot() as usize)
            .filter(|sock| sock.any(LIVE) && sock.generation == key.generation())
    }

    /// Connections that have not had their last event.
    pub(super) fn live(&self) -> u64 {
        self.live
    }

    /// Debug builds stop here when the entry of `key` contradicts itself.
    pub(super) fn check(&self, key: ConnKey) {
        if let Some(sock) = self.socks.get(key.slot() as usize) {
            sock.check_invariants();
        }
    }
}
