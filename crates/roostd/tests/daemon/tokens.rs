//! Tokens in handshakes, with the whole daemon.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use roost_testkit::client::{Client, Message, Request, Response};
use roost_tokens::parse_secrets;
use serde_json::{Value, json};

use crate::certificates::post_to;
use crate::daemon::{Daemon, Log, ROOSTD, command, run, wait_until};

const DRIVERS: [&str; 2] = ["epoll", "io_uring"];
const SECRET: &str = "Q2c1m8vX4tR7yK0pZ3wH6uJ9sD5fG1hL-daemon";

/// A folder with a configuration and its secrets, for as long as its value lives.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, config: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("roostd-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        fs::write(path.join("secrets"), format!("one {SECRET}\n")).expect("a file");
        fs::write(path.join("roost.toml"), config).expect("a file");
        Folder(path)
    }

    fn config(&self) -> String {
        self.0.join("roost.toml").display().to_string()
    }

    fn daemon(&self, driver: &str, more: &[&str]) -> Daemon {
        let config = self.config();
        let mut args = vec!["--config", config.as_str(), "--driver", driver];
        args.extend(["--reactors", "2", "--set", "log.level=trace"]);
        args.extend(more);
        Daemon::start(&args, Log::Read)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const CONFIG: &str = r#"
[auth]
required = true
[auth.jwt]
hmac_secrets_file = "secrets"
[[namespace]]
name = "chat"
subscribe = "granted"
publish = "granted"
"#;

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("after 1970").as_secs()
}

fn sign(claims: &Value) -> String {
    let secrets = parse_secrets(&format!("one {SECRET}")).expect("a line");
    let token = secrets.signer.sign(claims);
    String::from_utf8(token.expose().to_vec()).expect("ASCII")
}

/// May subscribe and publish below `chat:`.
fn token(user: &str, expires: u64) -> String {
    let caps = json!([{"channels": ["chat:*"], "match": "wildcard", "allow": ["sub", "pub"]}]);
    sign(&json!({"sub": user, "exp": expires, "caps": caps}))
}

fn request(daemon: &Daemon, path: &str) -> Request {
    Request::websocket(&daemon.address.to_string(), path)
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

fn subprotocol(token: &str) -> String {
    let encoded = URL_SAFE_NO_PAD.encode(token);
    format!("Sec-WebSocket-Protocol: roost.raw, roost.bearer.{encoded}")
}

/// What is answered to a handshake, with its body.
fn answer(daemon: &Daemon, request: &Request) -> (Response, String) {
    let mut client = Client::connect(daemon.address).expect("it accepts");
    client.send(&request.bytes()).expect("it reads");
    let response = client.read_response().expect("an answer");
    let body = match response.status {
        101 => Vec::new(),
        _ => client.read_body(&response).expect("a body"),
    };
    (response, String::from_utf8(body).expect("text"))
}

fn open(daemon: &Daemon, path: &str, header: &str) -> Client {
    let mut client = Client::connect(daemon.address).expect("it accepts");
    let request = request(daemon, path).header(header);
    client.shake_hands(&request).expect("the token is good");
    client
}

#[test]
fn a_token_opens_what_it_grants_and_nothing_else() {
    for driver in DRIVERS {
        let folder = Folder::new(&format!("grants-{driver}"), CONFIG);
        let daemon = folder.daemon(driver, &[]);
        let good = token("alice", now() + 600);
        let mut alice = open(&daemon, "/raw/chat:1", &bearer(&good));
        let mut page = Client::connect(daemon.address).expect("it accepts");
        let offered = request(&daemon, "/raw/chat:1").header(subprotocol(&good));
        let response = page.shake_hands(&offered).expect("the token is good");
        assert_eq!(response.all("Sec-WebSocket-Protocol"), ["roost.raw"]);
        alice.send_text("hello").expect("it reads");
        page.expect_text("hello").expect("she may");
        page.send_text("hello yourself").expect("it reads");
        alice.expect_text("hello yourself").expect("she may");
        // With a token that grants nothing, and in another namespace.
        let other = sign(&json!({"sub": "bob", "exp": now() + 600}));
        let (response, body) = answer(
            &daemon,
            &request(&daemon, "/raw/chat:1").header(bearer(&other)),
        );
        assert_eq!(response.status, 403, "{body}");
        assert!(body.contains("granted"), "{body}");
        open(&daemon, "/raw/news", &bearer(&other))
            .close()
            .expect("a close");
        // What behind the head comes too early is kept while the token is checked.
        let mut early = Client::connect(daemon.address).expect("it accepts");
        let mut bytes = request(&daemon, "/raw/chat:1")
            .header(bearer(&good))
            .bytes();
        bytes.extend([0x81, 0x85, 0, 0, 0, 0]);
        bytes.extend(b"early");
        early.send(&bytes).expect("it reads");
        alice.expect_text("early").expect("it was published");
        assert_eq!(daemon.count("tokens_accepted_total"), 5, "{driver}");
        wait_until(
            || daemon.count("token_checks_in_flight") == 0,
            || "none is checked any more".to_owned(),
        );
    }
}

/// A token with another character in its signature.
fn spoiled(token: &str) -> String {
    let at = token.len() - 9;
    let other = if token.as_bytes()[at] == b'A' {
        'B'
    } else {
        'A'
    };
    format!("{}{other}{}", &token[..at], &token[at + 1..])
}

#[test]
fn a_client_without_a_good_token_is_told_so() {
    let folder = Folder::new("refused", CONFIG);
    for driver in DRIVERS {
        let daemon = folder.daemon(driver, &[]);
        let good = token("alice", now() + 600);
        let changed = spoiled(&good);
        let plain = request(&daemon, "/raw/chat:1");
        for (headers, status, said) in [
            (vec![], 401, "wants a token"),
            (vec![bearer(&changed)], 401, "signature is wrong"),
            (vec![bearer(&token("a", now() - 60))], 401, "has expired"),
            (vec![bearer("abc")], 401, "no JWT"),
            (
                vec![bearer(&"a".repeat(5_000))],
                401,
                "larger than auth.token_bytes_max",
            ),
            (vec![subprotocol(&changed)], 401, "signature is wrong"),
            (
                vec![bearer(&good), subprotocol(&good)],
                400,
                "more than one",
            ),
            (
                vec!["Sec-WebSocket-Protocol: roost.bearer.AB".to_owned()],
                400,
                "base64url",
            ),
            // A cookie is none, as it is configured.
            (vec![format!("Cookie: token={good}")], 401, "wants a token"),
        ] {
            let request = headers
                .iter()
                .fold(plain.clone(), |request, one| request.header(one));
            let (response, body) = answer(&daemon, &request);
            assert_eq!(response.status, status, "{driver} {headers:?}: {body}");
            assert!(body.contains(said), "{driver} {headers:?}: {body}");
            let challenge = response.header("WWW-Authenticate");
            assert_eq!(challenge.is_some(), status == 401, "{headers:?}");
        }
        assert_eq!(daemon.count("tokens_refused_total"), 9);
        wait_until(
            || daemon.count("connections_open") == 0,
            || "they are closed".to_owned(),
        );
    }
}

#[test]
fn a_connection_ends_when_its_token_expires() {
    let folder = Folder::new("expires", &format!("{CONFIG}\n[admin]\n"));
    for driver in DRIVERS {
        let more = [
            "--set",
            "auth.jwt.leeway=0s",
            "--set",
            "auth.required=false",
        ];
        let daemon = folder.daemon(driver, &more);
        let mut short = open(&daemon, "/raw/chat:1", &bearer(&token("alice", now() + 3)));
        let mut long = open(
            &daemon,
            "/raw/chat:1",
            &bearer(&token("alice", now() + 600)),
        );
        let mut anonymous = Client::open(daemon.address, "/raw/news").expect("it may");
        let said = short.expect_close(4401).expect("it expires");
        assert_eq!(said, "the token has expired");
        wait_until(
            || daemon.count("websockets_open") == 2,
            || "the others are open".to_owned(),
        );
        assert_eq!(daemon.count("identities_expired_total"), 1);
        long.send_text("still here").expect("it reads");
        anonymous
            .expect_silence(Duration::from_millis(50))
            .expect("nothing for it");
    }
}

/// A client of Centrifugo's asks its application for another token then, and for none when it is bad.
#[test]
fn a_token_that_has_expired_is_told_from_a_bad_one() {
    let config = CONFIG.replace("required = true", "required = false");
    let folder = Folder::new("told-expired", &config);
    let daemon = folder.daemon("epoll", &["--set", "centrifugo.enabled=true"]);
    let connect = |token: &str| {
        let mut client = Client::open(daemon.address, "/connection/websocket").expect("it opens");
        let connect = json!({"id": 1, "connect": {"token": token}});
        client.send_text(&connect.to_string()).expect("it is read");
        format!("{:?}", client.receive().expect("it is told"))
    };
    let expired = connect(&token("alice", now() - 60));
    assert!(expired.contains("109"), "{expired}");
    let bad = connect(&spoiled(&token("alice", now() + 60)));
    assert!(!bad.contains("109"), "{bad}");
}

#[test]
fn a_session_ends_when_its_token_expires() {
    let folder = Folder::new("session", CONFIG);
    for driver in DRIVERS {
        let daemon = folder.daemon(driver, &["--set", "auth.jwt.leeway=0s"]);
        let short = token("alice", now() + 4);
        let header = format!("{}\r\nSec-WebSocket-Protocol: wamp.2.json", bearer(&short));
        let mut session = open(&daemon, "/wamp", &header);
        let hello = r#"[1,"realm1",{"roles":{"subscriber":{}}}]"#;
        session.send_text(hello).expect("it reads");
        assert!(text(&mut session).starts_with("[2,"), "WELCOME");
        // What the token grants, the session may do.
        let subscribe = r#"[32,1,{},"chat:1"]"#;
        session.send_text(subscribe).expect("it reads");
        assert!(text(&mut session).starts_with("[33,1,"), "SUBSCRIBED");
        let goodbye = text(&mut session);
        assert!(goodbye.starts_with("[6,"), "GOODBYE: {goodbye}");
        assert!(goodbye.contains("roost.close.expired"), "{goodbye}");
        let said = session.expect_close(4401).expect("it expires");
        assert_eq!(said, "the token has expired");
        assert_eq!(daemon.count("identities_expired_total"), 1);
    }
}

/// Anonymous sessions have permissions of their own, which do not replace a token's.
#[test]
fn a_session_that_does_not_log_in_keeps_its_token() {
    let more = r#"
[[wamp.permission]]
realm = "realm1"
role = "anonymous"
uri = "chat:2"
allow = ["subscribe"]
"#;
    let folder = Folder::new("keeps", &format!("{CONFIG}{more}"));
    let daemon = folder.daemon("epoll", &[]);
    let header = format!(
        "{}\r\nSec-WebSocket-Protocol: wamp.2.json",
        bearer(&token("alice", now() + 600))
    );
    let mut session = open(&daemon, "/wamp", &header);
    for (message, answer) in [
        (r#"[1,"realm1",{"roles":{"subscriber":{}}}]"#, "[2,"),
        (r#"[32,1,{},"chat:1"]"#, "[33,1,"),
    ] {
        session.send_text(message).expect("it reads");
        let said = text(&mut session);
        assert!(said.starts_with(answer), "{said}");
    }
    // No user can log in, so that a token is needed here too.
    let plain = request(&daemon, "/wamp").header("Sec-WebSocket-Protocol: wamp.2.json");
    let (response, body) = answer(&daemon, &plain);
    assert_eq!(response.status, 401, "{body}");
}

/// The start of the answer to each message of a WAMP client.
fn converse(daemon: &Daemon, messages: &[(&str, &str)]) -> Client {
    let header = "Sec-WebSocket-Protocol: wamp.2.json";
    let mut session = open(daemon, "/wamp", header);
    for (message, answer) in messages {
        session.send_text(message).expect("it reads");
        let said = text(&mut session);
        assert!(said.contains(answer), "{said}");
    }
    session
}

#[test]
fn a_token_is_the_ticket_of_a_session() {
    let auth = "required = true\nstatic_tokens_file = \"static\"";
    let config = CONFIG.replace("required = true", auth);
    let config = format!("{config}\n[wamp]\nanonymous = false\n");
    let folder = Folder::new("ticket", &config);
    let statics = sha256_digits(b"device-token");
    let line = format!("probe {statics} sub:chat:9\n");
    fs::write(folder.0.join("static"), line).expect("a file");
    for driver in DRIVERS {
        let daemon = folder.daemon(driver, &["--set", "auth.jwt.leeway=0s"]);
        let hello =
            r#"[1,"realm1",{"roles":{"subscriber":{}},"authmethods":["ticket"],"authid":"alice"}]"#;
        let show = |token: &str| json!([5, token, {}]).to_string();
        let (good, short) = (token("alice", now() + 600), token("alice", now() + 4));
        let subscribe = (r#"[32,1,{},"chat:1"]"#, "[33,1,");
        let welcome = r#""authprovider":"jwt""#;
        let ask = (hello, r#"[4,"ticket",{}]"#);
        let _stays = converse(&daemon, &[ask, (&show(&good), welcome), subscribe]);
        let mut ends = converse(&daemon, &[ask, (&show(&short), welcome), subscribe]);
        let nameless = r#"[1,"realm1",{"roles":{"subscriber":{}},"authmethods":["ticket"]}]"#;
        let ask_any = (nameless, r#"[4,"ticket",{}]"#);
        let probe = (r#"[32,1,{},"chat:9"]"#, "[33,1,");
        let other = (r#"[32,2,{},"chat:1"]"#, "not_authorized");
        let device = show("device-token");
        let welcomed = (device.as_str(), r#""authprovider":"static""#);
        let _probe = converse(&daemon, &[ask_any, welcomed, probe, other]);
        // Which of these it is, a client is not told.
        let mut answers = std::collections::BTreeSet::new();
        for wrong in [
            token("bob", now() + 600),
            token("alice", now() - 60),
            format!("{good}A"),
            "hunter2".to_owned(),
            "a".repeat(5_000),
            String::new(),
        ] {
            let mut session = converse(&daemon, &[ask]);
            session.send_text(&show(&wrong)).expect("it reads");
            answers.insert(text(&mut session));
            let said = session.expect_close(1008).expect("it is refused");
            assert_eq!(said, "wamp.error.authentication_denied");
        }
        assert_eq!(answers.len(), 1, "{answers:?}");
        let goodbye = text(&mut ends);
        assert!(goodbye.contains("roost.close.expired"), "{goodbye}");
        ends.expect_close(4401).expect("it expires");
        // The token is needed one way or the other.
        let (response, _) = answer(&daemon, &request(&daemon, "/raw/chat:1"));
        assert_eq!(response.status, 401);
        for token in [&good, &short] {
            assert_absent(token, &daemon.stderr.get(), "the log");
        }
    }
}

#[test]
fn what_is_revoked_stays_so_over_a_restart() {
    let folder = Folder::new("revoked", CONFIG);
    let (socket, file) = (folder.0.join("api.sock"), folder.0.join("revocations.json"));
    let config = CONFIG.replace(
        "required = true",
        &format!("required = true\nrevocations_state_file = {file:?}"),
    );
    let config = format!("{config}[api]\nlisten = [\"unix:{}\"]\n", socket.display());
    fs::write(folder.0.join("roost.toml"), config).expect("a file");
    let issued = now() - 5;
    let claims = |user: &str, jti: &str| {
        let caps = json!([{"channels": ["chat:*"], "match": "wildcard", "allow": ["sub"]}]);
        sign(&json!({"sub": user, "exp": now() + 600, "iat": issued, "jti": jti, "caps": caps}))
    };
    let (alice, named, bob) = (
        claims("alice", "a"),
        claims("carol", "c"),
        claims("bob", "b"),
    );
    let status = |daemon: &Daemon, token: &str| {
        let request = request(daemon, "/raw/chat:1").header(bearer(token));
        answer(daemon, &request).0.status
    };
    let daemon = folder.daemon("epoll", &[]);
    for body in [
        json!({"user": "alice"}),
        json!({"jti": "c"}),
        json!({"jti": "b", "expire_at": now() + 1}),
    ] {
        let said = post_to(&socket, "/v1/revoke", &body.to_string());
        assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    }
    wait_until(
        || fs::read_to_string(&file).is_ok_and(|text| text.matches("expire_at").count() >= 2),
        || "they are written".to_owned(),
    );
    wait_until(
        || status(&daemon, &bob) == 101,
        || "bob's has ended".to_owned(),
    );
    drop(daemon);
    let daemon = folder.daemon("io_uring", &[]);
    for token in [&alice, &named] {
        assert_eq!(status(&daemon, token), 401);
    }
    // The file has whole seconds: what has just ended may hold for one more.
    wait_until(
        || status(&daemon, &bob) == 101,
        || "bob's has ended".to_owned(),
    );
    drop(daemon);
    // One that cannot be read: what may be revoked is, and what is issued from now on is not.
    for damage in ["{\"version\":1,", "\0"] {
        fs::write(&file, damage).expect("our own file");
        let daemon = folder.daemon("epoll", &[]);
        daemon
            .stderr
            .wait_for("auth.revocations_state_file cannot be read");
        assert_eq!(status(&daemon, &bob), 401);
        let new = sign(&json!({"sub": "bob", "exp": now() + 600, "iat": now() + 1,
            "caps": [{"channels": ["chat:1"], "allow": ["sub"]}]}));
        assert_eq!(status(&daemon, &new), 101);
    }
    // One that cannot be written stops nothing.
    fs::remove_file(&file).expect("our own file");
    fs::create_dir(folder.0.join("revocations.tmp")).expect("in its way");
    let daemon = folder.daemon("epoll", &[]);
    assert_eq!(status(&daemon, &bob), 101);
    let said = post_to(&socket, "/v1/revoke", r#"{"user":"bob"}"#);
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert_eq!(status(&daemon, &bob), 401);
    daemon.stderr.wait_for("revocations cannot be kept");
    assert_eq!(daemon.count("revocations_unkept"), 1);
    fs::remove_dir(folder.0.join("revocations.tmp")).expect("in its way");
    daemon.stderr.wait_for("revocations are kept again");
    assert!(fs::read_to_string(&file).is_ok_and(|text| text.contains("bob")));
}

/// As a line of the file has it.
pub(crate) fn sha256_digits(token: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token);
    let digits = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

#[track_caller]
fn text(client: &mut Client) -> String {
    match client.receive().expect("a message") {
        Message::Text(text) => text,
        other => panic!("expected text, received {other:?}"),
    }
}

#[test]
fn a_token_of_the_command_line_opens_what_it_was_made_for() {
    let folder = Folder::new("made", CONFIG);
    let config = folder.config();
    let make = |more: &[&str]| {
        let args = ["token", "--config", &config, "--user", "alice"];
        run(command(ROOSTD, &[&args, more].concat()))
    };
    let made = |more: &[&str]| {
        let made = make(more);
        assert!(made.status.success(), "{}", made.stderr);
        bearer(made.stdout.trim_end())
    };
    let daemon = folder.daemon("epoll", &["--set", "auth.jwt.leeway=0s"]);
    let subscribes = made(&["--allow", "sub:chat:*"]);
    let mut reader = open(&daemon, "/raw/chat:1", &subscribes);
    let both = made(&["--allow", "sub:chat:1", "--allow", "pub:chat:1"]);
    let mut writer = open(&daemon, "/raw/chat:1", &both);
    writer.send_text("hello").expect("it reads");
    reader.expect_text("hello").expect("it was published");
    reader.send_text("not granted").expect("it reads");
    wait_until(
        || daemon.count("publishes_refused_total") == 1,
        || "a token for subscribing publishes".to_owned(),
    );
    for (header, status) in [
        (&both, 403),
        (&made(&["--allow", "sub:chat:2", "--expires", "0s"]), 401),
    ] {
        let (response, body) = answer(&daemon, &request(&daemon, "/raw/chat:2").header(header));
        assert_eq!(response.status, status, "{body}");
    }
    let without_secret = [
        "--set",
        "auth.jwt.hmac_secrets_file=",
        "--set",
        "auth.required=false",
    ];
    for (more, said) in [
        (
            &["--allow", "chat:1"][..],
            "--allow chat:1: write sub:, pub: or prs:",
        ),
        (&["--expires", "1w"], "write a number and s, m, h or d"),
        (&without_secret, "auth.jwt.hmac_secrets_file: none"),
    ] {
        let refused = make(more);
        assert!(!refused.status.success() && refused.stdout.is_empty());
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
}

/// The token, or a part of it that would do.
fn assert_absent(token: &str, text: &str, place: &str) {
    let signature = token.rsplit('.').next().expect("a part");
    for part in [token, signature, &URL_SAFE_NO_PAD.encode(token)[..60]] {
        assert!(!text.contains(part), "a token in {place}:\n{text}");
    }
    assert!(!text.contains(SECRET), "the secret in {place}");
}

#[test]
fn no_token_is_in_a_log_or_an_answer() {
    let folder = Folder::new("redacted", &format!("{CONFIG}\n"));
    let config = format!("{}\n[raw]\nsubprotocols = [\"*\"]\n", CONFIG);
    fs::write(folder.0.join("roost.toml"), config).expect("a file");
    let daemon = folder.daemon(
        "epoll",
        &[
            "--set",
            "auth.cookie=t",
            "--set",
            "listener.allowed_origins=[\"https://a.example\"]",
        ],
    );
    let good = token("alice", now() + 600);
    let expired = token("mallory", now() - 600);
    let changed = spoiled(&good);
    let mut answers = String::new();
    for token in [&good, &expired, &changed] {
        for path in [
            "/raw/chat:1",
            "/raw/other",
            "/nowhere",
            "/raw/%ff",
            "/wamp",
            "/",
        ] {
            for header in [
                bearer(token),
                subprotocol(token),
                format!(
                    "Sec-WebSocket-Protocol: roost.bearer.{}",
                    URL_SAFE_NO_PAD.encode(token)
                ),
                format!("Cookie: t={token}"),
                format!("Origin: https://b.example\r\n{}", bearer(token)),
            ] {
                let (response, body) = answer(&daemon, &request(&daemon, path).header(&header));
                answers.push_str(&format!("{response:?}\n{body}\n"));
                let plain = Request::get("h", path).header(&header);
                let (response, body) = answer(&daemon, &plain);
                answers.push_str(&format!("{response:?}\n{body}\n"));
            }
        }
    }
    let admin = format!("{}{}", daemon.admin("/stats"), daemon.admin("/connections"));
    wait_until(
        || daemon.stderr.get().matches("closed").count() > 100,
        || "the log tells of the connections".to_owned(),
    );
    assert!(answers.contains("roost.raw"), "some were let in");
    for token in [&good, &expired, &changed] {
        assert_absent(token, &daemon.stderr.get(), "the log");
        assert_absent(token, &daemon.stdout.get(), "the start block");
        assert_absent(token, &answers, "an answer");
        assert_absent(token, &admin, "an admin answer");
    }
}

#[test]
fn a_mistake_in_the_keys_stops_the_start_and_the_check() {
    let folder = Folder::new("mistakes", CONFIG);
    for (secrets, said) in [
        ("one short".to_owned(), "fewer than 32 bytes"),
        (String::new(), "no secret"),
    ] {
        fs::write(folder.0.join("secrets"), secrets).expect("a file");
        for verb in ["check-config", "run"] {
            let config = folder.config();
            let mut start = command(ROOSTD, &[verb, "--config", &config]);
            start.env("ROOSTD__ADMIN__SOCKET", "");
            let ended = run(start);
            assert!(!ended.status.success(), "{verb}");
            let told = format!("{}{}", ended.stdout, ended.stderr);
            assert!(told.contains(said), "{verb}: {told}");
            assert!(
                told.contains("auth.jwt.hmac_secrets_file"),
                "{verb}: {told}"
            );
        }
    }
}
