//! Memory that many connections needed is freed when they have gone, at moments of the reactor's own
//! choice and never on the way of a message.
//!
//! While something happens, every few seconds tables and queues are cut down to what they have
//! needed since the last time. After as long a time in which nothing has happened, scratch memory
//! goes as a whole. Once nothing was left to free, the reactor sleeps without limit.

use crate::clock::{NEVER, TICK_MS};

/// When memory is looked through next.
pub(crate) struct MemoryTrimmer {
    /// The tick; [`NEVER`] while all is asleep.
    due: u32,
    /// Something has happened since the last time.
    active: bool,
    /// Bytes freed since the allocator was asked to pass them on, and until when.
    freed_bytes: usize,
    freed_ns: u64,
    /// The most connections there were since then.
    connections_peak: usize,
    /// What the table of connections held the last time.
    table_bytes: usize,
}

/// One look through the memory.
pub(crate) struct Trim {
    /// Something has happened since the last: scratch memory is kept.
    pub(crate) is_active: bool,
    /// The allocator is to pass pages on, if other threads have freed theirs since this time, in
    /// nanoseconds.
    pub(crate) pages_freed_ns: Option<u64>,
}

/// What a look through the memory has found.
pub(crate) struct Trimmed {
    /// The allocator has passed pages on.
    pub(crate) is_heap_trimmed: bool,
    /// Bytes freed.
    pub(crate) freed_bytes: usize,
    /// Connections that are left.
    pub(crate) connections: usize,
    /// What their table holds.
    pub(crate) table_bytes: usize,
    /// The tick at which something expires that is kept for a time.
    pub(crate) next_due: u32,
}

impl MemoryTrimmer {
    pub(crate) fn new() -> MemoryTrimmer {
        MemoryTrimmer {
            due: NEVER,
            active: false,
            freed_bytes: 0,
            freed_ns: 0,
            connections_peak: 0,
            table_bytes: 0,
        }
    }

    /// Something has happened at tick `now`, with so many connections.
    #[inline]
    pub(crate) fn note(&mut self, now: u32, connections: usize) {
        self.active = true;
        self.connections_peak = self.connections_peak.max(connections);
        // Not only where nothing is due: what histories wait for may be hours away.
        self.due = self.due.min(now.saturating_add(INTERVAL_TICKS));
    }

    /// The tick at which memory wants to be looked through.
    #[inline]
    pub(crate) fn due(&self) -> u32 {
        self.due
    }

    /// Begins a look through the memory.
    pub(crate) fn begin(&mut self) -> Trim {
        let is_active = std::mem::replace(&mut self.active, false);
        // One interval after it was freed: by now the other reactors have done the same. In quiet
        // times little is enough, for many reactors make it much.
        let worth = if is_active { PAGES_WORTH_BYTES } else { 1 };
        Trim {
            is_active,
            pages_freed_ns: (self.freed_bytes >= worth).then_some(self.freed_ns),
        }
    }

    /// Ends it, at tick `now` and `now_ns` of the driver's clock.
    pub(crate) fn end(&mut self, trim: &Trim, trimmed: &Trimmed, now: u32, now_ns: u64) {
        if trimmed.is_heap_trimmed {
            self.freed_bytes = 0;
        }
        // What the canary's publications leave behind in quiet times, they need again.
        let freed_bytes = match trimmed.freed_bytes {
            ..SCRAPS_BYTES if !trim.is_active => 0,
            bytes => bytes,
        };
        let freed_before = self.freed_bytes;
        self.freed_bytes += freed_bytes;
        let before = std::mem::replace(&mut self.table_bytes, trimmed.table_bytes);
        if trimmed.table_bytes > before {
            self.freed_bytes += before; // it may have moved, and left a hole as large
        }
        let left = trimmed.connections;
        if self.connections_peak / 4 * 3 > left {
            // What they had beside the tables has been freed one by one.
            self.freed_bytes += (self.connections_peak - left) * CONNECTION_BYTES;
            self.connections_peak = left;
        }
        if self.freed_bytes > freed_before {
            self.freed_ns = now_ns;
        }
        let goes_on = trim.is_active
            || freed_bytes > 0
            || trim.pages_freed_ns.is_some()
            || self.freed_bytes > 0;
        self.due = match goes_on {
            true => now.saturating_add(INTERVAL_TICKS),
            false => trimmed.next_due,
        };
    }
}

/// How often memory is looked through while something happens: 5 s.
const INTERVAL_TICKS: u32 = 5_000 / TICK_MS;
/// So much is worth a look through the allocator's pools while there is other work.
const PAGES_WORTH_BYTES: usize = 64 << 10;
/// Less than this is not worth another look in quiet times: a batch between reactors, and what hubs say.
const SCRAPS_BYTES: usize = 4 << 10;
/// What a connection has in small pieces while it opens, and what its channels take: a guess.
const CONNECTION_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory is looked through soon after something has happened, though nothing that is kept expires
    /// for hours.
    #[test]
    fn what_expires_late_puts_no_look_off() {
        let mut trimmer = MemoryTrimmer::new();
        let late = 1_000_000;
        let trim = trimmer.begin();
        let quiet = Trimmed {
            is_heap_trimmed: false,
            freed_bytes: 0,
            connections: 0,
            table_bytes: 0,
            next_due: late,
        };
        trimmer.end(&trim, &quiet, 10, 0);
        assert_eq!(trimmer.due(), late, "nothing has happened");
        trimmer.note(20, 1);
        assert_eq!(trimmer.due(), 20 + INTERVAL_TICKS);
        trimmer.note(30, 1);
        assert_eq!(trimmer.due(), 20 + INTERVAL_TICKS, "it is not put off");
    }
}
