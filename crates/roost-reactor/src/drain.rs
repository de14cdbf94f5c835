//! The drain: every connection gets a close frame, slice by slice, and is cut if it stays.

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

/// How far a drain has come.
pub(crate) struct Drain {
    drain_ms: u32,
    /// Slots below this have got their close frame.
    next_slot: u32,
    /// Tick at which it ends by force.
    until: u32,
    /// That was put off once, for input that was known and not read.
    is_put_off: bool,
}

impl Drain {
    /// Begins; what is left after `drain_ms` is cut.
    pub(crate) fn new(core: &mut Core, drain_ms: u32) -> Drain {
        core.is_draining = true;
        let mut drain = Drain {
            drain_ms,
            next_slot: 0,
            until: NEVER,
            is_put_off: false,
        };
        drain.until = core.now().saturating_add(drain.ticks());
        drain
    }

    fn ticks(&self) -> u32 {
        ticks(self.drain_ms).max(1)
    }

    /// The tick at which it wants to be called.
    pub(crate) fn due(&self) -> u32 {
        self.until
    }

    /// Whether there are connections without their close frame.
    pub(crate) fn has_more(&self, core: &Core) -> bool {
        self.next_slot < core.connections.slots()
    }

    /// Sends the next slice of connections away, and ends if the time is over.
    pub(crate) fn go_on<D: Driver>(&mut self, core: &mut Core, driver: &D) {
        self.next_slice(core);
        if core.connections.clock().input_until >= self.until {
            self.end(core, driver);
        }
    }

    fn next_slice(&mut self, core: &mut Core) {
        let slots = core.connections.slots();
        let end = self.next_slot.saturating_add(SLICE_SLOTS).min(slots);
        for slot in self.next_slot..end {
            let Some(key) = core.connections.key_at(slot) else {
                continue;
            };
            let Some(conn) = core.connections.get(key) else {
                continue;
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
                Phase::Closing | Phase::Lingering | Phase::Closed => {}
            }
        }
        self.next_slot = end;
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

/// Connections sent away in one loop iteration.
const SLICE_SLOTS: u32 = 4096;
/// Time to read what lies unread when a drain would end.
const UNREAD_TICKS: u32 = 250 / TICK_MS;
const GOING_DOWN: &str = "server is going down";
