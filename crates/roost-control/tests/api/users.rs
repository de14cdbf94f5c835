//! Users: their connections are closed, unsubscribed and refreshed, and their tokens revoked.

use std::time::{SystemTime, UNIX_EPOCH};

use roost_control::Tokens;
use roost_reactor::{Auth, Settings};
use roost_testkit::client::{Checked, Client, Failure, Message, Request};
use roost_testkit::server::{Backend, TestServer, wait_until};
use roost_testkit::users::{role, set, user};
use roost_tokens::{Checker, KeySet, Rules, Signer, StaticTokens, parse_secrets};
use serde_json::{Value, json};

use crate::harness::{Api, KEY, ORDER_KEY, limits};

const SECRET: &str = "first a secret for tests alone, of more than 32 bytes";

fn settings(settings: &mut Settings, change: impl FnOnce(&mut Auth)) {
    let users = ["alice", "bob"].map(|name| user("realm1", name, "hunter2", role("staff", vec![])));
    set(settings, users.into(), Vec::new());
    settings.auth = Auth {
        is_on: true,
        wait_ms: 30_000,
        checks_max: 100,
        revocations_max: 100,
        ..Auth::default()
    };
    change(&mut settings.auth);
}

fn start() -> (TestServer, Api, Signer) {
    start_with(|_| {})
}

/// Two reactors with users and tokens, the API, and what signs tokens.
fn start_with(change: impl FnOnce(&mut Auth)) -> (TestServer, Api, Signer) {
    let server = TestServer::with(Backend::Epoll, 2, |own| settings(own, change));
    let secrets = parse_secrets(SECRET).expect("a line");
    let keys = KeySet {
        secrets: secrets.keys,
        ..KeySet::default()
    };
    let rules = Rules {
        leeway_secs: 0,
        ..Rules::default()
    };
    let checker = Checker::new(rules, StaticTokens::default(), keys, 1 << 20);
    let tokens = Tokens {
        checker,
        jwks: None,
        checks_max: 100,
    };
    let api = Api::checking(server.shared(), limits(), Some(tokens));
    (server, api, secrets.signer)
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("a clock behind 1970").as_secs()
}

fn with_token(server: &TestServer, signer: &Signer, claims: &Value) -> Result<Client, Failure> {
    let token = signer.sign(claims);
    let token = std::str::from_utf8(token.expose()).expect("a token");
    let mut client = Client::connect(server.address())?;
    let request = Request::websocket("h", "/raw/c");
    client.shake_hands(&request.header(format!("Authorization: Bearer {token}")))?;
    Ok(client)
}

/// A WAMP session that has logged in.
fn logged_in(server: &TestServer, name: &str) -> Result<Client, Failure> {
    logged_in_with(server, name, &json!({}))
}

fn logged_in_with(server: &TestServer, name: &str, subscriber: &Value) -> Result<Client, Failure> {
    let mut client = Client::connect(server.address())?;
    let request = Request::websocket("h", "/wamp");
    client.shake_hands(&request.header("Sec-WebSocket-Protocol: wamp.2.json"))?;
    let hello = json!([1, "realm1", {"roles": {"subscriber": subscriber}, "authid": name, "authmethods": ["ticket"]}]);
    client.send_text(&hello.to_string())?;
    receive(&mut client)?;
    client.send_text(r#"[5, "hunter2", {}]"#)?;
    assert_eq!(receive(&mut client)?[0], 2);
    Ok(client)
}

fn receive(client: &mut Client) -> Result<Value, Failure> {
    match client.receive()? {
        roost_testkit::client::Message::Text(text) => {
            Ok(serde_json::from_str(&text).expect("JSON"))
        }
        other => panic!("{other:?}"),
    }
}

fn disconnected(api: &Api, json: &Value) -> u64 {
    let answer = api.post("/v1/disconnect", &json.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["disconnected"].as_u64().expect("a number")
}

fn revoked(api: &Api, json: &Value) -> Value {
    let answer = api.post("/v1/revoke", &json.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[test]
fn all_connections_of_a_user_are_closed_and_no_others() -> Checked {
    let (server, api, signer) = start();
    let claims = |name: &str| json!({"sub": name, "exp": now() + 600});
    let mut raw = Vec::new();
    for _ in 0..8 {
        raw.push(with_token(&server, &signer, &claims("alice"))?);
    }
    let mut wamp = logged_in(&server, "alice")?;
    let mut other = with_token(&server, &signer, &claims("bob"))?;
    let mut anonymous = server.open("/raw/c")?;
    let wanted = json!({"user": "alice", "code": 4001, "reason": "signed in elsewhere"});
    assert_eq!(disconnected(&api, &wanted), 9);
    for client in &mut raw {
        assert_eq!(client.expect_close(4001)?, "signed in elsewhere");
    }
    let goodbye = json!([6, {"message": "signed in elsewhere"}, "wamp.close.killed"]);
    assert_eq!(receive(&mut wamp)?, goodbye);
    assert_eq!(wamp.expect_close(4001)?, "signed in elsewhere");
    assert_eq!(disconnected(&api, &wanted), 0);
    server.wait_for_count("connections_disconnected_total", |count| count == 9);
    // Those that stay are named.
    let page = api.request(
        "GET",
        "/v1/connections",
        &format!("X-API-Key: {KEY}\r\n"),
        b"",
    );
    let page = page.json();
    let open = page["connections"].as_array().expect("a list").iter();
    let open = open
        .filter(|one| one["phase"] == "open")
        .map(|one| &one["connection"]);
    let except: Vec<&Value> = open.collect();
    assert_eq!(except.len(), 2, "{page}");
    assert_eq!(
        disconnected(&api, &json!({"user": "bob", "except": except})),
        0
    );
    let publish = api.post("/v1/publish", r#"{"channel": "c", "text": "still"}"#);
    assert_eq!(publish.status, 200, "{publish:?}");
    other.expect_text("still")?;
    anonymous.expect_text("still")?;
    assert_eq!(
        disconnected(&api, &json!({"user": "bob", "except": ["r0-9.9", "x"]})),
        1
    );
    assert_eq!(other.expect_close(1008)?, "");
    Ok(())
}

#[test]
fn a_revoked_token_opens_nothing_and_closes_what_it_has_opened() -> Checked {
    let (server, api, signer) = start();
    let exp = now() + 600;
    let named = json!({"sub": "alice", "exp": exp, "jti": "one"});
    let old = json!({"sub": "bob", "exp": exp, "iat": now() - 60});
    let mut by_name = with_token(&server, &signer, &named)?;
    let mut by_user = with_token(&server, &signer, &old)?;
    let mut logged_in = logged_in(&server, "bob")?;
    let answer = revoked(&api, &json!({"jti": "one", "expire_at": exp}));
    assert_eq!(answer, json!({"disconnected": 1, "expire_at": exp}));
    assert_eq!(by_name.expect_close(4401)?, "the token is revoked");
    let answer = revoked(&api, &json!({"user": "bob"}));
    assert_eq!(answer["disconnected"], 1);
    assert!(
        answer["issued_before"].as_u64().expect("a time") > now() - 60,
        "{answer}"
    );
    let ends = answer["expire_at"].as_u64().expect("a time");
    assert!((now() + 3_500..now() + 3_700).contains(&ends), "{answer}");
    assert_eq!(by_user.expect_close(4401)?, "the token is revoked");
    for claims in [&named, &old, &json!({"sub": "bob", "exp": exp})] {
        let refused = with_token(&server, &signer, claims)
            .err()
            .expect("it is refused");
        assert!(refused.to_string().contains("401"), "{refused}");
    }
    // A password is no token, another of the user's tokens is another, and a newer one is not meant.
    logged_in.send_text(r#"[32, 1, {}, "c"]"#)?;
    assert_eq!(receive(&mut logged_in)?[0], 33);
    let another = json!({"sub": "alice", "exp": exp, "jti": "two"});
    with_token(&server, &signer, &another)?;
    let newer = json!({"sub": "bob", "exp": exp, "iat": answer["issued_before"]});
    wait_until(
        || with_token(&server, &signer, &newer).is_ok(),
        || "a token of the next second".to_owned(),
    );
    server.wait_for_count("revocations", |count| count == 2);
    assert_eq!(server.count("connections_revoked_total"), 2);
    // One that ends at once ends: nothing is kept of it that matters.
    revoked(&api, &json!({"jti": "two", "expire_at": 1}));
    wait_until(
        || with_token(&server, &signer, &another).is_ok(),
        || "a revocation that has ended".to_owned(),
    );
    Ok(())
}

fn subscribed(client: &mut Client, channel: &str) -> Result<u64, Failure> {
    client.send_text(&json!([32, 1, {}, channel]).to_string())?;
    let answer = receive(client)?;
    Ok(answer[2].as_u64().expect("a subscription"))
}

#[test]
fn a_subscription_is_ended_and_nothing_is_heard_behind_it() -> Checked {
    let (server, api, signer) = start();
    let claims = |name: &str| json!({"sub": name, "exp": now() + 600});
    let mut raw = with_token(&server, &signer, &claims("alice"))?;
    let mut other = with_token(&server, &signer, &claims("bob"))?;
    let announced = json!({"features": {"subscription_revocation": true}});
    let mut told = logged_in_with(&server, "alice", &announced)?;
    let mut silent = logged_in(&server, "alice")?;
    let of_told = subscribed(&mut told, "c")?;
    subscribed(&mut told, "d")?;
    subscribed(&mut silent, "c")?;
    subscribed(&mut silent, "d")?;
    let unsubscribe = |json: Value| {
        let answer = api.post("/v1/unsubscribe", &json.to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["unsubscribed"].as_u64().expect("a number")
    };
    assert_eq!(unsubscribe(json!({"channel": "x", "user": "alice"})), 0);
    assert_eq!(unsubscribe(json!({"channel": "c", "user": "alice"})), 3);
    assert_eq!(unsubscribe(json!({"channel": "c", "user": "alice"})), 0);
    let reason = raw.expect_close(4403)?;
    assert_eq!(reason, "unsubscribed by the application");
    let expected = json!({"subscription": of_told, "reason": "roost.close.unsubscribed"});
    assert_eq!(receive(&mut told)?, json!([35, 0, expected]));
    for channel in ["c", "d"] {
        let json = json!({"channel": channel, "text": channel});
        assert_eq!(api.post("/v1/publish", &json.to_string()).status, 200);
    }
    other.expect_text("c")?;
    // What was published on c did not come before.
    for session in [&mut told, &mut silent] {
        let event = receive(session)?;
        assert_eq!((&event[0], &event[4]), (&json!(36), &json!(["d"])));
    }
    // Once more: the client may subscribe again, if it may.
    assert_ne!(subscribed(&mut told, "c")?, 0);
    server.wait_for_count("subscriptions_ended_total", |count| count == 2);
    Ok(())
}

#[test]
fn one_connection_is_named_and_has_to_be_the_users() -> Checked {
    let (server, api, signer) = start();
    let claims = json!({"sub": "alice", "exp": now() + 600});
    let mut first = with_token(&server, &signer, &claims)?;
    let page = api.request(
        "GET",
        "/v1/connections",
        &format!("X-API-Key: {KEY}\r\n"),
        b"",
    );
    let name = page.json()["connections"][0]["connection"].clone();
    let mut second = with_token(&server, &signer, &claims)?;
    let unsubscribe = |user: Option<&str>, connection: &Value| {
        let mut json = json!({"channel": "c", "connection": connection});
        if let Some(user) = user {
            json["user"] = user.into();
        }
        let answer = api.post("/v1/unsubscribe", &json.to_string());
        answer.json()["unsubscribed"].as_u64()
    };
    assert_eq!(unsubscribe(Some("bob"), &name), Some(0));
    assert_eq!(unsubscribe(None, &json!("r0-99.9")), Some(0));
    assert_eq!(unsubscribe(None, &json!("x")), Some(0));
    assert_eq!(unsubscribe(Some("alice"), &name), Some(1));
    first.expect_close(4403)?;
    assert_eq!(unsubscribe(None, &name), Some(0));
    assert_eq!(
        api.post("/v1/publish", r#"{"channel": "c", "text": "on"}"#)
            .status,
        200
    );
    second.expect_text("on")?;
    Ok(())
}

#[test]
fn a_refreshed_connection_ends_when_it_is_said() -> Checked {
    let (server, api, signer) = start();
    let short = |name: &str| json!({"sub": name, "exp": now() + 3});
    let mut longer = with_token(&server, &signer, &short("alice"))?;
    let mut as_it_was = with_token(&server, &signer, &short("bob"))?;
    let mut shorter = with_token(&server, &signer, &json!({"sub": "eve", "exp": now() + 600}))?;
    let refresh = |json: Value| {
        let answer = api.post("/v1/refresh", &json.to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["refreshed"].as_u64().expect("a number")
    };
    assert_eq!(
        refresh(json!({"user": "alice", "expire_at": now() + 600})),
        1
    );
    assert_eq!(refresh(json!({"user": "eve", "expire_at": 0})), 1);
    assert_eq!(refresh(json!({"user": "none", "expire_at": 0})), 0);
    assert_eq!(shorter.expect_close(4401)?, "the token has expired");
    assert_eq!(as_it_was.expect_close(4401)?, "the token has expired");
    assert_eq!(
        api.post("/v1/publish", r#"{"channel": "c", "text": "on"}"#)
            .status,
        200
    );
    longer.expect_text("on")?;
    Ok(())
}

#[test]
fn a_user_has_as_many_connections_as_it_may_have() -> Checked {
    let (server, api, signer) = start_with(|auth| auth.connections_per_user_max = 3);
    let claims = |name: &str| json!({"sub": name, "exp": now() + 600});
    let mut two = [
        with_token(&server, &signer, &claims("alice"))?,
        with_token(&server, &signer, &claims("alice"))?,
    ];
    let third = logged_in(&server, "alice")?;
    let refused = with_token(&server, &signer, &claims("alice")).err();
    let refused = refused.expect("it is the fourth").to_string();
    assert!(refused.contains("429"), "{refused}");
    let mut fourth = logged_in(&server, "alice")?;
    let goodbye = receive(&mut fourth)?;
    assert_eq!(
        (&goodbye[0], &goodbye[2]),
        (&json!(6), &json!("wamp.close.killed"))
    );
    let reason = fourth.expect_close(1008)?;
    assert!(reason.contains("auth.connections_per_user_max"), "{reason}");
    server.wait_for_count("connections_per_user_refused_total", |count| count == 2);
    // Others are not meant, nor those without an account; and a connection that ends makes room.
    with_token(&server, &signer, &claims("bob"))?;
    for _ in 0..5 {
        with_token(&server, &signer, &claims(""))?;
    }
    third.close()?;
    assert_eq!(disconnected(&api, &json!({"user": "alice"})), 2);
    for client in &mut two {
        client.expect_close(1008)?;
    }
    drop((two, fourth));
    server.wait_for_count("connections_closed_total", |count| count >= 10);
    with_token(&server, &signer, &claims("alice"))?;
    Ok(())
}

#[test]
fn what_cannot_be_is_refused() {
    let (server, api, _) = start();
    for (path, json, words) in [
        ("/v1/disconnect", json!({}), "user"),
        ("/v1/disconnect", json!({"user": ""}), "1 to 255 bytes"),
        (
            "/v1/disconnect",
            json!({"user": "a".repeat(256)}),
            "1 to 255 bytes",
        ),
        ("/v1/disconnect", json!({"user": "a", "code": 1005}), "1005"),
        (
            "/v1/disconnect",
            json!({"user": "a", "code": 1e9}),
            "close code",
        ),
        (
            "/v1/disconnect",
            json!({"user": "a", "code": 4000.5}),
            "not whole",
        ),
        (
            "/v1/disconnect",
            json!({"user": "a", "reason": "x".repeat(124)}),
            "123 bytes",
        ),
        (
            "/v1/disconnect",
            json!({"user": "a", "except": vec!["x"; 65]}),
            "at most 64",
        ),
        (
            "/v1/disconnect",
            json!({"user": "a", "client": "x"}),
            "client",
        ),
        (
            "/v1/unsubscribe",
            json!({"channel": "c"}),
            "user, connection",
        ),
        (
            "/v1/unsubscribe",
            json!({"channel": "c", "user": ""}),
            "1 to 255 bytes",
        ),
        ("/v1/unsubscribe", json!({"user": "a"}), "channel"),
        ("/v1/refresh", json!({"user": "a"}), "expire_at"),
        ("/v1/refresh", json!({"expire_at": 1}), "user, connection"),
        (
            "/v1/refresh",
            json!({"user": "a", "expire_at": now() + 401 * 86_400}),
            "400 days",
        ),
        ("/v1/revoke", json!({}), "jti or user"),
        (
            "/v1/revoke",
            json!({"jti": "a", "user": "a"}),
            "jti or user",
        ),
        ("/v1/revoke", json!({"jti": ""}), "1 to 255 bytes"),
        (
            "/v1/revoke",
            json!({"jti": "a", "issued_before": 1}),
            "issued_before",
        ),
        ("/v1/revoke", json!({"user": ""}), "1 to 255 bytes"),
        (
            "/v1/revoke",
            json!({"user": "a", "expire_at": now() + 401 * 86_400}),
            "400 days",
        ),
        (
            "/v1/revoke",
            json!({"user": "a", "expire_at": -1}),
            "negative",
        ),
    ] {
        let detail = api
            .post(path, &json.to_string())
            .problem(400, "invalid-request");
        assert!(detail.contains(words), "{json}: {detail}");
    }
    let headers = format!("X-API-Key: {ORDER_KEY}\r\n");
    for (path, words) in [
        ("/v1/disconnect", "disconnect"),
        ("/v1/unsubscribe", "disconnect"),
        ("/v1/refresh", "refresh connections"),
        ("/v1/revoke", "revoke tokens"),
    ] {
        let answer = api.post_with(path, &headers, r#"{"user": "a"}"#);
        let detail = answer.problem(403, "forbidden");
        assert!(detail.contains(words), "{detail}");
    }
    let full: Vec<_> = (0..101)
        .map(|n| api.post("/v1/revoke", &json!({"jti": n.to_string()}).to_string()))
        .collect();
    let detail = full[100].problem(503, "overloaded");
    assert!(detail.contains("auth.revocations_max"), "{detail}");
    assert!(full[..100].iter().all(|answer| answer.status == 200));
    server.wait_for_count("revocations", |count| count == 100);
}

/// A Centrifugo client that has subscribed to nothing, and what the application has it hear.
#[test]
fn a_connection_is_subscribed_by_the_application() -> Checked {
    let server = TestServer::with(Backend::Epoll, 2, |_| {});
    let api = Api::of(server.shared());
    let mut client = server.open("/connection/websocket")?;
    client.send_text(r#"{"id":1,"connect":{}}"#)?;
    client.receive()?;
    let headers = format!("X-API-Key: {KEY}\r\n");
    let listed = api.request("GET", "/v1/connections", &headers, b"").json();
    let name = listed["connections"][0]["connection"].clone();
    let subscribe = |json: Value| {
        let answer = api.post("/v1/subscribe", &json.to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["subscribed"].as_u64().expect("a number")
    };
    assert_eq!(subscribe(json!({"channel": "c", "user": "alice"})), 0);
    assert_eq!(subscribe(json!({"channel": "c", "connection": name})), 1);
    let Message::Text(told) = client.receive()? else {
        return Err(Failure::new("no text".to_owned()).into());
    };
    assert!(
        told.contains(r#""channel":"c""#) && told.contains("\"subscribe\""),
        "{told}"
    );
    assert_eq!(
        subscribe(json!({"channel": "c", "connection": name})),
        0,
        "once"
    );
    assert_eq!(server.count("subscriptions_served_total"), 1);
    api.post("/v1/publish", r#"{"channel": "c", "data": {"n": 1}}"#);
    let Message::Text(heard) = client.receive()? else {
        return Err(Failure::new("no text".to_owned()).into());
    };
    assert!(heard.contains(r#"{"n": 1}"#), "{heard}");
    let denied = api.post_with(
        "/v1/subscribe",
        &format!("X-API-Key: {ORDER_KEY}\r\n"),
        r#"{"channel": "c", "user": "alice"}"#,
    );
    denied.problem(403, "forbidden");
    Ok(())
}

/// The next block of an event stream: its name and its data.
fn block(stream: &mut Client) -> Result<(String, String), Failure> {
    let (mut name, mut data) = (String::new(), String::new());
    loop {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            line.extend(stream.read_exact(1)?);
        }
        let line = String::from_utf8_lossy(&line);
        match line.trim_end().split_once(": ") {
            Some(("event", one)) => name = one.to_owned(),
            Some(("data", one)) => data = one.to_owned(),
            Some(_) => {}
            None if data.is_empty() => (), // a place, or a comment
            None => return Ok((name, data)),
        }
    }
}

#[test]
fn a_stream_of_several_channels_is_told_which_one_has_ended() -> Checked {
    let server = TestServer::with(Backend::Epoll, 2, |_| {});
    let api = Api::of(server.shared());
    let mut stream = Client::connect(server.address())?;
    let request = Request::get("h", "/sse?channel=a&channel=b&channel=c");
    stream.send(&request.bytes())?;
    assert_eq!(stream.read_response()?.status, 200);
    server.wait_for_count("subscriptions", |count| count == 3);
    let headers = format!("X-API-Key: {KEY}\r\n");
    let listed = api.request("GET", "/v1/connections", &headers, b"").json();
    let name = listed["connections"][0]["connection"].clone();
    // Others keep the channel: that it is gone says nothing of the stream.
    let others: Result<Vec<Client>, Failure> = (0..6).map(|_| server.open("/raw/b")).collect();
    let others = others?;
    let ask = |what: &str, channel: &str| {
        let json = json!({"channel": channel, "connection": name});
        let answer = api.post(&format!("/v1/{what}"), &json.to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()[format!("{what}d")]
            .as_u64()
            .expect("a number")
    };
    assert_eq!(
        ask("subscribe", "d"),
        0,
        "a stream has what it has asked for"
    );
    for (ended, left) in [("b", 2), ("a", 1)] {
        let left = left + others.len() as u64;
        assert_eq!(ask("unsubscribe", ended), 1);
        let reason = "The application has ended the subscription.";
        let (event, data) = block(&mut stream)?;
        let data: Value = serde_json::from_str(&data).expect("JSON");
        assert_eq!(event, "roost.unsubscribed");
        assert_eq!(data, json!({"channel": ended, "reason": reason}));
        assert_eq!(ask("unsubscribe", ended), 0, "once");
        server.wait_for_count("subscriptions", |count| count == left);
        // Nothing of it comes any more, and the others go on.
        for channel in [ended, "c"] {
            let json = json!({"channel": channel, "text": channel});
            assert_eq!(api.post("/v1/publish", &json.to_string()).status, 200);
        }
        assert_eq!(block(&mut stream)?, ("c".to_owned(), "c".to_owned()));
    }
    assert_eq!(ask("unsubscribe", "d"), 0);
    // With its last channel the stream does not end: a client would come back for it.
    assert_eq!(ask("unsubscribe", "c"), 1);
    assert_eq!(block(&mut stream)?.0, "roost.unsubscribed");
    server.wait_for_count("subscriptions", |count| count == 6);
    server.wait_for_count("event_streams_open", |count| count == 1);
    assert_eq!(server.count("subscriptions_ended_total"), 3);
    drop(stream);
    server.wait_for_count("event_streams_open", |open| open == 0);
    Ok(())
}
