//! Where events are told: `[events]` of the configuration, with its secrets, and webhooks of
//! `[[pusher.app]]` and `[[pusher.webhook]]`.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use roost_auth::PusherApp;
use roost_config::{self as config, Loaded, pusher_key, webhook_key};
use roost_control::{EventsTo, HookUrl, Teller, Webhook};
use roost_hooks::{JournalRules, WebhookValues};
use roost_reactor::{self as reactor, EventKind, EventKinds};

use crate::hooks::{keys_of, line, tls_of};
use crate::tls::Lines;

/// Reads the files. The first mistake is told.
pub(crate) fn load(loaded: &Loaded, apps: &[PusherApp]) -> Result<Vec<EventsTo>, Lines> {
    let own = own(loaded).transpose().into_iter();
    let webhooks = configured(&loaded.settings);
    let webhooks = webhooks.iter().map(|webhook| webhook.load(loaded, apps));
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

/// A webhook as the configuration has it: that of an application's `webhook_url`, or one of its own section.
struct Configured<'a> {
    /// The application's place.
    app: usize,
    /// The key with its address, and that.
    key: String,
    url: &'a str,
    events: &'a [String],
    starts_with: &'a str,
    ends_with: &'a str,
    headers: &'a [String],
    values: WebhookValues,
    /// For the log.
    setting: String,
}

/// All of them, those of `[[pusher.app]]` first.
fn configured(from: &config::Settings) -> Vec<Configured<'_>> {
    let apps = from.pusher_apps.iter().enumerate();
    let of_apps = apps.filter_map(|(at, app)| {
        Some(Configured {
            app: at,
            key: pusher_key(at, "webhook_url"),
            url: app.webhook_url.as_deref()?,
            events: &app.webhook_events,
            starts_with: "",
            ends_with: "",
            headers: &[],
            values: WebhookValues::Text,
            setting: format!("webhook_url of [[pusher.app]] {}", app.id),
        })
    });
    let own = from.pusher_webhooks.iter().enumerate();
    let own = own.filter_map(|(at, webhook)| {
        // Every key is named, so that one that is not obeyed does not compile.
        let config::PusherWebhook {
            app,
            url,
            events,
            channel_name_starts_with,
            channel_name_ends_with,
            headers,
            values,
        } = webhook;
        Some(Configured {
            app: from.pusher_apps.iter().position(|one| one.id == *app)?,
            key: webhook_key(at, "url"),
            url,
            events,
            starts_with: channel_name_starts_with,
            ends_with: channel_name_ends_with,
            headers,
            values: match values {
                config::WebhookValues::Text => WebhookValues::Text,
                config::WebhookValues::Json => WebhookValues::Json,
            },
            setting: format!("[[pusher.webhook]] {} of {app}", at + 1),
        })
    });
    of_apps.chain(own).collect()
}

impl Configured<'_> {
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
        let mut told = self.events.iter();
        told.any(|one| one == name || one == "*")
    }

    /// The error is a line for people.
    fn load(&self, loaded: &Loaded, apps: &[PusherApp]) -> Result<EventsTo, String> {
        let app = &apps[self.app];
        let others = apps.iter().map(|app| app.prefix.to_string());
        let others = others
            .enumerate()
            .filter(|(other, prefix)| *other != self.app && !prefix.is_empty());
        let headers = self.headers.iter().filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        let teller = Teller::Pusher(Box::new(Webhook {
            app: app.clone(),
            others: others.map(|(_, prefix)| prefix).collect(),
            kinds: pairs(|kind| self.tells(kind)),
            starts_with: self.starts_with.to_owned(),
            ends_with: self.ends_with.to_owned(),
            headers: headers.collect(),
            values: self.values,
            setting: self.setting.clone(),
        }));
        destination(loaded, (&self.key, self.url), teller, |kind| {
            self.tells(kind)
        })
    }
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
    let webhooks = configured(from);
    let kinds = EventKinds::of(|kind| {
        let mut webhooks = webhooks.iter();
        own.has(kind) || webhooks.any(|one| pairs(|kind| one.tells(kind)).has(kind))
    });
    let mut namespaces = match from.events.is_on() {
        true => from.events.namespaces.clone(),
        false => Vec::new(),
    };
    // A prefix ends in a colon, and what stands before that is the namespace.
    namespaces.extend(webhooks.iter().map(|webhook| {
        let prefix = &from.pusher_apps[webhook.app].prefix;
        match prefix.strip_suffix(':') {
            Some(namespace) => namespace.to_owned(),
            None => "*".to_owned(),
        }
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

/// The machine's name.
fn machine() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "roost".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> reactor::Events {
        let loaded = config::parse(text, "roost.toml");
        for_reactors(&loaded.expect("a configuration").settings)
    }

    fn names(events: &reactor::Events) -> Vec<&'static str> {
        let all = EventKind::ALL.into_iter();
        let told = all.filter(|kind| events.kinds.has(*kind));
        told.map(EventKind::name).collect()
    }

    /// The journal has to know that a channel has subscribers again to say nothing of a moment without.
    #[test]
    fn reactors_tell_the_begin_and_the_end_of_what_may_linger() {
        for (types, told) in [
            (r#""vacated""#, &["occupied", "vacated"][..]),
            (
                r#""occupied", "connected""#,
                &["connected", "occupied", "vacated"],
            ),
            (r#""user_left""#, &["user_joined", "user_left"]),
            (r#""disconnected""#, &["disconnected"]),
        ] {
            let text = format!("[events]\nurl = \"http://127.0.0.1:1/\"\ntypes = [{types}]\n");
            assert_eq!(names(&of(&text)), told, "{types}");
        }
        let app = "[[pusher.app]]\nid = \"1\"\nkey = \"k\"\nsecret_file = \"s\"\n\
                   webhook_url = \"http://127.0.0.1:1/\"\n";
        let text = format!("{app}webhook_events = [\"channel_vacated\", \"cache_miss\"]\n");
        assert_eq!(names(&of(&text)), ["occupied", "vacated", "cache_miss"]);
        assert_eq!(names(&of("")), [""; 0]);
    }

    /// An application without a prefix has channels of all namespaces that are no other application's.
    #[test]
    fn reactors_tell_of_the_namespaces_of_all_that_are_told() {
        let app = |id: u8, more: &str| {
            format!("[[pusher.app]]\nid = \"{id}\"\nkey = \"k{id}\"\nsecret_file = \"s\"\n{more}\n")
        };
        let hook = "webhook_url = \"http://127.0.0.1:1/\"";
        let own = "[events]\nurl = \"http://127.0.0.1:1/\"\nnamespaces = [\"chat\"]\n\
                   [[namespace]]\nname = \"chat\"\n";
        for (text, told) in [
            (own.to_owned(), &["chat"][..]),
            (app(1, &format!("prefix = \"shop:\"\n{hook}")), &["shop"]),
            (own.to_owned() + &app(1, hook), &["chat", "*"]),
            (own.to_owned() + &app(1, "prefix = \"shop:\""), &["chat"]),
        ] {
            assert_eq!(of(&text).namespaces, told, "{text}");
        }
    }
}
