//! What a handshake does when its caller does not keep to one record a call.

use super::{Handshake, Reached, Step};
use crate::fault::HandshakeFault;
use crate::rest::Rest;
use crate::testing::{Endpoint, setups};

/// A handshake can be done by another thread.
fn _handshakes_are_send(handshake: Handshake) -> impl Send {
    handshake
}

/// A server before the record that ends its handshake, and that record, with `behind` behind it.
fn almost_established(behind: impl FnOnce(&mut Endpoint)) -> (Handshake, Vec<u8>) {
    let (setup, client) = setups();
    let mut client = Endpoint::client(&client, "localhost");
    let mut server = Handshake::server(&setup).expect("a setup that was checked");
    let mut out = Vec::new();
    server.feed(&mut client.take(), &mut out, &mut { Rest::VACANT });
    client.give(&out);
    behind(&mut client);
    let stream = client.take();
    // RFC 8446 §D.4: a ChangeCipherSpec, for the sake of middleboxes.
    assert_eq!(stream[..6], [20, 3, 3, 0, 1, 1]);
    (server, stream[6..].to_vec())
}

#[test]
fn keys_that_rustls_has_changed_already_are_not_taken_over() {
    for (updates, expected) in [(0, Ok(())), (1, Err(HandshakeFault::Internal))] {
        let (mut server, mut stream) = almost_established(|client| {
            for _ in 0..updates {
                client.rest.request_key_update();
                client.flush();
            }
        });
        let mut out = Vec::new();
        let (used, reached) = server.advance(&mut stream, &mut out);
        assert!(matches!(reached, Ok(Reached::Traffic)));
        assert_eq!(used, stream.len(), "rustls has read all of it");
        let mut rest = Rest::VACANT;
        let finished = server.finish(&mut rest);
        assert_eq!(finished.map(|_| ()), expected);
        assert_eq!(rest.is_vacant(), expected.is_err());
    }
}

/// The costly step is behind a server when it has answered, but not when it has asked for another
/// ClientHello.
#[test]
fn a_hello_retry_request_is_no_answer_to_the_hello() {
    for knows_group in [true, false] {
        let (setup, client) = setups();
        let mut hello = Endpoint::client(&client, "localhost").take();
        if !knows_group {
            forget_key_shares(&mut hello);
        }
        let mut server = Handshake::server(&setup).expect("a setup that was checked");
        assert!(server.awaits_hello());
        let mut out = Vec::new();
        let step = server.feed(&mut hello, &mut out, &mut { Rest::VACANT });
        assert!(matches!(step, Step::More), "{step:?}");
        assert!(!out.is_empty());
        assert_eq!(server.awaits_hello(), !knows_group);
    }
}

/// Changes the groups of all key shares in a ClientHello to some that nobody has.
fn forget_key_shares(record: &mut [u8]) {
    // RFC 8446 §4.1.2: headers, version, random; then three vectors, and the extensions' length.
    let number =
        |record: &[u8], at: usize| usize::from(record[at]) << 8 | usize::from(record[at + 1]);
    let mut at = 5 + 4 + 2 + 32;
    at += 1 + usize::from(record[at]);
    at += 2 + number(record, at);
    at += 1 + usize::from(record[at]) + 2;
    const KEY_SHARE: usize = 51;
    while number(record, at) != KEY_SHARE {
        at += 4 + number(record, at + 2);
    }
    let end = at + 4 + number(record, at + 2);
    at += 6;
    for group in 0.. {
        if at == end {
            return;
        }
        record[at..at + 2].copy_from_slice(&[0x7f, group]);
        at += 4 + number(record, at + 2);
    }
}
