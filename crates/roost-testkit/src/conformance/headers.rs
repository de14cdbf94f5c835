//! Reserved bits and opcodes (RFC 6455 §5.2).

use super::case::{Case, case};
use super::target::{PROTOCOL_ERROR, Target};
use super::verdict::Outcome;
use crate::client::{Frame, RSV1, RSV2, RSV3, opcode};

pub(super) const CASES: &[Case] = &[
    case(
        "reserved.rsv1.text",
        "RSV1 on a text frame fails the connection",
        "6455 §5.2",
        |t| bit(t, RSV1, opcode::TEXT),
    ),
    case(
        "reserved.rsv1.binary",
        "RSV1 on a binary frame fails the connection",
        "6455 §5.2",
        |t| bit(t, RSV1, opcode::BINARY),
    ),
    case(
        "reserved.rsv1.continuation",
        "RSV1 on a continuation fails the connection",
        "6455 §5.2",
        |t| bit(t, RSV1, opcode::CONTINUATION),
    ),
    case(
        "reserved.rsv1.ping",
        "RSV1 on a ping fails the connection",
        "6455 §5.2",
        |t| bit(t, RSV1, opcode::PING),
    ),
    case(
        "reserved.rsv1.pong",
        "RSV1 on a pong fails the connection",
        "6455 §5.2",
        |t| bit(t, RSV1, opcode::PONG),
    ),
    case(
        "reserved.rsv1.close",
        "RSV1 on a close frame fails the connection",
        "6455 §5.2",
        |t| bit(t, RSV1, opcode::CLOSE),
    ),
    case(
        "reserved.rsv2.text",
        "RSV2 on a text frame fails the connection",
        "6455 §5.2",
        |t| bit(t, RSV2, opcode::TEXT),
    ),
    case(
        "reserved.rsv2.binary",
        "RSV2 on a binary frame fails the connection",
        "6455 §5.2",
        |t| bit(t, RSV2, opcode::BINARY),
    ),
    case(
        "reserved.rsv2.continuation",
        "RSV2 on a continuation fails the connection",
        "6455 §5.2",
        |t| bit(t, RSV2, opcode::CONTINUATION),
    ),
    case(
        "reserved.rsv2.ping",
        "RSV2 on a ping fails the connection",
        "6455 §5.2",
        |t| bit(t, RSV2, opcode::PING),
    ),
    case(
        "reserved.rsv2.pong",
        "RSV2 on a pong fails the connection",
        "6455 §5.2",
        |t| bit(t, RSV2, opcode::PONG),
    ),
    case(
        "reserved.rsv2.close",
        "RSV2 on a close frame fails the connection",
        "6455 §5.2",
        |t| bit(t, RSV2, opcode::CLOSE),
    ),
    case(
        "reserved.rsv3.text",
        "RSV3 on a text frame fails the connection",
        "6455 §5.2",
        |t| bit(t, RSV3, opcode::TEXT),
    ),
    case(
        "reserved.rsv3.binary",
        "RSV3 on a binary frame fails the connection",
        "6455 §5.2",
        |t| bit(t, RSV3, opcode::BINARY),
    ),
    case(
        "reserved.rsv3.continuation",
        "RSV3 on a continuation fails the connection",
        "6455 §5.2",
        |t| bit(t, RSV3, opcode::CONTINUATION),
    ),
    case(
        "reserved.rsv3.ping",
        "RSV3 on a ping fails the connection",
        "6455 §5.2",
        |t| bit(t, RSV3, opcode::PING),
    ),
    case(
        "reserved.rsv3.pong",
        "RSV3 on a pong fails the connection",
        "6455 §5.2",
        |t| bit(t, RSV3, opcode::PONG),
    ),
    case(
        "reserved.rsv3.close",
        "RSV3 on a close frame fails the connection",
        "6455 §5.2",
        |t| bit(t, RSV3, opcode::CLOSE),
    ),
    case(
        "reserved.rsv.all",
        "all reserved bits at once fail the connection",
        "6455 §5.2",
        |t| bit(t, RSV1 | RSV2 | RSV3, opcode::TEXT),
    ),
    case(
        "reserved.rsv.first_byte",
        "a reserved bit fails the connection as soon as it comes",
        "6455 §5.2",
        |t| t.fails_bytes(&[0xa1], PROTOCOL_ERROR),
    ),
    case(
        "reserved.opcode.3",
        "opcode 3 fails the connection",
        "6455 §5.2",
        |t| code(t, 3),
    ),
    case(
        "reserved.opcode.4",
        "opcode 4 fails the connection",
        "6455 §5.2",
        |t| code(t, 4),
    ),
    case(
        "reserved.opcode.5",
        "opcode 5 fails the connection",
        "6455 §5.2",
        |t| code(t, 5),
    ),
    case(
        "reserved.opcode.6",
        "opcode 6 fails the connection",
        "6455 §5.2",
        |t| code(t, 6),
    ),
    case(
        "reserved.opcode.7",
        "opcode 7 fails the connection",
        "6455 §5.2",
        |t| code(t, 7),
    ),
    case(
        "reserved.opcode.11",
        "opcode 11 fails the connection",
        "6455 §5.2",
        |t| code(t, 11),
    ),
    case(
        "reserved.opcode.12",
        "opcode 12 fails the connection",
        "6455 §5.2",
        |t| code(t, 12),
    ),
    case(
        "reserved.opcode.13",
        "opcode 13 fails the connection",
        "6455 §5.2",
        |t| code(t, 13),
    ),
    case(
        "reserved.opcode.14",
        "opcode 14 fails the connection",
        "6455 §5.2",
        |t| code(t, 14),
    ),
    case(
        "reserved.opcode.15",
        "opcode 15 fails the connection",
        "6455 §5.2",
        |t| code(t, 15),
    ),
    case(
        "reserved.opcode.empty",
        "a reserved opcode without payload fails the connection",
        "6455 §5.2",
        |t| t.fails(&[Frame::new(3, "")], PROTOCOL_ERROR),
    ),
    case(
        "reserved.opcode.fragment",
        "a reserved opcode without FIN fails the connection",
        "6455 §5.2",
        |t| t.fails(&[Frame::new(4, "a").unfinished()], PROTOCOL_ERROR),
    ),
    case(
        "reserved.opcode.in_message",
        "a reserved opcode inside a message fails the connection",
        "6455 §5.2",
        |t| {
            t.fails(
                &[Frame::text("a").unfinished(), Frame::new(11, "")],
                PROTOCOL_ERROR,
            )
        },
    ),
    case(
        "reserved.after_message",
        "what came right before a reserved opcode was a message",
        "6455 §5.2",
        after_message,
    ),
];

fn bit(t: &Target, bits: u8, opcode: u8) -> Outcome {
    let frame = match opcode {
        opcode::CLOSE => Frame::close(1000, b""),
        opcode => Frame::new(opcode, "hello"),
    };
    let mut frames = vec![frame.reserved(bits)];
    if opcode == opcode::CONTINUATION {
        frames.insert(0, Frame::text("a").unfinished());
    }
    t.fails(&frames, PROTOCOL_ERROR)
}

fn code(t: &Target, opcode: u8) -> Outcome {
    t.fails(&[Frame::new(opcode, "hello")], PROTOCOL_ERROR)
}

fn after_message(t: &Target) -> Outcome {
    let mut client = t.open()?;
    client.send_frames(&[
        Frame::text("before"),
        Frame::new(3, ""),
        Frame::text("after"),
    ])?;
    client.expect_text("before")?;
    super::target::failed(&mut client, PROTOCOL_ERROR)
}
