//! Certificates made for a test, in files as a server has them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SignatureAlgorithm,
};
use roost_tls::certs::{CertificateFiles, Findings};
use roost_tls::{
    ClientAuth, ClientOptions, ClientSetup, Clock, ServerOptions, ServerSetup, TicketSecret, Trust,
    Version,
};
use time::OffsetDateTime;

/// The time of all tests: 2026-03-01.
pub(crate) const NOW: u64 = 1_772_323_200;

pub(crate) const DAY: u64 = 86_400;

pub(crate) fn clock() -> Arc<Clock> {
    Arc::new(Clock::new(NOW))
}

/// A directory that is removed again.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("roost-tls-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file in a directory of our own");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("our own file");
        path
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An authority, and what it signs.
pub(crate) struct Authority {
    pub(crate) dir: Dir,
    pub(crate) issuer: CertifiedIssuer<'static, KeyPair>,
    pub(crate) file: PathBuf,
}

pub(crate) fn at(seconds: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds as i64).expect("a date of our time")
}

pub(crate) fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = at(NOW - DAY);
    params.not_after = at(NOW + 3650 * DAY);
    params
}

pub(crate) fn leaf_params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("host names");
    params.not_before = at(NOW - DAY);
    params.not_after = at(NOW + 90 * DAY);
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params
}

pub(crate) fn key(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).expect("an algorithm of the library")
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = key(&rcgen::PKCS_ECDSA_P256_SHA256);
        let issuer = CertifiedIssuer::self_signed(ca_params(name), key).expect("an authority");
        let dir = Dir::new();
        let file = dir.write("ca.pem", issuer.pem());
        Self { dir, issuer, file }
    }

    /// A certificate for `names` with a key of `algorithm`.
    pub(crate) fn sign(
        &self,
        names: &[&str],
        algorithm: &'static SignatureAlgorithm,
    ) -> CertificateFiles {
        self.sign_params(leaf_params(names), &key(algorithm))
    }

    pub(crate) fn sign_params(&self, params: CertificateParams, key: &KeyPair) -> CertificateFiles {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let certificate = params.signed_by(key, &self.issuer).expect("a certificate");
        CertificateFiles {
            certificate: self.dir.write(&format!("{number}.pem"), certificate.pem()),
            key: self
                .dir
                .write(&format!("{number}.key"), key.serialize_pem()),
            ocsp: None,
        }
    }
}

pub(crate) fn server_options(certificate: CertificateFiles) -> ServerOptions {
    ServerOptions {
        certificates: vec![certificate],
        min_version: Version::Tls12,
        client_auth: ClientAuth::Off,
        client_name: None,
        tickets: Some(Arc::new(TicketSecret::random())),
    }
}

pub(crate) fn client_options(ca: &Path) -> ClientOptions {
    ClientOptions {
        trust: Trust::Authorities(ca.to_owned()),
        certificate: None,
        min_version: Version::Tls12,
        max_version: Version::Tls13,
    }
}

pub(crate) fn load(options: &ServerOptions) -> ServerSetup {
    let (setup, findings) = ServerSetup::load(options, &clock()).expect("options without errors");
    assert_eq!(findings, Findings::default());
    setup
}

pub(crate) fn load_client(options: &ClientOptions) -> ClientSetup {
    let loaded = ClientSetup::load(options, &clock()).expect("options without errors");
    loaded.0
}
