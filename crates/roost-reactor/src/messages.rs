//! Messages of an open WebSocket, out of bytes and to the dialect.

use roost_dialect::dialect::Message as DataMessage;
use roost_net::ConnKey;
use roost_wire::deflate::Inflater;
use roost_wire::frame::{append_close, append_frame};
use roost_wire::{CloseCode, Inbound, Input, Message, Opcode, ProtocolError, Role, hixie};
use tracing::debug;

use crate::conn::{Flags, Index, Phase};
use crate::core::Core;
use crate::encoding::Framing;
use crate::inputs::Partial;
use crate::paused::{Decoder, Unread};

impl Core {
    /// Bytes of an open connection, or of one that awaits the peer's close frame.
    pub(crate) fn handle_frame_bytes(&mut self, key: ConnKey, bytes: &mut [u8]) {
        let Some(conn) = self.table.get(key).filter(|conn| conn.reads_frames()) else {
            return;
        };
        if bytes.is_empty() {
            return;
        }
        if conn.partial == Index::NONE && !conn.flags.has(Flags::PAUSED) {
            return self.handle_fresh_frames(key, conn.framing, bytes);
        }
        let (framing, is_paused) = (conn.framing, conn.flags.has(Flags::PAUSED));
        let decoder = match self.take_partial(key.slot()) {
            Some(Partial::Unread(mut unread)) => {
                unread.append(bytes);
                self.cost_probe.work(key.slot(), bytes.len() as u64);
                return self.keep_partial(key.slot(), Partial::Unread(unread));
            }
            Some(Partial::Frames(inbound)) => Decoder::Frames(*inbound),
            Some(Partial::EarlyFrames(inbound)) => Decoder::EarlyFrames(*inbound),
            Some(Partial::Head(_) | Partial::Challenge(_) | Partial::PendingAccept(_)) | None => {
                Decoder::new(framing)
            }
        };
        if is_paused {
            // They were on their way when the driver was told to pause.
            self.keep_input(key, decoder, bytes);
        } else if let Some((decoder, rest)) = self.decode(key, decoder, bytes) {
            self.keep_input(key, decoder, &bytes[bytes.len() - rest..]);
        }
    }

    /// The usual case: nothing was half received, and the decoder lives on the stack.
    fn handle_fresh_frames(&mut self, key: ConnKey, framing: Framing, bytes: &mut [u8]) {
        if framing == Framing::Early {
            let decoder = Decoder::new(framing);
            if let Some((decoder, rest)) = self.decode(key, decoder, bytes) {
                self.keep_input(key, decoder, &bytes[bytes.len() - rest..]);
            }
            return;
        }
        let mut inbound = Inbound::new(Role::Server);
        let rest = self.handle_messages(key, framing, &mut inbound, bytes);
        if (rest > 0 || !inbound.is_quiet()) && self.still_reads(key) {
            let rest = &bytes[bytes.len() - rest..];
            self.keep_input(key, Decoder::Frames(inbound), rest);
        }
    }

    /// Handles bytes until they are used up or the connection is paused. Returns the decoder and
    /// how many bytes are left, unless there is nothing to keep.
    pub(crate) fn decode(
        &mut self,
        key: ConnKey,
        mut decoder: Decoder,
        bytes: &mut [u8],
    ) -> Option<(Decoder, usize)> {
        let framing = self.table.get(key)?.framing;
        let (rest, is_quiet) = match &mut decoder {
            Decoder::Frames(inbound) => {
                let rest = self.handle_messages(key, framing, inbound, bytes);
                (rest, inbound.is_quiet())
            }
            Decoder::EarlyFrames(inbound) => {
                let rest = self.handle_early(key, inbound, bytes);
                (rest, inbound.is_quiet())
            }
        };
        let keeps = (rest > 0 || !is_quiet) && self.still_reads(key);
        keeps.then_some((decoder, rest))
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

    fn still_reads(&self, key: ConnKey) -> bool {
        self.table.get(key).is_some_and(|conn| conn.reads_frames())
    }

    /// Whether the next message is handled now.
    fn reads_on(&self, key: ConnKey) -> bool {
        let conn = self.table.get(key);
        conn.is_some_and(|conn| conn.reads_frames() && !conn.flags.has(Flags::PAUSED))
    }

    /// Handles bytes until they are used up, or the connection is paused or over. Returns how many
    /// are left.
    fn handle_messages(
        &mut self,
        key: ConnKey,
        framing: Framing,
        inbound: &mut Inbound,
        bytes: &mut [u8],
    ) -> usize {
        let steps = inbound.steps();
        let Framing::Deflate(agreement) = framing else {
            let limits = self.wire_limits;
            let mut input = Input::new(bytes);
            while self.handle_next(key, inbound.next(&mut input, &limits)) {}
            self.cost_probe.work(key.slot(), inbound.steps() - steps);
            return input.len();
        };
        // The inflater is out while a message is borrowed from it; nothing handled meanwhile
        // inflates.
        let mut inflater = self
            .codec
            .take_inflater()
            .expect("agreed to where there is one");
        let own = match agreement.client_no_context_takeover() {
            true => None,
            false => self.contexts.take_inflater(key.slot()),
        };
        let rest = match own {
            None => self.handle_deflated(key, inbound, bytes, &mut inflater),
            Some(mut own) => {
                own.swap_buffer(&mut inflater);
                let rest = self.handle_deflated(key, inbound, bytes, &mut own);
                own.swap_buffer(&mut inflater);
                self.contexts.return_inflater(key.slot(), own);
                rest
            }
        };
        self.codec.return_inflater(inflater);
        self.cost_probe.work(key.slot(), inbound.steps() - steps);
        rest
    }

    fn handle_deflated(
        &mut self,
        key: ConnKey,
        inbound: &mut Inbound,
        bytes: &mut [u8],
        inflater: &mut Inflater,
    ) -> usize {
        let limits = self.wire_limits;
        let mut input = Input::new(bytes);
        while self.handle_next(key, inbound.next_inflating(&mut input, &limits, inflater)) {}
        input.len()
    }

    /// The same for bytes in an early framing.
    fn handle_early(
        &mut self,
        key: ConnKey,
        inbound: &mut hixie::Inbound,
        bytes: &mut [u8],
    ) -> usize {
        let limits = self.wire_limits;
        let steps = inbound.steps();
        let mut input = Input::new(bytes);
        while self.handle_next(key, inbound.next(&mut input, &limits)) {}
        self.cost_probe.work(key.slot(), inbound.steps() - steps);
        input.len()
    }

    /// Handles what a decoder says next; false when there is no more to ask it.
    fn handle_next(
        &mut self,
        key: ConnKey,
        next: Result<Option<Message<'_>>, ProtocolError>,
    ) -> bool {
        match next {
            Ok(Some(message)) => {
                let bytes = payload_bytes(&message);
                self.turn_bytes += MESSAGE_BYTES + bytes;
                self.cost_probe.work(key.slot(), 1 + bytes);
                self.handle_message(key, message);
                self.apply_hub_outputs();
                self.reads_on(key)
            }
            Ok(None) => false,
            Err(error) => {
                debug!(connection = %self.id(key), error = error.name(), "protocol error");
                self.counters.protocol_errors_total.inc();
                self.fail(key, error.close_code(), error.reason());
                false
            }
        }
    }

    fn handle_message(&mut self, key: ConnKey, message: Message<'_>) {
        let Some(conn) = self.table.get_mut(key) else {
            return;
        };
        let open = conn.phase == Phase::Open;
        match message {
            Message::Text(_) | Message::Binary(_) if !open => {} // we have said goodbye already
            Message::Text(text) => {
                conn.last_message = self.now;
                self.counters.text_messages_received_total.inc();
                self.handle_data(key, DataMessage::Text(text));
            }
            Message::Binary(bytes) => {
                conn.last_message = self.now;
                self.counters.binary_messages_received_total.inc();
                self.handle_data(key, DataMessage::Binary(bytes));
            }
            Message::Ping(payload) => {
                self.counters.pings_received_total.inc();
                // RFC 6455 §5.5.2: answered until a close frame was received, also after ours.
                self.turn_output.enqueue_pong(key.slot(), conn, payload);
            }
            Message::Pong(_) => self.counters.pongs_received_total.inc(),
            Message::Close(code, reason) => self.handle_close(key, code, reason),
        }
    }

    /// The peer's close frame.
    fn handle_close(&mut self, key: ConnKey, code: Option<CloseCode>, reason: &str) {
        debug!(
            connection = %self.id(key),
            code = code.map(CloseCode::get),
            reason,
            "close received"
        );
        let Some(conn) = self.table.get_mut(key) else {
            return;
        };
        conn.flags.set(Flags::PEER_CLOSED);
        if conn.phase == Phase::Open {
            // RFC 6455 §5.5.1: answer with a close frame, typically echoing the status code.
            // Browsers' own tests (WPT) want the reason back as well.
            let framing = conn.framing;
            self.turn_output
                .enqueue_owned(key.slot(), conn, |arena| match code {
                    _ if framing == Framing::Early => {
                        arena.extend_from_slice(hixie::close().as_bytes());
                    }
                    Some(code) => append_close(arena, code, reason),
                    None => append_frame(arena, Opcode::Close, b""),
                });
        }
        self.linger(key);
    }
}

/// The length of what a message says.
fn payload_bytes(message: &Message<'_>) -> u64 {
    let payload = match message {
        Message::Text(text) | Message::Close(_, text) => text.as_bytes(),
        Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes,
    };
    payload.len() as u64
}

/// What a message counts in a turn beside its payload: many that say nothing are work as well, and
/// each that is published is a record and an allocation.
const MESSAGE_BYTES: u64 = 64;
