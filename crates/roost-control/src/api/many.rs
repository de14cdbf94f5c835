//! Many publications of one request: a batch to each home at a time, and the next one once those are
//! answered, so that a request never has more of the rings.

use std::collections::VecDeque;

use roost_reactor::{ControlPublication, PUBLICATIONS_BYTES_MAX, PUBLICATIONS_MAX, Placement};
use tokio::time::{Instant, sleep};

use crate::peer::{AskError, Peer, RING_RETRY, Reply, Sent};

/// What has become of a publication.
pub(super) type Outcome = Result<Placed, AskError>;

/// Where it is in its channel's order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    pub(super) offset: u64,
    /// The reactor in whose epoch that counts.
    pub(super) home: usize,
}

/// Publications for one home that are not sent yet, each with its place in the request.
type Queue = VecDeque<(usize, ControlPublication)>;

/// Publishes in order, of each channel and each home. The outcomes are in the publications' order.
pub(super) async fn publish_many(
    peer: &Peer,
    publications: Vec<ControlPublication>,
    deadline: Instant,
) -> Vec<Outcome> {
    let mut outcomes = vec![Err(AskError::Deadline); publications.len()];
    let mut homes: Vec<Queue> = (0..peer.reactors()).map(|_| Queue::new()).collect();
    for (place, publication) in publications.into_iter().enumerate() {
        homes[peer.home_of(&publication.channel)].push_back((place, publication));
    }
    while homes.iter().any(|queue| !queue.is_empty()) {
        let mut sent = Vec::new();
        for (home, queue) in homes.iter_mut().enumerate() {
            let (places, batch) = next_batch(queue);
            if batch.is_empty() {
                continue;
            }
            match send(peer, home, batch, deadline).await {
                Ok(one) => sent.push((home, places, one)),
                Err(error) => {
                    // What is behind it on the same channels must not come before it.
                    let rest = queue.drain(..).map(|(place, _)| place);
                    let refused = places.into_iter().chain(rest);
                    refused.for_each(|place| outcomes[place] = Err(error));
                }
            }
        }
        for (home, places, one) in sent {
            let reply = one.answer_by(deadline).await;
            for (at, place) in places.into_iter().enumerate() {
                outcomes[place] = match &reply {
                    Ok(Reply::Published(list)) => {
                        list.get(at).map_or(Err(AskError::Deadline), |one| {
                            let placed =
                                one.map(|Placement { offset, .. }| Placed { offset, home });
                            placed.map_err(AskError::Refused)
                        })
                    }
                    Ok(_) => Err(AskError::Deadline),
                    Err(error) => Err(*error),
                };
            }
        }
    }
    outcomes
}

fn next_batch(queue: &mut Queue) -> (Vec<usize>, Vec<ControlPublication>) {
    let mut bytes = 0;
    let (mut places, mut batch) = (Vec::new(), Vec::new());
    while batch.len() < PUBLICATIONS_MAX && bytes < PUBLICATIONS_BYTES_MAX {
        let Some((place, publication)) = queue.pop_front() else {
            break;
        };
        bytes += publication.bytes();
        places.push(place);
        batch.push(publication);
    }
    (places, batch)
}

/// Waits for room in the ring: the request is read no further meanwhile.
async fn send(
    peer: &Peer,
    home: usize,
    mut batch: Vec<ControlPublication>,
    deadline: Instant,
) -> Result<Sent<'_>, AskError> {
    loop {
        match peer.publish_batch(home, batch) {
            Ok(sent) => return Ok(sent),
            Err((error, _)) if Instant::now() >= deadline => return Err(error),
            Err((_, publications)) => batch = publications,
        }
        sleep(RING_RETRY).await;
    }
}
