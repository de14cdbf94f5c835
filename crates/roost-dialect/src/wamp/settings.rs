//! What sessions obey.

use std::borrow::Cow;
use std::sync::Arc;

use roost_access::Authenticator;
use roost_hub::Prefixes;

use crate::check_channel_name;

/// What a session obeys. Shared by all sessions of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether WAMP is served: `/wamp` exists, and its subprotocols are selected when offered.
    pub enabled: bool,
    /// Which realms a client may join that lead to the channels of all.
    pub realms: Realms,
    /// Those with a section of their own.
    pub own_realms: OwnRealms,
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

/// Which realms exist beside [`OwnRealms`]. Such a realm is a name at the door: all of them lead to one
/// channel space, which is also the raw dialect's.
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

/// A realm with a section of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnRealm {
    /// Its name.
    pub name: Box<str>,
    /// What its names begin with outside of it: a loose URI and a dot. Empty: its names are those of all
    /// that have no prefix.
    pub prefix: Box<str>,
    /// Whether a session may be anonymous in it.
    pub anonymous: bool,
    /// Whether a ticket may be a token.
    pub tokens: bool,
    /// Whether clients of other dialects may name what is in it.
    pub other_dialects: bool,
}

/// The realms with a section of their own, numbered from 1 in their order; 0 is any other. They are the
/// same while a server runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnRealms {
    all: Arc<[OwnRealm]>,
    prefixes: Prefixes,
}

impl OwnRealms {
    /// These. No name is there twice, and no prefix begins with another.
    ///
    /// # Panics
    /// With 2^16 realms.
    pub fn new(all: Vec<OwnRealm>) -> OwnRealms {
        let number = |at: usize| u16::try_from(at + 1).expect("fewer than 2^16 realms");
        let prefixes = all.iter().enumerate();
        let prefixes = prefixes.filter(|(_, realm)| !realm.prefix.is_empty());
        OwnRealms {
            prefixes: Prefixes::new(prefixes.map(|(at, realm)| (realm.prefix.clone(), number(at)))),
            all: all.into(),
        }
    }

    /// The prefixes, with the realms' numbers.
    pub fn prefixes(&self) -> &Prefixes {
        &self.prefixes
    }

    /// A realm by its number.
    pub fn get(&self, number: u16) -> Option<&OwnRealm> {
        self.all.get(usize::from(number).checked_sub(1)?)
    }

    fn number_of(&self, name: &str) -> Option<u16> {
        let at = self.all.iter().position(|realm| *realm.name == *name)?;
        u16::try_from(at + 1).ok()
    }
}

impl Settings {
    /// The number of a realm that a client may join.
    pub(super) fn realm_of(&self, name: &str) -> Option<u16> {
        if let Some(number) = self.own_realms.number_of(name) {
            return Some(number);
        }
        let is_listed = match &self.realms {
            Realms::Any => self.own_realms.all.is_empty(),
            Realms::Listed(_) => self.realms.contains(name),
        };
        is_listed.then_some(0)
    }

    /// How the names of a realm's session are read.
    pub(super) fn names(&self, realm: u16) -> Names<'_> {
        let own = self.own_realms.get(realm);
        let prefix = own.map_or("", |realm| &*realm.prefix);
        Names {
            prefix,
            bytes_max: self.channel_name_bytes_max.saturating_sub(prefix.len()),
        }
    }
}

/// The names of a realm: as its sessions have them, and as all else does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'s> {
    prefix: &'s str,
    /// Most bytes of a name without the prefix.
    pub(super) bytes_max: usize,
}

impl<'s> Names<'s> {
    /// Whether a text is a channel's or procedure's name.
    pub(super) fn check(self, name: &str) -> Result<(), &'static str> {
        check_channel_name(name, self.bytes_max).map_err(|error| error.reason())
    }

    /// A name, or the text of a pattern, of the realm as others have it.
    pub(super) fn full<'a>(self, name: Cow<'a, str>) -> Cow<'a, str> {
        match self.prefix {
            "" => name,
            prefix => Cow::Owned([prefix, &*name].concat()),
        }
    }

    /// The reverse.
    pub(super) fn own(self, name: &str) -> &str {
        name.strip_prefix(self.prefix).unwrap_or(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn realm(name: &str, prefix: &str) -> OwnRealm {
        OwnRealm {
            name: name.into(),
            prefix: prefix.into(),
            anonymous: true,
            tokens: true,
            other_dialects: false,
        }
    }

    #[test]
    fn a_realm_is_its_own_or_a_listed_one() {
        let own = OwnRealms::new(vec![realm("open", ""), realm("acme", "acme:.")]);
        let numbers = |realms: Realms, own_realms: &OwnRealms| {
            let settings = Settings {
                realms,
                own_realms: own_realms.clone(),
                ..Settings::default()
            };
            ["open", "acme", "listed", "other"].map(|name| settings.realm_of(name))
        };
        let listed = || Realms::from_list(["listed".to_owned()]);
        let none = OwnRealms::default();
        assert_eq!(numbers(Realms::Any, &none), [Some(0); 4]);
        assert_eq!(numbers(listed(), &none), [None, None, Some(0), None]);
        assert_eq!(numbers(Realms::Any, &own), [Some(1), Some(2), None, None]);
        assert_eq!(numbers(listed(), &own), [Some(1), Some(2), Some(0), None]);
    }

    #[test]
    fn names_of_a_realm_stand_behind_its_prefix() {
        let settings = Settings {
            own_realms: OwnRealms::new(vec![realm("acme", "acme:.")]),
            channel_name_bytes_max: 10,
            ..Settings::default()
        };
        let (all, acme) = (settings.names(0), settings.names(1));
        assert_eq!(
            (all.full("a.b".into()), all.own("a.b")),
            ("a.b".into(), "a.b")
        );
        assert_eq!(acme.full("a.b".into()), "acme:.a.b");
        assert_eq!(acme.own("acme:.a.b"), "a.b");
        assert!(acme.check("a.bc").is_ok() && acme.check("a.bcd").is_err());
        assert!(all.check("a.bcd").is_ok());
    }
}
