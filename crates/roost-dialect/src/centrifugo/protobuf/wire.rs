//! Protobuf's wire format (<https://protobuf.dev/programming-guides/encoding/>): the fields of one message, read in
//! place, and written. A message within a message is bytes until somebody reads it, so nothing here is recursive.

/// The bytes are no message, or none of those expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::centrifugo) struct Malformed;

/// What a field says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::centrifugo) enum Value<'a> {
    Varint(u64),
    /// A text, bytes or a message.
    Bytes(&'a [u8]),
    /// A number of 4 or 8 bytes, of which the protocol has none.
    Fixed,
}

/// Has `each` see the fields of a message, in their order. One that comes again counts anew.
///
/// # Errors
/// [`Malformed`] where a field is cut off, has no number, or is a group; and what `each` says.
pub(in crate::centrifugo) fn each_field<'a>(
    message: &'a [u8],
    mut each: impl FnMut(u32, Value<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let mut rest = message;
    while !rest.is_empty() {
        let tag = take_varint(&mut rest)?;
        let field = u32::try_from(tag >> 3).map_err(|_| Malformed)?;
        if !(1..=FIELD_MAX).contains(&field) {
            return Err(Malformed);
        }
        let value = match tag & 7 {
            VARINT => Value::Varint(take_varint(&mut rest)?),
            LENGTH_DELIMITED => Value::Bytes(take_delimited(&mut rest)?),
            FIXED_64 => skip(&mut rest, 8)?,
            FIXED_32 => skip(&mut rest, 4)?,
            // Groups, which nothing but the end of them ends, and what there is not.
            _ => return Err(Malformed),
        };
        each(field, value)?;
    }
    Ok(())
}

/// Takes a message behind its length.
///
/// # Errors
/// [`Malformed`] when there is less than it says.
pub(in crate::centrifugo) fn take_delimited<'a>(
    rest: &mut &'a [u8],
) -> Result<&'a [u8], Malformed> {
    let length = usize::try_from(take_varint(rest)?).map_err(|_| Malformed)?;
    let (taken, behind) = rest.split_at_checked(length).ok_or(Malformed)?;
    *rest = behind;
    Ok(taken)
}

/// Seven bits a byte, the lowest first; the last has its high bit clear. At most 10 bytes, of which the last has one
/// bit.
fn take_varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number = 0;
    for (at, &byte) in rest.iter().enumerate().take(VARINT_BYTES_MAX) {
        let bits = u64::from(byte & 0x7f);
        if at == VARINT_BYTES_MAX - 1 && bits > 1 {
            return Err(Malformed);
        }
        number |= bits << (7 * at);
        if byte & 0x80 == 0 {
            *rest = &rest[at + 1..];
            return Ok(number);
        }
    }
    Err(Malformed)
}

fn skip<'a>(rest: &mut &[u8], count: usize) -> Result<Value<'a>, Malformed> {
    *rest = rest.get(count..).ok_or(Malformed)?;
    Ok(Value::Fixed)
}

/// A field that has another type than this is none of the protocol's.
impl<'a> Value<'a> {
    pub(super) fn number(self) -> Result<u64, Malformed> {
        match self {
            Value::Varint(number) => Ok(number),
            Value::Bytes(_) | Value::Fixed => Err(Malformed),
        }
    }

    /// The lower 32 bits, as Protobuf has it.
    #[expect(clippy::cast_possible_truncation, reason = "the format says so")]
    pub(super) fn number_32(self) -> Result<u32, Malformed> {
        Ok(self.number()? as u32)
    }

    /// The same with a sign, which stands in all 64 of them.
    pub(super) fn signed_32(self) -> Result<i32, Malformed> {
        Ok(self.number_32()?.cast_signed())
    }

    pub(super) fn flag(self) -> Result<bool, Malformed> {
        Ok(self.number()? != 0)
    }

    pub(in crate::centrifugo) fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Varint(_) | Value::Fixed => Err(Malformed),
        }
    }

    /// UTF-8.
    pub(in crate::centrifugo) fn text(self) -> Result<&'a str, Malformed> {
        str::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }
}

/// Appends a number, unless it is 0, which is what is not there.
pub(super) fn push_number(out: &mut Vec<u8>, field: u32, number: u64) {
    if number != 0 {
        push_tag(out, field, VARINT);
        push_varint(out, number);
    }
}

/// The same of a flag.
pub(super) fn push_flag(out: &mut Vec<u8>, field: u32, flag: bool) {
    push_number(out, field, u64::from(flag));
}

/// Appends a text or bytes, unless there are none.
pub(super) fn push_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    if !bytes.is_empty() {
        push_head(out, field, bytes.len());
        out.extend_from_slice(bytes);
    }
}

/// Appends what stands before so many bytes of a field.
pub(super) fn push_head(out: &mut Vec<u8>, field: u32, bytes: usize) {
    push_tag(out, field, LENGTH_DELIMITED);
    push_varint(out, bytes as u64);
}

/// Appends the message that `write` writes, also an empty one.
pub(super) fn push_message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    push_tag(out, field, LENGTH_DELIMITED);
    push_delimited(out, write);
}

/// Appends the message that `write` writes, behind its length.
pub(super) fn push_delimited(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.push(0); // most are short
    write(out);
    let written = out.len() - start - 1;
    let mut length = Vec::new();
    match u8::try_from(written) {
        Ok(short) if short < 0x80 => out[start] = short,
        _ => {
            push_varint(&mut length, written as u64);
            out.splice(start..=start, length);
        }
    }
}

/// How many bytes [`push_head`] and so many behind it are.
pub(super) fn field_len(field: u32, bytes: usize) -> usize {
    varint_len(u64::from(field) << 3) + varint_len(bytes as u64) + bytes
}

fn push_tag(out: &mut Vec<u8>, field: u32, kind: u64) {
    push_varint(out, u64::from(field) << 3 | kind);
}

#[expect(clippy::cast_possible_truncation, reason = "seven bits")]
pub(super) fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn varint_len(number: u64) -> usize {
    let bits = u64::BITS - (number | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

const VARINT_BYTES_MAX: usize = 10;
const FIELD_MAX: u32 = (1 << 29) - 1;
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED_32: u64 = 5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(message: &[u8]) -> Result<Vec<(u32, Value<'_>)>, Malformed> {
        let mut fields = Vec::new();
        each_field(message, |field, value| {
            fields.push((field, value));
            Ok(())
        })?;
        Ok(fields)
    }

    #[test]
    fn examples_of_the_format_are_read() {
        assert_eq!(read(b"\x08\x96\x01"), Ok(vec![(1, Value::Varint(150))]));
        let text = (2, Value::Bytes(b"testing"));
        assert_eq!(read(b"\x12\x07testing"), Ok(vec![text]));
        // -2 of an int32 has ten bytes.
        let minus = b"\x08\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert_eq!(read(minus).expect("it is one")[0].1.signed_32(), Ok(-2));
        // What is skipped: numbers of 4 and 8 bytes, and the largest field.
        let skipped = b"\x0d1234\x0912345678\xf8\xff\xff\xff\x0f\x01";
        let expected = [
            (1, Value::Fixed),
            (1, Value::Fixed),
            (FIELD_MAX, Value::Varint(1)),
        ];
        assert_eq!(read(skipped), Ok(expected.to_vec()));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for (bytes, why) in [
            (&b"\x08"[..], "no value"),
            (b"\x08\x80", "a number that is cut off"),
            (b"\x12\x02a", "less than the length says"),
            (
                b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                "the longest length",
            ),
            (b"\x0b\x0c", "a group"),
            (b"\x0c", "the end of a group"),
            (b"\x0e", "wire type 6"),
            (b"\x0f", "wire type 7"),
            (b"\x00\x01", "field 0"),
            (b"\x80\x80\x80\x80\x10\x01", "a field that is too large"),
            (b"\x0d123", "4 bytes that are cut off"),
            (b"\x091234567", "8 bytes that are cut off"),
            (
                b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
                "more than 64 bits",
            ),
            (
                b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
                "eleven bytes",
            ),
        ] {
            assert_eq!(read(bytes), Err(Malformed), "{why}");
        }
        let value = Value::Varint(1);
        assert_eq!(
            (value.bytes(), value.text()),
            (Err(Malformed), Err(Malformed))
        );
        assert_eq!(Value::Bytes(b"\xff").text(), Err(Malformed));
        assert_eq!(Value::Bytes(b"").number(), Err(Malformed));
        assert_eq!(Value::Fixed.number(), Err(Malformed));
    }

    #[test]
    fn a_message_is_taken_behind_its_length() {
        let mut rest = &b"\x00\x02ab\x03ab"[..];
        assert_eq!(take_delimited(&mut rest), Ok(&b""[..]));
        assert_eq!(take_delimited(&mut rest), Ok(&b"ab"[..]));
        assert_eq!(take_delimited(&mut rest), Err(Malformed));
        assert_eq!(take_delimited(&mut &b""[..]), Err(Malformed));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(field in 1..=FIELD_MAX, number in any::<u64>(), len in 0usize..70_000) {
            let number = number >> (number % 64);
            let bytes = vec![7; len];
            let mut out = Vec::new();
            push_number(&mut out, field, number);
            push_message(&mut out, field, |out| push_bytes(out, field, &bytes));
            let fields = read(&out).expect("it is a message");
            let numbers = usize::from(number != 0);
            prop_assert_eq!(fields.len(), numbers + 1);
            if number != 0 {
                prop_assert_eq!(fields[0], (field, Value::Varint(number)));
            }
            let inside = fields[numbers].1.bytes().expect("it is bytes");
            prop_assert_eq!(inside.len(), if len > 0 { field_len(field, len) } else { 0 });
            let inside = read(inside).expect("it is a message");
            prop_assert_eq!(inside.first().map(|(_, value)| value.bytes()), (len > 0).then_some(Ok(&bytes[..])));
        }
    }
}
