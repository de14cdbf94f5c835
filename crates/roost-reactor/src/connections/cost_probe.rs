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
