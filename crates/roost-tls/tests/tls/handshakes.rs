//! Handshakes: however the stream is cut, with whatever the client wants, and what makes them fail.

use std::sync::Arc;

use roost_tls::certs::CertificateFiles;
use roost_tls::testing::{Endpoint, Over};
use roost_tls::{
    ClientAuth, ClientAuthority, Clock, EPOCH_SECONDS, Fault, HandshakeFault, ServerOptions,
    ServerSetup, Suite, TicketSecret, Trust, Version,
};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::peer::{self, client_config, exchange};
use crate::support::{Authority, NOW, client_options, load, load_client, server_options};
use crate::traffic::{algorithm, rustls_client};

const SUITE13: Suite = Suite::Aes256GcmSha384;
const SUITE12: Suite = Suite::EcdheEcdsaAes128GcmSha256;

fn failed(fault: HandshakeFault) -> Option<Over> {
    Some(Over::Failed(Fault::Handshake(fault)))
}

#[test]
fn a_handshake_is_the_same_however_it_is_cut() {
    let authority = Authority::new("cut");
    let setup = load(&server_options(
        authority.sign(&["a.example"], algorithm(SUITE13)),
    ));
    for suite in [SUITE13, SUITE12] {
        let config = Arc::new(client_config(&authority, suite, None));
        let hello = peer::client(&config, "a.example").take().len();
        for at in (0..hello.min(260)).chain([hello - 1]) {
            let mut client = peer::client(&config, "a.example");
            let mut server = Endpoint::server(&setup);
            for _ in 0..4 {
                let stream = client.take();
                let (first, second) = stream.split_at(at.min(stream.len()));
                server.give(first);
                server.give(second);
                client.give(&server.take()).expect("a handshake");
            }
            assert!(
                client.is_established() && server.is_established(),
                "cut at {at}"
            );
            assert_eq!(
                server.session.as_ref().map(|session| session.suite),
                Some(suite)
            );
        }
        for size in [1, 2, 3, 7, 100] {
            let mut client = peer::client(&config, "a.example");
            let mut server = Endpoint::server(&setup);
            exchange(&mut client, &mut server, size).expect("a handshake");
            assert!(
                client.is_established() && server.is_established(),
                "by {size}"
            );
        }
    }
}

/// The stream that ends a handshake, with a KeyUpdate and data right behind it.
#[test]
fn what_comes_right_behind_finished_is_ours() {
    let authority = Authority::new("behind");
    let setup = load(&server_options(
        authority.sign(&["a.example"], algorithm(SUITE13)),
    ));
    let config = Arc::new(client_config(&authority, SUITE13, None));
    for size in [usize::MAX, 1, 50] {
        let mut client = peer::client(&config, "a.example");
        let mut server = Endpoint::server(&setup);
        server.give(&client.take());
        client.give(&server.take()).expect("the server's flight");
        client.0.refresh_traffic_keys().expect("1.3");
        client.send(b"right behind");
        for piece in client.take().chunks(size) {
            server.give(piece);
        }
        assert_eq!(
            (server.over, &server.received[..]),
            (None, &b"right behind"[..])
        );
        assert_eq!(server.rest.opened(), 1, "under the second key");
        server.send(b"answer");
        assert_eq!(client.give(&server.take()).expect("records"), b"answer");
    }
}

#[test]
fn keys_are_updated_both_ways() {
    let authority = Authority::new("updates");
    for suite in [
        Suite::Aes128GcmSha256,
        SUITE13,
        Suite::Chacha20Poly1305Sha256,
    ] {
        let (mut client, mut server) = rustls_client(&authority, suite);
        for round in 0..103_u8 {
            match round % 3 {
                0 => client.0.refresh_traffic_keys().expect("1.3"),
                1 => server.rest.request_key_update(),
                _ => {
                    client.0.refresh_traffic_keys().expect("1.3");
                    server.rest.request_key_update();
                }
            }
            let data = [round; 50];
            client.send(&data);
            server.send(&data);
            server.received.clear();
            let received = exchange(&mut client, &mut server, 13).expect("records");
            assert_eq!(
                (&received[..], &server.received[..]),
                (&data[..], &data[..])
            );
            assert_eq!(server.over, None);
            server.move_through_bytes();
        }
    }
}

#[test]
fn close_notify_goes_both_ways() {
    let authority = Authority::new("close");
    for suite in [SUITE13, SUITE12] {
        let (mut client, mut server) = rustls_client(&authority, suite);
        client.send(b"bye");
        client.0.send_close_notify();
        server.give(&client.take());
        assert_eq!(
            (server.over, &server.received[..]),
            (Some(Over::Closed), &b"bye"[..])
        );
        roost_tls::seal::close(&mut server.rest, &mut server.out);
        assert_eq!(client.give(&server.take()), Ok(Vec::new()));
        let state = client.0.process_new_packets().expect("close_notify");
        assert!(state.peer_has_closed());
    }
}

/// Whether a second connection of a client was resumed.
fn resumes(config: &Arc<ClientConfig>, first: &ServerSetup, second: &ServerSetup) -> bool {
    let resumed = [first, second].map(|setup| {
        let mut client = peer::client(config, "a.example");
        let mut server = Endpoint::server(setup);
        exchange(&mut client, &mut server, usize::MAX).expect("a handshake");
        client.send(b"data");
        exchange(&mut client, &mut server, usize::MAX).expect("data");
        assert_eq!(server.received, b"data");
        let session = server.session.expect("a handshake that is over");
        assert!(
            session.peer_certificate.is_some() || !config.client_auth_cert_resolver.has_certs()
        );
        session.resumed
    });
    assert!(!resumed[0]);
    resumed[1]
}

#[test]
fn tickets_hold_for_two_epochs_for_all_who_share_the_secret() {
    let authority = Authority::new("tickets");
    let options = server_options(authority.sign(&["a.example"], algorithm(SUITE13)));
    let secret = TicketSecret::from_file(&[7; 32]).expect("32 bytes");
    let same = TicketSecret::from_bytes(*secret.to_bytes());
    assert!(TicketSecret::from_file(&[7; 31]).is_none());
    let at = |secret: TicketSecret, now| {
        let mut options = options.clone();
        options.tickets = Some(Arc::new(secret));
        let clock = Arc::new(Clock::new(now));
        ServerSetup::load(&options, &clock).expect("no errors").0
    };
    for suite in [SUITE13, SUITE12] {
        let client = || Arc::new(client_config(&authority, suite, None));
        let copy = || TicketSecret::from_bytes(*same.to_bytes());
        let first = at(copy(), NOW);
        assert!(resumes(&client(), &first, &first), "{suite:?}");
        assert!(
            resumes(&client(), &first, &at(copy(), NOW)),
            "another server"
        );
        assert!(resumes(&client(), &first, &at(copy(), NOW + EPOCH_SECONDS)));
        assert!(!resumes(
            &client(),
            &first,
            &at(copy(), NOW + 2 * EPOCH_SECONDS)
        ));
        assert!(!resumes(
            &client(),
            &first,
            &at(TicketSecret::random(), NOW)
        ));
        let mut none = options.clone();
        none.tickets = None;
        assert!(!resumes(&client(), &load(&none), &load(&none)));
    }
}

/// A server that asks for client certificates of `authority`.
fn asking(certificate: CertificateFiles, auth: ClientAuth) -> ServerOptions {
    ServerOptions {
        client_auth: auth,
        ..server_options(certificate)
    }
}

#[test]
fn client_certificates_are_asked_for_as_configured() {
    use ClientAuth::{Off, Optional, Required};
    let authority = Authority::new("servers");
    let clients = Authority::new("clients");
    let strangers = Authority::new("strangers");
    let own = |ca: Option<&Authority>| ca.map(|ca| ca.sign(&["client-1"], algorithm(SUITE13)));
    let by = || ClientAuthority {
        ca: clients.file.clone(),
        crl: None,
    };
    let missing = failed(HandshakeFault::CertificateMissing);
    let unknown = failed(HandshakeFault::CertificateIssuer);
    for suite in [SUITE13, SUITE12] {
        for (auth, certificate, over) in [
            (Off, own(None), None),
            (Off, own(Some(&clients)), None),
            (Optional(by()), own(None), None),
            (Optional(by()), own(Some(&clients)), None),
            (Optional(by()), own(Some(&strangers)), unknown),
            (Required(by()), own(None), missing),
            (Required(by()), own(Some(&clients)), None),
            (Required(by()), own(Some(&strangers)), unknown),
        ] {
            let server = authority.sign(&["a.example"], algorithm(suite));
            let setup = load(&asking(server, auth.clone()));
            let config = client_config(&authority, suite, certificate.as_ref());
            let mut client = peer::client(&Arc::new(config), "a.example");
            let mut server = Endpoint::server(&setup);
            let result = exchange(&mut client, &mut server, usize::MAX);
            assert_eq!(server.over, over, "{suite:?} {auth:?} {certificate:?}");
            assert_eq!(
                result.is_err(),
                over.is_some(),
                "the client is told: {result:?}"
            );
            if over.is_none() {
                let session = server.session.expect("established");
                let is_shown = certificate.is_some() && auth != Off;
                assert_eq!(session.peer_certificate.is_some(), is_shown);
                let names = session.peer_names();
                assert_eq!(names, if is_shown { vec!["client-1"] } else { vec![] });
            }
        }
    }
}

#[test]
fn a_ticket_does_not_outlive_the_authorities_that_let_its_client_in() {
    let authority = Authority::new("servers");
    let (one, other) = (Authority::new("clients"), Authority::new("clients"));
    let certificate = one.sign(&["client-1"], algorithm(SUITE13));
    let server = authority.sign(&["a.example"], algorithm(SUITE13));
    let secret = Arc::new(TicketSecret::random());
    let setup = |auth| {
        let mut options = asking(server.clone(), auth);
        options.tickets = Some(secret.clone());
        load(&options)
    };
    let by = |ca: &Authority| ClientAuthority {
        ca: ca.file.clone(),
        crl: None,
    };
    for suite in [SUITE13, SUITE12] {
        let config = || Arc::new(client_config(&authority, suite, Some(&certificate)));
        let required = setup(ClientAuth::Required(by(&one)));
        assert!(resumes(&config(), &required, &required));
        let optional = setup(ClientAuth::Optional(by(&one)));
        assert!(!resumes(&config(), &optional, &required));
        // The other authority has the same name, and does not know the client.
        let changed = setup(ClientAuth::Required(by(&other)));
        let config = config();
        let mut client = peer::client(&config, "a.example");
        let mut end = Endpoint::server(&required);
        exchange(&mut client, &mut end, usize::MAX).expect("a handshake");
        let mut client = peer::client(&config, "a.example");
        let mut end = Endpoint::server(&changed);
        exchange(&mut client, &mut end, usize::MAX).expect_err("no full handshake");
        assert!(matches!(end.over, Some(Over::Failed(_))), "{:?}", end.over);
    }
}

#[test]
fn revoked_client_certificates_are_refused() {
    use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
    let authority = Authority::new("servers");
    let clients = Authority::new("clients");
    let signed = |serial: u64| {
        let mut params = crate::support::leaf_params(&["client"]);
        params.serial_number = Some(SerialNumber::from(serial));
        clients.sign_params(params, &crate::support::key(algorithm(SUITE13)))
    };
    let list = CertificateRevocationListParams {
        this_update: crate::support::at(NOW - 10),
        next_update: crate::support::at(NOW + crate::support::DAY),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: SerialNumber::from(66_u64),
            revocation_time: crate::support::at(NOW - 100),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&clients.issuer).expect("a list");
    let crl = clients.dir.write("crl.pem", list.pem().expect("PEM"));
    let auth = ClientAuth::Required(ClientAuthority {
        ca: clients.file.clone(),
        crl: Some(crl),
    });
    let setup = load(&asking(
        authority.sign(&["a.example"], algorithm(SUITE13)),
        auth,
    ));
    for (serial, over) in [(65, None), (66, failed(HandshakeFault::CertificateRevoked))] {
        let config = client_config(&authority, SUITE13, Some(&signed(serial)));
        let mut client = peer::client(&Arc::new(config), "a.example");
        let mut server = Endpoint::server(&setup);
        let _ = exchange(&mut client, &mut server, usize::MAX);
        assert_eq!(server.over, over);
    }
}

/// The certificate that a client of `suite` gets who asks for `name`; its names.
fn served(setup: &ServerSetup, suite: Suite, name: &str) -> (Vec<String>, Option<Box<str>>) {
    let mut options = client_options("".as_ref());
    options.trust = Trust::Any;
    let certificate = {
        // rustls checks names; what was shown is read from a client that does not.
        let authority = Authority::new("nobody's");
        let mut config = client_config(&authority, suite, None);
        let verifier =
            roost_tls::any_server(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
        config.dangerous().set_certificate_verifier(verifier);
        let mut client = peer::client(&Arc::new(config), name);
        let mut server = Endpoint::server(setup);
        exchange(&mut client, &mut server, usize::MAX).expect("a handshake");
        let shown = client.0.peer_certificates().expect("a certificate")[0].clone();
        (shown, server.session.expect("established").server_name)
    };
    let parsed = webpki::EndEntityCert::try_from(&certificate.0).expect("a certificate");
    (
        parsed.valid_dns_names().map(str::to_owned).collect(),
        certificate.1,
    )
}

#[test]
fn a_client_gets_the_certificate_of_the_name_that_it_asks_for() {
    let authority = Authority::new("names");
    let ecdsa = &rcgen::PKCS_ECDSA_P256_SHA256;
    let mut options = server_options(authority.sign(&["default.example"], ecdsa));
    for names in [
        &["a.example", "b.example"][..],
        &["*.wild.example"],
        &["x.wild.example"],
    ] {
        options.certificates.push(authority.sign(names, ecdsa));
    }
    let setup = load(&options);
    for (asked, expected) in [
        ("a.example", "a.example"),
        ("B.Example", "a.example"),
        ("y.wild.example", "*.wild.example"),
        ("x.wild.example", "x.wild.example"),
        ("z.y.wild.example", "default.example"),
        ("wild.example", "default.example"),
        ("other.example", "default.example"),
        ("127.0.0.1", "default.example"),
    ] {
        let (names, asked_for) = served(&setup, SUITE13, asked);
        assert_eq!(names[0], expected, "{asked}");
        let is_name = asked != "127.0.0.1";
        assert_eq!(
            asked_for.as_deref(),
            is_name.then_some(&*asked.to_lowercase())
        );
    }
}

#[test]
fn one_name_may_have_keys_of_two_kinds() {
    let authority = Authority::new("kinds");
    let mut options = server_options(authority.sign(&["a.example"], &rcgen::PKCS_RSA_SHA256));
    let ecdsa = authority.sign(&["a.example"], &rcgen::PKCS_ECDSA_P256_SHA256);
    options.certificates.push(ecdsa.clone());
    let ecdsa = CertificateDer::from_pem_file(&ecdsa.certificate).expect("our own file");
    let clock = crate::support::clock();
    let (setup, findings) = ServerSetup::load(&options, &clock).expect("no errors");
    assert!(findings.warnings[0].what.contains("RSA"), "{findings:?}");
    for suite in [Suite::EcdheRsaAes128GcmSha256, SUITE12, SUITE13] {
        let config = Arc::new(client_config(&authority, suite, None));
        let mut client = peer::client(&config, "a.example");
        let mut server = Endpoint::server(&setup);
        exchange(&mut client, &mut server, usize::MAX).expect("a handshake");
        let session = server.session.expect("established");
        assert_eq!(session.suite, suite);
        // The cheap one for all who can take it.
        let shown = client.0.peer_certificates().expect("a certificate");
        let is_rsa_suite = suite == Suite::EcdheRsaAes128GcmSha256;
        assert_eq!(shown[0] != ecdsa, is_rsa_suite, "{suite:?}");
    }
}

#[test]
fn handshakes_without_anything_in_common_fail_with_a_reason() {
    let authority = Authority::new("reasons");
    let certificate = authority.sign(&["a.example"], algorithm(SUITE13));
    let attempt = |options: &ServerOptions, config: ClientConfig| {
        let mut client = peer::client(&Arc::new(config), "a.example");
        let mut server = Endpoint::server(&load(options));
        let result = exchange(&mut client, &mut server, usize::MAX);
        (server.over, result.is_err())
    };
    let options = server_options(certificate.clone());
    let config = |suite, protocols: &[&[u8]]| {
        let mut config = client_config(&authority, suite, None);
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        config
    };
    assert_eq!(attempt(&options, config(SUITE13, &[])), (None, false));
    assert_eq!(
        attempt(&options, config(SUITE13, &[b"h2", b"http/1.1"])),
        (None, false)
    );
    let over = (failed(HandshakeFault::Protocol), true);
    assert_eq!(attempt(&options, config(SUITE13, &[b"h2"])), over);
    let mut only13 = options.clone();
    only13.min_version = Version::Tls13;
    let over = (failed(HandshakeFault::Version), true);
    assert_eq!(attempt(&only13, config(SUITE12, &[])), over);
    let over = (failed(HandshakeFault::Parameters), true);
    let rsa = config(Suite::EcdheRsaAes256GcmSha384, &[]);
    assert_eq!(attempt(&options, rsa), over);
}

#[test]
fn bytes_that_are_no_handshake_are_refused() {
    let authority = Authority::new("garbage");
    let setup = load(&server_options(
        authority.sign(&["a.example"], algorithm(SUITE13)),
    ));
    let given = |bytes: &[u8]| {
        let mut server = Endpoint::server(&setup);
        server.give(bytes);
        server
    };
    // "GET / HTTP/1.1" announces a record of 0x2f20 bytes: it is told by its first byte.
    assert!(!roost_tls::record::begins_handshake(b'G'));
    let overflow = given(&[22, 3, 1, 0x41, 1]);
    assert_eq!(overflow.over, Some(Over::Failed(Fault::RecordOverflow)));
    assert_eq!(overflow.out, [21, 3, 3, 0, 2, 2, 22]);
    for bytes in [
        &[22, 3, 1, 0, 4, 2, 0, 0, 0][..],
        &[22, 3, 1, 0, 0],
        &[23, 3, 3, 0, 1, 0],
        &[22, 9, 9, 0, 4, 1, 0, 0, 0],
        &[21, 3, 3, 0, 2, 2, 40],
    ] {
        let server = given(bytes);
        assert!(
            matches!(server.over, Some(Over::Failed(Fault::Handshake(_)))),
            "{bytes:?}"
        );
        assert!(server.rest.is_vacant());
    }
}

#[test]
fn a_client_hello_in_many_records_is_read_up_to_a_limit() {
    let authority = Authority::new("fragments");
    let setup = load(&server_options(
        authority.sign(&["a.example"], algorithm(SUITE12)),
    ));
    let config = Arc::new(client_config(&authority, SUITE12, None));
    for size in [1, 2, 16, 64] {
        let mut client = peer::client(&config, "a.example");
        let hello = client.take();
        let mut server = Endpoint::server(&setup);
        let mut records = 0;
        for piece in hello[5..].chunks(size) {
            server.give(&[&[22, 3, 1, 0, piece.len() as u8], piece].concat());
            records += 1;
        }
        if records > roost_tls::handshake::RECORDS_MAX {
            assert_eq!(server.over, failed(HandshakeFault::TooLong));
            continue;
        }
        client.give(&server.take()).expect("a handshake");
        exchange(&mut client, &mut server, usize::MAX).expect("a handshake");
        assert!(server.is_established(), "by {size}");
    }
    // A message of 16 MiB is announced: what is kept is what has come.
    let mut server = Endpoint::server(&setup);
    server.give(&[22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff]);
    assert!(server.kept_bytes() < 16);
}

#[test]
fn our_own_ends_speak_with_each_other() {
    let authority = Authority::new("ours");
    let options = server_options(authority.sign(&["a.example", "127.0.0.1"], algorithm(SUITE13)));
    let setup = load(&options);
    for (name, trust, max_version, over) in [
        ("a.example", authority.file.clone(), Version::Tls13, None),
        ("127.0.0.1", authority.file.clone(), Version::Tls13, None),
        ("a.example", authority.file.clone(), Version::Tls12, None),
        (
            "b.example",
            authority.file.clone(),
            Version::Tls13,
            failed(HandshakeFault::CertificateName),
        ),
        (
            "a.example",
            Authority::new("another").file.clone(),
            Version::Tls13,
            None,
        ),
    ] {
        let mut client = client_options(&authority.file);
        client.max_version = max_version;
        if trust != authority.file {
            client.trust = Trust::Any;
        }
        let mut client = Endpoint::client(&load_client(&client), name);
        let mut server = Endpoint::server(&setup);
        for _ in 0..6 {
            server.give(&client.take());
            client.give(&server.take());
        }
        assert_eq!(client.over, over, "{name}");
        if over.is_some() {
            assert!(matches!(server.over, Some(Over::Failed(_))), "it is told");
            continue;
        }
        let session = client.session.clone().expect("established");
        assert_eq!(session.suite.version(), max_version);
        assert_eq!(
            session.application_protocol.as_deref(),
            Some(&b"http/1.1"[..])
        );
        client.send(b"there");
        server.give(&client.take());
        server.send(b"and back");
        client.give(&server.take());
        assert_eq!(
            (&server.received[..], &client.received[..]),
            (&b"there"[..], &b"and back"[..])
        );
    }
}

#[test]
fn a_client_refuses_servers_that_it_does_not_trust() {
    let authority = Authority::new("ours");
    let stranger = Authority::new("stranger");
    let setup = load(&server_options(
        authority.sign(&["a.example"], algorithm(SUITE13)),
    ));
    let mut client = Endpoint::client(&load_client(&client_options(&stranger.file)), "a.example");
    let mut server = Endpoint::server(&setup);
    server.give(&client.take());
    client.give(&server.take());
    assert_eq!(client.over, failed(HandshakeFault::CertificateIssuer));
    server.give(&client.take());
    assert_eq!(server.over, failed(HandshakeFault::PeerAlert(48)));
}
