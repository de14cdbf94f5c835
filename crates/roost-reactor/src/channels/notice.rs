//! What the hub says that is not for the channels to do.

use roost_dialect::Publication;
use roost_hub::{
    ChannelId, Name, Output, PatternRefusal, PresenceAnswer, PresenceView, Recovery, Snapshot,
    Watched,
};
use roost_net::ConnKey;

use crate::image::Image;

/// What the hub wants done.
pub(crate) type HubOutput = Output<Publication, Image>;

/// What the hub says to one connection.
#[derive(Debug)]
pub(crate) enum Notice {
    /// The subscription of the connection in `slot` has its place in the channel's order.
    Subscribed {
        slot: u32,
        token: u64,
        channel: ChannelId,
        topic: u64,
        snapshot: Snapshot,
        /// What was before, if that was asked for.
        recovery: Option<Box<Recovery<Image>>>,
    },
    /// The subscription of the connection in `slot` to a pattern has ended before it began.
    Refused {
        slot: u32,
        token: u64,
        channel: ChannelId,
        refusal: PatternRefusal,
    },
    /// Who is in a channel that it has asked about.
    Presence {
        asker: ConnKey,
        token: u64,
        view: PresenceView,
    },
    /// A channel whose home is here has its first subscriber, or has lost its last.
    Occupancy { channel: Name, is_occupied: bool },
    /// A topic or pattern whose home is here has its first subscriber of the encodings that are watched, or has
    /// lost its last.
    Watched(Box<Watched>),
    /// A user has the first client in a channel whose home is here, or has no more in it.
    User {
        channel: Name,
        user: Name,
        is_there: bool,
        has_number: bool,
    },
    /// Its publication has.
    Published {
        publisher: ConnKey,
        token: u64,
        publication: u64,
    },
}

/// What a dialect is told.
pub(super) fn notice_of(output: HubOutput) -> Notice {
    match output {
        Output::Subscribed {
            who,
            encoding: _,
            token,
            channel,
            topic,
            snapshot,
            recovery,
        } => Notice::Subscribed {
            slot: who.0,
            token,
            channel,
            topic,
            snapshot,
            recovery,
        },
        Output::Refused {
            who,
            encoding: _,
            token,
            channel,
            refusal,
        } => Notice::Refused {
            slot: who.0,
            token,
            channel,
            refusal,
        },
        Output::Published {
            publisher,
            token,
            publication,
        } => Notice::Published {
            publisher: ConnKey::from_bits(publisher),
            token,
            publication,
        },
        Output::Presence(answer) => {
            let PresenceAnswer { asker, token, view } = *answer;
            Notice::Presence {
                asker: ConnKey::from_bits(asker),
                token,
                view,
            }
        }
        Output::Occupancy {
            channel,
            is_occupied,
        } => Notice::Occupancy {
            channel,
            is_occupied,
        },
        Output::Watched(watched) => Notice::Watched(watched),
        Output::User {
            channel,
            user,
            is_there,
            has_number,
        } => Notice::User {
            channel,
            user,
            is_there,
            has_number,
        },
        Output::ToReactor(..) | Output::Deliver { .. } | Output::DeliverMatched { .. } => {
            unreachable!("no dialect is told of it")
        }
    }
}
