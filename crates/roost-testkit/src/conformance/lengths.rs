//! Payload lengths and their three encodings (RFC 6455 §5.2).

use std::time::Duration;

use super::case::{Case, case};
use super::target::{Expected, PROTOCOL_ERROR, TOO_BIG, Target, loose, pass};
use super::verdict::Outcome;
use crate::client::{Frame, LengthForm, Received, opcode};

pub(super) const CASES: &[Case] = &[
    case(
        "length.text.0",
        "a text message of 0 bytes comes back",
        "6455 §5.6",
        |t| text(t, 0),
    ),
    case(
        "length.text.1",
        "a text message of 1 byte comes back",
        "6455 §5.6",
        |t| text(t, 1),
    ),
    case(
        "length.text.125",
        "a text message of 125 bytes, the longest short form, comes back",
        "6455 §5.2",
        |t| text(t, 125),
    ),
    case(
        "length.text.126",
        "a text message of 126 bytes, the first of 16 bits, comes back",
        "6455 §5.2",
        |t| text(t, 126),
    ),
    case(
        "length.text.127",
        "a text message of 127 bytes comes back",
        "6455 §5.2",
        |t| text(t, 127),
    ),
    case(
        "length.text.65535",
        "a text message of 65,535 bytes, the last of 16 bits, comes back",
        "6455 §5.2",
        |t| text(t, 65535),
    ),
    case(
        "length.text.65536",
        "a text message of 65,536 bytes, the first of 64 bits, comes back",
        "6455 §5.2",
        |t| text(t, 65536),
    ),
    case(
        "length.binary.0",
        "a binary message of 0 bytes comes back",
        "6455 §5.6",
        |t| binary(t, 0),
    ),
    case(
        "length.binary.125",
        "a binary message of 125 bytes comes back",
        "6455 §5.2",
        |t| binary(t, 125),
    ),
    case(
        "length.binary.126",
        "a binary message of 126 bytes comes back",
        "6455 §5.2",
        |t| binary(t, 126),
    ),
    case(
        "length.binary.127",
        "a binary message of 127 bytes comes back",
        "6455 §5.2",
        |t| binary(t, 127),
    ),
    case(
        "length.binary.128",
        "a binary message of 128 bytes comes back",
        "6455 §5.2",
        |t| binary(t, 128),
    ),
    case(
        "length.binary.65535",
        "a binary message of 65,535 bytes comes back",
        "6455 §5.2",
        |t| binary(t, 65535),
    ),
    case(
        "length.binary.65536",
        "a binary message of 65,536 bytes comes back",
        "6455 §5.2",
        |t| binary(t, 65536),
    ),
    case(
        "length.binary.1000000",
        "a binary message of 1,000,000 bytes comes back",
        "6455 §5.2",
        |t| binary(t, 1_000_000),
    ),
    case(
        "length.binary.997_pieces",
        "65,536 bytes in segments of 997 bytes come back",
        "6455 §5.2",
        in_segments,
    ),
    case(
        "length.longer16.0",
        "length 0 in 16 bits fails the connection",
        "6455 §5.2",
        |t| longer(t, 0, LengthForm::Bits16),
    ),
    case(
        "length.longer16.1",
        "length 1 in 16 bits fails the connection",
        "6455 §5.2",
        |t| longer(t, 1, LengthForm::Bits16),
    ),
    case(
        "length.longer16.125",
        "length 125 in 16 bits fails the connection",
        "6455 §5.2",
        |t| longer(t, 125, LengthForm::Bits16),
    ),
    case(
        "length.longer64.0",
        "length 0 in 64 bits fails the connection",
        "6455 §5.2",
        |t| longer(t, 0, LengthForm::Bits64),
    ),
    case(
        "length.longer64.125",
        "length 125 in 64 bits fails the connection",
        "6455 §5.2",
        |t| longer(t, 125, LengthForm::Bits64),
    ),
    case(
        "length.longer64.126",
        "length 126 in 64 bits fails the connection",
        "6455 §5.2",
        |t| longer(t, 126, LengthForm::Bits64),
    ),
    case(
        "length.longer64.65535",
        "length 65,535 in 64 bits fails the connection",
        "6455 §5.2",
        |t| longer(t, 65535, LengthForm::Bits64),
    ),
    case(
        "length.longer16.ping",
        "a ping's length in 16 bits fails the connection",
        "6455 §5.5",
        |t| {
            t.fails(
                &[Frame::ping("hello").length(LengthForm::Bits16)],
                PROTOCOL_ERROR,
            )
        },
    ),
    case(
        "length.longer64.close",
        "a close frame's length in 64 bits fails the connection",
        "6455 §5.5",
        |t| {
            t.fails(
                &[Frame::close(1000, b"").length(LengthForm::Bits64)],
                PROTOCOL_ERROR,
            )
        },
    ),
    case(
        "length.top_bit.only",
        "length 2^63 fails the connection: its top bit is set",
        "6455 §5.2",
        |t| declared(t, 1 << 63),
    ),
    case(
        "length.top_bit.and_small",
        "length 2^63 + 5 fails the connection",
        "6455 §5.2",
        |t| declared(t, (1 << 63) | 5),
    ),
    case(
        "length.top_bit.all",
        "length 2^64 - 1 fails the connection",
        "6455 §5.2",
        |t| declared(t, u64::MAX),
    ),
    case(
        "length.top_bit.ping",
        "length 2^64 - 1 on a ping fails the connection",
        "6455 §5.5",
        |t| t.fails(&[Frame::ping("").declare(u64::MAX)], PROTOCOL_ERROR),
    ),
    case(
        "length.huge.2_63_less_1",
        "length 2^63 - 1 is closed as too big",
        "6455 §7.4.1",
        |t| huge(t, (1 << 63) - 1),
    ),
    case(
        "length.huge.2_62",
        "length 2^62 is closed as too big",
        "6455 §7.4.1",
        |t| huge(t, 1 << 62),
    ),
    case(
        "length.huge.2_40",
        "length 2^40 is closed as too big",
        "6455 §7.4.1",
        |t| huge(t, 1 << 40),
    ),
    case(
        "length.huge.sum",
        "fragments whose lengths add up beyond 2^64 are closed as too big",
        "6455 §10.4",
        sum,
    ),
    case(
        "length.splits.16",
        "a header with 16 bits of length may be cut anywhere",
        "6455 §5.2",
        |t| header_splits(t, 300, 8),
    ),
    case(
        "length.splits.64",
        "a header with 64 bits of length may be cut anywhere",
        "6455 §5.2",
        |t| header_splits(t, 70_000, 14),
    ),
];

fn text(t: &Target, length: usize) -> Outcome {
    let text = "*".repeat(length);
    t.echoes(&[Frame::text(&text)], Expected::Text(&text))
}

fn binary(t: &Target, length: usize) -> Outcome {
    let bytes = pattern(length);
    t.echoes(&[Frame::binary(&bytes)], Expected::Binary(&bytes))
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

fn in_segments(t: &Target) -> Outcome {
    let bytes = pattern(65536);
    let mut client = t.open()?;
    client.send_in_pieces(&Frame::binary(&bytes).bytes(), 997, Duration::ZERO)?;
    client.expect_binary(&bytes)?;
    pass()
}

fn longer(t: &Target, length: usize, form: LengthForm) -> Outcome {
    t.fails(
        &[Frame::binary(pattern(length)).length(form)],
        PROTOCOL_ERROR,
    )
}

/// Only the header is sent: the length alone is wrong.
fn declared(t: &Target, length: u64) -> Outcome {
    t.fails(&[Frame::binary("").declare(length)], TOO_BIG)
}

fn huge(t: &Target, length: u64) -> Outcome {
    let mut client = t.open()?;
    client.send_frame(&Frame::new(opcode::BINARY, "").declare(length))?;
    match client.receive_any()? {
        // No RFC obliges a server to have a limit; §10.4 advises it.
        Received::Silence => loose("waits for it"),
        received => judge_close(received),
    }
}

fn judge_close(received: Received) -> Outcome {
    match received {
        Received::Frame(frame) if frame.opcode == opcode::CLOSE => match frame.close_body()? {
            (Some(code), _) if TOO_BIG.contains(&code) => pass(),
            (code, _) => super::target::fail(format!("closed with {code:?}, expected 1009")),
        },
        Received::Fin | Received::Reset => loose("ends without a close frame (6455 §7.1.7)"),
        received => super::target::fail(format!("{received:?} to a length beyond all memory")),
    }
}

fn sum(t: &Target) -> Outcome {
    let mut client = t.open()?;
    let first = Frame::binary("0123456789").unfinished();
    let second = Frame::continuation("").declare((1 << 63) - 6);
    client.send_frames(&[first, second])?;
    match client.receive_any()? {
        Received::Silence => loose("waits for it"),
        received => judge_close(received),
    }
}

fn header_splits(t: &Target, length: usize, header_bytes: usize) -> Outcome {
    let bytes = pattern(length);
    let wire = Frame::binary(&bytes).bytes();
    let mut client = t.open()?;
    for cut in 1..=header_bytes {
        client.send(&wire[..cut])?;
        std::thread::sleep(Duration::from_millis(1));
        client.send(&wire[cut..])?;
        client.expect_binary(&bytes)?;
    }
    // And all cuts at once.
    client.send_in_pieces(&wire[..header_bytes], 1, Duration::from_millis(1))?;
    client.send(&wire[header_bytes..])?;
    client.expect_binary(&bytes)?;
    super::target::works_and_closes(client)
}
