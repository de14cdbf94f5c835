//! Each set of facts with its verdict.

use super::*;

fn open() -> Now {
    Now {
        phase: "open",
        has_channels: true,
        subscriptions: 1,
        channels: vec![SubscribedChannel {
            name: "news".into(),
            is_pattern: false,
            offset: 7,
        }],
        ..Now::default()
    }
}

fn facts(change: impl FnOnce(&mut Now)) -> Facts {
    let mut now = open();
    change(&mut now);
    Facts {
        now: Some(now),
        ping_interval_ms: 25_000,
        ping_timeout_ms: 10_000,
        ..Facts::default()
    }
}

fn ended(cause: EndCause, silent_ms: u64) -> Facts {
    let ended = Ended {
        cause,
        silent_ms,
        reason: "why".into(),
    };
    with(Facts::default(), IncidentKind::Ended(ended))
}

fn with(mut facts: Facts, kind: IncidentKind) -> Facts {
    facts.incidents.push(Incident {
        kind,
        count: 3,
        ago_ms: 1_500,
    });
    facts
}

fn denied() -> IncidentKind {
    IncidentKind::Denied {
        operation: "publish",
        name: "chat:1".into(),
        why: "no permission covers it",
    }
}

fn asked(name: &str, is_subscribed: bool, may: bool) -> Option<AskedChannel> {
    Some(AskedChannel {
        name: name.into(),
        is_subscribed,
        subscribe: (may, "the rule".to_owned()),
        publish: (true, "the rule".to_owned()),
        call: (true, "the rule".to_owned()),
        register: (true, "the rule".to_owned()),
        read_presence: (true, "the rule".to_owned()),
    })
}

fn shut() -> Option<TcpInfo> {
    Some(TcpInfo {
        notsent_bytes: 5_000,
        probes: 2,
        segment_bytes: 1_448,
        last_sent_ms: 14_000,
        peer_window_bytes: Some(0),
        ..TcpInfo::default()
    })
}

#[test]
fn each_set_of_facts_has_its_verdict() {
    let waiting = |now: &mut Now| (now.waiting_bytes, now.waiting_messages) = (9_000, 3);
    let table: Vec<(&str, Facts, &str)> = vec![
        ("healthy", facts(|_| {}), "Nothing is wrong"),
        (
            "receive_window_shut",
            facts(|now| {
                waiting(now);
                now.tcp = shut();
            }),
            "shut since 14.0 s",
        ),
        (
            "network_loss",
            facts(|now| {
                waiting(now);
                now.tcp = shut().map(|tcp| TcpInfo {
                    retransmits: 4,
                    ..tcp
                });
            }),
            "4 in a row",
        ),
        ("slow_reader", facts(waiting), "9000 bytes in 3 messages"),
        (
            "publisher_paused",
            facts(|now| now.paused_for = Some(PausedFor::Congestion("big".into()))),
            "\"big\"",
        ),
        (
            "publisher_paused",
            facts(|now| now.paused_for = Some(PausedFor::Room)),
            "no room",
        ),
        (
            "rate_limited",
            facts(|now| now.paused_for = Some(PausedFor::Rate { wait_ms: 300 })),
            "300 ms",
        ),
        (
            "dropped_by_policy",
            facts(|now| {
                waiting(now);
                now.dropped = 12;
                now.tcp = shut();
                now.policies = vec!["\"drop_oldest\" of namespace chat".to_owned()];
            }),
            "12 messages were dropped for it by slow_consumer = \"drop_oldest\" of namespace chat: \
             its receive window is shut",
        ),
        (
            "dropped_by_policy",
            with(facts(|_| {}), IncidentKind::Dropped),
            "caught up since",
        ),
        (
            "no_permission",
            with(facts(|_| {}), denied()),
            "refused to publish \"chat:1\" 3 times",
        ),
        (
            "no_permission",
            facts(|now| now.asked = asked("secret", false, false)),
            "may not be: the rule",
        ),
        (
            "wrong_channel",
            facts(|now| now.asked = asked("NEWS ", false, true)),
            "it is subscribed to \"news\"",
        ),
        (
            "nothing_published",
            facts(|now| {
                now.asked = asked("news", true, true);
                now.channels[0].offset = 0;
            }),
            "nothing was published",
        ),
        (
            "no_subscription",
            facts(|now| (now.subscriptions, now.channels) = (0, Vec::new())),
            "subscribed to nothing",
        ),
        (
            "deflate_declined",
            with(facts(|_| {}), IncidentKind::DeflateDeclined("no memory")),
            "no memory",
        ),
        (
            "ping_late",
            facts(|now| {
                now.is_pinged = true;
                now.deadline_ms = Some(4_000);
            }),
            "unanswered for 6.0 s",
        ),
        (
            "healthy",
            facts(|now| {
                now.is_pinged = true;
                now.deadline_ms = Some(9_900);
            }),
            "Nothing is wrong",
        ),
        (
            "draining",
            Facts {
                is_draining: true,
                ..facts(|now| now.phase = "closing")
            },
            "going down",
        ),
        (
            "handshake",
            facts(|now| now.phase = "handshake"),
            "not whole",
        ),
        (
            "closing",
            facts(|now| now.phase = "closing"),
            "being closed",
        ),
        ("gone", Facts::default(), "no such connection"),
        (
            "proxy_cut",
            ended(EndCause::Cut, 60_000),
            "after 60 s without a byte",
        ),
        (
            "proxy_cut",
            Facts {
                is_behind_proxy: true,
                ..ended(EndCause::Reset, 10)
            },
            "load balancer",
        ),
        (
            "client_gone",
            ended(EndCause::Reset, 400),
            "400 ms after its last byte",
        ),
        (
            "ping_late",
            ended(EndCause::PongMissing, 35_000),
            "not answered within",
        ),
        ("idle", ended(EndCause::Idle, 35_000), "idle_timeout"),
        ("slow_consumer", ended(EndCause::SlowConsumer, 1), "1013"),
        ("protocol_error", ended(EndCause::Failed, 1), "why"),
        ("disconnected", ended(EndCause::Disconnected, 1), "\"why\""),
        (
            "no_permission",
            with(ended(EndCause::Failed, 1), denied()),
            "refused to publish",
        ),
    ];
    for (cause, facts, words) in table {
        let all = verdicts(&facts);
        assert_eq!(all[0].cause, cause, "{all:?}");
        assert!(all[0].what.contains(words), "{words}: {all:?}");
        assert!(all.iter().all(|one| !one.remedy.is_empty()), "{all:?}");
    }
}
