//! A hub taken apart into plain values, to be handed over to another process.
//!
//! Each record is taken apart in one place, field by field, and built again beside it: a field that
//! is added does not compile until it is said there what becomes of it.

use crate::encoding::{Encoding, EncodingSet};
use crate::history::Retained;
use crate::ids::{ChannelId, HomeIndex, NamespaceId, ReactorId, Subscriber};
use crate::item::LocalRef;
use crate::names::Name;
use crate::presence::Member;

/// All that a hub holds: what [`Hub::export`](crate::Hub::export) gives and
/// [`Hub::import`](crate::Hub::import) takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubState<P> {
    /// Channels with subscribers here.
    pub local: LocalState,
    /// Channels whose home is here.
    pub home: HomeState,
    /// What they keep of their publications, in the order in which it expires.
    pub histories: Vec<HistoryState<P>>,
    /// See [`HubCounts::histories_evicted`](crate::HubCounts::histories_evicted).
    pub histories_evicted: u64,
    /// Who is in the channels whose home is here, where that is kept.
    pub presence: Vec<PresenceState>,
}

/// Who is in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceState {
    /// The channel.
    pub name: Name,
    /// Its namespace.
    pub namespace: NamespaceId,
    /// Its members, those that were told first.
    pub members: Vec<Member>,
    /// How many were told.
    pub told: usize,
    /// Members that are counted and not listed.
    pub unlisted: u32,
    /// Members that have left and of which that is not told: at which tick, and whether their connection
    /// had ended.
    pub gone: Vec<(Member, u32, bool)>,
    /// Whether it has changed since subscribers were last told how many there are.
    pub is_changed: bool,
    /// The tick at which there is something to tell; `u32::MAX` if there is not.
    pub due: u32,
    /// Changes that subscribers were told, where users count once.
    pub changes: u64,
}

/// What a channel keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryState<P> {
    /// The channel, by its number at home.
    pub home: HomeIndex,
    /// The tick of its last publication, or at which no reactor wanted it any more; `None` if it has
    /// had neither.
    pub touched: Option<u32>,
    /// Its last publications, oldest first, and the tick of each. They end at the channel's offset.
    pub entries: Vec<(u32, P)>,
    /// What it retains.
    pub retained: Option<Retained<P>>,
}

/// What a hub holds for its own reactor's subscribers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalState {
    /// Ascending by number.
    pub channels: Vec<LocalChannelState>,
    /// In the order in which they are answered.
    pub requests: Vec<RequestState>,
    /// Those that wait to recover, each with the number by which its answer knows it.
    pub recovering: Vec<(u64, RequestState)>,
    /// What the next such number will be.
    pub next_ticket: u64,
    /// Patterns that homes have not answered for, and how many homes.
    pub rounds: Vec<(ChannelId, u16)>,
    /// What the next channel's [`LocalRef::cookie`] will be.
    pub next_cookie: u32,
    /// See [`HubCounts::stale_items`](crate::HubCounts::stale_items).
    pub stale_items: u64,
}

/// A channel with subscribers here, or a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalChannelState {
    /// Its number here.
    pub channel: ChannelId,
    /// Its name.
    pub name: Name,
    /// Its namespace.
    pub namespace: NamespaceId,
    /// The reactor that orders it.
    pub home: ReactorId,
    /// See [`LocalRef::cookie`].
    pub cookie: u32,
    /// Its number at home, once the home has answered.
    pub home_index: Option<HomeIndex>,
    /// The offset that came last.
    pub offset: u64,
    /// What the home was told last.
    pub announced: EncodingSet,
    /// What the home delivers now.
    pub acked: EncodingSet,
    /// What the home was told and has not answered.
    pub unacked: u8,
    /// What those want that wait to recover.
    pub held: EncodingSet,
    /// Its subscriptions, ascending by encoding; none is empty.
    pub subscribers: Vec<(Encoding, Vec<Subscriber>)>,
}

/// A subscription that waits for its home's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestState {
    /// To what.
    pub channel: ChannelId,
    /// Who asked.
    pub who: Subscriber,
    /// In which encoding.
    pub encoding: Encoding,
    /// What it is answered with.
    pub token: u64,
}

/// What a hub holds as a home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeState {
    /// Ascending by number.
    pub channels: Vec<HomeChannelState>,
    /// Patterns that some reactor wants, ascending by name.
    pub patterns: Vec<PatternState>,
    /// See [`HubCounts::matches`](crate::HubCounts::matches).
    pub matches: u64,
    /// Where the next channel's offsets begin.
    pub floor: u64,
    /// State of the generator of publication numbers.
    pub publications: u64,
}

/// A pattern that some reactor wants, at one of the homes, which are all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternState {
    /// The name of the records that stand for it.
    pub name: Name,
    /// The reactors that want it, ascending: where they want it, its number in the register as
    /// they know it, and in which encodings.
    pub interests: Vec<(ReactorId, LocalRef, HomeIndex, EncodingSet)>,
}

/// A channel whose home is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeChannelState {
    /// Its number here.
    pub index: HomeIndex,
    /// Its name.
    pub name: Name,
    /// Its namespace.
    pub namespace: NamespaceId,
    /// The offset of its last publication.
    pub offset: u64,
    /// The reactors that want it, ascending: where they want it, and in which encodings. None wants it
    /// whose history is remembered.
    pub interests: Vec<(ReactorId, LocalRef, EncodingSet)>,
}
