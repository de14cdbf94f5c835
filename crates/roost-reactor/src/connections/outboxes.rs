//! The outboxes of one reactor's connections: a table beside the connection table, with an entry
//! only where the kernel did not take all, and the accounting of what they hold.

use std::cell::Cell;

use slab::Slab;

use super::conn::{Conn, Index};
use super::outbox::{Held, Outbox};

/// All outboxes, and what they hold together.
#[derive(Default)]
pub(crate) struct Outboxes {
    outboxes: Slab<Outbox>,
    held: Held,
    /// What the fullest has taken to hold since the last [`Outboxes::take_peak`].
    peak: Cell<u64>,
}

impl Outboxes {
    /// A connection's outbox, to look at.
    pub(crate) fn get(&self, conn: &Conn) -> Option<&Outbox> {
        conn.outbox.get().map(|index| &self.outboxes[index])
    }

    /// What a connection's outbox holds, and what it takes to hold it.
    pub(crate) fn held_by(&self, conn: &Conn) -> Held {
        self.get(conn).map(Held::of).unwrap_or_default()
    }

    /// Changes a connection's outbox, if it has one.
    pub(crate) fn edit<R>(
        &mut self,
        conn: &Conn,
        change: impl FnOnce(&mut Outbox) -> R,
    ) -> Option<R> {
        let outbox = &mut self.outboxes[conn.outbox.get()?];
        let before = Held::of(outbox);
        let result = change(outbox);
        let after = Held::of(outbox);
        self.held = self.held.replaced(before, after);
        self.peak.set(self.peak.get().max(after.cost));
        Some(result)
    }

    /// The same, and makes one for the connection in `slot` if need be.
    pub(crate) fn edit_or_insert<R>(
        &mut self,
        slot: u32,
        conn: &mut Conn,
        change: impl FnOnce(&mut Outbox) -> R,
    ) -> R {
        if conn.outbox == Index::NONE {
            conn.outbox = Index::new(self.outboxes.insert(Outbox::of(slot)));
        }
        self.edit(conn, change).expect("it has one now")
    }

    /// Gives a connection that has none an outbox.
    pub(crate) fn insert(&mut self, conn: &mut Conn, outbox: Outbox) {
        debug_assert_eq!(conn.outbox, Index::NONE, "one outbox each");
        self.held = self.held.replaced(Held::default(), Held::of(&outbox));
        conn.outbox = Index::new(self.outboxes.insert(outbox));
    }

    /// Drops a connection's outbox with all that waits in it.
    pub(crate) fn remove(&mut self, conn: &mut Conn) {
        drop(self.take(conn));
    }

    /// Takes a connection's outbox out, if it has one.
    pub(crate) fn take(&mut self, conn: &mut Conn) -> Option<Outbox> {
        let outbox = self.outboxes.remove(conn.outbox.take()?);
        self.held = self.held.replaced(Held::of(&outbox), Held::default());
        if self.outboxes.is_empty() && self.outboxes.capacity() > KEPT {
            self.outboxes = Slab::new();
        }
        Some(outbox)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Outbox> {
        self.outboxes.iter().map(|(_, outbox)| outbox)
    }

    /// How many connections have one.
    pub(crate) fn len(&self) -> usize {
        self.outboxes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.outboxes.is_empty()
    }

    /// What all of them hold, and what it takes to hold it.
    pub(crate) fn held(&self) -> Held {
        self.held
    }

    /// What it has taken to hold the fullest since the last call.
    pub(crate) fn take_peak(&self) -> u64 {
        self.peak.take()
    }

    /// Cuts the table down to what is needed; returns the bytes that were freed.
    pub(crate) fn shrink(&mut self) -> usize {
        crate::memory::cut(&mut self.outboxes)
    }

    /// In debug builds: what is counted is what is there.
    pub(crate) fn check_invariants(&self) {
        if cfg!(debug_assertions) {
            let all = self.iter().map(Held::of);
            let sum = all.fold(Held::default(), |sum, held| {
                sum.replaced(Held::default(), held)
            });
            assert_eq!(sum, self.held, "what the outboxes hold");
        }
    }
}

/// Room for so many is kept when the last has gone.
const KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use roost_net::Chunk;

    use super::*;

    #[test]
    fn what_the_outboxes_hold_is_counted() {
        let (mut outboxes, mut conn) = (Outboxes::default(), Conn::new(0));
        assert_eq!(outboxes.edit(&conn, |_| ()), None);
        outboxes.edit_or_insert(4, &mut conn, |outbox| {
            outbox.push(Chunk::new(vec![0; 10].into()));
        });
        assert_eq!(outboxes.held().bytes, 10);
        assert_eq!(outboxes.held_by(&conn), outboxes.held());
        outboxes.check_invariants();
        outboxes.edit(&conn, Outbox::clear);
        assert_eq!(outboxes.held(), Held::default());
        let peak = (outboxes.take_peak(), outboxes.take_peak());
        assert!(peak.0 > 10 && peak.1 == 0, "{peak:?}");
        assert_eq!(outboxes.len(), 1, "an empty one stays until it is removed");
        outboxes.remove(&mut conn);
        assert!(outboxes.is_empty() && conn.outbox == Index::NONE);
        outboxes.check_invariants();
    }
}
