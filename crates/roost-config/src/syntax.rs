//! Text to a TOML document, with every syntax error, and with as much of the document as can be
//! understood beside them, so that the mistakes in the rest are reported in the same go.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use toml::de::{DeTable, Error};

use crate::lines::Lines;
use crate::mistake::Fault;
use crate::value::shortened;

/// The text without the lines that are not TOML, and the faults of those lines. The rest keeps
/// its offsets: what is left out becomes spaces.
pub(crate) fn recover<'t>(
    text: &'t str,
    lines: &Lines<'_>,
    faults: &mut Vec<Fault>,
) -> Cow<'t, str> {
    let (_, errors) = DeTable::parse_recoverable(text);
    let mut broken = broken_lines(&errors, text, lines);
    let mut reported = HashSet::new();
    for error in &errors {
        let span = span(error, text, lines);
        let line = lines.index(span.start);
        // More errors on a broken line are the parser finding its feet again.
        let is_first = match is_duplicate(error) {
            true => broken.binary_search(&line).is_err(),
            false => reported.insert(line),
        };
        if is_first {
            faults.push(fault(text, lines, error.message(), span));
        }
    }
    let mut kept = Cow::Borrowed(text);
    for _ in 0..ROUNDS_MAX {
        if broken.is_empty() {
            return kept;
        }
        blank(kept.to_mut(), lines, &broken);
        let (_, errors) = DeTable::parse_recoverable(&kept);
        broken = broken_lines(&errors, &kept, lines);
    }
    Cow::Borrowed("")
}

/// A key given twice leaves the document in order: the first stands.
fn is_duplicate(error: &Error) -> bool {
    error.message() == DUPLICATE
}

fn broken_lines(errors: &[Error], text: &str, lines: &Lines<'_>) -> Vec<usize> {
    let errors = errors.iter().filter(|error| !is_duplicate(error));
    let starts = errors.map(|error| span(error, text, lines).start);
    let mut broken: Vec<usize> = starts.map(|start| lines.index(start)).collect();
    broken.sort_unstable();
    broken.dedup();
    broken
}

/// Replaces lines by spaces. A header goes with the keys below it: they would fall to the section
/// above.
fn blank(text: &mut String, lines: &Lines<'_>, broken: &[usize]) {
    let mut bytes = std::mem::take(text).into_bytes();
    let mut done = 0;
    for &line in broken {
        if line < done {
            continue;
        }
        done = line + 1;
        if is_header(&bytes[lines.range(line)]) {
            while done < lines.count() && !is_header(&bytes[lines.range(done)]) {
                done += 1;
            }
        }
        for line in line..done {
            bytes[lines.range(line)].fill(b' ');
        }
    }
    *text = String::from_utf8(bytes).expect("whole lines became spaces");
}

fn is_header(line: &[u8]) -> bool {
    line.trim_ascii_start().starts_with(b"[")
}

/// The bytes an error is about. The parser tells none for a key with too many dots.
fn span(error: &Error, text: &str, lines: &Lines<'_>) -> Range<usize> {
    if let Some(span) = error.span() {
        return span.start.min(text.len())..span.end.min(text.len());
    }
    let dots = |line: &usize| count_dots(&text.as_bytes()[lines.range(*line)]);
    let line = (0..lines.count())
        .find(|line| dots(line) >= DOTS_MAX)
        .unwrap_or(0);
    lines.range(line)
}

fn count_dots(line: &[u8]) -> usize {
    line.iter().filter(|b| **b == b'.').count()
}

/// The parser's words as "found" and "expected".
fn fault(text: &str, lines: &Lines<'_>, message: &str, span: Range<usize>) -> Fault {
    if message == DUPLICATE {
        let name = text.get(span.clone()).unwrap_or_default();
        return Fault {
            span,
            key: None,
            found: format!("`{}` a second time", shortened(name)),
            expected: "each key and each section once".to_owned(),
            hint: None,
        };
    }
    if message.starts_with(UNQUOTED) && span.is_empty() {
        let (found, expected) = ("no value".to_owned(), "a value".to_owned());
        return Fault {
            span,
            key: None,
            found,
            expected,
            hint: None,
        };
    }
    let (what, expected) = match message.split_once(", expected ") {
        Some((what, expected)) => (what, expected.to_owned()),
        None => (message, "valid TOML".to_owned()),
    };
    let end = span.end.min(lines.range(lines.index(span.start)).end);
    let shown = text.get(span.start..end).map(str::trim).unwrap_or_default();
    let found = match shown {
        "" => what.to_owned(),
        shown => format!("`{}`: {what}", shortened(shown)),
    };
    Fault {
        span,
        key: None,
        found,
        expected,
        hint: None,
    }
}

/// Patterns of the parser that are put better here; a test notices when it changes them.
const DUPLICATE: &str = "duplicate key";
const UNQUOTED: &str = "string values must be quoted";
/// Rounds of leaving out lines before only the syntax errors are reported.
const ROUNDS_MAX: usize = 8;
/// Dots of a key at which the parser gives up.
const DOTS_MAX: usize = 80;
