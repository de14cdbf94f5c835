//! The interface of a dialect: what a protocol on top of WebSocket must say of itself, and nothing
//! of connections, sockets or channels' subscribers.
//!
//! A message goes in as an [`Input`], from which the dialect draws one [`Command`] after the other.
//! What the commands lead to comes back as [`Event`]s. Answers are written to [`Replies`]. A
//! publication is encoded once for each [`Form`] that has a subscriber.
//!
//! A dialect keeps the state of its sessions in a table of its own. The record of a connection
//! holds one word for it ([`Session`]), which only the dialect understands.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

use roost_access::{Denial, Identity, UserName};
use roost_dealer::{
    Answer, CallError, CalleeFeatures, CancelMode, Match, NeverInvoked, Notice, Policy,
};
use roost_hub::{ChannelId, EventIds, PatternKind, Snapshot};
use roost_wire::handshake;
use roost_wire::{CloseCode, Frozen, Opcode};

use crate::{
    CallBody, CallBodyRef, Form, PayloadRef, Publication, PublishDetails, Receivers, Replies,
};

/// One protocol. Its instance lives on one reactor and holds the sessions there.
///
/// All methods are pure: no clock, no randomness, no system call. Work and memory of each are
/// linear in the bytes passed in, but for [`Dialect::pop_subscription`], which is one of a series.
pub trait Dialect: Sized {
    /// What counters, `/stats/slow` and logs call it.
    const NAME: &'static str;
    /// The forms in which it writes deliveries, by name; [`Form`] counts through those of all
    /// dialects.
    const FORMS: &'static [&'static str];
    /// Whether it may send back what it receives ([`Command::Send`]): output that waits may then be
    /// as large as the input.
    const SENDS_BACK: bool = false;
    /// Whether it pings clients itself ([`Event::PingDue`]), each in every interval and whether it is
    /// quiet or not, in place of WebSocket's pings.
    const PINGS: bool = false;
    /// What it obeys. Shared by all reactors.
    type Settings;
    /// What it keeps of a session, as plain values: what is handed over to another process.
    type State: Debug + Clone + PartialEq;

    /// An instance without sessions.
    fn new(settings: Arc<Self::Settings>) -> Self;

    /// Whether a request for a WebSocket is this dialect's, and what becomes of it. The first
    /// dialect of the list that does not answer [`Accept::NotMine`] has it.
    fn accept<'a>(settings: &Self::Settings, offer: &Offer<'a>) -> Accept<'a>;

    /// The connection is open. `joined` is the channel that [`Accept::Open`] named, `subprotocol`
    /// what it selected, and `terms` are its terms.
    fn open(
        &mut self,
        subprotocol: Option<&str>,
        terms: Terms,
        joined: Option<ChannelId>,
    ) -> Session;

    /// Draws the next command from a message. `None`: the message asks for nothing more. It is asked
    /// again only while something is left in the input.
    ///
    /// Bytes that it leaves there stand before the next message's (a command may span messages);
    /// they are bounded by `limits.message_bytes_max`. They are looked at again with the next
    /// message: how much is missing must be seen from a bounded prefix, or work is not linear.
    fn next<'a>(
        &mut self,
        session: Session,
        input: &mut Input<'a>,
        cx: &mut Context<'_>,
    ) -> Option<Command<'a>>;

    /// Something happened to the session.
    fn on(&mut self, session: Session, event: Event<'_>, cx: &mut Context<'_>) -> Next;

    /// Takes one subscription out, until there is none: the connection leaves its channels. Those
    /// that are not yet confirmed count. Nothing is written.
    fn pop_subscription(&mut self, session: &mut Session) -> Option<(ChannelId, Form)>;

    /// Whether the session is subscribed to a channel, or about to be.
    fn is_subscribed(&self, session: Session, channel: ChannelId) -> bool;

    /// The application ends a subscription that is in force; the replies say so, where the client is told.
    /// Its form; `None` if there is none, or the session cannot be without it.
    fn end_subscription(
        &mut self,
        session: Session,
        channel: (ChannelId, &str),
        cx: &mut Context<'_>,
    ) -> Option<Form> {
        let _ = (session, channel, cx);
        None
    }

    /// Names each channel or pattern that the session is subscribed to, or about to be, once: for people
    /// who look at it.
    fn each_subscription(&self, session: Session, visit: &mut dyn FnMut(ChannelId));

    /// Whether a publication for these receivers is for the session, which is known as `identity`.
    /// Those that are no session of the publisher's dialect are on no list.
    fn is_receiver(
        &self,
        session: Session,
        identity: Option<&Identity>,
        receivers: &Receivers,
    ) -> bool {
        let _ = (session, identity);
        receivers.admits(None)
    }

    /// Frees the session; the connection has ended. Its subscriptions have been taken out.
    fn close(&mut self, session: Session);

    /// Takes a session apart, by exhaustive destructuring: a field that is added must be said to
    /// stay or to go. The session ends here. Channels are those of the reactor's hub, which is
    /// handed over with it.
    fn export(&mut self, session: Session) -> Self::State;

    /// Begins a session where the one of this state stopped.
    fn import(&mut self, state: Self::State) -> Session;

    /// Whether a publication can be written in one of [`Dialect::FORMS`], by its place there. One that
    /// cannot is delivered to no subscriber with that form.
    fn carries(form: u8, publication: &Publication) -> bool {
        let _ = (form, publication);
        true
    }

    /// Encodes a publication in one of [`Dialect::FORMS`], by its place there: one unfragmented
    /// text or binary message. `channel` is the name of the one that it was published on.
    fn encode(form: u8, publication: &Publication, ids: EventIds, channel: &str) -> Frozen;

    /// The same for subscribers to a pattern that matches `channel`: `ids.topic` is the pattern's number.
    fn encode_matched(form: u8, publication: &Publication, ids: EventIds, channel: &str) -> Frozen {
        Self::encode(form, publication, ids, channel)
    }

    /// Bytes of the sessions' table, for the accounting of memory.
    fn memory_bytes(&self) -> usize;

    /// Cuts the sessions' table down to what is needed; returns the bytes that were freed.
    fn shrink(&mut self) -> usize;
}

/// What a dialect is asked whether it wants a connection.
#[derive(Debug, Clone)]
pub struct Offer<'a> {
    /// The request target's path as sent, without the query.
    pub path: &'a str,
    /// The tokens of Sec-WebSocket-Protocol in the client's order.
    pub subprotocols: &'a [&'a str],
    /// The request's headers.
    pub headers: Headers<'a>,
    /// Longest channel name, in bytes of UTF-8 after percent-decoding.
    pub channel_name_bytes_max: usize,
}

/// The headers of a request, by name in any case.
#[derive(Debug, Clone, Copy)]
pub struct Headers<'a>(Option<&'a handshake::Request<'a>>);

impl<'a> Headers<'a> {
    /// Of a request whose headers count for nothing here.
    pub const NONE: Headers<'static> = Headers(None);

    /// Of a request.
    pub fn of(request: &'a handshake::Request<'a>) -> Headers<'a> {
        Headers(Some(request))
    }

    /// Whether there is one of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0
            .is_some_and(|request| request.values(name).next().is_some())
    }

    /// The first of this name, unless it is not UTF-8.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0?.header(name)
    }
}

impl Offer<'_> {
    /// Whether the client offers this subprotocol. Compared with case, as RFC 6455 §11.5 registers
    /// them.
    pub fn offers(&self, subprotocol: &str) -> bool {
        self.subprotocols.contains(&subprotocol)
    }
}

/// What becomes of a request for a WebSocket. For a plain GET on the path, all but `NotMine` and
/// the refusals mean 426.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accept<'a> {
    /// Another dialect may want it; with none, 404.
    NotMine,
    /// Status 400 and the reason.
    Refused(Cow<'static, str>),
    /// The same with headers, by which a client's program can tell.
    RefusedNaming(&'static str, &'static [(&'static str, &'static str)]),
    /// A connection of this dialect.
    Open {
        /// The subprotocol to select in the answer, if any: one of those offered.
        subprotocol: Option<&'a str>,
        /// A channel to subscribe to, in this form, before the 101 is sent.
        join: Option<(Cow<'a, str>, Form)>,
        /// What else was agreed.
        terms: Terms,
    },
    /// The 101, without a subprotocol, and then this close frame: a browser shows the reason of a
    /// close, and none of a failed handshake.
    OpenAndClose(CloseCode, &'static str),
}

/// What a dialect and its client have agreed on beside the subprotocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    /// Told to [`Dialect::open`]; means what the dialect says.
    pub number: u8,
    /// A header of the 101.
    pub header: Option<(&'static str, &'static str)>,
}

/// A word in a connection's record, which only its dialect understands: an index into the dialect's
/// table, or all there is to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session(pub u32);

impl Session {
    /// Of a connection that has none, or of a dialect that keeps nothing.
    pub const NONE: Session = Session(u32::MAX);

    /// For the entry `index` of a dialect's table.
    ///
    /// # Panics
    /// At 2^32 - 1.
    pub fn at(index: usize) -> Session {
        let session = Session(u32::try_from(index).expect("a table has fewer than 2^32 entries"));
        assert_ne!(
            session,
            Session::NONE,
            "a table has fewer than 2^32 - 1 entries"
        );
        session
    }

    /// The entry of the dialect's table.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// Whether there is one.
    pub fn is_some(self) -> bool {
        self != Session::NONE
    }
}

/// A message as it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message, which is UTF-8 (RFC 6455 §8.1).
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// Its bytes.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }

    /// The opcode it came with.
    pub fn opcode(self) -> Opcode {
        match self {
            Message::Text(_) => Opcode::Text,
            Message::Binary(_) => Opcode::Binary,
        }
    }
}

/// What a dialect draws its commands from: one message, with bytes of binary messages before it
/// that were no whole command. A copy remembers what was left.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    rest: Option<Message<'a>>,
}

impl<'a> Input<'a> {
    /// A whole message.
    pub fn new(message: Message<'a>) -> Input<'a> {
        Input {
            rest: Some(message),
        }
    }

    /// Takes the whole message; `None` when that was done before.
    pub fn take(&mut self) -> Option<Message<'a>> {
        self.rest.take()
    }

    /// Takes what is left of a text message up to `separator`, which is taken too, or all of it;
    /// `None` when it is a binary message or nothing is left.
    pub fn take_text_until(&mut self, separator: char) -> Option<&'a str> {
        let Some(Message::Text(text)) = self.rest else {
            return None;
        };
        let Some((first, rest)) = text.split_once(separator) else {
            self.rest = None;
            return Some(text);
        };
        self.rest = (!rest.is_empty()).then_some(Message::Text(rest));
        Some(first)
    }

    /// Whether there is nothing left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_none()
    }

    /// What is left, as bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.rest.map_or(&[], Message::bytes)
    }

    /// Takes the first `count` bytes of what is left; what stays counts as binary.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn advance(&mut self, count: usize) {
        let rest = &self.bytes()[count..];
        self.rest = (!rest.is_empty()).then_some(Message::Binary(rest));
    }
}

/// What a message asks for. Borrows the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command<'a> {
    /// Send these bytes of the message back as a message of their own.
    Send(Message<'a>),
    /// Publish on a channel.
    Publish {
        /// Where.
        channel: Target<'a>,
        /// What to publish.
        payload: PayloadRef<'a>,
        /// Whether the publisher is left out even if it is subscribed; `None`: as the channel's
        /// namespace says (`receive_own`).
        exclude_me: Option<bool>,
        /// The token of [`Event::Published`] or [`Event::Refused`]; `None`: the dialect does not
        /// want to know of success.
        ack: Option<u64>,
        /// What else the publisher says of it.
        details: Option<Arc<PublishDetails>>,
    },
    /// Subscribe to a channel or to a pattern. The number of a pattern is a [`ChannelId`] as well, and
    /// no channel's at the same time.
    Subscribe {
        /// To what.
        what: SubscribeTo<'a>,
        /// The form in which its publications are wanted.
        form: Form,
        /// The token of [`Event::Subscribed`], [`Event::Refused`] or [`Event::SubscriptionRefused`].
        token: u64,
    },
    /// End a subscription.
    Unsubscribe {
        /// The channel, as [`Event::Subscribing`] named it.
        channel: ChannelId,
        /// The form of the subscription.
        form: Form,
        /// The token of [`Event::Unsubscribed`].
        token: u64,
    },
    /// The same by the channel's name. [`Event::UnsubscribedFrom`] follows.
    UnsubscribeFrom {
        /// The channel.
        channel: Cow<'a, str>,
        /// The form of the subscription.
        form: Form,
        /// The token of the event.
        token: u64,
    },
    /// Find out who the client is, by its token or without one. Nothing more is drawn until
    /// [`Event::TokenChecked`], and then what was left in the input.
    CheckToken(Option<TokenText<'a>>),
    /// Offer a procedure: be a callee.
    Register {
        /// Its name, or a pattern; with the realm in it, if realms are apart.
        procedure: Cow<'a, str>,
        /// How it is matched.
        matching: Match,
        /// Which callee is called, if there are several.
        policy: Policy,
        /// What the client can do as a callee.
        features: CalleeFeatures,
        /// The token of [`Notice::Registered`] or [`Notice::RegisterRefused`].
        token: u64,
    },
    /// Offer a procedure no longer.
    Unregister {
        /// As [`Notice::Registered`] named it.
        registration: u64,
        /// The token of [`Event::Unregistered`].
        token: u64,
    },
    /// Call a procedure. [`Notice::Answer`] or [`Event::CallRefused`] follows.
    Call {
        /// Its name.
        procedure: Cow<'a, str>,
        /// The client's number of the call, which no other open call of it has.
        request: u64,
        /// Whether progressive results are wanted.
        wants_progress: bool,
        /// The time until a result and from each to the next; 0 is any.
        timeout_ms: u64,
        /// For the callee.
        body: CallBodyRef<'a>,
    },
    /// Want a call's result no longer. Of one that is answered, nothing follows.
    CancelCall {
        /// As in [`Command::Call`].
        request: u64,
        /// What the callee is told.
        mode: CancelMode,
    },
    /// Answer an invocation. One that has ended otherwise is no mistake.
    Answer {
        /// As [`Notice::Invocation`] named it.
        invocation: u64,
        /// What is said.
        answer: Answer<CallBodyRef<'a>>,
    },
    /// The client is being authenticated: [`Event::AuthenticationOver`] comes unless that ends in time.
    AwaitAuthentication,
    /// The client has been authenticated, or has a role without that: what it may do from now on.
    Identify(Box<Identity>),
    /// Send what stands in the replies, if anything, then start the closing handshake.
    Close {
        /// Status code to close with.
        code: CloseCode,
        /// UTF-8 reason, at most 123 bytes.
        reason: &'static str,
    },
}

/// A token in a message. It stands in no log.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText<'a>(pub Cow<'a, str>);

impl Debug for TokenText<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenText(..)")
    }
}

/// As whom a client is let in, or why not.
pub type TokenOutcome = Result<Admission, TokenRefusal>;

/// As whom a client is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// Its user; empty of an anonymous client.
    pub user: UserName,
    /// In how many seconds the client is to show another token, if it may not stay as this.
    pub expires_in_s: Option<u32>,
}

/// Why a client is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRefusal {
    /// It has shown no token, and has to.
    Missing,
    /// The token has expired.
    Expired,
    /// The token is not good.
    Invalid,
    /// Its user has as many connections as may be.
    TooMany,
    /// It cannot be said now.
    Unavailable,
}

/// What is subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubscribeTo<'a> {
    /// A channel by its name, which has passed [`check_channel_name`](crate::check_channel_name).
    Channel(Cow<'a, str>),
    /// All channels that match. The text may be no pattern: the command is then refused.
    Pattern(PatternKind, Cow<'a, str>),
}

/// Where a publication goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target<'a> {
    /// A channel by its name, which has passed [`check_channel_name`](crate::check_channel_name).
    Name(Cow<'a, str>),
    /// The channel that the connection joined when it was accepted.
    Joined(ChannelId),
}

/// What happens to a session.
#[derive(Debug, Clone)]
pub enum Event<'a> {
    /// [`Command::Subscribe`] is under way, and this is the channel. Comes before `Subscribed`.
    Subscribing {
        /// The channel.
        channel: ChannelId,
        /// As in the command.
        form: Form,
    },
    /// The subscription is in force: nothing published from here on is missed.
    Subscribed {
        /// The command's.
        token: u64,
        /// The channel.
        channel: ChannelId,
        /// The channel's number in the server, in 1..2^53.
        topic: u64,
        /// The channel where the subscription begins: what is delivered from here on is behind its
        /// position, and nothing behind it is missing.
        snapshot: Snapshot,
    },
    /// The subscription has ended.
    Unsubscribed {
        /// The command's.
        token: u64,
    },
    /// What [`Command::UnsubscribeFrom`] asked for.
    UnsubscribedFrom {
        /// The command's.
        token: u64,
        /// The channel that the session was subscribed to, or about to be; `None`: it was not.
        channel: Option<ChannelId>,
    },
    /// What [`Command::CheckToken`] asked for.
    TokenChecked(&'a TokenOutcome),
    /// The publication has its place in the channel's order.
    Published {
        /// The command's.
        token: u64,
        /// The publication's number, in 1..2^53.
        publication: u64,
    },
    /// A command was not carried out.
    Refused {
        /// Which kind of command.
        request: Request,
        /// The command's; `None` for a publish without one.
        token: Option<u64>,
        /// Why.
        refusal: Refusal,
    },
    /// Calls and registrations: what the dealer says.
    Dealer(&'a Notice<CallBody>),
    /// A registration has ended.
    Unregistered {
        /// The command's.
        token: u64,
        /// Whether there was one.
        existed: bool,
    },
    /// A call is not made.
    CallRefused {
        /// The command's.
        request: u64,
        /// Why.
        error: CallError,
    },
    /// An answer to an invocation that never was.
    NeverInvoked(NeverInvoked),
    /// A subscription that was under way is refused after all, and has ended.
    SubscriptionRefused {
        /// The command's.
        token: u64,
        /// As [`Event::Subscribing`] named it.
        channel: ChannelId,
        /// Why.
        refusal: Refusal,
    },
    /// What [`Command::AwaitAuthentication`] waits for has not come, for this reason. Nothing, if it has.
    AuthenticationOver(&'static str),
    /// So many messages were dropped for this connection since it was last told, because it reads
    /// too slowly. What is written now is sent behind those that were not dropped.
    Dropped {
        /// How many.
        messages: u64,
    },
    /// The connection is about to be closed as a slow consumer.
    SlowConsumer {
        /// The close frame's reason.
        reason: &'a str,
    },
    /// What the client is known as has expired; the close frame follows what is written now.
    Expired,
    /// The token that the client has shown is not taken any more; the same follows.
    Revoked,
    /// The application ends the connection; the same follows.
    Disconnected {
        /// The close frame's reason.
        reason: &'a str,
    },
    /// The server shuts down; the close frame follows what is written now.
    Draining,
    /// The client is to be pinged, where the dialect does that itself ([`Dialect::PINGS`]).
    PingDue,
    /// It has sent nothing since, for too long; the connection is then closed.
    PongMissing,
}

/// The commands that can be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// [`Command::Publish`].
    Publish,
    /// [`Command::Subscribe`].
    Subscribe,
    /// [`Command::Register`].
    Register,
    /// [`Command::Call`].
    Call,
}

/// Why a command was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The connection may not do it.
    NotAllowed(Denial),
    /// The channel's name cannot be.
    InvalidName,
    /// There is no room for another channel or pattern.
    NoRoom,
    /// The text is no pattern: too long, too many levels or wildcards, or one that stands wrong.
    InvalidPattern,
    /// Patterns have their wildcards in as many arrangements as there may be.
    PatternShape,
}

/// What follows an event. Where a close frame follows anyway, its code and reason are these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// What was written is sent.
    Continue,
    /// What was written is sent, and a close frame behind it.
    Close {
        /// Status code to close with.
        code: CloseCode,
        /// UTF-8 reason, at most 123 bytes.
        reason: &'static str,
    },
}

/// What a dialect is lent while it is called.
pub struct Context<'a> {
    /// What the client is told.
    pub replies: &'a mut Replies,
    /// Draws a number from 1 to 2^53, uniformly.
    pub new_id: &'a mut dyn FnMut() -> u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_message_is_taken_once() {
        let mut input = Input::new(Message::Text("a"));
        assert_eq!(input.take(), Some(Message::Text("a")));
        assert_eq!(input.take(), None);
        assert_eq!(input.bytes(), b"");
    }

    #[test]
    fn a_message_is_taken_in_pieces() {
        let mut input = Input::new(Message::Binary(b"abc"));
        input.advance(1);
        assert_eq!(input.bytes(), b"bc");
        input.advance(0);
        assert_eq!(input.take(), Some(Message::Binary(b"bc")));
        let mut input = Input::new(Message::Binary(b"abc"));
        input.advance(3);
        assert_eq!(input.take(), None);
    }

    #[test]
    fn a_text_is_taken_between_separators() {
        let mut input = Input::new(Message::Text("a|b||c|"));
        let pieces = std::iter::from_fn(|| input.take_text_until('|'));
        assert_eq!(pieces.collect::<Vec<_>>(), ["a", "b", "", "c"]);
        assert!(input.is_empty());
        let mut input = Input::new(Message::Binary(b"a|b"));
        assert_eq!(input.take_text_until('|'), None);
        assert_eq!(input.bytes(), b"a|b");
    }

    #[test]
    #[should_panic(expected = "out of range")]
    fn no_more_is_taken_than_there_is() {
        Input::new(Message::Binary(b"abc")).advance(4);
    }
}
