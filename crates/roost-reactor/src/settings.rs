//! What a reactor obeys. Plain values with units in their names; shared by all reactors. What the
//! configuration says is taken as it is; what is added here is resolved by the daemon, or made ready
//! for the loop.

use std::net::SocketAddr;
use std::sync::Arc;

use roost_config as config;
pub use roost_config::{Limits, Publish, SlowConsumer};
use roost_dialect::dialect::Offer;
use roost_dialect::{echo, raw, wamp};

/// The settings of a reactor. The daemon makes it from the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address to listen on. Port 0 must be resolved before a second reactor listens.
    pub address: SocketAddr,
    /// Connections that may wait to be accepted.
    pub backlog: u32,
    /// Which browser origins may connect.
    pub origins: Origins,
    /// Resources answered to a plain GET.
    pub pages: Vec<Page>,
    /// permessage-deflate, where it is on.
    pub deflate: Option<Deflate>,
    /// Whether the framings before RFC 6455 (draft-hixie-75 and -76) are served too.
    pub early_framings: bool,
    /// The path where GET and HEAD answer whether new connections are served, exactly; empty is
    /// nowhere.
    pub health_path: String,
    /// What one connection, or all together, may cost.
    pub limits: Limits,
    /// Connections held at once by the process. At the limit new connections are reset.
    pub connections_max: u32,
    /// Subscribers that are served in one loop iteration; a channel with more here is served incrementally,
    /// so that others keep their latency.
    pub fan_out_at_once: u32,
    /// Subscribers visited in such a piece.
    pub fan_out_piece: u32,
    /// What the dialects obey.
    pub dialects: roost_dialect::Settings,
    /// The policies of all namespaces.
    pub channels: Policies,
}

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

/// permessage-deflate (RFC 7692).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deflate {
    /// Shorter messages go out as they are.
    pub threshold_bytes: usize,
    /// From 1 (fast) to 9 (small).
    pub level: u8,
    /// Memory for the contexts of single connections, in bytes; each reactor has an equal share.
    /// 0, or used up: no context takeover for new connections.
    pub context_bytes_max: usize,
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
    pub default: Policy,
    /// For channels named `name:rest`.
    pub namespaces: Vec<(String, Policy)>,
}

impl From<&config::Settings> for Policies {
    fn from(from: &config::Settings) -> Policies {
        let namespace = |one: &config::Namespace| {
            let config::Namespace { name, policy } = one;
            (name.clone(), Policy::from(policy))
        };
        Policies {
            default: Policy::from(&from.channels),
            namespaces: from.namespaces.iter().map(namespace).collect(),
        }
    }
}

impl Policies {
    /// The policy for a channel.
    pub fn of(&self, channel: &str) -> Policy {
        self.policy(self.number_of(channel))
    }

    /// The number of a channel's namespace: 0 for those without a section of their own, then as
    /// listed.
    pub fn number_of(&self, channel: &str) -> u16 {
        if self.namespaces.is_empty() {
            return 0;
        }
        let Some((namespace, _)) = channel.split_once(':') else {
            return 0;
        };
        let found = self
            .namespaces
            .iter()
            .position(|(name, _)| name == namespace);
        let number = |at: usize| u16::try_from(at + 1).expect("fewer than 2^16 namespaces");
        found.map_or(0, number)
    }

    /// The policy of a namespace, by number.
    pub fn policy(&self, number: u16) -> Policy {
        match number.checked_sub(1) {
            None => self.default,
            Some(at) => self.namespaces[usize::from(at)].1,
        }
    }

    /// Names by number; the first is empty.
    pub fn names(&self) -> Vec<String> {
        let own = self.namespaces.iter().map(|(name, _)| name.clone());
        std::iter::once(String::new()).chain(own).collect()
    }
}

/// What is allowed in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Who may publish.
    pub publish: Publish,
    /// Whether anybody may subscribe.
    pub subscribe: bool,
    /// Whether a raw publisher receives its own messages.
    pub receive_own: bool,
    /// How much may be published.
    pub inflow: Inflow,
    /// What waits for subscribers that read slower than is published.
    pub outflow: Outflow,
}

/// How much may be published in one namespace in a second, by all connections of the process
/// together; 0 is no limit. Beyond it publishers are not read until the rate allows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Inflow {
    /// Messages.
    pub messages_per_second_max: u32,
    /// Bytes of payload.
    pub bytes_per_second_max: u64,
}

/// What may wait for one slow receiver in one namespace, and what happens beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outflow {
    /// What happens at the limit.
    pub slow_receivers: SlowConsumer,
    /// Bytes on the wire.
    pub outbox_bytes_max: usize,
    /// Messages; 0 is no limit.
    pub outbox_messages_max: u32,
}

impl Outflow {
    /// Most messages that may wait.
    pub(crate) fn messages_max(&self) -> usize {
        match self.outbox_messages_max {
            0 => usize::MAX,
            max => max as usize,
        }
    }
}

impl From<&config::ChannelPolicy> for Policy {
    fn from(from: &config::ChannelPolicy) -> Policy {
        // Every key is named, so that one that is not obeyed does not compile.
        let config::ChannelPolicy {
            publish,
            subscribe,
            receive_own,
            slow_consumer,
            outbox_bytes_max,
            outbox_messages_max,
            publish_messages_per_second_max,
            publish_bytes_per_second_max,
        } = *from;
        Policy {
            publish,
            subscribe: subscribe == config::Subscribe::Anyone,
            receive_own,
            inflow: Inflow {
                messages_per_second_max: publish_messages_per_second_max,
                bytes_per_second_max: publish_bytes_per_second_max,
            },
            outflow: Outflow {
                slow_receivers: slow_consumer,
                outbox_bytes_max,
                outbox_messages_max,
            },
        }
    }
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            publish: Publish::Anyone,
            subscribe: true,
            receive_own: false,
            inflow: Inflow::default(),
            outflow: Outflow {
                slow_receivers: SlowConsumer::Close,
                outbox_bytes_max: 64 << 20,
                outbox_messages_max: 0,
            },
        }
    }
}

/// Subscribers served in one loop iteration: about a millisecond. io_uring gains by larger batches.
pub const FAN_OUT_AT_ONCE: u32 = 512;

/// Subscribers visited in a piece of a fan-out to more. Some 64 × 4 µs: others do not notice, and the iteration's own
/// cost is a hundredth of it.
pub const FAN_OUT_PIECE: u32 = 64;

impl Settings {
    /// Settings with every dialect on, mild limits and a free port on loopback: for tests.
    pub fn for_tests() -> Settings {
        let channel_name_bytes_max = 255;
        let mut dialects = roost_dialect::Settings::off();
        dialects.raw = Arc::new(raw::Settings {
            enabled: true,
            ..raw::Settings::default()
        });
        dialects.echo = Arc::new(echo::Settings { enabled: true });
        dialects.wamp = Arc::new(wamp::Settings {
            enabled: true,
            realms: wamp::Realms::Any,
            subscriptions_per_connection_max: 128,
            channel_name_bytes_max,
        });
        Settings {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            backlog: 4096,
            origins: Origins::Any,
            pages: Vec::new(),
            deflate: None,
            early_framings: false,
            health_path: "/health".to_owned(),
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
            dialects,
            channels: Policies::default(),
        }
    }

    /// What a dialect is asked about a request.
    pub(crate) fn offer<'a>(&self, path: &'a str, subprotocols: &'a [&'a str]) -> Offer<'a> {
        Offer {
            path,
            subprotocols,
            channel_name_bytes_max: self.limits.channel_name_bytes_max,
        }
    }

    /// The same, ready to be shared.
    pub fn share(self) -> Arc<Settings> {
        Arc::new(self)
    }
}
