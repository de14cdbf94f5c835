//! WAMP sessions that authenticate, and those that fail to.

use std::num::NonZeroU32;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roost_auth::{Salted, User};
use roost_reactor::Settings;
use roost_testkit::client::{Checked, Client, Failure, Message, Request};
use roost_testkit::server::{Backend, TestServer};
use roost_testkit::users::{role, set, set_with, user};
use serde_json::{Value, json};

roost_testkit::on_each_backend!(
    each_method_lets_in_who_knows_the_secret,
    the_first_method_that_both_know_is_used,
    a_wrong_answer_is_denied,
    a_user_that_does_not_exist_is_challenged_like_one,
    a_hello_that_cannot_be_is_refused,
    what_comes_out_of_turn_ends_the_session,
    a_challenge_that_is_not_answered_ends_in_time,
    a_session_is_addressed_by_its_name_and_role,
);

fn users() -> Vec<User> {
    let staff = role("staff", Vec::new());
    let mut alice = user("realm1", "alice", "hunter2", staff.clone());
    let key = key_pair(1);
    alice.credentials.public_keys = vec![hex(key.public_key().as_ref())];
    let mut salted = user("realm1", "bob", "swordfish", staff.clone());
    let salt = Salted {
        salt: "salt123".to_owned(),
        iterations: NonZeroU32::new(1_000).expect("not zero"),
        key_bytes: 32,
    };
    let (secret, _) = salted.credentials.wampcra.take().expect("it has one");
    salted.credentials.wampcra = Some((secret, Some(salt)));
    salted.credentials.ticket = None;
    vec![alice, salted, user("realm2", "alice", "other", staff)]
}

fn start(backend: Backend) -> TestServer {
    TestServer::with(backend, 1, |settings| set(settings, users(), Vec::new()))
}

/// A connection that speaks WAMP.
struct Session {
    client: Client,
}

impl Session {
    fn connect(server: &TestServer) -> Result<Session, Failure> {
        let mut client = Client::connect(server.address())?;
        let request = Request::websocket("h", "/wamp");
        client.shake_hands(&request.header("Sec-WebSocket-Protocol: wamp.2.json"))?;
        Ok(Session { client })
    }

    fn send(&mut self, message: &Value) -> Result<(), Failure> {
        self.client.send_text(&message.to_string())
    }

    fn ask(&mut self, message: &Value) -> Result<Value, Failure> {
        self.send(message)?;
        self.receive()
    }

    fn receive(&mut self) -> Result<Value, Failure> {
        match self.client.receive()? {
            Message::Text(text) => {
                serde_json::from_str(&text).map_err(|error| Failure::new(error.to_string()))
            }
            other => Err(Failure::new(format!("expected JSON, received {other:?}"))),
        }
    }

    /// HELLO in realm1; gives the answer.
    fn hello(
        &mut self,
        methods: &[&str],
        user: Option<&str>,
        extra: &Value,
    ) -> Result<Value, Failure> {
        self.ask(&hello("realm1", methods, user, extra))
    }

    /// The answer is ABORT with this URI, and the connection is closed with it.
    fn expect_abort(&mut self, answer: &Value, uri: &str) -> Checked {
        assert_eq!(
            (&answer[0], &answer[2]),
            (&json!(3), &json!(uri)),
            "{answer}"
        );
        assert!(answer[1]["message"].is_string(), "{answer}");
        let code = if uri == "wamp.error.protocol_violation" {
            1002
        } else {
            1008
        };
        assert_eq!(self.client.expect_close(code)?, uri);
        Ok(())
    }

    /// Logs in; gives WELCOME's details, or ABORT.
    fn log_in(&mut self, method: &str, name: &str, secret: &str) -> Result<Value, Failure> {
        let extra = match method {
            "cryptosign" => json!({"pubkey": hex(key_pair(1).public_key().as_ref())}),
            "scram" | "wamp-scram" => json!({"nonce": CLIENT_NONCE}),
            _ => json!({}),
        };
        let challenge = self.hello(&[method], Some(name), &extra)?;
        assert_eq!(
            (&challenge[0], &challenge[1]),
            (&json!(4), &json!(method)),
            "{challenge}"
        );
        let signature = answer(method, name, secret, &challenge[2]);
        self.ask(&json!([5, signature, {}]))
    }
}

fn hello(realm: &str, methods: &[&str], user: Option<&str>, extra: &Value) -> Value {
    let mut details = json!({
        "roles": {"publisher": {}, "subscriber": {}, "caller": {}, "callee": {}},
        "authmethods": methods,
        "authextra": extra,
    });
    if let Some(user) = user {
        details["authid"] = json!(user);
    }
    json!([1, realm, details])
}

/// What a client answers to a challenge.
fn answer(method: &str, name: &str, secret: &str, extra: &Value) -> String {
    let text = |key: &str| {
        extra[key]
            .as_str()
            .unwrap_or_else(|| panic!("{key} of {extra}"))
    };
    match method {
        "ticket" => secret.to_owned(),
        "wampcra" => {
            let key = match extra["salt"].as_str() {
                None => secret.as_bytes().to_vec(),
                Some(salt) => STANDARD
                    .encode(derive(secret, salt.as_bytes(), extra))
                    .into_bytes(),
            };
            STANDARD.encode(mac(&key, text("challenge").as_bytes()))
        }
        "cryptosign" => {
            let challenge = text("challenge");
            let bytes = unhex(challenge);
            assert_eq!(bytes.len(), 32);
            let seed = if secret == "hunter2" { 1 } else { 2 };
            hex(key_pair(seed).sign(&bytes).as_ref()) + challenge
        }
        _ => {
            let salt = STANDARD.decode(text("salt")).expect("base64");
            let (client_key, message) = scram(name, secret, &salt, extra);
            let stored_key = digest::digest(&digest::SHA256, &client_key);
            let signature = mac(stored_key.as_ref(), message.as_bytes());
            let proof: Vec<u8> = client_key
                .iter()
                .zip(signature)
                .map(|(a, b)| a ^ b)
                .collect();
            STANDARD.encode(proof)
        }
    }
}

/// The client's key and what is signed, by RFC 5802.
fn scram(name: &str, secret: &str, salt: &[u8], extra: &Value) -> (Vec<u8>, String) {
    assert_eq!(extra["kdf"], "pbkdf2");
    let nonce = extra["nonce"].as_str().expect("a nonce");
    assert!(
        nonce.starts_with(CLIENT_NONCE) && nonce.len() > CLIENT_NONCE.len(),
        "{nonce}"
    );
    let (salt_text, iterations) = (&extra["salt"], &extra["iterations"]);
    let salt_text = salt_text.as_str().expect("a salt");
    let message = format!(
        "n={name},r={CLIENT_NONCE},r={nonce},s={salt_text},i={iterations},c=biws,r={nonce}"
    );
    (mac(&derive(secret, salt, extra), b"Client Key"), message)
}

fn derive(secret: &str, salt: &[u8], extra: &Value) -> Vec<u8> {
    let iterations = extra["iterations"].as_u64().expect("a number");
    let iterations = NonZeroU32::new(u32::try_from(iterations).expect("few")).expect("not zero");
    let mut key = vec![0; 32];
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(algorithm, iterations, salt, secret.as_bytes(), &mut key);
    key
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text).as_ref().to_vec()
}

fn key_pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a key")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = (0..text.len()).step_by(2);
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal digits");
    pairs.map(byte).collect()
}

fn each_method_lets_in_who_knows_the_secret(backend: Backend) -> Checked {
    let server = start(backend);
    for (method, name, secret) in [
        ("ticket", "alice", "hunter2"),
        ("wampcra", "alice", "hunter2"),
        ("wampcra", "bob", "swordfish"),
        ("scram", "bob", "swordfish"),
        ("wamp-scram", "alice", "hunter2"),
        ("cryptosign", "alice", "hunter2"),
    ] {
        let mut session = Session::connect(&server)?;
        let welcome = session.log_in(method, name, secret)?;
        let details = &welcome[2];
        let expected = method.strip_prefix("wamp-").unwrap_or(method);
        let said = ["authid", "authrole", "authmethod", "authprovider"].map(|key| &details[key]);
        let expected = [name, "staff", expected, "static"].map(|word| json!(word));
        assert_eq!(said, expected.each_ref(), "{welcome}");
        if method.ends_with("scram") {
            let signature = details["authextra"]["scram_server_signature"].as_str();
            let verifier = details["authextra"]["verifier"].as_str();
            assert_eq!(
                verifier,
                signature.map(|it| format!("v={it}")).as_deref(),
                "{welcome}"
            );
        }
        session.send(&json!([32, 1, {}, "com.example.topic"]))?;
        assert_eq!(session.receive()?[0], 33, "the session is open");
    }
    // Without a name: the key's user.
    let mut session = Session::connect(&server)?;
    let extra = json!({"pubkey": hex(key_pair(1).public_key().as_ref())});
    let challenge = session.hello(&["cryptosign"], None, &extra)?;
    let signature = answer("cryptosign", "", "hunter2", &challenge[2]);
    let welcome = session.ask(&json!([5, signature, {}]))?;
    assert_eq!(welcome[2]["authid"], "alice", "{welcome}");
    // The same name elsewhere is another user.
    let mut session = Session::connect(&server)?;
    session.ask(&hello("realm2", &["ticket"], Some("alice"), &json!({})))?;
    assert_eq!(session.ask(&json!([5, "other", {}]))?[0], 2);
    Ok(())
}

fn the_first_method_that_both_know_is_used(backend: Backend) -> Checked {
    let server = start(backend);
    for (methods, name, used) in [
        (&["nonsense", "wampcra", "ticket"][..], "alice", "wampcra"),
        (&["ticket", "wampcra"], "bob", "wampcra"), // who has no ticket
        (&["ticket", "wampcra", "anonymous"], "alice", "ticket"),
    ] {
        let mut session = Session::connect(&server)?;
        let challenge = session.hello(methods, Some(name), &json!({}))?;
        assert_eq!(
            (&challenge[0], &challenge[1]),
            (&json!(4), &json!(used)),
            "{challenge}"
        );
    }
    let mut session = Session::connect(&server)?;
    let welcome = session.hello(&["anonymous", "ticket"], Some("alice"), &json!({}))?;
    assert_eq!(
        (&welcome[0], &welcome[2]["authrole"]),
        (&json!(2), &json!("anonymous"))
    );
    Ok(())
}

fn a_wrong_answer_is_denied(backend: Backend) -> Checked {
    let server = start(backend);
    for (method, name) in [
        ("ticket", "alice"),
        ("wampcra", "alice"),
        ("wampcra", "bob"),
        ("scram", "alice"),
        ("cryptosign", "alice"),
    ] {
        let mut session = Session::connect(&server)?;
        let abort = session.log_in(method, name, "wrong")?;
        session.expect_abort(&abort, "wamp.error.authentication_denied")?;
    }
    for signature in ["", "AAAA", &"x".repeat(100_000)] {
        for method in ["ticket", "wampcra", "scram", "cryptosign"] {
            let mut session = Session::connect(&server)?;
            let extra = json!({
                "nonce": CLIENT_NONCE,
                "pubkey": hex(key_pair(1).public_key().as_ref()),
            });
            session.hello(&[method], Some("alice"), &extra)?;
            let abort = session.ask(&json!([5, signature, {}]))?;
            session.expect_abort(&abort, "wamp.error.authentication_denied")?;
        }
    }
    // A key that is no user's, and one that is another's.
    for (seed, name) in [(2, Some("alice")), (2, None), (1, Some("bob"))] {
        let mut session = Session::connect(&server)?;
        let extra = json!({"pubkey": hex(key_pair(seed).public_key().as_ref())});
        let challenge = session.hello(&["cryptosign"], name, &extra)?;
        if challenge[0] == 3 {
            session.expect_abort(&challenge, "wamp.error.no_matching_auth_method")?;
            continue;
        }
        let challenge = challenge[2]["challenge"]
            .as_str()
            .expect("a challenge")
            .to_owned();
        let signature = hex(key_pair(seed).sign(&unhex(&challenge)).as_ref()) + &challenge;
        let abort = session.ask(&json!([5, signature, {}]))?;
        session.expect_abort(&abort, "wamp.error.authentication_denied")?;
    }
    // A proof with another nonce than both have agreed on.
    let mut session = Session::connect(&server)?;
    let extra = json!({"nonce": CLIENT_NONCE});
    let challenge = session.hello(&["scram"], Some("alice"), &extra)?;
    let proof = answer("scram", "alice", "hunter2", &challenge[2]);
    let abort = session.ask(&json!([5, proof, {"nonce": CLIENT_NONCE}]))?;
    session.expect_abort(&abort, "wamp.error.authentication_denied")
}

fn a_user_that_does_not_exist_is_challenged_like_one(backend: Backend) -> Checked {
    let server = start(backend);
    let mut salts = Vec::new();
    for name in ["mallory", "mallory", "trudy"] {
        let mut session = Session::connect(&server)?;
        let extra = json!({"nonce": CLIENT_NONCE});
        let challenge = session.hello(&["scram"], Some(name), &extra)?;
        assert_eq!(
            (&challenge[0], &challenge[1]),
            (&json!(4), &json!("scram")),
            "{challenge}"
        );
        let known = ["iterations", "kdf", "nonce", "salt"];
        let keys: Vec<&String> = challenge[2]
            .as_object()
            .expect("an object")
            .keys()
            .collect();
        assert_eq!(keys, known, "{challenge}");
        assert_eq!(challenge[2]["iterations"], 1_000);
        salts.push(challenge[2]["salt"].clone());
        let abort = session.ask(&json!([5, answer("scram", name, "x", &challenge[2]), {}]))?;
        session.expect_abort(&abort, "wamp.error.authentication_denied")?;
    }
    assert_eq!(salts[0], salts[1], "always the same");
    assert_ne!(salts[0], salts[2]);
    let mut session = Session::connect(&server)?;
    let challenge = session.hello(&["wampcra"], Some("mallory"), &json!({}))?;
    let said = challenge[2]["challenge"].as_str().expect("a challenge");
    let said: Value = serde_json::from_str(said).expect("JSON");
    assert_eq!(
        (&said["authid"], &said["authrole"]),
        (&json!("mallory"), &json!("staff"))
    );
    let abort = session.ask(&json!([
        5,
        answer("wampcra", "", "hunter2", &challenge[2]),
        {}
    ]))?;
    session.expect_abort(&abort, "wamp.error.authentication_denied")
}

fn a_hello_that_cannot_be_is_refused(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings: &mut Settings| {
        set_with(settings, users(), Vec::new(), false);
        let wamp = std::sync::Arc::make_mut(&mut settings.dialects.wamp);
        wamp.realms = roost_dialect::wamp::Realms::from_list(["realm1".to_owned()]);
    });
    let long = "n".repeat(256);
    let (none, nonce) = (json!({}), json!({"nonce": CLIENT_NONCE}));
    let bound = json!({"nonce": CLIENT_NONCE, "channel_binding": "tls-unique"});
    let bound_key = json!({"pubkey": "00".repeat(32), "channel_binding": "tls-unique"});
    let huge = json!({"nonce": "A".repeat(1 << 20)});
    for (message, uri) in [
        (hello("realm1", &[], None, &none), "authentication_required"),
        (
            hello("realm1", &["anonymous"], None, &none),
            "no_matching_auth_method",
        ),
        (
            hello("realm1", &["nonsense"], Some("alice"), &none),
            "no_matching_auth_method",
        ),
        (
            hello("realm1", &["ticket"], None, &none),
            "no_matching_auth_method",
        ),
        (
            hello("realm1", &["ticket"], Some("bob"), &none),
            "no_matching_auth_method",
        ),
        (
            hello("realm2", &["ticket"], Some("alice"), &none),
            "no_such_realm",
        ),
        (
            hello("realm1", &["scram"], Some("alice"), &none),
            "authentication_failed",
        ),
        (
            hello("realm1", &["scram"], Some("alice"), &huge),
            "authentication_failed",
        ),
        (
            hello("realm1", &["scram"], Some("alice"), &bound),
            "no_matching_auth_method",
        ),
        (
            hello("realm1", &["cryptosign"], Some("alice"), &nonce),
            "authentication_failed",
        ),
        (
            hello("realm1", &["cryptosign"], Some("alice"), &bound_key),
            "no_matching_auth_method",
        ),
        (
            hello("realm1", &["ticket"], Some(&long), &none),
            "authentication_failed",
        ),
    ] {
        let mut session = Session::connect(&server)?;
        let abort = session.ask(&message)?;
        session.expect_abort(&abort, &format!("wamp.error.{uri}"))?;
    }
    let mut session = Session::connect(&server)?;
    let mut message = hello("realm1", &["ticket"], Some("alice"), &none);
    message[2]["authrole"] = json!("admin");
    let abort = session.ask(&message)?;
    session.expect_abort(&abort, "wamp.error.no_such_role")
}

fn what_comes_out_of_turn_ends_the_session(backend: Backend) -> Checked {
    let server = start(backend);
    let violation = "wamp.error.protocol_violation";
    // AUTHENTICATE without a challenge.
    let mut session = Session::connect(&server)?;
    let abort = session.ask(&json!([5, "hunter2", {}]))?;
    assert_eq!(abort[2], violation);
    // HELLO, or a request, where AUTHENTICATE is awaited.
    for message in [
        hello("realm1", &["ticket"], Some("alice"), &json!({})),
        json!([32, 1, {}, "a"]),
    ] {
        let mut session = Session::connect(&server)?;
        session.hello(&["ticket"], Some("alice"), &json!({}))?;
        let abort = session.ask(&message)?;
        session.expect_abort(&abort, violation)?;
    }
    // AUTHENTICATE, or HELLO, a second time.
    for message in [
        json!([5, "hunter2", {}]),
        hello("realm1", &["ticket"], Some("alice"), &json!({})),
    ] {
        let mut session = Session::connect(&server)?;
        assert_eq!(session.log_in("ticket", "alice", "hunter2")?[0], 2);
        let abort = session.ask(&message)?;
        session.expect_abort(&abort, violation)?;
    }
    Ok(())
}

fn a_challenge_that_is_not_answered_ends_in_time(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        set(settings, users(), Vec::new());
        settings.limits.handshake_timeout_ms = 300;
    });
    let mut answered = Session::connect(&server)?;
    assert_eq!(answered.log_in("ticket", "alice", "hunter2")?[0], 2);
    let mut session = Session::connect(&server)?;
    session.hello(&["ticket"], Some("alice"), &json!({}))?;
    let abort = session.receive()?;
    session.expect_abort(&abort, "wamp.error.authentication_failed")?;
    answered.send(&json!([32, 1, {}, "com.example.topic"]))?;
    assert_eq!(answered.receive()?[0], 33, "one that has answered goes on");
    Ok(())
}

fn a_session_is_addressed_by_its_name_and_role(backend: Backend) -> Checked {
    let server = start(backend);
    let join = |method: &str, name: &str, secret: &str| -> Result<Session, Failure> {
        let mut session = Session::connect(&server)?;
        session.log_in(method, name, secret)?;
        assert_eq!(
            session.ask(&json!([32, 1, {}, "com.example.topic"]))?[0],
            33
        );
        Ok(session)
    };
    let mut alice = join("ticket", "alice", "hunter2")?;
    let mut bob = join("wampcra", "bob", "swordfish")?;
    let mut guest = Session::connect(&server)?;
    guest.hello(&["anonymous"], None, &json!({}))?;
    assert_eq!(guest.ask(&json!([32, 1, {}, "com.example.topic"]))?[0], 33);
    let mut publisher = Session::connect(&server)?;
    publisher.hello(&[], None, &json!({}))?;
    for (request, (options, text)) in [
        (json!({"eligible_authid": ["alice"]}), "alice"),
        (
            json!({"eligible_authrole": ["staff"], "exclude_authid": ["alice"]}),
            "bob",
        ),
        (json!({"exclude_authrole": ["staff"]}), "guest"),
        (json!({}), "all"),
    ]
    .into_iter()
    .enumerate()
    {
        publisher.send(&json!([
            16,
            request + 1,
            options,
            "com.example.topic",
            [text]
        ]))?;
    }
    for (session, own) in [
        (&mut alice, "alice"),
        (&mut bob, "bob"),
        (&mut guest, "guest"),
    ] {
        for text in [own, "all"] {
            assert_eq!(session.receive()?[4], json!([text]), "{own}");
        }
    }
    // A callee is told who calls.
    assert_eq!(
        bob.ask(&json!([64, 2, {}, "com.example.procedure"]))?[0],
        65
    );
    let options = json!({"disclose_me": true});
    alice.send(&json!([48, 2, options, "com.example.procedure"]))?;
    let invocation = bob.receive()?;
    let said = [
        &invocation[3]["caller_authid"],
        &invocation[3]["caller_authrole"],
    ];
    assert_eq!(said, [&json!("alice"), &json!("staff")], "{invocation}");
    Ok(())
}

const CLIENT_NONCE: &str = "egVDf3DMJh0=";
