//! What channels of Pusher's applications are by the beginnings of their names: namespaces of their own,
//! which hold in every dialect. They come before the others, and are called by the beginning and a `*`.

use roost_config::{self as config, Access, ChannelPolicy, JoinLeave, Presence, Publish, Readers};
use roost_dialect::pusher::{KINDS, Kind, SERVER_TO_USER};

/// The names of all namespaces of a configuration, those of the applications first.
pub fn namespace_names(from: &config::Settings) -> Vec<String> {
    let apps = from.pusher_apps.iter();
    let kinds = apps.flat_map(|app| names_of_kinds(&app.prefix));
    let listed = from.namespaces.iter().map(|one| one.name.clone());
    kinds.chain(listed).chain(counted_names(from)).collect()
}

/// Namespaces of applications that are not listed, whose channels are apart because their subscribers are
/// counted.
fn counted_names(from: &config::Settings) -> impl Iterator<Item = String> + '_ {
    let counted = from.pusher_apps.iter().filter(|app| app.subscription_count);
    let names = counted.filter_map(|app| app.prefix.strip_suffix(':'));
    let is_listed = |name: &str| from.namespaces.iter().any(|one| one.name == name);
    names
        .filter(move |name| !is_listed(name))
        .map(str::to_owned)
}

/// Whether an application wants the subscribers of the channels in a namespace to be told how many they are;
/// `""` are those without one.
pub(crate) fn counts_subscriptions(from: &config::Settings, namespace: &str) -> bool {
    let apps = &from.pusher_apps;
    let own = apps
        .iter()
        .find(|app| app.prefix.strip_suffix(':') == Some(namespace));
    let app = own.or_else(|| apps.iter().find(|app| app.prefix.is_empty()));
    app.is_some_and(|app| app.subscription_count)
}

/// The policy of channels whose subscribers are told how many they are.
pub(crate) fn counted(mut policy: ChannelPolicy) -> ChannelPolicy {
    if policy.presence == Presence::Off {
        policy.presence = Presence::Counts;
    }
    if policy.join_leave == JoinLeave::Off {
        policy.join_leave = JoinLeave::Asked;
    }
    policy
}

/// The namespaces of an application whose channels begin with `prefix`.
pub(crate) fn names_of_kinds(prefix: &str) -> impl Iterator<Item = String> + '_ {
    let kinds = KINDS.iter().map(|kind| kind.prefix);
    let all = kinds.chain([SERVER_TO_USER]);
    all.map(move |kind| format!("{prefix}{kind}*"))
}

/// What a name of a namespace says, if it is one of an application: the namespace before the colon, empty
/// without one, and the kind of the channels.
pub(crate) fn kind_of(name: &str) -> Option<(&str, Kind)> {
    let beginning = name.strip_suffix('*')?;
    let (namespace, kind) = beginning.split_once(':').unwrap_or(("", beginning));
    let kind = match kind == SERVER_TO_USER {
        true => TO_USER,
        false => Kind::of(kind),
    };
    Some((namespace, kind))
}

/// The policy of such channels, by that of the namespace they are in otherwise: it is never laxer.
pub(crate) fn policy_of(base: &ChannelPolicy, kind: Kind) -> ChannelPolicy {
    let mut policy = base.clone();
    if kind.is_private {
        policy.subscribe = match base.subscribe {
            Access::Anyone | Access::Authenticated => Access::Granted,
            stricter => stricter,
        };
        policy.publish = match base.publish {
            Publish::Anyone | Publish::Authenticated => Publish::Granted,
            stricter => stricter,
        };
        policy.presence_read = match base.presence_read {
            Readers::Anyone | Readers::Authenticated => Readers::Subscribers,
            stricter => stricter,
        };
    }
    if kind.has_members {
        policy.presence = Presence::Members;
        policy.presence_members_max = MEMBERS_MAX;
        policy.join_leave = JoinLeave::Asked;
    }
    if kind.is_cached && base.history_messages_max == 0 {
        policy.history_messages_max = 1;
        policy.history_lifetime_ms = base.history_lifetime_ms.max(CACHE_LIFETIME_MS);
    }
    policy
}

/// Whether users count once in the channels of a namespace.
pub(crate) fn counts_users(name: &str) -> bool {
    kind_of(name).is_some_and(|(_, kind)| kind.has_members)
}

/// A channel to one user's connections: the user alone subscribes.
const TO_USER: Kind = Kind {
    prefix: SERVER_TO_USER,
    is_private: true,
    has_members: false,
    is_encrypted: false,
    is_cached: false,
};
/// Connections; how many users there may be, the dialect says.
const MEMBERS_MAX: u32 = 100_000;
/// As Pusher has it.
const CACHE_LIFETIME_MS: u32 = 30 * 60 * 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_never_laxer_than_their_namespace() {
        let base = |subscribe, publish| ChannelPolicy {
            subscribe,
            publish,
            ..ChannelPolicy::default()
        };
        let private = |base: &ChannelPolicy| {
            let policy = policy_of(base, Kind::of("private-a"));
            (policy.subscribe, policy.publish)
        };
        let open = base(Access::Anyone, Publish::Anyone);
        assert_eq!(private(&open), (Access::Granted, Publish::Granted));
        let shut = base(Access::Nobody, Publish::Nobody);
        assert_eq!(private(&shut), (Access::Nobody, Publish::Nobody));
        let asks = base(Access::Hook, Publish::Subscribers);
        assert_eq!(private(&asks), (Access::Hook, Publish::Subscribers));
        let plain = policy_of(&open, Kind::of("cache-a"));
        assert_eq!(
            (plain.subscribe, plain.publish),
            (Access::Anyone, Publish::Anyone)
        );
        assert_eq!(plain.history_messages_max, 1);
        let presence = policy_of(&open, Kind::of("presence-cache-a"));
        assert_eq!(presence.presence, Presence::Members);
        assert_eq!(
            (presence.history_messages_max, presence.subscribe),
            (1, Access::Granted)
        );
    }

    #[test]
    fn each_name_of_a_kind_says_what_it_is() {
        for prefix in ["", "shop:"] {
            for name in names_of_kinds(prefix) {
                let (namespace, kind) = kind_of(&name).expect("it is one");
                assert_eq!(namespace, prefix.trim_end_matches(':'));
                assert_eq!(name, format!("{prefix}{}*", kind.prefix));
                assert_eq!(counts_users(&name), name.contains("presence-"), "{name}");
            }
        }
        assert_eq!(kind_of("shop"), None);
    }
}
