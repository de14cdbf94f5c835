//! The fuzz body on the committed corpus, on random bytes and on mutated messages.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use roost_dialect::fuzz::wamp_json;

fn corpus() -> Vec<(PathBuf, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus/wamp");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("the corpus is committed")
        .map(|entry| entry.expect("readable").path())
        .map(|path| {
            let data = fs::read(&path).expect("readable");
            (path, data)
        })
        .collect();
    files.sort();
    files
}

#[test]
fn corpus_is_replayed() {
    let files = corpus();
    assert!(files.len() >= 5, "the corpus is not empty");
    for (path, data) in files {
        println!("{}", path.display());
        wamp_json(&data);
    }
}

/// Lines of the corpus in any order, each with a few bytes changed.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let lines: Vec<Vec<u8>> = corpus()
        .iter()
        .flat_map(|(_, data)| data.split(|&byte| byte == b'\n').map(<[u8]>::to_vec))
        .filter(|line| !line.is_empty())
        .collect();
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 0..3);
    let line = (prop::sample::select(lines), edits).prop_map(|(mut line, edits)| {
        for (index, byte, kind) in edits {
            let at = index.index(line.len() + 1);
            // Mostly what JSON is made of, so that some of it stays JSON.
            let byte = b"[]{},:\"\\0123456789u nt"[usize::from(byte) % 22];
            match kind {
                0 => line.insert(at, byte),
                1 if at < line.len() => line[at] = byte,
                2 if at < line.len() => {
                    line.remove(at);
                }
                _ => {}
            }
        }
        line
    });
    prop::collection::vec(line, 1..12).prop_map(|lines| lines.join(&b'\n'))
}

proptest! {
    #[test]
    fn random_bytes(data: Vec<u8>) {
        wamp_json(&data);
    }

    #[test]
    fn mutated_messages(data in mutated()) {
        wamp_json(&data);
    }
}
