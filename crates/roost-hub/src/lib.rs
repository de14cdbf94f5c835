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
//! - Every subscriber of a channel sees the same order.
//! - After [`Output::Subscribed`], and until it unsubscribes, a subscriber misses nothing that is
//!   published, and gets nothing twice; before, it gets nothing.
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
//! [`Palette`] is a thing of its own: what each connection gets in one tick, in one number.

mod bitmap;
mod error;
mod home;
mod hub;
mod ids;
mod item;
mod local;
mod names;
mod palette;
mod random;
mod set;
mod table;
mod waiting;

pub use error::{NameError, PublishError, SubscribeError};
pub use hub::{Encode, Hub, HubCounts, HubOptions};
pub use ids::{
    ChannelId, ENCODINGS_MAX, Encoding, EncodingMask, EventIds, HomeIndex, ReactorId, Subscriber,
};
pub use item::{Frames, Item, LocalRef, Output, Publish, PublishTo, Target};
pub use names::Name;
pub use palette::{FrameBytes, FrameIndex, Palette};
pub use set::{SubscriberIter, SubscriberSet};
