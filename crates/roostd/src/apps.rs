//! The applications of Pusher's protocol, with their secrets, which are read at the start and at each
//! reload.

use roost_auth::{PusherApp, PusherKey};
use roost_config::{self as config, Loaded, pusher_key};

use crate::tls::Lines;
use crate::users::read_secret;

/// Reads the secrets of all applications, in the order of the configuration. The warnings are for the log, or
/// for people.
pub(crate) fn load(loaded: &Loaded) -> Result<(Vec<PusherApp>, Vec<String>), Lines> {
    let settings = &loaded.settings;
    let mut lines = Lines {
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    let mut apps = Vec::new();
    for (at, from) in settings.pusher_apps.iter().enumerate() {
        // Every key is named, so that one that is not obeyed does not compile.
        let config::PusherApp {
            id,
            key,
            secret_file,
            prefix,
            enabled,
            client_events,
            authorized_connections,
            subscription_count: _, // what its channels keep
            webhook_url: _,        // where events are told
            webhook_events: _,
        } = from;
        let secret_key = pusher_key(at, "secret_file");
        let path = loaded.file(&secret_key, secret_file);
        match read_secret(&path, &mut lines) {
            Ok(secret) => apps.push(PusherApp {
                id: id.as_str().into(),
                key: key.as_str().into(),
                signing: PusherKey::new(&secret),
                prefix: prefix.as_str().into(),
                enabled: *enabled,
                client_events: *client_events,
                authorized_connections: *authorized_connections,
            }),
            Err(what) => {
                let (place, path) = (loaded.place(&secret_key), path.display());
                lines.errors.push(format!("{place}: {path}: {what}"));
            }
        }
    }
    if settings.pusher.enabled && settings.pusher_apps.is_empty() {
        let place = loaded.place("pusher.enabled");
        lines.errors.push(format!(
            "{place}: there is no [[pusher.app]]. Remedy: one with id, key and secret_file"
        ));
    }
    match lines.errors.is_empty() {
        true => Ok((apps, lines.warnings)),
        false => Err(lines),
    }
}
