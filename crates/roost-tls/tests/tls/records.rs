//! The rules of records, one by one, between two ends that had no handshake.

use roost_tls::testing::{Endpoint, Over, pair, set_records};
use roost_tls::{
    CLOSE_AFTER, EMPTY_RECORDS_MAX, Fault, KEY_UPDATES_MAX, REKEY_AFTER, Rest, Sealer, Suite,
    Version, WARNINGS_MAX, nonces, seal,
};

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

/// A record with `content`, of `content_type`, sealed by an honest end's key.
fn sealed(end: &mut Endpoint, content_type: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match end.rest.version() {
        Some(Version::Tls13) => {
            let inner = [content, &[content_type]].concat();
            seal::seal_raw(&mut end.rest, DATA, &inner, &mut out);
        }
        _ => seal::seal_raw(&mut end.rest, content_type, content, &mut out),
    }
    out
}

/// A server that has been given the records that `write` makes.
fn given(suite: Suite, write: impl FnOnce(&mut Endpoint) -> Vec<u8>) -> Endpoint {
    let (mut client, mut server) = pair(suite, 5);
    let bytes = write(&mut client);
    server.give(&bytes);
    server
}

fn failed(fault: Fault) -> Option<Over> {
    Some(Over::Failed(fault))
}

const GCM13: Suite = Suite::Aes128GcmSha256;
const GCM12: Suite = Suite::EcdheEcdsaAes128GcmSha256;

#[test]
fn a_stream_is_the_same_however_it_is_cut() {
    for suite in [GCM13, GCM12, Suite::Chacha20Poly1305Sha256] {
        let (mut client, _) = pair(suite, 1);
        client.send(b"one");
        client.rest.request_key_update();
        client.send(b"two and three");
        client.send(&[9; 300]);
        let stream = client.take();
        let expected = [&b"onetwo and three"[..], &[9; 300]].concat();
        for at in 0..=stream.len() {
            let (_, mut server) = pair(suite, 1);
            server.give(&stream[..at]);
            server.give(&stream[at..]);
            assert_eq!(
                (server.over, &server.received),
                (None, &expected),
                "cut at {at}"
            );
            assert_eq!(server.kept_bytes(), 0);
        }
        for size in 1..40 {
            let (_, mut server) = pair(suite, 1);
            stream.chunks(size).for_each(|piece| server.give(piece));
            assert_eq!(
                (server.over, &server.received),
                (None, &expected),
                "by {size}"
            );
        }
    }
}

#[test]
fn a_record_with_any_bit_changed_is_refused_and_not_readable() {
    let data = b"attack at dawn";
    for suite in Suite::ALL {
        let (mut client, _) = pair(suite, 2);
        client.send(data);
        let record = client.take();
        for bit in 0..8 * record.len() {
            let (_, mut server) = pair(suite, 2);
            let mut changed = record.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            // As much again behind it, for a length that became larger.
            let mut lease = [changed.clone(), vec![0; 1 << 15]].concat();
            let opened = roost_tls::open(&mut server.rest, &mut lease);
            assert!(
                matches!(opened.end, roost_tls::End::Failed(_)),
                "{suite:?}, bit {bit}"
            );
            assert_eq!(
                (opened.plaintext.len(), server.rest.opened()),
                (0, client.rest.sealed() - 1)
            );
            let readable = lease.windows(data.len()).any(|window| window == data);
            assert!(!readable, "{suite:?}, bit {bit}");
            server.give(&record);
            assert_eq!(server.received, b"", "nothing is read after a failure");
        }
    }
}

#[test]
fn another_records_number_is_refused() {
    for suite in Suite::ALL {
        let (mut client, mut server) = pair(suite, 4);
        client.send(b"first");
        let first = client.take();
        client.send(b"second");
        server.give(&client.take());
        assert_eq!(server.over, failed(Fault::BadRecordMac), "one was left out");
        let (_, mut server) = pair(suite, 4);
        server.give(&first);
        server.give(&first);
        assert_eq!(server.over, failed(Fault::BadRecordMac), "one came twice");
        assert_eq!(server.received, b"first");
        let (mut client, _) = pair(suite, 4);
        client.give(&first);
        assert_eq!(
            client.over,
            failed(Fault::BadRecordMac),
            "one came back to its sender"
        );
    }
}

#[test]
fn lengths_are_checked_before_the_rest_is_awaited() {
    for suite in [GCM13, GCM12] {
        let server = given(suite, |_| vec![DATA, 3, 3, 0x41, 1]);
        assert_eq!(server.over, failed(Fault::RecordOverflow));
        let server = given(suite, |_| vec![DATA, 3, 3, 0x41, 0]);
        assert_eq!((server.over, server.kept_bytes()), (None, 5));
        let server = given(suite, |client| sealed(client, DATA, &[7; 1 << 14]));
        assert_eq!((server.over, server.received.len()), (None, 1 << 14));
        let server = given(suite, |client| sealed(client, DATA, &[7; (1 << 14) + 1]));
        assert_eq!(
            (server.over, server.received.len()),
            (failed(Fault::RecordOverflow), 0)
        );
    }
    // 1.3: padding counts.
    let padded = |len| {
        given(GCM13, move |client| {
            let mut inner = vec![0; len];
            inner[0] = DATA;
            let mut out = Vec::new();
            seal::seal_raw(&mut client.rest, DATA, &inner, &mut out);
            out
        })
    };
    assert_eq!(padded((1 << 14) + 1).over, None);
    assert_eq!(padded((1 << 14) + 2).over, failed(Fault::RecordOverflow));
    for len in 0..17 {
        let server = given(GCM13, |_| {
            [&[DATA, 3, 3, 0, len][..], &vec![1; len.into()]].concat()
        });
        assert_eq!(server.over, failed(Fault::BadRecordMac), "{len}");
    }
}

#[test]
fn records_in_the_clear_are_refused() {
    for suite in [GCM13, GCM12] {
        for (content_type, body) in [
            (20, &[1][..]),
            (ALERT, &[1, 0]),
            (HANDSHAKE, &[24, 0, 0, 1, 0]),
            (99, b"something that is long enough to have a tag"),
        ] {
            let len = body.len() as u8;
            let server = given(suite, |_| [&[content_type, 3, 3, 0, len], body].concat());
            let expected = match suite.version() {
                Version::Tls13 => Fault::UnexpectedMessage,
                Version::Tls12 => Fault::BadRecordMac,
            };
            assert_eq!(server.over, failed(expected), "{content_type}");
        }
    }
}

#[test]
fn content_types_and_their_contents_have_rules() {
    use Fault::{DecodeError, IllegalParameter, PeerAlert, UnexpectedMessage};
    let cases: &[(u8, &[u8], Option<Over>)] = &[
        (DATA, b"", None),
        (DATA, b"data", None),
        (0, b"", failed(UnexpectedMessage)),
        (0, b"\0\0\0\0", failed(UnexpectedMessage)),
        (20, &[1], failed(UnexpectedMessage)),
        (24, b"heartbeat", failed(UnexpectedMessage)),
        (ALERT, b"", failed(UnexpectedMessage)),
        (ALERT, &[1], failed(DecodeError)),
        (ALERT, &[1, 0, 0], failed(DecodeError)),
        (ALERT, &[1, 0], Some(Over::Closed)),
        (ALERT, &[2, 0], Some(Over::Closed)),
        (ALERT, &[1, 90], None),
        (ALERT, &[2, 90], None),
        (ALERT, &[1, 41], failed(PeerAlert(41))),
        (ALERT, &[2, 80], failed(PeerAlert(80))),
        (HANDSHAKE, b"", failed(UnexpectedMessage)),
        (HANDSHAKE, &[24, 0, 0, 1, 0], None),
        (HANDSHAKE, &[24, 0, 0, 1, 1], None),
        (HANDSHAKE, &[24, 0, 0, 1, 2], failed(IllegalParameter)),
        (HANDSHAKE, &[24, 0, 0, 2, 0, 0], failed(DecodeError)),
        (HANDSHAKE, &[24, 0, 0, 0], failed(DecodeError)),
        (HANDSHAKE, &[24, 0, 0, 1, 0, 24], failed(UnexpectedMessage)),
        (
            HANDSHAKE,
            &[24, 0, 0, 1, 0, 24, 0, 0, 1, 0],
            failed(UnexpectedMessage),
        ),
        (HANDSHAKE, &[1, 0, 0, 0], failed(UnexpectedMessage)),
        (HANDSHAKE, &[4, 0, 0, 1, 0], failed(UnexpectedMessage)),
        (HANDSHAKE, &[20, 0, 0, 1, 0], failed(UnexpectedMessage)),
    ];
    for (content_type, content, expected) in cases {
        let server = given(GCM13, |client| sealed(client, *content_type, content));
        assert_eq!(server.over, *expected, "{content_type}: {content:?}");
    }
}

#[test]
fn tls12_refuses_renegotiation_and_ignores_a_few_warnings() {
    let hello = |client: &mut Endpoint| sealed(client, HANDSHAKE, &[1, 0, 0, 0]);
    assert_eq!(given(GCM12, hello).over, failed(Fault::Renegotiation));
    let warnings = |count: u8| {
        given(GCM12, move |client| {
            (0..count)
                .flat_map(|_| sealed(client, ALERT, &[1, 100]))
                .collect()
        })
    };
    assert_eq!(warnings(WARNINGS_MAX).over, None);
    assert_eq!(warnings(WARNINGS_MAX + 1).over, failed(Fault::Flood));
    let fatal = |client: &mut Endpoint| sealed(client, ALERT, &[2, 40]);
    assert_eq!(given(GCM12, fatal).over, failed(Fault::PeerAlert(40)));
    let spec = |client: &mut Endpoint| sealed(client, 20, &[1]);
    assert_eq!(given(GCM12, spec).over, failed(Fault::UnexpectedMessage));
}

#[test]
fn a_key_update_may_come_in_pieces_with_nothing_between() {
    for size in 1..5 {
        let mut server = given(GCM13, |client| {
            let mut stream = Vec::new();
            for piece in [24, 0, 0, 1, 1].chunks(size) {
                stream.extend(sealed(client, HANDSHAKE, piece));
            }
            stream
        });
        assert_eq!(
            (server.over, server.rest.opened()),
            (None, 0),
            "pieces of {size}"
        );
        server.move_through_bytes();
        assert!(server.rest.owes_output());
        for (content_type, content) in [(DATA, &b"data"[..]), (DATA, b""), (ALERT, &[1, 90])] {
            let server = given(GCM13, |client| {
                let mut stream = sealed(client, HANDSHAKE, &[24, 0, 0, 1][..size.min(4)]);
                stream.extend(sealed(client, content_type, content));
                stream
            });
            assert_eq!(server.over, failed(Fault::UnexpectedMessage));
        }
    }
}

#[test]
fn records_without_data_are_limited_in_a_row() {
    let empty = |counts: &[u32]| {
        let (mut client, mut server) = pair(GCM13, 5);
        for count in counts {
            for _ in 0..*count {
                let record = sealed(&mut client, DATA, b"");
                server.give(&record);
            }
            client.send(b"x");
            server.give(&client.take());
        }
        server.over
    };
    let max = u32::from(EMPTY_RECORDS_MAX);
    assert_eq!(empty(&[max, max, max]), None);
    assert_eq!(empty(&[max + 1]), failed(Fault::Flood));

    let updates = |counts: &[u32]| {
        let (mut client, mut server) = pair(GCM13, 5);
        for count in counts {
            for _ in 0..*count {
                client.rest.request_key_update();
                client.flush();
            }
            client.send(b"x");
            server.give(&client.take());
        }
        (server.over, server)
    };
    let max = u32::from(KEY_UPDATES_MAX);
    assert_eq!(updates(&[max, max, max]).0, None);
    assert_eq!(updates(&[max + 1]).0, failed(Fault::Flood));
    // However many were asked for, one answers them all.
    let (_, mut server) = updates(&[max]);
    server.flush();
    assert_eq!(server.out.len(), 5 + 5 + 1 + 16);
    assert!(!server.rest.owes_output());
}

#[test]
fn an_owed_key_update_goes_first_and_close_notify_last() {
    let (mut client, mut server) = pair(GCM13, 6);
    client.rest.request_key_update();
    client.flush();
    server.give(&client.take());
    assert!(server.rest.owes_output());
    let mut sealer = Sealer::new(&mut server.rest, &mut server.out).expect("an open connection");
    sealer.push(b"last ");
    sealer.push(b"words");
    sealer.finish_with_close();
    let out = server.take();
    let update = 5 + 5 + 1 + 16;
    assert_eq!(out.len(), update + 5 + 10 + 1 + 16 + 5 + 2 + 1 + 16);
    client.give(&out[..update]);
    assert_eq!(
        (client.rest.opened(), client.received.len()),
        (0, 0),
        "new key"
    );
    assert!(!client.rest.owes_output(), "an answer asks for none");
    client.give(&out[update..]);
    assert_eq!(
        (client.over, &client.received[..]),
        (Some(Over::Closed), &b"last words"[..])
    );

    // Nothing is sealed behind close_notify, and it goes once.
    assert!(Sealer::new(&mut server.rest, &mut server.out).is_none());
    seal::close(&mut server.rest, &mut server.out);
    assert!(server.out.is_empty() && server.rest.is_send_closed());
    // What comes behind the peer's is not looked at.
    client.give(&[0; 100]);
    assert_eq!((client.over, client.kept_bytes()), (Some(Over::Closed), 0));
}

#[test]
fn data_is_cut_into_records_of_16_kib() {
    for suite in [GCM13, GCM12, Suite::EcdheRsaChacha20Poly1305Sha256] {
        let overhead = match (suite.version(), suite) {
            (Version::Tls13, _) => 22,
            (_, GCM12) => 29,
            _ => 21,
        };
        for len in [1, 16_383, 16_384, 16_385, 32_768, 40_000] {
            let (mut client, mut server) = pair(suite, 7);
            let data: Vec<u8> = (0..len).map(|at: usize| (at / 3) as u8).collect();
            let mut sealer = Sealer::new(&mut client.rest, &mut client.out).expect("open");
            data.chunks(1000).for_each(|piece| sealer.push(piece));
            sealer.finish();
            let records = len.div_ceil(16_384);
            assert_eq!(client.out.len(), len + records * overhead);
            server.give(&client.take());
            assert!(server.received == data && server.over.is_none());
        }
    }
}

#[test]
fn plaintext_that_was_not_sealed_is_taken_out_again() {
    let (mut client, _) = pair(GCM13, 7);
    let mut out = b"before".to_vec();
    let mut sealer = Sealer::new(&mut client.rest, &mut out).expect("open");
    sealer.push(b"secret");
    drop(sealer);
    assert_eq!(out, b"before");
}

#[test]
fn keys_are_changed_before_they_are_worn_out() {
    for suite in [GCM13, Suite::Aes256GcmSha384] {
        let (mut client, mut server) = pair(suite, 8);
        set_records(&mut client.rest, REKEY_AFTER - 1, 0);
        set_records(&mut server.rest, 0, REKEY_AFTER - 1);
        // The receiver asks, the sender changes of itself: at the same record.
        client.send(b"a");
        client.send(b"b");
        server.give(&client.take());
        assert_eq!((client.rest.sealed(), server.rest.opened()), (1, 1));
        assert!(!server.rest.owes_output(), "the sender has done it already");
        server.send(b"c");
        client.give(&server.take());
        assert_eq!((&client.received[..], client.over), (&b"c"[..], None));

        // A sender that does not is asked, once.
        let (mut client, mut server) = pair(suite, 8);
        set_records(&mut client.rest, REKEY_AFTER + 5, 0);
        set_records(&mut server.rest, 0, REKEY_AFTER + 5);
        for _ in 0..2 {
            let record = sealed(&mut client, DATA, b"d");
            server.give(&record);
            server.flush();
            assert!(!server.rest.owes_output());
        }
        let asked = server.take();
        assert_eq!(asked.len(), 27, "once");
        client.give(&asked);
        client.send(b"e");
        server.give(&client.take());
        assert_eq!((server.over, server.rest.opened()), (None, 1));
        assert_eq!(server.received, b"dde");
    }
    let (mut client, _) = pair(Suite::Chacha20Poly1305Sha256, 8);
    set_records(&mut client.rest, u64::MAX / 2, 0);
    client.send(b"x");
    assert_eq!(client.out.len(), 22 + 1);
}

#[test]
fn tls12_says_when_its_keys_are_worn_out() {
    let (mut client, _) = pair(GCM12, 9);
    assert!(!client.rest.is_worn_out());
    set_records(&mut client.rest, 0, CLOSE_AFTER);
    assert!(client.rest.is_worn_out());
    set_records(&mut client.rest, CLOSE_AFTER, 0);
    assert!(client.rest.is_worn_out());
    client.send(b"there is still time to say so");
    set_records(&mut client.rest, 1 << 25, 0);
    assert!(Sealer::new(&mut client.rest, &mut client.out).is_none());
    let (mut client, _) = pair(Suite::EcdheEcdsaChacha20Poly1305Sha256, 9);
    set_records(&mut client.rest, CLOSE_AFTER, CLOSE_AFTER);
    assert!(!client.rest.is_worn_out());
}

#[test]
fn tickets_are_passed_over_by_a_client_in_any_pieces() {
    let ticket = |len: usize| {
        let [.., high, middle, low] = len.to_be_bytes();
        [&[4, high, middle, low][..], &vec![24; len]].concat()
    };
    let stream = [ticket(1), ticket(300), ticket(70), vec![24, 0, 0, 1, 0]].concat();
    for size in [1, 2, 3, 5, 7, 64, stream.len()] {
        let (mut client, mut server) = pair(GCM13, 10);
        for piece in stream.chunks(size) {
            let record = sealed(&mut server, HANDSHAKE, piece);
            client.give(&record);
            client.move_through_bytes();
        }
        assert_eq!(
            (client.over, client.rest.opened()),
            (None, 0),
            "pieces of {size}"
        );
    }
    let refused = |bytes: &[u8]| {
        let (mut client, mut server) = pair(GCM13, 10);
        let record = sealed(&mut server, HANDSHAKE, bytes);
        client.give(&record);
        client.over
    };
    assert_eq!(refused(&[4, 0, 0, 0]), failed(Fault::DecodeError));
    assert_eq!(refused(&[4, 1, 0, 0]), failed(Fault::DecodeError));
    let many: Vec<u8> = (0..=KEY_UPDATES_MAX).flat_map(|_| ticket(2)).collect();
    assert_eq!(refused(&many), failed(Fault::Flood));
    let cut = [ticket(9)[..8].to_vec(), vec![]].concat();
    let (mut client, mut server) = pair(GCM13, 10);
    let record = sealed(&mut server, HANDSHAKE, &cut);
    client.give(&record);
    server.send(b"data");
    client.give(&server.take());
    assert_eq!(client.over, failed(Fault::UnexpectedMessage));
}

#[test]
fn a_released_slot_is_zero_and_shows_nothing() {
    let (mut client, _) = pair(Suite::Aes256GcmSha384, 0xab);
    client.send(b"x");
    assert_eq!(
        format!("{:?}", client.rest),
        "Rest(\"TLS_AES_256_GCM_SHA384\")"
    );
    client.rest.release();
    assert_eq!(format!("{:?}", client.rest), "Rest(\"vacant\")");
    assert!(client.rest.is_vacant());
    let bytes = client.rest.into_bytes();
    assert_eq!((bytes[0], bytes[1..].iter().max()), (1, Some(&0)));

    let (mut client, _) = pair(Suite::Aes256GcmSha384, 0xab);
    let mut other = Rest::VACANT;
    client.rest.move_to(&mut other);
    assert!(client.rest.is_vacant() && !other.is_vacant());
    let bytes = client.rest.into_bytes();
    assert_eq!(bytes[1..].iter().max(), Some(&0), "nothing stays behind");
}

#[test]
fn what_is_written_down_is_checked_when_read() {
    use roost_tls::ImportError;
    let (client, _) = pair(GCM12, 1);
    let bytes = *client.rest.into_bytes();
    let changed = |at: usize, value: u8| {
        let mut bytes = bytes;
        bytes[at] = value;
        Rest::from_bytes(&bytes).map(|rest| rest.suite())
    };
    assert_eq!(changed(0, 1), Ok(Some(GCM12)));
    assert_eq!(changed(0, 2), Err(ImportError::Version(2)));
    assert_eq!(changed(1, 0x80), Err(ImportError::State));
    assert_eq!(changed(2, 0x99), Err(ImportError::Suite(0xc099)));
    assert_eq!(changed(6, 99), Err(ImportError::State));
    assert_eq!(changed(7, 33), Err(ImportError::State));
    assert_eq!(
        Rest::from_bytes(&bytes[1..]).map(|rest| rest.suite()),
        Err(ImportError::Length)
    );
}

#[test]
#[should_panic(expected = "sealed twice under one key")]
#[cfg(debug_assertions)]
fn a_number_used_twice_is_found() {
    let _watch = nonces::watch();
    let (client, _) = pair(GCM13, 1);
    let bytes = client.rest.into_bytes();
    let mut copies = [0, 1].map(|_| {
        let rest = Rest::from_bytes(&bytes[..]).expect("what was just written");
        Endpoint::established(rest)
    });
    copies[0].send(b"one");
    copies[1].send(b"two");
}
