//! What a channel's name says of it: who may subscribe, and what a subscription brings.

/// What a channel is, by the beginning of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// The beginning of the name.
    pub prefix: &'static str,
    /// A subscription is to be signed by the application.
    pub is_private: bool,
    /// Its subscribers know of each other.
    pub has_members: bool,
    /// What is published is for subscribers alone to read, and no client may publish.
    pub is_encrypted: bool,
    /// It remembers its last event.
    pub is_cached: bool,
}

/// What a channel is called that leads to one user's connections, before the user's id.
pub const SERVER_TO_USER: &str = "#server-to-user-";

/// All kinds that are not plain, the longer beginnings before the shorter ones.
pub const KINDS: [Kind; 7] = [
    kind("private-encrypted-cache-", [true, false, true, true]),
    kind("private-encrypted-", [true, false, true, false]),
    kind("private-cache-", [true, false, false, true]),
    kind("presence-cache-", [true, true, false, true]),
    kind("private-", [true, false, false, false]),
    kind("presence-", [true, true, false, false]),
    kind("cache-", [false, false, false, true]),
];

impl Kind {
    /// A channel that anyone may subscribe to.
    pub const PLAIN: Kind = kind("", [false; 4]);

    /// Of a channel's name, without an application's prefix.
    pub fn of(channel: &str) -> Kind {
        let kinds = KINDS.iter().find(|kind| channel.starts_with(kind.prefix));
        kinds.copied().unwrap_or(Kind::PLAIN)
    }

    /// Whether its subscribers may publish, where the application allows it.
    pub fn takes_client_events(self) -> bool {
        self.is_private && !self.is_encrypted
    }
}

const fn kind(
    prefix: &'static str,
    [is_private, has_members, is_encrypted, is_cached]: [bool; 4],
) -> Kind {
    Kind {
        prefix,
        is_private,
        has_members,
        is_encrypted,
        is_cached,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_told_by_the_longest_beginning() {
        for (name, prefix) in [
            ("lobby", ""),
            ("private", ""),
            ("private-", "private-"),
            ("private-a", "private-"),
            ("private-encrypted", "private-"),
            ("private-encrypted-a", "private-encrypted-"),
            ("private-encrypted-cache-a", "private-encrypted-cache-"),
            ("private-cache-a", "private-cache-"),
            ("presence-a", "presence-"),
            ("presence-cache-a", "presence-cache-"),
            ("cache-a", "cache-"),
            ("Private-a", ""),
            ("#server-to-user-1", ""),
        ] {
            assert_eq!(Kind::of(name).prefix, prefix, "{name}");
        }
        let takes = KINDS.map(|kind| kind.takes_client_events());
        assert_eq!(takes, [false, false, true, true, true, true, false]);
        // The first that fits is the longest.
        for (at, kind) in KINDS.iter().enumerate() {
            let before = &KINDS[..at];
            assert!(!before.iter().any(|one| kind.prefix.starts_with(one.prefix)));
        }
    }
}
