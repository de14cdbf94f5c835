//! Frames as a client may send them, wrong ones too, and as a server must (RFC 6455 §5).

use super::Failure;

/// Opcodes of RFC 6455 §5.2.
pub mod opcode {
    /// Continues a message.
    pub const CONTINUATION: u8 = 0;
    /// Begins a text message.
    pub const TEXT: u8 = 1;
    /// Begins a binary message.
    pub const BINARY: u8 = 2;
    /// Closes.
    pub const CLOSE: u8 = 8;
    /// Asks for a pong.
    pub const PING: u8 = 9;
    /// Answers a ping.
    pub const PONG: u8 = 10;
}

/// The first reserved bit, in the place it has in a frame's first byte.
pub const RSV1: u8 = 0x40;
/// The second.
pub const RSV2: u8 = 0x20;
/// The third.
pub const RSV3: u8 = 0x10;

/// A frame to send, right unless changed: final, masked, its length in the shortest form.
#[derive(Debug, Clone)]
pub struct Frame {
    first: u8,
    mask: Option<[u8; 4]>,
    form: LengthForm,
    declared: Option<u64>,
    payload: Vec<u8>,
}

/// How a length is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LengthForm {
    /// The shortest that holds it.
    Shortest,
    /// 16 bits.
    Bits16,
    /// 64 bits.
    Bits64,
}

impl Frame {
    /// A frame with this opcode, of four bits.
    pub fn new(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
        Frame {
            first: FIN | opcode,
            mask: Some([0x37, 0xfa, 0x21, 0x3d]), // RFC 6455 §5.7
            form: LengthForm::Shortest,
            declared: None,
            payload: payload.as_ref().to_vec(),
        }
    }

    /// A text message.
    pub fn text(payload: impl AsRef<[u8]>) -> Frame {
        Frame::new(opcode::TEXT, payload)
    }

    /// A binary message.
    pub fn binary(payload: impl AsRef<[u8]>) -> Frame {
        Frame::new(opcode::BINARY, payload)
    }

    /// A continuation, the last of its message.
    pub fn continuation(payload: impl AsRef<[u8]>) -> Frame {
        Frame::new(opcode::CONTINUATION, payload)
    }

    /// A ping.
    pub fn ping(payload: impl AsRef<[u8]>) -> Frame {
        Frame::new(opcode::PING, payload)
    }

    /// A pong.
    pub fn pong(payload: impl AsRef<[u8]>) -> Frame {
        Frame::new(opcode::PONG, payload)
    }

    /// A close frame; the code may be any number.
    pub fn close(code: u16, reason: &[u8]) -> Frame {
        Frame::new(opcode::CLOSE, [&code.to_be_bytes(), reason].concat())
    }

    /// Without FIN: more fragments follow.
    pub fn unfinished(mut self) -> Frame {
        self.first &= !FIN;
        self
    }

    /// With reserved bits, such as [`RSV1`].
    pub fn reserved(mut self, bits: u8) -> Frame {
        self.first |= bits;
        self
    }

    /// Without a mask, as no client may.
    pub fn unmasked(mut self) -> Frame {
        self.mask = None;
        self
    }

    /// With this mask.
    pub fn mask(mut self, mask: [u8; 4]) -> Frame {
        self.mask = Some(mask);
        self
    }

    /// With its length in this form.
    pub fn length(mut self, form: LengthForm) -> Frame {
        self.form = form;
        self
    }

    /// With this length in its header, whatever the payload is.
    pub fn declare(mut self, length: u64) -> Frame {
        self.declared = Some(length);
        self
    }

    /// The frame on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let length = self.declared.unwrap_or(self.payload.len() as u64);
        let mask_bit = if self.mask.is_some() { 0x80 } else { 0 };
        let mut bytes = vec![self.first];
        match (self.form, length) {
            (LengthForm::Shortest, 0..=125) => bytes.push(mask_bit | length as u8),
            (LengthForm::Shortest, 126..=0xffff) | (LengthForm::Bits16, _) => {
                bytes.push(mask_bit | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            (LengthForm::Shortest | LengthForm::Bits64, _) => {
                bytes.push(mask_bit | 127);
                bytes.extend(length.to_be_bytes());
            }
        }
        let mask = self.mask.unwrap_or_default();
        if self.mask.is_some() {
            bytes.extend(mask);
        }
        let masked = self.payload.iter().zip(mask.iter().cycle());
        bytes.extend(masked.map(|(byte, key)| byte ^ key));
        bytes
    }
}

/// A frame that a server sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedFrame {
    /// Whether it ends its message.
    pub fin: bool,
    /// The reserved bits, each in its place.
    pub rsv: u8,
    /// One of [`opcode`].
    pub opcode: u8,
    /// The payload.
    pub payload: Vec<u8>,
}

impl ReceivedFrame {
    /// Code and reason of a close frame.
    ///
    /// # Errors
    /// When the body is not one that a server may send (RFC 6455 §5.5.1, §7.4).
    pub fn close_body(&self) -> Result<(Option<u16>, String), Failure> {
        let (code, reason) = match self.payload.as_slice() {
            [] => return Ok((None, String::new())),
            [_] => {
                return Err(Failure::new(
                    "the server's close frame has a body of one byte",
                ));
            }
            [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        };
        if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
            return Err(Failure::new(format!(
                "the server's close frame has code {code}, which must not be sent"
            )));
        }
        match String::from_utf8(reason.to_vec()) {
            Ok(reason) => Ok((Some(code), reason)),
            Err(_) => Err(Failure::new("the server's close reason is not UTF-8")),
        }
    }
}

/// The frame at the front of `bytes` and its length there; `None` while it is not whole. What a
/// server must not send is a failure.
pub(super) fn parse(
    bytes: &[u8],
    deflate: bool,
) -> Result<Option<(ReceivedFrame, usize)>, Failure> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    let (rsv, opcode) = (first & 0x70, first & 0x0f);
    let fin = first & FIN != 0;
    let broken = |what: &str| Err(Failure::new(format!("the server sent {what}")));
    if second & 0x80 != 0 {
        return broken("a masked frame (RFC 6455 §5.1)");
    }
    if rsv != 0 && !(deflate && rsv == RSV1) {
        return broken("a reserved bit without an extension (RFC 6455 §5.2)");
    }
    if !matches!(opcode, 0..=2 | 8..=10) {
        return broken("a reserved opcode (RFC 6455 §5.2)");
    }
    let (length, header) = match (second & 0x7f, rest) {
        (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 4),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 10)
        }
        (126 | 127, _) => return Ok(None),
        (length, _) => (u64::from(length), 2),
    };
    let minimal = match header {
        2 => true,
        4 => length > 125,
        _ => length > 0xffff && length >> 63 == 0,
    };
    if !minimal {
        return broken("a length that is not in its shortest form (RFC 6455 §5.2)");
    }
    if opcode >= opcode::CLOSE && (!fin || length > 125) {
        return broken("a control frame that is fragmented or too long (RFC 6455 §5.5)");
    }
    let end = usize::try_from(length)
        .ok()
        .and_then(|length| length.checked_add(header))
        .ok_or_else(|| Failure::new("the server sent a length beyond all memory"))?;
    let Some(payload) = bytes.get(header..end) else {
        return Ok(None);
    };
    let payload = payload.to_vec();
    Ok(Some((
        ReceivedFrame {
            fin,
            rsv,
            opcode,
            payload,
        },
        end,
    )))
}

const FIN: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 6455 §5.7.
        let hello = Frame::text("Hello").bytes();
        assert_eq!(hello, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
        let received = parse(b"\x81\x05Hello", false)
            .expect("right")
            .expect("whole");
        assert_eq!(received.0.payload, b"Hello");
        assert_eq!(received.1, 7);
        let long = [&b"\x82\x7f\0\0\0\0\0\x01\0\0"[..], &[7; 65536]].concat();
        assert_eq!(
            parse(&long, false).expect("right").expect("whole").1,
            long.len()
        );
        assert_eq!(parse(&long[..long.len() - 1], false), Ok(None));
    }

    #[test]
    fn a_servers_mistakes_are_seen() {
        for wrong in [
            &b"\x81\x80\0\0\0\0"[..],
            b"\xc1\x00",
            b"\x83\x00",
            b"\x81\x7e\x00\x7d",
            b"\x81\x7f\0\0\0\0\0\0\xff\xff",
            b"\x81\x7f\xff\0\0\0\0\0\0\0",
            b"\x09\x00",
            b"\x89\x7e\x00\x7e",
        ] {
            assert!(parse(wrong, false).is_err(), "{}", wrong.escape_ascii());
        }
        assert!(
            parse(b"\xc1\x00", true).is_ok(),
            "RSV1 with permessage-deflate"
        );
        let close = |payload: &[u8]| ReceivedFrame {
            fin: true,
            rsv: 0,
            opcode: opcode::CLOSE,
            payload: payload.to_vec(),
        };
        assert!(close(b"\x03").close_body().is_err());
        assert!(
            close(b"\x03\xed").close_body().is_err(),
            "1005 is never sent"
        );
        assert!(close(b"\x03\xe8\xff").close_body().is_err());
        assert_eq!(
            close(b"\x03\xe8ok").close_body(),
            Ok((Some(1000), "ok".to_owned()))
        );
    }

    #[test]
    fn any_wrong_frame_can_be_written() {
        let frame = Frame::text("a")
            .unmasked()
            .length(LengthForm::Bits16)
            .reserved(RSV2);
        assert_eq!(frame.unfinished().bytes(), b"\x21\x7e\x00\x01a");
        let frame = Frame::binary("")
            .length(LengthForm::Bits64)
            .declare(u64::MAX);
        assert_eq!(
            frame.mask([1; 4]).bytes()[..10],
            *b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff"
        );
    }
}
