//! The body of the fuzz target, run by the property tests and over the corpus as well.

use crate::{Errors, Place, parse, parse_bytes, to_toml};

/// Reads arbitrary bytes. Whatever they are: each mistake lies inside the file and prints on one
/// line, and settings that were accepted survive being written and read again.
pub fn config(bytes: &[u8]) {
    match parse_bytes(bytes, FILE) {
        Ok(loaded) => {
            let written = to_toml(&loaded);
            let again = parse(&written, FILE).unwrap_or_else(|errors| {
                panic!("what was written is not accepted: {errors}\n{written}")
            });
            assert_eq!(
                again.settings, loaded.settings,
                "what was written reads otherwise"
            );
        }
        Err(errors) => check_errors(bytes, &errors),
    }
}

fn check_errors(bytes: &[u8], errors: &Errors) {
    assert_ne!(errors.iter().count(), 0, "refused without a mistake");
    let text = String::from_utf8_lossy(bytes);
    let columns: Vec<usize> = text.split('\n').map(|line| line.chars().count()).collect();
    for mistake in errors {
        let shown = mistake.to_string();
        assert!(
            !shown.contains(char::is_control),
            "control character in {shown:?}"
        );
        if let Place::File { line, column, .. } = &mistake.place {
            let (line, column) = (*line as usize, *column as usize);
            let chars = line.checked_sub(1).and_then(|line| columns.get(line));
            let Some(chars) = chars else {
                panic!("no such line: {shown}")
            };
            assert!((1..=chars + 1).contains(&column), "no such column: {shown}");
        }
    }
}

const FILE: &str = "fuzz.toml";
