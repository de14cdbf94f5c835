//! From a correct request to the open WebSocket: routes, the 101, and refusals.

use roost_access::{Operation, PatternRef, Question, Requirement};
use roost_dialect::DialectKind;
use roost_dialect::dialect::{Accept, Event, Headers, Session, Terms};
use roost_hub::Subscriber;
use roost_net::ConnKey;
use roost_wire::deflate::{Agreement, negotiate};
use roost_wire::handshake::{Request, WebSocketRequest, write_accept_with};
use roost_wire::hixie::{CHALLENGE_BYTES, EarlyRequest};
use tracing::debug;

use crate::authentication::{admits, is_token};
use crate::closing::fail;
use crate::connections::{Challenge, Flags, Framing, Partial, PendingAccept, PendingJoin, Phase};
use crate::core::Core;
use crate::dialogue::notify;
use crate::forwarded;
use crate::hook_asks::ask_join;
use crate::incidents::IncidentKind;
use crate::journal;
use crate::memory::append;
use crate::messages::handle_frame_bytes;
use crate::permissions::{self, is_foreign};
use crate::presence;
use crate::responses::{NOT_FOUND, come_back, refuse, refuse_naming};
use crate::session_events::note_subscription;
use crate::settings::requirement;

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
        let mut offered: Vec<&str> = match self {
            UpgradeRequest::Rfc6455(request) => request.protocols().collect(),
            UpgradeRequest::Early(request, _) => request.protocols().collect(),
        };
        offered.retain(|name| !is_token(name));
        offered
    }

    /// What stands behind the request and its challenge.
    fn behind<'b>(&self, rest: &'b mut [u8]) -> &'b mut [u8] {
        match self {
            UpgradeRequest::Rfc6455(_) => rest,
            UpgradeRequest::Early(request, _) => &mut rest[request.challenge_bytes()..],
        }
    }

    fn headers(&self) -> Headers<'_> {
        match self {
            UpgradeRequest::Rfc6455(request) => Headers::of(request.request()),
            UpgradeRequest::Early(..) => Headers::NONE, // of browsers, which cannot set any
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
    fn answer(
        &self,
        protocol: Option<&str>,
        agreement: Option<Agreement>,
        terms: Terms,
    ) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            UpgradeRequest::Rfc6455(request) => {
                let extensions = agreement.map(Agreement::response);
                let (key, extensions) = (request.key(), extensions.as_deref());
                write_accept_with(&mut out, key, protocol, extensions, terms.header);
            }
            UpgradeRequest::Early(request, challenge) => {
                request.write_accept(&mut out, false, *challenge, protocol);
            }
        }
        out
    }
}

/// A correct request for a WebSocket.
pub(crate) fn handle_upgrade(
    core: &mut Core,
    key: ConnKey,
    websocket: WebSocketRequest<'_>,
    head: &[u8],
    rest: &mut [u8],
) {
    let takeover = core.connections.wanted_takeover();
    let agreement = takeover.and_then(|takeover| negotiate(websocket.extensions(), takeover));
    if takeover.is_some() && agreement.is_none() && offers_deflate(&websocket) {
        let kind = IncidentKind::DeflateDeclined("its parameters are not understood or not kept");
        core.note_incident(key, kind, 1);
    }
    let request = websocket.request();
    let hello = UpgradeRequest::Rfc6455(websocket);
    handle_hello(core, key, request, &hello, agreement, (head, rest));
}

/// A request in one of the drafts before RFC 6455, maybe with its challenge behind it.
pub(crate) fn handle_early_request(
    core: &mut Core,
    key: ConnKey,
    request: &Request<'_>,
    early: EarlyRequest<'_>,
    head: &[u8],
    rest: &mut [u8],
) {
    let challenge_bytes = early.challenge_bytes();
    if rest.len() < challenge_bytes {
        let bytes = [head, rest].concat();
        core.connections.work(key.slot(), bytes.len() as u64);
        let challenge = Challenge {
            bytes,
            head_len: head.len(),
        };
        return core
            .connections
            .keep_partial(key.slot(), Partial::Challenge(Box::new(challenge)));
    }
    let challenge = &rest[..challenge_bytes];
    let challenge = <[u8; CHALLENGE_BYTES]>::try_from(challenge).unwrap_or_default();
    let hello = UpgradeRequest::Early(early, challenge);
    handle_hello(core, key, request, &hello, None, (head, rest));
}

/// A request for a WebSocket, correct in itself: is there something here for it?
fn handle_hello(
    core: &mut Core,
    key: ConnKey,
    request: &Request<'_>,
    hello: &UpgradeRequest<'_>,
    agreement: Option<Agreement>,
    (head, rest): (&[u8], &mut [u8]),
) {
    if let Err((status, reason)) = may_ask(core, key, hello) {
        return refuse(core, key, status, reason);
    }
    if !forwarded::admits(core, key, request) {
        return;
    }
    let settings = core.settings.clone();
    let subprotocols = hello.subprotocols();
    let offer = settings.offer(request.path(), &subprotocols, hello.headers());
    let accepted = settings.accept(core.listener_number(key), &offer);
    if let Some((dialect, Accept::Open { .. })) = accepted
        && !admits(core, key, request, dialect, (head, rest))
    {
        return;
    }
    let rest = hello.behind(rest);
    let agreement = agreement.map(|agreement| match accepted {
        Some((_, Accept::Open { .. })) => reserve_contexts(core, key, agreement),
        _ => {
            let agreement = agreement.without_client_takeover();
            agreement.without_server_takeover()
        }
    });
    let framing = hello.framing(agreement);
    let Some((dialect, accept)) = accepted else {
        return refuse(core, key, 404, NOT_FOUND);
    };
    note_unmatched(core, key, &accept, &subprotocols);
    let (subprotocol, join_to, terms) = match accept {
        Accept::NotMine => return refuse(core, key, 404, NOT_FOUND),
        Accept::Stream(_) => return refuse(core, key, 400, NO_WEBSOCKET),
        Accept::Emulated(_) | Accept::Relay => return refuse(core, key, 400, NO_WEBSOCKET_HERE),
        Accept::Refused(reason) => return refuse(core, key, 400, &reason),
        Accept::RefusedNaming(reason, headers) => {
            return refuse_naming(core, key, 400, reason, headers);
        }
        Accept::OpenAndClose(code, reason) => {
            let answer = hello.answer(None, agreement, Terms::default());
            open(core, key, &answer, dialect, framing);
            return fail(core, key, code, reason);
        }
        Accept::Open {
            subprotocol,
            join,
            terms,
        } => (subprotocol, join, terms),
    };
    let answer = hello.answer(subprotocol, agreement, terms);
    if let Some((channel, form)) = join_to {
        let pending = PendingAccept {
            answer,
            dialect,
            framing,
            rest: rest.to_vec(),
        };
        let join = PendingJoin {
            channel: channel.into(),
            form,
            since: None,
            subprotocol: subprotocol.map(Into::into),
            terms,
            pending,
        };
        return join_if_allowed(core, key, join);
    }
    open(core, key, &answer, dialect, framing);
    let session = core.sessions.open(dialect, subprotocol, terms, None);
    begin_session(core, key, dialect, session);
    handle_frame_bytes(core, key, rest);
}

/// A connection that has just opened has a session, which may speak first.
fn begin_session(core: &mut Core, key: ConnKey, dialect: DialectKind, session: Session) {
    if let Some(conn) = core.connections.get_mut(key) {
        conn.session = session;
    }
    if dialect.greets() {
        notify(core, key, Event::Greeting);
    }
}

/// Whether this page or program may ask now; else with what it is refused.
fn may_ask(
    core: &Core,
    key: ConnKey,
    hello: &UpgradeRequest<'_>,
) -> Result<(), (u16, &'static str)> {
    if core.is_draining {
        return Err((503, "The server is going down; connect again later."));
    }
    if !core.listener(key).origins.allows(hello.origin()) {
        core.counters.origins_refused_total.inc();
        let origin = hello.origin();
        debug!(connection = %core.id(key), origin, "origin refused");
        let reason = "Pages of this origin may not connect to this server.";
        return Err((403, reason));
    }
    Ok(())
}

/// Reserves what an agreement needs; what there is no memory for is taken out of it.
fn reserve_contexts(core: &mut Core, key: ConnKey, wanted: Agreement) -> Agreement {
    let agreement = core.connections.reserve_contexts(key.slot(), wanted);
    if agreement != wanted {
        let why = "no memory is left for a context of its own (deflate.takeover_bytes_max)";
        core.note_incident(key, IncidentKind::DeflateDeclined(why), 1);
    }
    agreement
}

fn offers_deflate(websocket: &WebSocketRequest<'_>) -> bool {
    let mut offers = websocket.extensions();
    offers.any(|offer| offer.name == "permessage-deflate")
}

/// Counts a client that offered subprotocols of which none was selected.
///
/// RFC 6455 §4.2.2: no reason to refuse. A browser fails the connection, and says that it sent
/// Sec-WebSocket-Protocol and got none: more than it would say of a status.
fn note_unmatched(core: &Core, key: ConnKey, accept: &Accept<'_>, offered: &[&str]) {
    let is_unmatched = matches!(
        accept,
        Accept::Open {
            subprotocol: None,
            ..
        } | Accept::OpenAndClose(..)
    );
    if let (true, Some(first)) = (is_unmatched, offered.first()) {
        debug!(connection = %core.id(key), first, "no subprotocol offered is served on this path");
        core.counters.subprotocols_unmatched_total.inc();
    }
}

/// Subscribes to the channel that the request asks for, if its client may; if the application decides
/// that, it is asked first.
pub(crate) fn join_if_allowed(core: &mut Core, key: ConnKey, join: PendingJoin) {
    let policy = core.settings.channels.of(&join.channel);
    let question = Question {
        operation: Operation::Subscribe,
        asked: PatternRef::name(&join.channel),
        requirement: requirement(policy, Operation::Subscribe),
        is_subscribed: false,
        is_foreign: is_foreign(core, key, Operation::Subscribe, &join.channel),
    };
    let is_hook = question.requirement == Requirement::Hook;
    match permissions::denial(core, key, &question) {
        None => join_allowed(core, key, join),
        Some(_) if is_hook && permissions::asks_hook(core, key, &question) => {
            ask_join(core, key, join);
        }
        Some(denial) => {
            core.counters.subscriptions_refused_total.inc();
            permissions::note_denial(core, key, Operation::Subscribe, &join.channel, denial);
            refuse(core, key, 403, denial.message());
        }
    }
}

/// Subscribes to the channel that the request asks for; the 101 follows when its home knows.
pub(crate) fn join_allowed(core: &mut Core, key: ConnKey, join: PendingJoin) {
    let PendingJoin {
        channel,
        form,
        since,
        subprotocol,
        terms,
        pending,
    } = join;
    let (channel, subprotocol) = (&*channel, subprotocol.as_deref());
    let receives_own = core.settings.channels.of(channel).receive_own;
    let may_publish = may_publish_to_joined(core, key, channel);
    note_subscription(core, channel);
    let who = Subscriber(key.slot());
    let encoding = pending.framing.encoding(form);
    let now = core.now();
    let member = presence::member_of(core, key, encoding, channel);
    let subscribed = match since {
        None => core.channels.subscribe(who, encoding, channel, 0, now),
        Some(since) => {
            let subscribe = (who, encoding, channel, 0);
            let codec = core.connections.codec();
            core.channels.subscribe_since(subscribe, since, codec, now)
        }
    };
    let channel = match subscribed {
        Ok(channel) => channel,
        Err(_) if pending.framing.is_event_stream() => {
            core.counters.subscriptions_refused_total.inc();
            return come_back(core, key, &pending.answer);
        }
        Err(error) => {
            core.counters.subscriptions_refused_total.inc();
            debug!(connection = %core.id(key), ?error, "subscription refused");
            return refuse(
                core,
                key,
                503,
                "There is no room for another channel; try again later.",
            );
        }
    };
    if let Some(member) = member {
        core.channels.hub_mut().join(channel, member, now);
    }
    let session = core
        .sessions
        .open(pending.dialect, subprotocol, terms, Some(channel));
    let Some(conn) = core.connections.get_mut(key) else {
        return;
    };
    conn.phase = Phase::Joining;
    conn.dialect = pending.dialect;
    conn.framing = pending.framing;
    conn.session = session;
    if may_publish {
        conn.flags.set(Flags::MAY_PUBLISH);
    }
    if receives_own {
        conn.flags.set(Flags::RECEIVES_OWN);
    }
    core.connections
        .keep_partial(key.slot(), Partial::PendingAccept(Box::new(pending)));
    core.connections.pause(key);
}

/// Whether a connection that joins a channel may publish to it.
fn may_publish_to_joined(core: &Core, key: ConnKey, channel: &str) -> bool {
    let policy = core.settings.channels.of(channel);
    let publish = Question {
        operation: Operation::Publish,
        asked: PatternRef::name(channel),
        requirement: requirement(policy, Operation::Publish),
        is_subscribed: true,
        is_foreign: is_foreign(core, key, Operation::Publish, channel),
    };
    permissions::denial(core, key, &publish).is_none()
}

/// Bytes that were on their way when the driver was asked to pause. RFC 6455 §4.1 forbids a
/// client to send before the 101, so a head's worth of them is plenty.
pub(crate) fn handle_early_bytes(core: &mut Core, key: ConnKey, bytes: &[u8]) {
    let Some(mut partial) = core.connections.take_partial(key.slot()) else {
        debug_assert!(false, "a joining connection keeps its handshake");
        return;
    };
    let (kept, head_len) = match &mut partial {
        Partial::PendingAccept(pending) => (&mut pending.rest, 0),
        Partial::PendingCheck(pending) => (&mut pending.bytes, pending.head_len),
        Partial::PendingJoin(join) => (&mut join.pending.rest, 0),
        _ => unreachable!("a joining connection keeps its handshake"),
    };
    if kept.len() - head_len + bytes.len() > core.settings.limits.handshake_bytes_max {
        return refuse(
            core,
            key,
            400,
            "Too much data came before the handshake was answered; wait for the 101.",
        );
    }
    let copied = append(kept, bytes);
    core.connections.work(key.slot(), copied);
    core.connections.keep_partial(key.slot(), partial);
}

/// Sends the 101: the WebSocket is open.
fn open(core: &mut Core, key: ConnKey, answer: &[u8], dialect: DialectKind, framing: Framing) {
    debug!(connection = %core.id(key), dialect = dialect.name(), ?framing, "open");
    core.connections.open(key, answer, dialect, framing);
    journal::opened(core, key, false);
}

const NO_WEBSOCKET_HERE: &str = "This path is for clients without a WebSocket.";
const NO_WEBSOCKET: &str = "This path is an event stream: ask for it with a plain GET.";
