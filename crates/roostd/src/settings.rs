//! What the reactors obey: the configuration, and what the daemon adds to it.

use std::sync::{Arc, LazyLock};

use roost_access::{Permission, PermissionSet};
use roost_auth::PusherApp;
use roost_config as config;
use roost_dialect::wamp::Users;
use roost_dialect::{centrifugo, echo, pusher, raw, soap, sse, wamp};
use roost_net::ListenAddr;
use roost_net::unix_socket::{UnixOptions, group_number};
use roost_reactor::{self as reactor, ForwardedHeader, NamespaceNumbers};
use roost_tls::SharedSetup;
use roost_tokens::parse_allow;

use crate::tls::Tls;
use crate::{events, hooks, tokens};

/// Settings for the reactors. `connections_max` is resolved from the limit on open files. The error is
/// a message for people. The numbers are those of the configuration's namespaces.
pub(crate) fn for_reactors(
    from: &config::Settings,
    connections_max: u32,
    numbers: &NamespaceNumbers,
    tls: &Tls,
    (users, apps): (Option<Users>, Vec<PusherApp>),
    reactors: usize,
) -> Result<reactor::Settings, String> {
    let dialects = dialects(from, users, apps);
    let listeners = from.listeners.iter().enumerate();
    let listeners = listeners.map(|(number, one)| listener(one, &dialects, tls.setup(number)));
    Ok(reactor::Settings {
        listeners: listeners.collect::<Result<_, _>>()?,
        deflate: from.deflate.clone(),
        limits: from.limits.clone(),
        connections_max,
        fan_out_at_once: reactor::FAN_OUT_AT_ONCE,
        fan_out_piece: reactor::FAN_OUT_PIECE,
        auth: tokens::for_reactors(from, reactors),
        hooks: hooks::for_reactors(&from.hooks),
        events: events::for_reactors(from),
        dialects,
        channels: reactor::Policies::numbered(from, numbers),
    })
}

fn listener(
    from: &config::Listener,
    dialects: &roost_dialect::Settings,
    setup: Option<Arc<SharedSetup>>,
) -> Result<reactor::Listener, String> {
    // Every key is named, so that one that is not obeyed does not compile. Those with `_` are obeyed
    // as they are, but for `tls`, which is read into `setup`.
    let config::Listener {
        name: _,
        address,
        socket_mode,
        socket_group,
        backlog: _,
        dialects: served,
        raw_subprotocols,
        hixie: _,
        demo_page,
        health_path: _,
        allowed_origins,
        tls, // read into `setup`, but for what clients may do
        proxy_protocol,
        proxy_protocol_from,
        forwarded,
        forwarded_from,
    } = from;
    let address = match address {
        config::ListenAddress::Tcp(address) => ListenAddr::Tcp(*address),
        config::ListenAddress::Unix(path) => ListenAddr::unix(UnixOptions {
            path: path.into(),
            mode: match socket_mode {
                config::ClientSocketMode::Owner => 0o600,
                config::ClientSocketMode::Group => 0o660,
                config::ClientSocketMode::All => 0o666,
            },
            group: group(from, socket_group)?,
        }),
    };
    let all = served.iter().any(|one| one == "*");
    let own = (!all || raw_subprotocols.is_some())
        .then(|| own_dialects(from, dialects, raw_subprotocols.as_deref()));
    Ok(reactor::Listener {
        config: from.clone(),
        address,
        is_open: true,
        tls: setup,
        client_permissions: Arc::new(PermissionSet::of_role(
            reactor::CERTIFICATE_ROLE,
            tls.client_allow
                .iter()
                .map(|grant| granted(grant))
                .collect(),
        )),
        proxies: (*proxy_protocol == config::ProxyProtocol::Required)
            .then(|| networks(proxy_protocol_from)),
        forwarded: forwarded_header(*forwarded).map(|header| reactor::Forwarded {
            header,
            from: networks(forwarded_from),
        }),
        origins: reactor::Origins::from_list(allowed_origins),
        pages: if *demo_page { vec![page()] } else { Vec::new() },
        dialects: own,
    })
}

fn forwarded_header(by: config::ForwardedBy) -> Option<ForwardedHeader> {
    match by {
        config::ForwardedBy::Off => None,
        config::ForwardedBy::XForwardedFor => Some(ForwardedHeader::XForwardedFor),
        config::ForwardedBy::Forwarded => Some(ForwardedHeader::Forwarded),
    }
}

/// What a grant of `listener.tls.client_allow` allows.
fn granted(grant: &str) -> Permission {
    parse_allow(grant).expect("the configuration takes grants alone")
}

/// `*` is every network.
fn networks(words: &[String]) -> Vec<config::Network> {
    let network = |word: &str| {
        word.parse()
            .expect("the configuration takes networks alone")
    };
    if words.iter().any(|word| word == "*") {
        return ["0.0.0.0/0", "::/0"].map(network).to_vec();
    }
    words.iter().map(|word| network(word)).collect()
}

fn group(from: &config::Listener, group: &str) -> Result<Option<u32>, String> {
    if group.is_empty() {
        return Ok(None);
    }
    let number = group_number(group).map_err(|error| {
        let label = from.label();
        format!(
            "listener {label}: socket_group: {error}. Remedy: make it, or give the group's number."
        )
    })?;
    Ok(Some(number))
}

/// What a listener accepts of what is enabled.
fn own_dialects(
    from: &config::Listener,
    dialects: &roost_dialect::Settings,
    raw_subprotocols: Option<&[String]>,
) -> roost_dialect::Settings {
    let mut own = dialects.clone();
    let raw = Arc::make_mut(&mut own.raw);
    raw.enabled &= from.serves("raw");
    if let Some(names) = raw_subprotocols {
        raw.subprotocols = raw::Subprotocols::from_list(names.iter().cloned());
    }
    Arc::make_mut(&mut own.echo).enabled &= from.serves("echo");
    Arc::make_mut(&mut own.wamp).enabled &= from.serves("wamp");
    Arc::make_mut(&mut own.soap).enabled &= from.serves("soap");
    Arc::make_mut(&mut own.centrifugo).enabled &= from.serves("centrifugo");
    Arc::make_mut(&mut own.pusher).enabled &= from.serves("pusher");
    Arc::make_mut(&mut own.sse).enabled &= from.serves("sse");
    own
}

fn dialects(
    from: &config::Settings,
    users: Option<Users>,
    apps: Vec<PusherApp>,
) -> roost_dialect::Settings {
    let mut dialects = roost_dialect::Settings::off();
    dialects.raw = Arc::new(raw::Settings {
        enabled: from.raw.enabled,
        subprotocols: raw::Subprotocols::from_list(from.raw.subprotocols.iter().cloned()),
    });
    dialects.echo = Arc::new(echo::Settings {
        enabled: from.echo.enabled,
        subprotocol: from.echo.subprotocol.clone(),
        goodbye: from.echo.goodbye.clone(),
    });
    dialects.wamp = Arc::new(wamp::Settings {
        enabled: from.wamp.enabled,
        realms: wamp::Realms::from_list(from.wamp.realms.iter().cloned()),
        users,
        own_realms: own_realms(from),
        takes_tokens: from.auth.is_on(),
        subscriptions_per_connection_max: from.limits.subscriptions_per_connection_max as usize,
        channel_name_bytes_max: from.limits.channel_name_bytes_max,
    });
    dialects.soap = Arc::new(soap::Settings {
        enabled: from.soap.enabled,
        depth_max: from.soap.depth_max as usize,
        header_bytes_max: from.soap.header_bytes_max,
        request_timeout_ms: from.soap.request_timeout_ms,
        name_bytes_max: from.limits.channel_name_bytes_max,
    });
    dialects.centrifugo = Arc::new(centrifugo::Settings {
        enabled: from.centrifugo.enabled,
        subscriptions_per_connection_max: from.limits.subscriptions_per_connection_max as usize,
        channel_name_bytes_max: from.limits.channel_name_bytes_max,
        ping_interval_s: from.limits.ping_interval_ms.div_ceil(1000),
        personal_channels: from.centrifugo.personal_channels,
    });
    dialects.pusher = Arc::new(pusher_settings(from, apps));
    dialects.sse = Arc::new(sse::Settings {
        enabled: from.sse.enabled,
        channels_max: from.limits.subscriptions_per_connection_max as usize,
    });
    dialects
}

fn pusher_settings(from: &config::Settings, apps: Vec<PusherApp>) -> pusher::Settings {
    // Every key is named, so that one that is not obeyed does not compile.
    let config::Pusher {
        enabled,
        activity_timeout_ms,
        client_events_per_second_max,
        client_event_bytes_max,
        members_per_channel_max,
        member_bytes_max,
        event_name_chars_max,
        channels_per_event_max,
        event_bytes_max,
    } = from.pusher;
    pusher::Settings {
        enabled,
        apps: apps.into(),
        activity_timeout_s: activity_timeout_ms.div_ceil(1000),
        client_events_per_second_max,
        client_event_bytes_max,
        members_per_channel_max,
        member_bytes_max,
        subscriptions_per_connection_max: from.limits.subscriptions_per_connection_max as usize,
        channel_name_bytes_max: from.limits.channel_name_bytes_max,
        events: pusher::EventLimits {
            name_chars_max: event_name_chars_max as usize,
            channels_max: channels_per_event_max as usize,
            bytes_max: event_bytes_max,
        },
    }
}

fn own_realms(from: &config::Settings) -> wamp::OwnRealms {
    let realms = from.wamp_realms.iter();
    let realms = realms.map(|realm| {
        // Every key is named, so that one that is not obeyed does not compile.
        let config::WampRealm {
            name,
            prefix,
            anonymous,
            tokens,
            other_dialects,
        } = realm;
        wamp::OwnRealm {
            name: name.as_str().into(),
            prefix: prefix.as_str().into(),
            anonymous: *anonymous,
            tokens: *tokens,
            other_dialects: *other_dialects,
        }
    });
    wamp::OwnRealms::new(realms.collect())
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
