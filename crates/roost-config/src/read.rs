//! The document into [`Settings`]: each key is looked up where the walk says it stands; what is
//! left over is not known.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::lines::Lines;
use crate::list::{Key, all_keys, namespace_keys};
use crate::mistake::Fault;
use crate::names::{removed, renamed};
use crate::nearest::nearest;
use crate::row::{Row, Visitor};
use crate::source::{Source, Sources};
use crate::table::{
    self, ENTRIES_MAX, Hook, LISTENERS_MAX, Listener, Namespace, Pusher, PusherApp, PusherWebhook,
    Settings, Wamp, WampPermission, WampRealm, WampUser, entry_path, header, nested_name,
    nested_path, visit, visit_namespace, visit_users,
};
use crate::value::{ValueType, describe, shortened};

/// Reads a document over the defaults.
pub(crate) fn read(
    root: &DeTable<'_>,
    lines: &Lines<'_>,
    sources: &mut Sources,
    faults: &mut Vec<Fault>,
) -> Settings {
    let mut settings = Settings::default();
    let entries = listeners(root, faults);
    settings.listeners = vec![Listener::default(); entries.len().max(1)];
    let mut reader = Reader {
        root,
        keys: all_keys(),
        listeners: entries,
        users: Vec::new(),
        open: Vec::new(),
        lines,
        sources,
        faults,
    };
    visit(&mut settings, &mut reader);
    reader.users(&mut settings);
    reader.namespaces(&mut settings.namespaces);
    reader.unknown_sections();
    settings
}

/// The sections of listeners: `[listener]` is one as well. Each keeps its place, for keys of
/// listeners go by number.
fn listeners<'a, 'i>(
    root: &'a DeTable<'i>,
    faults: &mut Vec<Fault>,
) -> Vec<Option<&'a DeTable<'i>>> {
    let name = Listener::SECTION.name;
    let Some(value) = root.get(name) else {
        return Vec::new();
    };
    let mut fault = |span, key: String, found: String, expected: &str| {
        faults.push(Fault {
            span,
            key: Some(key),
            found,
            expected: expected.to_owned(),
            hint: None,
        });
    };
    let array = match value.get_ref() {
        DeValue::Table(table) => return vec![Some(table)],
        DeValue::Array(array) => array,
        other => {
            fault(
                value.span(),
                name.to_owned(),
                describe(other),
                "sections [[listener]]",
            );
            return Vec::new();
        }
    };
    if array.is_empty() || array.len() > LISTENERS_MAX {
        let found = format!("{} listeners", array.len());
        let expected = format!("1 to {LISTENERS_MAX}");
        fault(value.span(), name.to_owned(), found, &expected);
        return Vec::new();
    }
    let entries = array.iter().enumerate().map(|(index, entry)| {
        let path = entry_path(name, index);
        let DeValue::Table(table) = entry.get_ref() else {
            fault(entry.span(), path, describe(entry.get_ref()), "a table");
            return None;
        };
        if index > 0 && !table.contains_key("address") {
            let found = "no address".to_owned();
            let expected = "the key address: only the first has a default";
            fault(entry.span(), path, found, expected);
        }
        Some(table)
    });
    entries.collect()
}

struct Reader<'a, 'i> {
    root: &'a DeTable<'i>,
    /// For hints.
    keys: Vec<Key>,
    /// Those that are written; `None` is none that can be read.
    listeners: Vec<Option<&'a DeTable<'i>>>,
    /// The users or permissions that are written, while those pass by.
    users: Vec<Option<&'a DeTable<'i>>>,
    /// From outside to inside; `None` is one that is not written, or cannot be read.
    open: Vec<Option<Section<'a, 'i>>>,
    lines: &'a Lines<'a>,
    sources: &'a mut Sources,
    faults: &'a mut Vec<Fault>,
}

/// A section whose keys pass by.
struct Section<'a, 'i> {
    /// What its keys are called before the dot, in messages and sources: `limits`,
    /// `namespace[0]`.
    path: String,
    /// The same as a header spells it: `[limits]`, `[[namespace]]`.
    header: String,
    table: &'a DeTable<'i>,
    known: Vec<&'static str>,
}

impl Visitor for Reader<'_, '_> {
    fn open(&mut self, section: crate::row::Section) {
        let section = section.name;
        let value = self.root.get(section);
        let expected = format!("the section [{section}]");
        self.open_table(section, section.to_owned(), value, expected);
        if let Some(Some(open)) = self.open.last_mut() {
            let inside = INSIDE.iter().filter(|(outer, _)| *outer == section);
            open.known.extend(inside.map(|(_, name)| nested_name(name)));
        }
    }

    fn open_entry(&mut self, section: crate::row::Section, index: usize) {
        let entry = match self.users.is_empty() {
            true => self.listeners.get(index).copied().flatten(),
            false => self.users[index],
        };
        self.open.push(entry.map(|table| Section {
            path: entry_path(section.name, index),
            header: header(section.name),
            table,
            known: Vec::new(),
        }));
    }

    fn open_nested(&mut self, section: crate::row::Section) {
        let name = nested_name(section.name);
        let Some(Some(outer)) = self.open.last_mut() else {
            self.open.push(None);
            return;
        };
        outer.known.push(name);
        let (path, value) = (
            nested_path(&outer.path, section.name),
            outer.table.get(name),
        );
        let expected = format!(
            "the section [{}], or a table: {name} = {{ … }}",
            section.name
        );
        self.open_table(section.name, path, value, expected);
    }

    fn key<T: ValueType>(&mut self, row: Row<T>, field: &mut T::Value, _: Option<&T::Value>) {
        let name = row.name;
        let Some(Some(section)) = self.open.last_mut() else {
            return;
        };
        section.known.push(name);
        let Some((key, value)) = section.table.get_key_value(name) else {
            return;
        };
        let path = format!("{}.{name}", section.path);
        let mut refusals = Vec::new();
        if let Some(value) = row.value_type.read(value, &mut refusals) {
            *field = value;
            let (line, column) = self.lines.position(key.span().start);
            self.sources
                .insert(path.clone(), Source::File { line, column });
        }
        self.faults.extend(
            refusals
                .into_iter()
                .map(|refusal| Fault::refused(path.clone(), refusal)),
        );
    }

    fn close(&mut self) {
        let Some(section) = self.open.pop().flatten() else {
            return;
        };
        for key in section.table.keys() {
            if !section.known.contains(&key.get_ref().as_ref()) {
                self.faults.push(unknown_key(&section, key, &self.keys));
            }
        }
    }
}

impl<'a, 'i> Reader<'a, 'i> {
    /// Opens a section of which there is one.
    fn open_table(
        &mut self,
        section: &str,
        path: String,
        value: Option<&'a Spanned<DeValue<'i>>>,
        expected: String,
    ) {
        let table = value.and_then(|value| match value.get_ref() {
            DeValue::Table(table) => Some(table),
            other => {
                self.faults.push(Fault {
                    span: value.span(),
                    key: Some(path.clone()),
                    found: describe(other),
                    expected,
                    hint: None,
                });
                None
            }
        });
        self.open.push(table.map(|table| Section {
            path,
            header: header(section),
            table,
            known: Vec::new(),
        }));
    }

    /// The sections of which there may be several, and none is there by default, but for namespaces.
    fn users(&mut self, settings: &mut Settings) {
        let realms = self.entries(WampRealm::SECTION.name, &["name"]);
        let mut all = Settings {
            wamp_realms: vec![WampRealm::default(); realms.len()],
            ..Settings::default()
        };
        self.users = realms;
        visit_users(&mut all, self);
        settings.wamp_realms = all.wamp_realms;
        let users = self.entries(WampUser::SECTION.name, &["authid", "realm", "role"]);
        let mut all = Settings {
            wamp_users: vec![WampUser::default(); users.len()],
            ..Settings::default()
        };
        self.users = users;
        visit_users(&mut all, self);
        settings.wamp_users = all.wamp_users;
        let permissions = self.entries(
            WampPermission::SECTION.name,
            &["realm", "role", "uri", "allow"],
        );
        let mut all = Settings {
            wamp_permissions: vec![WampPermission::default(); permissions.len()],
            ..Settings::default()
        };
        self.users = permissions;
        visit_users(&mut all, self);
        settings.wamp_permissions = all.wamp_permissions;
        let apps = self.entries(PusherApp::SECTION.name, &["id", "key", "secret_file"]);
        let mut all = Settings {
            pusher_apps: vec![PusherApp::default(); apps.len()],
            ..Settings::default()
        };
        self.users = apps;
        visit_users(&mut all, self);
        settings.pusher_apps = all.pusher_apps;
        let webhooks = self.entries(PusherWebhook::SECTION.name, &["app", "url"]);
        let mut all = Settings {
            pusher_webhooks: vec![PusherWebhook::default(); webhooks.len()],
            ..Settings::default()
        };
        self.users = webhooks;
        visit_users(&mut all, self);
        settings.pusher_webhooks = all.pusher_webhooks;
        let hooks = self.entries(Hook::SECTION.name, &["events", "url"]);
        let mut all = Settings {
            hooks: vec![Hook::default(); hooks.len()],
            ..Settings::default()
        };
        self.users = hooks;
        visit_users(&mut all, self);
        settings.hooks = all.hooks;
        self.users = Vec::new();
    }

    /// The tables of such a section, at the top or inside `[wamp]` or `[pusher]`, each with the keys that have no default.
    fn entries(&mut self, section: &str, required: &[&str]) -> Vec<Option<&'a DeTable<'i>>> {
        let value = match section.split_once('.') {
            Some((outer, name)) => {
                let outer = self.root.get(outer);
                let outer = outer.and_then(|value| value.get_ref().as_table());
                outer.and_then(|outer| outer.get(name))
            }
            None => self.root.get(section),
        };
        let Some(value) = value else {
            return Vec::new();
        };
        let mut fault = |span, key: String, found: String, expected: String| {
            self.faults.push(Fault {
                span,
                key: Some(key),
                found,
                expected,
                hint: None,
            });
        };
        let expected = format!("sections {}", header(section));
        let DeValue::Array(array) = value.get_ref() else {
            let found = describe(value.get_ref());
            fault(value.span(), section.to_owned(), found, expected);
            return Vec::new();
        };
        if array.len() > ENTRIES_MAX {
            let found = format!("{} sections", array.len());
            let expected = format!("at most {ENTRIES_MAX}");
            fault(value.span(), section.to_owned(), found, expected);
            return Vec::new();
        }
        let entries = array.iter().enumerate().map(|(index, entry)| {
            let path = entry_path(section, index);
            let DeValue::Table(table) = entry.get_ref() else {
                fault(
                    entry.span(),
                    path,
                    describe(entry.get_ref()),
                    "a table".to_owned(),
                );
                return None;
            };
            for name in required.iter().filter(|name| !table.contains_key(**name)) {
                let found = format!("no {name}");
                fault(entry.span(), path.clone(), found, format!("the key {name}"));
            }
            Some(table)
        });
        entries.collect()
    }

    fn namespaces(&mut self, namespaces: &mut Vec<Namespace>) {
        let Some(value) = self.root.get(NAMESPACE) else {
            return;
        };
        let DeValue::Array(array) = value.get_ref() else {
            self.faults.push(Fault {
                span: value.span(),
                key: Some(NAMESPACE.to_owned()),
                found: describe(value.get_ref()),
                expected: "sections [[namespace]]".to_owned(),
                hint: Some("double brackets: there may be several".to_owned()),
            });
            return;
        };
        for (index, entry) in array.iter().enumerate() {
            self.namespace(index, entry, namespaces);
        }
    }

    fn namespace(
        &mut self,
        index: usize,
        entry: &'a Spanned<DeValue<'i>>,
        namespaces: &mut Vec<Namespace>,
    ) {
        let path = format!("{NAMESPACE}[{index}]");
        let DeValue::Table(table) = entry.get_ref() else {
            self.faults.push(Fault {
                span: entry.span(),
                key: Some(path),
                found: describe(entry.get_ref()),
                expected: "a table with a name".to_owned(),
                hint: None,
            });
            // Its place is kept: keys of namespaces go by number.
            namespaces.push(Namespace::default());
            return;
        };
        if !table.contains_key("name") {
            self.faults.push(Fault {
                span: entry.span(),
                key: Some(path.clone()),
                found: "no name".to_owned(),
                expected: "the key name".to_owned(),
                hint: Some("name = \"chat\" is for the channels chat:…".to_owned()),
            });
        }
        self.open.push(Some(Section {
            path,
            header: header(NAMESPACE),
            table,
            known: Vec::new(),
        }));
        let mut namespace = Namespace::default();
        let defaults = namespace.policy.clone();
        visit_namespace(&mut namespace, &defaults, self);
        self.close();
        namespaces.push(namespace);
    }

    fn unknown_sections(&mut self) {
        let mut sections: Vec<&str> = self.keys.iter().map(|key| key.section).collect();
        sections.dedup();
        let nested: Vec<&str> = sections.extract_if(.., |one| one.contains('.')).collect();
        sections.extend([NAMESPACE, Hook::SECTION.name]);
        for (key, value) in self.root {
            let name = key.get_ref().as_ref();
            if sections.contains(&name) {
                continue;
            }
            let is_section = matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_));
            let hint = match nearest(name, sections.iter().copied()) {
                Some(section) if is_section => Some(format!("did you mean {}?", header(section))),
                _ => nested
                    .iter()
                    .find(|one| nested_name(one) == name)
                    .map(|one| format!("did you mean {}?", header(one)))
                    .or_else(|| elsewhere(name, "", &self.keys)),
            };
            let what = if is_section { "section" } else { "key" };
            self.faults.push(Fault {
                span: key.span(),
                key: Some(shortened(name)),
                found: format!("an unknown {what}"),
                expected: one_of("one of the sections", hint.is_some(), &sections),
                hint,
            });
        }
    }
}

fn unknown_key(section: &Section<'_, '_>, key: &Spanned<Cow<'_, str>>, keys: &[Key]) -> Fault {
    let name = key.get_ref().as_ref();
    let hint = renamed(&section.path, name).map(|now| format!("it is called `{now}` now"));
    let hint = hint.or_else(|| removed(&section.path, name).map(str::to_owned));
    let hint = hint.or_else(|| {
        nearest(name, section.known.iter().copied())
            .map(|known| format!("did you mean `{known}`?"))
            .or_else(|| elsewhere(name, &section.path, keys))
    });
    Fault {
        span: key.span(),
        key: Some(format!("{}.{}", section.path, shortened(name))),
        found: "an unknown key".to_owned(),
        expected: one_of(
            &format!("a key of {}", section.header),
            hint.is_some(),
            &section.known,
        ),
        hint,
    }
}

/// What was expected; with all its names only where no hint names the one.
fn one_of(what: &str, hinted: bool, names: &[&str]) -> String {
    if hinted {
        return what.to_owned();
    }
    format!("{what}: {}", names.join(", "))
}

/// A hint at a key of the same name in another section.
fn elsewhere(name: &str, section: &str, keys: &[Key]) -> Option<String> {
    let same = keys
        .iter()
        .find(|key| key.name == name && key.section != section);
    if let Some(key) = same {
        return Some(format!("`{name}` belongs to {}", header(key.section)));
    }
    if namespace_keys().iter().any(|key| key.name == name) {
        return Some(format!("`{name}` belongs to [[{NAMESPACE}]]"));
    }
    let near = nearest(name, keys.iter().map(|key| key.name))?;
    let key = keys.iter().find(|key| key.name == near)?;
    Some(format!("did you mean `{near}` in {}?", header(key.section)))
}

const NAMESPACE: &str = table::NAMESPACE.name;
/// What `[wamp]` and `[pusher]` have beside their keys.
const INSIDE: [(&str, &str); 5] = [
    (Wamp::SECTION.name, WampRealm::SECTION.name),
    (Wamp::SECTION.name, WampUser::SECTION.name),
    (Wamp::SECTION.name, WampPermission::SECTION.name),
    (Pusher::SECTION.name, PusherApp::SECTION.name),
    (Pusher::SECTION.name, PusherWebhook::SECTION.name),
];
