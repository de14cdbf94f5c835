//! Reloads: what changes and for whom, and that a mistake changes nothing.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use roost_testkit::client::{Client, Request};
use serde_json::Value;

use crate::daemon::{Daemon, Log, wait_until};
use crate::tokens::sha256_digits;

/// A configuration in a file of its own, which goes with this.
pub(crate) struct Config(pub(crate) PathBuf);

impl Config {
    pub(crate) fn new(text: &str) -> Config {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("roost-reload-{}-{number}.toml", std::process::id());
        let config = Config(std::env::temp_dir().join(name));
        config.write(text);
        config
    }

    pub(crate) fn write(&self, text: &str) {
        fs::write(&self.0, text).expect("a file");
    }

    pub(crate) fn start(&self) -> Daemon {
        let path = self.0.to_str().expect("UTF-8");
        Daemon::start(&["--config", path], Log::Read)
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What a reload says: its status, and its body.
pub(crate) fn reload(daemon: &Daemon, check: bool) -> (u16, String) {
    let answer = daemon.post(if check { "/reload?check=1" } else { "/reload" });
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    (status.expect("a status"), body.to_owned())
}

/// The keys that a reload changes, with their classes.
pub(crate) fn changes(daemon: &Daemon, check: bool) -> Vec<(String, String)> {
    let (status, body) = reload(daemon, check);
    assert_eq!(status, 200, "{body}");
    let told: Value = serde_json::from_str(&body).expect("JSON");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let changes = told["changes"].as_array().expect("a list").iter();
    changes
        .map(|change| (text(&change["key"]), text(&change["class"])))
        .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |&(key, class): &(&str, &str)| (key.to_owned(), class.to_owned());
    expected.iter().map(owned).collect()
}

/// The status of a handshake from a page of a site.
fn status_of(daemon: &Daemon, origin: &str) -> u16 {
    let mut client = Client::connect(daemon.address).expect("it accepts");
    let request = Request::websocket("h", "/echo").header(format!("Origin: {origin}"));
    client.send(&request.bytes()).expect("sent");
    client.read_response().expect("an answer").status
}

const BEFORE: &str = "[server]\nreactors = 2\n[echo]\nenabled = true\n[limits]\nidle_timeout = \"1h\"\n\
                      [[namespace]]\nname = \"chat\"\npublish = \"anyone\"\n";

#[test]
fn a_reload_changes_what_it_can_and_names_what_needs_a_restart() {
    let config = Config::new(BEFORE);
    let daemon = config.start();
    let mut old = daemon.open();
    let mut member = Client::open(daemon.address, "/raw/news:a").expect("opens");
    assert_eq!(status_of(&daemon, "https://elsewhere.example"), 101);
    config.write(
        "[server]\nreactors = 3\n[listener]\nallowed_origins = [\"https://here.example\"]\n\
         [echo]\nenabled = true\n[limits]\nidle_timeout = \"1h\"\nmessage_bytes_max = \"1KiB\"\n\
         [[namespace]]\nname = \"news\"\npublish = \"nobody\"\n",
    );
    let expected = pairs(&[
        ("server.reactors", "restart"),
        (
            "listener \"127.0.0.1:0\".allowed_origins",
            "new connections",
        ),
        ("limits.message_bytes_max", "live"),
        ("limits.frame_bytes_max", "live"),
        ("namespace \"news\"", "live"),
        ("namespace \"chat\"", "live"),
    ]);
    assert_eq!(changes(&daemon, true), expected);
    assert_eq!(
        status_of(&daemon, "https://elsewhere.example"),
        101,
        "only checked"
    );
    assert_eq!(daemon.count("reloads_total"), 0);

    assert_eq!(changes(&daemon, false), expected);
    assert_eq!(status_of(&daemon, "https://elsewhere.example"), 403);
    assert_eq!(status_of(&daemon, "https://here.example"), 101);
    // A connection that was there goes on, under the limits that are new.
    old.send_text("still there?").expect("it is read");
    old.expect_text("still there?").expect("an echo");
    old.send_text(&"x".repeat(2_000)).expect("sent");
    old.expect_close(1009).expect("the new limit");
    // A channel that was there is of the namespace that is new.
    wait_until(
        || {
            daemon
                .admin("/channels?name=news:a")
                .contains("\"namespace\":\"news\"")
        },
        || daemon.admin("/channels?name=news:a"),
    );
    let stats = daemon.admin("/stats");
    assert!(
        stats.contains("\"news\":{") && stats.contains("\"chat\":{"),
        "{stats}"
    );
    let mut late = Client::open(daemon.address, "/raw/news:a").expect("opens");
    late.send_text("not allowed").expect("sent");
    wait_until(
        || daemon.count("publishes_refused_total") == 1,
        || "it is refused".to_owned(),
    );
    late.expect_close(1008).expect("it is told");
    let mut reader = Client::open(daemon.address, "/raw/news:a").expect("opens");
    member
        .send_text("allowed by its handshake")
        .expect("it is read");
    reader
        .expect_text("allowed by its handshake")
        .expect("a publication");
    assert_eq!(daemon.count("reloads_total"), 1);
    assert!(daemon.count("last_reload_seconds") > 1_700_000_000);

    // What needs a restart is still different; the rest is not.
    assert_eq!(
        changes(&daemon, false),
        pairs(&[("server.reactors", "restart")])
    );
}

/// A port that is free, or was a moment ago.
fn free_port() -> (TcpListener, u16) {
    let held = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = held.local_addr().expect("bound").port();
    (held, port)
}

fn echo(client: &mut Client, text: &str) {
    client.send_text(text).expect("it is read");
    client.expect_text(text).expect("an echo");
}

/// The first has the address that the test gives it.
fn with_listener(text: &str) -> String {
    format!(
        "[echo]\nenabled = true\n[[listener]]\nname = \"first\"\n[[listener]]\nname = \"second\"\n{text}"
    )
}

#[test]
fn listeners_are_added_moved_and_removed_and_their_connections_stay() {
    let without = "[echo]\nenabled = true\n[[listener]]\nname = \"first\"\n";
    let config = Config::new(without);
    let daemon = config.start();
    let open = |port: u16| Client::open(SocketAddr::from(([127, 0, 0, 1], port)), "/echo");
    let class = "listener added or removed";
    let mut clients = vec![daemon.open()];

    // A port that another process has: nothing changes.
    let (held, taken) = free_port();
    let second = |port: u16| with_listener(&format!("address = \"127.0.0.1:{port}\"\n"));
    config.write(&(second(taken) + "[limits]\nmessage_bytes_max = \"1KiB\"\n"));
    for is_check in [true, false] {
        let (status, body) = reload(&daemon, is_check);
        assert_eq!(status, 422, "{body}");
        for part in [
            ":7:",
            "listener \"second\".address",
            "cannot listen on 127.0.0.1",
        ] {
            assert!(body.contains(part), "no {part} in {body}");
        }
    }
    echo(&mut clients[0], &"x".repeat(2_000));
    drop(held);

    config.write(&second(taken));
    let added = pairs(&[("listener \"second\"", class)]);
    assert_eq!(changes(&daemon, true), added);
    assert!(open(taken).is_err(), "only checked");
    assert_eq!(changes(&daemon, false), added);
    clients.push(open(taken).expect("it listens"));
    assert_eq!(changes(&daemon, false), []);

    let (held, other) = free_port();
    drop(held);
    config.write(&second(other));
    let moved = pairs(&[("listener \"second\".address", class)]);
    assert_eq!(changes(&daemon, false), moved);
    clients.push(open(other).expect("it listens"));
    wait_until(|| open(taken).is_err(), || "it still listens".to_owned());

    let path = std::env::temp_dir().join(format!("roost-moved-{}.sock", std::process::id()));
    config.write(&with_listener(&format!(
        "address = \"unix:{}\"\n",
        path.display()
    )));
    assert_eq!(changes(&daemon, false), moved);
    let mut client = Client::connect_unix(&path).expect("it listens");
    client
        .shake_hands(&Request::websocket("h", "/echo"))
        .expect("it is served");
    clients.push(client);

    config.write(without);
    assert_eq!(changes(&daemon, false), added);
    wait_until(|| !path.exists(), || "its file is left".to_owned());
    for (number, client) in clients.iter_mut().enumerate() {
        echo(client, &format!("still there, {number}?"));
    }
    assert_eq!(daemon.count("abnormal_closes_total"), 0);
}

/// What a listener that goes on serves is another for connections that come from then on.
#[test]
fn a_listener_that_stays_takes_what_it_is_given_for_new_connections() {
    let listener =
        |rest: &str| format!("[echo]\nenabled = true\n[[listener]]\nname = \"only\"\n{rest}");
    let config = Config::new(&listener(""));
    let daemon = config.start();
    let mut old = daemon.open();
    config.write(&listener(
        "proxy_protocol = \"required\"\nproxy_protocol_from = [\"127.0.0.1\"]\n",
    ));
    let class = "new connections";
    assert_eq!(
        changes(&daemon, false),
        pairs(&[
            ("listener \"only\".proxy_protocol", class),
            ("listener \"only\".proxy_protocol_from", class)
        ])
    );
    echo(&mut old, "still there?");
    let open = |header: &[u8]| {
        let mut client = Client::connect(daemon.address)?;
        client.send(header)?;
        client.shake_hands(&Request::websocket("h", "/echo"))?;
        Ok::<Client, roost_testkit::client::Failure>(client)
    };
    assert!(open(b"").is_err(), "it has no header");
    let mut proxied = open(b"PROXY TCP4 192.0.2.7 127.0.0.1 7 80\r\n").expect("it has one");
    echo(&mut proxied, "through a proxy");
    config.write(&listener(""));
    assert_eq!(changes(&daemon, false).len(), 2);
    open(b"").expect("none is needed");
    echo(&mut proxied, "still there?");
}

#[test]
fn sighup_reloads_and_logs_what_changed() {
    let config = Config::new(BEFORE);
    let daemon = config.start();
    let mut old = daemon.open();
    config.write(
        &BEFORE
            .replace("\"1h\"", "\"2h\"")
            .replace("reactors = 2", "reactors = 1"),
    );
    daemon.signal("HUP");
    let log = daemon.stderr.wait_for("reloaded");
    for part in [
        "limits.idle_timeout: \"1h\" -> \"2h\" (for new connections)",
        "server.reactors: 2 -> 1 (at the next start; the running value stays)",
        "changed=1",
        "need_restart=1",
    ] {
        assert!(log.contains(part), "no {part} in\n{log}");
    }
    config.write("[limits]\nidle_timeout = 7\n");
    daemon.signal("HUP");
    let log = daemon.stderr.wait_for("not reloaded: nothing has changed");
    assert!(
        log.contains(":2:16: limits.idle_timeout: found the number 7"),
        "{log}"
    );
    wait_until(
        || daemon.count("reloads_failed_total") == 1,
        || "it is counted".to_owned(),
    );
    old.send_text("still there?").expect("it is read");
    old.expect_text("still there?").expect("an echo");
}

#[test]
fn a_change_of_one_key_beside_one_that_needs_a_restart_is_refused() {
    let key = format!(
        "{{ name = \"a\", sha256 = \"{}\", allow = [\"read\"] }}",
        "0".repeat(64)
    );
    let config = Config::new(&format!(
        "[echo]\nenabled = true\n[api]\nlisten = [\"127.0.0.1:0\"]\nkey = [{key}]\n"
    ));
    let daemon = config.start();
    // The API's address needs a restart, and stays without a key.
    config.write("[echo]\nenabled = true\n");
    let (status, body) = reload(&daemon, false);
    assert_eq!(status, 422, "{body}");
    assert!(
        body.contains("api.listen") && body.contains("restart"),
        "{body}"
    );
    assert_eq!(daemon.count("reloads_failed_total"), 1);
}

/// The status of a handshake with a token, or without.
fn status_with(daemon: &Daemon, token: Option<&str>) -> u16 {
    let mut client = Client::connect(daemon.address).expect("it accepts");
    let mut request = Request::websocket("h", "/echo");
    if let Some(token) = token {
        request = request.header(format!("Authorization: Bearer {token}"));
    }
    client.send(&request.bytes()).expect("sent");
    client.read_response().expect("an answer").status
}

/// The daemon starts without any of it.
#[test]
fn tokens_are_those_of_the_file_at_the_last_reload() {
    let bare = "[echo]\nenabled = true\n";
    let config = Config::new(bare);
    let daemon = config.start();
    let mut old = daemon.open();
    let file = config.0.with_extension("tokens");
    let line = |token: &str| {
        let sha256 = sha256_digits(token.as_bytes());
        format!("alice {sha256} sub:*\n")
    };
    fs::write(&file, line("first-token")).expect("a file");
    config.write(&format!(
        "{bare}[auth]\nrequired = true\nstatic_tokens_file = \"{}\"\n",
        file.display()
    ));
    let changed = changes(&daemon, false);
    assert!(
        changed.iter().all(|(_, class)| class != "restart"),
        "{changed:?}"
    );
    assert_eq!(status_with(&daemon, None), 401);
    assert_eq!(status_with(&daemon, Some("first-token")), 101);
    assert_eq!(status_with(&daemon, Some("second-token")), 401);
    // The same configuration, another file.
    fs::write(&file, line("second-token")).expect("a file");
    assert_eq!(status_with(&daemon, Some("second-token")), 401, "not yet");
    assert_eq!(changes(&daemon, false), []);
    assert_eq!(status_with(&daemon, Some("first-token")), 401);
    assert_eq!(status_with(&daemon, Some("second-token")), 101);
    // A mistake in it changes nothing.
    fs::write(&file, "no token\n").expect("a file");
    let (status, body) = reload(&daemon, false);
    assert_eq!(status, 422, "{body}");
    assert!(body.contains("auth.static_tokens_file"), "{body}");
    assert_eq!(status_with(&daemon, Some("second-token")), 101);
    config.write(bare);
    reload(&daemon, false);
    assert_eq!(status_with(&daemon, None), 101);
    echo(&mut old, "still there?");
    fs::remove_file(&file).expect("it is there");
}

/// Each text with what is wrong, and where.
const BAD: [(&str, &str); 22] = [
    ("[limits\n", ":1:8: "),
    ("[limits]\nidle_timeout = \n", ":2:"),
    ("[limits]\nidle_timeuot = \"1h\"\n", ":2:1: "),
    ("[limit]\n", ":1:2: "),
    ("[limits]\nidle_timeout = 7\n", ":2:16: "),
    ("[limits]\nidle_timeout = \"7\"\n", ":2:16: "),
    ("[limits]\nidle_timeout = \"1ms\"\n", ":2:16: "),
    ("[limits]\nmessage_bytes_max = \"1KB\"\n", ":2:21: "),
    ("[limits]\nmessage_bytes_max = -1\n", ":2:21: "),
    ("[limits]\nframe_bytes_max = \"2MiB\"\n", ":2:1: "),
    (
        "[limits]\nidle_timeout = \"1h\"\nidle_timeout = \"1h\"\n",
        ":3:1: ",
    ),
    ("[[namespace]]\npublish = \"anyone\"\n", ":1:"),
    (
        "[[namespace]]\nname = \"a\"\n[[namespace]]\nname = \"a\"\n",
        ":4:",
    ),
    ("[[namespace]]\nname = \"a b\"\n", ":2:8: "),
    ("[channels]\npublish = \"all\"\n", ":2:11: "),
    (
        "[channels]\npublish = \"subscribers\"\nsubscribe = \"nobody\"\n",
        ":2:1: ",
    ),
    ("[listener]\naddress = \"localhost:80\"\n", ":2:11: "),
    (
        "[listener]\nallowed_origins = [\"https://a/\"]\n",
        ":2:20: ",
    ),
    ("[listener.tls]\ncertificate = \"/none.pem\"\n", ":2:1: "),
    (
        "[listener.tls]\ncertificate = \"/none.pem\"\nkey = \"/none.key\"\n",
        ":2:1: listener.tls.certificate: /none.pem",
    ),
    ("[auth.jwt]\nhmac_secrets_file = \"/none\"\n", ":2:1: "),
    (
        "[[hook]]\nevents = [\"connect\"]\nurl = \"http://127.0.0.1:1/\"\nsecrets_file = \"/none\"\n",
        ":4:1: ",
    ),
];

#[test]
fn a_mistake_changes_nothing_and_is_told_with_its_place() {
    let config = Config::new(BEFORE);
    let daemon = config.start();
    let mut old = daemon.open();
    let file = config.0.display().to_string();
    for (number, (bad, place)) in BAD.into_iter().enumerate() {
        // Beside it stands what is good, and would be seen.
        config.write(&format!("{bad}[log]\nlevel = \"error\"\n"));
        for check in [true, false] {
            let (status, body) = reload(&daemon, check);
            assert_eq!(status, 422, "{bad}: {body}");
            assert!(body.contains(&format!("{file}{place}")), "{bad}: {body}");
            assert!(body.contains("nothing has changed"), "{body}");
        }
        old.send_text("x").expect("it is read");
        old.expect_text("x").expect("an echo");
        assert_eq!(daemon.count("reloads_failed_total"), number as u64 + 1);
    }
    fs::remove_file(&config.0).expect("it is there");
    let (status, body) = reload(&daemon, false);
    assert!(status == 422 && body.contains(&file), "{body}");
    // All is as it was: the same file again changes nothing.
    config.write(BEFORE);
    assert_eq!(changes(&daemon, false), []);
    assert_eq!(status_of(&daemon, "https://anywhere.example"), 101);
}
