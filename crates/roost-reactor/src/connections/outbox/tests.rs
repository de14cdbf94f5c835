//! What waits: in which order it leaves, and what is dropped.

use super::*;

fn chunk(len: usize) -> Chunk {
    Chunk::new(vec![0; len].into())
}

/// A message that can be told from others.
fn message(n: u8) -> Chunk {
    Chunk::new(vec![n; 10].into())
}

fn policy(slow_consumer: SlowConsumer, bytes: usize, messages: u32) -> ChannelPolicy {
    ChannelPolicy {
        slow_consumer,
        outbox_bytes_max: bytes,
        outbox_messages_max: messages,
        ..ChannelPolicy::default()
    }
}

fn read_all(outbox: &mut Outbox) -> Vec<u8> {
    let mut all = Vec::new();
    let mut batch = Vec::new();
    while !outbox.is_empty() {
        outbox.take_batch(&mut batch);
        all.extend(batch.iter().map(|chunk| chunk.as_slice()[0]));
    }
    assert_eq!((outbox.bytes(), outbox.messages()), (0, 0));
    all
}

#[test]
fn bytes_are_what_is_queued() {
    let mut outbox = Outbox::default();
    let rule = policy(SlowConsumer::Close, 1 << 20, 0);
    for _ in 0..100 {
        let pushed = outbox.push_published(0, (&rule, Ending::None), 0, chunk(10));
        assert_eq!(pushed, Ok(Dropped::default()));
    }
    assert!(!outbox.owe_pong(chunk(5)));
    assert!(
        outbox.owe_pong(chunk(7)),
        "a second pong replaces the first"
    );
    assert_eq!(outbox.bytes(), 1007);
    let mut batch = Vec::new();
    outbox.take_batch(&mut batch);
    assert_eq!(batch.len(), BATCH_CHUNKS_MAX);
    assert_eq!(outbox.bytes(), 1007 - 7 - 63 * 10);
    outbox.clear();
    assert!(outbox.is_empty() && outbox.bytes() == 0);
}

#[test]
fn a_frame_larger_than_a_batch_goes_alone() {
    let mut outbox = Outbox::default();
    outbox.push(chunk(BATCH_BYTES_MAX * 2));
    outbox.push(chunk(1));
    let mut batch = Vec::new();
    outbox.take_batch(&mut batch);
    assert_eq!(batch.len(), 1);
    outbox.take_batch(&mut batch);
    assert_eq!(batch[0].len(), 1);
    assert!(outbox.is_empty());
}

#[test]
fn small_answers_are_joined_and_take_little_to_hold() {
    let rule = policy(SlowConsumer::Close, 1 << 20, 0);
    let mut outbox = Outbox::default();
    let mut expected = Vec::new();
    let mut say = |bytes: usize| {
        let from = expected.len();
        expected.extend((from..from + bytes).map(|n| n as u8));
        Chunk::new(expected[from..].into())
    };
    for n in 0..10_000 {
        match n % 1000 {
            // What belongs to a channel stays by itself, and in its place.
            999 => assert!(
                outbox
                    .push_published(0, (&rule, Ending::None), 0, say(3))
                    .is_ok()
            ),
            998 => outbox.push(say(5000)),
            n => outbox.push(say(1 + n % 7)),
        }
        let held = Held::of(&outbox);
        assert!(held.cost < 2 * held.bytes + 4096, "{held:?} after {n}");
    }
    let (mut batch, mut read) = (Vec::new(), Vec::<u8>::new());
    while !outbox.is_empty() {
        outbox.take_batch(&mut batch);
        batch.iter().for_each(|chunk| read.extend(chunk.as_slice()));
    }
    assert!(read == expected, "order or bytes broken");
    assert_eq!((outbox.bytes(), outbox.messages()), (0, 0));
}

#[test]
fn lanes_leave_in_the_order_in_which_messages_came() {
    let mut outbox = Outbox::default();
    let close = policy(SlowConsumer::Close, 1000, 0);
    for n in 0..30 {
        match n % 3 {
            0 => outbox.push(message(n)),
            lane => {
                let pushed =
                    outbox.push_published(u16::from(lane), (&close, Ending::None), 0, message(n));
                assert_eq!(pushed, Ok(Dropped::default()));
            }
        }
    }
    assert_eq!(read_all(&mut outbox), (0..30).collect::<Vec<_>>());
}

#[test]
fn close_is_asked_for_beyond_bytes_or_messages() {
    for rule in [
        policy(SlowConsumer::Close, 35, 0),
        policy(SlowConsumer::Close, 1000, 3),
    ] {
        let mut outbox = Outbox::default();
        for n in 0..3 {
            assert!(
                outbox
                    .push_published(0, (&rule, Ending::None), 0, message(n))
                    .is_ok()
            );
        }
        assert_eq!(
            outbox.push_published(0, (&rule, Ending::None), 0, message(3)),
            Err(Full)
        );
    }
    // Alone, even the largest message with its header fits.
    let rule = policy(SlowConsumer::Close, 5, 1);
    assert!(
        Outbox::default()
            .push_published(0, (&rule, Ending::None), 0, message(0))
            .is_ok()
    );
}

#[test]
fn the_oldest_go_first() {
    let rule = policy(SlowConsumer::DropOldest, 1000, 3);
    let mut outbox = Outbox::default();
    let mut oldest = 0;
    for n in 0..10 {
        oldest += outbox
            .push_published(0, (&rule, Ending::None), 0, message(n))
            .expect("never closed")
            .oldest;
    }
    assert_eq!(oldest, 7);
    assert_eq!(read_all(&mut outbox), [7, 8, 9]);
}

#[test]
fn the_newest_stay_out() {
    let rule = policy(SlowConsumer::DropNewest, 30, 0);
    let mut outbox = Outbox::default();
    let mut newest = 0;
    for n in 0..10 {
        newest += outbox
            .push_published(0, (&rule, Ending::None), 0, message(n))
            .expect("never closed")
            .newest;
    }
    assert_eq!(newest, 7);
    assert_eq!(read_all(&mut outbox), [0, 1, 2]);
}

#[test]
fn only_the_latest_of_each_channel_waits() {
    let rule = policy(SlowConsumer::Latest, 1000, 0);
    let mut outbox = Outbox::default();
    let mut replaced = 0;
    let mut push = |outbox: &mut Outbox, channel, n| {
        let pushed = outbox.push_published(0, (&rule, Ending::None), channel, message(n));
        replaced += pushed.expect("never closed").replaced;
    };
    for n in 0..10 {
        push(&mut outbox, u64::from(n % 3), n);
    }
    assert_eq!(outbox.messages(), 3);
    let mut batch = Vec::new();
    outbox.take_batch(&mut batch);
    assert_eq!(batch[0].as_slice()[0], 9);
    for n in 10..13 {
        push(&mut outbox, u64::from(n % 3), n);
    }
    assert_eq!(read_all(&mut outbox), [10, 11, 12]);
    assert_eq!(replaced, 7);
}

#[test]
fn what_may_be_dropped_makes_room_for_the_rest() {
    let rule = policy(SlowConsumer::DropOldest, 1000, 0);
    let mut outbox = Outbox::default();
    for n in 0..5 {
        outbox
            .push_published(7, (&rule, Ending::None), 0, message(n))
            .expect("room");
    }
    outbox.push(message(100));
    let mut from = Vec::new();
    assert_eq!(
        outbox.shrink_to(30, |namespace, end| from.push((namespace, end))),
        Ok(())
    );
    assert_eq!(from, [(7, Droppable::Oldest); 3]);
    assert_eq!(read_all(&mut outbox), [3, 4, 100]);

    outbox.push(chunk(600));
    outbox.push(chunk(600));
    assert_eq!(outbox.shrink_to(1000, |_, _| ()), Err(Full));
}

/// A reload may change the policy twice while messages wait.
#[test]
fn what_is_the_latest_is_forgotten_with_the_policy() {
    let latest = policy(SlowConsumer::Latest, 1000, 0);
    for other in [SlowConsumer::DropNewest, SlowConsumer::DropOldest] {
        let other = policy(other, 1000, 0);
        let mut outbox = Outbox::default();
        let mut push = |rule, channel, n| {
            let pushed = outbox.push_published(7, (rule, Ending::None), channel, message(n));
            pushed.expect("room");
        };
        push(&latest, 1, 1);
        push(&other, 1, 2);
        push(&latest, 1, 3);
        assert_eq!(read_all(&mut outbox), [1, 2, 3], "the newest is last");
    }
}

#[test]
fn an_answer_makes_room_among_those_that_keep_the_oldest() {
    let rule = policy(SlowConsumer::DropNewest, 1000, 0);
    let mut outbox = Outbox::default();
    for n in 0..5 {
        let pushed = outbox.push_published(7, (&rule, Ending::None), 0, message(n));
        pushed.expect("room");
    }
    outbox.push(message(100));
    let mut dropped = 0;
    let result = outbox.shrink_to(30, |namespace, end| {
        assert_eq!((namespace, end), (7, Droppable::Newest));
        dropped += 1;
    });
    assert_eq!((result, dropped), (Ok(()), 3));
    assert_eq!(read_all(&mut outbox), [0, 1, 100]);
}

#[test]
fn what_was_dropped_is_told_once() {
    let mut outbox = Outbox::of(1);
    outbox.note_dropped(2);
    outbox.note_dropped(3);
    assert_eq!(outbox.take_dropped(), 5);
    assert_eq!(outbox.take_dropped(), 0);
}

#[test]
fn holding_a_message_costs_more_than_its_bytes() {
    let mut outbox = Outbox::of(1);
    assert_eq!(Held::of(&outbox).queue_bytes(), 0);
    outbox.push(message(1));
    outbox.push(message(2));
    let held = Held::of(&outbox);
    assert_eq!(held.bytes, 20);
    assert_eq!(held.queue_bytes(), queue_bytes(outbox.messages()));
    assert!(held.queue_bytes() >= WAITING_BYTES as u64);
}

#[test]
fn what_waits_has_no_hole_where_a_subscription_ends_with_what_is_dropped() {
    for slow_consumer in [
        SlowConsumer::DropOldest,
        SlowConsumer::DropNewest,
        SlowConsumer::Latest,
    ] {
        let rule = policy(slow_consumer, 1000, 3);
        let mut outbox = Outbox::default();
        let mut dropped = 0;
        for n in 0..10 {
            // The second channel's comes late.
            let channel = u64::from(n == 2);
            let pushed = outbox.push_published(7, (&rule, Ending::Any), channel, message(n));
            dropped += pushed.expect("never closed").newest;
        }
        let is_latest = slow_consumer == SlowConsumer::Latest;
        let (waits, missed) = match is_latest {
            true => (vec![0, 2], 8),
            false => (vec![0, 1, 2], 7),
        };
        assert_eq!((outbox.take_missed(), dropped), (vec![0], missed));
        assert_eq!(outbox.shrink_to(10, |_, _| ()), Ok(()));
        let later = if is_latest { vec![1] } else { vec![1, 0] };
        assert_eq!(outbox.take_missed(), later, "the newest go first");
        assert_eq!(read_all(&mut outbox), waits[..1]);
    }
}

#[test]
fn of_a_cache_the_last_one_waits() {
    let rule = policy(SlowConsumer::DropOldest, 1000, 3);
    let mut outbox = Outbox::default();
    for n in 0..10 {
        let pushed = outbox.push_published(7, (&rule, Ending::Newest), 0, message(n));
        pushed.expect("never closed");
    }
    assert!(!outbox.has_missed());
    assert_eq!(read_all(&mut outbox), [7, 8, 9]);
}
