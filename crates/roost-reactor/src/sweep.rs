//! Deadlines without timers: the table is looked through in slices.

use roost_net::{CloseMode, ConnKey};
use roost_wire::frame::append_frame;
use roost_wire::{CloseCode, Opcode};

use crate::conn::{Flags, NEVER, Phase};
use crate::core::{Core, TICK_MS, ticks};

/// Where the sweep stands.
pub(crate) struct Sweep {
    /// The next slot to look at; 0 when no pass is under way.
    cursor: u32,
    /// The tick of the last slice.
    last: u32,
    /// No deadline comes before this tick.
    earliest: u32,
    /// The same, as the pass under way finds it.
    earliest_found: u32,
}

impl Sweep {
    pub(crate) fn new() -> Sweep {
        Sweep {
            cursor: 0,
            last: 0,
            earliest: NEVER,
            earliest_found: NEVER,
        }
    }

    /// Somebody has a new deadline.
    #[inline]
    pub(crate) fn note(&mut self, deadline: u32) {
        self.earliest = self.earliest.min(deadline);
        self.earliest_found = self.earliest_found.min(deadline);
    }

    /// The tick at which the sweep wants to be called; [`NEVER`] when there is no deadline.
    pub(crate) fn due(&self) -> u32 {
        if self.cursor > 0 {
            self.last + 1
        } else {
            self.earliest.max(self.last + 1)
        }
    }
}

impl Core {
    /// Looks at the next slice of the table, if it is time.
    pub(crate) fn sweep(&mut self) {
        if self.now < self.sweep.due() {
            return;
        }
        self.sweep.last = self.now;
        let slots = self.table.slots();
        if self.sweep.cursor == 0 {
            self.sweep.earliest_found = NEVER;
        }
        let slice = (slots / PASS_TICKS).max(SLICE_MIN);
        let end = self.sweep.cursor.saturating_add(slice).min(slots);
        for slot in self.sweep.cursor..end {
            let Some(conn) = self.table.at_mut(slot) else {
                continue;
            };
            if conn.deadline <= self.now {
                conn.deadline = NEVER;
                let key = ConnKey::new(slot, conn.generation);
                self.on_deadline(key);
                self.settle();
            }
            if let Some(conn) = self.table.at_mut(slot) {
                self.sweep.earliest_found = self.sweep.earliest_found.min(conn.deadline);
            }
        }
        if end < slots {
            self.sweep.cursor = end;
        } else {
            self.sweep.cursor = 0;
            self.sweep.earliest = self.sweep.earliest_found;
        }
    }

    fn on_deadline(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get(key) else {
            return;
        };
        match conn.phase {
            Phase::Handshake | Phase::Joining => self.on_handshake_timeout(key),
            Phase::Open => self.on_quiet(key),
            Phase::Closing | Phase::Lingering => {
                self.counters.close_timeouts_total.inc();
                self.cut(key, CloseMode::Abort);
            }
            Phase::Closed => {}
        }
    }

    /// An open connection may have been quiet for too long.
    fn on_quiet(&mut self, key: ConnKey) {
        let limits = &self.settings.limits;
        let (idle, interval, timeout) = (
            limits.idle_timeout_ms,
            limits.ping_interval_ms,
            limits.ping_timeout_ms,
        );
        let now = self.now;
        let Some(conn) = self.table.get_mut(key) else {
            return;
        };
        if conn.flags.has(Flags::PING_SENT) {
            self.counters.ping_timeouts_total.inc();
            return self.cut(key, CloseMode::Abort);
        }
        let idle_until = deadline(conn.last_message, idle);
        if idle_until <= now {
            self.counters.idle_timeouts_total.inc();
            return self.start_close(key, CloseCode::GOING_AWAY, "idle for too long");
        }
        // The early framings know no ping.
        let interval = if conn.framing.has_ping() { interval } else { 0 };
        let quiet_until = deadline(conn.last_seen, interval);
        let next = if quiet_until <= now {
            conn.flags.set(Flags::PING_SENT);
            self.counters.pings_sent_total.inc();
            self.tick.give_own(key.slot(), conn, |arena| {
                append_frame(arena, Opcode::Ping, b"")
            });
            deadline(now, timeout.max(1))
        } else {
            quiet_until
        };
        conn.deadline = next.min(idle_until);
        self.sweep.note(conn.deadline);
    }
}

/// `ms` after `from`; never when `ms` is 0.
fn deadline(from: u32, ms: u32) -> u32 {
    if ms == 0 {
        NEVER
    } else {
        from.saturating_add(ticks(ms))
    }
}

/// A pass over a large table takes this many ticks: a deadline is kept to about a second.
const PASS_TICKS: u32 = 1000 / TICK_MS;
/// A small table is looked through at once.
const SLICE_MIN: u32 = 1024;
