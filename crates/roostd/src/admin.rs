//! The admin listeners, as configured.

use std::env;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use roost_config as config;
use roost_control::{
    ApiOptions, Build, Control, EventsTo, Hook, Limits, Listeners, Options, Served, Socket, Tokens,
};
use roost_reactor::Shared;
use tracing::{info, warn};

use crate::operator::Daemon;

/// Binds the admin listeners. The error is a message for people.
pub(crate) fn bind(from: &config::Admin) -> Result<Listeners, String> {
    let path = match &from.socket {
        Some(path) if path.is_empty() => None,
        Some(path) => Some(PathBuf::from(path)),
        None => env::var_os("RUNTIME_DIRECTORY").and_then(|list| socket_in(&list)),
    };
    let socket = path.map(|path| Socket {
        path,
        mode: match from.socket_mode {
            config::SocketMode::Owner => 0o600,
            config::SocketMode::Group => 0o660,
        },
        group: Some(from.socket_group.clone()).filter(|group| !group.is_empty()),
    });
    if let Some(address) = from.listen.filter(|address| !address.ip().is_loopback()) {
        warn!(
            %address,
            "admin.listen is no loopback address: any client that reaches it reads counters and connections"
        );
    }
    let options = Options {
        socket,
        listen: from.listen,
    };
    Listeners::bind(&options).map_err(|error| error.to_string())
}

/// Serves what was bound, the API too, checks tokens, asks hooks and tells events; `None` if nothing of it is wanted. The error
/// is a message for people.
pub(crate) fn start(
    listeners: Listeners,
    api: Option<ApiOptions>,
    shared: &Shared,
    driver: &'static str,
    (tokens, has_tokens, hooks, events): (Tokens, bool, Vec<Hook>, Vec<EventsTo>),
    (operator, canary_interval_ms): (Daemon, u32),
) -> Result<Option<Control>, String> {
    let asks = has_tokens || !hooks.is_empty() || !events.is_empty();
    if listeners.is_empty() && api.is_none() && !asks {
        return Ok(None);
    }
    if let Some(path) = listeners.path() {
        info!(socket = %path.display(), "admin listener");
    }
    if let Some(address) = listeners.address() {
        info!(%address, "admin listener");
    }
    let build = Build {
        version: env!("CARGO_PKG_VERSION"),
        driver,
    };
    let served = Served {
        admin: listeners,
        limits: Limits::default(),
        api,
        tokens: Some(tokens), // a reload may bring keys
        hooks,
        canary_interval: (canary_interval_ms > 0)
            .then(|| Duration::from_millis(u64::from(canary_interval_ms))),
        events,
        operator: Some(Arc::new(operator)),
    };
    roost_control::start(served, shared.clone(), build)
        .map(Some)
        .map_err(|error| format!("cannot start the control thread: {error}"))
}

/// The socket in the service's directory. systemd.exec(5), `RuntimeDirectory=`: several are
/// separated by colons.
fn socket_in(directories: &OsStr) -> Option<PathBuf> {
    let first = directories.as_bytes().split(|&byte| byte == b':').next()?;
    let directory = Path::new(OsStr::from_bytes(first));
    directory
        .is_absolute()
        .then(|| directory.join("admin.sock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_in_the_first_directory_of_the_service() {
        let of = |list: &str| socket_in(OsStr::new(list));
        let expected = Some(PathBuf::from("/run/roost/admin.sock"));
        assert_eq!(of("/run/roost"), expected);
        assert_eq!(of("/run/roost:/run/other"), expected);
        assert_eq!(of(""), None);
        assert_eq!(of("relative"), None);
    }
}
