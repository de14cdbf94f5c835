//! Sending: one request for a batch, and the rest of it when the kernel took less.

use super::batch::Batch;
use super::ops::SEND;
use super::ring::Ring;
use super::state::{Outcome, UringDriver, cause_of};
use super::table::{self, Busy, CLOSING, CONNECTING, RELEASING, SENT_DUE};
use crate::{CloseMode, ConnKey, DriverStats, Event, SendStatus};

impl UringDriver {
    pub(super) fn start_send(&mut self, key: ConnKey, batch: Batch) -> SendStatus {
        let connecting = self.table.any(key, CONNECTING);
        let sent_due = self.table.any(key, SENT_DUE);
        let busy = self.table.busy(key);
        if busy.batch.is_some() || sent_due {
            debug_assert!(false, "a batch is in flight on {key:?}");
            self.batches.recycle(batch);
            self.start_close(key, CloseMode::Abort);
            return SendStatus::Gone;
        }
        busy.batch = Some(batch);
        if !connecting {
            submit(busy, (&mut self.ring, &mut self.stats), key);
        }
        // In a fan-out the queue is submitted every time it is full: the records of those sends
        // are free for the next.
        self.sort_arrived();
        SendStatus::Pending
    }

    pub(super) fn submit_send(&mut self, key: ConnKey) {
        let busy = self.table.busy(key);
        submit(busy, (&mut self.ring, &mut self.stats), key);
    }

    /// Answers the completion of a send before the caller sees an event, if all went well: most do, and
    /// a fan-out to all connections then needs as many records as requests fit the queue, not as
    /// there are connections. False if there is more to it than telling `Sent`.
    pub(super) fn send_done_early(&mut self, key: ConnKey, result: i32) -> bool {
        if !self.table.holds(key) || self.table.any(key, CLOSING | RELEASING) {
            return false;
        }
        let Some(busy) = self.table.peek_mut(key) else {
            return false;
        };
        let whole = |batch: &Batch| usize::try_from(result).is_ok_and(|n| n == batch.left());
        if busy.wanted != 0 || !busy.batch.as_ref().is_some_and(whole) {
            return false;
        }
        busy.owed &= !table::SEND;
        self.stats.sent_bytes += result as u64;
        if let Some(batch) = busy.batch.take() {
            self.batches.recycle(batch);
        }
        self.table.drop_idle_record(key);
        self.table.set(key, SENT_DUE);
        true
    }

    /// Tells what `send_done_early` has found.
    pub(super) fn sent(&mut self, key: ConnKey) -> Option<Outcome> {
        self.table.clear(key, SENT_DUE);
        let closing = self.table.any(key, CLOSING);
        (!closing).then_some(Outcome::Event(Event::Sent(key)))
    }

    pub(super) fn send_done(&mut self, key: ConnKey, result: i32) -> Option<Outcome> {
        let tearing = self.is_tearing(key);
        let busy = self.table.busy(key);
        busy.owed &= !table::SEND;
        let batch = busy
            .batch
            .as_mut()
            .expect("a batch is kept until its completion");
        if result > 0 {
            batch.take(result as usize);
            self.stats.sent_bytes += result as u64;
        }
        if tearing {
            return self.advance(key);
        }
        let retry = matches!(-result, libc::EAGAIN | libc::EINTR);
        if result < 0 && !retry {
            self.tear_down(key, cause_of(-result));
            return None;
        }
        if batch.left() > 0 {
            self.submit_send(key);
            return None;
        }
        if let Some(batch) = busy.batch.take() {
            self.batches.recycle(batch);
        }
        if self.table.any(key, CLOSING) {
            return self.advance(key);
        }
        self.table.drop_idle_record(key);
        if self.table.peek(key).is_some() || self.table.any(key, RELEASING) {
            self.note_advance(key);
        }
        Some(Outcome::Event(Event::Sent(key)))
    }
}

/// Asks the kernel to send what is left of the batch, if there is a socket to send it on.
fn submit(busy: &mut Busy, (ring, stats): (&mut Ring, &mut DriverStats), key: ConnKey) {
    let (Some(batch), Some(target)) = (&mut busy.batch, busy.target) else {
        return;
    };
    busy.owed |= table::SEND;
    stats.sends += 1;
    // SAFETY: the batch stays in the record until `send_done`, and so does the record; the driver
    // waits for the completion, or leaks the record, before it goes.
    unsafe { batch.submit(ring, target, key.with_op(SEND).to_bits()) };
}
