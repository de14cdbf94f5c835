//! Every file that a fuzz target once began with or found.

use std::fs;
use std::path::Path;

use roost_wire::fuzz;

/// Runs `body` with each file of the target's corpus.
fn replay(target: &str, body: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let files = fs::read_dir(&corpus).expect("the corpus is part of the repository");
    let mut count = 0;
    for file in files {
        let path = file.expect("a readable directory").path();
        // Shown when the body panics.
        println!("{}", path.display());
        body(&fs::read(&path).expect("a readable file"));
        count += 1;
    }
    assert!(count >= 10, "{count} files in {}", corpus.display());
}

#[test]
fn head() {
    replay("head", fuzz::head);
}

#[test]
fn body() {
    replay("body", fuzz::body);
}

#[test]
fn decoder() {
    replay("decoder", fuzz::decoder);
}

#[test]
fn deflate() {
    replay("deflate", fuzz::deflate);
}

#[test]
fn proxy() {
    replay("proxy", fuzz::proxy);
}

#[test]
fn forwarded() {
    replay("forwarded", fuzz::forwarded);
}

#[test]
fn hixie() {
    replay("hixie", fuzz::hixie);
}
