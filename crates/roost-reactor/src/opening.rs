//! From accept to the open WebSocket: the request's head, plain HTTP, routes, the 101.

use roost_dialect::{DialectKind, Route, WAMP_REQUIRED, encoding, route, wamp};
use roost_hub::{ChannelId, Subscriber};
use roost_net::{CloseMode, ConnKey};
use roost_wire::CloseCode;
use roost_wire::handshake::{
    HandshakeError, HeadScanner, Request, Upgrade, WebSocketRequest, write_accept, write_response,
};
use tracing::debug;

use crate::conn::{Flags, Index, Phase};
use crate::core::{Ask, Core, Partial};
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
pub(crate) struct Joining {
    key: String,
    /// Bytes that came behind the head. The peer may not send before the 101 (RFC 6455 §4.1), but
    /// what came in the same segment is kept.
    rest: Vec<u8>,
}

impl Joining {
    pub(crate) fn pinned_bytes(&self) -> usize {
        size_of::<Joining>() + self.key.capacity() + self.rest.capacity()
    }
}

impl Core {
    /// Bytes of a connection that has not finished its head.
    pub(crate) fn handle_head_bytes(&mut self, key: ConnKey, bytes: &mut [u8]) {
        let (mut scanner, mut stored) = match self.take_partial(key.slot()) {
            Some(Partial::Head(head)) => (head.scanner, head.bytes),
            Some(Partial::Joining(_) | Partial::Frames(_)) | None => Default::default(),
        };
        if stored.is_empty() {
            // The usual case: the whole head in one piece, parsed where it lies.
            match scanner.scan(bytes) {
                Some(head_len) => {
                    let (head, rest) = bytes.split_at_mut(head_len);
                    self.handle_head(key, head, rest);
                }
                None => self.keep_head(key, scanner, bytes.to_vec()),
            }
            return;
        }
        stored.extend_from_slice(bytes);
        match scanner.scan(&stored) {
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
        let limits = &self.settings.limits;
        if head.len() > limits.handshake_bytes_max {
            return self.refuse_handshake(key, HandshakeError::HeadTooLong);
        }
        let request = match Request::parse(head, limits.handshake_headers_max) {
            Ok(request) => request,
            Err(error) => return self.refuse_handshake(key, error),
        };
        match request.upgrade() {
            Upgrade::Plain => self.handle_plain(key, &request),
            Upgrade::Refused(error) => self.refuse_handshake(key, error),
            Upgrade::WebSocket(websocket) => self.handle_upgrade(key, &websocket, rest),
        }
    }

    /// A request for a WebSocket, correct in itself: is there something here for it?
    fn handle_upgrade(&mut self, key: ConnKey, websocket: &WebSocketRequest<'_>, rest: &mut [u8]) {
        if self.draining {
            return self.refuse(key, 503, "the server is going down");
        }
        if !self.settings.origins.allows(websocket.origin()) {
            return self.refuse(key, 403, "this origin may not connect");
        }
        let path = websocket.request().path();
        let route = route(path, websocket.protocols(), &self.settings.routes);
        let protocol = route.protocol();
        match route {
            Route::NotFound => self.refuse(key, 404, "no such path"),
            Route::Refused(error) => self.refuse(key, 400, error.reason()),
            Route::Raw { channel } => self.join_raw(key, websocket.key(), &channel, rest),
            Route::Echo => {
                self.grant(key, websocket.key(), DialectKind::Echo, protocol);
                self.handle_frame_bytes(key, rest);
            }
            Route::Wamp => {
                self.grant(key, websocket.key(), DialectKind::WampJson, protocol);
                let session = Index::new(self.sessions.insert(wamp::Session::new()));
                if let Some(conn) = self.table.get_mut(key) {
                    conn.identity = session;
                }
                self.handle_frame_bytes(key, rest);
            }
            Route::WampWithoutSubprotocol => {
                // RFC 6455 §4.2.2: no subprotocol in common is no reason to refuse; the path's
                // need for one is, and a close code can say so where a failed handshake cannot.
                self.grant(key, websocket.key(), DialectKind::Echo, protocol);
                self.fail(key, CloseCode::PROTOCOL_ERROR, WAMP_REQUIRED);
            }
        }
    }

    /// Subscribes to the path's channel; the 101 follows when the home knows.
    fn join_raw(&mut self, key: ConnKey, accept_key: &str, channel: &str, rest: &mut [u8]) {
        let policy = self.settings.channels.of(channel);
        if !policy.subscribe {
            return self.refuse(key, 403, "nobody may subscribe to this channel");
        }
        let who = Subscriber(key.slot());
        match self
            .hub
            .subscribe(who, encoding::RAW, channel, 0, &mut self.outputs)
        {
            Ok(channel) => {
                let Some(conn) = self.table.get_mut(key) else {
                    return;
                };
                conn.phase = Phase::Joining;
                conn.dialect = DialectKind::Raw;
                conn.identity = Index::new(channel.0 as usize);
                if policy.publish != Publish::Nobody {
                    conn.flags.set(Flags::MAY_PUBLISH);
                }
                if policy.hear_own {
                    conn.flags.set(Flags::HEARS_OWN);
                }
                let joining = Joining {
                    key: accept_key.to_owned(),
                    rest: rest.to_vec(),
                };
                self.keep_partial(key.slot(), Partial::Joining(Box::new(joining)));
                self.pause(key);
            }
            Err(error) => {
                debug!(?key, ?error, "subscription refused");
                self.refuse(key, 503, "no room for another channel");
            }
        }
    }

    /// Bytes that were on their way when the driver was told to pause. RFC 6455 §4.1 forbids a
    /// client to send before the 101, so a head's worth of them is plenty.
    pub(crate) fn handle_early_bytes(&mut self, key: ConnKey, bytes: &[u8]) {
        let Some(Partial::Joining(mut joining)) = self.take_partial(key.slot()) else {
            unreachable!("a joining connection keeps its handshake");
        };
        if joining.rest.len() + bytes.len() > self.settings.limits.handshake_bytes_max {
            return self.refuse(key, 400, "data before the handshake was answered");
        }
        joining.rest.extend_from_slice(bytes);
        self.keep_partial(key.slot(), Partial::Joining(joining));
    }

    /// The home knows of a raw connection's subscription: the WebSocket opens.
    pub(crate) fn on_raw_subscribed(&mut self, slot: u32, channel: ChannelId) {
        let Some(key) = self.table.key_at(slot) else {
            return;
        };
        let Some(conn) = self.table.get(key) else {
            return;
        };
        if conn.phase != Phase::Joining {
            return; // subscribed to what it had already; there is nobody to tell
        }
        debug_assert_eq!(conn.identity.get(), Some(channel.0 as usize));
        let Some(Partial::Joining(joining)) = self.take_partial(slot) else {
            unreachable!("a joining connection keeps its handshake");
        };
        self.grant(key, &joining.key, DialectKind::Raw, None);
        self.resume(key);
        if !joining.rest.is_empty() {
            self.granted.push((key, joining.rest));
        }
    }

    /// Sends the 101.
    fn grant(&mut self, key: ConnKey, accept_key: &str, dialect: DialectKind, name: Option<&str>) {
        self.counters.handshakes_accepted_total.inc();
        self.counters.websockets_open.inc();
        self.end_handshake(key.slot());
        let Some(conn) = self.table.get_mut(key) else {
            return;
        };
        debug!(?key, ?dialect, "open");
        conn.phase = Phase::Open;
        conn.dialect = dialect;
        conn.flags.set(Flags::WEBSOCKET);
        conn.last_message = self.now;
        self.tick.give_own(key.slot(), conn, |arena| {
            write_accept(arena, accept_key, name, None)
        });
        let limits = &self.settings.limits;
        let quiet_ms = [limits.ping_interval_ms, limits.idle_timeout_ms];
        let first = quiet_ms.into_iter().filter(|&ms| ms > 0).min().unwrap_or(0);
        self.set_deadline(key.slot(), first);
    }

    /// A request that wants no WebSocket.
    fn handle_plain(&mut self, key: ConnKey, request: &Request<'_>) {
        self.counters.http_requests_total.inc();
        let settings = self.settings.clone();
        let path = request.path();
        let known = settings.pages.iter().any(|page| page.path == path)
            || (settings.stats && path == "/stats")
            || route(path, [], &settings.routes) != Route::NotFound;
        let head_only = match request.method() {
            "GET" => false,
            "HEAD" => true,
            _ if known => return self.refuse_handshake(key, HandshakeError::Method),
            _ => return self.refuse(key, 404, "no such path"),
        };
        if let Some(page) = settings.pages.iter().find(|page| page.path == path) {
            let headers = [
                ("Cache-Control", "no-cache"),
                ("X-Content-Type-Options", "nosniff"),
                ("Content-Security-Policy", page.content_security_policy),
            ];
            return self.respond(key, 200, page.content_type, &headers, page.body, head_only);
        }
        if settings.stats && path == "/stats" {
            let json = self.registry.to_json();
            let headers = [("Cache-Control", "no-store")];
            let json = json.as_bytes();
            return self.respond(key, 200, "application/json", &headers, json, head_only);
        }
        match route(path, [], &settings.routes) {
            Route::NotFound => self.refuse(key, 404, "no such path"),
            Route::Refused(error) => self.refuse(key, 400, error.reason()),
            Route::Raw { .. } | Route::Echo | Route::Wamp | Route::WampWithoutSubprotocol => {
                // RFC 9110 §15.5.22: 426 names the protocol to upgrade to.
                let headers = [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")];
                let body = b"this path speaks WebSocket\n";
                self.counters.handshakes_refused_total.inc();
                self.respond(key, 426, TEXT, &headers, body, head_only);
            }
        }
    }

    fn refuse_handshake(&mut self, key: ConnKey, error: HandshakeError) {
        let reason = format!("{}\n", error.reason());
        debug!(
            ?key,
            status = error.status(),
            reason = error.reason(),
            "handshake refused"
        );
        self.counters.handshakes_refused_total.inc();
        let (status, headers) = (error.status(), error.extra_headers());
        self.respond(key, status, TEXT, headers, reason.as_bytes(), false);
    }

    pub(crate) fn refuse(&mut self, key: ConnKey, status: u16, reason: &str) {
        debug!(?key, status, reason, "refused");
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
    fn respond(
        &mut self,
        key: ConnKey,
        status: u16,
        content_type: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        head_only: bool,
    ) {
        self.end_handshake(key.slot());
        if let Some(conn) = self.table.get_mut(key) {
            self.tick.give_own(key.slot(), conn, |arena| {
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
            self.refuse(key, 408, "the request's head did not come in time");
        }
    }

    /// Stops reading from a connection.
    pub(crate) fn pause(&mut self, key: ConnKey) {
        if let Some(conn) = self.table.get_mut(key)
            && !conn.flags.has(Flags::PAUSED)
        {
            conn.flags.set(Flags::PAUSED);
            self.asks.push(Ask::Pause(key));
        }
    }

    /// Reads again.
    pub(crate) fn resume(&mut self, key: ConnKey) {
        if let Some(conn) = self.table.get_mut(key)
            && conn.flags.clear(Flags::PAUSED)
        {
            self.asks.push(Ask::Resume(key));
        }
    }
}

const TEXT: &str = "text/plain; charset=utf-8";
