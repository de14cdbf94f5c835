//! What listeners do TLS handshakes with: read and checked at the start, before anything is bound, and
//! by each reload, on its thread. Reactors never wait for a file: they take a setup that is whole.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use roost_config::{self as config, KeyPlace, Loaded, Origin};
use roost_metrics::process;
use roost_net::ListenAddr;
use roost_tls::certs::{CertificateFiles, Finding, Findings};
use roost_tls::{
    ClientAuth, ClientAuthority, Clock, NameKind, ServerOptions, ServerSetup, SharedSetup,
    TicketSecret, Version,
};
use time::OffsetDateTime;

/// The listeners with TLS.
pub(crate) struct Tls {
    clock: Arc<Clock>,
    listeners: Vec<TlsListener>,
}

/// One of them.
struct TlsListener {
    /// Its place among all listeners of the configuration.
    number: usize,
    /// What logs call it.
    label: String,
    files: Files,
    setup: Arc<SharedSetup>,
}

/// Where a listener's certificates are, and what else its handshakes need: all that a reload reads
/// again.
struct Files {
    options: ServerOptions,
    tickets: Tickets,
    /// Each file with the key that names it.
    keys: Vec<(PathBuf, KeyPlace)>,
    /// What has a mistake that is of no file.
    section: KeyPlace,
}

enum Tickets {
    None,
    /// Made with random bytes of this process, which outlive a reload.
    Random(Arc<TicketSecret>),
    /// Made with the bytes of this file.
    Shared(PathBuf),
}

/// What is wrong with the files, a line each.
pub(crate) struct Lines {
    pub(crate) errors: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

/// Errors, then warnings, then the number of errors, as mistakes of the configuration are written.
impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.errors {
            writeln!(f, "{error}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        match self.errors.len() {
            1 => f.write_str("1 mistake"),
            n => write!(f, "{n} mistakes"),
        }
    }
}

impl Tls {
    /// Reads and checks what all listeners name. The warnings are for the log, or for people.
    pub(crate) fn load(loaded: &Loaded) -> Result<(Tls, Vec<String>), Lines> {
        let none = Tls {
            clock: Arc::new(Clock::new(now())),
            listeners: Vec::new(),
        };
        let new = vec![Origin::New; loaded.settings.listeners.len()];
        none.next(loaded, &new)
    }

    /// The same for a reload, with what each listener was before. Those that go on and had random
    /// tickets go on to take those.
    pub(crate) fn next(
        &self,
        loaded: &Loaded,
        origins: &[Origin],
    ) -> Result<(Tls, Vec<String>), Lines> {
        let mut lines = Lines {
            errors: Vec::new(),
            warnings: Vec::new(),
        };
        let clock = self.clock.clone();
        clock.set(now());
        let mut listeners = Vec::new();
        for (number, listener) in loaded.settings.listeners.iter().enumerate() {
            if !listener.tls.is_on() {
                continue;
            }
            let mut files = Files::of(loaded, number);
            if let Some(before) = origins[number].kept().and_then(|at| self.of(at)) {
                files.keep_tickets(&before.files);
            }
            if matches!(listener.address, config::ListenAddress::Unix(_)) {
                let section = &files.section;
                lines.warnings.push(format!(
                    "{section}: TLS on a unix socket costs CPU and protects nothing that the \
                     socket's permissions do not"
                ));
            }
            let Some(setup) = files.load(&clock, &mut lines) else {
                continue;
            };
            listeners.push(TlsListener {
                number,
                label: listener.label(),
                files,
                setup: Arc::new(SharedSetup::new(setup)),
            });
        }
        if lines.errors.is_empty() {
            Ok((Tls { clock, listeners }, lines.warnings))
        } else {
            Err(lines)
        }
    }

    /// What listener `number` does handshakes with; `None` if it is plain.
    pub(crate) fn setup(&self, number: usize) -> Option<Arc<SharedSetup>> {
        Some(self.of(number)?.setup.clone())
    }

    /// When the first certificate of listener `number` expires, in seconds since 1970; `None` if it is
    /// plain.
    pub(crate) fn expires(&self, number: usize) -> Option<u64> {
        Some(self.of(number)?.setup.current().expires())
    }

    /// Whether no listener speaks TLS.
    pub(crate) fn is_empty(&self) -> bool {
        self.listeners.is_empty()
    }

    /// Names and dates of the certificates for `/metrics`. `addresses` are those of all listeners of
    /// the configuration.
    pub(crate) fn publish_expiry(&self, addresses: &[ListenAddr], settings: &config::Settings) {
        let named = self.listeners.iter().map(|listener| {
            let expires = listener.setup.current().expires();
            let name = match settings.listeners[listener.number].name.as_str() {
                "" => addresses[listener.number].to_string(),
                name => name.to_owned(),
            };
            (name, expires)
        });
        process::TLS_CERTIFICATES.set(named.collect());
    }

    /// Each listener by its label, with the time at which its first certificate expires.
    pub(crate) fn expiries(&self) -> impl Iterator<Item = (&str, u64)> {
        let expires = |one: &TlsListener| one.setup.current().expires();
        self.listeners
            .iter()
            .map(move |one| (one.label.as_str(), expires(one)))
    }

    /// The time by which tickets and certificates go.
    pub(crate) fn set_clock(&self, now: u64) {
        self.clock.set(now);
    }

    fn of(&self, number: usize) -> Option<&TlsListener> {
        self.listeners.iter().find(|one| one.number == number)
    }
}

impl Files {
    fn of(loaded: &Loaded, number: usize) -> Files {
        let tls = &loaded.settings.listeners[number].tls;
        let mut keys = Vec::new();
        let mut named = |key: &str, path: &str| {
            let key = format!("tls.{key}");
            let path = loaded.listener_file(number, &key, path);
            keys.push((path.clone(), loaded.listener_place(number, &key)));
            path
        };
        let mut certificates = vec![CertificateFiles {
            certificate: named("certificate", &tls.certificate),
            key: named("key", &tls.key),
            ocsp: is_named(&tls.ocsp).map(|file| named("ocsp", file)),
        }];
        for more in &tls.more_certificates {
            let mut named = |path: &str| named("more_certificates", path);
            certificates.push(CertificateFiles {
                certificate: named(&more.certificate),
                key: named(&more.key),
                ocsp: is_named(&more.ocsp).map(named),
            });
        }
        let authority = match tls.client_auth {
            config::ClientAuth::Off => None,
            _ => Some(ClientAuthority {
                ca: named("client_ca", &tls.client_ca),
                crl: is_named(&tls.client_crl).map(|file| named("client_crl", file)),
            }),
        };
        let tickets = match is_named(&tls.tickets_secret_file) {
            _ if !tls.gives_tickets() => Tickets::None,
            Some(file) => Tickets::Shared(named("tickets_secret_file", file)),
            None => Tickets::Random(Arc::new(TicketSecret::random())),
        };
        Files {
            options: ServerOptions {
                certificates,
                min_version: match tls.min_version {
                    config::MinVersion::Tls12 => Version::Tls12,
                    config::MinVersion::Tls13 => Version::Tls13,
                },
                client_auth: match (tls.client_auth, authority) {
                    (config::ClientAuth::Optional, Some(authority)) => {
                        ClientAuth::Optional(authority)
                    }
                    (config::ClientAuth::Required, Some(authority)) => {
                        ClientAuth::Required(authority)
                    }
                    (_, _) => ClientAuth::Off,
                },
                client_name: match tls.client_user {
                    config::ClientUser::None => None,
                    config::ClientUser::Common => Some(NameKind::Common),
                    config::ClientUser::Dns => Some(NameKind::Dns),
                    config::ClientUser::Uri => Some(NameKind::Uri),
                    config::ClientUser::Email => Some(NameKind::Email),
                },
                tickets: None,
            },
            tickets,
            keys,
            section: loaded.listener_place(number, "tls.certificate"),
        }
    }

    /// Keys of tickets that were made at random outlive a reload.
    fn keep_tickets(&mut self, before: &Files) {
        if let (Tickets::Random(new), Tickets::Random(old)) = (&mut self.tickets, &before.tickets) {
            *new = old.clone();
        }
    }

    /// Reads everything; `None` if there are errors. All that is found is added to `lines`.
    fn load(&self, clock: &Arc<Clock>, lines: &mut Lines) -> Option<ServerSetup> {
        let mut options = self.options.clone();
        let mut is_good = true;
        match &self.tickets {
            Tickets::None => {}
            Tickets::Random(secret) => options.tickets = Some(secret.clone()),
            Tickets::Shared(file) => match read_secret(file) {
                Ok(secret) => options.tickets = Some(Arc::new(secret)),
                Err(what) => {
                    is_good = false;
                    let file = file.clone();
                    lines.errors.push(self.line(&Finding { file, what }));
                }
            },
        }
        let (setup, findings) = match ServerSetup::load(&options, clock) {
            Ok((setup, findings)) => (Some(setup), findings),
            Err(findings) => (None, findings),
        };
        self.add(findings, lines);
        setup.filter(|_| is_good)
    }

    fn add(&self, findings: Findings, lines: &mut Lines) {
        let line = |finding: &Finding| self.line(finding);
        lines.errors.extend(findings.errors.iter().map(line));
        lines.warnings.extend(findings.warnings.iter().map(line));
    }

    /// A finding as mistakes of the configuration are written: the key and its place, then the file.
    fn line(&self, finding: &Finding) -> String {
        let naming = self.keys.iter().filter(|(file, _)| *file == finding.file);
        let mut keys: Vec<&KeyPlace> = naming.map(|(_, key)| key).collect();
        keys.dedup();
        let Some(first) = keys.first() else {
            return format!("{}: {}", self.section, finding.what);
        };
        let names: Vec<&str> = keys.iter().map(|key| key.key.as_str()).collect();
        format!("{}{}: {finding}", first.prefix(), names.join(" and "))
    }
}

/// Not larger than a secret is.
fn read_secret(file: &PathBuf) -> Result<TicketSecret, String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(file)
        .and_then(|file| file.take(SECRET_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot be read: {error}"))?;
    let len = bytes.len();
    TicketSecret::from_file(&bytes).ok_or_else(|| {
        format!(
            "{len} bytes, and a secret has at least {}: `openssl rand -out FILE 32` makes one",
            roost_tls::SECRET_BYTES_MIN
        )
    })
}

fn is_named(file: &str) -> Option<&str> {
    (!file.is_empty()).then_some(file)
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

/// A day as ISO 8601 writes it. A certificate may say that it never expires.
pub(crate) fn date(seconds: u64) -> String {
    let date = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    match date {
        Some(date) => format!(
            "{:04}-{:02}-{:02}",
            date.year(),
            u8::from(date.month()),
            date.day()
        ),
        None => "for ever".to_owned(),
    }
}

/// Of a file with a secret more is not read.
const SECRET_BYTES_MAX: u64 = 1 << 20;
