//! The closing handshake, its codes and its races (RFC 6455 §5.5.1, §7).

use std::time::Duration;

use super::case::{Case, case};
use super::target::{PROTOCOL_ERROR, Target, closes, ended, fail, failed, loose, pass, works};
use super::verdict::{Outcome, Verdict};
use crate::client::{Frame, Message, Received, opcode};

pub(super) const CASES: &[Case] = &[
    case(
        "close.empty",
        "a close frame without body is answered with a close frame",
        "6455 §5.5.1",
        |t| {
            let mut client = t.open()?;
            client.send_frame(&Frame::new(opcode::CLOSE, ""))?;
            match client.receive()? {
                Message::Close(None | Some(1000), _) => ended(&mut client),
                other => fail(format!("received {other:?}")),
            }
        },
    ),
    case(
        "close.code.1000",
        "close code 1000 is echoed",
        "6455 §7.4.1",
        |t| legal(t, 1000),
    ),
    case(
        "close.code.1001",
        "close code 1001 is echoed",
        "6455 §7.4.1",
        |t| legal(t, 1001),
    ),
    case(
        "close.code.1002",
        "close code 1002 is echoed",
        "6455 §7.4.1",
        |t| legal(t, 1002),
    ),
    case(
        "close.code.1003",
        "close code 1003 is echoed",
        "6455 §7.4.1",
        |t| legal(t, 1003),
    ),
    case(
        "close.code.1007",
        "close code 1007 is echoed",
        "6455 §7.4.1",
        |t| legal(t, 1007),
    ),
    case(
        "close.code.1008",
        "close code 1008 is echoed",
        "6455 §7.4.1",
        |t| legal(t, 1008),
    ),
    case(
        "close.code.1009",
        "close code 1009 is echoed",
        "6455 §7.4.1",
        |t| legal(t, 1009),
    ),
    case(
        "close.code.1010",
        "close code 1010 is echoed",
        "6455 §7.4.1",
        |t| legal(t, 1010),
    ),
    case(
        "close.code.1011",
        "close code 1011 is echoed",
        "6455 §7.4.1",
        |t| legal(t, 1011),
    ),
    case(
        "close.code.1012",
        "close code 1012, registered later, is echoed",
        "6455 §11.7",
        |t| legal(t, 1012),
    ),
    case(
        "close.code.1013",
        "close code 1013, registered later, is echoed",
        "6455 §11.7",
        |t| legal(t, 1013),
    ),
    case(
        "close.code.1014",
        "close code 1014, registered later, is echoed",
        "6455 §11.7",
        |t| legal(t, 1014),
    ),
    case(
        "close.code.3000",
        "close code 3000, the first for libraries, is echoed",
        "6455 §7.4.2",
        |t| legal(t, 3000),
    ),
    case(
        "close.code.3999",
        "close code 3999, the last for libraries, is echoed",
        "6455 §7.4.2",
        |t| legal(t, 3999),
    ),
    case(
        "close.code.4000",
        "close code 4000, the first for applications, is echoed",
        "6455 §7.4.2",
        |t| legal(t, 4000),
    ),
    case(
        "close.code.4999",
        "close code 4999, the last for applications, is echoed",
        "6455 §7.4.2",
        |t| legal(t, 4999),
    ),
    case(
        "close.code.0",
        "close code 0 fails the connection",
        "6455 §7.4.2",
        |t| illegal(t, 0),
    ),
    case(
        "close.code.1",
        "close code 1 fails the connection",
        "6455 §7.4.2",
        |t| illegal(t, 1),
    ),
    case(
        "close.code.999",
        "close code 999 fails the connection",
        "6455 §7.4.2",
        |t| illegal(t, 999),
    ),
    case(
        "close.code.1004",
        "close code 1004, reserved, fails the connection",
        "6455 §7.4.1",
        |t| illegal(t, 1004),
    ),
    case(
        "close.code.1005",
        "close code 1005, never sent, fails the connection",
        "6455 §7.4.1",
        |t| illegal(t, 1005),
    ),
    case(
        "close.code.1006",
        "close code 1006, never sent, fails the connection",
        "6455 §7.4.1",
        |t| illegal(t, 1006),
    ),
    case(
        "close.code.1015",
        "close code 1015, never sent, fails the connection",
        "6455 §7.4.1",
        |t| illegal(t, 1015),
    ),
    case(
        "close.code.1016",
        "close code 1016, unassigned, fails the connection",
        "6455 §7.4.2",
        |t| illegal(t, 1016),
    ),
    case(
        "close.code.1100",
        "close code 1100, unassigned, fails the connection",
        "6455 §7.4.2",
        |t| illegal(t, 1100),
    ),
    case(
        "close.code.2000",
        "close code 2000, unassigned, fails the connection",
        "6455 §7.4.2",
        |t| illegal(t, 2000),
    ),
    case(
        "close.code.2999",
        "close code 2999, unassigned, fails the connection",
        "6455 §7.4.2",
        |t| illegal(t, 2999),
    ),
    case(
        "close.code.5000",
        "close code 5000 fails the connection",
        "6455 §7.4.2",
        |t| illegal(t, 5000),
    ),
    case(
        "close.code.65535",
        "close code 65535 fails the connection",
        "6455 §7.4.2",
        |t| illegal(t, 65535),
    ),
    case(
        "close.body.one_byte",
        "a close body of one byte fails the connection",
        "6455 §5.5.1",
        |t| t.fails(&[Frame::new(opcode::CLOSE, [3])], PROTOCOL_ERROR),
    ),
    case(
        "close.reason.ascii",
        "a close frame with a reason is answered",
        "6455 §5.5.1",
        |t| reason(t, b"Hello World!"),
    ),
    case(
        "close.reason.echoed",
        "code and reason are echoed, as browsers' own tests want it",
        "6455 §5.5.1",
        |t| {
            let mut client = t.open()?;
            client.send_close(3456, "κόσμε")?;
            match client.receive()? {
                Message::Close(Some(3456), received) if received == "κόσμε" => {
                    ended(&mut client)
                }
                // §5.5.1 speaks of the status code alone.
                Message::Close(None | Some(1000 | 3456), received) => {
                    loose(format!("answered with the reason {received:?}"))
                }
                other => fail(format!("received {other:?}")),
            }
        },
    ),
    case(
        "close.reason.utf8",
        "a reason is UTF-8",
        "6455 §5.5.1",
        |t| reason(t, "κόσμε 𝄞".as_bytes()),
    ),
    case(
        "close.reason.123",
        "a reason of 123 bytes is the longest",
        "6455 §5.5",
        |t| reason(t, &[b'*'; 123]),
    ),
    case(
        "close.reason.124",
        "a reason of 124 bytes fails the connection",
        "6455 §5.5",
        |t| t.fails(&[Frame::close(1000, &[b'*'; 124])], PROTOCOL_ERROR),
    ),
    case(
        "close.reason.not_utf8",
        "a reason that is not UTF-8 fails the connection",
        "6455 §5.5.1",
        |t| t.fails(&[Frame::close(1000, b"ok\xff")], &[1007, 1002]),
    ),
    case(
        "close.reason.cut",
        "a reason that ends within a character fails the connection",
        "6455 §5.5.1",
        |t| t.fails(&[Frame::close(1000, b"\xe2\x82")], &[1007, 1002]),
    ),
    case(
        "close.reason.surrogate",
        "a reason with a surrogate fails the connection",
        "6455 §5.5.1",
        |t| t.fails(&[Frame::close(1000, b"\xed\xa0\x80")], &[1007, 1002]),
    ),
    case(
        "close.bytes",
        "a close frame that comes byte by byte is answered",
        "6455 §5.5.1",
        |t| {
            let mut client = t.open()?;
            client.send_in_pieces(
                &Frame::close(1000, b"slowly").bytes(),
                1,
                Duration::from_micros(500),
            )?;
            client.expect_close(1000)?;
            ended(&mut client)
        },
    ),
    case(
        "close.tcp_first",
        "the server ends the TCP connection first",
        "6455 §7.1.1",
        |t| closes(t.open()?),
    ),
    case(
        "close.after_data",
        "what was sent before a close frame is answered before it",
        "6455 §5.5.1",
        |t| {
            let mut client = t.open()?;
            client.send_frames(&[Frame::text("last"), Frame::close(1000, b"")])?;
            client.expect_text("last")?;
            client.expect_close(1000)?;
            ended(&mut client)
        },
    ),
    case(
        "close.after_large",
        "a megabyte that is on its way back is not lost by a close frame",
        "6455 §5.5.1",
        |t| {
            let mut client = t.open()?;
            let bytes = vec![7; 1_000_000];
            client.send_frames(&[Frame::binary(&bytes), Frame::close(1000, b"")])?;
            client.expect_binary(&bytes)?;
            client.expect_close(1000)?;
            ended(&mut client)
        },
    ),
    case(
        "close.then.text",
        "a text behind a close frame is not answered",
        "6455 §5.5.1",
        |t| then(t, &[Frame::text("late")]),
    ),
    case(
        "close.then.ping",
        "a ping behind a close frame is not answered",
        "6455 §5.5.1",
        |t| then(t, &[Frame::ping("late")]),
    ),
    case(
        "close.then.close",
        "a second close frame is not answered",
        "6455 §5.5.1",
        |t| then(t, &[Frame::close(1001, b""), Frame::close(1000, b"")]),
    ),
    case(
        "close.then.mistake",
        "a mistake behind a close frame changes nothing",
        "6455 §5.5.1",
        |t| then(t, &[Frame::new(3, "late"), Frame::text("x").unmasked()]),
    ),
    case(
        "close.then.much",
        "a megabyte behind a close frame is swallowed, and the close frame arrives",
        "6455 §7.1.1",
        |t| then(t, &[Frame::binary(vec![1; 1_000_000])]),
    ),
    case(
        "close.then.later",
        "data in a later segment than the close frame is ignored",
        "6455 §5.5.1",
        |t| {
            let mut client = t.open()?;
            client.send_close(1000, "")?;
            client.expect_close(1000)?;
            client.send_anyway(&Frame::text("late").bytes());
            ended(&mut client)
        },
    ),
    case(
        "close.both.mistake_first",
        "a close frame that crosses the server's is not answered again",
        "6455 §7.1.5",
        |t| {
            let mut client = t.open()?;
            client.send_frames(&[Frame::new(3, ""), Frame::close(1000, b"")])?;
            failed(&mut client, PROTOCOL_ERROR)
        },
    ),
    case(
        "close.both.data_behind_mistake",
        "what comes behind a mistake is ignored",
        "6455 §7.1.7",
        |t| {
            let frames = [
                Frame::new(3, ""),
                Frame::text("late"),
                Frame::ping("late"),
                Frame::new(4, ""),
            ];
            t.fails(&frames, PROTOCOL_ERROR)
        },
    ),
    case(
        "close.both.much_behind_mistake",
        "a megabyte behind a mistake does not destroy the server's close frame",
        "6455 §7.1.1",
        |t| {
            t.fails(
                &[Frame::new(3, ""), Frame::binary(vec![1; 1_000_000])],
                PROTOCOL_ERROR,
            )
        },
    ),
    case(
        "close.inside.message",
        "a close frame inside a message drops the message",
        "6455 §5.4",
        |t| {
            let mut client = t.open()?;
            client.send_frames(&[Frame::text("never").unfinished(), Frame::close(1000, b"")])?;
            client.expect_close(1000)?;
            ended(&mut client)
        },
    ),
    case(
        "close.half.after_close",
        "close frame and FIN in one go are answered with both",
        "6455 §7.1.1",
        |t| {
            let mut client = t.open()?;
            client.send_close(1000, "")?;
            client.half_close()?;
            client.expect_close(1000)?;
            ended(&mut client)
        },
    ),
    case(
        "close.half.after_data",
        "a message right before FIN is still answered",
        "9293 §3.6",
        |t| {
            let mut client = t.open()?;
            client.send_text("last words")?;
            client.half_close()?;
            match client.receive() {
                Ok(Message::Text(text)) if text == "last words" => {}
                // FIN without a close frame is abnormal (RFC 6455 §7.1.5); the rest is courtesy.
                other => return loose(format!("the message is not answered: {other:?}")),
            }
            end_without_close(t, &mut client)
        },
    ),
    case(
        "close.fin.quiet",
        "FIN without a close frame ends the connection",
        "6455 §7.1.5",
        |t| fin_behind(t, b""),
    ),
    case(
        "close.fin.in_header",
        "FIN inside a frame's header ends the connection",
        "6455 §7.1.5",
        |t| fin_behind(t, &[0x81]),
    ),
    case(
        "close.fin.in_payload",
        "FIN inside a payload ends the connection",
        "6455 §7.1.5",
        |t| fin_behind(t, &Frame::text("cut").declare(100).bytes()),
    ),
    case(
        "close.fin.in_message",
        "FIN inside a message ends the connection",
        "6455 §7.1.5",
        |t| fin_behind(t, &Frame::text("cut").unfinished().bytes()),
    ),
    case(
        "close.fin.in_handshake",
        "FIN inside a request's head ends the connection",
        "9112 §8",
        |t| {
            let mut client = t.connect()?;
            let head = t.request().bytes();
            client.send(&head[..head.len() / 2])?;
            client.half_close()?;
            client.read_to_end()?;
            pass()
        },
    ),
    case(
        "close.reset.in_message",
        "RST inside a message does not disturb others",
        "6455 §7.1.5",
        |t| {
            let mut other = t.open()?;
            for _ in 0..10 {
                let mut client = t.open()?;
                client.send(&Frame::binary([1; 100]).declare(5000).bytes())?;
                client.reset()?;
                works(&mut other)?;
            }
            closes(other)
        },
    ),
    case(
        "close.reset.while_answering",
        "RST while a large answer is under way does not disturb others",
        "6455 §7.1.5",
        |t| {
            let mut other = t.open()?;
            for _ in 0..5 {
                let mut client = t.open()?;
                client.send_binary(&vec![1; 1_000_000])?;
                client.reset()?;
                works(&mut other)?;
            }
            closes(other)
        },
    ),
    case(
        "close.again",
        "a hundred connections opened and closed in a row all work",
        "6455 §7.1.2",
        |t| {
            for _ in 0..100 {
                match closes(t.open()?)? {
                    Verdict::Pass => {}
                    other => return Ok(other),
                }
            }
            pass()
        },
    ),
];

fn legal(t: &Target, code: u16) -> Outcome {
    let mut client = t.open()?;
    client.send_close(code, "")?;
    match client.receive()? {
        Message::Close(Some(received), _) if received == code => ended(&mut client),
        // RFC 6455 §5.5.1: the endpoint typically echoes the status code it received.
        Message::Close(received @ (None | Some(1000)), _) => {
            loose(format!("answered with {received:?}"))
        }
        other => fail(format!("received {other:?}")),
    }
}

fn illegal(t: &Target, code: u16) -> Outcome {
    t.fails(&[Frame::close(code, b"")], PROTOCOL_ERROR)
}

fn reason(t: &Target, reason: &[u8]) -> Outcome {
    let mut client = t.open()?;
    client.send_frame(&Frame::close(1000, reason))?;
    client.expect_close(1000)?;
    ended(&mut client)
}

/// Frames behind a close frame, in the same segment.
fn then(t: &Target, frames: &[Frame]) -> Outcome {
    let mut client = t.open()?;
    let mut bytes = Frame::close(1000, b"").bytes();
    bytes.extend(frames.iter().flat_map(Frame::bytes));
    client.send_anyway(&bytes);
    client.expect_close(1000)?;
    ended(&mut client)
}

fn fin_behind(t: &Target, bytes: &[u8]) -> Outcome {
    let mut client = t.open()?;
    client.send(bytes)?;
    client.half_close()?;
    end_without_close(t, &mut client)
}

/// The server ends too; a close frame on the way is allowed.
fn end_without_close(t: &Target, client: &mut crate::client::Client) -> Outcome {
    loop {
        match client.receive_any()? {
            Received::Fin | Received::Reset => return pass(),
            Received::Frame(frame) if frame.opcode == opcode::CLOSE => {}
            Received::Frame(frame) => return fail(format!("received {frame:?}")),
            Received::Silence => {
                return fail(format!("is still connected after {:?}", t.timeout));
            }
        }
    }
}
