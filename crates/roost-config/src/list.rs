//! The keys as a list, for hints, tests and documentation.

use crate::keys::{Visitor, visit, visit_namespace};
use crate::kind::Kind;
use crate::settings::{ChannelPolicy, Namespace, Settings};

/// One key of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its section, `limits`.
    pub section: &'static str,
    /// Its name, `idle_timeout`.
    pub name: &'static str,
    /// The built-in default as TOML, `"0s"`.
    pub default: String,
    /// What it takes, in words.
    pub expected: String,
}

/// Every key but those of `[[namespace]]`, section by section in the order of the documentation.
pub fn all_keys() -> Vec<Key> {
    let mut list = List {
        section: "",
        keys: Vec::new(),
    };
    visit(&mut Settings::default(), &mut list);
    list.keys
}

/// The keys of a `[[namespace]]`.
pub fn namespace_keys() -> Vec<&'static str> {
    let mut list = List {
        section: crate::keys::NAMESPACE,
        keys: Vec::new(),
    };
    let mut namespace = Namespace {
        name: String::new(),
        policy: ChannelPolicy::default(),
    };
    visit_namespace(&mut namespace, &mut list);
    list.keys.iter().map(|key| key.name).collect()
}

struct List {
    section: &'static str,
    keys: Vec<Key>,
}

impl Visitor for List {
    fn open(&mut self, section: &'static str) {
        self.section = section;
    }

    fn key<K: Kind>(&mut self, name: &'static str, kind: K, field: &mut K::Value) {
        self.keys.push(Key {
            section: self.section,
            name,
            default: kind.write(field),
            expected: kind.expected(),
        });
    }

    fn close(&mut self) {}
}
