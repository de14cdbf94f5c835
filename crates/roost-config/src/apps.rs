//! What `[[pusher.app]]` sections may not say beside each other, and which `[[pusher.webhook]]` name none.

use std::collections::HashMap;

use crate::realms::Clash;
use crate::table::{
    APPS_MAX, PusherApp, PusherWebhook, Settings, WEBHOOKS_MAX, WampRealm, entry_path,
};
use crate::value::shortened;

/// No two applications share an id, a key or a prefix, no prefix begins with another or with a realm's, and
/// each has a secret.
pub(crate) fn check(settings: &Settings) -> Vec<Clash> {
    let mut clashes = Vec::new();
    let apps = &settings.pusher_apps;
    if apps.len() > APPS_MAX {
        clashes.push(Clash {
            key: key_of(APPS_MAX, "id"),
            other: key_of(0, "id"),
            found: format!("{} sections", apps.len()),
            expected: format!("at most {APPS_MAX}"),
        });
        return clashes;
    }
    check_one_each(apps, "id", |app| &app.id, &mut clashes);
    check_one_each(apps, "key", |app| &app.key, &mut clashes);
    for (index, app) in apps.iter().enumerate() {
        if app.secret_file.is_empty() && !app.id.is_empty() {
            clashes.push(Clash {
                key: key_of(index, "secret_file"),
                other: key_of(index, "id"),
                found: "\"\"".to_owned(),
                expected: "a file with the application's secret".to_owned(),
            });
        }
    }
    check_prefixes(settings, &mut clashes);
    check_webhooks(settings, &mut clashes);
    clashes
}

/// Each webhook is of an application that there is, and its headers have values.
fn check_webhooks(settings: &Settings, clashes: &mut Vec<Clash>) {
    let webhooks = &settings.pusher_webhooks;
    let key = |index: usize, name: &str| {
        let path = entry_path(PusherWebhook::SECTION.name, index);
        format!("{path}.{name}")
    };
    if webhooks.len() > WEBHOOKS_MAX {
        clashes.push(Clash {
            key: key(WEBHOOKS_MAX, "url"),
            other: key(0, "url"),
            found: format!("{} sections", webhooks.len()),
            expected: format!("at most {WEBHOOKS_MAX}"),
        });
        return;
    }
    for (index, webhook) in webhooks.iter().enumerate() {
        let mut apps = settings.pusher_apps.iter();
        if !webhook.app.is_empty() && !apps.any(|app| app.id == webhook.app) {
            clashes.push(Clash {
                key: key(index, "app"),
                other: key_of(0, "id"),
                found: format!("\"{}\"", shortened(&webhook.app)),
                expected: "the id of a [[pusher.app]]".to_owned(),
            });
        }
        if webhook.headers.iter().any(|line| line == "*") {
            clashes.push(Clash {
                key: key(index, "headers"),
                other: key(index, "url"),
                found: "\"*\"".to_owned(),
                expected: "headers with their values".to_owned(),
            });
        }
    }
}

fn check_one_each(
    apps: &[PusherApp],
    name: &str,
    value: fn(&PusherApp) -> &String,
    clashes: &mut Vec<Clash>,
) {
    let mut seen = HashMap::new();
    for (index, app) in apps.iter().enumerate() {
        let value = value(app);
        if value.is_empty() {
            continue; // said of it already
        }
        if let Some(first) = seen.insert(value.as_str(), index) {
            clashes.push(Clash {
                key: key_of(index, name),
                other: key_of(first, name),
                found: format!("\"{}\" a second time", shortened(value)),
                expected: "another one".to_owned(),
            });
        }
    }
}

fn check_prefixes(settings: &Settings, clashes: &mut Vec<Clash>) {
    let apps = settings.pusher_apps.iter().enumerate();
    let apps: Vec<_> = apps
        .map(|(index, app)| (app.prefix.as_str(), key_of(index, "prefix")))
        .collect();
    let realms = settings.wamp_realms.iter().enumerate();
    let realms = realms.map(|(index, realm)| {
        let path = entry_path(WampRealm::SECTION.name, index);
        (realm.prefix.as_str(), format!("{path}.prefix"))
    });
    let realms = realms.filter(|(prefix, _)| !prefix.is_empty());
    let all: Vec<_> = apps.iter().cloned().chain(realms).collect();
    for (at, (prefix, key)) in apps.iter().enumerate() {
        let others = all.iter().enumerate().filter(|(other, _)| *other != at);
        for (other, (second, second_key)) in others {
            let is_same = prefix == second && other < at;
            let begins = !second.is_empty() && prefix != second && prefix.starts_with(second);
            // A realm's that begins with an application's is said of the application.
            let is_begun = other >= apps.len() && !prefix.is_empty() && second.starts_with(prefix);
            if is_same || begins || is_begun {
                clashes.push(Clash {
                    key: key.clone(),
                    other: second_key.clone(),
                    found: format!("\"{}\"", shortened(prefix)),
                    expected: format!(
                        "one that does not begin with \"{}\", nor the other way round",
                        shortened(second)
                    ),
                });
            }
        }
    }
}

fn key_of(index: usize, name: &str) -> String {
    let path = entry_path(PusherApp::SECTION.name, index);
    format!("{path}.{name}")
}
