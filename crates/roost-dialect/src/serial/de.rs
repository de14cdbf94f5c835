//! A serde deserializer over tokens: fields of messages in the binary serializers are read by the
//! same code as those in JSON.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use crate::serial::token::{DEPTH_MAX, Malformed, Skip, Token, Tokens, walk};

/// Why a message could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The bytes are no value.
    Malformed(Malformed),
    /// The value is another than expected.
    Unexpected(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Malformed(Malformed(reason)) => f.write_str(reason),
            ReadError::Unexpected(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> ReadError {
        ReadError::Unexpected(message.to_string())
    }
}

impl From<Malformed> for ReadError {
    fn from(malformed: Malformed) -> ReadError {
        ReadError::Malformed(malformed)
    }
}

/// Reads one value.
pub(crate) struct Reader<'de, T> {
    tokens: T,
    /// Looked at and not taken, and the bytes that begin with it.
    peeked: Option<(Token<'de>, &'de [u8])>,
    /// How many more levels may open.
    depth: usize,
}

impl<'de, T: Tokens<'de>> Reader<'de, T> {
    pub(crate) fn new(tokens: T) -> Reader<'de, T> {
        Reader {
            tokens,
            peeked: None,
            depth: DEPTH_MAX,
        }
    }

    /// Checks that there is nothing behind the value.
    pub(crate) fn end(&self) -> Result<(), ReadError> {
        match self.tokens.rest() {
            [] => Ok(()),
            _ => Err(Malformed::TRAILING.into()),
        }
    }

    /// The next token, and the bytes that begin with it.
    fn take(&mut self) -> Result<(Token<'de>, &'de [u8]), Malformed> {
        if let Some(peeked) = self.peeked.take() {
            return Ok(peeked);
        }
        let from = self.tokens.rest();
        Ok((self.tokens.next()?, from))
    }

    fn peek(&mut self) -> Result<&Token<'de>, Malformed> {
        let peeked = self.take()?;
        Ok(&self.peeked.insert(peeked).0)
    }

    /// The bytes of the next value, which is checked.
    fn raw(&mut self) -> Result<&'de [u8], Malformed> {
        let (first, from) = self.take()?;
        walk(&mut self.tokens, &first, &mut Skip, self.depth)?;
        Ok(&from[..from.len() - self.tokens.rest().len()])
    }

    fn within<R>(
        &mut self,
        count: Option<u64>,
        visit: impl FnOnce(&mut Inside<'_, 'de, T>) -> Result<R, ReadError>,
    ) -> Result<R, ReadError> {
        self.depth = self.depth.checked_sub(1).ok_or(Malformed::TOO_DEEP)?;
        let mut inside = Inside {
            reader: self,
            left: count,
        };
        let value = visit(&mut inside)?;
        if inside.has_next()? {
            return Err(de::Error::custom("there are more elements than expected"));
        }
        self.depth += 1;
        Ok(value)
    }
}

impl<'de, T: Tokens<'de>> Deserializer<'de> for &mut Reader<'de, T> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.take()?.0 {
            Token::Null => visitor.visit_unit(),
            Token::Bool(is) => visitor.visit_bool(is),
            Token::Unsigned(number) => visitor.visit_u64(number),
            Token::Negative(number) => match i64::try_from(number) {
                Ok(number) => visitor.visit_i64(-1 - number),
                Err(_) => visitor.visit_i128(-1 - i128::from(number)),
            },
            Token::Float(number) => visitor.visit_f64(number),
            Token::Text(std::borrow::Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
            Token::Text(text) => visitor.visit_str(&text),
            Token::Bytes(std::borrow::Cow::Borrowed(bytes)) => visitor.visit_borrowed_bytes(bytes),
            Token::Bytes(bytes) => visitor.visit_bytes(&bytes),
            Token::Array(count) => self.within(count, |inside| visitor.visit_seq(inside)),
            Token::Map(count) => self.within(count, |inside| visitor.visit_map(inside)),
            Token::Break => Err(Malformed("a break stands where a value should").into()),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if *self.peek()? == Token::Null {
            self.take()?;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.raw()?;
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if name == RAW {
            return visitor.visit_borrowed_bytes(self.raw()?);
        }
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct enum identifier
    }
}

/// The elements of an array, or the keys and values of a map.
struct Inside<'r, 'de, T> {
    reader: &'r mut Reader<'de, T>,
    /// `None` until a break.
    left: Option<u64>,
}

impl<'de, T: Tokens<'de>> Inside<'_, 'de, T> {
    fn has_next(&mut self) -> Result<bool, ReadError> {
        match &mut self.left {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None if *self.reader.peek()? == Token::Break => {
                self.reader.take()?;
                self.left = Some(0);
                Ok(false)
            }
            None => Ok(true),
        }
    }
}

impl<'de, T: Tokens<'de>> SeqAccess<'de> for &mut Inside<'_, 'de, T> {
    type Error = ReadError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ReadError> {
        if !self.has_next()? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.reader).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        None // what is claimed is not reserved
    }
}

impl<'de, T: Tokens<'de>> MapAccess<'de> for &mut Inside<'_, 'de, T> {
    type Error = ReadError;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ReadError> {
        if !self.has_next()? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.reader).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ReadError> {
        seed.deserialize(&mut *self.reader)
    }
}

/// The bytes of a value, checked and unparsed, out of a [`Reader`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw<'a>(pub(crate) &'a [u8]);

impl<'de> de::Deserialize<'de> for Raw<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RawVisitor;

        impl<'de> Visitor<'de> for RawVisitor {
            type Value = Raw<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<Raw<'de>, E> {
                Ok(Raw(bytes))
            }
        }

        deserializer.deserialize_newtype_struct(RAW, RawVisitor)
    }
}

/// What [`Raw`] asks a [`Reader`] for.
const RAW: &str = "roost_dialect::serial::Raw";
