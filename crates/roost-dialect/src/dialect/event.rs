//! What happens to sessions.

use roost_access::Denial;
use roost_dealer::{CallError, NeverInvoked, Notice};
use roost_hub::{ChannelId, Loss, Position, PresenceView, Snapshot};
use roost_wire::{CloseCode, Frozen};

use super::command::{Grant, RpcAnswer, TokenOutcome};
use crate::{CallBody, Form, Publication};

/// What happens to a session.
#[derive(Debug, Clone)]
pub enum Event<'a> {
    /// The connection has opened, and the dialect speaks first ([`Dialect::GREETS`](super::Dialect::GREETS)).
    Greeting,
    /// [`Command::Subscribe`](super::Command::Subscribe) is under way, and this is the channel. Comes before `Subscribed`.
    Subscribing {
        /// The command's.
        token: u64,
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
        /// What the channel's namespace promises those that come back.
        recovers: Recovers,
        /// What was before, if the command asked for it with [`SubscribeTo::Since`](super::SubscribeTo::Since) or
        /// [`SubscribeTo::Behind`](super::SubscribeTo::Behind). Not where the session was subscribed already.
        recovery: Option<Recovered<'a>>,
    },
    /// The subscription has ended.
    Unsubscribed {
        /// The command's.
        token: u64,
    },
    /// What [`Command::UnsubscribeFrom`](super::Command::UnsubscribeFrom) asked for.
    UnsubscribedFrom {
        /// The command's.
        token: u64,
        /// The channel that the session was subscribed to, or about to be; `None`: it was not.
        channel: Option<ChannelId>,
    },
    /// What [`Command::CheckToken`](super::Command::CheckToken) asked for.
    TokenChecked(&'a TokenOutcome),
    /// What [`Command::Rpc`](super::Command::Rpc) asked for.
    RpcAnswered {
        /// The command's.
        token: u64,
        /// What is said.
        answer: &'a RpcAnswer,
    },
    /// What [`Command::AskPresence`](super::Command::AskPresence) asked for.
    Presence {
        /// The command's.
        token: u64,
        /// Who is in the channel.
        view: &'a PresenceView,
    },
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
    /// What [`Command::AwaitAuthentication`](super::Command::AwaitAuthentication) waits for has not come, for this reason. Nothing, if it has.
    AuthenticationOver(&'static str),
    /// The client has not sent in time what opens the session
    /// ([`Dialect::OPENED_BY_CLIENT`](super::Dialect::OPENED_BY_CLIENT)). Nothing, if it has.
    OpeningMissing,
    /// So many messages were dropped for this connection since it was last told, because it reads
    /// too slowly. What is written now is sent behind those that were not dropped.
    Dropped {
        /// How many.
        messages: u64,
    },
    /// A publication of this channel was dropped for this connection, where the channel's namespace recovers and
    /// the dialect's clients hold positions ([`Dialect::HOLDS_POSITIONS`](super::Dialect::HOLDS_POSITIONS)). None that is
    /// behind it has been sent, or will be before [`Next::Unsubscribe`].
    Missed {
        /// The channel.
        channel: ChannelId,
        /// Its name.
        name: &'a str,
    },
    /// What a token has allowed has expired, and the client has had time to show another one.
    GrantExpired {
        /// The channel.
        channel: ChannelId,
        /// Its name.
        name: &'a str,
    },
    /// [`Command::AwaitSubscriptions`](super::Command::AwaitSubscriptions) has begun.
    SubscriptionsAwaited,
    /// [`Next::EndWait`] was said: where the session's channels stand now. What is behind that follows.
    WaitEnded {
        /// Those that it is subscribed to, or about to be.
        positions: &'a [(ChannelId, Position)],
    },
    /// The client has no WebSocket: it sends by requests that name the session by this, which nobody else knows.
    Emulated {
        /// The name, of visible ASCII.
        name: &'a str,
    },
    /// What [`Command::RefreshGrant`](super::Command::RefreshGrant) asked for.
    GrantRefreshed {
        /// The command's.
        token: u64,
        /// Whether there is such a subscription.
        existed: bool,
        /// As in the command.
        grant: Grant,
    },
    /// What [`Command::ReadHistory`](super::Command::ReadHistory) asked for.
    History {
        /// The command's.
        token: u64,
        /// What the channel keeps, or why that is not told.
        answer: Result<&'a HistoryPage, HistoryRefusal>,
    },
    /// The connection is about to be closed as a slow consumer.
    SlowConsumer {
        /// The close frame's reason.
        reason: &'a str,
    },
    /// What the client is known as has expired; the close frame follows what is written now.
    Expired {
        /// What: the token, or the certificate.
        credential: &'a str,
    },
    /// What the client is known as is not taken any more; the same follows.
    Revoked {
        /// What: the token, or the certificate.
        credential: &'a str,
    },
    /// The application ends the connection; the same follows.
    Disconnected {
        /// The close frame's reason.
        reason: &'a str,
    },
    /// The client has done more than its rates allow; the same follows.
    OverLimit {
        /// It has asked for too much that is refused, and not for too much.
        is_refusals: bool,
        /// The close frame's reason.
        reason: &'a str,
    },
    /// Another session ends this one; the same follows.
    Killed {
        /// A URI.
        reason: &'a str,
        /// For a person.
        message: &'a str,
    },
    /// The server shuts down; the close frame follows what is written now.
    Draining,
    /// The client is to be pinged, where the dialect does that itself ([`Dialect::PINGS`](super::Dialect::PINGS)).
    PingDue,
    /// It has sent nothing since, for too long; the connection is then closed.
    PongMissing,
}

/// What a subscription that asked for the time before it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovered<'a> {
    /// All that was asked for, oldest first, each with its offset: up to the snapshot's position, and
    /// without a hole. A publication that is for others only is left out.
    Publications(&'a [(u64, Frozen)]),
    /// Something is missing, for this reason, and nothing is given: what is delivered begins behind the
    /// snapshot's position.
    Lost(Loss),
}

/// What a namespace promises subscribers that come back, where their dialect can say where they were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Recovers {
    /// Nothing.
    #[default]
    Nothing,
    /// All they have missed, or to be told that something is missing.
    Stream,
    /// The last publication.
    Latest,
}

/// A page of what a channel keeps.
#[derive(Debug, Clone)]
pub struct HistoryPage {
    /// The channel's last publication.
    pub position: Position,
    /// Publications with their offsets, in the order asked for.
    pub publications: Vec<(u64, Publication)>,
    /// More are there, behind the last of these.
    pub has_more: bool,
    /// In how many milliseconds the channel's newest is forgotten, if that was asked for and one is there.
    pub newest_ends_in_ms: Option<u64>,
}

/// Why a client does not get what a channel keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryRefusal {
    /// It may not.
    NotAllowed(Denial),
    /// The channel's name cannot be.
    InvalidName,
    /// The channel's namespace keeps nothing.
    NotKept,
    /// So much is being asked for already.
    Busy,
    /// The position it names is none of the channel's.
    Lost(Loss),
}

/// The commands that can be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// [`Command::Publish`](super::Command::Publish).
    Publish,
    /// [`Command::Subscribe`](super::Command::Subscribe).
    Subscribe,
    /// [`Command::Register`](super::Command::Register).
    Register,
    /// [`Command::Call`](super::Command::Call).
    Call,
    /// [`Command::AskPresence`](super::Command::AskPresence).
    Presence,
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
    /// The channel's namespace does not know it.
    NotKept,
    /// The connection has asked too often; it may ask again at once.
    TooOften,
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
    /// What was written is sent, and this subscription, which the dialect has forgotten, ends.
    Unsubscribe {
        /// The channel.
        channel: ChannelId,
        /// The form of the subscription.
        form: Form,
    },
    /// What was written is sent. The client is to be authenticated, as by
    /// [`Command::AwaitAuthentication`](super::Command::AwaitAuthentication).
    AwaitAuthentication,
    /// What was written is sent. The client was told that the channel, which keeps its last publication, has
    /// none.
    CacheMissed {
        /// The channel.
        channel: ChannelId,
    },
    /// The subscriptions that the session waits for have been answered: [`Event::WaitEnded`] follows, and then
    /// commands are drawn again.
    EndWait,
}
