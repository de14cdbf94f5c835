//! Which dialect a request gets.

use std::borrow::Cow;

use roost_dialect::{
    ChannelNameError, DialectKind, Route, RouteError, RouteSettings, Subprotocols, WAMP_REQUIRED,
    route,
};

const ALL: RouteSettings = RouteSettings {
    raw: true,
    raw_subprotocols: Subprotocols::Listed(Vec::new()),
    echo: true,
    wamp: true,
    channel_name_bytes_max: 16,
};

const NONE: RouteSettings = RouteSettings {
    raw: false,
    raw_subprotocols: Subprotocols::Any,
    echo: false,
    wamp: false,
    channel_name_bytes_max: 16,
};

fn raw(channel: &str) -> Route<'_> {
    Route::Raw {
        channel: Cow::Borrowed(channel),
        protocol: None,
    }
}

fn on(path: &str) -> Route<'_> {
    route(path, [], &ALL)
}

#[test]
fn paths_choose_when_no_subprotocol_does() {
    assert_eq!(on("/raw/chat"), raw("chat"));
    assert_eq!(on("/raw/chat:lobby/1"), raw("chat:lobby/1"));
    assert_eq!(on("/echo"), Route::Echo);
    assert_eq!(on("/wamp"), Route::WampWithoutSubprotocol);
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
        assert_eq!(on(path), Route::NotFound, "{path}");
    }
}

#[test]
fn the_path_comes_first() {
    for offered in [
        &["wamp.2.json"][..],
        &["wamp.2.msgpack", "wamp.2.json"],
        &["soap", "wamp.2.json"],
    ] {
        for path in ["/wamp", "/", "/ws", "/rawx", "/echo/"] {
            let route = route(path, offered.iter().copied(), &ALL);
            assert_eq!(route, Route::Wamp, "{path}");
            assert_eq!(route.protocol(), Some("wamp.2.json"));
            assert_eq!(route.dialect(), Some(DialectKind::WampJson));
        }
        let on = |path| route(path, offered.iter().copied(), &ALL);
        assert_eq!(on("/raw/chat"), raw("chat"));
        assert_eq!(on("/raw/%"), Route::Refused(RouteError::PercentEncoding));
        assert_eq!(on("/echo"), Route::Echo);
        // A path without a dialect of its own is any other path.
        let no_echo = RouteSettings { echo: false, ..ALL };
        let offered = offered.iter().copied();
        assert_eq!(route("/echo", offered, &no_echo), Route::Wamp);
    }
}

#[test]
fn raw_selects_its_own_subprotocol_and_those_listed() {
    let with = |served, offered: &[&'static str]| {
        let settings = RouteSettings {
            raw_subprotocols: Subprotocols::from_list(Vec::from_iter(served)),
            ..ALL
        };
        let offered = offered.iter().copied();
        route("/raw/chat", offered, &settings)
            .protocol()
            .map(str::to_owned)
    };
    let none = || -> [String; 0] { [] };
    let two = || ["chat.v1", "chat.v2"].map(str::to_owned);
    let any = || ["*".to_owned()];
    let some = |name: &str| Some(name.to_owned());
    assert_eq!(with(none().to_vec(), &[]), None);
    assert_eq!(with(none().to_vec(), &["x"]), None);
    assert_eq!(
        with(none().to_vec(), &["x", "roost.raw"]),
        some("roost.raw")
    );
    assert_eq!(with(none().to_vec(), &["Roost.Raw"]), None, "with case");
    assert_eq!(
        with(two().to_vec(), &["chat.v2", "chat.v1"]),
        some("chat.v2"),
        "in the client's order"
    );
    assert_eq!(
        with(two().to_vec(), &["chat.v1", "roost.raw"]),
        some("chat.v1")
    );
    assert_eq!(
        with(two().to_vec(), &["chat.v3", "roost.raw"]),
        some("roost.raw")
    );
    assert_eq!(with(any().to_vec(), &["x", "roost.raw"]), some("x"));
    assert_eq!(
        with(any().to_vec(), &["wamp.2.json", "y"]),
        some("y"),
        "its messages would be no WAMP"
    );
    assert_eq!(with(any().to_vec(), &["wamp.2.json"]), None);
}

#[test]
fn unknown_subprotocols_leave_the_choice_to_the_path() {
    let offered = [
        "wamp.2.msgpack",
        "WAMP.2.JSON",
        "wamp.2.json.batched",
        "chat",
    ];
    let found = route("/raw/chat", offered, &ALL);
    assert_eq!(found, raw("chat"));
    assert_eq!(found.protocol(), None);
    assert_eq!(found.dialect(), Some(DialectKind::Raw));
    let found = route("/wamp", offered, &ALL);
    assert_eq!(found, Route::WampWithoutSubprotocol);
    assert_eq!(found.protocol(), None);
    assert_eq!(found.dialect(), None);
    assert!(WAMP_REQUIRED.len() <= 123, "it fits a close frame");
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
            let found = route(path, offered.iter().copied(), &NONE);
            assert_eq!(found, Route::NotFound, "{path}");
            assert_eq!(found.protocol(), None);
        }
    }
    // With the subprotocol off, the path decides as if it had not been offered.
    let settings = RouteSettings { wamp: false, ..ALL };
    assert_eq!(route("/raw/chat", ["wamp.2.json"], &settings), raw("chat"));
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
            Route::Raw {
                channel: Cow::Borrowed(_),
                ..
            }
        ),
        "not copied"
    );
}

#[test]
fn channels_that_cannot_be_are_refused_with_a_reason() {
    let name = |error| Route::Refused(RouteError::Name(error));
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
            Route::Refused(RouteError::PercentEncoding),
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
        assert_eq!(on(path), Route::Refused(RouteError::Utf8), "{path}");
    }
    assert_eq!(
        RouteError::Utf8.reason(),
        "The channel's name must be UTF-8 once it is percent-decoded."
    );
    assert_eq!(on("/raw/%80").protocol(), None);
}
