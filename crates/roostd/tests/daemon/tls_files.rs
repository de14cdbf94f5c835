//! Certificates and keys on the disk, for tests.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair, SignatureAlgorithm};
use time::OffsetDateTime;

pub(crate) const ECDSA: &SignatureAlgorithm = &rcgen::PKCS_ECDSA_P256_SHA256;
pub(crate) const RSA: &SignatureAlgorithm = &rcgen::PKCS_RSA_SHA256;

/// An authority, and a directory for what it signs and for a configuration; gone with the value.
pub(crate) struct TlsFiles {
    directory: PathBuf,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl TlsFiles {
    pub(crate) fn new() -> TlsFiles {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("roostd-tls-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).expect("a directory");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let name = &mut params.distinguished_name;
        name.push(rcgen::DnType::CommonName, "authority of a test");
        let key = KeyPair::generate_for(ECDSA).expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let files = TlsFiles {
            directory,
            authority,
        };
        files.write("ca.pem", &files.authority.pem());
        files
    }

    /// `NAME.pem`, the certificate and its authority, and `NAME.key`, which only its owner can read.
    /// It is valid from yesterday for so many days from now.
    pub(crate) fn sign(&self, name: &str, days: i64, algorithm: &'static SignatureAlgorithm) {
        self.sign_with(name, algorithm, |params| params.not_after = day(days));
    }

    /// The same, with what a test changes.
    pub(crate) fn sign_with(
        &self,
        name: &str,
        algorithm: &'static SignatureAlgorithm,
        change: impl FnOnce(&mut CertificateParams),
    ) {
        let names = vec!["localhost".to_owned(), format!("{name}.example")];
        let mut params = CertificateParams::new(names).expect("names");
        (params.not_before, params.not_after) = (day(-90), day(90));
        change(&mut params);
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let signed = params
            .signed_by(&key, &self.authority)
            .expect("a certificate");
        let chain = format!("{}{}", signed.pem(), self.authority.pem());
        self.write(&format!("{name}.pem"), &chain);
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        let file = self.path(name);
        fs::write(&file, content).expect("writes");
        self.set_mode(name, 0o600);
    }

    pub(crate) fn set_mode(&self, name: &str, mode: u32) {
        let set = fs::set_permissions(self.path(name), Permissions::from_mode(mode));
        set.expect("ours");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("it is there")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A configuration file, by its path.
    pub(crate) fn config(&self, text: &str) -> String {
        self.write("roost.toml", text);
        self.path("roost.toml").to_str().expect("UTF-8").to_owned()
    }
}

/// So many days from now.
fn day(days: i64) -> OffsetDateTime {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    let then = now.as_secs() as i64 + days * 86_400;
    OffsetDateTime::from_unix_timestamp(then).expect("a date")
}

impl Drop for TlsFiles {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
