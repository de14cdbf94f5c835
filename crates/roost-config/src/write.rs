//! The settings in force as TOML, each line with the source of its value.

use crate::Loaded;
use crate::keys::{NAMESPACE, Visitor, visit, visit_namespace};
use crate::kind::{Kind, shortened};
use crate::source::Source;

/// Every key in force as a TOML document that parses to the same settings. Behind each value
/// stands where it came from: `default`, `as KEY` (it follows another key), `FILE:LINE` or
/// `command line`.
pub fn to_toml(loaded: &Loaded) -> String {
    let mut settings = loaded.settings.clone();
    let mut writer = Writer {
        loaded,
        path: String::new(),
        text: String::new(),
    };
    visit(&mut settings, &mut writer);
    for (index, namespace) in settings.namespaces.iter_mut().enumerate() {
        writer.header(&format!("[[{NAMESPACE}]]"), format!("{NAMESPACE}[{index}]"));
        visit_namespace(namespace, &mut writer);
    }
    writer.text
}

struct Writer<'a> {
    loaded: &'a Loaded,
    path: String,
    text: String,
}

impl Writer<'_> {
    fn header(&mut self, header: &str, path: String) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(header);
        self.text.push('\n');
        self.path = path;
    }
}

impl Visitor for Writer<'_> {
    fn open(&mut self, section: &'static str) {
        self.header(&format!("[{section}]"), section.to_owned());
    }

    fn key<K: Kind>(&mut self, name: &'static str, kind: K, field: &mut K::Value) {
        let source = match self.loaded.source(&format!("{}.{name}", self.path)) {
            Source::Default => "default".to_owned(),
            Source::Follows(key) => format!("as {key}"),
            Source::File { line, .. } => format!("{}:{line}", shortened(&self.loaded.file_name)),
            Source::CommandLine => "command line".to_owned(),
        };
        let setting = format!("{name} = {}", kind.write(field));
        self.text
            .push_str(&format!("{setting:<SETTING_COLUMNS$} # {source}\n"));
    }

    fn close(&mut self) {}
}

/// Where the comments stand, unless a setting is longer.
const SETTING_COLUMNS: usize = 44;
