//! What goes into a hub and what comes out of it: [`Publish`], [`Item`], [`Output`], [`Frames`].

use std::sync::Arc;

use crate::ids::{
    ChannelId, ENCODINGS_MAX, Encoding, EncodingMask, EventIds, HomeIndex, NamespaceId, ReactorId,
    Snapshot, Subscriber,
};
use crate::names::Name;

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
        encodings: EncodingMask,
    },
    /// From the home: everything published from now on will be delivered in these encodings.
    InterestAck {
        /// The channel on the reactor that asked.
        local: LocalRef,
        /// The channel's place at home; valid until the reactor sends `Uninterest`.
        home: HomeIndex,
        /// What the home now delivers to this reactor.
        encodings: EncodingMask,
        /// The channel at this moment, in order with the deliveries.
        snapshot: Snapshot,
    },
    /// To the home: the last subscriber here has gone.
    Uninterest {
        /// The channel; by name while the home's answer has not come.
        target: Target,
        /// The interest that ends.
        local: LocalRef,
    },
    /// To the home: order this and deliver it. May be overtaken by the other kinds, hence by name:
    /// a place at home is good only while the interest that keeps it is known to be.
    Publish {
        /// The channel; the very allocation of the sender's record.
        name: Name,
        /// The publisher's key on the sending reactor; 0 is nobody.
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
}

/// A local channel as other reactors name it. The cookie is new for each channel that takes the
/// id, so a late item never reaches the next owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LocalRef {
    /// Place in the local table.
    pub channel: ChannelId,
    /// Which of the channels that had this place; wraps after 2^32 channels.
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

/// One publication as a reactor hands it to its hub.
#[derive(Debug, Clone)]
pub struct Publish<'a, P> {
    /// Where it goes.
    pub target: PublishTo<'a>,
    /// The publisher's key, opaque to the hub; 0 is nobody.
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

/// The frames of one publication: one for each encoding asked for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Frames<F> {
    encodings: EncodingMask,
    body: Body<F>,
}

/// One frame travels by itself; several share one allocation for all the reactors they go to.
#[derive(Debug, Clone)]
enum Body<F> {
    One(F),
    Many(Arc<[Option<F>; ENCODINGS_MAX]>),
}

impl<F> Frames<F> {
    /// Which encodings are in it.
    pub fn encodings(&self) -> EncodingMask {
        self.encodings
    }

    /// The frame in one encoding.
    pub fn get(&self, encoding: Encoding) -> Option<&F> {
        if self.encodings & encoding.bit() == 0 {
            return None;
        }
        match &self.body {
            Body::One(frame) => Some(frame),
            Body::Many(frames) => frames[encoding.index()].as_ref(),
        }
    }

    /// Each encoding with its frame, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (Encoding, &F)> {
        Encoding::all().filter_map(|encoding| Some((encoding, self.get(encoding)?)))
    }

    /// Hides the encodings that are not in `mask`.
    pub(crate) fn narrowed(mut self, mask: EncodingMask) -> Option<Frames<F>> {
        self.encodings &= mask;
        (self.encodings != 0).then_some(self)
    }
}

/// The frames of one publication while its home hands them out: each is encoded when the first
/// reactor asks for it.
pub(crate) struct Encoder<'a, F> {
    encode: &'a mut dyn FnMut(Encoding) -> F,
    frames: [Option<F>; ENCODINGS_MAX],
    shared: Option<(EncodingMask, Arc<[Option<F>; ENCODINGS_MAX]>)>,
}

impl<'a, F: Clone> Encoder<'a, F> {
    pub(crate) fn new(encode: &'a mut dyn FnMut(Encoding) -> F) -> Self {
        Encoder {
            encode,
            frames: [const { None }; ENCODINGS_MAX],
            shared: None,
        }
    }

    /// The frames for a reactor that wants `encodings`, which is not empty.
    pub(crate) fn frames(&mut self, encodings: EncodingMask) -> Frames<F> {
        let body = if encodings.is_power_of_two() {
            Body::One(self.frame(Encoding(encodings.trailing_zeros() as u8)))
        } else {
            Body::Many(self.shared(encodings))
        };
        Frames { encodings, body }
    }

    fn frame(&mut self, encoding: Encoding) -> F {
        self.frames[encoding.index()]
            .get_or_insert_with(|| (self.encode)(encoding))
            .clone()
    }

    /// An allocation with at least these encodings, the last one if it will do.
    fn shared(&mut self, encodings: EncodingMask) -> Arc<[Option<F>; ENCODINGS_MAX]> {
        if let Some((have, shared)) = &self.shared
            && have & encodings == encodings
        {
            return shared.clone();
        }
        let mut have = 0;
        for encoding in Encoding::all() {
            if encodings & encoding.bit() != 0 {
                self.frame(encoding);
            }
            if self.frames[encoding.index()].is_some() {
                have |= encoding.bit();
            }
        }
        let shared = Arc::new(self.frames.clone());
        self.shared = Some((have, shared.clone()));
        shared
    }
}
