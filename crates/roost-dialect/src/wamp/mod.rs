//! WAMP v2, the broker's side, one JSON value a text message (`wamp.2.json`).
//!
//! A [`Session`] is what a WAMP connection keeps beside the connection table: its state and its
//! subscriptions. It turns a message into a [`Command`] and writes all answers; what the command
//! asks for is done by the caller, who reports back with one of the `on_` functions. Sections of
//! the specification are quoted by their titles ("IDs", "Protocol errors").
//!
//! `docs/wamp.md` says what is supported and how the rest is answered.

use std::borrow::Cow;

use roost_hub::ChannelId;
use roost_wire::CloseCode;

use crate::dialect::{Command, Target};
use crate::{Form, PayloadRef, check_channel_name};
use message::{HelloDetails, Incoming, Match, PublishOptions};
use subscriptions::Subscriptions;

mod message;
mod reply;
mod sessions;
mod subscriptions;
pub mod uri;

pub use sessions::Wamp;

/// What a session obeys. Shared by all sessions of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether WAMP is served: `/wamp` exists, and `wamp.2.json` is selected when offered.
    pub enabled: bool,
    /// Which realms a client may join.
    pub realms: Realms,
    /// Most subscriptions a session may have, those not yet acknowledged included.
    pub subscriptions_per_connection_max: usize,
    /// Longest topic, in bytes of UTF-8.
    pub channel_name_bytes_max: usize,
}

/// Which realms exist. A realm is a name at the door: all of them lead to one channel space, which
/// is also the raw dialect's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Realms {
    /// Any valid URI.
    Any,
    /// These and no others.
    Listed(Vec<String>),
}

impl Default for Realms {
    /// None.
    fn default() -> Realms {
        Realms::Listed(Vec::new())
    }
}

impl Realms {
    /// The configuration's list: `*` stands for any.
    pub fn from_list(names: impl IntoIterator<Item = String>) -> Realms {
        let names = Vec::from_iter(names);
        if names.iter().any(|name| name == "*") {
            Realms::Any
        } else {
            Realms::Listed(names)
        }
    }

    fn contains(&self, realm: &str) -> bool {
        match self {
            Realms::Any => true,
            Realms::Listed(names) => names.iter().any(|name| name == realm),
        }
    }
}

/// The requests that are answered later than they are handled; the number is the message's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// PUBLISH with `acknowledge`.
    Publish = 16,
    /// SUBSCRIBE.
    Subscribe = 32,
    /// UNSUBSCRIBE.
    Unsubscribe = 34,
}

/// One WAMP session, from before its HELLO to after its GOODBYE. It ends with its connection: a
/// second session on the same transport is not offered.
#[derive(Debug, Default)]
pub struct Session {
    state: State,
    subscriptions: Subscriptions,
}

const _: () = assert!(size_of::<Session>() <= 48);

/// A session taken apart: see [`Session::into_state`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionState {
    /// How far it has come.
    pub state: State,
    /// Its channels, in no order, each with its topic's number once that is confirmed, else 0.
    pub subscriptions: Vec<(ChannelId, u64)>,
}

/// How far a session has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// Nothing but HELLO may come.
    #[default]
    AwaitHello,
    /// HELLO was answered with WELCOME.
    Open {
        /// Its id, in 1..2^53.
        session: u64,
        /// Subscribed to [`uri::DROPPED`].
        told_of_drops: bool,
    },
    /// GOODBYE was sent and its answer is awaited; all else is ignored ("Session Statechart", 14).
    Closing,
    /// Nothing is read or written any more.
    Closed,
}

impl Session {
    /// A session that awaits its HELLO.
    pub fn new() -> Session {
        Session::default()
    }

    /// Takes the session apart, field by field.
    pub fn into_state(self) -> SessionState {
        let Session {
            state,
            subscriptions,
        } = self;
        SessionState {
            state,
            subscriptions: subscriptions.into_list(),
        }
    }

    /// The session that [`Session::into_state`] took apart.
    pub fn from_state(state: SessionState) -> Session {
        let SessionState {
            state,
            subscriptions,
        } = state;
        Session {
            state,
            subscriptions: Subscriptions::from_list(subscriptions),
        }
    }

    /// Takes one text message. What is to be answered at once is appended to `out`, one WAMP
    /// message at most: the caller sends it as a text message, before it closes if the command is
    /// [`Command::Close`]. `None` asks for nothing more. `new_id` draws from 1 to 2^53, uniformly; it is called for WELCOME.
    ///
    /// Work and memory are linear in the message's length.
    pub fn handle<'a>(
        &mut self,
        text: &'a str,
        out: &mut String,
        new_id: &mut dyn FnMut() -> u64,
        settings: &Settings,
    ) -> Option<Command<'a>> {
        if self.state == State::Closed {
            return None;
        }
        let message = match message::parse(text) {
            Ok(message) => message,
            Err(error) => {
                return self.violate(&format!("Received a malformed message: {error}"), out);
            }
        };
        match (self.state, message) {
            (State::AwaitHello | State::Closing, Incoming::Abort) => self.handle_abort(),
            (State::AwaitHello, Incoming::Hello { realm, details }) => {
                self.handle_hello(&realm, &details, out, new_id, settings)
            }
            (State::AwaitHello, _) => self.violate(
                "Received a message before the session was established: the first must be HELLO.",
                out,
            ),
            (State::Closing, Incoming::Goodbye) => {
                self.close(CloseCode::GOING_AWAY, uri::SYSTEM_SHUTDOWN)
            }
            (State::Closing | State::Closed, _) => None,
            (State::Open { .. }, message) => self.handle_open(message, out, settings),
        }
    }

    /// Takes a binary message, which `wamp.2.json` does not know ("WebSocket Transport": all
    /// messages must be of type text).
    pub fn handle_binary(&mut self, out: &mut String) -> Option<Command<'static>> {
        if self.state == State::Closed {
            return None;
        }
        self.violate(
            "Received a binary message; wamp.2.json has text messages only.",
            out,
        )
    }

    /// Says that [`Command::Subscribe`] is under way for `channel`; call it as soon as the channel
    /// is known and before `on_subscribed`. From then on [`Session::subscriptions`] has it.
    pub fn on_subscribing(&mut self, channel: ChannelId) {
        self.subscriptions.add(channel);
    }

    /// The subscribe with this token is in force: writes SUBSCRIBED. `topic` is the subscription's
    /// id. A topic subscribed twice stays one subscription and is answered with the same id.
    pub fn on_subscribed(&mut self, token: u64, channel: ChannelId, topic: u64, out: &mut String) {
        self.subscriptions.confirm(channel, topic);
        if self.is_open() {
            reply::subscribed(out, token, topic);
        }
    }

    /// The subscription is gone: writes UNSUBSCRIBED.
    pub fn on_unsubscribed(&mut self, token: u64, out: &mut String) {
        if self.is_open() {
            reply::unsubscribed(out, token);
        }
    }

    /// The publication is ordered: writes PUBLISHED. Only for a publish whose `ack` was `Some`.
    pub fn on_published(&mut self, token: u64, publication: u64, out: &mut String) {
        if self.is_open() {
            reply::published(out, token, publication);
        }
    }

    /// The request was not fulfilled: writes ERROR with one of the URIs of [`uri`]. Not for a
    /// publish whose `ack` was `None`. A refused subscribe must not have been announced with
    /// [`Session::on_subscribing`], or be taken back with [`Session::forget`].
    pub fn on_refused(&mut self, request: Request, token: u64, error: &str, out: &mut String) {
        if self.is_open() {
            reply::error(out, request as u64, token, error);
        }
    }

    /// Drops a channel without a word on the wire.
    pub fn forget(&mut self, channel: ChannelId) {
        self.subscriptions.remove(channel);
    }

    /// The server goes down: writes GOODBYE, or ABORT when no session is open yet. The answer to
    /// GOODBYE, handled as usual, gives [`Command::Close`]; the caller need not wait for it.
    pub fn goodbye(&mut self, out: &mut String) {
        match self.state {
            State::Open { .. } => {
                reply::goodbye(out, uri::SYSTEM_SHUTDOWN);
                self.state = State::Closing;
            }
            State::AwaitHello => {
                reply::abort(out, uri::SYSTEM_SHUTDOWN, "The server is going down.");
                self.state = State::Closed;
            }
            State::Closing | State::Closed => {}
        }
    }

    /// The session did not read what waited for it, and is closed for that: writes GOODBYE, or
    /// nothing when no session is open. No answer is awaited.
    pub fn close_slow(&mut self, message: &str, out: &mut String) {
        if self.is_open() {
            reply::goodbye_with(out, uri::SLOW_CONSUMER, message);
        }
        self.state = State::Closed;
    }

    /// So many messages were dropped for this session: writes EVENT if it has subscribed to
    /// [`uri::DROPPED`]. `new_id` draws the publication's id.
    pub fn on_dropped(&self, messages: u64, new_id: &mut dyn FnMut() -> u64, out: &mut String) {
        if let State::Open {
            told_of_drops: true,
            ..
        } = self.state
        {
            reply::event(out, DROPPED_SUBSCRIPTION, new_id(), messages);
        }
    }

    /// Notes whether the session is subscribed to [`uri::DROPPED`]; returns whether it was.
    fn set_told_of_drops(&mut self, told: bool) -> bool {
        match &mut self.state {
            State::Open { told_of_drops, .. } => std::mem::replace(told_of_drops, told),
            _ => false,
        }
    }

    /// The session's id, while it is open.
    pub fn id(&self) -> Option<u64> {
        match self.state {
            State::Open { session, .. } => Some(session),
            State::AwaitHello | State::Closing | State::Closed => None,
        }
    }

    /// Whether HELLO has been answered with WELCOME and neither side has said GOODBYE.
    pub fn is_open(&self) -> bool {
        self.id().is_some()
    }

    /// All channels the session is subscribed to or about to be, each once, in no order: what to
    /// unsubscribe when the connection ends.
    pub fn subscriptions(&self) -> impl Iterator<Item = ChannelId> {
        self.subscriptions.iter()
    }

    /// Takes one of them out, until there is none.
    pub fn pop_subscription(&mut self) -> Option<ChannelId> {
        self.subscriptions.pop()
    }

    /// Whether the session is subscribed to the channel or about to be.
    pub fn is_subscribed(&self, channel: ChannelId) -> bool {
        self.subscriptions.contains(channel)
    }

    /// Bytes of memory the session holds, itself included; nearly, beyond 64 subscriptions.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Session>() + self.subscriptions.heap_bytes()
    }

    fn handle_hello(
        &mut self,
        realm: &str,
        details: &HelloDetails<'_>,
        out: &mut String,
        new_id: &mut dyn FnMut() -> u64,
        settings: &Settings,
    ) -> Option<Command<'static>> {
        // "Client: Role and Feature Announcement": at least one role.
        if !details.has_role {
            return self.violate("HELLO announces no client role: Details.roles must have publisher, subscriber, caller or callee.", out);
        }
        let refusal = if !uri::is_loose(realm) {
            Some((
                uri::INVALID_URI,
                "The realm is not a valid URI: it must be words with dots between, without # and spaces.",
            ))
        } else if !settings.realms.contains(realm) {
            Some((
                uri::NO_SUCH_REALM,
                "The realm does not exist on this server (wamp.realms lists them).",
            ))
        } else if details.wants_authentication {
            let message = "Only anonymous sessions are served: authmethods must have anonymous or be left out.";
            Some((uri::NO_MATCHING_AUTH_METHOD, message))
        } else if details
            .authrole
            .as_ref()
            .is_some_and(|role| role != "anonymous")
        {
            Some((
                uri::NO_SUCH_ROLE,
                "The only role is anonymous: authrole must be that or be left out.",
            ))
        } else {
            None
        };
        if let Some((reason, message)) = refusal {
            reply::abort(out, reason, message);
            return self.close(CloseCode::POLICY_VIOLATION, reason);
        }
        let session = new_id();
        debug_assert!((1..=1 << 53).contains(&session), "IDs run from 1 to 2^53");
        self.state = State::Open {
            session,
            told_of_drops: false,
        };
        reply::welcome(out, session);
        None
    }

    fn handle_open<'a>(
        &mut self,
        message: Incoming<'a>,
        out: &mut String,
        settings: &Settings,
    ) -> Option<Command<'a>> {
        match message {
            Incoming::Publish {
                request,
                options,
                topic,
                args,
                kwargs,
            } => {
                let payload = PayloadRef::Wamp { args, kwargs };
                handle_publish(request, &options, topic, payload, out, settings)
            }
            Incoming::Subscribe {
                request,
                pattern,
                topic,
            } => self.handle_subscribe(request, pattern, topic, out, settings),
            Incoming::Unsubscribe {
                request,
                subscription,
            } => self.handle_unsubscribe(request, subscription, out),
            Incoming::Goodbye => {
                reply::goodbye(out, uri::GOODBYE_AND_OUT);
                self.close(CloseCode::NORMAL, uri::GOODBYE_AND_OUT)
            }
            Incoming::ToDealer { code, request } => {
                let error = match code {
                    48 => uri::NO_SUCH_PROCEDURE,
                    66 => uri::NO_SUCH_REGISTRATION,
                    _ => uri::FEATURE_NOT_SUPPORTED,
                };
                reply::error_with(out, code, request, error, BROKER_ONLY);
                None
            }
            // The call it would cancel was answered already.
            Incoming::Cancel => None,
            Incoming::Hello { .. } => {
                self.violate("Received HELLO message after session was established.", out)
            }
            Incoming::Unexpected { code } => self.violate(
                &format!("Received an unexpected message of type {code}."),
                out,
            ),
            Incoming::Abort => self.handle_abort(),
        }
    }

    fn handle_subscribe<'a>(
        &mut self,
        request: u64,
        pattern: Match,
        topic: Cow<'a, str>,
        out: &mut String,
        settings: &Settings,
    ) -> Option<Command<'a>> {
        let refusal = if pattern != Match::Exact {
            Some((
                uri::OPTION_NOT_ALLOWED,
                "Topics are matched exactly here: match must be exact or be left out.",
            ))
        } else if let Err(message) = check_topic(&topic, settings) {
            Some((uri::INVALID_URI, message))
        } else if self.subscriptions.len() >= settings.subscriptions_per_connection_max {
            Some((
                uri::NOT_AUTHORIZED,
                "The session has as many subscriptions as it may have; end one first.",
            ))
        } else {
            None
        };
        if let Some((error, message)) = refusal {
            reply::error_with(out, Request::Subscribe as u64, request, error, message);
            return None;
        }
        if topic == uri::DROPPED {
            self.set_told_of_drops(true);
            reply::subscribed(out, request, DROPPED_SUBSCRIPTION);
            return None;
        }
        Some(Command::Subscribe {
            channel: topic,
            form: Form::WAMP_JSON,
            token: request,
        })
    }

    fn handle_unsubscribe(
        &mut self,
        request: u64,
        subscription: u64,
        out: &mut String,
    ) -> Option<Command<'static>> {
        if subscription == DROPPED_SUBSCRIPTION && self.set_told_of_drops(false) {
            reply::unsubscribed(out, request);
            return None;
        }
        let Some(channel) = self.subscriptions.remove_topic(subscription) else {
            let error = uri::NO_SUCH_SUBSCRIPTION;
            reply::error(out, Request::Unsubscribe as u64, request, error);
            return None;
        };
        Some(Command::Unsubscribe {
            channel,
            form: Form::WAMP_JSON,
            token: request,
        })
    }

    /// "Difference between ABORT and GOODBYE": it is never replied to.
    fn handle_abort(&mut self) -> Option<Command<'static>> {
        self.close(CloseCode::NORMAL, "aborted by client")
    }

    /// "Protocol errors": ABORT with `wamp.error.protocol_violation`, then the connection is
    /// dropped and nothing more of the peer's is processed.
    fn violate(&mut self, message: &str, out: &mut String) -> Option<Command<'static>> {
        reply::abort(out, uri::PROTOCOL_VIOLATION, message);
        // A client that has said nothing in WAMP yet may not know that it speaks it.
        let reason = match self.state {
            State::AwaitHello => NOT_WAMP,
            State::Open { .. } | State::Closing | State::Closed => uri::PROTOCOL_VIOLATION,
        };
        self.close(CloseCode::PROTOCOL_ERROR, reason)
    }

    /// Ends the session. The subscriptions stay listed for the caller's cleanup.
    fn close(&mut self, code: CloseCode, reason: &'static str) -> Option<Command<'static>> {
        self.state = State::Closed;
        Some(Command::Close { code, reason })
    }
}

fn handle_publish<'a>(
    request: u64,
    options: &PublishOptions,
    topic: Cow<'a, str>,
    payload: PayloadRef<'a>,
    out: &mut String,
    settings: &Settings,
) -> Option<Command<'a>> {
    let refusal = if let Err(message) = check_topic(&topic, settings) {
        Some((uri::INVALID_URI, message))
    } else if topic == uri::DROPPED {
        Some((
            uri::NOT_AUTHORIZED,
            "Only the broker publishes to roost.session.dropped.",
        ))
    } else if options.unsupported {
        let message = "Lists of receivers (eligible, exclude) and packed payloads (ppt_, enc_) are not supported.";
        Some((uri::OPTION_NOT_ALLOWED, message))
    } else if options.disclose_me {
        let message =
            "Publishers are not disclosed here: disclose_me must be false or be left out.";
        Some((uri::DISCLOSE_ME_DISALLOWED, message))
    } else {
        None
    };
    let Some((error, message)) = refusal else {
        return Some(Command::Publish {
            channel: Target::Name(topic),
            payload,
            exclude_me: Some(options.exclude_me),
            ack: options.acknowledge.then_some(request),
        });
    };
    // "Publish ERROR": sent only when the publisher asked for an acknowledgement.
    if !options.acknowledge {
        return None;
    }
    reply::error_with(out, Request::Publish as u64, request, error, message);
    None
}

/// Close reason for a client whose first message is no HELLO.
const NOT_WAMP: &str =
    "wamp.error.protocol_violation: this connection speaks wamp.2.json, which begins with HELLO";

const BROKER_ONLY: &str =
    "This router is a broker only: it serves PUBLISH and SUBSCRIBE, no remote procedures.";

/// The id of a subscription to [`uri::DROPPED`]: no topic's, for those are below 2^41.
const DROPPED_SUBSCRIPTION: u64 = 1 << 50;

/// A topic is a channel's name that is also a loose URI outside the protocol's own namespace. The
/// reserved namespace is closed to subscribers too: a raw publisher could feign meta events there.
fn check_topic(topic: &str, settings: &Settings) -> Result<(), &'static str> {
    check_channel_name(topic, settings.channel_name_bytes_max).map_err(|error| error.reason())?;
    if !uri::is_loose(topic) {
        return Err(
            "The topic is not a valid URI: it must be words with dots between, without # and spaces.",
        );
    }
    if uri::is_reserved(topic) {
        return Err("Topics that begin with wamp. are reserved by the protocol.");
    }
    Ok(())
}
