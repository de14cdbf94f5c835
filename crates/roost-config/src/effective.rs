//! From what is written to what holds: keys that follow others, and values that contradict each
//! other.

use std::collections::HashMap;

use crate::address::ListenAddress;
use crate::apps;
use crate::conflict::{Conflict, size};
use crate::identity_checks::{check_auth, check_tls, check_users};
use crate::names::shown;
use crate::realms;
use crate::row::{Leaders, Row, Section, Visitor};
use crate::source::{Source, Sources};
use crate::table::{
    Access, ChannelPolicy, EventsTo, ForwardedBy, Hook, Limits, Listener, NAMESPACE, OnFailure,
    ProxyProtocol, Publish, Settings, Tls, entry_path, nested_path, visit, visit_namespace,
};
use crate::value::{ValueType, shortened};

/// Gives every key that is not written the value of the key it follows.
pub(crate) fn inherit(settings: &mut Settings, sources: &mut Sources) {
    // Twice, because a key of [limits] that is followed may itself follow one.
    for _ in 0..2 {
        let mut inherit = Inherit {
            path: String::new(),
            leaders: leaders(&settings.limits),
            sources,
        };
        visit(settings, &mut inherit);
    }
    let Settings {
        limits,
        channels,
        namespaces,
        ..
    } = settings;
    for (index, namespace) in namespaces.iter_mut().enumerate() {
        let mut inherit = Inherit {
            path: format!("{}[{index}]", NAMESPACE.name),
            leaders: leaders(limits),
            sources,
        };
        visit_namespace(namespace, channels, &mut inherit);
    }
}

fn leaders(limits: &Limits) -> Leaders {
    Leaders {
        message_bytes_max: limits.message_bytes_max,
        outbox_bytes_max: limits.outbox_bytes_max,
    }
}

struct Inherit<'a> {
    path: String,
    leaders: Leaders,
    sources: &'a mut Sources,
}

impl Visitor for Inherit<'_> {
    fn open(&mut self, section: Section) {
        section.name.clone_into(&mut self.path);
    }

    fn open_entry(&mut self, section: Section, index: usize) {
        self.path = entry_path(section.name, index);
    }

    fn open_nested(&mut self, section: Section) {
        self.path = nested_path(&self.path, section.name);
    }

    fn key<T: ValueType>(&mut self, row: Row<T>, field: &mut T::Value, leader: Option<&T::Value>) {
        let (section, name, value) = match (leader, row.follows) {
            (Some(leader), _) => (ChannelPolicy::SECTION.name, row.name, leader.clone()),
            (None, Some(follows)) => {
                let value = (follows.value)(&self.leaders);
                (Limits::SECTION.name, follows.leader, value)
            }
            (None, None) => return,
        };
        let key = format!("{}.{}", self.path, row.name);
        if self.sources.is_written(&key) {
            return;
        }
        let source = if value == row.default {
            Source::Default
        } else {
            Source::Follows { section, name }
        };
        self.sources.insert(key, source);
        *field = value;
    }

    fn close(&mut self) {}
}

/// The conflicts between keys, each once: a namespace that only inherits one is not named.
pub(crate) fn conflicts(settings: &Settings, sources: &Sources) -> Vec<Conflict> {
    let mut found = Vec::new();
    let limits = &settings.limits;
    check_sizes(limits, &mut found);
    let channels = ChannelPolicy::SECTION.name;
    check_policy(channels, channels, &settings.channels, limits, &mut found);
    check_asked(
        channels,
        "",
        &settings.channels,
        &settings.hooks,
        &mut found,
    );
    check_hooks(settings, &mut found);
    check_events(settings, &mut found);
    for (index, namespace) in settings.namespaces.iter().enumerate() {
        let path = format!("{}[{index}]", NAMESPACE.name);
        let written_here = |key: &str| key.starts_with(&path) && sources.is_written(key);
        let start = found.len();
        let name = shown(&path, settings);
        check_policy(&path, &name, &namespace.policy, limits, &mut found);
        check_asked(
            &path,
            &namespace.name,
            &namespace.policy,
            &settings.hooks,
            &mut found,
        );
        let own = found.split_off(start).into_iter();
        found.extend(own.filter(|c| written_here(&c.key) || written_here(&c.other)));
    }
    check_names(settings, sources, &mut found);
    check_users(settings, &mut found);
    let clashes = realms::check(settings)
        .into_iter()
        .chain(apps::check(settings));
    found.extend(clashes.map(Conflict::from));
    check_listeners(settings, sources, &mut found);
    check_api(settings, &mut found);
    check_auth(settings, &mut found);
    for (index, listener) in settings.listeners.iter().enumerate() {
        let path = entry_path(Listener::SECTION.name, index);
        check_health_path(&path, listener, settings, &mut found);
        check_dialects(&path, listener, settings, &mut found);
        check_proxies(&path, listener, &mut found);
        check_tls(
            &nested_path(&path, Tls::SECTION.name),
            &listener.tls,
            &mut found,
        );
    }
    found
}

fn check_sizes(limits: &Limits, found: &mut Vec<Conflict>) {
    let Limits {
        message_bytes_max: message,
        frame_bytes_max: frame,
        outbox_bytes_max: outbox,
        buffered_bytes_max: buffered,
        ..
    } = *limits;
    let mut check =
        |holds: bool, key: &str, bytes: u64, word: &str, other: &str, bound: usize, hint| {
            if !holds {
                found.push(Conflict {
                    key: key.to_owned(),
                    other: other.to_owned(),
                    found: size(bytes),
                    expected: format!("at {word} {other}, which is {}", size(bound as u64)),
                    hint: Some(hint),
                });
            }
        };
    check(
        frame <= message,
        FRAME,
        frame as u64,
        "most",
        MESSAGE,
        message,
        "a frame is never longer than its message",
    );
    check(
        outbox >= message,
        OUTBOX,
        outbox as u64,
        "least",
        MESSAGE,
        message,
        "the longest message must have room to wait",
    );
    check(
        buffered >= outbox as u64,
        BUFFERED,
        buffered,
        "least",
        OUTBOX,
        outbox,
        "all together hold at least what one may",
    );
}

/// `path` is what the section's keys are called inside, `shown` what messages call it.
fn check_policy(
    path: &str,
    shown: &str,
    policy: &ChannelPolicy,
    limits: &Limits,
    found: &mut Vec<Conflict>,
) {
    if policy.outbox_bytes_max > limits.outbox_bytes_max {
        let bound = size(limits.outbox_bytes_max as u64);
        found.push(Conflict {
            key: format!("{path}.outbox_bytes_max"),
            other: OUTBOX.to_owned(),
            found: size(policy.outbox_bytes_max as u64),
            expected: format!("at most {OUTBOX}, which is {bound}"),
            hint: Some("that one holds for all that waits for a connection"),
        });
    }
    if policy.publish == Publish::Subscribers && policy.subscribe == Access::Nobody {
        found.push(Conflict {
            key: format!("{path}.publish"),
            other: format!("{path}.subscribe"),
            found: "\"subscribers\"".to_owned(),
            expected: format!("another value while {shown}.subscribe is \"nobody\""),
            hint: Some("without subscribers no subscriber publishes"),
        });
    }
}

/// Where a hook decides, there is one; and it decides about nothing but subscribing and publishing.
fn check_asked(
    path: &str,
    namespace: &str,
    policy: &ChannelPolicy,
    hooks: &[Hook],
    found: &mut Vec<Conflict>,
) {
    let is_asked = |event| {
        hooks
            .iter()
            .any(|one| one.names(event) && one.covers(namespace))
    };
    for (key, asks) in [
        ("subscribe", policy.subscribe == Access::Hook),
        ("publish", policy.publish == Publish::Hook),
    ] {
        if asks && !is_asked(key) {
            found.push(Conflict {
                key: format!("{path}.{key}"),
                other: "hook[0].events".to_owned(),
                found: "\"hook\"".to_owned(),
                expected: format!(
                    "a [[hook]] with \"{key}\" in its events, and this namespace in its namespaces"
                ),
                hint: Some("without one nothing is allowed"),
            });
        }
    }
    for (key, access) in [("call", policy.call), ("register", policy.register)] {
        if access == Access::Hook {
            found.push(Conflict {
                key: format!("{path}.{key}"),
                other: format!("{path}.subscribe"),
                found: "\"hook\"".to_owned(),
                expected: "another value: hooks are asked about subscribe and publish".to_owned(),
                hint: None,
            });
        }
    }
}

/// A hook names namespaces that there are, and remembers what it may.
fn check_hooks(settings: &Settings, found: &mut Vec<Conflict>) {
    for (index, hook) in settings.hooks.iter().enumerate() {
        let path = entry_path(Hook::SECTION.name, index);
        let mut wrong = |key: &str, other: &str, value: String, expected: &str, hint| {
            found.push(Conflict {
                key: format!("{path}.{key}"),
                other: format!("{path}.{other}"),
                found: value,
                expected: expected.to_owned(),
                hint,
            });
        };
        let is_known =
            |name: &String| name == "*" || settings.namespaces.iter().any(|one| one.name == *name);
        if let Some(name) = hook.namespaces.iter().find(|name| !is_known(name)) {
            let expected = "names of [[namespace]] sections";
            wrong(
                "namespaces",
                "events",
                format!("\"{}\"", shortened(name)),
                expected,
                None,
            );
        }
        if hook.headers.iter().any(|name| name == "*") {
            let hint = Some(
                "an application should see what it needs of its clients' secrets, and no more",
            );
            wrong(
                "headers",
                "events",
                "\"*\"".to_owned(),
                "the headers by name",
                hint,
            );
        }
        let remembers = hook.cache_ms > 0 || hook.on_failure == OnFailure::Last;
        let differs = ["connect", "publish", "rpc"]
            .iter()
            .any(|event| hook.names(event));
        if remembers && differs {
            let (key, value) = match hook.cache_ms {
                0 => ("on_failure", "\"last\""),
                _ => ("cache", "a time"),
            };
            let expected = "events = [\"subscribe\"] alone beside it";
            let hint = Some(
                "who connects, what is published and what is called differ from time to time; write a [[hook]] for each",
            );
            wrong(key, "events", value.to_owned(), expected, hint);
        }
        let (is_last, stale) = (hook.on_failure == OnFailure::Last, hook.cache_stale_max_ms);
        if is_last != (stale > 0) {
            let (value, expected) = match is_last {
                true => ("\"0s\"", "a time while on_failure is \"last\""),
                false => ("a time", "on_failure = \"last\" beside it"),
            };
            wrong(
                "cache_stale_max",
                "on_failure",
                value.to_owned(),
                expected,
                None,
            );
        }
    }
}

/// Events are told of namespaces that there are, and of some type.
fn check_events(settings: &Settings, found: &mut Vec<Conflict>) {
    let events = &settings.events;
    let section = EventsTo::SECTION.name;
    let mut wrong = |key: &str, other: &str, value: String, expected: &str| {
        found.push(Conflict {
            key: format!("{section}.{key}"),
            other: format!("{section}.{other}"),
            found: value,
            expected: expected.to_owned(),
            hint: None,
        });
    };
    let is_known =
        |name: &String| name == "*" || settings.namespaces.iter().any(|one| one.name == *name);
    let mut unknown = events.namespaces.iter().filter(|name| !is_known(name));
    if let Some(name) = unknown.next().filter(|_| events.is_on()) {
        let found = format!("\"{}\"", shortened(name));
        wrong(
            "namespaces",
            "types",
            found,
            "names of [[namespace]] sections",
        );
    }
    if events.batch_max > events.queue_max {
        let most = format!("at most queue_max, {}", events.queue_max);
        wrong(
            "batch_max",
            "queue_max",
            events.batch_max.to_string(),
            &most,
        );
    }
}

fn check_names(settings: &Settings, sources: &Sources, found: &mut Vec<Conflict>) {
    let mut first = HashMap::new();
    for (index, namespace) in settings.namespaces.iter().enumerate() {
        // A name that was refused is empty.
        if namespace.name.is_empty() {
            continue;
        }
        let key = format!("{}[{index}].name", NAMESPACE.name);
        if let Some(before) = first.insert(namespace.name.as_str(), key.clone()) {
            let line = match sources.get(&before) {
                Source::File { line, .. } => format!("that of line {line}"),
                _ => "that of the one before".to_owned(),
            };
            found.push(Conflict {
                key,
                other: before,
                found: format!("\"{}\" a second time", namespace.name),
                expected: format!("another name than {line}"),
                hint: None,
            });
        }
    }
}

/// No two listeners have one name or one address.
fn check_listeners(settings: &Settings, sources: &Sources, found: &mut Vec<Conflict>) {
    let listeners = &settings.listeners;
    let key = |index, name| format!("{}.{name}", entry_path(Listener::SECTION.name, index));
    for (index, listener) in listeners.iter().enumerate() {
        let before = || listeners[..index].iter();
        let same_name = |other: &Listener| !other.name.is_empty() && other.name == listener.name;
        let same_address = |other: &Listener| other.address.clashes_with(&listener.address);
        let clashes = [
            ("name", before().position(same_name), &listener.name),
            (
                "address",
                before().position(same_address),
                &listener.address.to_string(),
            ),
        ];
        for (name, first, value) in clashes {
            let Some(first) = first else { continue };
            let (key, other) = (key(index, name), key(first, name));
            let line = match sources.get(&other) {
                Source::File { line, .. } => format!("that of line {line}"),
                _ => format!("that of the first, {}", listeners[first].address),
            };
            found.push(Conflict {
                key,
                other,
                found: format!("\"{value}\" a second time"),
                expected: format!("another {name} than {line}"),
                hint: None,
            });
        }
    }
}

/// An address is reached with a key alone, and what is made for development by this machine alone.
fn check_api(settings: &Settings, found: &mut Vec<Conflict>) {
    let api = &settings.api;
    let is_tcp = |address: &&ListenAddress| matches!(address, ListenAddress::Tcp(_));
    let conflict = |other: &str, address: &ListenAddress, expected: &str, hint| Conflict {
        key: "api.listen".to_owned(),
        other: other.to_owned(),
        found: format!("\"{address}\""),
        expected: expected.to_owned(),
        hint: Some(hint),
    };
    let tcp = api.listen.iter().find(is_tcp);
    if let Some(address) = tcp.filter(|_| api.key.is_empty() && !api.development_key) {
        found.push(conflict(
            "api.key",
            address,
            "unix sockets alone while there is no api.key",
            "roostd hash-key --new makes a key and its lines for [[api.key]]",
        ));
    }
    let remote = api.listen.iter().find(|address| !address.is_local());
    if let Some(address) = remote.filter(|_| api.development_key) {
        found.push(conflict(
            "api.development_key",
            address,
            "addresses of this machine while api.development_key is true",
            "the key that is made is for development",
        ));
    }
    for address in &api.listen {
        let clash = settings.listeners.iter().enumerate();
        let clash = clash.filter(|(_, listener)| listener.address.clashes_with(address));
        for (index, _) in clash {
            let other = format!("{}.address", entry_path(Listener::SECTION.name, index));
            let expected = "an address that clients do not connect to";
            let hint = "clients and the API have addresses of their own";
            found.push(conflict(&other, address, expected, hint));
        }
    }
}

/// A dialect that is listed is on.
fn check_dialects(path: &str, listener: &Listener, settings: &Settings, found: &mut Vec<Conflict>) {
    for (dialect, enabled) in [
        ("raw", settings.raw.enabled),
        ("echo", settings.echo.enabled),
        ("wamp", settings.wamp.enabled),
        ("soap", settings.soap.enabled),
        ("centrifugo", settings.centrifugo.enabled),
        ("pusher", settings.pusher.enabled),
        ("sse", settings.sse.enabled),
    ] {
        if !enabled && listener.dialects.iter().any(|one| one == dialect) {
            found.push(Conflict {
                key: format!("{path}.dialects"),
                other: format!("{dialect}.enabled"),
                found: format!("\"{dialect}\""),
                expected: format!("dialects that are enabled, and {dialect}.enabled is false"),
                hint: Some("[\"*\"] is all that are"),
            });
        }
    }
}

/// Without an address that may send a header, none may connect, or none says whose a request is; without
/// headers, none is needed; and a client is not named twice.
fn check_proxies(path: &str, listener: &Listener, found: &mut Vec<Conflict>) {
    let usual = Listener::default();
    let is_required = listener.proxy_protocol == ProxyProtocol::Required;
    let is_forwarded = listener.forwarded != ForwardedBy::Off;
    check_networks(
        (path, "proxy_protocol", listener),
        (&listener.proxy_protocol_from, &usual.proxy_protocol_from),
        (is_required, &PROXY_PROTOCOL_WORDS),
        found,
    );
    check_networks(
        (path, "forwarded", listener),
        (&listener.forwarded_from, &usual.forwarded_from),
        (is_forwarded, &FORWARDED_WORDS),
        found,
    );
    if is_required && is_forwarded {
        found.push(Conflict {
            key: format!("{path}.forwarded"),
            other: format!("{path}.proxy_protocol"),
            found: ForwardedBy::WORDS.write(&listener.forwarded),
            expected: "\"off\" while proxy_protocol is \"required\"".to_owned(),
            hint: Some("one of the two names the client; make a [[listener]] for each"),
        });
    }
}

/// The networks that a key lets say something go with that key.
fn check_networks(
    (path, key, listener): (&str, &str, &Listener),
    (networks, usual): (&[String], &[String]),
    (is_on, words): (bool, &NetworksWords),
    found: &mut Vec<Conflict>,
) {
    let is_unix = matches!(listener.address, ListenAddress::Unix(_));
    let (wrong, value, (expected, hint)) = match networks.is_empty() {
        true => (is_on && !is_unix, "[]", words.of_none),
        false => (
            !is_on && networks != usual,
            "a list of proxies",
            words.of_some,
        ),
    };
    if wrong {
        found.push(Conflict {
            key: format!("{path}.{key}_from"),
            other: format!("{path}.{key}"),
            found: value.to_owned(),
            expected: expected.to_owned(),
            hint: Some(hint),
        });
    }
}

/// What is expected of a list of networks that is empty, and of one without its key; each with a hint.
struct NetworksWords {
    of_none: (&'static str, &'static str),
    of_some: (&'static str, &'static str),
}

const PROXY_PROTOCOL_WORDS: NetworksWords = NetworksWords {
    of_none: (
        "the proxies' networks while proxy_protocol is \"required\"",
        "nothing can connect as it is",
    ),
    of_some: (
        "proxy_protocol = \"required\" with it",
        "while that is \"off\", headers are not read and a connection that begins with one is refused",
    ),
};

const FORWARDED_WORDS: NetworksWords = NetworksWords {
    of_none: (
        "the proxies' networks while forwarded is not \"off\"",
        "what clients say themselves is not believed",
    ),
    of_some: (
        "forwarded = \"x-forwarded-for\" or \"forwarded\" with it",
        "while that is \"off\", no header is looked at",
    ),
};

/// The health path must not hide another, or be hidden by it.
fn check_health_path(
    path: &str,
    listener: &Listener,
    settings: &Settings,
    found: &mut Vec<Conflict>,
) {
    let health = listener.health_path.as_str();
    let raw = settings.raw.enabled && listener.serves("raw");
    let soap = settings.soap.enabled && listener.serves("soap");
    let centrifugo = settings.centrifugo.enabled && listener.serves("centrifugo");
    let pusher = settings.pusher.enabled && listener.serves("pusher");
    let sse = settings.sse.enabled && listener.serves("sse");
    let other = match health {
        "/" if listener.demo_page => format!("{path}.demo_page"),
        "/raw" if raw => "raw.enabled".to_owned(),
        _ if health.starts_with("/raw/") && raw => "raw.enabled".to_owned(),
        "/echo" if settings.echo.enabled && listener.serves("echo") => "echo.enabled".to_owned(),
        "/wamp" if settings.wamp.enabled && listener.serves("wamp") => "wamp.enabled".to_owned(),
        "/soap" if soap => "soap.enabled".to_owned(),
        _ if health.starts_with("/soap/") && soap => "soap.enabled".to_owned(),
        "/connection/websocket" | "/connection/http_stream" | "/connection/sse" | "/emulation"
            if centrifugo =>
        {
            "centrifugo.enabled".to_owned()
        }
        _ if health.starts_with("/app/") && pusher => "pusher.enabled".to_owned(),
        "/sse" if sse => "sse.enabled".to_owned(),
        _ if health.starts_with("/sse/") && sse => "sse.enabled".to_owned(),
        _ => return,
    };
    found.push(Conflict {
        key: format!("{path}.health_path"),
        found: format!("\"{health}\""),
        expected: format!("another path while {} is true", shown(&other, settings)),
        other,
        hint: Some("\"/health\" is the default"),
    });
}

const MESSAGE: &str = "limits.message_bytes_max";
const FRAME: &str = "limits.frame_bytes_max";
const OUTBOX: &str = "limits.outbox_bytes_max";
const BUFFERED: &str = "limits.buffered_bytes_max";
