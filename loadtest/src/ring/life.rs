//! A connection's life: opening, frames in, closing, and coming again.

use std::io;
use std::net::SocketAddr;

use roost_net::{CloseCause, CloseMode, ConnKey};
use roost_wire::frame::append_masked_frame;
use roost_wire::handshake::parse_response;
use roost_wire::{Inbound, Input, Limits, Message, Opcode, Role as Side};

use crate::dialect::{self, Dialect, Received, Say, Session};
use crate::pace::Schedule;
use crate::plan::Loss;

use super::chunks::Chunks;
use super::conn::{
    DROPPED, EXPECTED, FIN_OWED, REOPEN, RESUMING, RETURNING, Rare, SAID_GOODBYE, STREAM, State,
    WRITING,
};
use super::positions::Place;
use super::{Core, DriverOp, Share, recovery, request, streams};

impl Core {
    // Opening.

    pub(super) fn open_upto(&mut self, upto: u32, rate: Option<f64>) {
        if self.gauges().live.get() == 0 {
            // All were closed: from the beginning again.
            self.open_next = 0;
            self.closing_in_flight = 0;
        }
        self.open_upto = upto.min(self.conns.len() as u32);
        self.open_schedule = rate.map(|rate| Schedule::share(self.now, rate, 0, 1));
        self.tell_unfinished();
    }

    pub(super) fn may_open(&self) -> bool {
        let returns = !self.reopen.is_empty() && !self.recovery.is_leaving;
        (self.open_next < self.open_upto || returns)
            && self.gauges().opening.get() < u64::from(self.in_flight_max)
    }

    /// The next slot to open, if one may open now.
    pub(super) fn next_to_open(&mut self) -> Option<u32> {
        if !self.may_open() {
            return None;
        }
        if let Some(schedule) = &mut self.open_schedule {
            // A late opening is not made up for: connections come at most at the rate.
            schedule.take_due(self.now)?;
        }
        if !self.recovery.is_leaving
            && let Some(slot) = self.reopen.pop_front()
        {
            self.returning -= 1;
            return Some(slot);
        }
        let slot = self.open_next;
        self.open_next += 1;
        Some(slot)
    }

    /// The slot is about to connect.
    pub(super) fn begin(&mut self, slot: u32) -> ConnKey {
        let conn = &mut self.conns[slot as usize];
        conn.generation = conn.generation.wrapping_add(1);
        conn.state = State::Connecting;
        conn.flags &= RETURNING | DROPPED | RESUMING;
        conn.stage = 0;
        let key = conn.key(slot);
        let rare = Rare {
            since_ns: roost_net::clock::now_ns(),
            ..Rare::default()
        };
        self.rare.insert(slot, rare);
        recovery::begin(self, slot);
        self.gauges().begun.add(1);
        self.gauges().opening.add(1);
        self.gauges().live.add(1);
        self.tell_unfinished();
        key
    }

    /// Destinations are taken in turn, over all rings.
    pub(super) fn address_of(&self, slot: u32) -> SocketAddr {
        let addresses = &self.plan.target.addresses;
        let number = slot as usize * self.shared.gauges.len() + self.id;
        addresses[number % addresses.len()]
    }

    pub(super) fn handle_no_start(&mut self, slot: u32, error: &io::Error) {
        self.fail(slot, format!("connect: {error}"));
        self.free(slot);
    }

    pub(super) fn on_connected(&mut self, slot: u32) {
        if self.conns[slot as usize].state != State::Connecting {
            return;
        }
        if self.plan.settings.bare {
            self.hold(slot);
            return;
        }
        if let Some(tls) = &mut self.tls {
            let conn = &mut self.conns[slot as usize];
            conn.state = State::TlsHandshaking;
            return tls.begin(conn.key(slot));
        }
        self.send_request(slot);
    }

    /// Asks for a WebSocket, or an event stream.
    pub(super) fn send_request(&mut self, slot: u32) {
        self.conns[slot as usize].state = State::Handshaking;
        if self.dialect_of(slot).is_event_stream() {
            return streams::send_request(self, slot);
        }
        request::send(self, slot);
    }

    /// The response, and what follows it.
    fn on_response(&mut self, slot: u32, lease: &mut [u8]) {
        let rare = self.rare.entry(slot).or_default();
        if !rare.head.is_empty() {
            let mut head = std::mem::take(&mut rare.head);
            head.extend_from_slice(lease);
            let whole = rare.scanner.scan(&head);
            return self.on_head(slot, &mut head, whole);
        }
        let whole = rare.scanner.scan(lease);
        self.on_head(slot, lease, whole);
    }

    fn on_head(&mut self, slot: u32, bytes: &mut [u8], whole: Option<usize>) {
        let Some(head_len) = whole else {
            if bytes.len() > RESPONSE_BYTES_MAX {
                return self.give_up(slot, "response head too long".to_owned());
            }
            self.rare.entry(slot).or_default().head = bytes.to_vec();
            return;
        };
        let (head, rest) = bytes.split_at_mut(head_len);
        if self.conns[slot as usize].has(STREAM) {
            return streams::handle_head(self, slot, head, rest);
        }
        let dialect = self.dialect_of(slot);
        let offered = dialect.protocols();
        match parse_response(head, &request::handshake_key(self, slot), offered) {
            Ok(response) if response.protocol.is_none() && !offered.is_empty() => {
                self.give_up(slot, format!("no subprotocol {}", offered.join(", ")));
            }
            Ok(_) => {
                self.open_dialect(slot);
                if !rest.is_empty() {
                    self.on_frames(slot, rest);
                }
            }
            Err(error) => self.give_up(slot, error.to_string()),
        }
    }

    /// The handshake is answered.
    pub(super) fn open_dialect(&mut self, slot: u32) {
        self.conns[slot as usize].state = State::Opening;
        let start = self.scratch.len();
        let ready = self.with_session(slot, |dialect, session| dialect.open(session));
        self.queue_send(slot, start);
        if ready {
            self.hold(slot);
        }
    }

    /// Calls the dialect about a connection.
    fn with_session<T>(
        &mut self,
        slot: u32,
        call: impl FnOnce(&dyn Dialect, &mut Session<'_>) -> T,
    ) -> T {
        let share = self.share_of(slot);
        let place = self.place_of(slot);
        let plan = &*self.plan;
        let group = &plan.groups[share.group];
        let member = share.member + (slot - share.slot);
        let channels = |index: usize| {
            let topic = &plan.topics[*group.subscribe.get(index)?];
            Some(topic.channel_name(member % topic.channels))
        };
        let (positions, recovered) = self.recovery.positions_mut(place);
        let mut session = Session {
            stage: &mut self.conns[slot as usize].stage,
            channels: &channels,
            positions,
            recovered,
            say: Say {
                out: &mut self.scratch,
                random: &mut self.random,
            },
        };
        call(group.dialect, &mut session)
    }

    /// The connection is open and subscribed.
    fn hold(&mut self, slot: u32) {
        let conn = &mut self.conns[slot as usize];
        conn.state = State::Held;
        let returning = conn.has(RETURNING);
        conn.flags &= !RETURNING;
        self.gauges().opening.sub(1);
        self.gauges().held.add(1);
        if let Some(rare) = self.rare.get(&slot) {
            self.results
                .connect
                .record(self.now.saturating_sub(rare.since_ns));
        }
        if returning {
            self.results
                .recover
                .record(self.now.saturating_sub(self.dropped_at));
        }
        if self.conns[slot as usize].has(WRITING) {
            return self.begin_work(slot);
        }
        self.rare.remove(&slot);
        self.begin_work(slot);
    }

    // Frames.

    pub(super) fn on_bytes(&mut self, slot: u32, lease: &mut [u8]) {
        match self.conns[slot as usize].state {
            State::Handshaking => self.on_response(slot, lease),
            _ if self.conns[slot as usize].has(STREAM) => streams::handle_body(self, slot, lease),
            State::Opening | State::Held | State::Closing => self.on_frames(slot, lease),
            State::Free | State::Connecting | State::TlsHandshaking => {}
        }
    }

    fn on_frames(&mut self, slot: u32, lease: &mut [u8]) {
        if self.plan.settings.bare {
            return;
        }
        let stored = self
            .rare
            .get_mut(&slot)
            .and_then(|rare| rare.inbound.take());
        let mut inbound = stored.unwrap_or(const { Inbound::new(Side::Client) });
        let mut input = Input::new(lease);
        loop {
            match inbound.next(&mut input, &LIMITS) {
                Ok(Some(message)) => {
                    if !self.on_message(slot, message) {
                        return;
                    }
                }
                Ok(None) => break,
                Err(error) => return self.give_up(slot, format!("protocol error: {error:?}")),
            }
        }
        if !inbound.is_quiet() {
            self.rare.entry(slot).or_default().inbound = Some(inbound);
        }
    }

    /// False when nothing of the connection matters any more.
    fn on_message(&mut self, slot: u32, message: Message<'_>) -> bool {
        match message {
            Message::Ping(payload) => {
                self.gauges().pings.add(1);
                self.say_control(slot, Opcode::Pong, payload);
                true
            }
            Message::Pong(_) => true,
            Message::Close(code, reason) => {
                self.on_goodbye(slot, code.map(roost_wire::CloseCode::get), reason);
                false
            }
            Message::Text(text) if self.dialect_of(slot).has_lines() => text
                .split('\n')
                .all(|line| self.on_data(slot, Message::Text(line))),
            Message::Text(_) => self.on_data(slot, message),
            Message::Binary(bytes) => self.on_binary(slot, bytes),
        }
    }

    pub(super) fn on_binary(&mut self, slot: u32, bytes: &[u8]) -> bool {
        if bytes.is_empty() {
            return self.on_data(slot, Message::Binary(bytes));
        }
        let dialect = self.dialect_of(slot);
        let rare = self.rare.get_mut(&slot);
        let mut piece = rare.map_or_else(Vec::new, |rare| std::mem::take(&mut rare.piece));
        let received = dialect::each_message(dialect, &mut piece, bytes, |message| {
            self.on_data(slot, Message::Binary(message))
        });
        if !piece.is_empty() {
            self.rare.entry(slot).or_default().piece = piece;
        }
        received.unwrap_or_else(|why| {
            self.give_up(slot, why);
            false
        })
    }

    fn on_data(&mut self, slot: u32, message: Message<'_>) -> bool {
        let mut decoded = std::mem::take(&mut self.decoded);
        let start = self.scratch.len();
        let received = self.with_session(slot, |dialect, session| {
            dialect.handle(session, message, &mut decoded)
        });
        self.queue_send(slot, start);
        let said = recovery::take_said(self, slot);
        let alive = match received {
            Received::Payload(payload) => {
                self.on_payload(slot, payload);
                true
            }
            Received::Progress => true,
            Received::Ping => {
                self.gauges().pings.add(1);
                true
            }
            Received::Acknowledged => {
                self.on_acknowledged(slot);
                true
            }
            Received::Ready => {
                if self.conns[slot as usize].state == State::Opening {
                    self.hold(slot);
                }
                true
            }
            Received::Refused(why) => {
                self.give_up(slot, format!("refused: {why}"));
                false
            }
        };
        self.decoded = decoded;
        if let Some(mut said) = said {
            for payload in said.payloads() {
                self.on_payload(slot, payload);
            }
            said.clear();
            self.recovery.said = said;
        }
        alive
    }

    fn say_control(&mut self, slot: u32, opcode: Opcode, payload: &[u8]) {
        let start = self.scratch.len();
        let mask = (self.random.draw() as u32).to_le_bytes();
        append_masked_frame(&mut self.scratch, opcode, payload, mask);
        self.queue_send(slot, start);
    }

    /// The batch in flight is out: what waited goes next.
    pub(super) fn on_sent(&mut self, slot: u32) {
        let conn = &mut self.conns[slot as usize];
        let (state, owes_fin) = (conn.state, conn.has(FIN_OWED));
        conn.flags &= !(WRITING | FIN_OWED);
        let mut is_owing = self.tls.as_mut().is_some_and(|tls| tls.owes_output(slot));
        if let Some(rare) = self.rare.get_mut(&slot) {
            let outbox = std::mem::take(&mut rare.outbox);
            let is_between = rare.inbound.is_none() && rare.piece.is_empty();
            if is_between && rare.chunks == Chunks::default() && state == State::Held {
                self.rare.remove(&slot);
            }
            if !outbox.is_empty() {
                let start = self.scratch.len();
                self.scratch.extend_from_slice(&outbox);
                self.queue_send(slot, start);
                is_owing = false; // it goes before that
            }
        }
        if is_owing {
            self.queue_flush(slot);
        }
        if owes_fin {
            self.driver_ops.push(DriverOp::Fin(slot));
        }
    }

    // Ends.

    /// Ends a connection because of what the server did or did not do.
    pub(super) fn give_up(&mut self, slot: u32, why: String) {
        self.note_end(slot, why);
        self.conns[slot as usize].state = State::Closing;
        self.conns[slot as usize].flags |= EXPECTED;
        self.driver_ops
            .push(DriverOp::Close(slot, CloseMode::Abort));
    }

    /// A connection that was not asked to end ends: it has failed, or is lost.
    pub(super) fn note_end(&mut self, slot: u32, why: String) {
        match self.conns[slot as usize].state {
            State::Connecting | State::TlsHandshaking | State::Handshaking | State::Opening => {
                self.fail(slot, why)
            }
            State::Held => {
                self.gauges().held.sub(1);
                self.gauges().lost.add(1);
                *self.results.losses.entry(why).or_default() += 1;
                self.end_work(slot);
            }
            State::Closing => {
                if !self.conns[slot as usize].has(EXPECTED | SAID_GOODBYE) {
                    let why = format!("closing: {why}");
                    *self.results.losses.entry(why).or_default() += 1;
                }
            }
            State::Free => {}
        }
    }

    fn fail(&mut self, slot: u32, why: String) {
        debug_assert!(self.conns[slot as usize].is_opening());
        self.gauges().opening.sub(1);
        self.gauges().failed.add(1);
        *self.results.failures.entry(why).or_default() += 1;
    }

    fn on_goodbye(&mut self, slot: u32, code: Option<u16>, reason: &str) {
        let conn = &mut self.conns[slot as usize];
        if conn.state == State::Closing {
            // RFC 6455 §7.1.1: the server closes TCP first; until then its FIN is awaited.
            conn.flags |= SAID_GOODBYE;
            return;
        }
        let code = code.map_or_else(String::new, |code| format!(" {code}"));
        self.note_end(slot, format!("closed by the server{code} {reason}"));
        self.conns[slot as usize].state = State::Closing;
        self.conns[slot as usize].flags |= EXPECTED | SAID_GOODBYE;
        self.rare.entry(slot).or_default().since_ns = self.now;
        self.say_control(slot, Opcode::Close, &[]);
        self.driver_ops.push(DriverOp::Fin(slot));
    }

    pub(super) fn on_read_closed(&mut self, slot: u32) {
        let conn = self.conns[slot as usize];
        match conn.state {
            State::Closing => {
                let graceful = conn.has(SAID_GOODBYE) || self.plan.settings.bare;
                if !graceful && !conn.has(EXPECTED) {
                    self.note_end(slot, "FIN without a close frame".to_owned());
                }
                self.conns[slot as usize].flags |= EXPECTED;
                self.driver_ops
                    .push(DriverOp::Close(slot, CloseMode::Graceful));
            }
            State::Free => {}
            _ => self.give_up(slot, "FIN".to_owned()),
        }
    }

    pub(super) fn on_closed(&mut self, slot: u32, cause: CloseCause) {
        if cause != CloseCause::Requested {
            self.note_end(slot, cause_text(cause));
        }
        let conn = self.conns[slot as usize];
        if conn.state == State::Closing && !conn.has(REOPEN) {
            self.closing_in_flight = self.closing_in_flight.saturating_sub(1);
            if conn.has(SAID_GOODBYE) || self.plan.settings.bare {
                self.results.closed += 1;
            }
        }
        self.free(slot);
        if conn.has(REOPEN) {
            self.conns[slot as usize].flags |= RETURNING | DROPPED | RESUMING;
            self.reopen.push_back(slot);
            self.tell_unfinished();
        }
    }

    fn free(&mut self, slot: u32) {
        self.rare.remove(&slot);
        if let Some(tls) = &mut self.tls {
            tls.release(slot);
        }
        let conn = &mut self.conns[slot as usize];
        conn.state = State::Free;
        conn.flags = 0;
        self.gauges().live.sub(1);
    }

    pub(super) fn tell_unfinished(&self) {
        let waiting = u64::from(self.open_upto - self.open_next.min(self.open_upto));
        let away = match self.recovery.is_leaving {
            true => self.reopen.len() as u64,
            false => 0,
        };
        self.gauges()
            .unfinished
            .set(waiting + self.returning - away);
    }

    /// Drops a share of a group without a word: RST, as when a machine goes away. They come again.
    pub(super) fn drop_some(&mut self, loss: Loss) {
        self.dropped_at = roost_net::clock::now_ns();
        self.some_dropped = true;
        for share in self.shares.clone() {
            if share.group != loss.group {
                continue;
            }
            // Every n-th of those held, evenly over the table.
            let mut due = 0.0;
            for slot in share.slot..share.slot + share.count {
                due += loss.share;
                if due < 1.0 - 1e-9 {
                    continue;
                }
                due -= 1.0;
                if self.conns[slot as usize].state == State::Held {
                    self.gauges().held.sub(1);
                    self.end_work(slot);
                    let conn = &mut self.conns[slot as usize];
                    conn.state = State::Closing;
                    conn.flags |= REOPEN | EXPECTED;
                    self.returning += 1;
                    self.results.dropped += 1;
                    self.driver_ops
                        .push(DriverOp::Close(slot, CloseMode::Abort));
                }
            }
        }
        self.tell_unfinished();
    }

    /// Drops connections, which stay away until [`Core::return_all`].
    pub(super) fn leave(&mut self, loss: Loss) {
        self.recovery.is_leaving = true;
        self.drop_some(loss);
    }

    /// Those that are away come back, all at once.
    pub(super) fn return_all(&mut self) {
        self.recovery.is_leaving = false;
        self.dropped_at = roost_net::clock::now_ns();
        self.some_dropped = true;
        for &slot in &self.reopen {
            self.conns[slot as usize].flags |= DROPPED;
        }
        self.tell_unfinished();
    }

    /// The phase is over: a connection dropped in it counts with all others again.
    pub(super) fn forget_dropped(&mut self) {
        if std::mem::take(&mut self.some_dropped) {
            for conn in &mut self.conns {
                conn.flags &= !DROPPED;
            }
        }
    }

    pub(super) fn close_all(&mut self) {
        self.open_upto = self.open_next;
        self.reopen.clear();
        self.returning = 0;
        self.recovery.is_leaving = false;
        for conn in &mut self.conns {
            conn.flags &= !REOPEN;
        }
        self.close_next = Some(0);
        self.tell_unfinished();
    }

    /// Begins as many closings as may be under way at once.
    pub(super) fn close_next(&mut self) {
        while let Some(slot) = self.close_next {
            if self.closing_in_flight >= self.in_flight_max {
                return;
            }
            if slot as usize >= self.conns.len() {
                self.close_next = None;
                return;
            }
            self.close_next = Some(slot + 1);
            match self.conns[slot as usize].state {
                State::Held => self.begin_close(slot),
                State::Connecting | State::TlsHandshaking | State::Handshaking | State::Opening => {
                    self.closing_in_flight += 1;
                    self.give_up(slot, "still opening at the end".to_owned());
                }
                State::Free | State::Closing => {}
            }
        }
    }

    fn begin_close(&mut self, slot: u32) {
        self.gauges().held.sub(1);
        self.closing_in_flight += 1;
        self.end_work(slot);
        self.conns[slot as usize].state = State::Closing;
        self.rare.entry(slot).or_default().since_ns = self.now;
        if self.plan.settings.bare {
            self.driver_ops
                .push(DriverOp::Close(slot, CloseMode::Abort));
        } else if self.conns[slot as usize].has(STREAM) {
            streams::close(self, slot);
        } else {
            self.say_control(slot, Opcode::Close, &1000u16.to_be_bytes());
        }
    }

    /// Connections that take too long to open or to close. All of them have something rare.
    pub(super) fn check_timeouts(&mut self) {
        let limit = u64::try_from(self.plan.settings.connect_timeout.as_nanos());
        let limit = limit.unwrap_or(u64::MAX);
        let late: Vec<u32> = self
            .rare
            .iter()
            // The server may have answered, or been held up with us, in a pause of ours.
            .filter(|(_, rare)| {
                let since = rare.since_ns.max(self.resumed_at);
                self.input_until.saturating_sub(since) > limit
            })
            .map(|(&slot, _)| slot)
            .collect();
        for slot in late {
            let conn = self.conns[slot as usize];
            if conn.is_opening() {
                let what = match conn.state {
                    State::Connecting => "no answer to connect",
                    State::TlsHandshaking => "no answer to the TLS handshake",
                    State::Handshaking => "no answer to the handshake",
                    _ => "no acknowledgement of the subscription",
                };
                self.give_up(slot, what.to_owned());
            } else if conn.state == State::Closing {
                self.give_up(slot, "no answer to the close frame".to_owned());
                // Once more only after as long a time again.
                self.rare.entry(slot).or_default().since_ns = self.now;
            }
        }
    }

    // Places.

    pub(super) fn share_of(&self, slot: u32) -> Share {
        self.shares[self.conns[slot as usize].share as usize]
    }

    /// Where the positions of a connection are.
    pub(super) fn place_of(&self, slot: u32) -> Place {
        let share = self.conns[slot as usize].share as usize;
        (share, (slot - self.shares[share].slot) as usize)
    }

    pub(super) fn dialect_of(&self, slot: u32) -> &'static dyn Dialect {
        self.plan.groups[self.share_of(slot).group].dialect
    }
}

fn cause_text(cause: CloseCause) -> String {
    match cause {
        CloseCause::Requested => "requested".to_owned(),
        CloseCause::Reset => "reset".to_owned(),
        CloseCause::Error(errno) => io::Error::from_raw_os_error(errno).to_string(),
        CloseCause::ConnectFailed(errno) => {
            format!("connect: {}", io::Error::from_raw_os_error(errno))
        }
    }
}

const RESPONSE_BYTES_MAX: usize = 64 << 10;
const LIMITS: Limits = Limits {
    frame_bytes_max: 64 << 20,
    message_bytes_max: 64 << 20,
};
