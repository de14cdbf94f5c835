//! What a reload changes: two effective configurations side by side, and what of the new one holds in a
//! running daemon.

use std::any::Any;
use std::mem;

use crate::Loaded;
use crate::effective::conflicts;
use crate::listeners::{Origin, origins};
use crate::mistake::{Errors, Mistake};
use crate::row::{Reload, Row, Section, Visitor};
use crate::table::{Listener, Namespace, Settings, WampUser, visit, visit_namespace, visit_users};
use crate::value::ValueType;

/// One key that has another value, or one entry of several that was added or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// As messages call it: `limits.idle_timeout`, `namespace "chat".publish`, `listener "public"`.
    pub key: String,
    /// The value as TOML; `None` where the entry is new.
    pub before: Option<String>,
    /// The value as TOML; `None` where the entry is gone.
    pub after: Option<String>,
    /// When it takes effect.
    pub reload: Reload,
}

/// What comes of a reload: the configuration that holds then, and what changes. What needs a restart is
/// among the changes, and keeps its running value in what holds.
///
/// # Errors
/// Where what holds would contradict itself, though the new configuration does not: a new value beside
/// one that a restart alone changes.
pub fn reload(running: &Loaded, next: Loaded) -> Result<(Loaded, Vec<Change>), Errors> {
    let changes = changes(&running.settings, &next.settings);
    let mut merged = next;
    keep_running(&running.settings, &mut merged.settings);
    let Loaded {
        settings,
        file_name,
        sources,
    } = &merged;
    let mistakes = conflicts(settings, sources).into_iter().map(|conflict| {
        let mut mistake = conflict.placed(settings, sources, file_name);
        mistake.hint = Some(NEEDS_RESTART.to_owned());
        mistake
    });
    let mistakes: Vec<Mistake> = mistakes.collect();
    Errors::check(mistakes)?;
    Ok((merged, changes))
}

/// A section, or one entry of several, with its keys.
struct Entry {
    /// As messages call it.
    label: String,
    /// Its place, of a listener.
    listener: Option<usize>,
    keys: Vec<Value>,
    /// When it is there or gone.
    reload: Reload,
}

struct Value {
    name: String,
    /// The whole of it, to be compared.
    text: String,
    /// What may stand in a log: of a URL no path, in which there may be secrets.
    shown: String,
    reload: Reload,
    is_default: bool,
}

/// The differences, in the order of the documentation.
fn changes(running: &Settings, next: &Settings) -> Vec<Change> {
    let (before, after) = (entries(running), entries(next));
    let origins = origins(&running.listeners, &next.listeners);
    let mut changes = Vec::new();
    let mut is_gone = vec![true; before.len()];
    for entry in &after {
        let origin = entry.listener.map(|at| origins[at]);
        let is_before = |old: &Entry| match origin {
            Some(origin) => old.listener.is_some() && old.listener == origin.before(),
            None => old.label == entry.label,
        };
        match before.iter().position(is_before) {
            Some(at) => {
                is_gone[at] = false;
                let is_moved = matches!(origin, Some(Origin::Moved(_)));
                changes.extend(changed_keys(&before[at], entry, is_moved));
            }
            None => {
                changes.push(Change {
                    key: entry.label.clone(),
                    before: None,
                    after: Some(entry.summary()),
                    reload: entry.reload,
                });
                changes.extend(entry.later_keys());
            }
        }
    }
    let gone = before.iter().zip(is_gone).filter(|(_, is_gone)| *is_gone);
    changes.extend(gone.map(|(old, _)| Change {
        key: old.label.clone(),
        before: Some(old.summary()),
        after: None,
        reload: old.reload,
    }));
    changes
}

/// Of a listener that moves, every key holds for the socket that is opened.
fn changed_keys<'a>(
    old: &'a Entry,
    new: &'a Entry,
    is_moved: bool,
) -> impl Iterator<Item = Change> + 'a {
    let both = old.keys.iter().zip(&new.keys);
    let changed = both.filter(|(before, after)| before.text != after.text);
    changed.map(move |(before, after)| Change {
        key: format!("{}.{}", new.label, after.name),
        before: Some(before.shown.clone()),
        after: Some(after.shown.clone()),
        reload: match after.reload {
            Reload::Restart if is_moved => Reload::Listener,
            reload => reload,
        },
    })
}

impl Entry {
    /// Of a new entry that is there without a restart: the keys that are not.
    fn later_keys(&self) -> impl Iterator<Item = Change> + '_ {
        let later = |key: &&Value| key.reload == Reload::Restart && !key.is_default;
        let keys = self.keys.iter().filter(later);
        // Of a new listener every key holds for its socket.
        keys.filter(|_| matches!(self.reload, Reload::Live | Reload::NewConnections))
            .map(|key| Change {
                key: format!("{}.{}", self.label, key.name),
                before: None,
                after: Some(key.shown.clone()),
                reload: key.reload,
            })
    }

    /// The keys that have not their defaults, on one line.
    fn summary(&self) -> String {
        let told = self.keys.iter().filter(|key| !key.is_default);
        let told: Vec<String> = told
            .map(|key| format!("{} = {}", key.name, key.shown))
            .collect();
        format!("{{ {} }}", told.join(", "))
    }
}

fn entries(settings: &Settings) -> Vec<Entry> {
    let mut settings = settings.clone();
    let names = Names {
        listeners: labels(&settings.listeners),
        users: settings.wamp_users.iter().map(user_label).collect(),
    };
    let mut list = List {
        names,
        entries: Vec::new(),
        nested: String::new(),
    };
    visit(&mut settings, &mut list);
    visit_users(&mut settings, &mut list);
    let Settings {
        channels,
        namespaces,
        ..
    } = &mut settings;
    for namespace in namespaces {
        let label = format!("namespace \"{}\"", namespace.name);
        list.begin(label, Reload::Live);
        visit_namespace(namespace, channels, &mut list);
    }
    list.entries
}

/// By what listeners are told apart: several may have port 0, and then their order does.
fn labels(listeners: &[Listener]) -> Vec<String> {
    let mut labels: Vec<String> = Vec::new();
    for listener in listeners {
        let label = listener.label();
        let same = |other: &&Listener| other.label() == label;
        let before = listeners[..labels.len()].iter().filter(same).count();
        labels.push(match before {
            0 => label,
            before => format!("{label} ({})", before + 1),
        });
    }
    labels
}

fn user_label(user: &WampUser) -> String {
    format!("\"{}\" of \"{}\"", user.authid, user.realm)
}

/// By what entries are told apart that stand in a list.
struct Names {
    listeners: Vec<String>,
    users: Vec<String>,
}

struct List {
    names: Names,
    entries: Vec<Entry>,
    /// The section inside the one that is open, with its dot.
    nested: String,
}

impl List {
    fn begin(&mut self, label: String, reload: Reload) {
        self.nested.clear();
        self.entries.push(Entry {
            label,
            listener: None,
            keys: Vec::new(),
            reload,
        });
    }
}

impl Visitor for List {
    fn open(&mut self, section: Section) {
        self.begin(section.name.to_owned(), Reload::Live);
    }

    fn open_entry(&mut self, section: Section, index: usize) {
        let label = match section.name {
            name if name == Listener::SECTION.name => {
                format!("{name} \"{}\"", self.names.listeners[index])
            }
            name if name == WampUser::SECTION.name => {
                format!("{name} {}", self.names.users[index])
            }
            name => format!("{name}[{index}]"),
        };
        if section.name != Listener::SECTION.name {
            return self.begin(label, Reload::Live);
        }
        self.begin(label, Reload::Listener);
        if let Some(entry) = self.entries.last_mut() {
            entry.listener = Some(index);
        }
    }

    fn open_nested(&mut self, section: Section) {
        self.nested = format!("{}.", crate::table::nested_name(section.name));
    }

    fn key<T: ValueType>(&mut self, row: Row<T>, field: &mut T::Value, leader: Option<&T::Value>) {
        let is_default = leader.map_or(*field == row.default, |leader| *field == *leader);
        let name = format!("{}{}", self.nested, row.name);
        let entry = self.entries.last_mut().expect("a section is open");
        let text = row.value_type.write(field);
        entry.keys.push(Value {
            name,
            shown: match row.name {
                "url" | "jwks_url" => without_path(&text),
                _ => text.clone(),
            },
            text,
            reload: row.reload,
            is_default,
        });
    }

    fn close(&mut self) {
        self.nested.clear();
    }
}

/// Puts the running values back where a restart alone changes them.
fn keep_running(running: &Settings, next: &mut Settings) {
    let mut running = running.clone();
    let mut listeners = mem::take(&mut running.listeners);
    let mut next_listeners = mem::take(&mut next.listeners);
    keep(|taken| visit(&mut running, taken), |kept| visit(next, kept));
    let Settings {
        channels,
        namespaces,
        ..
    } = next;
    for namespace in namespaces {
        let old = running.namespaces.iter();
        let mut old = old.filter(|old| old.name == namespace.name).cloned();
        // One that is new begins with what all others have.
        let mut old = old.next().unwrap_or_else(|| Namespace {
            name: namespace.name.clone(),
            policy: running.channels.clone(),
        });
        keep(
            |taken| visit_namespace(&mut old, &running.channels, taken),
            |kept| visit_namespace(namespace, channels, kept),
        );
    }
    let origins = origins(&listeners, &next_listeners);
    for (listener, origin) in next_listeners.iter_mut().zip(origins) {
        if let Origin::Kept(at) = origin {
            keep(
                |taken| listeners[at].visit_keys(None, taken),
                |kept| listener.visit_keys(None, kept),
            );
        }
    }
    next.listeners = next_listeners;
    next.wamp_realms = running.wamp_realms;
    next.pusher_apps = running.pusher_apps;
    next.pusher_webhooks = running.pusher_webhooks;
}

/// Walks along the keys of the running settings, then along the same of the next.
fn keep(take: impl FnOnce(&mut Taken), keep: impl FnOnce(&mut Kept)) {
    let mut taken = Taken(Vec::new());
    take(&mut taken);
    keep(&mut Kept(taken.0.into_iter()));
}

/// The running values, one a key.
struct Taken(Vec<Box<dyn Any>>);

impl Visitor for Taken {
    fn open(&mut self, _: Section) {}
    fn open_entry(&mut self, _: Section, _: usize) {}
    fn open_nested(&mut self, _: Section) {}
    fn key<T: ValueType>(&mut self, _: Row<T>, field: &mut T::Value, _: Option<&T::Value>) {
        self.0.push(Box::new(field.clone()));
    }
    fn close(&mut self) {}
}

/// Those that are kept.
struct Kept(std::vec::IntoIter<Box<dyn Any>>);

impl Visitor for Kept {
    fn open(&mut self, _: Section) {}
    fn open_entry(&mut self, _: Section, _: usize) {}
    fn open_nested(&mut self, _: Section) {}
    fn key<T: ValueType>(&mut self, row: Row<T>, field: &mut T::Value, _: Option<&T::Value>) {
        let running = self.0.next().and_then(|value| value.downcast().ok());
        let running = running.expect("the keys are walked along in one order");
        if row.reload == Reload::Restart {
            *field = *running;
        }
    }
    fn close(&mut self) {}
}

/// Scheme, host and port of a URL in quotes.
fn without_path(text: &str) -> String {
    let authority = text.find("://").map_or(0, |at| at + 3);
    let path = text[authority..].find(['/', '?', '#']);
    match path {
        Some(at) => format!("{}/…\"", &text[..authority + at]),
        None => text.to_owned(),
    }
}

const NEEDS_RESTART: &str =
    "one of the two is changed by a restart alone: restart, or change the other later";
