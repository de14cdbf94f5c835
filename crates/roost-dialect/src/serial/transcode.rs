//! A value of one serializer as a value of another.

use crate::serial::cbor::{CborSink, CborTokens};
use crate::serial::json::{JsonSink, JsonTokens};
use crate::serial::msgpack::{MsgPackSink, MsgPackTokens};
use crate::serial::serializer::Serializer;
use crate::serial::token::{DEPTH_MAX, Malformed, Sink, Token, Tokens, next_of, walk};

/// Appends `value` to `out` in another serializer. Between equal ones it is copied.
///
/// Integers up to 64 bits, strings, bytes and the order of maps stay what they are. An integer
/// beyond 64 bits becomes the next double; a NaN or an infinity is null in JSON; a key that is no
/// string is its text in JSON; CBOR's tags and MessagePack's extension types are left out.
///
/// Linear in the value's length. At most 8 bytes are written for one read.
pub(crate) fn transcode(
    value: &[u8],
    from: Serializer,
    to: Serializer,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    match to {
        _ if from == to => {
            out.extend_from_slice(value);
            Ok(())
        }
        Serializer::Json => walk_value(value, from, &mut JsonSink::new(out)),
        Serializer::MsgPack => {
            let counts = counts(value, from)?;
            walk_value(value, from, &mut MsgPackSink::new(out, counts))
        }
        Serializer::Cbor => {
            let counts = counts(value, from)?;
            walk_value(value, from, &mut CborSink::new(out, counts))
        }
    }
}

/// Tells `sink` one value.
pub(crate) fn walk_value<S: Sink>(
    value: &[u8],
    from: Serializer,
    sink: &mut S,
) -> Result<(), Malformed> {
    match from {
        Serializer::Json => whole(JsonTokens(value), sink),
        Serializer::MsgPack => whole(MsgPackTokens(value), sink),
        Serializer::Cbor => whole(CborTokens(value), sink),
    }
}

fn whole<'a, T: Tokens<'a>, S: Sink>(mut tokens: T, sink: &mut S) -> Result<(), Malformed> {
    let first = tokens.next()?;
    walk(&mut tokens, &first, sink, DEPTH_MAX)?;
    match tokens.rest() {
        rest if rest.iter().all(|byte| T::SPACE.contains(byte)) => Ok(()),
        _ => Err(Malformed::TRAILING),
    }
}

/// How many elements the arrays and maps have that do not tell, in the order of their beginning.
fn counts(value: &[u8], from: Serializer) -> Result<Vec<u64>, Malformed> {
    let mut counter = Counter::default();
    if from != Serializer::MsgPack {
        walk_value(value, from, &mut counter)?;
    }
    Ok(counter.counts)
}

#[derive(Default)]
struct Counter {
    counts: Vec<u64>,
    /// Places in `counts` of those that are open; `None` for one that tells its count.
    open: Vec<Option<usize>>,
}

impl Counter {
    fn begin(&mut self, count: Option<u64>) {
        self.open.push(count.is_none().then_some(self.counts.len()));
        if count.is_none() {
            self.counts.push(0);
        }
    }

    fn count(&mut self) {
        if let Some(&Some(at)) = self.open.last() {
            self.counts[at] += 1;
        }
    }
}

impl Sink for Counter {
    fn scalar(&mut self, _: &Token<'_>) {}

    fn begin_array(&mut self, count: Option<u64>) {
        self.begin(count);
    }

    fn element(&mut self) {
        self.count();
    }

    fn end_array(&mut self) {
        self.open.pop();
    }

    fn begin_map(&mut self, count: Option<u64>) {
        self.begin(count);
    }

    fn key(&mut self, _: &Token<'_>) {
        self.count();
    }

    fn end_map(&mut self) {
        self.open.pop();
    }
}

/// The only element of an array, if that is all there is and it is text or bytes.
pub(crate) fn sole_scalar(array: &[u8], serializer: Serializer) -> Option<Token<'_>> {
    fn sole<'a, T: Tokens<'a>>(mut tokens: T) -> Option<Token<'a>> {
        let Ok(Token::Array(mut left)) = tokens.next() else {
            return None;
        };
        let first = next_of(&mut tokens, &mut left).ok()??;
        let is_text = matches!(first, Token::Text(_) | Token::Bytes(_));
        (is_text && matches!(next_of(&mut tokens, &mut left), Ok(None))).then_some(first)
    }
    match serializer {
        Serializer::Json => sole(JsonTokens(array)),
        Serializer::MsgPack => sole(MsgPackTokens(array)),
        Serializer::Cbor => sole(CborTokens(array)),
    }
}

/// Whether a map has no entries.
pub(crate) fn is_empty_map(map: &[u8], serializer: Serializer) -> bool {
    fn is_empty<'a, T: Tokens<'a>>(mut tokens: T) -> bool {
        match tokens.next() {
            Ok(Token::Map(mut left)) => matches!(next_of(&mut tokens, &mut left), Ok(None)),
            _ => false,
        }
    }
    match serializer {
        Serializer::Json => is_empty(JsonTokens(map)),
        Serializer::MsgPack => is_empty(MsgPackTokens(map)),
        Serializer::Cbor => is_empty(CborTokens(map)),
    }
}

/// An array with one element.
pub(crate) fn list_of(scalar: &Token<'_>, serializer: Serializer) -> Vec<u8> {
    fn write<S: Sink>(scalar: &Token<'_>, mut sink: S) {
        sink.begin_array(Some(1));
        sink.element();
        sink.scalar(scalar);
        sink.end_array();
    }
    let mut out = Vec::new();
    match serializer {
        Serializer::Json => write(scalar, JsonSink::new(&mut out)),
        Serializer::MsgPack => write(scalar, MsgPackSink::new(&mut out, Vec::new())),
        Serializer::Cbor => write(scalar, CborSink::new(&mut out, Vec::new())),
    }
    out
}
