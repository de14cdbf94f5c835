//! What a reactor obeys. Plain values with units in their names; shared by all reactors. What the
//! configuration says is taken as it is; what is added here is resolved by the daemon, or made ready
//! for the loop.

mod policies;

use std::net::SocketAddr;
use std::sync::Arc;

use roost_access::{Identity, Operation, PatternRef, PermissionSet, Question, Revocations, decide};
use roost_config as config;
pub use roost_config::{
    Access, ChannelPolicy, ClientRatePolicy, Deflate, Delta, JoinLeave, Limits, Network, Presence,
    Publish, Readers, Recovery, SlowConsumer,
};
use roost_dialect::dialect::{Accept, Headers, Offer};
use roost_dialect::{DialectKind, centrifugo, echo, raw, soap, sse, wamp};
pub use roost_hub::NamespaceNumbers;
use roost_net::ListenAddr;
use roost_tls::SharedSetup;

use crate::clock::tick_in;
use crate::control::Revocation;
use crate::events::Events;
use crate::proxies::Forwarded;
use crate::realms::may_name;
pub use policies::{Policies, policy_for_tests};
pub(crate) use policies::{recovers, requirement};

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
