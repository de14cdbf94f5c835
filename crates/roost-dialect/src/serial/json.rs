//! JSON as tokens, and written from them.
//!
//! WAMP's "Binary conversion of JSON Strings" holds in both directions: a string of U+0000 and
//! base64 is bytes.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::json::push_string;
use crate::serial::serializer::Serializer;
use crate::serial::token::{Malformed, RawSink, Sink, Token, Tokens, text};

/// Reads text that is known to be JSON: separators are skipped and not checked. Of text that is no
/// JSON it makes any tokens, or an error.
#[derive(Debug, Clone)]
pub(crate) struct JsonTokens<'a>(pub(crate) &'a [u8]);

impl<'a> JsonTokens<'a> {
    fn literal(&mut self, bytes: usize, token: Token<'a>) -> Result<Token<'a>, Malformed> {
        self.0 = self.0.get(bytes..).ok_or(Malformed::TRUNCATED)?;
        Ok(token)
    }

    fn number(&mut self) -> Result<Token<'a>, Malformed> {
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let len = self.0.iter().take_while(|byte| is_part(byte)).count();
        let (number, rest) = self.0.split_at(len);
        self.0 = rest;
        let number = text(number)?;
        if let Ok(number) = number.parse() {
            return Ok(Token::Unsigned(number));
        }
        // "-0" is a double's.
        match number.parse::<i64>() {
            Ok(number) if number < 0 => Ok(Token::Negative(!number.cast_unsigned())),
            _ => match number.parse() {
                Ok(number) => Ok(Token::Float(number)),
                Err(_) => Err(Malformed("a JSON value begins with an unknown character")),
            },
        }
    }

    /// Behind the opening quote.
    fn string(&mut self) -> Result<Cow<'a, str>, Malformed> {
        let is_end = |byte: &u8| matches!(byte, b'"' | b'\\');
        let plain = self.0.iter().position(is_end);
        let (mut piece, rest) = self.0.split_at(plain.ok_or(Malformed::TRUNCATED)?);
        self.0 = rest;
        if let [b'"', rest @ ..] = self.0 {
            self.0 = rest;
            return text(piece).map(Cow::Borrowed);
        }
        let mut owned = String::new();
        loop {
            owned.push_str(text(piece)?);
            match self.0 {
                [b'"', rest @ ..] => {
                    self.0 = rest;
                    return Ok(Cow::Owned(owned));
                }
                [b'\\', escaped, rest @ ..] => {
                    self.0 = rest;
                    owned.push(self.escape(*escaped)?);
                }
                _ => {}
            }
            let plain = self.0.iter().position(is_end);
            (piece, self.0) = self.0.split_at(plain.ok_or(Malformed::TRUNCATED)?);
        }
    }

    /// What `\` and `escaped` stand for.
    fn escape(&mut self, escaped: u8) -> Result<char, Malformed> {
        Ok(match escaped {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex()?;
                if let (0xd800..=0xdbff, [b'\\', b'u', rest @ ..]) = (first, self.0) {
                    let before = self.0;
                    self.0 = rest;
                    let second = self.hex()?;
                    if let 0xdc00..=0xdfff = second {
                        let pair = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                        return Ok(char::from_u32(pair).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                    self.0 = before;
                }
                // A surrogate alone is no character, and no other serializer can write it.
                char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            other => char::from(other),
        })
    }

    fn hex(&mut self) -> Result<u32, Malformed> {
        let (digits, rest) = self.0.split_at_checked(4).ok_or(Malformed::TRUNCATED)?;
        self.0 = rest;
        u32::from_str_radix(text(digits)?, 16)
            .map_err(|_| Malformed("an escape is not hexadecimal"))
    }
}

impl<'a> Tokens<'a> for JsonTokens<'a> {
    const SPACE: &'static [u8] = b" \t\n\r";

    fn next(&mut self) -> Result<Token<'a>, Malformed> {
        let is_between = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':');
        let start = self.0.iter().position(|byte| !is_between(byte));
        self.0 = &self.0[start.ok_or(Malformed::TRUNCATED)?..];
        match self.0[0] {
            b'[' => self.literal(1, Token::Array(None)),
            b'{' => self.literal(1, Token::Map(None)),
            b']' | b'}' => self.literal(1, Token::Break),
            b'n' => self.literal(4, Token::Null),
            b't' => self.literal(4, Token::Bool(true)),
            b'f' => self.literal(5, Token::Bool(false)),
            b'"' => {
                self.0 = &self.0[1..];
                let string = self.string()?;
                Ok(as_bytes(string.as_bytes())
                    .map_or(Token::Text(string), |bytes| Token::Bytes(Cow::Owned(bytes))))
            }
            _ => self.number(),
        }
    }

    fn rest(&self) -> &'a [u8] {
        self.0
    }
}

/// The bytes that a string stands for. What begins with \0 and is no base64 is text after all.
pub(crate) fn as_bytes(string: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(string.strip_prefix(b"\0")?).ok()
}

/// Writes JSON without whitespace.
pub(crate) struct JsonSink<'o> {
    out: &'o mut Vec<u8>,
    /// Nothing stands yet in the array or map that is being written.
    is_first: bool,
}

impl<'o> JsonSink<'o> {
    pub(crate) fn new(out: &'o mut Vec<u8>) -> JsonSink<'o> {
        JsonSink {
            out,
            is_first: true,
        }
    }

    fn separate(&mut self) {
        if !self.is_first {
            self.out.push(b',');
        }
        self.is_first = false;
    }

    fn begin(&mut self, bracket: u8) {
        self.out.push(bracket);
        self.is_first = true;
    }

    fn end(&mut self, bracket: u8) {
        self.out.push(bracket);
        self.is_first = false;
    }
}

impl Sink for JsonSink<'_> {
    fn scalar(&mut self, scalar: &Token<'_>) {
        match scalar {
            Token::Null => self.out.extend_from_slice(b"null"),
            Token::Bool(true) => self.out.extend_from_slice(b"true"),
            Token::Bool(false) => self.out.extend_from_slice(b"false"),
            Token::Unsigned(number) => push_number(self.out, *number),
            Token::Negative(number) => {
                let number = -1 - i128::from(*number);
                self.out.extend_from_slice(number.to_string().as_bytes());
            }
            // JSON has neither NaN nor infinities; JSON.stringify says null as well.
            Token::Float(number) => serde_json::to_writer(&mut *self.out, number)
                .expect("a Vec takes all writes and a double is always JSON"),
            Token::Text(text) => push_string(self.out, text),
            Token::Bytes(bytes) => push_bytes(self.out, bytes),
            Token::Array(_) | Token::Map(_) | Token::Break => {
                debug_assert!(false, "{scalar:?} is no scalar");
            }
        }
    }

    fn begin_array(&mut self, _: Option<u64>) {
        self.begin(b'[');
    }

    fn element(&mut self) {
        self.separate();
    }

    fn end_array(&mut self) {
        self.end(b']');
    }

    fn begin_map(&mut self, _: Option<u64>) {
        self.begin(b'{');
    }

    /// What is no string becomes one: its JSON text.
    fn key(&mut self, key: &Token<'_>) {
        self.separate();
        let is_string = matches!(key, Token::Text(_) | Token::Bytes(_));
        if !is_string {
            self.out.push(b'"');
        }
        self.scalar(key);
        if !is_string {
            self.out.push(b'"');
        }
        self.out.push(b':');
    }

    fn end_map(&mut self) {
        self.end(b'}');
    }
}

impl RawSink for JsonSink<'_> {
    const SERIALIZER: Serializer = Serializer::Json;

    fn out(&mut self) -> &mut Vec<u8> {
        self.out
    }
}

/// Appends a number in decimal digits.
pub(crate) fn push_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).expect("one digit");
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends bytes as a JSON string: WAMP, "Binary conversion of JSON Strings". The base64 alphabet
/// needs no escape.
pub(crate) fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(b"\"\\u0000");
    out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    out.push(b'"');
}
