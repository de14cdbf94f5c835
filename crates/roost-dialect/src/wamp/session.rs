//! A session from HELLO to GOODBYE: how far it has come, and what it answers. What it publishes,
//! subscribes to and calls stands in the files beside.

use roost_access::{Accepted, AuthError, Begun, Identity, Pending};
use roost_dealer::{CallError, CalleeFeatures, Notice};
use roost_hub::ChannelId;
use roost_wire::CloseCode;

use super::answers::Answers;
use super::auth::Finished;
use super::broker::{self, Broker};
use super::message::{Request, WampMessage};
use super::options::{Features, HelloDetails, Roles};
use super::parse::{parse_cbor, parse_json, parse_msgpack};
use super::settings::Settings;
use super::subscriptions::Subscriptions;
use super::wire::Wire;
use super::{auth, calls, reply, uri};
use crate::dialect::{Command, Member, Message, TokenOutcome, TokenRefusal, TokenText};
use crate::serial::Serializer;
use crate::{Arguments, CallBody, Form, Receiver};

/// One WAMP session, from before its HELLO to after its GOODBYE. It ends with its connection: a
/// second session on the same transport is not offered.
#[derive(Debug, Default)]
pub struct Session {
    held: Held,
    /// Its id, in 1..2^53, once it is open.
    id: u64,
    state: State,
    wire: Wire,
    /// Whether it understands that the broker ends a subscription.
    is_told_of_revocations: bool,
    /// What the client can do as a callee.
    callee: CalleeFeatures,
    /// The realm's number among [`OwnRealms`](super::OwnRealms), once HELLO has named it.
    realm: u16,
}

const _: () = assert!(size_of::<Session>() <= 48);

/// What a session has only once it is open, or only before that.
#[derive(Debug)]
enum Held {
    Broker(Broker),
    /// In [`State::AwaitAuthenticate`] and [`State::AwaitToken`].
    Pending(Box<Pending>),
}

impl Default for Held {
    fn default() -> Held {
        Held::Broker(Broker::default())
    }
}

/// A session taken apart: see [`Session::into_state`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionState {
    /// How its messages are written.
    pub wire: Wire,
    /// How far it has come.
    pub state: State,
    /// Its id, in 1..2^53; 0 before WELCOME.
    pub id: u64,
    /// Whether it is subscribed to [`uri::DROPPED`].
    pub is_told_of_drops: bool,
    /// Whether it understands that the broker ends a subscription.
    pub is_told_of_revocations: bool,
    /// What the client can do as a callee.
    pub callee: CalleeFeatures,
    /// The realm's number among [`OwnRealms`](super::OwnRealms).
    pub realm: u16,
    /// What it has been challenged with, until it has answered.
    pub pending: Option<Pending>,
    /// Its channels, in no order, each with its topic's number once that is confirmed, else 0.
    pub subscriptions: Vec<(ChannelId, u64)>,
}

/// How far a session has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// Nothing but HELLO may come.
    #[default]
    AwaitHello,
    /// HELLO was answered with CHALLENGE, and nothing but AUTHENTICATE may come.
    AwaitAuthenticate,
    /// AUTHENTICATE has come with a ticket that is being checked. Nothing is read meanwhile.
    AwaitToken,
    /// HELLO or AUTHENTICATE was answered with WELCOME.
    Open,
    /// GOODBYE was sent and its answer is awaited; all else is ignored ("Session Statechart", 14).
    Closing,
    /// Nothing is read or written any more.
    Closed,
}

impl Session {
    /// A session that awaits its HELLO.
    pub fn new(wire: Wire) -> Session {
        Session {
            wire,
            ..Session::default()
        }
    }

    /// Takes the session apart, field by field.
    pub fn into_state(self) -> SessionState {
        let Session {
            held,
            id,
            state,
            wire,
            is_told_of_revocations,
            callee,
            realm,
        } = self;
        let (pending, (subscriptions, is_told_of_drops)) = match held {
            Held::Pending(pending) => (Some(*pending), Default::default()),
            Held::Broker(broker) => (None, broker.into_state()),
        };
        SessionState {
            wire,
            state,
            id,
            is_told_of_drops,
            is_told_of_revocations,
            callee,
            realm,
            pending,
            subscriptions,
        }
    }

    /// The session that [`Session::into_state`] took apart.
    pub fn from_state(state: SessionState) -> Session {
        let SessionState {
            wire,
            state,
            id,
            is_told_of_drops,
            is_told_of_revocations,
            callee,
            realm,
            pending,
            subscriptions,
        } = state;
        Session {
            held: match pending {
                Some(pending) => Held::Pending(Box::new(pending)),
                None => Held::Broker(Broker::from_state((subscriptions, is_told_of_drops))),
            },
            id,
            state,
            wire,
            is_told_of_revocations,
            callee,
            realm,
        }
    }

    /// How its messages are written.
    pub fn wire(&self) -> Wire {
        self.wire
    }

    /// The form of its deliveries.
    pub fn form(&self) -> Form {
        self.wire.form()
    }

    /// Takes one message, apart from others of its batch. What is to be answered at once is appended to `out`, one WAMP
    /// message at most, as it stands in a WebSocket message: the caller sends it before it closes if the command is
    /// [`Command::Close`]. `None` asks for nothing more. `new_id` draws from 1 to 2^53, uniformly; it is called for WELCOME.
    ///
    /// Work and memory are linear in the message's length.
    pub fn handle<'a>(
        &mut self,
        message: Message<'a>,
        out: &mut Vec<u8>,
        new_id: &mut dyn FnMut() -> u64,
        settings: &Settings,
    ) -> Option<Command<'a>> {
        if self.state == State::Closed {
            return None;
        }
        let message = match (self.wire.serializer, message) {
            (Serializer::Json, Message::Text(text)) => parse_json(text),
            (Serializer::MsgPack, message) => parse_msgpack(message.bytes()),
            (Serializer::Cbor, message) => parse_cbor(message.bytes()),
            (Serializer::Json, Message::Binary(_)) => {
                return self.violate(self.wire.wrong_kind(), out);
            }
        };
        let message = match message {
            Ok(message) => message,
            Err(error) => {
                return self.violate(&format!("Received a malformed message: {error}"), out);
            }
        };
        match (self.state, message) {
            (
                State::AwaitHello | State::AwaitAuthenticate | State::AwaitToken | State::Closing,
                WampMessage::Abort { .. },
            ) => self.handle_abort(),
            (State::AwaitHello, WampMessage::Hello { realm, details }) => {
                self.handle_hello(&realm, details.get(), out, new_id, settings)
            }
            (State::AwaitHello, _) => self.violate(
                "Received a message before the session was established: the first must be HELLO.",
                out,
            ),
            (State::AwaitAuthenticate, WampMessage::Authenticate { signature, extra }) => {
                let Held::Pending(pending) = &self.held else {
                    unreachable!("what is awaited is pending")
                };
                let session = pending.session;
                let finished = auth::finish(settings, pending, &signature, extra.get());
                if let Ok(Finished::Token) = finished {
                    self.state = State::AwaitToken;
                    return Some(Command::CheckToken(Some(TokenText(signature))));
                }
                self.held = Held::default();
                match finished {
                    Ok(Finished::Accepted(accepted)) => self.welcome(session, accepted, out),
                    Ok(Finished::Token) => None,
                    Err(error) => self.refuse(error, out),
                }
            }
            (State::AwaitAuthenticate, _) => self.violate(
                "Received a message where only AUTHENTICATE may come, the answer to CHALLENGE.",
                out,
            ),
            (State::AwaitToken, _) => self.violate("Received a message before WELCOME.", out),
            (State::Closing, WampMessage::Goodbye { .. }) => {
                self.close(CloseCode::GOING_AWAY, uri::SYSTEM_SHUTDOWN)
            }
            (State::Closing | State::Closed, _) => None,
            (State::Open, message) => self.handle_open(message, out, settings),
        }
    }

    /// "Protocol errors": ABORT with `wamp.error.protocol_violation`, then the connection is
    /// dropped and nothing more of the peer's is processed.
    pub(super) fn violate(&mut self, message: &str, out: &mut Vec<u8>) -> Option<Command<'static>> {
        if self.state == State::Closed {
            return None;
        }
        self.say(out, &reply::abort(uri::PROTOCOL_VIOLATION, message));
        // A client that has said nothing in WAMP yet may not know that it speaks it.
        let reason = match self.state {
            State::AwaitHello => self.wire.not_wamp(),
            State::AwaitAuthenticate
            | State::AwaitToken
            | State::Open
            | State::Closing
            | State::Closed => uri::PROTOCOL_VIOLATION,
        };
        self.close(CloseCode::PROTOCOL_ERROR, reason)
    }

    fn say(&self, out: &mut Vec<u8>, message: &WampMessage<'_>) {
        self.answers(out).say(message);
    }

    fn answers<'a>(&self, out: &'a mut Vec<u8>) -> Answers<'a> {
        Answers::new(self.wire, out)
    }

    /// Says that [`Command::Subscribe`] is under way for `channel`; call it as soon as the channel
    /// is known and before `on_subscribed`. From then on [`Session::subscriptions`] has it.
    pub fn on_subscribing(&mut self, channel: ChannelId) {
        self.broker_mut().subscriptions_mut().add(channel);
    }

    /// The subscribe with this token is in force: writes SUBSCRIBED. `topic` is the subscription's
    /// id. A topic subscribed twice stays one subscription and is answered with the same id.
    pub fn on_subscribed(&mut self, token: u64, channel: ChannelId, topic: u64, out: &mut Vec<u8>) {
        self.broker_mut()
            .subscriptions_mut()
            .confirm(channel, topic);
        if self.is_open() {
            self.say(out, &reply::subscribed(token, topic));
        }
    }

    /// The subscription is gone: writes UNSUBSCRIBED.
    pub fn on_unsubscribed(&mut self, token: u64, out: &mut Vec<u8>) {
        if self.is_open() {
            self.say(out, &reply::unsubscribed(token));
        }
    }

    /// The publication is ordered: writes PUBLISHED. Only for a publish whose `ack` was `Some`.
    pub fn on_published(&mut self, token: u64, publication: u64, out: &mut Vec<u8>) {
        if self.is_open() {
            self.say(out, &reply::published(token, publication));
        }
    }

    /// The request was not fulfilled: writes ERROR with one of the URIs of [`uri`], and what a person
    /// is told. Not for a publish whose `ack` was `None`. A refused subscribe must not have been announced with
    /// [`Session::on_subscribing`], or be taken back with [`Session::forget`].
    pub fn on_refused(
        &mut self,
        request: Request,
        token: u64,
        error: &str,
        message: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        let request = (request as u64, token);
        match message {
            _ if !self.is_open() => {}
            Some(message) => self.answers(out).say_error(request, error, message),
            None => self.say(out, &reply::error(request, error, Arguments::NONE)),
        }
    }

    /// Drops a channel without a word on the wire.
    pub fn forget(&mut self, channel: ChannelId) {
        self.broker_mut().subscriptions_mut().remove(channel);
    }

    /// The server goes down: writes GOODBYE, or ABORT when no session is open yet. The answer to
    /// GOODBYE, handled as usual, gives [`Command::Close`]; the caller need not wait for it.
    pub fn goodbye(&mut self, out: &mut Vec<u8>) {
        match self.state {
            State::Open => {
                self.say(out, &reply::goodbye(uri::SYSTEM_SHUTDOWN, None));
                self.state = State::Closing;
            }
            State::AwaitHello | State::AwaitAuthenticate | State::AwaitToken => {
                let message = "The server is going down.";
                self.say(out, &reply::abort(uri::SYSTEM_SHUTDOWN, message));
                self.state = State::Closed;
            }
            State::Closing | State::Closed => {}
        }
    }

    /// The application ends a subscription that is confirmed: writes UNSUBSCRIBED without a request, if the
    /// client has announced that it understands that ("Subscription Revocation"). False: there is none.
    pub fn end_subscription(&mut self, channel: ChannelId, out: &mut Vec<u8>) -> bool {
        let Some(subscription) = self
            .broker_mut()
            .subscriptions_mut()
            .remove_confirmed(channel)
        else {
            return false;
        };
        if self.is_open() && self.is_told_of_revocations {
            self.say(out, &reply::revoked(subscription, uri::UNSUBSCRIBED));
        }
        true
    }

    /// The server ends the session: writes GOODBYE, or ABORT before the session is open. `message` is for
    /// a person.
    pub fn end(&mut self, reason: &str, message: &str, out: &mut Vec<u8>) {
        match self.state {
            State::Open => {
                self.say(out, &reply::goodbye(reason, Some(message)));
                self.state = State::Closing;
            }
            State::AwaitHello | State::AwaitAuthenticate | State::AwaitToken => {
                self.say(out, &reply::abort(reason, message));
                self.state = State::Closed;
            }
            State::Closing | State::Closed => {}
        }
    }

    /// The session did not read what waited for it, and is closed for that: writes GOODBYE, or
    /// nothing when no session is open. No answer is awaited.
    pub fn close_slow(&mut self, message: &str, out: &mut Vec<u8>) {
        if self.is_open() {
            self.say(out, &reply::goodbye(uri::SLOW_CONSUMER, Some(message)));
        }
        self.state = State::Closed;
    }

    /// So many messages were dropped for this session: writes EVENT if it has subscribed to
    /// [`uri::DROPPED`]. `new_id` draws the publication's id.
    pub fn on_dropped(&self, messages: u64, new_id: &mut dyn FnMut() -> u64, out: &mut Vec<u8>) {
        if let (Held::Broker(broker), true) = (&self.held, self.is_open()) {
            broker.on_dropped(messages, new_id, &mut self.answers(out));
        }
    }

    /// What the dealer says.
    pub(super) fn on_notice(
        &self,
        notice: &Notice<CallBody>,
        out: &mut Vec<u8>,
        settings: &Settings,
    ) {
        if self.is_open() {
            calls::on_notice(notice, settings.names(self.realm), &mut self.answers(out));
        }
    }

    /// A registration has ended, if there was one.
    pub(super) fn on_unregistered(&self, token: u64, existed: bool, out: &mut Vec<u8>) {
        if self.is_open() {
            calls::on_unregistered(token, existed, &mut self.answers(out));
        }
    }

    /// A call is not made.
    pub(super) fn on_call_refused(
        &mut self,
        request: u64,
        error: CallError,
        out: &mut Vec<u8>,
    ) -> Option<Command<'static>> {
        match calls::on_call_refused(request, error, &mut self.answers(out)) {
            Ok(()) => None,
            Err(violation) => self.violate(violation, out),
        }
    }

    /// The session's id, while it is open.
    pub fn id(&self) -> Option<u64> {
        self.is_open().then_some(self.id)
    }

    /// The open session as lists of receivers know it.
    pub fn as_receiver<'a>(&self, identity: Option<&'a Identity>) -> Option<Receiver<'a>> {
        let user = identity.map(|identity| identity.user.as_str());
        self.is_open().then_some(Receiver {
            session: self.id,
            authid: user.filter(|user| !user.is_empty()),
            authrole: identity.map_or(auth::ANONYMOUS, |identity| identity.permissions.role()),
        })
    }

    /// Its realm's number among [`OwnRealms`](super::OwnRealms); 0 until HELLO.
    pub fn realm(&self) -> u16 {
        self.realm
    }

    /// The session has left its realm, if it was in one and has not said so before.
    pub(super) fn leave(&mut self) -> Option<Member> {
        let session = std::mem::take(&mut self.id);
        (session != 0).then_some(Member {
            session,
            realm: self.realm,
        })
    }

    fn as_caller(&self) -> calls::Caller {
        calls::Caller {
            session: self.id,
            realm: self.realm,
            callee: self.callee,
        }
    }

    /// Whether HELLO has been answered with WELCOME and neither side has said GOODBYE.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// All channels the session is subscribed to or about to be, each once, in no order: what to
    /// unsubscribe when the connection ends.
    pub fn subscriptions(&self) -> impl Iterator<Item = ChannelId> {
        self.listed().into_iter().flat_map(Subscriptions::iter)
    }

    /// Takes one of them out, until there is none.
    pub fn pop_subscription(&mut self) -> Option<ChannelId> {
        self.broker_mut().subscriptions_mut().pop()
    }

    /// Whether the session is subscribed to the channel or about to be.
    pub fn is_subscribed(&self, channel: ChannelId) -> bool {
        self.listed().is_some_and(|listed| listed.contains(channel))
    }

    /// Whether the session is subscribed to the channel, and has been told so.
    pub fn is_confirmed(&self, channel: ChannelId) -> bool {
        let listed = self.listed();
        listed.is_some_and(|listed| listed.is_confirmed(channel))
    }

    /// Bytes of memory the session holds, itself included; nearly, beyond 64 subscriptions.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Session>()
            + match &self.held {
                Held::Broker(broker) => broker.subscriptions().heap_bytes(),
                Held::Pending(pending) => size_of::<Pending>() + pending.said.len(),
            }
    }

    fn handle_hello(
        &mut self,
        realm: &str,
        details: Option<&HelloDetails<'_>>,
        out: &mut Vec<u8>,
        new_id: &mut dyn FnMut() -> u64,
        settings: &Settings,
    ) -> Option<Command<'static>> {
        // "Client: Role and Feature Announcement": at least one role.
        let roles = details.and_then(|details| details.roles.as_ref());
        if !roles.is_some_and(Roles::has_client_role) {
            return self.violate("HELLO announces no client role: Details.roles must have publisher, subscriber, caller or callee.", out);
        }
        let number = if !uri::is_loose(realm) {
            Err((
                uri::INVALID_URI,
                "The realm is not a valid URI: it must be words with dots between, without # and spaces.",
            ))
        } else {
            settings.realm_of(realm).ok_or((
                uri::NO_SUCH_REALM,
                "The realm does not exist on this server (wamp.realms and [[wamp.realm]] list them).",
            ))
        };
        self.realm = match number {
            Ok(number) => number,
            Err((reason, message)) => {
                self.say(out, &reply::abort(reason, message));
                return self.close(CloseCode::POLICY_VIOLATION, reason);
            }
        };
        let session = new_id();
        debug_assert!((1..=1 << 53).contains(&session), "IDs run from 1 to 2^53");
        self.callee = calls::callee_features(roles);
        let subscriber = roles.and_then(|roles| roles.subscriber).unwrap_or_default();
        self.is_told_of_revocations = subscriber.has(Features::SUBSCRIPTION_REVOCATION);
        match auth::begin(settings, (realm, self.realm, session), details) {
            Ok(Begun::Accepted(accepted)) => self.welcome(session, accepted, out),
            Ok(Begun::Challenge(challenge, pending)) => {
                self.state = State::AwaitAuthenticate;
                self.held = Held::Pending(pending);
                self.say(out, &auth::challenge(challenge));
                Some(Command::AwaitAuthentication)
            }
            Err(error) => self.refuse(error, out),
        }
    }

    /// The session is open.
    fn welcome(
        &mut self,
        session: u64,
        accepted: Accepted,
        out: &mut Vec<u8>,
    ) -> Option<Command<'static>> {
        self.state = State::Open;
        self.id = session;
        self.say(out, &reply::welcome(session, &accepted));
        Some(accepted.identity.map_or(Command::Opened, Command::Identify))
    }

    /// The ticket was checked as a token: writes WELCOME or ABORT. Nothing, if it was not awaited.
    pub fn on_token_checked(
        &mut self,
        outcome: &TokenOutcome,
        out: &mut Vec<u8>,
    ) -> Option<Command<'static>> {
        if self.state != State::AwaitToken {
            return None;
        }
        let Held::Pending(pending) = std::mem::take(&mut self.held) else {
            unreachable!("what is awaited is pending");
        };
        let refusal = match outcome {
            Ok(admission) if auth::is_claimed(&pending, &admission.user) => {
                (self.state, self.id) = (State::Open, pending.session);
                self.say(out, &reply::welcome_by_token(self.id, admission));
                return None;
            }
            Err(TokenRefusal::Unavailable) => auth::UNCHECKED,
            Err(TokenRefusal::TooMany) => auth::TOO_MANY,
            // Which of them it was, a client is not told.
            Ok(_) | Err(TokenRefusal::Invalid | TokenRefusal::Expired | TokenRefusal::Missing) => {
                auth::refusal(AuthError::Denied)
            }
        };
        let (reason, message) = refusal;
        self.say(out, &reply::abort(reason, message));
        self.close(CloseCode::POLICY_VIOLATION, reason)
    }

    /// The session is not let in.
    fn refuse(&mut self, error: AuthError, out: &mut Vec<u8>) -> Option<Command<'static>> {
        let (reason, message) = auth::refusal(error);
        self.say(out, &reply::abort(reason, message));
        self.close(CloseCode::POLICY_VIOLATION, reason)
    }

    /// AUTHENTICATE has not come in time, or more are awaited than may be, or its ticket was not checked: writes
    /// ABORT.
    pub fn give_up_authentication(
        &mut self,
        message: &str,
        out: &mut Vec<u8>,
    ) -> Option<Command<'static>> {
        if !matches!(self.state, State::AwaitAuthenticate | State::AwaitToken) {
            return None;
        }
        self.say(out, &reply::abort(uri::AUTHENTICATION_FAILED, message));
        self.close(CloseCode::POLICY_VIOLATION, uri::AUTHENTICATION_FAILED)
    }

    /// Whether nothing but HELLO may come.
    pub(super) fn awaits_hello(&self) -> bool {
        self.state == State::AwaitHello
    }

    /// HELLO has not come in time: a violation, whose close reason says what this connection speaks.
    pub(super) fn give_up_hello(&mut self, out: &mut Vec<u8>) -> Option<Command<'static>> {
        match self.awaits_hello() {
            true => self.violate("HELLO has not come in time.", out),
            false => None,
        }
    }

    fn broker_mut(&mut self) -> &mut Broker {
        if let Held::Pending(_) = self.held {
            self.held = Held::default(); // it has ended
        }
        match &mut self.held {
            Held::Broker(broker) => broker,
            Held::Pending(_) => unreachable!("it was replaced"),
        }
    }

    fn listed(&self) -> Option<&Subscriptions> {
        match &self.held {
            Held::Broker(broker) => Some(broker.subscriptions()),
            Held::Pending(_) => None,
        }
    }

    fn handle_open<'a>(
        &mut self,
        message: WampMessage<'a>,
        out: &mut Vec<u8>,
        settings: &Settings,
    ) -> Option<Command<'a>> {
        let answers = &mut self.answers(out);
        let names = settings.names(self.realm);
        match message {
            WampMessage::Publish {
                request,
                options,
                topic,
                arguments,
            } => {
                let what = (request, topic, arguments);
                broker::publish(self.id, what, &options, answers, names)
            }
            WampMessage::Subscribe {
                request,
                options,
                topic,
            } => {
                let broker = self.broker_mut();
                broker.subscribe(request, options.get(), topic, answers, (settings, names))
            }
            WampMessage::Unsubscribe {
                request,
                subscription,
            } => self
                .broker_mut()
                .unsubscribe(request, subscription, answers),
            WampMessage::Goodbye { .. } => {
                self.say(out, &reply::goodbye(uri::GOODBYE_AND_OUT, None));
                self.close(CloseCode::NORMAL, uri::GOODBYE_AND_OUT)
            }
            WampMessage::Hello { .. } => {
                self.violate("Received HELLO message after session was established.", out)
            }
            WampMessage::Abort { .. } => self.handle_abort(),
            other => match calls::handle(self.as_caller(), other, answers, names) {
                Ok(command) => command,
                Err(code) => {
                    let message = format!("Received an unexpected message of type {code}.");
                    self.violate(&message, out)
                }
            },
        }
    }

    /// "Difference between ABORT and GOODBYE": it is never replied to.
    fn handle_abort(&mut self) -> Option<Command<'static>> {
        self.close(CloseCode::NORMAL, "aborted by client")
    }

    /// Ends the session. The subscriptions stay listed for the caller's cleanup.
    fn close(&mut self, code: CloseCode, reason: &'static str) -> Option<Command<'static>> {
        self.state = State::Closed;
        Some(Command::Close { code, reason })
    }
}
