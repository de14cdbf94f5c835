//! What the reactors of one server have in common.
#![expect(
    clippy::disallowed_types,
    reason = "for a clone of what a reload gives, once a reload and reactor"
)]

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roost_dealer::{DealerLimits, DealerOptions};
use roost_hub::{HistoryOptions, Homes, HubLimits, HubOptions, PresenceOptions, ReactorId};
use roost_metrics::Registry;
use roost_net::{OpenListener, Waker};

use crate::calls::Calls;
use crate::channels::{Channels, Links, Mesh};
use crate::client_events::ClientEvents;
use crate::client_limits::ClientLimits;
use crate::connections::{Codec, Connections, UserCounts};
use crate::control::{ControlPeer, Listings, REACTORS_MAX, Repeats, Sweeps};
use crate::core::Core;
use crate::current::Current;
use crate::drain::Pace;
use crate::emulation_names::Relays;
use crate::entry_queries::EntryQueries;
use crate::events::Journal;
use crate::governor::{Admission, BacklogReport, BacklogWriter, Budget, BudgetShare, Governor};
use crate::history_asks::HistoryAsks;
use crate::hook_calls::HookCalls;
use crate::incidents::Incidents;
use crate::listening::{ListenerUses, OpenedListener};
use crate::login_queue::LoginQueue;
use crate::peer_message::PeerMessage;
use crate::presence_asks::PresenceAsks;
use crate::secrets::Secrets;
use crate::session_queries::{EventsWanted, SessionQueries};
use crate::sessions::Sessions;
use crate::settings::{LISTENERS_MAX, Settings};
use crate::token_checks::TokenChecks;

/// What the reactors of one server have in common.
#[derive(Clone)]
pub struct Shared {
    given: Arc<Mutex<Given>>,
    registry: Registry,
    budget: Arc<Budget>,
    /// Which channels keep history: as at the start.
    history: HistoryOptions,
    /// Which keep presence: as at the start.
    presence: PresenceOptions,
    backlog_report: Arc<BacklogReport>,
    mesh: Arc<Mesh<PeerMessage>>,
    /// Connections of the process.
    process: Arc<AtomicU32>,
    /// Those of each user, if they are limited.
    users: Option<Arc<UserCounts>>,
    /// Connections that have come by each listener.
    listener_uses: Arc<ListenerUses>,
    switch: Arc<Switch>,
    /// Whether the control thread has taken its place in the mesh.
    has_control: Arc<AtomicBool>,
    /// Whether events about sessions are published.
    events_wanted: Arc<EventsWanted>,
    seed: u64,
}

/// What the last reload gave.
struct Given {
    /// What reactors obey, or will with their next loop iteration.
    current: Current,
    /// By reactor: listeners that it has not taken yet, with their numbers.
    opened: Box<[Vec<(u8, OpenListener)>]>,
}

/// How the reactors are told of something new, which each sees in one look at `state`.
struct Switch {
    /// The number of reloads, times two, and 1 when all connections are to be closed.
    state: AtomicU32,
    /// How, by [`Pace`].
    delay_ms: AtomicU32,
    timeout_ms: AtomicU32,
    per_second: AtomicU32,
    /// Something asks whether clients should be sent here.
    is_watched: AtomicBool,
    /// By reactor: the number of the last reload that it obeys.
    obeyed: Box<[AtomicU32]>,
    /// Reactors whose last connection has ended in the drain.
    empty: AtomicUsize,
}

const DRAIN: u32 = 1;
const RELOAD: u32 = 2;

/// Why a reactor does not listen.
#[derive(Debug)]
pub struct ListenError {
    /// Which listener, by its place among those of the settings.
    pub listener: usize,
    /// What the driver says. `AddrInUse` also when another process listens there that would share
    /// its port.
    pub error: io::Error,
}

impl Shared {
    /// For a server of `reactors` reactors, 1 to [`REACTORS_MAX`]. `seed` makes channel hashes unknown to
    /// peers and the numbers of sessions and publications differ between runs; equal seeds, in a
    /// simulation, give equal runs.
    ///
    /// # Panics
    /// When there are none or more reactors, or no listener or more than [`LISTENERS_MAX`].
    pub fn new(settings: Settings, reactors: usize, seed: u64) -> Shared {
        assert!(
            (1..=REACTORS_MAX).contains(&reactors),
            "1 to {REACTORS_MAX} reactors, not {reactors}"
        );
        let listeners = settings.listeners.len();
        assert!(
            (1..=LISTENERS_MAX).contains(&listeners),
            "1 to {LISTENERS_MAX} listeners, not {listeners}"
        );
        let switch = Switch {
            state: AtomicU32::new(0),
            delay_ms: AtomicU32::new(0),
            timeout_ms: AtomicU32::new(0),
            per_second: AtomicU32::new(0),
            is_watched: AtomicBool::new(false),
            obeyed: (0..reactors).map(|_| AtomicU32::new(0)).collect(),
            empty: AtomicUsize::new(0),
        };
        let budget = Arc::new(Budget::new(settings.limits.buffered_bytes_max, reactors));
        let users = UserCounts::new(settings.auth.connections_per_user_max).map(Arc::new);
        let history_bytes_max = settings.limits.history_bytes_max / reactors as u64;
        let history = settings.channels.history(history_bytes_max);
        let presence_bytes_max = settings.limits.presence_bytes_max / reactors as u64;
        let told = Codec::tell_members();
        let presence = settings.channels.presence(presence_bytes_max, told);
        Shared {
            registry: Registry::with_namespaces(reactors, settings.channels.names()),
            given: Arc::new(Mutex::new(Given {
                current: Current::new(settings),
                opened: (0..reactors).map(|_| Vec::new()).collect(),
            })),
            mesh: Arc::new(Mesh::new(reactors + 1)), // and the control thread
            budget,
            history,
            presence,
            backlog_report: Arc::new(BacklogReport::new(reactors)),
            process: Arc::default(),
            users,
            listener_uses: Arc::default(),
            switch: Arc::new(switch),
            has_control: Arc::default(),
            events_wanted: Arc::default(),
            seed,
        }
    }

    /// The control thread's end of the reactors' mesh; `waker` wakes it. A server has one in its life:
    /// from then on `None`.
    pub fn control_peer(&self, waker: Waker) -> Option<ControlPeer> {
        if self.has_control.swap(true, Ordering::AcqRel) {
            return None;
        }
        let reactors = self.registry.reactors();
        let hash_key = self.hash_key();
        let homes = Homes::new(&hash_key, self.reactors());
        let mesh = self.mesh.clone();
        Some(ControlPeer::new(mesh, reactors, homes, hash_key, waker))
    }

    fn hub_options(&self, id: u8, seed: u64, limits: HubLimits) -> HubOptions {
        let HubLimits {
            channels_max,
            channel_name_bytes_max,
            patterns,
        } = limits;
        HubOptions {
            me: ReactorId(id),
            reactors: self.reactors(),
            hash_key: self.hash_key(),
            seed,
            channels_max,
            channel_name_bytes_max,
            patterns,
            history: self.history.clone(),
            presence: self.presence.clone(),
        }
    }

    /// Reactor `id`, but for its driver, whose waker this is.
    pub(crate) fn core(&self, id: u8, waker: Waker) -> Core {
        let current = self.current();
        let settings = &current.settings;
        let limits = &settings.limits;
        let (me, reactors) = (usize::from(id), self.registry.reactors());
        let seed = self.seed ^ (u64::from(id) + 1).wrapping_mul(ODD);
        let counters = self.registry.reactor(me);
        let namespaces = self.registry.namespaces(me);
        let hub = self.hub_options(id, seed, current.hub_limits());
        let epoch = Homes::new(&hub.hash_key, hub.reactors).epoch_of(hub.me);
        let dealer = self.dealer_options(id, seed.rotate_left(31), &current);
        let links = Links::new(id, self.mesh.clone(), waker);
        let admission = Admission::new(
            settings.connections_max,
            limits.connections_per_address_max,
            self.process.clone(),
        );
        let mut connections =
            Connections::new(settings, counters, &namespaces, (me, reactors), epoch);
        connections.count_users(self.users.clone());
        Core {
            settings: settings.clone(),
            wire_limits: current.wire_limits(),
            counters: counters.clone(),
            connections,
            channels: Channels::new(settings, counters, &namespaces, hub, links, &current.inflow),
            calls: Calls::new(dealer, counters),
            governor: Governor::new(
                admission,
                (self.listener_uses.clone(), current.connects.clone()),
                BudgetShare::new(self.budget.clone(), me),
                BacklogWriter::new(self.backlog_report.clone(), me),
            ),
            sessions: Sessions::new(&settings.dialects, seed.rotate_left(17)),
            token_checks: TokenChecks::default(),
            hook_calls: HookCalls::default(),
            history_asks: HistoryAsks::default(),
            listings: Listings::default(),
            sweeps: Sweeps::default(),
            session_queries: SessionQueries::default(),
            entry_queries: EntryQueries::default(),
            events_wanted: self.events_wanted.clone(),
            watches: false,
            reactors,
            revocations: settings.auth.revoked.table(settings.auth.revocations_max),
            repeats: Repeats::default(),
            incidents: Incidents::new(reactors),
            journal: Journal::new(&settings.events),
            has_for_control: false,
            relays: Relays::default(),
            secrets: Secrets::default(),
            ended_waits: Vec::new(),
            early_data: Vec::new(),
            handled_bytes: 0,
            client_limits: ClientLimits::default(),
            presence_asks: PresenceAsks::default(),
            client_events: ClientEvents::default(),
            logins: LoginQueue::default(),
            has_realms: settings.has_realms(),
            restricts_procedures: settings.restricts_procedures(),
            is_leaving: false,
            is_draining: false,
        }
    }

    fn dealer_options(&self, id: u8, seed: u64, current: &Current) -> DealerOptions {
        let DealerLimits {
            registrations_max,
            calls_max,
            invocations_max,
        } = current.dealer_limits();
        DealerOptions {
            me: ReactorId(id),
            reactors: self.reactors(),
            hash_key: self.hash_key(),
            seed,
            apart: current.settings.dialects.wamp.own_realms.prefixes().clone(),
            registrations_max,
            calls_max,
            invocations_max,
        }
    }

    /// How many reactors there are.
    pub(crate) fn reactors(&self) -> u16 {
        let reactors = self.registry.reactors();
        u16::try_from(reactors).expect("at most REACTORS_MAX reactors")
    }

    /// The key of channel names' hashes.
    fn hash_key(&self) -> [u8; 16] {
        let mut hash_key = [0; 16];
        hash_key[..8].copy_from_slice(&self.seed.to_le_bytes());
        hash_key[8..].copy_from_slice(&self.seed.rotate_left(29).wrapping_mul(ODD).to_le_bytes());
        hash_key
    }

    /// The connections for which most waits, brought up to date once a second: a JSON array.
    pub fn slow_to_json(&self) -> String {
        self.backlog_report.to_json()
    }

    /// How all connections are to be closed, if they are to be.
    pub fn pace(&self) -> Option<Pace> {
        self.is_draining().then(|| Pace {
            delay_ms: self.switch.delay_ms.load(Ordering::Relaxed),
            timeout_ms: self.switch.timeout_ms.load(Ordering::Relaxed),
            per_second: self.drain_per_second(),
        })
    }

    /// How many connections a drain tells in a second; see [`Pace::per_second`].
    pub(crate) fn drain_per_second(&self) -> u32 {
        self.switch.per_second.load(Ordering::Relaxed)
    }

    /// Something has asked whether clients should be sent here, and would see a drain.
    pub fn note_watched(&self) {
        self.switch.is_watched.store(true, Ordering::Relaxed);
    }

    /// Whether that has been asked, here or on a health path.
    pub fn is_watched(&self) -> bool {
        self.switch.is_watched.load(Ordering::Relaxed)
            || self.registry.sum("health_checks_total").unwrap_or_default() > 0
    }

    /// Whether the reactors were asked to close all connections.
    pub fn is_draining(&self) -> bool {
        self.state() & DRAIN != 0
    }

    /// One more reactor has no connection any more, and has sent what there was to send: or has failed, or
    /// never begun. Whether all have now.
    pub(crate) fn note_empty(&self) -> bool {
        self.switch.empty.fetch_add(1, Ordering::AcqRel) + 1 >= self.registry.reactors()
    }

    /// Whether all reactors have said so.
    pub(crate) fn are_all_empty(&self) -> bool {
        self.switch.empty.load(Ordering::Acquire) >= self.registry.reactors()
    }

    /// Another number as soon as reactors are asked to do something.
    #[inline]
    pub(crate) fn state(&self) -> u32 {
        self.switch.state.load(Ordering::Acquire)
    }

    /// The same without what a reactor that begins has still to do.
    pub(crate) fn reloads_state(&self) -> u32 {
        self.state() & !DRAIN
    }

    /// What reactors obey from now on.
    pub(crate) fn current(&self) -> Current {
        self.lock_given().current.clone()
    }

    /// What a reactor obeys from now on, and the listeners that it is to take.
    pub(crate) fn take(&self, reactor: usize) -> (Current, Vec<(u8, OpenListener)>) {
        let mut given = self.lock_given();
        let opened = std::mem::take(&mut given.opened[reactor]);
        (given.current.clone(), opened)
    }

    fn lock_given(&self) -> MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives all reactors other settings. Each takes them with its next loop iteration: wake it.
    /// [`Shared::is_reloaded`] says when all have.
    ///
    /// Listeners that are new have been opened; those that are not open any more are closed, and their
    /// connections stay.
    ///
    /// Of the settings, what is set up at the start stays as it is: addresses and backlogs of listeners
    /// that go on, compression, fragments, connections at once, of an address and of a user, and
    /// revocations.
    ///
    /// # Panics
    /// When a listener or a namespace has gone: they keep their numbers. Or an opened listener has not a
    /// socket for each reactor.
    pub fn reload(&self, settings: Settings, opened: Vec<OpenedListener>) {
        let mut given = self.lock_given();
        let before = &given.current.settings;
        let listeners = before.listeners.len()..=LISTENERS_MAX;
        assert!(
            listeners.contains(&settings.listeners.len()),
            "listeners keep their numbers"
        );
        let (old, new) = (&before.channels.namespaces, &settings.channels.namespaces);
        assert!(
            old.len() <= new.len() && old.iter().zip(new).all(|(old, new)| old.0 == new.0),
            "namespaces keep their numbers"
        );
        self.registry.name_namespaces(settings.channels.names());
        self.budget
            .set_bytes_max(settings.limits.buffered_bytes_max);
        given.current = given.current.next(settings);
        for OpenedListener { number, sockets } in opened {
            assert_eq!(sockets.len(), given.opened.len(), "one for each reactor");
            for (reactor, socket) in given.opened.iter_mut().zip(sockets) {
                reactor.push((number, socket));
            }
        }
        self.switch.state.fetch_add(RELOAD, Ordering::Release);
    }

    /// Whether all reactors obey the last settings they were given.
    pub fn is_reloaded(&self) -> bool {
        let last = self.state() / RELOAD;
        let mut obeyed = self.switch.obeyed.iter();
        obeyed.all(|number| number.load(Ordering::Acquire) == last)
    }

    /// A reactor obeys what was given to it when the state was this.
    pub(crate) fn note_obeyed(&self, reactor: usize, state: u32) {
        self.switch.obeyed[reactor].store(state / RELOAD, Ordering::Release);
    }

    /// How many connections have come by a listener and are still there, whether it is open or not.
    pub fn connections_by_listener(&self, number: u8) -> u32 {
        self.listener_uses.count(number)
    }

    /// The counters of all reactors.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The settings that hold, or will with each reactor's next loop iteration.
    pub fn settings(&self) -> Arc<Settings> {
        self.lock_given().current.settings.clone()
    }

    /// Asks all reactors to close every connection with 1001 and to stop; what is left after
    /// `drain_ms` is cut. Each reactor sees it when it next wakes: wake it.
    pub fn begin_drain(&self, drain_ms: u32) {
        self.begin_paced_drain(Pace::at_once(drain_ms));
    }

    /// The same at a pace. Where a drain is under way, only its rate changes.
    pub fn begin_paced_drain(&self, pace: Pace) {
        let Pace {
            delay_ms,
            timeout_ms,
            per_second,
        } = pace;
        self.switch.per_second.store(per_second, Ordering::Relaxed);
        if !self.is_draining() {
            self.switch.delay_ms.store(delay_ms, Ordering::Relaxed);
            self.switch.timeout_ms.store(timeout_ms, Ordering::Relaxed);
        }
        self.switch.state.fetch_or(DRAIN, Ordering::Release);
    }
}

/// Spreads seeds; the odd part of the golden ratio.
pub(crate) const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
