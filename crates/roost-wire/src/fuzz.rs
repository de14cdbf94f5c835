//! What must hold for any bytes, as functions that panic when it does not.
//!
//! The fuzz targets call them with what the fuzzer finds, the property tests with random bytes and
//! with the corpus. Nothing here is meant for a server.

mod before_frames;

use std::iter;

pub use before_frames::{body, forwarded, head, proxy};

use crate::deflate::{Deflater, Inflater};
use crate::frame::{append_masked_frame, append_message};
use crate::hixie;
use crate::{
    CloseCode, Frozen, Inbound, Input, Limits, Message, Opcode, PINNED_BYTES_BASE, ProtocolError,
    Role,
};

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

/// Work allowed per byte inflated, in [`Inflater::steps`]: deflate makes at most 1,032 bytes of one,
/// and a buffer that doubles and then grows to its limit copies at most twice as many.
pub const STEPS_PER_DEFLATED_BYTE_MAX: u64 = 3200;

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
    let mixed = transcript(stream, mixed_lens(*pieces), role, &limits);
    assert_eq!(whole, mixed, "mixed pieces");
}

/// Compressed messages: what inflates does so within the limit, alone and in frames alike; what is
/// deflated inflates to itself; messages that share a context do so however they are cut.
///
/// The first byte chooses the limit, the frames' pieces and the compressor; the rest is taken for
/// a compressed payload, for a message, for several of both, and for frames as a client may send
/// them.
pub fn deflate(data: &[u8]) {
    let [rules, payload @ ..] = data else {
        return;
    };
    let bytes_max = 64 << (rules & 0xF);
    let limits = Limits {
        frame_bytes_max: usize::MAX,
        message_bytes_max: bytes_max.max(payload.len()),
    };
    let mut inflater = Inflater::new();
    let inflated = inflater.inflate(payload, bytes_max).map(<[u8]>::to_vec);
    if let Ok(message) = &inflated {
        assert!(message.len() <= bytes_max, "inflated to {}", message.len());
    }
    assert!(inflater.buffer_bytes() <= bytes_max + 1);
    let steps_max = STEPS_PER_DEFLATED_BYTE_MAX * (16 + payload.len() as u64);
    assert!(inflater.steps() <= steps_max, "{} steps", inflater.steps());

    // The same inflater takes the same message the same way, whatever came before it, be the
    // message in one frame or in two that are cut.
    let whole = inflater
        .inflate(payload, limits.message_bytes_max)
        .map(|bytes| vec![OwnedMessage::Binary(bytes.to_vec())]);
    let stream = Frozen::compressed(Opcode::Binary, payload, 1 + payload.len() / 2);
    let lens = iter::repeat(1 + usize::from(rules >> 4));
    let framed = transcript_inflating(
        stream.as_bytes(),
        lens,
        Role::Client,
        &limits,
        Some(&mut inflater),
    );
    match whole {
        Ok(messages) => assert_eq!(framed.messages, messages),
        Err(error) => assert_eq!(framed.error, Some(error)),
    }

    let takeover = rules & 0x40 != 0;
    let mut deflater = Deflater::with_window(1 + rules % 9, 9 + rules % 7, takeover);
    let mut inflater = Inflater::with_takeover(takeover);
    for message in [payload, &payload[payload.len() / 2..], &[], payload] {
        let deflated = match rules & 0x80 {
            0 => deflater.deflate(message),
            _ => deflater.deflate_any(message),
        };
        if let Some(deflated) = deflated {
            let inflated = inflater.inflate(deflated, message.len());
            assert_eq!(inflated, Ok(message), "there and back");
        }
    }
    taken_over(*rules, payload);
    any_frames(*rules, payload);
}

/// Several messages through one context. A stream in one piece, in single bytes and in mixed pieces
/// inflates to the same.
fn taken_over(rules: u8, payload: &[u8]) {
    let pieces = || payload.chunks(payload.len().div_ceil(MESSAGES).max(1));
    let limits = Limits {
        frame_bytes_max: usize::MAX,
        message_bytes_max: 64 << (rules & 0xF),
    };
    // The pieces are compressed payloads: what a peer may send that keeps to no rule.
    let mut stream = Vec::new();
    for piece in pieces() {
        append_message(
            &mut stream,
            Opcode::Binary,
            true,
            piece,
            1 + piece.len() / 2,
        );
    }
    for message in taken_over_anyhow(&stream, rules, &limits).messages {
        let OwnedMessage::Binary(bytes) = message else {
            unreachable!("nothing else is in the stream");
        };
        assert!(bytes.len() <= limits.message_bytes_max, "inflated too far");
    }

    // The pieces are messages, each sent twice, so that they have something to refer to; the empty
    // one goes uncompressed, past the context.
    let mut deflater = Deflater::with_window(1 + rules % 9, 9 + rules % 7, true);
    let mut sent = Vec::new();
    stream.clear();
    for piece in pieces().chain([&payload[..0]]).chain(pieces()) {
        let deflated = match rules & 0x80 {
            0 => deflater.deflate(piece),
            _ => deflater.deflate_within(piece, piece.len() + usize::from(rules)),
        };
        let (rsv1, bytes) = deflated.map_or((false, piece), |deflated| (true, deflated));
        append_message(
            &mut stream,
            Opcode::Binary,
            rsv1,
            bytes,
            1 + bytes.len() / 2,
        );
        sent.push(OwnedMessage::Binary(piece.to_vec()));
    }
    let limits = Limits {
        message_bytes_max: 2 * payload.len() + usize::from(rules), // on the wire some get longer
        ..limits
    };
    let heard = taken_over_anyhow(&stream, rules, &limits);
    assert_eq!(
        (heard.messages, heard.error),
        (sent, None),
        "there and back"
    );
}

/// Frames of a client that agreed to permessage-deflate: compressed messages, good or not, and
/// others, in fragments with pings between, and now and then what must not be there. They decode to
/// the same however they are cut, and to nothing that was not sent.
///
/// Two bytes choose a frame and its length, then comes its payload.
fn any_frames(rules: u8, data: &[u8]) {
    let takeover = rules & 0x40 != 0;
    let garbage = rules & 0x20 != 0;
    let limits = Limits {
        frame_bytes_max: usize::MAX,
        message_bytes_max: 64 << (rules & 0xF),
    };
    let mut deflater = Deflater::with_window(1 + rules % 9, 9 + rules % 7, takeover);
    let (mut stream, mut sent) = (Vec::new(), Vec::new());
    // Of the message begun: its kind, what was sent of it, and what must follow of its payload.
    let mut begun: Option<(Opcode, Vec<u8>, Vec<u8>)> = None;
    let mut rest = data;
    // Until a frame is not.
    let mut legal = true;
    while let [choice, len, after @ ..] = rest {
        let (payload, behind) = after.split_at(after.len().min(usize::from(len % 126)));
        rest = behind;
        let opcode = any_opcode(choice & 0x7, begun.is_some());
        let mut fin = choice & 0x80 != 0;
        let mut rsv1 = choice & 0x78 == 0x78; // mostly wrong where it is not about a message
        let mut payload = payload.to_vec();
        match (opcode, begun.take()) {
            (Opcode::Ping | Opcode::Pong, message) => {
                begun = message;
                fin = true;
                legal &= !rsv1;
            }
            (Opcode::Text | Opcode::Binary, None) => {
                rsv1 = choice & 0x40 != 0;
                let message = payload.clone();
                let mut left = Vec::new();
                if rsv1 && !garbage {
                    payload = deflater.deflate_any(&message).expect("zlib").to_vec();
                    if !fin {
                        left = payload.split_off(payload.len() / 2);
                    }
                }
                begun = Some((opcode, message, left));
            }
            (Opcode::Continuation, Some((kind, mut message, left))) => {
                if left.is_empty() {
                    message.extend_from_slice(&payload);
                } else {
                    (payload, fin) = (left, true);
                }
                begun = Some((kind, message, Vec::new()));
                legal &= !rsv1;
            }
            _ => legal = false,
        }
        let start = stream.len();
        append_masked_frame(&mut stream, opcode, &payload, [*choice, *len, rules, 0x5A]);
        stream[start] &= if fin { 0xFF } else { 0x7F };
        stream[start] |= if rsv1 { 0x40 } else { 0x00 };
        let message = match (opcode, fin) {
            _ if !legal => continue,
            (Opcode::Ping, _) => OwnedMessage::Ping(payload),
            (Opcode::Pong, _) => OwnedMessage::Pong(payload),
            (_, false) => continue,
            _ => match begun.take().expect("begun or continued") {
                (Opcode::Text, message, _) => {
                    OwnedMessage::Text(String::from_utf8_lossy(&message).into_owned())
                }
                (_, message, _) => OwnedMessage::Binary(message),
            },
        };
        sent.push(message);
    }
    let heard = cut_anyhow(&stream, rules, Role::Server, takeover, &limits).messages;
    if !garbage {
        assert!(sent.starts_with(&heard), "{heard:?} was not sent: {sent:?}");
    }
}

/// The opcode of a frame, mostly one that may be there.
fn any_opcode(choice: u8, is_begun: bool) -> Opcode {
    match choice {
        0 => Opcode::Ping,
        1 => Opcode::Pong,
        2..=6 if is_begun => Opcode::Continuation,
        2..=4 => Opcode::Binary,
        5 | 6 => Opcode::Text,
        _ if is_begun => Opcode::Text, // must not be there
        _ => Opcode::Continuation,     // nor this
    }
}

/// Decodes `stream` with a context of its own, in one piece, in single bytes and in mixed pieces.
fn taken_over_anyhow(stream: &[u8], seed: u8, limits: &Limits) -> Transcript {
    cut_anyhow(stream, seed, Role::Client, true, limits)
}

/// Decodes `stream` with a new inflater, in one piece, in single bytes and in mixed pieces.
fn cut_anyhow(stream: &[u8], seed: u8, role: Role, takeover: bool, limits: &Limits) -> Transcript {
    let decode = |lens: &mut dyn Iterator<Item = usize>| {
        let mut inflater = Inflater::with_takeover(takeover);
        transcript_inflating(stream, lens, role, limits, Some(&mut inflater))
    };
    let whole = decode(&mut iter::once(stream.len()));
    assert_eq!(whole, decode(&mut iter::repeat(1)), "single bytes");
    assert_eq!(whole, decode(&mut mixed_lens(seed)), "mixed pieces");
    whole
}

/// The early framings: a stream in one piece, in single bytes and in pieces that `data` chooses
/// decodes to the same, within the bounds, and what was decoded encodes to what decodes to it.
///
/// The first byte chooses the limits, the second the pieces' lengths.
pub fn hixie(data: &[u8]) {
    let [rules, pieces, stream @ ..] = data else {
        return;
    };
    let limits = Limits {
        frame_bytes_max: 16 << (rules & 0xF),
        message_bytes_max: 16 << (rules >> 4),
    };
    let whole = early_transcript(stream, iter::once(stream.len()), &limits);
    let bytes = early_transcript(stream, iter::repeat(1), &limits);
    assert_eq!(whole, bytes, "single bytes");
    let mixed = early_transcript(stream, mixed_lens(*pieces), &limits);
    assert_eq!(whole, mixed, "mixed pieces");

    let mut again = Vec::new();
    for message in &whole.messages {
        let frozen = hixie::message(message.borrow()).expect("it came in this framing");
        again.extend_from_slice(frozen.as_bytes());
    }
    let heard = early_transcript(&again, iter::once(again.len()), &limits);
    assert_eq!(heard.messages, whole.messages, "there and back");
}

/// Decodes `stream` in pieces of the given lengths (the last one shorter), as a reactor does: what
/// is quiet is dropped and made anew. Panics when memory or work go beyond their bounds.
pub fn transcript(
    stream: &[u8],
    piece_lens: impl IntoIterator<Item = usize>,
    role: Role,
    limits: &Limits,
) -> Transcript {
    transcript_inflating(stream, piece_lens, role, limits, None)
}

/// As [`transcript`], on a connection with permessage-deflate if there is an inflater.
pub fn transcript_inflating(
    stream: &[u8],
    piece_lens: impl IntoIterator<Item = usize>,
    role: Role,
    limits: &Limits,
    inflater: Option<&mut Inflater>,
) -> Transcript {
    let inbound = Inbound::new(role);
    let mut session = Modern { inbound, inflater };
    run(&mut session, stream, piece_lens, limits)
}

/// As [`transcript`], in the early framing.
pub fn early_transcript(
    stream: &[u8],
    piece_lens: impl IntoIterator<Item = usize>,
    limits: &Limits,
) -> Transcript {
    run(&mut hixie::Inbound::new(), stream, piece_lens, limits)
}

/// A decoder of messages, as [`run`] sees it.
trait Session {
    fn next<'a, 'l: 'a>(
        &'a mut self,
        input: &mut Input<'l>,
        limits: &Limits,
    ) -> Result<Option<Message<'a>>, ProtocolError>;

    /// Begins anew, as after a quiet moment.
    fn renew(&mut self);

    fn is_quiet(&self) -> bool;

    fn pinned_bytes(&self) -> usize;

    fn steps(&self) -> u64;

    /// Of the inflater, if there is one.
    fn inflater_steps(&self) -> u64 {
        0
    }
}

struct Modern<'i> {
    inbound: Inbound,
    inflater: Option<&'i mut Inflater>,
}

impl Session for Modern<'_> {
    fn next<'a, 'l: 'a>(
        &'a mut self,
        input: &mut Input<'l>,
        limits: &Limits,
    ) -> Result<Option<Message<'a>>, ProtocolError> {
        match &mut self.inflater {
            Some(inflater) => self.inbound.next_inflating(input, limits, inflater),
            None => self.inbound.next(input, limits),
        }
    }

    fn renew(&mut self) {
        self.inbound = Inbound::new(self.inbound.role());
    }

    fn is_quiet(&self) -> bool {
        self.inbound.is_quiet()
    }

    fn pinned_bytes(&self) -> usize {
        self.inbound.pinned_bytes()
    }

    fn steps(&self) -> u64 {
        self.inbound.steps()
    }

    fn inflater_steps(&self) -> u64 {
        self.inflater
            .as_ref()
            .map_or(0, |inflater| inflater.steps())
    }
}

impl Session for hixie::Inbound {
    fn next<'a, 'l: 'a>(
        &'a mut self,
        input: &mut Input<'l>,
        limits: &Limits,
    ) -> Result<Option<Message<'a>>, ProtocolError> {
        self.next(input, limits)
    }

    fn renew(&mut self) {
        *self = hixie::Inbound::new();
    }

    fn is_quiet(&self) -> bool {
        self.is_quiet()
    }

    fn pinned_bytes(&self) -> usize {
        self.pinned_bytes()
    }

    fn steps(&self) -> u64 {
        self.steps()
    }
}

fn run(
    session: &mut impl Session,
    stream: &[u8],
    piece_lens: impl IntoIterator<Item = usize>,
    limits: &Limits,
) -> Transcript {
    let mut transcript = Transcript::default();
    let mut rest = stream;
    let mut steps = 0;
    // Bytes fed since the last text or binary message was whole.
    let mut unfinished = 0;
    let mut inflated = session.inflater_steps();
    for len in piece_lens {
        let (piece, after) = rest.split_at(len.min(rest.len()));
        rest = after;
        // A lease of exactly this size, so that a byte read beyond it is seen.
        let mut lease = piece.to_vec();
        let mut input = Input::new(&mut lease);
        unfinished += piece.len();
        loop {
            match session.next(&mut input, limits) {
                Ok(Some(message)) => transcript.messages.push(own(message)),
                Ok(None) => break,
                Err(error) => {
                    transcript.error = Some(error);
                    check_inflated(session, &mut inflated, unfinished - input.len());
                    return transcript;
                }
            }
            check_inflated(session, &mut inflated, unfinished - input.len());
            check_pinned(session, unfinished);
            match transcript.messages.last() {
                Some(OwnedMessage::Close(..)) => return transcript,
                Some(OwnedMessage::Text(_) | OwnedMessage::Binary(_)) => unfinished = input.len(),
                _ => {}
            }
        }
        assert!(input.is_empty(), "`None` means that the input is used up");
        check_pinned(session, unfinished);
        if session.is_quiet() {
            steps += session.steps();
            session.renew();
        }
        let received = stream.len() - rest.len();
        let worked = steps + session.steps();
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

/// What one message of so many bytes took to inflate is within its bound.
fn check_inflated(session: &impl Session, before: &mut u64, received: usize) {
    let now = session.inflater_steps();
    let steps = now - std::mem::replace(before, now);
    let steps_max = STEPS_PER_DEFLATED_BYTE_MAX * (16 + received as u64);
    assert!(
        steps <= steps_max,
        "{steps} steps to inflate a message of {received} bytes"
    );
}

fn check_pinned(session: &impl Session, unfinished: usize) {
    let pinned = session.pinned_bytes();
    assert!(
        pinned <= PINNED_BYTES_BASE + 2 * unfinished,
        "{pinned} bytes pinned for {unfinished} received"
    );
}

/// Lengths of pieces from 1 to 61, in an order that `seed` chooses.
fn mixed_lens(seed: u8) -> impl Iterator<Item = usize> {
    (1..).map(move |n: usize| 1 + (n * usize::from(seed)) % 61)
}

impl OwnedMessage {
    fn borrow(&self) -> Message<'_> {
        match self {
            OwnedMessage::Text(text) => Message::Text(text),
            OwnedMessage::Binary(bytes) => Message::Binary(bytes),
            OwnedMessage::Ping(bytes) => Message::Ping(bytes),
            OwnedMessage::Pong(bytes) => Message::Pong(bytes),
            OwnedMessage::Close(code, reason) => Message::Close(*code, reason),
        }
    }
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

/// Messages into which a payload is cut.
const MESSAGES: usize = 4;
