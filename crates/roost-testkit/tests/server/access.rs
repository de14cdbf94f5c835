//! Who may subscribe, publish, call and register, in each dialect.

use roost_access::{Matching, Operation};
use roost_auth::Realm;
use roost_reactor::{Access, ChannelPolicy, Publish, Settings, policy_for_tests};
use roost_testkit::client::{Checked, Client, Failure, Message, Request};
use roost_testkit::server::{Backend, TestServer};
use roost_testkit::users::{permission, role, set, user};
use serde_json::{Value, json};

roost_testkit::on_each_backend!(
    a_raw_client_is_refused_where_it_must_be_known,
    a_session_may_do_what_its_role_is_granted,
    a_pattern_is_granted_only_as_a_whole,
    an_anonymous_role_has_its_permissions,
    names_of_the_protocol_are_not_published_to,
);

fn restrict(settings: &mut Settings) {
    let policy = |access, publish| ChannelPolicy {
        subscribe: access,
        publish,
        call: access,
        register: access,
        ..policy_for_tests()
    };
    settings.channels.namespaces = [
        (
            "known",
            policy(Access::Authenticated, Publish::Authenticated),
        ),
        ("granted", policy(Access::Granted, Publish::Granted)),
        ("shut", policy(Access::Nobody, Publish::Nobody)),
        ("listen", policy(Access::Anyone, Publish::Granted)),
    ]
    .map(|(name, policy)| (name.to_owned(), policy))
    .to_vec();
    let all = &Operation::ALL[..];
    let staff = role(
        "staff",
        vec![
            permission(Matching::Prefix, "granted:a.", all),
            permission(Matching::Wildcard, "granted:b..c", &[Operation::Register]),
            permission(Matching::Exact, "granted:read", &[Operation::Subscribe]),
            permission(Matching::Exact, "shut:x", all),
        ],
    );
    let guests = role(
        "anonymous",
        vec![permission(Matching::Exact, "granted:lobby", all)],
    );
    let realm = |name: &str| Realm {
        name: name.to_owned(),
        anonymous: guests.clone(),
    };
    set(
        settings,
        vec![user("realm1", "alice", "s", staff)],
        vec![realm("guests")],
    );
}

/// Of a namespace in which only publishing is restricted: procedures are called and registered as its
/// other keys say.
const LISTEN: [bool; 4] = [true, false, true, true];

struct Session {
    client: Client,
    request: u64,
}

impl Session {
    fn join(server: &TestServer, realm: &str, user: Option<&str>) -> Result<Session, Failure> {
        let mut client = Client::connect(server.address())?;
        let request = Request::websocket("h", "/wamp");
        client.shake_hands(&request.header("Sec-WebSocket-Protocol: wamp.2.json"))?;
        let mut session = Session { client, request: 0 };
        let mut details = json!({"roles": {"caller": {}, "callee": {}}});
        if let Some(user) = user {
            details["authid"] = json!(user);
            details["authmethods"] = json!(["ticket"]);
        }
        let mut answer = session.ask(&json!([1, realm, details]))?;
        if user.is_some() {
            answer = session.ask(&json!([5, "s", {}]))?;
        }
        assert_eq!(answer[0], 2, "{answer}");
        Ok(session)
    }

    fn ask(&mut self, message: &Value) -> Result<Value, Failure> {
        self.client.send_text(&message.to_string())?;
        match self.client.receive()? {
            Message::Text(text) => {
                serde_json::from_str(&text).map_err(|error| Failure::new(error.to_string()))
            }
            other => Err(Failure::new(format!("expected JSON, received {other:?}"))),
        }
    }

    /// Does all four with a name; gives which are allowed. What is refused names the rule.
    fn may(&mut self, name: &str) -> Result<[bool; 4], Failure> {
        let mut allowed = [false; 4];
        for (at, code) in [32, 16, 48, 64].into_iter().enumerate() {
            self.request += 1;
            let options = if code == 16 {
                json!({"acknowledge": true})
            } else {
                json!({})
            };
            let answer = self.ask(&json!([code, self.request, options, name]))?;
            let operation = Operation::ALL[at].name();
            allowed[at] = match answer[4].as_str() {
                Some("wamp.error.not_authorized") => {
                    let message = answer[5][0].as_str().unwrap_or_default();
                    let key = format!("{operation} = \"");
                    assert!(message.contains(&key), "{answer}");
                    false
                }
                Some("wamp.error.no_such_procedure") | None => true,
                Some(_) => panic!("{answer}"),
            };
        }
        Ok(allowed)
    }
}

fn a_raw_client_is_refused_where_it_must_be_known(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, restrict);
    for (channel, key) in [
        ("known:a", "authenticated"),
        ("granted:a.b", "granted"),
        ("shut:x", "nobody"),
    ] {
        let mut client = Client::connect(server.address())?;
        let request = Request::websocket("h", &format!("/raw/{channel}"));
        client.send(&request.bytes())?;
        let response = client.read_response()?;
        assert_eq!(response.status, 403, "{channel}");
        let body = client.read_body(&response)?;
        let body = String::from_utf8_lossy(&body);
        assert!(
            body.contains(&format!("subscribe = \"{key}\"")),
            "{channel}: {body}"
        );
    }
    let mut listener = server.open("/raw/listen:a")?;
    listener.send_text("not allowed")?;
    let reason = listener.expect_close(1008)?;
    assert!(reason.contains("publish = \"granted\""), "{reason}");
    assert_eq!(server.count("subscriptions_refused_total"), 3);
    assert_eq!(server.count("publishes_refused_total"), 1);
    Ok(())
}

fn a_session_may_do_what_its_role_is_granted(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, restrict);
    let mut guest = Session::join(&server, "realm1", None)?;
    let mut alice = Session::join(&server, "realm1", Some("alice"))?;
    let none = [false; 4];
    for (name, of_guest, of_alice) in [
        ("open:", [true; 4], [true; 4]),
        ("known:x", none, [true; 4]),
        ("granted:a.x", none, [true; 4]),
        ("granted:ab", none, none),
        ("granted:b.x.c", none, [false, false, false, true]),
        ("granted:read", none, [true, false, false, false]),
        ("shut:x", none, none),
        ("listen:", LISTEN, LISTEN),
    ] {
        // Procedures of two sessions have two names.
        for (session, who, may) in [
            (&mut guest, "guest", of_guest),
            (&mut alice, "alice", of_alice),
        ] {
            let is_free = matches!(name, "open:" | "listen:");
            let name = if is_free {
                format!("{name}{who}")
            } else {
                name.to_owned()
            };
            assert_eq!(session.may(&name)?, may, "{name}, {who}");
        }
    }
    Ok(())
}

fn a_pattern_is_granted_only_as_a_whole(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, restrict);
    let mut alice = Session::join(&server, "realm1", Some("alice"))?;
    for (request, (matching, text, is_allowed)) in [
        ("prefix", "granted:a.", true),
        ("prefix", "granted:a.b", true),
        ("prefix", "granted:a", false),
        ("prefix", "granted", false),
        ("prefix", "", false),
        ("prefix", "com.example.", true),
        ("wildcard", "granted:b..c", true),
        ("wildcard", "granted:a..c", true),
        ("wildcard", "granted:b...c", false),
        ("wildcard", "..c", false),
    ]
    .into_iter()
    .enumerate()
    {
        let options = json!({"match": matching});
        let answer = alice.ask(&json!([64, request + 1, options, text]))?;
        match is_allowed {
            true => assert_eq!(answer[0], 65, "{matching} {text}: {answer}"),
            false => assert_eq!(answer[4], "wamp.error.not_authorized", "{matching} {text}"),
        }
    }
    assert_eq!(server.count("registrations_denied_total"), 5);
    Ok(())
}

fn an_anonymous_role_has_its_permissions(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, restrict);
    let mut guest = Session::join(&server, "guests", None)?;
    assert_eq!(guest.may("granted:lobby")?, [true; 4]);
    assert_eq!(guest.may("granted:read")?, [false; 4]);
    assert_eq!(guest.may("known:x")?, [false; 4]);
    Ok(())
}

fn names_of_the_protocol_are_not_published_to(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let mut client = server.open("/raw/wamp.session.on_join")?;
    client.send_text("feigned")?;
    let reason = client.expect_close(1008)?;
    assert!(reason.contains("belongs to the protocol"), "{reason}");
    Ok(())
}
