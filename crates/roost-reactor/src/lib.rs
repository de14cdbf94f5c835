//! One core: the connection table and the loop that joins net, wire, dialect and hub.
//!
//! A reactor owns its connections, its share of the channels and its driver, and runs on one
//! thread. It shares nothing with other reactors but immutable frames and counters; what it has to
//! send them it writes into their inboxes. It never names a backend (it is generic over
//! [`roost_net::Driver`]), never parses a frame and never reads the clock itself.
//!
//! [`Reactor::run_once`] is the loop. Behind it stand three parts with private fields, tested each for
//! itself, and the steps on the way of a message, which call one another in one direction only:
//!
//! | part | owns | is the only one to |
//! |---|---|---|
//! | `connections/` | records, unfinished input, outboxes, encoders, deadlines | speak to the driver of connections |
//! | `channels/` | the hub, incremental fan-out, congestion, links to other reactors | call the hub, and carry out what it says |
//! | `governor/` | admission, memory budget, trimming, backlog report | refuse or close for the sake of all |
//!
//! | step | file |
//! |---|---|
//! | what the driver reports, by the connection's phase | `input.rs` |
//! | requests; the 101; pages, refusals and response streams | `requests.rs`, `handshake.rs`, `plain.rs`, `responses.rs`, `streams.rs` |
//! | messages out of bytes | `messages.rs` |
//! | what dialects command, and whether they may | `commands.rs`, `call_commands.rs`, `logins.rs`, `permissions.rs` |
//! | what the hub and the dealer say, and what dialects are notified of | `hub_outputs.rs`, `call_outputs.rs`, `dialogue.rs`, `sessions.rs` |
//! | ends of connections | `closing.rs` |
//! | deadlines, memory limit, drain | `timeouts.rs`, `limits.rs`, `drain.rs` |
//! | one write per connection | `flush.rs` |
//! | messages of other reactors and of the control thread | `peer_messages.rs`, `control/` |
//! | what went wrong with connections lately, for people | `incidents.rs` |
//! | what the application is told of connections and channels | `journal.rs`, `events.rs` |

#![warn(clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(
    not(test),
    warn(
        clippy::cast_lossless,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss
    )
)]

mod authentication;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod call_commands;
mod call_outputs;
mod calls;
mod channels;
mod client_certificates;
mod client_events;
mod client_limits;
mod client_tokens;
mod clock;
mod closing;
mod commands;
mod connections;
mod control;
mod core;
mod current;
mod dialogue;
mod drain;
mod emulation;
mod emulation_names;
mod entry_names;
mod entry_queries;
mod entry_scans;
mod event_streams;
mod events;
mod flush;
mod forwarded;
mod governor;
mod grants;
mod handshake;
mod history_answers;
mod history_asks;
mod history_reads;
mod hook_answers;
mod hook_asks;
mod hook_calls;
mod hub_outputs;
mod image;
mod incidents;
mod input;
mod journal;
mod kinds;
mod limits;
mod listening;
mod login_queue;
mod logins;
mod memory;
mod messages;
mod palette;
mod peer_message;
mod peer_messages;
mod permissions;
mod plain;
mod presence;
mod presence_asks;
mod proxies;
mod reactor;
mod realm_queries;
mod realms;
mod records;
mod requests;
mod responses;
mod secrets;
mod server;
mod server_subscriptions;
mod session_events;
mod session_queries;
mod session_scans;
mod sessions;
mod settings;
mod shared;
mod streams;
mod subscribe_commands;
mod subscription_waits;
mod throttle;
mod timeouts;
mod token_checks;
mod waits;
mod watched;

pub use channels::LINK_BYTES_MAX;
pub use client_limits::{CLIENT_RATES_BYTES, ClientLimit};
#[doc(hidden)]
pub use connections::ConnCost;
pub use connections::{Compression, DELTA_BASES_BYTES_MAX};
pub use control::{
    Answer, AskedChannel, BrokenHop, CHANNELS_MAX, CHANNELS_SHOWN, CONNECTIONS_MAX, COUNTED_MAX,
    Canary, CanaryStep, ChannelRecord, CloseReason, ConnectionDetails, ConnectionFilter,
    ConnectionRecord, ControlPeer, ControlPublication, Describe, Described, Disconnect,
    DisconnectUser, EXCEPT_MAX, FILTERED_SLOTS_MAX, FromReactor, HISTORY_PUBLICATIONS_MAX,
    HistoryPage, HistoryQuery, IdentityRecord, LISTINGS_MAX, LaneRecord, MISSES_MAX,
    PUBLICATIONS_BYTES_MAX, PUBLICATIONS_MAX, Part, PausedFor, REACTORS_MAX, REPEATS_BYTES_MAX,
    REPEATS_MAX, Refresh, Refusal, RepeatKey, Request, Revocation, RingFull, SWEEPS_MAX, Subscribe,
    SubscribedChannel, Tap, Tapped, Token, Unsubscribe, Whose,
};
pub use drain::Pace;
pub use events::{
    EVENTS_BYTES_MAX, EventBatch, EventKind, EventKinds, Events, HappenedEvent, Said,
};
pub use governor::CONNECT_RATES_BYTES;
pub use history_asks::HISTORY_ASKS_BYTES_MAX;
pub use hook_calls::{HookAnswer, HookAsked, HookCall, HookOutcome, WAITING_BYTES_MAX};
pub use incidents::{EndCause, Ended, INCIDENTS_BYTES_MAX, Incident, IncidentKind};
pub use kinds::namespace_names;
pub use listening::OpenedListener;
pub use proxies::Forwarded;
pub use reactor::{Iteration, Reactor};
pub use roost_config::Listener as ListenerConfig;
pub use roost_dialect::raw::Subprotocols;
pub use roost_hub::{Loss, Member, Name, Placement, Position, PresenceCounts, PresenceView};
pub use roost_wire::forwarded::ForwardedHeader;
pub use server::{Configurer, Server, StartError, Stopper};
pub use settings::{
    Access, Auth, CERTIFICATE_ROLE, ChannelPolicy, ClientRatePolicy, Deflate, Delta,
    FAN_OUT_AT_ONCE, FAN_OUT_PIECE, Hooks, JoinLeave, LISTENERS_MAX, Limits, Listener,
    NamespaceNumbers, Network, Origins, Page, Policies, Presence, Publish, Readers, Recovery,
    RevokedAtStart, Settings, SlowConsumer, policy_for_tests,
};
pub use shared::{ListenError, Shared};
pub use token_checks::{Denied, Login, TokenCheck, Verdict};
