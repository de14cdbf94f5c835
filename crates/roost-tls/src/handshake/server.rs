//! What a server's handshakes are done with: certificates by name, client certificates, tickets. Made
//! from options, with all that is wrong with them at once.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateRevocationListDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::common::{APPLICATION_PROTOCOL, ClockOfRustls, certify, is_rsa, read_roots, versions};
use super::secrets::{TrafficSecrets, note_server_name};
use crate::certs::{
    CertificateFiles, Findings, Identity, parse_identity, read_crls, read_identity,
};
use crate::client_name::{ClientName, NameKind};
use crate::clock::Clock;
use crate::keys::Version;
use crate::self_signed::SelfSigned;
use crate::tickets::{EPOCH_SECONDS, TicketSecret, Tickets};

/// What a server does handshakes with, as it is written.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Its certificates. A client gets the one for the name it asks for: first an exact one, then one
    /// with `*.` for the name's first label, then the first of this list. One name may have an ECDSA
    /// and an RSA key.
    pub certificates: Vec<CertificateFiles>,
    /// The lowest version.
    pub min_version: Version,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
    /// Which name of its certificate is a client's; `None`: none is looked for.
    pub client_name: Option<NameKind>,
    /// What session tickets are made with. `None`: no tickets, each connection is a full handshake.
    /// That is the wise choice where client certificates are required: a client comes back by its
    /// ticket without being looked at again.
    pub tickets: Option<Arc<TicketSecret>>,
}

/// Whether clients show certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    Off,
    /// They are asked, and let in without one; not with one that does not hold.
    Optional(ClientAuthority),
    /// None is let in without.
    Required(ClientAuthority),
}

/// Whose certificates clients must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAuthority {
    /// PEM: the certificate authorities.
    pub ca: PathBuf,
    /// PEM: what they have revoked.
    pub crl: Option<PathBuf>,
}

/// What a server does handshakes with. Connections hold nothing of it: another one serves those that
/// come, while those that are there stay.
#[derive(Clone)]
pub struct ServerSetup {
    config: Arc<ServerConfig>,
    expires: u64,
    client_name: Option<NameKind>,
    clock: Arc<Clock>,
}

impl ServerSetup {
    /// Reads and checks everything that `options` names. `clock` must be right.
    ///
    /// # Errors
    /// All that must be put right, with the warnings that came beside it.
    pub fn load(options: &ServerOptions, clock: &Arc<Clock>) -> Result<(Self, Findings), Findings> {
        let mut findings = Findings::default();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let certificates = Certificates::load(options, &provider, clock.now(), &mut findings);
        let clients = client_verifier(&options.client_auth, &provider, clock, &mut findings);
        match (certificates, clients) {
            (Some(certificates), Some(clients)) if findings.errors.is_empty() => {
                let tickets = options.tickets.clone();
                let versions = versions(options.min_version);
                let setup = Self::new(certificates, clients, provider, versions, tickets, clock);
                let setup = Self {
                    client_name: options.client_name,
                    ..setup
                };
                Ok((setup, findings))
            }
            _ => Err(findings),
        }
    }

    /// A setup for development, out of a certificate that was just made.
    ///
    /// # Errors
    /// The clock is not that of when it was made.
    pub fn for_development(made: &SelfSigned, clock: &Arc<Clock>) -> Result<Self, Findings> {
        let mut findings = Findings::default();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let now = clock.now();
        let Some(identity) = parse_identity(&made.certificate, &made.key, now, &mut findings)
        else {
            return Err(findings);
        };
        let files = CertificateFiles {
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            ocsp: None,
        };
        let mut certificates = Certificates::default();
        certificates.add(&files, identity, &provider, &mut findings);
        let clients = (WebPkiClientVerifier::no_client_auth(), Vec::new());
        let tickets = Some(Arc::new(TicketSecret::random()));
        let versions = versions(Version::Tls12);
        let setup = Self::new(certificates, clients, provider, versions, tickets, clock);
        Ok(setup)
    }

    fn new(
        certificates: Certificates,
        (verifier, contexts): Clients,
        provider: Arc<CryptoProvider>,
        versions: &[&'static SupportedProtocolVersion],
        tickets: Option<Arc<TicketSecret>>,
        clock: &Arc<Clock>,
    ) -> Self {
        let expires = certificates.expires;
        let time = Arc::new(ClockOfRustls(clock.clone()));
        let mut config = ServerConfig::builder_with_details(provider, time)
            .with_protocol_versions(versions)
            .expect("the provider has suites of both versions")
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = vec![APPLICATION_PROTOCOL.to_vec()];
        config.enable_secret_extraction = true;
        config.key_log = Arc::new(TrafficSecrets);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        if let Some(secret) = tickets {
            let contexts: Vec<&[u8]> = contexts.iter().map(Vec::as_slice).collect();
            let tickets = Tickets::new(secret, &contexts, clock.clone());
            config.ticketer = Arc::new(TicketsOfRustls(tickets));
            config.send_tls13_tickets = 1;
        }
        Self {
            config: Arc::new(config),
            expires,
            client_name: None,
            clock: clock.clone(),
        }
    }

    /// When the first of its certificates expires, in seconds since 1970.
    pub fn expires(&self) -> u64 {
        self.expires
    }

    /// As whom a certificate names its client, if that is looked for. It must be one that a handshake of this
    /// setup has verified.
    pub fn name_of(&self, certificate: &[u8]) -> Option<ClientName> {
        ClientName::of(certificate, self.client_name?)
    }

    /// In how many seconds a name ends; `None` if it has, or has not begun.
    pub fn time_left(&self, name: &ClientName) -> Option<u64> {
        let now = self.clock.now();
        (name.not_before..=name.not_after)
            .contains(&now)
            .then(|| name.not_after - now)
    }

    /// What rustls makes of it, to measure against.
    #[doc(hidden)]
    pub fn rustls(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }
}

impl fmt::Debug for ServerSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSetup").finish_non_exhaustive()
    }
}

/// Certificates by the names that they are for.
#[derive(Debug)]
struct Certificates {
    by_name: HashMap<String, Vec<Arc<CertifiedKey>>>,
    default: Vec<Arc<CertifiedKey>>,
    default_names: Vec<String>,
    expires: u64,
}

impl Default for Certificates {
    fn default() -> Self {
        Self {
            by_name: HashMap::new(),
            default: Vec::new(),
            default_names: Vec::new(),
            expires: u64::MAX,
        }
    }
}

impl Certificates {
    fn load(
        options: &ServerOptions,
        provider: &CryptoProvider,
        now: u64,
        findings: &mut Findings,
    ) -> Option<Self> {
        let mut certificates = Self::default();
        if options.certificates.is_empty() {
            findings.error(
                "".as_ref(),
                "a TLS listener needs a certificate and its key",
            );
        }
        for files in &options.certificates {
            if let Some(identity) = read_identity(files, now, findings) {
                certificates.add(files, identity, provider, findings);
            }
        }
        (!certificates.default.is_empty()).then_some(certificates)
    }

    fn add(
        &mut self,
        files: &CertificateFiles,
        identity: Identity,
        provider: &CryptoProvider,
        findings: &mut Findings,
    ) {
        let (names, not_after) = (identity.names.clone(), identity.not_after);
        let Some(certified) = certify(files, identity, provider, findings) else {
            return;
        };
        self.expires = self.expires.min(not_after);
        if names.is_empty() {
            let what = "no host name in the certificate (subject alternative name): clients that \
                        check will refuse it";
            findings.warn(&files.certificate, what);
        }
        for name in &names {
            let keys = self.by_name.entry(name.clone()).or_default();
            keys.push(certified.clone());
        }
        // The first, and those with another kind of key for the very same names.
        if self.default.is_empty() || self.default_names == names {
            self.default.push(certified);
            self.default_names = names;
        }
    }

    fn keys(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let Some(name) = name else {
            return &self.default;
        };
        let exact = self.by_name.get(name);
        let wildcard = || {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        };
        exact.or_else(wildcard).unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_lowercase);
        if let Some(name) = &name {
            note_server_name(name);
        }
        let keys = self.keys(name.as_deref());
        let schemes = hello.signature_schemes();
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        // ECDSA first: with RSA a handshake takes nine times as long.
        let cheap = keys.iter().filter(|key| !is_rsa(key)).find(fits);
        let chosen = cheap.or_else(|| keys.iter().find(fits));
        // Without one that fits rustls says what is missing; without any it does not.
        chosen.or(keys.first()).cloned()
    }
}

/// What decides about clients, and what tickets are tied to.
type Clients = (Arc<dyn ClientCertVerifier>, Vec<Vec<u8>>);

fn client_verifier(
    auth: &ClientAuth,
    provider: &Arc<CryptoProvider>,
    clock: &Clock,
    findings: &mut Findings,
) -> Option<Clients> {
    let (authority, mode) = match auth {
        ClientAuth::Off => return Some((WebPkiClientVerifier::no_client_auth(), Vec::new())),
        ClientAuth::Optional(authority) => (authority, b"optional".to_vec()),
        ClientAuth::Required(authority) => (authority, b"required".to_vec()),
    };
    let mut contexts = vec![mode];
    let roots = read_roots(&authority.ca, Some(clock.now()), findings)?;
    contexts.extend(roots.der.iter().map(|root| root.to_vec()));
    let builder = WebPkiClientVerifier::builder_with_provider(roots.store, provider.clone());
    let builder = match &authority.crl {
        None => builder,
        Some(file) => {
            let lists = read_crls(file, findings)?;
            contexts.push(b"crl".to_vec());
            contexts.extend(lists.iter().map(|list| list.to_vec()));
            check_crls(file, &lists, findings)?;
            builder.with_crls(lists)
        }
    };
    let builder = match auth {
        ClientAuth::Optional(_) => builder.allow_unauthenticated(),
        _ => builder,
    };
    match builder.build() {
        Ok(verifier) => Some((verifier, contexts)),
        Err(error) => {
            findings.error(&authority.ca, format!("cannot be used: {error}"));
            None
        }
    }
}

fn check_crls(
    file: &Path,
    lists: &[CertificateRevocationListDer<'static>],
    findings: &mut Findings,
) -> Option<()> {
    for (place, list) in lists.iter().enumerate() {
        if let Err(error) = webpki::BorrowedCertRevocationList::from_der(list) {
            let what = format!("revocation list {} cannot be read: {error}", place + 1);
            findings.error(file, what);
            return None;
        }
    }
    Some(())
}

/// Tickets for rustls.
#[derive(Debug)]
struct TicketsOfRustls(Tickets);

impl ProducesTickets for TicketsOfRustls {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        EPOCH_SECONDS as u32
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        self.0.seal(session)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.0.open(ticket)
    }
}
