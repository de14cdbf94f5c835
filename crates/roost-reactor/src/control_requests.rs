//! What a reactor does for the slow side (see [`crate::control`]): answers, a slice at a time.

use std::collections::VecDeque;

use roost_hub::{Item, ReactorId};
use roost_net::Driver;

use crate::conn::Flags;
use crate::control::{
    Answer, CONNECTIONS_MAX, ConnectionRecord, LISTINGS_MAX, Part, Refusal, Request, Token,
    phase_name,
};
use crate::core::{Core, PeerMessage, TICK_MS};

/// Requests that take more than one loop iteration to answer.
#[derive(Default)]
pub(crate) struct Listings {
    under_way: VecDeque<Listing>,
}

struct Listing {
    token: Token,
    next_slot: u32,
    /// Records that may follow.
    left: u32,
}

impl Listings {
    pub(crate) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }
}

impl Core {
    pub(crate) fn handle_request(&mut self, token: Token, request: Request) {
        self.counters.control_requests_total.inc();
        match request {
            Request::Ping => {
                self.answer(token, Part::Pong);
            }
            Request::Connections { .. } if self.listings.under_way.len() >= LISTINGS_MAX => {
                self.answer(token, Part::Refused(Refusal::Busy));
            }
            Request::Connections { from_slot, limit } => {
                self.listings.under_way.push_back(Listing {
                    token,
                    next_slot: from_slot,
                    left: limit.min(CONNECTIONS_MAX),
                });
            }
        }
    }

    /// Goes on with one of the listings, by a slice of the table.
    pub(crate) fn list_slice<D: Driver>(&mut self, driver: &D) {
        let Some(mut listing) = self.listings.under_way.pop_front() else {
            return;
        };
        let slots = self.table.slots();
        let end = listing.next_slot.saturating_add(SLICE_SLOTS).min(slots);
        let records_max = listing.left.min(SLICE_RECORDS) as usize;
        let mut records = Vec::new();
        while listing.next_slot < end && records.len() < records_max {
            records.extend(self.record_at(listing.next_slot, driver));
            listing.next_slot += 1;
        }
        listing.left -= records.len() as u32;
        let is_at_end = listing.next_slot >= slots;
        if is_at_end || listing.left == 0 {
            let next_slot = (!is_at_end).then_some(listing.next_slot);
            self.answer(listing.token, Part::ConnectionsEnd { records, next_slot });
        } else if records.is_empty() || self.answer(listing.token, Part::Connections(records)) {
            self.listings.under_way.push_back(listing); // else nobody can make use of the rest
        }
    }

    fn record_at<D: Driver>(&self, slot: u32, driver: &D) -> Option<ConnectionRecord> {
        let key = self.table.key_at(slot)?;
        let conn = self.table.get(key)?;
        let outbox = self.outboxes.get(conn);
        Some(ConnectionRecord {
            reactor: self.links.me() as u8,
            key,
            phase: phase_name(conn.phase),
            dialect: conn.dialect.name(),
            input_buffered_bytes: self.inputs.bytes_of(slot, conn),
            outbox_bytes: outbox.map_or(0, |outbox| outbox.bytes()),
            outbox_messages: outbox.map_or(0, |outbox| outbox.messages()),
            in_flight_bytes: driver.unsent_bytes(key),
            is_paused: conn.flags.has(Flags::PAUSED),
            silent_seconds: self.now.saturating_sub(conn.last_seen) / (1000 / TICK_MS),
        })
    }

    /// A publication of the slow side has come; false if it is refused, since the channel's
    /// publishers have to wait and this one cannot be made to.
    pub(crate) fn admit_from_control(
        &mut self,
        item: &Item<roost_dialect::Publication, roost_wire::Frozen>,
    ) -> bool {
        let Item::Publish { name, ack, .. } = item else {
            debug_assert!(false, "the slow side has no subscribers");
            return false;
        };
        self.counters.control_requests_total.inc();
        if self.congestion.has(name) {
            if let Some(ack) = *ack {
                self.answer(Token::from_ack(ack), Part::Refused(Refusal::Congested));
            }
            return false;
        }
        self.counters.publishes_total.inc();
        true
    }

    /// Answers the slow side. False if its ring is full: the answer is dropped.
    fn answer(&mut self, token: Token, part: Part) -> bool {
        self.send_to_control(PeerMessage::Answer(Box::new(Answer { token, part })))
    }

    pub(crate) fn send_to_control(&mut self, message: PeerMessage) -> bool {
        let is_sent = self.links.try_send(self.control, message).is_ok();
        if !is_sent {
            self.counters.control_answers_dropped_total.inc();
        }
        is_sent
    }

    pub(crate) fn is_control(&self, peer: ReactorId) -> bool {
        peer == self.control
    }
}

/// Slots of the table that are visited in one loop iteration, with or without a connection.
const SLICE_SLOTS: u32 = 4096;
/// Connections that are described in one loop iteration. [`CONNECTIONS_MAX`] of them make 16
/// answers: half of what the ring holds.
const SLICE_RECORDS: u32 = 256;
