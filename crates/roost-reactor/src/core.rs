//! All of a reactor but its driver, and what every part of it does to a connection.
//!
//! The driver stands apart so that it can lend bytes while the rest is at work. What a part wants
//! of the driver meanwhile it leaves as an [`DriverOp`].

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use roost_dialect::{Dialects, Publication, Replies};
use roost_hub::{Hub, Item, Name, Output, ReactorId};
use roost_metrics::{Counters, NamespaceCounters};
use roost_net::{CloseMode, ConnKey};
use roost_wire::{CloseCode, Frozen, Limits as WireLimits};

use crate::admission::Admission;
use crate::backlog::BacklogReport;
use crate::budget::{Budget, Reported};
use crate::congestion::Congestion;
use crate::conn::{Flags, Index, NEVER, Phase};
use crate::contexts::Contexts;
use crate::control::{Answer, Request, Token};
use crate::control_requests::Listings;
use crate::cost_probe::CostProbe;
use crate::encoding::{Codec, append_close_to};
use crate::fanout::Fanout;
use crate::inflow::Inflow;
use crate::inputs::{Inputs, Partial};
use crate::links::Links;
use crate::outboxes::Outboxes;
use crate::paused::Paused;
use crate::settings::Settings;
use crate::sweep::Sweep;
use crate::table::Table;
use crate::trim::MemoryTrimmer;
use crate::turn_output::TurnOutput;

/// What crosses from reactor to reactor.
pub(crate) enum PeerMessage {
    /// From hub to hub.
    Hub(Item<Publication, Frozen>),
    /// Publishers of the channel should wait, or need no longer: from its subscribers to its home,
    /// and from there to publishers. See [`crate::congestion`].
    Congestion { name: Name, is_congested: bool },
    /// From the slow side. See [`crate::control`].
    Request(Box<(Token, Request)>),
    /// To the slow side.
    Answer(Box<Answer>),
}

/// A reactor without its driver.
pub(crate) struct Core {
    pub(crate) settings: Arc<Settings>,
    pub(crate) wire_limits: WireLimits,
    pub(crate) counters: Arc<Counters>,
    /// By a namespace's number in the settings.
    pub(crate) namespaces: Arc<[NamespaceCounters]>,
    pub(crate) table: Table,
    pub(crate) hub: Hub<Publication, Frozen>,
    pub(crate) links: Links<PeerMessage>,
    pub(crate) turn_output: TurnOutput,
    pub(crate) fanout: Fanout,
    pub(crate) congestion: Congestion,
    pub(crate) codec: Codec,
    /// Compression contexts, only for those who agreed to take them over.
    pub(crate) contexts: Contexts,
    pub(crate) sweep: Sweep,
    pub(crate) trimmer: MemoryTrimmer,
    pub(crate) admission: Admission,
    /// Unfinished input, only while there is some.
    pub(crate) inputs: Inputs,
    /// Blocked output, only while there is some.
    pub(crate) outboxes: Outboxes,
    /// What all reactors together may hold, and where this one stands with it.
    pub(crate) budget: Arc<Budget>,
    pub(crate) reported: Reported,
    /// Bytes of output that connections were ever given to hold.
    pub(crate) output_bytes_total: u64,
    /// For whom most waits, for people who look; the tick at which that is looked up again; whether
    /// anybody is on this reactor's list.
    pub(crate) backlog_report: Arc<BacklogReport>,
    pub(crate) backlog_due: u32,
    pub(crate) backlog_listed: bool,
    /// The slow side's number in the mesh, and what it is being answered.
    pub(crate) control: ReactorId,
    pub(crate) listings: Listings,
    /// The dialects, with their sessions.
    pub(crate) dialects: Dialects,
    /// What the hub wants done next; reused.
    pub(crate) outputs: Vec<Output<Publication, Frozen>>,
    /// What the driver shall do when it has its lease back; reused.
    pub(crate) driver_ops: Vec<DriverOp>,
    /// Connections whose handshake has just been early_data and that sent more behind it.
    pub(crate) early_data: Vec<(ConnKey, Vec<u8>)>,
    /// Publishers that are not read for a while.
    pub(crate) paused: Paused,
    /// How much may be published, of all reactors together.
    pub(crate) inflow: Arc<Inflow>,
    /// A dialect's answers; reused.
    pub(crate) replies: Replies,
    pub(crate) rng: Rng,
    /// For tests: what each connection has sent, and what work that made.
    pub(crate) cost_probe: CostProbe,
    /// Bytes of the messages handled in this turn, inflated, and some for each message.
    pub(crate) turn_bytes: u64,
    /// The time in ticks.
    pub(crate) now: u32,
    /// The tick until which input is known ([`roost_net::Driver::polled_until`]): silence is judged
    /// by this.
    pub(crate) input_until: u32,
    /// The tick at which this reactor had last been held up; 0 if it never was.
    pub(crate) resumed_at: u32,
    /// No newcomers, and everybody is being sent away.
    pub(crate) draining: bool,
    /// Slots below this have been told to go.
    pub(crate) drained: u32,
}

/// Something for the driver.
#[derive(Debug, Clone, Copy)]
pub(crate) enum DriverOp {
    Pause(ConnKey),
    Resume(ConnKey),
    Close(ConnKey, CloseMode),
    Fin(ConnKey),
}

impl Core {
    /// Keeps unfinished input of the connection in `slot`.
    pub(crate) fn keep_partial(&mut self, slot: u32, partial: Partial) {
        let conn = self.table.at_mut(slot);
        let conn = conn.expect("the caller has just looked it up");
        self.inputs.keep(conn, partial);
    }

    /// Takes it out, if there is some.
    pub(crate) fn take_partial(&mut self, slot: u32) -> Option<Partial> {
        self.inputs.take(self.table.at_mut(slot)?)
    }

    /// Takes out what was no whole command yet, if there is some.
    pub(crate) fn take_rest(&mut self, slot: u32) -> Option<Vec<u8>> {
        self.inputs.take_rest(slot, self.table.at_mut(slot)?)
    }

    /// Sets when the sweep looks at the connection next, `ms` from now; 0 is never.
    pub(crate) fn set_deadline(&mut self, slot: u32, ms: u32) {
        let deadline = if ms == 0 {
            NEVER
        } else {
            self.now.saturating_add(ticks(ms))
        };
        self.sweep.note(deadline);
        if let Some(conn) = self.table.at_mut(slot) {
            conn.deadline = deadline;
            conn.flags.clear(Flags::OVERDUE);
        }
    }

    /// Starts the closing handshake from our side.
    pub(crate) fn start_close(&mut self, key: ConnKey, code: CloseCode, reason: &str) {
        let Some(conn) = self.table.get_mut(key) else {
            return;
        };
        if conn.phase != Phase::Open {
            return;
        }
        conn.phase = Phase::Closing;
        let framing = conn.framing;
        self.turn_output.enqueue_owned(key.slot(), conn, |arena| {
            append_close_to(arena, framing, code, reason);
        });
        self.leave_channels(key.slot());
        self.end_pause(key);
        self.set_deadline(key.slot(), self.settings.limits.close_timeout_ms.max(1));
    }

    /// Nothing more will be written after what is queued; reading goes on only to see the end.
    ///
    /// A close with unread bytes in the receive queue would send RST, which may destroy what is
    /// on its way to the peer; so: FIN, read to the peer's FIN or the deadline, then close.
    pub(crate) fn linger(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get_mut(key) else {
            return;
        };
        if conn.phase >= Phase::Lingering {
            return;
        }
        conn.phase = Phase::Lingering;
        conn.flags.set(Flags::FIN_AFTER);
        if conn.pending == 0 {
            self.turn_output.dirty.push(key.slot()); // the flush sends the FIN
        }
        self.leave_channels(key.slot());
        drop(self.take_partial(key.slot()));
        drop(self.take_rest(key.slot()));
        self.end_pause(key);
        self.set_deadline(key.slot(), self.settings.limits.close_timeout_ms.max(1));
    }

    /// Fails the connection (RFC 6455 §7.1.7): a close frame with the reason, then the end.
    pub(crate) fn fail(&mut self, key: ConnKey, code: CloseCode, reason: &str) {
        let Some(conn) = self.table.get_mut(key) else {
            return;
        };
        if conn.phase == Phase::Open {
            let framing = conn.framing;
            self.turn_output.enqueue_owned(key.slot(), conn, |arena| {
                append_close_to(arena, framing, code, reason);
            });
        }
        self.linger(key);
    }

    /// Closes the socket. The slot stays until the driver says `Closed`.
    pub(crate) fn cut(&mut self, key: ConnKey, mode: CloseMode) {
        let Some(conn) = self.table.get_mut(key) else {
            return;
        };
        if conn.phase == Phase::Closed {
            return;
        }
        conn.phase = Phase::Closed;
        conn.deadline = NEVER;
        self.driver_ops.push(DriverOp::Close(key, mode));
        self.let_go(key.slot());
    }

    /// Frees the slot of a connection that the driver says is over.
    pub(crate) fn remove(&mut self, key: ConnKey) {
        if self.table.get(key).is_none() {
            self.counters.stale_completions_total.inc();
            return;
        }
        self.let_go(key.slot());
        let conn = self.table.remove(key);
        debug_assert!(conn.partial == Index::NONE && conn.outbox == Index::NONE);
        self.admission.leave(conn.address);
        self.counters.connections_open.set(self.table.len() as u64);
        self.counters.connections_closed_total.inc();
    }

    /// Frees all that a connection holds beside the table.
    fn let_go(&mut self, slot: u32) {
        self.leave_channels(slot);
        drop(self.take_partial(slot));
        drop(self.take_rest(slot));
        self.drop_outbox(slot);
        self.release_contexts(slot);
        let Some(conn) = self.table.at_mut(slot) else {
            return;
        };
        self.turn_output.discard(conn);
        if conn.flags.clear(Flags::HANDSHAKE) {
            self.counters.handshakes_in_flight.sub(1);
        }
        if conn.flags.clear(Flags::WEBSOCKET) {
            self.counters.websockets_open.sub(1);
        }
        self.close_session(slot);
    }

    /// Drops what waits behind the batch in flight.
    pub(crate) fn drop_outbox(&mut self, slot: u32) {
        if let Some(conn) = self.table.at_mut(slot) {
            self.outboxes.remove(conn);
        }
    }

    /// Bytes that connections were ever given to hold: output handed to them, input kept.
    pub(crate) fn queued_bytes_total(&self) -> u64 {
        self.output_bytes_total + self.inputs.kept_bytes_total()
    }

    /// Whether so much was handled in this turn that it should be flushed first.
    pub(crate) fn has_done_enough(&self) -> bool {
        self.turn_output.is_full() || self.turn_bytes >= MESSAGE_BYTES_MAX
    }

    /// In debug builds: what is counted is what is there.
    pub(crate) fn check_invariants(&self) {
        self.outboxes.check_invariants();
        self.inputs.check_invariants();
        self.contexts.check_invariants();
    }
}

/// Milliseconds in ticks, rounded up.
pub(crate) fn ticks(ms: u32) -> u32 {
    ms.div_ceil(TICK_MS)
}

/// Bytes of messages, as long as they are inflated, and 64 for each, after which no further event
/// is handled in the turn: a lease may hold a thousand times its size, and what is published waits
/// for the flush.
const MESSAGE_BYTES_MAX: u64 = 4 << 20;

/// Length of a tick. Deadlines are kept to about this.
pub(crate) const TICK_MS: u32 = 100;

/// Numbers for session ids: splitmix64. Not secret; WAMP wants them spread, not unguessable.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// A number from 1 to 2^53.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) & ((1 << 53) - 1)) + 1
    }
}

/// A number nobody outside can know, from the same source as the standard library's hash keys.
pub(crate) fn secret() -> u64 {
    RandomState::new().build_hasher().finish()
}
