//! Handshakes, by rustls: one record at a time, until the keys can be taken over.
//!
//! What rustls 0.23 says of a connection that leaves it, its `kernel` module, holds here: no record of
//! data and no KeyUpdate may have been read by rustls, or the keys would not be those of now. So it
//! gets exactly one record, and none behind the one that ends the handshake; and the keys it hands
//! out must be those that follow from the secrets it logged.

pub(crate) mod client;
mod common;
mod faults;
mod secrets;
pub(crate) mod server;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{CommonState, ConnectionTrafficSecrets, Error, ExtractedSecrets, HandshakeKind};

use self::client::ClientSetup;
use self::faults::fault;
use self::secrets::{Logged, collect};
use self::server::ServerSetup;
use crate::fault::HandshakeFault;
use crate::keys::{Side, Suite, Version};
use crate::record::{Extent, HEADER_BYTES, content_type, extent};
use crate::rest::{Material, Rest};

/// Records that a handshake may take from the peer. Of honest ones four are many; the rest is for
/// large certificates of clients with small buffers.
pub const RECORDS_MAX: u32 = 128;

/// Bytes that a handshake may take from the peer: a chain of certificates of 64 KiB, the most that
/// rustls reads.
pub const BYTES_MAX: usize = 96 << 10;

/// A connection during its handshake.
pub struct Handshake {
    machine: Machine,
    logged: Logged,
    /// Records that carry the beginning of a message: rustls reads in place and holds none itself.
    kept: Vec<u8>,
    records: u32,
    bytes: usize,
    /// Anything but a HelloRetryRequest has been sent in answer.
    has_answered: bool,
}

enum Machine {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
    Over,
}

/// What has become of a handshake.
#[derive(Debug)]
pub enum Step {
    /// It goes on with the peer's next record.
    More,
    /// It is over, and the slot has the connection. What comes behind this record is for
    /// [`crate::open()`].
    Done(Box<Session>),
    /// It failed. The alert stands in the output already; FIN follows.
    Failed(HandshakeFault),
}

/// What the handshake has found out about the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The suite, which has the version.
    pub suite: Suite,
    /// Whether it goes on from a ticket.
    pub resumed: bool,
    /// Whether it took a second ClientHello, because the first had no key share that we take.
    pub retried: bool,
    /// The group of the key exchange, by IANA's number. `None` in a resumed connection of TLS 1.2.
    pub key_exchange: Option<u16>,
    /// The name that the client asked for (SNI), in lower case.
    pub server_name: Option<Box<str>>,
    /// The application protocol, if the client offered one (ALPN).
    pub application_protocol: Option<Box<[u8]>>,
    /// The peer's certificate, in DER: a client's if it was asked for one and had one.
    pub peer_certificate: Option<Box<[u8]>>,
}

impl Session {
    /// The names that the peer's certificate was given to: host names, then URIs (subject alternative
    /// names).
    pub fn peer_names(&self) -> Vec<String> {
        let certificate = self.peer_certificate.as_deref();
        certificate.map(crate::certs::names).unwrap_or_default()
    }
}

impl Handshake {
    /// Begins the server's side. Before the first record of the client is whole there is no need for
    /// it: from then on it takes about 4 kB.
    ///
    /// # Errors
    /// rustls refuses the setup.
    pub fn server(setup: &ServerSetup) -> Result<Self, HandshakeFault> {
        let machine = UnbufferedServerConnection::new(setup.rustls()).map_err(|e| fault(&e))?;
        Ok(Self::new(Machine::Server(Box::new(machine))))
    }

    /// Begins the client's side: appends the ClientHello to `out`. `server_name` is a host name or an
    /// IP address.
    ///
    /// # Errors
    /// The name is neither, or rustls refuses the setup.
    pub fn client(
        setup: &ClientSetup,
        server_name: &str,
        out: &mut Vec<u8>,
    ) -> Result<Self, HandshakeFault> {
        let name = ServerName::try_from(server_name.to_owned())
            .map_err(|_| HandshakeFault::CertificateName)?;
        let machine =
            UnbufferedClientConnection::new(setup.rustls(), name).map_err(|e| fault(&e))?;
        let mut handshake = Self::new(Machine::Client(Box::new(machine)));
        let (_, reached) = handshake.advance(&mut [], out);
        reached.map_err(|error| fault(&error))?;
        Ok(handshake)
    }

    fn new(machine: Machine) -> Self {
        Self {
            machine,
            logged: Logged::default(),
            kept: Vec::new(),
            records: 0,
            bytes: 0,
            has_answered: false,
        }
    }

    /// Whether the server's costly step, with the whole of a ClientHello, is still to come. A record
    /// need not hold all of it, and a client that is asked for another has not cost that step.
    pub fn awaits_hello(&self) -> bool {
        !self.has_answered
    }

    /// Which end this is.
    pub fn side(&self) -> Side {
        match self.machine {
            Machine::Client(_) => Side::Client,
            Machine::Server(_) | Machine::Over => Side::Server,
        }
    }

    /// Bytes of the peer that are kept because their message is not whole.
    pub fn kept_bytes(&self) -> usize {
        self.kept.len()
    }

    /// Handles one whole record of the peer, which may be changed, and appends what is sent in answer
    /// to `out`. At the end the connection begins in `slot`.
    ///
    /// A server's step with a ClientHello takes 0.1 ms (0.9 ms with an RSA key of 2,048 bits), all
    /// others together a tenth of it.
    pub fn feed(&mut self, record: &mut [u8], out: &mut Vec<u8>, slot: &mut Rest) -> Step {
        debug_assert_eq!(extent(record), Extent::Whole(record.len()), "one record");
        self.records += 1;
        self.bytes += record.len();
        if self.records > RECORDS_MAX || self.bytes > BYTES_MAX {
            return self.fail(HandshakeFault::TooLong);
        }
        let answer_at = out.len();
        let (used, reached) = if self.kept.is_empty() {
            let (used, reached) = self.advance(record, out);
            self.kept.extend_from_slice(&record[used..]);
            (used, reached)
        } else {
            let mut kept = std::mem::take(&mut self.kept);
            kept.extend_from_slice(record);
            let (used, reached) = self.advance(&mut kept, out);
            kept.drain(..used);
            self.kept = kept;
            (used, reached)
        };
        debug_assert!(used <= self.bytes, "no more than there was");
        let answer = &out[answer_at..];
        self.has_answered |= !answer.is_empty() && !is_hello_retry_request(answer);
        match reached {
            Ok(Reached::Blocked) => Step::More,
            // A record that ends the handshake ends with it.
            Ok(Reached::Traffic) if self.kept.is_empty() => match self.finish(slot) {
                Ok(session) => Step::Done(Box::new(session)),
                Err(fault) => self.fail(fault),
            },
            Ok(Reached::Traffic) => self.fail(HandshakeFault::Misbehaved),
            Ok(Reached::Closed) => self.fail(HandshakeFault::PeerClosed),
            Err(error) => self.fail(fault(&error)),
        }
    }

    fn fail(&mut self, fault: HandshakeFault) -> Step {
        self.machine = Machine::Over;
        self.kept = Vec::new();
        self.logged = Logged::default();
        Step::Failed(fault)
    }

    /// Lets rustls read `bytes` and write its answers. Returns how many bytes it has done with.
    fn advance(&mut self, bytes: &mut [u8], out: &mut Vec<u8>) -> (usize, Result<Reached, Error>) {
        let machine = &mut self.machine;
        collect(&mut self.logged, || match machine {
            Machine::Server(server) => advance(server.as_mut(), bytes, out),
            Machine::Client(client) => advance(client.as_mut(), bytes, out),
            Machine::Over => (bytes.len(), Err(Error::HandshakeNotComplete)),
        })
    }

    /// Takes the keys out of rustls, which is freed.
    fn finish(&mut self, slot: &mut Rest) -> Result<Session, HandshakeFault> {
        let side = self.side();
        let logged = std::mem::take(&mut self.logged);
        let (session, secrets) = match std::mem::replace(&mut self.machine, Machine::Over) {
            Machine::Server(server) => {
                let session = session(&server, &logged)?;
                let taken = server.dangerous_into_kernel_connection();
                (session, taken.map_err(|error| fault(&error))?.0)
            }
            Machine::Client(client) => {
                let session = session(&client, &logged)?;
                let taken = client.dangerous_into_kernel_connection();
                (session, taken.map_err(|error| fault(&error))?.0)
            }
            Machine::Over => return Err(HandshakeFault::Internal),
        };
        establish(slot, side, session.suite, &secrets, &logged)?;
        Ok(session)
    }
}

/// Where rustls stands after a record.
enum Reached {
    /// It waits for the peer.
    Blocked,
    /// The handshake is over and everything of it is written.
    Traffic,
    /// The peer has closed.
    Closed,
}

/// The two sides of rustls, which share no trait.
trait Unbuffered {
    type Data;

    /// Whether it has written something that was not taken.
    fn has_output(&self) -> bool;

    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Unbuffered for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn has_output(&self) -> bool {
        self.wants_write()
    }

    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(bytes)
    }
}

impl Unbuffered for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn has_output(&self) -> bool {
        self.wants_write()
    }

    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(bytes)
    }
}

/// Each call into rustls reads, writes or says that it waits; so many are more than it has to write.
const CALLS_MAX: usize = 64;

fn advance(
    machine: &mut impl Unbuffered,
    bytes: &mut [u8],
    out: &mut Vec<u8>,
) -> (usize, Result<Reached, Error>) {
    let mut used = 0;
    for _ in 0..CALLS_MAX {
        let UnbufferedStatus { discard, state, .. } = machine.process(&mut bytes[used..]);
        let reached = match state {
            Ok(ConnectionState::EncodeTlsData(data)) => {
                append(data, out);
                None
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                None
            }
            Ok(ConnectionState::BlockedHandshake) => Some(Ok(Reached::Blocked)),
            Ok(ConnectionState::WriteTraffic(_)) => Some(Ok(Reached::Traffic)),
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Some(Ok(Reached::Closed)),
            // Data before the handshake is over: we offer no early data.
            Ok(_) => Some(Err(Error::HandshakeNotComplete)),
            Err(error) => Some(Err(error)),
        };
        used += discard;
        if let Some(reached) = reached {
            if reached.is_err() {
                append_alert(machine, &mut bytes[used..], out);
            }
            return (used, reached);
        }
    }
    (used, Err(Error::HandshakeNotComplete))
}

/// Appends what rustls has written before it failed, its alert among it. It must not be called when it
/// has nothing to write: it would read on, from places in `bytes` that it remembers, and assert that
/// it has not failed.
/// Whether an answer begins with the record of a HelloRetryRequest.
fn is_hello_retry_request(answer: &[u8]) -> bool {
    let begin = HEADER_BYTES + 4 + 2; // of the record, of the message, the version
    let random = answer.get(begin..begin + HELLO_RETRY_REQUEST.len());
    answer.first() == Some(&content_type::HANDSHAKE) && random == Some(&HELLO_RETRY_REQUEST[..])
}

/// RFC 8446 §4.1.3: the random of a ServerHello that is none, SHA-256 of "HelloRetryRequest".
const HELLO_RETRY_REQUEST: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

fn append_alert(machine: &mut impl Unbuffered, bytes: &mut [u8], out: &mut Vec<u8>) {
    for _ in 0..CALLS_MAX {
        if !machine.has_output() {
            return;
        }
        match machine.process(bytes).state {
            Ok(ConnectionState::EncodeTlsData(data)) => append(data, out),
            _ => return,
        }
    }
}

/// Appends what rustls has written.
fn append<Data>(mut data: EncodeTlsData<'_, Data>, out: &mut Vec<u8>) {
    let start = out.len();
    if let Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) =
        data.encode(&mut [])
    {
        out.resize(start + required_size, 0);
        let written = data.encode(&mut out[start..]);
        debug_assert!(written.is_ok(), "the size was rustls' own");
    }
}

fn session(common: &CommonState, logged: &Logged) -> Result<Session, HandshakeFault> {
    let suite = common.negotiated_cipher_suite();
    let suite = suite.and_then(|suite| Suite::from_id(suite.suite().into()));
    let certificates = common.peer_certificates();
    let key_exchange = common.negotiated_key_exchange_group();
    Ok(Session {
        suite: suite.ok_or(HandshakeFault::Internal)?,
        resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
        retried: common.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest),
        key_exchange: key_exchange.map(|group| group.name().into()),
        server_name: logged.server_name.clone(),
        application_protocol: common.alpn_protocol().map(Box::from),
        peer_certificate: certificates
            .and_then(<[_]>::first)
            .map(|certificate| Box::from(certificate.as_ref())),
    })
}

/// Puts the keys into `slot`, if they are those that follow from the secrets. A KeyUpdate that rustls
/// had read already would make them others.
fn establish(
    slot: &mut Rest,
    side: Side,
    suite: Suite,
    extracted: &ExtractedSecrets,
    logged: &Logged,
) -> Result<(), HandshakeFault> {
    let ExtractedSecrets {
        tx: (tx_seq, tx),
        rx: (rx_seq, rx),
    } = extracted;
    let (tx_key, tx_iv) = key_and_iv(tx).ok_or(HandshakeFault::Internal)?;
    let (rx_key, rx_iv) = key_and_iv(rx).ok_or(HandshakeFault::Internal)?;
    let (client_seq, server_seq) = match side {
        Side::Client => (*tx_seq, *rx_seq),
        Side::Server => (*rx_seq, *tx_seq),
    };
    let is_whole = tx_key.len() == suite.key_bytes() && rx_key.len() == suite.key_bytes();
    match suite.version() {
        Version::Tls13 => {
            let of = |secret, seq| Material::Secret { secret, seq };
            let (client, server) = logged.both(suite).ok_or(HandshakeFault::Internal)?;
            slot.establish(
                side,
                suite,
                &of(client, client_seq),
                &of(server, server_seq),
            );
        }
        Version::Tls12 => {
            let tx = Material::Key {
                key: tx_key,
                iv: tx_iv,
                seq: *tx_seq,
            };
            let rx = Material::Key {
                key: rx_key,
                iv: rx_iv,
                seq: *rx_seq,
            };
            match side {
                Side::Client => slot.establish(side, suite, &tx, &rx),
                Side::Server => slot.establish(side, suite, &rx, &tx),
            }
        }
    }
    let is_same =
        is_whole && slot.tx().0.are(suite, tx_key, tx_iv) && slot.rx().0.are(suite, rx_key, rx_iv);
    if !is_same {
        slot.release();
        return Err(HandshakeFault::Internal);
    }
    Ok(())
}

fn key_and_iv(secrets: &ConnectionTrafficSecrets) -> Option<(&[u8], &[u8; 12])> {
    let (key, iv) = match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
        _ => return None,
    };
    Some((key.as_ref(), iv.as_ref().try_into().ok()?))
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
