//! The numbers by which the hub names things. Plain values; none of them owns anything.

/// One reactor of this process. At most 256 of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReactorId(pub u8);

impl ReactorId {
    /// The reactor that keeps the register of patterns: it numbers them, and holds their number
    /// within its limit.
    pub const REGISTER: ReactorId = ReactorId(0);
}

/// A channel in one reactor's local table. Valid on that reactor while the holder subscribes to
/// it; afterwards the number may name another channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub u32);

/// A channel in its home reactor's table. Valid while the reactor that holds it is interested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HomeIndex(pub u32);

/// A connection's slot on its reactor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subscriber(pub u32);

/// A namespace, and so a policy: the caller's number for it, which a channel's record keeps. 0 is
/// that of channels without a namespace of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespaceId(pub u16);

/// A place in a channel's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// Within which the offset counts: one for each home reactor and hash key, so for each process.
    pub epoch: u64,
    /// The last publication at or before the place. Offsets of one epoch count without a gap while
    /// the channel lives, and never go back: a channel that comes again goes on behind all that
    /// have gone from its home, so that a position from before is not mistaken for a present one.
    pub offset: u64,
}

/// A channel at the moment a subscription begins: nothing older follows, nothing newer is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// Behind what is in it, and before all that is delivered.
    pub position: Position,
}

impl Snapshot {
    /// Of a pattern: it stands at a position of its own in each channel, behind all that was
    /// published before this moment, and tells none.
    pub const OF_PATTERN: Snapshot = Snapshot {
        position: Position {
            epoch: 0,
            offset: 0,
        },
    };
}

/// The place that a channel's home has given a publication, be it heard or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Placement {
    /// The publication, as [`EventIds::publication`].
    pub publication: u64,
    /// Its offset, as [`EventIds::offset`]. Higher than that of every earlier publication on the
    /// channel in the home's epoch, also where the channel has no subscriber.
    pub offset: u64,
}

/// The numbers of one publication, the same for all its subscribers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventIds {
    /// The channel, unique in the server while the channel lives, in 1..2^53.
    pub topic: u64,
    /// The publication, pseudo-random in 1..2^53 (WAMP's "global scope").
    pub publication: u64,
    /// Place in the channel's order: see [`Position::offset`]. Below 2^48.
    pub offset: u64,
}

/// The number of a channel in the whole server. Derived and not stored: home index and home
/// reactor name one channel while it lives. Below 2^40 + 1, so a JSON number holds it exactly.
pub(crate) fn topic(home: ReactorId, index: HomeIndex) -> u64 {
    1 + (u64::from(index.0) << 8 | u64::from(home.0))
}
