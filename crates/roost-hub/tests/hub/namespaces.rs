//! Numbers of namespaces over reloads, against all that was ever said.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use roost_hub::{NAMESPACES_MAX, NamespaceId, NamespaceNumbers};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_number_is_one_names_for_ever(
        lists in prop::collection::vec(prop::collection::vec(0..30u32, 0..12), 1..20),
    ) {
        let mut numbers = NamespaceNumbers::default();
        let mut ever: BTreeMap<String, NamespaceId> = BTreeMap::new();
        for list in lists {
            let names: Vec<String> = list.iter().map(|n| format!("name{n}")).collect();
            numbers = numbers.reload(names.iter().map(String::as_str)).expect("few names");
            for (number, name, is_listed) in numbers.iter() {
                prop_assert_ne!(number, NamespaceId(0));
                let first = *ever.entry(name.to_owned()).or_insert(number);
                prop_assert_eq!(first, number, "{} has kept its number", name);
                prop_assert_eq!(is_listed, names.iter().any(|other| other == name));
                prop_assert_eq!(numbers.number(name), is_listed.then_some(number));
            }
            let used: BTreeSet<NamespaceId> = ever.values().copied().collect();
            prop_assert_eq!(used.len(), ever.len(), "no number has two names");
            prop_assert_eq!(numbers.iter().count(), ever.len(), "none is forgotten");
            prop_assert!(names.iter().all(|name| numbers.number(name).is_some()));
            // No number is left out: tables by number have no holes.
            prop_assert!(numbers.iter().map(|one| usize::from(one.0.0)).eq(1..=ever.len()));
        }
        prop_assert_eq!(numbers.number("never"), None);
    }
}

#[test]
fn the_numbers_come_to_an_end() {
    let names: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    let names = || names.iter().map(String::as_str);
    let first = NamespaceNumbers::default();
    let first = first.reload(names()).expect("few names");
    // Names of the rest of the numbers, at once.
    let many: Vec<String> = (300..=NAMESPACES_MAX).map(|n| n.to_string()).collect();
    let rest = many[1..].iter().map(String::as_str);
    let full = first.reload(rest).expect("as many as there are");
    let last = NamespaceId(u16::MAX);
    assert_eq!(full.iter().last().map(|(number, ..)| number), Some(last));
    let error = full.reload(["one more"]).expect_err("none is free");
    assert_eq!(error.retired, NAMESPACES_MAX);
    assert!(error.to_string().contains("65535 namespaces"), "{error}");
    // Those that had a number have it still.
    let again = full.reload(names()).expect("nothing new");
    assert_eq!(again.number("299"), Some(NamespaceId(300)));
}
