//! What a reactor does for the control thread (see [`super::peer`]): answers, a slice at a time.

use roost_hub::Placement;
use roost_net::Driver;

use super::listings::Listing;
use super::messages::{
    Answer, CONNECTIONS_MAX, ConnectionRecord, ControlPublication, Disconnect, Part, Refusal,
    Request, Token, phase_name,
};
use crate::channels::Channels;
use crate::clock::TICK_MS;
use crate::closing::start_close;
use crate::connections::{Connections, Flags, Phase};
use crate::core::Core;
use crate::messages::apply_pending;
use crate::peer_message::PeerMessage;

/// Answers a request, or begins to.
pub(crate) fn handle_request(core: &mut Core, token: Token, request: Request) {
    core.counters.control_requests_total.inc();
    match request {
        Request::Ping => {
            answer(&mut core.channels, token, Part::Pong);
        }
        Request::Disconnect(disconnect) => {
            let was_open = handle_disconnect(core, &disconnect);
            let part = Part::Disconnected { was_open };
            answer(&mut core.channels, token, part);
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

/// Begins the closing handshake; false if no WebSocket is open there.
fn handle_disconnect(core: &mut Core, disconnect: &Disconnect) -> bool {
    let Disconnect { key, code, reason } = disconnect;
    let conn = core.connections.get(*key);
    let was_open = conn.is_some_and(|conn| conn.phase == Phase::Open);
    if was_open {
        start_close(core, *key, *code, reason.as_str());
        apply_pending(core);
    }
    was_open
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

/// Publishes a batch, and answers what has become of each.
pub(crate) fn handle_publications(
    core: &mut Core,
    token: Token,
    publications: Vec<ControlPublication>,
) {
    core.counters.control_requests_total.inc();
    let outcomes = publications.into_iter();
    let outcomes = outcomes.map(|publication| handle_publication(core, publication));
    let outcomes = outcomes.collect();
    answer(&mut core.channels, token, Part::Published(outcomes));
}

fn handle_publication(
    core: &mut Core,
    publication: ControlPublication,
) -> Result<Placement, Refusal> {
    let ControlPublication {
        channel,
        payload,
        is_limited,
        repeat_key,
    } = publication;
    let now = core.now();
    if let Some(place) = repeat_key.and_then(|key| core.repeats.find(key, now)) {
        return Ok(place);
    }
    let codec = core.connections.codec();
    let channels = &mut core.channels;
    let place = channels.publish_for_control(&channel, payload, is_limited, codec, now)?;
    if let Some(key) = repeat_key {
        core.repeats.insert(key, place, now);
    }
    apply_pending(core);
    Ok(place)
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
