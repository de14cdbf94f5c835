//! What a reactor does for the control thread (see [`super::peer`]): answers, a slice at a time.

use roost_dialect::Publication;
use roost_hub::Item;
use roost_net::Driver;

use super::listings::Listing;
use super::messages::{
    Answer, CONNECTIONS_MAX, ConnectionRecord, Part, Refusal, Request, Token, phase_name,
};
use crate::channels::Channels;
use crate::clock::TICK_MS;
use crate::connections::{Connections, Flags};
use crate::core::Core;
use crate::image::Image;
use crate::peer_message::PeerMessage;

/// Answers a request, or begins to.
pub(crate) fn handle_request(core: &mut Core, token: Token, request: Request) {
    core.counters.control_requests_total.inc();
    match request {
        Request::Ping => {
            answer(&mut core.channels, token, Part::Pong);
        }
        Request::Connections { .. } if core.listings.is_full() => {
            answer(&mut core.channels, token, Part::Refused(Refusal::Busy));
        }
        Request::Connections { from_slot, limit } => {
            core.listings.push(Listing {
                token,
                next_slot: from_slot,
                left: limit.min(CONNECTIONS_MAX),
            });
        }
    }
}

/// Goes on with one of the listings, by a slice of the table.
pub(crate) fn list_slice<D: Driver>(core: &mut Core, driver: &D) {
    let Some(mut listing) = core.listings.pop() else {
        return;
    };
    let slots = core.connections.slots();
    let end = listing.next_slot.saturating_add(SLICE_SLOTS).min(slots);
    let records_max = listing.left.min(SLICE_RECORDS) as usize;
    let mut records = Vec::new();
    while listing.next_slot < end && records.len() < records_max {
        let reactor = core.channels.me().0;
        records.extend(record_at(
            &core.connections,
            listing.next_slot,
            reactor,
            driver,
        ));
        listing.next_slot += 1;
    }
    let described = u32::try_from(records.len()).expect("at most SLICE_RECORDS");
    listing.left -= described;
    let is_at_end = listing.next_slot >= slots;
    let channels = &mut core.channels;
    if is_at_end || listing.left == 0 {
        let next_slot = (!is_at_end).then_some(listing.next_slot);
        answer(
            channels,
            listing.token,
            Part::ConnectionsEnd { records, next_slot },
        );
    } else if records.is_empty() || answer(channels, listing.token, Part::Connections(records)) {
        core.listings.push(listing); // else the rest is of no use
    }
}

fn record_at<D: Driver>(
    connections: &Connections,
    slot: u32,
    reactor: u8,
    driver: &D,
) -> Option<ConnectionRecord> {
    let key = connections.key_at(slot)?;
    let conn = connections.get(key)?;
    let outbox = connections.outboxes().get(conn);
    let silent_ticks = connections.clock().now.saturating_sub(conn.last_seen);
    Some(ConnectionRecord {
        reactor,
        key,
        phase: phase_name(conn.phase),
        dialect: conn.dialect.name(),
        input_buffered_bytes: connections.inputs().bytes_of(slot, conn),
        outbox_bytes: outbox.map_or(0, |outbox| outbox.bytes()),
        outbox_messages: outbox.map_or(0, |outbox| outbox.messages()),
        in_flight_bytes: driver.unsent_bytes(key),
        is_paused: conn.flags.has(Flags::PAUSED),
        silent_seconds: silent_ticks / (1000 / TICK_MS),
    })
}

/// A publication of the control thread has come; false if it is refused, since the channel's publishers
/// have to wait and this one cannot be made to.
pub(crate) fn admit_publication(core: &mut Core, item: &Item<Publication, Image>) -> bool {
    let Item::Publish { name, ack, .. } = item else {
        debug_assert!(false, "the control thread has no subscribers");
        return false;
    };
    core.counters.control_requests_total.inc();
    if core.channels.is_congested(name) {
        if let Some(ack) = *ack {
            let part = Part::Refused(Refusal::Congested);
            answer(&mut core.channels, Token::from_ack(ack), part);
        }
        return false;
    }
    core.counters.publishes_total.inc();
    true
}

/// Answers the control thread. False if its ring is full: the answer is dropped.
fn answer(channels: &mut Channels, token: Token, part: Part) -> bool {
    channels.try_send_to_control(PeerMessage::Answer(Box::new(Answer { token, part })))
}

/// Slots of the table that are visited in one loop iteration, with or without a connection.
const SLICE_SLOTS: u32 = 4096;
/// Connections that are described in one loop iteration. [`CONNECTIONS_MAX`] of them make 16
/// answers: half of what the ring holds.
const SLICE_RECORDS: u32 = 256;
