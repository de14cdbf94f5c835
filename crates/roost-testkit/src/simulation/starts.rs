//! Where subscriptions begin: behind all that their reactor had delivered before they were asked for.

use std::collections::HashMap;

use super::peer::Peer;
use super::peers::Peers;
use super::records::{PubId, Window};

/// What the peers of each reactor have received of one channel, in time.
pub(super) struct Starts {
    /// By reactor: when something came, and the furthest place in the channel's order that had come
    /// by then.
    received: HashMap<usize, Vec<(u64, usize)>>,
}

impl Starts {
    /// All that peers received of a channel whose order is complete.
    pub(super) fn new(peers: &Peers, channel: usize, place: &HashMap<PubId, usize>) -> Starts {
        let mut received: HashMap<usize, Vec<(u64, usize)>> = HashMap::new();
        for peer in &peers.all {
            let Some(reactor) = peer.reactor else {
                continue;
            };
            let windows = peer.windows.iter();
            for window in windows.filter(|window| window.channel == channel) {
                let came = window.times.iter().zip(&window.received);
                let came = came.filter_map(|(&at, id)| Some((at, *place.get(id)?)));
                received.entry(reactor).or_default().extend(came);
            }
        }
        for received in received.values_mut() {
            received.sort_unstable();
            let mut furthest = 0;
            for (_, place) in received {
                furthest = furthest.max(*place);
                *place = furthest;
            }
        }
        Starts { received }
    }

    /// What another client of the same reactor had received when the subscription was asked for is
    /// older than it. Returns whether there was something.
    ///
    /// # Errors
    /// When `first`, the place of the first that came, is of it.
    pub(super) fn check(
        &self,
        peer: &Peer,
        window: &Window,
        first: Option<usize>,
    ) -> Result<bool, String> {
        let received = peer.reactor.and_then(|reactor| self.received.get(&reactor));
        let received = received.map_or(&[][..], Vec::as_slice);
        let before = received.partition_point(|&(at, _)| at < window.asked_at);
        let Some((at, furthest)) = before.checked_sub(1).map(|last| received[last]) else {
            return Ok(false);
        };
        match first {
            Some(first) if first <= furthest => Err(format!(
                "place {first} is older than its subscription, asked for at {}: its reactor had \
                 delivered place {furthest} by {at}",
                window.asked_at
            )),
            Some(_) | None => Ok(first.is_some()),
        }
    }
}
