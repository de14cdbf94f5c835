//! A certificate for development.

use std::fmt;

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PKCS_ED25519,
};
use time::OffsetDateTime;

const DAY: i64 = 24 * 60 * 60;

/// A certificate that nobody vouches for, and its key, both PEM.
pub struct SelfSigned {
    /// The certificate. A client that is given it as an authority trusts it.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

/// Makes a certificate for localhost, 127.0.0.1 and ::1 with an ECDSA key (P-256), valid for 90 days
/// from `now`, seconds since 1970.
///
/// # Errors
/// `now` is a date that certificates cannot have.
pub fn self_signed(now: u64) -> Result<SelfSigned, SelfSignedError> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let key = KeyPair::generate().map_err(|_| SelfSignedError)?;
    make(now, names.to_vec(), &key).ok_or(SelfSignedError)
}

/// For tests: with a key whose signatures have one length (Ed25519).
pub(crate) fn of_fixed_length(now: u64) -> Result<SelfSigned, SelfSignedError> {
    let key = KeyPair::generate_for(&PKCS_ED25519).map_err(|_| SelfSignedError)?;
    make(now, vec!["localhost".to_owned()], &key).ok_or(SelfSignedError)
}

fn make(now: u64, names: Vec<String>, key: &KeyPair) -> Option<SelfSigned> {
    let now = i64::try_from(now).ok()?;
    let mut params = CertificateParams::new(names).ok()?;
    params.not_before = OffsetDateTime::from_unix_timestamp(now - DAY).ok()?;
    params.not_after = OffsetDateTime::from_unix_timestamp(now.checked_add(90 * DAY)?).ok()?;
    let name = &mut params.distinguished_name;
    name.push(DnType::CommonName, "Roost development");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(key).ok()?;
    Some(SelfSigned {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

/// The certificate cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelfSignedError;

impl fmt::Display for SelfSignedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no certificate can be made for the date of this machine's clock")
    }
}

impl std::error::Error for SelfSignedError {}
