//! What keys are called: in messages, in the environment, and in earlier releases.

use crate::table::Settings;

/// A key as messages call it: `limits.idle_timeout`, `namespace "chat".publish`. Inside, namespaces
/// and listeners go by their place, `namespace[0].publish`, `listener.address` (of the first); so do
/// those without a good name, and a listener that is the only one.
pub(crate) fn shown(key: &str, settings: &Settings) -> String {
    let of_namespace = |key: &str| {
        let (index, name) = key.strip_prefix("namespace[")?.split_once(']')?;
        let namespace = settings.namespaces.get(index.parse::<usize>().ok()?)?;
        (!namespace.name.is_empty()).then(|| format!("namespace \"{}\"{name}", namespace.name))
    };
    let of_listener = |key: &str| {
        let rest = key.strip_prefix("listener")?;
        let (index, name) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("0", rest),
        };
        let listener = settings.listeners.get(index.parse::<usize>().ok()?)?;
        let is_named = !listener.name.is_empty() && settings.listeners.len() > 1;
        is_named.then(|| format!("listener \"{}\"{name}", listener.name))
    };
    let by_name = of_namespace(key).or_else(|| of_listener(key));
    by_name.unwrap_or_else(|| key.to_owned())
}

/// The environment variable of a key: `ROOSTD__LIMITS__IDLE_TIMEOUT`.
pub(crate) fn variable(key: &str) -> String {
    format!(
        "{VARIABLE_PREFIX}{}",
        key.replace('.', "__").to_ascii_uppercase()
    )
}

/// The present name of a key that had another in an earlier version.
pub(crate) fn renamed(section: &str, name: &str) -> Option<&'static str> {
    let section = if section.contains('.') {
        section
    } else if section.starts_with("namespace") {
        "channels"
    } else if section.starts_with("listener") {
        "listener"
    } else {
        section
    };
    let found = RENAMED
        .iter()
        .find(|(of, old, _)| *of == section && *old == name);
    found.map(|(_, _, new)| *new)
}

/// What to do instead, for a key of an earlier version that nothing has taken the place of.
pub(crate) fn removed(section: &str, name: &str) -> Option<&'static str> {
    match (section.split('[').next().unwrap_or(section), name) {
        ("listener", "stats") => {
            Some("the counters are at /stats of the admin listener now: see [admin]")
        }
        _ => None,
    }
}

/// What the variables that are keys begin with. The second underscore keeps it apart from the
/// variables that orchestrators make of a service's name, such as `ROOSTD_PORT`.
pub(crate) const VARIABLE_PREFIX: &str = "ROOSTD__";

/// Section, name before, name now.
const RENAMED: [(&str, &str, &str); 18] = [
    ("listener", "early_framings", "hixie"),
    ("listener", "page", "demo_page"),
    ("limits", "handshake_size_max", "handshake_bytes_max"),
    ("limits", "message_size_max", "message_bytes_max"),
    ("limits", "frame_size_max", "frame_bytes_max"),
    ("limits", "fragment_size", "fragment_bytes"),
    ("limits", "outbox_size_max", "outbox_bytes_max"),
    ("limits", "buffered_size_max", "buffered_bytes_max"),
    ("limits", "channel_name_size_max", "channel_name_bytes_max"),
    ("epoll", "read_buffer", "read_buffer_bytes"),
    ("io_uring", "buffer_size", "buffer_bytes"),
    ("deflate", "threshold", "compress_min_bytes"),
    ("deflate", "context_memory_max", "takeover_bytes_max"),
    ("channels", "hear_own", "receive_own"),
    ("channels", "slow_receivers", "slow_consumer"),
    ("channels", "outbox_size_max", "outbox_bytes_max"),
    (
        "channels",
        "publish_messages_max",
        "publish_messages_per_second_max",
    ),
    (
        "channels",
        "publish_size_max",
        "publish_bytes_per_second_max",
    ),
];
