//! What both sides' setups need of rustls.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{
    Error, InconsistentKeys, RootCertStore, SignatureAlgorithm, SupportedProtocolVersion, version,
};

use crate::certs::{CertificateFiles, Findings, Identity, read_certificates};
use crate::clock::Clock;
use crate::keys::Version;

/// The one application protocol: RFC 6455 is an upgrade of HTTP/1.1.
pub(super) const APPLICATION_PROTOCOL: &[u8] = b"http/1.1";

pub(super) struct Roots {
    pub(super) store: Arc<RootCertStore>,
    pub(super) der: Vec<CertificateDer<'static>>,
}

/// Reads certificate authorities. With `now`, those that have expired are errors.
pub(super) fn read_roots(file: &Path, now: Option<u64>, findings: &mut Findings) -> Option<Roots> {
    let der = read_certificates(file, findings)?;
    let mut store = RootCertStore::empty();
    for (place, certificate) in der.iter().enumerate() {
        if let Err(error) = store.add(certificate.clone()) {
            let what = format!("certificate {} cannot be an authority: {error}", place + 1);
            findings.error(file, what);
            return None;
        }
        let dates = crate::certs::dates(certificate);
        if let (Some(now), Ok((_, not_after))) = (now, dates)
            && now > not_after
        {
            findings.warn(file, format!("authority {} has expired", place + 1));
        }
    }
    let store = Arc::new(store);
    Some(Roots { store, der })
}

const TLS13_ONLY: &[&SupportedProtocolVersion] = &[&version::TLS13];

pub(super) const TLS12_ONLY: &[&SupportedProtocolVersion] = &[&version::TLS12];

pub(super) fn versions(min: Version) -> &'static [&'static SupportedProtocolVersion] {
    match min {
        Version::Tls12 => rustls::ALL_VERSIONS,
        Version::Tls13 => TLS13_ONLY,
    }
}

/// The time for rustls.
#[derive(Debug)]
pub(super) struct ClockOfRustls(pub(super) Arc<Clock>);

impl TimeProvider for ClockOfRustls {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(
            self.0.now(),
        )))
    }
}

pub(super) fn is_rsa(key: &CertifiedKey) -> bool {
    key.key.algorithm() == SignatureAlgorithm::RSA
}

/// Joins chain and key, if they belong together.
pub(super) fn certify(
    files: &CertificateFiles,
    identity: Identity,
    provider: &CryptoProvider,
    findings: &mut Findings,
) -> Option<Arc<CertifiedKey>> {
    let key = match provider.key_provider.load_private_key(identity.key) {
        Ok(key) => key,
        Err(error) => {
            let what = format!("the private key cannot be used: {error}");
            findings.error(&files.key, what);
            return None;
        }
    };
    let mut certified = CertifiedKey::new(identity.chain, key);
    if let Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) = certified.keys_match() {
        findings.error(&files.key, mismatch(files, &certified));
        return None;
    }
    if is_rsa(&certified) {
        let what = "an RSA key: a handshake takes about 0.8 ms of a core and the other connections \
                    wait for it; with an ECDSA key (P-256) it takes 0.1 ms";
        findings.warn(&files.key, what);
    }
    certified.ocsp = identity.ocsp;
    Some(Arc::new(certified))
}

fn mismatch(files: &CertificateFiles, certified: &CertifiedKey) -> String {
    let file = files.certificate.display();
    let fits = |certificate: &CertificateDer<'static>| {
        let alone = CertifiedKey::new(vec![certificate.clone()], certified.key.clone());
        alone.keys_match().is_ok()
    };
    match certified.cert.iter().position(fits) {
        Some(place) => format!(
            "the private key belongs to certificate {} of {file}, which must stand first there",
            place + 1
        ),
        None => format!("the private key does not belong to the certificate in {file}"),
    }
}
