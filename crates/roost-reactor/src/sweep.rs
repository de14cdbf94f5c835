//! Deadlines without timers: the table is looked through in slices.
//!
//! A deadline is a judgement on silence, so three things come first:
//!
//! - **What has arrived is read.** A deadline is over when the sockets were read at a later time
//!   ([`Core::input_until`]), not when the clock says so: after a pause of the process, the answers
//!   that came meanwhile lie in the sockets.
//! - **What is known and not read yet** (more events than a turn handles, no receive buffer free)
//!   puts the deadline off by its length, once.
//! - **A pause does not count.** A virtual machine that stood still may have held up the clients as
//!   well: every deadline that ran begins anew when the reactor goes on ([`Core::resumed_at`]).

use roost_net::{CloseMode, ConnKey, Driver};
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
    pub(crate) fn sweep<D: Driver>(&mut self, driver: &D) {
        let until = self.input_until;
        if until < self.sweep.due() {
            return;
        }
        self.sweep.last = until;
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
            if conn.deadline <= until {
                if left == 0 {
                    end = slot;
                    break;
                }
                left -= 1;
                conn.deadline = NEVER;
                let key = ConnKey::new(slot, conn.generation);
                self.on_deadline(driver, key);
                self.apply_pending();
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

    fn on_deadline<D: Driver>(&mut self, driver: &D, key: ConnKey) {
        let Some(conn) = self.table.get(key) else {
            return;
        };
        let limits = &self.settings.limits;
        match conn.phase {
            Phase::Handshake => {
                if self.is_silent(driver, key, limits.handshake_timeout_ms) {
                    self.on_handshake_timeout(key);
                }
            }
            // Its request is whole; the channel's home, another reactor, has not answered.
            Phase::Joining => self.set_deadline(key.slot(), limits.handshake_timeout_ms),
            Phase::Open => self.check_idle(driver, key),
            Phase::Closing | Phase::Lingering => {
                if self.is_silent(driver, key, limits.close_timeout_ms.max(1)) {
                    self.counters.close_timeouts_total.inc();
                    self.cut(key, CloseMode::Abort);
                }
            }
            Phase::Closed => {}
        }
    }

    /// Whether a deadline of `ms` that is over may be held against the connection. If not, it has a
    /// new one.
    fn is_silent<D: Driver>(&mut self, driver: &D, key: ConnKey, ms: u32) -> bool {
        let until = self.input_until;
        let anew = deadline(self.resumed_at, ms);
        let Some(conn) = self.table.get_mut(key) else {
            return false;
        };
        if self.resumed_at > 0 && anew > until {
            conn.deadline = anew;
        } else if !conn.flags.has(Flags::OVERDUE) && driver.has_unread(key) {
            conn.flags.set(Flags::OVERDUE);
            conn.deadline = deadline(until, ms);
        } else {
            return true;
        }
        self.sweep.note(conn.deadline);
        false
    }

    /// When the connection will have been without a message for too long.
    fn idle_until(&self, conn: &Conn) -> u32 {
        let from = conn.last_message.max(self.resumed_at);
        deadline(from, self.settings.limits.idle_timeout_ms)
    }

    /// A connection has just opened, or has answered a ping: sets when it is looked at next.
    pub(crate) fn arm_ping(&mut self, slot: u32) {
        let Some(conn) = self.table.at(slot) else {
            return;
        };
        if conn.phase == Phase::Open {
            let ping = conn
                .ping_schedule(slot, self.settings.limits.ping_interval_ms)
                .map(|ping_schedule| ping_schedule.next_ping(conn.last_seen, self.now));
            let until = ping.unwrap_or(NEVER).min(self.idle_until(conn));
            self.rearm(slot, until);
        }
    }

    /// A ping was sent, or the peer takes of what stands before it: the time to answer begins.
    pub(crate) fn arm_pong_timeout(&mut self, slot: u32) {
        let Some(conn) = self.table.at(slot) else {
            return;
        };
        if conn.phase == Phase::Open {
            // Not the end of the idle time, if that comes first: what is over then must be known.
            let until = deadline(self.now, self.settings.limits.ping_timeout_ms.max(1));
            self.rearm(slot, until);
        }
    }

    fn rearm(&mut self, slot: u32, until: u32) {
        if let Some(conn) = self.table.at_mut(slot) {
            conn.deadline = until;
            conn.flags.clear(Flags::OVERDUE);
            self.sweep.note(until);
        }
    }

    /// An open connection may have been quiet for too long.
    fn check_idle<D: Driver>(&mut self, driver: &D, key: ConnKey) {
        let limits = &self.settings.limits;
        let (ping_timeout_ms, idle_timeout_ms) = (limits.ping_timeout_ms, limits.idle_timeout_ms);
        let now = self.input_until;
        let Some(conn) = self.table.get(key) else {
            return;
        };
        if conn.flags.has(Flags::PAUSED) {
            // It may have said much that we have not read: who is not listened to is not quiet.
            return self.rearm(key.slot(), deadline(now, ping_timeout_ms.max(1)));
        }
        if conn.flags.has(Flags::PING_SENT) {
            if self.is_silent(driver, key, ping_timeout_ms.max(1)) {
                self.counters.ping_timeouts_total.inc();
                self.cut(key, CloseMode::Abort);
            }
            return;
        }
        if self.idle_until(conn) <= now {
            if self.is_silent(driver, key, idle_timeout_ms) {
                self.counters.idle_timeouts_total.inc();
                self.start_close(key, CloseCode::GOING_AWAY, "idle for too long");
            }
            return;
        }
        let Some(conn) = self.table.get_mut(key) else {
            return;
        };
        let limits = &self.settings.limits;
        let is_quiet = conn
            .ping_schedule(key.slot(), limits.ping_interval_ms)
            .is_some_and(|ping_schedule| ping_schedule.is_ping_due(conn.last_seen, now));
        if !is_quiet {
            return self.arm_ping(key.slot());
        }
        conn.flags.set(Flags::PING_SENT);
        self.counters.pings_sent_total.inc();
        self.turn_output.enqueue_owned(key.slot(), conn, |arena| {
            append_frame(arena, Opcode::Ping, b"")
        });
        self.arm_pong_timeout(key.slot());
    }
}

impl Conn {
    /// When it may be pinged; never, if nobody is or its framing knows no ping.
    fn ping_schedule(&self, slot: u32, interval_ms: u32) -> Option<PingSchedule> {
        (interval_ms > 0 && self.framing.has_ping())
            .then(|| PingSchedule::new(slot, ticks(interval_ms)))
    }
}

/// The ping_schedule at which a connection is pinged if it is quiet.
///
/// Those who come together must not be pinged together for ever after, and yet a ping for one is
/// cheapest while its neighbours' are sent. So each block of slots has a moment of its own in the
/// interval: a quiet connection is pinged at this moment in every interval. One that was heard
/// shortly before is passed over, and looked at again half an interval later; nobody is silent for
/// longer than the interval without a ping.
struct PingSchedule {
    /// Ticks between one moment and the next; at least 1.
    interval: u32,
    /// The first moment, in ticks from the start of time; less than `interval`.
    first: u32,
}

impl PingSchedule {
    fn new(slot: u32, interval: u32) -> PingSchedule {
        // Multiples of the golden ratio: any number of blocks is spread evenly.
        let fraction = (slot / PING_BLOCK).wrapping_mul(GOLDEN_RATIO);
        let first = (u64::from(fraction) * u64::from(interval)) >> 32;
        PingSchedule {
            interval,
            first: first as u32,
        }
    }

    /// The last moment or half-way point up to `now`, and whether it is a moment. May be before the
    /// start of time.
    fn last(&self, now: u32) -> (i64, bool) {
        let since = (i64::from(now) - i64::from(self.first)).rem_euclid(i64::from(self.interval));
        if since < self.half() {
            (i64::from(now) - since, true)
        } else {
            (i64::from(now) - since + self.half(), false)
        }
    }

    fn half(&self) -> i64 {
        i64::from(self.interval.div_ceil(2))
    }

    /// Whether one last heard at `last_seen` is to be pinged now.
    fn is_ping_due(&self, last_seen: u32, now: u32) -> bool {
        let (point, is_moment) = self.last(now);
        self.is_quiet(last_seen, point, is_moment)
    }

    fn is_quiet(&self, last_seen: u32, point: i64, is_moment: bool) -> bool {
        let silence = point - i64::from(last_seen);
        if is_moment {
            silence >= i64::from(self.interval / 4).max(1)
        } else {
            silence > i64::from(self.interval / 2)
        }
    }

    /// When one last heard at `last_seen` will be pinged, if nothing more is heard of it.
    fn next_ping(&self, last_seen: u32, now: u32) -> u32 {
        let (mut point, mut is_moment) = self.last(now);
        loop {
            point += if is_moment {
                self.half()
            } else {
                i64::from(self.interval) - self.half()
            };
            is_moment = !is_moment;
            // Of an interval of one tick both are the same: the moment decides.
            let is_both = self.interval == 1;
            if self.is_quiet(last_seen, point, is_moment || is_both) {
                return u32::try_from(point).unwrap_or(NEVER);
            }
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
/// Connections in neighbouring slots that are pinged in one turn: what is looked up for one of them
/// is at hand for the next.
const PING_BLOCK: u32 = 32;
/// Of a turn, in 2^32nds.
const GOLDEN_RATIO: u32 = 0x9e37_79b9;
/// A small table is looked through at once.
const SLICE_MIN: u32 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Ticks at which one in `slot` is pinged that answers after `answers_after` and is heard of
    /// at `heard` besides.
    fn pings(slot: u32, interval: u32, answers_after: u32, heard: &[u32], until: u32) -> Vec<u32> {
        let ping_schedule = PingSchedule::new(slot, interval);
        let (mut last_seen, mut pings) = (0, Vec::new());
        let mut next = ping_schedule.next_ping(last_seen, 0);
        for now in 1..until {
            if heard.contains(&now) || pings.last().is_some_and(|at| at + answers_after == now) {
                last_seen = now;
                next = ping_schedule.next_ping(last_seen, now);
            }
            assert!(
                now - last_seen <= interval + 1,
                "silent since {last_seen}, now {now}"
            );
            if next <= now {
                assert!(
                    ping_schedule.is_ping_due(last_seen, now),
                    "looked at for nothing at {now}"
                );
                pings.push(now);
                next = NEVER;
            }
        }
        pings
    }

    #[test]
    fn a_quiet_connection_is_pinged_once_in_an_interval() {
        for slot in (0..4_000).step_by(32) {
            let at = pings(slot, 250, 2, &[], 2_000);
            // The first may come half an interval early, so that a crowd's are spread at once.
            for (nth, pair) in at.windows(2).enumerate().skip(1) {
                assert_eq!(pair[1] - pair[0], 250, "slot {slot}, ping {nth}: {at:?}");
            }
            assert!(at[1] - at[0] == 250 || at[1] - at[0] == 125, "{at:?}");
        }
    }

    #[test]
    fn one_that_is_heard_is_not_pinged_and_none_is_forgotten() {
        for slot in (0..4_000).step_by(160) {
            let often: Vec<u32> = (0..2_000).step_by(60).collect();
            assert!(pings(slot, 250, 2, &often, 2_000).is_empty());
            // `pings` asserts that nobody is silent for longer than the interval.
            for heard in (1..600).step_by(7) {
                pings(slot, 250, 2, &[heard], 1_000);
            }
        }
    }

    #[test]
    fn short_intervals_are_kept() {
        for interval in 1..6 {
            for slot in [0, 32, 64, 96] {
                let at = pings(slot, interval, 1, &[], 50);
                assert!(
                    at.len() >= (50 / interval) as usize / 2,
                    "{interval}: {at:?}"
                );
            }
        }
    }
}
