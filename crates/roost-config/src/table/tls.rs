//! `[listener.tls]`: whether a listener speaks TLS, with which certificates, and with which clients.

use crate::certificates::{CertificateFiles, CertificateList};
use crate::pattern::{FILE, GRANT};
use crate::row::{section, words};
use crate::value::{Auto, Flag, Patterns};

section! {
    /// Encrypts what is spoken at a listener: `wss://`, `https://` ([tls.md](tls.md)). It is off without
    /// a certificate. In a section of its own below `[[listener]]`, or in it as `tls = { certificate =
    /// "…", key = "…" }`. Files are named by absolute paths, or by paths from the directory of the
    /// configuration file; on the command line and in the environment, from the working directory.
    /// A reload reads all these files again, for new connections.
    "listener.tls" Tls
    /// PEM: the server's certificate, behind it those that lead to its authority, each signed by the
    /// next (`fullchain.pem` of certbot and lego). Clients that ask for no name or an unknown one get
    /// this certificate. `""`: no TLS here.
    certificate: String = String::new(), FILE, NewConnections, r#""fullchain.pem""#;
    /// PEM: the private key, without a password. Take an ECDSA key (P-256): with RSA-2048 a handshake
    /// costs 0.8 ms of CPU, nine times as much. A key that every user of the machine can read is a
    /// warning.
    key: String = String::new(), FILE, NewConnections, r#""privkey.pem""#;
    /// DER: what the authority says of the certificate being valid (OCSP response), sent along with
    /// it. Nothing is fetched: something else keeps the file fresh and sends SIGHUP. `""`: none.
    ocsp: String = String::new(), FILE, NewConnections, r#""ocsp.der""#;
    /// Certificates for other host names, each a table with `certificate`, `key` and, if there is one,
    /// `ocsp`; or sections `[[listener.tls.more_certificates]]`. A client gets the one whose names
    /// include the host it connects to (SNI): exactly, else with `*.` for its first label, else
    /// `certificate`. One name may have an ECDSA and an RSA key.
    more_certificates: Vec<CertificateFiles> =
        Vec::new(), CertificateList, NewConnections, r#"[{ certificate = "b.pem", key = "b.key" }]"#;
    /// The lowest version of TLS that is spoken. 1.2 is spoken with forward secrecy and authenticated
    /// encryption alone; browsers speak 1.3 since 2018, some clients of operating systems do not.
    min_version: MinVersion = MinVersion::Tls12, MinVersion::WORDS, NewConnections, r#""1.3""#;
    /// Whether clients show certificates. `"optional"`: they are asked for one and served without; one
    /// that `client_ca` did not sign is refused. `"required"`: no client is served without.
    client_auth: ClientAuth = ClientAuth::Off, ClientAuth::WORDS, NewConnections, r#""required""#;
    /// PEM: the authorities whose certificates clients may show. `""`: none.
    client_ca: String = String::new(), FILE, NewConnections, r#""clients-ca.pem""#;
    /// PEM: the revocation lists of those authorities. `""`: none, nothing counts as revoked.
    client_crl: String = String::new(), FILE, NewConnections, r#""clients-crl.pem""#;
    /// Which name of its certificate is a client's user, where it shows no token: `"cn"`, the subject's
    /// common name, or of the alternative names `"dns"`, `"uri"` or `"email"`. A certificate with no such
    /// name, or several, names none ([identity.md](identity.md#client-certificates)).
    client_user: ClientUser = ClientUser::None, ClientUser::WORDS, NewConnections, r#""cn""#;
    /// What such a user may do where namespaces say `granted`: `sub:` or `pub:` and a channel, which may end
    /// with `*`.
    client_allow: Vec<String> = Vec::new(), Patterns(GRANT), NewConnections, r#"["sub:status:*", "pub:probe:*"]"#;
    /// Whether clients get session tickets, with which they come back without a certificate being sent
    /// and looked at again: fewer bytes, a fifth less CPU. Their keys change every six hours. `"auto"`:
    /// yes, but not where `client_auth` is `"required"` or there is a `client_user`, for a certificate that
    /// was revoked meanwhile is not looked at again; a change of `client_ca` or `client_crl` makes all tickets invalid.
    tickets: Option<bool> = None, Auto(Flag), NewConnections, "false";
    /// At least 32 random bytes that all servers behind one name share, so that each takes the
    /// others' tickets, after a restart too (`openssl rand -out FILE 32`). Who has them can read what
    /// was said under tickets of TLS 1.2. `""`: random ones of this process.
    tickets_secret_file: String = String::new(), FILE, NewConnections, r#""tickets.secret""#;
}

words! {
    /// `listener.tls.min_version`.
    MinVersion
    /// TLS 1.2 (RFC 5246).
    Tls12 = "1.2",
    /// TLS 1.3 (RFC 8446).
    Tls13 = "1.3",
}

words! {
    /// `listener.tls.client_auth`.
    ClientAuth
    /// They are not asked.
    Off = "off",
    /// They are asked for one, and served without.
    Optional = "optional",
    /// They are not served without.
    Required = "required",
}

words! {
    /// `listener.tls.client_user`.
    ClientUser
    /// None.
    None = "none",
    /// The subject's common name.
    Common = "cn",
    /// The host name among the alternative names.
    Dns = "dns",
    /// The URI among them.
    Uri = "uri",
    /// The address of mail among them.
    Email = "email",
}

impl Tls {
    /// Whether the listener speaks TLS.
    pub fn is_on(&self) -> bool {
        !self.certificate.is_empty()
    }

    /// Whether clients get session tickets.
    pub fn gives_tickets(&self) -> bool {
        let looks_at_all =
            self.client_auth == ClientAuth::Required || self.client_user != ClientUser::None;
        self.tickets.unwrap_or(!looks_at_all)
    }
}
