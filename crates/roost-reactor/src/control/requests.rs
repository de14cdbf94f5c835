//! What a reactor does for the control thread (see [`super::peer`]): answers, a slice at a time.

use roost_access::{Full, UserName};
use roost_dialect::DialectKind;
use roost_dialect::dialect::Event;
use roost_hub::{Name, Placement, Subscriber};
use roost_net::{ConnKey, Driver};
use roost_wire::CloseCode;

use super::described::{Describe, Described};
use super::details::{address_of, details_of, record_of};
use super::filter::Sieve;
use super::history;
use super::listings::{ChannelListing, ConnectionListing, Listing};
use super::messages::{
    Answer, CHANNELS_MAX, CONNECTIONS_MAX, COUNTED_MAX, CloseReason, ControlPublication,
    Disconnect, FILTERED_SLOTS_MAX, Part, Refusal, Request, Revocation, Token, Whose,
};
use super::sweeps::{Act, Ending, Sweep};
use crate::authentication::REVOKED;
use crate::channels::Channels;
use crate::clock::tick_in;
use crate::closing::{note_end, start_close};
use crate::connections::Phase;
use crate::core::Core;
use crate::dialogue::{notify, send_replies};
use crate::incidents::EndCause;
use crate::journal;
use crate::messages::apply_pending;
use crate::peer_message::PeerMessage;
use crate::responses::refuse;
use crate::server_subscriptions;
use crate::session_events::{end_cause, unsubscribing};
use crate::timeouts::is_certificates;

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
        Request::DisconnectUser(request) => {
            begin_sweep(core, Sweep::of_user(token, *request), token);
        }
        Request::History(_) | Request::RemoveHistory(_) | Request::Presence { .. } => {
            answer_kept(core, token, request);
        }
        Request::Unsubscribe(request) => {
            let act = Act::Unsubscribe(request.channel);
            act_on(core, token, request.whose, act);
        }
        Request::Subscribe(request) => {
            let act = Act::Subscribe(request.channel);
            act_on(core, token, request.whose, act);
        }
        Request::Refresh(request) => {
            let now = core.now();
            let ends = request.ends_in_ms.map(|ms| tick_in(now, ms));
            act_on(core, token, request.whose, Act::Refresh(ends));
        }
        Request::Revoke(revocation) => handle_revocation(core, token, *revocation),
        Request::Connections {
            from_slot,
            limit,
            filter,
        } => {
            let listing = ConnectionListing {
                token,
                next_slot: from_slot,
                records: Vec::new(),
                left: limit.min(CONNECTIONS_MAX),
                filter,
                slots_left: FILTERED_SLOTS_MAX,
            };
            begin_listing(core, token, Listing::Connections(listing));
        }
        Request::Channels {
            from,
            limit,
            prefix,
        } => {
            let listing = ChannelListing {
                token,
                next: from,
                left: limit.min(CHANNELS_MAX),
                prefix,
            };
            begin_listing(core, token, Listing::Channels(listing));
        }
        Request::Channel(name) => {
            let part = channel_named(core, &name);
            answer(&mut core.channels, token, part);
        }
        Request::CountSubscribers(names) => {
            let part = count_subscribers(core, &names);
            answer(&mut core.channels, token, part);
        }
        Request::Describe(describe) => {
            begin_listing(core, token, Listing::Description(token, describe));
        }
    }
}

/// What a channel keeps whose home is here, or who is in it.
fn answer_kept(core: &mut Core, token: Token, request: Request) {
    let now = core.now();
    let part = match request {
        Request::History(query) => Part::History(Box::new(history::read(core, &query))),
        Request::RemoveHistory(channel) => history::remove(core, &channel),
        Request::Presence {
            channel,
            counts_only,
        } => {
            let view = core.channels.hub_mut().presence(&channel, counts_only, now);
            Part::Presence(Box::new(view))
        }
        _ => unreachable!("the caller has the rest"),
    };
    answer(&mut core.channels, token, part);
}

/// The channel of a name whose home is here.
fn channel_named(core: &Core, name: &str) -> Part {
    let record = core.channels.hub().home_channel_named(name, core.now());
    Part::ChannelsEnd {
        records: record.into_iter().collect(),
        next: None,
    }
}

fn count_subscribers(core: &Core, names: &[Name]) -> Part {
    let names = names.iter().take(COUNTED_MAX);
    let counts = names.map(|name| core.channels.hub().subscriptions_to(name));
    Part::Subscribers(counts.collect())
}

/// What is answered by slices waits for its turn, unless too much does.
fn begin_listing(core: &mut Core, token: Token, listing: Listing) {
    if core.listings.is_full() {
        answer(&mut core.channels, token, Part::Refused(Refusal::Busy));
    } else {
        core.listings.push(listing);
    }
}

/// Does something to a connection at once, or to all of a user in passes.
fn act_on(core: &mut Core, token: Token, whose: Whose, act: Act) {
    match whose {
        Whose::User(user) => begin_sweep(core, Sweep::new(token, user, act), token),
        Whose::Connection { key, user } => {
            let is_done = is_theirs(core, key, &user) && carry_out(core, key, &act);
            let connections = u32::from(is_done);
            answer(&mut core.channels, token, Part::Done { connections });
        }
    }
}

/// Whether a connection is the user's; any is, if none is named.
fn is_theirs(core: &Core, key: ConnKey, user: &UserName) -> bool {
    let identity = core.connections.identities().get(key.slot());
    core.connections.get(key).is_some()
        && (user.is_empty() || identity.is_some_and(|identity| identity.user == *user))
}

/// Does something to a connection; false if there was nothing to do.
fn carry_out(core: &mut Core, key: ConnKey, act: &Act) -> bool {
    match act {
        Act::End(ending) => end_connection(core, key, ending),
        Act::Subscribe(channel) => {
            let is_new = server_subscriptions::subscribe(core, key, channel);
            apply_pending(core);
            is_new
        }
        Act::Unsubscribe(channel) => end_subscription(core, key, channel),
        Act::Refresh(ends) => core.connections.set_expiry(key, *ends),
    }
}

/// Ends a connection's subscription to a channel, or the connection that is for nothing else.
fn end_subscription(core: &mut Core, key: ConnKey, name: &str) -> bool {
    let Some(channel) = core.channels.find(name) else {
        return false;
    };
    let Some(conn) = core.connections.get(key) else {
        return false;
    };
    let (dialect, session, framing) = (conn.dialect, conn.session, conn.framing);
    if !core.sessions.is_subscribed(dialect, session, channel) {
        return false;
    }
    if core.sessions.is_confirmed(dialect, session, channel) {
        unsubscribing(core, key, channel);
    }
    let form = core
        .sessions
        .end_subscription(dialect, session, (channel, name));
    send_replies(core, key);
    let Some(form) = form else {
        let ending = Ending {
            code: CloseCode::UNSUBSCRIBED,
            reason: CloseReason::new("unsubscribed by the application").expect("it is short"),
            is_revoked: false,
        };
        let is_for_it_alone = matches!(dialect, DialectKind::Raw | DialectKind::Sse);
        return is_for_it_alone && end_connection(core, key, &ending);
    };
    let encoding = framing.encoding(form);
    let now = core.now();
    journal::unsubscribing(core, key, channel, "unsubscribed by the application");
    core.channels
        .unsubscribe(Subscriber(key.slot()), encoding, channel, now);
    end_cause(core);
    core.counters.subscriptions_ended_total.inc();
    apply_pending(core);
    true
}

fn begin_sweep(core: &mut Core, sweep: Sweep, token: Token) {
    match core.sweeps.is_full() {
        true => _ = answer(&mut core.channels, token, Part::Refused(Refusal::Busy)),
        false => core.sweeps.push(sweep),
    }
}

/// From here on no such token is taken; connections that came by one are looked for.
fn handle_revocation(core: &mut Core, token: Token, revocation: Revocation) {
    let Revocation {
        revoked,
        ends_in_ms,
    } = revocation;
    let now = core.now();
    let until = tick_in(now, ends_in_ms).get();
    let refusal = match core.sweeps.is_full() {
        true => Some(Refusal::Busy),
        false => match core.revocations.insert(&revoked, until, now) {
            Ok(()) => None,
            Err(Full) => Some(Refusal::RevocationsFull),
        },
    };
    match refusal {
        None => core.sweeps.push(Sweep::of_revoked(token, revoked)),
        Some(refusal) => _ = answer(&mut core.channels, token, Part::Refused(refusal)),
    }
    core.count_revocations();
}

/// Goes on with the requests about users and tokens, by a slice of the identities.
#[inline(never)]
pub(crate) fn sweep_slice(core: &mut Core) {
    let Some(mut pass) = core.sweeps.take_pass() else {
        return;
    };
    for found in pass.next_slice(&core.connections) {
        if carry_out(core, found.key, &pass.act(&found)) {
            pass.count(&found);
        }
    }
    if !pass.is_over(&core.connections) {
        return core.sweeps.put_back(pass);
    }
    for (token, connections) in pass.outcomes() {
        answer(&mut core.channels, token, Part::Done { connections });
    }
}

/// Closes a connection, or refuses its handshake; false if there was neither.
fn end_connection(core: &mut Core, key: ConnKey, ending: &Ending) -> bool {
    let Ending {
        code,
        reason,
        is_revoked,
    } = ending;
    let phase = core.connections.get(key).map(|conn| conn.phase);
    match phase {
        Some(Phase::Open) => {
            let reason = reason.as_str();
            let (event, reason) = match (is_revoked, is_certificates(core, key)) {
                (false, _) => (Event::Disconnected { reason }, reason),
                (true, false) => (
                    Event::Revoked {
                        credential: "token",
                    },
                    reason,
                ),
                (true, true) => {
                    let credential = "certificate";
                    (Event::Revoked { credential }, CERTIFICATE_REVOKED)
                }
            };
            note_end(core, key, EndCause::Disconnected, reason);
            notify(core, key, event);
            start_close(core, key, *code, reason);
        }
        // Its channel's home has not answered yet; or the request for an event stream is not whole.
        Some(Phase::Joining | Phase::Http) => {
            core.connections.take_partial(key.slot());
            let (status, reason) = match is_revoked {
                true => (401, REVOKED),
                false => (403, "The application has ended this connection."),
            };
            refuse(core, key, status, reason);
        }
        _ => return false,
    }
    let counters = &core.counters;
    match is_revoked {
        true => counters.connections_revoked_total.inc(),
        false => counters.connections_disconnected_total.inc(),
    }
    apply_pending(core);
    true
}

/// Begins the closing handshake; false if no WebSocket is open there.
fn handle_disconnect(core: &mut Core, disconnect: &Disconnect) -> bool {
    let Disconnect {
        key,
        user,
        code,
        reason,
    } = disconnect;
    let conn = core.connections.get(*key);
    let was_open =
        conn.is_some_and(|conn| conn.phase == Phase::Open) && is_theirs(core, *key, user);
    let ending = Ending {
        code: *code,
        reason: reason.clone(),
        is_revoked: false,
    };
    was_open && end_connection(core, *key, &ending)
}

/// Goes on with one of the listings, by a slice of the table, if that is due.
pub(crate) fn list_slice<D: Driver>(core: &mut Core, driver: &mut D) {
    let begun_ns = driver.read_clock();
    let Some(listing) = core.listings.pop(begun_ns) else {
        return;
    };
    match listing {
        Listing::Connections(listing) => list_connections(core, driver, listing),
        Listing::Channels(listing) => list_channels(core, listing),
        Listing::Description(token, describe) => {
            let Describe { key, channel } = *describe;
            let details = details_of(core, driver, key, channel.as_ref());
            let incidents = core.incidents.of(key, core.now());
            let described = Box::new(Described { details, incidents });
            answer(&mut core.channels, token, Part::Described(described));
        }
    }
    core.listings.rest(begun_ns, driver.read_clock());
}

fn list_connections<D: Driver>(core: &mut Core, driver: &D, mut listing: ConnectionListing) {
    list_records(core, driver, &mut listing);
    let is_at_end = listing.next_slot >= core.connections.slots();
    let channels = &mut core.channels;
    if is_at_end || listing.left == 0 || listing.slots_left == 0 {
        let next_slot = (!is_at_end).then_some(listing.next_slot);
        let records = listing.records;
        answer(
            channels,
            listing.token,
            Part::ConnectionsEnd { records, next_slot },
        );
        return;
    }
    if listing.records.len() >= ANSWER_RECORDS {
        let records = std::mem::take(&mut listing.records);
        if !answer(channels, listing.token, Part::Connections(records)) {
            return; // the rest is of no use
        }
    }
    core.listings.push(Listing::Connections(listing));
}

/// Goes on with a listing of channels, by a slice of those whose home is here.
fn list_channels(core: &mut Core, mut listing: ChannelListing) {
    let end = core.channels.hub().home_end();
    let until = listing.next.saturating_add(SLICE_CHANNELS).min(end);
    let records_max = listing.left.min(SLICE_CHANNEL_RECORDS) as usize;
    let mut records = Vec::new();
    while listing.next < until && records.len() < records_max {
        let channel = core.channels.hub().home_channel(listing.next, core.now());
        records.extend(channel.filter(|one| one.name.starts_with(&*listing.prefix)));
        listing.next += 1;
    }
    listing.left -= u32::try_from(records.len()).expect("at most SLICE_CHANNEL_RECORDS");
    let is_at_end = listing.next >= end;
    let channels = &mut core.channels;
    if is_at_end || listing.left == 0 {
        let next = (!is_at_end).then_some(listing.next);
        answer(channels, listing.token, Part::ChannelsEnd { records, next });
    } else if records.is_empty() || answer(channels, listing.token, Part::Channels(records)) {
        core.listings.push(Listing::Channels(listing)); // else the rest is of no use
    }
}

/// Describes the next connections of the listing.
fn list_records<D: Driver>(core: &Core, driver: &D, listing: &mut ConnectionListing) {
    let slots = core.connections.slots();
    let mut slice = SLICE_SLOTS;
    let sieve = match &listing.filter {
        None => None,
        Some(filter) => match Sieve::new(filter, core) {
            Some(sieve) => {
                slice = match filter.asks_kernel() {
                    true => ASKED_SLOTS,
                    false => FILTERED_SLOTS,
                };
                slice = slice.min(listing.slots_left);
                listing.slots_left -= slice;
                Some(sieve)
            }
            None => {
                listing.next_slot = slots;
                return;
            }
        },
    };
    let end = listing.next_slot.saturating_add(slice).min(slots);
    let mut described = 0;
    let described_max = listing.left.min(SLICE_RECORDS);
    while listing.next_slot < end && described < described_max {
        let slot = listing.next_slot;
        listing.next_slot += 1;
        let Some(key) = core.connections.key_at(slot) else {
            continue;
        };
        let in_flight_bytes = || driver.unsent_bytes(key);
        let address = || address_of(core, driver, key);
        if sieve
            .as_ref()
            .is_none_or(|sieve| sieve.admits(core, slot, in_flight_bytes, address))
        {
            let record = record_of(core, driver, key);
            described += u32::from(record.is_some());
            listing.records.extend(record);
        }
    }
    listing.left -= described;
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
const SLICE_SLOTS: u32 = 1024;
/// Places of channels that are visited in one loop iteration.
const SLICE_CHANNELS: u32 = 1024;
/// The reason of a close frame, where others are told of their token.
const CERTIFICATE_REVOKED: &str = "the certificate is revoked";
/// The same with a filter, for which a connection's session is looked at, in another table.
const FILTERED_SLOTS: u32 = 256;
/// The same where the kernel is asked for each address.
const ASKED_SLOTS: u32 = 64;
/// Connections that are described in one loop iteration, each from several tables that are in no cache:
/// a message that comes meanwhile waits for all of them.
const SLICE_RECORDS: u32 = 16;
/// Connections of one answer, at least. [`CONNECTIONS_MAX`] of them make 16 answers: half of what the ring
/// holds.
const ANSWER_RECORDS: usize = 256;
/// Channels that are described in one loop iteration, and so in one answer.
const SLICE_CHANNEL_RECORDS: u32 = 256;
