//! The end of a turn: each dirty connection is written once.

use std::collections::HashMap;

use roost_dialect::dialect::Event;
use roost_hub::FrameIndex;
use roost_metrics::{Counters, NamespaceCounters};
use roost_net::{Chunk, CloseMode, ConnKey, Driver, SendStatus};
use roost_wire::CloseCode;

use crate::conn::{Flags, Index, Phase};
use crate::core::{Core, DriverOp};
use crate::encoding::append_close_to;
use crate::outbox::{BATCH_BYTES_MAX, BATCH_CHUNKS_MAX, Droppable, Full, Outbox, queue_bytes};
use crate::settings::{Policies, SlowReceivers};
use crate::turn_output::{Origin, TurnFrame, TurnOutput};

/// Scratch memory of the flush, reused.
#[derive(Default)]
pub(crate) struct Scratch {
    frames: Vec<FrameIndex>,
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) cork: Vec<u8>,
    /// What several connections on one state get, joined.
    joined: HashMap<u32, Chunk>,
    /// The one of them that was sent last: in table order the next connection often has the same.
    joined_last: Option<(u32, Chunk)>,
}

impl Core {
    /// Writes what this turn has batched.
    pub(crate) fn flush<D: Driver>(&mut self, driver: &mut D, scratch: &mut Scratch) {
        let mut dirty = std::mem::take(&mut self.turn_output.dirty);
        if !dirty.is_sorted() {
            dirty.sort_unstable(); // table order: memory is touched in sequence
        }
        for &slot in &dirty {
            let Some(key) = self.table.key_at(slot) else {
                continue;
            };
            self.flush_one(driver, scratch, key);
        }
        self.turn_output.dirty = dirty;
        self.turn_output.clear();
        scratch.joined.clear();
        scratch.joined_last = None;
    }

    fn flush_one<D: Driver>(&mut self, driver: &mut D, scratch: &mut Scratch, key: ConnKey) {
        let Some(conn) = self.table.get_mut(key) else {
            return;
        };
        let state = std::mem::take(&mut conn.pending);
        if state != 0 {
            self.output_bytes_total += self.turn_output.palette.bytes(state) as u64;
            if conn.flags.has(Flags::IN_FLIGHT) {
                self.turn_output.palette.frames(state, &mut scratch.frames);
                self.queue(scratch, 0, key);
            } else {
                match self.write(driver, scratch, key, state) {
                    SendStatus::Done | SendStatus::Gone => {}
                    SendStatus::Pending => {
                        if let Some(conn) = self.table.get_mut(key) {
                            conn.flags.set(Flags::IN_FLIGHT);
                        }
                    }
                }
            }
        }
        self.fin_if_flushed(key);
    }

    /// Hands a state's frames to the driver, in the cheapest form.
    fn write<D: Driver>(
        &mut self,
        driver: &mut D,
        scratch: &mut Scratch,
        key: ConnKey,
        state: u32,
    ) -> SendStatus {
        debug_assert!(
            self.table
                .get(key)
                .is_some_and(|conn| conn.transport.shares_output())
        );
        let deflates_late = self.deflates_late(key);
        let palette = &self.turn_output.palette;
        palette.frames(state, &mut scratch.frames);
        if deflates_late {
            return self.write_batches(driver, scratch, key);
        }
        if let [frame] = scratch.frames[..] {
            return match palette.frame(frame) {
                TurnFrame::Shared { chunk, .. } => driver.send(key, std::slice::from_ref(chunk)),
                TurnFrame::Own { start, end } | TurnFrame::Pong { start, end } => {
                    driver.send_copy(key, self.turn_output.own(*start, *end))
                }
            };
        }
        let bytes = palette.bytes(state);
        if bytes <= CORK_BYTES_MAX {
            // Small frames leave in one write, joined once for all who get the same.
            let shared = palette.connections(state) > 1;
            if shared
                && scratch
                    .joined_last
                    .as_ref()
                    .is_none_or(|(of, _)| *of != state)
            {
                let chunk = scratch.joined.get(&state);
                scratch.joined_last = chunk.map(|chunk| (state, chunk.clone()));
            }
            if shared && let Some((_, chunk)) = &scratch.joined_last {
                return driver.send(key, std::slice::from_ref(chunk));
            }
            scratch.cork.clear();
            for &frame in &scratch.frames {
                scratch
                    .cork
                    .extend_from_slice(self.turn_output.bytes_of(frame));
            }
            if !shared {
                return driver.send_copy(key, &scratch.cork);
            }
            let chunk = Chunk::new(scratch.cork.as_slice().into());
            let status = driver.send(key, std::slice::from_ref(&chunk));
            scratch.joined.insert(state, chunk.clone());
            scratch.joined_last = Some((state, chunk));
            return status;
        }
        self.write_batches(driver, scratch, key)
    }

    /// Hands the scratch's frames to the driver by reference, batch by batch.
    fn write_batches<D: Driver>(
        &mut self,
        driver: &mut D,
        scratch: &mut Scratch,
        key: ConnKey,
    ) -> SendStatus {
        let mut next = 0;
        loop {
            next += self.take_batch(scratch, next);
            let status = self.send_batch(driver, scratch, key);
            if next == scratch.frames.len() || status == SendStatus::Gone {
                return status;
            }
            if status == SendStatus::Pending {
                // Too much for one batch, and the kernel has not taken the first.
                self.queue(scratch, next, key);
                return status;
            }
        }
    }

    /// Hands the batch batched to the driver, compressed for this connection alone if need be.
    fn send_batch<D: Driver>(
        &mut self,
        driver: &mut D,
        scratch: &mut Scratch,
        key: ConnKey,
    ) -> SendStatus {
        let status = if self.deflates_late(key) {
            self.send_batch_late(driver, scratch, key)
        } else {
            driver.send(key, &scratch.chunks)
        };
        scratch.chunks.clear();
        status
    }

    /// Gathers the frames from `next` on that make a batch. Returns how many.
    fn take_batch(&self, scratch: &mut Scratch, next: usize) -> usize {
        let mut bytes = 0;
        for &frame in scratch.frames[next..].iter().take(BATCH_CHUNKS_MAX) {
            let chunk = self.turn_output.chunk_of(frame);
            bytes += chunk.len();
            if bytes > BATCH_BYTES_MAX && !scratch.chunks.is_empty() {
                break;
            }
            scratch.chunks.push(chunk);
        }
        scratch.chunks.len()
    }

    /// Puts the scratch's frames, from `first` on, behind what waits already, each under the
    /// limits of its namespace.
    fn queue(&mut self, scratch: &mut Scratch, first: usize, key: ConnKey) {
        let Some(conn) = self.table.get_mut(key) else {
            return;
        };
        let frames = &scratch.frames[first..];
        self.output_bytes_total += queue_bytes(frames.len());
        let rules = QueueRules {
            turn_output: &self.turn_output,
            policies: &self.settings.channels,
            total_bytes_max: self.settings.limits.outbox_bytes_max,
            counters: &self.counters,
            namespaces: &self.namespaces,
        };
        let queued = self
            .outboxes
            .edit_or_insert(key.slot(), conn, |outbox| rules.queue(outbox, frames));
        if queued.is_err() {
            self.drop_slow_consumer(key);
        }
    }

    /// Policy `close`: what waits is dropped, a close frame says why. The frame that is half sent
    /// stays, so that the peer can read the close behind it.
    fn drop_slow_consumer(&mut self, key: ConnKey) {
        self.counters.slow_consumers_total.inc();
        self.close_dropping(key, "slow consumer: outbox full");
    }

    /// Closes with 1013 and a reason, and drops all that waits.
    pub(crate) fn close_dropping(&mut self, key: ConnKey, reason: &str) {
        let Some(conn) = self.table.get(key) else {
            return;
        };
        if self.outboxes.edit(conn, Outbox::clear).is_none() {
            return;
        }
        let (is_open, framing) = (conn.phase == Phase::Open, conn.framing);
        if is_open {
            let words = self.framed_replies(key, Event::SlowConsumer { reason });
            let mut close = Vec::new();
            append_close_to(&mut close, framing, CloseCode::TRY_AGAIN_LATER, reason);
            if let Some(conn) = self.table.get_mut(key) {
                conn.phase = Phase::Closing;
                self.outboxes.edit(conn, |outbox| {
                    for bytes in [words, close] {
                        if !bytes.is_empty() {
                            outbox.push(Chunk::new(bytes.into()));
                        }
                    }
                });
            }
        }
        if !is_open {
            return self.cut(key, CloseMode::Abort);
        }
        self.leave_channels(key.slot());
        self.end_pause(key);
        self.set_deadline(key.slot(), self.settings.limits.close_timeout_ms.max(1));
    }

    /// The batch in flight has gone: the next one, or the end.
    pub(crate) fn on_sent<D: Driver>(
        &mut self,
        driver: &mut D,
        scratch: &mut Scratch,
        key: ConnKey,
    ) {
        let Some(conn) = self.table.get_mut(key) else {
            self.counters.stale_completions_total.inc();
            return;
        };
        conn.flags.clear(Flags::IN_FLIGHT);
        if conn.flags.has(Flags::PING_SENT) && conn.outbox != Index::NONE {
            self.arm_pong_timeout(key.slot());
        }
        if self.send_from_outbox(driver, scratch, key) == SendStatus::Pending
            && let Some(conn) = self.table.get_mut(key)
        {
            conn.flags.set(Flags::IN_FLIGHT);
        }
        self.fin_if_flushed(key);
    }

    /// Sends from the outbox until the kernel takes no more or nothing is left.
    fn send_from_outbox<D: Driver>(
        &mut self,
        driver: &mut D,
        scratch: &mut Scratch,
        key: ConnKey,
    ) -> SendStatus {
        loop {
            let Some(conn) = self.table.get(key) else {
                return SendStatus::Gone;
            };
            let chunks = &mut scratch.chunks;
            let is_empty = self.outboxes.edit(conn, |outbox| {
                outbox.take_batch(chunks);
                outbox.is_empty()
            });
            let Some(is_empty) = is_empty else {
                return SendStatus::Done;
            };
            if is_empty && !self.tell_dropped(key) {
                self.drop_outbox(key.slot());
            }
            let status = self.send_batch(driver, scratch, key);
            if status != SendStatus::Done {
                return status;
            }
        }
    }

    /// All that waited is on its way: says behind it how much was dropped, where the receiver wants
    /// to know. True if there is something to say.
    fn tell_dropped(&mut self, key: ConnKey) -> bool {
        let Some(conn) = self.table.get(key) else {
            return false;
        };
        let is_open = conn.phase == Phase::Open;
        let messages = self.outboxes.edit(conn, Outbox::take_dropped).unwrap_or(0);
        if messages == 0 || !is_open {
            return false;
        }
        let event = self.framed_replies(key, Event::Dropped { messages });
        if event.is_empty() {
            return false;
        }
        if let Some(conn) = self.table.get(key) {
            self.outboxes
                .edit(conn, |outbox| outbox.push(Chunk::new(event.into())));
        }
        true
    }

    /// Sends FIN when nothing is left to send; closes when the peer has sent its own.
    fn fin_if_flushed(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get_mut(key) else {
            return;
        };
        if !conn.flags.has(Flags::FIN_AFTER)
            || conn.flags.has(Flags::IN_FLIGHT)
            || conn.outbox.get().is_some()
            || conn.pending != 0 // written at the end of this turn
            || conn.phase == Phase::Closed
        {
            return;
        }
        if conn.flags.has(Flags::PEER_FIN) {
            self.cut(key, CloseMode::Graceful);
        } else if !conn.flags.has(Flags::FIN_SENT) {
            conn.flags.set(Flags::FIN_SENT);
            self.driver_ops.push(DriverOp::Fin(key));
        }
    }
}

/// What may wait for a connection, and what is dropped for it.
struct QueueRules<'a> {
    turn_output: &'a TurnOutput,
    policies: &'a Policies,
    /// Of all namespaces together.
    total_bytes_max: usize,
    counters: &'a Counters,
    namespaces: &'a [NamespaceCounters],
}

impl QueueRules<'_> {
    /// Queues frames of this turn.
    fn queue(&self, outbox: &mut Outbox, frames: &[FrameIndex]) -> Result<(), Full> {
        for &frame in frames {
            let chunk = self.turn_output.chunk_of(frame);
            match self.turn_output.palette.frame(frame) {
                // RFC 6455 §5.5.3: one may answer the most recent ping only. Decided here and not
                // when the ping came: by now all that was sent before has had its chance.
                TurnFrame::Pong { .. } => {
                    if outbox.owe_pong(chunk) {
                        self.counters.pongs_coalesced_total.inc();
                    }
                }
                TurnFrame::Own { .. } | TurnFrame::Shared { origin: None, .. } => {
                    outbox.push(chunk);
                }
                TurnFrame::Shared {
                    origin: Some(origin),
                    ..
                } => self.queue_published(outbox, *origin, chunk)?,
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
        let outflow = self.policies.policy(origin.namespace).outflow;
        let counts = &self.namespaces[usize::from(origin.namespace)];
        if outflow.slow_receivers == SlowReceivers::DropNewest
            && !outbox.is_empty()
            && outbox.bytes() + chunk.len() > self.total_bytes_max
        {
            counts.dropped_newest_total.inc();
            outbox.note_dropped(1);
            return Ok(());
        }
        let queued = outbox.push_published(origin.namespace, &outflow, origin.channel.0, chunk);
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

/// Frames up to this many bytes together are joined by copying; beyond, `writev` by reference.
const CORK_BYTES_MAX: u64 = 16 << 10;
