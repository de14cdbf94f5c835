//! Where events are told: `[events]` of the configuration, with its secrets, and webhooks of
//! `[[pusher.app]]`.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use roost_auth::PusherApp;
use roost_config::{self as config, Loaded, pusher_key};
use roost_control::{EventsTo, HookUrl, Teller};
use roost_hooks::JournalRules;
use roost_reactor::{self as reactor, EventKind, EventKinds};

use crate::hooks::{keys_of, line, tls_of};
use crate::tls::Lines;

/// Reads the files. The first mistake is told.
pub(crate) fn load(loaded: &Loaded, apps: &[PusherApp]) -> Result<Vec<EventsTo>, Lines> {
    let own = own(loaded).transpose().into_iter();
    let webhooks = apps.iter().enumerate();
    let webhooks = webhooks.filter_map(|(at, _)| webhooks_of(loaded, apps, at).transpose());
    own.chain(webhooks)
        .collect::<Result<_, _>>()
        .map_err(|line| Lines {
            errors: vec![line],
            warnings: Vec::new(),
        })
}

/// The error is a line for people.
fn own(loaded: &Loaded) -> Result<Option<EventsTo>, String> {
    // Every key is named, so that one that is not obeyed does not compile.
    let from = &loaded.settings.events;
    let config::EventsTo {
        url,
        types: _,
        namespaces,
        node,
        ca_file: _,
        secrets_file,
        timeout_ms: _,
        batch_max: _,
        batch_wait_ms: _,
        queue_max: _,
        linger_ms: _,
    } = from;
    let Some(url) = url.as_deref() else {
        return Ok(None);
    };
    let place = |key: &str| format!("events.{key}");
    let teller = Teller::Node {
        name: match node.as_str() {
            "" => machine(),
            name => name.to_owned(),
        },
        keys: keys_of(loaded, &place("secrets_file"), secrets_file, &mut unused())?,
        kinds: kinds_of(from),
        namespaces: namespaces.clone(),
    };
    let tells = |kind: EventKind| from.names(kind.name());
    destination(loaded, (&place("url"), url), teller, tells).map(Some)
}

/// The webhooks of the application at a place. The error is a line for people.
fn webhooks_of(loaded: &Loaded, apps: &[PusherApp], at: usize) -> Result<Option<EventsTo>, String> {
    let from = &loaded.settings.pusher_apps[at];
    let Some(url) = from.webhook_url.as_deref() else {
        return Ok(None);
    };
    let others = apps.iter().map(|app| app.prefix.to_string());
    let others = others
        .enumerate()
        .filter(|(other, prefix)| *other != at && !prefix.is_empty());
    let teller = Teller::Pusher {
        app: Box::new(apps[at].clone()),
        others: others.map(|(_, prefix)| prefix).collect(),
        kinds: pairs(|kind| from.tells(kind)),
    };
    let tells = |kind| from.tells(kind);
    let key = pusher_key(at, "webhook_url");
    destination(loaded, (&key, url), teller, tells).map(Some)
}

/// What holds for all: rules, and whom `https://` trusts.
fn destination(
    loaded: &Loaded,
    (key, url): (&str, &str),
    teller: Teller,
    tells: impl Fn(EventKind) -> bool,
) -> Result<EventsTo, String> {
    let from = &loaded.settings.events;
    let is_https = url.starts_with("https:");
    let tls = tls_of(
        loaded,
        "events.ca_file",
        &from.ca_file,
        is_https,
        &mut unused(),
    )?;
    Ok(EventsTo {
        rules: JournalRules {
            batch_max: from.batch_max as usize,
            batch_wait_ms: u64::from(from.batch_wait_ms),
            queue_max: from.queue_max as usize,
            linger_ms: u64::from(from.linger_ms),
            tells_occupied: tells(EventKind::Occupied),
            tells_vacated: tells(EventKind::Vacated),
            tells_joined: tells(EventKind::UserJoined),
            tells_left: tells(EventKind::UserLeft),
        },
        teller,
        url: HookUrl::parse(url).map_err(|what| line(loaded, key, None, what))?,
        tls: Arc::new(tls),
        timeout: Duration::from_millis(u64::from(from.timeout_ms)),
    })
}

/// Files that are other by a reload take a restart here.
fn unused() -> Context {
    Context::new(&SHA256)
}

/// What the reactors obey of it: all that any application is told.
pub(crate) fn for_reactors(from: &config::Settings) -> reactor::Events {
    let own = kinds_of(&from.events);
    let hooked = from
        .pusher_apps
        .iter()
        .filter(|app| app.webhook_url.is_some());
    let hooked: Vec<&config::PusherApp> = hooked.collect();
    let kinds = EventKinds::of(|kind| {
        own.has(kind)
            || hooked
                .iter()
                .any(|app| pairs(|kind| app.tells(kind)).has(kind))
    });
    let mut namespaces = match from.events.is_on() {
        true => from.events.namespaces.clone(),
        false => Vec::new(),
    };
    // A prefix ends in a colon, and what stands before that is the namespace.
    namespaces.extend(hooked.iter().map(|app| match app.prefix.strip_suffix(':') {
        Some(namespace) => namespace.to_owned(),
        None => "*".to_owned(),
    }));
    reactor::Events { kinds, namespaces }
}

fn kinds_of(from: &config::EventsTo) -> EventKinds {
    pairs(|kind| !kind.is_pushers() && from.names(kind.name()))
}

/// Of a channel, and of a user in one, both events are needed, if one is told: one that is there again has
/// never been away.
fn pairs(tells: impl Fn(EventKind) -> bool) -> EventKinds {
    use EventKind::{Occupied, UserJoined, UserLeft, Vacated};
    EventKinds::of(|kind| match kind {
        Occupied | Vacated => tells(Occupied) || tells(Vacated),
        UserJoined | UserLeft => tells(UserJoined) || tells(UserLeft),
        kind => tells(kind),
    })
}

/// What webhooks of Pusher's tell.
trait Webhooks {
    fn tells(&self, kind: EventKind) -> bool;
}

impl Webhooks for config::PusherApp {
    fn tells(&self, kind: EventKind) -> bool {
        let name = match kind {
            EventKind::Occupied => "channel_occupied",
            EventKind::Vacated => "channel_vacated",
            EventKind::UserJoined => "member_added",
            EventKind::UserLeft => "member_removed",
            EventKind::ClientEvent => "client_event",
            EventKind::CacheMiss => "cache_miss",
            _ => return false,
        };
        let mut told = self.webhook_events.iter();
        told.any(|one| one == name || one == "*")
    }
}

/// The machine's name.
fn machine() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "roost".to_owned(),
        name => name.to_owned(),
    }
}
