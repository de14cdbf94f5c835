//! What applications are asked: the hooks of the configuration, with their secrets.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use roost_config::{self as config, Loaded, hook_key};
use roost_control::{Hook, HookUrl};
use roost_hooks::{Event, Keys, OnFailure, Rules, parse_keys};
use roost_reactor as reactor;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::tls::Lines;

/// Reads the files of all hooks. All mistakes are told.
pub(crate) fn load(loaded: &Loaded) -> Result<Vec<Hook>, Lines> {
    let (mut hooks, mut errors) = (Vec::new(), Vec::new());
    for (at, from) in loaded.settings.hooks.iter().enumerate() {
        match hook(loaded, at, from) {
            Ok(hook) => hooks.push(hook),
            Err(line) => errors.push(line),
        }
    }
    match errors.is_empty() {
        true => Ok(hooks),
        false => Err(Lines {
            errors,
            warnings: Vec::new(),
        }),
    }
}

/// The error is a line for people.
fn hook(loaded: &Loaded, at: usize, from: &config::Hook) -> Result<Hook, String> {
    // Every key is named, so that one that is not obeyed does not compile. `headers` is obeyed by the
    // reactors.
    let config::Hook {
        events: _,
        namespaces,
        url,
        ca_file,
        timeout_ms,
        in_flight_max,
        queue_max,
        answer_bytes_max,
        on_failure,
        cache_ms,
        cache_stale_max_ms,
        secrets_file,
        headers: _,
    } = from;
    let place = |key: &str| hook_key(at, key);
    let parsed = HookUrl::parse(url).map_err(|what| line(loaded, &place("url"), None, what))?;
    let mut identity = Context::new(&SHA256);
    identity.update(format!("{from:?}").as_bytes());
    let keys = keys_of(loaded, &place("secrets_file"), secrets_file, &mut identity)?;
    let key = place("ca_file");
    let tls = tls_of(
        loaded,
        &key,
        ca_file,
        url.starts_with("https:"),
        &mut identity,
    )?;
    let mut identity_bytes = [0; 32];
    identity_bytes.copy_from_slice(identity.finish().as_ref());
    let events = Event::ALL.into_iter();
    Ok(Hook {
        identity: identity_bytes,
        events: events.filter(|event| from.names(event.name())).collect(),
        namespaces: namespaces.clone(),
        rules: Rules {
            timeout_ms: u64::from(*timeout_ms),
            in_flight_max: *in_flight_max as usize,
            queue_max: *queue_max as usize,
            on_failure: match on_failure {
                config::OnFailure::Deny => OnFailure::Deny,
                config::OnFailure::Allow => OnFailure::Allow,
                config::OnFailure::Last => OnFailure::Last,
            },
            cache_ms: u64::from(*cache_ms),
            cache_stale_max_ms: u64::from(*cache_stale_max_ms),
        },
        tls: Arc::new(tls),
        url: parsed,
        keys,
        answer_bytes_max: *answer_bytes_max,
    })
}

/// The secrets that requests are signed with, from the file that `key` names; none without one. What
/// the file has goes into `identity`.
pub(crate) fn keys_of(
    loaded: &Loaded,
    key: &str,
    file: &str,
    identity: &mut Context,
) -> Result<Keys, String> {
    if file.is_empty() {
        return Ok(Keys::default());
    }
    let (path, bytes) = read(loaded, key, file)?;
    identity.update(&bytes);
    let text =
        String::from_utf8(bytes).map_err(|_| line(loaded, key, Some(&path), "it is not UTF-8"))?;
    parse_keys(&text).map_err(|error| line(loaded, key, Some(&path), error))
}

/// Whom a client trusts: the authorities in the file that `key` names, which goes into `identity`.
pub(crate) fn tls_of(
    loaded: &Loaded,
    key: &str,
    ca_file: &str,
    is_https: bool,
    identity: &mut Context,
) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    if is_https {
        let (path, pem) = read(loaded, key, ca_file)?;
        identity.update(&pem);
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            // Bundles of a system have some that no library takes.
            let _ = certificate.map(|certificate| roots.add(certificate));
        }
        if roots.is_empty() {
            let what = "it has no certificate of an authority";
            return Err(line(loaded, key, Some(&path), what));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS: {error}"))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// What the reactors obey of it.
pub(crate) fn for_reactors(from: &[config::Hook]) -> reactor::Hooks {
    let connect = from.iter().find(|hook| hook.names("connect"));
    let headers = connect.iter().flat_map(|hook| hook.headers.iter());
    let headers: BTreeSet<&String> = headers.collect();
    let longest = from.iter().map(|hook| hook.timeout_ms).max();
    reactor::Hooks {
        asks_connect: connect.is_some(),
        asks_rpc: from.iter().any(|hook| hook.names("rpc")),
        headers: headers.into_iter().cloned().collect(),
        wait_ms: longest.unwrap_or_default() + GRACE_MS,
    }
}

/// Descriptors that clients' connections leave to those to applications: fewer where few may be open.
pub(crate) fn descriptors(from: &[config::Hook], open_files: u64) -> u64 {
    let calls = from.iter().map(|hook| u64::from(hook.in_flight_max));
    calls.sum::<u64>().min(open_files / 16)
}

fn read(loaded: &Loaded, key: &str, file: &str) -> Result<(std::path::PathBuf, Vec<u8>), String> {
    let path = loaded.file(key, file);
    match read_bounded(&path) {
        Ok(bytes) => Ok((path, bytes)),
        Err(error) => Err(line(
            loaded,
            key,
            Some(&path),
            format!("cannot be read: {error}"),
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
pub(crate) fn line(
    loaded: &Loaded,
    key: &str,
    path: Option<&Path>,
    what: impl std::fmt::Display,
) -> String {
    let place = loaded.place(key);
    let place = format!("{}{}", place.prefix(), place.key);
    match path {
        Some(path) => format!("{place}: {}: {what}", path.display()),
        None => format!("{place}: {what}"),
    }
}

/// How much longer than the longest timeout a client waits: what a control thread that runs needs to give
/// a question up, and to say so.
const GRACE_MS: u32 = 1_000;
/// Four secrets are some hundred bytes, all authorities some hundred kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
