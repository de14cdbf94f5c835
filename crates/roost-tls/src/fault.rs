//! What a peer did wrong, and the alert that tells it so.

use std::fmt;

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A record, or what is in it, is longer than may be.
    RecordOverflow,
    /// A record or message that has no place where it came.
    UnexpectedMessage,
    /// The tag does not fit.
    BadRecordMac,
    /// A message that cannot be read.
    DecodeError,
    /// A field has a value that it may not have.
    IllegalParameter,
    /// TLS 1.2: the peer wants a second handshake on the same connection.
    Renegotiation,
    /// More empty records, key updates or warnings in a row than may be.
    Flood,
    /// The peer ends the connection with this alert.
    PeerAlert(u8),
    /// The handshake failed.
    Handshake(HandshakeFault),
}

/// Why a handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeFault {
    /// No version that both have.
    Version,
    /// No suite, key exchange or signature that both have.
    Parameters,
    /// No application protocol that both have.
    Protocol,
    /// The peer's certificate is missing.
    CertificateMissing,
    /// The peer's certificate cannot be accepted.
    Certificate,
    /// The peer's certificate has been revoked, or no revocation list says that it has not.
    CertificateRevoked,
    /// The peer's certificate has expired or is not valid yet.
    CertificateTime,
    /// The peer's certificate is signed by no certificate authority that is trusted.
    CertificateIssuer,
    /// The peer's certificate is for another name.
    CertificateName,
    /// It ended the handshake with this alert.
    PeerAlert(u8),
    /// It closed the connection.
    PeerClosed,
    /// It broke the protocol.
    Misbehaved,
    /// More records or bytes than a handshake may take.
    TooLong,
    /// Our own keys could not be taken out of the handshake as they must.
    Internal,
}

/// RFC 8446 §6: the descriptions that Roost sends itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are RFC 8446's")]
#[repr(u8)]
pub enum Alert {
    CloseNotify = 0,
    UnexpectedMessage = 10,
    BadRecordMac = 20,
    RecordOverflow = 22,
    IllegalParameter = 47,
    DecodeError = 50,
    InternalError = 80,
    UserCanceled = 90,
    NoRenegotiation = 100,
}

impl Fault {
    /// What the peer is told, if it is told anything. In a handshake rustls has written the alert.
    pub fn alert(self) -> Option<Alert> {
        match self {
            Self::RecordOverflow => Some(Alert::RecordOverflow),
            Self::UnexpectedMessage | Self::Flood => Some(Alert::UnexpectedMessage),
            Self::BadRecordMac => Some(Alert::BadRecordMac),
            Self::DecodeError => Some(Alert::DecodeError),
            Self::IllegalParameter => Some(Alert::IllegalParameter),
            Self::Renegotiation => Some(Alert::NoRenegotiation),
            Self::PeerAlert(_) | Self::Handshake(_) => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RecordOverflow => f.write_str("record too long"),
            Self::UnexpectedMessage => f.write_str("unexpected message"),
            Self::BadRecordMac => f.write_str("record altered or out of order"),
            Self::DecodeError => f.write_str("unreadable message"),
            Self::IllegalParameter => f.write_str("illegal value in a message"),
            Self::Renegotiation => f.write_str("renegotiation"),
            Self::Flood => f.write_str("too many records without data"),
            Self::PeerAlert(alert) => write!(f, "alert {alert} from the peer"),
            Self::Handshake(fault) => fault.fmt(f),
        }
    }
}

impl fmt::Display for HandshakeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TLS handshake failed: ")?;
        f.write_str(match self {
            Self::Version => "no TLS version in common",
            Self::Parameters => "no cipher suite, key exchange or signature in common",
            Self::Protocol => "no application protocol in common",
            Self::CertificateMissing => "no certificate from the peer",
            Self::Certificate => "the peer's certificate cannot be accepted",
            Self::CertificateRevoked => {
                "the peer's certificate has been revoked, or is in no authority's list"
            }
            Self::CertificateTime => "the peer's certificate has expired or is not valid yet",
            Self::CertificateIssuer => "the peer's certificate is signed by no trusted authority",
            Self::CertificateName => "the peer's certificate is for another name",
            Self::PeerAlert(alert) => return write!(f, "alert {alert} from the peer"),
            Self::PeerClosed => "closed by the peer",
            Self::Misbehaved => "the peer broke the protocol",
            Self::TooLong => "too many records or bytes",
            Self::Internal => "keys could not be taken over",
        })
    }
}

impl std::error::Error for Fault {}
