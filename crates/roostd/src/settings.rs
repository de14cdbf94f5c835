//! From the configuration to what the reactors are told.

use roost_config as config;
use roost_dialect::{RouteSettings, Subprotocols, wamp};
use roost_reactor as reactor;

/// Settings for the reactors. `connections_max` is resolved from the limit on open files.
pub(crate) fn for_reactors(from: &config::Settings, connections_max: u32) -> reactor::Settings {
    let limits = &from.limits;
    let channel_name_bytes_max = limits.channel_name_bytes_max;
    reactor::Settings {
        address: from.listener.address,
        backlog: from.listener.backlog,
        origins: origins(&from.listener.allowed_origins),
        pages: if from.listener.demo_page {
            vec![PAGE]
        } else {
            Vec::new()
        },
        health_path: from.listener.health_path.clone(),
        stats: from.listener.stats,
        deflate: from.deflate.enabled.then_some(reactor::Deflate {
            threshold_bytes: from.deflate.compress_min_bytes,
            level: from.deflate.level as u8,
            context_bytes_max: from.deflate.takeover_bytes_max,
        }),
        early_framings: from.listener.hixie,
        limits: reactor::Limits {
            connections_max,
            connections_per_address_max: limits.connections_per_address_max,
            handshakes_in_flight_max: limits.handshakes_in_flight_max,
            handshake_timeout_ms: limits.handshake_timeout_ms,
            handshake_bytes_max: limits.handshake_bytes_max,
            handshake_headers_max: limits.handshake_headers_max as usize,
            frame_bytes_max: limits.frame_bytes_max,
            message_bytes_max: limits.message_bytes_max,
            fragment_bytes: limits.fragment_bytes,
            outbox_bytes_max: limits.outbox_bytes_max,
            buffered_bytes_max: limits.buffered_bytes_max as u64,
            fan_out_at_once: reactor::FAN_OUT_AT_ONCE,
            fan_out_piece: reactor::FAN_OUT_PIECE,
            idle_timeout_ms: limits.idle_timeout_ms,
            ping_interval_ms: limits.ping_interval_ms,
            ping_timeout_ms: limits.ping_timeout_ms,
            close_timeout_ms: limits.close_timeout_ms,
            channels_max: limits.channels_max,
            channel_name_bytes_max,
        },
        routes: RouteSettings {
            raw: from.raw.enabled,
            raw_subprotocols: Subprotocols::from_list(from.raw.subprotocols.iter().cloned()),
            echo: from.echo.enabled,
            wamp: from.wamp.enabled,
            channel_name_bytes_max,
        },
        wamp: wamp::Settings {
            realms: wamp::Realms::from_list(from.wamp.realms.iter().cloned()),
            subscriptions_per_connection_max: limits.subscriptions_per_connection_max as usize,
            channel_name_bytes_max,
        },
        channels: reactor::Policies {
            default: policy(&from.channels),
            namespaces: from
                .namespaces
                .iter()
                .map(|namespace| (namespace.name.clone(), policy(&namespace.policy)))
                .collect(),
        },
    }
}

fn origins(allowed: &[String]) -> reactor::Origins {
    if allowed.iter().any(|origin| origin == "*") {
        reactor::Origins::Any
    } else {
        reactor::Origins::Listed(allowed.to_vec())
    }
}

fn policy(from: &config::ChannelPolicy) -> reactor::Policy {
    reactor::Policy {
        publish: match from.publish {
            config::Publish::Anyone => reactor::Publish::Anyone,
            config::Publish::Subscribers => reactor::Publish::Subscribers,
            config::Publish::Nobody => reactor::Publish::Nobody,
        },
        subscribe: match from.subscribe {
            config::Subscribe::Anyone => true,
            config::Subscribe::Nobody => false,
        },
        hear_own: from.receive_own,
        inflow: reactor::Inflow {
            messages_per_second_max: from.publish_messages_per_second_max,
            bytes_per_second_max: from.publish_bytes_per_second_max as u64,
        },
        outflow: reactor::Outflow {
            slow_receivers: match from.slow_consumer {
                config::SlowConsumer::Close => reactor::SlowReceivers::Close,
                config::SlowConsumer::DropOldest => reactor::SlowReceivers::DropOldest,
                config::SlowConsumer::DropNewest => reactor::SlowReceivers::DropNewest,
                config::SlowConsumer::KeepLatest => reactor::SlowReceivers::Latest,
            },
            outbox_bytes_max: from.outbox_bytes_max,
            outbox_messages_max: from.outbox_messages_max,
        },
    }
}

/// The page that shows what a browser can do with nothing but `new WebSocket(url)`.
const PAGE: reactor::Page = reactor::Page {
    path: "/",
    content_type: "text/html; charset=utf-8",
    content_security_policy: "default-src 'none'; style-src 'unsafe-inline'; \
                              script-src 'unsafe-inline'; connect-src 'self' ws: wss:; \
                              base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    body: include_bytes!("../assets/index.html"),
};
