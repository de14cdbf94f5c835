//! What goes into a hub and what comes out of it: [`Subscribe`], [`Publish`], [`Item`], [`Output`].

use std::sync::Arc;

use crate::encoding::{Encoding, EncodingSet};
use crate::error::PatternRefusal;
use crate::frames::Frames;
use crate::history::{Recovered, Recovery, Since};
use crate::ids::{ChannelId, EventIds, HomeIndex, NamespaceId, ReactorId, Snapshot, Subscriber};
use crate::names::Name;
use crate::patterns::Pattern;
use crate::presence::{Member, PresenceQuery, PresenceView};

/// What one reactor's hub says to another's. The reactor loses none, and carries them in order for
/// each pair of reactors; only `Publish` items, in order among themselves, may go a way of their
/// own, so that publishers can be held up where deliveries must not be.
#[derive(Debug, Clone)]
pub enum Item<P, F> {
    /// To the home: this reactor has subscribers in exactly these encodings. Sent when the first
    /// comes and whenever the set of encodings changes; each is answered by one `InterestAck`.
    Interest {
        /// The channel; the home keeps this very allocation.
        name: Name,
        /// The channel's namespace.
        namespace: NamespaceId,
        /// Where deliveries shall go.
        local: LocalRef,
        /// What the reactor wants from now on.
        encodings: EncodingSet,
        /// As in [`crate::Hub::set_cause`].
        cause: u64,
    },
    /// From the home: everything published from now on will be delivered in these encodings.
    InterestAck {
        /// The channel on the reactor that asked.
        local: LocalRef,
        /// The channel's place at home; valid until the reactor sends `Uninterest`.
        home: HomeIndex,
        /// What the home now delivers to this reactor.
        encodings: EncodingSet,
        /// The channel at this moment, in order with the deliveries.
        snapshot: Snapshot,
    },
    /// To the home, behind the interest: what was published before a subscription is wanted as well.
    /// Answered by one `Recovered`.
    Recover(Box<Recover>),
    /// From the home, in order with deliveries: what was before, for one that becomes a subscriber with
    /// this.
    Recovered(Box<(Recoverer, Recovered<F>)>),
    /// To the home: the last subscriber here has gone.
    Uninterest {
        /// The channel; by name while the home's answer has not come.
        target: Target,
        /// The interest that ends.
        local: LocalRef,
        /// As in [`crate::Hub::set_cause`].
        cause: u64,
    },
    /// To the home, behind the interest: a client has subscribed to a channel that keeps presence.
    Join(Box<(Target, Member)>),
    /// To the home: it has unsubscribed.
    Leave {
        /// The channel.
        target: Target,
        /// The client's place on this reactor.
        who: Subscriber,
        /// Whether its connection has ended.
        has_ended: bool,
    },
    /// To the home: who is in a channel? Answered by one `Presence`.
    AskPresence(Box<PresenceQuery>),
    /// From the home: who is.
    Presence(Box<PresenceAnswer>),
    /// From the register of patterns, instead of `InterestAck`: the pattern has no place.
    InterestRefused {
        /// The pattern on the reactor that asked.
        local: LocalRef,
        /// Why.
        refusal: PatternRefusal,
    },
    /// To each home: this reactor has subscribers to a pattern in exactly these encodings. Sent
    /// when the register has given the pattern its number, and whenever the set changes; each is
    /// answered by one `PatternAck`.
    PatternInterest {
        /// The name of the records that stand for the pattern.
        name: Name,
        /// Its number in the register.
        number: HomeIndex,
        /// Where deliveries shall go.
        local: LocalRef,
        /// What the reactor wants from now on.
        encodings: EncodingSet,
    },
    /// From a home: everything that matches and is published from now on will be delivered.
    PatternAck {
        /// The pattern on the reactor that asked.
        local: LocalRef,
    },
    /// To each home: the last subscriber to a pattern here has gone.
    PatternUninterest {
        /// The name of the records that stand for it.
        name: Name,
        /// The interest that ends.
        local: LocalRef,
    },
    /// To the home: order this and deliver it. May be overtaken by the other kinds, hence by name:
    /// a place at home is good only while the interest that keeps it is known to be.
    Publish {
        /// The channel; the very allocation of the sender's record.
        name: Name,
        /// The publisher's key on the sending reactor; 0 is none.
        publisher: u64,
        /// Whether the publisher shall not hear it.
        exclude_publisher: bool,
        /// If set, answer with `Published` and this token.
        ack: Option<u64>,
        /// What is published.
        payload: P,
    },
    /// From the home: the publication has its place in the channel's order.
    Published {
        /// As in `Publish`.
        publisher: u64,
        /// As in `Publish::ack`.
        token: u64,
        /// The number it got.
        publication: u64,
    },
    /// From the home: give this to your subscribers.
    Deliver {
        /// The channel on the receiving reactor.
        local: LocalRef,
        /// The publication's numbers.
        ids: EventIds,
        /// A publisher's key that shall not receive it. Only ever set towards the publisher's
        /// own reactor.
        exclude: Option<u64>,
        /// The encoded publication.
        frames: Frames<F>,
    },
    /// From the home: give this to your subscribers to a pattern.
    DeliverMatched {
        /// The pattern on the receiving reactor.
        local: LocalRef,
        /// What was published, for all patterns that match.
        event: Arc<MatchedEvent>,
        /// As in `Deliver`.
        exclude: Option<u64>,
        /// The encoded publication.
        frames: Frames<F>,
    },
}

/// Who is in a channel, for the one who has asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceAnswer {
    /// As in [`PresenceQuery`].
    pub asker: u64,
    /// The same.
    pub token: u64,
    /// Who is there.
    pub view: PresenceView,
}

/// A publication that matches a pattern, without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchedEvent {
    /// The channel that was published to.
    pub channel: Name,
    /// Its namespace, if its home knows it.
    pub namespace: Option<NamespaceId>,
    /// The publication's number.
    pub publication: u64,
    /// Its place in the channel's order, behind those before; see [`EventIds::offset`].
    pub offset: u64,
    /// The publisher's reactor, and its key there; see [`Publish::publisher`].
    pub publisher: (ReactorId, u64),
}

/// A subscription that wants what was before it, on its way to the channel's home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recover {
    /// The channel.
    pub target: Target,
    /// Who asks.
    pub recoverer: Recoverer,
    /// What is asked for; `None`: only where the subscription begins.
    pub since: Option<Since>,
}

/// Who asks for what was before, as its answer names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recoverer {
    /// The channel on the reactor that asks.
    pub local: LocalRef,
    /// Who will subscribe.
    pub who: Subscriber,
    /// In which encoding.
    pub encoding: Encoding,
    /// No other request of that reactor has it.
    pub ticket: u64,
}

/// A local channel as other reactors name it. The cookie is new for each channel that takes the
/// id, so a late item never reaches the next owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LocalRef {
    /// Place in the local table.
    pub channel: ChannelId,
    /// Which of the channels that had this place, in 24 bits: it is the same again after 16,777,216
    /// channels on this reactor, and no item is under way for so long.
    pub cookie: u32,
}

/// A channel as its home is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// By name: always right.
    Name(Name),
    /// By place: while the sender is interested, which keeps the place.
    Home(HomeIndex),
}

/// What the reactor does next, in this order, and before it calls the hub again: a delivery is
/// for those who subscribe at this moment, and its channel's number is good for as long.
///
/// One call is harmless in between: to unsubscribe, of a connection that closes meanwhile. What
/// that adds comes after what is left, and a `Subscribed` that is left may name who has gone.
#[derive(Debug, Clone)]
pub enum Output<P, F> {
    /// Carry this to another reactor.
    ToReactor(ReactorId, Item<P, F>),
    /// The home knows of the subscription: nothing published after this is missed.
    Subscribed {
        /// Who asked.
        who: Subscriber,
        /// In which encoding.
        encoding: Encoding,
        /// As given to [`crate::Hub::subscribe`].
        token: u64,
        /// The channel here.
        channel: ChannelId,
        /// The channel in the whole server.
        topic: u64,
        /// The channel where the subscription begins.
        snapshot: Snapshot,
        /// What was before, if it was asked for: to be given to the subscriber before all that is
        /// delivered.
        recovery: Option<Box<Recovery<F>>>,
    },
    /// A subscription that was under way is refused: it has ended, as all to its pattern have.
    Refused {
        /// Who asked.
        who: Subscriber,
        /// In which encoding.
        encoding: Encoding,
        /// As given to [`crate::Hub::subscribe_pattern`].
        token: u64,
        /// The pattern here; from now on the number may be another's.
        channel: ChannelId,
        /// Why.
        refusal: PatternRefusal,
    },
    /// A publication has its place in its channel's order.
    Published {
        /// As in [`Publish::publisher`].
        publisher: u64,
        /// As in [`Publish::ack`].
        token: u64,
        /// The number it got.
        publication: u64,
    },
    /// What [`crate::Hub::ask_presence`] asked for.
    Presence(Box<PresenceAnswer>),
    /// Walk [`crate::Hub::subscribers`] of this channel for each encoding of `frames`.
    Deliver {
        /// The channel here.
        channel: ChannelId,
        /// Its namespace.
        namespace: NamespaceId,
        /// The publication's numbers.
        ids: EventIds,
        /// A publisher's key to pass over.
        exclude: Option<u64>,
        /// One frame for each encoding that has subscribers.
        frames: Frames<F>,
    },
    /// A channel at home here has its first subscriber, or has lost its last, if that is reported
    /// ([`crate::Hub::set_reports_occupancy`]): by turns for each channel.
    Occupancy {
        /// The channel.
        channel: Name,
        /// Whether it has subscribers now.
        is_occupied: bool,
    },
    /// The first subscriber in one of the encodings that are watched ([`crate::Hub::set_watched`]) has come to a
    /// channel or pattern at home here, or the last has gone.
    Watched(Box<Watched>),
    /// A user has the first client in a channel at home here, or has no more in it, if that is reported
    /// ([`crate::Hub::set_reports_users`]): by turns for each user, but for those that there was no room
    /// to list.
    User {
        /// The channel.
        channel: Name,
        /// The user, which has a name.
        user: Name,
        /// Whether it has clients there now.
        is_there: bool,
        /// The application has named it by a number.
        has_number: bool,
    },
    /// As [`Output::Deliver`], for a pattern that a publication matches.
    DeliverMatched {
        /// The pattern here.
        pattern: ChannelId,
        /// What was published.
        event: Arc<MatchedEvent>,
        /// A publisher's key to pass over.
        exclude: Option<u64>,
        /// One frame for each encoding that has subscribers.
        frames: Frames<F>,
    },
}

/// A channel or pattern that has begun or ceased to have subscribers in one of the encodings that are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// The name of its record: of a pattern, see [`Pattern::of_name`].
    pub name: Name,
    /// Its number in the whole server.
    pub topic: u64,
    /// Whether it has some now.
    pub is_wanted: bool,
    /// As in [`crate::Hub::set_cause`]; 0 if that is not known.
    pub cause: u64,
}

/// A subscription as a reactor asks for it.
#[derive(Debug, Clone, Copy)]
pub struct Subscribe<'a> {
    /// Who subscribes.
    pub who: Subscriber,
    /// In which encoding.
    pub encoding: Encoding,
    /// The channel.
    pub name: &'a str,
    /// The channel's namespace.
    pub namespace: NamespaceId,
    /// Comes back with [`Output::Subscribed`].
    pub token: u64,
}

/// A subscription to all channels that a pattern matches.
#[derive(Debug, Clone, Copy)]
pub struct SubscribePattern<'a> {
    /// Who subscribes.
    pub who: Subscriber,
    /// In which encoding.
    pub encoding: Encoding,
    /// The pattern.
    pub pattern: Pattern<'a>,
    /// Comes back with [`Output::Subscribed`] or [`Output::Refused`].
    pub token: u64,
}

/// One publication as a reactor hands it to its hub.
#[derive(Debug, Clone)]
pub struct Publish<'a, P> {
    /// Where it goes.
    pub target: PublishTo<'a>,
    /// The publisher's key, opaque to the hub; 0 is none.
    pub publisher: u64,
    /// Whether the publisher shall not hear it.
    pub exclude_publisher: bool,
    /// If set, [`Output::Published`] follows with this token.
    pub ack: Option<u64>,
    /// What is published.
    pub payload: P,
}

/// A channel as a publisher names it. Both forms keep the publisher's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishTo<'a> {
    /// Any channel. Costs an allocation when the home is another reactor and nobody here
    /// subscribes.
    Name(&'a str),
    /// A channel the publisher subscribes to: no name is looked up.
    Channel(ChannelId),
}
