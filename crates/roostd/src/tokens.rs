//! What tokens of handshakes are checked with: the files of keys, and the rules of the configuration.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use roost_config::{self as config, Loaded};
use roost_control::{JwksOptions, JwksUrl};
use roost_reactor as reactor;
use roost_tokens::{
    Checker, KeySet, RefreshRules, Rules, Secrets, StaticTokens, parse_public_keys, parse_secrets,
    parse_static_tokens,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::tls::Lines;

/// What tokens are checked with.
#[derive(Default)]
pub(crate) struct Tokens {
    keys: KeySet,
    statics: StaticTokens,
    jwks: Option<JwksOptions>,
}

impl Tokens {
    /// Reads the files; `None` if none is named. All mistakes are told.
    pub(crate) fn load(loaded: &Loaded) -> Result<Option<Tokens>, Lines> {
        let auth = &loaded.settings.auth;
        if !auth.is_on() {
            return Ok(None);
        }
        let mut errors = Vec::new();
        let mut keys = KeySet::default();
        if let Some(file) = named(&auth.jwt.hmac_secrets_file) {
            match read_secrets(loaded, file) {
                Ok(secrets) => keys.secrets = secrets.keys,
                Err(line) => errors.push(line),
            }
        }
        if let Some(file) = named(&auth.jwt.public_keys_file) {
            let read = read(loaded, PUBLIC_KEYS, file).and_then(|(path, bytes)| {
                parse_public_keys(&bytes).map_err(|e| line(loaded, PUBLIC_KEYS, &path, &e))
            });
            match read {
                Ok(public) => keys.public = public,
                Err(line) => errors.push(line),
            }
        }
        let mut statics = StaticTokens::default();
        if let Some(file) = named(&auth.static_tokens_file) {
            match read_text(loaded, STATIC, file) {
                Ok((path, text)) => match parse_static_tokens(&text) {
                    Ok(read) => statics = read,
                    Err(error) => errors.push(line(loaded, STATIC, &path, &error)),
                },
                Err(line) => errors.push(line),
            }
        }
        let jwks = match &auth.jwt.jwks_url {
            Some(url) => match jwks(loaded, url) {
                Ok(jwks) => Some(jwks),
                Err(line) => {
                    errors.push(line);
                    None
                }
            },
            None => None,
        };
        keys.has_jwks = jwks.is_some();
        match errors.is_empty() {
            true => Ok(Some(Tokens {
                keys,
                statics,
                jwks,
            })),
            false => Err(Lines {
                errors,
                warnings: Vec::new(),
            }),
        }
    }

    /// What the control thread checks them with.
    pub(crate) fn for_control(self, from: &config::Auth) -> roost_control::Tokens {
        // Every key is named, so that one that is not obeyed does not compile. Those with `_` are read
        // above, or obeyed by the reactors.
        let config::Auth {
            required: _,
            cookie: _,
            wait_ms: _,
            in_flight_max,
            revocations_max: _,
            revocations_state_file: _,
            connections_per_user_max: _,
            token_bytes_max, // by the reactors too
            static_tokens_file: _,
            cache_bytes_max,
            jwt:
                config::Jwt {
                    hmac_secrets_file: _,
                    public_keys_file: _,
                    jwks_url: _,
                    jwks_ca_file: _,
                    jwks_refresh_ms: _,
                    jwks_cooldown_ms: _,
                    jwks_stale_max_ms: _,
                    jwks_bytes_max: _,
                    jwks_state_file: _,
                    audience,
                    issuer,
                    expiry,
                    subject,
                    lifetime_max_ms,
                    leeway_ms,
                },
        } = from;
        let rules = Rules {
            audience: audience.clone(),
            issuer: issuer.clone(),
            is_expiry_required: *expiry == config::Expiry::Required,
            is_subject_required: *subject == config::Subject::Required,
            lifetime_max_secs: u64::from(*lifetime_max_ms) / 1000,
            leeway_secs: u64::from(*leeway_ms) / 1000,
            token_bytes_max: *token_bytes_max,
        };
        roost_control::Tokens {
            checker: Checker::new(rules, self.statics, self.keys, *cache_bytes_max),
            jwks: self.jwks,
            // Those of handshakes that wait, and as many again whose handshakes have stopped waiting.
            checks_max: 2 * *in_flight_max as usize,
        }
    }
}

/// Where the JWKS is, whom its fetch trusts, and where it is kept. The error is a line for people.
fn jwks(loaded: &Loaded, url: &str) -> Result<JwksOptions, String> {
    let jwt = &loaded.settings.auth.jwt;
    let parsed = JwksUrl::parse(url)
        .map_err(|what| format!("{}: {what}", prefix(loaded, "auth.jwt.jwks_url")))?;
    let (path, pem) = match url.starts_with("https:") {
        true => read(loaded, CA, &jwt.jwks_ca_file)?,
        false => (PathBuf::new(), Vec::new()),
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        // Bundles of a system have some that no library takes.
        let _ = certificate.map(|certificate| roots.add(certificate));
    }
    if roots.is_empty() && url.starts_with("https:") {
        return Err(line(
            loaded,
            CA,
            &path,
            &"it has no certificate of an authority",
        ));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let key = "auth.jwt.jwks_state_file";
    let file = state_file(loaded, key, jwt.jwks_state_file.as_deref(), "jwks.json");
    Ok(JwksOptions {
        rules: RefreshRules {
            url: url.to_owned(),
            refresh_ms: u64::from(jwt.jwks_refresh_ms),
            cooldown_ms: u64::from(jwt.jwks_cooldown_ms),
            stale_max_ms: u64::from(jwt.jwks_stale_max_ms),
            timeout_ms: FETCH_TIMEOUT_MS,
            document_bytes_max: jwt.jwks_bytes_max,
        },
        url: parsed,
        tls: Arc::new(tls),
        file,
    })
}

/// Where something is kept for the next start: as the key says, or under this name where systemd wants it.
pub(crate) fn state_file(
    loaded: &Loaded,
    key: &str,
    value: Option<&str>,
    name: &str,
) -> Option<PathBuf> {
    if let Some(file) = value {
        return (!file.is_empty()).then(|| loaded.file(key, file));
    }
    let list = env::var_os("STATE_DIRECTORY")?;
    // systemd.exec(5): several are separated by colons.
    let first = list.as_bytes().split(|&byte| byte == b':').next()?;
    Some(Path::new(OsStr::from_bytes(first)).join(name))
}

/// What the reactors obey of it.
pub(crate) fn for_reactors(settings: &config::Settings, reactors: usize) -> reactor::Auth {
    let reactors = u32::try_from(reactors).unwrap_or(u32::MAX).max(1);
    let from = &settings.auth;
    reactor::Auth {
        is_on: from.is_on(),
        is_required: from.required,
        // Where anonymous sessions are let in, none is sure to log in.
        wamp_logs_in: !settings.wamp.anonymous,
        cookie: from.cookie.clone().unwrap_or_default(),
        wait_ms: from.wait_ms,
        checks_max: from.in_flight_max.div_ceil(reactors),
        revocations_max: from.revocations_max,
        revoked: reactor::RevokedAtStart::default(), // read where the log is there
        connections_per_user_max: from.connections_per_user_max,
        token_bytes_max: from.token_bytes_max,
    }
}

/// The secrets that the configuration names. The error is a line for people.
pub(crate) fn read_secrets(loaded: &Loaded, file: &str) -> Result<Secrets, String> {
    let (path, text) = read_text(loaded, SECRETS, file)?;
    parse_secrets(&text).map_err(|error| line(loaded, SECRETS, &path, &error))
}

fn read_text(loaded: &Loaded, key: &str, file: &str) -> Result<(PathBuf, String), String> {
    let (path, bytes) = read(loaded, key, file)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok((path, text)),
        Err(_) => Err(line(loaded, key, &path, &"it is not UTF-8")),
    }
}

fn read(loaded: &Loaded, key: &str, file: &str) -> Result<(PathBuf, Vec<u8>), String> {
    let path = loaded.file(key, file);
    match read_bounded(&path) {
        Ok(bytes) => Ok((path, bytes)),
        Err(error) => Err(line(
            loaded,
            key,
            &path,
            &format!("cannot be read: {error}"),
        )),
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    match bytes.len() as u64 > FILE_BYTES_MAX {
        true => Err(io::Error::other("it is larger than 1 MiB")),
        false => Ok(bytes),
    }
}

/// As mistakes of the configuration are written: the key and its place, then the file.
fn line(loaded: &Loaded, key: &str, path: &Path, what: &dyn std::fmt::Display) -> String {
    format!("{}: {}: {what}", prefix(loaded, key), path.display())
}

fn prefix(loaded: &Loaded, key: &str) -> String {
    let place = loaded.place(key);
    format!("{}{}", place.prefix(), place.key)
}

fn named(file: &str) -> Option<&str> {
    (!file.is_empty()).then_some(file)
}

const SECRETS: &str = "auth.jwt.hmac_secrets_file";
const STATIC: &str = "auth.static_tokens_file";
const CA: &str = "auth.jwt.jwks_ca_file";
const PUBLIC_KEYS: &str = "auth.jwt.public_keys_file";
/// Of one fetch. Handshakes that wait for it wait for auth.wait at most.
const FETCH_TIMEOUT_MS: u64 = 5_000;
/// Sixteen keys are some kilobytes, all authorities some hundred.
const FILE_BYTES_MAX: u64 = 1 << 20;
