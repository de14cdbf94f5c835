//! What connections that come back have missed, as frames of a loop iteration.

use roost_dialect::Receivers;
use roost_hub::{ChannelId, Tail};
use roost_wire::Frozen;

use crate::connections::{Connections, Origin};
use crate::image::Image;
use crate::palette::FrameIndex;
use crate::sessions::Sessions;

/// The tail that was recovered last, and the frames of this loop iteration that stand for it: clients that
/// come back together share them.
#[derive(Default)]
pub(super) struct RecoveredFrames {
    shared: Option<SharedTail>,
}

struct SharedTail {
    tail: Tail<Image>,
    frames: Vec<FrameIndex>,
    /// The iteration, by the flushes there were.
    flushes: u64,
}

impl RecoveredFrames {
    /// Gives the connection in `slot` what of a tail is for it. Returns how many frames that are.
    pub(super) fn deliver(
        &mut self,
        slot: u32,
        (tail, origin): (&Tail<Image>, Origin),
        connections: &mut Connections,
        sessions: &Sessions,
    ) -> u64 {
        let flushes = connections.flushes();
        let shared = self.shared.take();
        let shared = shared.filter(|one| one.flushes == flushes && one.tail.shares(tail));
        let shared = shared.unwrap_or_else(|| {
            let frames = tail.frames().iter();
            let frames = frames.map(|image| connections.share(image.frame(), Some(origin)));
            SharedTail {
                tail: tail.clone(),
                frames: frames.collect(),
                flushes,
            }
        });
        let mut deliveries = 0;
        for (image, &frame) in tail.frames().iter().zip(&shared.frames) {
            if is_for(slot, image, connections, sessions) {
                connections.deliver(slot, frame);
                deliveries += 1;
            }
        }
        self.shared = Some(shared);
        deliveries
    }

    /// No more come back with it.
    pub(super) fn clear(&mut self) {
        self.shared = None;
    }
}

/// What of a tail is for the connection in `slot`, each with its offset.
pub(crate) fn received_of(
    slot: u32,
    tail: &Tail<Image>,
    connections: &Connections,
    sessions: &Sessions,
) -> Vec<(u64, Frozen)> {
    let received = tail
        .iter()
        .filter(|(_, image)| is_for(slot, image, connections, sessions));
    received
        .map(|(offset, image)| (offset, image.frame().clone()))
        .collect()
}

fn is_for(slot: u32, image: &Image, connections: &Connections, sessions: &Sessions) -> bool {
    let receivers = image.receivers();
    // What is told of members is kept in no history.
    let of = (slot, ChannelId(u32::MAX));
    receivers.is_none_or(|receivers| is_receiver(of, receivers, connections, sessions))
}

/// Whether a publication for these receivers is for the connection in a slot, as a subscriber to this
/// channel or pattern.
pub(super) fn is_receiver(
    (slot, channel): (u32, ChannelId),
    receivers: &Receivers,
    connections: &Connections,
    sessions: &Sessions,
) -> bool {
    let key = connections.key_at(slot);
    let conn = key.and_then(|key| connections.get(key));
    conn.is_some_and(|conn| {
        if receivers.are_those_told() {
            let (dialect, session) = (conn.dialect, conn.session);
            return match receivers.about() {
                Some(change) => sessions.is_told_of_user(dialect, session, channel, change),
                None => sessions.is_told_of_members(dialect, session, channel),
            };
        }
        let identity = connections.identities().get(slot);
        sessions.is_receiver(conn.dialect, conn.session, identity, receivers)
    })
}
