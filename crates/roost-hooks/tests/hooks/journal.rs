//! The journal of events: what is in a batch, when it is sent, what is sent again, and what is told of
//! what is missing; then random histories against a model of the application.

use std::collections::HashMap;

use roost_hooks::{
    ClientSaid, Journal, JournalEvent, JournalRules, Outgoing, SAID_BYTES_MAX, WebhookValues,
};
use roost_random::SplitMix64;
use serde_json::Value;

fn rules() -> JournalRules {
    JournalRules {
        batch_max: 3,
        batch_wait_ms: 250,
        queue_max: 6,
        linger_ms: 5_000,
        tells_occupied: true,
        tells_vacated: true,
        tells_joined: true,
        tells_left: true,
    }
}

/// Past `node_started`, which the application has taken.
fn started(rules: JournalRules) -> Journal {
    let mut journal = Journal::new(rules, "a", "e1", (0, 1_000));
    assert!(journal.poll(249).is_none(), "it waits for others");
    let first = journal.poll(250).expect("it has waited");
    assert_eq!(
        text(&first),
        r#"{"node":"a","epoch":"e1","from":1,"to":1,"events":[{"n":1,"type":"node_started","time_ms":1000,"epoch":"e1"}]}"#
    );
    journal.ended(true, 250);
    journal
}

fn connected(client: &str) -> JournalEvent {
    JournalEvent {
        client: Some(client.into()),
        user: Some("".into()),
        protocol: Some("raw"),
        ..JournalEvent::new("connected", 7)
    }
}

fn text(batch: &Outgoing) -> &str {
    str::from_utf8(&batch.body).expect("JSON is UTF-8")
}

/// Its events: the number, the type, and the channel or the client or the count.
fn told(batch: &Outgoing) -> Vec<(u64, String, String)> {
    let body: Value = serde_json::from_slice(&batch.body).expect("JSON");
    let events = body["events"].as_array().expect("a list");
    assert_eq!(body["from"], events[0]["n"]);
    assert_eq!(body["to"], events[events.len() - 1]["n"]);
    let told = events.iter().map(|event| {
        let about = [&event["channel"], &event["client"]];
        let about = about.into_iter().find_map(Value::as_str);
        let count = || {
            event["count"]
                .as_u64()
                .map_or(String::new(), |n| n.to_string())
        };
        (
            event["n"].as_u64().expect("a number"),
            event["type"].as_str().expect("a word").to_owned(),
            about.map_or_else(count, str::to_owned),
        )
    });
    told.collect()
}

fn one(n: u64, kind: &str, about: &str) -> (u64, String, String) {
    (n, kind.to_owned(), about.to_owned())
}

#[test]
fn a_full_batch_goes_at_once_and_a_smaller_one_when_it_has_waited() {
    let mut journal = started(rules());
    journal.push(connected("r0-1.1"), 1_000);
    journal.push(connected("r0-2.1"), 1_100);
    assert_eq!(journal.wake_at(), Some(1_250));
    assert!(journal.poll(1_100).is_none());
    journal.push(connected("r0-3.1"), 1_200);
    let batch = journal.poll(1_200).expect("it is full");
    assert_eq!((batch.from, batch.to), (2, 4));
    assert_eq!(told(&batch)[2], one(4, "connected", "r0-3.1"));
    journal.push(connected("r0-4.1"), 1_200);
    assert!(journal.poll(9_000).is_none(), "one batch at a time");
    assert_eq!(journal.wake_at(), None);
    journal.ended(true, 9_000);
    assert_eq!(told(&journal.poll(9_000).expect("the next")).len(), 1);
}

#[test]
fn a_batch_is_sent_again_as_it_is_until_it_is_taken() {
    let mut journal = started(rules());
    journal.push(connected("r0-1.1"), 0);
    let first = journal.poll(1_000).expect("a batch");
    journal.push(connected("r0-2.1"), 1_000);
    let mut now = 1_000;
    for pause in [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
        journal.ended(false, now);
        assert_eq!(journal.wake_at(), Some(now + pause));
        assert!(journal.poll(now + pause - 1).is_none());
        now += pause;
        assert_eq!(journal.poll(now).expect("again"), first);
    }
    journal.ended(true, now);
    let next = journal.poll(now).expect("what came meanwhile");
    assert_eq!(next.from, 3);
    journal.ended(false, now);
    assert_eq!(journal.wake_at(), Some(now + 250), "the pause begins anew");
    assert_eq!(journal.counts().failed, 10);
}

#[test]
fn what_finds_no_room_is_told_in_its_place() {
    let mut journal = started(rules());
    for n in 0..10 {
        journal.push(connected(&n.to_string()), 0);
    }
    let mut told_all = Vec::new();
    while let Some(batch) = journal.poll(10_000) {
        told_all.extend(told(&batch));
        journal.ended(true, 10_000);
        journal.push(connected("later"), 10_000);
        if told_all.len() > 12 {
            break;
        }
    }
    let kinds: Vec<&str> = told_all.iter().map(|(_, kind, _)| kind.as_str()).collect();
    assert_eq!(&kinds[..6], ["connected"; 6], "{told_all:?}");
    assert_eq!(told_all[6], one(8, "lost", "4"));
    assert_eq!(told_all[7].2, "later");
    assert_eq!(journal.counts().lost, 4);
    for (at, (n, ..)) in told_all.iter().enumerate() {
        assert_eq!(*n, at as u64 + 2, "no hole");
    }
}

#[test]
fn a_channel_that_is_left_for_a_moment_was_never_left() {
    let mut journal = started(rules());
    journal.occupied("chat:1", 1, 1_000);
    journal.vacated("chat:1", 2, 2_000);
    assert_eq!(
        told(&journal.poll(2_000).expect("a batch")),
        [one(2, "occupied", "chat:1")]
    );
    journal.ended(true, 2_000);
    journal.occupied("chat:1", 3, 6_999);
    journal.vacated("chat:1", 4, 7_000);
    assert_eq!(journal.wake_at(), Some(12_000));
    assert!(journal.poll(11_999).is_none(), "it lingers anew");
    assert!(journal.poll(12_000).is_none(), "it waits for others");
    let batch = journal.poll(12_250).expect("it is told");
    assert_eq!(told(&batch), [one(3, "vacated", "chat:1")]);
    assert!(text(&batch).contains(r#""time_ms":4"#), "when it was left");
}

#[test]
fn channels_that_linger_are_bounded_and_what_is_more_is_told_at_once() {
    let mut journal = started(rules());
    let most = rules().queue_max;
    for n in 0..most {
        journal.vacated(&format!("lingers:{n}"), 1, 1_000);
    }
    assert_eq!(journal.depth(), 0, "they linger");
    journal.vacated("more", 2, 1_000);
    assert_eq!(journal.depth(), 1);
    let batch = journal.poll(1_250).expect("a batch");
    assert_eq!(told(&batch), [one(2, "vacated", "more")]);
}

/// The caller may hear of a batch again that it has given up.
#[test]
fn an_answer_to_a_batch_that_is_not_under_way_counts_for_nothing() {
    let mut journal = started(rules());
    journal.ended(true, 300); // nothing has been sent
    journal.push(connected("a"), 1_000);
    let batch = journal.poll(1_250).expect("a batch");
    journal.ended(false, 1_250);
    let before = journal.counts();
    journal.ended(true, 1_251);
    journal.ended(false, 1_252);
    assert_eq!(journal.counts(), before);
    assert_eq!(journal.poll(1_499), None, "the pause is the same");
    assert_eq!(journal.poll(1_500), Some(batch), "it is sent again");
    journal.ended(true, 1_501);
    assert!(journal.is_empty());
}

#[test]
fn types_that_are_not_asked_for_are_not_told() {
    let mut journal = started(JournalRules {
        tells_occupied: false,
        ..rules()
    });
    journal.occupied("a", 1, 0);
    journal.vacated("a", 2, 0);
    journal.occupied("a", 3, 1);
    journal.vacated("a", 4, 2);
    assert!(journal.poll(5_001).is_none());
    assert!(journal.poll(5_002).is_none());
    assert_eq!(
        told(&journal.poll(5_252).expect("a batch")),
        [one(2, "vacated", "a")]
    );
}

#[test]
fn a_user_that_comes_back_soon_was_never_away() {
    let mut journal = started(rules());
    journal.joined("chat:1", ("ann", false), 1, 1_000);
    journal.joined("chat:1", ("bob", false), 1, 1_000);
    journal.left("chat:1", ("ann", false), 2, 2_000);
    journal.left("chat:1", ("bob", false), 2, 2_000);
    journal.joined("chat:1", ("ann", false), 3, 3_000);
    let batch = journal.poll(3_000).expect("a batch");
    assert_eq!(told(&batch).len(), 2);
    assert!(
        text(&batch)
            .contains(r#""type":"user_joined","time_ms":1,"user":"ann","channel":"chat:1""#)
    );
    journal.ended(true, 3_000);
    assert!(journal.poll(7_000).is_none());
    let batch = journal.poll(7_250).expect("bob is away");
    assert_eq!(told(&batch), [one(4, "user_left", "chat:1")]);
    assert!(text(&batch).contains(r#""user":"bob""#));
    journal.ended(true, 7_250);
    assert!(journal.poll(60_000).is_none(), "ann is there");
}

#[test]
fn a_webhook_of_pushers_has_its_words_and_no_others() {
    let mut journal = Journal::for_pusher(rules(), WebhookValues::Text);
    assert!(journal.poll(60_000).is_none(), "nothing of the node");
    journal.occupied("a", 5, 60_000);
    journal.joined("presence-a", ("ann", false), 6, 60_000);
    journal.lost(9, 7, 60_000);
    let batch = journal.poll(60_250).expect("a batch");
    assert_eq!(
        text(&batch),
        r#"{"time_ms":6,"events":[{"name":"channel_occupied","channel":"a"},{"name":"member_added","channel":"presence-a","user_id":"ann"}]}"#
    );
    journal.ended(false, 60_250);
    assert_eq!(journal.poll(60_500), Some(batch), "it is sent again");
    journal.ended(true, 60_500);
    journal.vacated("a", 8, 60_500);
    journal.end(60_501, 9);
    let batch = journal.poll(60_501).expect("it waits for nothing");
    assert_eq!(
        text(&batch),
        r#"{"time_ms":8,"events":[{"name":"channel_vacated","channel":"a"}]}"#
    );
    journal.ended(true, 60_502);
    assert!(journal.is_empty() && journal.counts().lost == 9);
}

fn said(bytes: usize, user: &str) -> JournalEvent {
    JournalEvent {
        channel: Some("private-a".into()),
        user: Some(user.into()),
        said: Some(Box::new(ClientSaid {
            event: "client-x".into(),
            data: "d".repeat(bytes).into(),
            is_json: false,
            socket_id: "1.2".into(),
        })),
        ..JournalEvent::new("client_event", 5)
    }
}

#[test]
fn a_webhook_tells_what_a_client_has_said_and_whose_cache_is_empty() {
    let mut journal = Journal::for_pusher(rules(), WebhookValues::Text);
    journal.push(said(2, ""), 0);
    journal.push(said(1, "42"), 0);
    let miss = JournalEvent {
        channel: Some("cache-a".into()),
        ..JournalEvent::new("cache_miss", 6)
    };
    journal.push(miss, 0);
    let batch = journal.poll(250).expect("a batch");
    assert_eq!(
        text(&batch),
        r#"{"time_ms":6,"events":[{"name":"client_event","channel":"private-a","event":"client-x","data":"dd","socket_id":"1.2"},{"name":"client_event","channel":"private-a","event":"client-x","data":"d","socket_id":"1.2","user_id":"42"},{"name":"cache_miss","channel":"cache-a"}]}"#
    );
}

/// As soketi tells it, for applications that come from there.
#[test]
fn a_webhook_tells_values_as_they_were_sent_if_that_is_asked_for() {
    let one = |data: &str, is_json: bool, user: &str, has_number: bool| JournalEvent {
        has_number,
        said: Some(Box::new(ClientSaid {
            event: "client-x".into(),
            data: data.into(),
            is_json,
            socket_id: "1.2".into(),
        })),
        ..said(0, user)
    };
    let body = |values: WebhookValues| {
        let many = JournalRules {
            batch_max: 100,
            queue_max: 100,
            linger_ms: 0,
            ..rules()
        };
        let mut journal = Journal::for_pusher(many, values);
        journal.push(one(r#"{"a":[1]}"#, true, "42", true), 0);
        journal.push(one("1", false, "42", false), 0);
        journal.joined("presence-a", ("7", true), 5, 0);
        journal.left("presence-a", ("7", true), 5, 0);
        let batch = journal.poll(250).expect("a batch");
        let body: Value = serde_json::from_str(text(&batch)).expect("JSON");
        let events = body["events"].as_array().expect("a list").iter();
        let values = events.map(|event| [event["data"].clone(), event["user_id"].clone()]);
        Value::from(
            values
                .map(|pair| Value::from(pair.to_vec()))
                .collect::<Vec<_>>(),
        )
    };
    let sent = serde_json::json!([[{"a": [1]}, 42], ["1", "42"], [null, 7], [null, 7]]);
    assert_eq!(body(WebhookValues::Json), sent);
    let texts = serde_json::json!([
        [r#"{"a":[1]}"#, "42"],
        ["1", "42"],
        [null, "7"],
        [null, "7"]
    ]);
    assert_eq!(body(WebhookValues::Text), texts);
}

/// A user that lingers is told by the name that it had.
#[test]
fn one_that_has_left_a_while_ago_keeps_its_number() {
    let mut journal = Journal::for_pusher(rules(), WebhookValues::Json);
    journal.left("presence-a", ("7", true), 5, 0);
    assert!(journal.poll(5_000).is_none(), "others may come with it");
    let batch = journal.poll(5_250).expect("it is over");
    assert!(text(&batch).contains(r#""user_id":7}"#), "{}", text(&batch));
}

/// Of these, bytes count and not only how many there are.
#[test]
fn what_clients_say_is_bounded_in_a_batch_and_in_the_queue() {
    let many = JournalRules {
        batch_max: 100,
        queue_max: 100,
        ..rules()
    };
    let mut journal = Journal::for_pusher(many, WebhookValues::Text);
    let big = 600 << 10;
    let fitting = SAID_BYTES_MAX / (big + 1_000);
    for _ in 0..fitting + 2 {
        journal.push(said(big, ""), 0);
    }
    assert_eq!((journal.depth(), journal.counts().lost), (fitting, 2));
    for _ in 0..fitting {
        let batch = journal.poll(250).expect("a batch");
        assert_eq!(batch.from, batch.to, "two do not fit in one");
        journal.ended(true, 250);
    }
    assert!(journal.is_empty());
    journal.push(said(big, ""), 300);
    assert_eq!(journal.depth(), 1, "there is room again");
    journal.push(said(2 << 20, ""), 300);
    let batches = [(); 2].map(|()| {
        let batch = journal.poll(550).expect("a batch");
        journal.ended(true, 550);
        batch.to - batch.from + 1
    });
    assert_eq!(batches, [1, 1], "one that is too long for all goes alone");
}

#[test]
fn at_the_end_all_is_told_and_the_last_word_is_node_stopped() {
    let mut journal = started(rules());
    journal.occupied("a", 1, 0);
    journal.vacated("a", 2, 0);
    journal.lost(3, 3, 0);
    let batch = journal.poll(300).expect("a batch");
    journal.ended(false, 300);
    journal.end(301, 9);
    journal.end(302, 10);
    assert_eq!(journal.poll(301), Some(batch), "it is not put off");
    journal.ended(true, 301);
    let batch = journal.poll(301).expect("it waits for nothing");
    assert_eq!(
        told(&batch),
        [one(4, "vacated", "a"), one(5, "node_stopped", "")]
    );
    assert!(!journal.is_empty());
    journal.ended(true, 302);
    assert!(journal.is_empty() && journal.poll(303).is_none());
}

/// The application, and what is true of the connections and channels that it is told of.
struct Run {
    journal: Journal,
    rules: JournalRules,
    random: SplitMix64,
    now: u64,
    /// What the application has taken, by its number; a batch that comes twice is the same twice.
    taken: Vec<(u64, String, String)>,
    pushed: u64,
    occupied: HashMap<String, bool>,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut random = SplitMix64::new(seed);
        let mut below = |n: u64| random.next_u64() % n;
        let rules = JournalRules {
            batch_max: 1 + below(4) as usize,
            batch_wait_ms: below(3) * 20,
            queue_max: 2 + below(30) as usize,
            linger_ms: below(3) * 40,
            tells_occupied: true,
            tells_vacated: true,
            tells_joined: true,
            tells_left: true,
        };
        Run {
            journal: Journal::new(rules.clone(), "n", "e", (0, 0)),
            rules,
            random,
            now: 0,
            taken: Vec::new(),
            pushed: 1,
            occupied: HashMap::new(),
        }
    }

    fn below(&mut self, n: u64) -> u64 {
        self.random.next_u64() % n
    }

    fn happen(&mut self) {
        let channel = self.below(4).to_string();
        match self.below(5) {
            0 => {
                let count = 1 + self.below(3);
                self.journal.lost(count, 0, self.now);
                self.pushed += count;
            }
            1 => {
                self.journal.push(connected("c"), self.now);
                self.pushed += 1;
            }
            which => {
                let user = (which == 4).then_some("ann");
                let place = format!("{channel}{}", user.unwrap_or_default());
                let is_occupied = self.occupied.entry(place).or_default();
                *is_occupied = !*is_occupied;
                match (*is_occupied, user) {
                    (true, None) => self.journal.occupied(&channel, 0, self.now),
                    (false, None) => self.journal.vacated(&channel, 0, self.now),
                    (true, Some(user)) => self.journal.joined(&channel, (user, false), 0, self.now),
                    (false, Some(user)) => self.journal.left(&channel, (user, false), 0, self.now),
                }
            }
        }
    }

    /// It takes a batch, or fails; sometimes it has taken what it says it has not.
    fn send(&mut self, fails: bool) {
        let Some(batch) = self.journal.poll(self.now) else {
            return;
        };
        assert!(batch.to - batch.from < self.rules.batch_max as u64);
        let reaches_it = !fails || self.below(2) == 0;
        if reaches_it {
            for event in told(&batch) {
                let at = (event.0 - 1) as usize;
                assert!(at <= self.taken.len(), "no hole before {event:?}");
                match self.taken.get(at) {
                    Some(before) => assert_eq!(*before, event, "the same, told again"),
                    None => self.taken.push(event),
                }
            }
        }
        self.journal.ended(!fails, self.now);
    }

    fn check(&self) {
        assert!(self.journal.depth() <= self.rules.queue_max + 2);
        let mut occupied: HashMap<(&str, bool), bool> = HashMap::new();
        for (_, kind, channel) in &self.taken {
            match kind.as_str() {
                "occupied" | "vacated" | "user_joined" | "user_left" => {
                    let is_occupied = kind == "occupied" || kind == "user_joined";
                    let is_of_user = kind.starts_with("user_");
                    let before = occupied.insert((channel, is_of_user), is_occupied);
                    let alternates = before.unwrap_or(false) != is_occupied;
                    assert!(alternates, "{channel} is {kind} twice: {:?}", self.taken);
                }
                "lost" => occupied.clear(),
                _ => {}
            }
            if kind == "lost" {
                return; // from here on it may be either
            }
        }
    }
}

#[test]
fn whatever_the_application_does_it_is_told_all_once_in_order_or_what_is_missing() {
    for seed in 0..500 {
        let mut run = Run::new(seed);
        let is_down_until = run.below(400);
        for step in 0..600 {
            run.now += run.below(15);
            for _ in 0..run.below(3) {
                run.happen();
            }
            let fails = step < is_down_until || run.below(3) == 0;
            run.send(fails);
        }
        run.journal.end(run.now, 0);
        while !run.journal.is_empty() {
            run.now = run
                .journal
                .wake_at()
                .expect("something is left")
                .max(run.now);
            run.send(false);
        }
        let last = run.taken.last().expect("there is one");
        assert_eq!(last.1, "node_stopped", "seed {seed}");
        run.check();
        let lost = run.taken.iter().filter(|(_, kind, _)| kind == "lost");
        let lost: u64 = lost
            .map(|(_, _, count)| count.parse::<u64>().expect("a count"))
            .sum();
        let counts = run.journal.counts();
        assert_eq!(
            (lost, counts.events),
            (counts.lost, counts.delivered),
            "seed {seed}"
        );
    }
}
