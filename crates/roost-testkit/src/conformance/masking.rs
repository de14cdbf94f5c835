//! Masks (RFC 6455 §5.1, §5.3).

use std::time::Duration;

use super::case::{Case, case};
use super::target::{Expected, PROTOCOL_ERROR, Target, pass, works_and_closes};
use super::verdict::Outcome;
use crate::client::{Frame, opcode};

pub(super) const CASES: &[Case] = &[
    case(
        "masking.missing.text",
        "an unmasked text frame fails the connection",
        "6455 §5.1",
        |t| t.fails(&[Frame::text("hello").unmasked()], PROTOCOL_ERROR),
    ),
    case(
        "masking.missing.text_empty",
        "an unmasked text frame without payload fails the connection",
        "6455 §5.1",
        |t| t.fails(&[Frame::text("").unmasked()], PROTOCOL_ERROR),
    ),
    case(
        "masking.missing.binary",
        "an unmasked binary frame fails the connection",
        "6455 §5.1",
        |t| t.fails(&[Frame::binary([1, 2, 3]).unmasked()], PROTOCOL_ERROR),
    ),
    case(
        "masking.missing.continuation",
        "an unmasked continuation fails the connection",
        "6455 §5.1",
        |t| {
            let frames = [
                Frame::text("a").unfinished(),
                Frame::continuation("b").unmasked(),
            ];
            t.fails(&frames, PROTOCOL_ERROR)
        },
    ),
    case(
        "masking.missing.ping",
        "an unmasked ping fails the connection",
        "6455 §5.1",
        |t| t.fails(&[Frame::ping("hello").unmasked()], PROTOCOL_ERROR),
    ),
    case(
        "masking.missing.pong",
        "an unmasked pong fails the connection",
        "6455 §5.1",
        |t| t.fails(&[Frame::pong("").unmasked()], PROTOCOL_ERROR),
    ),
    case(
        "masking.missing.close",
        "an unmasked close frame fails the connection",
        "6455 §5.1",
        |t| t.fails(&[Frame::close(1000, b"").unmasked()], PROTOCOL_ERROR),
    ),
    case(
        "masking.missing.second",
        "the second message's mask is looked for too",
        "6455 §5.1",
        |t| {
            let mut client = t.open()?;
            client.send_text("first")?;
            client.expect_text("first")?;
            client.send_frame(&Frame::text("second").unmasked())?;
            super::target::failed(&mut client, PROTOCOL_ERROR)
        },
    ),
    case(
        "masking.missing.long",
        "an unmasked frame of 70,000 bytes fails the connection",
        "6455 §5.1",
        |t| {
            t.fails_bytes(
                &Frame::binary([]).unmasked().declare(70_000).bytes(),
                PROTOCOL_ERROR,
            )
        },
    ),
    case(
        "masking.key.zero",
        "a mask of zeros is a mask",
        "6455 §5.3",
        |t| key(t, [0; 4]),
    ),
    case(
        "masking.key.ones",
        "a mask of ones is a mask",
        "6455 §5.3",
        |t| key(t, [0xff; 4]),
    ),
    case(
        "masking.key.like_payload",
        "a mask that makes the payload zeros is a mask",
        "6455 §5.3",
        |t| key(t, *b"hell"),
    ),
    case(
        "masking.key.each_frame",
        "each frame of a message has a mask of its own",
        "6455 §5.3",
        |t| {
            let frames = [
                Frame::text("one ").mask([1, 2, 3, 4]).unfinished(),
                Frame::continuation("two ")
                    .mask([0xf0, 0x0f, 0xaa, 0x55])
                    .unfinished(),
                Frame::continuation("three").mask([9; 4]),
            ];
            t.echoes(&frames, Expected::Text("one two three"))
        },
    ),
    case(
        "masking.key.control_between",
        "a ping's mask does not change its message's",
        "6455 §5.3",
        control_between,
    ),
    case(
        "masking.position.lengths",
        "payloads of 0 to 40 bytes are unmasked to their last byte",
        "6455 §5.3",
        lengths,
    ),
    case(
        "masking.position.splits",
        "a payload cut at any of its first nine bytes is unmasked alike",
        "6455 §5.3",
        splits,
    ),
    case(
        "masking.position.key_split",
        "a mask cut at each of its bytes is the same",
        "6455 §5.3",
        key_splits,
    ),
    case(
        "masking.server",
        "the server's text, pong and close frames are not masked",
        "6455 §5.1",
        |t| {
            let mut client = t.open()?;
            client.send_text("text")?;
            client.expect_text("text")?;
            client.send_frame(&Frame::ping("ping"))?;
            client.expect_pong(b"ping")?;
            super::target::closes(client)
        },
    ),
];

fn key(t: &Target, key: [u8; 4]) -> Outcome {
    t.echoes(
        &[Frame::text("hellhellhello").mask(key)],
        Expected::Text("hellhellhello"),
    )
}

fn control_between(t: &Target) -> Outcome {
    let mut client = t.open()?;
    client.send_frames(&[
        Frame::text("abc").mask([1, 2, 3, 4]).unfinished(),
        Frame::ping("p").mask([0xff; 4]),
        Frame::continuation("def").mask([5, 6, 7, 8]),
    ])?;
    client.expect_pong(b"p")?;
    client.expect_text("abcdef")?;
    works_and_closes(client)
}

fn lengths(t: &Target) -> Outcome {
    let mut client = t.open()?;
    for length in 0..=40u8 {
        let payload: Vec<u8> = (0..length).map(|n| n.wrapping_mul(37)).collect();
        client.send_frame(&Frame::binary(&payload).mask([0x12, 0x34, 0x56, length]))?;
        client.expect_binary(&payload)?;
    }
    works_and_closes(client)
}

fn splits(t: &Target) -> Outcome {
    let mut client = t.open()?;
    let payload: Vec<u8> = (0..23).collect();
    let bytes = Frame::new(opcode::BINARY, &payload)
        .mask([0xde, 0xad, 0xbe, 0xef])
        .bytes();
    for cut in 6..=15 {
        client.send(&bytes[..cut])?;
        std::thread::sleep(Duration::from_millis(1));
        client.send(&bytes[cut..])?;
        client.expect_binary(&payload)?;
    }
    pass()
}

fn key_splits(t: &Target) -> Outcome {
    let mut client = t.open()?;
    let bytes = Frame::text("hello").mask([0xde, 0xad, 0xbe, 0xef]).bytes();
    for cut in 1..=6 {
        client.send(&bytes[..cut])?;
        std::thread::sleep(Duration::from_millis(1));
        client.send(&bytes[cut..])?;
        client.expect_text("hello")?;
    }
    pass()
}
