//! What homes keep: many histories that end in one tick, and namespaces that come while a hub runs.

use roost_hub::{
    Encoding, EncodingSet, HistoryLimits, HistoryNamespace, HistoryOptions, Hub, HubOptions,
    Member, NamespaceId, PatternOptions, PresenceLimits, PresenceOptions, ReactorId, Route,
    Subscribe, Subscriber,
};

type TestHub = Hub<usize, usize>;

/// One reactor, whose channels all keep this.
fn hub(limits: Option<HistoryLimits>, presence: Option<PresenceLimits>) -> TestHub {
    Hub::new(HubOptions {
        me: ReactorId(0),
        reactors: 1,
        hash_key: [7; 16],
        seed: 1,
        channels_max: 100_000,
        channel_name_bytes_max: 100,
        patterns: PatternOptions::default(),
        history: HistoryOptions {
            namespaces: [HistoryNamespace {
                name: String::new(),
                limits,
            }]
            .into(),
            bytes_max: u64::MAX,
        },
        presence: PresenceOptions {
            namespaces: [presence].into(),
            bytes_max: u64::MAX,
            encodings: EncodingSet::EMPTY,
        },
    })
}

fn kept_for(lifetime: u32) -> Option<HistoryLimits> {
    Some(HistoryLimits {
        messages_max: 3,
        bytes_max: u64::MAX,
        lifetime,
        answer_bytes_max: u64::MAX,
        answer_messages_max: u32::MAX,
    })
}

fn publish(hub: &mut TestHub, name: &str, now: u32) {
    let encode = &mut |payload: &usize, _, _, _: Route<'_>| *payload;
    hub.publish_at_home(name, 1, now, encode, &mut Vec::new());
}

fn subscribe(hub: &mut TestHub, name: &str, namespace: u16) -> roost_hub::ChannelId {
    let subscribe = Subscribe {
        who: Subscriber(0),
        encoding: Encoding(0),
        name,
        namespace: NamespaceId(namespace),
        token: 0,
    };
    let channel = hub.subscribe(subscribe, 0, &mut Vec::new());
    channel.expect("within the limits")
}

/// Nothing else is done meanwhile, so there is an end to it; what is left is due at once, and is not
/// forgotten.
#[test]
fn histories_that_end_together_are_forgotten_a_part_at_a_time() {
    let mut hub = hub(kept_for(10), None);
    let many = EXPIRED_MAX + 100;
    for n in 0..many {
        publish(&mut hub, &format!("c{n}"), 0);
    }
    publish(&mut hub, "later", 5);
    assert_eq!(hub.counts().history_channels, many + 1);
    hub.expire(9);
    assert_eq!(hub.counts().history_channels, many + 1, "none is over");
    hub.expire(10);
    assert_eq!(hub.counts().history_channels, 101);
    assert!(hub.history_due() <= 10, "the others are due");
    hub.expire(10);
    assert_eq!(hub.counts().history_channels, 1);
    assert_eq!(hub.history_due(), 15);
    hub.expire(15);
    let counts = hub.counts();
    assert_eq!((counts.history_channels, counts.history_bytes), (0, 0));
    assert_eq!((hub.history_due(), counts.home_channels), (u32::MAX, 0));
    hub.check_invariants();
}

#[test]
fn a_namespace_that_is_added_keeps_what_channels_without_one_keep() {
    let mut hub = hub(kept_for(10), None);
    publish(&mut hub, "late:before", 0);
    let names = ["", "late", "later"].map(str::to_owned);
    hub.name_namespaces(&names);
    for name in ["late:a", "later:a", "a"] {
        for _ in 0..5 {
            publish(&mut hub, name, 5);
        }
        assert_eq!(hub.history(name, 5).len(), 3, "{name}");
    }
    // A channel that was there goes over to its namespace with what it keeps.
    let number_of = |name: &str| NamespaceId(u16::from(name.starts_with("late:")));
    while hub.set_namespaces(0, u32::MAX, number_of) {}
    publish(&mut hub, "late:before", 6);
    assert_eq!(hub.history("late:before", 6).len(), 2);
    hub.check_invariants();
    // Names that there are already change nothing.
    hub.name_namespaces(&names);
    hub.expire(20);
    assert_eq!(hub.counts().history_channels, 0);
}

#[test]
fn members_of_a_namespace_that_is_added_are_known_too() {
    let limits = PresenceLimits {
        members_max: 10,
        notify: None,
        by_user: false,
    };
    let mut hub = hub(None, Some(limits));
    hub.name_namespaces(&["", "late"].map(str::to_owned));
    let channel = subscribe(&mut hub, "late:a", 1);
    let member = Member {
        client: 7,
        user: "ann".into(),
        info: None,
        who: Subscriber(0),
        generation: 0,
        reactor: ReactorId(0),
    };
    hub.join(channel, member, 0, &mut Vec::new());
    assert_eq!(hub.presence_counts("late:a").users, 1);
    hub.unsubscribe(Subscriber(0), Encoding(0), channel, &mut Vec::new());
    assert_eq!(hub.presence_counts("late:a").users, 0);
}

/// As the documentation of `Hub::expire` has it.
const EXPIRED_MAX: usize = 16_384;
