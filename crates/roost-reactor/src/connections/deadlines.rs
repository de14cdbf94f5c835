//! Deadlines without timers: the table is looked through in slices.
//!
//! A deadline is a judgement on silence, so three things come first:
//!
//! - **What has arrived is read.** A deadline is over when the sockets were read at a later time
//!   ([`Clock::input_until`]), not when the clock says so: after a pause of the process, the answers
//!   that came meanwhile lie in the sockets.
//! - **What is known and not read yet** (more events than a loop iteration handles, no receive buffer
//!   free) puts the deadline off by its length, once; the idle timeout, which is long and which a pong
//!   does not end, only until it is read, and by its length at most.
//! - **A pause does not count.** A virtual machine that stood still may have held up the clients as
//!   well: every deadline that ran begins anew when the reactor goes on ([`Clock::resumed_at`]).

use std::sync::Arc;

use roost_net::ConnKey;

use super::conn::{Conn, Flags, Phase};
use super::table::Table;
use crate::clock::{Clock, NEVER, TICK_MS, deadline, ticks};
use crate::settings::Settings;

/// The deadlines of one reactor's connections, and how far the table has been looked through.
pub(crate) struct Deadlines {
    settings: Arc<Settings>,
    /// The time of this loop iteration.
    pub(super) clock: Clock,
    /// The next slot to look at; 0 when no pass is under way.
    cursor: u32,
    /// The tick of the last slice.
    last: u32,
    /// No deadline comes before this tick.
    earliest: u32,
    /// The same, as the pass under way finds it.
    earliest_found: u32,
    /// A slice ended because it had found enough to do: the next loop iteration goes on.
    goes_on: bool,
}

/// A part of the table that is looked through at once.
pub(crate) struct Slice {
    next: u32,
    end: u32,
    /// Deadlines that may still be kept.
    left: u32,
}

/// What it means that the client of an open connection has not opened its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    /// It has time.
    HasTime,
    /// It may have been sent: the connection has a new deadline.
    LiesUnread,
    /// It has not come in time.
    Missing,
}

/// What an open connection's deadline means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Idle {
    /// Nothing; it has a new one.
    No,
    /// It has been quiet: it is to be pinged.
    PingDue,
    /// It has not answered a ping.
    PongMissing,
    /// It has been without a message for too long.
    TooLong,
}

impl Deadlines {
    /// Deadlines that are set run out as they are.
    pub(super) fn configure(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
    }

    pub(super) fn new(settings: Arc<Settings>) -> Deadlines {
        Deadlines {
            settings,
            clock: Clock::default(),
            cursor: 0,
            last: 0,
            earliest: NEVER,
            earliest_found: NEVER,
            goes_on: false,
        }
    }

    /// Sets when a connection is looked at next, `ms` from now; 0 is never.
    pub(super) fn set(&mut self, conn: &mut Conn, ms: u32) {
        self.rearm(conn, deadline(self.clock.now, ms));
    }

    fn rearm(&mut self, conn: &mut Conn, until: u32) {
        conn.deadline = until;
        conn.flags.clear(Flags::OVERDUE);
        self.note(until);
    }

    #[inline]
    pub(super) fn note(&mut self, until: u32) {
        self.earliest = self.earliest.min(until);
        self.earliest_found = self.earliest_found.min(until);
    }

    /// The tick at which a slice wants to be looked through; [`NEVER`] when there is no deadline.
    #[inline]
    pub(crate) fn due(&self) -> u32 {
        if self.goes_on {
            self.last
        } else if self.cursor > 0 {
            self.last + 1
        } else {
            self.earliest.max(self.last + 1)
        }
    }

    /// Begins with the next slice of a table of so many slots, if it is time.
    #[inline(always)] // a call in each loop iteration
    pub(super) fn begin_slice(&mut self, slots: u32) -> Option<Slice> {
        let until = self.clock.input_until;
        if until < self.due() {
            return None;
        }
        self.last = until;
        if self.cursor == 0 {
            self.earliest_found = NEVER;
        }
        let len = (slots / PASS_TICKS).max(SLICE_MIN);
        Some(Slice {
            next: self.cursor,
            end: self.cursor.saturating_add(len).min(slots),
            left: DEADLINES_MAX,
        })
    }

    /// The next connection in the slice whose deadline is over; it has none any more.
    pub(super) fn next_overdue(&mut self, slice: &mut Slice, table: &mut Table) -> Option<ConnKey> {
        while slice.next < slice.end {
            let slot = slice.next;
            if let Some(conn) = table.at_mut(slot) {
                if conn.deadline <= self.clock.input_until {
                    if slice.left == 0 {
                        slice.end = slot;
                        return None;
                    }
                    slice.next += 1;
                    slice.left -= 1;
                    conn.deadline = NEVER; // a new one is noted when it is set
                    return Some(ConnKey::new(slot, conn.generation));
                }
                self.earliest_found = self.earliest_found.min(conn.deadline);
            }
            slice.next += 1;
        }
        None
    }

    /// Ends a slice of a table of so many slots.
    pub(super) fn end_slice(&mut self, slice: &Slice, slots: u32) {
        self.goes_on = slice.left == 0 && slice.end < slots;
        if slice.end < slots {
            self.cursor = slice.end;
        } else {
            self.cursor = 0;
            self.earliest = self.earliest_found;
        }
    }

    /// Whether a deadline of `ms` that is over may be held against the connection. If not, it has a
    /// new one.
    pub(super) fn is_silent(
        &mut self,
        conn: &mut Conn,
        ms: u32,
        has_unread: impl FnOnce() -> bool,
    ) -> bool {
        let until = self.clock.input_until;
        let anew = deadline(self.clock.resumed_at, ms);
        if self.clock.resumed_at > 0 && anew > until {
            conn.deadline = anew;
        } else if !conn.flags.has(Flags::OVERDUE) && has_unread() {
            conn.flags.set(Flags::OVERDUE);
            conn.deadline = deadline(until, ms);
        } else {
            return true;
        }
        self.note(conn.deadline);
        false
    }

    /// When the connection will have been without a message for too long.
    fn idle_until(&self, conn: &Conn) -> u32 {
        let from = conn.last_message.max(self.clock.resumed_at);
        deadline(from, self.settings.limits.idle_timeout_ms)
    }

    /// When the client will have had its time for the message that opens its session, if there is one: what
    /// has come since opened it.
    fn opening_until(&self, conn: &Conn) -> u32 {
        let from = conn.last_message.max(self.clock.resumed_at);
        deadline(from, self.settings.limits.handshake_timeout_ms)
    }

    /// Whether the client of a session that is not opened yet has had its time, once its deadline is over. One
    /// that is not read is not late, and what lies unread may open it: then it is looked at again, for as
    /// long again at most.
    pub(super) fn judge_opening(
        &mut self,
        conn: &mut Conn,
        has_unread: impl FnOnce() -> bool,
    ) -> Opening {
        let now = self.clock.input_until;
        let until = self.opening_until(conn);
        if conn.flags.has(Flags::PAUSED) || until > now {
            return Opening::HasTime;
        }
        let again = deadline(until, self.settings.limits.handshake_timeout_ms);
        if now < again && has_unread() {
            self.rearm(conn, now.saturating_add(1));
            return Opening::LiesUnread;
        }
        Opening::Missing
    }

    /// A connection has just opened, or has answered a ping: sets when it is looked at next.
    pub(super) fn arm_ping(&mut self, slot: u32, conn: &mut Conn) {
        if conn.phase == Phase::Open {
            let schedule = ping_schedule(conn, slot, self.settings.limits.ping_interval_ms);
            let now = self.clock.now;
            let ping = schedule.map(|schedule| match conn.dialect.pings() {
                true => schedule.next_moment(now),
                false => schedule.next_ping(conn.last_seen, now),
            });
            let mut until = ping.unwrap_or(NEVER).min(self.idle_until(conn));
            if conn.dialect.is_opened_by_client() {
                let opening = self.opening_until(conn);
                if opening > now {
                    until = until.min(opening);
                }
            }
            self.rearm(conn, until);
        }
    }

    /// A ping was sent, or the peer takes of what stands before it: the time to answer begins.
    pub(super) fn arm_pong_timeout(&mut self, conn: &mut Conn) {
        if matches!(conn.phase, Phase::Open | Phase::Http) {
            // Not the end of the idle time, if that comes first: what is over then must be known.
            self.set(conn, self.settings.limits.ping_timeout_ms.max(1));
        }
    }

    /// The deadline of an open connection is over.
    pub(super) fn judge_open(
        &mut self,
        slot: u32,
        conn: &mut Conn,
        has_unread: impl FnOnce() -> bool,
    ) -> Idle {
        let limits = &self.settings.limits;
        let (ping_timeout_ms, idle_timeout_ms) = (limits.ping_timeout_ms, limits.idle_timeout_ms);
        let ping_interval_ms = limits.ping_interval_ms;
        let now = self.clock.input_until;
        if conn.flags.has(Flags::PAUSED) {
            // It may have sent much that we have not read: a connection that is not read is not quiet.
            self.rearm(conn, deadline(now, ping_timeout_ms.max(1)));
            return Idle::No;
        }
        if conn.flags.has(Flags::PING_SENT) {
            return match self.is_silent(conn, ping_timeout_ms.max(1), has_unread) {
                true => Idle::PongMissing,
                false => Idle::No,
            };
        }
        let idle_until = self.idle_until(conn);
        if idle_until <= now {
            // It may be a message. It may also be a pong, or nothing: then the time is over at once.
            if now < deadline(idle_until, idle_timeout_ms) && has_unread() {
                self.rearm(conn, now.saturating_add(1));
                return Idle::No;
            }
            return Idle::TooLong;
        }
        let schedule = ping_schedule(conn, slot, ping_interval_ms);
        let is_due = |schedule: PingSchedule| {
            // One whose dialect pings was set to be looked at then.
            conn.dialect.pings() || schedule.is_ping_due(conn.last_seen, now)
        };
        if schedule.is_some_and(is_due) {
            return Idle::PingDue;
        }
        self.arm_ping(slot, conn);
        Idle::No
    }
}

/// When a connection may be pinged; never, if none is or its framing knows no ping.
fn ping_schedule(conn: &Conn, slot: u32, interval_ms: u32) -> Option<PingSchedule> {
    let has_pings = interval_ms > 0 && (conn.framing.has_ping() || conn.dialect.pings());
    has_pings.then(|| PingSchedule::new(slot, ticks(interval_ms)))
}

/// The moments at which a connection is pinged if it is quiet.
///
/// Connections that open together must not be pinged together for ever after, and yet a ping for one is
/// cheapest while its neighbours' are sent. So each block of slots has a moment of its own in the
/// interval: a quiet connection is pinged at this moment in every interval. One that was heard
/// shortly before is passed over, and looked at again half an interval later; no connection is silent for
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

    /// The next moment that is at least a quarter of the interval away: one that is pinged at every moment,
    /// quiet or not, is pinged then.
    fn next_moment(&self, now: u32) -> u32 {
        let from = now.saturating_add(self.interval / 4);
        let (point, is_moment) = self.last(from);
        let moment = if is_moment {
            point
        } else {
            point - self.half()
        };
        let next = match moment == i64::from(from) && from > now {
            true => moment,
            false => moment + i64::from(self.interval),
        };
        u32::try_from(next).unwrap_or(NEVER)
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

/// A pass over a large table takes this many ticks: a deadline is kept to about a second.
const PASS_TICKS: u32 = 1000 / TICK_MS;
/// Deadlines kept in one loop iteration, so that many pings delay others by a millisecond at most.
const DEADLINES_MAX: u32 = 256;
/// Connections in neighbouring slots that are pinged together: what is looked up for one of them
/// is at hand for the next.
const PING_BLOCK: u32 = 32;
/// Of a whole circle, in 2^32nds.
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
            // The first may come half an interval early, so that those of many connections are spread at once.
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
            // `pings` asserts that no connection is silent for longer than the interval.
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

    /// An open connection whose idle time of 50 ticks is over at tick 60, and its deadlines.
    fn idle_at_60() -> (Deadlines, Conn) {
        let mut settings = Settings::for_tests();
        settings.limits.idle_timeout_ms = 50 * TICK_MS;
        settings.limits.ping_interval_ms = 0;
        let mut conn = Conn::new(10);
        conn.phase = Phase::Open;
        (Deadlines::new(Arc::new(settings)), conn)
    }

    #[test]
    fn a_session_is_not_late_while_what_may_open_it_lies_unread() {
        let mut settings = Settings::for_tests();
        settings.limits.handshake_timeout_ms = 15 * TICK_MS;
        let mut deadlines = Deadlines::new(Arc::new(settings));
        let mut conn = Conn::new(10);
        conn.phase = Phase::Open;
        let mut judge = |now, has_unread| {
            deadlines.clock.now = now;
            deadlines.clock.input_until = now;
            deadlines.judge_opening(&mut conn, || has_unread)
        };
        assert_eq!(judge(24, true), Opening::HasTime);
        for now in 25..40 {
            assert_eq!(judge(now, true), Opening::LiesUnread);
        }
        assert_eq!(judge(40, true), Opening::Missing, "as long again at most");
        assert_eq!(judge(25, false), Opening::Missing);
    }

    fn judge(deadlines: &mut Deadlines, conn: &mut Conn, now: u32, has_unread: bool) -> Idle {
        deadlines.clock.now = now;
        deadlines.clock.input_until = now;
        deadlines.judge_open(0, conn, || has_unread)
    }

    #[test]
    fn an_idle_time_is_over_when_what_lay_unread_was_no_message() {
        let (mut deadlines, mut conn) = idle_at_60();
        assert_eq!(judge(&mut deadlines, &mut conn, 60, true), Idle::No);
        assert_eq!(conn.deadline, 61, "not another idle time later");
        assert_eq!(judge(&mut deadlines, &mut conn, 61, false), Idle::TooLong);
    }

    #[test]
    fn an_idle_time_waits_for_unread_input_no_longer_than_it_lasts() {
        let (mut deadlines, mut conn) = idle_at_60();
        for now in 60..110 {
            assert_eq!(judge(&mut deadlines, &mut conn, now, true), Idle::No);
        }
        assert_eq!(judge(&mut deadlines, &mut conn, 110, true), Idle::TooLong);
    }

    #[test]
    fn an_idle_time_begins_anew_with_a_message_that_lay_unread() {
        let (mut deadlines, mut conn) = idle_at_60();
        assert_eq!(judge(&mut deadlines, &mut conn, 60, true), Idle::No);
        conn.last_message = 61;
        assert_eq!(judge(&mut deadlines, &mut conn, 61, false), Idle::No);
        assert_eq!(conn.deadline, 111);
    }
}
