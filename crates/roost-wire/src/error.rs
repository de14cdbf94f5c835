//! What a peer can do wrong after the handshake.

use std::fmt;

use crate::CloseCode;

/// A peer's mistake. The connection is over: send a close frame with [`ProtocolError::close_code`]
/// and [`ProtocolError::reason`], read no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProtocolError {
    /// RSV2 or RSV3 set, or RSV1 where no extension gave it a meaning (RFC 6455 §5.2).
    ReservedBit,
    /// Opcode 3…7 or 11…15 (§5.2).
    ReservedOpcode,
    /// A frame from a client without a mask (§5.1).
    Unmasked,
    /// A frame from a server with a mask (§5.1).
    Masked,
    /// A length that would fit in fewer bytes (§5.2).
    LengthNotMinimal,
    /// A 64-bit length with its most significant bit set (§5.2).
    LengthOverflow,
    /// A control frame without FIN (§5.5).
    ControlFragmented,
    /// A control frame with more than 125 bytes (§5.5).
    ControlTooLong,
    /// A continuation frame when no message was begun (§5.4).
    ContinuationUnexpected,
    /// A new text or binary frame inside a fragmented message (§5.4).
    ContinuationExpected,
    /// A close frame with a body of one byte (§5.5.1).
    CloseBodyTooShort,
    /// A close code that must not be sent (§7.4).
    CloseCodeInvalid,
    /// A close reason that is not UTF-8 (§5.5.1).
    CloseReasonNotUtf8,
    /// Text that is not UTF-8 (§8.1).
    TextNotUtf8,
    /// A compressed message that is no deflate stream (RFC 7692 §7.2.2).
    DeflateInvalid,
    /// A frame above [`crate::Limits::frame_bytes_max`].
    FrameTooBig,
    /// A message above [`crate::Limits::message_bytes_max`].
    MessageTooBig,
}

impl ProtocolError {
    /// The code for our close frame (RFC 6455 §7.4.1).
    pub const fn close_code(self) -> CloseCode {
        use ProtocolError::*;
        match self {
            ReservedBit
            | ReservedOpcode
            | Unmasked
            | Masked
            | LengthNotMinimal
            | LengthOverflow
            | ControlFragmented
            | ControlTooLong
            | ContinuationUnexpected
            | ContinuationExpected
            | CloseBodyTooShort
            | CloseCodeInvalid => CloseCode::PROTOCOL_ERROR,
            // §8.1 names no code for text; 1007 is "data not consistent with the type of the
            // message (e.g., non-UTF-8 data)", and a reason is text too. RFC 7692 names none.
            CloseReasonNotUtf8 | TextNotUtf8 | DeflateInvalid => CloseCode::INVALID_PAYLOAD,
            FrameTooBig | MessageTooBig => CloseCode::TOO_BIG,
        }
    }

    /// The name of its counter: lower case with underscores.
    pub const fn name(self) -> &'static str {
        use ProtocolError::*;
        match self {
            ReservedBit => "reserved_bit",
            ReservedOpcode => "reserved_opcode",
            Unmasked => "unmasked",
            Masked => "masked",
            LengthNotMinimal => "length_not_minimal",
            LengthOverflow => "length_overflow",
            ControlFragmented => "control_fragmented",
            ControlTooLong => "control_too_long",
            ContinuationUnexpected => "continuation_unexpected",
            ContinuationExpected => "continuation_expected",
            CloseBodyTooShort => "close_body_too_short",
            CloseCodeInvalid => "close_code_invalid",
            CloseReasonNotUtf8 => "close_reason_not_utf8",
            TextNotUtf8 => "text_not_utf8",
            DeflateInvalid => "deflate_invalid",
            FrameTooBig => "frame_too_big",
            MessageTooBig => "message_too_big",
        }
    }

    /// A sentence for the close frame and for people: at most 123 bytes.
    pub const fn reason(self) -> &'static str {
        use ProtocolError::*;
        match self {
            ReservedBit => {
                "A frame has a reserved bit (RSV1, RSV2, RSV3) set that no agreed extension uses."
            }
            ReservedOpcode => "A frame has a reserved opcode; known are 0, 1, 2, 8, 9 and 10.",
            Unmasked => "A frame from a client must be masked.",
            Masked => "A frame from a server must not be masked.",
            LengthNotMinimal => "A frame's payload length must be written in its shortest form.",
            LengthOverflow => "A frame's payload length must not have its top bit set.",
            ControlFragmented => "A close, ping or pong frame must not be fragmented.",
            ControlTooLong => "A close, ping or pong frame must have at most 125 bytes.",
            ContinuationUnexpected => {
                "A continuation frame came, but no fragmented message was begun."
            }
            ContinuationExpected => {
                "A new message began before the last fragment of the one before."
            }
            CloseBodyTooShort => {
                "A close frame's body must be empty or begin with a code of two bytes."
            }
            CloseCodeInvalid => {
                "The close code must be one that may be sent: 1000 to 1003, 1007 to 1014 or 3000 to 4999."
            }
            CloseReasonNotUtf8 => "A close frame's reason must be UTF-8.",
            TextNotUtf8 => "A text message must be UTF-8; send other bytes as a binary message.",
            DeflateInvalid => "A compressed message must be a valid DEFLATE stream (RFC 7692).",
            FrameTooBig => "The frame is larger than the receiver's limit.",
            MessageTooBig => "The message is larger than the receiver's limit.",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for ProtocolError {}
