//! What sessions obey.

use std::sync::Arc;

use roost_access::Authenticator;

/// What a session obeys. Shared by all sessions of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether WAMP is served: `/wamp` exists, and its subprotocols are selected when offered.
    pub enabled: bool,
    /// Which realms a client may join.
    pub realms: Realms,
    /// Most subscriptions a session may have, those not yet acknowledged included.
    pub subscriptions_per_connection_max: usize,
    /// Who may log in; `None`: all sessions are anonymous, but for those with a token.
    pub users: Option<Users>,
    /// Whether a ticket may be a token, which is checked elsewhere.
    pub takes_tokens: bool,
    /// Longest topic, in bytes of UTF-8.
    pub channel_name_bytes_max: usize,
}

/// What knows the users. Two are equal if they are the same one.
#[derive(Debug, Clone)]
pub struct Users(pub Arc<dyn Authenticator>);

impl PartialEq for Users {
    fn eq(&self, other: &Users) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Users {}

/// Which realms exist. A realm is a name at the door: all of them lead to one channel space, which
/// is also the raw dialect's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Realms {
    /// Any valid URI.
    Any,
    /// These and no others.
    Listed(Vec<String>),
}

impl Default for Realms {
    /// None.
    fn default() -> Realms {
        Realms::Listed(Vec::new())
    }
}

impl Realms {
    /// The configuration's list: `*` stands for any.
    pub fn from_list(names: impl IntoIterator<Item = String>) -> Realms {
        let names = Vec::from_iter(names);
        if names.iter().any(|name| name == "*") {
            Realms::Any
        } else {
            Realms::Listed(names)
        }
    }

    pub(super) fn contains(&self, realm: &str) -> bool {
        match self {
            Realms::Any => true,
            Realms::Listed(names) => names.iter().any(|name| name == realm),
        }
    }
}
