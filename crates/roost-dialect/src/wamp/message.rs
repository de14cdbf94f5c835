//! Messages a client may send, parsed in one pass. Arguments and ArgumentsKw stay JSON text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::{self, Text};

/// A message from a client, by shape. What it may do and when is the session's matter.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming<'a> {
    Hello {
        realm: Cow<'a, str>,
        details: HelloDetails<'a>,
    },
    Abort,
    Goodbye,
    Publish {
        request: u64,
        options: PublishOptions,
        topic: Cow<'a, str>,
        args: Option<&'a str>,
        kwargs: Option<&'a str>,
    },
    Subscribe {
        request: u64,
        pattern: Match,
        topic: Cow<'a, str>,
    },
    Unsubscribe {
        request: u64,
        subscription: u64,
    },
    /// CALL, REGISTER or UNREGISTER: for a dealer, which this router is not.
    ToDealer {
        code: u64,
        request: u64,
    },
    /// CANCEL of a call that was never accepted.
    Cancel,
    /// Any other number: a message only routers send, or none at all.
    Unexpected {
        code: u64,
    },
}

/// `HELLO.Details`, as far as it matters here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct HelloDetails<'a> {
    /// At least one role of publisher, subscriber, caller and callee is announced.
    pub(super) has_role: bool,
    /// Authentication methods are listed, and `anonymous` is not among them.
    pub(super) wants_authentication: bool,
    /// The role asked for.
    pub(super) authrole: Option<Cow<'a, str>>,
}

/// `PUBLISH.Options`, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PublishOptions {
    pub(super) acknowledge: bool,
    pub(super) exclude_me: bool,
    pub(super) disclose_me: bool,
    /// Receivers are restricted (`eligible*`, `exclude*`) or the payload is packed (`ppt_*`,
    /// `enc_*`): not known here, and to ignore it would be worse than to refuse.
    pub(super) unsupported: bool,
}

/// `SUBSCRIBE.Options.match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    Exact,
    Prefix,
    Wildcard,
}

/// Parses one message. The error is a line for a person, of bounded length.
pub(super) fn parse(text: &str) -> Result<Incoming<'_>, String> {
    if !json::depth_within(text, json::DEPTH_MAX) {
        return Err(format!("nested more than {} deep", json::DEPTH_MAX));
    }
    serde_json::from_str(text).map_err(|error| {
        let mut line = error.to_string();
        if let Some((cut, _)) = line.char_indices().nth(ERROR_CHARS_MAX) {
            line.truncate(cut);
        }
        line
    })
}

impl<'de> Deserialize<'de> for Incoming<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(IncomingVisitor)
    }
}

struct IncomingVisitor;

impl<'de> Visitor<'de> for IncomingVisitor {
    type Value = Incoming<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a WAMP message, which is an array that starts with its type")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Items { seq, taken: 0 };
        let code = items.take::<u64>()?;
        let message = match code {
            // [HELLO, Realm|uri, Details|dict]
            1 => Incoming::Hello {
                realm: items.take::<Text<'_>>()?.0,
                details: items.take()?,
            },
            // [ABORT, Details|dict, Reason|uri]
            3 => {
                items.take::<Dict>()?;
                items.take::<Text<'_>>()?;
                // Arguments may follow, by the Advanced Profile.
                items.skip_rest()?;
                Incoming::Abort
            }
            // [GOODBYE, Details|dict, Reason|uri]
            6 => {
                items.take::<Dict>()?;
                items.take::<Text<'_>>()?;
                items.skip_rest()?;
                Incoming::Goodbye
            }
            // [PUBLISH, Request|id, Options|dict, Topic|uri, Arguments|list, ArgumentsKw|dict]
            16 => Incoming::Publish {
                request: items.take::<Id>()?.0,
                options: items.take()?,
                topic: items.take::<Text<'_>>()?.0,
                args: items.take_raw(b'[', "Arguments to be an array")?,
                kwargs: items.take_raw(b'{', "ArgumentsKw to be an object")?,
            },
            // [SUBSCRIBE, Request|id, Options|dict, Topic|uri]
            32 => Incoming::Subscribe {
                request: items.take::<Id>()?.0,
                pattern: items.take()?,
                topic: items.take::<Text<'_>>()?.0,
            },
            // [UNSUBSCRIBE, Request|id, SUBSCRIBED.Subscription|id]; by the Advanced Profile
            // Options|dict may follow.
            34 => {
                let request = items.take::<Id>()?.0;
                let subscription = items.take::<Id>()?.0;
                items.skip_rest()?;
                Incoming::Unsubscribe {
                    request,
                    subscription,
                }
            }
            // [CALL | REGISTER | UNREGISTER, Request|id, …]
            48 | 64 | 66 => {
                let request = items.take::<Id>()?.0;
                items.skip_rest()?;
                Incoming::ToDealer { code, request }
            }
            // [CANCEL, CALL.Request|id, Options|dict]
            49 => {
                items.take::<Id>()?;
                items.skip_rest()?;
                Incoming::Cancel
            }
            _ => {
                items.skip_rest()?;
                Incoming::Unexpected { code }
            }
        };
        // serde_json refuses what is left over.
        Ok(message)
    }
}

/// The elements of a message, in order.
struct Items<A> {
    seq: A,
    taken: usize,
}

impl<'de, A: SeqAccess<'de>> Items<A> {
    /// The next element, which must be there.
    fn take<T: Deserialize<'de>>(&mut self) -> Result<T, A::Error> {
        let Some(item) = self.seq.next_element()? else {
            return Err(de::Error::invalid_length(self.taken, &"a longer message"));
        };
        self.taken += 1;
        Ok(item)
    }

    /// The JSON text of the next element if it is there and not null; it must begin with `open`.
    fn take_raw(&mut self, open: u8, expected: &'static str) -> Result<Option<&'de str>, A::Error> {
        let Some(raw) = self.seq.next_element::<&RawValue>()? else {
            return Ok(None);
        };
        let text = raw.get();
        match text.as_bytes().first() {
            Some(&first) if first == open => Ok(Some(text)),
            Some(b'n') => Ok(None),
            _ => Err(de::Error::custom(expected)),
        }
    }

    fn skip_rest(&mut self) -> Result<(), A::Error> {
        while self.seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// An ID: WAMP, "IDs": an integer from 1 to 2^53.
struct Id(u64);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = u64::deserialize(deserializer)?;
        if !(1..=ID_MAX).contains(&id) {
            let found = de::Unexpected::Unsigned(id);
            return Err(de::Error::invalid_value(found, &"an ID from 1 to 2^53"));
        }
        Ok(Id(id))
    }
}

/// Deserializes a JSON object by handing each key to [`FromDict::entry`]. A derived struct would
/// take an array as well.
trait FromDict<'de>: Sized {
    fn start() -> Self;

    /// Takes the value of `key` from `map`, whatever it does with it.
    fn entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error>;
}

struct DictVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: FromDict<'de>> Visitor<'de> for DictVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut value = T::start();
        while let Some(Text(key)) = map.next_key()? {
            value.entry(&key, &mut map)?;
        }
        Ok(value)
    }
}

fn dict<'de, T: FromDict<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_map(DictVisitor(std::marker::PhantomData))
}

fn skip_value<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(|_| ())
}

/// An object of which nothing is wanted.
struct Dict;

impl<'de> FromDict<'de> for Dict {
    fn start() -> Dict {
        Dict
    }

    fn entry<A: MapAccess<'de>>(&mut self, _key: &str, map: &mut A) -> Result<(), A::Error> {
        skip_value(map)
    }
}

impl<'de> Deserialize<'de> for Dict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        dict(deserializer)
    }
}

impl<'de> FromDict<'de> for HelloDetails<'de> {
    fn start() -> Self {
        HelloDetails::default()
    }

    fn entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "roles" => self.has_role = map.next_value::<Roles>()?.known > 0,
            "authrole" => {
                self.authrole = map.next_value::<Option<Text<'de>>>()?.map(|role| role.0);
            }
            "authmethods" => {
                let methods = map.next_value::<Option<AuthMethods>>()?;
                self.wants_authentication = methods.is_some_and(|methods| !methods.anonymous);
            }
            _ => skip_value(map)?,
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for HelloDetails<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        dict(deserializer)
    }
}

/// `HELLO.Details.authmethods`, read without keeping them.
struct AuthMethods {
    /// The list is empty or has `anonymous`.
    anonymous: bool,
}

impl<'de> Deserialize<'de> for AuthMethods {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(AuthMethodsVisitor)
    }
}

struct AuthMethodsVisitor;

impl<'de> Visitor<'de> for AuthMethodsVisitor {
    type Value = AuthMethods;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of strings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<AuthMethods, A::Error> {
        let mut count = 0;
        let mut anonymous = false;
        while let Some(Text(method)) = seq.next_element()? {
            count += 1;
            anonymous |= method == "anonymous";
        }
        Ok(AuthMethods {
            anonymous: anonymous || count == 0,
        })
    }
}

/// `HELLO.Details.roles`.
struct Roles {
    known: usize,
}

impl<'de> FromDict<'de> for Roles {
    fn start() -> Roles {
        Roles { known: 0 }
    }

    fn entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        if matches!(key, "publisher" | "subscriber" | "caller" | "callee") {
            self.known += 1;
        }
        map.next_value::<Dict>().map(|_| ())
    }
}

impl<'de> Deserialize<'de> for Roles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        dict(deserializer)
    }
}

impl<'de> FromDict<'de> for PublishOptions {
    fn start() -> Self {
        PublishOptions {
            acknowledge: false,
            // WAMP, "Publisher Exclusion": a publisher does not receive what it publishes unless
            // it says so.
            exclude_me: true,
            disclose_me: false,
            unsupported: false,
        }
    }

    fn entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        let mut flag = |default| Ok(map.next_value::<Option<bool>>()?.unwrap_or(default));
        match key {
            "acknowledge" => self.acknowledge = flag(false)?,
            "exclude_me" => self.exclude_me = flag(true)?,
            "disclose_me" => self.disclose_me = flag(false)?,
            // An empty black list excludes nobody; an empty white list lets nobody in.
            "exclude" | "exclude_authid" | "exclude_authrole" => {
                let list = map.next_value::<Option<Vec<IgnoredAny>>>()?;
                self.unsupported |= list.is_some_and(|list| !list.is_empty());
            }
            "eligible" | "eligible_authid" | "eligible_authrole" => {
                let list = map.next_value::<Option<Vec<IgnoredAny>>>()?;
                self.unsupported |= list.is_some();
            }
            _ if key.starts_with("ppt_") || key.starts_with("enc_") => {
                self.unsupported |= map.next_value::<Option<IgnoredAny>>()?.is_some();
            }
            _ => skip_value(map)?,
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for PublishOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        dict(deserializer)
    }
}

impl<'de> FromDict<'de> for Match {
    fn start() -> Self {
        Match::Exact
    }

    fn entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        if key != "match" {
            return skip_value(map);
        }
        let policy = map.next_value::<Option<Text<'de>>>()?;
        *self = match policy.as_ref().map(|policy| policy.0.as_ref()) {
            None | Some("exact") => Match::Exact,
            Some("prefix") => Match::Prefix,
            Some("wildcard") => Match::Wildcard,
            Some(other) => {
                let found = de::Unexpected::Str(other);
                let expected = &"match to be exact, prefix or wildcard";
                return Err(de::Error::invalid_value(found, expected));
            }
        };
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Match {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        dict(deserializer)
    }
}

/// WAMP, "IDs": the largest integer below which a double holds all integers.
const ID_MAX: u64 = 1 << 53;

/// Longest part of a parser's complaint that is sent back, in characters.
const ERROR_CHARS_MAX: usize = 160;
