//! What a client gets that was away, and what channels keep.

use super::*;

#[test]
fn where_it_was_is_read_from_a_subscribe() {
    let mut client = Client::connected();
    for (n, (text, asked)) in [
        (r#""offset":3,"epoch":"00000000000000ab""#, "c"),
        (
            r#""recover":true,"offset":3,"epoch":"00000000000000ab""#,
            "c behind ab-3",
        ),
        (r#""recover":true,"offset":3,"epoch":"_""#, "c behind 0-3"),
        (r#""recover":true"#, "c behind any-0"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = n + 2;
        let text = format!(r#"{{"id":{id},"subscribe":{{"channel":"c",{text}}}}}"#);
        assert_eq!(client.say(&text).0, [format!("subscribe {asked} {id}")]);
    }
    let text = r#"{"id":6,"subscribe":{"channel":"c","recover":true,"flag":3}}"#;
    let token = (1u64 << 32) + 6;
    assert_eq!(
        client.say(text).0,
        [format!("subscribe c behind any-0 {token}")]
    );
}

#[test]
fn an_answer_has_what_was_missed_in_order() {
    let mut client = Client::connected();
    let head =
        r#"{"id":2,"subscribe":{"recoverable":true,"positioned":true,"epoch":"00000000000000ab","#;
    let written = |data: &str, offset| {
        let ids = EventIds {
            topic: 1,
            publication: 1,
            offset,
        };
        let publication = PayloadRef::Json(data).freeze();
        (offset, Centrifugo::encode_recovered(0, &publication, ids))
    };
    let missed = [written("[1]", 8), written("\n\"x\"", 9)];
    for (recovery, rest) in [
        (None, r#""offset":9}}"#),
        (
            Some(Recovered::Publications(&[])),
            r#""offset":9,"was_recovering":true,"recovered":true,"publications":[]}}"#,
        ),
        (
            Some(Recovered::Publications(&missed)),
            r#""offset":7,"was_recovering":true,"recovered":true,"publications":[{"data":[1],"offset":8},{"data": "x","offset":9}]}}"#,
        ),
        (
            Some(Recovered::Lost(Loss::TooOld)),
            r#""offset":9,"was_recovering":true}}"#,
        ),
    ] {
        client.subscribing(2, 0);
        let (next, said) = client.recovered(2, 0, (Recovers::Stream, recovery));
        assert_eq!(
            (next, said),
            (Next::Continue, vec![format!("{head}{rest}")])
        );
        assert_eq!(client.end(0).0, Some(Form::CENTRIFUGO));
    }
}

#[test]
fn a_client_that_wants_all_or_nothing_gets_an_error() {
    let mut client = Client::connected();
    let (channel, form) = (ChannelId(0), Form::CENTRIFUGO);
    let token = (1 << 32) + 2;
    client.subscribing(2, 0);
    let lost = Some(Recovered::Lost(Loss::Epoch));
    let (next, said) = client.recovered(token, 0, (Recovers::Stream, lost));
    assert_eq!(next, Next::Unsubscribe { channel, form });
    assert_eq!(said, [error(2, 112, "unrecoverable position")]);
    assert!(client.channels().is_empty());
    // Of a cache it gets the last one, or nothing.
    client.subscribing(2, 0);
    let (next, _) = client.recovered(token, 0, (Recovers::Latest, lost));
    assert_eq!((next, client.channels()), (Next::Continue, vec![0]));
}

#[test]
fn a_client_that_has_missed_something_subscribes_again() {
    let mut client = Client::connected();
    let (channel, form, name) = (ChannelId(0), Form::CENTRIFUGO, "c0");
    client.subscribing(2, 0);
    let pending = client.tell(Event::Missed { channel, name });
    assert_eq!(
        pending,
        (Next::Continue, vec![]),
        "it is of an earlier subscription"
    );
    client.recovered(2, 0, (Recovers::Stream, None));
    let (next, said) = client.tell(Event::Missed { channel, name });
    assert_eq!(next, Next::Unsubscribe { channel, form });
    let push =
        r#"{"push":{"channel":"c0","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#;
    assert_eq!(said, [push]);
    assert!(client.channels().is_empty());
}

#[test]
fn what_a_channel_keeps_is_told_in_pages() {
    let mut client = Client::connected();
    let text = r#"{"id":2,"history":{"channel":"c","limit":-1}}
{"id":3,"history":{"channel":"c","limit":5,"since":{"offset":7,"epoch":"00000000000000ab"},"reverse":true}}
{"id":4,"history":{"channel":"c"}}"#;
    let expected = [
        format!("history c None {} false 2", u32::MAX),
        "history c Some((Some(171), 7)) 5 true 3".to_owned(),
        "history c None 0 false 4".to_owned(),
    ];
    assert_eq!(client.say(text).0, expected);
    let page = HistoryPage {
        position: Position {
            epoch: 0xab,
            offset: 9,
        },
        publications: vec![(8, PayloadRef::Json("{\"a\":1}").freeze())],
        has_more: true,
        newest_ends_in_ms: None,
    };
    let answer = Ok(&page);
    let (_, said) = client.tell(Event::History { token: 2, answer });
    assert_eq!(
        said,
        [
            r#"{"id":2,"history":{"publications":[{"data":{"a":1},"offset":8}],"epoch":"00000000000000ab","offset":9}}"#
        ]
    );
    for (refusal, code, text) in [
        (HistoryRefusal::InvalidName, 107, "bad request"),
        (HistoryRefusal::NotKept, 108, "not available"),
        (
            HistoryRefusal::Lost(Loss::Epoch),
            112,
            "unrecoverable position",
        ),
    ] {
        let answer = Err(refusal);
        let (_, said) = client.tell(Event::History { token: 3, answer });
        assert_eq!(said, [error(3, code, text)]);
    }
}

#[test]
fn a_push_of_a_channel_that_keeps_history_has_its_offset() {
    let publication = PayloadRef::Json("1").freeze();
    let ids = EventIds {
        topic: 1,
        publication: 1,
        offset: 12,
    };
    let written = |frame: roost_wire::Frozen| {
        String::from_utf8_lossy(frame.payload().expect("one frame")).into_owned()
    };
    let kept = written(Centrifugo::encode_kept(0, &publication, ids, "c", 1));
    assert_eq!(
        kept,
        r#"{"push":{"channel":"c","pub":{"data":1,"offset":12}}}"#
    );
    let other = written(Centrifugo::encode_at(0, &publication, ids, "c", 1));
    assert_eq!(other, r#"{"push":{"channel":"c","pub":{"data":1}}}"#);
}
