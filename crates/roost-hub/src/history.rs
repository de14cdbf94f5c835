//! History: what a channel's home keeps of its publications, so that a subscriber that was away gets
//! what it has missed, or is told that it cannot.

use std::fmt;
use std::sync::Arc;

use crate::ids::{NamespaceId, Position, Snapshot};
use crate::namespaces::place_of;
use crate::presence::PresenceChange;

/// What is published, as far as history looks at it. A clone shares the payload's memory.
pub trait Payload: Clone {
    /// Bytes of memory that all clones share.
    fn bytes(&self) -> usize;

    /// Whether its channel is to retain it for later subscribers that ask for it ([`Since::Retained`]), if it
    /// keeps history: until the next of the kind, or until history forgets it.
    fn is_retained(&self) -> bool {
        false
    }

    /// What tells subscribers who has come and gone; `None` if it cannot be told. It has no place in a
    /// channel's order and is kept nowhere.
    fn of_presence(_: Arc<PresenceChange>) -> Option<Self> {
        None
    }
}

/// Which channels keep history, and how much.
#[derive(Debug, Clone, Default)]
pub struct HistoryOptions {
    /// All namespaces by number; the first is that of channels without one of their own, and its name
    /// is empty. No namespace at all: no channel keeps history.
    pub namespaces: Arc<[HistoryNamespace]>,
    /// Bytes that all channels with their home here may keep together. Beyond, the channels to which
    /// nothing was published for the longest time are forgotten.
    pub bytes_max: u64,
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryNamespace {
    /// What stands before the first colon of its channels' names, or what they begin with and a `*`; those
    /// come first.
    pub name: String,
    /// How much its channels keep; `None`: nothing.
    pub limits: Option<HistoryLimits>,
}

/// How much one channel keeps: the newest publications within all of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Publications.
    pub messages_max: u32,
    /// Bytes of their payloads.
    pub bytes_max: u64,
    /// Ticks for which one is kept, and for which a channel without subscribers is remembered.
    pub lifetime: u32,
    /// Bytes in the answer to one subscription, 64 for each publication beside its payload: more than
    /// this is not recovered.
    pub answer_bytes_max: u64,
    /// The same in publications.
    pub answer_messages_max: u32,
}

/// The publication that a channel retains, beside those in its ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retained<P> {
    /// What was published.
    pub payload: P,
    /// The publication's number.
    pub publication: u64,
    /// Its place in the channel's order.
    pub offset: u64,
    /// The tick.
    pub published: u32,
}

/// What a subscription wants of the time before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// All that is behind this position.
    Position(Position),
    /// The same of a subscriber that knows no epoch: it takes the one that is.
    Offset(u64),
    /// The last publication, which has to be there; nothing if the subscriber is at this position, and that is
    /// the last one's.
    Latest(Option<Position>),
    /// The last so many publications, or as many as are kept.
    Last(u32),
    /// The publication that is retained, if there is one. It may be followed by others.
    Retained,
}

/// What a subscription that asked for the time before it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovery<F> {
    /// All that was asked for: it ends at the snapshot's position, without a hole.
    Recovered(Tail<F>),
    /// Nothing, because something is missing: the subscription begins at the snapshot's position.
    Lost(Loss),
}

/// Why what was asked for is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The position is of another epoch: the server has been started anew.
    Epoch,
    /// What follows the position is not kept any more, or the channel's namespace keeps nothing.
    TooOld,
    /// The channel has not come to the position: it is not one of its positions.
    Ahead,
    /// It is more than goes into one answer.
    TooLarge,
}

impl Loss {
    /// A word for clients' programs.
    pub fn name(self) -> &'static str {
        match self {
            Loss::Epoch => "epoch",
            Loss::TooOld => "too_old",
            Loss::Ahead => "ahead",
            Loss::TooLarge => "too_large",
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Loss::Epoch => "the position is of another run of the server",
            Loss::TooOld => "what follows the position is not kept any more",
            Loss::Ahead => "the channel has no such position yet",
            Loss::TooLarge => "what follows the position is more than fits into one answer",
        })
    }
}

/// The last publications of a channel, encoded. Clones share them: clients that come back together
/// get the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail<F> {
    frames: Arc<[F]>,
    start: usize,
    /// The offset of the last.
    end: u64,
}

impl<F> Tail<F> {
    /// The last `len` of these, which end at offset `end`.
    pub(crate) fn new(frames: Arc<[F]>, len: usize, end: u64) -> Tail<F> {
        let start = frames.len() - len;
        Tail { frames, start, end }
    }

    /// The publications, oldest first.
    pub fn frames(&self) -> &[F] {
        &self.frames[self.start..]
    }

    /// Each with its offset, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &F)> {
        let frames = self.frames();
        let first = self.end + 1 - frames.len() as u64;
        (first..).zip(frames)
    }

    /// Whether this is the very memory that another tail shares.
    pub fn shares(&self, other: &Tail<F>) -> bool {
        Arc::ptr_eq(&self.frames, &other.frames) && self.start == other.start
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.frames.len() - self.start
    }

    /// Whether nothing was missed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a home says to a subscription that asks for the time before it.
#[derive(Debug, Clone)]
pub struct Recovered<F> {
    /// The channel where the subscription begins.
    pub snapshot: Snapshot,
    /// What was before; `None` if that was not asked for.
    pub recovery: Option<Recovery<F>>,
    /// Bytes of payloads that were encoded for this answer and no other.
    pub bytes: usize,
}

impl HistoryOptions {
    /// Whether any channel keeps history.
    pub(crate) fn is_on(&self) -> bool {
        !self.namespaces.is_empty()
    }

    /// How much a channel of this namespace keeps, if it does.
    pub(crate) fn limits(&self, namespace: NamespaceId) -> Option<HistoryLimits> {
        self.namespaces.get(usize::from(namespace.0))?.limits
    }

    /// The namespace of a channel, by its name.
    pub(crate) fn namespace_of(&self, channel: &str) -> NamespaceId {
        let names = self.namespaces.iter().skip(1);
        let place = place_of(names.map(|one| one.name.as_str()), channel);
        let number = place.map_or(0, |at| u16::try_from(at + 1).unwrap_or(0));
        NamespaceId(number)
    }
}

// Where a test publishes numbers or words.
impl Payload for () {
    fn bytes(&self) -> usize {
        0
    }
}

impl Payload for usize {
    fn bytes(&self) -> usize {
        size_of::<usize>()
    }

    fn is_retained(&self) -> bool {
        self.is_multiple_of(4)
    }
}

impl Payload for u64 {
    fn bytes(&self) -> usize {
        size_of::<u64>()
    }
}

impl Payload for &'static str {
    fn bytes(&self) -> usize {
        self.len()
    }
}
