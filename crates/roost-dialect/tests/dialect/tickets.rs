//! Tickets that are tokens: what a client is told, and what it is not.

use std::num::NonZeroU32;
use std::sync::Arc;

use roost_access::{
    Accepted, Answer, AuthError, Authenticator, Begun, Challenge, Hello, Identity, Method, Pending,
    PermissionSet, Provider, TokenMark,
};
use roost_dialect::dialect::{Admission, Command, Message, TokenOutcome, TokenRefusal};
use roost_dialect::wamp::{Session, State, Users};
use roost_wire::CloseCode;

use crate::wamp_client::{Client, Did};

/// Realm `r` has alice with the ticket `hunter2`, and dora, who logs in by wampcra alone.
#[derive(Debug)]
struct Two;

impl Authenticator for Two {
    fn begin(&self, hello: &Hello<'_>) -> Result<Begun, AuthError> {
        let known = match (hello.methods, hello.user) {
            (methods, Some("alice")) if methods.contains(&"ticket") => Some(Method::Ticket),
            (methods, Some("dora")) if methods.contains(&"wampcra") => Some(Method::WampCra),
            _ => None,
        };
        let method = known.ok_or(AuthError::NoMatchingMethod)?;
        if hello.role.is_some_and(|role| role != "staff") {
            return Err(AuthError::NoSuchRole);
        }
        let challenge = Challenge {
            method: method.name(),
            ..Challenge::default()
        };
        let pending = Pending {
            session: hello.session,
            method,
            user: 0,
            is_known: true,
            said: "".into(),
        };
        Ok(Begun::Challenge(challenge, Box::new(pending)))
    }

    fn finish(&self, _: &Pending, answer: &Answer<'_>) -> Result<Accepted, AuthError> {
        let identity = Identity {
            user: "alice".into(),
            permissions: Arc::new(PermissionSet::of_role("staff", Vec::new())),
            expires: NonZeroU32::new(7),
            method: Method::Ticket,
            provider: Provider::Static,
            token: TokenMark::default(),
        };
        match answer.signature {
            "hunter2" => Ok(Accepted {
                identity: Some(Box::new(identity)),
                server_signature: None,
            }),
            _ => Err(AuthError::Denied),
        }
    }
}

fn client(users: bool) -> Client {
    let mut client = Client::new();
    client.settings.takes_tokens = true;
    client.settings.users = users.then(|| Users(Arc::new(Two)));
    client
}

fn hello(more: &str) -> String {
    format!(r#"[1,"r",{{"roles":{{"subscriber":{{}}}}{more}}}]"#)
}

/// Says HELLO, which is answered with CHALLENGE.
fn begin(client: &mut Client, more: &str) {
    let (said, command) = handle(client, &hello(more));
    assert!(said.starts_with("[4,"), "{more}: {said}");
    assert_eq!(command, "Some(AwaitAuthentication)");
}

/// What the client is told, and what is asked for beside.
fn handle(client: &mut Client, text: &str) -> (String, String) {
    let mut out = Vec::new();
    let Client { session, settings } = client;
    let mut new_id = || 9_129_137_332;
    let command = session.handle(Message::Text(text), &mut out, &mut new_id, settings);
    let said = String::from_utf8(out).expect("JSON is text");
    (said, format!("{command:?}"))
}

/// A client that has shown a ticket which may be a token.
fn shown(users: bool, more: &str) -> Client {
    let mut client = client(users);
    begin(&mut client, more);
    let did = client.send(r#"[5,"t.o.k",{}]"#);
    assert_eq!(
        did,
        Did::Asked("CheckToken(Some(TokenText(..)))".to_owned())
    );
    client
}

fn good(user: &str) -> TokenOutcome {
    Ok(Admission {
        user: user.into(),
        expires_in_s: Some(60),
        provider: Provider::Jwt,
        subscriptions: Arc::default(),
        info: None,
    })
}

/// What the client is told, and whether its session has ended.
fn tell(client: &mut Client, outcome: &TokenOutcome) -> (String, bool) {
    let mut ends = false;
    let said = client.hear(
        |session, out| match session.on_token_checked(outcome, out) {
            None => {}
            Some(Command::Close { code, .. }) => {
                assert_eq!(code, CloseCode::POLICY_VIOLATION);
                ends = true;
            }
            Some(other) => panic!("{other:?}"),
        },
    );
    (said, ends)
}

const ALICE: &str = r#","authmethods":["ticket"],"authid":"alice""#;

#[test]
fn a_token_of_the_claimed_user_opens_the_session() {
    for users in [false, true] {
        for (more, user) in [
            (ALICE, "alice"),
            (r#","authmethods":["ticket"],"authid":"bob""#, "bob"),
            (r#","authmethods":["ticket"]"#, "carol"),
            (
                r#","authmethods":["x","ticket","anonymous"],"authrole":"token""#,
                "carol",
            ),
        ] {
            let mut client = shown(users, more);
            let (said, ends) = tell(&mut client, &good(user));
            assert!(client.session.is_open() && !ends, "{said}");
            for part in [
                format!(r#""authid":"{user}""#).as_str(),
                r#""authrole":"token""#,
                r#""authmethod":"ticket""#,
                r#""authprovider":"jwt""#,
            ] {
                assert!(said.starts_with("[2,") && said.contains(part), "{said}");
            }
            // It was awaited once.
            assert_eq!(tell(&mut client, &good("mallory")), (String::new(), false));
        }
    }
    // Without an account it is known by its number.
    let mut client = shown(false, r#","authmethods":["ticket"]"#);
    let (said, _) = tell(&mut client, &good(""));
    assert!(said.contains(r#""authid":"9129137332""#), "{said}");
}

#[test]
fn what_was_wrong_is_not_told() {
    let of_users = r#"[3,{"message":"The authid is not known, or what was answered to CHALLENGE is wrong."},"wamp.error.authentication_denied"]"#;
    for users in [false, true] {
        for outcome in [
            good("bob"),
            good(""),
            good("+alice"),
            Err(TokenRefusal::Invalid),
            Err(TokenRefusal::Expired),
            Err(TokenRefusal::Missing),
        ] {
            let mut client = shown(users, ALICE);
            let told = tell(&mut client, &outcome);
            assert_eq!(told, (of_users.to_owned(), true), "{outcome:?}");
        }
    }
    for (refusal, uri) in [
        (
            TokenRefusal::Unavailable,
            "wamp.error.authentication_failed",
        ),
        (TokenRefusal::TooMany, "wamp.close.killed"),
    ] {
        let (said, ends) = tell(&mut shown(true, ALICE), &Err(refusal));
        assert!(ends && said.contains(uri), "{said}");
    }
}

#[test]
fn what_is_no_token_is_not_taken_for_one() {
    // A user's own ticket.
    let mut alice = client(true);
    begin(&mut alice, ALICE);
    let (said, command) = handle(&mut alice, r#"[5,"hunter2",{}]"#);
    assert!(said.contains(r#""authrole":"staff""#), "{said}");
    assert!(command.starts_with("Some(Identify("), "{command}");
    for (more, answer) in [
        // Another method.
        (
            r#","authmethods":["wampcra","ticket"],"authid":"dora""#,
            "t.o.k",
        ),
        // A role that tokens do not have.
        (
            r#","authmethods":["ticket"],"authid":"alice","authrole":"staff""#,
            "t.o.k",
        ),
        // Nothing.
        (ALICE, ""),
    ] {
        let mut client = client(true);
        begin(&mut client, more);
        let did = client.send(&format!(r#"[5,"{answer}",{{}}]"#));
        let Did::Closed(_, _, uri) = did else {
            panic!("{more}: {did:?}");
        };
        assert_eq!(uri, "wamp.error.authentication_denied");
    }
    for (users, more, uri) in [
        (
            false,
            r#","authmethods":["wampcra"]"#,
            "wamp.error.no_matching_auth_method",
        ),
        (
            false,
            r#","authmethods":["ticket"],"authrole":"staff""#,
            "wamp.error.no_matching_auth_method",
        ),
        (
            true,
            r#","authmethods":["ticket"],"authid":"alice","authrole":"boss""#,
            "wamp.error.no_such_role",
        ),
    ] {
        let did = client(users).send(&hello(more));
        let Did::Closed(_, _, found) = did else {
            panic!("{more}: {did:?}");
        };
        assert_eq!(found, uri, "{more}");
    }
    // Where no tokens are taken, nothing has changed.
    let mut client = client(true);
    client.settings.takes_tokens = false;
    begin(&mut client, ALICE);
    let did = client.send(r#"[5,"t.o.k",{}]"#);
    assert!(matches!(did, Did::Closed(..)), "{did:?}");
}

#[test]
fn a_session_that_waits_is_handed_over_and_ends() {
    let mut client = shown(false, ALICE);
    let state = std::mem::take(&mut client.session).into_state();
    assert_eq!(state.state, State::AwaitToken);
    client.session = Session::from_state(state);
    let (said, _) = tell(&mut client, &good("alice"));
    assert!(said.starts_with("[2,"), "{said}");
    let mut late = shown(false, ALICE);
    let said = late.hear(|session, out| {
        let ends = session.give_up_authentication("Too late.", out);
        assert!(ends.is_some());
    });
    assert!(said.contains("wamp.error.authentication_failed"), "{said}");
    assert_eq!(tell(&mut late, &good("alice")), (String::new(), false));
    let drained = shown(false, ALICE).hear(|session, out| session.goodbye(out));
    assert!(drained.starts_with("[3,"), "{drained}");
    shown(false, ALICE).send(r#"[1,"r",{}]"#);
}
