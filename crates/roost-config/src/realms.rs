//! What `[[wamp.realm]]` sections may not say beside each other, and what may name a realm.

use std::collections::HashMap;

use crate::table::{REALMS_MAX, Settings, WampPermission, WampRealm, WampUser, entry_path};
use crate::value::shortened;

/// A value that cannot stand beside another.
pub(crate) struct Clash {
    /// The key that is blamed.
    pub(crate) key: String,
    /// The key it cannot hold beside.
    pub(crate) other: String,
    /// What it says.
    pub(crate) found: String,
    /// What the other key asks of it.
    pub(crate) expected: String,
}

/// No two realms share a name, no prefix begins with another, and users and roles have a realm.
pub(crate) fn check(settings: &Settings) -> Vec<Clash> {
    let mut clashes = Vec::new();
    let realms = &settings.wamp_realms;
    if realms.is_empty() {
        return clashes;
    }
    if realms.len() > REALMS_MAX {
        clashes.push(Clash {
            key: key_of(REALMS_MAX, "name"),
            other: key_of(0, "name"),
            found: format!("{} sections", realms.len()),
            expected: format!("at most {REALMS_MAX}"),
        });
        return clashes;
    }
    let mut names = HashMap::new();
    for (index, realm) in realms
        .iter()
        .enumerate()
        .filter(|(_, one)| !one.name.is_empty())
    {
        if let Some(first) = names.insert(realm.name.as_str(), index) {
            clashes.push(Clash {
                key: key_of(index, "name"),
                other: key_of(first, "name"),
                found: format!("\"{}\" a second time", shortened(&realm.name)),
                expected: "another name".to_owned(),
            });
        }
    }
    check_prefixes(settings, &mut clashes);
    let users = settings.wamp_users.iter().map(|user| &user.realm);
    let roles = settings.wamp_permissions.iter().map(|one| &one.realm);
    let users = users.enumerate().map(|one| (WampUser::SECTION.name, one));
    let roles = roles
        .enumerate()
        .map(|one| (WampPermission::SECTION.name, one));
    for (section, (index, realm)) in users.chain(roles) {
        let is_known = names.contains_key(realm.as_str()) || settings.wamp.realms.contains(realm);
        if !realm.is_empty() && !is_known {
            clashes.push(Clash {
                key: format!("{}.realm", entry_path(section, index)),
                other: key_of(0, "name"),
                found: format!("\"{}\"", shortened(realm)),
                expected: "the name of a [[wamp.realm]], or one of wamp.realms".to_owned(),
            });
        }
    }
    clashes
}

fn check_prefixes(settings: &Settings, clashes: &mut Vec<Clash>) {
    let realms = settings.wamp_realms.iter().enumerate();
    let mut prefixes: Vec<_> = realms
        .filter(|(_, realm)| !realm.prefix.is_empty())
        .map(|(index, realm)| (realm.prefix.as_str(), index))
        .collect();
    prefixes.sort_unstable();
    // One that begins with another stands behind it, with such alone between.
    for two in prefixes.windows(2) {
        let [(first, before), (second, index)] = *two else {
            continue;
        };
        if second.starts_with(first) {
            clashes.push(Clash {
                key: key_of(index, "prefix"),
                other: key_of(before, "prefix"),
                found: format!("\"{}\"", shortened(second)),
                expected: format!("one that does not begin with \"{}\"", shortened(first)),
            });
        }
    }
    let bytes_max = settings.limits.channel_name_bytes_max;
    for (prefix, index) in prefixes {
        if prefix.len() >= bytes_max {
            clashes.push(Clash {
                key: key_of(index, "prefix"),
                other: "limits.channel_name_bytes_max".to_owned(),
                found: format!("{} bytes", prefix.len()),
                expected: format!("less than {bytes_max}, so that names have room behind it"),
            });
        }
    }
}

fn key_of(index: usize, name: &str) -> String {
    let path = entry_path(WampRealm::SECTION.name, index);
    format!("{path}.{name}")
}
