//! Reloads of what says who may: keys of the API, hooks, users of WAMP.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use roost_testkit::client::{Client, Message, Request};
use serde_json::{Value, json};

use crate::daemon::{Daemon, wait_until};
use crate::hooks::{Application, Manner, ask};
use crate::reload::{Config, changes, reload};
use crate::tokens::sha256_digits;

fn echo(client: &mut Client, text: &str) {
    client.send_text(text).expect("it is read");
    client.expect_text(text).expect("an echo");
}

/// That each change is of the class `live`.
fn reload_live(daemon: &Daemon) {
    let changed = changes(daemon, false);
    let is_live = |(_, class): &(String, String)| class == "live";
    assert!(
        !changed.is_empty() && changed.iter().all(is_live),
        "{changed:?}"
    );
}

/// Where the API listens, as the start block says.
fn api_address(daemon: &Daemon) -> SocketAddr {
    let said = daemon.stdout.wait_for("\n  config ");
    let after = said
        .split("api         http://")
        .nth(1)
        .expect("it listens");
    after
        .lines()
        .next()
        .expect("a line")
        .trim()
        .parse()
        .expect("an address")
}

/// The status of a publication with a key.
fn publish(address: SocketAddr, key: &str, channel: &str) -> u16 {
    let body = json!({"channel": channel, "data": "x"}).to_string();
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a timeout");
    let length = body.len();
    let request = format!(
        "POST /v1/publish HTTP/1.1\r\nHost: {address}\r\nX-API-Key: {key}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("it is read");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("{answer}"))
}

#[test]
fn keys_of_the_api_are_those_of_the_last_reload() {
    let key = |name: &str, allow: &str| {
        let sha256 = sha256_digits(name.as_bytes());
        format!("[[api.key]]\nname = \"{name}\"\nsha256 = \"{sha256}\"\nallow = [\"{allow}\"]\n")
    };
    let api = "[echo]\nenabled = true\n[api]\nlisten = [\"127.0.0.1:0\"]\n";
    let first = key("the-first-key-of-all", "publish");
    let config = Config::new(&format!("{api}{first}"));
    let daemon = config.start();
    let mut old = daemon.open();
    let address = api_address(&daemon);
    assert_eq!(publish(address, "the-first-key-of-all", "a"), 200);
    assert_eq!(publish(address, "the-other-key-of-all", "a"), 401);

    // Another key beside it, and the first one may less.
    let less = key("the-first-key-of-all", "publish:news");
    let other = key("the-other-key-of-all", "publish");
    config.write(&format!("{api}{less}{other}"));
    assert_eq!(reload(&daemon, true).0, 200);
    assert_eq!(
        publish(address, "the-other-key-of-all", "a"),
        401,
        "only checked"
    );
    reload_live(&daemon);
    assert_eq!(publish(address, "the-first-key-of-all", "a"), 403);
    assert_eq!(publish(address, "the-first-key-of-all", "news"), 200);
    assert_eq!(publish(address, "the-other-key-of-all", "a"), 200);

    config.write(&format!("{api}{other}"));
    reload_live(&daemon);
    assert_eq!(
        publish(address, "the-first-key-of-all", "news"),
        401,
        "it is gone"
    );
    assert_eq!(publish(address, "the-other-key-of-all", "a"), 200);

    // A mistake in one changes none.
    config.write(&format!(
        "{api}{first}[[api.key]]\nname = \"x\"\nkey_file = \"/none\"\nallow = [\"publish\"]\n"
    ));
    assert_eq!(reload(&daemon, false).0, 422);
    assert_eq!(publish(address, "the-first-key-of-all", "a"), 401);
    assert_eq!(publish(address, "the-other-key-of-all", "a"), 200);
    echo(&mut old, "still there?");
}

fn hook(application: &Application, keys: &str) -> String {
    format!(
        "[echo]\nenabled = true\n[[namespace]]\nname = \"chat\"\nsubscribe = \"hook\"\n\
         [[hook]]\nevents = [\"connect\", \"subscribe\"]\nurl = \"http://{}/ask/{{event}}\"\n\
         headers = [\"cookie\"]\n{keys}",
        application.address
    )
}

#[test]
fn hooks_are_those_of_the_last_reload() {
    let first = Application::start(Manner::Decides);
    let config = Config::new(&hook(&first, ""));
    let daemon = config.start();
    let (mut old, status) = ask(&daemon, "/echo", "alice");
    assert_eq!(status, 101);
    assert_eq!(ask(&daemon, "/echo", "mallory").1, 403);
    let asked = first.questions().len();
    assert_eq!(asked, 2);

    // Another application, which is asked from now on.
    let second = Application::start(Manner::Decides);
    config.write(&hook(&second, ""));
    reload_live(&daemon);
    assert_eq!(ask(&daemon, "/raw/chat:1", "alice").1, 101);
    assert_eq!(first.questions().len(), asked, "it is asked no more");
    assert_eq!(second.questions().len(), 2, "to connect and to subscribe");

    // What is asked while it hangs is answered by what was asked, with the timeout that it had.
    second.becomes(Manner::Hangs);
    let hanging = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ask(&daemon, "/echo", "alice").1);
        wait_until(
            || second.questions().len() == 3,
            || "it is not asked".to_owned(),
        );
        config.write(&hook(&first, "timeout = \"500ms\"\n"));
        reload_live(&daemon);
        assert_eq!(
            ask(&daemon, "/echo", "alice").1,
            101,
            "the first answers again"
        );
        waiting.join().expect("it does not panic")
    });
    assert_eq!(hanging, 503, "no answer has come");

    // Without any there is none to ask, and what needs one is refused by the reload itself.
    config.write("[echo]\nenabled = true\n[[namespace]]\nname = \"chat\"\nsubscribe = \"hook\"\n");
    let (status, body) = reload(&daemon, false);
    assert!(status == 422 && body.contains("[[hook]]"), "{body}");
    config.write("[echo]\nenabled = true\n[[namespace]]\nname = \"chat\"\n");
    reload_live(&daemon);
    let before = first.questions().len();
    assert_eq!(ask(&daemon, "/raw/chat:1", "mallory").1, 101);
    assert_eq!(first.questions().len(), before);
    echo(&mut old, "still there?");
}

/// A file with a user's ticket, which goes with this.
struct Ticket(PathBuf);

impl Ticket {
    fn new(config: &Config, user: &str, ticket: &str) -> Ticket {
        let path = config.0.with_extension(user);
        fs::write(&path, ticket).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its permissions");
        Ticket(path)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A WAMP client, and what it is welcomed or turned away with.
fn log_in(daemon: &Daemon, user: &str, ticket: &str) -> (Client, Value) {
    let mut client = Client::connect(daemon.address).expect("it accepts");
    let request = Request::websocket("h", "/wamp").header("Sec-WebSocket-Protocol: wamp.2.json");
    client.shake_hands(&request).expect("it is served");
    let details = json!({"roles": {"publisher": {}, "subscriber": {}}, "authmethods": ["ticket"], "authid": user});
    say(&mut client, &json!([1, "realm1", details]));
    let mut answer = hear(&mut client);
    if answer[0] == 4 {
        say(&mut client, &json!([5, ticket, {}]));
        answer = hear(&mut client);
    }
    (client, answer)
}

fn say(client: &mut Client, message: &Value) {
    client.send_text(&message.to_string()).expect("it is read");
}

fn hear(client: &mut Client) -> Value {
    match client.receive().expect("a message") {
        Message::Text(text) => serde_json::from_str(&text).expect("JSON"),
        other => panic!("{other:?}"),
    }
}

/// The type of the answer to a subscription: 33 is SUBSCRIBED, 8 an ERROR.
fn subscribe(client: &mut Client, topic: &str) -> Value {
    say(client, &json!([32, 7, {}, topic]));
    hear(client)[0].clone()
}

#[test]
fn users_of_wamp_and_what_they_may_are_those_of_the_last_reload() {
    let config = Config::new("");
    let alice = Ticket::new(&config, "alice", "a ticket of alice\n");
    let bob = Ticket::new(&config, "bob", "a ticket of bob\n");
    let user = |name: &str, ticket: &Ticket| {
        let file = ticket.0.display();
        format!(
            "[[wamp.user]]\nauthid = \"{name}\"\nrealm = \"realm1\"\nrole = \"member\"\nticket_file = \"{file}\"\n"
        )
    };
    let may = |topic: &str| {
        format!(
            "[[wamp.permission]]\nrealm = \"realm1\"\nrole = \"member\"\nuri = \"{topic}\"\nallow = [\"subscribe\"]\n"
        )
    };
    let wamp = "[channels]\nsubscribe = \"granted\"\n[wamp]\nenabled = true\nanonymous = false\n";
    config.write(&format!(
        "{wamp}{}{}",
        user("alice", &alice),
        may("com.first")
    ));
    let daemon = config.start();
    let (mut old, answer) = log_in(&daemon, "alice", "a ticket of alice");
    assert_eq!(answer[0], 2, "{answer}");
    assert_eq!(log_in(&daemon, "bob", "a ticket of bob").1[0], 3);
    assert_eq!(subscribe(&mut old, "com.first"), 33);
    assert_eq!(subscribe(&mut old, "com.second"), 8);

    // A user more, another ticket of the first, and another permission.
    fs::write(&alice.0, "another of alice\n").expect("a file");
    config.write(&format!(
        "{wamp}{}{}{}",
        user("alice", &alice),
        user("bob", &bob),
        may("com.second")
    ));
    reload_live(&daemon);
    assert_eq!(
        log_in(&daemon, "alice", "a ticket of alice").1[0],
        3,
        "no longer"
    );
    assert_eq!(log_in(&daemon, "alice", "another of alice").1[0], 2);
    let (mut member, answer) = log_in(&daemon, "bob", "a ticket of bob");
    assert_eq!(answer[0], 2, "{answer}");
    assert_eq!(subscribe(&mut member, "com.second"), 33);
    assert_eq!(subscribe(&mut member, "com.first"), 8);

    // One that is gone may not log in again.
    config.write(&format!("{wamp}{}{}", user("bob", &bob), may("com.second")));
    reload_live(&daemon);
    assert_eq!(log_in(&daemon, "alice", "another of alice").1[0], 3);
    assert_eq!(log_in(&daemon, "bob", "a ticket of bob").1[0], 2);

    // A file that is not there changes nothing.
    let gone = bob.0.clone();
    fs::rename(&gone, gone.with_extension("away")).expect("it is there");
    let (status, body) = reload(&daemon, false);
    assert!(status == 422 && body.contains("ticket_file"), "{body}");
    fs::rename(gone.with_extension("away"), &gone).expect("it is there");
    assert_eq!(log_in(&daemon, "bob", "a ticket of bob").1[0], 2);
    say(&mut old, &json!([6, {}, "wamp.close.close_realm"]));
    assert_eq!(hear(&mut old)[0], 6, "it has been there all the time");
}
