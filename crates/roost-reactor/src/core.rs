//! All of a reactor but its driver: three parts with walls between them, the dialects' sessions, and
//! what is under way in this loop iteration.
//!
//! The driver stands apart so that it can lend bytes while the rest is at work. What a part wants
//! of the driver meanwhile, [`Connections`] notes.
//!
//! The files that take a `&mut Core` are steps on the way of a message; each calls the ones below it
//! and none above: [`crate::input`], [`crate::requests`], [`crate::handshake`], [`crate::messages`], [`crate::commands`],
//! [`crate::hub_outputs`], [`crate::dialogue`], [`crate::closing`].

use std::sync::Arc;

use roost_access::Revocations;
use roost_dialect::dialect::{Event, Next};
use roost_metrics::{Counters, NamespaceCounters};
use roost_net::ConnKey;
use roost_wire::Limits as WireLimits;

use crate::calls::Calls;
use crate::channels::Channels;
use crate::client_events::ClientEvents;
use crate::client_limits::ClientLimits;
use crate::connections::{ConnId, Connections, Phase};
use crate::control::{Listings, Repeats, Sweeps};
use crate::current::Current;
use crate::emulation_names::Relays;
use crate::entry_queries::EntryQueries;
use crate::events::Journal;
use crate::governor::Governor;
use crate::history_asks::HistoryAsks;
use crate::hook_calls::HookCalls;
use crate::incidents::{IncidentKind, Incidents};
use crate::login_queue::LoginQueue;
use crate::presence_asks::PresenceAsks;
use crate::secrets::Secrets;
use crate::session_queries::{EventsWanted, SessionQueries};
use crate::sessions::Sessions;
use crate::settings::{Listener, Settings};
use crate::token_checks::TokenChecks;

/// A reactor without its driver.
pub(crate) struct Core {
    pub(crate) settings: Arc<Settings>,
    pub(crate) wire_limits: WireLimits,
    pub(crate) counters: Arc<Counters>,
    pub(crate) connections: Connections,
    pub(crate) channels: Channels,
    pub(crate) calls: Calls,
    pub(crate) governor: Governor,
    pub(crate) sessions: Sessions,
    /// Tokens to be checked by the control thread.
    pub(crate) token_checks: TokenChecks,
    /// Questions to the application, and who waits for the answers.
    pub(crate) hook_calls: HookCalls,
    /// Connections that wait for what a channel keeps.
    pub(crate) history_asks: HistoryAsks,
    /// What the control thread is being answered.
    pub(crate) listings: Listings,
    /// What it is answered when identities have been looked through.
    pub(crate) sweeps: Sweeps,
    /// What sessions ask about the sessions of their realm.
    pub(crate) session_queries: SessionQueries,
    /// What they ask about its registrations and subscriptions.
    pub(crate) entry_queries: EntryQueries,
    /// Whether there are events about sessions.
    pub(crate) events_wanted: Arc<EventsWanted>,
    /// Whether the hub and the dealer here have been told so.
    pub(crate) watches: bool,
    /// How many reactors there are.
    pub(crate) reactors: usize,
    /// Tokens that are not taken any more.
    pub(crate) revocations: Revocations,
    /// What it has published with a key.
    pub(crate) repeats: Repeats,
    /// What went wrong with connections lately.
    pub(crate) incidents: Incidents,
    /// What the application is told.
    pub(crate) journal: Journal,
    /// Something waits to be sent to the control thread: tokens, questions or events.
    pub(crate) has_for_control: bool,
    /// Requests for sessions of other reactors.
    pub(crate) relays: Relays,
    /// What names of sessions are made of.
    pub(crate) secrets: Secrets,
    /// Connections whose subscriptions have been answered that they wait for.
    pub(crate) ended_waits: Vec<ConnKey>,
    /// Connections that have just opened and whose client had sent more behind its request.
    pub(crate) early_data: Vec<(ConnKey, Vec<u8>)>,
    /// Bytes of the messages handled in this loop iteration, inflated, and some for each message.
    pub(crate) handled_bytes: u64,
    /// Clients that send faster than they may.
    pub(crate) client_limits: ClientLimits,
    /// Who has asked who is in a channel.
    pub(crate) presence_asks: PresenceAsks,
    /// What clients publish where they are subscribed.
    pub(crate) client_events: ClientEvents,
    /// Clients that have been challenged.
    pub(crate) logins: LoginQueue,
    /// Not all may call and register procedures everywhere.
    pub(crate) restricts_procedures: bool,
    /// Some names belong to realms.
    pub(crate) has_realms: bool,
    /// The server is to be drained: checks of health say so.
    pub(crate) is_leaving: bool,
    /// No new connections, and all are being closed.
    pub(crate) is_draining: bool,
}

impl Core {
    /// The name of a connection of this reactor.
    pub(crate) fn id(&self, key: ConnKey) -> ConnId {
        self.connections.id(key)
    }

    /// The listener that a connection came by.
    pub(crate) fn listener(&self, key: ConnKey) -> &Listener {
        self.settings.listener(self.listener_number(key))
    }

    /// Its number.
    pub(crate) fn listener_number(&self, key: ConnKey) -> u8 {
        let conn = self.connections.get(key);
        conn.map_or(0, |conn| conn.arrival.listener())
    }

    /// This reactor's number, and how many there are.
    pub(crate) fn reactor_of(&self) -> (u64, u64) {
        let me = u64::from(self.channels.me().0);
        (me, u64::from(self.channels.control().0))
    }

    /// Obeys other settings from now on. Between two loop iterations: no message is under way.
    #[cold]
    pub(crate) fn configure(&mut self, current: &Current, namespaces: &Arc<[NamespaceCounters]>) {
        let settings = &current.settings;
        debug_assert!(
            namespaces.len() > settings.channels.namespaces.len(),
            "each namespace has counters, and channels without one"
        );
        let (before, after) = (&self.settings.limits, &settings.limits);
        self.client_limits.configure(before, after);
        self.settings = settings.clone();
        self.wire_limits = current.wire_limits();
        self.has_realms = settings.has_realms();
        self.restricts_procedures = settings.restricts_procedures();
        self.connections.configure(settings, namespaces);
        let (limits, inflow) = (current.hub_limits(), &current.inflow);
        self.channels
            .configure(settings, namespaces, limits, inflow);
        self.calls.set_limits(current.dealer_limits());
        self.governor.set_connect_rates(&current.connects);
        self.sessions.configure(&settings.dialects);
    }

    /// Notes what went wrong with a connection.
    #[cold]
    pub(crate) fn note_incident(&mut self, key: ConnKey, kind: IncidentKind, count: u64) {
        let now = self.now();
        self.incidents.note(key, kind, count, now);
    }

    /// The time, in ticks.
    #[inline]
    pub(crate) fn now(&self) -> u32 {
        self.connections.clock().now
    }

    /// Whether so much was handled in this loop iteration that it should be flushed first.
    pub(crate) fn has_done_enough(&self) -> bool {
        self.connections.is_output_full() || self.handled_bytes >= MESSAGE_BYTES_MAX
    }

    /// What a connection's dialect says to an event, framed, for a connection whose output is
    /// blocked: it goes behind what waits. Empty, if it says nothing. And what is to follow.
    pub(crate) fn framed_words(&mut self, key: ConnKey, event: Event<'_>) -> (Vec<u8>, Next) {
        let Some(conn) = self.connections.get(key) else {
            return (Vec::new(), Next::Continue);
        };
        let next = self.sessions.on(conn.dialect, conn.session, event);
        let words = self.connections.frame_replies(key, self.sessions.replies());
        (words, next)
    }

    /// Cuts tables down to what was needed since the last call; returns the bytes.
    pub(crate) fn shrink(&mut self) -> usize {
        let now = self.now();
        self.revocations.forget_ended(now);
        self.count_revocations();
        self.connections.shrink()
            + self.sessions.shrink()
            + self.repeats.shrink(now)
            + self.incidents.shrink(now)
            + self.client_limits.shrink(now)
    }

    /// In debug builds: no connection goes on that came by a revoked token, unless it is being looked for.
    pub(crate) fn check_revocations(&self) {
        if !cfg!(debug_assertions) || self.revocations.is_empty() || !self.sweeps.is_empty() {
            return;
        }
        let (identities, now) = (self.connections.identities(), self.now());
        for (_, slot, identity) in identities.some_from(0, usize::MAX) {
            let key = self.connections.key_at(slot);
            let conn = key.and_then(|key| self.connections.get(key));
            debug_assert!(
                conn.is_none_or(|conn| conn.phase > Phase::Open)
                    || !self.revocations.is_revoked(identity, now),
                "a connection goes on whose token is revoked"
            );
        }
    }

    /// Whether something waits to be sent to the control thread.
    pub(crate) fn has_unsent(&self) -> bool {
        self.token_checks.has_unsent() || self.hook_calls.has_unsent() || self.journal.has_unsent()
    }

    /// In debug builds: what waits to be sent to the control thread is known to wait.
    pub(crate) fn check_for_control(&self) {
        debug_assert!(
            self.has_for_control || !self.has_unsent(),
            "something waits for the control thread, and nothing says so"
        );
    }

    /// Brings their gauge up to date: the first reactor's, for all have the same.
    pub(crate) fn count_revocations(&self) {
        if self.channels.me().0 == 0 {
            self.counters.revocations.set(self.revocations.len() as u64);
        }
    }

    /// Drops memory that is only kept for the next loop iteration; returns the bytes.
    pub(crate) fn shrink_scratch(&mut self) -> usize {
        crate::memory::drop_empty(&mut self.early_data)
            + crate::memory::drop_empty(&mut self.ended_waits)
            + self.connections.shrink_scratch()
            + self.channels.shrink_scratch()
            + self.calls.shrink_scratch()
            + self.logins.shrink()
            + self.hook_calls.shrink()
            + self.history_asks.shrink()
            + self.governor.shrink_scratch()
    }
}

/// Bytes of messages, as long as they are inflated, and 64 for each, after which no further event
/// is handled in the loop iteration: a lease may hold a thousand times its size, and what is
/// published waits for the flush.
const MESSAGE_BYTES_MAX: u64 = 4 << 20;
