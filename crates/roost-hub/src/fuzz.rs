//! What must hold for any bytes, as functions that panic when it does not. The fuzz targets call
//! them with what the fuzzer finds, the property tests with random bytes. Nothing here is meant for
//! a server.

use std::collections::BTreeMap;

use crate::names::NameHasher;
use crate::patterns::{PATTERN_SHAPES_MAX, Pattern, PatternKind, PatternTable, Shapes};

/// The table of patterns against a model that looks at each pattern: what matches a name, and how
/// much work it is to find out.
///
/// Each three or more bytes are one operation: what to do, how long its text is, and the text's
/// characters, of few that matter.
pub fn patterns(data: &[u8]) {
    let protected = ["a:".to_owned(), "b.a/".to_owned()].into();
    let mut table = PatternTable::new(NameHasher::new(&[5; 16]), protected);
    let mut shapes = Shapes::default();
    let mut model = BTreeMap::<(PatternKind, String), u32>::new();
    let mut rest = data;
    while let [what, len, text @ ..] = rest {
        let (text, behind) = text.split_at(text.len().min(usize::from(len % 40)));
        rest = behind;
        let text: String = text.iter().map(|&byte| character(byte)).collect();
        let kind = match what % 4 {
            0 => PatternKind::Prefix,
            1 => PatternKind::Components,
            2 => PatternKind::Tokens,
            _ => PatternKind::Levels,
        };
        let key = (kind, text);
        match what / 4 % 4 {
            0 | 1 => insert(&mut table, &mut shapes, &mut model, &key),
            2 => remove(&mut table, &mut shapes, &mut model, &key),
            _ => look_up(&mut table, &model, &key.1),
        }
        if what / 16 == 0 {
            table.check_invariants();
        }
    }
    table.check_invariants();
    let names: Vec<String> = model.keys().map(|(_, text)| text.clone()).collect();
    for name in &names {
        look_up(&mut table, &model, name);
    }
    let mut listed = table.patterns();
    listed.sort_unstable();
    let expected = model
        .iter()
        .map(|((kind, text), &number)| (*kind, text.clone(), number));
    assert_eq!(listed, expected.collect::<Vec<_>>());
    for key in model.keys().cloned().collect::<Vec<_>>() {
        remove(&mut table, &mut shapes, &mut model, &key);
    }
    assert!(table.is_empty() && shapes.is_empty());
    assert_eq!(table.collect("a.b/a", &mut Vec::new()), 0);
    table.check_invariants();
}

fn insert(
    table: &mut PatternTable<()>,
    shapes: &mut Shapes,
    model: &mut BTreeMap<(PatternKind, String), u32>,
    key: &(PatternKind, String),
) {
    let Ok(pattern) = Pattern::new(key.0, &key.1, 100) else {
        return;
    };
    assert_eq!(table.find(pattern), model.get(key).copied());
    if !model.contains_key(key) && shapes.has_room(pattern) {
        shapes.add(pattern);
        let number = table.insert(pattern, ());
        assert!(model.values().all(|&other| other != number));
        model.insert(key.clone(), number);
    }
}

fn remove(
    table: &mut PatternTable<()>,
    shapes: &mut Shapes,
    model: &mut BTreeMap<(PatternKind, String), u32>,
    key: &(PatternKind, String),
) {
    let Ok(pattern) = Pattern::new(key.0, &key.1, 100) else {
        return;
    };
    let known = model.remove(key);
    assert_eq!(table.remove(pattern), known.map(|_| ()));
    if known.is_some() {
        shapes.remove(pattern);
    }
}

fn look_up(table: &mut PatternTable<()>, model: &BTreeMap<(PatternKind, String), u32>, name: &str) {
    let matching = model
        .iter()
        .filter(|((kind, text), _)| matches(*kind, text, name));
    let mut expected: Vec<u32> = matching.map(|(_, &number)| number).collect();
    expected.sort_unstable();
    let mut found = Vec::new();
    let steps = table.collect(name, &mut found);
    assert_eq!(found, expected, "{name:?} of {model:?}");
    // Each arrangement that fits is looked up once, whatever has it, and each length of a prefix.
    let mut steps_max = name.len() + 1;
    for separator in ['.', '.', '/'] {
        let levels = name.split(separator).count();
        steps_max += PATTERN_SHAPES_MAX * (1 + levels) + 1;
    }
    assert!(
        steps <= steps_max + found.len(),
        "{steps} steps for {name:?}, not {steps_max} and {}",
        found.len()
    );
}

/// Whether one pattern matches a name, from the protocols' own words. `a:` and `b.a/` are protected
/// beginnings, beside those that always are.
pub fn matches(kind: PatternKind, text: &str, name: &str) -> bool {
    let protected = ["$", "wamp.", "a:", "b.a/"];
    let guards = protected
        .iter()
        .filter(|beginning| name.starts_with(**beginning));
    match kind {
        PatternKind::Prefix => {
            kind.can_name(name)
                && name.starts_with(text)
                && guards
                    .into_iter()
                    .all(|beginning| text.starts_with(beginning))
        }
        PatternKind::Components => {
            let mut guards = guards.map(|beginning| beginning.len());
            kind.can_name(name)
                && levels_match(text, name, '.', ("", None), &mut |at| {
                    guards.all(|bytes| at >= bytes)
                })
        }
        PatternKind::Tokens | PatternKind::Levels => {
            let guard = guards.map(|beginning| beginning.len()).max().unwrap_or(0);
            let (separator, wildcards) = match kind {
                PatternKind::Tokens => ('.', ("*", Some(">"))),
                _ => ('/', ("+", Some("#"))),
            };
            kind.can_name(name)
                && levels_match(text, name, separator, wildcards, &mut |at| at >= guard)
        }
    }
}

/// Level by level; `may_be_any` says whether a wildcard may match what begins at a byte.
fn levels_match(
    text: &str,
    name: &str,
    separator: char,
    (one, tail): (&str, Option<&str>),
    may_be_any: &mut dyn FnMut(usize) -> bool,
) -> bool {
    let mut levels = name.split(separator);
    let mut at = 0;
    for wanted in text.split(separator) {
        if Some(wanted) == tail {
            let is_empty = levels.next().is_none();
            return (!is_empty || separator == '/') && may_be_any(at);
        }
        let Some(level) = levels.next() else {
            return false;
        };
        if wanted == one {
            if !may_be_any(at) {
                return false;
            }
        } else if wanted != level {
            return false;
        }
        at += level.len() + 1;
    }
    levels.next().is_none()
}

/// Few characters, so that texts meet.
fn character(byte: u8) -> char {
    const CHARACTERS: [char; 16] = [
        'a', 'b', 'a', 'b', '.', '/', '.', '/', '+', '#', '*', '>', ':', '$', 'é', ' ',
    ];
    CHARACTERS[usize::from(byte % 16)]
}
