//! The set of subscribers against `BTreeSet`.

use std::collections::BTreeSet;

use proptest::prelude::*;
use roost_hub::{Encoding, Subscriber, SubscriberSet};

const ENCODING: Encoding = Encoding(63);

#[derive(Debug, Clone)]
enum Op {
    Insert(u32),
    Remove(u32),
    InsertRange(u32, u32),
    RemoveRange(u32, u32),
    IterFrom(u32),
}

fn op() -> impl Strategy<Value = Op> {
    // Slots crowd around the seams between containers, and some lie at the ends.
    let slot = prop_oneof![
        0..300u32,
        65_400..65_700u32,
        131_000..134_000u32,
        Just(0),
        Just(u32::MAX),
        any::<u32>(),
    ];
    let count = prop_oneof![1..8u32, 60..200u32, 4000..5000u32];
    prop_oneof![
        4 => slot.clone().prop_map(Op::Insert),
        4 => slot.clone().prop_map(Op::Remove),
        2 => (slot.clone(), count.clone()).prop_map(|(s, n)| Op::InsertRange(s, n)),
        2 => (slot.clone(), count).prop_map(|(s, n)| Op::RemoveRange(s, n)),
        1 => slot.prop_map(Op::IterFrom),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_set_is_a_set(ops in prop::collection::vec(op(), 1..40)) {
        let mut set = SubscriberSet::new(ENCODING);
        let mut model = BTreeSet::new();
        for op in ops {
            match op {
                Op::Insert(slot) => {
                    prop_assert_eq!(set.insert(Subscriber(slot)), model.insert(slot));
                }
                Op::Remove(slot) => {
                    prop_assert_eq!(set.remove(Subscriber(slot)), model.remove(&slot));
                }
                Op::InsertRange(first, count) => {
                    for slot in first..=first.saturating_add(count) {
                        prop_assert_eq!(set.insert(Subscriber(slot)), model.insert(slot));
                    }
                }
                Op::RemoveRange(first, count) => {
                    for slot in first..=first.saturating_add(count) {
                        prop_assert_eq!(set.remove(Subscriber(slot)), model.remove(&slot));
                    }
                }
                Op::IterFrom(first) => {
                    let walked = set.iter_from(Subscriber(first)).map(|s| s.0);
                    prop_assert!(walked.eq(model.range(first..).copied()));
                }
            }
            set.check_invariants();
            prop_assert_eq!(set.encoding(), ENCODING);
            prop_assert_eq!(set.len(), model.len());
            prop_assert!(set.iter().map(|s| s.0).eq(model.iter().copied()));
            for slot in [0, 65_535, 65_536, 131_072, u32::MAX] {
                prop_assert_eq!(set.contains(Subscriber(slot)), model.contains(&slot));
            }
        }
    }
}

/// Up through all forms and down again, so that each passage is seen at every size.
#[test]
fn a_set_grows_and_shrinks_through_all_its_forms() {
    let slots: Vec<u32> = (0..6000).map(|n| n * 11 % 65_536).collect();
    let mut set = SubscriberSet::new(ENCODING);
    for (n, &slot) in slots.iter().enumerate() {
        assert!(set.insert(Subscriber(slot)));
        assert!(!set.insert(Subscriber(slot)));
        assert_eq!(set.len(), n + 1);
        if n < 200 || n % 97 == 0 || (4090..4100).contains(&n) {
            set.check_invariants();
        }
    }
    for (n, &slot) in slots.iter().enumerate().rev() {
        assert!(set.remove(Subscriber(slot)));
        assert!(!set.remove(Subscriber(slot)));
        assert_eq!(set.len(), n);
        if n < 200 || n % 97 == 0 || (3068..3078).contains(&n) {
            set.check_invariants();
        }
    }
    assert!(set.is_empty());
    assert_eq!(set.memory_bytes(), 0);
}
