//! What is wrong with files of certificates and keys, said before a client comes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use roost_tls::certs::{CertificateFiles, Findings};
use roost_tls::testing::Endpoint;
use roost_tls::{
    ClientAuth, ClientAuthority, ClientSetup, Clock, ServerOptions, ServerSetup, self_signed,
};

use crate::support::{
    Authority, DAY, NOW, at, ca_params, client_options, clock, key, leaf_params, server_options,
};

/// What loading finds: errors, then warnings.
fn find(options: &ServerOptions, now: u64) -> (Vec<String>, Vec<String>) {
    let loaded = ServerSetup::load(options, &Arc::new(Clock::new(now)));
    let findings = match loaded {
        Ok((_, findings)) => {
            assert_eq!(findings.errors, []);
            findings
        }
        Err(findings) => {
            assert_ne!(findings.errors, []);
            findings
        }
    };
    let Findings { errors, warnings } = findings;
    let text = |findings: Vec<roost_tls::certs::Finding>| {
        findings.iter().map(ToString::to_string).collect()
    };
    (text(errors), text(warnings))
}

fn with(certificate: &Path, key: &Path) -> ServerOptions {
    server_options(CertificateFiles {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        ocsp: None,
    })
}

/// The one error of `options`, which names `file` and says `what`.
fn assert_error(options: &ServerOptions, file: &Path, what: &str) {
    let (errors, _) = find(options, NOW);
    assert_eq!(errors.len(), 1, "{errors:?}");
    let start = format!("{}: ", file.display());
    assert!(errors[0].starts_with(&start), "{errors:?}");
    assert!(
        errors[0].contains(what),
        "{:?} does not say {what:?}",
        errors[0]
    );
}

const ECDSA: &rcgen::SignatureAlgorithm = &rcgen::PKCS_ECDSA_P256_SHA256;

#[test]
fn unreadable_files_are_named_with_the_reason() {
    let authority = Authority::new("ca");
    let good = authority.sign(&["a.example"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let pem = fs::read_to_string(&good.certificate).expect("our own file");
    let key_pem = fs::read_to_string(&good.key).expect("our own file");
    let write = |name: &str, text: &str| authority.dir.write(name, text);
    let missing = authority.dir.path("missing.pem");
    assert_error(&with(&missing, &good.key), &missing, "No such file");
    let directory = missing.parent().expect("a directory");
    assert_error(&with(directory, &good.key), directory, "directory");
    let der = write("der", "0\u{1}\u{2}");
    let encrypted = write(
        "encrypted",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let damaged = write(
        "damaged",
        "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
    );
    let broken_key = write(
        "broken.key",
        "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
    );
    let big = write("big", &"x".repeat((1 << 20) + 1));
    for (certificate, what) in [
        (write("empty", ""), "no certificate in PEM"),
        (write("text", "hello"), "no certificate in PEM"),
        (der.clone(), "looks like DER"),
        (good.key.clone(), "interchanged"),
        (write("cut", &pem[..pem.len() / 2]), "cut off"),
        (write("letters", &pem.replace("MII", "M?I")), "characters"),
        (damaged, "damaged"),
        (big, "too many"),
    ] {
        assert_error(&with(&certificate, &good.key), &certificate, what);
    }
    for (key, what) in [
        (write("empty.key", ""), "no private key in PEM"),
        (der, "looks like DER"),
        (encrypted, "encrypted"),
        (good.certificate.clone(), "interchanged"),
        (write("cut.key", &key_pem[..60]), "cut off"),
        (broken_key, "cannot be used"),
    ] {
        assert_error(&with(&good.certificate, &key), &key, what);
    }
    // All mistakes at once.
    let (errors, _) = find(&with(&missing, &missing), NOW);
    assert_eq!(errors.len(), 2, "{errors:?}");
    let mut none = with(&missing, &missing);
    none.certificates.clear();
    assert!(find(&none, NOW).0[0].contains("needs a certificate"));
}

#[test]
fn a_key_that_does_not_fit_is_found() {
    let authority = Authority::new("ca");
    let one = authority.sign(&["a.example"], ECDSA);
    let other = authority.sign(&["a.example"], ECDSA);
    assert_error(
        &with(&one.certificate, &other.key),
        &other.key,
        "does not belong",
    );
    // The chain's order, told apart by the key.
    let ca = authority.issuer.pem();
    let leaf = fs::read_to_string(&one.certificate).expect("our own file");
    let chain = authority.dir.write("chain.pem", leaf.clone() + &ca);
    assert_eq!(find(&with(&chain, &one.key), NOW).0, Vec::<String>::new());
    let turned = authority.dir.write("turned.pem", ca.clone() + &leaf);
    assert_error(&with(&turned, &one.key), &turned, "wrong order");
    let stranger = Authority::new("stranger").issuer.pem();
    let alien = authority.dir.write("alien.pem", leaf.clone() + &stranger);
    assert_error(&with(&alien, &one.key), &alien, "wrong order");
    let same_name = Authority::new("ca").issuer.pem();
    let second = authority.dir.write("second.pem", same_name + &leaf);
    assert_error(&with(&second, &one.key), &second, "wrong order");
}

#[test]
fn dates_are_checked_and_told() {
    let authority = Authority::new("ca");
    let signed = |from: u64, to: u64| {
        let mut params = leaf_params(&["a.example"]);
        (params.not_before, params.not_after) = (at(from), at(to));
        let files = authority.sign_params(params, &key(ECDSA));
        server_options(files)
    };
    let file = |options: &ServerOptions| options.certificates[0].certificate.clone();
    let expired = signed(NOW - 9 * DAY, NOW - 1);
    assert_error(
        &expired,
        &file(&expired),
        "has expired on 2026-02-28: renew it",
    );
    let early = signed(NOW + DAY, NOW + 9 * DAY);
    assert_error(&early, &file(&early), "not valid before 2026-03-02");
    assert_error(&early, &file(&early), "clock says 2026-03-01");
    let soon = signed(NOW - 80 * DAY, NOW + 10 * DAY);
    assert!(find(&soon, NOW).1[0].contains("expires on 2026-03-11"));
    let short = signed(NOW - DAY, NOW + 5 * DAY);
    assert_eq!(
        find(&short, NOW).1,
        Vec::<String>::new(),
        "a short one has time"
    );
    let leap = signed(NOW, 1_835_395_200);
    let (setup, _) = ServerSetup::load(&leap, &clock()).expect("no errors");
    assert_eq!(setup.expires(), 1_835_395_200);
    assert!(find(&leap, 1_835_395_201).0[0].contains("2028-02-29"));
    // One of the chain.
    let mut params = ca_params("old");
    params.not_after = at(NOW - 1);
    let old = rcgen::CertifiedIssuer::self_signed(params, key(ECDSA)).expect("an authority");
    let leaf_key = key(ECDSA);
    let leaf = leaf_params(&["a.example"])
        .signed_by(&leaf_key, &old)
        .expect("a leaf");
    let chain = authority.dir.write("old.pem", leaf.pem() + &old.pem());
    let key_file = authority.dir.write("old.key", leaf_key.serialize_pem());
    assert_error(
        &with(&chain, &key_file),
        &chain,
        "certificate 2 of the chain has expired",
    );
}

#[test]
fn keys_that_are_read_by_all_or_slow_are_warned_about() {
    let authority = Authority::new("ca");
    let rsa = authority.sign(&["a.example"], &rcgen::PKCS_RSA_SHA256);
    let warnings = find(&server_options(rsa), NOW).1;
    assert!(
        warnings[0].contains("0.8 ms") && warnings.len() == 1,
        "{warnings:?}"
    );
    let open = authority.sign(&["a.example"], ECDSA);
    fs::set_permissions(&open.key, fs::Permissions::from_mode(0o644)).expect("our own file");
    let warnings = find(&server_options(open), NOW).1;
    assert!(
        warnings[0].contains("every user") && warnings.len() == 1,
        "{warnings:?}"
    );
    let nameless = authority.sign(&[], ECDSA);
    let warnings = find(&server_options(nameless), NOW).1;
    assert!(
        warnings[0].contains("no host name") && warnings.len() == 1,
        "{warnings:?}"
    );
}

#[test]
fn an_ocsp_response_is_sent_along_and_checked() {
    let authority = Authority::new("ca");
    let mut options = server_options(authority.sign(&["a.example"], ECDSA));
    let mut with_ocsp = |bytes: &[u8]| {
        let file = authority.dir.write("ocsp.der", bytes);
        options.certificates[0].ocsp = Some(file);
        find(&options, NOW).0
    };
    assert_eq!(with_ocsp(&[0x30, 3, 10, 1, 0]), Vec::<String>::new());
    assert!(with_ocsp(&[0x30, 3, 10, 1, 6])[0].contains("status 6"));
    assert!(with_ocsp(b"hello")[0].contains("no OCSP response"));
    assert!(with_ocsp(b"")[0].contains("no OCSP response"));
}

#[test]
fn client_authorities_and_lists_are_checked() {
    let authority = Authority::new("ca");
    let good = authority.sign(&["a.example"], ECDSA);
    let auth = |ca: &Path, crl: Option<&Path>| {
        let mut options = server_options(good.clone());
        options.client_auth = ClientAuth::Required(ClientAuthority {
            ca: ca.to_owned(),
            crl: crl.map(Path::to_owned),
        });
        options
    };
    let missing = authority.dir.path("missing");
    assert_error(&auth(&missing, None), &missing, "No such file");
    assert_error(
        &auth(&good.key, None),
        &good.key,
        "no certificate in it, but a private key",
    );
    let list = &authority.file;
    assert_error(
        &auth(list, Some(list)),
        list,
        "no revocation list in it, but a certificate",
    );
    let bad = authority.dir.write(
        "bad.crl",
        "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n",
    );
    assert_error(
        &auth(list, Some(&bad)),
        &bad,
        "revocation list 1 cannot be read",
    );
    let mut params = ca_params("old");
    params.not_after = at(NOW - 1);
    let old = rcgen::CertifiedIssuer::self_signed(params, key(ECDSA)).expect("an authority");
    let old = authority.dir.write("old-ca.pem", old.pem());
    assert!(find(&auth(&old, None), NOW).1[0].contains("authority 1 has expired"));
}

#[test]
fn a_self_signed_certificate_serves_localhost_to_clients_that_are_given_it() {
    let authority = Authority::new("unused");
    let made = self_signed(NOW).expect("a date of our time");
    let certificate = authority.dir.write("self.pem", &made.certificate);
    let key = authority.dir.write("self.key", &made.key);
    let (setup, findings) = ServerSetup::load(&with(&certificate, &key), &clock()).expect("good");
    assert_eq!(findings, Findings::default());
    for name in ["localhost", "127.0.0.1", "::1"] {
        let client = ClientSetup::load(&client_options(&certificate), &clock());
        let mut client = Endpoint::client(&client.expect("good").0, name);
        let mut server = Endpoint::server(&setup);
        for _ in 0..4 {
            server.give(&client.take());
            client.give(&server.take());
        }
        assert_eq!(client.over, None, "{name}");
        assert!(client.is_established() && server.is_established());
    }
    assert!(self_signed(u64::MAX).is_err());
}
