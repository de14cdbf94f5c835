//! An application that is asked about clients, with the whole daemon: it answers, hangs, fails, and says
//! nonsense.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roost_testkit::client::{Client, Message, Request};
use serde_json::{Value, json};

use crate::daemon::{Daemon, Log, wait_until};

/// How it treats questions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Manner {
    /// With what stands behind it, and status 200.
    Says(String),
    /// By whom asks: alice may everything, others nothing.
    Decides,
    Fails,
    /// Where it is asked about subscriptions; else it decides.
    FailsSubscribe,
    Hangs,
    /// It closes a connection that it has answered on once, when the next question comes.
    ClosesKept,
    /// It closes each connection when a question comes.
    Closes,
}

#[derive(Debug, Clone)]
pub(crate) struct Question {
    path: String,
    headers: HashMap<String, String>,
    body: Value,
    bytes: Vec<u8>,
}

pub(crate) struct Application {
    pub(crate) address: SocketAddr,
    manner: Arc<Mutex<Manner>>,
    questions: Arc<Mutex<Vec<Question>>>,
    connections: Arc<AtomicUsize>,
}

impl Application {
    pub(crate) fn start(manner: Manner) -> Application {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let application = Application {
            address: listener.local_addr().expect("an address"),
            manner: Arc::new(Mutex::new(manner)),
            questions: Arc::default(),
            connections: Arc::default(),
        };
        let (manner, questions) = (application.manner.clone(), application.questions.clone());
        let connections = application.connections.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                connections.fetch_add(1, Ordering::Relaxed);
                let (manner, questions) = (manner.clone(), questions.clone());
                thread::spawn(move || {
                    let _ = serve(stream, &manner, &questions); // the daemon may have ended
                });
            }
        });
        application
    }

    pub(crate) fn becomes(&self, manner: Manner) {
        *self.manner.lock().expect("no thread panics with it") = manner;
    }

    pub(crate) fn questions(&self) -> Vec<Question> {
        self.questions
            .lock()
            .expect("no thread panics with it")
            .clone()
    }
}

fn serve(
    stream: TcpStream,
    manner: &Mutex<Manner>,
    questions: &Mutex<Vec<Question>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    let mut answered = 0;
    loop {
        let question = read_question(&mut reader)?;
        let manner = manner.lock().expect("no thread panics with it").clone();
        let body = match &manner {
            Manner::Says(text) => text.clone(),
            Manner::Decides | Manner::FailsSubscribe => decide(&question),
            Manner::Fails => String::new(),
            Manner::Hangs => {
                questions
                    .lock()
                    .expect("no thread panics with it")
                    .push(question);
                thread::sleep(Duration::from_secs(3600));
                return Ok(());
            }
            Manner::ClosesKept if answered > 0 => return Ok(()),
            Manner::ClosesKept => decide(&question),
            Manner::Closes => {
                questions
                    .lock()
                    .expect("no thread panics with it")
                    .push(question);
                return Ok(());
            }
        };
        let fails = manner == Manner::Fails
            || manner == Manner::FailsSubscribe && question.path == "/ask/subscribe";
        questions
            .lock()
            .expect("no thread panics with it")
            .push(question);
        let status = if fails { "500 Oops" } else { "200 OK" };
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n");
        writer.write_all(format!("{head}{body}").as_bytes())?;
        answered += 1;
    }
}

fn read_question(reader: &mut impl BufRead) -> std::io::Result<Question> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers = lines[1..].iter().filter_map(|line| line.split_once(": "));
    let headers: HashMap<String, String> = headers
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers["content-length"].parse().expect("a length");
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes)?;
    Ok(Question {
        path: lines[0].split(' ').nth(1).expect("a path").to_owned(),
        headers,
        body: serde_json::from_slice(&bytes).expect("JSON"),
        bytes,
    })
}

fn decide(question: &Question) -> String {
    let cookie = question.headers.get("cookie").map_or("", String::as_str);
    let is_alice = question.body["user"] == "alice";
    let answer = match (question.path.as_str(), cookie) {
        ("/ask/connect", "s=alice") => json!({"result": {"user": "alice"}}),
        ("/ask/connect", "s=bob") => json!({"result": {"user": "bob"}}),
        ("/ask/connect", _) => json!({"disconnect": {"code": 4501, "reason": "no session"}}),
        ("/ask/publish", _) if is_alice && question.body["data"]["n"] == 2 => {
            json!({"result": {"data": {"n": "two"}}})
        }
        _ if is_alice => json!({"result": {}}),
        _ => json!({"error": {"code": 1000, "message": "not for you"}}),
    };
    answer.to_string()
}

/// What a client of Centrifugo's protocol is answered to `rpc`.
fn call(client: &mut Client, id: u32, rpc: &Value) -> Value {
    let command = json!({"id": id, "rpc": rpc});
    client.send_text(&command.to_string()).expect("it reads");
    loop {
        match client.receive().expect("an answer") {
            Message::Text(text) if text == "{}" => client.send_text("{}").expect("it reads"),
            Message::Text(text) => {
                let answer: Value = serde_json::from_str(&text).expect("JSON in one line");
                assert!(!text.contains('\n'), "{text:?}");
                assert_eq!(answer["id"], id, "{text}");
                return answer;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_method_goes_to_the_application_and_its_answer_to_the_client() {
    let application = Application::start(Manner::Says("{}".to_owned()));
    let keys = "timeout = \"500ms\"\non_failure = \"allow\"\n[[hook]]\nevents = [\"rpc\"]\n";
    let url = format!("url = \"http://{}/ask/{{event}}\"\n", application.address);
    let keys = format!("{keys}{url}timeout = \"500ms\"\n[centrifugo]\nenabled = true\n");
    let (daemon, _file) = daemon(&application, &keys);
    application.becomes(Manner::Decides);
    let request = Request::websocket("h", "/connection/websocket").header("Cookie: s=alice");
    let mut client = Client::connect(daemon.address).expect("it accepts");
    client.shake_hands(&request).expect("alice may connect");
    client
        .send_text(r#"{"id":1,"connect":{}}"#)
        .expect("it reads");
    client.receive().expect("it is connected");
    let rpc = json!({"method": "price", "data": {"of": ["é", 1]}});
    for (manner, expected) in [
        (
            r#"{"result":{"data":{"eur":12}}}"#,
            json!({"rpc": {"data": {"eur": 12}}}),
        ),
        (
            "{\"result\":{\"data\":[1,\n 2]}}\n",
            json!({"rpc": {"data": [1, 2]}}),
        ),
        (r#"{"result":{}}"#, json!({"rpc": {}})),
        (
            r#"{"result":{"b64data":"eyJhIjoxfQ=="}}"#,
            json!({"rpc": {"data": {"a": 1}}}),
        ),
        (
            r#"{"error":{"code":1234,"message":"sold \"out\"","temporary":true}}"#,
            json!({"error": {"code": 1234, "message": "sold \"out\"", "temporary": true}}),
        ),
        (
            r#"{"error":{"code":404,"message":"no such method"}}"#,
            json!({"error": {"code": 404, "message": "no such method"}}),
        ),
    ] {
        application.becomes(Manner::Says(manner.to_owned()));
        let mut answer = call(&mut client, 2, &rpc);
        answer.as_object_mut().expect("an object").remove("id");
        assert_eq!(answer, expected, "{manner}");
    }
    let asked = application.questions().pop().expect("it was asked");
    assert_eq!(asked.path, "/ask/rpc");
    let client_name = asked.body["client"].as_str().expect("a name").to_owned();
    assert_eq!(
        asked.body,
        json!({"client": client_name, "transport": "websocket", "protocol": "centrifugo",
            "encoding": "json", "user": "alice", "method": "price", "data": {"of": ["é", 1]}})
    );
    // Without an answer there is none, whatever on_failure says, and what stands behind it waits no longer.
    let unavailable = json!({"code": 100, "message": "internal server error", "temporary": true});
    for manner in [
        Manner::Fails,
        Manner::Hangs,
        Manner::Says(r#"{"result":{"b64data":"bm8="}}"#.to_owned()),
    ] {
        application.becomes(manner.clone());
        assert_eq!(
            call(&mut client, 3, &rpc)["error"],
            unavailable,
            "{manner:?}"
        );
    }
    application.becomes(Manner::Says(
        r#"{"disconnect":{"code":4501,"reason":"enough"}}"#.to_owned(),
    ));
    client
        .send_text(&json!({"id": 4, "rpc": rpc}).to_string())
        .expect("it reads");
    assert_eq!(client.expect_close(4501).expect("a close"), "enough");
}

/// A daemon that asks the application about everything in `chat`, with more keys of its hook.
fn daemon(application: &Application, keys: &str) -> (Daemon, PathBuf) {
    let file = config(application.address, keys);
    let daemon = Daemon::start(
        &["--reactors", "2", "--config", &file.display().to_string()],
        Log::Read,
    );
    (daemon, file)
}

fn config(application: SocketAddr, keys: &str) -> PathBuf {
    static FILES: AtomicUsize = AtomicUsize::new(0);
    let number = FILES.fetch_add(1, Ordering::Relaxed);
    let name = format!("roostd-hooks-{}-{number}.toml", std::process::id());
    let file = std::env::temp_dir().join(name);
    let text = format!(
        "[[namespace]]\nname = \"chat\"\nsubscribe = \"hook\"\npublish = \"hook\"\n\
         [[hook]]\nevents = [\"connect\", \"subscribe\", \"publish\"]\n\
         url = \"http://{application}/ask/{{event}}\"\nheaders = [\"cookie\"]\n{keys}\n"
    );
    std::fs::write(&file, text).expect("a file");
    file
}

pub(crate) fn ask(daemon: &Daemon, path: &str, cookie: &str) -> (Client, u16) {
    let mut client = Client::connect(daemon.address).expect("it accepts");
    client.set_timeout(Duration::from_secs(60));
    let request = Request::websocket(&daemon.address.to_string(), path);
    let request = request.header(format!("Cookie: s={cookie}"));
    client.send(&request.bytes()).expect("it reads");
    let status = client.read_response().expect("an answer").status;
    (client, status)
}

fn received(client: &mut Client) -> String {
    match client.receive().expect("a message") {
        Message::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_application_says_who_may_connect_subscribe_and_publish() {
    let application = Application::start(Manner::Decides);
    let (daemon, _file) = daemon(&application, "");
    assert_eq!(ask(&daemon, "/raw/chat:1", "mallory").1, 403);
    assert_eq!(ask(&daemon, "/raw/chat:1", "bob").1, 403);
    let (mut bob, status) = ask(&daemon, "/raw/open", "bob");
    assert_eq!(status, 101);
    bob.send_text("hello").expect("it is open");
    let (mut alice, status) = ask(&daemon, "/raw/chat:1", "alice");
    assert_eq!(status, 101);
    let (mut other, _) = ask(&daemon, "/raw/chat:1", "alice");
    for n in 1..=3 {
        let text = json!({"n": n}).to_string();
        alice.send_text(&text).expect("it is open");
    }
    for text in ["{\"n\":1}", "{\"n\":\"two\"}", "{\"n\":3}"] {
        assert_eq!(received(&mut other), text);
    }
    let questions = application.questions();
    let paths: Vec<&str> = questions.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(
        paths.iter().filter(|path| **path == "/ask/publish").count(),
        3
    );
    let publish = &questions[questions.len() - 1];
    assert_eq!(publish.body["channel"], "chat:1");
    assert_eq!(publish.body["transport"], "websocket");
    assert_eq!(publish.body["protocol"], "raw");
    // All went over few connections.
    assert!(application.connections.load(Ordering::Relaxed) <= 4);
    assert!(daemon.count("hooks_allowed_total") >= 7);
    assert_eq!(daemon.count("hooks_refused_total"), 2);
}

/// A hook that hangs is waited for by those who need its answer, for its timeout, and by no other.
#[test]
fn while_the_application_hangs_connected_clients_go_on() {
    let application = Application::start(Manner::Decides);
    let (daemon, _file) = daemon(
        &application,
        "timeout = \"2s\"\nin_flight_max = 64\nqueue_max = 16",
    );
    let (mut alice, _) = ask(&daemon, "/raw/open", "alice");
    let (mut other, _) = ask(&daemon, "/raw/open", "alice");
    application.becomes(Manner::Hangs);
    let begin = Instant::now();
    let waiting: Vec<_> = (0..200)
        .map(|_| {
            let address = daemon.address;
            thread::spawn(move || {
                let mut client = Client::connect(address).expect("it accepts");
                client.set_timeout(Duration::from_secs(60));
                let request = Request::websocket(&address.to_string(), "/raw/open");
                client.send(&request.bytes()).expect("it reads");
                client.read_response().expect("an answer")
            })
        })
        .collect();
    wait_until(
        || daemon.count("token_checks_in_flight") > 0 || begin.elapsed() > Duration::from_secs(2),
        || "none waits".to_owned(),
    );
    for n in 0..50 {
        alice.send_text(&n.to_string()).expect("it is open");
        assert_eq!(received(&mut other), n.to_string());
    }
    for client in waiting {
        let response = client.join().expect("no panic");
        assert_eq!(response.status, 503);
        assert_eq!(response.header("Retry-After"), Some("1"));
    }
    let asked = application.questions().len();
    assert!(
        asked < 100,
        "{asked} questions of 200 while 64 may be under way"
    );
    assert_eq!(daemon.count("hooks_unavailable_total"), 200);
    // It recovers by itself.
    application.becomes(Manner::Decides);
    wait_until(
        || ask(&daemon, "/raw/open", "alice").1 == 101,
        || "it is not asked again".to_owned(),
    );
    daemon.stderr.wait_for("a hook answers again");
    let said = daemon.stderr.get();
    assert_eq!(
        said.matches("half of a hook's calls fail").count(),
        1,
        "{said}"
    );
}

#[test]
fn failures_and_nonsense_allow_nothing() {
    let application = Application::start(Manner::Fails);
    let (daemon, _file) = daemon(&application, "answer_bytes_max = \"256B\"");
    let long = json!({"result": {"user": "alice", "info": "x".repeat(300)}}).to_string();
    let says = |text: &str| Manner::Says(text.to_owned());
    for manner in [
        Manner::Fails,
        Manner::Closes,
        says(""),
        says("null"),
        says("{}"),
        says("<html>"),
        says("{\"result\":{}}"),
        says("{\"result\":{\"user\":\"alice\"},\"error\":{\"code\":1000}}"),
        says("{\"result\":{\"user\":\"alice\"}"),
        says(&long),
    ] {
        application.becomes(manner.clone());
        assert_eq!(ask(&daemon, "/raw/open", "alice").1, 503, "{manner:?}");
    }
    assert_eq!(daemon.count("hook_calls_failed_total"), 10);
    daemon.stderr.wait_for("a hook was called in vain");
    application.becomes(Manner::Decides);
    assert_eq!(ask(&daemon, "/raw/open", "alice").1, 101);
    // One on a kept connection that is closed is asked once more on a new one, and not again.
    application.becomes(Manner::ClosesKept);
    assert_eq!(ask(&daemon, "/raw/open", "alice").1, 101);
    assert_eq!(ask(&daemon, "/raw/open", "alice").1, 101);
    assert_eq!(daemon.count("hook_calls_failed_total"), 10);
}

#[test]
fn questions_are_signed_and_the_secret_stands_in_no_log() {
    let secret = [7; 32];
    let encoded = STANDARD.encode(secret);
    let file = std::env::temp_dir().join(format!("roostd-hook-secrets-{}", std::process::id()));
    std::fs::write(&file, format!("whsec_{encoded}\n")).expect("a file");
    let application = Application::start(Manner::Decides);
    let keys = format!("secrets_file = \"{}\"", file.display());
    let (daemon, _config) = daemon(&application, &keys);
    assert_eq!(ask(&daemon, "/raw/open", "alice").1, 101);
    assert_eq!(ask(&daemon, "/raw/open", "alice").1, 101);
    let questions = application.questions();
    let header = |at: usize, name: &str| questions[at].headers[name].clone();
    assert_ne!(header(0, "webhook-id"), header(1, "webhook-id"));
    let signed = format!(
        "{}.{}.",
        header(0, "webhook-id"),
        header(0, "webhook-timestamp")
    );
    let message = [signed.as_bytes(), &questions[0].bytes].concat();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    let expected = format!("v1,{}", STANDARD.encode(hmac::sign(&key, &message)));
    assert_eq!(header(0, "webhook-signature"), expected);
    assert!(!daemon.stderr.get().contains(&encoded));
    std::fs::remove_file(&file).expect("it was there");
}

#[test]
fn equal_questions_are_asked_once_and_the_last_answer_serves_on() {
    let application = Application::start(Manner::Decides);
    let file = config(application.address, "");
    let text = std::fs::read_to_string(&file).expect("a file");
    let text = text.replace(
        "events = [\"connect\", \"subscribe\", \"publish\"]",
        "events = [\"connect\", \"publish\"]",
    );
    let second = format!(
        "[[hook]]\nevents = [\"subscribe\"]\nurl = \"http://{}/ask/{{event}}\"\n\
         on_failure = \"last\"\ncache = \"1s\"\ncache_stale_max = \"1h\"\ntimeout = \"500ms\"\n",
        application.address
    );
    std::fs::write(&file, text + &second).expect("a file");
    let args = ["--reactors", "2", "--config", &file.display().to_string()];
    let daemon = Daemon::start(&args, Log::Read);
    let joins = || {
        let questions = application.questions();
        questions
            .iter()
            .filter(|one| one.path == "/ask/subscribe")
            .count()
    };
    for _ in 0..5 {
        assert_eq!(ask(&daemon, "/raw/chat:1", "alice").1, 101);
    }
    assert!(joins() <= 2, "{} questions", joins());
    assert!(daemon.count("hook_calls_saved_total") >= 3);
    // Older than the cache has it, and the application fails: the last answer, if there is one.
    application.becomes(Manner::FailsSubscribe);
    thread::sleep(Duration::from_millis(1_100));
    let before = joins();
    assert_eq!(ask(&daemon, "/raw/chat:1", "alice").1, 101);
    assert_eq!(ask(&daemon, "/raw/chat:2", "alice").1, 503);
    assert_eq!(ask(&daemon, "/raw/chat:1", "bob").1, 503);
    assert_eq!(joins(), before + 3);
}
