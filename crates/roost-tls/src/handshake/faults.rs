//! rustls' errors as ours.

use rustls::{CertificateError, Error, PeerIncompatible};

use crate::fault::HandshakeFault;

pub(super) fn fault(error: &Error) -> HandshakeFault {
    match error {
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled,
        ) => HandshakeFault::Version,
        Error::PeerIncompatible(_) => HandshakeFault::Parameters,
        Error::NoApplicationProtocol => HandshakeFault::Protocol,
        Error::NoCertificatesPresented => HandshakeFault::CertificateMissing,
        Error::InvalidCertificate(error) => certificate_fault(error),
        Error::AlertReceived(alert) => HandshakeFault::PeerAlert((*alert).into()),
        Error::InconsistentKeys(_)
        | Error::EncryptError
        | Error::General(_)
        | Error::FailedToGetCurrentTime
        | Error::FailedToGetRandomBytes => HandshakeFault::Internal,
        _ => HandshakeFault::Misbehaved,
    }
}

fn certificate_fault(error: &CertificateError) -> HandshakeFault {
    match error {
        CertificateError::Revoked
        | CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => {
            HandshakeFault::CertificateRevoked
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => HandshakeFault::CertificateTime,
        CertificateError::UnknownIssuer => HandshakeFault::CertificateIssuer,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            HandshakeFault::CertificateName
        }
        _ => HandshakeFault::Certificate,
    }
}
