//! What a reactor obeys. Plain values with units in their names; shared by all reactors. What the
//! configuration says is taken as it is; what is added here is resolved by the daemon, or made ready
//! for the loop.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use roost_access::{
    Identity, Operation, PatternRef, PermissionSet, Question, Requirement, Revocations, decide,
};
use roost_config as config;
pub use roost_config::{
    Access, ChannelPolicy, ClientRatePolicy, Deflate, JoinLeave, Limits, Network, Presence,
    Publish, Readers, Recovery, SlowConsumer,
};
use roost_dialect::dialect::{Accept, Headers, Offer, Recovers};
use roost_dialect::pusher::Kind;
use roost_dialect::{DialectKind, centrifugo, echo, raw, soap, sse, wamp};
pub use roost_hub::NamespaceNumbers;
use roost_hub::{
    EncodingSet, HistoryLimits, HistoryNamespace, HistoryOptions, PresenceLimits, PresenceNotify,
    PresenceOptions, beginning_of, place_of,
};
use roost_net::ListenAddr;
use roost_tls::SharedSetup;

use crate::clock::{TICK_MS, tick_in, ticks};
use crate::control::Revocation;
use crate::events::Events;
use crate::kinds;
use crate::proxies::Forwarded;
use crate::realms::may_name;

/// The settings of a reactor. The daemon makes it from the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where clients connect, and where connections came by that are still there, by number: 1 to
    /// [`LISTENERS_MAX`].
    pub listeners: Vec<Listener>,
    /// permessage-deflate (RFC 7692).
    pub deflate: Deflate,
    /// What one connection, or all together, may cost.
    pub limits: Limits,
    /// Connections held at once by the process. At the limit new connections are reset.
    pub connections_max: u32,
    /// Subscribers that are served in one loop iteration; a channel with more here is served incrementally,
    /// so that others keep their latency.
    pub fan_out_at_once: u32,
    /// Subscribers visited in such a piece.
    pub fan_out_piece: u32,
    /// How clients say who they are.
    pub auth: Auth,
    /// What the application is asked.
    pub hooks: Hooks,
    /// What it is told. As at the start: a reload does not change it.
    pub events: Events,
    /// What the dialects obey. Who asks for a connection is offered those of its listener.
    pub dialects: roost_dialect::Settings,
    /// The policies of all namespaces.
    pub channels: Policies,
}

/// Tokens in handshakes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Auth {
    /// Whether they are looked for.
    pub is_on: bool,
    /// Whether a client without one is refused.
    pub is_required: bool,
    /// Whether WAMP clients may come without one all the same, to log in behind the handshake.
    pub wamp_logs_in: bool,
    /// The cookie that may have one; empty for none.
    pub cookie: String,
    /// How long a handshake waits for the check.
    pub wait_ms: u32,
    /// Handshakes that wait at once, on one reactor.
    pub checks_max: u32,
    /// A token, in bytes; 0 for any length. A longer one is refused where it comes, and checked nowhere.
    pub token_bytes_max: usize,
    /// Connections of a user, in all; 0 for any number.
    pub connections_per_user_max: u32,
    /// Revocations kept by each reactor.
    pub revocations_max: u32,
    /// Those that are in force from the start.
    pub revoked: RevokedAtStart,
}

/// What is revoked when a server starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RevokedAtStart {
    /// Which.
    pub known: Arc<[Revocation]>,
    /// It is not known which: all that was issued before this second of the Unix epoch is, for so many
    /// milliseconds.
    pub unknown: Option<(u32, u64)>,
}

impl RevokedAtStart {
    /// As a reactor begins with it.
    pub(crate) fn table(&self, max: u32) -> Revocations {
        let RevokedAtStart { known, unknown } = self;
        // Under a lower limit than before, none is forgotten.
        let mut table = Revocations::new(known.len().max(max as usize));
        for Revocation {
            revoked,
            ends_in_ms,
        } in known.iter()
        {
            let inserted = table.insert(revoked, tick_in(0, *ends_in_ms).get(), 0);
            debug_assert!(inserted.is_ok(), "there is room for each");
        }
        if let Some((issued_before, ends_in_ms)) = *unknown {
            table.revoke_all(issued_before, tick_in(0, ends_in_ms).get());
        }
        table
    }
}

/// What the application is asked about clients here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Whether clients without a token may connect, and as whom.
    pub asks_connect: bool,
    /// What clients ask it for themselves.
    pub asks_rpc: bool,
    /// Headers of their handshakes that it is told, in lower case.
    pub headers: Vec<String>,
    /// How long a client waits for an answer: longer than any hook takes, for then the control thread
    /// does not run.
    pub wait_ms: u32,
}

/// Where clients connect, and what they find there.
#[derive(Debug, Clone)]
pub struct Listener {
    /// As configured. Of it the reactors obey the name, the backlog, the health path and `hixie`;
    /// what the daemon makes of the rest stands below.
    pub config: config::Listener,
    /// The address to listen on. Port 0 is resolved by the first reactor.
    pub address: ListenAddr,
    /// Whether it takes connections. One that was removed keeps its number for those that came by it.
    pub is_open: bool,
    /// What TLS handshakes are done with; `None` is a plain listener.
    pub tls: Option<Arc<SharedSetup>>,
    /// What clients may do that a certificate names, and no token.
    pub client_permissions: Arc<PermissionSet>,
    /// Which addresses may say by a PROXY header whose connection they forward, which each connection
    /// then begins with; a unix socket's clients all may. `None`: connections begin with the client's own
    /// bytes.
    pub proxies: Option<Vec<Network>>,
    /// How proxies say whose requests they forward; `None`: what a request says of that is not looked at.
    pub forwarded: Option<Forwarded>,
    /// Which browser origins may connect.
    pub origins: Origins,
    /// Resources answered to a plain GET.
    pub pages: Vec<Page>,
    /// Which dialects accept connections here, and on which terms; `None` is [`Settings::dialects`].
    pub dialects: Option<roost_dialect::Settings>,
}

/// The role of clients that a certificate names.
pub const CERTIFICATE_ROLE: &str = "certificate";

/// Most listeners: a connection keeps the number of its own in a byte.
pub const LISTENERS_MAX: usize = 1 << u8::BITS;

/// A resource served over HTTP.
#[derive(Debug, Clone)]
pub struct Page {
    /// The request's path, exactly.
    pub path: &'static str,
    /// Content-Type.
    pub content_type: &'static str,
    /// Content-Security-Policy.
    pub content_security_policy: &'static str,
    /// The body.
    pub body: &'static [u8],
}

/// Browser origins that may open a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// All, and clients that send none.
    Any,
    /// These exactly, and clients that send none: programs, which could send any.
    Listed(Vec<String>),
}

impl Origins {
    /// Origins as configured: the single entry `*` stands for any.
    pub fn from_list(allowed: &[String]) -> Origins {
        if allowed.iter().any(|origin| origin == "*") {
            Origins::Any
        } else {
            Origins::Listed(allowed.to_vec())
        }
    }

    /// Whether a request with this Origin may connect.
    ///
    /// RFC 6454 §6.2: an origin is compared as serialised; schemes and hosts come in lower case.
    pub fn allows(&self, origin: Option<&str>) -> bool {
        match (self, origin) {
            (Origins::Any, _) | (_, None) => true,
            (Origins::Listed(list), Some(origin)) => list.iter().any(|allowed| allowed == origin),
        }
    }
}

/// Policies, per namespace.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    /// For channels without a namespace of their own.
    pub default: ChannelPolicy,
    /// For channels named `name:rest`, or that begin with a name that ends in `*`, by number less one. The latter
    /// come first.
    pub namespaces: Vec<(String, ChannelPolicy)>,
    /// The numbers of those in whose channels Pusher's subscribers are told how many they are.
    pub counted: Vec<u16>,
}

impl Policies {
    /// The policies of a configuration, by numbers that were given to its namespaces.
    ///
    /// A name that has a number and is listed no longer has the default policy: its channels are
    /// treated as those that have no section, whether they were there before or not.
    pub fn numbered(from: &config::Settings, numbers: &NamespaceNumbers) -> Policies {
        let listed = from.namespaces.iter();
        let listed: HashMap<&str, &config::ChannelPolicy> =
            listed.map(|one| (one.name.as_str(), &one.policy)).collect();
        let mut counted = Vec::new();
        let mut policy_of = |number, namespace: &str, kind: Option<Kind>| {
            let base = listed.get(namespace).copied().unwrap_or(&from.channels);
            let policy = match kind {
                Some(kind) => kinds::policy_of(base, kind),
                None => base.clone(),
            };
            let has_members = kind.is_some_and(|kind| kind.has_members);
            if has_members || !kinds::counts_subscriptions(from, namespace) {
                return policy;
            }
            counted.push(number);
            kinds::counted(policy)
        };
        let default = policy_of(0, "", None);
        let numbered = numbers.iter().map(|(number, name, _)| {
            let (namespace, kind) = match kinds::kind_of(name) {
                Some((namespace, kind)) => (namespace, Some(kind)),
                None => (name, None),
            };
            (name.to_owned(), policy_of(number.0, namespace, kind))
        });
        let namespaces = numbered.collect();
        Policies {
            default,
            namespaces,
            counted,
        }
    }

    /// The same with subscribers that are told how many they are, but for those with members: for tests.
    #[must_use]
    pub fn with_counts(mut self) -> Policies {
        self.default = kinds::counted(self.default);
        self.counted = vec![0];
        for (number, (name, policy)) in (1..).zip(&mut self.namespaces) {
            if !kinds::counts_users(name) {
                *policy = kinds::counted(policy.clone());
                self.counted.push(number);
            }
        }
        self
    }

    /// The same with the channels of an application of Pusher's, which begin with `prefix`: for tests.
    #[must_use]
    pub fn with_app(mut self, prefix: &str) -> Policies {
        let kinds = kinds::names_of_kinds(prefix).map(|name| {
            let (_, kind) = kinds::kind_of(&name).expect("it is the name of one");
            let policy = kinds::policy_of(&self.default, kind);
            (name, policy)
        });
        let kinds: Vec<_> = kinds.collect();
        // Those without a prefix come before all; of the others no namespace has the name.
        let at = if prefix.is_empty() {
            0
        } else {
            self.namespaces.len()
        };
        self.namespaces.splice(at..at, kinds);
        self
    }

    /// The policy for a channel.
    pub fn of(&self, channel: &str) -> &ChannelPolicy {
        self.policy(self.number_of(channel))
    }

    /// The number of a channel's namespace: 0 for those without one.
    pub fn number_of(&self, channel: &str) -> u16 {
        if self.namespaces.is_empty() {
            return 0;
        }
        let names = self.namespaces.iter().map(|(name, _)| name.as_str());
        let found = place_of(names, channel);
        let number = |at: usize| u16::try_from(at + 1).expect("fewer than 2^16 namespaces");
        found.map_or(0, number)
    }

    /// What channels keep, within so many bytes on one reactor.
    pub(crate) fn history(&self, bytes_max: u64) -> HistoryOptions {
        let all = (0..=self.namespaces.len()).map(|number| {
            let number = u16::try_from(number).expect("fewer than 2^16 namespaces");
            history_of(self.policy(number))
        });
        let all: Vec<_> = all.collect();
        if all.iter().all(Option::is_none) {
            return HistoryOptions::default();
        }
        let named = self.names().into_iter().zip(all);
        let namespaces = named.map(|(name, limits)| HistoryNamespace { name, limits });
        HistoryOptions {
            namespaces: namespaces.collect(),
            bytes_max,
        }
    }

    /// Which channels keep presence, within so many bytes on one reactor; what is told of it is told in
    /// these encodings.
    pub(crate) fn presence(&self, bytes_max: u64, encodings: EncodingSet) -> PresenceOptions {
        let all = (0..=self.namespaces.len()).map(|number| {
            let number = u16::try_from(number).expect("fewer than 2^16 namespaces");
            let by_user = number > 0 && {
                let (name, _) = &self.namespaces[usize::from(number) - 1];
                kinds::counts_users(name)
            };
            let tells_counts = self.counted.contains(&number);
            presence_of(self.policy(number), by_user, tells_counts)
        });
        PresenceOptions {
            namespaces: all.collect(),
            bytes_max,
            encodings,
        }
    }

    /// How the names begin that no client may subscribe to, but for those without a namespace.
    pub(crate) fn closed_names(&self) -> impl Iterator<Item = String> {
        let namespaces = self.namespaces.iter();
        let closed = namespaces.filter(|(_, policy)| policy.subscribe != Access::Anyone);
        closed.map(|(name, _)| beginning_of(name).into_owned())
    }

    /// The policy of a namespace, by number.
    pub fn policy(&self, number: u16) -> &ChannelPolicy {
        match number.checked_sub(1) {
            None => &self.default,
            Some(at) => &self.namespaces[usize::from(at)].1,
        }
    }

    /// What is required for an operation on a name, or on all names of a pattern: then the strictest of
    /// the namespaces that it may have names of.
    pub(crate) fn requires(&self, operation: Operation, asked: PatternRef<'_>) -> Requirement {
        let Some(start) = asked.open_start() else {
            return requirement(self.of(asked.text), operation);
        };
        let mut strictest = requirement(&self.default, operation);
        for (name, policy) in &self.namespaces {
            let beginning = beginning_of(name);
            if start.starts_with(&*beginning) {
                return requirement(policy, operation);
            }
            if beginning.starts_with(start) {
                strictest = strictest.max(requirement(policy, operation));
            }
        }
        strictest
    }

    /// Whether there is a namespace in which not all may call and register.
    pub(crate) fn restricts_procedures(&self) -> bool {
        let own = self.namespaces.iter().map(|(_, policy)| policy);
        let mut all = std::iter::once(&self.default).chain(own);
        all.any(|policy| policy.call != Access::Anyone || policy.register != Access::Anyone)
    }

    /// Names by number; the first is empty.
    pub fn names(&self) -> Vec<String> {
        let own = self.namespaces.iter().map(|(name, _)| name.clone());
        std::iter::once(String::new()).chain(own).collect()
    }
}

/// What a namespace promises subscribers that come back.
#[inline]
pub(crate) fn recovers(policy: &ChannelPolicy) -> Recovers {
    match policy.recovery {
        _ if policy.history_messages_max == 0 => Recovers::Nothing,
        Recovery::Off => Recovers::Nothing,
        Recovery::Stream => Recovers::Stream,
        Recovery::Cache => Recovers::Latest,
    }
}

/// What channels of this policy keep.
fn history_of(policy: &ChannelPolicy) -> Option<HistoryLimits> {
    (policy.history_messages_max > 0).then(|| HistoryLimits {
        messages_max: policy.history_messages_max,
        bytes_max: policy.history_bytes_max,
        lifetime: ticks(policy.history_lifetime_ms).max(1),
        // Half of what may wait for a subscriber: what is published meanwhile needs room as well.
        answer_bytes_max: policy.outbox_bytes_max as u64 / 2,
        answer_messages_max: match policy.outbox_messages_max {
            0 => u32::MAX,
            messages_max => messages_max.div_ceil(2),
        },
    })
}

/// How channels of this policy keep presence.
fn presence_of(
    policy: &ChannelPolicy,
    by_user: bool,
    tells_counts: bool,
) -> Option<PresenceLimits> {
    let every = ticks(policy.presence_notify_ms).max(1);
    let told = policy.presence_notify_per_second_max.saturating_mul(every);
    let notify = (policy.join_leave != JoinLeave::Off).then(|| PresenceNotify {
        every,
        changes_max: (told.saturating_mul(TICK_MS) / 1000).max(2),
        linger: ticks(policy.presence_linger_ms),
        is_for_all: policy.join_leave == JoinLeave::All,
        tells_counts,
    });
    let members_max = match policy.presence {
        Presence::Off => return None,
        Presence::Counts => 0,
        Presence::Members => policy.presence_members_max,
    };
    Some(PresenceLimits {
        members_max,
        notify,
        by_user,
    })
}

/// What a policy requires for an operation.
pub(crate) fn requirement(policy: &ChannelPolicy, operation: Operation) -> Requirement {
    let access = match operation {
        Operation::Publish => {
            return match policy.publish {
                Publish::Anyone => Requirement::Anyone,
                Publish::Authenticated => Requirement::Authenticated,
                Publish::Granted => Requirement::Granted,
                Publish::Subscribers => Requirement::Subscribers,
                Publish::Hook => Requirement::Hook,
                Publish::Nobody => Requirement::Nobody,
            };
        }
        Operation::ReadPresence => {
            return match policy.presence_read {
                Readers::Anyone => Requirement::Anyone,
                Readers::Authenticated => Requirement::Authenticated,
                Readers::Granted => Requirement::Granted,
                Readers::Subscribers => Requirement::Subscribers,
                Readers::Nobody => Requirement::Nobody,
            };
        }
        Operation::Subscribe => policy.subscribe,
        Operation::Call => policy.call,
        Operation::Register => policy.register,
    };
    match access {
        Access::Anyone => Requirement::Anyone,
        Access::Authenticated => Requirement::Authenticated,
        Access::Granted => Requirement::Granted,
        Access::Hook => Requirement::Hook,
        Access::Nobody => Requirement::Nobody,
    }
}

/// Subscribers served in one loop iteration: about a millisecond. io_uring gains by larger batches.
pub const FAN_OUT_AT_ONCE: u32 = 512;

/// Subscribers visited in a piece of a fan-out to more. Some 64 × 4 µs: others do not notice, and the iteration's own
/// cost is a hundredth of it.
pub const FAN_OUT_PIECE: u32 = 64;

impl Listener {
    /// A free port on loopback, open to every origin: for tests.
    pub fn for_tests() -> Listener {
        Listener {
            config: config::Listener {
                name: "test".to_owned(),
                ..config::Listener::default()
            },
            address: ListenAddr::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))),
            is_open: true,
            tls: None,
            client_permissions: Arc::new(PermissionSet::of_role(CERTIFICATE_ROLE, Vec::new())),
            proxies: None,
            forwarded: None,
            origins: Origins::Any,
            pages: Vec::new(),
            dialects: None,
        }
    }
}

/// A policy without limits that a test would meet by chance: for tests.
pub fn policy_for_tests() -> ChannelPolicy {
    ChannelPolicy {
        outbox_bytes_max: 64 << 20,
        ..ChannelPolicy::default()
    }
}

impl Settings {
    /// Settings with every dialect on, mild limits and a free port on loopback: for tests.
    pub fn for_tests() -> Settings {
        let channel_name_bytes_max = 255;
        let mut dialects = roost_dialect::Settings::off();
        dialects.raw = Arc::new(raw::Settings {
            enabled: true,
            ..raw::Settings::default()
        });
        dialects.echo = Arc::new(echo::Settings {
            enabled: true,
            ..echo::Settings::default()
        });
        dialects.wamp = Arc::new(wamp::Settings {
            enabled: true,
            realms: wamp::Realms::Any,
            users: None,
            own_realms: wamp::OwnRealms::default(),
            takes_tokens: false,
            subscriptions_per_connection_max: 128,
            channel_name_bytes_max,
        });
        dialects.soap = Arc::new(soap::Settings {
            enabled: true,
            name_bytes_max: channel_name_bytes_max,
            ..soap::Settings::default()
        });
        dialects.centrifugo = Arc::new(centrifugo::Settings {
            enabled: true,
            subscriptions_per_connection_max: 128,
            channel_name_bytes_max,
            ping_interval_s: 25,
            personal_channels: false,
        });
        dialects.sse = Arc::new(sse::Settings {
            enabled: true,
            channels_max: 128,
        });
        Settings {
            listeners: vec![Listener::for_tests()],
            deflate: Deflate::default(),
            limits: Limits {
                frame_bytes_max: 16 << 20,
                message_bytes_max: 16 << 20,
                outbox_bytes_max: 64 << 20,
                channel_name_bytes_max,
                ..Limits::default()
            },
            connections_max: 100_000,
            fan_out_at_once: FAN_OUT_AT_ONCE,
            fan_out_piece: FAN_OUT_PIECE,
            auth: Auth {
                revocations_max: 1_000,
                ..Auth::default()
            },
            hooks: Hooks::default(),
            events: Events::default(),
            dialects,
            channels: Policies {
                default: policy_for_tests(),
                namespaces: Vec::new(),
                counted: Vec::new(),
            },
        }
    }

    /// Whether drivers must say who connects: asking costs a new connection something, and a quiet one
    /// nothing.
    pub(crate) fn wants_peer(&self, listener: &Listener) -> bool {
        self.limits.connections_per_address_max > 0
            || self.limits.connects_per_address_per_second_max > 0
            || listener.proxies.is_some()
            || listener.forwarded.is_some()
            || tracing::enabled!(tracing::Level::DEBUG)
    }

    /// A listener, by number.
    pub(crate) fn listener(&self, number: u8) -> &Listener {
        &self.listeners[usize::from(number)]
    }

    /// The dialect that wants a connection of that listener, and what becomes of it.
    pub(crate) fn accept<'a>(
        &self,
        listener: u8,
        offer: &Offer<'a>,
    ) -> Option<(DialectKind, Accept<'a>)> {
        let own = self.listener(listener).dialects.as_ref();
        own.unwrap_or(&self.dialects).accept(offer)
    }

    /// What a dialect is asked about a request.
    pub(crate) fn offer<'a>(
        &self,
        path: &'a str,
        subprotocols: &'a [&'a str],
        headers: Headers<'a>,
    ) -> Offer<'a> {
        Offer {
            path,
            subprotocols,
            headers,
            channel_name_bytes_max: self.limits.channel_name_bytes_max,
        }
    }

    /// Whether some names belong to realms, or to users.
    pub(crate) fn has_realms(&self) -> bool {
        !self.dialects.wamp.own_realms.prefixes().is_empty()
            || self.dialects.centrifugo.personal_channels
    }

    /// Whether not all may call and register all procedures.
    pub(crate) fn restricts_procedures(&self) -> bool {
        self.has_realms() || self.channels.restricts_procedures()
    }

    /// How the names begin that no wildcard matches: they are closed to subscribers, or a realm's.
    pub(crate) fn guarded_names(&self) -> impl Iterator<Item = String> {
        let realms = self.dialects.wamp.own_realms.prefixes();
        // What belongs to the protocol stays its own in a realm.
        let realms = realms.iter();
        let realms = realms.flat_map(|prefix| [prefix.to_owned(), format!("{prefix}wamp.")]);
        self.channels.closed_names().chain(realms)
    }

    /// Whether an identity may do something with a name, and the rule that says so, in words. Without one
    /// the client is not known. `realm` is its session's, if its dialect has realms.
    pub fn may(
        &self,
        identity: Option<&Identity>,
        (operation, name): (Operation, &str),
        realm: Option<u16>,
        is_subscribed: bool,
        now: u32,
    ) -> (bool, String) {
        let realms = &self.dialects.wamp.own_realms;
        let question = Question {
            operation,
            asked: PatternRef::name(name),
            requirement: requirement(self.channels.of(name), operation),
            is_subscribed,
            is_foreign: !may_name(realms, realm, operation, name),
        };
        let decision = decide(identity, &question, now);
        (decision.is_allowed, decision.to_string())
    }

    /// The same, ready to be shared.
    pub fn share(self) -> Arc<Settings> {
        Arc::new(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration with these namespaces, each with a rate of its own.
    fn listing(names: &[(&str, u32)]) -> config::Settings {
        let namespaces = names.iter().map(|&(name, per_second)| config::Namespace {
            name: name.to_owned(),
            policy: config::ChannelPolicy {
                publish_messages_per_second_max: per_second,
                ..config::ChannelPolicy::default()
            },
        });
        config::Settings {
            namespaces: namespaces.collect(),
            ..config::Settings::default()
        }
    }

    #[test]
    fn policies_stand_at_the_numbers_their_names_have() {
        let load = |from: &config::Settings, before: &NamespaceNumbers| {
            let names = from.namespaces.iter().map(|one| one.name.as_str());
            let numbers = before.reload(names).expect("few names");
            (Policies::numbered(from, &numbers), numbers)
        };
        let rate = |policy: &ChannelPolicy| policy.publish_messages_per_second_max;
        let (first, numbers) = load(
            &listing(&[("chat", 10), ("news", 20)]),
            &NamespaceNumbers::default(),
        );
        assert_eq!(first.names(), ["", "chat", "news"]);
        let (news, chat) = (first.number_of("news:a"), first.number_of("chat:a"));
        assert_eq!(
            (rate(first.policy(chat)), rate(first.policy(news))),
            (10, 20)
        );
        // Another order, one listed no longer, one new.
        let (next, _) = load(&listing(&[("jobs", 5), ("news", 21)]), &numbers);
        assert_eq!(next.names(), ["", "chat", "news", "jobs"]);
        assert_eq!(next.number_of("news:a"), news);
        assert_eq!(rate(next.policy(news)), 21);
        assert_eq!(rate(next.of("jobs:a")), 5);
        assert_eq!((rate(next.of("chat:a")), rate(next.policy(chat))), (0, 0));
        assert_eq!(next.number_of("lobby"), 0);
    }

    /// Where an application asks for it, its channels without members keep at least how many there are.
    #[test]
    fn channels_of_an_application_that_asks_for_it_are_counted() {
        let app = |prefix: &str, subscription_count| config::PusherApp {
            prefix: prefix.to_owned(),
            subscription_count,
            ..config::PusherApp::default()
        };
        let load = |apps: &[config::PusherApp]| {
            let mut from = listing(&[("chat", 0)]);
            from.pusher_apps = apps.to_vec();
            let numbers = NamespaceNumbers::default();
            let numbers = numbers.reload(crate::namespace_names(&from).iter().map(String::as_str));
            Policies::numbered(&from, &numbers.expect("few names"))
        };
        let counted = |policies: &Policies, channel: &str| {
            let (number, policy) = (policies.number_of(channel), policies.of(channel));
            let is_counted = policies.counted.contains(&number);
            let kept = (policy.presence, policy.join_leave);
            match is_counted {
                true => assert_eq!(kept, (Presence::Counts, JoinLeave::Asked), "{channel}"),
                false => assert_ne!(policy.presence, Presence::Counts, "{channel}"),
            }
            is_counted
        };
        let one = load(&[app("shop:", true), app("chat:", false)]);
        for (channel, expected) in [
            ("shop:a", true),
            ("shop:private-a", true),
            ("shop:cache-a", true),
            ("shop:presence-a", false),
            ("chat:a", false),
            ("chat:private-a", false),
            ("lobby", false),
        ] {
            assert_eq!(counted(&one, channel), expected, "{channel}");
        }
        // One without a prefix has all that is no other's.
        let all = load(&[app("", true), app("shop:", false)]);
        for (channel, expected) in [
            ("lobby", true),
            ("private-a", true),
            ("chat:a", true),
            ("presence-a", false),
            ("shop:private-a", false),
        ] {
            assert_eq!(counted(&all, channel), expected, "{channel}");
        }
    }

    #[test]
    fn a_pattern_needs_what_the_strictest_of_its_namespaces_needs() {
        let policy = |register| ChannelPolicy {
            register,
            ..policy_for_tests()
        };
        let policies = Policies {
            default: policy(Access::Authenticated),
            namespaces: vec![
                ("open".to_owned(), policy(Access::Anyone)),
                ("com.shut".to_owned(), policy(Access::Nobody)),
            ],
            counted: Vec::new(),
        };
        let asks =
            |matching, text| policies.requires(Operation::Register, PatternRef { matching, text });
        use Requirement::{Anyone, Authenticated, Nobody};
        use roost_access::Matching::{Exact, Prefix, Wildcard};
        for (matching, text, requires) in [
            (Exact, "open:a", Anyone),
            (Exact, "opened", Authenticated),
            (Exact, "com.shut:a", Nobody),
            (Prefix, "open:", Anyone),
            (Prefix, "open:a.b", Anyone),
            (Prefix, "open", Authenticated),
            (Prefix, "op", Authenticated),
            (Prefix, "com.", Nobody),
            (Prefix, "com.shut", Nobody),
            (Prefix, "com.shut:a", Nobody),
            (Prefix, "com.shutter", Authenticated),
            (Prefix, "com.a", Authenticated),
            (Prefix, "", Nobody),
            (Wildcard, "open:a..b", Anyone),
            (Wildcard, "com..b", Nobody),
            (Wildcard, ".b", Nobody),
            (Wildcard, "com.a", Authenticated),
            (Wildcard, "com.a..b", Authenticated),
        ] {
            assert_eq!(asks(matching, text), requires, "{matching:?} {text:?}");
        }
    }
}
