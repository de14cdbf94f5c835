//! Connections taken apart and put together again: what a process that takes over live connections
//! has to be told of each.
//!
//! Each record is taken apart here by naming all its fields, so that a new field does not compile until
//! its author has decided what becomes of it. Times are relative: the other process counts its own
//! ticks. A connection is taken apart between two loop iterations, when nothing of it is pending and no
//! batch is with the driver. What a client's compressed messages refer to is carried as bytes; ours begin
//! anew. Keys of TLS are carried as bytes and wiped here; a handshake under way cannot be carried.
#![cfg_attr(
    not(test),
    expect(dead_code, reason = "the hand-over itself is not built yet")
)]

use std::num::NonZeroU32;

use roost_access::Identity;
use roost_dialect::DialectKind;
use roost_dialect::dialect::Session;
use roost_net::ConnKey;
use roost_tls::ImportError;

use super::conn::{Arrival, Conn, Flags, Index, Phase};
use super::contexts::ContextState;
use super::encoding::Framing;
use super::exchanges::Exchange;
use super::inputs::Inputs;
use super::outbox::OutboxState;
use super::partial::Partial;
use super::state::Connections;
use super::transport::TransportState;
use crate::clock::NEVER;

/// One connection, with all that it has beside its record.
pub(crate) struct ConnState {
    /// Ticks until the table is to be looked at for it; `None` is never.
    pub(crate) deadline_in: Option<u32>,
    /// Ticks since the last byte was received.
    pub(crate) silent_for: u32,
    /// Ticks since the last message in either direction.
    pub(crate) idle_for: u32,
    /// The number of its listener, which the other process has under the same name.
    pub(crate) listener: u8,
    /// But for what concerns the driver and the tables here.
    pub(crate) flags: Flags,
    pub(crate) session: Session,
    pub(crate) dialect: DialectKind,
    pub(crate) framing: Framing,
    pub(crate) phase: Phase,
    pub(crate) partial: Option<Partial>,
    pub(crate) rest: Option<Vec<u8>>,
    pub(crate) record: Option<Vec<u8>>,
    pub(crate) outbox: Option<OutboxState>,
    pub(crate) contexts: Option<ContextState>,
    pub(crate) exchange: Option<Exchange>,
    /// Its expiry in ticks from now on; sets of permissions are shared anew where it arrives.
    pub(crate) identity: Option<Identity>,
    pub(crate) transport: Option<TransportState>,
}

/// Takes a connection apart, whose slot is free behind it. Its session stays with its dialect. `None`
/// if there is no such connection.
pub(crate) fn take_apart(connections: &mut Connections, key: ConnKey) -> Option<ConnState> {
    let clock = connections.clock();
    let Connections {
        table,
        inputs,
        outboxes,
        contexts,
        exchanges,
        identities,
        transports,
        ..
    } = connections;
    let slot = key.slot();
    let conn = table.get_mut(key)?;
    let record = inputs.take_record(slot, conn);
    let rest = inputs.take_rest(slot, conn);
    let partial = inputs.take(conn);
    let outbox = outboxes.take(conn).map(OutboxState::from);
    let contexts = contexts.take_apart(slot);
    let exchange = exchanges.take(slot);
    let identity = identities.take(slot).map(|identity| Identity {
        // One that has expired has still to be ended: a tick from now.
        expires: identity
            .expires
            .map(|at| one_at_least(at.get().saturating_sub(clock.now))),
        ..identity
    });
    let transport = transports.take_apart(slot);
    let Conn {
        deadline,
        last_seen,
        last_message,
        partial: _, // taken above
        outbox: _,
        pending,
        session,
        arrival,
        generation: _, // of this table's slot
        flags,
        dialect,
        framing,
        phase,
    } = table.remove(key);
    debug_assert_eq!(pending, 0, "taken apart between two loop iterations");
    debug_assert!(!flags.has(Flags::IN_FLIGHT), "its batch has gone");
    Some(ConnState {
        deadline_in: (deadline != NEVER).then(|| deadline.saturating_sub(clock.now)),
        silent_for: clock.now.saturating_sub(last_seen),
        idle_for: clock.now.saturating_sub(last_message),
        listener: arrival.listener(), // its address is counted anew where it arrives
        flags: flags.carried(),
        session,
        dialect,
        framing,
        phase,
        partial,
        rest,
        record,
        outbox,
        contexts,
        exchange,
        identity,
        transport,
    })
}

/// Puts a connection together again. `address` is its entry in the table of peer addresses.
///
/// # Errors
/// Its transport is of a kind that this version does not know: it cannot go on here.
pub(crate) fn put_together(
    connections: &mut Connections,
    state: ConnState,
    address: Index,
) -> Result<ConnKey, ImportError> {
    let ConnState {
        deadline_in,
        silent_for,
        idle_for,
        listener,
        flags,
        session,
        dialect,
        framing,
        phase,
        partial,
        rest,
        record,
        outbox,
        contexts: context_state,
        exchange,
        identity,
        transport,
    } = state;
    let transport = transport.map(TransportState::read).transpose()?;
    let now = connections.clock().now;
    let key = connections.table.insert(Conn {
        deadline: deadline_in.map_or(NEVER, |ticks| now.saturating_add(ticks)),
        last_seen: now.saturating_sub(silent_for),
        last_message: now.saturating_sub(idle_for),
        partial: Index::NONE,
        outbox: Index::NONE,
        pending: 0,
        session,
        arrival: Arrival::new(listener, address),
        generation: 0, // the table gives it
        flags,
        dialect,
        framing,
        phase,
    });
    let Connections {
        table,
        inputs,
        outboxes,
        exchanges,
        identities,
        deadlines,
        contexts,
        transports,
        ..
    } = connections;
    if let (Some(conn), slot) = (table.get_mut(key), key.slot()) {
        deadlines.note(conn.deadline);
        keep_input((inputs, slot, conn), partial, rest, record);
        if let Some(outbox) = outbox {
            outboxes.insert(conn, outbox.into_outbox(slot));
        }
        if let Some(state) = context_state {
            contexts.put_together(slot, state);
        }
        if let Some(exchange) = exchange {
            exchanges.insert(slot, exchange);
        }
        if let Some(identity) = identity {
            identities.insert(slot, resume(identity, now));
        }
        if let Some(transport) = transport {
            transports.put_together(slot, transport);
        }
    }
    Ok(key)
}

fn keep_input(
    (inputs, slot, conn): (&mut Inputs, u32, &mut Conn),
    partial: Option<Partial>,
    rest: Option<Vec<u8>>,
    record: Option<Vec<u8>>,
) {
    if let Some(partial) = partial {
        inputs.keep(conn, partial);
    }
    if let Some(rest) = rest {
        inputs.keep_rest(slot, conn, rest);
    }
    if let Some(record) = record {
        inputs.keep_record(slot, conn, record);
    }
}

/// An identity whose expiry counts by this process's clock again.
fn resume(identity: Identity, now: u32) -> Identity {
    let expires = identity.expires;
    let expires = expires.map(|ticks| one_at_least(now.saturating_add(ticks.get())));
    Identity {
        expires,
        ..identity
    }
}

fn one_at_least(ticks: u32) -> NonZeroU32 {
    NonZeroU32::new(ticks).unwrap_or(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use roost_access::{Method, PermissionSet, Provider, TokenMark};
    use roost_net::Chunk;
    use roost_tls::Suite;
    use roost_tls::testing::pair;

    use super::*;
    use crate::connections::contexts::tests::agreement;
    use crate::connections::outbox::Ending;
    use crate::connections::partial::{Decoder, Unread};
    use crate::connections::testing;
    use crate::settings::{SlowConsumer, policy_for_tests};

    #[test]
    fn a_connection_is_the_same_in_another_process() {
        let mut here = testing::connections();
        let mut there = testing::connections();
        testing::advance(&mut here, 1_000);
        testing::advance(&mut there, 77_000);
        let key = testing::insert(&mut here);
        testing::advance(&mut here, 30);
        fill(&mut here, key);
        let before = here.accounted_bytes();

        let state = take_apart(&mut here, key).expect("it is there");
        assert_eq!((state.silent_for, state.idle_for), (30, 30));
        assert!(here.get(key).is_none() && here.accounted_bytes() == 0);
        assert!(here.contexts.is_empty(), "its contexts went with it");
        let key = put_together(&mut there, state, Index::NONE).expect("nothing new");
        there.check_invariants();

        assert_eq!(there.accounted_bytes(), before);
        let conn = there.get(key).expect("it is there");
        assert_eq!(conn.last_seen, 77_000 - 30);
        assert_eq!(conn.phase, Phase::Open);
        assert_eq!(conn.arrival, Arrival::new(3, Index::NONE));
        assert!(conn.flags.has(Flags::MAY_PUBLISH) && conn.flags.has(Flags::HAS_REST));
        assert!(!conn.flags.has(Flags::OVERDUE));
        assert!(there.deadlines_due() <= conn.deadline);
        let state = take_apart(&mut there, key).expect("it is there");
        assert!(there.contexts.is_empty() && state.contexts.is_some());
        assert_eq!(state.rest, Some(vec![3; 10]));
        assert_eq!(state.record, Some(vec![4; 20]));
        let exchange = state.exchange.expect("it is carried");
        assert_eq!(exchange.answered, 2);
        let identity = state.identity.expect("it is carried");
        assert_eq!(identity.user, "alice");
        assert_eq!(identity.expires, NonZeroU32::new(500));
        assert!(there.identities().get(key.slot()).is_none());
        assert_eq!(there.exchanges().get(key.slot()), Exchange::default());
        let Some(Partial::Unread(unread)) = &state.partial else {
            panic!("what a paused publisher has sent");
        };
        assert_eq!(unread.bytes, [1, 2, 3]);
        let outbox = state.outbox.expect("it waits").into_outbox(0);
        let waiting: Vec<u8> = outbox.chunks().map(|chunk| chunk.as_slice()[0]).collect();
        assert_eq!(waiting, [10, 11, 12], "a lane after the other");
    }

    /// What was sealed and not sent goes first, then what is sealed in the other process, under numbers
    /// that go on.
    #[test]
    fn tls_goes_on_where_it_was() {
        let _watch = roost_tls::nonces::watch();
        for suite in [Suite::Aes128GcmSha256, Suite::EcdheEcdsaAes256GcmSha384] {
            let (mut client, mut server) = pair(suite, 7);
            let mut here = testing::connections();
            let mut there = testing::connections();
            let key = testing::insert(&mut here);
            let conn = here.table.get_mut(key).expect("it is there");
            conn.flags.set(Flags::HAS_TRANSPORT);
            here.transports.establish(key.slot(), &mut server.rest);
            let mut sent = Vec::new();
            here.transports
                .seal(key.slot(), [&b"before"[..]], &mut sent);
            client.give(&sent);
            client.send(b"half of it");
            let record = client.take();

            let state = take_apart(&mut here, key).expect("it is there");
            assert!(here.transports.is_empty(), "nothing of its keys is left");
            let key = put_together(&mut there, state, Index::NONE).expect("a known suite");

            sent.clear();
            there
                .transports
                .seal(key.slot(), [&b", after"[..]], &mut sent);
            client.give(&sent);
            assert_eq!(client.received, b"before, after");
            let mut record = record;
            let opened = there.open_records(key.slot(), &mut record);
            assert_eq!(record[opened.plaintext], *b"half of it");
        }
    }

    /// The latest of a channel replaces its elder on the other side as well.
    #[test]
    fn an_outbox_goes_on_under_its_policy() {
        let mut here = testing::connections();
        let key = testing::insert(&mut here);
        fill(&mut here, key);
        let state = take_apart(&mut here, key).expect("it is there");
        let mut outbox = state.outbox.expect("it waits").into_outbox(7);
        let mut policy = policy_for_tests();
        policy.slow_consumer = SlowConsumer::Latest;
        let newer = Chunk::new(vec![13; 4].into());
        let dropped = outbox.push_published(1, (&policy, Ending::None), 5, newer);
        assert_eq!(dropped.expect("there is room").replaced, 1);
        outbox.push(Chunk::new(vec![14; 2_000].into()));
        let mut batch = Vec::new();
        outbox.take_batch(&mut batch);
        let order: Vec<u8> = batch.iter().map(|chunk| chunk.as_slice()[0]).collect();
        assert_eq!(order, [10, 13, 12, 14], "in the order of all lanes");
    }

    fn fill(connections: &mut Connections, key: ConnKey) {
        let identity = Identity {
            user: "alice".into(),
            permissions: Arc::new(PermissionSet::of_role("staff", Vec::new())),
            expires: NonZeroU32::new(connections.clock().now + 500),
            method: Method::Ticket,
            provider: Provider::Static,
            token: TokenMark::default(),
        };
        connections
            .identify(key, identity)
            .expect("there is no limit");
        let Connections {
            table,
            inputs,
            outboxes,
            contexts,
            exchanges,
            ..
        } = connections;
        contexts.put_together(key.slot(), ContextState::of(agreement()));
        let exchange = Exchange {
            answered: 2,
            stream: None,
        };
        exchanges.insert(key.slot(), exchange);
        let conn = table.get_mut(key).expect("it is there");
        conn.phase = Phase::Open;
        conn.arrival = Arrival::new(3, Index::NONE);
        conn.flags.clear(Flags::HANDSHAKE);
        conn.flags.set(Flags::MAY_PUBLISH);
        conn.flags.set(Flags::OVERDUE);
        let unread = Unread::new(Decoder::new(Framing::Rfc6455), &[1, 2, 3]);
        inputs.keep(conn, Partial::Unread(Box::new(unread)));
        inputs.keep_rest(key.slot(), conn, vec![3; 10]);
        inputs.keep_record(key.slot(), conn, vec![4; 20]);
        let mut policy = policy_for_tests();
        policy.slow_consumer = SlowConsumer::Latest;
        outboxes.edit_or_insert(key.slot(), conn, |outbox| {
            outbox.push(Chunk::new(vec![10; 2_000].into()));
            for (channel, byte) in [(5, 11), (6, 12)] {
                let chunk = Chunk::new(vec![byte; 4].into());
                let namespace = (channel - 4) as u16;
                let queued =
                    outbox.push_published(namespace, (&policy, Ending::None), channel, chunk);
                queued.expect("there is room");
            }
            outbox.note_dropped(9);
        });
    }
}
