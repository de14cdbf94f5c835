//! What a server sends, read back by a client's decoder.

use roost_wire::frame::{
    append_close, append_frame, append_masked_frame, append_message, split_frame,
};
use roost_wire::fuzz::OwnedMessage::{Binary, Close, Ping, Text};
use roost_wire::{CloseCode, Frozen, Opcode, Role};

use crate::support::{WIDE, decode, decode_with, frame};

#[test]
fn a_message_is_one_frame() {
    for len in [0, 1, 125, 126, 65535, 65536, 100_000] {
        let payload = vec![0x62; len];
        let frozen = Frozen::message(Opcode::Binary, &payload);
        assert_eq!(frozen.opcode(), Opcode::Binary);
        assert_eq!(frozen.payload(), Some(&payload[..]));
        assert_eq!(frozen.len(), frozen.as_bytes().len());
        let mut appended = Vec::new();
        append_frame(&mut appended, Opcode::Binary, &payload);
        assert_eq!(frozen.as_bytes(), appended);
        let transcript = decode_with(frozen.as_bytes(), Role::Client, &WIDE);
        assert_eq!(transcript.messages, [Binary(payload)]);
    }
}

#[test]
fn parts_join() {
    let frozen = Frozen::from_parts(Opcode::Text, &[b"[36,", b"7", b"", b"]"]);
    assert_eq!(frozen, Frozen::message(Opcode::Text, b"[36,7]"));
    assert_eq!(frozen.as_bytes(), b"\x81\x06[36,7]");
}

#[test]
fn a_clone_shares() {
    let frozen = Frozen::message(Opcode::Text, b"x");
    assert!(std::sync::Arc::ptr_eq(
        frozen.shared(),
        frozen.clone().shared()
    ));
}

#[test]
fn fragments_are_at_most_as_long_as_asked() {
    let payload: String = "äöü€".repeat(100);
    for size in [1, 3, 125, 126, payload.len() - 1] {
        let frozen = Frozen::fragmented(Opcode::Text, payload.as_bytes(), size);
        assert_eq!(frozen.opcode(), Opcode::Text);
        assert_eq!(frozen.payload(), None);
        assert_eq!(frozen.as_bytes()[0], 0x01, "the first frame lacks FIN");
        let transcript = decode_with(
            frozen.as_bytes(),
            Role::Client,
            &roost_wire::Limits {
                frame_bytes_max: size,
                ..WIDE
            },
        );
        assert_eq!(transcript.error, None, "size {size}");
        assert_eq!(transcript.messages, [Text(payload.clone())], "size {size}");
    }
    for size in [payload.len(), payload.len() + 1] {
        let frozen = Frozen::fragmented(Opcode::Text, payload.as_bytes(), size);
        assert_eq!(frozen, Frozen::message(Opcode::Text, payload.as_bytes()));
    }
}

#[test]
fn what_is_framed_comes_apart_again() {
    for len in [0, 1, 125, 126, 127, 65535, 65536, 70_000] {
        let payload: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
        for size in [1000, 65536, usize::MAX] {
            for rsv1 in [false, true] {
                let mut bytes = Vec::new();
                append_message(&mut bytes, Opcode::Text, rsv1, &payload, size);
                let frozen = match rsv1 {
                    false => Frozen::fragmented(Opcode::Text, &payload, size),
                    true => Frozen::compressed(Opcode::Text, &payload, size),
                };
                assert_eq!(bytes, frozen.as_bytes(), "{len} bytes in frames of {size}");
                let (mut rest, mut joined, mut opcode) = (&bytes[..], Vec::new(), Opcode::Text);
                while let Some((header, payload, behind)) = split_frame(rest) {
                    assert_eq!((header.opcode, header.len), (opcode, payload.len() as u64));
                    assert_eq!(header.rsv1, rsv1 && joined.is_empty());
                    assert_eq!(header.fin, behind.is_empty());
                    joined.extend_from_slice(payload);
                    (rest, opcode) = (behind, Opcode::Continuation);
                }
                assert!(rest.is_empty() && joined == payload, "{len} in {size}");
            }
        }
    }
}

#[test]
fn what_is_no_frame_of_ours_is_not_taken_apart() {
    let whole = Frozen::message(Opcode::Binary, &[7; 300]);
    for cut in 0..whole.len() {
        assert_eq!(split_frame(&whole.as_bytes()[..cut]), None, "cut at {cut}");
    }
    for wrong in [
        &b"\x81\x81abcde"[..],                         // masked
        b"\x83\x00",                                   // a reserved opcode
        b"\xa1\x00",                                   // RSV2
        b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff\0", // longer than any memory
    ] {
        assert_eq!(split_frame(wrong), None, "{}", wrong.escape_ascii());
    }
}

#[test]
fn control_frames() {
    assert_eq!(
        Frozen::control(Opcode::Pong, b"hi").as_bytes(),
        b"\x8a\x02hi"
    );
    assert_eq!(
        Frozen::close(CloseCode::GOING_AWAY, "bye").as_bytes(),
        b"\x88\x05\x03\xe9bye"
    );
    let mut appended = Vec::new();
    append_close(&mut appended, CloseCode::GOING_AWAY, "bye");
    assert_eq!(appended, b"\x88\x05\x03\xe9bye");
}

#[test]
fn a_long_reason_is_cut_between_characters() {
    let frozen = Frozen::close(CloseCode::NORMAL, &"€".repeat(50));
    let transcript = decode_with(frozen.as_bytes(), Role::Client, &WIDE);
    // 41 characters of 3 bytes are 123 bytes.
    let expected = Close(Some(CloseCode::NORMAL), "€".repeat(41));
    assert_eq!(transcript.messages, [expected]);
    let frozen = Frozen::close(CloseCode::NORMAL, &"ä".repeat(80));
    assert_eq!(frozen.len(), 2 + 2 + 122, "one byte short, at a boundary");
}

#[test]
#[should_panic(expected = "at most 125 bytes")]
fn a_long_ping_is_our_mistake() {
    Frozen::control(Opcode::Ping, &[0; 126]);
}

#[test]
fn a_client_masks() {
    let mut out = Vec::new();
    append_masked_frame(&mut out, Opcode::Ping, b"hello", crate::support::MASK);
    assert_eq!(out, frame(0x89, b"hello"));
    assert_eq!(decode(&out).messages, [Ping(b"hello".to_vec())]);
}
