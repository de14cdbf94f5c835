//! Lost, doubled, reordered and corrupt messages, each injected and each found.

use roost_load::account::{Tally, Track};
use roost_load::dialect::Random;
use roost_load::payload::{self, PAYLOAD_BYTES_MIN, Stamp};

fn tally(sequences: impl IntoIterator<Item = u64>, sent: u64) -> Tally {
    let mut tally = Tally::default();
    let mut track = Track::from(0);
    for sequence in sequences {
        track.handle(sequence, &mut tally);
    }
    track.count_missing_as_lost(sent, &mut tally);
    tally
}

fn counts(tally: &Tally) -> (u64, u64, u64, u64) {
    (tally.received, tally.lost, tally.doubled, tally.reordered)
}

#[test]
fn all_once_and_in_order_is_clean() {
    let all = tally(0..1_000, 1_000);
    assert!(all.is_clean());
    assert_eq!(all.received, 1_000);
}

#[test]
fn a_gap_is_lost() {
    assert_eq!(counts(&tally([0, 1, 4, 5], 6)), (4, 2, 0, 0));
    assert_eq!(counts(&tally([3, 4], 5)), (2, 3, 0, 0));
    assert_eq!(counts(&tally([0, 1, 500], 501)), (3, 498, 0, 0));
}

#[test]
fn a_missing_end_is_lost() {
    assert_eq!(counts(&tally([0, 1], 5)), (2, 3, 0, 0));
    assert_eq!(counts(&tally([], 7)), (0, 7, 0, 0));
}

#[test]
fn a_second_copy_is_doubled() {
    assert_eq!(counts(&tally([0, 1, 1, 2], 3)), (3, 0, 1, 0));
    assert_eq!(counts(&tally([0, 1, 2, 0], 3)), (3, 0, 1, 0));
    assert_eq!(counts(&tally([0, 0], 1)), (1, 0, 1, 0));
}

#[test]
fn a_late_one_is_reordered_and_not_lost() {
    assert_eq!(counts(&tally([0, 2, 1, 3], 4)), (4, 0, 0, 1));
    assert_eq!(counts(&tally([1, 0], 2)), (2, 0, 0, 1));
    // Late, and then once more.
    assert_eq!(counts(&tally([0, 2, 1, 1], 3)), (3, 0, 1, 1));
}

#[test]
fn what_comes_after_it_was_given_up_is_doubled() {
    let mut all = Tally::default();
    let mut track = Track::from(0);
    track.handle(0, &mut all);
    track.count_missing_as_lost(3, &mut all);
    assert_eq!(counts(&all), (1, 2, 0, 0));
    track.handle(2, &mut all);
    track.handle(3, &mut all);
    assert_eq!(counts(&all), (2, 2, 1, 0));
    assert_eq!(track.missing(4), 0);
}

#[test]
fn who_comes_late_owes_nothing_before_and_everything_after() {
    let mut all = Tally::default();
    let mut track = Track::from(10);
    assert_eq!(track.missing(10), 0);
    assert_eq!(track.missing(12), 2);
    track.handle(9, &mut all); // was on its way at that moment
    track.handle(10, &mut all);
    assert!(all.is_clean());

    let mut all = Tally::default();
    let mut track = Track::from(10);
    track.handle(12, &mut all);
    assert_eq!(counts(&all), (1, 2, 0, 0));
    track.handle(10, &mut all);
    assert_eq!(counts(&all), (2, 1, 0, 1));
}

/// Random damage within the window, against a plain list of what came.
#[test]
fn random_damage_is_counted_as_a_list_counts_it() {
    for seed in 0..256 {
        let mut random = Random::new(seed);
        let sent = 200u64;
        let mut arrivals: Vec<u64> = (0..sent)
            .filter(|_| !random.draw().is_multiple_of(10))
            .collect();
        for _ in 0..10 {
            let at = (random.draw() % (arrivals.len() as u64 - 8)) as usize;
            match random.draw() % 2 {
                0 => {
                    let copy = arrivals[at];
                    arrivals.insert(at + (random.draw() % 8) as usize + 1, copy);
                }
                _ => arrivals.swap(at, at + 1 + (random.draw() % 7) as usize),
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        let (mut doubled, mut reordered) = (0, 0);
        for &sequence in &arrivals {
            let late = seen.last().is_some_and(|last| *last > sequence);
            if !seen.insert(sequence) {
                doubled += 1;
            } else if late {
                reordered += 1;
            }
        }
        let once = seen.len() as u64;
        let expected = (once, sent - once, doubled, reordered);
        assert_eq!(counts(&tally(arrivals, sent)), expected, "seed {seed}");
    }
}

#[test]
fn a_payload_comes_back_as_it_was_sent() {
    for len in [0, 40, 41, 47, 48, 125, 1_000] {
        let stamp = Stamp {
            publisher: 7,
            channel: u32::MAX,
            sequence: 1 << 40,
            due_ns: 3,
            sent_ns: u64::MAX,
        };
        let mut bytes = vec![1, 2, 3];
        payload::append(&stamp, len, &mut bytes);
        assert_eq!(bytes.len() - 3, len.max(PAYLOAD_BYTES_MIN));
        assert_eq!(payload::read(&bytes[3..]), Some(stamp), "{len} bytes");
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_corrupt() {
    let stamp = Stamp {
        publisher: 1,
        channel: 2,
        sequence: 3,
        due_ns: 4,
        sent_ns: 5,
    };
    let mut bytes = Vec::new();
    payload::append(&stamp, 61, &mut bytes);
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(payload::read(&bytes), None, "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    for len in 0..bytes.len() {
        assert_eq!(payload::read(&bytes[..len]), None, "{len} bytes");
    }
    bytes.push(0);
    assert_eq!(payload::read(&bytes), None, "a byte more");
}
