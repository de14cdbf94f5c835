//! The policies of channels, by the numbers of their namespaces, and what of them the hub and the access
//! decision take.

use std::collections::HashMap;

use roost_access::{Operation, PatternRef, Requirement};
use roost_config as config;
use roost_config::{Access, ChannelPolicy, JoinLeave, Presence, Publish, Readers, Recovery};
use roost_dialect::dialect::Recovers;
use roost_dialect::pusher::Kind;
use roost_hub::{
    EncodingSet, HistoryLimits, HistoryNamespace, HistoryOptions, NamespaceNumbers, PresenceLimits,
    PresenceNotify, PresenceOptions, beginning_of, place_of,
};

use crate::clock::{TICK_MS, ticks};
use crate::kinds;

/// Policies, per namespace.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    /// For channels without a namespace of their own.
    pub default: ChannelPolicy,
    /// For channels named `name:rest`, or that begin with a name that ends in `*`, by number less one. The latter
    /// come first.
    pub namespaces: Vec<(String, ChannelPolicy)>,
    /// The numbers of those in whose channels Pusher's subscribers are told how many they are.
    pub counted: Vec<u16>,
}

impl Policies {
    /// The policies of a configuration, by numbers that were given to its namespaces.
    ///
    /// A name that has a number and is listed no longer has the default policy: its channels are
    /// treated as those that have no section, whether they were there before or not.
    pub fn numbered(from: &config::Settings, numbers: &NamespaceNumbers) -> Policies {
        let listed = from.namespaces.iter();
        let listed: HashMap<&str, &config::ChannelPolicy> =
            listed.map(|one| (one.name.as_str(), &one.policy)).collect();
        let mut counted = Vec::new();
        let mut policy_of = |number, namespace: &str, kind: Option<Kind>| {
            let base = listed.get(namespace).copied().unwrap_or(&from.channels);
            let policy = match kind {
                Some(kind) => kinds::policy_of(base, kind),
                None => base.clone(),
            };
            let has_members = kind.is_some_and(|kind| kind.has_members);
            if has_members || !kinds::counts_subscriptions(from, namespace) {
                return policy;
            }
            counted.push(number);
            kinds::counted(policy)
        };
        let default = policy_of(0, "", None);
        let numbered = numbers.iter().map(|(number, name, _)| {
            let (namespace, kind) = match kinds::kind_of(name) {
                Some((namespace, kind)) => (namespace, Some(kind)),
                None => (name, None),
            };
            (name.to_owned(), policy_of(number.0, namespace, kind))
        });
        let namespaces = numbered.collect();
        Policies {
            default,
            namespaces,
            counted,
        }
    }

    /// The same with subscribers that are told how many they are, but for those with members: for tests.
    #[must_use]
    pub fn with_counts(mut self) -> Policies {
        self.default = kinds::counted(self.default);
        self.counted = vec![0];
        for (number, (name, policy)) in (1..).zip(&mut self.namespaces) {
            if !kinds::counts_users(name) {
                *policy = kinds::counted(policy.clone());
                self.counted.push(number);
            }
        }
        self
    }

    /// The same with the channels of an application of Pusher's, which begin with `prefix`: for tests.
    #[must_use]
    pub fn with_app(mut self, prefix: &str) -> Policies {
        let kinds = kinds::names_of_kinds(prefix).map(|name| {
            let (_, kind) = kinds::kind_of(&name).expect("it is the name of one");
            let policy = kinds::policy_of(&self.default, kind);
            (name, policy)
        });
        let kinds: Vec<_> = kinds.collect();
        // Those without a prefix come before all; of the others no namespace has the name.
        let at = if prefix.is_empty() {
            0
        } else {
            self.namespaces.len()
        };
        self.namespaces.splice(at..at, kinds);
        self
    }

    /// The policy for a channel.
    pub fn of(&self, channel: &str) -> &ChannelPolicy {
        self.policy(self.number_of(channel))
    }

    /// The number of a channel's namespace: 0 for those without one.
    pub fn number_of(&self, channel: &str) -> u16 {
        if self.namespaces.is_empty() {
            return 0;
        }
        let names = self.namespaces.iter().map(|(name, _)| name.as_str());
        let found = place_of(names, channel);
        let number = |at: usize| u16::try_from(at + 1).expect("fewer than 2^16 namespaces");
        found.map_or(0, number)
    }

    /// What channels keep, within so many bytes on one reactor.
    pub(crate) fn history(&self, bytes_max: u64) -> HistoryOptions {
        let all = (0..=self.namespaces.len()).map(|number| {
            let number = u16::try_from(number).expect("fewer than 2^16 namespaces");
            history_of(self.policy(number))
        });
        let all: Vec<_> = all.collect();
        if all.iter().all(Option::is_none) {
            return HistoryOptions::default();
        }
        let named = self.names().into_iter().zip(all);
        let namespaces = named.map(|(name, limits)| HistoryNamespace { name, limits });
        HistoryOptions {
            namespaces: namespaces.collect(),
            bytes_max,
        }
    }

    /// Which channels keep presence, within so many bytes on one reactor; what is told of it is told in
    /// these encodings.
    pub(crate) fn presence(&self, bytes_max: u64, encodings: EncodingSet) -> PresenceOptions {
        let all = (0..=self.namespaces.len()).map(|number| {
            let number = u16::try_from(number).expect("fewer than 2^16 namespaces");
            let by_user = number > 0 && {
                let (name, _) = &self.namespaces[usize::from(number) - 1];
                kinds::counts_users(name)
            };
            let tells_counts = self.counted.contains(&number);
            presence_of(self.policy(number), by_user, tells_counts)
        });
        PresenceOptions {
            namespaces: all.collect(),
            bytes_max,
            encodings,
        }
    }

    /// How the names begin that no client may subscribe to, but for those without a namespace.
    pub(crate) fn closed_names(&self) -> impl Iterator<Item = String> {
        let namespaces = self.namespaces.iter();
        let closed = namespaces.filter(|(_, policy)| policy.subscribe != Access::Anyone);
        closed.map(|(name, _)| beginning_of(name).into_owned())
    }

    /// The policy of a namespace, by number.
    pub fn policy(&self, number: u16) -> &ChannelPolicy {
        match number.checked_sub(1) {
            None => &self.default,
            Some(at) => &self.namespaces[usize::from(at)].1,
        }
    }

    /// What is required for an operation on a name, or on all names of a pattern: then the strictest of
    /// the namespaces that it may have names of.
    pub(crate) fn requires(&self, operation: Operation, asked: PatternRef<'_>) -> Requirement {
        let Some(start) = asked.open_start() else {
            return requirement(self.of(asked.text), operation);
        };
        let mut strictest = requirement(&self.default, operation);
        for (name, policy) in &self.namespaces {
            let beginning = beginning_of(name);
            if start.starts_with(&*beginning) {
                return requirement(policy, operation);
            }
            if beginning.starts_with(start) {
                strictest = strictest.max(requirement(policy, operation));
            }
        }
        strictest
    }

    /// Whether there is a namespace in which not all may call and register.
    pub(crate) fn restricts_procedures(&self) -> bool {
        let own = self.namespaces.iter().map(|(_, policy)| policy);
        let mut all = std::iter::once(&self.default).chain(own);
        all.any(|policy| policy.call != Access::Anyone || policy.register != Access::Anyone)
    }

    /// Names by number; the first is empty.
    pub fn names(&self) -> Vec<String> {
        let own = self.namespaces.iter().map(|(name, _)| name.clone());
        std::iter::once(String::new()).chain(own).collect()
    }
}

/// What a namespace promises subscribers that come back.
#[inline]
pub(crate) fn recovers(policy: &ChannelPolicy) -> Recovers {
    match policy.recovery {
        _ if policy.history_messages_max == 0 => Recovers::Nothing,
        Recovery::Off => Recovers::Nothing,
        Recovery::Stream => Recovers::Stream,
        Recovery::Cache => Recovers::Latest,
    }
}

/// What channels of this policy keep.
fn history_of(policy: &ChannelPolicy) -> Option<HistoryLimits> {
    (policy.history_messages_max > 0).then(|| HistoryLimits {
        messages_max: policy.history_messages_max,
        bytes_max: policy.history_bytes_max,
        lifetime: ticks(policy.history_lifetime_ms).max(1),
        // Half of what may wait for a subscriber: what is published meanwhile needs room as well.
        answer_bytes_max: policy.outbox_bytes_max as u64 / 2,
        answer_messages_max: match policy.outbox_messages_max {
            0 => u32::MAX,
            messages_max => messages_max.div_ceil(2),
        },
    })
}

/// How channels of this policy keep presence.
fn presence_of(
    policy: &ChannelPolicy,
    by_user: bool,
    tells_counts: bool,
) -> Option<PresenceLimits> {
    let every = ticks(policy.presence_notify_ms).max(1);
    let told = policy.presence_notify_per_second_max.saturating_mul(every);
    let notify = (policy.join_leave != JoinLeave::Off).then(|| PresenceNotify {
        every,
        changes_max: (told.saturating_mul(TICK_MS) / 1000).max(2),
        linger: ticks(policy.presence_linger_ms),
        is_for_all: policy.join_leave == JoinLeave::All,
        tells_counts,
    });
    let members_max = match policy.presence {
        Presence::Off => return None,
        Presence::Counts => 0,
        Presence::Members => policy.presence_members_max,
    };
    Some(PresenceLimits {
        members_max,
        notify,
        by_user,
    })
}

/// What a policy requires for an operation.
pub(crate) fn requirement(policy: &ChannelPolicy, operation: Operation) -> Requirement {
    let access = match operation {
        Operation::Publish => {
            return match policy.publish {
                Publish::Anyone => Requirement::Anyone,
                Publish::Authenticated => Requirement::Authenticated,
                Publish::Granted => Requirement::Granted,
                Publish::Subscribers => Requirement::Subscribers,
                Publish::Hook => Requirement::Hook,
                Publish::Nobody => Requirement::Nobody,
            };
        }
        Operation::ReadPresence => {
            return match policy.presence_read {
                Readers::Anyone => Requirement::Anyone,
                Readers::Authenticated => Requirement::Authenticated,
                Readers::Granted => Requirement::Granted,
                Readers::Subscribers => Requirement::Subscribers,
                Readers::Nobody => Requirement::Nobody,
            };
        }
        Operation::Subscribe => policy.subscribe,
        Operation::Call => policy.call,
        Operation::Register => policy.register,
    };
    match access {
        Access::Anyone => Requirement::Anyone,
        Access::Authenticated => Requirement::Authenticated,
        Access::Granted => Requirement::Granted,
        Access::Hook => Requirement::Hook,
        Access::Nobody => Requirement::Nobody,
    }
}

/// A policy without limits that a test would meet by chance: for tests.
pub fn policy_for_tests() -> ChannelPolicy {
    ChannelPolicy {
        outbox_bytes_max: 64 << 20,
        ..ChannelPolicy::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration with these namespaces, each with a rate of its own.
    fn listing(names: &[(&str, u32)]) -> config::Settings {
        let namespaces = names.iter().map(|&(name, per_second)| config::Namespace {
            name: name.to_owned(),
            policy: config::ChannelPolicy {
                publish_messages_per_second_max: per_second,
                ..config::ChannelPolicy::default()
            },
        });
        config::Settings {
            namespaces: namespaces.collect(),
            ..config::Settings::default()
        }
    }

    #[test]
    fn policies_stand_at_the_numbers_their_names_have() {
        let load = |from: &config::Settings, before: &NamespaceNumbers| {
            let names = from.namespaces.iter().map(|one| one.name.as_str());
            let numbers = before.reload(names).expect("few names");
            (Policies::numbered(from, &numbers), numbers)
        };
        let rate = |policy: &ChannelPolicy| policy.publish_messages_per_second_max;
        let (first, numbers) = load(
            &listing(&[("chat", 10), ("news", 20)]),
            &NamespaceNumbers::default(),
        );
        assert_eq!(first.names(), ["", "chat", "news"]);
        let (news, chat) = (first.number_of("news:a"), first.number_of("chat:a"));
        assert_eq!(
            (rate(first.policy(chat)), rate(first.policy(news))),
            (10, 20)
        );
        // Another order, one listed no longer, one new.
        let (next, _) = load(&listing(&[("jobs", 5), ("news", 21)]), &numbers);
        assert_eq!(next.names(), ["", "chat", "news", "jobs"]);
        assert_eq!(next.number_of("news:a"), news);
        assert_eq!(rate(next.policy(news)), 21);
        assert_eq!(rate(next.of("jobs:a")), 5);
        assert_eq!((rate(next.of("chat:a")), rate(next.policy(chat))), (0, 0));
        assert_eq!(next.number_of("lobby"), 0);
    }

    /// Where an application asks for it, its channels without members keep at least how many there are.
    #[test]
    fn channels_of_an_application_that_asks_for_it_are_counted() {
        let app = |prefix: &str, subscription_count| config::PusherApp {
            prefix: prefix.to_owned(),
            subscription_count,
            ..config::PusherApp::default()
        };
        let load = |apps: &[config::PusherApp]| {
            let mut from = listing(&[("chat", 0)]);
            from.pusher_apps = apps.to_vec();
            let numbers = NamespaceNumbers::default();
            let numbers = numbers.reload(crate::namespace_names(&from).iter().map(String::as_str));
            Policies::numbered(&from, &numbers.expect("few names"))
        };
        let counted = |policies: &Policies, channel: &str| {
            let (number, policy) = (policies.number_of(channel), policies.of(channel));
            let is_counted = policies.counted.contains(&number);
            let kept = (policy.presence, policy.join_leave);
            match is_counted {
                true => assert_eq!(kept, (Presence::Counts, JoinLeave::Asked), "{channel}"),
                false => assert_ne!(policy.presence, Presence::Counts, "{channel}"),
            }
            is_counted
        };
        let one = load(&[app("shop:", true), app("chat:", false)]);
        for (channel, expected) in [
            ("shop:a", true),
            ("shop:private-a", true),
            ("shop:cache-a", true),
            ("shop:presence-a", false),
            ("chat:a", false),
            ("chat:private-a", false),
            ("lobby", false),
        ] {
            assert_eq!(counted(&one, channel), expected, "{channel}");
        }
        // One without a prefix has all that is no other's.
        let all = load(&[app("", true), app("shop:", false)]);
        for (channel, expected) in [
            ("lobby", true),
            ("private-a", true),
            ("chat:a", true),
            ("presence-a", false),
            ("shop:private-a", false),
        ] {
            assert_eq!(counted(&all, channel), expected, "{channel}");
        }
    }

    #[test]
    fn a_pattern_needs_what_the_strictest_of_its_namespaces_needs() {
        let policy = |register| ChannelPolicy {
            register,
            ..policy_for_tests()
        };
        let policies = Policies {
            default: policy(Access::Authenticated),
            namespaces: vec![
                ("open".to_owned(), policy(Access::Anyone)),
                ("com.shut".to_owned(), policy(Access::Nobody)),
            ],
            counted: Vec::new(),
        };
        let asks =
            |matching, text| policies.requires(Operation::Register, PatternRef { matching, text });
        use Requirement::{Anyone, Authenticated, Nobody};
        use roost_access::Matching::{Exact, Prefix, Wildcard};
        for (matching, text, requires) in [
            (Exact, "open:a", Anyone),
            (Exact, "opened", Authenticated),
            (Exact, "com.shut:a", Nobody),
            (Prefix, "open:", Anyone),
            (Prefix, "open:a.b", Anyone),
            (Prefix, "open", Authenticated),
            (Prefix, "op", Authenticated),
            (Prefix, "com.", Nobody),
            (Prefix, "com.shut", Nobody),
            (Prefix, "com.shut:a", Nobody),
            (Prefix, "com.shutter", Authenticated),
            (Prefix, "com.a", Authenticated),
            (Prefix, "", Nobody),
            (Wildcard, "open:a..b", Anyone),
            (Wildcard, "com..b", Nobody),
            (Wildcard, ".b", Nobody),
            (Wildcard, "com.a", Authenticated),
            (Wildcard, "com.a..b", Authenticated),
        ] {
            assert_eq!(asks(matching, text), requires, "{matching:?} {text:?}");
        }
    }
}
