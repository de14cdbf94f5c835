//! A publication's payload: borrowed as it arrives ([`PayloadRef`]), owned as it travels to the
//! home reactor ([`Publication`]), and read by the dialects that encode it for their subscribers.
//!
//! The mapping between the dialects, also in `docs/wamp.md`:
//!
//! | published | raw subscriber | WAMP subscriber |
//! |---|---|---|
//! | raw text `s` | text `s` | args `["s"]` |
//! | raw binary `b` | binary `b` | args `["\u0000" + base64(b)]` |
//! | args `["s"]`, no or empty kwargs | text `s` | the same args and kwargs |
//! | args `["\u0000" + base64(b)]` in JSON, one bin in MessagePack or CBOR, no or empty kwargs | binary `b` | the same args and kwargs |
//! | any other args and kwargs | text `{"args":[…],"kwargs":{…}}` | the same args and kwargs |
//! | a JSON string | its text, or the bytes that it stands for | args with that one string |
//! | any other JSON value | its text | args with that text as one string |
//!
//! A subscriber that takes JSON values gets those as they were published, and of the rest what a raw
//! subscriber gets, as a string. One that takes bytes gets those values' text, or the bytes that they stand for, and
//! of the rest what a raw subscriber gets.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use roost_hub::PresenceChange;
use roost_wire::{Frozen, Opcode};

use crate::json;
use crate::receivers::Receivers;
use crate::serial::{
    Serializer, Token, as_bytes, is_empty_map, list_of, push_bytes, sole_scalar, transcode,
};

/// A payload as it arrived, borrowed from the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadRef<'a> {
    /// A raw text message.
    Text(&'a str),
    /// A raw binary message.
    Binary(&'a [u8]),
    /// A WAMP payload, unparsed.
    Wamp(Arguments<'a>),
    /// A JSON value, unparsed.
    Json(&'a str),
}

/// Arguments and ArgumentsKw of a WAMP message, as bytes of its serializer: checked to be whole
/// values, and otherwise not looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Arguments<'a> {
    /// What they are written in.
    pub serializer: Serializer,
    /// The Arguments, an array; `None` when it was left out. Where the message's dictionary has
    /// `enc_algo`, a string or bytes that stand for both.
    pub args: Option<&'a [u8]>,
    /// The ArgumentsKw, a map; `None` when it was left out.
    pub kwargs: Option<&'a [u8]>,
}

impl<'a> Arguments<'a> {
    /// No arguments.
    pub const NONE: Arguments<'static> = Arguments {
        serializer: Serializer::Json,
        args: None,
        kwargs: None,
    };

    /// JSON texts.
    pub fn json(args: Option<&'a str>, kwargs: Option<&'a str>) -> Arguments<'a> {
        Arguments {
            serializer: Serializer::Json,
            args: args.map(str::as_bytes),
            kwargs: kwargs.map(str::as_bytes),
        }
    }

    /// How many bytes they take.
    pub fn size(&self) -> usize {
        self.args.map_or(0, <[u8]>::len) + self.kwargs.map_or(0, <[u8]>::len)
    }
}

impl PayloadRef<'_> {
    /// How much is published, in bytes.
    pub fn size(&self) -> usize {
        match *self {
            PayloadRef::Text(text) | PayloadRef::Json(text) => text.len(),
            PayloadRef::Binary(bytes) => bytes.len(),
            PayloadRef::Wamp(arguments) => arguments.size(),
        }
    }

    /// What a text, a JSON string or another JSON value says, as a text; `None` of bytes and of WAMP's.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match *self {
            PayloadRef::Text(text) => Some(text.into()),
            PayloadRef::Json(value) => match serde_json::from_str(value) {
                Ok(json::Text(text)) => Some(text),
                Err(_) => Some(value.into()),
            },
            PayloadRef::Binary(_) | PayloadRef::Wamp(_) => None,
        }
    }

    /// Owns the payload: one allocation, one copy. A raw payload is framed at once, so that what
    /// raw subscribers get is this very memory.
    pub fn freeze(&self) -> Publication {
        let kind = match *self {
            PayloadRef::Text(text) => Kind::Raw(Frozen::message(Opcode::Text, text.as_bytes())),
            PayloadRef::Binary(bytes) => Kind::Raw(Frozen::message(Opcode::Binary, bytes)),
            PayloadRef::Wamp(arguments) => Kind::Wamp(WampPayload::new(&arguments)),
            PayloadRef::Json(value) => Kind::Json(Frozen::message(Opcode::Text, value.as_bytes())),
        };
        let details = None;
        Publication { kind, details }
    }
}

impl fmt::Debug for Arguments<'_> {
    /// JSON as text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut both = match self.serializer {
            Serializer::Json => f.debug_struct("Json"),
            Serializer::MsgPack => f.debug_struct("MsgPack"),
            Serializer::Cbor => f.debug_struct("Cbor"),
        };
        for (name, part) in [("args", self.args), ("kwargs", self.kwargs)] {
            match part.map(|part| str::from_utf8(part)) {
                Some(Ok(text)) if self.serializer == Serializer::Json => {
                    both.field(name, &Some(text));
                }
                _ => {
                    both.field(name, &part);
                }
            }
        }
        both.finish()
    }
}

/// A payload as it travels between reactors. A clone is one reference count.
#[derive(Debug, Clone)]
pub struct Publication {
    kind: Kind,
    /// Hardly any has them.
    details: Option<Arc<PublishDetails>>,
}

/// What a publisher says of a publication beside its payload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublishDetails {
    /// Which subscribers it is for; `None`: all.
    pub receivers: Option<Receivers>,
    /// The publisher's session, to be told to subscribers whose dialect has a place for it.
    pub publisher: Option<u64>,
    /// Whether the channel is to retain it for later subscribers that ask for it.
    pub retain: bool,
    /// The publisher as Centrifugo's subscribers are told of it: a JSON object.
    pub client_info: Option<Box<str>>,
    /// What Pusher's subscribers are told that it is; `message` without one.
    pub event: Option<Box<str>>,
    /// The publisher's user in a presence channel of Pusher's, to be told to its subscribers.
    pub user_id: Option<Box<str>>,
    /// That user's name is a number.
    pub has_number: bool,
}

#[derive(Debug, Clone)]
enum Kind {
    /// One unfragmented text or binary frame.
    Raw(Frozen),
    Wamp(WampPayload),
    /// A JSON value as the text of a frame.
    Json(Frozen),
    /// Who has come to a channel and who has left it, for dialects that have words for it. Not published by
    /// anyone, and to all others empty.
    Members(Arc<PresenceChange>),
}

/// Arguments and ArgumentsKw as they stand in an EVENT.
#[derive(Debug, Clone)]
struct WampPayload {
    /// What follows Details in the message: empty, or the Arguments, or both. In JSON with the
    /// comma before each.
    tail: Arc<[u8]>,
    /// Where the Arguments end in `tail`; 0 without any.
    args_end: u32,
    serializer: Serializer,
}

const _: () = assert!(size_of::<Publication>() <= 32);

impl roost_hub::Payload for Publication {
    fn bytes(&self) -> usize {
        Publication::bytes(self)
    }

    fn is_retained(&self) -> bool {
        self.details.as_ref().is_some_and(|details| details.retain)
    }

    fn of_presence(change: Arc<PresenceChange>) -> Option<Publication> {
        let user = change.user().map(|(member, _)| member.user.as_str().into());
        let details = (!change.is_for_all).then(|| {
            Arc::new(PublishDetails {
                receivers: Some(Receivers::told_of_members(user, change.number)),
                ..PublishDetails::default()
            })
        });
        let kind = Kind::Members(change);
        Some(Publication { kind, details })
    }
}

impl Publication {
    /// The same with details.
    #[must_use]
    pub fn with_details(self, details: Option<Arc<PublishDetails>>) -> Publication {
        Publication { details, ..self }
    }

    /// What the publisher said beside the payload.
    pub fn details(&self) -> Option<&Arc<PublishDetails>> {
        self.details.as_ref()
    }

    /// The publisher's session, if it is to be told.
    pub(crate) fn disclosed(&self) -> Option<u64> {
        self.details.as_ref()?.publisher
    }

    /// Whether it says who has come and gone, and was published by none.
    pub fn is_of_members(&self) -> bool {
        self.members().is_some()
    }

    /// Who has come and gone, if that is what it says.
    pub(crate) fn members(&self) -> Option<&PresenceChange> {
        match &self.kind {
            Kind::Members(change) => Some(change),
            Kind::Raw(_) | Kind::Wamp(_) | Kind::Json(_) => None,
        }
    }

    /// As raw subscribers get it: one unfragmented text or binary message.
    pub fn to_raw(&self) -> Frozen {
        match &self.kind {
            Kind::Members(_) => empty(),
            Kind::Raw(frame) => frame.clone(),
            Kind::Wamp(payload) => payload.to_raw(),
            Kind::Json(frame) => json_as_raw(frame),
        }
    }

    /// What `Publication::to_json_string` says, as a text.
    pub fn to_text(&self) -> String {
        serde_json::from_slice(&self.to_json_string()).expect("it is a JSON string")
    }

    /// The publication as a JSON string: its text, of another JSON value that as it stands, or U+0000 and the
    /// base64 of bytes.
    pub(crate) fn to_json_string(&self) -> Vec<u8> {
        raw_as_json(&self.to_raw())
    }

    /// Lends the publication as a JSON value without line breaks: what was published as one; else a
    /// string, which for bytes is U+0000 and their base64.
    pub(crate) fn with_json<R>(&self, lend: impl FnOnce(&[u8]) -> R) -> R {
        match &self.kind {
            Kind::Json(frame) => lend(&in_one_line(raw_payload(frame))),
            Kind::Raw(frame) => lend(&raw_as_json(frame)),
            Kind::Wamp(payload) => lend(&raw_as_json(&payload.to_raw())),
            Kind::Members(_) => lend(b"null"),
        }
    }

    /// Lends the publication as bytes: what was published as a JSON value as its text, unless that is a string that
    /// stands for bytes; else the raw form.
    pub(crate) fn with_bytes<R>(&self, lend: impl FnOnce(&[u8]) -> R) -> R {
        match &self.kind {
            Kind::Json(frame) => lend(&json_as_bytes(raw_payload(frame))),
            Kind::Raw(frame) => lend(raw_payload(frame)),
            Kind::Wamp(payload) => lend(raw_payload(&payload.to_raw())),
            Kind::Members(_) => lend(b""),
        }
    }

    /// As it stands in a WAMP EVENT behind the Details, in JSON: empty, or `,[…]`, or `,[…],{…}`.
    pub(crate) fn json_tail(&self) -> Cow<'_, [u8]> {
        match &self.kind {
            Kind::Raw(frame) => Cow::Owned(raw_as_tail(frame)),
            Kind::Json(frame) => Cow::Owned(raw_as_tail(&json_as_raw(frame))),
            Kind::Members(_) => Cow::Owned(raw_as_tail(&empty())),
            Kind::Wamp(payload) => match payload.serializer {
                Serializer::Json => Cow::Borrowed(&payload.tail),
                Serializer::MsgPack | Serializer::Cbor => Cow::Owned(payload.as_json_tail()),
            },
        }
    }

    /// Lends what stands in a WAMP EVENT behind the Details; of another publisher's serializer, or
    /// for a raw message in that of `for_raw`.
    pub(crate) fn with_arguments<R>(
        &self,
        for_raw: Serializer,
        lend: impl FnOnce(Arguments<'_>) -> R,
    ) -> R {
        let list = match &self.kind {
            Kind::Raw(frame) => raw_as_list(frame, for_raw),
            Kind::Json(frame) => raw_as_list(&json_as_raw(frame), for_raw),
            Kind::Members(_) => raw_as_list(&empty(), for_raw),
            Kind::Wamp(payload) => return lend(payload.arguments()),
        };
        lend(Arguments {
            serializer: for_raw,
            args: Some(&list),
            kwargs: None,
        })
    }

    /// How much is published, in bytes; as [`PayloadRef::size`], but for commas of JSON.
    pub fn size(&self) -> usize {
        match &self.kind {
            Kind::Raw(frame) | Kind::Json(frame) => raw_payload(frame).len(),
            Kind::Wamp(payload) => payload.tail.len(),
            Kind::Members(change) => change.bytes(),
        }
    }

    /// Bytes of shared memory the publication holds, headers of the allocation not counted.
    pub fn bytes(&self) -> usize {
        let payload = match &self.kind {
            Kind::Raw(frame) | Kind::Json(frame) => frame.len(),
            Kind::Wamp(payload) => payload.tail.len(),
            Kind::Members(change) => change.bytes(),
        };
        let receivers = self.details.as_ref().and_then(|it| it.receivers.as_ref());
        let texts = self.details.iter().flat_map(|details| {
            let PublishDetails {
                client_info,
                event,
                user_id,
                has_number: _,
                receivers: _,
                publisher: _,
                retain: _,
            } = &**details;
            [client_info, event, user_id].into_iter().flatten()
        });
        let texts: usize = texts.map(|text| text.len()).sum();
        payload + receivers.map_or(0, Receivers::bytes) + texts
    }
}

/// What subscribers would get that are told of no members: they are left out before.
fn empty() -> Frozen {
    Frozen::message(Opcode::Text, b"")
}

/// A raw message as WAMP Arguments: one string.
fn raw_as_tail(frame: &Frozen) -> Vec<u8> {
    let payload = raw_payload(frame);
    let mut tail = Vec::with_capacity(payload.len() + payload.len() / 2 + 16);
    tail.extend_from_slice(b",[");
    push_raw(&mut tail, frame);
    tail.push(b']');
    tail
}

/// A raw message as a JSON string.
fn raw_as_json(frame: &Frozen) -> Vec<u8> {
    let payload = raw_payload(frame);
    let mut string = Vec::with_capacity(payload.len() + payload.len() / 2 + 16);
    push_raw(&mut string, frame);
    string
}

fn push_raw(out: &mut Vec<u8>, frame: &Frozen) {
    let payload = raw_payload(frame);
    if frame.opcode() == Opcode::Text {
        let text = str::from_utf8(payload).expect("freeze makes text frames of str only");
        json::push_string(out, text);
    } else {
        push_bytes(out, payload);
    }
}

/// A JSON value without line breaks: where they stand they are whitespace, as none stands in a string (RFC 8259 §7).
pub(crate) fn in_one_line(value: &[u8]) -> Cow<'_, [u8]> {
    if !value.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return Cow::Borrowed(value);
    }
    let spaced = value.iter().map(|byte| match byte {
        b'\n' | b'\r' => b' ',
        other => *other,
    });
    Cow::Owned(spaced.collect())
}

/// A JSON value as a raw message: a string's text, or the value as it stands. A string that is no Unicode text
/// (a lone surrogate, escaped) stays as it stands.
fn json_as_raw(frame: &Frozen) -> Frozen {
    let value = raw_payload(frame);
    if value.trim_ascii_start().first() != Some(&b'"') {
        return frame.clone();
    }
    match serde_json::from_slice::<json::Text<'_>>(value) {
        Ok(json::Text(text)) => match as_bytes(text.as_bytes()) {
            Some(bytes) => Frozen::message(Opcode::Binary, &bytes),
            None => Frozen::message(Opcode::Text, text.as_bytes()),
        },
        Err(_) => frame.clone(),
    }
}

/// A JSON value as bytes: those that a string stands for, or its text.
pub(crate) fn json_as_bytes(value: &[u8]) -> Cow<'_, [u8]> {
    // U+0000 stands in a string as this alone (RFC 8259 §7).
    if !value.trim_ascii_start().starts_with(b"\"\\u0000") {
        return Cow::Borrowed(value);
    }
    let text = serde_json::from_slice::<json::Text<'_>>(value);
    let bytes = text
        .ok()
        .and_then(|json::Text(text)| as_bytes(text.as_bytes()));
    bytes.map_or(Cow::Borrowed(value), Cow::Owned)
}

/// A raw message as WAMP Arguments: one string, or bytes.
fn raw_as_list(frame: &Frozen, serializer: Serializer) -> Vec<u8> {
    let payload = raw_payload(frame);
    if frame.opcode() == Opcode::Text {
        let text = str::from_utf8(payload).expect("freeze makes text frames of str only");
        list_of(&Token::Text(Cow::Borrowed(text)), serializer)
    } else {
        list_of(&Token::Bytes(Cow::Borrowed(payload)), serializer)
    }
}

fn raw_payload(frame: &Frozen) -> &[u8] {
    let payload = frame.payload();
    payload.expect("freeze makes one unfragmented frame")
}

impl WampPayload {
    fn new(arguments: &Arguments<'_>) -> WampPayload {
        let &Arguments {
            serializer,
            args,
            kwargs,
        } = arguments;
        let (empty, before): (&[u8], &[u8]) = match serializer {
            Serializer::Json => (b"[]", b","),
            Serializer::MsgPack => (&[0x90], b""),
            Serializer::Cbor => (&[0x80], b""),
        };
        // ArgumentsKw stand after Arguments, so those are written out even when left out.
        let args = args.or(kwargs.and(Some(empty)));
        let args_end = args.map_or(0, |args| before.len() + args.len());
        let capacity = args_end + kwargs.map_or(0, |kwargs| before.len() + kwargs.len());
        let mut tail = Vec::with_capacity(capacity);
        for part in args.into_iter().chain(kwargs) {
            tail.extend_from_slice(before);
            tail.extend_from_slice(part);
        }
        WampPayload {
            tail: tail.into(),
            args_end: u32::try_from(args_end).expect("a message is shorter than 4 GiB"),
            serializer,
        }
    }

    fn arguments(&self) -> Arguments<'_> {
        let before = usize::from(self.serializer == Serializer::Json);
        let (args, kwargs) = self.tail.split_at(self.args_end as usize);
        Arguments {
            serializer: self.serializer,
            args: (!args.is_empty()).then(|| &args[before..]),
            kwargs: (!kwargs.is_empty()).then(|| &kwargs[before..]),
        }
    }

    /// As [`Publication::json_tail`], of binary serializers.
    fn as_json_tail(&self) -> Vec<u8> {
        let Arguments {
            serializer,
            args,
            kwargs,
        } = self.arguments();
        let mut tail = Vec::with_capacity(self.tail.len() + self.tail.len() / 2 + 16);
        for part in args.into_iter().chain(kwargs) {
            tail.push(b',');
            push_converted(&mut tail, part, serializer, Serializer::Json);
        }
        tail
    }

    /// As raw subscribers get it.
    fn to_raw(&self) -> Frozen {
        if self.serializer != Serializer::Json {
            return self.binary_to_raw();
        }
        let Arguments { args, kwargs, .. } = self.arguments();
        let (args, kwargs) = (args.unwrap_or(b"[]"), kwargs.unwrap_or(b"{}"));
        let Some(text) = sole_string(args, kwargs) else {
            let parts: [&[u8]; 5] = [b"{\"args\":", args, b",\"kwargs\":", kwargs, b"}"];
            return Frozen::from_parts(Opcode::Text, &parts);
        };
        match as_bytes(&text) {
            Some(bytes) => Frozen::message(Opcode::Binary, &bytes),
            None => Frozen::message(Opcode::Text, &text),
        }
    }

    fn binary_to_raw(&self) -> Frozen {
        let Arguments {
            serializer,
            args,
            kwargs,
        } = self.arguments();
        let is_alone = kwargs.is_none_or(|kwargs| is_empty_map(kwargs, serializer));
        let sole = args.filter(|_| is_alone);
        match sole.and_then(|args| sole_scalar(args, serializer)) {
            Some(Token::Text(text)) => return Frozen::message(Opcode::Text, text.as_bytes()),
            Some(Token::Bytes(bytes)) => return Frozen::message(Opcode::Binary, &bytes),
            _ => {}
        }
        let mut text = Vec::with_capacity(2 * self.tail.len() + 32);
        text.extend_from_slice(b"{\"args\":");
        match args {
            Some(args) => push_converted(&mut text, args, serializer, Serializer::Json),
            None => text.extend_from_slice(b"[]"),
        }
        text.extend_from_slice(b",\"kwargs\":");
        match kwargs {
            Some(kwargs) => push_converted(&mut text, kwargs, serializer, Serializer::Json),
            None => text.extend_from_slice(b"{}"),
        }
        text.push(b'}');
        Frozen::message(Opcode::Text, &text)
    }
}

/// Appends a value that is known to be whole, in another serializer.
fn push_converted(out: &mut Vec<u8>, value: &[u8], from: Serializer, to: Serializer) {
    let start = out.len();
    if transcode(value, from, to, out).is_err() {
        debug_assert!(false, "arguments are checked when they are read");
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}

/// The only argument in JSON, if it is a string and there are no keyword arguments: bytes of UTF-8.
/// A string that is no Unicode text (a lone surrogate, escaped) does not count.
fn sole_string<'a>(args: &'a [u8], kwargs: &[u8]) -> Option<Cow<'a, [u8]>> {
    let inside = kwargs.strip_prefix(b"{")?.strip_suffix(b"}")?;
    if !inside.iter().all(|byte| JSON_WHITESPACE.contains(byte)) {
        return None;
    }
    if let Ok((json::Plain(text),)) = serde_json::from_slice(args) {
        return Some(Cow::Borrowed(text));
    }
    let (json::Text(text),) = serde_json::from_slice::<(json::Text<'_>,)>(args).ok()?;
    Some(Cow::Owned(text.into_owned().into_bytes()))
}

/// RFC 8259 §2.
const JSON_WHITESPACE: [u8; 4] = *b" \t\n\r";
