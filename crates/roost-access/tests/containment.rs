//! Containment of patterns against a model that looks at every name.

use proptest::prelude::*;
use roost_access::{Matching, PatternRef};

/// All texts of up to so many of these characters.
fn texts(longest: usize) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut last = all.clone();
    for _ in 0..longest {
        let longer = |text: &String| LETTERS.map(|letter| format!("{text}{letter}"));
        last = last.iter().flat_map(longer).collect();
        all.extend_from_slice(&last);
    }
    all
}

/// As the specification has it, name by name.
fn matches(pattern: PatternRef<'_>, name: &str) -> bool {
    match pattern.matching {
        Matching::Exact => pattern.text == name,
        Matching::Prefix => name.get(..pattern.text.len()) == Some(pattern.text),
        Matching::Wildcard => {
            let components: Vec<&str> = pattern.text.split('.').collect();
            let names: Vec<&str> = name.split('.').collect();
            components.len() == names.len()
                && components
                    .iter()
                    .zip(&names)
                    .all(|(component, name)| component.is_empty() || component == name)
        }
    }
}

fn pattern() -> impl Strategy<Value = (Matching, String)> {
    let matching = prop_oneof![
        Just(Matching::Exact),
        Just(Matching::Prefix),
        Just(Matching::Wildcard)
    ];
    (matching, "[ab.]{0,4}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn contains_what_matches_no_other_name(granted in pattern(), asked in pattern()) {
        // A name is longer than each pattern by as much as tells them apart.
        let names = NAMES.with(Clone::clone);
        let refer = |pattern: &'_ (Matching, String)| (pattern.0, pattern.1.clone());
        let ((granted_by, granted), (asked_by, asked)) = (refer(&granted), refer(&asked));
        let granted = PatternRef { matching: granted_by, text: &granted };
        let asked = PatternRef { matching: asked_by, text: &asked };
        let model = names.iter().all(|name| !matches(asked, name) || matches(granted, name));
        prop_assert_eq!(granted.contains(asked), model, "{:?} in {:?}", asked, granted);
        for name in names.iter().take(400) {
            prop_assert_eq!(granted.matches(name), matches(granted, name), "{:?} {}", granted, name);
        }
    }
}

const LETTERS: [char; 3] = ['a', 'b', '.'];

thread_local! {
    static NAMES: std::rc::Rc<Vec<String>> = std::rc::Rc::new(texts(7));
}
