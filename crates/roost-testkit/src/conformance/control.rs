//! Control frames (RFC 6455 §5.5).

use std::time::Duration;

use super::case::{Case, case};
use super::target::{
    Expected, PROTOCOL_ERROR, Target, closes, fail, pass, works, works_and_closes,
};
use super::verdict::Outcome;
use crate::client::{Frame, Message};

pub(super) const CASES: &[Case] = &[
    case(
        "control.ping.empty",
        "an empty ping is answered with an empty pong",
        "6455 §5.5.3",
        |t| ping(t, b""),
    ),
    case(
        "control.ping.text",
        "a pong has the ping's payload",
        "6455 §5.5.3",
        |t| ping(t, b"Hello"),
    ),
    case(
        "control.ping.binary",
        "a ping's payload is any bytes",
        "6455 §5.5.2",
        |t| ping(t, b"\x00\xff\xfe\xfd\xfc\x80"),
    ),
    case(
        "control.ping.125",
        "a ping of 125 bytes is answered",
        "6455 §5.5",
        |t| ping(t, &[0xfe; 125]),
    ),
    case(
        "control.ping.126",
        "a ping of 126 bytes fails the connection",
        "6455 §5.5",
        |t| t.fails(&[Frame::ping([1; 126])], PROTOCOL_ERROR),
    ),
    case(
        "control.ping.70000",
        "a ping of 70,000 bytes fails the connection",
        "6455 §5.5",
        |t| t.fails_bytes(&Frame::ping("").declare(70_000).bytes(), PROTOCOL_ERROR),
    ),
    case(
        "control.ping.bytes",
        "a ping that comes byte by byte is answered once",
        "6455 §5.5.3",
        |t| {
            let mut client = t.open()?;
            client.send_in_pieces(
                &Frame::ping("slow ping").bytes(),
                1,
                Duration::from_micros(500),
            )?;
            client.expect_pong(b"slow ping")?;
            works_and_closes(client)
        },
    ),
    case(
        "control.ping.fragmented",
        "a ping without FIN fails the connection",
        "6455 §5.5",
        |t| t.fails(&[Frame::ping("a").unfinished()], PROTOCOL_ERROR),
    ),
    case(
        "control.pong.fragmented",
        "a pong without FIN fails the connection",
        "6455 §5.5",
        |t| t.fails(&[Frame::pong("a").unfinished()], PROTOCOL_ERROR),
    ),
    case(
        "control.close.fragmented",
        "a close frame without FIN fails the connection",
        "6455 §5.5",
        |t| t.fails(&[Frame::close(1000, b"").unfinished()], PROTOCOL_ERROR),
    ),
    case(
        "control.ping.continued",
        "a fragmented ping and its continuation fail the connection once",
        "6455 §5.5",
        |t| {
            t.fails(
                &[Frame::ping("a").unfinished(), Frame::continuation("b")],
                PROTOCOL_ERROR,
            )
        },
    ),
    case(
        "control.pong.126",
        "a pong of 126 bytes fails the connection",
        "6455 §5.5",
        |t| t.fails(&[Frame::pong([1; 126])], PROTOCOL_ERROR),
    ),
    case(
        "control.pong.unsolicited",
        "an unsolicited pong is ignored",
        "6455 §5.5.3",
        |t| {
            t.echoes(
                &[Frame::pong(""), Frame::text("next")],
                Expected::Text("next"),
            )
        },
    ),
    case(
        "control.pong.payload",
        "a pong with any payload is ignored",
        "6455 §5.5.3",
        |t| {
            t.echoes(
                &[Frame::pong([0xff; 125]), Frame::binary([1])],
                Expected::Binary(&[1]),
            )
        },
    ),
    case(
        "control.pong.then_ping",
        "a ping behind a pong is answered with its own payload",
        "6455 §5.5.3",
        |t| {
            t.echoes(
                &[Frame::pong("pong"), Frame::ping("ping")],
                Expected::Pong(b"ping"),
            )
        },
    ),
    case(
        "control.between.ping",
        "a ping between two fragments is answered at once",
        "6455 §5.4",
        |t| {
            let mut client = t.open()?;
            client.send_frames(&[Frame::text("a").unfinished(), Frame::ping("now")])?;
            client.expect_pong(b"now")?;
            client.send_frame(&Frame::continuation("b"))?;
            client.expect_text("ab")?;
            works_and_closes(client)
        },
    ),
    case(
        "control.between.pong",
        "a pong between two fragments is ignored",
        "6455 §5.4",
        |t| {
            let frames = [
                Frame::text("a").unfinished(),
                Frame::pong("x"),
                Frame::continuation("b"),
            ];
            t.echoes(&frames, Expected::Text("ab"))
        },
    ),
    case(
        "control.between.close",
        "a close frame between two fragments closes",
        "6455 §5.4",
        |t| {
            let mut client = t.open()?;
            client.send_frame(&Frame::text("a").unfinished())?;
            closes(client)
        },
    ),
    case(
        "control.ten_pings",
        "ten pings, each in a segment, have ten pongs in order",
        "6455 §5.5.2",
        |t| {
            let mut client = t.open()?;
            for n in 0..10u8 {
                client.send_frame(&Frame::ping([n]))?;
                client.expect_pong(&[n])?;
            }
            works_and_closes(client)
        },
    ),
    case(
        "control.ten_pings_at_once",
        "of ten pings at once at least the last is answered, none twice",
        "6455 §5.5.3",
        |t| many(t, 10),
    ),
    case(
        "control.thousand_pings_at_once",
        "of a thousand pings at once at least the last is answered, none twice",
        "6455 §5.5.3",
        |t| many(t, 1000),
    ),
    case(
        "control.ping_behind_message",
        "a ping right behind a message is answered",
        "6455 §5.5.2",
        |t| {
            let mut client = t.open()?;
            client.send_frames(&[Frame::text("text"), Frame::ping("ping")])?;
            // RFC 6455 §5.5.3: as soon as is practical, so before the message's echo or behind it.
            let both = [client.receive()?, client.receive()?];
            let text = Message::Text("text".to_owned());
            if both.contains(&text) && both.contains(&Message::Pong(b"ping".to_vec())) {
                return works_and_closes(client);
            }
            fail(format!("received {both:?}"))
        },
    ),
    case(
        "control.header_cut",
        "a control frame's header may be cut anywhere",
        "6455 §5.5",
        header_cut,
    ),
];

fn ping(t: &Target, payload: &[u8]) -> Outcome {
    t.echoes(&[Frame::ping(payload)], Expected::Pong(payload))
}

fn many(t: &Target, count: u32) -> Outcome {
    let mut client = t.open()?;
    let pings: Vec<Frame> = (0..count).map(|n| Frame::ping(n.to_be_bytes())).collect();
    client.send_frames(&pings)?;
    let mut last = None;
    loop {
        let payload = match client.receive()? {
            Message::Pong(payload) => payload,
            other => return fail(format!("received {other:?}")),
        };
        let Ok(number) = payload.try_into().map(u32::from_be_bytes) else {
            return fail("a pong with another payload than any ping");
        };
        if last.is_some_and(|last| number <= last) || number >= count {
            return fail(format!("pong {number} behind {last:?}"));
        }
        last = Some(number);
        if number == count - 1 {
            break;
        }
    }
    works(&mut client)?;
    closes(client)
}

fn header_cut(t: &Target) -> Outcome {
    let mut client = t.open()?;
    let bytes = Frame::ping("ping").bytes();
    for cut in 1..bytes.len() {
        client.send(&bytes[..cut])?;
        std::thread::sleep(Duration::from_millis(1));
        client.send(&bytes[cut..])?;
        client.expect_pong(b"ping")?;
    }
    pass()
}
