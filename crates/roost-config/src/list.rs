//! The table of keys as a list, for hints, tests and documentation.

use crate::row::{Reload, Row, Section, Visitor};
use crate::table::{
    ChannelPolicy, Hook, NAMESPACE, Namespace, PusherApp, PusherWebhook, Settings, WampPermission,
    WampRealm, WampUser, visit, visit_namespace, visit_users,
};
use crate::value::ValueType;

/// One key of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its section, `limits`.
    pub section: &'static str,
    /// Its name, `idle_timeout`.
    pub name: &'static str,
    /// The built-in default as TOML, `"0s"`.
    pub default: String,
    /// Another value that it takes, as TOML.
    pub example: &'static str,
    /// What it takes, in words.
    pub expected: String,
    /// The same as short as a cell of a table needs it, in Markdown.
    pub takes: String,
    /// When a changed value could take effect.
    pub reload: Reload,
    /// The key whose value it has where it is not written, `limits.message_bytes_max`.
    pub follows: Option<String>,
    /// What it does, and what happens at the limit, in Markdown.
    pub doc: String,
}

/// Every key but those of `[[namespace]]`, section by section in the order of the documentation.
pub fn all_keys() -> Vec<Key> {
    let mut list = List::default();
    visit(&mut Settings::default(), &mut list);
    list.keys
}

/// The keys of a `[[namespace]]`. The first is its name, which has no default.
pub fn namespace_keys() -> Vec<Key> {
    let mut list = List::default();
    list.open(NAMESPACE);
    let channels = ChannelPolicy::default();
    visit_namespace(&mut Namespace::default(), &channels, &mut list);
    list.keys
}

/// The keys of a `[[wamp.realm]]`, of a `[[wamp.user]]`, of a `[[wamp.permission]]`, of a
/// `[[pusher.app]]`, of a `[[pusher.webhook]]` and of a `[[hook]]`.
pub fn user_keys() -> Vec<Key> {
    let mut list = List::default();
    visit_users(&mut with_a_user(), &mut list);
    list.keys
}

fn with_a_user() -> Settings {
    Settings {
        wamp_realms: vec![WampRealm::default()],
        wamp_users: vec![WampUser::default()],
        wamp_permissions: vec![WampPermission::default()],
        pusher_apps: vec![PusherApp::default()],
        pusher_webhooks: vec![PusherWebhook::default()],
        hooks: vec![Hook::default()],
        ..Settings::default()
    }
}

/// The explanations of the sections, by name, in the order of the documentation.
pub(crate) fn sections() -> Vec<(&'static str, String)> {
    let mut list = List::default();
    visit(&mut Settings::default(), &mut list);
    visit_users(&mut with_a_user(), &mut list);
    list.open(NAMESPACE);
    list.sections
}

#[derive(Default)]
struct List {
    sections: Vec<(&'static str, String)>,
    keys: Vec<Key>,
}

impl Visitor for List {
    fn open(&mut self, section: Section) {
        self.sections.push((section.name, one_line(section.doc)));
    }

    fn open_entry(&mut self, section: Section, _: usize) {
        self.open(section); // the defaults have one
    }

    fn open_nested(&mut self, section: Section) {
        self.open(section);
    }

    fn key<T: ValueType>(&mut self, row: Row<T>, field: &mut T::Value, leader: Option<&T::Value>) {
        let section = self.sections.last().expect("a section is open").0;
        let follows = match (leader, &row.follows) {
            (Some(_), _) => Some(format!("{}.{}", ChannelPolicy::SECTION.name, row.name)),
            (None, Some(follows)) => Some(format!("limits.{}", follows.leader)),
            (None, None) => None,
        };
        self.keys.push(Key {
            section,
            name: row.name,
            default: row.value_type.write(field),
            example: row.example,
            expected: row.value_type.expected(),
            takes: row.value_type.takes(),
            reload: row.reload,
            follows,
            doc: one_line(row.doc),
        });
    }

    fn close(&mut self) {}
}

fn one_line(doc: &[&str]) -> String {
    let lines: Vec<&str> = doc.iter().map(|line| line.trim()).collect();
    lines.join(" ")
}
