//! The table of patterns against a model that looks at each pattern: the body of the fuzz target
//! `patterns`, with random operations.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use roost_hub::fuzz;
use roost_random::SplitMix64;

proptest! {
    #[test]
    fn any_bytes_are_operations(data in vec(any::<u8>(), 0..600)) {
        fuzz::patterns(&data);
    }
}

/// Deep names, wildcards everywhere, and many of them: what a look-up could get lost in.
#[test]
fn look_ups_are_bounded_by_the_levels_of_the_name() {
    for seed in 0..40 {
        println!("seed {seed}");
        let mut random = SplitMix64::new(seed);
        let mut data = Vec::new();
        for _ in 0..600 {
            let levels = random.between(4, 19);
            let kind = random.below(3) as u8 + 1;
            let what = if random.per_mille(100) { 12 } else { 0 };
            // Not 0..16: the table is looked at whole at the end only.
            data.push(16 + what + kind);
            data.push(2 * levels as u8);
            for level in 0..levels {
                let is_wildcard = what == 0 && random.below(levels) < 2;
                data.push(match (is_wildcard, kind) {
                    (false, _) => 0,
                    (true, 1) => 4, // a dot: two empty components
                    (true, 2) => 10,
                    (true, _) => 8,
                });
                let is_last = level + 1 == levels;
                data.push(match kind {
                    _ if is_last => 0,
                    3 => 5,
                    _ => 4,
                });
            }
        }
        fuzz::patterns(&data);
    }
}

/// Names of more levels than a pattern has match what ends in a tail.
#[test]
fn names_have_more_levels_than_patterns() {
    const SLASH: u8 = 5;
    const TAIL: u8 = 9;
    const LEVELS: u8 = 3;
    const INSERT: u8 = 16;
    const LOOK_UP: u8 = 16 + 12;
    let mut data = Vec::new();
    let mut operation = |what: u8, slashes: u8, end: Option<u8>| {
        data.extend([what + LEVELS, slashes + u8::from(end.is_some())]);
        data.extend(vec![SLASH; usize::from(slashes)]);
        data.extend(end);
    };
    for slashes in [0, 1, 30, 31] {
        operation(INSERT, slashes, Some(TAIL));
        operation(INSERT, slashes, None);
    }
    for slashes in 0..39 {
        operation(LOOK_UP, slashes, None);
    }
    fuzz::patterns(&data);
}

/// Names that begin with `a:` or `$` are matched by what begins so itself, of every kind.
#[test]
fn protected_names_are_matched_by_what_names_their_beginning() {
    const INSERT: u8 = 16;
    const LOOK_UP: u8 = 16 + 12;
    // By their places in the list of characters.
    let [a, b, dot, plus, many, star, rest, colon, dollar] = [0, 1, 4, 8, 9, 10, 11, 12, 13];
    let mut data = Vec::new();
    let mut operation = |what: u8, text: &[u8]| {
        data.extend([what, u8::try_from(text.len()).expect("it is short")]);
        data.extend(text);
    };
    let beginnings: [&[u8]; 7] = [
        &[],
        &[a],
        &[a, colon],
        &[a, colon, b],
        &[b],
        &[dollar],
        &[dollar, b],
    ];
    for text in beginnings {
        for end in [
            &[][..],
            &[dot],
            &[dot, star],
            &[dot, rest],
            &[plus],
            &[many],
        ] {
            for kind in 0..4 {
                operation(INSERT + kind, &[text, end].concat());
            }
        }
    }
    for name in beginnings {
        for end in [&[][..], &[b], &[dot, b]] {
            operation(LOOK_UP, &[name, end].concat());
        }
    }
    fuzz::patterns(&data);
}

#[test]
fn the_corpus_is_replayed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let files = fs::read_dir(folder).expect("the corpus is committed");
    let files: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    assert!(files.len() >= 2, "the corpus is not empty");
    for file in files {
        println!("{}", file.display());
        fuzz::patterns(&fs::read(file).expect("a file"));
    }
}
