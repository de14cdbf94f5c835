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
//! | args `["\u0000" + base64(b)]`, no or empty kwargs | binary `b` | the same args and kwargs |
//! | any other args and kwargs | text `{"args":[…],"kwargs":{…}}` | the same args and kwargs |

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roost_wire::{Frozen, Opcode};

use crate::json;

/// A payload as it arrived, borrowed from the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadRef<'a> {
    /// A raw text message.
    Text(&'a str),
    /// A raw binary message.
    Binary(&'a [u8]),
    /// A WAMP payload, unparsed.
    Wamp {
        /// JSON text of the Arguments array; `None` when it was left out.
        args: Option<&'a str>,
        /// JSON text of the ArgumentsKw object; `None` when it was left out.
        kwargs: Option<&'a str>,
    },
}

impl PayloadRef<'_> {
    /// How much is published, in bytes.
    pub fn size(&self) -> usize {
        match *self {
            PayloadRef::Text(text) => text.len(),
            PayloadRef::Binary(bytes) => bytes.len(),
            PayloadRef::Wamp { args, kwargs } => {
                args.map_or(0, str::len) + kwargs.map_or(0, str::len)
            }
        }
    }

    /// Owns the payload: one allocation, one copy. A raw payload is framed at once, so that what
    /// raw subscribers get is this very memory.
    pub fn freeze(&self) -> Publication {
        Publication(match *self {
            PayloadRef::Text(text) => Kind::Raw(Frozen::message(Opcode::Text, text.as_bytes())),
            PayloadRef::Binary(bytes) => Kind::Raw(Frozen::message(Opcode::Binary, bytes)),
            PayloadRef::Wamp { args, kwargs } => Kind::Wamp(WampPayload::new(args, kwargs)),
        })
    }
}

/// A payload as it travels between reactors. A clone is one reference count.
#[derive(Debug, Clone)]
pub struct Publication(Kind);

#[derive(Debug, Clone)]
enum Kind {
    /// One unfragmented text or binary frame.
    Raw(Frozen),
    Wamp(WampPayload),
}

/// Arguments and ArgumentsKw as they stand in an EVENT.
#[derive(Debug, Clone)]
struct WampPayload {
    /// Empty, or `,[…]`, or `,[…],{…}`: what follows Details in the message.
    tail: Arc<str>,
    /// Where the Arguments end in `tail`; 0 without any.
    args_end: usize,
}

const _: () = assert!(size_of::<Publication>() <= 32);

impl Publication {
    /// As raw subscribers get it: one unfragmented text or binary message.
    pub fn to_raw(&self) -> Frozen {
        match &self.0 {
            Kind::Raw(frame) => frame.clone(),
            Kind::Wamp(payload) => payload.to_raw(),
        }
    }

    /// As it stands in a WAMP EVENT behind the Details, in JSON: empty, or `,[…]`, or `,[…],{…}`.
    pub(crate) fn wamp_tail(&self) -> Cow<'_, [u8]> {
        match &self.0 {
            Kind::Raw(frame) => Cow::Owned(raw_as_tail(frame)),
            Kind::Wamp(payload) => Cow::Borrowed(payload.tail.as_bytes()),
        }
    }

    /// Bytes of shared memory the publication holds, headers of the allocation not counted.
    pub fn bytes(&self) -> usize {
        match &self.0 {
            Kind::Raw(frame) => frame.len(),
            Kind::Wamp(payload) => payload.tail.len(),
        }
    }
}

/// A raw message as WAMP Arguments: one string.
fn raw_as_tail(frame: &Frozen) -> Vec<u8> {
    let payload = frame
        .payload()
        .expect("freeze makes one unfragmented frame");
    let mut tail = Vec::with_capacity(payload.len() + payload.len() / 2 + 16);
    tail.extend_from_slice(b",[");
    if frame.opcode() == Opcode::Text {
        let text = str::from_utf8(payload).expect("freeze makes text frames of str only");
        json::push_string(&mut tail, text);
    } else {
        // WAMP, "Binary conversion of JSON Strings": base64 with \0 before it. The base64
        // alphabet needs no escape.
        tail.extend_from_slice(b"\"\\u0000");
        tail.extend_from_slice(STANDARD.encode(payload).as_bytes());
        tail.push(b'"');
    }
    tail.push(b']');
    tail
}

impl WampPayload {
    fn new(args: Option<&str>, kwargs: Option<&str>) -> WampPayload {
        // ArgumentsKw stand after Arguments, so those are written out even when left out.
        let args = args.or(kwargs.and(Some("[]")));
        let args_end = args.map_or(0, |args| 1 + args.len());
        let capacity = args_end + kwargs.map_or(0, |kwargs| 1 + kwargs.len());
        let mut tail = String::with_capacity(capacity);
        for part in args.into_iter().chain(kwargs) {
            tail.push(',');
            tail.push_str(part);
        }
        WampPayload {
            tail: tail.into(),
            args_end,
        }
    }

    /// JSON text of the Arguments; `[]` without any.
    fn args(&self) -> &str {
        self.tail.get(1..self.args_end).unwrap_or("[]")
    }

    /// JSON text of the ArgumentsKw; `{}` without any.
    fn kwargs(&self) -> &str {
        self.tail.get(self.args_end + 1..).unwrap_or("{}")
    }

    /// As raw subscribers get it.
    fn to_raw(&self) -> Frozen {
        let Some(text) = self.sole_string() else {
            let parts = [
                "{\"args\":",
                self.args(),
                ",\"kwargs\":",
                self.kwargs(),
                "}",
            ];
            return Frozen::from_parts(Opcode::Text, &parts.map(str::as_bytes));
        };
        // What begins with \0 and is no base64 is text after all.
        match text.strip_prefix('\0').map(|rest| STANDARD.decode(rest)) {
            Some(Ok(bytes)) => Frozen::message(Opcode::Binary, &bytes),
            _ => Frozen::message(Opcode::Text, text.as_bytes()),
        }
    }

    /// The only argument, if it is a string and there are no keyword arguments. A string that is
    /// no Unicode text (a lone surrogate, escaped) does not count.
    fn sole_string(&self) -> Option<Cow<'_, str>> {
        let inside = self.kwargs().strip_prefix('{')?.strip_suffix('}')?;
        if !inside.trim_matches(JSON_WHITESPACE).is_empty() {
            return None;
        }
        let (json::Text(text),) = serde_json::from_str::<(json::Text<'_>,)>(self.args()).ok()?;
        Some(text)
    }
}

/// RFC 8259 §2.
const JSON_WHITESPACE: [char; 4] = [' ', '\t', '\n', '\r'];
