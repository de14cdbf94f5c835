//! The connections: one entry of eight bytes for each, and a record beside it while something
//! rare is going on.
//!
//! A quiet connection's entry holds its descriptor. While a send, a connect, a close or a release
//! is under way, the descriptor lives in a [`Busy`] record and the entry holds the record's index:
//! no hash, and nothing left of it afterwards.

use slab::Slab;
use socket2::SockAddr;

use super::batch::Batch;
use super::ring::Target;
use crate::memory::{HighWater, PagedVec};
use crate::{CloseCause, ConnKey};

/// One slot of the table.
#[derive(Debug, Clone, Copy)]
struct Sock {
    /// The descriptor, the direct slot (DIRECT), or the record (BUSY).
    index: u32,
    generation: u16,
    flags: u16,
}

const _: () = assert!(size_of::<Sock>() <= 8);

/// The slot is taken; its key has not had its last event.
const LIVE: u16 = 1;
/// The socket is in a direct slot.
const DIRECT: u16 = 1 << 1;
/// `index` is that of a record.
const BUSY: u16 = 1 << 2;
/// A watch is armed: it owes its last completion.
pub(super) const WATCHED: u16 = 1 << 3;
/// A receive is submitted and not completed.
pub(super) const READING: u16 = 1 << 4;
/// Waits in line for a receive buffer.
pub(super) const IN_LINE: u16 = 1 << 5;
/// The watch has reported something since the receive was submitted.
pub(super) const AGAIN: u16 = 1 << 6;
/// The caller does not want bytes.
pub(super) const PAUSED: u16 = 1 << 7;
/// The peer's FIN has been reported.
pub(super) const READ_ENDED: u16 = 1 << 8;
/// Closing: no event but `Closed` comes.
pub(super) const CLOSING: u16 = 1 << 9;
/// Being released: no new receive is submitted.
pub(super) const RELEASING: u16 = 1 << 10;
/// Not connected yet: no send, no watch, no FIN.
pub(super) const CONNECTING: u16 = 1 << 11;

/// FIN was asked for: no more sends.
pub(super) const FIN_ASKED: u16 = 1 << 12;

/// The batch is out, and `Sent` is still to be reported.
pub(super) const SENT_DUE: u16 = 1 << 13;

/// The watch has reported an end, FIN or fault: reading goes on until a receive meets it, for no
/// further report will come.
pub(super) const ENDING: u16 = 1 << 14;

/// What is going on with a connection beside watching and reading.
#[derive(Debug)]
pub(super) struct Busy {
    /// The descriptor or slot; `None` before a direct socket is made and after a close was asked.
    pub(super) target: Option<Target>,
    /// Requests that owe a completion.
    pub(super) owed: u8,
    /// What is to be done when the batch in flight is out.
    pub(super) wanted: u8,
    /// Why the connection ends; set when its close has begun.
    pub(super) cause: Option<CloseCause>,
    /// The batch in flight.
    pub(super) batch: Option<Batch>,
    /// Where to connect, from where, and what kept us from it.
    pub(super) connect: Option<Box<Dial>>,
}

/// A connect under way.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) remote: SockAddr,
    pub(super) local: Option<SockAddr>,
    pub(super) bind_errno: Option<i32>,
}

/// `owed`: a send.
pub(super) const SEND: u8 = 1;
/// `owed`: making a direct socket.
pub(super) const OPEN: u8 = 1 << 1;
/// `owed`: binding one.
pub(super) const BIND: u8 = 1 << 2;
/// `owed`: a connect.
pub(super) const CONNECT: u8 = 1 << 3;
/// `owed`: a descriptor for a direct socket, to send FIN by or to release.
pub(super) const INSTALL: u8 = 1 << 4;
/// `owed`: FIN by a worker thread of the kernel.
pub(super) const SHUTDOWN: u8 = 1 << 5;
/// `owed`: the close.
pub(super) const CLOSE: u8 = 1 << 6;

/// `wanted`: FIN.
pub(super) const FIN: u8 = 1;
/// `wanted`: to close gracefully.
pub(super) const END: u8 = 1 << 1;

/// All connections of a driver, by slot.
#[derive(Default)]
pub(super) struct Table {
    socks: PagedVec<Sock>,
    /// Slots used.
    socks_water: HighWater,
    busy: Slab<Busy>,
    busy_water: HighWater,
    live: u64,
}

impl Table {
    /// The records of all that have something under way.
    pub(super) fn all_busy(&self) -> impl Iterator<Item = &Busy> {
        self.busy.iter().map(|(_, busy)| busy)
    }

    /// Takes the key's slot, which is free, for a socket; `None` means that it is yet to be made.
    pub(super) fn insert(&mut self, key: ConnKey, target: Option<Target>, flags: u16) {
        debug_assert!(!self.occupied(key.slot()), "the slot of {key:?} is taken");
        let slot = key.slot() as usize;
        self.socks.grow_to(slot + 1, || FREE);
        self.socks_water.note(slot + 1);
        let (index, direct) = match target {
            Some(target) => pack(target),
            None => (self.insert_record(None), BUSY),
        };
        self.socks[slot] = Sock {
            index,
            generation: key.generation(),
            flags: flags | direct | LIVE,
        };
        self.live += 1;
    }

    /// Frees the slot. The record, if there is one, is handed out.
    pub(super) fn remove(&mut self, key: ConnKey) -> Option<Busy> {
        let sock = std::mem::replace(&mut self.socks[key.slot() as usize], FREE);
        debug_assert!(sock.flags & LIVE != 0, "a free slot is freed again");
        self.live -= 1;
        (sock.flags & BUSY != 0).then(|| self.busy.remove(sock.index as usize))
    }

    /// True if a live connection has the slot.
    pub(super) fn occupied(&self, slot: u32) -> bool {
        self.socks
            .get(slot as usize)
            .is_some_and(|sock| sock.flags & LIVE != 0)
    }

    /// True if the key names a live connection.
    pub(super) fn holds(&self, key: ConnKey) -> bool {
        self.socks
            .get(key.slot() as usize)
            .is_some_and(|sock| sock.flags & LIVE != 0 && sock.generation == key.generation())
    }

    /// True if any of `flags` is set. The key must be live.
    pub(super) fn any(&self, key: ConnKey, flags: u16) -> bool {
        self.socks[key.slot() as usize].flags & flags != 0
    }

    pub(super) fn set(&mut self, key: ConnKey, flags: u16) {
        self.socks[key.slot() as usize].flags |= flags;
    }

    pub(super) fn clear(&mut self, key: ConnKey, flags: u16) {
        self.socks[key.slot() as usize].flags &= !flags;
    }

    /// The socket's descriptor or slot; `None` while it has none.
    pub(super) fn target(&self, key: ConnKey) -> Option<Target> {
        let sock = self.socks[key.slot() as usize];
        match self.busy_at(sock) {
            Some(busy) => busy.target,
            None => Some(unpack(sock)),
        }
    }

    /// The record, if there is one.
    pub(super) fn peek(&self, key: ConnKey) -> Option<&Busy> {
        self.busy_at(self.socks[key.slot() as usize])
    }

    pub(super) fn peek_mut(&mut self, key: ConnKey) -> Option<&mut Busy> {
        let sock = self.socks[key.slot() as usize];
        (sock.flags & BUSY != 0).then(|| &mut self.busy[sock.index as usize])
    }

    /// The record, made if there is none.
    pub(super) fn busy(&mut self, key: ConnKey) -> &mut Busy {
        let slot = key.slot() as usize;
        let sock = self.socks[slot];
        if sock.flags & BUSY == 0 {
            let index = self.insert_record(Some(unpack(sock)));
            let sock = &mut self.socks[slot];
            sock.index = index;
            sock.flags = sock.flags & !DIRECT | BUSY;
        }
        &mut self.busy[self.socks[slot].index as usize]
    }

    /// Drops the record if nothing is going on any more.
    pub(super) fn drop_idle_record(&mut self, key: ConnKey) {
        let sock = &mut self.socks[key.slot() as usize];
        if sock.flags & BUSY == 0 {
            return;
        }
        let busy = &self.busy[sock.index as usize];
        if let Some(target) = busy.target
            && busy.is_idle()
        {
            let (index, direct) = pack(target);
            let record = std::mem::replace(&mut sock.index, index);
            sock.flags = sock.flags & !BUSY | direct;
            self.busy.remove(record as usize);
        }
    }

    fn insert_record(&mut self, target: Option<Target>) -> u32 {
        let index = self.busy.insert(Busy::new(target)) as u32;
        self.busy_water.note(self.busy.len());
        index
    }

    /// Frees what was not needed since the last call; in bytes. A free slot keeps nothing
    /// that is still of use: the generations of keys are the caller's.
    pub(super) fn shrink(&mut self) -> usize {
        let before = self.memory_bytes();
        while self.socks.pop_if(|sock| sock.flags & LIVE == 0).is_some() {}
        self.socks_water.note(self.socks.len());
        self.busy_water.note(self.busy.len());
        let room = self.socks.memory_bytes() / size_of::<Sock>();
        if self.socks_water.shrink_target(room, SOCKS_FLOOR).is_some() {
            self.socks.release_free();
        }
        if self
            .busy_water
            .shrink_target(self.busy.capacity(), RECORDS_FLOOR)
            .is_some()
        {
            self.busy.shrink_to_fit(); // drops what is vacant at the end
        }
        before - self.memory_bytes()
    }

    fn memory_bytes(&self) -> usize {
        // A record in the slab is one word longer than itself at most.
        self.socks.memory_bytes() + self.busy.capacity() * (size_of::<Busy>() + size_of::<usize>())
    }

    /// How many connections there are.
    pub(super) fn live(&self) -> u64 {
        self.live
    }

    /// The sockets of all connections.
    pub(super) fn targets(&self) -> impl Iterator<Item = Target> + '_ {
        let live = self.socks.iter().filter(|sock| sock.flags & LIVE != 0);
        live.filter_map(|sock| match self.busy_at(*sock) {
            Some(busy) => busy.target,
            None => Some(unpack(*sock)),
        })
    }

    /// The keys of all connections with a send in flight.
    pub(super) fn sending(&self) -> impl Iterator<Item = ConnKey> + '_ {
        self.socks.iter().enumerate().filter_map(|(slot, sock)| {
            let busy = self.busy_at(*sock)?;
            (busy.owed & SEND != 0).then(|| ConnKey::new(slot as u32, sock.generation))
        })
    }

    /// Keeps the bytes the kernel may still read.
    pub(super) fn leak_batches(&mut self) {
        for (_, busy) in &mut self.busy {
            std::mem::forget(busy.batch.take());
        }
    }

    fn busy_at(&self, sock: Sock) -> Option<&Busy> {
        (sock.flags & BUSY != 0).then(|| &self.busy[sock.index as usize])
    }
}

impl Busy {
    fn new(target: Option<Target>) -> Busy {
        Busy {
            target,
            owed: 0,
            wanted: 0,
            cause: None,
            batch: None,
            connect: None,
        }
    }

    fn is_idle(&self) -> bool {
        self.owed == 0
            && self.wanted == 0
            && self.cause.is_none()
            && self.batch.is_none()
            && self.connect.is_none()
    }
}

/// Room for so many is not worth giving back.
const SOCKS_FLOOR: usize = 512;
/// The same for records, of about 100 bytes each.
const RECORDS_FLOOR: usize = 32;

const FREE: Sock = Sock {
    index: 0,
    generation: 0,
    flags: 0,
};

fn pack(target: Target) -> (u32, u16) {
    match target {
        Target::Fd(fd) => (fd as u32, 0),
        Target::Slot(slot) => (slot, DIRECT),
    }
}

fn unpack(sock: Sock) -> Target {
    if sock.flags & DIRECT == 0 {
        Target::Fd(sock.index as i32)
    } else {
        Target::Slot(sock.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_and_goes_without_a_trace() {
        for target in [Target::Fd(9), Target::Slot(9)] {
            let mut table = Table::default();
            let key = ConnKey::new(3, 7);
            table.insert(key, Some(target), PAUSED);
            table.busy(key).wanted = FIN;
            table.drop_idle_record(key);
            assert!(table.peek(key).is_some(), "still wanted");
            assert_eq!(table.target(key), Some(target));
            table.busy(key).wanted = 0;
            table.drop_idle_record(key);
            assert!(table.peek(key).is_none());
            assert_eq!(table.target(key), Some(target));
            assert!(table.any(key, PAUSED));
            assert_eq!(table.busy.len(), 0);
        }
    }

    #[test]
    fn a_key_names_one_connection() {
        let mut table = Table::default();
        let key = ConnKey::new(5, 1);
        assert!(!table.holds(key));
        table.insert(key, Some(Target::Fd(4)), 0);
        assert!(table.holds(key));
        assert!(table.occupied(5));
        assert!(!table.holds(ConnKey::new(5, 2)));
        assert!(!table.holds(ConnKey::new(6, 1)));
        table.remove(key);
        assert!(!table.holds(key));
        assert_eq!(table.live(), 0);
    }

    #[test]
    fn many_connections_leave_as_many_entries_as_are_in_use() {
        let mut table = Table::default();
        let key = |slot| ConnKey::new(slot, 1);
        for slot in 0..2_000 {
            table.insert(key(slot), Some(Target::Fd(4)), 0);
            table.busy(key(slot)).wanted = FIN;
        }
        for slot in (0..2_000).filter(|&slot| slot != 9) {
            table.remove(key(slot));
        }
        assert_eq!(table.shrink(), 0, "they were in use until now");
        assert!(table.shrink() > 2_000 * (8 + size_of::<Busy>()));
        assert_eq!(table.socks.len(), 10);
        assert!(table.holds(key(9)) && !table.holds(key(1_999)));
        assert_eq!(table.target(key(9)), Some(Target::Fd(4)));
        table.insert(key(1_999), Some(Target::Fd(5)), 0);
        assert!(table.holds(key(1_999)) && !table.occupied(1_998));
    }
}
