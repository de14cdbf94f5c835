//! What messages ask for.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

use roost_access::{Identity, Provider, UserName};
use roost_dealer::{Answer, CalleeFeatures, CancelMode, Match, Policy};
use roost_hub::{ChannelId, PatternKind, Since};
use roost_wire::CloseCode;

use super::entries::EntryQuery;
use super::input::Message;
use super::sessions::SessionQuery;
use crate::{CallBodyRef, Form, PayloadRef, PublishDetails};

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
        /// The token of [`Event::Published`](super::Event::Published) or [`Event::Refused`](super::Event::Refused); `None`: the dialect does not
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
        /// The token of [`Event::Subscribed`](super::Event::Subscribed), [`Event::Refused`](super::Event::Refused) or [`Event::SubscriptionRefused`](super::Event::SubscriptionRefused).
        token: u64,
        /// What a token of the client's has allowed ([`Command::CheckSubscription`]).
        grant: Option<Grant>,
    },
    /// A token has allowed a subscription for longer. [`Event::GrantRefreshed`](super::Event::GrantRefreshed) follows.
    RefreshGrant {
        /// The channel.
        channel: Cow<'a, str>,
        /// From now on.
        grant: Grant,
        /// The token of the event.
        token: u64,
    },
    /// Find out whether a token allows a subscription to a channel. As [`Command::CheckToken`].
    CheckSubscription(TokenText<'a>, Cow<'a, str>),
    /// End a subscription.
    Unsubscribe {
        /// The channel, as [`Event::Subscribing`](super::Event::Subscribing) named it.
        channel: ChannelId,
        /// The form of the subscription.
        form: Form,
        /// The token of [`Event::Unsubscribed`](super::Event::Unsubscribed).
        token: u64,
    },
    /// The same by the channel's name. [`Event::UnsubscribedFrom`](super::Event::UnsubscribedFrom) follows.
    UnsubscribeFrom {
        /// The channel.
        channel: Cow<'a, str>,
        /// The form of the subscription.
        form: Form,
        /// The token of the event.
        token: u64,
    },
    /// Ask who is in a channel. [`Event::Presence`](super::Event::Presence) follows, or
    /// [`Event::Refused`](super::Event::Refused).
    AskPresence {
        /// The channel.
        channel: Cow<'a, str>,
        /// Whether only how many there are is asked for.
        counts_only: bool,
        /// The token of the event.
        token: u64,
    },
    /// Find out who the client is, by its token or without one. Nothing more is drawn until
    /// [`Event::TokenChecked`](super::Event::TokenChecked), and then what was left in the input.
    CheckToken(Option<TokenText<'a>>),
    /// Nothing more is drawn until subscriptions that are under way have been answered, and then what was left in the
    /// input: [`Event::SubscriptionsAwaited`](super::Event::SubscriptionsAwaited) follows at once, and
    /// [`Next::EndWait`](super::Next::EndWait) to some event ends it.
    AwaitSubscriptions,
    /// Read what a channel keeps. [`Event::History`](super::Event::History) follows, and nothing more is drawn until then.
    ReadHistory(ReadHistory<'a>),
    /// Ask the application for something, by a method of its own.
    /// [`Event::RpcAnswered`](super::Event::RpcAnswered) follows, and nothing more is drawn until then.
    Rpc {
        /// The method's name.
        method: Cow<'a, str>,
        /// Its data, which is JSON.
        data: Option<Cow<'a, str>>,
        /// The token of the event.
        token: u64,
    },
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
        /// The number by which other clients know it.
        session: u64,
        /// The token of [`Notice::Registered`](roost_dealer::Notice::Registered) or [`Notice::RegisterRefused`](roost_dealer::Notice::RegisterRefused).
        token: u64,
    },
    /// Offer a procedure no longer.
    Unregister {
        /// As [`Notice::Registered`](roost_dealer::Notice::Registered) named it.
        registration: u64,
        /// The token of [`Event::Unregistered`](super::Event::Unregistered).
        token: u64,
    },
    /// Call a procedure. [`Notice::Answer`](roost_dealer::Notice::Answer) or [`Event::CallRefused`](super::Event::CallRefused) follows.
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
        /// As [`Notice::Invocation`](roost_dealer::Notice::Invocation) named it.
        invocation: u64,
        /// What is said.
        answer: Answer<CallBodyRef<'a>>,
    },
    /// Ask about sessions, by calling a procedure of the router's.
    /// [`Notice::Answer`](roost_dealer::Notice::Answer) follows.
    AskSessions {
        /// The procedure's whole name, by which it is allowed.
        procedure: Cow<'a, str>,
        /// Whether it takes a permission, whatever the namespace allows.
        takes_permission: bool,
        /// As in [`Command::Call`].
        request: u64,
        /// What is asked.
        query: Box<SessionQuery>,
    },
    /// Ask about registrations or subscriptions, in the same way.
    AskEntries {
        /// The procedure's whole name, by which it is allowed.
        procedure: Cow<'a, str>,
        /// As in [`Command::Call`].
        request: u64,
        /// What is asked.
        query: Box<EntryQuery>,
    },
    /// The client is being authenticated: [`Event::AuthenticationOver`](super::Event::AuthenticationOver) comes unless that ends in time.
    AwaitAuthentication,
    /// The client has been authenticated, or has a role without that: what it may do from now on.
    Identify(Box<Identity>),
    /// The session is open, and the client is who it was.
    Opened,
    /// Send what stands in the replies, if anything, then start the closing handshake.
    Close {
        /// Status code to close with.
        code: CloseCode,
        /// UTF-8 reason, at most 123 bytes.
        reason: &'static str,
    },
}

/// What is asked for of a channel's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadHistory<'a> {
    /// The channel.
    pub channel: Cow<'a, str>,
    /// Publications behind this position, or in reverse those before it: its epoch, if the client knows it, and
    /// its offset. `None`: all.
    pub since: Option<(Option<u64>, u64)>,
    /// Most publications of a page.
    pub limit: u32,
    /// The newest first.
    pub is_reverse: bool,
    /// The token of the event.
    pub token: u64,
}

/// A token in a message. It stands in no log.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText<'a>(pub Cow<'a, str>);

impl Debug for TokenText<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenText(..)")
    }
}

/// What a token allows: a subscription where the channel's namespace asks for a permission, or for more, but for
/// where none may subscribe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// In how many seconds the subscription is to be allowed again, if it is not for ever.
    pub expires_in_s: Option<u32>,
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
    /// Who vouches for it; [`Provider::Static`] of an anonymous client.
    pub provider: Provider,
    /// Channels that it is subscribed to without asking, where its dialect has a place for that.
    pub subscriptions: Arc<[Box<str>]>,
    /// What other clients are told of it beside its user, or of the subscription that it may have, as JSON.
    pub info: Option<Arc<str>>,
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

/// What [`Command::Rpc`] has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RpcAnswer {
    /// What the application says, as JSON; `None`: nothing.
    Result(Option<Arc<str>>),
    /// What it says instead.
    Error {
        /// Its own code.
        code: u32,
        /// For the client.
        message: Box<str>,
        /// Whether the client may try again.
        is_temporary: bool,
    },
    /// It could not be asked now.
    Unavailable,
    /// No application is asked.
    NotServed,
}

/// What is subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubscribeTo<'a> {
    /// A channel by its name, which has passed [`check_channel_name`](crate::check_channel_name).
    Channel(Cow<'a, str>),
    /// The same, and what was published before ([`Event::Subscribed`](super::Event::Subscribed) brings it, or says what is
    /// missing). Nothing is delivered until then.
    Since(Cow<'a, str>, Since),
    /// The same behind the offset that the client has come to, in this epoch or whichever there is, as the
    /// channel's namespace recovers ([`Recovers`](super::Recovers)): where it does not, as [`SubscribeTo::Channel`].
    Behind(Cow<'a, str>, Option<u64>, u64),
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
    /// A channel by its name, to which the session has to be subscribed. The dialect has seen that it may
    /// publish there; such publications have a rate of their own, `pusher.client_events_per_second_max`.
    Subscribed(Cow<'a, str>),
}
