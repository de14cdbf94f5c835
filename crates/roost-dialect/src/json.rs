//! What serde_json leaves to us: a bound on nesting, and strings as JSON text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// Deepest nesting of arrays and objects that is accepted, the message's own array included.
///
/// serde_json stops at 128 where it builds values, but not where it passes text through as
/// `RawValue`; a subscriber's parser may recurse.
pub(crate) const DEPTH_MAX: usize = 128;

/// Whether arrays and objects nest at most `depth_max` deep. One pass, no memory. `text` need not
/// be JSON: the answer only counts for text that is.
pub(crate) fn depth_within(text: &str, depth_max: usize) -> bool {
    // Each level takes two brackets.
    if text.len() <= 2 * depth_max {
        return true;
    }
    let mut depth = 0usize;
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                if depth > depth_max {
                    return false;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
    }
    true
}

/// Bytes that are one JSON value, nested at most [`DEPTH_MAX`] deep. Whitespace may stand around it.
pub(crate) fn value_in(bytes: &[u8]) -> Option<&str> {
    let text = str::from_utf8(bytes).ok()?;
    let is_value =
        depth_within(text, DEPTH_MAX) && serde_json::from_str::<de::IgnoredAny>(text).is_ok();
    is_value.then_some(text)
}

/// Moves past the closing quote.
fn skip_string(bytes: &mut std::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            // The escaped character cannot end the string.
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

/// Appends `text` as a JSON string, quotes included. RFC 8259 §7: quotation mark, reverse solidus
/// and U+0000 to U+001F are escaped, all else stands as UTF-8.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a Vec takes all writes and a str is always JSON");
}

/// A string borrowed from the JSON text where it has no escape, owned where it has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

/// A string without an escape, out of bytes that are known to be UTF-8, which is not checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plain<'a>(pub(crate) &'a [u8]);

impl<'de> Deserialize<'de> for Plain<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PlainVisitor;

        impl<'de> Visitor<'de> for PlainVisitor {
            type Value = Plain<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string without an escape")
            }

            fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<Plain<'de>, E> {
                Ok(Plain(bytes))
            }
        }

        deserializer.deserialize_bytes(PlainVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::{DEPTH_MAX, depth_within, push_string, value_in};

    #[test]
    fn bytes_that_are_a_value_are_told_from_others() {
        for value in [&b"1"[..], b"null", b"\"a\"", b" {\"a\": [1]}\n"] {
            assert_eq!(value_in(value).map(str::as_bytes), Some(value));
        }
        for other in [
            &b""[..],
            b" ",
            b"a",
            b"\xff",
            b"1 2",
            b"{",
            b"\"\n\"",
            b"\xef\xbb\xbf1",
        ] {
            assert_eq!(value_in(other), None, "{other:?}");
        }
        let nested = |depth| [b"[".repeat(depth), b"]".repeat(depth)].concat();
        assert!(value_in(&nested(DEPTH_MAX)).is_some());
        assert!(value_in(&nested(DEPTH_MAX + 1)).is_none());
        assert!(value_in(&nested(1 << 20)).is_none());
    }

    #[test]
    fn depth_counts_brackets_outside_strings_only() {
        assert!(depth_within("[]", 1));
        assert!(!depth_within("[[]]", 1));
        assert!(!depth_within(r#"[{"a":[]}]"#, 2));
        assert!(depth_within(r#"[{"a":[]}]"#, 3));
        assert!(depth_within(r#"["[[[[","\"[[[","\\"]"#, 1));
        assert!(!depth_within(r#"["\\",[]]"#, 1));
        assert!(depth_within("[[[]]]", 3) && !depth_within("[[[[]]]]", 3));
        // Breadth is not depth.
        assert!(depth_within("[[],[],[],{},{}]", 2));
        // Text that is no JSON neither panics nor underflows.
        assert!(depth_within("]]]]\"\\", 1));
    }

    #[test]
    fn strings_are_escaped_as_rfc_8259_says() {
        let mut out = Vec::new();
        push_string(&mut out, "a\"\\\u{0}\u{1f}\n\u{7f}é😀\u{2028}");
        let expected = "\"a\\\"\\\\\\u0000\\u001f\\n\u{7f}é😀\u{2028}\"";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
