//! What each connection has sent and what work that made: for tests that compare the two.
//!
//! Kept in debug builds only; in others nothing is counted and the list stays empty.

/// One entry for each slot that was ever used.
#[derive(Default)]
pub(crate) struct CostProbe {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Entry {
    pub(super) received_bytes: u64,
    pub(super) unfinished_bytes: u64,
    pub(super) steps: u64,
    /// What it held when it was closed because all together held too much.
    pub(super) held_at_close: Option<u64>,
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

    /// The connection is closed because all together hold too much, and holds so many bytes.
    pub(crate) fn close_holding(&mut self, slot: u32, bytes: u64) {
        self.note(slot, |entry| entry.held_at_close = Some(bytes));
    }

    /// The slots of connections closed for that, until others have them, and what each held.
    pub(super) fn closed_holding(&self) -> impl Iterator<Item = (u32, u64)> {
        let entries = (0..).zip(&self.entries);
        entries.filter_map(|(slot, entry)| Some((slot, entry.held_at_close?)))
    }

    /// What is known of a connection.
    pub(super) fn entry(&self, slot: u32) -> Entry {
        let entry = self.entries.get(slot as usize);
        entry.copied().unwrap_or_default()
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
