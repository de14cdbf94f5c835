//! RFC 6455 §5 to §8, one rule a test.

use roost_wire::fuzz::OwnedMessage::{Binary, Close, Ping, Pong, Text};
use roost_wire::fuzz::{OwnedMessage, transcript};
use roost_wire::{CloseCode, Limits, ProtocolError, Role};

use crate::support::{MASK, WIDE, decode, decode_with, frame, masked};

/// The whole stream decodes to exactly these messages.
#[track_caller]
fn messages(stream: &[u8], expected: &[OwnedMessage]) {
    let transcript = decode(stream);
    assert_eq!(transcript.error, None);
    assert_eq!(transcript.messages, expected);
}

/// The stream ends in this error, after these messages.
#[track_caller]
fn error_after(stream: &[u8], expected: &[OwnedMessage], error: ProtocolError) {
    let transcript = decode(stream);
    assert_eq!(transcript.error, Some(error));
    assert_eq!(transcript.messages, expected);
}

#[track_caller]
fn error(stream: &[u8], expected: ProtocolError) {
    error_after(stream, &[], expected);
}

fn text(text: &str) -> OwnedMessage {
    Text(text.to_owned())
}

#[test]
fn examples_of_section_5_7() {
    let hello = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    let fragments = [0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f];
    let ping = [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    let mut long = vec![0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0];
    long.resize(10 + 65536, 7);
    for (stream, expected) in [
        (&hello[..], text("Hello")),
        (&fragments[..], text("Hello")),
        (&ping[..], Ping(b"Hello".to_vec())),
        (&long[..], Binary(vec![7; 65536])),
    ] {
        let transcript = decode_with(stream, Role::Client, &WIDE);
        assert_eq!(transcript.messages, [expected]);
    }
    let masked_hello = [
        0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ];
    messages(&masked_hello, &[text("Hello")]);
}

#[test]
fn every_length_form_at_its_bounds() {
    for len in [0, 1, 125, 126, 127, 65535, 65536, 65537] {
        let payload = vec![0x61; len];
        messages(&frame(0x82, &payload), &[Binary(payload)]);
    }
}

#[test]
fn s5_1_a_client_masks_and_a_server_does_not() {
    error(&[0x81, 0x00], ProtocolError::Unmasked);
    error(&[0x89, 0x00], ProtocolError::Unmasked);
    let transcript = decode_with(&frame(0x81, b"x"), Role::Client, &WIDE);
    assert_eq!(transcript.error, Some(ProtocolError::Masked));
    let transcript = decode_with(&frame(0x88, b""), Role::Client, &WIDE);
    assert_eq!(transcript.error, Some(ProtocolError::Masked));
}

#[test]
fn s5_2_reserved_bits() {
    for bits in 1..8 {
        for opcode in [0x1, 0x2, 0x8, 0x9, 0xa] {
            error(
                &frame(0x80 | bits << 4 | opcode, b""),
                ProtocolError::ReservedBit,
            );
        }
        let mut continued = frame(0x01, b"a");
        continued.extend(frame(0x80 | bits << 4, b"b"));
        error(&continued, ProtocolError::ReservedBit);
    }
}

#[test]
fn s5_2_reserved_opcodes() {
    for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        error(&frame(0x80 | opcode, b""), ProtocolError::ReservedOpcode);
        error(&frame(opcode, b"x"), ProtocolError::ReservedOpcode);
    }
}

#[test]
fn s5_2_lengths_are_minimal() {
    for len in [0_u16, 1, 125] {
        let mut header = vec![0x82, 0x80 | 126];
        header.extend(len.to_be_bytes());
        error(
            &masked(header, &vec![0; len.into()]),
            ProtocolError::LengthNotMinimal,
        );
    }
    for len in [0_u64, 125, 126, 65535] {
        let mut header = vec![0x82, 0x80 | 127];
        header.extend(len.to_be_bytes());
        error(
            &masked(header, &vec![0; len as usize]),
            ProtocolError::LengthNotMinimal,
        );
    }
}

/// NATS CVE-2026-27889, undici CVE-2026-1528: a 64-bit length with its top bit set.
#[test]
fn s5_2_huge_lengths() {
    for (len, expected) in [
        (1 << 63, ProtocolError::LengthOverflow),
        (u64::MAX, ProtocolError::LengthOverflow),
        (u64::MAX - 9, ProtocolError::LengthOverflow),
        ((1 << 63) - 1, ProtocolError::FrameTooBig),
        (1 << 62, ProtocolError::FrameTooBig),
        (u64::from(u32::MAX) + 1, ProtocolError::FrameTooBig),
    ] {
        let mut header = vec![0x82, 0x80 | 127];
        header.extend(len.to_be_bytes());
        // Known at the last byte of the length, before any mask.
        error(&header, expected);
    }
}

/// gorilla CVE-2020-27813: lengths of several frames whose sum overflows.
#[test]
fn huge_lengths_do_not_add_up_past_the_limit() {
    let limits = Limits {
        frame_bytes_max: usize::MAX,
        message_bytes_max: usize::MAX,
    };
    let mut stream = frame(0x02, b"abc");
    stream.extend([0x80, 0x80 | 127]);
    stream.extend((i64::MAX as u64).to_be_bytes());
    stream.extend(MASK);
    stream.extend(b"wxyz");
    let transcript = decode_with(&stream, Role::Server, &limits);
    assert_eq!((transcript.error, transcript.messages), (None, vec![]));

    let limits = Limits {
        frame_bytes_max: usize::MAX,
        message_bytes_max: i64::MAX as usize,
    };
    let transcript = decode_with(&stream, Role::Server, &limits);
    assert_eq!(transcript.error, Some(ProtocolError::MessageTooBig));
}

#[test]
fn s5_4_fragments_make_one_message() {
    let mut stream = frame(0x01, b"a");
    stream.extend(frame(0x00, b""));
    stream.extend(frame(0x00, b"bc"));
    stream.extend(frame(0x80, b""));
    stream.extend(frame(0x02, b""));
    stream.extend(frame(0x80, b""));
    stream.extend(frame(0x81, b""));
    messages(&stream, &[text("abc"), Binary(vec![]), text("")]);
}

#[test]
fn s5_4_control_frames_stand_between_fragments() {
    let mut stream = frame(0x01, "«".as_bytes());
    stream.extend(frame(0x89, b"1"));
    stream.extend(frame(0x00, b"x"));
    stream.extend(frame(0x8a, b""));
    stream.extend(frame(0x89, &[9; 125]));
    stream.extend(frame(0x80, "»".as_bytes()));
    messages(
        &stream,
        &[
            Ping(b"1".to_vec()),
            Pong(vec![]),
            Ping(vec![9; 125]),
            text("«x»"),
        ],
    );
}

#[test]
fn s5_4_order_of_fragments() {
    error(&frame(0x80, b"x"), ProtocolError::ContinuationUnexpected);
    error(&frame(0x00, b""), ProtocolError::ContinuationUnexpected);
    let whole = frame(0x81, b"a");
    for second in [0x01, 0x81, 0x02, 0x82] {
        let stream = [frame(0x01, b"a"), frame(second, b"b")].concat();
        error(&stream, ProtocolError::ContinuationExpected);
    }
    let stream = [whole, frame(0x80, b"b")].concat();
    error_after(&stream, &[text("a")], ProtocolError::ContinuationUnexpected);
    let stream = [frame(0x01, b"a"), frame(0x80, b"b"), frame(0x80, b"c")].concat();
    error_after(
        &stream,
        &[text("ab")],
        ProtocolError::ContinuationUnexpected,
    );
}

#[test]
fn s5_5_control_frames_are_short_and_whole() {
    for opcode in [0x8, 0x9, 0xa] {
        error(&frame(opcode, b""), ProtocolError::ControlFragmented);
        error(
            &frame(0x80 | opcode, &[b'a'; 126]),
            ProtocolError::ControlTooLong,
        );
        // In the 16-bit form the length is too long whatever it says.
        error(&[0x80 | opcode, 0xfe], ProtocolError::ControlTooLong);
        error(&[0x80 | opcode, 0xff], ProtocolError::ControlTooLong);
    }
    messages(&frame(0x89, &[b'a'; 125]), &[Ping(vec![b'a'; 125])]);
    messages(&frame(0x8a, &[b'a'; 125]), &[Pong(vec![b'a'; 125])]);
}

#[test]
fn s5_5_limits_do_not_concern_control_frames() {
    let limits = Limits {
        frame_bytes_max: 1,
        message_bytes_max: 1,
    };
    let transcript = decode_with(&frame(0x89, &[1; 125]), Role::Server, &limits);
    assert_eq!(transcript.messages, [Ping(vec![1; 125])]);
}

#[test]
fn s5_5_1_close_bodies() {
    messages(&frame(0x88, b""), &[Close(None, String::new())]);
    error(&frame(0x88, b"\x03"), ProtocolError::CloseBodyTooShort);
    let body = [&1000_u16.to_be_bytes()[..], "Grüße".as_bytes()].concat();
    messages(
        &frame(0x88, &body),
        &[Close(Some(CloseCode::NORMAL), "Grüße".to_owned())],
    );
    let body = [&1000_u16.to_be_bytes()[..], &[b'r'; 123]].concat();
    messages(
        &frame(0x88, &body),
        &[Close(Some(CloseCode::NORMAL), "r".repeat(123))],
    );
    for reason in [&b"\xff"[..], b"ab\xc3", b"\xed\xa0\x80"] {
        let body = [&1000_u16.to_be_bytes()[..], reason].concat();
        error(&frame(0x88, &body), ProtocolError::CloseReasonNotUtf8);
    }
}

/// Autobahn 7.7 and 7.9, and every other number.
#[test]
fn s7_4_close_codes() {
    for code in 0..=u16::MAX {
        let stream = frame(0x88, &code.to_be_bytes());
        let transcript = transcript(&stream, [stream.len()], Role::Server, &WIDE);
        let legal = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let error = (!legal).then_some(ProtocolError::CloseCodeInvalid);
        assert_eq!(transcript.error, error, "close code {code}");
        let got: Vec<_> = legal
            .then(|| Close(CloseCode::new(code), String::new()))
            .into_iter()
            .collect();
        assert_eq!(transcript.messages, got, "close code {code}");
    }
}

#[test]
fn s8_1_text_is_utf8() {
    for good in [
        "κόσμε",
        "\u{10FFFF}",
        "\u{FFFF}",
        "\u{D7FF}\u{E000}",
        "\0",
        "",
    ] {
        messages(&frame(0x81, good.as_bytes()), &[text(good)]);
        for cut in 0..=good.len() {
            let (head, tail) = good.as_bytes().split_at(cut);
            messages(
                &[frame(0x01, head), frame(0x80, tail)].concat(),
                &[text(good)],
            );
        }
    }
    for bad in [
        &b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"[..], // surrogate
        b"\xc0\xaf",                                                            // overlong
        b"\xf4\x90\x80\x80",                                                    // above U+10FFFF
        b"\xf8\x88\x80\x80\x80",                                                // five bytes
        b"\x80",                                                                // continuation
        b"abc\xff",
        b"\xe2\x82", // cut at the end of the message
    ] {
        error(&frame(0x81, bad), ProtocolError::TextNotUtf8);
        for cut in 0..=bad.len() {
            let (head, tail) = bad.split_at(cut);
            error(
                &[frame(0x01, head), frame(0x80, tail)].concat(),
                ProtocolError::TextNotUtf8,
            );
        }
    }
}

/// Autobahn 6.4: the connection fails at the byte that makes the text invalid, not at the end of
/// the frame or of the message.
#[test]
fn s8_1_bad_text_fails_at_once() {
    let bad = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited";
    // 0xf4 may begin a character, 0x90 cannot follow it.
    let offending = 12;
    let stream = frame(0x81, bad);
    let header = stream.len() - bad.len();
    let before = transcript(
        &stream[..header + offending],
        [stream.len()],
        Role::Server,
        &WIDE,
    );
    assert_eq!(before.error, None);
    let after = transcript(
        &stream[..header + offending + 1],
        [stream.len()],
        Role::Server,
        &WIDE,
    );
    assert_eq!(after.error, Some(ProtocolError::TextNotUtf8));

    let fragments = [
        frame(0x01, &bad[..offending]),
        frame(0x00, &bad[offending..]),
    ]
    .concat();
    error(&fragments, ProtocolError::TextNotUtf8);
}

#[test]
fn limits_hold_at_the_header() {
    let limits = Limits {
        frame_bytes_max: 100,
        message_bytes_max: 150,
    };
    let run = |stream: &[u8]| decode_with(stream, Role::Server, &limits).error;
    assert_eq!(run(&frame(0x82, &[0; 100])), None);
    // The header alone is enough to be refused.
    assert_eq!(run(&[0x82, 0x80 | 101]), Some(ProtocolError::FrameTooBig));
    assert_eq!(
        run(&frame(0x82, &[0; 101])),
        Some(ProtocolError::FrameTooBig)
    );
    let first = frame(0x02, &[0; 100]);
    assert_eq!(run(&[&first[..], &frame(0x80, &[0; 50])].concat()), None);
    assert_eq!(
        run(&[&first[..], &[0x00, 0x80 | 51]].concat()),
        Some(ProtocolError::MessageTooBig)
    );
    // Every fragment counts.
    let three = [
        &frame(0x02, &[0; 60])[..],
        &frame(0x00, &[0; 60]),
        &[0x80, 0x80 | 31],
    ]
    .concat();
    assert_eq!(run(&three), Some(ProtocolError::MessageTooBig));
    let small = Limits {
        frame_bytes_max: 100,
        message_bytes_max: 50,
    };
    let whole = decode_with(&frame(0x82, &[0; 51]), Role::Server, &small);
    assert_eq!(whole.error, Some(ProtocolError::MessageTooBig));
    // The next message counts from nothing.
    let two = [&first[..], &frame(0x80, &[0; 50]), &frame(0x82, &[0; 100])].concat();
    assert_eq!(run(&two), None);
}

#[test]
fn every_error_has_code_name_and_reason() {
    use ProtocolError::*;
    let all = [
        ReservedBit,
        ReservedOpcode,
        Unmasked,
        Masked,
        LengthNotMinimal,
        LengthOverflow,
        ControlFragmented,
        ControlTooLong,
        ContinuationUnexpected,
        ContinuationExpected,
        CloseBodyTooShort,
        CloseCodeInvalid,
        CloseReasonNotUtf8,
        TextNotUtf8,
        DeflateInvalid,
        FrameTooBig,
        MessageTooBig,
    ];
    let names: std::collections::HashSet<_> = all.iter().map(|error| error.name()).collect();
    assert_eq!(names.len(), all.len(), "names are distinct");
    for error in all {
        assert!(
            CloseCode::new(error.close_code().get()).is_some(),
            "{error}"
        );
        // RFC 6455 §7.4.1: 1011 would be the server's own mistake, and these are the peer's.
        let code = error.close_code().get();
        assert!(matches!(code, 1002 | 1007 | 1009), "{error}: {code}");
        assert!(error.reason().len() <= 123, "{error}");
        let is_capital = |c: char| c.is_ascii_uppercase();
        assert!(error.reason().starts_with(is_capital), "{error}");
        assert!(error.reason().ends_with('.'), "{error}");
    }
    assert_eq!(TextNotUtf8.close_code(), CloseCode::INVALID_PAYLOAD);
    assert_eq!(FrameTooBig.close_code(), CloseCode::TOO_BIG);
}
