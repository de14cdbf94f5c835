//! Data after the handshake, both ways, with every suite.

use std::sync::Arc;

use roost_tls::testing::Endpoint;
use roost_tls::{Suite, nonces};

use crate::peer::{self, Peer, exchange};
use crate::support::{Authority, client_options, load_client, server_options};

/// A suite, with a certificate that it can be used with.
pub(crate) fn algorithm(suite: Suite) -> &'static rcgen::SignatureAlgorithm {
    match suite.name().contains("RSA_WITH") {
        true => &rcgen::PKCS_RSA_SHA256,
        false => &rcgen::PKCS_ECDSA_P256_SHA256,
    }
}

/// A client of rustls and our server, established.
pub(crate) fn rustls_client(authority: &Authority, suite: Suite) -> (Peer, Endpoint) {
    let certificate = authority.sign(&["a.example"], algorithm(suite));
    let mut options = server_options(certificate);
    options.tickets = None;
    let setup = roost_tls::ServerSetup::load(&options, &crate::support::clock());
    let setup = setup.expect("no errors").0;
    let config = Arc::new(peer::client_config(authority, suite, None));
    let mut client = peer::client(&config, "a.example");
    let mut server = Endpoint::server(&setup);
    exchange(&mut client, &mut server, usize::MAX).expect("a handshake");
    assert!(client.is_established() && server.is_established());
    (client, server)
}

/// Our client and a server of rustls, established.
pub(crate) fn rustls_server(authority: &Authority, suite: Suite) -> (Peer, Endpoint) {
    let certificate = authority.sign(&["a.example"], algorithm(suite));
    let mut server = peer::server(&certificate, suite, 2);
    let setup = load_client(&client_options(&authority.file));
    let mut client = Endpoint::client(&setup, "a.example");
    exchange(&mut server, &mut client, usize::MAX).expect("a handshake");
    assert!(client.is_established() && server.is_established());
    (server, client)
}

/// Messages of many lengths, both ways, in pieces.
fn exchange_messages(peer: &mut Peer, ours: &mut Endpoint) {
    let mut data = Vec::new();
    for (round, len) in [0, 1, 125, 1024, 16_383, 16_384, 16_385, 50_000]
        .into_iter()
        .enumerate()
    {
        data.resize(len, round as u8);
        ours.received.clear();
        peer.send(&data);
        ours.send(&data);
        let received = exchange(peer, ours, 1 + len / 3).expect("data");
        assert_eq!(received, data);
        assert_eq!(ours.received, data);
        ours.move_through_bytes();
    }
    assert_eq!(ours.over, None);
}

#[test]
fn every_suite_carries_data_both_ways() {
    let authority = Authority::new("traffic");
    let watch = nonces::watch();
    for suite in Suite::ALL {
        for mut pair in [
            rustls_client(&authority, suite),
            rustls_server(&authority, suite),
        ] {
            assert_eq!(pair.1.rest.suite(), Some(suite));
            exchange_messages(&mut pair.0, &mut pair.1);
        }
    }
    assert_eq!(watch.keys(), 2 * Suite::ALL.len());
}
