//! When the JWKS is fetched: a clock, a provider that fails, is slow or lies, and clients that do
//! what they like.

use roost_random::SplitMix64;
use roost_tokens::{
    Change, FetchError, Fetched, JwksError, Order, Refresh, RefreshRules, UnknownKid,
};
use serde_json::json;

use crate::support::jwk;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const UNIX: u64 = 1_800_000_000;

fn rules() -> RefreshRules {
    RefreshRules {
        url: "https://id.example/jwks".to_owned(),
        refresh_ms: 15 * MINUTE,
        cooldown_ms: 30 * SECOND,
        stale_max_ms: 24 * HOUR,
        timeout_ms: 5 * SECOND,
        document_bytes_max: 64 << 10,
    }
}

fn document(kid: &str) -> Vec<u8> {
    json!({"keys": [jwk(kid)[3]]}).to_string().into_bytes()
}

fn good(kid: &str, cache_control: Option<&str>) -> Fetched {
    Fetched::Document {
        body: document(kid),
        etag: Some(format!("\"{kid}\"")),
        cache_control: cache_control.map(str::to_owned),
    }
}

/// With keys `a` since `now`, and the next fetch in 15 minutes.
fn fresh(now: u64) -> Refresh {
    let mut refresh = Refresh::new(rules(), now);
    let order = refresh.poll(now).expect("the first is due at once");
    assert_eq!(order.etag, None);
    assert_eq!(
        refresh.answer(order.number, good("a", None), now),
        Change::Keys
    );
    refresh
}

#[test]
fn an_answer_is_fresh_for_as_long_as_it_says_within_bounds() {
    for (cache_control, wait) in [
        (None, 15 * MINUTE),
        (Some(""), 15 * MINUTE),
        (Some("public, max-age=300, must-revalidate"), 5 * MINUTE),
        (Some("MAX-AGE=300"), 5 * MINUTE),
        (Some("max-age=\"300\""), 5 * MINUTE),
        (Some("max-age=0"), MINUTE),
        (Some("no-store"), MINUTE),
        (Some("no-cache, max-age=600"), MINUTE),
        (Some("max-age=86400"), 15 * MINUTE),
        (Some("max-age=18446744073709551615"), 15 * MINUTE),
        (Some("max-age=99999999999999999999999"), 15 * MINUTE),
        (Some("max-age=-1"), 15 * MINUTE),
        (Some("max-age=soon"), 15 * MINUTE),
        (Some("s-maxage=1, max-age"), 15 * MINUTE),
    ] {
        let now = 7 * HOUR;
        let mut refresh = Refresh::new(rules(), now);
        let order = refresh.poll(now).expect("due");
        refresh.answer(order.number, good("a", cache_control), now);
        assert_eq!(refresh.wake_at(now), now + wait, "{cache_control:?}");
        assert_eq!(refresh.poll(now + wait - 1), None);
        let order = refresh.poll(now + wait).expect("due");
        assert_eq!(order.etag.as_deref(), Some("\"a\""));
    }
}

#[test]
fn not_modified_keeps_the_keys_and_makes_them_fresh() {
    let mut refresh = fresh(0);
    let order = refresh.poll(15 * MINUTE).expect("due");
    let answer = Fetched::NotModified {
        cache_control: None,
    };
    assert_eq!(
        refresh.answer(order.number, answer, 15 * MINUTE),
        Change::Same
    );
    assert_eq!(refresh.age_ms(16 * MINUTE), Some(MINUTE));
    assert_eq!(refresh.keys(16 * MINUTE).len(), 1);
    // The same document once more changes nothing either: the very keys stay, as what has them compares.
    let before = refresh.keys(30 * MINUTE).to_vec();
    let order = refresh.poll(30 * MINUTE).expect("due");
    let change = refresh.answer(order.number, good("a", None), 30 * MINUTE);
    assert_eq!(change, Change::Same);
    let after = refresh.keys(30 * MINUTE);
    assert!(std::sync::Arc::ptr_eq(&before[0], &after[0]));
    let order = refresh.poll(45 * MINUTE).expect("due");
    let change = refresh.answer(order.number, good("b", None), 45 * MINUTE);
    assert_eq!(change, Change::Keys);
}

#[test]
fn unknown_kids_make_at_most_two_fetches_a_minute() {
    let mut refresh = fresh(0);
    let mut begins = Vec::new();
    let mut now = MINUTE;
    for n in 0..10_000_u64 {
        now += 60; // ten minutes of made-up kids
        let waits = refresh.unknown_kid(now) == UnknownKid::Wait;
        if let Some(order) = refresh.poll(now) {
            assert!(waits);
            begins.push(now);
            // The provider is down every other time.
            let fetched = match n % 2 {
                0 => good("a", Some("max-age=0")),
                _ => Fetched::Failed(FetchError::Connection),
            };
            refresh.answer(order.number, fetched, now + 20);
        }
    }
    assert!(begins.len() >= 19, "they do make some: {}", begins.len());
    for two in begins.windows(2) {
        assert!(two[1] - two[0] >= 30 * SECOND, "{two:?}");
    }
    assert_eq!(
        refresh.keys(now).len(),
        1,
        "the known key serves all the time"
    );
}

#[test]
fn one_fetch_is_for_all_who_wait() {
    let mut refresh = fresh(0);
    let now = HOUR / 4 - SECOND;
    assert_eq!(refresh.unknown_kid(now), UnknownKid::Wait);
    let order = refresh.poll(now).expect("due at once");
    for _ in 0..100 {
        assert_eq!(refresh.unknown_kid(now + SECOND), UnknownKid::Wait);
        assert_eq!(refresh.poll(now + SECOND), None);
    }
    refresh.answer(order.number, good("a", None), now + 2 * SECOND);
    assert_eq!(refresh.unknown_kid(now + 3 * SECOND), UnknownKid::Refuse);
    assert_eq!(refresh.unknown_kid(now + 30 * SECOND), UnknownKid::Wait);
}

#[test]
fn failures_are_told_and_tried_again_more_and_more_rarely() {
    let mut refresh = fresh(0);
    let mut now = 15 * MINUTE;
    let failures = [
        Fetched::Failed(FetchError::Connection),
        Fetched::Failed(FetchError::Status(500)),
        Fetched::Failed(FetchError::Status(302)),
        Fetched::Document {
            body: b"<html>".to_vec(),
            etag: None,
            cache_control: None,
        },
        Fetched::Document {
            body: br#"{"keys":[]}"#.to_vec(),
            etag: None,
            cache_control: None,
        },
        Fetched::Document {
            body: vec![b' '; 65 << 10],
            etag: None,
            cache_control: None,
        },
        Fetched::Document {
            body: document("a")[1..].to_vec(),
            etag: None,
            cache_control: None,
        },
    ];
    let told = [
        FetchError::Connection,
        FetchError::Status(500),
        FetchError::Status(302),
        FetchError::Document(JwksError::Malformed),
        FetchError::Document(JwksError::Empty),
        FetchError::Document(JwksError::TooLarge),
        FetchError::Document(JwksError::Malformed),
    ];
    let mut waits = Vec::new();
    for (fetched, told) in failures.into_iter().zip(told) {
        let order = refresh.poll(now).expect("due");
        assert_eq!(refresh.answer(order.number, fetched, now), Change::Same);
        assert_eq!(refresh.last_failure(), Some(told));
        assert_eq!(refresh.keys(now).len(), 1);
        waits.push((refresh.wake_at(now) - now) / SECOND);
        now = refresh.wake_at(now);
    }
    assert_eq!(waits, [30, 60, 120, 240, 480, 900, 900]);
    let order = refresh.poll(now).expect("due");
    refresh.answer(order.number, good("b", None), now);
    assert_eq!(refresh.last_failure(), None);
    assert_eq!(refresh.wake_at(now), now + 15 * MINUTE);
}

#[test]
fn a_provider_that_answers_too_late_is_given_up() {
    let mut refresh = fresh(0);
    let begin = 15 * MINUTE;
    let late = refresh.poll(begin).expect("due");
    assert_eq!(refresh.wake_at(begin), begin + 5 * SECOND);
    assert_eq!(
        refresh.poll(begin + 5 * SECOND),
        None,
        "given up, and not yet again"
    );
    assert_eq!(refresh.last_failure(), Some(FetchError::Timeout));
    assert_eq!(refresh.wake_at(begin + 5 * SECOND), begin + 35 * SECOND);
    let change = refresh.answer(late.number, good("b", None), begin + 6 * SECOND);
    assert_eq!(change, Change::Same, "an answer out of time is none");
    let Order { number, .. } = refresh.poll(begin + 35 * SECOND).expect("due");
    assert!(number > late.number);
    let change = refresh.answer(late.number, good("b", None), begin + 36 * SECOND);
    assert_eq!(change, Change::Same, "nor is it of the next");
    let change = refresh.answer(number, good("b", None), begin + 36 * SECOND);
    assert_eq!(change, Change::Keys);
}

#[test]
fn not_modified_without_a_set_is_a_failure() {
    let mut refresh = Refresh::new(rules(), 0);
    let order = refresh.poll(0).expect("due");
    refresh.answer(
        order.number,
        Fetched::NotModified {
            cache_control: None,
        },
        0,
    );
    assert_eq!(refresh.last_failure(), Some(FetchError::NothingToKeep));
    assert!(refresh.keys(0).is_empty());
}

#[test]
fn old_keys_serve_until_they_are_too_old() {
    let mut refresh = fresh(0);
    let mut now = 0;
    while now < 24 * HOUR {
        assert_eq!(refresh.keys(now).len(), 1, "at {now}");
        if let Some(order) = refresh.poll(now) {
            refresh.answer(order.number, Fetched::Failed(FetchError::Timeout), now);
        }
        now = refresh.wake_at(now);
    }
    assert_eq!(now, 24 * HOUR, "and the caller is woken for it");
    assert!(refresh.keys(now).is_empty());
}

#[test]
fn a_restart_finds_the_keys_without_the_provider() {
    let refresh = fresh(0);
    let kept = refresh.to_keep(HOUR, UNIX).expect("there are keys");
    // Two hours later, another process, whose clock begins anew.
    let later = UNIX + 2 * 3600;
    let mut restarted = Refresh::new(rules(), 50);
    assert!(restarted.restore(&kept, 50, later));
    assert_eq!(restarted.keys(50).len(), 1);
    assert_eq!(
        restarted.age_ms(50),
        Some(3 * HOUR),
        "one hour in the first, two since"
    );
    let order = restarted
        .poll(50)
        .expect("it is fetched at once all the same");
    assert_eq!(order.etag.as_deref(), Some("\"a\""));
    restarted.answer(order.number, Fetched::Failed(FetchError::Connection), 60);
    assert_eq!(restarted.keys(60).len(), 1);
    assert!(
        restarted.keys(50 + 21 * HOUR).is_empty(),
        "24 hours after the provider last said so"
    );
    // Kept once more, its age stays.
    let again = restarted.to_keep(50, later).expect("there are keys");
    let mut third = Refresh::new(rules(), 0);
    assert!(third.restore(&again, 0, later));
    assert_eq!(third.age_ms(0), Some(3 * HOUR));
}

#[test]
fn what_was_kept_is_used_only_if_it_is_ours_and_not_too_old() {
    let kept = fresh(0).to_keep(0, UNIX).expect("there are keys");
    let restores = |kept: &[u8], rules: RefreshRules, unix: u64| {
        let mut refresh = Refresh::new(rules, 0);
        let restored = refresh.restore(kept, 0, unix);
        assert_eq!(restored, !refresh.keys(0).is_empty());
        restored
    };
    assert!(restores(&kept, rules(), UNIX));
    assert!(
        restores(&kept, rules(), UNIX - 3600),
        "the clock was set back"
    );
    assert!(restores(&kept, rules(), UNIX + 24 * 3600 - 1));
    assert!(!restores(&kept, rules(), UNIX + 24 * 3600));
    let other = RefreshRules {
        url: "https://other.example/jwks".to_owned(),
        ..rules()
    };
    assert!(!restores(&kept, other, UNIX));
    for cut in [0, 1, kept.len() / 2, kept.len() - 1] {
        assert!(
            !restores(&kept[..cut], rules(), UNIX),
            "a file that was cut at {cut}"
        );
    }
    let text = String::from_utf8(kept).expect("JSON");
    let next = text.replace("\"version\":1", "\"version\":2");
    assert!(!restores(next.as_bytes(), rules(), UNIX));
}

/// Any provider, any clients, any times: what always holds.
#[test]
fn seeds_of_providers_and_clients() {
    for seed in 0..300 {
        let mut random = SplitMix64::new(seed);
        let mut refresh = Refresh::new(rules(), 0);
        let (mut now, mut last_begin) = (0, None);
        let mut under_way: Vec<(u64, Order)> = Vec::new();
        let mut fresh_at: Option<u64> = None;
        let end = 40 * HOUR;
        while now < end {
            let step = match random.next_u64() % 4 {
                0 => random.next_u64() % 100,
                1 => random.next_u64() % (10 * SECOND),
                2 => refresh.wake_at(now).saturating_sub(now),
                _ => random.next_u64() % (20 * MINUTE),
            };
            now += step;
            for _ in 0..random.next_u64() % 20 {
                if refresh.unknown_kid(now) == UnknownKid::Wait {
                    assert!(
                        refresh.is_fetching() || refresh.wake_at(now) <= now,
                        "seed {seed}: none waits for nothing"
                    );
                }
            }
            if let Some(order) = refresh.poll(now) {
                assert!(
                    last_begin.is_none_or(|last| now - last >= 30 * SECOND),
                    "seed {seed} at {now}"
                );
                last_begin = Some(now);
                under_way.push((now + random.next_u64() % (12 * SECOND), order));
            }
            let due: Vec<(u64, Order)> = under_way.extract_if(.., |(at, _)| *at <= now).collect();
            for (_, order) in due {
                let before: Vec<_> = refresh.keys(now).iter().map(|key| key.print()).collect();
                let was_fetching = refresh.is_fetching();
                let kind = random.next_u64() % 6;
                let fetched = match kind {
                    0 => good("a", Some("max-age=1")),
                    1 => good("b", None),
                    2 => Fetched::NotModified {
                        cache_control: None,
                    },
                    3 => Fetched::Failed(FetchError::Connection),
                    4 => Fetched::Document {
                        body: vec![b'{'; 100_000],
                        etag: None,
                        cache_control: None,
                    },
                    _ => Fetched::Failed(FetchError::Status(503)),
                };
                let change = refresh.answer(order.number, fetched, now);
                if refresh.age_ms(now) == Some(0) && was_fetching && kind <= 2 {
                    fresh_at = Some(now);
                }
                let after: Vec<_> = refresh.keys(now).iter().map(|key| key.print()).collect();
                if change == Change::Same && !before.is_empty() {
                    assert_eq!(before, after, "seed {seed} at {now}");
                }
            }
            let is_usable = fresh_at.is_some_and(|at| now - at < 24 * HOUR);
            assert_eq!(
                !refresh.keys(now).is_empty(),
                is_usable,
                "seed {seed} at {now}"
            );
            assert!(
                refresh.wake_at(now) <= now + 15 * MINUTE,
                "seed {seed}: it never sleeps for ever"
            );
        }
        assert!(refresh.fetches() <= end / (30 * SECOND) + 1);
    }
}
