//! CBOR (RFC 8949), read and written.

use std::borrow::Cow;

use crate::serial::serializer::Serializer;
use crate::serial::token::{self, Malformed, RawSink, Sink, Token, Tokens, take, take_uint};

/// Reads CBOR.
#[derive(Debug, Clone)]
pub(crate) struct CborTokens<'a>(pub(crate) &'a [u8]);

/// The argument of a head (§3).
enum Argument {
    Number(u64),
    Indefinite,
}

impl<'a> CborTokens<'a> {
    /// The major type and its argument; `Indefinite` for types 2 to 5 and 7 only (§3.2).
    fn head(&mut self) -> Result<(u8, u8, Argument), Malformed> {
        let rest = &mut self.0;
        let (&first, left) = rest.split_first().ok_or(Malformed::TRUNCATED)?;
        *rest = left;
        let (major, low) = (first >> 5, first & 0x1f);
        let argument = match low {
            0..=23 => Argument::Number(u64::from(low)),
            24 => Argument::Number(take_uint::<1>(rest)?),
            25 => Argument::Number(take_uint::<2>(rest)?),
            26 => Argument::Number(take_uint::<4>(rest)?),
            27 => Argument::Number(take_uint::<8>(rest)?),
            31 if !matches!(major, 0 | 1 | 6) => Argument::Indefinite,
            _ => return Err(Malformed("a CBOR head has a reserved length")),
        };
        Ok((major, low, argument))
    }

    /// The parts of a string of indefinite length (§3.2.3), joined.
    fn joined(&mut self, of: u8) -> Result<Vec<u8>, Malformed> {
        let mut joined = Vec::new();
        loop {
            match self.head()? {
                (major, _, Argument::Number(len)) if major == of => {
                    joined.extend_from_slice(take(&mut self.0, len)?);
                }
                (7, _, Argument::Indefinite) => return Ok(joined),
                _ => {
                    let reason = "a string of indefinite length has a part that is no such string";
                    return Err(Malformed(reason));
                }
            }
        }
    }

    /// What stands behind a tag: a number for a bignum (§3.4.3), else the value without the tag.
    fn tagged(&mut self, tag: u64) -> Result<Token<'a>, Malformed> {
        let mut tag = tag;
        for _ in 0..TAGS_MAX {
            let before = self.0;
            let (major, _, argument) = self.head()?;
            match (major, argument) {
                (6, Argument::Number(inner)) => tag = inner,
                _ => {
                    self.0 = before;
                    let value = self.next()?;
                    return Ok(match (tag, value) {
                        (2, Token::Bytes(magnitude)) => bignum(&magnitude, false),
                        (3, Token::Bytes(magnitude)) => bignum(&magnitude, true),
                        (_, Token::Break) => {
                            return Err(Malformed("a CBOR tag has no value behind it"));
                        }
                        (_, value) => value,
                    });
                }
            }
        }
        Err(Malformed("more than 8 CBOR tags stand before one value"))
    }
}

impl<'a> Tokens<'a> for CborTokens<'a> {
    fn next(&mut self) -> Result<Token<'a>, Malformed> {
        let (major, low, argument) = self.head()?;
        Ok(match (major, argument) {
            (0, Argument::Number(number)) => Token::Unsigned(number),
            (1, Argument::Number(number)) => Token::Negative(number),
            (2, Argument::Number(len)) => Token::Bytes(Cow::Borrowed(take(&mut self.0, len)?)),
            (2, Argument::Indefinite) => Token::Bytes(Cow::Owned(self.joined(2)?)),
            (3, Argument::Number(len)) => {
                let text = token::text(take(&mut self.0, len)?)?;
                Token::Text(Cow::Borrowed(text))
            }
            (3, Argument::Indefinite) => {
                let text = String::from_utf8(self.joined(3)?);
                Token::Text(Cow::Owned(text.map_err(|_| Malformed::NOT_UTF8)?))
            }
            (4, Argument::Number(count)) => Token::Array(token::check_count(count, 1, self.0)?),
            (4, Argument::Indefinite) => Token::Array(None),
            (5, Argument::Number(count)) => Token::Map(token::check_count(count, 2, self.0)?),
            (5, Argument::Indefinite) => Token::Map(None),
            (6, Argument::Number(tag)) => self.tagged(tag)?,
            (_, Argument::Indefinite) => Token::Break,
            (_, Argument::Number(bits)) => simple(low, bits)?,
        })
    }

    fn rest(&self) -> &'a [u8] {
        self.0
    }
}

/// Major type 7 (§3.3).
fn simple<'a>(low: u8, bits: u64) -> Result<Token<'a>, Malformed> {
    Ok(match low {
        20 => Token::Bool(false),
        21 => Token::Bool(true),
        22 | 23 => Token::Null, // 23 is undefined
        25 => Token::Float(half(bits)),
        26 => {
            let bits = u32::try_from(bits).expect("four bytes");
            Token::Float(f64::from(f32::from_bits(bits)))
        }
        27 => Token::Float(f64::from_bits(bits)),
        _ => return Err(Malformed("a CBOR simple value is unassigned")),
    })
}

/// The number of a half-precision float (RFC 8949, Appendix D).
fn half(bits: u64) -> f64 {
    let exponent = i32::try_from(bits >> 10 & 0x1f).expect("five bits");
    let fraction = f64::from(u32::try_from(bits & 0x3ff).expect("ten bits"));
    let magnitude = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (fraction + 1024.0) * 2f64.powi(exponent - 25),
    };
    if bits & 0x8000 == 0 {
        magnitude
    } else {
        -magnitude
    }
}

/// A bignum: an integer as long as 64 bits hold it, else a double near it.
fn bignum<'a>(magnitude: &[u8], is_negative: bool) -> Token<'a> {
    let zeros = magnitude.iter().take_while(|&&byte| byte == 0).count();
    let digits = &magnitude[zeros..];
    if digits.len() <= 8 {
        let number = digits
            .iter()
            .fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        return match is_negative {
            false => Token::Unsigned(number),
            true => Token::Negative(number),
        };
    }
    let number = digits
        .iter()
        .fold(0.0, |sum, &byte| sum * 256.0 + f64::from(byte));
    Token::Float(if is_negative { -1.0 - number } else { number })
}

/// Writes CBOR, everything but floats in the shortest form there is, and of definite length.
pub(crate) struct CborSink<'o> {
    out: &'o mut Vec<u8>,
    /// Of arrays and maps that do not tell their count, in the order of their beginning.
    counts: std::vec::IntoIter<u64>,
}

impl<'o> CborSink<'o> {
    pub(crate) fn new(out: &'o mut Vec<u8>, counts: Vec<u64>) -> CborSink<'o> {
        CborSink {
            out,
            counts: counts.into_iter(),
        }
    }

    fn head(&mut self, major: u8, argument: u64) {
        let [.., e, f, g, h] = argument.to_be_bytes();
        let first = major << 5;
        match argument {
            0..=23 => self.out.push(first | h),
            24..=0xff => self.out.extend_from_slice(&[first | 24, h]),
            0x100..=0xffff => self.out.extend_from_slice(&[first | 25, g, h]),
            0x1_0000..=0xffff_ffff => self.out.extend_from_slice(&[first | 26, e, f, g, h]),
            _ => self.wide(first | 27, argument),
        }
    }

    fn wide(&mut self, head: u8, bits: u64) {
        self.out.push(head);
        self.out.extend_from_slice(&bits.to_be_bytes());
    }

    fn count(&mut self, count: Option<u64>) -> u64 {
        count
            .or_else(|| self.counts.next())
            .expect("they were counted before")
    }
}

impl Sink for CborSink<'_> {
    fn scalar(&mut self, scalar: &Token<'_>) {
        match scalar {
            Token::Null => self.out.push(0xf6),
            Token::Bool(is) => self.out.push(0xf4 + u8::from(*is)),
            Token::Unsigned(number) => self.head(0, *number),
            Token::Negative(number) => self.head(1, *number),
            Token::Float(number) => self.wide(0xfb, number.to_bits()),
            Token::Text(text) => {
                self.head(3, text.len() as u64);
                self.out.extend_from_slice(text.as_bytes());
            }
            Token::Bytes(bytes) => {
                self.head(2, bytes.len() as u64);
                self.out.extend_from_slice(bytes);
            }
            Token::Array(_) | Token::Map(_) | Token::Break => {
                debug_assert!(false, "{scalar:?} is no scalar");
            }
        }
    }

    fn begin_array(&mut self, count: Option<u64>) {
        let count = self.count(count);
        self.head(4, count);
    }

    fn element(&mut self) {}

    fn end_array(&mut self) {}

    fn begin_map(&mut self, count: Option<u64>) {
        let count = self.count(count);
        self.head(5, count);
    }

    fn key(&mut self, key: &Token<'_>) {
        self.scalar(key);
    }

    fn end_map(&mut self) {}
}

impl RawSink for CborSink<'_> {
    const SERIALIZER: Serializer = Serializer::Cbor;

    fn out(&mut self) -> &mut Vec<u8> {
        self.out
    }
}

/// Tags before one value: more than any registered use of them.
const TAGS_MAX: usize = 8;
