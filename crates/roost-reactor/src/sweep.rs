//! Deadlines without timers: the table is looked through in slices.

use roost_net::{CloseMode, ConnKey};
use roost_wire::frame::append_frame;
use roost_wire::{CloseCode, Opcode};

use crate::conn::{Conn, Flags, NEVER, Phase};
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
    /// A slice ended because it had found enough to do: the next turn goes on.
    goes_on: bool,
}

impl Sweep {
    pub(crate) fn new() -> Sweep {
        Sweep {
            cursor: 0,
            last: 0,
            earliest: NEVER,
            earliest_found: NEVER,
            goes_on: false,
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
        if self.goes_on {
            self.last
        } else if self.cursor > 0 {
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
        let mut end = self.sweep.cursor.saturating_add(slice).min(slots);
        let mut left = DEADLINES_MAX;
        for slot in self.sweep.cursor..end {
            let Some(conn) = self.table.at_mut(slot) else {
                continue;
            };
            if conn.deadline <= self.now {
                if left == 0 {
                    end = slot;
                    break;
                }
                left -= 1;
                conn.deadline = NEVER;
                let key = ConnKey::new(slot, conn.generation);
                self.on_deadline(key);
                self.settle();
            }
            if let Some(conn) = self.table.at_mut(slot) {
                self.sweep.earliest_found = self.sweep.earliest_found.min(conn.deadline);
            }
        }
        self.sweep.goes_on = left == 0 && end < slots;
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

    /// Sets when a connection that has just opened is looked at first.
    ///
    /// Those who come together must not be pinged together for ever after. Each draws a moment of
    /// the interval as its own, and its first pings come early, but not before half an interval:
    /// one whose moment is in the second half is pinged then and from there on at every interval;
    /// one whose moment is in the first half is pinged half an interval after it, and once more
    /// after another half.
    pub(crate) fn expect_silence(&mut self, slot: u32) {
        let limits = &self.settings.limits;
        let (interval, idle) = (limits.ping_interval_ms, limits.idle_timeout_ms);
        let Some(conn) = self.table.at_mut(slot) else {
            return;
        };
        let mut first = 0;
        if interval > 0 && conn.framing.has_ping() {
            let moment = (self.rng.next_id() % u64::from(interval)) as u32;
            let half = interval / 2;
            conn.flags.set(Flags::PING_EARLY);
            first = moment.max(1);
            if moment < half {
                conn.flags.set(Flags::PING_EARLY_TWICE);
                first = moment + half;
            }
        }
        conn.deadline = deadline(self.now, first).min(deadline(conn.last_message, idle));
        self.sweep.note(conn.deadline);
    }

    /// A connection that had been pinged has sent something.
    pub(crate) fn on_life(&mut self, slot: u32) {
        let limits = &self.settings.limits;
        let Some(conn) = self.table.at_mut(slot) else {
            return;
        };
        if conn.phase == Phase::Open {
            let quiet_until = deadline(conn.last_seen, conn.quiet_ms(limits.ping_interval_ms));
            let idle_until = deadline(conn.last_message, limits.idle_timeout_ms);
            conn.deadline = quiet_until.min(idle_until);
            self.sweep.note(conn.deadline);
        }
    }

    /// A ping may stand behind what waits, and the peer takes of that: its time begins anew.
    pub(crate) fn on_ping_delayed(&mut self, slot: u32) {
        let limits = &self.settings.limits;
        let Some(conn) = self.table.at_mut(slot) else {
            return;
        };
        if conn.phase == Phase::Open {
            let answer_until = deadline(self.now, limits.ping_timeout_ms.max(1));
            let idle_until = deadline(conn.last_message, limits.idle_timeout_ms);
            conn.deadline = answer_until.min(idle_until);
            self.sweep.note(conn.deadline);
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
        let quiet_until = deadline(conn.last_seen, conn.quiet_ms(interval));
        let next = if quiet_until <= now {
            conn.flags.set(Flags::PING_SENT);
            if !conn.flags.clear(Flags::PING_EARLY_TWICE) {
                conn.flags.clear(Flags::PING_EARLY);
            }
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

impl Conn {
    /// How long it may be silent before it is pinged; 0 is for ever.
    fn quiet_ms(&self, interval_ms: u32) -> u32 {
        if !self.framing.has_ping() {
            0 // the early framings know no ping
        } else if self.flags.has(Flags::PING_EARLY) {
            interval_ms.div_ceil(2)
        } else {
            interval_ms
        }
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
/// Deadlines kept in one turn, so that a crowd's pings are others' delay for a millisecond at most.
const DEADLINES_MAX: u32 = 256;
/// A small table is looked through at once.
const SLICE_MIN: u32 = 1024;
