//! Commands and replies as Google's encoder writes them from `client.proto`.

use std::sync::Arc;

use roost_hub::{
    ChannelId, EventIds, Loss, Member, MemberInfo, Payload, Position, PresenceChange,
    PresenceCounts, PresenceView, ReactorId, Snapshot, Subscriber,
};
use roost_wire::Opcode;

use super::wire::Malformed;
use super::{commands, publications, replies};
use crate::centrifugo::client::{Connected, Expiry, VERSION};
use crate::centrifugo::request;
use crate::centrifugo::result::{Method, Subscribed};
use crate::centrifugo::transport::Transport;
use crate::dialect::{HistoryPage, Recovered, Recovers};
use crate::{Form, PayloadRef, Publication, PublishDetails};

/// The message behind its length.
fn inside(delimited: &[u8]) -> &[u8] {
    let (length, message) = delimited.split_first().expect("a length");
    assert_eq!(usize::from(*length), message.len(), "a short one");
    message
}

#[test]
fn commands_say_what_they_say_in_json() {
    for (bytes, json) in [
        (
            &b"+\x08\x01\x22'\x0a\x01t\x12\x02{}\x1a\x0d\x0a\x02c1\x12\x07\x18\x012\x01e8\x07\x22\x02js*\x0112\x06\x0a\x01a\x12\x01b8\x01"[..],
            r#"{"id":1,"connect":{"token":"t","subs":{"c1":{"recover":true,"epoch":"e","offset":7}}}}"#,
        ),
        (
            b"5\x08\x02*1\x0a\x02c1\x12\x01t\x18\x012\x1000000000000000ab8\xac\x02B\x01xH\x01P\x01X\x01b\x06fossilp\x02",
            r#"{"id":2,"subscribe":{"channel":"c1","token":"t","recover":true,"epoch":"00000000000000ab","offset":300,"join_leave":true,"delta":"fossil","flag":2}}"#,
        ),
        (
            b"\x1b\x08\x03*\x17\x0a\x02c1j\x11\x0a\x03and2\x0a\x12\x01k\x1a\x02eq\x22\x01v",
            r#"{"id":3,"subscribe":{"channel":"c1","tf":{"op":"and"}}}"#,
        ),
        (
            b"\x0a\x08\x03*\x06\x0a\x02c1x\x01",
            r#"{"id":3,"subscribe":{"channel":"c1","type":1}}"#,
        ),
        (b"\x08\x08\x042\x04\x0a\x02c1", r#"{"id":4,"unsubscribe":{"channel":"c1"}}"#),
        (b"\x08\x08\x05:\x04\x0a\x02c1", r#"{"id":5,"publish":{"channel":"c1"}}"#),
        (b"\x08\x08\x06B\x04\x0a\x02c1", r#"{"id":6,"presence":{"channel":"c1"}}"#),
        (b"\x08\x08\x07J\x04\x0a\x02c1", r#"{"id":7,"presence_stats":{"channel":"c1"}}"#),
        (
            b"+\x08\x08R'\x0a\x02c18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01B\x14\x08\x05\x12\x1000000000000000abH\x01",
            r#"{"id":8,"history":{"channel":"c1","limit":-1,"since":{"offset":5,"epoch":"00000000000000ab"},"reverse":true}}"#,
        ),
        (b"\x04\x08\x09Z\x00", r#"{"id":9,"ping":{}}"#),
        (b"\x04\x08\x0aj\x00", r#"{"id":10,"rpc":{}}"#),
        (b"\x07\x08\x0br\x03\x0a\x01t", r#"{"id":11,"refresh":{"token":"t"}}"#),
        (
            b"\x0b\x08\x0cz\x07\x0a\x02c1\x12\x01t",
            r#"{"id":12,"sub_refresh":{"channel":"c1","token":"t"}}"#,
        ),
        (b"\x05b\x03\x0a\x01x", r#"{"send":{"data":"x"}}"#),
        (b"\x00", "{}"),
    ] {
        let read = commands::parse(inside(bytes)).expect("a command");
        let expected = request::parse(json).expect("a command");
        assert_eq!(format!("{read:?}"), format!("{expected:?}"));
    }
}

#[test]
fn data_that_is_json_counts_as_that() {
    let data = |bytes| match commands::parse(inside(bytes)) {
        Ok((5, request::Request::Publish(publish))) => publish.data.expect("it is there"),
        Ok((10, request::Request::Rpc(rpc))) => rpc.data.expect("it is there"),
        other => panic!("{other:?}"),
    };
    let publish = data(b"\x12\x08\x05:\x0e\x0a\x02c1\x12\x08{\x22a\x22: 1}");
    assert_eq!(publish.payload(), PayloadRef::Json("{\"a\": 1}"));
    let publish = data(b"\x0c\x08\x05:\x08\x0a\x02c1\x12\x02\x01\xff");
    assert_eq!(publish.payload(), PayloadRef::Binary(b"\x01\xff"));
    let rpc = data(b"\x0c\x08\x0aj\x08\x0a\x03[1]\x12\x01m");
    assert_eq!(rpc.into_json(), "[1]");
    let rpc = data(b"\x0a\x08\x0aj\x06\x0a\x01\xff\x12\x01m");
    assert_eq!(rpc.into_json(), r#""\u0000/w==""#);
}

#[test]
fn what_is_no_command_is_refused() {
    let malformed = |bytes: &[u8]| commands::parse(bytes).expect_err("it is none");
    for (bytes, why) in [
        (&b"\x08\x05:\x05\x0a\x02c1"[..], "a message that is cut off"),
        (b"\x08\x05:\x04\x0a\x03c1", "a text that is cut off"),
        (b"\x0a\x01\x01", "a number that is bytes"),
        (b"\x08\x0488", "a message that is a number"),
        (b"\x08\x042\x04\x0a\x02c\xff", "a name that is no UTF-8"),
        (b"\x08\x05:\x04\x08\x02c1", "a name that is a number"),
        (b"\x08\x042\x00", "no channel"),
        (b":\x04\x0a\x02c1", "no number"),
        (b"\x08\x05", "nothing to do"),
        (b"\x08\x09X\x00", "a ping that is a number"),
        (b"\x08\x01\x22\x02\x13\x14", "a group within a message"),
        (
            b"\x08\xff\xff\xff\xff\x0f:\x04\x0a\x02c1",
            "the number that is no command's",
        ),
    ] {
        assert_eq!(malformed(bytes), Malformed, "{why}");
    }
    // What is not known is skipped, wherever it stands; a field that comes again counts anew.
    let more =
        b"\xa2\x06\x03abc\x08\x04\x08\x062\x0d\x98\x06\x01\x0a\x01x\x0a\x02c1\xad\x061234\x10\x01";
    assert!(
        commands::parse(more).is_err(),
        "the length is of more than there is"
    );
    let more =
        b"\xa2\x06\x03abc\x08\x04\x08\x062\x10\x98\x06\x01\x0a\x01x\x0a\x02c1\xad\x061234\x10\x01";
    let read = commands::parse(more).expect("a command");
    let expected = request::parse(r#"{"id":6,"unsubscribe":{"channel":"c1"}}"#);
    assert_eq!(
        format!("{read:?}"),
        format!("{:?}", expected.expect("a command"))
    );
}

fn said(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

#[test]
fn answers_are_as_others_encode_them() {
    let answer = said(|out| replies::error(out, 2, (103, "permission denied"), false));
    assert_eq!(
        answer,
        b"\x19\x08\x02\x12\x15\x08g\x12\x11permission denied"
    );
    let answer = said(|out| replies::error(out, 2, (100, "internal server error"), true));
    assert_eq!(
        answer,
        b"\x1f\x08\x02\x12\x1b\x08d\x12\x15internal server error\x18\x01"
    );
    assert_eq!(
        said(|out| replies::done(out, 3, Method::Subscribe)),
        b"\x04\x08\x032\x00"
    );
    assert_eq!(
        said(|out| replies::done(out, 4, Method::Unsubscribe)),
        b"\x04\x08\x04:\x00"
    );
    assert_eq!(
        said(|out| replies::done(out, 5, Method::Publish)),
        b"\x04\x08\x05B\x00"
    );
    let counts = PresenceCounts {
        clients: 7,
        users: 4,
        has_anonymous: true,
    };
    let answer = said(|out| replies::presence_stats(out, 7, counts));
    assert_eq!(answer, b"\x08\x08\x07R\x04\x08\x07\x10\x05");
    let answer = said(|out| replies::called(out, 10, Some("[1]")));
    assert_eq!(answer, b"\x09\x08\x0aj\x05\x0a\x03[1]");
    let answer = said(|out| replies::called(out, 10, Some(r#""\u0000/w==""#)));
    assert_eq!(answer, b"\x07\x08\x0aj\x03\x0a\x01\xff");
    assert_eq!(
        said(|out| replies::called(out, 10, None)),
        b"\x04\x08\x0aj\x00"
    );
    let answer = said(|out| replies::subscription_refreshed(out, 12, Some(60)));
    assert_eq!(answer, b"\x08\x08\x0cz\x04\x08\x01\x10<");
    assert_eq!(said(replies::ping), b"\x00");
}

#[test]
fn a_client_is_told_that_it_has_connected() {
    let version = |before: &[u8], behind: &[u8]| {
        let length = u8::try_from(VERSION.len()).expect("short");
        [before, &[length], VERSION.as_bytes(), behind].concat()
    };
    let wrapped = |id: u8, field: u8, inside: &[u8]| {
        let length = u8::try_from(inside.len()).expect("short");
        let whole = [&[8, id, field, length], inside].concat();
        [&[length + 4], &whole[..]].concat()
    };
    let expiry = &Expiry { in_s: Some(60) };
    let connected = Connected {
        client: "C",
        expiry,
        ping_s: 25,
        emulation: None,
    };
    let result = said(|out| replies::write_result(out, &subscribed(None)));
    let subscriptions = [("c1", &result[..])].into_iter();
    let answer = said(|out| replies::connected(out, 1, &connected, subscriptions));
    let subs =
        b"\x18\x01 <2\x1e\x0a\x02c1\x12\x18\x18\x012\x1000000000000000abH\x09P\x018\x19@\x01";
    assert_eq!(answer, wrapped(1, 0x2a, &version(b"\x0a\x01C\x12", subs)));
    let answer = said(|out| replies::refreshed(out, 11, "C", expiry));
    assert_eq!(
        answer,
        wrapped(11, 0x72, &version(b"\x0a\x01C\x12", b"\x18\x01 <"))
    );
}

/// One that recovers, and stands at 9.
fn subscribed(recovery: Option<Recovered<'_>>) -> Subscribed<'_> {
    Subscribed {
        channel: ChannelId(1),
        snapshot: Snapshot { position: AT_9 },
        recovers: Recovers::Stream,
        recovery,
        has_deltas: false,
    }
}

const AT_9: Position = Position {
    epoch: 0xab,
    offset: 9,
};

#[test]
fn a_subscription_says_what_was_missed() {
    let plain = Subscribed {
        recovers: Recovers::Nothing,
        ..subscribed(None)
    };
    let answer = said(|out| replies::subscribe_result(out, 3, &plain, Some(60)));
    assert_eq!(answer, b"\x08\x08\x032\x04\x08\x01\x10<");
    let missed = [
        PayloadRef::Json("{\"a\": 1}"),
        PayloadRef::Binary(b"\x01\xff"),
    ];
    let missed = [8, 9].into_iter().zip(missed);
    let missed = missed.map(|(at, payload)| (at, publications::recovered(&payload.freeze(), at)));
    let missed: Vec<_> = missed.collect();
    let all = subscribed(Some(Recovered::Publications(&missed)));
    let answer = said(|out| replies::subscribe_result(out, 3, &all, None));
    let expected = b"6\x08\x0322\x18\x012\x1000000000000000ab:\x0c\x22\x08{\x22a\x22: 1}0\x08:\x06\x22\x02\x01\xff0\x09@\x01H\x07P\x01`\x01";
    assert_eq!(answer, expected);
    let lost = subscribed(Some(Recovered::Lost(Loss::TooOld)));
    let answer = said(|out| replies::subscribe_result(out, 3, &lost, None));
    assert_eq!(
        answer,
        b"\x1e\x08\x032\x1a\x18\x012\x1000000000000000abH\x09P\x01`\x01"
    );
    // Those that the server makes and ends.
    let push = said(|out| replies::subscribed(out, "c1", &subscribed(None)));
    assert_eq!(
        push,
        b" \x22\x1e\x12\x02c1J\x18\x08\x01\x22\x1000000000000000ab(\x090\x01"
    );
    let push = said(|out| replies::subscribed(out, "c1", &plain));
    assert_eq!(push, b"\x08\x22\x06\x12\x02c1J\x00");
    let push = said(|out| replies::unsubscribed(out, "c1", (2500, "insufficient state")));
    assert_eq!(
        push,
        b"\x1f\x22\x1d\x12\x02c1:\x17\x10\xc4\x13\x1a\x12insufficient state"
    );
    let push = said(|out| replies::disconnected(out, 3001, "shutdown"));
    assert_eq!(push, b"\x11\x22\x0fZ\x0d\x08\xb9\x17\x12\x08shutdown");
}

/// Published by `u`, whose client is `k`.
fn by_u(payload: PayloadRef<'_>) -> Publication {
    let info = r#"{"user":"u","client":"k","conn_info":{"a":1}}"#;
    payload.freeze().with_details(Some(Arc::new(PublishDetails {
        client_info: Some(info.into()),
        ..PublishDetails::default()
    })))
}

#[test]
fn publications_are_as_others_encode_them() {
    let push = |publication: &Publication, offset| {
        let frame = publications::push(Transport::Protobuf, publication, "c1", offset);
        assert_eq!(frame.opcode(), Opcode::Binary);
        frame.payload().expect("it is one frame").to_vec()
    };
    let expected = b"&\x22$\x12\x02c1\x22\x1e\x22\x08{\x22a\x22: 1}*\x0f\x0a\x01u\x12\x01k\x1a\x07{\x22a\x22:1}0\xac\x02";
    assert_eq!(
        push(&by_u(PayloadRef::Json("{\"a\": 1}")), Some(300)),
        expected
    );
    let bytes = b"\x0c\x22\x0a\x12\x02c1\x22\x04\x22\x02\x01\xff";
    for same in [
        PayloadRef::Binary(b"\x01\xff"),
        PayloadRef::Json(r#" "\u0000Af8=""#),
    ] {
        assert_eq!(push(&same.freeze(), None), bytes, "{same:?}");
    }
    assert_eq!(
        push(&PayloadRef::Binary(b"").freeze(), None),
        b"\x08\x22\x06\x12\x02c1\x22\x00"
    );
    let text = push(&PayloadRef::Text("\u{e9}").freeze(), None);
    assert_eq!(text, b"\x0c\x22\x0a\x12\x02c1\x22\x04\x22\x02\xc3\xa9");
    // Lengths of two bytes, in each of what is around it.
    let long = push(&PayloadRef::Text(&"x".repeat(200)).freeze(), Some(1));
    let head = b"\xd7\x01\x22\xd4\x01\x12\x02c1\x22\xcd\x01\x22\xc8\x01x";
    assert!(
        long.starts_with(head) && long.ends_with(b"x0\x01"),
        "{long:?}"
    );
    let page = HistoryPage {
        position: Position {
            offset: 300,
            ..AT_9
        },
        publications: vec![(8, by_u(PayloadRef::Json("1")))],
        has_more: false,
        newest_ends_in_ms: None,
    };
    let answer = said(|out| replies::history(out, 8, &page));
    let expected = b"1\x08\x08Z-\x0a\x16\x22\x011*\x0f\x0a\x01u\x12\x01k\x1a\x07{\x22a\x22:1}0\x08\x12\x1000000000000000ab\x18\xac\x02";
    assert_eq!(answer, expected);
}

fn member(user: &str, info: bool) -> Member {
    Member {
        client: 1,
        user: user.into(),
        info: info.then(|| {
            Arc::new(MemberInfo {
                connection: Some("{\"a\":1}".into()),
                channel: Some("2".into()),
                has_number: false,
            })
        }),
        who: Subscriber(1),
        generation: 0,
        reactor: ReactorId(0),
    }
}

#[test]
fn members_are_as_others_encode_them() {
    let counts = PresenceCounts {
        clients: 1,
        users: 1,
        has_anonymous: false,
    };
    let view = PresenceView {
        counts,
        is_truncated: false,
        members: [member("u", true)].into(),
        told: 0,
    };
    let answer = said(|out| replies::presence(out, 6, &view));
    let expected = b"c\x08\x06J_\x0a]\x0a$910a2dec-8902-4cc1-8283-b49513cd62d1\x125\x0a\x01u\x12$910a2dec-8902-4cc1-8283-b49513cd62d1\x1a\x07{\x22a\x22:1}\x22\x012";
    assert_eq!(answer, expected);
    let told = |joined, left| {
        let change = PresenceChange {
            joined,
            left,
            counts: Some(counts),
            is_for_all: true,
            tells_counts: false,
            is_of_user: false,
            number: 0,
        };
        let change = Publication::of_presence(Arc::new(change)).expect("it is told of");
        let ids = EventIds {
            topic: 1,
            publication: 1,
            offset: 1,
        };
        let form = Form::CENTRIFUGO_PROTOBUF;
        let frame = crate::encode(&change, form, ids, "c1");
        (
            crate::carries(&change, form),
            frame.payload().expect("it is one frame").to_vec(),
        )
    };
    let join = b"?\x22=\x12\x02c1*7\x0a5\x0a\x01u\x12$910a2dec-8902-4cc1-8283-b49513cd62d1\x1a\x07{\x22a\x22:1}\x22\x012";
    let leave = b"0\x22.\x12\x02c12(\x0a&\x12$910a2dec-8902-4cc1-8283-b49513cd62d1";
    let both = told(vec![member("u", true)], vec![member("", false)]);
    assert_eq!(both, (true, [&join[..], leave].concat()));
    // There is no word for how many there are.
    assert!(!told(vec![], vec![]).0);
}
