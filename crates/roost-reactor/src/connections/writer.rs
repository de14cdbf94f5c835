//! Writes what is pending for a connection, in the cheapest form, and queues what the kernel does not
//! take.

use std::collections::HashMap;

use roost_net::{Chunk, ConnKey, Driver, SendStatus};

use super::conn::{Flags, Phase};
use super::contexts::KEPT_BYTES_MAX;
use super::encoding::Framing;
use super::outbox::{BATCH_BYTES_MAX, BATCH_CHUNKS_MAX, Full, queue_bytes};
use super::output::PendingFrame;
use super::queue_rules::QueueRules;
use super::state::Connections;
use crate::palette::FrameIndex;

/// Scratch memory of the flush, reused.
#[derive(Default)]
pub(crate) struct Scratch {
    frames: Vec<FrameIndex>,
    chunks: Vec<Chunk>,
    cork: Vec<u8>,
    /// Records of a transport.
    sealed: Vec<u8>,
    /// What several connections on one state get, joined.
    joined: HashMap<u32, Chunk>,
    /// The one of them that was sent last: in table order the next connection often has the same.
    joined_last: Option<(u32, Chunk)>,
}

impl Scratch {
    /// Ends a flush: what was joined in it means nothing in the next.
    #[inline]
    pub(crate) fn end_flush(&mut self) {
        if !self.joined.is_empty() || self.joined_last.is_some() {
            self.joined.clear();
            self.joined_last = None;
        }
    }
}

/// Writes for one connection at a time.
pub(crate) struct Writer<'a, D> {
    pub(crate) connections: &'a mut Connections,
    pub(crate) driver: &'a mut D,
    pub(crate) scratch: &'a mut Scratch,
}

/// What has become of a connection's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Written {
    /// It is on its way or queued.
    Accepted,
    /// The same, and something is to be done when all of it has gone.
    Last,
    /// More waits than may: the receiver is a slow consumer that is to be closed.
    Full,
}

impl<D: Driver> Writer<'_, D> {
    /// Writes what is pending for the connection in `slot`, or queues it.
    #[inline]
    pub(crate) fn write_pending(&mut self, slot: u32) -> Written {
        let connections = &mut *self.connections;
        let Some(conn) = connections.table.at_mut(slot) else {
            return Written::Accepted;
        };
        let accepted = match conn.flags.has(Flags::FLUSH_AWAITED) {
            true => Written::Last,
            false => Written::Accepted,
        };
        let state = std::mem::take(&mut conn.pending);
        if state == 0 {
            return accepted;
        }
        let key = ConnKey::new(slot, conn.generation);
        let framing = conn.framing;
        connections.output_bytes_total += connections.output.palette.bytes(state) as u64;
        let is_queued = if conn.flags.has(Flags::IN_FLIGHT) {
            let palette = &connections.output.palette;
            palette.frames(state, &mut self.scratch.frames);
            self.queue(0, key)
        } else {
            let (status, is_queued) = self.write(key, framing, state);
            if status == SendStatus::Pending {
                self.set_in_flight(key);
            }
            is_queued
        };
        match is_queued {
            Ok(()) => accepted,
            Err(Full) => Written::Full,
        }
    }

    /// The batch of a connection is with the driver.
    fn set_in_flight(&mut self, key: ConnKey) {
        if let Some(conn) = self.connections.table.get_mut(key) {
            conn.flags.set(Flags::IN_FLIGHT);
        }
    }

    /// Hands a state's frames to the driver, in the cheapest form.
    #[inline(always)] // a call for each echo: +29 instructions
    fn write(
        &mut self,
        key: ConnKey,
        framing: Framing,
        state: u32,
    ) -> (SendStatus, Result<(), Full>) {
        let output = &self.connections.output;
        if self.connections.is_staged(key.slot(), framing) {
            output.palette.frames(state, &mut self.scratch.frames);
            let is_small = output.palette.bytes(state) <= BATCH_BYTES_MAX as u64;
            if is_small && !framing.is_late() {
                return (self.write_sealed(key), Ok(()));
            }
            return self.write_batches(key);
        }
        if let Some(frame) = output.palette.only_frame(state) {
            let status = match output.palette.frame(frame) {
                PendingFrame::Shared { chunk, .. } => {
                    self.driver.send(key, std::slice::from_ref(chunk))
                }
                PendingFrame::Own { start, end } | PendingFrame::Pong { start, end } => {
                    self.driver.send_copy(key, output.own(*start, *end))
                }
            };
            return (status, Ok(()));
        }
        output.palette.frames(state, &mut self.scratch.frames);
        if output.palette.bytes(state) <= CORK_BYTES_MAX {
            return (self.write_joined(key, state), Ok(()));
        }
        self.write_batches(key)
    }

    /// Seals the scratch's frames, which leave in one write.
    fn write_sealed(&mut self, key: ConnKey) -> SendStatus {
        let Scratch { frames, sealed, .. } = &mut *self.scratch;
        let Connections {
            output, transports, ..
        } = &mut *self.connections;
        let pieces = frames.iter().map(|&frame| output.bytes_of(frame));
        transports.seal(key.slot(), pieces, sealed);
        self.send_sealed(key)
    }

    /// Sends what is sealed, and empties it.
    fn send_sealed(&mut self, key: ConnKey) -> SendStatus {
        let sealed = &mut self.scratch.sealed;
        let status = match sealed.is_empty() {
            true => SendStatus::Done,
            false => self.driver.send_copy(key, sealed),
        };
        sealed.clear();
        sealed.shrink_to(KEPT_BYTES_MAX);
        status
    }

    /// Sends what the transport of the connection in `slot` has to send beside data. Returns its key
    /// if it has gone as far as the kernel takes it.
    pub(crate) fn write_owed(&mut self, slot: u32) -> Option<ConnKey> {
        let connections = &mut *self.connections;
        let conn = connections.table.at_mut(slot)?;
        let key = ConnKey::new(slot, conn.generation);
        if conn.flags.has(Flags::IN_FLIGHT) || conn.phase == Phase::Closed {
            return None; // what is in flight goes first, and then this
        }
        let sealed = &mut self.scratch.sealed;
        connections.transports.seal(slot, [], sealed);
        if self.send_sealed(key) == SendStatus::Pending {
            self.set_in_flight(key);
        }
        Some(key)
    }

    /// Small frames leave in one write, joined once for all that get the same.
    fn write_joined(&mut self, key: ConnKey, state: u32) -> SendStatus {
        let scratch = &mut *self.scratch;
        let output = &self.connections.output;
        let is_shared = output.palette.connections(state) > 1;
        if is_shared
            && scratch
                .joined_last
                .as_ref()
                .is_none_or(|(of, _)| *of != state)
        {
            let chunk = scratch.joined.get(&state);
            scratch.joined_last = chunk.map(|chunk| (state, chunk.clone()));
        }
        if is_shared && let Some((_, chunk)) = &scratch.joined_last {
            return self.driver.send(key, std::slice::from_ref(chunk));
        }
        scratch.cork.clear();
        for &frame in &scratch.frames {
            scratch.cork.extend_from_slice(output.bytes_of(frame));
        }
        if !is_shared {
            return self.driver.send_copy(key, &scratch.cork);
        }
        let chunk = Chunk::new(scratch.cork.as_slice().into());
        let status = self.driver.send(key, std::slice::from_ref(&chunk));
        scratch.joined.insert(state, chunk.clone());
        scratch.joined_last = Some((state, chunk));
        status
    }

    /// Hands the scratch's frames to the driver by reference, batch by batch.
    fn write_batches(&mut self, key: ConnKey) -> (SendStatus, Result<(), Full>) {
        let mut next = 0;
        loop {
            next += self.take_batch(next);
            let status = self.send_batch(key);
            if next == self.scratch.frames.len() || status == SendStatus::Gone {
                return (status, Ok(()));
            }
            if status == SendStatus::Pending {
                // Too much for one batch, and the kernel has not taken the first.
                return (status, self.queue(next, key));
            }
        }
    }

    /// Gathers the frames from `next` on that make a batch. Returns how many.
    fn take_batch(&mut self, next: usize) -> usize {
        let scratch = &mut *self.scratch;
        let mut bytes = 0;
        for &frame in scratch.frames[next..].iter().take(BATCH_CHUNKS_MAX) {
            let chunk = self.connections.output.chunk_of(frame);
            bytes += chunk.len();
            if bytes > BATCH_BYTES_MAX && !scratch.chunks.is_empty() {
                break;
            }
            scratch.chunks.push(chunk);
        }
        scratch.chunks.len()
    }

    /// Gathers the next batch of a connection's outbox, for [`Writer::send_batch`]. `None` if it has
    /// none; else whether that was all that waited.
    pub(crate) fn take_batch_from_outbox(&mut self, key: ConnKey) -> Option<bool> {
        let Connections {
            table, outboxes, ..
        } = &mut *self.connections;
        let chunks = &mut self.scratch.chunks;
        outboxes.edit(table.get(key)?, |outbox| {
            outbox.take_batch(chunks);
            outbox.is_empty()
        })
    }

    /// Hands the batch that was gathered to the driver, through the connection's own stages if it has
    /// any.
    pub(crate) fn send_batch(&mut self, key: ConnKey) -> SendStatus {
        let conn = self.connections.table.get(key);
        let is_staged =
            conn.is_some_and(|conn| self.connections.is_staged(key.slot(), conn.framing));
        let status = match is_staged {
            true => self.send_staged(key),
            false => self.driver.send(key, &self.scratch.chunks),
        };
        self.scratch.chunks.clear();
        status
    }

    /// Hands the batch to the driver through the connection's compression context and its transport.
    fn send_staged(&mut self, key: ConnKey) -> SendStatus {
        let Scratch {
            chunks,
            cork,
            sealed,
            ..
        } = &mut *self.scratch;
        let connections = &mut *self.connections;
        let slot = key.slot();
        cork.clear();
        for image in chunks {
            connections.contexts.append(cork, slot, image.as_slice());
        }
        connections.output_bytes_total += cork.len() as u64;
        if connections.transports.has(slot) {
            connections.transports.seal(slot, [cork.as_slice()], sealed);
        } else {
            std::mem::swap(cork, sealed);
        }
        cork.clear();
        cork.shrink_to(KEPT_BYTES_MAX);
        self.send_sealed(key)
    }

    /// The batch in flight has gone. False if there is no such connection.
    pub(crate) fn end_in_flight(&mut self, key: ConnKey) -> bool {
        let connections = &mut *self.connections;
        let Some(conn) = connections.table.get_mut(key) else {
            return false;
        };
        conn.flags.clear(Flags::IN_FLIGHT);
        if conn.flags.has(Flags::HAS_TRANSPORT) {
            connections.transports.note_sendable(key.slot());
        }
        if conn.flags.has(Flags::PING_SENT)
            && (conn.outbox.get().is_some() || conn.phase == Phase::Http)
        {
            connections.deadlines.arm_pong_timeout(conn);
        }
        true
    }

    /// Sends the batch that was gathered; false when no more can be sent for now.
    pub(crate) fn send_next_batch(&mut self, key: ConnKey) -> bool {
        let status = self.send_batch(key);
        if status == SendStatus::Pending {
            self.set_in_flight(key);
        }
        status == SendStatus::Done
    }

    /// Puts the scratch's frames, from `first` on, behind what waits already, each under the
    /// limits of its namespace.
    fn queue(&mut self, first: usize, key: ConnKey) -> Result<(), Full> {
        let Connections {
            settings,
            counters,
            namespaces,
            table,
            outboxes,
            output,
            output_bytes_total,
            missed,
            lost,
            ..
        } = &mut *self.connections;
        let Some(conn) = table.get_mut(key) else {
            return Ok(());
        };
        let frames = &self.scratch.frames[first..];
        *output_bytes_total += queue_bytes(frames.len());
        let rules = QueueRules {
            output,
            holds_positions: conn.dialect.holds_positions(),
            policies: &settings.channels,
            total_bytes_max: settings.limits.outbox_bytes_max,
            counters,
            namespaces,
        };
        outboxes.edit_or_insert(key.slot(), conn, |outbox| {
            let queued = rules.queue(outbox, frames);
            if outbox.has_missed() {
                missed.push(key);
            }
            lost.extend(outbox.take_lost().into_iter().map(|channel| (key, channel)));
            queued
        })
    }
}

/// Frames up to this many bytes together are joined by copying; beyond, `writev` by reference.
const CORK_BYTES_MAX: u64 = 16 << 10;
