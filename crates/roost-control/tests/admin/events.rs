//! Events that reactors had to drop, because the control thread did not take them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use roost_control::{Build, EventsTo, HookUrl, Limits, Listeners, Options, Served, Teller};
use roost_hooks::{JournalRules, Keys};
use roost_metrics::process::EVENTS_LOST;
use roost_reactor::{EventKinds, Events};
use roost_testkit::client::{Checked, Client, Message};
use roost_testkit::server::{Backend, DEADLINE, TestServer, wait_until};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

/// What an application has been told.
type Told = Arc<Mutex<Vec<Value>>>;

/// One that takes all.
fn application() -> (SocketAddr, Told) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let told = Told::default();
    let shared = told.clone();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let _ = take(&stream, &shared); // the control thread may have ended
        }
    });
    (address, told)
}

fn take(stream: &TcpStream, told: &Told) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().expect("a length");
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        let events = body["events"].as_array().expect("a list");
        told.lock()
            .expect("no test panics with it")
            .extend(events.iter().cloned());
        writer.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
    }
}

fn to(address: SocketAddr) -> EventsTo {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = tls
        .expect("versions")
        .with_root_certificates(RootCertStore::empty());
    EventsTo {
        rules: JournalRules {
            batch_max: 1_000,
            batch_wait_ms: 0,
            queue_max: 1_000_000,
            linger_ms: 0,
            tells_occupied: true,
            tells_vacated: true,
            tells_joined: true,
            tells_left: true,
        },
        teller: Teller::Node {
            name: "one".to_owned(),
            keys: Keys::default(),
            kinds: EventKinds::of(|_| true),
            namespaces: vec!["*".to_owned()],
        },
        url: HookUrl::parse(&format!("http://{address}/")).expect("a URL"),
        tls: Arc::new(tls.with_no_client_auth()),
        timeout: DEADLINE,
    }
}

/// More than a reactor keeps: what it drops is told in its place, and counted once.
#[test]
fn what_a_reactor_has_dropped_is_told_and_counted_once() -> Checked {
    let server = TestServer::with(Backend::Epoll, 1, |settings| {
        settings.events = Events {
            kinds: EventKinds::of(|_| true),
            namespaces: vec!["*".to_owned()],
        };
    });
    let before = EVENTS_LOST.get();
    let lost = || EVENTS_LOST.get() - before;
    let mut client = Client::open(server.address(), "/connection/websocket")?;
    client.send_text(r#"{"id":1,"connect":{}}"#)?;
    client.receive()?;
    let mut id = 1;
    while lost() < 1_000 {
        let mut lines = Vec::new();
        for _ in 0..50 {
            id += 2;
            lines.push(format!(
                r#"{{"id":{},"subscribe":{{"channel":"c"}}}}"#,
                id - 1
            ));
            lines.push(format!(r#"{{"id":{id},"unsubscribe":{{"channel":"c"}}}}"#));
        }
        client.send_text(&lines.join("\n"))?;
        let last = format!(r#""id":{id},"#);
        while !matches!(client.receive()?, Message::Text(text) if text.contains(&last)) {}
    }
    let (address, told) = application();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let happened_ms = now.expect("a clock behind 1970").as_millis();
    thread::sleep(Duration::from_millis(10)); // so that it is told later than it has happened
    let served = Served {
        admin: Listeners::bind(&Options::default()).expect("none"),
        limits: Limits::default(),
        api: None,
        tokens: None,
        hooks: Vec::new(),
        canary_interval: None,
        events: vec![to(address)],
        operator: None,
    };
    let build = Build {
        version: "1.2.3",
        driver: "epoll",
    };
    let control = roost_control::start(served, server.shared().clone(), build).expect("starts");
    let told = || told.lock().expect("no test panics with it").clone();
    let said = || {
        let told = told().into_iter().filter(|event| event["type"] == "lost");
        told.map(|event| event["count"].as_u64().expect("a number"))
            .sum::<u64>()
    };
    wait_until(
        || said() > 0 && said() == lost(),
        || format!("{} told as lost, {} counted", said(), lost()),
    );
    client.close()?;
    wait_until(
        || told().iter().any(|event| event["type"] == "disconnected"),
        || "what comes behind is not told".to_owned(),
    );
    for (at, event) in told().iter().enumerate() {
        assert_eq!(event["n"], at + 1, "no hole");
    }
    let time_ms = |event: &Value| u128::from(event["time_ms"].as_u64().expect("a time"));
    let told = told();
    let first = told.iter().find(|event| event["type"] == "connected");
    assert!(time_ms(first.expect("it is told")) <= happened_ms);
    control.stop(Duration::from_secs(10));
    Ok(())
}
