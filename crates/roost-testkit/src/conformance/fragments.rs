//! Fragmented messages (RFC 6455 §5.4).

use std::time::Duration;

use super::case::{Case, case};
use super::target::{Expected, PROTOCOL_ERROR, Target, pass, works_and_closes};
use super::verdict::Outcome;
use crate::client::Frame;

pub(super) const CASES: &[Case] = &[
    case(
        "fragments.two",
        "a text message of two fragments is one message",
        "6455 §5.4",
        |t| t.echoes(&texts(&["hel", "lo"]), Expected::Text("hello")),
    ),
    case(
        "fragments.five",
        "a text message of five fragments is one message",
        "6455 §5.4",
        |t| {
            t.echoes(
                &texts(&["a", "bc", "def", "g", "h"]),
                Expected::Text("abcdefgh"),
            )
        },
    ),
    case(
        "fragments.binary",
        "a fragmented binary message stays binary",
        "6455 §5.4",
        |t| {
            let frames = [
                Frame::binary([1, 2]).unfinished(),
                Frame::continuation([3]).unfinished(),
                Frame::continuation([4, 5]),
            ];
            t.echoes(&frames, Expected::Binary(&[1, 2, 3, 4, 5]))
        },
    ),
    case(
        "fragments.empty.first",
        "the first fragment may be empty",
        "6455 §5.4",
        |t| t.echoes(&texts(&["", "rest"]), Expected::Text("rest")),
    ),
    case(
        "fragments.empty.middle",
        "a fragment in the middle may be empty",
        "6455 §5.4",
        |t| t.echoes(&texts(&["be", "", "gin"]), Expected::Text("begin")),
    ),
    case(
        "fragments.empty.last",
        "the last fragment may be empty",
        "6455 §5.4",
        |t| t.echoes(&texts(&["all", ""]), Expected::Text("all")),
    ),
    case(
        "fragments.empty.all",
        "three empty fragments are an empty message",
        "6455 §5.4",
        |t| t.echoes(&texts(&["", "", ""]), Expected::Text("")),
    ),
    case(
        "fragments.empty.thousand",
        "a thousand empty fragments do no harm",
        "6455 §5.4",
        |t| {
            let mut parts = vec![""; 1000];
            parts[500] = "x";
            t.echoes(&texts(&parts), Expected::Text("x"))
        },
    ),
    case(
        "fragments.one_byte",
        "5,000 fragments of one byte are one message",
        "6455 §5.4",
        |t| {
            let text = "0123456789".repeat(500);
            let parts: Vec<&str> = (0..text.len()).map(|n| &text[n..=n]).collect();
            t.echoes(&texts(&parts), Expected::Text(&text))
        },
    ),
    case(
        "fragments.large",
        "fragments of every length encoding are one message",
        "6455 §5.4",
        |t| {
            let (small, middle, large) = ("s".repeat(125), "m".repeat(126), "l".repeat(65536));
            let all = [small.as_str(), &middle, &large, &small].concat();
            t.echoes(
                &texts(&[&small, &middle, &large, &small]),
                Expected::Text(&all),
            )
        },
    ),
    case(
        "fragments.bytes",
        "a fragmented message that comes byte by byte is the same",
        "6455 §5.4",
        |t| {
            let bytes: Vec<u8> = texts(&["by", "te", "s"])
                .iter()
                .flat_map(Frame::bytes)
                .collect();
            let mut client = t.open()?;
            client.send_in_pieces(&bytes, 1, Duration::from_micros(300))?;
            client.expect_text("bytes")?;
            works_and_closes(client)
        },
    ),
    case(
        "fragments.pings_between",
        "pings between all fragments are all answered",
        "6455 §5.4",
        pings_between,
    ),
    case(
        "fragments.then_whole",
        "behind a fragmented message comes a whole one",
        "6455 §5.4",
        |t| {
            let mut client = t.open()?;
            client.send_frames(&[texts(&["a", "b"]), vec![Frame::binary("c")]].concat())?;
            client.expect_text("ab")?;
            client.expect_binary(b"c")?;
            works_and_closes(client)
        },
    ),
    case(
        "fragments.twice",
        "behind a fragmented message comes another",
        "6455 §5.4",
        |t| {
            let mut client = t.open()?;
            client.send_frames(&[texts(&["a", "b"]), texts(&["c", "d"])].concat())?;
            client.expect_text("ab")?;
            client.expect_text("cd")?;
            works_and_closes(client)
        },
    ),
    case(
        "fragments.orphan.last",
        "a continuation of nothing fails the connection",
        "6455 §5.4",
        |t| t.fails(&[Frame::continuation("orphan")], PROTOCOL_ERROR),
    ),
    case(
        "fragments.orphan.first",
        "a continuation of nothing without FIN fails the connection",
        "6455 §5.4",
        |t| {
            t.fails(
                &[Frame::continuation("orphan").unfinished()],
                PROTOCOL_ERROR,
            )
        },
    ),
    case(
        "fragments.orphan.empty",
        "an empty continuation of nothing fails the connection",
        "6455 §5.4",
        |t| t.fails(&[Frame::continuation("")], PROTOCOL_ERROR),
    ),
    case(
        "fragments.orphan.after_whole",
        "a whole message cannot be continued",
        "6455 §5.4",
        |t| {
            let mut client = t.open()?;
            client.send_frames(&[Frame::text("whole"), Frame::continuation("more")])?;
            client.expect_text("whole")?;
            super::target::failed(&mut client, PROTOCOL_ERROR)
        },
    ),
    case(
        "fragments.orphan.after_last",
        "a fragmented message cannot be continued behind its end",
        "6455 §5.4",
        |t| {
            let mut client = t.open()?;
            client.send_frames(&[texts(&["a", "b"]), vec![Frame::continuation("c")]].concat())?;
            client.expect_text("ab")?;
            super::target::failed(&mut client, PROTOCOL_ERROR)
        },
    ),
    case(
        "fragments.inside.text",
        "a text message inside another fails the connection",
        "6455 §5.4",
        |t| {
            t.fails(
                &[Frame::text("a").unfinished(), Frame::text("b")],
                PROTOCOL_ERROR,
            )
        },
    ),
    case(
        "fragments.inside.binary",
        "a binary message inside a text message fails the connection",
        "6455 §5.4",
        |t| {
            t.fails(
                &[Frame::text("a").unfinished(), Frame::binary("b")],
                PROTOCOL_ERROR,
            )
        },
    ),
    case(
        "fragments.inside.first",
        "a fragmented message inside another fails the connection",
        "6455 §5.4",
        |t| {
            t.fails(
                &[Frame::text("a").unfinished(), Frame::text("b").unfinished()],
                PROTOCOL_ERROR,
            )
        },
    ),
    case(
        "fragments.inside.after_empty",
        "an empty first fragment begins a message too",
        "6455 §5.4",
        |t| {
            t.fails(
                &[Frame::binary("").unfinished(), Frame::binary("b")],
                PROTOCOL_ERROR,
            )
        },
    ),
];

/// The parts of one text message.
pub(super) fn texts<T: AsRef<[u8]>>(parts: &[T]) -> Vec<Frame> {
    let last = parts.len() - 1;
    let frame = |(place, part): (usize, &T)| {
        let frame = match place {
            0 => Frame::text(part),
            _ => Frame::continuation(part),
        };
        if place == last {
            frame
        } else {
            frame.unfinished()
        }
    };
    parts.iter().enumerate().map(frame).collect()
}

fn pings_between(t: &Target) -> Outcome {
    let mut client = t.open()?;
    for (number, frame) in (0u8..).zip(texts(&["a", "b", "c", "d"])) {
        client.send_frame(&frame)?;
        if number < 3 {
            client.send_frame(&Frame::ping([number]))?;
            client.expect_pong(&[number])?;
        }
    }
    client.expect_text("abcd")?;
    pass()
}
