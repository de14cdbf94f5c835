//! Messages a client may send, parsed in one pass. Arguments and ArgumentsKw stay JSON text.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
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

/// Parses one message. The error says in a sentence, of bounded length, which element is wrong and
/// what it should be.
pub(super) fn parse(text: &str) -> Result<Incoming<'_>, String> {
    if !json::depth_within(text, json::DEPTH_MAX) {
        return Err(format!(
            "its arrays and objects are nested more than {} deep.",
            json::DEPTH_MAX
        ));
    }
    let at = Cell::new(At::Start);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let message = IncomingVisitor { at: &at }.deserialize(&mut deserializer);
    let message = message.and_then(|message| deserializer.end().map(|()| message));
    message.map_err(|error| complaint(&error, at.get()))
}

/// Where the parser is in a message.
#[derive(Clone, Copy)]
enum At {
    /// Before or at the message's type.
    Start,
    /// At this element.
    Element(Element),
    /// Where this element should begin; the message ends there.
    Missing(Element),
    /// Behind the last element of this message.
    End(&'static str),
}

/// An element of a message, for people.
#[derive(Clone, Copy)]
struct Element {
    message: &'static str,
    name: &'static str,
    expected: &'static str,
}

fn complaint(error: &serde_json::Error, at: At) -> String {
    let mut detail = error.to_string();
    if let Some((cut, _)) = detail.char_indices().nth(DETAIL_CHARS_MAX) {
        detail.truncate(cut);
        detail.push('…');
    }
    if !error.is_data() {
        return format!("wamp.2.json wants one JSON array, and this is no JSON ({detail}).");
    }
    match at {
        At::Start => format!(
            "a WAMP message is a JSON array that begins with its type, an integer ({detail})."
        ),
        At::Element(Element {
            message,
            name,
            expected,
        }) => format!("{message}.{name} must be {expected} ({detail})."),
        At::Missing(Element { message, name, .. }) => format!(
            "{message}.{name} is missing; expected is {}.",
            shape(message)
        ),
        At::End(message) => format!(
            "{message} has too many elements; expected is {}.",
            shape(message)
        ),
    }
}

/// A message's elements, in the words of the specification.
fn shape(message: &str) -> &'static str {
    match message {
        "HELLO" => "[1, Realm, Details]",
        "ABORT" => "[3, Details, Reason]",
        "GOODBYE" => "[6, Details, Reason]",
        "PUBLISH" => "[16, Request, Options, Topic, Arguments, ArgumentsKw], the last two optional",
        "SUBSCRIBE" => "[32, Request, Options, Topic]",
        "UNSUBSCRIBE" => "[34, Request, Subscription]",
        "CALL" => {
            "[48, Request, Options, Procedure, Arguments, ArgumentsKw], the last two optional"
        }
        "CANCEL" => "[49, Request, Options]",
        "REGISTER" => "[64, Request, Options, Procedure]",
        "UNREGISTER" => "[66, Request, Registration]",
        _ => "another message",
    }
}

#[derive(Clone, Copy)]
struct IncomingVisitor<'c> {
    /// Follows the parser, for the complaint.
    at: &'c Cell<At>,
}

impl<'de> DeserializeSeed<'de> for IncomingVisitor<'_> {
    type Value = Incoming<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for IncomingVisitor<'_> {
    type Value = Incoming<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let Some(code) = seq.next_element::<u64>()? else {
            return Err(de::Error::custom("the array is empty"));
        };
        let message = match code {
            1 => "HELLO",
            3 => "ABORT",
            6 => "GOODBYE",
            16 => "PUBLISH",
            32 => "SUBSCRIBE",
            34 => "UNSUBSCRIBE",
            48 => "CALL",
            49 => "CANCEL",
            64 => "REGISTER",
            66 => "UNREGISTER",
            _ => "a message",
        };
        let at = self.at;
        Items { seq, message, at }.incoming(code)
    }
}

/// The elements of a message behind its type, in order.
struct Items<'c, A> {
    seq: A,
    message: &'static str,
    at: &'c Cell<At>,
}

impl<'de, A: SeqAccess<'de>> Items<'_, A> {
    fn incoming(mut self, code: u64) -> Result<Incoming<'de>, A::Error> {
        let message = match code {
            // [HELLO, Realm|uri, Details|dict]
            1 => Incoming::Hello {
                realm: self.uri("Realm")?,
                details: self.take("Details", "an object")?,
            },
            // [ABORT, Details|dict, Reason|uri]; arguments may follow, by the Advanced Profile.
            3 => {
                self.take::<Dict>("Details", "an object")?;
                self.uri("Reason")?;
                self.skip_rest()?;
                Incoming::Abort
            }
            // [GOODBYE, Details|dict, Reason|uri]
            6 => {
                self.take::<Dict>("Details", "an object")?;
                self.uri("Reason")?;
                self.skip_rest()?;
                Incoming::Goodbye
            }
            // [PUBLISH, Request|id, Options|dict, Topic|uri, Arguments|list, ArgumentsKw|dict]
            16 => Incoming::Publish {
                request: self.id("Request")?,
                options: self.take("Options", "an object")?,
                topic: self.uri("Topic")?,
                args: self.take_raw(b'[', "Arguments", "an array")?,
                kwargs: self.take_raw(b'{', "ArgumentsKw", "an object")?,
            },
            // [SUBSCRIBE, Request|id, Options|dict, Topic|uri]
            32 => Incoming::Subscribe {
                request: self.id("Request")?,
                pattern: self.take("Options", "an object")?,
                topic: self.uri("Topic")?,
            },
            // [UNSUBSCRIBE, Request|id, SUBSCRIBED.Subscription|id]; by the Advanced Profile
            // Options|dict may follow.
            34 => {
                let request = self.id("Request")?;
                let subscription = self.id("Subscription")?;
                self.skip_rest()?;
                Incoming::Unsubscribe {
                    request,
                    subscription,
                }
            }
            // [CALL | REGISTER | UNREGISTER, Request|id, …]
            48 | 64 | 66 => {
                let request = self.id("Request")?;
                self.skip_rest()?;
                Incoming::ToDealer { code, request }
            }
            // [CANCEL, CALL.Request|id, Options|dict]
            49 => {
                self.id("Request")?;
                self.skip_rest()?;
                Incoming::Cancel
            }
            _ => {
                self.skip_rest()?;
                Incoming::Unexpected { code }
            }
        };
        self.at.set(At::End(self.message));
        match self.seq.next_element::<IgnoredAny>()? {
            None => Ok(message),
            Some(_) => Err(de::Error::custom("more elements")),
        }
    }

    /// The next element, which must be there.
    fn take<T: Deserialize<'de>>(
        &mut self,
        name: &'static str,
        expected: &'static str,
    ) -> Result<T, A::Error> {
        let element = self.begin(name, expected);
        let Some(item) = self.seq.next_element()? else {
            self.at.set(At::Missing(element));
            return Err(de::Error::custom("too few elements"));
        };
        Ok(item)
    }

    fn id(&mut self, name: &'static str) -> Result<u64, A::Error> {
        Ok(self.take::<Id>(name, "an integer from 1 to 2^53")?.0)
    }

    fn uri(&mut self, name: &'static str) -> Result<Cow<'de, str>, A::Error> {
        Ok(self.take::<Text<'de>>(name, "a string")?.0)
    }

    /// The JSON text of the next element if it is there and not null; it must begin with `open`.
    fn take_raw(
        &mut self,
        open: u8,
        name: &'static str,
        expected: &'static str,
    ) -> Result<Option<&'de str>, A::Error> {
        self.begin(name, expected);
        let Some(raw) = self.seq.next_element::<&RawValue>()? else {
            return Ok(None);
        };
        let text = raw.get();
        match text.as_bytes().first() {
            Some(&first) if first == open => Ok(Some(text)),
            Some(b'n') => Ok(None),
            Some(b'[') => Err(de::Error::custom("found an array")),
            Some(b'{') => Err(de::Error::custom("found an object")),
            Some(b'"') => Err(de::Error::custom("found a string")),
            _ => Err(de::Error::custom("found a number or a boolean")),
        }
    }

    fn begin(&self, name: &'static str, expected: &'static str) -> Element {
        let message = self.message;
        let element = Element {
            message,
            name,
            expected,
        };
        self.at.set(At::Element(element));
        element
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

/// The value of a key that has this form, or an error that says so.
fn value<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    map: &mut A,
    form: &'static str,
) -> Result<T, A::Error> {
    map.next_value().map_err(|_| de::Error::custom(form))
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
            "roles" => {
                self.has_role =
                    value::<Roles, A>(map, "roles must be an object of objects")?.known > 0
            }
            "authrole" => {
                let role = value::<Option<Text<'de>>, A>(map, "authrole must be a string")?;
                self.authrole = role.map(|role| role.0);
            }
            "authmethods" => {
                let form = "authmethods must be an array of strings";
                let methods = value::<Option<AuthMethods>, A>(map, form)?;
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
        match key {
            "acknowledge" => {
                let form = "acknowledge must be true or false";
                self.acknowledge = value::<Option<bool>, A>(map, form)?.unwrap_or(false);
            }
            "exclude_me" => {
                let form = "exclude_me must be true or false";
                self.exclude_me = value::<Option<bool>, A>(map, form)?.unwrap_or(true);
            }
            "disclose_me" => {
                let form = "disclose_me must be true or false";
                self.disclose_me = value::<Option<bool>, A>(map, form)?.unwrap_or(false);
            }
            // An empty black list excludes none; an empty white list lets none in.
            "exclude" | "exclude_authid" | "exclude_authrole" => {
                let form = "exclude, exclude_authid and exclude_authrole must be arrays";
                let list = value::<Option<Vec<IgnoredAny>>, A>(map, form)?;
                self.unsupported |= list.is_some_and(|list| !list.is_empty());
            }
            "eligible" | "eligible_authid" | "eligible_authrole" => {
                let form = "eligible, eligible_authid and eligible_authrole must be arrays";
                self.unsupported |= value::<Option<Vec<IgnoredAny>>, A>(map, form)?.is_some();
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
        let form = "match must be exact, prefix or wildcard";
        let policy = value::<Option<Text<'de>>, A>(map, form)?;
        *self = match policy.as_ref().map(|policy| policy.0.as_ref()) {
            None | Some("exact") => Match::Exact,
            Some("prefix") => Match::Prefix,
            Some("wildcard") => Match::Wildcard,
            Some(_) => return Err(de::Error::custom(form)),
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

/// Longest part of the parser's own words that is sent back, in characters.
const DETAIL_CHARS_MAX: usize = 120;
