//! Settings given on the command line, over those of the file.

use toml::Spanned;
use toml::de::DeValue;

use crate::keys::{Visitor, visit};
use crate::kind::{Kind, shortened};
use crate::list::all_keys;
use crate::mistake::{Fault, Mistake, Place};
use crate::nearest::nearest;
use crate::settings::Settings;
use crate::settle::{Conflict, settle};
use crate::source::{Source, Sources};
use crate::{Errors, Loaded};

impl Loaded {
    /// Sets keys over what is in force, each a pair of key and value:
    /// `("listener.address", "0.0.0.0:80")`. A value is TOML, or a string without quotes. Keys of
    /// a `[[namespace]]` cannot be set so.
    ///
    /// # Errors
    /// Every unknown key, bad value and conflict. Then nothing has changed.
    pub fn set_from_command_line(&mut self, overrides: &[(&str, &str)]) -> Result<(), Errors> {
        let mut settings = self.settings.clone();
        let mut sources = self.sources.clone();
        let mut faults = Vec::new();
        for (key, text) in overrides {
            set(key, text, &mut settings, &mut sources, &mut faults);
        }
        let mut mistakes: Vec<Mistake> = faults
            .into_iter()
            .map(|fault| fault.at(Place::CommandLine))
            .collect();
        let conflicts = settle(&mut settings, &mut sources);
        if mistakes.is_empty() {
            let placed = |conflict: Conflict| conflict.placed(&sources, &self.file_name);
            mistakes.extend(conflicts.into_iter().map(placed));
        }
        Errors::check(mistakes)?;
        self.settings = settings;
        self.sources = sources;
        Ok(())
    }
}

fn set(
    key: &str,
    text: &str,
    settings: &mut Settings,
    sources: &mut Sources,
    faults: &mut Vec<Fault>,
) {
    let value = match DeValue::parse(text) {
        Ok(value) => value,
        Err(_) => Spanned::new(0..text.len(), DeValue::String(text.into())),
    };
    let mut setter = Setter {
        section: "",
        wanted: key,
        value,
        found: false,
        sources,
        faults,
    };
    visit(settings, &mut setter);
    if setter.found {
        return;
    }
    let known: Vec<String> = all_keys()
        .iter()
        .map(|known| format!("{}.{}", known.section, known.name))
        .collect();
    let same_name = |known: &&String| known.split_once('.').is_some_and(|(_, name)| name == key);
    let hint = nearest(key, known.iter().map(String::as_str))
        .or_else(|| known.iter().find(same_name).map(String::as_str))
        .map(|known| format!("did you mean `{known}`?"));
    faults.push(Fault {
        span: 0..0,
        key: Some(shortened(key)),
        found: "an unknown key".to_owned(),
        expected: "a section and a key, such as server.driver".to_owned(),
        hint,
    });
}

struct Setter<'a, 'i> {
    section: &'static str,
    wanted: &'a str,
    value: Spanned<DeValue<'i>>,
    found: bool,
    sources: &'a mut Sources,
    faults: &'a mut Vec<Fault>,
}

impl Visitor for Setter<'_, '_> {
    fn open(&mut self, section: &'static str) {
        self.section = section;
    }

    fn key<K: Kind>(&mut self, name: &'static str, kind: K, field: &mut K::Value) {
        if self.wanted.split_once('.') != Some((self.section, name)) {
            return;
        }
        self.found = true;
        let mut refusals = Vec::new();
        if let Some(value) = kind.read(&self.value, &mut refusals) {
            *field = value;
            self.sources
                .insert(self.wanted.to_owned(), Source::CommandLine);
        }
        let key = self.wanted;
        self.faults.extend(
            refusals
                .into_iter()
                .map(|refusal| Fault::refused(key.to_owned(), refusal)),
        );
    }

    fn close(&mut self) {}
}
