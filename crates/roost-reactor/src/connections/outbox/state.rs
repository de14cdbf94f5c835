//! An outbox taken apart and put together again, for a process that takes the connection over.

use std::collections::VecDeque;

use roost_net::Chunk;

use super::{Droppable, Ending, Lane, Outbox, Waiting};

/// An outbox taken apart: what the other process is told of it.
pub(crate) struct OutboxState {
    /// What waits, each lane in its order.
    lanes: Vec<LaneState>,
    dropped: u64,
    pong: Option<Chunk>,
}

struct LaneState {
    namespace: Option<u16>,
    droppable: Option<Droppable>,
    ending: Ending,
    /// Policy `latest`: no two of a channel wait.
    is_latest: bool,
    queue: VecDeque<Waiting>,
}

impl From<Outbox> for OutboxState {
    fn from(outbox: Outbox) -> OutboxState {
        let Outbox {
            owner: _, // a slot of the table that it leaves
            lanes,
            next: _, // counted anew behind the last place
            bytes: _,
            messages: _,
            dropped,
            missed: _,     // told before the loop iteration ends
            lost: _,       // as well
            tells_lost: _, // told again with the next message
            pong,
        } = outbox;
        let lanes = lanes.into_iter().map(|lane| {
            let Lane {
                namespace,
                queue,
                bytes: _,
                left: _, // places in `newest` are counted anew
                newest,
                droppable,
                ending,
            } = lane;
            LaneState {
                namespace,
                droppable,
                ending,
                is_latest: !newest.is_empty(),
                queue,
            }
        });
        OutboxState {
            lanes: lanes.collect(),
            dropped,
            pong,
        }
    }
}

impl OutboxState {
    /// The same outbox, for the connection in slot `owner`.
    pub(crate) fn into_outbox(self, owner: u32) -> Outbox {
        let OutboxState {
            lanes,
            dropped,
            pong,
        } = self;
        let mut outbox = Outbox::of(owner);
        outbox.dropped = dropped;
        for state in lanes {
            let LaneState {
                namespace,
                droppable,
                ending,
                is_latest,
                queue,
            } = state;
            let mut lane = Lane::new(namespace);
            lane.droppable = droppable;
            lane.ending = ending;
            lane.bytes = queue.iter().map(|waiting| waiting.chunk.len()).sum();
            if is_latest {
                let places = queue.iter().zip(0..);
                lane.newest = places.map(|(waiting, at)| (waiting.channel, at)).collect();
            }
            outbox.bytes += lane.bytes;
            outbox.messages += queue.len();
            let behind = queue.back().map_or(0, |waiting| waiting.place + 1);
            outbox.next = outbox.next.max(behind);
            lane.queue = queue;
            outbox.lanes.push(lane);
        }
        if let Some(pong) = pong {
            outbox.owe_pong(pong);
        }
        outbox
    }
}
