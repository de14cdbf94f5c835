//! From accept to the open WebSocket: the request's head, routes, the 101, and refusals.

use roost_dialect::dialect::Accept;
use roost_dialect::{DialectKind, Form};
use roost_hub::Subscriber;
use roost_net::{CloseMode, ConnKey};
use roost_wire::deflate::{Agreement, negotiate};
use roost_wire::handshake::{
    HandshakeError, HeadScanner, OtherProtocol, Request, Upgrade, WebSocketRequest, write_accept,
    write_response,
};
use roost_wire::hixie::{self, CHALLENGE_BYTES, EarlyRequest};
use tracing::debug;

use crate::conn::{Flags, Index, Phase};
use crate::core::Core;
use crate::encoding::Framing;
use crate::inputs::Partial;
use crate::settings::Publish;

/// A head that has not come whole.
pub(crate) struct Head {
    scanner: HeadScanner,
    bytes: Vec<u8>,
}

impl Head {
    pub(crate) fn pinned_bytes(&self) -> usize {
        size_of::<Head>() + self.bytes.capacity()
    }
}

/// A good handshake whose 101 waits until the channel's home knows of the subscription, so that
/// nothing published after the browser's `open` event is missed.
pub(crate) struct PendingAccept {
    /// The 101.
    answer: Vec<u8>,
    dialect: DialectKind,
    framing: Framing,
    /// Bytes that came behind the head. The peer may not send before the 101 (RFC 6455 §4.1), but
    /// what came in the same segment is kept.
    rest: Vec<u8>,
}

impl PendingAccept {
    pub(crate) fn pinned_bytes(&self) -> usize {
        size_of::<PendingAccept>() + self.answer.capacity() + self.rest.capacity()
    }
}

/// A whole head of draft 76 whose eight bytes behind it are not there yet.
pub(crate) struct Challenge {
    bytes: Vec<u8>,
    head_len: usize,
}

impl Challenge {
    pub(crate) fn pinned_bytes(&self) -> usize {
        size_of::<Challenge>() + self.bytes.capacity()
    }
}

/// A correct request for a WebSocket, of any age.
enum UpgradeRequest<'r> {
    Rfc6455(WebSocketRequest<'r>),
    Early(EarlyRequest<'r>, [u8; CHALLENGE_BYTES]),
}

impl<'r> UpgradeRequest<'r> {
    fn origin(&self) -> Option<&str> {
        match self {
            UpgradeRequest::Rfc6455(request) => request.origin(),
            UpgradeRequest::Early(request, _) => Some(request.origin()),
        }
    }

    /// The subprotocols it offers, in order.
    fn subprotocols(&self) -> Vec<&str> {
        match self {
            UpgradeRequest::Rfc6455(request) => request.protocols().collect(),
            UpgradeRequest::Early(request, _) => request.protocols().collect(),
        }
    }

    fn framing(&self, agreement: Option<Agreement>) -> Framing {
        match (self, agreement) {
            (UpgradeRequest::Rfc6455(_), Some(agreement)) => Framing::Deflate(agreement),
            (UpgradeRequest::Rfc6455(_), None) => Framing::Rfc6455,
            (UpgradeRequest::Early(..), _) => Framing::Early,
        }
    }

    /// The 101 that grants it.
    fn answer(&self, protocol: Option<&str>, agreement: Option<Agreement>) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            UpgradeRequest::Rfc6455(request) => {
                let extensions = agreement.map(Agreement::response);
                write_accept(&mut out, request.key(), protocol, extensions.as_deref());
            }
            UpgradeRequest::Early(request, challenge) => {
                request.write_accept(&mut out, false, *challenge, protocol);
            }
        }
        out
    }
}

impl Core {
    /// Bytes of a connection that has not finished its head.
    pub(crate) fn handle_head_bytes(&mut self, key: ConnKey, bytes: &mut [u8]) {
        let (mut scanner, mut stored) = match self.take_partial(key.slot()) {
            Some(Partial::Head(head)) => (head.scanner, head.bytes),
            Some(Partial::Challenge(mut head)) => {
                let copied = append(&mut head.bytes, bytes);
                self.cost_probe.work(key.slot(), copied);
                let (head, rest) = head.bytes.split_at_mut(head.head_len);
                return self.handle_head(key, head, rest);
            }
            Some(
                Partial::PendingAccept(_)
                | Partial::Frames(_)
                | Partial::EarlyFrames(_)
                | Partial::Unread(_),
            )
            | None => Default::default(),
        };
        let steps = scanner.steps();
        if stored.is_empty() {
            if let Some(other) = OtherProtocol::detect(bytes) {
                return self.refuse_other(key, other);
            }
            // The usual case: the whole head in one piece, parsed where it lies.
            let end = scanner.scan(bytes);
            self.cost_probe.work(key.slot(), scanner.steps() - steps);
            match end {
                Some(head_len) => {
                    let (head, rest) = bytes.split_at_mut(head_len);
                    self.handle_head(key, head, rest);
                }
                None => self.keep_head(key, scanner, bytes.to_vec()),
            }
            return;
        }
        let was_long = stored.len() >= OtherProtocol::BYTES_MAX;
        let copied = append(&mut stored, bytes);
        if !was_long && let Some(other) = OtherProtocol::detect(&stored) {
            return self.refuse_other(key, other);
        }
        let end = scanner.scan(&stored);
        let scanned = scanner.steps() - steps;
        self.cost_probe.work(key.slot(), copied + scanned);
        match end {
            Some(head_len) => {
                let (head, rest) = stored.split_at_mut(head_len);
                self.handle_head(key, head, rest);
            }
            None => self.keep_head(key, scanner, stored),
        }
    }

    fn keep_head(&mut self, key: ConnKey, scanner: HeadScanner, bytes: Vec<u8>) {
        if bytes.len() > self.settings.limits.handshake_bytes_max {
            self.refuse_handshake(key, HandshakeError::HeadTooLong);
        } else {
            self.keep_partial(key.slot(), Partial::Head(Head { scanner, bytes }));
        }
    }

    fn handle_head(&mut self, key: ConnKey, head: &[u8], rest: &mut [u8]) {
        self.cost_probe.work(key.slot(), head.len() as u64);
        let limits = &self.settings.limits;
        if head.len() > limits.handshake_bytes_max {
            return self.refuse_handshake(key, HandshakeError::HeadTooLong);
        }
        let request = match Request::parse(head, limits.handshake_headers_max as usize) {
            Ok(request) => request,
            Err(error) => return self.refuse_handshake(key, error),
        };
        if self.settings.early_framings
            && let Some(early) = hixie::detect(&request)
        {
            return match early {
                Ok(early) => self.handle_early_request(key, &request, early, head, rest),
                Err(error) => self.refuse_handshake(key, error),
            };
        }
        match request.upgrade() {
            Upgrade::Plain => self.handle_plain(key, &request),
            Upgrade::Refused(error) => self.refuse_handshake(key, error),
            Upgrade::WebSocket(websocket) => {
                let agreement = match self.codec.can_deflate() {
                    true => negotiate(websocket.extensions(), self.contexts.wanted()),
                    false => None,
                };
                let hello = UpgradeRequest::Rfc6455(websocket);
                self.handle_hello(key, request.path(), &hello, agreement, rest);
            }
        }
    }

    /// A request in one of the drafts before RFC 6455, maybe with its challenge behind it.
    fn handle_early_request(
        &mut self,
        key: ConnKey,
        request: &Request<'_>,
        early: EarlyRequest<'_>,
        head: &[u8],
        rest: &mut [u8],
    ) {
        let Some((challenge, rest)) = rest.split_at_mut_checked(early.challenge_bytes()) else {
            let bytes = [head, rest].concat();
            self.cost_probe.work(key.slot(), bytes.len() as u64);
            let challenge = Challenge {
                bytes,
                head_len: head.len(),
            };
            return self.keep_partial(key.slot(), Partial::Challenge(Box::new(challenge)));
        };
        let challenge = <[u8; CHALLENGE_BYTES]>::try_from(challenge).unwrap_or_default();
        let hello = UpgradeRequest::Early(early, challenge);
        self.handle_hello(key, request.path(), &hello, None, rest);
    }

    /// A request for a WebSocket, correct in itself: is there something here for it?
    fn handle_hello(
        &mut self,
        key: ConnKey,
        path: &str,
        hello: &UpgradeRequest<'_>,
        agreement: Option<Agreement>,
        rest: &mut [u8],
    ) {
        if self.draining {
            return self.refuse(key, 503, "The server is going down; connect again later.");
        }
        if !self.settings.origins.allows(hello.origin()) {
            self.counters.origins_refused_total.inc();
            let origin = hello.origin();
            debug!(connection = %self.id(key), origin, "origin refused");
            return self.refuse(
                key,
                403,
                "Pages of this origin may not connect to this server.",
            );
        }
        let settings = self.settings.clone();
        let subprotocols = hello.subprotocols();
        let offer = settings.offer(path, &subprotocols);
        let accepted = settings.dialects.accept(&offer);
        let agreement = agreement.map(|agreement| match accepted {
            Some((_, Accept::Open { .. })) => self.reserve_contexts(key.slot(), agreement),
            _ => {
                let agreement = agreement.without_client_takeover();
                agreement.without_server_takeover()
            }
        });
        let framing = hello.framing(agreement);
        let Some((dialect, accept)) = accepted else {
            return self.refuse(key, 404, NOT_FOUND);
        };
        self.note_unmatched(key, &accept, &subprotocols);
        match accept {
            Accept::NotMine => self.refuse(key, 404, NOT_FOUND),
            Accept::Refused(reason) => self.refuse(key, 400, &reason),
            Accept::Open {
                subprotocol,
                join: Some((channel, form)),
            } => {
                let joining = PendingAccept {
                    answer: hello.answer(subprotocol, agreement),
                    dialect,
                    framing,
                    rest: rest.to_vec(),
                };
                self.join(key, &channel, form, joining);
            }
            Accept::Open {
                subprotocol,
                join: None,
            } => {
                self.grant(key, &hello.answer(subprotocol, agreement), dialect, framing);
                let session = self.dialects.open(dialect, None);
                if let Some(conn) = self.table.get_mut(key) {
                    conn.session = session;
                }
                self.handle_frame_bytes(key, rest);
            }
            Accept::OpenAndClose(code, reason) => {
                self.grant(key, &hello.answer(None, agreement), dialect, framing);
                self.fail(key, code, reason);
            }
        }
    }

    /// Counts a client that offered subprotocols of which none was selected.
    ///
    /// RFC 6455 §4.2.2: no reason to refuse. A browser fails the connection, and says that it sent
    /// Sec-WebSocket-Protocol and got none: more than it would say of a status.
    fn note_unmatched(&self, key: ConnKey, accept: &Accept<'_>, offered: &[&str]) {
        let is_unmatched = matches!(
            accept,
            Accept::Open {
                subprotocol: None,
                ..
            } | Accept::OpenAndClose(..)
        );
        if let (true, Some(first)) = (is_unmatched, offered.first()) {
            debug!(connection = %self.id(key), first, "no subprotocol offered is served on this path");
            self.counters.subprotocols_unmatched_total.inc();
        }
    }

    /// Subscribes to the channel that the request driver_ops for; the 101 follows when its home knows.
    fn join(&mut self, key: ConnKey, channel: &str, form: Form, joining: PendingAccept) {
        let policy = self.settings.channels.of(channel);
        if !policy.subscribe {
            self.counters.subscriptions_refused_total.inc();
            return self.refuse(key, 403, "This channel may not be subscribed to.");
        }
        let who = Subscriber(key.slot());
        let encoding = joining.framing.encoding(form);
        let channel = match self.hub_subscribe(who, encoding, channel, 0) {
            Ok(channel) => channel,
            Err(error) => {
                self.counters.subscriptions_refused_total.inc();
                debug!(connection = %self.id(key), ?error, "subscription refused");
                return self.refuse(
                    key,
                    503,
                    "There is no room for another channel; try again later.",
                );
            }
        };
        let session = self.dialects.open(joining.dialect, Some(channel));
        let Some(conn) = self.table.get_mut(key) else {
            return;
        };
        conn.phase = Phase::Joining;
        conn.dialect = joining.dialect;
        conn.framing = joining.framing;
        conn.session = session;
        if policy.publish != Publish::Nobody {
            conn.flags.set(Flags::MAY_PUBLISH);
        }
        if policy.receive_own {
            conn.flags.set(Flags::RECEIVES_OWN);
        }
        self.keep_partial(key.slot(), Partial::PendingAccept(Box::new(joining)));
        self.pause(key);
    }

    /// Bytes that were on their way when the driver was told to pause. RFC 6455 §4.1 forbids a
    /// client to send before the 101, so a head's worth of them is plenty.
    pub(crate) fn handle_early_bytes(&mut self, key: ConnKey, bytes: &[u8]) {
        let Some(Partial::PendingAccept(mut joining)) = self.take_partial(key.slot()) else {
            unreachable!("a joining connection keeps its handshake");
        };
        if joining.rest.len() + bytes.len() > self.settings.limits.handshake_bytes_max {
            return self.refuse(
                key,
                400,
                "Too much data came before the handshake was answered; wait for the 101.",
            );
        }
        let copied = append(&mut joining.rest, bytes);
        self.cost_probe.work(key.slot(), copied);
        self.keep_partial(key.slot(), Partial::PendingAccept(joining));
    }

    /// The home knows of the subscription that the 101 waits for: the WebSocket opens.
    pub(crate) fn on_joined(&mut self, key: ConnKey) {
        let Some(Partial::PendingAccept(joining)) = self.take_partial(key.slot()) else {
            unreachable!("a joining connection keeps its handshake");
        };
        self.grant(key, &joining.answer, joining.dialect, joining.framing);
        self.resume(key);
        if !joining.rest.is_empty() {
            self.early_data.push((key, joining.rest));
        }
    }

    /// Sends the 101.
    fn grant(&mut self, key: ConnKey, answer: &[u8], dialect: DialectKind, framing: Framing) {
        self.counters.handshakes_accepted_total.inc();
        self.counters.websockets_open.inc();
        self.end_handshake(key.slot());
        debug!(connection = %self.id(key), dialect = dialect.name(), ?framing, "open");
        let Some(conn) = self.table.get_mut(key) else {
            return;
        };
        conn.phase = Phase::Open;
        conn.dialect = dialect;
        conn.framing = framing;
        conn.flags.set(Flags::WEBSOCKET);
        conn.last_message = self.now;
        self.turn_output
            .enqueue_owned(key.slot(), conn, |arena| arena.extend_from_slice(answer));
        self.arm_ping(key.slot());
    }

    /// The first bytes are another protocol's. Its client gets a line of HTTP all the same: most
    /// show it, or say of it what they say of plain HTTP (Go: "server gave HTTP response to HTTPS
    /// client"; OpenSSL: "wrong version number").
    fn refuse_other(&mut self, key: ConnKey, other: OtherProtocol) {
        debug!(connection = %self.id(key), protocol = other.name(), "another protocol than HTTP");
        match other {
            OtherProtocol::Tls => self.counters.tls_on_plain_total.inc(),
            OtherProtocol::Proxy => self.counters.proxy_header_unexpected_total.inc(),
            OtherProtocol::Http2 | OtherProtocol::Ssh | OtherProtocol::Unknown => {
                self.counters.other_protocol_total.inc();
            }
        }
        let body = format!("{}\n", other.reason());
        self.respond(key, other.status(), TEXT, &[], body.as_bytes(), false);
    }

    pub(crate) fn refuse_handshake(&mut self, key: ConnKey, error: HandshakeError) {
        let reason = format!("{}\n", error.reason());
        debug!(
            connection = %self.id(key),
            status = error.status(),
            reason = error.reason(),
            "handshake refused"
        );
        self.counters.handshakes_refused_total.inc();
        let (status, headers) = (error.status(), error.extra_headers());
        self.respond(key, status, TEXT, headers, reason.as_bytes(), false);
    }

    pub(crate) fn refuse(&mut self, key: ConnKey, status: u16, reason: &str) {
        debug!(connection = %self.id(key), status, reason, "refused");
        self.counters.handshakes_refused_total.inc();
        self.respond(
            key,
            status,
            TEXT,
            &[],
            format!("{reason}\n").as_bytes(),
            false,
        );
    }

    /// Answers with plain HTTP, then ends the connection.
    pub(crate) fn respond(
        &mut self,
        key: ConnKey,
        status: u16,
        content_type: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        head_only: bool,
    ) {
        self.end_handshake(key.slot());
        self.release_contexts(key.slot()); // reserved for the WebSocket that it does not become
        if let Some(conn) = self.table.get_mut(key) {
            self.turn_output.enqueue_owned(key.slot(), conn, |arena| {
                write_response(arena, status, content_type, headers, body);
                if head_only {
                    arena.truncate(arena.len() - body.len());
                }
            });
        }
        self.linger(key);
    }

    /// The handshake is over, one way or another.
    fn end_handshake(&mut self, slot: u32) {
        if let Some(conn) = self.table.at_mut(slot)
            && conn.flags.clear(Flags::HANDSHAKE)
        {
            self.counters.handshakes_in_flight.sub(1);
        }
    }

    /// The head has not come in time.
    pub(crate) fn on_handshake_timeout(&mut self, key: ConnKey) {
        self.counters.handshake_timeouts_total.inc();
        if self
            .table
            .get(key)
            .is_some_and(|conn| conn.partial == Index::NONE)
        {
            // Nothing came at all: nobody waits for an answer.
            self.cut(key, CloseMode::Abort);
        } else {
            self.refuse(
                key,
                408,
                "The request's head did not come whole in the time that this server gives it.",
            );
        }
    }
}

/// Appends; returns how many bytes that copied.
fn append(to: &mut Vec<u8>, bytes: &[u8]) -> u64 {
    let (len, capacity) = (to.len(), to.capacity());
    to.extend_from_slice(bytes);
    let moved = if to.capacity() > capacity { len } else { 0 };
    (moved + bytes.len()) as u64
}

pub(crate) const TEXT: &str = "text/plain; charset=utf-8";
pub(crate) const NOT_FOUND: &str = "This server has nothing at this path.";
