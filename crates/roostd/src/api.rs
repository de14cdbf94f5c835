//! The HTTP API, as configured.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use roost_auth::PusherApp;
use roost_config::{self as config, ApiKeySource, ListenAddress, Loaded};
use roost_control::{ApiKey, ApiLimits, ApiListener, ApiOptions, BindError, Socket};
use tracing::{info, warn};

use crate::secret::{Secret, from_hex};

/// The API's listeners and keys, before it is served.
pub(crate) struct Api {
    pub(crate) options: ApiOptions,
    /// The key made for this start.
    pub(crate) development_key: Option<Secret>,
}

/// The key that is made for a start.
fn development(key: &Secret) -> ApiKey {
    ApiKey {
        name: "development".to_owned(),
        sha256: key.sha256(),
        allow: config::ApiScope::all(),
    }
}

/// What the start block says of it.
pub(crate) struct Shown {
    /// `http://127.0.0.1:8081`, `unix:/run/roost/api.sock`.
    pub(crate) addresses: Vec<String>,
    /// The first address that is no unix socket.
    first: Option<SocketAddr>,
    development_key: Option<Secret>,
}

/// Reads the keys' files. The error is a message for people, with every mistake.
pub(crate) fn keys(loaded: &Loaded) -> Result<Vec<ApiKey>, String> {
    let mut mistakes = Vec::new();
    let mut keys = Vec::new();
    for key in &loaded.settings.api.key {
        match sha256_of(loaded, &key.source) {
            Ok(sha256) => keys.push(ApiKey {
                name: key.name.clone(),
                sha256,
                allow: key.allow.clone(),
            }),
            Err(error) => mistakes.push(format!("api.key \"{}\": {error}", key.name)),
        }
    }
    match mistakes.is_empty() {
        true => Ok(keys),
        false => Err(mistakes.join("\n")),
    }
}

fn sha256_of(loaded: &Loaded, source: &ApiKeySource) -> Result<[u8; 32], String> {
    match source {
        ApiKeySource::Sha256(digits) => {
            from_hex(digits).ok_or_else(|| "sha256 is not 64 hexadecimal digits".to_owned())
        }
        ApiKeySource::File(file) => Ok(Secret::of_file(&loaded.api_file(file))?.sha256()),
    }
}

/// Binds the API's listeners; `None` where it is off. The error is a message for people.
pub(crate) fn bind(
    loaded: &Loaded,
    mut keys: Vec<ApiKey>,
    pusher: Vec<PusherApp>,
) -> Result<Option<Api>, String> {
    let from = &loaded.settings.api;
    if from.listen.is_empty() {
        return Ok(None);
    }
    warn_of_readers(loaded);
    let development_key = from.development_key.then(Secret::random).transpose()?;
    if let Some(key) = &development_key {
        keys.push(development(key));
    }
    let listeners = from.listen.iter().map(|address| listener(from, address));
    let listeners = listeners.collect::<Result<_, _>>();
    Ok(Some(Api {
        options: ApiOptions {
            listeners: listeners.map_err(|error| error.to_string())?,
            keys,
            pusher,
            limits: ApiLimits {
                in_flight_max: from.in_flight_max as usize,
                body_bytes_max: from.body_bytes_max,
                bodies_bytes_max: from.bodies_bytes_max,
                strict_namespaces: from.strict_namespaces,
                timeout: Duration::from_millis(u64::from(from.timeout_ms)),
                token_lifetime: token_lifetime(&loaded.settings.auth),
            },
            revocations: None, // as the reactors begin with them
        },
        development_key,
    }))
}

/// How long tokens are good: from their issue, with what clocks may differ, to their end.
pub(crate) fn token_lifetime(auth: &config::Auth) -> Option<Duration> {
    let jwt = &auth.jwt;
    let leeway = Duration::from_millis(u64::from(jwt.leeway_ms));
    let lifetime = Duration::from_millis(u64::from(jwt.lifetime_max_ms));
    let is_bounded = jwt.expiry == config::Expiry::Required && !lifetime.is_zero();
    is_bounded.then_some(lifetime + 2 * leeway)
}

fn listener(from: &config::Api, address: &ListenAddress) -> Result<ApiListener, BindError> {
    let address = match address {
        ListenAddress::Tcp(address) => *address,
        ListenAddress::Unix(path) => {
            return ApiListener::unix(&Socket {
                path: PathBuf::from(path),
                mode: match from.socket_mode {
                    config::SocketMode::Owner => 0o600,
                    config::SocketMode::Group => 0o660,
                },
                group: Some(from.socket_group.clone()).filter(|group| !group.is_empty()),
            });
        }
    };
    if !address.ip().is_loopback() {
        warn!(
            %address,
            "api.listen is no loopback address and speaks no TLS: the keys can be read on their way \
             unless a proxy with TLS is before it"
        );
    }
    match ApiListener::tcp(address) {
        Err(error) if error.is_in_use() && from.development_key => {
            ApiListener::tcp(SocketAddr::new(address.ip(), 0))
        }
        bound => bound,
    }
}

/// A key that every user of the machine can read is none.
fn warn_of_readers(loaded: &Loaded) {
    for key in &loaded.settings.api.key {
        let ApiKeySource::File(file) = &key.source else {
            continue;
        };
        let file = loaded.api_file(file);
        let mode = fs::metadata(&file).map(|file| file.permissions().mode());
        if mode.is_ok_and(|mode| mode & 0o004 != 0) {
            let (name, file) = (&key.name, file.display());
            warn!(
                "api.key \"{name}\": every user of this machine can read {file}. Remedy: chmod o= {file}"
            );
        }
    }
}

impl Api {
    /// What is served, and what the start block says of it.
    pub(crate) fn split(self) -> (ApiOptions, Shown) {
        let Api {
            options,
            development_key,
        } = self;
        let mut addresses = Vec::new();
        for listener in &options.listeners {
            if let Some(address) = listener.address() {
                info!(%address, "API");
                addresses.push(format!("http://{address}"));
            }
            if let Some(path) = listener.path() {
                info!(socket = %path.display(), "API");
                addresses.push(format!("unix:{}", path.display()));
            }
        }
        let first = options.listeners.iter().find_map(ApiListener::address);
        let shown = Shown {
            addresses,
            first,
            development_key,
        };
        (options, shown)
    }
}

impl Shown {
    /// The key made for this start, which a reload does not change.
    pub(crate) fn development_key(&self) -> Option<ApiKey> {
        self.development_key.as_ref().map(development)
    }

    /// How to publish with the key made for this start, for the end of the start block.
    pub(crate) fn hint(&self) -> Option<String> {
        let (address, key) = (self.first?, self.development_key.as_ref()?.reveal());
        Some(format!(
            "Publish from a shell; the key is for development and made anew at each start:\n\
             \x20 curl http://{address}/v1/publish -H \"Authorization: Bearer {key}\" \\\n\
             \x20   --json '{{\"channel\": \"lobby\", \"text\": \"Hello from curl\"}}'"
        ))
    }
}

/// Descriptors that clients' connections leave to those of the API: fewer where few may be open.
pub(crate) fn descriptors(from: &config::Api, open_files: u64) -> u64 {
    match from.listen.len() as u64 {
        0 => 0,
        listeners => (u64::from(from.in_flight_max) * listeners).min(open_files / 16),
    }
}
