//! What must hold for any bytes, as functions that panic when it does not.
//!
//! The fuzz targets call them with what the fuzzer finds, the property tests with random bytes and
//! with the corpus. Nothing here is meant for a server.

use std::iter;

use crate::handshake::{self, HeadScanner, Request, Upgrade};
use crate::{CloseCode, Inbound, Input, Limits, Message, PINNED_BYTES_BASE, ProtocolError, Role};

/// What a stream decodes to.
#[derive(Debug, Default, PartialEq)]
pub struct Transcript {
    /// The messages up to the first close or error.
    pub messages: Vec<OwnedMessage>,
    /// The error that ended it.
    pub error: Option<ProtocolError>,
}

/// A [`Message`] of its own.
#[derive(Debug, Clone, PartialEq)]
pub enum OwnedMessage {
    /// [`Message::Text`]
    Text(String),
    /// [`Message::Binary`]
    Binary(Vec<u8>),
    /// [`Message::Ping`]
    Ping(Vec<u8>),
    /// [`Message::Pong`]
    Pong(Vec<u8>),
    /// [`Message::Close`]
    Close(Option<CloseCode>, String),
}

/// Work allowed per byte received, in [`Inbound::steps`].
pub const STEPS_PER_BYTE_MAX: u64 = 16;

/// A request head: the scanner agrees with the parser and with itself, and what is accepted can be
/// answered.
pub fn head(data: &[u8]) {
    let mut scanner = HeadScanner::default();
    let whole = HeadScanner::default().scan(data);
    let stepped = (0..=data.len()).find_map(|len| scanner.scan(&data[..len]));
    assert_eq!(whole, stepped, "a head found whole is found in steps");

    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let parsed = httparse::Request::new(&mut headers).parse(data);
    if let Ok(httparse::Status::Complete(len)) = parsed {
        assert_eq!(whole, Some(len), "the parser ends where the scanner does");
    }
    let Some(head_len) = whole else {
        return;
    };
    assert_ne!(
        parsed,
        Ok(httparse::Status::Partial),
        "a whole head is not partial"
    );
    let Ok(request) = Request::parse(&data[..head_len], HEADERS_MAX) else {
        return;
    };
    assert!(
        request.path().starts_with('/'),
        "a path begins with a slash"
    );
    let mut response = Vec::new();
    match request.upgrade() {
        Upgrade::Plain => {}
        Upgrade::Refused(error) => {
            error.write_response(&mut response);
            let refused = handshake::parse_response(&response, "", &[]);
            assert_eq!(
                refused,
                Err(handshake::ResponseError::Status(error.status()))
            );
        }
        Upgrade::WebSocket(granted) => {
            let protocols: Vec<&str> = granted.protocols().collect();
            let params = granted.extensions().map(|offer| offer.params().count());
            assert!(params.sum::<usize>() <= data.len());
            let chosen = protocols.first().copied();
            handshake::write_accept(&mut response, granted.key(), chosen, None);
            let accepted = handshake::parse_response(&response, granted.key(), &protocols)
                .expect("a client takes what we grant");
            assert_eq!(accepted.protocol, chosen);
        }
    }
}

/// A stream of frames: in one piece, in single bytes and in pieces that `data` chooses it decodes
/// to the same, within the bounds on memory and work.
///
/// The first byte chooses role and limits, the second the pieces' lengths.
pub fn decoder(data: &[u8]) {
    let [rules, pieces, stream @ ..] = data else {
        return;
    };
    let role = match rules & 1 {
        0 => Role::Server,
        _ => Role::Client,
    };
    let limits = Limits {
        frame_bytes_max: 16 << (rules >> 1 & 0x7),
        message_bytes_max: 16 << (rules >> 4 & 0xF),
    };
    let whole = transcript(stream, iter::once(stream.len()), role, &limits);
    let bytes = transcript(stream, iter::repeat(1), role, &limits);
    assert_eq!(whole, bytes, "single bytes");
    let lens = (1..).map(|n: usize| 1 + (n * usize::from(*pieces)) % 61);
    let mixed = transcript(stream, lens, role, &limits);
    assert_eq!(whole, mixed, "mixed pieces");
}

/// Decodes `stream` in pieces of the given lengths (the last one shorter), as a reactor does: what
/// is quiet is dropped and made anew. Panics when memory or work go beyond their bounds.
pub fn transcript(
    stream: &[u8],
    piece_lens: impl IntoIterator<Item = usize>,
    role: Role,
    limits: &Limits,
) -> Transcript {
    let mut transcript = Transcript::default();
    let mut inbound = Inbound::new(role);
    let mut rest = stream;
    let mut steps = 0;
    // Bytes fed since the last text or binary message was whole.
    let mut unfinished = 0;
    for len in piece_lens {
        let (piece, after) = rest.split_at(len.min(rest.len()));
        rest = after;
        // A lease of exactly this size, so that a byte read beyond it is seen.
        let mut lease = piece.to_vec();
        let mut input = Input::new(&mut lease);
        unfinished += piece.len();
        loop {
            match inbound.next(&mut input, limits) {
                Ok(Some(message)) => transcript.messages.push(own(message)),
                Ok(None) => break,
                Err(error) => {
                    transcript.error = Some(error);
                    return transcript;
                }
            }
            check_pinned(&inbound, unfinished);
            match transcript.messages.last() {
                Some(OwnedMessage::Close(..)) => return transcript,
                Some(OwnedMessage::Text(_) | OwnedMessage::Binary(_)) => unfinished = input.len(),
                _ => {}
            }
        }
        assert!(input.is_empty(), "`None` means that the input is used up");
        check_pinned(&inbound, unfinished);
        if inbound.is_quiet() {
            steps += inbound.steps();
            inbound = Inbound::new(role);
        }
        let received = stream.len() - rest.len();
        let worked = steps + inbound.steps();
        assert!(
            worked <= STEPS_PER_BYTE_MAX * (1 + received as u64),
            "{worked} steps for {received} bytes"
        );
        if rest.is_empty() {
            break;
        }
    }
    transcript
}

fn check_pinned(inbound: &Inbound, unfinished: usize) {
    let pinned = inbound.pinned_bytes();
    assert!(
        pinned <= PINNED_BYTES_BASE + 2 * unfinished,
        "{pinned} bytes pinned for {unfinished} received"
    );
}

fn own(message: Message<'_>) -> OwnedMessage {
    match message {
        Message::Text(text) => OwnedMessage::Text(text.to_owned()),
        Message::Binary(bytes) => OwnedMessage::Binary(bytes.to_owned()),
        Message::Ping(bytes) => OwnedMessage::Ping(bytes.to_owned()),
        Message::Pong(bytes) => OwnedMessage::Pong(bytes.to_owned()),
        Message::Close(code, reason) => OwnedMessage::Close(code, reason.to_owned()),
    }
}

const HEADERS_MAX: usize = 64;
