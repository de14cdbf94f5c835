//! rustls' own buffered connections as peers.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use roost_tls::testing::Endpoint;
use roost_tls::{Suite, Version};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
};

use crate::support::{Authority, NOW};
use roost_tls::certs::CertificateFiles;

#[derive(Debug)]
struct TestTime;

impl TimeProvider for TestTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            NOW,
        )))
    }
}

fn provider(suite: Suite) -> rustls::crypto::CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider
        .cipher_suites
        .retain(|offered| u16::from(offered.suite()) == suite.id());
    assert_eq!(provider.cipher_suites.len(), 1, "rustls has {suite:?}");
    provider
}

fn version(suite: Suite) -> &'static [&'static rustls::SupportedProtocolVersion] {
    static TLS13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
    static TLS12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];
    match suite.version() {
        Version::Tls13 => TLS13,
        Version::Tls12 => TLS12,
    }
}

fn roots(ca: &Path) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(ca).expect("our own file");
    roots.add(ca).expect("an authority");
    roots
}

fn identity(files: &CertificateFiles) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_file_iter(&files.certificate).expect("our own file");
    let key = PrivateKeyDer::from_pem_file(&files.key).expect("our own file");
    (chain.map(|one| one.expect("PEM")).collect(), key)
}

/// A client of rustls with one suite.
pub(crate) fn client_config(
    authority: &Authority,
    suite: Suite,
    certificate: Option<&CertificateFiles>,
) -> ClientConfig {
    let builder = ClientConfig::builder_with_details(Arc::new(provider(suite)), Arc::new(TestTime))
        .with_protocol_versions(version(suite))
        .expect("the suite's version")
        .with_root_certificates(roots(&authority.file));
    let mut config = match certificate {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let (chain, key) = identity(files);
            builder.with_client_auth_cert(chain, key).expect("a pair")
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

pub(crate) fn client(config: &Arc<ClientConfig>, name: &str) -> Peer {
    let name = ServerName::try_from(name.to_owned()).expect("a host name");
    let client = ClientConnection::new(config.clone(), name).expect("a valid configuration");
    Peer(client.into())
}

/// A server of rustls with one suite.
pub(crate) fn server(files: &CertificateFiles, suite: Suite, tickets: usize) -> Peer {
    let (chain, key) = identity(files);
    let mut config =
        ServerConfig::builder_with_details(Arc::new(provider(suite)), Arc::new(TestTime))
            .with_protocol_versions(version(suite))
            .expect("the suite's version")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a pair");
    config.send_tls13_tickets = tickets;
    let server = ServerConnection::new(Arc::new(config)).expect("a valid configuration");
    Peer(server.into())
}

/// A connection of rustls.
pub(crate) struct Peer(pub(crate) Connection);

impl Peer {
    /// What it has written.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.0.wants_write() {
            self.0.write_tls(&mut out).expect("a Vec takes everything");
        }
        out
    }

    /// What has come for it.
    pub(crate) fn give(&mut self, mut bytes: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let mut received = Vec::new();
        while !bytes.is_empty() {
            self.0.read_tls(&mut bytes).expect("a slice can be read");
            let state = self.0.process_new_packets()?;
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            self.0.reader().read_exact(&mut plain).expect("it was said");
            received.extend(plain);
        }
        Ok(received)
    }

    pub(crate) fn send(&mut self, data: &[u8]) {
        self.0.writer().write_all(data).expect("a Vec takes all");
    }

    pub(crate) fn is_established(&self) -> bool {
        !self.0.is_handshaking()
    }
}

/// Lets both ends speak until neither has anything to say. What rustls received is returned. The bytes
/// come in pieces of `step` to our end.
pub(crate) fn exchange(
    peer: &mut Peer,
    ours: &mut Endpoint,
    step: usize,
) -> Result<Vec<u8>, rustls::Error> {
    let mut received = Vec::new();
    for _ in 0..100 {
        let to_ours = peer.take();
        for piece in to_ours.chunks(step) {
            ours.give(piece);
        }
        ours.flush();
        let to_peer = ours.take();
        if to_ours.is_empty() && to_peer.is_empty() {
            return Ok(received);
        }
        received.extend(peer.give(&to_peer)?);
    }
    panic!("they never stop");
}
