//! What one key says about another: defaults that follow, and values that contradict each other.

use crate::kind::{Kind, Size};
use crate::mistake::{Mistake, Place};
use crate::settings::{ChannelPolicy, Limits, Publish, Settings, Subscribe};
use crate::source::{Source, Sources};

/// Two keys, each good by itself, that cannot both hold.
pub(crate) struct Conflict {
    /// The key that is blamed.
    pub(crate) key: String,
    /// The key it cannot hold beside.
    pub(crate) other: String,
    /// What it says.
    pub(crate) found: String,
    /// What the other key asks of it.
    pub(crate) expected: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

impl Conflict {
    /// The mistake, at the key if it was written, else at the one that it follows or contradicts.
    pub(crate) fn placed(self, sources: &Sources, file_name: &str) -> Mistake {
        let place = place(&self.key, sources, file_name)
            .or_else(|| place(&self.other, sources, file_name))
            .unwrap_or(Place::WholeFile {
                name: file_name.to_owned(),
            });
        Mistake {
            place,
            key: Some(self.key),
            found: self.found,
            expected: self.expected,
            hint: self.hint,
        }
    }
}

fn place(key: &str, sources: &Sources, file_name: &str) -> Option<Place> {
    match sources.get(key) {
        Source::File { line, column } => Some(Place::File {
            name: file_name.to_owned(),
            line,
            column,
        }),
        Source::CommandLine => Some(Place::CommandLine),
        Source::Follows(_) | Source::Default => None,
    }
}

/// Gives keys that nobody wrote the value of the key they follow, then lists the conflicts.
pub(crate) fn settle(settings: &mut Settings, sources: &mut Sources) -> Vec<Conflict> {
    follow_message_size(&mut settings.limits, sources);
    follow_channels(settings, sources);
    let mut conflicts = Vec::new();
    check_sizes(&settings.limits, &mut conflicts);
    let limits = &settings.limits;
    check_policy("channels", &settings.channels, limits, &mut conflicts);
    for (index, namespace) in settings.namespaces.iter().enumerate() {
        check_policy(
            &format!("namespace[{index}]"),
            &namespace.policy,
            limits,
            &mut conflicts,
        );
    }
    check_names(settings, &mut conflicts);
    check_health_path(settings, &mut conflicts);
    conflicts
}

fn follow_message_size(limits: &mut Limits, sources: &mut Sources) {
    let default = Limits::default();
    let message = limits.message_bytes_max;
    follow(
        FRAME,
        &mut limits.frame_bytes_max,
        message,
        default.frame_bytes_max,
        MESSAGE,
        sources,
    );
    let outbox = default.outbox_bytes_max.max(message);
    follow(
        OUTBOX,
        &mut limits.outbox_bytes_max,
        outbox,
        default.outbox_bytes_max,
        MESSAGE,
        sources,
    );
}

fn follow_channels(settings: &mut Settings, sources: &mut Sources) {
    let default = ChannelPolicy::default();
    let channels = &mut settings.channels;
    follow(
        "channels.outbox_size_max",
        &mut channels.outbox_bytes_max,
        settings.limits.outbox_bytes_max,
        default.outbox_bytes_max,
        OUTBOX,
        sources,
    );
    let channels = &settings.channels;
    for (index, namespace) in settings.namespaces.iter_mut().enumerate() {
        let key = |name: &str| format!("namespace[{index}].{name}");
        let ChannelPolicy {
            publish,
            subscribe,
            hear_own,
            slow_receivers,
            outbox_bytes_max,
            outbox_messages_max,
            publish_messages_max,
            publish_bytes_max,
        } = &mut namespace.policy;
        let lead = channels.publish;
        follow(
            &key("publish"),
            publish,
            lead,
            default.publish,
            "channels.publish",
            sources,
        );
        let lead = channels.subscribe;
        follow(
            &key("subscribe"),
            subscribe,
            lead,
            default.subscribe,
            "channels.subscribe",
            sources,
        );
        let lead = channels.hear_own;
        follow(
            &key("hear_own"),
            hear_own,
            lead,
            default.hear_own,
            "channels.hear_own",
            sources,
        );
        let lead = channels.slow_receivers;
        follow(
            &key("slow_receivers"),
            slow_receivers,
            lead,
            default.slow_receivers,
            "channels.slow_receivers",
            sources,
        );
        let lead = channels.outbox_bytes_max;
        follow(
            &key("outbox_size_max"),
            outbox_bytes_max,
            lead,
            default.outbox_bytes_max,
            "channels.outbox_size_max",
            sources,
        );
        let lead = channels.outbox_messages_max;
        follow(
            &key("outbox_messages_max"),
            outbox_messages_max,
            lead,
            default.outbox_messages_max,
            "channels.outbox_messages_max",
            sources,
        );
        let lead = channels.publish_messages_max;
        follow(
            &key("publish_messages_max"),
            publish_messages_max,
            lead,
            default.publish_messages_max,
            "channels.publish_messages_max",
            sources,
        );
        let lead = channels.publish_bytes_max;
        follow(
            &key("publish_size_max"),
            publish_bytes_max,
            lead,
            default.publish_bytes_max,
            "channels.publish_size_max",
            sources,
        );
    }
}

/// Sets a field that nobody wrote to what its leader asks.
fn follow<T: PartialEq>(
    key: &str,
    field: &mut T,
    value: T,
    default: T,
    leader: &'static str,
    sources: &mut Sources,
) {
    if !sources.is_written(key) {
        let source = if value == default {
            Source::Default
        } else {
            Source::Follows(leader)
        };
        sources.insert(key.to_owned(), source);
        *field = value;
    }
}

fn check_sizes(limits: &Limits, conflicts: &mut Vec<Conflict>) {
    let size = |bytes: usize| Size(0..=usize::MAX).write(&bytes);
    let message = size(limits.message_bytes_max);
    if limits.frame_bytes_max > limits.message_bytes_max {
        conflicts.push(Conflict {
            key: FRAME.to_owned(),
            other: MESSAGE.to_owned(),
            found: size(limits.frame_bytes_max),
            expected: format!("at most {MESSAGE}, which is {message}"),
            hint: Some("a frame is never longer than its message".to_owned()),
        });
    }
    if limits.outbox_bytes_max < limits.message_bytes_max {
        conflicts.push(Conflict {
            key: OUTBOX.to_owned(),
            other: MESSAGE.to_owned(),
            found: size(limits.outbox_bytes_max),
            expected: format!("at least {MESSAGE}, which is {message}"),
            hint: Some("the longest message must have room to wait".to_owned()),
        });
    }
    if limits.buffered_bytes_max < limits.outbox_bytes_max {
        conflicts.push(Conflict {
            key: BUFFERED.to_owned(),
            other: OUTBOX.to_owned(),
            found: size(limits.buffered_bytes_max),
            expected: format!(
                "at least {OUTBOX}, which is {}",
                size(limits.outbox_bytes_max)
            ),
            hint: Some("all together hold at least what one may".to_owned()),
        });
    }
}

fn check_policy(
    section: &str,
    policy: &ChannelPolicy,
    limits: &Limits,
    conflicts: &mut Vec<Conflict>,
) {
    if policy.outbox_bytes_max > limits.outbox_bytes_max {
        let size = |bytes: usize| Size(0..=usize::MAX).write(&bytes);
        conflicts.push(Conflict {
            key: format!("{section}.outbox_size_max"),
            other: OUTBOX.to_owned(),
            found: size(policy.outbox_bytes_max),
            expected: format!(
                "at most {OUTBOX}, which is {}",
                size(limits.outbox_bytes_max)
            ),
            hint: Some("that one holds for all that waits for a connection".to_owned()),
        });
    }
    if policy.publish == Publish::Subscribers && policy.subscribe == Subscribe::Nobody {
        conflicts.push(Conflict {
            key: format!("{section}.publish"),
            other: format!("{section}.subscribe"),
            found: "\"subscribers\"".to_owned(),
            expected: format!("another value while {section}.subscribe is \"nobody\""),
            hint: Some("where nobody subscribes, no subscriber publishes".to_owned()),
        });
    }
}

fn check_names(settings: &Settings, conflicts: &mut Vec<Conflict>) {
    let mut first = std::collections::HashMap::new();
    for (index, namespace) in settings.namespaces.iter().enumerate() {
        // A name that was refused is empty.
        if namespace.name.is_empty() {
            continue;
        }
        if let Some(before) = first.insert(namespace.name.as_str(), index) {
            conflicts.push(Conflict {
                key: format!("namespace[{index}].name"),
                other: format!("namespace[{before}].name"),
                found: format!("\"{}\" a second time", namespace.name),
                expected: format!("another name than that of namespace[{before}]"),
                hint: None,
            });
        }
    }
}

/// The health path must not hide another, or be hidden by it.
fn check_health_path(settings: &Settings, conflicts: &mut Vec<Conflict>) {
    let listener = &settings.listener;
    let path = listener.health_path.as_str();
    let other = match path {
        "/" if listener.page => "listener.page",
        "/stats" | "/stats/slow" if listener.stats => "listener.stats",
        "/raw" if settings.raw.enabled => "raw.enabled",
        _ if path.starts_with("/raw/") && settings.raw.enabled => "raw.enabled",
        "/echo" if settings.echo.enabled => "echo.enabled",
        "/wamp" if settings.wamp.enabled => "wamp.enabled",
        _ => return,
    };
    conflicts.push(Conflict {
        key: "listener.health_path".to_owned(),
        other: other.to_owned(),
        found: format!("\"{path}\""),
        expected: format!("another path while {other} is true"),
        hint: Some("\"/health\" is the default".to_owned()),
    });
}

const MESSAGE: &str = "limits.message_size_max";
const FRAME: &str = "limits.frame_size_max";
const OUTBOX: &str = "limits.outbox_size_max";
const BUFFERED: &str = "limits.buffered_size_max";
