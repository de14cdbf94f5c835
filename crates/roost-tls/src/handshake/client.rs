//! What a client's handshakes are done with.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::common::{
    APPLICATION_PROTOCOL, ClockOfRustls, TLS12_ONLY, certify, read_roots, versions,
};
use super::secrets::TrafficSecrets;
use crate::certs::{CertificateFiles, Findings, read_identity};
use crate::clock::Clock;
use crate::keys::Version;

/// What a client does handshakes with, as it is written.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Whom it trusts.
    pub trust: Trust,
    /// Its own certificate, for servers that ask for one.
    pub certificate: Option<CertificateFiles>,
    /// The lowest version.
    pub min_version: Version,
    /// The highest version.
    pub max_version: Version,
}

/// Which servers a client trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// PEM: certificate authorities, or the server's own certificate.
    Authorities(PathBuf),
    /// Any server: for tests.
    Any,
}

/// What a client does handshakes with.
#[derive(Clone)]
pub struct ClientSetup {
    config: Arc<ClientConfig>,
}

impl ClientSetup {
    /// Reads and checks everything that `options` names. `clock` must be right.
    ///
    /// # Errors
    /// All that must be put right, with the warnings that came beside it.
    pub fn load(options: &ClientOptions, clock: &Arc<Clock>) -> Result<(Self, Findings), Findings> {
        let mut findings = Findings::default();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let trust = server_verifier(&options.trust, &provider, &mut findings);
        let certified = options.certificate.as_ref().map(|files| {
            let identity = read_identity(files, clock.now(), &mut findings)?;
            certify(files, identity, &provider, &mut findings)
        });
        let (Some(verifier), false) = (trust, matches!(certified, Some(None))) else {
            return Err(findings);
        };
        let range = match (options.min_version, options.max_version) {
            (min, Version::Tls13) => versions(min),
            (_, Version::Tls12) => TLS12_ONLY,
        };
        let builder =
            ClientConfig::builder_with_details(provider, Arc::new(ClockOfRustls(clock.clone())))
                .with_protocol_versions(range)
                .expect("the provider has suites of both versions")
                .dangerous()
                .with_custom_certificate_verifier(verifier);
        let mut config = match certified.flatten() {
            None => builder.with_no_client_auth(),
            Some(certified) => {
                let resolver = rustls::sign::SingleCertAndKey::from(certified);
                builder.with_client_cert_resolver(Arc::new(resolver))
            }
        };
        config.alpn_protocols = vec![APPLICATION_PROTOCOL.to_vec()];
        config.enable_secret_extraction = true;
        config.key_log = Arc::new(TrafficSecrets);
        // Tickets come when a connection is at rest, and are passed over.
        config.resumption = Resumption::disabled();
        let config = Arc::new(config);
        Ok((Self { config }, findings))
    }

    pub(super) fn rustls(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }
}

impl fmt::Debug for ClientSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSetup").finish_non_exhaustive()
    }
}

fn server_verifier(
    trust: &Trust,
    provider: &Arc<CryptoProvider>,
    findings: &mut Findings,
) -> Option<Arc<dyn ServerCertVerifier>> {
    let file = match trust {
        Trust::Any => return Some(any_server(provider.clone())),
        Trust::Authorities(file) => file,
    };
    let roots = read_roots(file, None, findings)?;
    match WebPkiServerVerifier::builder_with_provider(roots.store, provider.clone()).build() {
        Ok(verifier) => Some(verifier),
        Err(error) => {
            findings.error(file, format!("cannot be used: {error}"));
            None
        }
    }
}

/// Trusts every certificate; that the server has its key is still checked. For tests' clients too,
/// which speak rustls.
#[doc(hidden)]
pub fn any_server(provider: Arc<CryptoProvider>) -> Arc<dyn ServerCertVerifier> {
    Arc::new(AnyServer(provider))
}

#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
