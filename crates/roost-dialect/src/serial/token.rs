//! What values are made of in all serializers: tokens, the walk over those of one value, and the
//! sink that it feeds.

use std::borrow::Cow;

use crate::serial::serializer::Serializer;

/// Deepest nesting of arrays and maps that is read, the message's own array included. A
/// subscriber's parser may recurse, as the walk does here.
pub(crate) const DEPTH_MAX: usize = crate::json::DEPTH_MAX;

/// A scalar, or the begin or end of what holds others.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    /// The integer -1 - n.
    Negative(u64),
    /// Also an integer that 64 bits do not hold.
    Float(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    /// As many values follow, or with `None` those up to a `Break`.
    Array(Option<u64>),
    /// As many pairs of key and value follow, or with `None` those up to a `Break`.
    Map(Option<u64>),
    Break,
}

/// Why bytes are no value: a sentence's end for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl Malformed {
    pub(crate) const TRUNCATED: Malformed = Malformed("it ends in the middle of a value");
    pub(crate) const TOO_LONG: Malformed =
        Malformed("an array or a map claims more elements than there are bytes");
    pub(crate) const NOT_UTF8: Malformed = Malformed("a string is not UTF-8");
    pub(crate) const TOO_DEEP: Malformed =
        Malformed("its arrays and maps are nested more than 128 deep");
    const STRAY_BREAK: Malformed = Malformed("a break stands where a value should");
    const COMPOUND_KEY: Malformed = Malformed("a map has an array or a map as key");
    pub(crate) const TRAILING: Malformed = Malformed("more follows behind the value");
}

/// Reads tokens one by one. Lengths and counts of what it returns are checked against the bytes
/// that are left: no count is larger than their number.
pub(crate) trait Tokens<'a> {
    /// Bytes that may stand behind a value and mean nothing.
    const SPACE: &'static [u8] = b"";

    fn next(&mut self) -> Result<Token<'a>, Malformed>;

    /// What is not read yet.
    fn rest(&self) -> &'a [u8];
}

/// Takes one value, told in its parts and in their order.
pub(crate) trait Sink {
    /// A value that holds no others.
    fn scalar(&mut self, scalar: &Token<'_>);
    /// `count` as in [`Token::Array`].
    fn begin_array(&mut self, count: Option<u64>);
    /// Stands before each value of an array.
    fn element(&mut self);
    fn end_array(&mut self);
    fn begin_map(&mut self, count: Option<u64>);
    /// A key, its value follows.
    fn key(&mut self, key: &Token<'_>);
    fn end_map(&mut self);
}

/// Takes a value and keeps nothing: checks it.
pub(crate) struct Skip;

impl Sink for Skip {
    fn scalar(&mut self, _: &Token<'_>) {}
    fn begin_array(&mut self, _: Option<u64>) {}
    fn element(&mut self) {}
    fn end_array(&mut self) {}
    fn begin_map(&mut self, _: Option<u64>) {}
    fn key(&mut self, _: &Token<'_>) {}
    fn end_map(&mut self) {}
}

/// Tells `sink` the next value, whose first token is `first`; arrays and maps nest at most `depth`
/// deep in it. Recursion is as deep as they do.
pub(crate) fn walk<'a, T: Tokens<'a>, S: Sink>(
    tokens: &mut T,
    first: &Token<'a>,
    sink: &mut S,
    depth: usize,
) -> Result<(), Malformed> {
    match *first {
        Token::Array(count) => {
            let depth = depth.checked_sub(1).ok_or(Malformed::TOO_DEEP)?;
            sink.begin_array(count);
            let mut left = count;
            while let Some(first) = next_of(tokens, &mut left)? {
                sink.element();
                walk(tokens, &first, sink, depth)?;
            }
            sink.end_array();
        }
        Token::Map(count) => {
            let depth = depth.checked_sub(1).ok_or(Malformed::TOO_DEEP)?;
            sink.begin_map(count);
            let mut left = count;
            while let Some(key) = next_of(tokens, &mut left)? {
                if matches!(key, Token::Array(_) | Token::Map(_)) {
                    return Err(Malformed::COMPOUND_KEY);
                }
                sink.key(&key);
                let first = tokens.next()?;
                walk(tokens, &first, sink, depth)?;
            }
            sink.end_map();
        }
        Token::Break => return Err(Malformed::STRAY_BREAK),
        _ => sink.scalar(first),
    }
    Ok(())
}

/// The first token of the next element; `None` at the end.
pub(crate) fn next_of<'a, T: Tokens<'a>>(
    tokens: &mut T,
    left: &mut Option<u64>,
) -> Result<Option<Token<'a>>, Malformed> {
    match left {
        Some(0) => return Ok(None),
        Some(left) => *left -= 1,
        None => {}
    }
    match (tokens.next()?, left) {
        (Token::Break, None) => Ok(None),
        (Token::Break, Some(_)) => Err(Malformed::STRAY_BREAK),
        (token, _) => Ok(Some(token)),
    }
}

/// Takes `count` bytes off the front.
pub(crate) fn take<'a>(rest: &mut &'a [u8], count: u64) -> Result<&'a [u8], Malformed> {
    let count = usize::try_from(count).map_err(|_| Malformed::TRUNCATED)?;
    let (taken, left) = rest.split_at_checked(count).ok_or(Malformed::TRUNCATED)?;
    *rest = left;
    Ok(taken)
}

/// Takes a big-endian integer of `N` bytes off the front.
pub(crate) fn take_uint<const N: usize>(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let (taken, left) = rest.split_first_chunk::<N>().ok_or(Malformed::TRUNCATED)?;
    *rest = left;
    let mut wide = [0; 8];
    wide[8 - N..].copy_from_slice(taken);
    Ok(u64::from_be_bytes(wide))
}

pub(crate) fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    str::from_utf8(bytes).map_err(|_| Malformed::NOT_UTF8)
}

/// A count of elements, each of which takes at least `bytes` bytes of the rest.
pub(crate) fn check_count(count: u64, bytes: u64, rest: &[u8]) -> Result<Option<u64>, Malformed> {
    match count.checked_mul(bytes) {
        Some(least) if least <= rest.len() as u64 => Ok(Some(count)),
        _ => Err(Malformed::TOO_LONG),
    }
}

/// The double next to -1 - `number`.
#[expect(clippy::cast_precision_loss, reason = "that is what it is for")]
pub(crate) fn negative_as_float(number: u64) -> f64 {
    -1.0 - number as f64
}

/// A sink of bytes, which also takes what is written already.
pub(crate) trait RawSink: Sink {
    /// What it writes.
    const SERIALIZER: Serializer;

    /// Where it writes to: for whole values.
    fn out(&mut self) -> &mut Vec<u8>;
}
