//! Scenarios as people write them: TOML to a plan.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

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
    /// Who connects.
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
/// What is wrong with it, for people: a line for each mistake, `LINE:COLUMN: what` where it is the
/// text's, ` what` where parts that can be read do not fit together.
pub fn parse(text: &str) -> Result<Scenario, String> {
    let written: Written = toml::from_str(text).map_err(|error| misread(text, &error))?;
    let topics: Vec<Topic> = written
        .topic
        .iter()
        .map(|topic| Topic {
            name: topic.name.clone(),
            channels: topic.channels,
        })
        .collect();
    let topic = |name: &str| {
        let found = topics.iter().position(|topic| topic.name == name);
        found.ok_or_else(|| format!("there is no topic {name}"))
    };
    let groups = written
        .group
        .iter()
        .map(|group| {
            group
                .read(topic)
                .map_err(|e| format!("group {}: {e}", group.name))
        })
        .collect::<Vec<_>>();
    let mut mistakes = Vec::new();
    let names: Vec<&str> = written.group.iter().map(|group| &*group.name).collect();
    let phases = written.phase.iter().enumerate().map(|(index, phase)| {
        let numbered = |error| format!("phase {}: {error}", index + 1);
        phase.read(&names).map_err(numbered)
    });
    let phases: Vec<_> = phases
        .filter_map(|phase| kept(phase, &mut mistakes))
        .collect();
    let groups: Vec<_> = groups
        .into_iter()
        .filter_map(|group| kept(group, &mut mistakes))
        .collect();
    let after = written.after.map(WrittenAfter::read).transpose();
    let after = kept(
        after.map_err(|error| format!("after: {error}")),
        &mut mistakes,
    )
    .flatten();
    if !mistakes.is_empty() {
        return Err(mistakes.join("\n"));
    }
    Ok(Scenario {
        name: written.name,
        url: written.url,
        topics,
        groups,
        phases,
        after,
    })
}

fn kept<T>(read: Result<T, String>, mistakes: &mut Vec<String>) -> Option<T> {
    read.map_err(|error| mistakes.push(format!(" {error}")))
        .ok()
}

/// `LINE:COLUMN: what`, with the nearest key there is for one that there is not.
fn misread(text: &str, error: &toml::de::Error) -> String {
    let before = &text[..error.span().map_or(0, |span| span.start.min(text.len()))];
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    let what = error.message().replace('\n', " ");
    // serde quotes the key it does not know, and then those it does.
    let mut quoted = what.split('`').skip(1).step_by(2);
    let hint = quoted
        .next()
        .filter(|_| what.starts_with("unknown "))
        .and_then(|wrong| {
            let near = |name: &&str| (distance(wrong, name), name.len());
            let nearest = quoted.min_by_key(near)?;
            (distance(wrong, nearest) <= 1 + wrong.len() / 3).then(|| nearest.to_owned())
        });
    let hint = hint.map_or(String::new(), |name| format!(" (did you mean `{name}`?)"));
    format!("{line}:{column}: {what}{hint}")
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
struct Written {
    name: String,
    url: Option<String>,
    #[serde(default)]
    topic: Vec<WrittenTopic>,
    group: Vec<WrittenGroup>,
    phase: Vec<WrittenPhase>,
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
    fn read(self) -> Result<After, String> {
        Ok(After {
            memory_within: self.memory_within,
            memory_of: self.memory_of,
            counters_return: self.counters_return,
            within: duration(&self.within)?,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTopic {
    name: String,
    #[serde(default = "one")]
    channels: u32,
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
    },
    Reconnect {
        name: Option<String>,
        group: String,
        share: f64,
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
    fn read(&self, topic: impl Fn(&str) -> Result<usize, String>) -> Result<Group, String> {
        let dialect = dialect::by_name(&self.dialect).ok_or_else(|| unknown(&self.dialect))?;
        let role = match (&self.publish, &self.echo) {
            (None, None) => Role::Listen,
            (Some(publish), None) => Role::Publish(Publish {
                topic: topic(&publish.topic)?,
                rate: publish.rate,
                window: publish.window,
                together: publish.together,
                size: publish.size,
            }),
            (None, Some(echo)) => Role::Echo(Echo {
                rate: echo.rate,
                in_flight: echo.in_flight,
                size: echo.size,
            }),
            (Some(_), Some(_)) => return Err("publish or echo, not both".to_owned()),
        };
        let subscribe = self.subscribe.iter().map(|name| topic(name));
        Ok(Group {
            name: self.name.clone(),
            count: self.count,
            dialect,
            subscribe: subscribe.collect::<Result<_, _>>()?,
            role,
        })
    }
}

impl WrittenPhase {
    fn read(&self, groups: &[&str]) -> Result<Phase, String> {
        let loss = |name: &str, share: f64| {
            if !(0.0..=1.0).contains(&share) {
                return Err(format!("share {share}: expected 0 to 1"));
            }
            let group = groups.iter().position(|group| *group == name);
            let group = group.ok_or_else(|| format!("there is no group {name}"))?;
            Ok(Loss { group, share })
        };
        let (name, usual, step) = match self {
            WrittenPhase::Open { name, upto } => (name, "open", Step::Open(*upto)),
            WrittenPhase::Hold { name, time } => (name, "hold", Step::Hold(duration(time)?)),
            WrittenPhase::Traffic { name, time, drop } => {
                let drop = drop.as_ref().map(|drop| loss(&drop.group, drop.share));
                let step = Step::Traffic(duration(time)?, drop.transpose()?);
                (name, "traffic", step)
            }
            WrittenPhase::Publish { name, each } => (name, "publish", Step::PublishEach(*each)),
            WrittenPhase::Reconnect { name, group, share } => {
                (name, "reconnect", Step::Reconnect(loss(group, *share)?))
            }
            WrittenPhase::Close { name } => (name, "close", Step::Close),
        };
        Ok(Phase {
            name: name.clone().unwrap_or_else(|| usual.to_owned()),
            step,
        })
    }
}

/// What to say of a dialect that is not known.
pub(crate) fn unknown(name: &str) -> String {
    let all: Vec<_> = dialect::ALL.iter().map(|dialect| dialect.name()).collect();
    format!("unknown dialect {name}: there are {}", all.join(", "))
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
