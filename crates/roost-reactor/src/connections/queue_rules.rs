//! The limits of a connection's queue, and whose messages are dropped when it is beyond them.

use roost_dialect::dialect::Recovers;
use roost_metrics::{Counters, NamespaceCounters};
use roost_net::Chunk;

use super::outbox::{Droppable, Ending, Full, Outbox};
use super::output::{Origin, PendingFrame, PendingOutput};
use crate::palette::FrameIndex;
use crate::settings::{ChannelPolicy, Policies, SlowConsumer, recovers};

/// What may wait for a connection, and what is dropped for it.
pub(super) struct QueueRules<'a> {
    pub(super) output: &'a PendingOutput,
    /// Whether the receiver's dialect holds positions.
    pub(super) holds_positions: bool,
    pub(super) policies: &'a Policies,
    /// Of all namespaces together.
    pub(super) total_bytes_max: usize,
    pub(super) counters: &'a Counters,
    pub(super) namespaces: &'a [NamespaceCounters],
}

impl QueueRules<'_> {
    /// Queues frames of this loop iteration.
    pub(super) fn queue(&self, outbox: &mut Outbox, frames: &[FrameIndex]) -> Result<(), Full> {
        outbox.note_lost_from_now(self.holds_positions);
        for &frame in frames {
            let chunk = self.output.chunk_of(frame);
            match self.output.palette.frame(frame) {
                // RFC 6455 §5.5.3: one may answer the most recent ping only. Decided here and not
                // when the ping came: by now all that was sent before has had its chance.
                PendingFrame::Pong { .. } => {
                    if outbox.owe_pong(chunk) {
                        self.counters.pongs_coalesced_total.inc();
                    }
                }
                PendingFrame::Own { .. } | PendingFrame::Shared { origin: None, .. } => {
                    outbox.push(chunk);
                }
                PendingFrame::Shared {
                    origin: Some(origin),
                    ..
                } => {
                    let chunk = self.output.whole_of(frame).cloned().unwrap_or(chunk);
                    self.queue_published(outbox, *origin, chunk)?;
                }
            }
            if outbox.bytes() > self.total_bytes_max {
                self.drop_beyond_total(outbox)?;
            }
        }
        Ok(())
    }

    /// Queues a publication under its namespace's limits.
    fn queue_published(
        &self,
        outbox: &mut Outbox,
        origin: Origin,
        chunk: Chunk,
    ) -> Result<(), Full> {
        let policy = self.policies.policy(origin.namespace);
        let counts = &self.namespaces[usize::from(origin.namespace)];
        let ending = match self.holds_positions {
            true => ending_of(policy),
            false => Ending::None,
        };
        if policy.slow_consumer == SlowConsumer::DropNewest
            && !outbox.is_empty()
            && outbox.bytes() + chunk.len() > self.total_bytes_max
        {
            counts.dropped_newest_total.inc();
            outbox.note_dropped(1);
            outbox.note_lost(origin.channel);
            if ending != Ending::None {
                outbox.note_missed(origin.channel);
            }
            return Ok(());
        }
        let how = (policy, ending);
        let queued = outbox.push_published(origin.namespace, how, origin.channel, chunk);
        let dropped = queued.inspect_err(|_| counts.slow_consumers_total.inc())?;
        counts.dropped_oldest_total.add(dropped.oldest);
        counts.dropped_newest_total.add(dropped.newest);
        counts.replaced_total.add(dropped.replaced);
        outbox.note_dropped(dropped.oldest + dropped.newest);
        Ok(())
    }

    /// Drops what the namespaces' policies allow until all lanes together are within the limit.
    fn drop_beyond_total(&self, outbox: &mut Outbox) -> Result<(), Full> {
        let mut messages = 0;
        let result = outbox.shrink_to(self.total_bytes_max, |namespace, dropped| {
            messages += 1;
            let counts = &self.namespaces[usize::from(namespace)];
            match dropped {
                Droppable::Oldest => counts.dropped_oldest_total.inc(),
                Droppable::Newest => counts.dropped_newest_total.inc(),
            }
        });
        outbox.note_dropped(messages);
        result
    }
}

/// What a receiver that holds positions cannot be without.
fn ending_of(policy: &ChannelPolicy) -> Ending {
    match recovers(policy) {
        Recovers::Nothing => Ending::None,
        Recovers::Latest => Ending::Newest,
        Recovers::Stream => Ending::Any,
    }
}
