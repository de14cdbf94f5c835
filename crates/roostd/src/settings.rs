//! What the reactors obey: the configuration, and what the daemon adds to it.

use std::sync::{Arc, LazyLock};

use roost_config as config;
use roost_dialect::{echo, raw, wamp};
use roost_reactor::{self as reactor, NamespaceNumbers};

/// Settings for the reactors. `connections_max` is resolved from the limit on open files; the
/// numbers are those of the configuration's namespaces.
pub(crate) fn for_reactors(
    from: &config::Settings,
    connections_max: u32,
    numbers: &NamespaceNumbers,
) -> reactor::Settings {
    reactor::Settings {
        address: from.listener.address,
        backlog: from.listener.backlog,
        origins: reactor::Origins::from_list(&from.listener.allowed_origins),
        pages: if from.listener.demo_page {
            vec![page()]
        } else {
            Vec::new()
        },
        health_path: from.listener.health_path.clone(),
        deflate: from.deflate.enabled.then_some(reactor::Deflate {
            threshold_bytes: from.deflate.compress_min_bytes,
            level: from.deflate.level as u8,
            context_bytes_max: from.deflate.takeover_bytes_max,
        }),
        early_framings: from.listener.hixie,
        limits: from.limits.clone(),
        connections_max,
        fan_out_at_once: reactor::FAN_OUT_AT_ONCE,
        fan_out_piece: reactor::FAN_OUT_PIECE,
        dialects: dialects(from),
        channels: reactor::Policies::numbered(from, numbers),
    }
}

fn dialects(from: &config::Settings) -> roost_dialect::Settings {
    let mut dialects = roost_dialect::Settings::off();
    dialects.raw = Arc::new(raw::Settings {
        enabled: from.raw.enabled,
        subprotocols: raw::Subprotocols::from_list(from.raw.subprotocols.iter().cloned()),
    });
    dialects.echo = Arc::new(echo::Settings {
        enabled: from.echo.enabled,
    });
    dialects.wamp = Arc::new(wamp::Settings {
        enabled: from.wamp.enabled,
        realms: wamp::Realms::from_list(from.wamp.realms.iter().cloned()),
        subscriptions_per_connection_max: from.limits.subscriptions_per_connection_max as usize,
        channel_name_bytes_max: from.limits.channel_name_bytes_max,
    });
    dialects
}

/// The page that shows what a browser can do with nothing but `new WebSocket(url)`: one document,
/// so that its policy can forbid it to load anything.
fn page() -> reactor::Page {
    static BODY: LazyLock<String> = LazyLock::new(|| {
        include_str!("../assets/index.html")
            .replace("{{version}}", env!("CARGO_PKG_VERSION"))
            .replace("{{style}}", include_str!("../assets/style.css"))
            .replace("{{script}}", include_str!("../assets/script.js"))
    });
    reactor::Page {
        path: "/",
        content_type: "text/html; charset=utf-8",
        content_security_policy: "default-src 'none'; style-src 'unsafe-inline'; \
                                  script-src 'unsafe-inline'; connect-src 'self' ws: wss:; \
                                  base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        body: BODY.as_bytes(),
    }
}
