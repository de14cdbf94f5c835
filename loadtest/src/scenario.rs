//! Scenarios as people write them: TOML to a plan.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::dialect;
use crate::plan::{After, Echo, Group, Loss, Phase, Publish, Role, Step, Topic};

/// Everything of a plan but where and how to connect.
#[derive(Clone)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// The URL it was written for.
    pub url: Option<String>,
    /// What is spoken about.
    pub topics: Vec<Topic>,
    /// The clients that connect.
    pub groups: Vec<Group>,
    /// What happens.
    pub phases: Vec<Phase>,
    /// How the server should be at the end.
    pub after: Option<After>,
}

/// Reads a scenario from a file.
///
/// # Errors
/// What is wrong with it, for people.
pub fn read(file: &Path) -> Result<Scenario, String> {
    let wrong = |error: String| format!("{}: {error}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    // Each mistake is a line that begins with the file's name.
    parse(&text).map_err(|errors| {
        let name = file.display();
        let lines: Vec<_> = errors
            .lines()
            .map(|line| format!("{name}:{line}"))
            .collect();
        lines.join("\n")
    })
}

/// Reads a scenario.
///
/// # Errors
/// What is wrong with it, for people: a line `LINE:COLUMN: what` for each mistake, in the text's
/// order. Where the text is no TOML, parts of it are not looked at; where parts cannot be read, it is
/// not looked whether they fit together.
pub fn parse(text: &str) -> Result<Scenario, String> {
    let mut mistakes = Mistakes::new(text);
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        mistakes.add_error(error, None);
    }
    mistakes.end()?;
    let root = Spanned::new(root.span(), DeValue::Table(root.into_inner()));
    let head: Option<WrittenHead> = mistakes.read(&root);
    let written_topics: Vec<WrittenTopic> = mistakes.read_all(part(&root, "topic"));
    let written_groups: Vec<WrittenGroup> = mistakes.read_all(part(&root, "group"));
    let written_phases: Vec<WrittenPhase> = mistakes.read_all(part(&root, "phase"));
    mistakes.end()?;
    let head = head.expect("what cannot be read is a mistake");
    let topics: Vec<Topic> = written_topics.into_iter().map(WrittenTopic::read).collect();
    let names: Vec<&str> = written_groups.iter().map(|group| &*group.name).collect();
    let (mut groups, mut phases) = (Vec::new(), Vec::new());
    for (group, place) in written_groups.iter().zip(part(&root, "group")) {
        let read = group.read(&topics);
        groups.extend(mistakes.keep(read, place, &format!("group {}", group.name)));
    }
    for ((number, phase), place) in (1..).zip(&written_phases).zip(part(&root, "phase")) {
        phases.extend(mistakes.keep(phase.read(&names), place, &format!("phase {number}")));
    }
    let after = head.after.map(WrittenAfter::read);
    let after = after.and_then(|after| mistakes.keep(after, child(&root, "after"), "after"));
    mistakes.end()?;
    Ok(Scenario {
        name: head.name,
        url: head.url,
        topics,
        groups,
        phases,
        after,
    })
}

/// What is wrong with a scenario, and where.
struct Mistakes<'a> {
    text: &'a str,
    /// By offset in the text.
    found: Vec<(usize, String)>,
}

/// A part of a scenario that does not fit the others.
struct Misfit {
    /// The keys that lead to it.
    keys: &'static [&'static str],
    /// Which element of that, if it is an array.
    index: Option<usize>,
    what: String,
}

impl<'a> Mistakes<'a> {
    fn new(text: &'a str) -> Mistakes<'a> {
        Mistakes {
            text,
            found: Vec::new(),
        }
    }

    /// Reads a part.
    fn read<'i, T: Deserialize<'i>>(&mut self, part: &Spanned<DeValue<'i>>) -> Option<T> {
        let read = T::deserialize(ValueDeserializer::from(part.clone()));
        read.map_err(|error| self.add_error(&error, Some(part)))
            .ok()
    }

    /// Reads parts that can be read by themselves, so that each tells of its mistake.
    fn read_all<'i, T: Deserialize<'i>>(&mut self, parts: &[Spanned<DeValue<'i>>]) -> Vec<T> {
        parts.iter().filter_map(|part| self.read(part)).collect()
    }

    /// What cannot be read, with the nearest key there is for one that there is not.
    fn add_error(&mut self, error: &toml::de::Error, part: Option<&Spanned<DeValue<'_>>>) {
        let what = error.message().replace('\n', " ");
        // serde quotes the word it does not know, and then those it does.
        let mut quoted = what.split('`').skip(1).step_by(2);
        let wrong = quoted.next().filter(|_| what.starts_with("unknown "));
        let hint = wrong.and_then(|wrong| {
            let near = |name: &&str| (distance(wrong, name), name.len());
            let nearest = quoted.min_by_key(near)?;
            (distance(wrong, nearest) <= 1 + wrong.len() / 3).then(|| nearest.to_owned())
        });
        let hint = hint.map_or(String::new(), |name| format!(" (did you mean `{name}`?)"));
        // Of a phase serde does not say where: its keys depend on its `do`.
        let inside = part.and_then(|part| {
            let table = part.get_ref().as_table()?;
            let key = table.get_key_value(wrong?).map(|(key, _)| key.span());
            let value = table.get("do").map(Spanned::span);
            key.or(value).filter(|_| error.span().is_none())
        });
        let whole = part.map(Spanned::span);
        let span = error.span().or(inside).or(whole);
        self.found
            .push((span.map_or(0, |span| span.start), format!("{what}{hint}")));
    }

    /// What was read of a part of this name, unless something in it does not fit.
    fn keep<T>(
        &mut self,
        read: Result<T, Vec<Misfit>>,
        part: &Spanned<DeValue<'_>>,
        name: &str,
    ) -> Option<T> {
        let misfits = match read {
            Ok(value) => return Some(value),
            Err(misfits) => misfits,
        };
        for Misfit { keys, index, what } in misfits {
            let at = keys.iter().fold(part, |part, key| child(part, key));
            let element = index.and_then(|index| at.get_ref().as_array()?.get(index));
            let offset = element.unwrap_or(at).span().start;
            self.found.push((offset, format!("{name}: {what}")));
        }
        None
    }

    /// All mistakes, if there are some.
    fn end(&mut self) -> Result<(), String> {
        if self.found.is_empty() {
            return Ok(());
        }
        self.found.sort();
        let lines = self.found.iter().map(|(offset, what)| {
            let before = &self.text[..(*offset).min(self.text.len())];
            let line = before.matches('\n').count() + 1;
            let last = before.rsplit('\n').next().unwrap_or_default();
            format!("{line}:{}: {what}", last.chars().count() + 1)
        });
        Err(lines.collect::<Vec<_>>().join("\n"))
    }
}

/// The value of a key, or the whole where there is none.
fn child<'a, 'i>(part: &'a Spanned<DeValue<'i>>, key: &str) -> &'a Spanned<DeValue<'i>> {
    let value = part.get_ref().as_table().and_then(|table| table.get(key));
    value.unwrap_or(part)
}

/// The tables of an array of them; none where it is something else, which [`WrittenHead`] tells of.
fn part<'a, 'i>(root: &'a Spanned<DeValue<'i>>, key: &str) -> &'a [Spanned<DeValue<'i>>] {
    let parts = root.get_ref().as_table().and_then(|table| table.get(key));
    let parts = parts.and_then(|value| value.get_ref().as_array());
    parts.map_or(&[], |parts| parts.as_ref())
}

/// Characters to insert, remove or replace until one word is the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

/// Reads `500ms`, `30s`, `5m` or `2h`.
///
/// # Errors
/// When it is none of those.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text}: expected a time such as 500ms, 30s, 5m or 2h");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    let seconds = match &text[digits.len()..] {
        "ms" => number / 1e3,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(wrong()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenHead {
    name: String,
    url: Option<String>,
    /// Read one by one.
    #[serde(default, rename = "topic")]
    _topic: Vec<IgnoredAny>,
    #[serde(rename = "group")]
    _group: Vec<IgnoredAny>,
    #[serde(rename = "phase")]
    _phase: Vec<IgnoredAny>,
    after: Option<WrittenAfter>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenAfter {
    memory_within: f64,
    memory_of: Option<String>,
    #[serde(default)]
    counters_return: Vec<String>,
    within: String,
}

impl WrittenAfter {
    fn read(self) -> Result<After, Vec<Misfit>> {
        Ok(After {
            memory_within: self.memory_within,
            memory_of: self.memory_of,
            counters_return: self.counters_return,
            within: duration(&self.within).map_err(|what| misfit(&["within"], what))?,
        })
    }
}

/// One thing that does not fit.
fn misfit(keys: &'static [&'static str], what: String) -> Vec<Misfit> {
    vec![Misfit {
        keys,
        index: None,
        what,
    }]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTopic {
    name: String,
    #[serde(default = "one")]
    channels: u32,
}

impl WrittenTopic {
    fn read(self) -> Topic {
        Topic {
            name: self.name,
            channels: self.channels,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenGroup {
    name: String,
    count: u32,
    #[serde(default = "raw")]
    dialect: String,
    #[serde(default)]
    subscribe: Vec<String>,
    #[serde(default)]
    recover: bool,
    publish: Option<WrittenPublish>,
    echo: Option<WrittenEcho>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPublish {
    topic: String,
    rate: Option<f64>,
    #[serde(default = "window")]
    window: u32,
    #[serde(default)]
    together: bool,
    #[serde(default = "size")]
    size: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEcho {
    rate: Option<f64>,
    #[serde(default = "one")]
    in_flight: u32,
    #[serde(default = "size")]
    size: usize,
}

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
enum WrittenPhase {
    Open {
        name: Option<String>,
        upto: Option<u32>,
    },
    Hold {
        name: Option<String>,
        time: String,
    },
    Traffic {
        name: Option<String>,
        time: String,
        drop: Option<WrittenLoss>,
    },
    Publish {
        name: Option<String>,
        #[serde(default = "one")]
        each: u32,
        size: Option<usize>,
    },
    Reconnect {
        name: Option<String>,
        group: String,
        share: f64,
    },
    Leave {
        name: Option<String>,
        group: String,
        share: f64,
    },
    Return {
        name: Option<String>,
    },
    Close {
        name: Option<String>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLoss {
    group: String,
    share: f64,
}

impl WrittenGroup {
    fn read(&self, topics: &[Topic]) -> Result<Group, Vec<Misfit>> {
        let mut misfits = Vec::new();
        let mut find = |name: &str, keys, index| {
            let found = topics.iter().position(|topic| topic.name == name);
            if found.is_none() {
                let what = format!("there is no topic {name}");
                misfits.push(Misfit { keys, index, what });
            }
            found
        };
        let subscribe = self.subscribe.iter().enumerate();
        let subscribe: Vec<usize> = subscribe
            .filter_map(|(index, name)| find(name, &["subscribe"], Some(index)))
            .collect();
        let publish = self.publish.as_ref().map(|publish| Publish {
            topic: find(&publish.topic, &["publish", "topic"], None).unwrap_or(0),
            rate: publish.rate,
            window: publish.window,
            together: publish.together,
            size: publish.size,
        });
        let role = match (publish, &self.echo) {
            (None, None) => Role::Listen,
            (Some(publish), None) => Role::Publish(publish),
            (None, Some(echo)) => Role::Echo(Echo {
                rate: echo.rate,
                in_flight: echo.in_flight,
                size: echo.size,
            }),
            (Some(_), Some(_)) => {
                misfits.extend(misfit(&["echo"], "publish or echo, not both".to_owned()));
                Role::Listen
            }
        };
        let dialect = dialect::by_name(&self.dialect);
        match dialect {
            Some(dialect) if misfits.is_empty() => Ok(Group {
                name: self.name.clone(),
                count: self.count,
                dialect,
                subscribe,
                recovers: self.recover,
                role,
            }),
            Some(_) => Err(misfits),
            None => {
                misfits.extend(misfit(&["dialect"], unknown(&self.dialect)));
                Err(misfits)
            }
        }
    }
}

impl WrittenPhase {
    fn read(&self, groups: &[&str]) -> Result<Phase, Vec<Misfit>> {
        let (name, usual, step) = match self {
            WrittenPhase::Open { name, upto } => (name, "open", Step::Open(*upto)),
            WrittenPhase::Hold { name, time } => (name, "hold", Step::Hold(time_of(time)?)),
            WrittenPhase::Traffic { name, time, drop } => {
                let keys = [&["drop", "group"][..], &["drop", "share"][..]];
                let drop = drop.as_ref();
                let drop = drop.map(|drop| loss(groups, &drop.group, drop.share, keys));
                let step = match (time_of(time), drop.transpose()) {
                    (Ok(time), Ok(drop)) => Step::Traffic(time, drop),
                    (time, drop) => {
                        let misfits = [time.err(), drop.err()].into_iter().flatten();
                        return Err(misfits.flatten().collect());
                    }
                };
                (name, "traffic", step)
            }
            WrittenPhase::Publish { name, each, size } => {
                (name, "publish", Step::PublishEach(*each, *size))
            }
            WrittenPhase::Reconnect { name, group, share } => {
                let keys = [&["group"][..], &["share"][..]];
                let loss = loss(groups, group, *share, keys)?;
                (name, "reconnect", Step::Reconnect(loss))
            }
            WrittenPhase::Leave { name, group, share } => {
                let keys = [&["group"][..], &["share"][..]];
                let loss = loss(groups, group, *share, keys)?;
                (name, "leave", Step::Leave(loss))
            }
            WrittenPhase::Return { name } => (name, "return", Step::Return),
            WrittenPhase::Close { name } => (name, "close", Step::Close),
        };
        Ok(Phase {
            name: name.clone().unwrap_or_else(|| usual.to_owned()),
            step,
        })
    }
}

/// The time of a phase.
fn time_of(text: &str) -> Result<Duration, Vec<Misfit>> {
    duration(text).map_err(|what| misfit(&["time"], what))
}

/// Connections that a phase drops; `keys` lead to the group and to the share.
fn loss(
    groups: &[&str],
    name: &str,
    share: f64,
    keys: [&'static [&'static str]; 2],
) -> Result<Loss, Vec<Misfit>> {
    let mut misfits = Vec::new();
    let group = groups.iter().position(|group| *group == name);
    if group.is_none() {
        misfits.extend(misfit(keys[0], format!("there is no group {name}")));
    }
    if !(0.0..=1.0).contains(&share) {
        misfits.extend(misfit(keys[1], format!("share {share}: expected 0 to 1")));
    }
    match group {
        Some(group) if misfits.is_empty() => Ok(Loss { group, share }),
        _ => Err(misfits),
    }
}

/// What to say of a dialect that is not known.
pub(crate) fn unknown(name: &str) -> String {
    format!("unknown dialect {name}: there are {}", dialect::names())
}

fn one() -> u32 {
    1
}

fn raw() -> String {
    "raw".to_owned()
}

/// Messages of one publisher under way where there is no rate.
fn window() -> u32 {
    8
}

/// Payload bytes that fill a frame with a short header.
fn size() -> usize {
    125
}
