//! Text is UTF-8 (RFC 6455 §5.6, §8.1; RFC 3629).

use std::time::Duration;

use super::case::{Case, case};
use super::fragments::texts;
use super::target::{Expected, NOT_UTF8, Target, failed, loose, works_and_closes};
use super::verdict::Outcome;
use crate::client::{Frame, Received};

pub(super) const CASES: &[Case] = &[
    case(
        "text.valid.two_bytes",
        "characters of two bytes, the first and last, are text",
        "3629 §4",
        |t| valid(t, "\u{80}\u{e9}\u{7ff}"),
    ),
    case(
        "text.valid.three_bytes",
        "characters of three bytes, the first and last, are text",
        "3629 §4",
        |t| valid(t, "\u{800}\u{20ac}\u{ffff}"),
    ),
    case(
        "text.valid.four_bytes",
        "characters of four bytes, the first and last, are text",
        "3629 §4",
        |t| valid(t, "\u{10000}\u{1f600}\u{10ffff}"),
    ),
    case(
        "text.valid.around_surrogates",
        "the neighbours of the surrogates are text",
        "3629 §3",
        |t| valid(t, "\u{d7ff}\u{e000}"),
    ),
    case("text.valid.nul", "U+0000 is text", "3629 §4", |t| {
        valid(t, "a\0b")
    }),
    case(
        "text.valid.not_characters",
        "U+FFFE and U+FFFF are text",
        "3629 §3",
        |t| valid(t, "\u{fffe}\u{ffff}\u{1fffe}"),
    ),
    case(
        "text.valid.byte_order_mark",
        "a byte order mark is kept",
        "3629 §6",
        |t| valid(t, "\u{feff}text"),
    ),
    case(
        "text.valid.mixed",
        "text of all lengths mixed comes back",
        "3629 §4",
        |t| valid(t, "Hello-µ@ßöäüàá-UTF-8!! κόσμε 𝄞 日本"),
    ),
    case(
        "text.valid.long",
        "70,000 bytes of two-byte characters come back",
        "3629 §4",
        |t| valid(t, &"é".repeat(35_000)),
    ),
    case(
        "text.invalid.lone_80",
        "a lone continuation byte 80 fails the connection",
        "3629 §4",
        |t| invalid(t, b"\x80"),
    ),
    case(
        "text.invalid.lone_bf",
        "a lone continuation byte BF fails the connection",
        "3629 §4",
        |t| invalid(t, b"abc\xbfdef"),
    ),
    case(
        "text.invalid.overlong_2",
        "C0 80, an overlong NUL, fails the connection",
        "3629 §3",
        |t| invalid(t, b"\xc0\x80"),
    ),
    case(
        "text.invalid.overlong_2_last",
        "C1 BF, an overlong DEL, fails the connection",
        "3629 §3",
        |t| invalid(t, b"\xc1\xbf"),
    ),
    case(
        "text.invalid.overlong_slash",
        "C0 AF, an overlong slash, fails the connection",
        "3629 §10",
        |t| invalid(t, b"a\xc0\xafb"),
    ),
    case(
        "text.invalid.overlong_3",
        "E0 80 80, overlong, fails the connection",
        "3629 §3",
        |t| invalid(t, b"\xe0\x80\x80"),
    ),
    case(
        "text.invalid.overlong_3_last",
        "E0 9F BF, overlong, fails the connection",
        "3629 §3",
        |t| invalid(t, b"\xe0\x9f\xbf"),
    ),
    case(
        "text.invalid.overlong_4",
        "F0 80 80 80, overlong, fails the connection",
        "3629 §3",
        |t| invalid(t, b"\xf0\x80\x80\x80"),
    ),
    case(
        "text.invalid.overlong_4_last",
        "F0 8F BF BF, overlong, fails the connection",
        "3629 §3",
        |t| invalid(t, b"\xf0\x8f\xbf\xbf"),
    ),
    case(
        "text.invalid.surrogate_first",
        "ED A0 80, the first surrogate, fails the connection",
        "3629 §3",
        |t| invalid(t, b"\xed\xa0\x80"),
    ),
    case(
        "text.invalid.surrogate_last",
        "ED BF BF, the last surrogate, fails the connection",
        "3629 §3",
        |t| invalid(t, b"\xed\xbf\xbf"),
    ),
    case(
        "text.invalid.surrogate_pair",
        "a pair of surrogates fails the connection",
        "3629 §3",
        |t| invalid(t, b"\xed\xa0\x80\xed\xb0\x80"),
    ),
    case(
        "text.invalid.above_max",
        "F4 90 80 80, beyond U+10FFFF, fails the connection",
        "3629 §3",
        |t| invalid(t, b"\xf4\x90\x80\x80"),
    ),
    case(
        "text.invalid.f5",
        "F5 80 80 80 fails the connection",
        "3629 §3",
        |t| invalid(t, b"\xf5\x80\x80\x80"),
    ),
    case(
        "text.invalid.five_bytes",
        "a sequence of five bytes fails the connection",
        "3629 §3",
        |t| invalid(t, b"\xf8\x88\x80\x80\x80"),
    ),
    case(
        "text.invalid.six_bytes",
        "a sequence of six bytes fails the connection",
        "3629 §3",
        |t| invalid(t, b"\xfc\x84\x80\x80\x80\x80"),
    ),
    case(
        "text.invalid.fe",
        "FE fails the connection",
        "3629 §3",
        |t| invalid(t, b"\xfe"),
    ),
    case(
        "text.invalid.ff",
        "FF fails the connection",
        "3629 §3",
        |t| invalid(t, b"ok\xffok"),
    ),
    case(
        "text.invalid.cut_2",
        "a message that ends within a character of two bytes fails the connection",
        "3629 §4",
        |t| invalid(t, b"a\xc3"),
    ),
    case(
        "text.invalid.cut_3",
        "a message that ends within a character of three bytes fails the connection",
        "3629 §4",
        |t| invalid(t, b"a\xe2\x82"),
    ),
    case(
        "text.invalid.cut_4",
        "a message that ends within a character of four bytes fails the connection",
        "3629 §4",
        |t| invalid(t, b"a\xf0\x9f\x98"),
    ),
    case(
        "text.invalid.broken_off",
        "a character broken off by ASCII fails the connection",
        "3629 §4",
        |t| invalid(t, b"\xe2\x82abc"),
    ),
    case(
        "text.invalid.far_behind",
        "a wrong byte behind 60,000 right ones fails the connection",
        "6455 §8.1",
        |t| invalid(t, &[&[b'a'; 60_000][..], b"\xff"].concat()),
    ),
    case(
        "text.fragments.between",
        "a character cut by fragments anywhere is whole",
        "6455 §5.6",
        between,
    ),
    case(
        "text.fragments.bytes",
        "each byte of a text in a fragment of its own is the same text",
        "6455 §5.6",
        |t| {
            let text = "κόσμε 𝄞 €";
            let bytes: Vec<[u8; 1]> = text.bytes().map(|byte| [byte]).collect();
            t.echoes(&texts(&bytes), Expected::Text(text))
        },
    ),
    case(
        "text.fragments.ping_inside",
        "a ping inside a cut character does no harm",
        "6455 §5.4",
        |t| {
            let mut client = t.open()?;
            client.send_frames(&[
                Frame::text(b"\xe2\x82").unfinished(),
                Frame::ping("\u{20ac}"),
            ])?;
            client.expect_pong("\u{20ac}".as_bytes())?;
            client.send_frame(&Frame::continuation(b"\xac"))?;
            client.expect_text("\u{20ac}")?;
            works_and_closes(client)
        },
    ),
    case(
        "text.fragments.invalid_across",
        "a wrong byte across two fragments fails the connection",
        "6455 §8.1",
        |t| t.fails(&texts(&[b"\xe2\x82", b"ab"]), NOT_UTF8),
    ),
    case(
        "text.fragments.cut_end",
        "a message of fragments that ends within a character fails the connection",
        "6455 §8.1",
        |t| t.fails(&texts(&[&b"a"[..], b"b\xe2\x82"]), NOT_UTF8),
    ),
    case(
        "text.fragments.cut_then_empty",
        "an empty last fragment does not complete a character",
        "6455 §8.1",
        |t| t.fails(&texts(&[&b"\xe2\x82"[..], b""]), NOT_UTF8),
    ),
    case(
        "text.segments.bytes",
        "a text that comes byte by byte is the same",
        "6455 §5.6",
        |t| {
            let mut client = t.open()?;
            let bytes = Frame::text("κό𝄞").bytes();
            client.send_in_pieces(&bytes, 1, Duration::from_micros(500))?;
            client.expect_text("κό𝄞")?;
            works_and_closes(client)
        },
    ),
    case(
        "text.early.fragment",
        "a wrong byte in an unfinished message fails the connection at once",
        "6455 §8.1",
        |t| early(t, &Frame::text(b"ab\xff").unfinished().bytes()),
    ),
    case(
        "text.early.frame",
        "a wrong byte in an unfinished frame fails the connection at once",
        "6455 §8.1",
        |t| early(t, &Frame::text(b"ab\xffcd").declare(1000).bytes()),
    ),
    case(
        "text.early.second_fragment",
        "a wrong byte in the second fragment of three fails the connection at once",
        "6455 §8.1",
        |t| {
            let frames = [
                Frame::text("ab").unfinished(),
                Frame::continuation(b"\xc0").unfinished(),
            ];
            early(
                t,
                &frames.iter().flat_map(Frame::bytes).collect::<Vec<u8>>(),
            )
        },
    ),
    case(
        "text.binary_is_free",
        "binary messages may have any bytes",
        "6455 §5.6",
        |t| {
            let all: Vec<u8> = (0..=255).collect();
            t.echoes(&[Frame::binary(&all)], Expected::Binary(&all))
        },
    ),
    case(
        "text.kind_of_first",
        "the first fragment says whether a message is text",
        "6455 §5.4",
        |t| {
            let frames = [
                Frame::binary(b"\xc0").unfinished(),
                Frame::continuation(b"\xff"),
            ];
            t.echoes(&frames, Expected::Binary(b"\xc0\xff"))
        },
    ),
];

fn valid(t: &Target, text: &str) -> Outcome {
    t.echoes(&[Frame::text(text)], Expected::Text(text))
}

fn invalid(t: &Target, bytes: &[u8]) -> Outcome {
    t.fails(&[Frame::text(bytes)], NOT_UTF8)
}

/// RFC 6455 §8.1 asks to fail; at once is better, but only good practice.
fn early(t: &Target, bytes: &[u8]) -> Outcome {
    let mut client = t.open()?;
    client.set_timeout(t.timeout.min(Duration::from_secs(2)));
    client.send(bytes)?;
    match failed(&mut client, NOT_UTF8)? {
        super::verdict::Verdict::Fail(reason) if reason == "does not fail the connection" => {
            // It may still notice at the message's end.
            client.send(&Frame::continuation(vec![b'x'; 1000]).bytes())?;
            match client.receive_any()? {
                Received::Frame(frame) if frame.close_body()?.0 == Some(1007) => {
                    loose("fails only at the message's end")
                }
                received => super::target::fail(format!("received {received:?}")),
            }
        }
        verdict => Ok(verdict),
    }
}

fn between(t: &Target) -> Outcome {
    let text = "é€𝄞";
    let mut client = t.open()?;
    for cut in 0..=text.len() {
        let (first, last) = text.as_bytes().split_at(cut);
        client.send_frames(&texts(&[first, last]))?;
        client.expect_text(text)?;
    }
    works_and_closes(client)
}
