//! A publication for a channel's subscribers in one encoding, given to each of them at once.

use roost_dialect::{Publication, Receivers};
use roost_hub::{ChannelId, Encoding, Hub, Subscriber};
use roost_net::ConnKey;

use super::deltas::{ChannelDeltas, Deltas};
use super::recovered::is_receiver;
use crate::connections::{Connections, Origin};
use crate::image::{Delta, Image, Special};
use crate::palette::FrameIndex;
use crate::sessions::Sessions;

/// To whom it goes.
pub(super) struct Recipients {
    pub(super) channel: ChannelId,
    pub(super) encoding: Encoding,
    pub(super) origin: Origin,
    /// The publisher's slot, if it is left out.
    pub(super) exclude: Option<u32>,
}

/// Gives an image to all of them, in table order. Returns how many got it.
#[inline]
pub(super) fn deliver(
    hub: &Hub<Publication, Image>,
    to: &Recipients,
    image: &Image,
    connections: &mut Connections,
    sessions: &Sessions,
    deltas: &mut Deltas,
) -> u64 {
    if let Some(special) = image.special() {
        return deliver_special(hub, to, special, (connections, sessions), deltas);
    }
    let frame = connections.share(image.frame(), Some(to.origin));
    let mut deliveries = 0;
    for Subscriber(slot) in hub.subscribers(to.channel, to.encoding) {
        if to.exclude != Some(slot) {
            connections.deliver(slot, frame);
            deliveries += 1;
        }
    }
    deliveries
}

/// The same of one that is not for all, or not the same for all.
#[inline(never)]
fn deliver_special(
    hub: &Hub<Publication, Image>,
    to: &Recipients,
    special: &Special,
    (connections, sessions): (&mut Connections, &Sessions),
    deltas: &mut Deltas,
) -> u64 {
    if hub.subscriber_count(to.channel, to.encoding) == 0 {
        return 0;
    }
    let mut frames = SpecialFrames::new(special, to.origin, connections);
    if special.delta().is_some() && !deltas.begin(to.channel, to.encoding) {
        frames.delta = None; // none has the publication before
    }
    let mut deltas = deltas.of(to.channel);
    let mut deliveries = 0;
    for Subscriber(slot) in hub.subscribers(to.channel, to.encoding) {
        let is_for = |receivers: &Receivers| {
            is_receiver((slot, to.channel), receivers, connections, sessions)
        };
        let is_given = to.exclude != Some(slot) && special.receivers().is_none_or(is_for);
        if let Some(frame) = frames.given(special, slot, is_given, deltas.as_deref_mut()) {
            connections.deliver(slot, frame);
            deliveries += 1;
        }
    }
    deliveries
}

/// The image that an incremental fan-out takes round to so many subscribers of a channel in an encoding.
pub(super) fn for_fanout(
    image: &Image,
    (channel, encoding): (ChannelId, Encoding),
    subscribers: usize,
    deltas: &mut Deltas,
) -> Image {
    let has_delta = image
        .special()
        .is_some_and(|special| special.delta().is_some());
    match has_delta && subscribers > 0 && !deltas.begin(channel, encoding) {
        true => image.whole(), // none has the publication before
        false => image.clone(),
    }
}

/// Frames of this loop iteration that stand for a special image.
#[derive(Debug, Clone, Copy)]
pub(super) struct SpecialFrames {
    whole: FrameIndex,
    delta: Option<FrameIndex>,
}

impl SpecialFrames {
    pub(super) fn new(special: &Special, origin: Origin, connections: &mut Connections) -> Self {
        let delta = match special.delta() {
            Some(Delta::Frame(delta)) => {
                Some(connections.share_delta(delta, special.frame(), Some(origin)))
            }
            Some(Delta::Whole) | None => None,
        };
        SpecialFrames {
            whole: connections.share(special.frame(), Some(origin)),
            delta,
        }
    }

    /// What of it a subscriber gets; nothing unless it is for it. What is known of who has which publication
    /// changes with that.
    pub(super) fn given(
        self,
        special: &Special,
        slot: u32,
        is_given: bool,
        deltas: Option<&mut ChannelDeltas>,
    ) -> Option<FrameIndex> {
        let deltas = deltas.filter(|_| special.delta().is_some());
        let Some(deltas) = deltas else {
            return is_given.then_some(self.whole);
        };
        if !is_given {
            deltas.lose(slot);
            return None;
        }
        let has_base = deltas.give(slot);
        Some(self.delta.filter(|_| has_base).unwrap_or(self.whole))
    }
}

/// Whether a connection is the one in a slot.
pub(super) fn is_at(key: Option<ConnKey>, slot: u32, connections: &Connections) -> bool {
    key.is_some() && key == connections.key_at(slot)
}
