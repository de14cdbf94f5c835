//! MessagePack, read and written.

use std::borrow::Cow;

use crate::serial::serializer::Serializer;
use crate::serial::token::{self, Malformed, RawSink, Sink, Token, Tokens, take, take_uint};

/// Reads MessagePack.
#[derive(Debug, Clone)]
pub(crate) struct MsgPackTokens<'a>(pub(crate) &'a [u8]);

impl<'a> Tokens<'a> for MsgPackTokens<'a> {
    fn next(&mut self) -> Result<Token<'a>, Malformed> {
        let rest = &mut self.0;
        let (&first, left) = rest.split_first().ok_or(Malformed::TRUNCATED)?;
        *rest = left;
        Ok(match first {
            0x00..=0x7f => Token::Unsigned(u64::from(first)),
            0x80..=0x8f => map(u64::from(first & 0x0f), rest)?,
            0x90..=0x9f => array(u64::from(first & 0x0f), rest)?,
            0xa0..=0xbf => text(u64::from(first & 0x1f), rest)?,
            0xc0 => Token::Null,
            0xc1 => return Err(Malformed("0xc1 begins no MessagePack value")),
            0xc2 => Token::Bool(false),
            0xc3 => Token::Bool(true),
            0xc4..=0xc6 => {
                let len = length(first - 0xc4, rest)?;
                bytes(len, rest)?
            }
            // An extension is its bytes; its type goes no further than MessagePack.
            0xc7..=0xc9 => {
                let len = length(first - 0xc7, rest)?;
                take(rest, 1)?;
                bytes(len, rest)?
            }
            0xca => {
                let bits = u32::try_from(take_uint::<4>(rest)?).expect("four bytes");
                Token::Float(f64::from(f32::from_bits(bits)))
            }
            0xcb => Token::Float(f64::from_bits(take_uint::<8>(rest)?)),
            0xcc => Token::Unsigned(take_uint::<1>(rest)?),
            0xcd => Token::Unsigned(take_uint::<2>(rest)?),
            0xce => Token::Unsigned(take_uint::<4>(rest)?),
            0xcf => Token::Unsigned(take_uint::<8>(rest)?),
            0xd0 => signed::<1>(rest)?,
            0xd1 => signed::<2>(rest)?,
            0xd2 => signed::<4>(rest)?,
            0xd3 => signed::<8>(rest)?,
            0xd4..=0xd8 => {
                take(rest, 1)?;
                bytes(1 << (first - 0xd4), rest)?
            }
            0xd9..=0xdb => {
                let len = length(first - 0xd9, rest)?;
                text(len, rest)?
            }
            0xdc | 0xdd => {
                let count = length(first - 0xdb, rest)?;
                array(count, rest)?
            }
            0xde | 0xdf => {
                let count = length(first - 0xdd, rest)?;
                map(count, rest)?
            }
            0xe0..=0xff => Token::Negative(u64::from(0xff - first)),
        })
    }

    fn rest(&self) -> &'a [u8] {
        self.0
    }
}

/// A length of 2^`size` bytes.
fn length(size: u8, rest: &mut &[u8]) -> Result<u64, Malformed> {
    match size {
        0 => take_uint::<1>(rest),
        1 => take_uint::<2>(rest),
        _ => take_uint::<4>(rest),
    }
}

fn signed<'a, const N: usize>(rest: &mut &[u8]) -> Result<Token<'a>, Malformed> {
    let bits = take_uint::<N>(rest)?;
    let sign = 1 << (8 * N - 1);
    Ok(if bits & sign == 0 {
        Token::Unsigned(bits)
    } else {
        // Two's complement: -1 - n has the bits of n, flipped.
        Token::Negative(!bits & (sign - 1))
    })
}

fn text<'a>(len: u64, rest: &mut &'a [u8]) -> Result<Token<'a>, Malformed> {
    let text = token::text(take(rest, len)?)?;
    Ok(Token::Text(Cow::Borrowed(text)))
}

fn bytes<'a>(len: u64, rest: &mut &'a [u8]) -> Result<Token<'a>, Malformed> {
    Ok(Token::Bytes(Cow::Borrowed(take(rest, len)?)))
}

fn array<'a>(count: u64, rest: &[u8]) -> Result<Token<'a>, Malformed> {
    Ok(Token::Array(token::check_count(count, 1, rest)?))
}

fn map<'a>(count: u64, rest: &[u8]) -> Result<Token<'a>, Malformed> {
    Ok(Token::Map(token::check_count(count, 2, rest)?))
}

/// Writes MessagePack, everything in the shortest form there is.
pub(crate) struct MsgPackSink<'o> {
    out: &'o mut Vec<u8>,
    /// Of arrays and maps that do not tell their count, in the order of their beginning.
    counts: std::vec::IntoIter<u64>,
}

impl<'o> MsgPackSink<'o> {
    pub(crate) fn new(out: &'o mut Vec<u8>, counts: Vec<u64>) -> MsgPackSink<'o> {
        MsgPackSink {
            out,
            counts: counts.into_iter(),
        }
    }

    fn unsigned(&mut self, number: u64) {
        let [.., e, f, g, h] = number.to_be_bytes();
        match number {
            0..=0x7f => self.out.push(h),
            0x80..=0xff => self.out.extend_from_slice(&[0xcc, h]),
            0x100..=0xffff => self.out.extend_from_slice(&[0xcd, g, h]),
            0x1_0000..=0xffff_ffff => self.out.extend_from_slice(&[0xce, e, f, g, h]),
            _ => self.wide(0xcf, number),
        }
    }

    /// -1 - `number`.
    fn negative(&mut self, number: u64) {
        let [.., e, f, g, h] = (!number).to_be_bytes();
        match number {
            0..=0x1f => self.out.push(h),
            0x20..=0x7f => self.out.extend_from_slice(&[0xd0, h]),
            0x80..=0x7fff => self.out.extend_from_slice(&[0xd1, g, h]),
            0x8000..=0x7fff_ffff => self.out.extend_from_slice(&[0xd2, e, f, g, h]),
            0x8000_0000..=0x7fff_ffff_ffff_ffff => self.wide(0xd3, !number),
            // MessagePack has no such integer.
            _ => self.wide(0xcb, token::negative_as_float(number).to_bits()),
        }
    }

    fn wide(&mut self, head: u8, bits: u64) {
        self.out.push(head);
        self.out.extend_from_slice(&bits.to_be_bytes());
    }

    /// A count in the first byte up to `short_max`, else behind `head` (no form of one byte if
    /// that is `None`), `head + 1` or `head + 2`.
    fn head(&mut self, (short, short_max): (u8, u8), (one, two): (Option<u8>, u8), count: u64) {
        let [.., e, f, g, h] = count.to_be_bytes();
        match (count, one) {
            (count, _) if count <= u64::from(short_max) && short != 0 => self.out.push(short | h),
            (0..=0xff, Some(one)) => self.out.extend_from_slice(&[one, h]),
            (0..=0xffff, _) => self.out.extend_from_slice(&[two, g, h]),
            // A message's length is below 2^32.
            _ => self.out.extend_from_slice(&[two + 1, e, f, g, h]),
        }
    }

    fn count(&mut self, count: Option<u64>) -> u64 {
        count
            .or_else(|| self.counts.next())
            .expect("they were counted before")
    }
}

impl Sink for MsgPackSink<'_> {
    fn scalar(&mut self, scalar: &Token<'_>) {
        match scalar {
            Token::Null => self.out.push(0xc0),
            Token::Bool(is) => self.out.push(0xc2 + u8::from(*is)),
            Token::Unsigned(number) => self.unsigned(*number),
            Token::Negative(number) => self.negative(*number),
            Token::Float(number) => self.wide(0xcb, number.to_bits()),
            Token::Text(text) => {
                self.head((0xa0, 0x1f), (Some(0xd9), 0xda), text.len() as u64);
                self.out.extend_from_slice(text.as_bytes());
            }
            Token::Bytes(bytes) => {
                self.head((0, 0), (Some(0xc4), 0xc5), bytes.len() as u64);
                self.out.extend_from_slice(bytes);
            }
            Token::Array(_) | Token::Map(_) | Token::Break => {
                debug_assert!(false, "{scalar:?} is no scalar");
            }
        }
    }

    fn begin_array(&mut self, count: Option<u64>) {
        let count = self.count(count);
        self.head((0x90, 0x0f), (None, 0xdc), count);
    }

    fn element(&mut self) {}

    fn end_array(&mut self) {}

    fn begin_map(&mut self, count: Option<u64>) {
        let count = self.count(count);
        self.head((0x80, 0x0f), (None, 0xde), count);
    }

    fn key(&mut self, key: &Token<'_>) {
        self.scalar(key);
    }

    fn end_map(&mut self) {}
}

impl RawSink for MsgPackSink<'_> {
    const SERIALIZER: Serializer = Serializer::MsgPack;

    fn out(&mut self) -> &mut Vec<u8> {
        self.out
    }
}
