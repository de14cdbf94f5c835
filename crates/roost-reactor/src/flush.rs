//! The end of a turn: each dirty connection is written once.

use roost_hub::FrameIndex;
use roost_net::{Chunk, CloseMode, ConnKey, Driver, SendStatus};
use roost_wire::CloseCode;

use crate::conn::{Flags, Phase};
use crate::core::{Ask, Core};
use crate::framing::append_close_to;
use crate::outbox::{BATCH_BYTES_MAX, BATCH_CHUNKS_MAX};
use crate::tick::TickFrame;

/// Scratch memory of the flush, reused.
#[derive(Default)]
pub(crate) struct Scratch {
    frames: Vec<FrameIndex>,
    chunks: Vec<Chunk>,
    cork: Vec<u8>,
    /// What several connections on one state get, joined: by state, in the order made.
    joined: Vec<(u32, Chunk)>,
}

impl Core {
    /// Writes what this turn has gathered.
    pub(crate) fn flush<D: Driver>(&mut self, driver: &mut D, scratch: &mut Scratch) {
        let mut dirty = std::mem::take(&mut self.tick.dirty);
        if !dirty.is_sorted() {
            dirty.sort_unstable(); // table order: memory is touched in sequence
        }
        for &slot in &dirty {
            let Some(key) = self.table.key_at(slot) else {
                continue;
            };
            self.flush_one(driver, scratch, key);
        }
        dirty.clear();
        self.tick.dirty = dirty;
        self.tick.clear();
        scratch.joined.clear();
    }

    fn flush_one<D: Driver>(&mut self, driver: &mut D, scratch: &mut Scratch, key: ConnKey) {
        let Some(conn) = self.table.get_mut(key) else {
            return;
        };
        let state = std::mem::take(&mut conn.pending);
        if state != 0 {
            if conn.flags.has(Flags::IN_FLIGHT) {
                self.queue(scratch, key, state);
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
        let palette = &self.tick.palette;
        palette.frames(state, &mut scratch.frames);
        if let [frame] = scratch.frames[..] {
            return match palette.frame(frame) {
                TickFrame::Shared(chunk) => driver.send(key, std::slice::from_ref(chunk)),
                TickFrame::Own { start, end } | TickFrame::Pong { start, end } => {
                    driver.send_copy(key, self.tick.own(*start, *end))
                }
            };
        }
        let bytes = palette.bytes(state);
        if bytes <= CORK_BYTES_MAX {
            // Small frames leave in one write, joined once for all who get the same.
            let shared = palette.connections(state) > 1;
            if let Some((_, chunk)) = scratch
                .joined
                .last()
                .filter(|(of, _)| shared && *of == state)
            {
                return driver.send(key, std::slice::from_ref(chunk));
            }
            scratch.cork.clear();
            for &frame in &scratch.frames {
                scratch.cork.extend_from_slice(self.tick.bytes_of(frame));
            }
            if !shared {
                return driver.send_copy(key, &scratch.cork);
            }
            let chunk = Chunk::new(scratch.cork.as_slice().into());
            let status = driver.send(key, std::slice::from_ref(&chunk));
            scratch.joined.push((state, chunk));
            return status;
        }
        if bytes > BATCH_BYTES_MAX as u64 || scratch.frames.len() > BATCH_CHUNKS_MAX {
            // Too much for one batch: through the outbox, which cuts it.
            self.queue(scratch, key, state);
            return self.send_from_outbox(driver, scratch, key);
        }
        scratch.chunks.clear();
        for &frame in &scratch.frames {
            scratch.chunks.push(self.tick.chunk_of(frame));
        }
        let status = driver.send(key, &scratch.chunks);
        scratch.chunks.clear();
        status
    }

    /// Puts a state's frames behind what waits already, and keeps the limit.
    fn queue(&mut self, scratch: &mut Scratch, key: ConnKey, state: u32) {
        self.tick.palette.frames(state, &mut scratch.frames);
        let Some(conn) = self.table.get_mut(key) else {
            return;
        };
        let outbox = Core::outbox_of(&mut self.outboxes, &self.counters, conn);
        let before = outbox.bytes();
        for &frame in &scratch.frames {
            let chunk = self.tick.chunk_of(frame);
            match self.tick.palette.frame(frame) {
                // RFC 6455 §5.5.3: one may answer the most recent ping only. Decided here and not
                // when the ping came: by now all that was sent before has had its chance.
                TickFrame::Pong { .. } => {
                    if outbox.owe_pong(chunk) {
                        self.counters.pongs_coalesced_total.inc();
                    }
                }
                TickFrame::Shared(_) | TickFrame::Own { .. } => outbox.push(chunk),
            }
        }
        let after = outbox.bytes();
        self.counters
            .outbox_bytes
            .add((after as u64).wrapping_sub(before as u64));
        // One frame fits into an empty outbox whatever its header adds to the largest message.
        let alone = before == 0 && scratch.frames.len() == 1;
        if after > self.settings.limits.outbox_bytes_max && !alone {
            self.drop_slow_consumer(key);
        }
    }

    /// Policy `close`: what waits is dropped, a close frame says why. The frame that is half sent
    /// stays, so that the peer can read the close behind it.
    fn drop_slow_consumer(&mut self, key: ConnKey) {
        let Some(conn) = self.table.get_mut(key) else {
            return;
        };
        let Some(index) = conn.outbox.get() else {
            return;
        };
        let outbox = &mut self.outboxes[index];
        self.counters.outbox_bytes.sub(outbox.bytes() as u64);
        outbox.clear();
        if conn.phase != Phase::Open {
            return self.cut(key, CloseMode::Abort);
        }
        self.counters.slow_consumers_total.inc();
        conn.phase = Phase::Closing;
        let mut close = Vec::new();
        let reason = "slow consumer: outbox full";
        append_close_to(&mut close, conn.framing, CloseCode::TRY_AGAIN_LATER, reason);
        outbox.push(Chunk::new(close.into()));
        self.counters.outbox_bytes.add(outbox.bytes() as u64);
        self.leave_channels(key.slot());
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
            self.counters.stale_total.inc();
            return;
        };
        conn.flags.clear(Flags::IN_FLIGHT);
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
            let Some(index) = conn.outbox.get() else {
                return SendStatus::Done;
            };
            let outbox = &mut self.outboxes[index];
            let before = outbox.bytes();
            outbox.take_batch(&mut scratch.chunks);
            let after = outbox.bytes();
            self.counters.outbox_bytes.sub((before - after) as u64);
            if outbox.is_empty() {
                self.drop_outbox(key.slot());
            }
            let status = driver.send(key, &scratch.chunks);
            scratch.chunks.clear();
            if status != SendStatus::Done {
                return status;
            }
        }
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
            self.asks.push(Ask::Fin(key));
        }
    }
}

/// Frames up to this many bytes together are joined by copying; beyond, `writev` by reference.
const CORK_BYTES_MAX: u64 = 16 << 10;
