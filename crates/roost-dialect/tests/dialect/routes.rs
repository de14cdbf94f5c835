//! Which dialect a request gets.

use std::borrow::Cow;
use std::sync::Arc;

use roost_dialect::dialect::{Accept, Headers, Offer, Terms};
use roost_dialect::{ChannelNameError, DialectKind, Form, PathError, Settings, echo, raw, wamp};
use roost_wire::CloseCode;

fn settings(is_on: bool) -> Settings {
    let mut settings = Settings::off();
    settings.raw = Arc::new(raw::Settings {
        enabled: is_on,
        ..raw::Settings::default()
    });
    settings.echo = Arc::new(echo::Settings {
        enabled: is_on,
        ..echo::Settings::default()
    });
    settings.wamp = Arc::new(wamp::Settings {
        enabled: is_on,
        ..wamp::Settings::default()
    });
    settings
}

fn accept<'a>(
    path: &'a str,
    subprotocols: &'a [&'a str],
    settings: &Settings,
) -> Option<(DialectKind, Accept<'a>)> {
    settings.accept(&Offer {
        path,
        subprotocols,
        headers: Headers::NONE,
        channel_name_bytes_max: 16,
    })
}

fn on(path: &str) -> Option<(DialectKind, Accept<'_>)> {
    accept(path, &[], &settings(true))
}

fn raw(channel: &str) -> Option<(DialectKind, Accept<'_>)> {
    let accept = Accept::Open {
        subprotocol: None,
        join: Some((Cow::Borrowed(channel), Form::RAW)),
        terms: Terms::default(),
    };
    Some((DialectKind::Raw, accept))
}

fn refused(reason: &'static str) -> Option<(DialectKind, Accept<'static>)> {
    Some((DialectKind::Raw, Accept::Refused(Cow::Borrowed(reason))))
}

fn wamp() -> Option<(DialectKind, Accept<'static>)> {
    let accept = Accept::Open {
        subprotocol: Some("wamp.2.json"),
        join: None,
        terms: Terms::default(),
    };
    Some((DialectKind::Wamp, accept))
}

fn wamp_without_subprotocol() -> Option<(DialectKind, Accept<'static>)> {
    let reason = "This path speaks WAMP: the client must offer the subprotocol wamp.2.json, wamp.2.msgpack or wamp.2.cbor.";
    assert!(reason.len() <= 123, "it fits a close frame");
    let accept = Accept::OpenAndClose(CloseCode::PROTOCOL_ERROR, reason);
    Some((DialectKind::Wamp, accept))
}

#[test]
fn paths_choose_when_no_subprotocol_does() {
    assert_eq!(on("/raw/chat"), raw("chat"));
    assert_eq!(on("/raw/chat:lobby/1"), raw("chat:lobby/1"));
    let echo = Accept::Open {
        subprotocol: None,
        join: None,
        terms: Terms::default(),
    };
    assert_eq!(on("/echo"), Some((DialectKind::Echo, echo)));
    assert_eq!(on("/wamp"), wamp_without_subprotocol());
    for path in [
        "/",
        "",
        "*",
        "/rawx",
        "/Raw/chat",
        "/echo/",
        "/echo/x",
        "/wamp/",
        "/ws",
        "raw/chat",
    ] {
        assert_eq!(on(path), None, "{path}");
    }
}

#[test]
fn a_path_of_its_own_comes_before_the_subprotocol() {
    for offered in [
        &["wamp.2.json"][..],
        &["wamp.2.json", "wamp.2.msgpack"],
        &["soap", "wamp.2.ubjson", "wamp.2.json"],
    ] {
        for path in ["/wamp", "/", "/ws", "/rawx", ""] {
            assert_eq!(accept(path, offered, &settings(true)), wamp(), "{path}");
        }
        for path in ["/raw/chat", "/raw/%", "/raw", "/echo"] {
            assert_eq!(accept(path, offered, &settings(true)), on(path), "{path}");
        }
        // A path without a dialect of its own is any other path.
        let mut no_echo = settings(true);
        no_echo.echo = Arc::default();
        assert_eq!(accept("/echo", offered, &no_echo), wamp());
    }
}

#[test]
fn raw_selects_its_own_subprotocol_and_those_listed() {
    let with = |served: &[&str], offered: &[&str]| {
        let served = served.iter().map(|&name| name.to_owned());
        let mut settings = settings(true);
        Arc::make_mut(&mut settings.raw).subprotocols = raw::Subprotocols::from_list(served);
        match accept("/raw/chat", offered, &settings) {
            Some((DialectKind::Raw, Accept::Open { subprotocol, .. })) => {
                subprotocol.map(str::to_owned)
            }
            other => panic!("{other:?}"),
        }
    };
    let some = |name: &str| Some(name.to_owned());
    assert_eq!(with(&[], &[]), None);
    assert_eq!(with(&[], &["x"]), None);
    assert_eq!(with(&[], &["x", "roost.raw"]), some("roost.raw"));
    assert_eq!(with(&[], &["Roost.Raw"]), None, "with case");
    let two = ["chat.v1", "chat.v2"];
    assert_eq!(with(&two, &["chat.v2", "chat.v1"]), some("chat.v2"));
    assert_eq!(with(&two, &["chat.v1", "roost.raw"]), some("chat.v1"));
    assert_eq!(with(&two, &["chat.v3", "roost.raw"]), some("roost.raw"));
    assert_eq!(with(&["*"], &["x", "roost.raw"]), some("x"));
    assert_eq!(
        with(&["*"], &["wamp.2.json", "y"]),
        some("y"),
        "its messages would be no WAMP"
    );
    assert_eq!(with(&["*"], &["wamp.2.json"]), None);
}

/// crossbar, autobahn-python#1268: the client's order counts, not the server's.
#[test]
fn the_clients_first_serializer_is_selected() {
    for (offered, expected) in [
        (&["wamp.2.cbor", "wamp.2.json"][..], "wamp.2.cbor"),
        (
            &["wamp.2.msgpack.batched", "wamp.2.msgpack"],
            "wamp.2.msgpack.batched",
        ),
        (&["wamp.2.ubjson", "wamp.2.msgpack"], "wamp.2.msgpack"),
        (&["x", "wamp.2.json.batched"], "wamp.2.json.batched"),
        (&["wamp.2.cbor.batched"], "wamp.2.cbor.batched"),
    ] {
        let Some((DialectKind::Wamp, Accept::Open { subprotocol, .. })) =
            accept("/", offered, &settings(true))
        else {
            panic!("{offered:?}");
        };
        assert_eq!(subprotocol, Some(expected), "{offered:?}");
    }
}

#[test]
fn echo_selects_the_one_configured() {
    let with = |served: Option<&str>, offered: &[&str]| {
        let mut settings = settings(true);
        Arc::make_mut(&mut settings.echo).subprotocol = served.map(str::to_owned);
        match accept("/echo", offered, &settings) {
            Some((
                DialectKind::Echo,
                Accept::Open {
                    subprotocol, join, ..
                },
            )) => {
                assert_eq!(join, None);
                subprotocol.map(str::to_owned)
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(with(None, &["echo"]), None);
    assert_eq!(with(Some("echo"), &[]), None);
    assert_eq!(
        with(Some("echo"), &["chat", "echo"]).as_deref(),
        Some("echo")
    );
    assert_eq!(
        with(Some("echo"), &["Echo", "roost.raw"]),
        None,
        "with case"
    );
}

#[test]
fn unknown_subprotocols_leave_the_choice_to_the_path() {
    let offered = [
        "wamp.2.ubjson",
        "WAMP.2.JSON",
        "wamp.2.json.Batched",
        "chat",
    ];
    assert_eq!(accept("/raw/chat", &offered, &settings(true)), raw("chat"));
    let found = accept("/wamp", &offered, &settings(true));
    assert_eq!(found, wamp_without_subprotocol());
}

/// NATS GHSA-p957-7v2w-g93g: a path routed to a part that is switched off.
#[test]
fn what_is_off_is_not_found() {
    for path in [
        "/raw/chat",
        "/raw/",
        "/raw",
        "/raw/%",
        "/echo",
        "/wamp",
        "/",
    ] {
        for offered in [&[][..], &["wamp.2.json"]] {
            assert_eq!(accept(path, offered, &settings(false)), None, "{path}");
        }
    }
    // With the subprotocol off, the path decides as if it had not been offered.
    let mut settings = settings(true);
    settings.wamp = Arc::default();
    assert_eq!(
        accept("/raw/chat", &["wamp.2.json"], &settings),
        raw("chat")
    );
    assert_eq!(accept("/ws", &["wamp.2.json"], &settings), None);
}

#[test]
fn channels_are_percent_decoded() {
    assert_eq!(on("/raw/a%20b"), raw("a b"));
    assert_eq!(on("/raw/%61%62"), raw("ab"));
    assert_eq!(on("/raw/a%2Fb%2fc"), raw("a/b/c"));
    assert_eq!(on("/raw/%C3%A9"), raw("é"));
    assert_eq!(on("/raw/%F0%9F%98%80"), raw("😀"));
    assert_eq!(on("/raw/a+b"), raw("a+b"), "a path is no form");
    assert_eq!(on("/raw/%2500"), raw("%00"), "decoded once");
    assert!(
        matches!(
            on("/raw/ab"),
            Some((
                _,
                Accept::Open {
                    join: Some((Cow::Borrowed(_), _)),
                    ..
                }
            ))
        ),
        "not copied"
    );
}

#[test]
fn channels_that_cannot_be_are_refused_with_a_reason() {
    let name = |error| refused(PathError::Name(error).reason());
    for path in ["/raw/", "/raw"] {
        assert_eq!(on(path), name(ChannelNameError::Empty));
    }
    assert_eq!(on("/raw/0123456789abcdef"), raw("0123456789abcdef"));
    assert_eq!(
        on("/raw/0123456789abcdefg"),
        name(ChannelNameError::TooLong)
    );
    assert_eq!(
        on("/raw/%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9"),
        raw("éééééééé")
    );
    assert_eq!(
        on("/raw/a%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9"),
        name(ChannelNameError::TooLong)
    );
    for path in [
        "/raw/%00",
        "/raw/a%0Ab",
        "/raw/%1b[31m",
        "/raw/%7F",
        "/raw/%C2%85",
    ] {
        assert_eq!(on(path), name(ChannelNameError::Control), "{path}");
    }
    for path in [
        "/raw/%",
        "/raw/a%2",
        "/raw/%zz",
        "/raw/%+1",
        "/raw/%-1",
        "/raw/%é1",
    ] {
        assert_eq!(
            on(path),
            refused(PathError::PercentEncoding.reason()),
            "{path}"
        );
    }
    // A lone continuation byte, an overlong NUL, a surrogate, a cut sequence.
    for path in [
        "/raw/%80",
        "/raw/%C0%80",
        "/raw/%ED%A0%80",
        "/raw/%F0%9F%98",
    ] {
        assert_eq!(on(path), refused(PathError::Utf8.reason()), "{path}");
    }
    assert_eq!(
        PathError::Utf8.reason(),
        "The channel's name must be UTF-8 once it is percent-decoded."
    );
}
