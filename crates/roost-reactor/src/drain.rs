//! The drain: after a delay in which checks of readiness already fail, every connection is told to come back
//! elsewhere, all at once or so many a second, and is cut if it stays.

use roost_dialect::dialect::Event;
use roost_net::{CloseMode, ConnKey, Driver};
use roost_wire::CloseCode;

use crate::clock::{NEVER, TICK_MS, ticks};
use crate::closing::{cut, linger, start_close};
use crate::connections::{Index, Partial, Phase};
use crate::core::Core;
use crate::dialogue::notify;
use crate::responses::refuse;
use crate::streams;

/// How a server is drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// So long everything goes on but checks of health and readiness, which fail.
    pub delay_ms: u32,
    /// What is left so long after that is cut.
    pub timeout_ms: u32,
    /// Connections of the whole server that are told in a second; 0: all at once. More are, where they
    /// would not be told in three quarters of the timeout.
    pub per_second: u32,
}

impl Pace {
    /// All at once.
    pub fn at_once(timeout_ms: u32) -> Pace {
        Pace {
            delay_ms: 0,
            timeout_ms,
            per_second: 0,
        }
    }
}

/// How far a drain has come.
pub(crate) struct Drain {
    timeout_ms: u32,
    /// Tick at which connections begin to be told; [`NEVER`] once it has come.
    begins: u32,
    /// Tick of that.
    began: u32,
    /// Slots below this have got their close frame.
    next_slot: u32,
    /// Connections there were when it began, and those told since.
    connections: u64,
    told: u64,
    /// What the rate allows, in parts of a connection: a thousand for each reactor.
    credit: u64,
    credited_at: u32,
    /// Tick at which it ends by force.
    until: u32,
    /// That was put off once, for input that was known and not read.
    is_put_off: bool,
    /// Tick at which other reactors are no longer waited for, once it is over here.
    others_until: Option<u32>,
}

impl Drain {
    /// Begins.
    pub(crate) fn new<D: Driver>(core: &mut Core, driver: &mut D, pace: Pace) -> Drain {
        core.is_leaving = true;
        let now = core.now();
        let mut drain = Drain {
            timeout_ms: pace.timeout_ms,
            begins: now.saturating_add(ticks(pace.delay_ms)),
            began: now,
            next_slot: 0,
            connections: 0,
            told: 0,
            credit: 0,
            credited_at: now,
            until: NEVER,
            is_put_off: false,
            others_until: None,
        };
        if pace.delay_ms == 0 {
            drain.begin_to_tell(core, driver);
        }
        drain
    }

    /// From here on there are no new connections, and those that are there are told.
    fn begin_to_tell<D: Driver>(&mut self, core: &mut Core, driver: &mut D) {
        driver.stop_listening();
        core.is_draining = true;
        core.counters.reactors_draining.set(1);
        let now = core.now();
        (self.begins, self.began, self.credited_at) = (NEVER, now, now);
        self.until = now.saturating_add(self.ticks());
        self.connections = core.connections.len() as u64;
        // The first reactor tells its first one at once, the others theirs one by one behind.
        let (me, reactors) = core.reactor_of();
        self.credit = CREDIT_OF_ONE * (reactors - me);
    }

    /// How long it takes at most.
    fn ticks(&self) -> u32 {
        ticks(self.timeout_ms).max(1)
    }

    /// Whether connections are being told, or have been.
    pub(crate) fn has_begun(&self) -> bool {
        self.begins == NEVER
    }

    /// Whether a drain that is over here waits for other reactors, which takes them as long as it may take
    /// here, and a little.
    pub(crate) fn waits_for_others(&mut self, now: u32) -> bool {
        let until = now
            .saturating_add(self.ticks())
            .saturating_add(OTHERS_TICKS);
        now < *self.others_until.get_or_insert(until)
    }

    /// The tick at which it wants to be called.
    pub(crate) fn due(&self, core: &Core) -> u32 {
        match self.has_begun() {
            false => self.begins,
            true if self.next_slot < core.connections.slots() => core.now() + 1,
            true => self.until,
        }
    }

    /// Whether there are connections that it may tell now.
    pub(crate) fn has_more(&self, core: &Core, per_second: u32) -> bool {
        self.has_begun()
            && self.next_slot < core.connections.slots()
            && self.allowed(core, per_second) > 0
    }

    /// Sends the next slice of connections away, and ends if the time is over.
    pub(crate) fn go_on<D: Driver>(&mut self, core: &mut Core, driver: &mut D, per_second: u32) {
        if !self.has_begun() {
            if core.now() < self.begins {
                return;
            }
            self.begin_to_tell(core, driver);
        }
        let elapsed = core.now().saturating_sub(self.credited_at);
        self.credited_at = core.now();
        let gained = u64::from(elapsed) * u64::from(TICK_MS) * u64::from(per_second);
        self.credit = self.credit.saturating_add(gained);
        self.next_slice(core, per_second);
        if core.connections.clock().input_until >= self.until {
            self.end(core, driver);
        }
    }

    /// How many may be told now: as the rate allows, and so many that all are told in time.
    fn allowed(&self, core: &Core, per_second: u32) -> u64 {
        let elapsed = u64::from(core.now().saturating_sub(self.began));
        let time = u64::from(self.ticks()) * 3 / 4;
        if per_second == 0 || elapsed >= time {
            return u64::MAX;
        }
        let (_, reactors) = core.reactor_of();
        let by_rate = self.credit / (CREDIT_OF_ONE * reactors);
        let in_time = (self.connections * elapsed / time).saturating_sub(self.told);
        by_rate.max(in_time)
    }

    fn next_slice(&mut self, core: &mut Core, per_second: u32) {
        let slots = core.connections.slots();
        let end = self.next_slot.saturating_add(SLICE_SLOTS).min(slots);
        let mut allowed = self.allowed(core, per_second);
        let (_, reactors) = core.reactor_of();
        while self.next_slot < end && allowed > 0 {
            if tell(core, self.next_slot) {
                allowed -= 1;
                self.told += 1;
                self.credit = self.credit.saturating_sub(CREDIT_OF_ONE * reactors);
            }
            self.next_slot += 1;
        }
        core.counters.drain_told_total.set(self.told);
    }

    /// The time for the closing handshake is over, unless the reactor was held up in it, or answers lie unread:
    /// a drain is a deadline like others.
    fn end<D: Driver>(&mut self, core: &mut Core, driver: &D) {
        let clock = core.connections.clock();
        let anew = clock.resumed_at.saturating_add(self.ticks());
        let has_unread = |core: &Core| core.connections.keys().any(|key| driver.has_unread(key));
        if clock.resumed_at > 0 && anew > clock.input_until {
            self.until = anew;
        } else if !self.is_put_off && has_unread(core) {
            self.is_put_off = true;
            self.until = clock.input_until + UNREAD_TICKS;
        } else {
            for slot in 0..core.connections.slots() {
                if let Some(key) = core.connections.key_at(slot) {
                    cut(core, key, CloseMode::Abort);
                }
            }
            self.until = NEVER;
        }
    }
}

/// Tells one connection to come back elsewhere; false if there is none, or it is leaving already.
fn tell(core: &mut Core, slot: u32) -> bool {
    let key = core.connections.key_at(slot);
    let Some((key, conn)) = key.and_then(|key| Some((key, core.connections.get(key)?))) else {
        return false;
    };
    match conn.phase {
        // A client that has not sent a byte waits for no answer, and none is waited for.
        Phase::Handshake if conn.partial == Index::NONE => {
            cut(core, key, CloseMode::Graceful);
        }
        // Its client takes any answer but a stream as final, and is to come back.
        Phase::Joining if conn.framing.is_event_stream() => {
            cut(core, key, CloseMode::Graceful);
        }
        Phase::Handshake | Phase::Joining => refuse(core, key, 503, GOING_DOWN),
        Phase::Http => end_http(core, key),
        Phase::Open => {
            notify(core, key, Event::Draining);
            start_close(core, key, CloseCode::GOING_AWAY, GOING_DOWN);
        }
        Phase::Closing | Phase::Lingering | Phase::Closed => return false,
    }
    true
}

/// A plain request that is not whole is refused; a connection between two requests is ended.
fn end_http(core: &mut Core, key: ConnKey) {
    streams::end(core, key);
    let conn = core.connections.get(key);
    let partial = conn.and_then(|conn| core.connections.inputs().get(conn));
    match partial {
        None | Some(Partial::Pipelined(_)) => linger(core, key),
        Some(_) => refuse(core, key, 503, GOING_DOWN),
    }
}

/// What one connection takes of the rate's credit, for each reactor of the server: it is shared by all.
const CREDIT_OF_ONE: u64 = 1_000;
/// Connections sent away in one loop iteration.
const SLICE_SLOTS: u32 = 4096;
/// Time to read what lies unread when a drain would end.
const UNREAD_TICKS: u32 = 250 / TICK_MS;
/// How much later than here another reactor may come to its end.
const OTHERS_TICKS: u32 = 1_000 / TICK_MS;
const GOING_DOWN: &str = "server is going down";
