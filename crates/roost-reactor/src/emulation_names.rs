//! Names of sessions without a WebSocket, and the requests that wait for the reactor of one.

use std::collections::HashMap;
use std::fmt::Write as _;

use roost_hub::ReactorId;
use roost_net::ConnKey;

use crate::hook_calls::Rest;

/// What a client's request says, on its way to the reactor of its session.
#[derive(Debug)]
pub(crate) struct Relayed {
    /// The connection of the request, on the reactor that it came to.
    pub(crate) asker: ConnKey,
    pub(crate) session: SessionName,
    pub(crate) said: Rest,
}

/// What has become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Taken,
    /// There is no such session.
    Unknown,
    /// So much waits for the session already.
    Busy,
}

/// A session's name, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionName {
    reactor: ReactorId,
    key: ConnKey,
    secret: u128,
}

/// The requests that wait for another reactor, by slot.
#[derive(Default)]
pub(crate) struct Relays {
    waiting: HashMap<u32, Waiting>,
}

/// A request that waits for another reactor.
pub(crate) struct Waiting {
    pub(crate) key: ConnKey,
    pub(crate) minor_version: u8,
    pub(crate) keep_alive: bool,
    /// Of the page that asks.
    pub(crate) origin: Option<Box<str>>,
}

impl SessionName {
    /// Of a connection here; the secret is nobody's else.
    pub(crate) fn new(reactor: ReactorId, key: ConnKey, secret: [u8; 16]) -> SessionName {
        SessionName {
            reactor,
            key,
            secret: u128::from_be_bytes(secret),
        }
    }

    pub(crate) fn reactor(self) -> ReactorId {
        self.reactor
    }

    pub(crate) fn key(self) -> ConnKey {
        self.key
    }

    /// Compares without a look at single digits: how long it takes says nothing of the secret.
    pub(crate) fn is_same(self, other: SessionName) -> bool {
        self.key == other.key && self.secret ^ other.secret == 0
    }

    /// Reads a name as a client gives it.
    pub(crate) fn parse(text: &str) -> Option<SessionName> {
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if text.len() != NAME_BYTES || !is_hex {
            return None;
        }
        let (place, secret) = text.split_at(PLACE_DIGITS);
        let place = u64::from_str_radix(place, 16).ok()?;
        Some(SessionName {
            reactor: ReactorId(u8::try_from(place >> 48).ok()?),
            key: ConnKey::from_bits(place & ((1 << 48) - 1)),
            secret: u128::from_str_radix(secret, 16).ok()?,
        })
    }

    /// As its client is told.
    pub(crate) fn to_text(self) -> String {
        let place = u64::from(self.reactor.0) << 48 | self.key.to_bits();
        let mut text = String::with_capacity(NAME_BYTES);
        let _ = write!(text, "{place:014x}{:032x}", self.secret);
        text
    }
}

impl Relays {
    /// A request waits from now on.
    pub(crate) fn insert(&mut self, waiting: Waiting) {
        self.waiting.insert(waiting.key.slot(), waiting);
    }

    /// A connection waits no longer.
    #[inline]
    pub(crate) fn forget(&mut self, slot: u32) {
        if !self.waiting.is_empty() {
            self.waiting.remove(&slot);
        }
    }

    /// It waits no longer: it is answered. `None` if it is over.
    pub(crate) fn take(&mut self, key: ConnKey) -> Option<Waiting> {
        let waiting = self.waiting.get(&key.slot())?;
        if waiting.key != key {
            return None;
        }
        let waiting = self.waiting.remove(&key.slot());
        if self.waiting.is_empty() && self.waiting.capacity() > WAITING_KEPT {
            self.waiting = HashMap::new();
        }
        waiting
    }
}

/// Hexadecimal digits of a reactor's number and a connection's key.
const PLACE_DIGITS: usize = 14;
const NAME_BYTES: usize = PLACE_DIGITS + 32;
/// Room for so many requests is kept when the last is answered.
const WAITING_KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_was_written() {
        for (reactor, key, secret) in [
            (0, ConnKey::new(0, 0), 0),
            (254, ConnKey::new(u32::MAX, u16::MAX), u128::MAX),
            (3, ConnKey::new(17, 4), 0xabc),
        ] {
            let name = SessionName {
                reactor: ReactorId(reactor),
                key,
                secret,
            };
            assert_eq!(SessionName::parse(&name.to_text()), Some(name));
        }
    }

    #[test]
    fn other_names_are_none() {
        let good = SessionName {
            reactor: ReactorId(0),
            key: ConnKey::new(1, 1),
            secret: 7,
        };
        let good = good.to_text();
        for bad in [
            "",
            "x",
            &good[1..],
            &format!("{good}0"),
            &good.replace('7', "+"),
        ] {
            assert_eq!(SessionName::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn an_answer_is_for_the_request_that_waits_and_for_no_later_one_of_its_slot() {
        let waiting = |key| Waiting {
            key,
            minor_version: 1,
            keep_alive: true,
            origin: None,
        };
        let (before, after) = (ConnKey::new(3, 1), ConnKey::new(3, 2));
        let mut relays = Relays::default();
        relays.insert(waiting(before));
        relays.forget(3);
        assert!(relays.take(before).is_none(), "its connection has ended");
        relays.insert(waiting(after));
        assert!(relays.take(before).is_none(), "of another connection");
        assert!(relays.take(after).is_some());
        assert!(relays.take(after).is_none(), "it is answered once");
    }
}
