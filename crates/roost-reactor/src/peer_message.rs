//! What crosses from reactor to reactor.

use roost_dealer::Item as CallItem;
use roost_dialect::{CallBody, Publication};
use roost_hub::{Item, Name};

use crate::channels::{Lane, LinkMessage};
use crate::control::{Answer, Request, Token};
use crate::image::Image;

/// One message in a ring.
pub(crate) enum PeerMessage {
    /// From hub to hub.
    Hub(Item<Publication, Image>),
    /// From dealer to dealer. Boxed: it is larger than all others.
    Call(Box<CallItem<CallBody>>),
    /// Publishers of the channel should wait, or need no longer: from its subscribers to its home,
    /// and from there to publishers.
    Congestion { name: Name, is_congested: bool },
    /// From the control thread. See [`crate::control`].
    Request(Box<(Token, Request)>),
    /// To the control thread.
    Answer(Box<Answer>),
}

impl LinkMessage for PeerMessage {
    fn lane(&self) -> Lane {
        match self {
            PeerMessage::Hub(Item::Publish { .. }) => Lane::Publish,
            PeerMessage::Call(item) if matches!(**item, CallItem::Call { .. }) => Lane::Publish,
            PeerMessage::Congestion { .. }
            | PeerMessage::Call(_)
            | PeerMessage::Request(_)
            | PeerMessage::Answer(_)
            | PeerMessage::Hub(
                Item::Interest { .. }
                | Item::InterestAck { .. }
                | Item::Uninterest { .. }
                | Item::InterestRefused { .. }
                | Item::PatternInterest { .. }
                | Item::PatternAck { .. }
                | Item::PatternUninterest { .. }
                | Item::Published { .. }
                | Item::Deliver { .. }
                | Item::DeliverMatched { .. },
            ) => Lane::Plain,
        }
    }

    fn bytes(&self) -> usize {
        let beside = match self {
            PeerMessage::Hub(Item::Publish { payload, .. }) => payload.bytes(),
            PeerMessage::Hub(
                Item::Deliver { frames, .. } | Item::DeliverMatched { frames, .. },
            ) => frames.iter().map(|(_, image)| image.len()).sum(),
            PeerMessage::Call(item) => {
                size_of_val(&**item) + item.payload().map_or(0, CallBody::bytes)
            }
            PeerMessage::Request(request) => size_of_val(&**request),
            PeerMessage::Answer(answer) => answer.bytes(),
            PeerMessage::Congestion { .. }
            | PeerMessage::Hub(
                Item::Interest { .. }
                | Item::InterestAck { .. }
                | Item::Uninterest { .. }
                | Item::InterestRefused { .. }
                | Item::PatternInterest { .. }
                | Item::PatternAck { .. }
                | Item::PatternUninterest { .. }
                | Item::Published { .. },
            ) => 0,
        };
        size_of::<PeerMessage>() + beside
    }
}
