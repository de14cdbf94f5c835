//! Files with certificates and keys: read, and checked for what would only show when a client comes.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls_pki_types::pem::{Error as PemError, PemObject, SectionKind};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use webpki::{EndEntityCert, Error as WebpkiError, KeyUsage};

/// A certificate that expires within so many seconds is warned about: 14 days, or a third of its
/// life if that is shorter.
pub const EXPIRES_SOON_SECONDS: u64 = 14 * 24 * 60 * 60;

/// Larger files are none of certificates.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A server's certificate, as its files are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM: the certificate, then those that lead to its authority.
    pub certificate: PathBuf,
    /// PEM: the private key.
    pub key: PathBuf,
    /// DER: what the authority says of the certificate being still valid (OCSP response). Sent along
    /// with it.
    pub ocsp: Option<PathBuf>,
}

/// Something about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub file: PathBuf,
    /// What about it, and what to do.
    pub what: String,
}

/// What was found: with errors nothing can be served.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Findings {
    /// What must be put right.
    pub errors: Vec<Finding>,
    /// What should be.
    pub warnings: Vec<Finding>,
}

impl Findings {
    pub(crate) fn error(&mut self, file: &Path, what: impl Into<String>) {
        self.errors.push(Finding::new(file, what));
    }

    pub(crate) fn warn(&mut self, file: &Path, what: impl Into<String>) {
        self.warnings.push(Finding::new(file, what));
    }
}

impl Finding {
    fn new(file: &Path, what: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            what: what.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.what)
    }
}

/// A certificate with its chain and key, read.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) ocsp: Option<Vec<u8>>,
    /// The host names that it is for, in lower case; some begin with `*.`.
    pub(crate) names: Vec<String>,
    /// When the first certificate of the chain expires.
    pub(crate) not_after: u64,
}

/// Reads a server's or client's certificate and key. `None` if there are errors.
pub(crate) fn read_identity(
    files: &CertificateFiles,
    now: u64,
    findings: &mut Findings,
) -> Option<Identity> {
    let chain = read_certificates(&files.certificate, findings);
    let key = read_key(&files.key, findings);
    let ocsp = files.ocsp.as_deref().map(|file| read_ocsp(file, findings));
    let mut identity = identify(&files.certificate, chain?, key, now, findings)?;
    if let Some(response) = ocsp {
        identity.ocsp = Some(response?);
    }
    Some(identity)
}

/// A certificate and key of PEM that is at hand.
pub(crate) fn parse_identity(
    certificate: &str,
    key: &str,
    now: u64,
    findings: &mut Findings,
) -> Option<Identity> {
    let unnamed = Path::new("");
    let chain = parse_certificates(unnamed, certificate.as_bytes(), findings);
    let key = parse_key(unnamed, key.as_bytes(), findings);
    identify(unnamed, chain?, key, now, findings)
}

fn identify(
    file: &Path,
    chain: Vec<CertificateDer<'static>>,
    key: Option<PrivateKeyDer<'static>>,
    now: u64,
    findings: &mut Findings,
) -> Option<Identity> {
    let not_after = check_dates(file, &chain, now, findings);
    let names = check_chain(file, &chain, findings);
    Some(Identity {
        not_after: not_after?,
        names: names?,
        key: key?,
        ocsp: None,
        chain,
    })
}

/// Reads the certificates of a PEM file, all that it has.
pub(crate) fn read_certificates(
    file: &Path,
    findings: &mut Findings,
) -> Option<Vec<CertificateDer<'static>>> {
    let bytes = read_file(file, findings)?;
    parse_certificates(file, &bytes, findings)
}

fn parse_certificates(
    file: &Path,
    bytes: &[u8],
    findings: &mut Findings,
) -> Option<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Some(certificates),
        Ok(_) => {
            findings.error(file, missing("certificate", bytes));
            None
        }
        Err(error) => {
            findings.error(file, unreadable(&error));
            None
        }
    }
}

/// Reads the revocation lists of a PEM file.
pub(crate) fn read_crls(
    file: &Path,
    findings: &mut Findings,
) -> Option<Vec<CertificateRevocationListDer<'static>>> {
    let bytes = read_file(file, findings)?;
    let read: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
    match read {
        Ok(lists) if !lists.is_empty() => Some(lists),
        Ok(_) => {
            findings.error(file, missing("revocation list", &bytes));
            None
        }
        Err(error) => {
            findings.error(file, unreadable(&error));
            None
        }
    }
}

fn read_key(file: &Path, findings: &mut Findings) -> Option<PrivateKeyDer<'static>> {
    let bytes = zeroize::Zeroizing::new(read_file(file, findings)?);
    if let Ok(metadata) = fs::metadata(file)
        && metadata.permissions().mode() & 0o004 != 0
    {
        findings.warn(
            file,
            "the private key can be read by every user of the machine: chmod 600 it, or 640 with a \
             group of its own",
        );
    }
    parse_key(file, &bytes, findings)
}

fn parse_key(file: &Path, bytes: &[u8], findings: &mut Findings) -> Option<PrivateKeyDer<'static>> {
    match PrivateKeyDer::from_pem_slice(bytes) {
        Ok(key) => Some(key),
        Err(PemError::NoItemsFound) => {
            findings.error(file, missing("private key", bytes));
            None
        }
        Err(error) => {
            findings.error(file, unreadable(&error));
            None
        }
    }
}

fn read_ocsp(file: &Path, findings: &mut Findings) -> Option<Vec<u8>> {
    let bytes = read_file(file, findings)?;
    // RFC 6960 §4.2.1: a SEQUENCE whose first element is the status, ENUMERATED, 0 for successful.
    let status = bytes
        .windows(3)
        .take(6)
        .find_map(|bytes| match bytes {
            [10, 1, status] => Some(*status),
            _ => None,
        })
        .filter(|_| bytes[0] == 0x30);
    match status {
        Some(0) => Some(bytes),
        Some(status) => {
            findings.error(
                file,
                format!("an OCSP response of failure (status {status})"),
            );
            None
        }
        None => {
            findings.error(file, "no OCSP response in DER");
            None
        }
    }
}

fn read_file(file: &Path, findings: &mut Findings) -> Option<Vec<u8>> {
    let read = match fs::metadata(file) {
        Ok(metadata) if metadata.is_dir() => Err("it is a directory".to_owned()),
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => Err(format!(
            "{} bytes are too many for certificates or keys",
            metadata.len()
        )),
        _ => fs::read(file).map_err(|error| format!("cannot be read: {error}")),
    };
    read.inspect_err(|what| findings.error(file, what)).ok()
}

/// What a file has instead of what was looked for.
fn missing(wanted: &str, bytes: &[u8]) -> String {
    let sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes);
    let kinds: Vec<_> = sections
        .filter_map(|section| Some(kind_name(section.ok()?.0)))
        .collect();
    let text = String::from_utf8_lossy(bytes);
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return format!(
            "no {wanted} that can be read: it is encrypted. `openssl pkey -in … -out …` takes the \
             password off"
        );
    }
    if let Some(kind) = kinds.first() {
        return format!("no {wanted} in it, but a {kind}: are two files interchanged?");
    }
    if bytes.first() == Some(&0x30) {
        return format!(
            "no {wanted} in PEM: it looks like DER. `openssl x509 -inform der` or `openssl pkey \
             -inform der` convert it"
        );
    }
    format!("no {wanted} in PEM (-----BEGIN …)")
}

fn kind_name(kind: SectionKind) -> &'static str {
    match kind {
        SectionKind::Certificate => "certificate",
        SectionKind::PublicKey => "public key",
        SectionKind::RsaPrivateKey | SectionKind::PrivateKey | SectionKind::EcPrivateKey => {
            "private key"
        }
        SectionKind::Crl => "revocation list",
        SectionKind::Csr => "certificate request",
        _ => "section of another kind",
    }
}

fn unreadable(error: &PemError) -> String {
    match error {
        PemError::MissingSectionEnd { .. } => "the PEM has no end: the file was cut off".to_owned(),
        PemError::IllegalSectionStart { .. } => "the PEM begins with a broken line".to_owned(),
        PemError::Base64Decode(_) => "the PEM has characters that do not belong there".to_owned(),
        error => format!("cannot be read: {error}"),
    }
}

/// The dates of each certificate. Returns the earliest at which one expires, if all are valid now.
fn check_dates(
    file: &Path,
    chain: &[CertificateDer<'_>],
    now: u64,
    findings: &mut Findings,
) -> Option<u64> {
    let mut earliest = Some(u64::MAX);
    for (place, certificate) in chain.iter().enumerate() {
        let which = which(place, chain.len());
        let (not_before, not_after) = match dates(certificate) {
            Ok(dates) => dates,
            Err(error) => {
                findings.error(file, format!("{which} cannot be read: {}", explain(&error)));
                return None;
            }
        };
        if now > not_after {
            let date = date(not_after);
            findings.error(file, format!("{which} has expired on {date}: renew it"));
            earliest = None;
        } else if now < not_before {
            let (date, today) = (date(not_before), date(now));
            findings.error(
                file,
                format!("{which} is not valid before {date}; this machine's clock says {today}"),
            );
            earliest = None;
        } else {
            let soon = EXPIRES_SOON_SECONDS.min((not_after - not_before) / 3);
            if not_after - now < soon {
                let date = date(not_after);
                findings.warn(file, format!("{which} expires on {date}"));
            }
            earliest = earliest.map(|earliest| earliest.min(not_after));
        }
    }
    earliest
}

/// The chain's order, and the host names of its first certificate.
fn check_chain(
    file: &Path,
    chain: &[CertificateDer<'_>],
    findings: &mut Findings,
) -> Option<Vec<String>> {
    let parse = |certificate| EndEntityCert::try_from(certificate);
    let parsed: Result<Vec<_>, _> = chain.iter().map(parse).collect();
    let parsed = parsed.ok()?; // reported by check_dates
    let broken = parsed
        .windows(2)
        .position(|pair| pair[0].issuer() != pair[1].subject());
    if let Some(place) = broken {
        let (below, above) = (place + 1, place + 2);
        findings.error(
            file,
            format!(
                "the chain is in the wrong order: certificate {above} is not the authority that \
                 signed certificate {below}. The server's certificate stands first, behind each the \
                 one that signed it"
            ),
        );
        return None;
    }
    let leaf = parsed.first()?;
    Some(leaf.valid_dns_names().map(str::to_lowercase).collect())
}

fn which(place: usize, len: usize) -> String {
    match (place, len) {
        (_, 1) => "the certificate".to_owned(),
        (place, _) => format!("certificate {} of the chain", place + 1),
    }
}

/// Host names and URIs of a certificate in DER.
pub(crate) fn names(certificate: &[u8]) -> Vec<String> {
    let der = CertificateDer::from(certificate);
    let Ok(certificate) = EndEntityCert::try_from(&der) else {
        return Vec::new();
    };
    let names = certificate.valid_dns_names();
    let names = names.chain(certificate.valid_uri_names());
    names.map(str::to_owned).collect()
}

/// When a certificate becomes valid and when it expires, in seconds since 1970. webpki says so of one
/// that is looked at before or after its time, and of the date before all else.
pub(crate) fn dates(certificate: &CertificateDer<'_>) -> Result<(u64, u64), WebpkiError> {
    let certificate = EndEntityCert::try_from(certificate)?;
    let verdict = |at: u64| {
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at));
        let usage = KeyUsage::server_auth();
        let verdict = certificate.verify_for_usage(&[], &[], &[], at, usage, None, None);
        verdict.err().unwrap_or(WebpkiError::UnknownIssuer)
    };
    let not_after = match verdict(u64::MAX) {
        WebpkiError::CertExpired { not_after, .. } => not_after.as_secs(),
        WebpkiError::UnknownIssuer => u64::MAX,
        error => return Err(error),
    };
    let not_before = match verdict(0) {
        WebpkiError::CertNotValidYet { not_before, .. } => not_before.as_secs(),
        _ => 0,
    };
    Ok((not_before, not_after))
}

fn explain(error: &WebpkiError) -> String {
    match error {
        WebpkiError::UnsupportedCertVersion => {
            "it is X.509 version 1; clients take version 3 only".to_owned()
        }
        WebpkiError::BadDer | WebpkiError::TrailingData(_) => "it is damaged".to_owned(),
        error => error.to_string(),
    }
}

/// A day as ISO 8601 writes it.
fn date(seconds: u64) -> String {
    // Howard Hinnant's days_from_civil, backwards: years begin in March, so that a leap day is last.
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}
