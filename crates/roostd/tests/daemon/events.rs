//! The journal of events, with the whole daemon and an application that takes batches, fails, hangs, or is
//! not there.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roost_access::Secret;
use roost_auth::PusherKey;
use roost_testkit::client::{Client, Message, Request};
use serde_json::{Value, json};

use crate::daemon::{Daemon, Log, wait_until};

/// What it does with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Takes,
    Fails,
    Hangs,
}

pub(crate) struct Batch {
    pub(crate) id: String,
    timestamp: String,
    signature: String,
    /// `X-Pusher-Key`, `X-Pusher-Signature`.
    pusher: [String; 2],
    /// `X-Shop`, which one webhook's configuration has.
    shop: String,
    pub(crate) bytes: Vec<u8>,
    was_taken: bool,
}

pub(crate) struct Application {
    pub(crate) address: SocketAddr,
    manner: Arc<Mutex<Manner>>,
    batches: Arc<Mutex<Vec<Batch>>>,
}

impl Application {
    pub(crate) fn start(manner: Manner) -> Application {
        Application::listen(TcpListener::bind("127.0.0.1:0").expect("a port"), manner)
    }

    fn listen(listener: TcpListener, manner: Manner) -> Application {
        let application = Application {
            address: listener.local_addr().expect("an address"),
            manner: Arc::new(Mutex::new(manner)),
            batches: Arc::default(),
        };
        let (manner, batches) = (application.manner.clone(), application.batches.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (manner, batches) = (manner.clone(), batches.clone());
                thread::spawn(move || {
                    let _ = serve(stream, &manner, &batches); // the daemon may have ended
                });
            }
        });
        application
    }

    fn becomes(&self, manner: Manner) {
        *self.manner.lock().expect("no thread panics with it") = manner;
    }

    pub(crate) fn batches(&self) -> MutexGuard<'_, Vec<Batch>> {
        self.batches.lock().expect("no thread panics with it")
    }

    /// All events that it has taken, each once; asserts that there is no hole.
    pub(crate) fn events(&self) -> Vec<Value> {
        let mut events: Vec<Value> = Vec::new();
        for batch in self.batches().iter().filter(|batch| batch.was_taken) {
            let body: Value = serde_json::from_slice(&batch.bytes).expect("JSON");
            for event in body["events"].as_array().expect("a list") {
                let n = event["n"].as_u64().expect("a number");
                assert!(n <= events.len() as u64 + 1, "a hole before {event}");
                if n == events.len() as u64 + 1 {
                    events.push(event.clone());
                }
            }
        }
        events
    }

    /// Waits until it has an event of this type, of this client or channel.
    #[track_caller]
    pub(crate) fn wait_for(&self, kind: &str, member: &str, value: &str) -> Value {
        let find = || {
            let events = self.events().into_iter();
            events.rev().find(|event| {
                event["type"] == kind && (member.is_empty() || event[member] == value)
            })
        };
        wait_until(
            || find().is_some(),
            || format!("no {kind} of {member} {value:?} in {:#?}", self.events()),
        );
        find().expect("it is there")
    }

    fn kinds(&self) -> Vec<String> {
        let events = self.events().into_iter();
        let kinds = events.map(|event| event["type"].as_str().expect("a word").to_owned());
        kinds.collect()
    }
}

fn serve(
    stream: TcpStream,
    manner: &Mutex<Manner>,
    batches: &Mutex<Vec<Batch>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let header = |name: &str| {
            let mut lines = lines.iter().filter_map(|line| line.split_once(": "));
            let found = lines.find(|(one, _)| one.eq_ignore_ascii_case(name));
            found.map_or(String::new(), |(_, value)| value.to_owned())
        };
        let mut bytes = vec![0; header("content-length").parse().expect("a length")];
        reader.read_exact(&mut bytes)?;
        let manner = *manner.lock().expect("no thread panics with it");
        batches
            .lock()
            .expect("no thread panics with it")
            .push(Batch {
                id: header("webhook-id"),
                timestamp: header("webhook-timestamp"),
                signature: header("webhook-signature"),
                pusher: ["x-pusher-key", "x-pusher-signature"].map(header),
                shop: header("x-shop"),
                bytes,
                was_taken: manner == Manner::Takes,
            });
        match manner {
            Manner::Takes => writer.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?,
            Manner::Fails => {
                writer.write_all(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")?;
            }
            Manner::Hangs => {
                thread::sleep(Duration::from_secs(3600));
                return Ok(());
            }
        }
    }
}

/// A daemon that tells the application all.
fn daemon(address: SocketAddr, more: &[&str]) -> Daemon {
    daemon_of("2", address, more)
}

pub(crate) fn daemon_of(reactors: &str, address: SocketAddr, more: &[&str]) -> Daemon {
    let url = format!("events.url=http://{address}/events");
    let mut args = vec!["--reactors", reactors];
    for setting in [url.as_str(), "events.types=[\"*\"]", "events.linger=50ms"]
        .iter()
        .chain(more)
    {
        args.extend(["--set", setting]);
    }
    Daemon::start(&args, Log::Read)
}

pub(crate) fn open(daemon: &Daemon, path: &str) -> Client {
    Client::open(daemon.address, path).expect("a WebSocket opens")
}

#[test]
fn what_happens_in_each_dialect_is_told_in_order_and_signed() {
    let application = Application::start(Manner::Takes);
    let secret = [7; 32];
    let file = std::env::temp_dir().join(format!("roostd-events-{}.secrets", std::process::id()));
    std::fs::write(&file, format!("whsec_{}\n", STANDARD.encode(secret))).expect("a file");
    let secrets = format!("events.secrets_file={}", file.display());
    let more = [
        secrets.as_str(),
        "events.node=eu-1",
        "centrifugo.enabled=true",
        "sse.enabled=true",
    ];
    let mut daemon = daemon(application.address, &more);
    assert_eq!(application.wait_for("node_started", "", "")["n"], 1);

    let raw = open(&daemon, "/raw/chat:1");
    let subscribed = application.wait_for("subscribed", "channel", "chat:1");
    assert_eq!(
        (&subscribed["protocol"], &subscribed["user"]),
        (&json!("raw"), &json!(""))
    );
    let client = subscribed["client"].as_str().expect("a name").to_owned();
    application.wait_for("connected", "client", &client);
    application.wait_for("occupied", "channel", "chat:1");
    drop(raw);
    application.wait_for("unsubscribed", "client", &client);
    application.wait_for("disconnected", "client", &client);
    application.wait_for("vacated", "channel", "chat:1");

    let mut stream = Client::connect(daemon.address).expect("it accepts");
    let request = Request::get("h", "/sse/chat:2").header("Accept: text/event-stream");
    stream.send(&request.bytes()).expect("it reads");
    assert_eq!(stream.read_response().expect("an answer").status, 200);
    let subscribed = application.wait_for("subscribed", "channel", "chat:2");
    assert_eq!(subscribed["protocol"], "sse");

    let mut wamp = Client::connect(daemon.address).expect("it accepts");
    let request = Request::websocket("h", "/").header("Sec-WebSocket-Protocol: wamp.2.json");
    wamp.shake_hands(&request).expect("a WebSocket opens");
    for message in [
        r#"[1,"realm1",{"roles":{"subscriber":{}}}]"#,
        r#"[32,1,{},"chat:3"]"#,
        r#"[32,2,{},"chat:3"]"#,
    ] {
        wamp.send_text(message).expect("it reads");
        wamp.receive().expect("an answer");
    }
    let subscribed = application.wait_for("subscribed", "channel", "chat:3");
    assert_eq!(subscribed["protocol"], "wamp");

    let mut centrifugo = open(&daemon, "/connection/websocket");
    for command in [
        r#"{"id":1,"connect":{}}"#,
        r#"{"id":2,"subscribe":{"channel":"chat:4"}}"#,
        r#"{"id":3,"unsubscribe":{"channel":"chat:4"}}"#,
    ] {
        centrifugo.send_text(command).expect("it reads");
        centrifugo.receive().expect("an answer");
    }
    application.wait_for("unsubscribed", "channel", "chat:4");
    application.wait_for("vacated", "channel", "chat:4");
    centrifugo.close().expect("a closing handshake");
    let closed = application.wait_for("disconnected", "protocol", "centrifugo");
    assert_eq!(closed["reason"], "closed by the client");

    daemon.signal("TERM");
    assert!(daemon.wait().success());
    let kinds = application.kinds();
    assert_eq!(kinds.last().map(String::as_str), Some("node_stopped"));
    let count = |kind: &str| kinds.iter().filter(|one| *one == kind).count();
    assert_eq!(
        (count("connected"), count("disconnected")),
        (4, 4),
        "{kinds:?}"
    );
    assert_eq!(
        (count("subscribed"), count("unsubscribed")),
        (4, 4),
        "{kinds:?}"
    );
    assert_eq!(
        (count("occupied"), count("vacated")),
        (4, 4),
        "two of them in the stop: {kinds:?}"
    );
    let told = application.wait_for("disconnected", "protocol", "wamp");
    assert_eq!(
        (&told["code"], &told["reason"]),
        (&json!(1001), &json!("server is going down"))
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    for batch in application.batches().iter() {
        let head = format!("{}.{}.", batch.id, batch.timestamp);
        let signed = hmac::sign(&key, &[head.as_bytes(), &batch.bytes].concat());
        assert_eq!(batch.signature, format!("v1,{}", STANDARD.encode(signed)));
        let body: Value = serde_json::from_slice(&batch.bytes).expect("JSON");
        assert_eq!(body["node"], "eu-1");
        let epoch = body["epoch"].as_str().expect("a word");
        assert_eq!(batch.id, format!("evt_{epoch}_{}", body["from"]));
    }
    let _ = std::fs::remove_file(&file);
}

#[test]
fn a_batch_that_is_not_taken_comes_again_as_it_was() {
    let application = Application::start(Manner::Fails);
    let daemon = daemon(application.address, &[]);
    let begin = Instant::now();
    let _client = open(&daemon, "/raw/chat:1");
    wait_until(
        || application.batches().len() >= 3,
        || "it is not sent again".to_owned(),
    );
    {
        let batches = application.batches();
        assert!(batches.iter().all(|one| one.bytes == batches[0].bytes));
        assert!(batches.iter().all(|one| one.id == batches[0].id));
    }
    assert!(daemon.count("event_batches_failed_total") >= 2);
    assert_eq!(daemon.count("events_delivered_total"), 0);
    let said = daemon.stderr.wait_for("has not taken a batch of events");
    let lines = said.matches("has not taken a batch of events").count() as u64;
    let most = 1 + begin.elapsed().as_secs() / 10;
    assert!(lines <= most, "one line in ten seconds: {said}");
    application.becomes(Manner::Takes);
    application.wait_for("occupied", "channel", "chat:1");
    assert_eq!(application.kinds()[0], "node_started");
    daemon.stderr.wait_for("events.url takes events again");
}

#[test]
fn an_application_that_hangs_slows_no_client_and_what_it_misses_is_counted() {
    let application = Application::start(Manner::Hangs);
    let more = [
        "events.queue_max=100",
        "events.batch_max=10",
        "events.timeout=1s",
    ];
    let daemon = daemon(application.address, &more);
    let mut quick = daemon.open();
    let begin = Instant::now();
    for n in 0..200 {
        drop(open(&daemon, "/raw/chat:1"));
        let text = n.to_string();
        quick.send_text(&text).expect("it is read");
        quick.expect_text(&text).expect("an echo");
    }
    // Had one of them waited for the application, it would have been a second.
    assert!(
        begin.elapsed() < Duration::from_secs(100),
        "{:?}",
        begin.elapsed()
    );
    wait_until(
        || daemon.count("events_lost_total") > 0,
        || "nothing is lost".to_owned(),
    );
    assert!(daemon.count("events_queued") > 0);
    application.becomes(Manner::Takes);
    let lost = application.wait_for("lost", "", "");
    assert!(lost["count"].as_u64().expect("a number") > 0);
    daemon.check_it_serves();
    let told = || {
        let events = application.events().into_iter();
        let lost = events.filter(|event| event["type"] == "lost");
        lost.map(|event| event["count"].as_u64().expect("a number"))
            .sum::<u64>()
    };
    wait_until(
        || daemon.count("events_queued") == 0 && told() == daemon.count("events_lost_total"),
        || {
            format!(
                "{} told as lost, {}",
                told(),
                daemon.count("events_lost_total")
            )
        },
    );
    let counts = || ["events_total", "events_delivered_total"].map(|name| daemon.count(name));
    wait_until(
        || counts() == [application.events().len() as u64; 2],
        || format!("{:?}, {} told", counts(), application.events().len()),
    );
}

#[test]
fn an_application_that_comes_late_is_told_all() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let mut daemon = daemon(address, &[]);
    for _ in 0..20 {
        drop(open(&daemon, "/raw/chat:1"));
    }
    daemon.stderr.wait_for("there is no connection to it");
    let application =
        Application::listen(TcpListener::bind(address).expect("its port"), Manner::Takes);
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    let kinds = application.kinds();
    let count = |kind: &str| kinds.iter().filter(|one| *one == kind).count();
    assert_eq!(
        (count("connected"), count("disconnected")),
        (20, 20),
        "{kinds:?}"
    );
    assert_eq!(kinds.last().map(String::as_str), Some("node_stopped"));
}

/// Homes of channels whose subscribers are connected to other reactors have nothing else to wait for.
#[test]
fn a_stop_vacates_every_channel() {
    let application = Application::start(Manner::Takes);
    let mut daemon = daemon_of("6", application.address, &[]);
    let clients: Vec<Client> = (0..12)
        .map(|n| open(&daemon, &format!("/raw/chat:{n}")))
        .collect();
    let count = |kind: &str| {
        application
            .kinds()
            .iter()
            .filter(|one| *one == kind)
            .count()
    };
    wait_until(
        || count("occupied") == 12,
        || format!("{:?}", application.kinds()),
    );
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    assert_eq!(count("vacated"), 12, "{:?}", application.kinds());
    drop(clients);
}

#[test]
fn an_application_that_hangs_does_not_hold_up_the_end() {
    let application = Application::start(Manner::Hangs);
    let mut daemon = daemon(application.address, &[]);
    let _client = open(&daemon, "/raw/chat:1");
    wait_until(
        || !application.batches().is_empty(),
        || "nothing is sent".to_owned(),
    );
    let begin = Instant::now();
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    assert!(
        begin.elapsed() < Duration::from_secs(20),
        "{:?}",
        begin.elapsed()
    );
    daemon
        .stderr
        .wait_for("events.url has not taken all events");
}

/// Two applications of Pusher's, each with webhooks; `events.url` is not set.
#[test]
fn webhooks_of_pushers_tell_each_application_of_its_own_channels() {
    let [shop, rest] = [(); 2].map(|()| Application::start(Manner::Takes));
    let directory = std::env::temp_dir().join(format!("roostd-webhooks-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let app = |id: &str, application: &Application, more: &str| {
        let secret = directory.join(id);
        std::fs::write(&secret, format!("secret of {id}\n")).expect("a file");
        format!(
            "[[pusher.app]]\nid = \"{id}\"\nkey = \"key-{id}\"\nsecret_file = \"{}\"\n\
             webhook_url = \"http://{}/\"\n{more}\n",
            secret.display(),
            application.address
        )
    };
    let config = [
        "[raw]\nenabled = true\n[events]\nlinger = \"50ms\"\n".to_owned(),
        app("shop", &shop, "prefix = \"shop:\""),
        app("rest", &rest, "webhook_events = [\"channel_vacated\"]"),
    ];
    let file = directory.join("roost.toml");
    std::fs::write(&file, config.concat()).expect("a file");
    let args = ["--reactors", "2", "--config", &file.display().to_string()];
    let mut daemon = Daemon::start(&args, Log::Read);
    let clients = ["/raw/shop:room", "/raw/shop:room", "/raw/room"].map(|path| open(&daemon, path));
    let waited = |application: &Application, events: Value| {
        wait_until(
            || told(application) == events,
            || format!("{} and not {events}", told(application)),
        );
    };
    let occupied = json!({"name": "channel_occupied", "channel": "room"});
    let vacated = json!({"name": "channel_vacated", "channel": "room"});
    waited(&shop, json!([occupied]));
    assert!(rest.batches().is_empty(), "{:?}", told(&rest));
    drop(clients);
    waited(&shop, json!([occupied, vacated]));
    waited(&rest, json!([vacated]));
    let _last = open(&daemon, "/raw/shop:room");
    waited(&shop, json!([occupied, vacated, occupied]));
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    waited(&shop, json!([occupied, vacated, occupied, vacated]));
    for batch in shop.batches().iter() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret of shop");
        let signed = hmac::sign(&key, &batch.bytes);
        let digits: String = signed
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(batch.pusher, ["key-shop".to_owned(), digits]);
    }
    let _ = std::fs::remove_dir_all(&directory);
}

/// A message of a client of Pusher's.
fn hear(client: &mut Client) -> Value {
    match client.receive().expect("it is told") {
        Message::Text(text) => serde_json::from_str(&text).expect("JSON"),
        other => panic!("{other:?} is no text"),
    }
}

fn say(client: &mut Client, message: &Value) {
    client.send_text(&message.to_string()).expect("it is sent");
}

/// A client of an application whose secret is `hush`, subscribed to a channel; and its id.
fn subscribe(daemon: &Daemon, key: &str, channel: &str, data: Option<&str>) -> (Client, String) {
    let mut client = open(daemon, &format!("/app/{key}?protocol=7"));
    let greeting = hear(&mut client);
    let greeting = greeting["data"].as_str().expect("a string");
    let greeting: Value = serde_json::from_str(greeting).expect("JSON");
    let id = greeting["socket_id"].as_str().expect("an id").to_owned();
    let signing = PusherKey::new(&Secret::from("hush".to_owned()));
    let auth = format!("{key}:{}", signing.sign_channel(&id, channel, data));
    let asked = json!({"channel": channel, "auth": auth, "channel_data": data});
    say(
        &mut client,
        &json!({"event": "pusher:subscribe", "data": asked}),
    );
    let answer = hear(&mut client);
    assert_eq!(answer["event"], "pusher_internal:subscription_succeeded");
    (client, id)
}

/// The events of all batches.
fn told(application: &Application) -> Value {
    let batches = application.batches();
    let events = batches.iter().flat_map(|batch| {
        let body: Value = serde_json::from_slice(&batch.bytes).expect("JSON");
        body["events"].as_array().expect("a list").clone()
    });
    Value::from(events.collect::<Vec<Value>>())
}

/// What an application has said of its webhooks beside `webhook_url`: which channels, which headers, and how
/// values are told.
#[test]
fn webhooks_of_pushers_have_filters_and_headers() {
    let [all, rooms] = [(); 2].map(|()| Application::start(Manner::Takes));
    let directory = std::env::temp_dir().join(format!("roostd-filters-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let secret = directory.join("secret");
    std::fs::write(&secret, "hush\n").expect("a file");
    let config = format!(
        "[pusher]\nenabled = true\n[events]\nlinger = \"0s\"\n\
         [[pusher.app]]\nid = \"shop\"\nkey = \"key\"\nsecret_file = \"{}\"\nprefix = \"shop:\"\n\
         webhook_url = \"http://{}/\"\nwebhook_events = [\"member_added\", \"client_event\"]\n\
         [[pusher.webhook]]\napp = \"shop\"\nurl = \"http://{}/\"\n\
         events = [\"member_added\", \"member_removed\", \"client_event\"]\nvalues = \"json\"\n\
         channel_name_starts_with = \"presence-\"\nchannel_name_ends_with = \"-room\"\n\
         headers = [\"X-Shop: 7\", \"x-pusher-key: other\", \"X-Pusher-Signature: other\"]\n",
        secret.display(),
        all.address,
        rooms.address
    );
    let file = directory.join("roost.toml");
    std::fs::write(&file, config).expect("a file");
    let args = ["--reactors", "2", "--config", &file.display().to_string()];
    let daemon = Daemon::start(&args, Log::Read);
    let waited = |application: &Application, events: &Value| {
        wait_until(
            || told(application) == *events,
            || format!("{} and not {events}", told(application)),
        );
    };
    let member = Some(r#"{"user_id":42}"#);
    let (hall, _) = subscribe(&daemon, "key", "presence-hall", member);
    let added = json!({"name": "member_added", "channel": "presence-hall", "user_id": "42"});
    waited(&all, &json!([added]));
    drop(hall);
    let (mut room, id) = subscribe(&daemon, "key", "presence-room", member);
    let in_room = |more: Value| {
        let mut event = json!({"channel": "presence-room"});
        let members = event.as_object_mut().expect("an object");
        members.extend(more.as_object().expect("an object").clone());
        event
    };
    let mut texts = vec![
        added,
        in_room(json!({"name": "member_added", "user_id": "42"})),
    ];
    let mut values = vec![in_room(json!({"name": "member_added", "user_id": 42}))];
    waited(&all, &json!(texts));
    waited(&rooms, &json!(values));
    let event = json!({"event": "client-x", "channel": "presence-room", "data": {"at": [1]}});
    say(&mut room, &event);
    let said = |data: Value, user: Value| {
        in_room(
            json!({"name": "client_event", "event": "client-x", "data": data,
            "socket_id": id, "user_id": user}),
        )
    };
    texts.push(said(json!(r#"{"at":[1]}"#), json!("42")));
    waited(&all, &json!(texts));
    values.push(said(json!({"at": [1]}), json!(42)));
    waited(&rooms, &json!(values));
    drop(room);
    values.push(in_room(json!({"name": "member_removed", "user_id": 42})));
    waited(&rooms, &json!(values));
    let signing = PusherKey::new(&Secret::from("hush".to_owned()));
    for batch in rooms.batches().iter() {
        let own = ["key".to_owned(), signing.sign_body(&batch.bytes)];
        assert_eq!((&batch.pusher, batch.shop.as_str()), (&own, "7"));
    }
    assert!(all.batches().iter().all(|batch| batch.shop.is_empty()));
    let _ = std::fs::remove_dir_all(&directory);
}

#[test]
fn webhooks_of_pushers_tell_of_client_events_and_of_caches_without_one() {
    let [shop, rest] = [(); 2].map(|()| Application::start(Manner::Takes));
    let directory = std::env::temp_dir().join(format!("roostd-said-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let secret = directory.join("secret");
    std::fs::write(&secret, "hush\n").expect("a file");
    let app = |id: &str, application: &Application, more: &str| {
        format!(
            "[[pusher.app]]\nid = \"{id}\"\nkey = \"key-{id}\"\nsecret_file = \"{}\"\n\
             webhook_url = \"http://{}/\"\n{more}\n",
            secret.display(),
            application.address
        )
    };
    let config = [
        "[pusher]\nenabled = true\n".to_owned(),
        app(
            "shop",
            &shop,
            "prefix = \"shop:\"\nwebhook_events = [\"client_event\", \"cache_miss\"]",
        ),
        app("rest", &rest, ""),
    ];
    let file = directory.join("roost.toml");
    std::fs::write(&file, config.concat()).expect("a file");
    let args = ["--reactors", "2", "--config", &file.display().to_string()];
    let daemon = Daemon::start(&args, Log::Read);
    let subscribed =
        |key: &str, channel: &str, data: Option<&str>| subscribe(&daemon, key, channel, data);
    let mut expected = Vec::new();
    let mut waited = |event: Value| {
        expected.push(event);
        wait_until(
            || told(&shop) == json!(expected),
            || format!("{} and not {}", told(&shop), json!(expected)),
        );
    };
    let (mut private, id) = subscribed("key-shop", "private-a", None);
    let event =
        |channel: &str, data: Value| json!({"event": "client-x", "channel": channel, "data": data});
    say(
        &mut private,
        &event("private-a", json!({"at": [1, "\u{e4}"]})),
    );
    let said = json!({"name": "client_event", "channel": "private-a", "event": "client-x",
        "data": "{\"at\":[1,\"\u{e4}\"]}", "socket_id": id});
    waited(said);
    // What is refused is not told.
    say(&mut private, &event("private-b", json!(1)));
    assert_eq!(hear(&mut private)["event"], "pusher:error");
    let (mut present, id) = subscribed("key-shop", "presence-a", Some("{\"user_id\":\"42\"}"));
    say(&mut present, &event("presence-a", json!("text")));
    let said = json!({"name": "client_event", "channel": "presence-a", "event": "client-x",
        "data": "text", "socket_id": id, "user_id": "42"});
    waited(said);
    let (_cached, _) = subscribed("key-shop", "cache-a", None);
    waited(json!({"name": "cache_miss", "channel": "cache-a"}));
    // The other application does not ask for these, and is told of its own channels alone.
    let (mut other, _) = subscribed("key-rest", "private-a", None);
    say(&mut other, &event("private-a", json!(1)));
    let occupied = json!([{"name": "channel_occupied", "channel": "private-a"}]);
    wait_until(|| told(&rest) == occupied, || told(&rest).to_string());
    assert_eq!(told(&shop), json!(expected));
    let _ = std::fs::remove_dir_all(&directory);
}
