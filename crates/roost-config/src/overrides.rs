//! Settings given in the environment and on the command line, over those of the file.

use std::ffi::{OsStr, OsString};

use toml::Spanned;
use toml::de::DeValue;

use crate::list::all_keys;
use crate::mistake::{Fault, Mistake, Place};
use crate::names::{VARIABLE_PREFIX, removed, renamed, variable};
use crate::nearest::nearest;
use crate::row::{Row, Section, Visitor};
use crate::source::{Source, Sources};
use crate::table::{Settings, visit};
use crate::value::{ValueType, shortened};

/// Keys with values that win over the file. Of two for one key the later wins; the command line
/// wins over the environment. A value is TOML, or a string without quotes. Keys of a
/// `[[namespace]]`, and of any `[[listener]]` but the first, cannot be set so.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    environment: Vec<Override>,
    command_line: Vec<Override>,
    /// What is no key with a value.
    mistakes: Vec<Mistake>,
}

#[derive(Debug, Clone)]
struct Override {
    place: Place,
    key: String,
    value: String,
}

impl Overrides {
    /// None.
    pub fn new() -> Overrides {
        Overrides::default()
    }

    /// Adds the environment variables that are keys, such as `ROOSTD__LIMITS__IDLE_TIMEOUT`. All
    /// that begin with `ROOSTD__` are taken for keys, no others.
    pub fn add_environment(&mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) {
        let mut found: Vec<(String, OsString)> = variables
            .into_iter()
            .filter_map(|(name, value)| Some((key_of_variable(&name)?, value)))
            .collect();
        // The environment has no order of its own.
        found.sort();
        for (variable, value) in found {
            let place = Place::Environment {
                variable: shortened(&variable),
            };
            let name = &variable[VARIABLE_PREFIX.len()..];
            let key = name.replace("__", ".").to_ascii_lowercase();
            match value.into_string() {
                // A name in lower case is another variable, which was meant for this one.
                Ok(_) if variable != variable.to_ascii_uppercase() => {
                    let hint = Some(format!("write {}", crate::names::variable(&key)));
                    self.mistakes.push(Mistake {
                        place,
                        key: None,
                        found: "lower case".to_owned(),
                        expected: "the section and the key in upper case".to_owned(),
                        hint: hint.filter(|_| is_key(&key)),
                    });
                }
                Ok(value) => self.environment.push(Override { place, key, value }),
                Err(value) => self.mistakes.push(Mistake {
                    place,
                    key: Some(shortened(&key)),
                    found: format!("\"{}\"", shortened(&value.to_string_lossy())),
                    expected: "UTF-8".to_owned(),
                    hint: None,
                }),
            }
        }
    }

    /// Adds one from the command line: `("listener.address", "0.0.0.0:80")`.
    pub fn add_command_line(&mut self, key: &str, value: &str) {
        self.command_line.push(Override {
            place: Place::CommandLine,
            key: key.trim().to_owned(),
            value: value.trim().to_owned(),
        });
    }

    /// Adds one from the command line as `KEY=VALUE`. Where it is not, that is reported together
    /// with the other mistakes.
    pub fn add_pair(&mut self, pair: &str) {
        match pair.split_once('=') {
            Some((key, value)) => self.add_command_line(key, value),
            None => self.mistakes.push(Mistake {
                place: Place::CommandLine,
                key: None,
                found: format!("\"{}\"", shortened(pair)),
                expected: "KEY=VALUE, such as limits.ping_interval=10s".to_owned(),
                hint: None,
            }),
        }
    }

    /// Sets the keys. What is refused is returned, each with the key it is about.
    pub(crate) fn apply(&self, settings: &mut Settings, sources: &mut Sources) -> Vec<Mistake> {
        let mut mistakes = self.mistakes.clone();
        for one in self.environment.iter().chain(&self.command_line) {
            let mut faults = Vec::new();
            set(one, settings, sources, &mut faults);
            mistakes.extend(faults.into_iter().map(|fault| fault.at(one.place.clone())));
        }
        mistakes
    }
}

/// The name of a variable that is a key, as far as it is text.
fn key_of_variable(name: &OsStr) -> Option<String> {
    let name = name.to_string_lossy();
    let prefix = name.get(..VARIABLE_PREFIX.len())?;
    prefix
        .eq_ignore_ascii_case(VARIABLE_PREFIX)
        .then(|| name.clone().into_owned())
}

fn is_key(key: &str) -> bool {
    all_keys()
        .iter()
        .any(|known| key.rsplit_once('.') == Some((known.section, known.name)))
}

fn set(one: &Override, settings: &mut Settings, sources: &mut Sources, faults: &mut Vec<Fault>) {
    let text = one.value.as_str();
    let value = match DeValue::parse(text) {
        Ok(value) => value,
        Err(_) => Spanned::new(0..text.len(), DeValue::String(text.into())),
    };
    let mut setter = Setter {
        section: "",
        wanted: &one.key,
        source: match one.place {
            Place::Environment { .. } => Source::Environment,
            _ => Source::CommandLine,
        },
        value,
        found: false,
        sources,
        faults,
    };
    visit(settings, &mut setter);
    if !setter.found {
        faults.push(unknown(one));
    }
}

fn unknown(one: &Override) -> Fault {
    let in_environment = matches!(one.place, Place::Environment { .. });
    let (section, name) = one.key.rsplit_once('.').unwrap_or(("", &one.key));
    let is_section = |section: &str| all_keys().iter().any(|known| known.section == section);
    let spelled = |key: &str| match in_environment {
        true => variable(key),
        false => format!("`{key}`"),
    };
    let hint = if section.starts_with("namespace") {
        Some("a [[namespace]] is written in a file".to_owned())
    } else if section.starts_with("listener[")
        || section.starts_with("listener.") && !is_section(section)
    {
        Some("`listener` is the first [[listener]]; others are written in a file".to_owned())
    } else if let Some(now) = renamed(section, name) {
        let now = spelled(&format!("{section}.{now}"));
        Some(format!("it is called {now} now"))
    } else if let Some(instead) = removed(section, name) {
        Some(instead.to_owned())
    } else {
        let keys = all_keys();
        let known: Vec<String> = keys
            .iter()
            .map(|known| format!("{}.{}", known.section, known.name))
            .collect();
        let same_name = || {
            let at = keys.iter().position(|known| known.name == name)?;
            Some(known[at].as_str())
        };
        nearest(&one.key, known.iter().map(String::as_str))
            .or_else(same_name)
            .map(|known| format!("did you mean {}?", spelled(known)))
    };
    let expected = match in_environment {
        true => "a section and a key, such as ROOSTD__SERVER__DRIVER",
        false => "a section and a key, such as server.driver",
    };
    Fault {
        span: 0..0,
        key: Some(shortened(&one.key)),
        found: "an unknown key".to_owned(),
        expected: expected.to_owned(),
        hint,
    }
}

struct Setter<'a, 'i> {
    section: &'static str,
    wanted: &'a str,
    source: Source,
    value: Spanned<DeValue<'i>>,
    found: bool,
    sources: &'a mut Sources,
    faults: &'a mut Vec<Fault>,
}

impl Visitor for Setter<'_, '_> {
    fn open(&mut self, section: Section) {
        self.section = section.name;
    }

    /// The first is meant; of others no key has such a name.
    fn open_entry(&mut self, section: Section, index: usize) {
        self.section = match index {
            0 => section.name,
            _ => "",
        };
    }

    fn open_nested(&mut self, section: Section) {
        if !self.section.is_empty() {
            self.section = section.name;
        }
    }

    fn key<T: ValueType>(&mut self, row: Row<T>, field: &mut T::Value, _: Option<&T::Value>) {
        if self.wanted.rsplit_once('.') != Some((self.section, row.name)) {
            return;
        }
        self.found = true;
        let mut refusals = Vec::new();
        if let Some(value) = row.value_type.read(&self.value, &mut refusals) {
            *field = value;
            self.sources.insert(self.wanted.to_owned(), self.source);
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
