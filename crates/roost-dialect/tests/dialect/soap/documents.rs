//! Documents of clients and of chance: what is taken for well-formed, another parser takes too.

use super::*;

/// Envelopes: some, and those of the corpus, which is replayed.
fn documents() -> Vec<String> {
    let mut documents = vec![
        one_way("urn:a:b"),
        request("urn:a:b").replace(V12, V11),
        format!(
            "<?xml version=\"1.0\"?><!-- c --><Envelope xmlns=\"{V12}\" a='&lt;'><Header/><Body>&#65;<![CDATA[x]]></Body></Envelope>"
        ),
        envelope(
            V11,
            &format!(
                "<s:Header><b:ReplyTo xmlns:b=\"{WSA_2004}\"><b:Address/></b:ReplyTo><b:To xmlns:b=\"{WSA_2004}\">urn:x:y</b:To></s:Header>"
            ),
            "<p q='1' a:r=\"2\"/>",
        ),
    ];
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/soap");
    for entry in std::fs::read_dir(folder).expect("the corpus is committed") {
        let data = std::fs::read(entry.expect("readable").path()).expect("readable");
        fuzz::envelope(&data);
        let text = String::from_utf8(data).unwrap_or_default();
        documents.extend(Some(text).filter(|text| fuzz::is_envelope(text)));
    }
    documents
}

/// A document with a few characters changed to those that XML is made of.
fn mutated() -> impl Strategy<Value = String> {
    let characters: Vec<char> = "<>/='\"&;:!?-[]# \n\t\rxsaAE1\u{1}\u{FFFE}é"
        .chars()
        .collect();
    let edits = prop::collection::vec(
        (
            any::<prop::sample::Index>(),
            prop::sample::select(characters),
            0..4u8,
        ),
        0..4,
    );
    (prop::sample::select(documents()), edits).prop_map(|(document, edits)| {
        let mut text: Vec<char> = document.chars().collect();
        for (index, character, kind) in edits {
            let at = index.index(text.len() + 1);
            match kind {
                0 => text.insert(at, character),
                1 if at < text.len() => text[at] = character,
                2 if at < text.len() => {
                    text.remove(at);
                }
                _ => text.splice(at..at, "<x a=''/>".chars()).for_each(drop),
            }
        }
        text.into_iter().collect()
    })
}

/// What is an envelope here is a document to another reader.
fn agrees(text: &str) -> Result<(), TestCaseError> {
    if fuzz::is_envelope(text) {
        let parsed = roxmltree::Document::parse(text);
        prop_assert!(parsed.is_ok(), "{text:?}: {parsed:?}");
    }
    Ok(())
}

proptest! {
    #[test]
    fn random_bytes_are_survived(data: Vec<u8>) {
        fuzz::envelope(&data);
    }

    #[test]
    fn mutated_envelopes_are_survived(text in mutated()) {
        fuzz::envelope(text.as_bytes());
        agrees(&text)?;
    }
}
