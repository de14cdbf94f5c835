//! Extensions offered, rightly and wrongly (RFC 6455 §9.1, RFC 7692 §7.1).

use super::case::{Case, case};
use super::target::{Target, closes, fail, failed, judge_refusal, loose, skip, works_and_closes};
use super::verdict::Outcome;
use crate::client::{ACCEPT, Client, Failure, Frame, RSV1, opcode};

pub(super) const CASES: &[Case] = &[
    case(
        "extension.unknown",
        "an unknown extension is declined",
        "6455 §9.1",
        |t| declined(t, &["x-unknown"]),
    ),
    case(
        "extension.unknown_parameters",
        "an unknown extension with parameters is declined",
        "6455 §9.1",
        |t| declined(t, &["x-unknown; a=b; c; d=\"e\""]),
    ),
    case(
        "extension.unknown_many",
        "several unknown extensions in two lines are declined",
        "6455 §9.1",
        |t| declined(t, &["x-a, x-b;c , x-a", "x-d"]),
    ),
    case(
        "extension.quoted_token",
        "a quoted value that is a token is right",
        "6455 §9.1",
        |t| declined(t, &["x-unknown; a=\"b\\c\""]),
    ),
    case(
        "extension.empty_elements",
        "empty elements of the list are ignored",
        "9110 §5.6.1.2",
        |t| declined(t, &[", x-unknown ,,"]),
    ),
    case(
        "extension.deflate_frame",
        "x-webkit-deflate-frame is declined",
        "6455 §9.1",
        |t| declined(t, &["x-webkit-deflate-frame"]),
    ),
    case(
        "extension.malformed.no_name",
        "an extension without name fails the handshake",
        "6455 §9.1",
        |t| malformed(t, "; a=b"),
    ),
    case(
        "extension.malformed.space",
        "an extension's name of two words fails the handshake",
        "6455 §9.1",
        |t| malformed(t, "x-a b"),
    ),
    case(
        "extension.malformed.no_value",
        "a parameter with = and no value fails the handshake",
        "6455 §9.1",
        |t| malformed(t, "x-a; b="),
    ),
    case(
        "extension.malformed.no_parameter",
        "a semicolon without parameter fails the handshake",
        "6455 §9.1",
        |t| malformed(t, "x-a;"),
    ),
    case(
        "extension.malformed.no_parameter_name",
        "a value without parameter fails the handshake",
        "6455 §9.1",
        |t| malformed(t, "x-a; =b"),
    ),
    case(
        "extension.malformed.unclosed_quote",
        "an unclosed quote fails the handshake",
        "6455 §9.1",
        |t| malformed(t, "x-a; b=\"c"),
    ),
    case(
        "extension.malformed.quoted_space",
        "a quoted value that is no token fails the handshake",
        "6455 §9.1",
        |t| malformed(t, "x-a; b=\"c d\""),
    ),
    case(
        "extension.malformed.empty_quote",
        "an empty quoted value fails the handshake",
        "6455 §9.1",
        |t| malformed(t, "x-a; b=\"\""),
    ),
    case(
        "deflate.plain",
        "permessage-deflate is declined or agreed to exactly",
        "7692 §7.1",
        |t| offer(t, &["permessage-deflate"]),
    ),
    case(
        "deflate.browser",
        "the offer that browsers make is declined or agreed to exactly",
        "7692 §7.1.2.2",
        |t| offer(t, &["permessage-deflate; client_max_window_bits"]),
    ),
    case(
        "deflate.all_parameters",
        "an offer with all parameters is declined or agreed to exactly",
        "7692 §7.1",
        |t| {
            offer(
                t,
                &[
                    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
               server_max_window_bits=12; client_max_window_bits=11",
                ],
            )
        },
    ),
    case(
        "deflate.window_8",
        "a window of 8 bits is declined or kept to",
        "7692 §7.1.2.1",
        |t| offer(t, &["permessage-deflate; server_max_window_bits=8"]),
    ),
    case(
        "deflate.quoted",
        "a quoted window size is the same",
        "6455 §9.1",
        |t| offer(t, &["permessage-deflate; server_max_window_bits=\"10\""]),
    ),
    case(
        "deflate.window_7",
        "server_max_window_bits=7 is declined",
        "7692 §7.1.2.1",
        |t| declined(t, &["permessage-deflate; server_max_window_bits=7"]),
    ),
    case(
        "deflate.window_16",
        "server_max_window_bits=16 is declined",
        "7692 §7.1.2.1",
        |t| declined(t, &["permessage-deflate; server_max_window_bits=16"]),
    ),
    case(
        "deflate.window_leading_zero",
        "server_max_window_bits=09 is declined",
        "7692 §7.1.2.1",
        |t| declined(t, &["permessage-deflate; server_max_window_bits=09"]),
    ),
    case(
        "deflate.window_word",
        "server_max_window_bits=ten is declined",
        "7692 §7.1.2.1",
        |t| declined(t, &["permessage-deflate; server_max_window_bits=ten"]),
    ),
    case(
        "deflate.window_huge",
        "server_max_window_bits=99999999999999999999 is declined",
        "7692 §7.1.2.1",
        |t| {
            declined(
                t,
                &["permessage-deflate; server_max_window_bits=99999999999999999999"],
            )
        },
    ),
    case(
        "deflate.window_none",
        "server_max_window_bits without value is declined",
        "7692 §7.1.2.1",
        |t| declined(t, &["permessage-deflate; server_max_window_bits"]),
    ),
    case(
        "deflate.client_window_7",
        "client_max_window_bits=7 is declined",
        "7692 §7.1.2.2",
        |t| declined(t, &["permessage-deflate; client_max_window_bits=7"]),
    ),
    case(
        "deflate.client_window_16",
        "client_max_window_bits=16 is declined",
        "7692 §7.1.2.2",
        |t| declined(t, &["permessage-deflate; client_max_window_bits=16"]),
    ),
    case(
        "deflate.server_takeover_value",
        "server_no_context_takeover with a value is declined",
        "7692 §7.1.1.1",
        |t| declined(t, &["permessage-deflate; server_no_context_takeover=1"]),
    ),
    case(
        "deflate.client_takeover_value",
        "client_no_context_takeover with a value is declined",
        "7692 §7.1.1.2",
        |t| declined(t, &["permessage-deflate; client_no_context_takeover=true"]),
    ),
    case(
        "deflate.unknown_parameter",
        "an unknown parameter is declined",
        "7692 §7.1",
        |t| declined(t, &["permessage-deflate; x_level=9"]),
    ),
    case(
        "deflate.repeated_parameter",
        "a parameter twice is declined",
        "7692 §7.1",
        |t| {
            declined(
                t,
                &["permessage-deflate; server_no_context_takeover; server_no_context_takeover"],
            )
        },
    ),
    case(
        "deflate.repeated_window",
        "two window sizes are declined",
        "7692 §7.1",
        |t| {
            declined(
                t,
                &["permessage-deflate; server_max_window_bits=10; server_max_window_bits=11"],
            )
        },
    ),
    case(
        "deflate.fallback",
        "behind a bad offer a good one counts",
        "7692 §7.1",
        |t| {
            offer(
                t,
                &["permessage-deflate; server_max_window_bits=7, permessage-deflate"],
            )
        },
    ),
    case(
        "deflate.two_lines",
        "a good offer in a second line counts",
        "7692 §7.1",
        |t| offer(t, &["permessage-deflate; x_level=9", "permessage-deflate"]),
    ),
    case(
        "deflate.use",
        "a compressed message is understood if agreed to, else fails the connection",
        "7692 §6.2",
        used,
    ),
    case(
        "deflate.rsv1_on_control",
        "RSV1 on a ping fails the connection, agreed to or not",
        "7692 §6",
        |t| {
            let (mut client, _) = open(t, &["permessage-deflate"])?;
            client.send_frame(&Frame::ping("").reserved(RSV1))?;
            failed(&mut client, super::target::PROTOCOL_ERROR)
        },
    ),
    case(
        "deflate.rsv1_on_continuation",
        "RSV1 on a continuation fails the connection",
        "7692 §6.1",
        |t| {
            let (mut client, _) = open(t, &["permessage-deflate"])?;
            client.send_frames(&[
                Frame::text("a").unfinished(),
                Frame::continuation("b").reserved(RSV1),
            ])?;
            failed(&mut client, super::target::PROTOCOL_ERROR)
        },
    ),
    case(
        "deflate.uncompressed",
        "a message without RSV1 is not compressed, agreed to or not",
        "7692 §6",
        |t| {
            let (mut client, agreed) = open(t, &["permessage-deflate"])?;
            if agreed.is_empty() {
                return works_and_closes(client);
            }
            client.agree("permessage-deflate", &agreed.join(","))?;
            client.send_text("plain")?;
            client.expect_text("plain")?; // it may be compressed on its way back
            closes(client)
        },
    ),
    case(
        "deflate.garbage",
        "a compressed message that is no deflate stream fails the connection",
        "7692 §7.2.2",
        |t| {
            let (mut client, agreed) = open(t, &["permessage-deflate"])?;
            if agreed.is_empty() {
                return skip("permessage-deflate is declined");
            }
            client.send_frame(&Frame::text([0xff; 20]).reserved(RSV1))?;
            failed(&mut client, &[1002, 1007])
        },
    ),
];

/// Opens with these offers; gives what was agreed to.
fn open(t: &Target, offers: &[&str]) -> Result<(Client, Vec<String>), Failure> {
    let request = offers.iter().fold(t.request(), |request, offer| {
        request.header(format!("Sec-WebSocket-Extensions: {offer}"))
    });
    let mut client = t.connect()?;
    client.send(&request.bytes())?;
    let response = client.read_response()?;
    response.check_accepted(ACCEPT)?;
    let agreed = response.all("Sec-WebSocket-Extensions").join(",");
    let agreed: Vec<String> = agreed
        .split(',')
        .map(|one| one.trim().to_owned())
        .filter(|one| !one.is_empty())
        .collect();
    client.deflate = !agreed.is_empty();
    Ok((client, agreed))
}

/// The WebSocket opens without any extension.
fn declined(t: &Target, offers: &[&str]) -> Outcome {
    let (client, agreed) = open(t, offers)?;
    match agreed.as_slice() {
        [] => works_and_closes(client),
        agreed => fail(format!("agreed to {agreed:?}")),
    }
}

/// RFC 6455 §9.1: a header that breaks the grammar MUST fail the connection.
fn malformed(t: &Target, offer: &str) -> Outcome {
    let mut client = t.connect()?;
    let line = format!("Sec-WebSocket-Extensions: {offer}");
    client.send(&t.request().header(line).bytes())?;
    match client.receive_response()? {
        Some(response) => judge_refusal(response.status, &[400]),
        None => loose("ends without an answer"),
    }
}

/// permessage-deflate is declined, or agreed to as the answer to one of these offers may be, and
/// then kept to.
fn offer(t: &Target, offers: &[&str]) -> Outcome {
    let (mut client, agreed) = open(t, offers)?;
    let answer = match agreed.as_slice() {
        [] => return works_and_closes(client),
        [answer] => answer,
        several => return fail(format!("agreed to {several:?} at once")),
    };
    client.agree(&offers.join(","), answer)?;
    // What begins and ends alike, further apart than a window of 8 bits; each message twice, so
    // that the second could refer to the first.
    let middle: String = (0..300)
        .map(|n| char::from(b'0' + (n * n % 71) as u8))
        .collect();
    let far = format!("to be or not to be{middle}to be or not to be");
    for text in ["Hello, hello, hello", &far] {
        for _ in 0..2 {
            client.send_compressed(opcode::TEXT, text.as_bytes())?;
            client.expect_text(text)?;
            client.send_compressed(opcode::BINARY, text.as_bytes())?;
            client.expect_binary(text.as_bytes())?;
        }
    }
    closes(client)
}

fn used(t: &Target) -> Outcome {
    let (mut client, agreed) = open(t, &["permessage-deflate"])?;
    // RFC 7692 §7.2.3.1: "Hello", compressed.
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    client.send_frame(&Frame::text(hello).reserved(RSV1))?;
    if agreed.is_empty() {
        return failed(&mut client, super::target::PROTOCOL_ERROR);
    }
    client.agree("permessage-deflate", &agreed.join(","))?;
    client.expect_text("Hello")?;
    closes(client)
}
