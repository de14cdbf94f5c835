//! The body of the fuzz target for envelopes, which tests call too.

use std::sync::Arc;

use roost_dealer::{Answer, Notice};
use roost_hub::ChannelId;
use roost_wire::Opcode;

use super::addressing::MESSAGE_ID_BYTES_MAX;
use super::envelope::{Envelope, Limits};
use super::fault::relates_to_block;
use super::names::Addresses;
use super::{Settings, Soap};
use crate::dialect::{Command, Context, Dialect, Event, Input, Message, Next, Session, Terms};
use crate::{CallBodyRef, PayloadRef, Replies};

/// Anything as a message of a client, and as what a service answers.
///
/// # Panics
/// When a promise is broken.
pub fn envelope(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        read(text);
        converse(&Message::Text(text));
    }
    converse(&Message::Binary(data));
}

/// Whether a document is an envelope.
pub fn is_envelope(text: &str) -> bool {
    Envelope::read(text, LIMITS).is_ok()
}

/// What is read reads the same again, and can be given a header.
fn read(text: &str) {
    let Ok(envelope) = Envelope::read(text, LIMITS) else {
        return;
    };
    assert_eq!(Envelope::read(envelope.text, LIMITS), Ok(envelope.clone()));
    if envelope.addressing.addresses == Some(Addresses::V2004) {
        return; // headers of two versions are not read
    }
    let block = relates_to_block(Addresses::V10, ID);
    let mut longer = Vec::new();
    envelope.append_with(&block, &mut longer);
    let longer = String::from_utf8(longer).expect("text in text");
    let wide = Limits {
        header_bytes_max: LIMITS.header_bytes_max + 2 * block.len(),
        ..LIMITS
    };
    let again = Envelope::read(&longer, wide).expect("one more header is allowed");
    assert!(again.addressing.relates_to(ID), "{longer}");
    assert_eq!(again.version, envelope.version);
}

/// A message leads to one command or one fault, and a request to one answer.
fn converse(message: &Message<'_>) {
    let settings = Settings {
        enabled: true,
        depth_max: LIMITS.depth_max,
        header_bytes_max: LIMITS.header_bytes_max,
        ..Settings::default()
    };
    let mut soap = Soap::new(Arc::new(settings));
    for number in 0..3 {
        let terms = Terms {
            number,
            header: None,
        };
        for joined in [None, Some(ChannelId(7))] {
            let session = soap.open(Some("soap"), terms, joined);
            let session = hand_over(&mut soap, session);
            send(&mut soap, session, *message);
            let mut session = hand_over(&mut soap, session);
            let left = soap.pop_subscription(&mut session);
            assert_eq!(left.map(|(channel, _)| channel), joined);
            soap.close(session);
        }
    }
}

/// Another process may have taken the session over, and must not tell.
fn hand_over(soap: &mut Soap, session: Session) -> Session {
    let state = soap.export(session);
    let session = soap.import(state.clone());
    assert_eq!(soap.export(session), state);
    soap.import(state)
}

fn send(soap: &mut Soap, session: Session, message: Message<'_>) {
    let mut replies = Replies::default();
    let mut cx = Context {
        replies: &mut replies,
        new_id: &mut || 1,
    };
    let command = soap.next(session, &mut Input::new(message), &mut cx);
    let (said, is_one) = match &command {
        None => (None, true),
        Some(Command::Publish { payload, .. }) => (Some(*payload), false),
        Some(Command::Call { body, .. }) => (Some(body.payload), false),
        Some(other) => panic!("no command of SOAP's: {other:?}"),
    };
    check_replies(&mut replies, message.opcode(), usize::from(is_one));
    if let Some(payload) = said {
        let PayloadRef::Text(text) = payload else {
            panic!("an envelope is text");
        };
        assert!(is_envelope(text), "only envelopes reach subscribers");
        assert!(Soap::carries(0, &payload.freeze()));
    }
    let Some(Command::Call { request, .. }) = command else {
        return;
    };
    // The service sends the request itself back, which is an envelope or nothing.
    let body = CallBodyRef {
        payload: match message {
            Message::Text(text) => PayloadRef::Text(text),
            Message::Binary(bytes) => PayloadRef::Binary(bytes),
        },
        caller: None,
        error: None,
    };
    let answer = Answer::Result(body.freeze());
    let notice = Notice::Answer { request, answer };
    for expected in [1, 0] {
        let mut cx = Context {
            replies: &mut replies,
            new_id: &mut || 1,
        };
        let next = soap.on(session, Event::Dealer(&notice), &mut cx);
        assert_eq!(next, Next::Continue);
        check_replies(&mut replies, message.opcode(), expected);
    }
}

/// So many messages, all of them envelopes.
fn check_replies(replies: &mut Replies, opcode: Opcode, expected: usize) {
    let mut count = 0;
    replies.drain(|with, bytes| {
        count += 1;
        assert_eq!(with, opcode, "answers come as the client writes");
        let text = str::from_utf8(bytes).expect("an answer is UTF-8");
        let wide = Limits {
            depth_max: LIMITS.depth_max + 1,
            header_bytes_max: usize::MAX,
        };
        let envelope = Envelope::read(text, wide);
        assert!(envelope.is_ok(), "{text}: {envelope:?}");
    });
    assert_eq!(count, expected, "answers");
}

const LIMITS: Limits = Limits {
    depth_max: 16,
    header_bytes_max: 4 << 10,
};
const ID: &str = "urn:uuid:of the <message>";
const _: () = assert!(ID.len() <= MESSAGE_ID_BYTES_MAX);
