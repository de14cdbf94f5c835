//! Channels: who receives what, in which order. Pure: knows no connection, no socket, no clock and
//! no thread, and neither payloads nor frames but as types it passes on.
//!
//! # Two roles
//! Each reactor has one [`Hub`]. A hub plays two roles:
//!
//! - *Local*: it keeps the subscribers of its own reactor, for each channel and encoding.
//! - *Home*: for the channels whose name hashes to its reactor it gives publications their order
//!   and number, has them encoded once for each encoding in use, and sends them to the reactors
//!   that want them.
//!
//! Hubs talk in [`Item`]s, which the reactors carry in order for each pair of reactors (publications
//! may go a way of their own), and lose none. What a hub wants done it pushes as [`Output`]s into the caller's list, to be done in that
//! order before the hub is called again. Where home and local are one reactor, no item is sent:
//! all happens within the call.
//!
//! # What is promised
//! - Every subscriber of a channel sees the same order, and each publication has its offset in it,
//!   without a gap while the channel lives.
//! - After [`Output::Subscribed`], and until it unsubscribes, a subscriber misses nothing that is
//!   published, and gets nothing twice; before, it gets nothing. What follows is behind the
//!   position of its [`Snapshot`], and begins right behind it.
//! - What one publisher publishes on one channel stays in order.
//! - Each publication that asks for it is acknowledged once.
//! - Nothing of a channel is left when all have unsubscribed and the items have arrived.
//!
//! # Why late items do no harm
//! A reactor tells the home of its interest when the first subscriber of a channel comes, and of
//! the end of it when the last goes; since items stay in order, the home's record lives from the
//! one to the other, and a [`HomeIndex`] used in between is good. In the other direction a
//! delivery may meet a channel that has gone, or another one in its place: a [`LocalRef`] carries
//! a cookie that no other channel on that reactor has, and what does not match is dropped.
//!
//! # Positions
//! The home gives each publication its offset, and answers interest with a [`Snapshot`] in the same
//! order as deliveries. A channel's record on a subscriber's reactor keeps the offset that
//! came last, so the next subscriber there is answered at once, at the same position. A channel
//! without subscribers costs nothing: its last offset raises the floor of its home, from which
//! channels begin.
//!
//! # History
//! The channels of some namespaces keep their last publications at home ([`HistoryOptions`]). A
//! subscription may ask for what was before it ([`Hub::subscribe_since`]): behind a position, or the
//! last few. The home answers in the same order as deliveries, and the one who asks becomes a
//! subscriber with the answer: nothing is missing between the two, nothing is in both, and nothing has
//! to be held back meanwhile. If something is missing, the answer says so and has nothing.
//! [`Hub::expire`] forgets what has been kept for long enough; then a channel without subscribers
//! costs nothing again.
//!
//! # Presence
//! The channels of some namespaces know their members ([`PresenceOptions`]): clients that subscribe, by
//! [`Hub::join`] behind the subscription, in the same order. The home counts clients and users,
//! lists members up to a limit, and tells subscribers who has come and gone ([`Hub::tell_presence`]):
//! gathered, at a bounded rate, and not of those that come back soon. A notice comes as a delivery
//! without a place in the order.
//!
//! # Patterns
//! A pattern is subscribed to as a channel is, with a record of its own among the channels, but its
//! interest goes to all homes: which channels match is known only where they are published to.
//! First the reactor [`ReactorId::REGISTER`] gives it a number and holds the number of patterns
//! within its limit; then each home is told, and once all have answered the subscription is
//! confirmed. Each home keeps all patterns in a table beside its channels, behind one branch, and
//! adds the reactors of those that match to a publication's audience. What matched is remembered,
//! by channel and for 1,024 names without a record, until a pattern comes or goes.
//!
//! # Time
//! Operations that time will matter to (what history keeps, what a policy limits) take `now` in the
//! caller's ticks; nothing here looks at a clock.

#![warn(clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(
    not(test),
    warn(
        clippy::cast_lossless,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss
    )
)]

mod bitmap;
mod channel_presence;
mod encoding;
mod error;
mod frames;
pub mod fuzz;
mod histories;
mod history;
mod home;
mod home_channel;
mod home_entries;
mod hub;
mod ids;
mod invariants;
mod item;
mod keeping;
mod local;
mod local_channel;
mod members;
mod names;
mod namespaces;
mod offset;
mod options;
mod patterns;
mod prefixes;
mod presence;
mod presences;
mod publishing;
mod random;
mod set;
pub mod state;
mod table;
mod to_home;
mod waiting;

pub use encoding::{ENCODINGS_MAX, Encoding, EncodingSet};
pub use error::{NameError, PatternRefusal, PublishError, StateError, SubscribeError};
pub use frames::{Encode, Frames, Route};
pub use histories::HistoryView;
pub use history::{
    HistoryLimits, HistoryNamespace, HistoryOptions, Loss, Payload, Recovered, Recovery, Retained,
    Since, Tail,
};
pub use home_entries::{HomeEntries, HomeEntry};
pub use hub::Hub;
pub use ids::{
    ChannelId, EventIds, HomeIndex, NamespaceId, Placement, Position, ReactorId, Snapshot,
    Subscriber,
};
pub use item::{
    Item, LocalRef, MatchedEvent, Output, PresenceAnswer, Publish, PublishTo, Recover, Recoverer,
    Subscribe, SubscribePattern, Target, Watched,
};
pub use names::{Homes, Name};
pub use namespaces::{NAMESPACES_MAX, NamespaceNumbers, NamespacesFull, beginning_of, place_of};
pub use options::{HubCounts, HubLimits, HubOptions};
pub use patterns::{
    PATTERN_LEVELS_MAX, PATTERN_SHAPES_MAX, PATTERN_WILDCARDS_MAX, Pattern, PatternError,
    PatternKind, PatternOptions,
};
pub use prefixes::Prefixes;
pub use presence::{
    AsTold, Member, MemberInfo, PresenceChange, PresenceCounts, PresenceLimits, PresenceNotify,
    PresenceOptions, PresenceQuery, PresenceView,
};
pub use set::{SubscriberIter, SubscriberSet};
