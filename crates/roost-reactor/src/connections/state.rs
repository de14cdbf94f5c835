//! The connections of one reactor: their records, and what they have beside them.

use std::num::NonZeroU32;
use std::sync::Arc;

use roost_access::Identity;
use roost_dialect::DialectKind;
use roost_dialect::dialect::Session;
use roost_metrics::{Counters, NamespaceCounters};
use roost_net::{Chunk, CloseMode, ConnKey, Driver};
use roost_wire::frame::{append_close, append_frame};
use roost_wire::{CloseCode, Opcode, hixie};

use super::conn::{Arrival, Conn, Flags, Index, Phase};
use super::conn_id::ConnId;
use super::contexts::Contexts;
use super::cost_probe::CostProbe;
use super::deadlines::{Deadlines, Slice};
use super::driver_ops::DriverOps;
use super::encoding::{Codec, Framing, append_close_to};
use super::exchanges::{Exchanges, Stream};
use super::identities::{Identities, TooMany};
use super::inputs::Inputs;
use super::outboxes::Outboxes;
use super::output::PendingOutput;
use super::overdue::Overdue;
use super::partial::Partial;
use super::table::Table;
use super::transport::Transports;
use super::user_counts::UserCounts;
use crate::client_limits::counts_messages;
use crate::clock::{Clock, NEVER};
use crate::settings::Settings;

/// All connections of one reactor. The only part that speaks to the driver of them.
pub(crate) struct Connections {
    pub(super) settings: Arc<Settings>,
    pub(super) counters: Arc<Counters>,
    /// By a namespace's number in the settings.
    pub(super) namespaces: Arc<[NamespaceCounters]>,
    reactor: usize,
    pub(super) table: Table,
    /// Unfinished input, only while there is some.
    pub(super) inputs: Inputs,
    /// Blocked output, only while there is some.
    pub(super) outboxes: Outboxes,
    /// What this loop iteration sends.
    pub(super) output: PendingOutput,
    pub(super) codec: Codec,
    /// Compression contexts, only for connections that agreed to take them over.
    pub(super) contexts: Contexts,
    /// Keys and counters, only for those whose transport is not plain.
    pub(super) transports: Transports,
    /// What plain HTTP keeps, only for those that speak it.
    pub(super) exchanges: Exchanges,
    /// What they are known as, only for those that are not anonymous.
    pub(super) identities: Identities,
    pub(super) deadlines: Deadlines,
    /// What the driver shall do when it has its lease back.
    driver_ops: DriverOps,
    /// Connections whose outbox names channels of which they have missed something. Empty between two loop
    /// iterations.
    pub(super) missed: Vec<ConnKey>,
    /// Channels of which something was dropped that was for these connections. Empty between two loop iterations.
    pub(super) lost: Vec<(ConnKey, u64)>,
    /// Flushes there were.
    pub(super) flushes: u64,
    /// Bytes of output that connections were ever given to hold.
    pub(super) output_bytes_total: u64,
    /// For tests: what each connection has sent, and what work that made.
    pub(super) cost_probe: CostProbe,
}

/// What follows when all that was queued for a connection has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Flushed {
    /// Nothing, or not yet.
    Nothing,
    /// The peer has sent its FIN: the connection is to be closed.
    Close,
    /// The requests that wait behind what was answered are to be handled.
    ReadOn,
}

impl Connections {
    /// None yet, for one of `reactors` reactors, whose channels count in `epoch`.
    pub(crate) fn new(
        settings: &Arc<Settings>,
        counters: &Arc<Counters>,
        namespaces: &Arc<[NamespaceCounters]>,
        (reactor, reactors): (usize, usize),
        epoch: u64,
    ) -> Connections {
        let fragment_bytes = settings.limits.fragment_bytes;
        let deflate = &settings.deflate;
        let context_bytes_max = match deflate.enabled {
            true => deflate.takeover_bytes_max / reactors,
            false => 0,
        };
        let level = u8::try_from(deflate.level).expect("the configuration takes 1 to 9");
        Connections {
            codec: Codec::new(
                deflate.enabled.then_some(deflate.compress_min_bytes),
                level,
                fragment_bytes,
                epoch,
                settings.dialects.wamp.own_realms.prefixes().clone(),
            ),
            contexts: Contexts::new(deflate, level, context_bytes_max, fragment_bytes),
            settings: settings.clone(),
            counters: counters.clone(),
            namespaces: namespaces.clone(),
            reactor,
            table: Table::new(),
            inputs: Inputs::default(),
            outboxes: Outboxes::default(),
            output: PendingOutput::new(),
            transports: Transports::default(),
            exchanges: Exchanges::default(),
            identities: Identities::default(),
            deadlines: Deadlines::new(settings.clone()),
            driver_ops: DriverOps::default(),
            missed: Vec::new(),
            lost: Vec::new(),
            flushes: 0,
            output_bytes_total: 0,
            cost_probe: CostProbe::default(),
        }
    }

    /// New settings hold from now on. What compression and fragments obey is set at the start alone.
    pub(crate) fn configure(
        &mut self,
        settings: &Arc<Settings>,
        namespaces: &Arc<[NamespaceCounters]>,
    ) {
        self.settings = settings.clone();
        self.namespaces = namespaces.clone();
        self.deadlines.configure(settings.clone());
    }

    #[inline]
    pub(crate) fn get(&self, key: ConnKey) -> Option<&Conn> {
        self.table.get(key)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: ConnKey) -> Option<&mut Conn> {
        self.table.get_mut(key)
    }

    /// The connection that has `slot` now.
    pub(crate) fn at_mut(&mut self, slot: u32) -> Option<&mut Conn> {
        self.table.at_mut(slot)
    }

    /// The key of the connection that has `slot` now.
    pub(crate) fn key_at(&self, slot: u32) -> Option<ConnKey> {
        self.table.key_at(slot)
    }

    /// The keys of all.
    pub(crate) fn keys(&self) -> impl Iterator<Item = ConnKey> {
        (0..self.table.slots()).filter_map(|slot| self.table.key_at(slot))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// One more than the highest slot there is.
    pub(crate) fn slots(&self) -> u32 {
        self.table.slots()
    }

    /// The name of one, for people.
    pub(crate) fn id(&self, key: ConnKey) -> ConnId {
        let reactor = self.reactor;
        ConnId { reactor, key }
    }

    /// The time.
    #[inline]
    pub(crate) fn clock(&self) -> Clock {
        self.deadlines.clock
    }

    /// A loop iteration begins.
    pub(crate) fn set_clock(&mut self, clock: Clock) {
        self.deadlines.clock = clock;
    }

    /// Sets when a connection is looked at next, `ms` from now; 0 is never.
    pub(crate) fn set_deadline(&mut self, slot: u32, ms: u32) {
        if let Some(conn) = self.table.at_mut(slot) {
            self.deadlines.set(conn, ms);
        }
    }

    /// What is left of the closing handshake has its time.
    fn set_close_deadline(&mut self, slot: u32) {
        self.set_deadline(slot, self.settings.limits.close_timeout_ms.max(1));
    }

    /// A connection has just opened, or has answered a ping: sets when it is looked at next.
    pub(crate) fn arm_ping(&mut self, slot: u32) {
        if let Some(conn) = self.table.at_mut(slot) {
            self.deadlines.arm_ping(slot, conn);
        }
    }

    /// The tick at which deadlines want to be looked at; [`NEVER`] when there are none.
    #[inline]
    pub(crate) fn deadlines_due(&self) -> u32 {
        self.deadlines.due()
    }

    /// Begins to look through the next slice of the table, if it is time.
    #[inline]
    pub(crate) fn begin_slice(&mut self) -> Option<Slice> {
        self.deadlines.begin_slice(self.table.slots())
    }

    /// Connections whose deadlines are over.
    pub(crate) fn overdue(&mut self) -> Overdue<'_> {
        Overdue::new(&mut self.deadlines, &mut self.table)
    }

    /// One more, just accepted.
    pub(crate) fn insert(&mut self, arrival: Arrival) -> ConnKey {
        let mut conn = Conn::new(self.deadlines.clock.now);
        conn.arrival = arrival;
        conn.flags.set(Flags::HANDSHAKE);
        let key = self.table.insert(conn);
        self.cost_probe.open(key.slot());
        self.counters.handshakes_in_flight.inc();
        self.counters.connections_open.set(self.table.len() as u64);
        self.set_deadline(key.slot(), self.settings.limits.handshake_timeout_ms);
        key
    }

    /// The WebSocket of a connection opens, with `answer` as its 101.
    pub(crate) fn open(
        &mut self,
        key: ConnKey,
        answer: &[u8],
        dialect: DialectKind,
        framing: Framing,
    ) {
        let is_stream = framing.is_event_stream();
        if is_stream {
            self.counters.http_responses_2xx_total.inc();
            self.counters.event_streams_open.inc();
        } else {
            self.counters.handshakes_accepted_total.inc();
            self.counters.websockets_open.inc();
        }
        self.end_handshake(key.slot());
        self.exchanges.release(key.slot());
        let Some(conn) = self.table.get_mut(key) else {
            return;
        };
        conn.phase = Phase::Open;
        conn.dialect = dialect;
        conn.framing = framing;
        match is_stream {
            true => conn.flags.set_event_stream(),
            false => conn
                .flags
                .set_websocket(counts_messages(&self.settings.limits)),
        }
        conn.last_message = self.deadlines.clock.now;
        self.output
            .enqueue_owned(key.slot(), conn, |arena| arena.extend_from_slice(answer));
        self.arm_ping(key.slot());
    }

    /// A plain request has come whole, but for its body.
    pub(crate) fn begin_exchange(&mut self, key: ConnKey) {
        self.end_handshake(key.slot());
        if let Some(conn) = self.table.get_mut(key) {
            debug_assert!(
                conn.phase <= Phase::Joining,
                "it only moves forward, but for one whose token was checked"
            );
            conn.phase = Phase::Http;
        }
    }

    /// A plain request is answered, and the next one is awaited, or handled when this answer has gone.
    pub(crate) fn end_exchange(&mut self, key: ConnKey) {
        let slot = key.slot();
        self.exchanges.note_answered(slot);
        self.set_deadline(slot, self.settings.limits.http_keep_alive_timeout_ms);
        let Some(conn) = self.table.get_mut(key) else {
            return;
        };
        conn.flags.clear(Flags::PING_SENT);
        if matches!(self.inputs.get(conn), Some(Partial::Pipelined(_))) {
            conn.flags.set(Flags::FLUSH_AWAITED);
        }
    }

    /// A plain request is answered by a stream, of which the head is queued.
    pub(crate) fn begin_stream(&mut self, key: ConnKey, stream: Stream) {
        self.exchanges.begin_stream(key.slot(), stream);
        self.set_deadline(key.slot(), self.settings.limits.ping_timeout_ms.max(1));
    }

    /// The handshake is over, one way or another.
    pub(crate) fn end_handshake(&mut self, slot: u32) {
        if let Some(conn) = self.table.at_mut(slot)
            && conn.flags.clear(Flags::HANDSHAKE)
        {
            self.counters.handshakes_in_flight.sub(1);
        }
    }

    /// Starts the closing handshake from our side. False if the connection is not open.
    pub(crate) fn start_close(&mut self, key: ConnKey, code: CloseCode, reason: &str) -> bool {
        let Some(conn) = self.table.get_mut(key) else {
            return false;
        };
        if conn.phase != Phase::Open || conn.framing.is_event_stream() {
            return false;
        }
        conn.phase = Phase::Closing;
        let framing = conn.framing;
        self.output.enqueue_owned(key.slot(), conn, |arena| {
            append_close_to(arena, framing, code, reason);
        });
        self.set_close_deadline(key.slot());
        true
    }

    /// Whether a connection is an event stream that has begun and not ended.
    pub(crate) fn is_open_event_stream(&self, key: ConnKey) -> bool {
        let conn = self.table.get(key);
        conn.is_some_and(|conn| conn.phase == Phase::Open && conn.framing.is_event_stream())
    }

    /// Answers the peer's close frame.
    pub(crate) fn answer_close(&mut self, key: ConnKey, code: Option<CloseCode>, reason: &str) {
        let Some(conn) = self.table.get_mut(key) else {
            return;
        };
        conn.flags.set(Flags::PEER_CLOSED);
        if conn.phase != Phase::Open {
            return;
        }
        // RFC 6455 §5.5.1: answer with a close frame, typically echoing the status code.
        // Browsers' own tests (WPT) want the reason back as well.
        let framing = conn.framing;
        self.output
            .enqueue_owned(key.slot(), conn, |arena| match code {
                _ if framing == Framing::Early => {
                    arena.extend_from_slice(hixie::close().as_bytes());
                }
                Some(code) => append_close(arena, code, reason),
                None => append_frame(arena, Opcode::Close, b""),
            });
    }

    /// Nothing more will be written after what is queued; reading goes on only to see the end.
    /// False if that was so before.
    ///
    /// A close with unread bytes in the receive queue would send RST, which may destroy what is
    /// on its way to the peer; so: FIN, read to the peer's FIN or the deadline, then close.
    pub(crate) fn linger(&mut self, key: ConnKey) -> bool {
        let Some(conn) = self.table.get_mut(key) else {
            return false;
        };
        if conn.phase >= Phase::Lingering {
            return false;
        }
        conn.phase = Phase::Lingering;
        conn.flags.set(Flags::FLUSH_AWAITED);
        if conn.pending == 0 {
            self.output.touch(key.slot()); // the flush sends the FIN
        }
        self.drop_input(key.slot());
        self.exchanges.release(key.slot());
        self.set_close_deadline(key.slot());
        true
    }

    /// What waits is dropped, but for a frame that is half sent; `words` of the dialect and a close
    /// frame follow it. False if the connection is not open or nothing waits for it.
    pub(crate) fn close_dropping(
        &mut self,
        key: ConnKey,
        words: Vec<u8>,
        code: CloseCode,
        reason: &str,
    ) -> bool {
        let Some(conn) = self.table.get_mut(key) else {
            return false;
        };
        if conn.phase != Phase::Open {
            return false;
        }
        let mut close = Vec::new();
        append_close_to(&mut close, conn.framing, code, reason);
        let edited = self.outboxes.edit(conn, |outbox| {
            outbox.clear();
            for bytes in [words, close] {
                if !bytes.is_empty() {
                    outbox.push(Chunk::new(bytes.into()));
                }
            }
        });
        if edited.is_none() {
            return false;
        }
        conn.phase = Phase::Closing;
        if conn.framing.is_event_stream() {
            // Its client answers nothing: the end follows what is left.
            conn.phase = Phase::Lingering;
            conn.flags.set(Flags::FLUSH_AWAITED);
        }
        self.set_close_deadline(key.slot());
        true
    }

    /// Has the driver close the socket, and frees all that the connection holds beside its record.
    /// The slot stays until the driver says `Closed`. False if that was done before.
    pub(crate) fn cut(&mut self, key: ConnKey, mode: CloseMode) -> bool {
        let Some(conn) = self.table.get_mut(key) else {
            return false;
        };
        if conn.phase == Phase::Closed {
            return false;
        }
        let can_send = !conn.flags.has(Flags::IN_FLIGHT) && !conn.flags.has(Flags::FIN_SENT);
        if conn.flags.has(Flags::HAS_TRANSPORT) && mode == CloseMode::Graceful && can_send {
            self.send_close_notify(key);
        }
        let Some(conn) = self.table.get_mut(key) else {
            return false;
        };
        conn.phase = Phase::Closed;
        conn.deadline = NEVER;
        self.driver_ops.close(key, mode);
        self.free(key.slot());
        true
    }

    /// Frees the slot of a connection that the driver says is over. Returns its entry in the table
    /// of peer addresses; `None` if there is no such connection.
    pub(crate) fn remove(&mut self, key: ConnKey) -> Option<Index> {
        self.table.get(key)?;
        self.free(key.slot());
        let conn = self.table.remove(key);
        debug_assert!(conn.partial == Index::NONE && conn.outbox == Index::NONE);
        debug_assert!(conn.session == Session::NONE, "its session is closed");
        self.counters.connections_open.set(self.table.len() as u64);
        self.counters.connections_closed_total.inc();
        Some(conn.arrival.address())
    }

    /// Frees all that a connection holds beside its record.
    fn free(&mut self, slot: u32) {
        self.drop_input(slot);
        self.drop_outbox(slot);
        self.release_contexts(slot);
        self.transports.release(slot);
        self.exchanges.release(slot);
        self.identities.take(slot);
        let Some(conn) = self.table.at_mut(slot) else {
            return;
        };
        self.output.discard(conn);
        if conn.flags.clear(Flags::HANDSHAKE) {
            self.counters.handshakes_in_flight.sub(1);
        }
        let (was_websocket, was_stream) = conn.flags.clear_open();
        if was_websocket {
            self.counters.websockets_open.sub(1);
        }
        if was_stream {
            self.counters.event_streams_open.sub(1);
        }
    }

    /// Stops reading from a connection. False if it is not read already.
    pub(crate) fn pause(&mut self, key: ConnKey) -> bool {
        let Some(conn) = self.table.get_mut(key) else {
            return false;
        };
        if conn.flags.has(Flags::PAUSED) {
            return false;
        }
        conn.flags.set(Flags::PAUSED);
        self.driver_ops.pause(key);
        true
    }

    /// Reads again.
    pub(crate) fn resume(&mut self, key: ConnKey) {
        if let Some(conn) = self.table.get_mut(key)
            && conn.flags.clear(Flags::PAUSED)
        {
            self.driver_ops.resume(key);
        }
    }

    /// What was to be handled before a connection is read again has been: it is, unless it was
    /// paused anew.
    pub(crate) fn resume_after_unread(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get(key) else {
            return;
        };
        if !conn.has_kept_input() {
            self.cost_probe.finish(key.slot());
        }
        if !conn.flags.has(Flags::PAUSED) {
            self.driver_ops.resume(key);
        }
    }

    /// What all want of the driver by now, done.
    #[inline]
    pub(crate) fn run_driver_ops<D: Driver>(&mut self, driver: &mut D) {
        if !self.driver_ops.is_empty() {
            self.driver_ops.run(driver, &mut self.table);
        }
    }

    /// Has close_notify sent behind all that was, unless something ended the transport before.
    fn send_close_notify(&mut self, key: ConnKey) {
        let mut bytes = Vec::new();
        self.transports.close(key.slot(), &mut bytes);
        if !bytes.is_empty() {
            self.driver_ops.send(key, bytes);
        }
    }

    /// What follows when nothing is left to send: FIN is sent here, the rest is the caller's.
    pub(crate) fn after_flush(&mut self, key: ConnKey) -> Flushed {
        let Some(conn) = self.table.get_mut(key) else {
            return Flushed::Nothing;
        };
        if !conn.flags.has(Flags::FLUSH_AWAITED)
            || conn.flags.has(Flags::IN_FLIGHT)
            || conn.outbox.get().is_some()
            || conn.pending != 0 // written at the end of this loop iteration
            || conn.phase == Phase::Closed
            || conn.flags.has(Flags::HAS_TRANSPORT) && self.transports.has_unsent(key.slot())
        {
            return Flushed::Nothing;
        }
        if conn.phase == Phase::Http {
            conn.flags.clear(Flags::FLUSH_AWAITED);
            return Flushed::ReadOn;
        }
        if conn.flags.has(Flags::HAS_TRANSPORT) && !conn.flags.has(Flags::FIN_SENT) {
            self.send_close_notify(key);
        }
        let Some(conn) = self.table.get_mut(key) else {
            return Flushed::Nothing;
        };
        if conn.flags.has(Flags::PEER_FIN) {
            return Flushed::Close;
        }
        if !conn.flags.has(Flags::FIN_SENT) {
            conn.flags.set(Flags::FIN_SENT);
            self.driver_ops.shutdown_write(key);
        }
        Flushed::Nothing
    }

    /// Whether what is sent to the connection in `slot` passes through stages of its own, on its way
    /// to the driver.
    #[inline(always)] // a call for each message
    pub(super) fn is_staged(&self, slot: u32, framing: Framing) -> bool {
        (!self.contexts.is_empty() && framing.is_late())
            || (!self.transports.is_empty() && self.transports.has(slot))
    }

    /// Bytes that connections were ever given to hold: output handed to them, input kept.
    pub(crate) fn queued_bytes_total(&self) -> u64 {
        self.output_bytes_total + self.inputs.kept_bytes_total()
    }

    /// What connections hold by accounting: a message counts once for each that it waits for.
    pub(crate) fn accounted_bytes(&self) -> u64 {
        self.outboxes.held().cost + self.inputs.bytes()
    }

    /// Unfinished input, to look at.
    pub(crate) fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// What plain HTTP keeps, to look at.
    pub(crate) fn exchanges(&self) -> &Exchanges {
        &self.exchanges
    }

    /// What connections are known as.
    pub(crate) fn identities(&self) -> &Identities {
        &self.identities
    }

    /// The same, for what has expired.
    pub(crate) fn identities_mut(&mut self) -> &mut Identities {
        &mut self.identities
    }

    /// A connection is known as this from now on, if its user has not too many; else it is anonymous.
    pub(crate) fn identify(&mut self, key: ConnKey, identity: Identity) -> Result<(), TooMany> {
        let conn = self.table.get(key);
        if conn.is_none_or(|conn| conn.phase >= Phase::Lingering) {
            return Ok(());
        }
        let outcome = self.identities.try_insert(key.slot(), identity);
        if outcome.is_err() {
            self.counters.connections_per_user_refused_total.inc();
        }
        outcome
    }

    /// Users' connections are counted from now on. To be called before there is any.
    pub(crate) fn count_users(&mut self, users: Option<Arc<UserCounts>>) {
        self.identities = Identities::new(users);
    }

    /// What a connection is known as ends at another tick, or with it. False if it is anonymous, or ends.
    pub(crate) fn set_expiry(&mut self, key: ConnKey, ends: Option<NonZeroU32>) -> bool {
        let conn = self.table.get(key);
        conn.is_some_and(|conn| conn.phase <= Phase::Open)
            && self.identities.set_expiry(key.slot(), ends)
    }

    /// A response stream is over; what was kept of it.
    pub(crate) fn end_stream(&mut self, key: ConnKey) -> Option<Stream> {
        self.table.get(key)?;
        self.exchanges.end_stream(key.slot())
    }

    /// Blocked output, to look at.
    pub(crate) fn outboxes(&self) -> &Outboxes {
        &self.outboxes
    }

    /// Bytes of the table.
    pub(crate) fn table_bytes(&self) -> usize {
        self.table.memory_bytes()
    }

    /// Cuts tables down to what was needed since the last call; returns the bytes.
    pub(crate) fn shrink(&mut self) -> usize {
        self.table.shrink()
            + self.output.shrink()
            + self.codec.shrink()
            + self.inputs.shrink()
            + self.outboxes.shrink()
            + self.exchanges.shrink()
            + self.identities.shrink()
            + self.transports.shrink()
    }

    /// Drops memory that is only kept for the next loop iteration; returns the bytes.
    pub(crate) fn shrink_scratch(&mut self) -> usize {
        self.driver_ops.shrink()
    }

    /// In debug builds: what is counted is what is there.
    pub(crate) fn check_invariants(&self) {
        self.outboxes.check_invariants();
        self.inputs.check_invariants();
        self.contexts.check_invariants();
    }
}
