//! Messages read in one pass, out of any serializer. Arguments and ArgumentsKw stay bytes.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::Arguments;
use crate::json::{self, Text};
use crate::serial::{CborTokens, MsgPackTokens, Raw, ReadError, Reader, Serializer, Tokens};
use crate::wamp::dict::Sparse;
use crate::wamp::message::WampMessage;
use crate::wamp::options::{
    CallOptions, EventDetails, InvocationDetails, PublishOptions, Reasons, ResultDetails,
};

/// Reads a message in JSON.
///
/// # Errors
/// A sentence, of bounded length, that says which element is wrong and what it should be.
pub fn parse_json(text: &str) -> Result<WampMessage<'_>, String> {
    if !json::depth_within(text, json::DEPTH_MAX) {
        return Err(format!(
            "its arrays and objects are nested more than {} deep.",
            json::DEPTH_MAX
        ));
    }
    let at = Cell::new(At::Start);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let message = MessageVisitor::<Json>::new(&at).deserialize(&mut deserializer);
    let message = message.and_then(|message| deserializer.end().map(|()| message));
    message.map_err(|error| complaint(&error, Serializer::Json, !error.is_data(), at.get()))
}

/// The same in MessagePack.
///
/// # Errors
/// As for JSON.
pub fn parse_msgpack(bytes: &[u8]) -> Result<WampMessage<'_>, String> {
    parse_tokens::<MsgPack, _>(MsgPackTokens(bytes))
}

/// The same in CBOR.
///
/// # Errors
/// As for JSON.
pub fn parse_cbor(bytes: &[u8]) -> Result<WampMessage<'_>, String> {
    parse_tokens::<Cbor, _>(CborTokens(bytes))
}

fn parse_tokens<'a, F: Format<'a>, T: Tokens<'a>>(tokens: T) -> Result<WampMessage<'a>, String> {
    let at = Cell::new(At::Start);
    let mut reader = Reader::new(tokens);
    let message = MessageVisitor::<F>::new(&at).deserialize(&mut reader);
    let message = message.and_then(|message| reader.end().map(|()| message));
    message.map_err(|error| {
        let is_malformed = matches!(error, ReadError::Malformed(_));
        complaint(&error, F::SERIALIZER, is_malformed, at.get())
    })
}

/// A serializer as the reader of messages knows it.
trait Format<'de> {
    const SERIALIZER: Serializer;

    /// A value, checked and unparsed.
    type Raw: Deserialize<'de>;

    /// Its bytes, and its kind.
    fn look(raw: Self::Raw) -> (&'de [u8], Kind);
}

/// What kind of value stands where Arguments may.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Array,
    Map,
    Text,
    Bytes,
    Other,
}

struct Json;
struct MsgPack;
struct Cbor;

impl<'de> Format<'de> for Json {
    const SERIALIZER: Serializer = Serializer::Json;

    type Raw = &'de RawValue;

    fn look(raw: &'de RawValue) -> (&'de [u8], Kind) {
        let bytes = raw.get().as_bytes();
        let kind = match bytes.first() {
            Some(b'[') => Kind::Array,
            Some(b'{') => Kind::Map,
            Some(b'n') => Kind::Null,
            Some(b'"') => Kind::Text,
            _ => Kind::Other,
        };
        (bytes, kind)
    }
}

impl<'de> Format<'de> for MsgPack {
    const SERIALIZER: Serializer = Serializer::MsgPack;

    type Raw = Raw<'de>;

    fn look(Raw(bytes): Raw<'de>) -> (&'de [u8], Kind) {
        let kind = match bytes.first() {
            Some(0x90..=0x9f | 0xdc | 0xdd) => Kind::Array,
            Some(0x80..=0x8f | 0xde | 0xdf) => Kind::Map,
            Some(0xc0) => Kind::Null,
            Some(0xa0..=0xbf | 0xd9..=0xdb) => Kind::Text,
            Some(0xc4..=0xc6) => Kind::Bytes,
            _ => Kind::Other,
        };
        (bytes, kind)
    }
}

impl<'de> Format<'de> for Cbor {
    const SERIALIZER: Serializer = Serializer::Cbor;

    type Raw = Raw<'de>;

    fn look(Raw(bytes): Raw<'de>) -> (&'de [u8], Kind) {
        let kind = match bytes.first() {
            Some(0x80..=0x9f) => Kind::Array,
            Some(0xa0..=0xbf) => Kind::Map,
            Some(0xf6 | 0xf7) => Kind::Null,
            Some(0x60..=0x7f) => Kind::Text,
            Some(0x40..=0x5f) => Kind::Bytes,
            _ => Kind::Other,
        };
        (bytes, kind)
    }
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

/// The sentence for an error.
fn complaint(
    error: &impl fmt::Display,
    serializer: Serializer,
    is_malformed: bool,
    at: At,
) -> String {
    let mut detail = error.to_string();
    if let Some((cut, _)) = detail.char_indices().nth(DETAIL_CHARS_MAX) {
        detail.truncate(cut);
        detail.push('…');
    }
    let name = serializer.name();
    if is_malformed {
        let wants = match serializer {
            Serializer::Json => "wamp.2.json wants one JSON array",
            Serializer::MsgPack => "wamp.2.msgpack wants one MessagePack array",
            Serializer::Cbor => "wamp.2.cbor wants one CBOR array",
        };
        return format!("{wants}, and this is no {name} ({detail}).");
    }
    match at {
        At::Start => format!(
            "a WAMP message is a {name} array that begins with its type, an integer ({detail})."
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

/// The names of the message types.
fn name(code: u64) -> &'static str {
    match code {
        1 => "HELLO",
        2 => "WELCOME",
        3 => "ABORT",
        4 => "CHALLENGE",
        5 => "AUTHENTICATE",
        6 => "GOODBYE",
        8 => "ERROR",
        16 => "PUBLISH",
        17 => "PUBLISHED",
        32 => "SUBSCRIBE",
        33 => "SUBSCRIBED",
        34 => "UNSUBSCRIBE",
        35 => "UNSUBSCRIBED",
        36 => "EVENT",
        337 => "EVENT_RECEIVED",
        48 => "CALL",
        49 => "CANCEL",
        50 => "RESULT",
        64 => "REGISTER",
        65 => "REGISTERED",
        66 => "UNREGISTER",
        67 => "UNREGISTERED",
        68 => "INVOCATION",
        69 => "INTERRUPT",
        70 => "YIELD",
        _ => "a message",
    }
}

/// A message's elements, in the words of the specification.
fn shape(message: &str) -> &'static str {
    match message {
        "HELLO" => "[1, Realm, Details]",
        "WELCOME" => "[2, Session, Details]",
        "ABORT" => "[3, Details, Reason]",
        "CHALLENGE" => "[4, AuthMethod, Extra]",
        "AUTHENTICATE" => "[5, Signature, Extra]",
        "GOODBYE" => "[6, Details, Reason]",
        "ERROR" => {
            "[8, Type, Request, Details, Error, Arguments, ArgumentsKw], the last two optional"
        }
        "PUBLISH" => "[16, Request, Options, Topic, Arguments, ArgumentsKw], the last two optional",
        "PUBLISHED" => "[17, Request, Publication]",
        "SUBSCRIBE" => "[32, Request, Options, Topic]",
        "SUBSCRIBED" => "[33, Request, Subscription]",
        "UNSUBSCRIBE" => "[34, Request, Subscription]",
        "UNSUBSCRIBED" => "[35, Request]",
        "EVENT" => {
            "[36, Subscription, Publication, Details, Arguments, ArgumentsKw], the last two optional"
        }
        "EVENT_RECEIVED" => "[337, Publication]",
        "CALL" => {
            "[48, Request, Options, Procedure, Arguments, ArgumentsKw], the last two optional"
        }
        "CANCEL" => "[49, Request, Options]",
        "RESULT" => "[50, Request, Details, Arguments, ArgumentsKw], the last two optional",
        "REGISTER" => "[64, Request, Options, Procedure]",
        "REGISTERED" => "[65, Request, Registration]",
        "UNREGISTER" => "[66, Request, Registration]",
        "UNREGISTERED" => "[67, Request]",
        "INVOCATION" => {
            "[68, Request, Registration, Details, Arguments, ArgumentsKw], the last two optional"
        }
        "INTERRUPT" => "[69, Request, Options]",
        "YIELD" => "[70, Request, Options, Arguments, ArgumentsKw], the last two optional",
        _ => "another message",
    }
}

struct MessageVisitor<'c, F> {
    /// Follows the parser, for the complaint.
    at: &'c Cell<At>,
    format: std::marker::PhantomData<F>,
}

impl<'c, F> MessageVisitor<'c, F> {
    fn new(at: &'c Cell<At>) -> Self {
        let format = std::marker::PhantomData;
        MessageVisitor { at, format }
    }
}

impl<'de, F: Format<'de>> DeserializeSeed<'de> for MessageVisitor<'_, F> {
    type Value = WampMessage<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: Format<'de>> Visitor<'de> for MessageVisitor<'_, F> {
    type Value = WampMessage<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let Some(code) = seq.next_element::<u64>()? else {
            return Err(de::Error::custom("the array is empty"));
        };
        let (message, at, format) = (name(code), self.at, self.format);
        Items {
            seq,
            message,
            at,
            format,
        }
        .message(code)
    }
}

/// The elements of a message behind its type, in order.
struct Items<'c, A, F> {
    seq: A,
    message: &'static str,
    at: &'c Cell<At>,
    format: std::marker::PhantomData<F>,
}

impl<'de, A: SeqAccess<'de>, F: Format<'de>> Items<'_, A, F> {
    fn message(mut self, code: u64) -> Result<WampMessage<'de>, A::Error> {
        let message = match code {
            16 => {
                let request = self.id("Request")?;
                let options: PublishOptions<'de> = self.take("Options", "an object")?;
                let topic = self.uri("Topic")?;
                let more = options.more.get();
                let is_packed = more.is_some_and(|more| more.enc_algo.is_some());
                WampMessage::Publish {
                    request,
                    topic,
                    arguments: self.arguments(is_packed)?,
                    options,
                }
            }
            32..=36 | 17 | 337 => self.of_broker(code)?,
            48..=50 | 64..=70 => self.of_dealer(code)?,
            1..=6 | 8 => self.of_session(code)?,
            _ => {
                self.skip_rest()?;
                WampMessage::Unknown { code }
            }
        };
        self.at.set(At::End(self.message));
        match self.seq.next_element::<IgnoredAny>()? {
            None => Ok(message),
            Some(_) => Err(de::Error::custom("more elements")),
        }
    }

    fn of_session(&mut self, code: u64) -> Result<WampMessage<'de>, A::Error> {
        Ok(match code {
            1 => WampMessage::Hello {
                realm: self.uri("Realm")?,
                details: self.take("Details", "an object")?,
            },
            2 => WampMessage::Welcome {
                session: self.id("Session")?,
                details: self.take("Details", "an object")?,
            },
            // Arguments may follow, by the Advanced Profile.
            3 | 6 => {
                let details = self.take("Details", "an object")?;
                let reason = self.uri("Reason")?;
                self.skip_rest()?;
                match code {
                    3 => WampMessage::Abort { details, reason },
                    _ => WampMessage::Goodbye { details, reason },
                }
            }
            4 => WampMessage::Challenge {
                method: self.text("AuthMethod")?,
                extra: self.take("Extra", "an object")?,
            },
            5 => WampMessage::Authenticate {
                signature: self.text("Signature")?,
                extra: self.take("Extra", "an object")?,
            },
            _ => {
                let request_type = self.take("Type", "an integer")?;
                let request = self.id("Request")?;
                let details: Sparse<Reasons<'de>> = self.take("Details", "an object")?;
                let is_packed = details.get().is_some_and(|it| it.enc_algo.is_some());
                WampMessage::Error {
                    request_type,
                    request,
                    details,
                    error: self.uri("Error")?,
                    arguments: self.arguments(is_packed)?,
                }
            }
        })
    }

    fn of_broker(&mut self, code: u64) -> Result<WampMessage<'de>, A::Error> {
        Ok(match code {
            17 => WampMessage::Published {
                request: self.id("Request")?,
                publication: self.id("Publication")?,
            },
            32 => WampMessage::Subscribe {
                request: self.id("Request")?,
                options: self.take("Options", "an object")?,
                topic: self.uri("Topic")?,
            },
            33 => WampMessage::Subscribed {
                request: self.id("Request")?,
                subscription: self.id("Subscription")?,
            },
            // By the Advanced Profile Options|dict may follow.
            34 => {
                let request = self.id("Request")?;
                let subscription = self.id("Subscription")?;
                self.skip_rest()?;
                WampMessage::Unsubscribe {
                    request,
                    subscription,
                }
            }
            35 => WampMessage::Unsubscribed {
                request: self.take("Request", "an integer")?,
                details: self.optional("Details", "an object")?,
            },
            36 => {
                let subscription = self.id("Subscription")?;
                let publication = self.id("Publication")?;
                let details: Sparse<EventDetails<'de>> = self.take("Details", "an object")?;
                let is_packed = details.get().is_some_and(|it| it.enc_algo.is_some());
                WampMessage::Event {
                    subscription,
                    publication,
                    details,
                    arguments: self.arguments(is_packed)?,
                }
            }
            _ => WampMessage::EventReceived {
                publication: self.id("Publication")?,
            },
        })
    }

    fn of_dealer(&mut self, code: u64) -> Result<WampMessage<'de>, A::Error> {
        let request = match code {
            67 => self.take("Request", "an integer")?,
            _ => self.id("Request")?,
        };
        Ok(match code {
            48 => {
                let options: Sparse<CallOptions<'de>> = self.take("Options", "an object")?;
                let is_packed = options.get().is_some_and(|it| it.enc_algo.is_some());
                WampMessage::Call {
                    request,
                    options,
                    procedure: self.uri("Procedure")?,
                    arguments: self.arguments(is_packed)?,
                }
            }
            49 => WampMessage::Cancel {
                request,
                options: self.take("Options", "an object")?,
            },
            50 | 70 => self.of_result(code, request)?,
            64 => WampMessage::Register {
                request,
                options: self.take("Options", "an object")?,
                procedure: self.uri("Procedure")?,
            },
            65 => WampMessage::Registered {
                request,
                registration: self.id("Registration")?,
            },
            66 => {
                let registration = self.id("Registration")?;
                self.skip_rest()?;
                WampMessage::Unregister {
                    request,
                    registration,
                }
            }
            67 => WampMessage::Unregistered {
                request,
                details: self.optional("Details", "an object")?,
            },
            68 => {
                let registration = self.id("Registration")?;
                let details: Sparse<InvocationDetails<'de>> = self.take("Details", "an object")?;
                let is_packed = details.get().is_some_and(|it| it.enc_algo.is_some());
                WampMessage::Invocation {
                    request,
                    registration,
                    details,
                    arguments: self.arguments(is_packed)?,
                }
            }
            _ => WampMessage::Interrupt {
                request,
                options: self.take("Options", "an object")?,
            },
        })
    }

    /// RESULT or YIELD, which differ in a name.
    fn of_result(&mut self, code: u64, request: u64) -> Result<WampMessage<'de>, A::Error> {
        let name = if code == 50 { "Details" } else { "Options" };
        let details: Sparse<ResultDetails<'de>> = self.take(name, "an object")?;
        let is_packed = details.get().is_some_and(|it| it.enc_algo.is_some());
        let arguments = self.arguments(is_packed)?;
        Ok(match code {
            50 => WampMessage::Result {
                request,
                details,
                arguments,
            },
            _ => WampMessage::Yield {
                request,
                options: details,
                arguments,
            },
        })
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

    /// The next element if there is one.
    fn optional<T: Deserialize<'de> + Default>(
        &mut self,
        name: &'static str,
        expected: &'static str,
    ) -> Result<T, A::Error> {
        self.begin(name, expected);
        Ok(self.seq.next_element()?.unwrap_or_default())
    }

    fn id(&mut self, name: &'static str) -> Result<u64, A::Error> {
        Ok(self.take::<Id>(name, "an integer from 1 to 2^53")?.0)
    }

    fn uri(&mut self, name: &'static str) -> Result<Cow<'de, str>, A::Error> {
        self.text(name)
    }

    fn text(&mut self, name: &'static str) -> Result<Cow<'de, str>, A::Error> {
        Ok(self.take::<Text<'de>>(name, "a string")?.0)
    }

    /// Arguments and ArgumentsKw. With `may_be_packed` a string or bytes may stand for both
    /// ("Payload Passthru Mode").
    fn arguments(&mut self, may_be_packed: bool) -> Result<Arguments<'de>, A::Error> {
        let serializer = F::SERIALIZER;
        let packed: &[Kind] = match may_be_packed {
            true => &[Kind::Array, Kind::Text, Kind::Bytes],
            false => &[Kind::Array],
        };
        Ok(Arguments {
            serializer,
            args: self.take_raw(packed, "Arguments", "an array")?,
            kwargs: self.take_raw(&[Kind::Map], "ArgumentsKw", "an object")?,
        })
    }

    /// The bytes of the next element if it is there and not null; it must be one of these kinds.
    fn take_raw(
        &mut self,
        kinds: &[Kind],
        name: &'static str,
        expected: &'static str,
    ) -> Result<Option<&'de [u8]>, A::Error> {
        self.begin(name, expected);
        let Some(raw) = self.seq.next_element::<F::Raw>()? else {
            return Ok(None);
        };
        let (bytes, kind) = F::look(raw);
        if kinds.contains(&kind) {
            return Ok(Some(bytes));
        }
        Err(de::Error::custom(match kind {
            Kind::Null => return Ok(None),
            Kind::Array => "found an array",
            Kind::Map => "found an object",
            Kind::Text => "found a string",
            Kind::Bytes => "found bytes",
            Kind::Other => "found a number or a boolean",
        }))
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

/// WAMP, "IDs": the largest integer below which a double holds all integers.
const ID_MAX: u64 = 1 << 53;

/// Longest part of the parser's own words that is sent back, in characters.
const DETAIL_CHARS_MAX: usize = 120;
