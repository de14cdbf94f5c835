//! The effective configuration as TOML, each line with the source of its value.

use crate::Loaded;
use crate::row::{Row, Section, Visitor};
use crate::source::Source;
use crate::table::{
    NAMESPACE, entry_path, header, nested_path, visit, visit_namespace, visit_users,
};
use crate::value::{ValueType, shortened};

/// Every key as a TOML document that parses to the same settings. Behind each value stands where
/// it came from: `default`, `as KEY` (it follows another key), `FILE:LINE`, `environment` or
/// `command line`.
pub fn to_toml(loaded: &Loaded) -> String {
    let mut settings = loaded.settings.clone();
    let mut writer = Writer {
        loaded,
        path: String::new(),
        text: String::new(),
    };
    visit(&mut settings, &mut writer);
    visit_users(&mut settings, &mut writer);
    let channels = settings.channels;
    for (index, namespace) in settings.namespaces.iter_mut().enumerate() {
        let name = NAMESPACE.name;
        writer.header(&header(name), format!("{name}[{index}]"));
        visit_namespace(namespace, &channels, &mut writer);
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
    fn open(&mut self, section: Section) {
        self.header(&header(section.name), section.name.to_owned());
    }

    fn open_entry(&mut self, section: Section, index: usize) {
        self.header(&header(section.name), entry_path(section.name, index));
    }

    fn open_nested(&mut self, section: Section) {
        let path = nested_path(&self.path, section.name);
        self.header(&header(section.name), path);
    }

    fn key<T: ValueType>(&mut self, row: Row<T>, field: &mut T::Value, _: Option<&T::Value>) {
        let name = row.name;
        let source = match self.loaded.source(&format!("{}.{name}", self.path)) {
            Source::Default => "default".to_owned(),
            Source::Follows { section, name } => format!("as {section}.{name}"),
            Source::File { line, .. } => format!("{}:{line}", shortened(&self.loaded.file_name)),
            Source::Environment => "environment".to_owned(),
            Source::CommandLine => "command line".to_owned(),
        };
        let setting = format!("{name} = {}", row.value_type.write(field));
        self.text
            .push_str(&format!("{setting:<SETTING_COLUMNS$} # {source}\n"));
    }

    fn close(&mut self) {}
}

/// Where the comments stand, unless a setting is longer.
const SETTING_COLUMNS: usize = 44;
