//! What a handshake does when its caller does not keep to one record a call.

use std::sync::Arc;

use super::{Handshake, Reached};
use crate::clock::Clock;
use crate::fault::HandshakeFault;
use crate::handshake::client::{ClientOptions, ClientSetup, Trust};
use crate::handshake::server::ServerSetup;
use crate::keys::Version;
use crate::rest::Rest;
use crate::self_signed::self_signed;
use crate::testing::Endpoint;

/// A handshake can be done by another thread.
fn _handshakes_are_send(handshake: Handshake) -> impl Send {
    handshake
}

/// A server before the record that ends its handshake, and that record, with `behind` behind it.
fn almost_established(behind: impl FnOnce(&mut Endpoint)) -> (Handshake, Vec<u8>) {
    let clock = Arc::new(Clock::new(1_772_323_200));
    let made = self_signed(clock.now()).expect("a date of our time");
    let setup = ServerSetup::for_development(&made, &clock).expect("just made");
    let options = ClientOptions {
        trust: Trust::Any,
        certificate: None,
        min_version: Version::Tls13,
        max_version: Version::Tls13,
    };
    let client = ClientSetup::load(&options, &clock).expect("nothing to read");
    let mut client = Endpoint::client(&client.0, "localhost");
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
