//! What each connection has sent and what work that made: for tests that compare the two.
//!
//! Kept in debug builds only; in others nothing is counted and the list stays empty.

use roost_net::{ConnKey, Driver};

use crate::conn::Phase;
use crate::core::Core;

/// One entry for each slot that was ever used.
#[derive(Default)]
pub(crate) struct CostProbe {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    received_bytes: u64,
    unfinished_bytes: u64,
    steps: u64,
}

/// What one connection has sent, and what it costs.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct ConnCost {
    /// Whose it is.
    pub key: ConnKey,
    /// Bytes that the driver has delivered.
    pub received_bytes: u64,
    /// Those of them that came since nothing of the connection's input was kept.
    pub unfinished_bytes: u64,
    /// Work done for them: bytes touched, and one for each piece that is handled. Work for the
    /// receivers of what was published is not in it.
    pub steps: u64,
    /// Memory that unfinished input takes, in bytes.
    pub input_bytes: u64,
    /// Memory that what waits for the socket takes, with the driver or behind it, in bytes.
    pub output_bytes: u64,
    /// All that waits answers what the connection itself has sent.
    pub hears_itself_only: bool,
}

impl CostProbe {
    /// A new connection has the slot.
    pub(crate) fn open(&mut self, slot: u32) {
        self.note(slot, |entry| *entry = Entry::default());
    }

    /// Bytes have come, and are looked at.
    #[inline]
    pub(crate) fn receive(&mut self, slot: u32, bytes: usize) {
        self.note(slot, |entry| {
            entry.received_bytes += bytes as u64;
            entry.unfinished_bytes += bytes as u64;
            entry.steps += 1 + bytes as u64;
        });
    }

    /// Nothing of the connection's input is kept.
    #[inline]
    pub(crate) fn finish(&mut self, slot: u32) {
        self.note(slot, |entry| entry.unfinished_bytes = 0);
    }

    /// Work was done for the connection's input.
    #[inline]
    pub(crate) fn work(&mut self, slot: u32, steps: u64) {
        self.note(slot, |entry| entry.steps += steps);
    }

    #[inline]
    fn note(&mut self, slot: u32, change: impl FnOnce(&mut Entry)) {
        if cfg!(debug_assertions) {
            let slot = slot as usize;
            if slot >= self.entries.len() {
                self.entries.resize(slot + 1, Entry::default());
            }
            change(&mut self.entries[slot]);
        }
    }
}

impl Core {
    /// The accounts of all connections that are not being closed. In debug builds only they say
    /// what was received and done.
    pub(crate) fn conn_costs<D: Driver>(&self, driver: &D) -> impl Iterator<Item = ConnCost> {
        let keys = (0..self.table.slots()).filter_map(|slot| self.table.key_at(slot));
        keys.filter_map(move |key| self.conn_cost_of(driver, key))
    }

    fn conn_cost_of<D: Driver>(&self, driver: &D, key: ConnKey) -> Option<ConnCost> {
        let conn = self.table.get(key)?;
        if conn.phase == Phase::Closed {
            return None;
        }
        let slot = key.slot() as usize;
        let entry = self
            .cost_probe
            .entries
            .get(slot)
            .copied()
            .unwrap_or_default();
        let outbox = self.outboxes.held_by(conn).cost;
        Some(ConnCost {
            key,
            received_bytes: entry.received_bytes,
            unfinished_bytes: entry.unfinished_bytes,
            steps: entry.steps,
            input_bytes: self.inputs.bytes_of(key.slot(), conn) as u64,
            output_bytes: outbox + driver.unsent_bytes(key) as u64,
            hears_itself_only: conn.dialect.sends_back(),
        })
    }
}
