//! The bodies of the fuzz targets, with random bytes and with every file of the corpus.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use roost_tls::fuzz;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_records(data in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzz::open(&data);
    }

    /// Scripts of few kinds: more of them stay legal for long.
    #[test]
    fn legal_records(
        head in any::<[u8; 2]>(),
        script in prop::collection::vec((0..3_u8, any::<[u8; 6]>()), 0..40),
    ) {
        let script = script.into_iter().flat_map(|(kind, [len, bytes @ ..])| {
            [&[kind, len % 6][..], &bytes[..usize::from(len % 6).min(5)]].concat()
        });
        fuzz::open(&head.into_iter().chain(script).collect::<Vec<_>>());
    }

    #[test]
    fn any_export(mut data in prop::collection::vec(any::<u8>(), 210..=210), suite in 0..10_usize) {
        data[0] = 1;
        let ids = [0, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9_u16];
        data[2..4].copy_from_slice(&ids[suite].to_le_bytes());
        data[1] &= 0x7f;
        data[4..10].iter_mut().for_each(|byte| *byte %= 9);
        fuzz::import(&data);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_handshake(data in prop::collection::vec(any::<u8>(), 0..60)) {
        fuzz::shake(&data);
    }

    #[test]
    fn any_change(mode in 0..2_u8, piece in any::<u8>(), change in any::<[u8; 3]>()) {
        fuzz::shake(&[&[4 * mode + 2, piece][..], &change].concat());
    }

    #[test]
    fn any_fragments(mode in 0..2_u8, lens in prop::collection::vec(0..80_u8, 0..40)) {
        fuzz::shake(&[&[4 * mode + 3, 255][..], &lens].concat());
    }
}

fn replay(target: &str, body: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let mut count = 0;
    for file in fs::read_dir(&corpus).expect("the corpus is part of the repository") {
        let path = file.expect("a readable directory").path();
        // Shown when the body panics.
        println!("{}", path.display());
        body(&fs::read(&path).expect("a readable file"));
        count += 1;
    }
    assert!(count >= 10, "{count} files in {}", corpus.display());
}

#[test]
fn corpus_of_open() {
    replay("open", fuzz::open);
}

#[test]
fn corpus_of_shake() {
    replay("shake", fuzz::shake);
}
