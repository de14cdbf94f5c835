//! What goes in and out of connections: messages framed and queued, input kept until it is whole.

use std::net::SocketAddr;
use std::sync::Arc;

use roost_dialect::Replies;
use roost_dialect::dialect::Message;
use roost_net::{Chunk, ConnKey};
use roost_tls::{ClientName, HandshakeFault, SharedSetup};
use roost_wire::deflate::{Agreement, Inflater, Takeover};
use roost_wire::frame::append_frame;
use roost_wire::{Frozen, Opcode};

use super::conn::{Arrival, Conn, Flags, Index, Phase};
use super::encoding::Codec;
use super::outbox::Outbox;
use super::output::Origin;
use super::partial::{Decoder, Partial, PendingAccept, Pipelined, Unread};
use super::state::Connections;
use super::transport::{Opened, ProxyHeader};
use crate::palette::FrameIndex;

impl Connections {
    /// Sends a connection a message of its own.
    #[inline]
    pub(crate) fn send_message(&mut self, key: ConnKey, message: Message<'_>) {
        let Some(conn) = self.table.get_mut(key) else {
            return;
        };
        let (opcode, payload) = (message.opcode(), message.bytes());
        let (framing, codec) = (conn.framing, &mut self.codec);
        if payload.len() <= COPY_BYTES_MAX {
            self.output.enqueue_owned(key.slot(), conn, |arena| {
                codec.append_message(arena, framing, opcode, payload);
            });
        } else {
            let frame = codec.freeze_for(framing, opcode, payload);
            let frame = self.output.share(&frame, None);
            self.output.enqueue(key.slot(), conn, frame);
        }
    }

    /// Sends what a dialect has written, and empties it.
    #[inline]
    pub(crate) fn send_replies(&mut self, key: ConnKey, replies: &mut Replies) {
        // Behind a close frame or a FIN nothing is said any more: an answer may come late.
        let conn = self.table.get_mut(key);
        let Some(conn) = conn.filter(|conn| conn.phase == Phase::Open) else {
            return replies.clear();
        };
        conn.last_message = self.deadlines.clock.now;
        let (framing, codec, output) = (conn.framing, &mut self.codec, &mut self.output);
        replies.drain(|opcode, payload| {
            output.enqueue_owned(key.slot(), conn, |arena| {
                codec.append_message(arena, framing, opcode, payload);
            });
        });
    }

    /// Frames what a dialect has written for a connection whose output is blocked, and empties it:
    /// it goes behind what waits.
    pub(crate) fn frame_replies(&mut self, key: ConnKey, replies: &mut Replies) -> Vec<u8> {
        let mut framed = Vec::new();
        let Some(conn) = self.table.get(key) else {
            replies.clear();
            return framed;
        };
        let (framing, codec) = (conn.framing, &mut self.codec);
        replies
            .drain(|opcode, payload| codec.append_message(&mut framed, framing, opcode, payload));
        framed
    }

    /// Puts bytes behind what waits for a connection, if something does.
    pub(crate) fn push_to_outbox(&mut self, key: ConnKey, bytes: Vec<u8>) {
        if let Some(conn) = self.table.get(key) {
            let chunk = Chunk::new(bytes.into());
            self.outboxes.edit(conn, |outbox| outbox.push(chunk));
        }
    }

    /// How many messages were dropped for an open connection since this was last asked.
    pub(crate) fn take_dropped(&mut self, key: ConnKey) -> u64 {
        let Some(conn) = self.table.get(key) else {
            return 0;
        };
        let messages = self.outboxes.edit(conn, Outbox::take_dropped).unwrap_or(0);
        match conn.phase {
            Phase::Open => messages,
            _ => 0,
        }
    }

    /// Whether there are connections that have missed something without which a subscription ends.
    pub(crate) fn has_missed(&self) -> bool {
        !self.missed.is_empty()
    }

    /// Takes out one of them, with the channels' numbers.
    pub(crate) fn pop_missed(&mut self) -> Option<(ConnKey, Vec<u64>)> {
        let key = self.missed.pop()?;
        let conn = self.table.get(key);
        let channels = conn.and_then(|conn| self.outboxes.edit(conn, Outbox::take_missed));
        Some((key, channels.unwrap_or_default()))
    }

    /// Takes out what was dropped, by its connection and the channel's number.
    #[inline]
    pub(crate) fn take_lost(&mut self) -> Option<Vec<(ConnKey, u64)>> {
        (!self.lost.is_empty()).then(|| std::mem::take(&mut self.lost))
    }

    /// Whether something waits behind the batch that is with the driver.
    pub(crate) fn has_outbox(&self, key: ConnKey) -> bool {
        self.table
            .get(key)
            .is_some_and(|conn| conn.outbox != Index::NONE)
    }

    /// Drops what waits behind the batch in flight.
    pub(crate) fn drop_outbox(&mut self, slot: u32) {
        if let Some(conn) = self.table.at_mut(slot) {
            self.outboxes.remove(conn);
        }
    }

    /// A connection that was just accepted begins with a PROXY header, a TLS handshake, or one behind the
    /// other.
    pub(crate) fn begin_transport(
        &mut self,
        key: ConnKey,
        header: Option<ProxyHeader>,
        setup: Option<Arc<SharedSetup>>,
    ) {
        if let Some(conn) = self.table.get_mut(key) {
            conn.flags.set(Flags::HAS_TRANSPORT);
            self.transports.begin(key.slot(), header, setup);
        }
    }

    /// Whether the PROXY header of the connection in `slot` has not come whole.
    pub(crate) fn awaits_header(&self, slot: u32) -> bool {
        self.transports.awaits_header(slot)
    }

    /// The PROXY header of a connection has come; returns the address of its socket, if it has one. False
    /// behind it: the connection is plain from here on.
    pub(crate) fn take_header(&mut self, key: ConnKey) -> (Option<SocketAddr>, bool) {
        let (socket, has_tls) = self.transports.take_header(key.slot());
        if !has_tls {
            self.forget_transport(key);
        }
        (socket, has_tls)
    }

    /// A connection counts to this entry of the table of peer addresses.
    pub(crate) fn set_address(&mut self, key: ConnKey, address: Index) {
        if let Some(conn) = self.table.get_mut(key) {
            debug_assert_eq!(conn.arrival.address(), Index::NONE, "counted once");
            conn.arrival = Arrival::new(conn.arrival.listener(), address);
        }
    }

    /// A proxy's connection is one of its clients' from now on, who counts to this entry if it is counted.
    pub(crate) fn set_client(&mut self, key: ConnKey, address: Option<Index>) {
        if let Some(conn) = self.table.get_mut(key) {
            debug_assert!(conn.arrival.awaits_client(), "counted once");
            conn.arrival = conn.arrival.of_client(address.unwrap_or(Index::NONE));
        }
    }

    /// Opens the records at the front of `bytes` from a connection's socket, in place.
    pub(crate) fn open_records(&mut self, slot: u32, bytes: &mut [u8]) -> Opened {
        self.transports.open(slot, bytes)
    }

    /// Whether certificates name some clients that have not asked for a WebSocket.
    #[inline]
    pub(crate) fn has_client_names(&self) -> bool {
        self.transports.has_names()
    }

    /// As whom its certificate names the client in `slot`; once.
    pub(crate) fn take_client_name(&mut self, slot: u32) -> Option<ClientName> {
        self.transports.take_name(slot)
    }

    /// The ClientHello of `key` is whole and waits for its turn; nothing more is read until then.
    pub(crate) fn queue_hello(&mut self, key: ConnKey) {
        self.transports.queue_hello(key);
        self.pause(key);
    }

    /// Whether the ClientHello of a connection waits for its turn, or is not whole.
    pub(crate) fn waits_for_turn(&self, slot: u32) -> bool {
        self.transports.waits_for_turn(slot)
    }

    /// ClientHellos that wait for their turn.
    #[inline]
    pub(crate) fn hellos(&self) -> usize {
        self.transports.hellos()
    }

    /// The connection whose ClientHello has its turn. It may have ended meanwhile.
    pub(crate) fn next_hello(&mut self) -> Option<ConnKey> {
        self.transports.next_hello()
    }

    /// It is the turn of the connection in `slot`.
    pub(crate) fn begin_handshake(&mut self, slot: u32) -> Result<(), HandshakeFault> {
        self.transports.begin_handshake(slot)
    }

    /// Whether nothing can be sent to the connection in `slot`, because its handshake is not over.
    pub(crate) fn is_handshaking(&self, slot: u32) -> bool {
        !self.transports.is_empty() && self.transports.is_handshaking(slot)
    }

    /// A connection turned out to speak no TLS: it is answered in the clear.
    pub(crate) fn forget_transport(&mut self, key: ConnKey) {
        if let Some(conn) = self.table.get_mut(key) {
            conn.flags.clear(Flags::HAS_TRANSPORT);
            self.transports.release(key.slot());
        }
    }

    /// Whether a connection is not read.
    pub(crate) fn is_paused(&self, key: ConnKey) -> bool {
        let conn = self.table.get(key);
        conn.is_some_and(|conn| conn.flags.has(Flags::PAUSED))
    }

    /// Something authentic has come: it is alive.
    pub(crate) fn note_seen(&mut self, key: ConnKey) {
        let now = self.deadlines.clock.now;
        if let Some(conn) = self.table.get_mut(key) {
            conn.last_seen = now;
            if conn.flags.clear(Flags::PING_SENT) {
                self.arm_ping(key.slot());
            }
        }
    }

    /// The slots whose transports have something to send that is no data; give the list back with
    /// [`Connections::return_owing`].
    pub(crate) fn take_owing(&mut self) -> Vec<u32> {
        self.transports.take_owing()
    }

    /// Takes the list back.
    pub(crate) fn return_owing(&mut self, owing: Vec<u32>) {
        self.transports.return_owing(owing);
    }

    /// Whether transports have something to send that is no data.
    #[inline]
    pub(crate) fn has_owing(&self) -> bool {
        self.transports.has_owing()
    }

    /// Writes bytes that are no message: an HTTP response.
    pub(crate) fn send_bytes(&mut self, key: ConnKey, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(conn) = self.table.get_mut(key) {
            self.output.enqueue_owned(key.slot(), conn, write);
        }
    }

    /// Pings a connection.
    pub(crate) fn send_ping(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get_mut(key) else {
            return;
        };
        conn.flags.set(Flags::PING_SENT);
        self.counters.pings_sent_total.inc();
        self.output.enqueue_owned(key.slot(), conn, |arena| {
            append_frame(arena, Opcode::Ping, b"");
        });
        self.deadlines.arm_pong_timeout(conn);
    }

    /// Its dialect has pinged it, unless it has closed it.
    pub(crate) fn note_pinged(&mut self, key: ConnKey) {
        let conn = self.table.get_mut(key);
        if let Some(conn) = conn.filter(|conn| conn.phase == Phase::Open) {
            conn.flags.set(Flags::PING_SENT);
            self.counters.pings_sent_total.inc();
            self.deadlines.arm_pong_timeout(conn);
        }
    }

    /// Sends an event stream's client a comment, so that proxies keep the connection.
    pub(crate) fn send_comment(&mut self, key: ConnKey) {
        if let Some(conn) = self.table.get_mut(key) {
            self.counters.event_stream_comments_total.inc();
            self.output.enqueue_owned(key.slot(), conn, |arena| {
                arena.extend_from_slice(b":\n\n");
            });
        }
    }

    /// Answers a ping.
    pub(crate) fn send_pong(&mut self, key: ConnKey, payload: &[u8]) {
        if let Some(conn) = self.table.get_mut(key) {
            self.output.enqueue_pong(key.slot(), conn, payload);
        }
    }

    /// A frame that several connections get, for [`Connections::deliver`].
    pub(crate) fn share(&mut self, frame: &Frozen, origin: Option<Origin>) -> FrameIndex {
        self.output.share(frame, origin)
    }

    /// The same of a delta, in place of which the whole publication waits where it has to.
    pub(crate) fn share_delta(
        &mut self,
        delta: &Frozen,
        whole: &Frozen,
        origin: Option<Origin>,
    ) -> FrameIndex {
        self.output.share_delta(delta, whole, origin)
    }

    /// Gives a shared frame to the connection in `slot`.
    #[inline]
    pub(crate) fn deliver(&mut self, slot: u32, frame: FrameIndex) {
        let Some(conn) = self.table.at_mut(slot) else {
            debug_assert!(false, "a subscriber is in the table");
            return;
        };
        conn.last_message = self.deadlines.clock.now;
        self.output.enqueue(slot, conn, frame);
    }

    /// Gives the connection in `slot` shared frames, each but to the connection that it excludes.
    /// Returns how many it got.
    #[inline]
    pub(crate) fn deliver_all(
        &mut self,
        slot: u32,
        frames: impl Iterator<Item = (Option<ConnKey>, FrameIndex)>,
    ) -> u64 {
        let Some(conn) = self.table.at_mut(slot) else {
            debug_assert!(false, "a subscriber is in the table");
            return 0;
        };
        let key = ConnKey::new(slot, conn.generation);
        let mut deliveries = 0;
        for (exclude, frame) in frames {
            if exclude != Some(key) {
                self.output.enqueue(slot, conn, frame);
                deliveries += 1;
            }
        }
        if deliveries > 0 {
            conn.last_message = self.deadlines.clock.now;
        }
        deliveries
    }

    /// Whether nothing is pending: there is nothing to flush.
    pub(crate) fn is_flushed(&self) -> bool {
        self.output.is_empty() && !self.transports.has_owing()
    }

    /// Takes the slots that have something to write, in table order; give the list back with
    /// [`Connections::end_flush`].
    pub(crate) fn begin_flush(&mut self) -> Vec<u32> {
        self.output.take_dirty()
    }

    /// How many flushes there were: a frame is good until the next.
    pub(crate) fn flushes(&self) -> u64 {
        self.flushes
    }

    /// All of them are written: what was pending is forgotten.
    pub(crate) fn end_flush(&mut self, dirty: Vec<u32>) {
        self.flushes += 1;
        self.output.clear(dirty);
    }

    /// Whether so much is pending that it should be flushed before more is read.
    pub(crate) fn is_output_full(&self) -> bool {
        self.output.is_full()
    }

    /// Frames what is published, in the encodings that are subscribed to.
    pub(crate) fn codec(&mut self) -> &mut Codec {
        &mut self.codec
    }

    /// Whether permessage-deflate may be agreed to, and which contexts to negotiate for.
    pub(crate) fn wanted_takeover(&self) -> Option<Takeover> {
        self.codec.can_deflate().then(|| self.contexts.wanted())
    }

    /// Reserves the contexts that `wanted` needs for the connection in `slot`; what there is no
    /// memory for is taken out of the agreement.
    pub(crate) fn reserve_contexts(&mut self, slot: u32, wanted: Agreement) -> Agreement {
        let (agreement, refused) = self.contexts.reserve(slot, wanted);
        let refused_total = &self.counters.deflate_contexts_refused_total;
        refused_total.add(refused as u64);
        self.contexts.publish_gauges(&self.counters);
        agreement
    }

    /// Frees the contexts of the connection in `slot`.
    pub(crate) fn release_contexts(&mut self, slot: u32) {
        if !self.contexts.is_empty() {
            self.contexts.release(slot);
            self.contexts.publish_gauges(&self.counters);
        }
    }

    /// Lends out the inflater for a connection's messages; give it back with
    /// [`Connections::return_inflater`].
    pub(crate) fn take_inflater(&mut self, slot: u32, agreement: Agreement) -> LentInflater {
        let mut shared = self
            .codec
            .take_inflater()
            .expect("agreed to where there is one");
        let own = match agreement.client_no_context_takeover() {
            true => None,
            false => self.contexts.take_inflater(slot),
        };
        let own = own.map(|mut own| {
            own.swap_buffer(&mut shared);
            own
        });
        LentInflater { shared, own }
    }

    /// Takes an inflater back.
    pub(crate) fn return_inflater(&mut self, slot: u32, lent: LentInflater) {
        let LentInflater { mut shared, own } = lent;
        if let Some(mut own) = own {
            own.swap_buffer(&mut shared);
            self.contexts.return_inflater(slot, own);
        }
        self.codec.return_inflater(shared);
    }

    /// Keeps unfinished input of the connection in `slot`.
    pub(crate) fn keep_partial(&mut self, slot: u32, partial: Partial) {
        let conn = self.table.at_mut(slot);
        let conn = conn.expect("the caller has just looked it up");
        self.inputs.keep(conn, partial);
    }

    /// Requests that have come too early wait until the answers before them have gone; the client is
    /// not read meanwhile.
    pub(crate) fn keep_pipelined(&mut self, key: ConnKey, pipelined: Pipelined) {
        let is_streaming = self.exchanges.get(key.slot()).stream.is_some();
        let Some(conn) = self.table.get_mut(key) else {
            return;
        };
        if !is_streaming {
            conn.flags.set(Flags::FLUSH_AWAITED);
        }
        let pipelined = Partial::Pipelined(Box::new(pipelined));
        self.inputs.keep(conn, pipelined);
        self.pause(key);
    }

    /// Whether a connection's next request has to wait: a stream is under way, or so much waits to be
    /// sent that its client is to take some first.
    pub(crate) fn has_answer_waiting(&self, key: ConnKey) -> bool {
        self.table.get(key).is_some_and(|conn| {
            conn.outbox != Index::NONE
                || self.output.palette.bytes(conn.pending) >= ANSWER_BYTES_MAX
                || self.exchanges.get(key.slot()).stream.is_some()
        })
    }

    /// Takes it out, if there is some.
    pub(crate) fn take_partial(&mut self, slot: u32) -> Option<Partial> {
        self.inputs.take(self.table.at_mut(slot)?)
    }

    /// Takes out the handshake of a connection that waits for its channel's home.
    pub(crate) fn take_pending_accept(&mut self, key: ConnKey) -> Box<PendingAccept> {
        let Some(Partial::PendingAccept(pending)) = self.take_partial(key.slot()) else {
            unreachable!("a joining connection keeps its handshake");
        };
        pending
    }

    /// Keeps what a decoder holds, and bytes behind that which it shall not see yet.
    pub(crate) fn keep_input(&mut self, key: ConnKey, decoder: Decoder, rest: &[u8]) {
        let partial = match decoder {
            decoder if !rest.is_empty() => {
                self.cost_probe.work(key.slot(), rest.len() as u64);
                Partial::Unread(Box::new(Unread::new(decoder, rest)))
            }
            Decoder::Frames(inbound) => Partial::Frames(Box::new(inbound)),
            Decoder::EarlyFrames(inbound) => Partial::EarlyFrames(Box::new(inbound)),
        };
        self.keep_partial(key.slot(), partial);
    }

    /// Keeps what is no whole command of the dialect's yet. False if it is too long.
    pub(crate) fn keep_rest(&mut self, key: ConnKey, rest: Vec<u8>) -> bool {
        if rest.len() > self.settings.limits.message_bytes_max {
            return false;
        }
        let conn = self.table.get_mut(key);
        if let Some(conn) = conn.filter(|conn| conn.phase == Phase::Open) {
            self.inputs.keep_rest(key.slot(), conn, rest);
        }
        true
    }

    /// Takes that out, if there is some.
    pub(crate) fn take_rest(&mut self, slot: u32) -> Option<Vec<u8>> {
        self.inputs.take_rest(slot, self.table.at_mut(slot)?)
    }

    /// Keeps a record that is not whole.
    pub(crate) fn keep_record(&mut self, key: ConnKey, record: Vec<u8>) {
        if let Some(conn) = self.table.get_mut(key) {
            self.inputs.keep_record(key.slot(), conn, record);
        }
    }

    /// Takes it out, if there is one.
    pub(crate) fn take_record(&mut self, slot: u32) -> Option<Vec<u8>> {
        self.inputs.take_record(slot, self.table.at_mut(slot)?)
    }

    pub(super) fn drop_input(&mut self, slot: u32) {
        drop(self.take_record(slot));
        drop(self.take_partial(slot));
        drop(self.take_rest(slot));
    }

    /// The work that a connection's input makes is counted, in tests.
    #[inline]
    pub(crate) fn work(&mut self, slot: u32, steps: u64) {
        self.cost_probe.work(slot, steps);
    }

    /// The connection is closed because all together hold too much: what it holds is counted, in tests.
    pub(crate) fn note_closed_holding(&mut self, key: ConnKey, bytes: u64) {
        self.cost_probe.close_holding(key.slot(), bytes);
    }

    /// Bytes have come, and are looked at.
    #[inline]
    pub(crate) fn note_received(&mut self, slot: u32, bytes: usize) {
        self.cost_probe.receive(slot, bytes);
    }

    /// Input has been handled, as far as it goes.
    #[inline]
    pub(crate) fn note_handled(&mut self, key: ConnKey) {
        if cfg!(debug_assertions) && !self.table.get(key).is_some_and(Conn::has_kept_input) {
            self.cost_probe.finish(key.slot());
        }
    }
}

/// An inflater that is out while messages are borrowed from it: the one that all share, and the
/// connection's own if it has one.
pub(crate) struct LentInflater {
    shared: Box<Inflater>,
    own: Option<Box<Inflater>>,
}

impl LentInflater {
    pub(crate) fn get_mut(&mut self) -> &mut Inflater {
        self.own.as_deref_mut().unwrap_or(&mut self.shared)
    }
}

/// Longer messages are sent back from memory of their own, which the driver can hold by reference: a
/// copy less where it must hold on to them.
const COPY_BYTES_MAX: usize = 4 << 10;

/// So many bytes of answers may be pending for a connection before its next request has to wait: what
/// waits for a connection in answer to itself is at most 2 KiB and twice what it has sent, and an
/// answer that is short has a few hundred.
const ANSWER_BYTES_MAX: u64 = 512;
