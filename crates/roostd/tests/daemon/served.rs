//! What an application grants a client that connects, with the whole daemon: channels that the server subscribes it
//! to, of several homes, and what others are told of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use roost_testkit::client::{Client, Message, Request};
use serde_json::{Value, json};

use crate::daemon::{Daemon, Log};
use crate::hooks::{Application, Manner};

const DRIVERS: [&str; 2] = ["epoll", "io_uring"];

/// Enough that both reactors are home to some, but for one process in a thousand.
fn channels() -> Vec<String> {
    (0..11).map(|n| format!("kept:{n}")).collect()
}

/// The application's answer: most of the channels in `channels`, the others in `subs`.
fn grants(user: &str) -> String {
    let all = channels();
    let (listed, others) = all.split_at(7);
    let subs: BTreeMap<_, _> = others.iter().map(|name| (name, json!({}))).collect();
    let result = json!({"user": user, "info": {"name": user}, "channels": listed, "subs": subs});
    json!({ "result": result }).to_string()
}

/// A daemon with two reactors that asks the application who connects.
fn daemon(driver: &str, application: &Application) -> (Daemon, PathBuf) {
    static FILES: AtomicUsize = AtomicUsize::new(0);
    let number = FILES.fetch_add(1, Ordering::Relaxed);
    let name = format!("roostd-served-{}-{number}.toml", std::process::id());
    let file = std::env::temp_dir().join(name);
    let address = application.address;
    let text = format!(
        "[centrifugo]\nenabled = true\n\
         [[namespace]]\nname = \"kept\"\nsubscribe = \"granted\"\npublish = \"anyone\"\n\
         history_messages_max = 20\npresence = \"members\"\n\
         [[hook]]\nevents = [\"connect\"]\nurl = \"http://{address}/ask/{{event}}\"\n"
    );
    std::fs::write(&file, text).expect("a file");
    let path = file.display().to_string();
    let args = ["--driver", driver, "--reactors", "2", "--config", &path];
    (Daemon::start(&args, Log::Read), file)
}

/// A connection with the answer to its `connect`.
fn connect(daemon: &Daemon, subs: &Value) -> (Client, Value) {
    let mut client = Client::connect(daemon.address).expect("it accepts");
    let request = Request::websocket("h", "/connection/websocket");
    client.shake_hands(&request).expect("it may connect");
    let reply = ask(&mut client, &json!({"id": 1, "connect": {"subs": subs}}));
    (client, reply["connect"].clone())
}

/// The reply to a command; pushes that come before it are none.
fn ask(client: &mut Client, command: &Value) -> Value {
    client.send_text(&command.to_string()).expect("it is open");
    loop {
        let reply = receive(client);
        if reply["id"] == command["id"] {
            assert_eq!(reply["error"], Value::Null, "{reply}");
            return reply;
        }
    }
}

fn receive(client: &mut Client) -> Value {
    loop {
        match client.receive().expect("a message") {
            Message::Text(text) if text == "{}" => client.send_text("{}").expect("it is open"),
            Message::Text(text) => return serde_json::from_str(&text).expect("one line"),
            other => panic!("{other:?}"),
        }
    }
}

fn publish(client: &mut Client, data: &str) {
    for channel in channels() {
        let publish = json!({"channel": channel, "data": data});
        ask(client, &json!({"id": 7, "publish": publish}));
    }
}

#[test]
fn a_client_is_subscribed_to_all_that_the_application_names() {
    for driver in DRIVERS {
        let application = Application::start(Manner::Says(grants("alice")));
        let (daemon, file) = daemon(driver, &application);
        let (mut alice, connected) = connect(&daemon, &json!({}));
        let subs = connected["subs"]
            .as_object()
            .expect("subscriptions")
            .clone();
        let mut expected = channels();
        expected.sort();
        let names: Vec<String> = subs.keys().cloned().collect();
        assert_eq!(names, expected, "{driver}: {connected}");
        application.becomes(Manner::Says(grants("bob")));
        let (mut bob, connected) = connect(&daemon, &json!({}));
        publish(&mut bob, "one");
        // In any order, for they have several homes, and each once.
        let mut got = BTreeMap::new();
        for _ in 0..channels().len() {
            let push = receive(&mut alice)["push"].take();
            let publication = &push["pub"];
            assert_eq!(publication["data"], "one", "{driver}: {push}");
            let info = json!({"user": "bob", "client": connected["client"],
                "conn_info": {"name": "bob"}});
            assert_eq!(publication["info"], info, "{driver}: {push}");
            let channel = push["channel"].as_str().expect("a name").to_owned();
            let offset = publication["offset"].as_u64().expect("an offset");
            assert_eq!(got.insert(channel, offset), None, "{driver}: twice");
        }
        assert_eq!(got.keys().cloned().collect::<Vec<_>>(), expected);
        members_have_info(&mut alice);
        alice.close().expect("a closing handshake");

        publish(&mut bob, "two");
        application.becomes(Manner::Says(grants("alice")));
        let known = got.iter().map(|(name, offset)| {
            let epoch = &subs[name]["epoch"];
            (
                name,
                json!({"recover": true, "offset": offset, "epoch": epoch}),
            )
        });
        let (mut alice, connected) = connect(&daemon, &json!(known.collect::<BTreeMap<_, _>>()));
        for (name, offset) in &got {
            let sub = &connected["subs"][name];
            assert_eq!(sub["recovered"], true, "{driver}: {connected}");
            let publications = sub["publications"].as_array().expect("what was missed");
            assert_eq!(publications.len(), 1, "{driver}: {sub}");
            assert_eq!(publications[0]["data"], "two", "{driver}: {sub}");
            assert_eq!(publications[0]["offset"], offset + 1, "{driver}: {sub}");
        }
        publish(&mut bob, "three");
        for _ in 0..channels().len() {
            let push = receive(&mut alice)["push"].take();
            assert_eq!(push["pub"]["data"], "three", "{driver}: {push}");
        }
        assert!(!daemon.stderr.get().contains("ERROR"), "{driver}");
        std::fs::remove_file(file).expect("it is ours");
    }
}

/// Who is in a channel is told with what the application says of it.
fn members_have_info(client: &mut Client) {
    let ask_for = json!({"id": 9, "presence": {"channel": "kept:3"}});
    let reply = ask(client, &ask_for);
    let members = reply["presence"]["presence"].as_object().expect("members");
    let mut infos: Vec<(&Value, &Value)> = members
        .values()
        .map(|member| (&member["user"], &member["conn_info"]))
        .collect();
    infos.sort_by_key(|(user, _)| user.to_string());
    let (alice, bob) = (json!({"name": "alice"}), json!({"name": "bob"}));
    assert_eq!(infos, [(&json!("alice"), &alice), (&json!("bob"), &bob)]);
}

#[test]
fn an_answer_that_names_no_channels_lets_no_client_in() {
    let application = Application::start(Manner::Says(grants("alice")));
    let (daemon, file) = daemon("epoll", &application);
    for bad in [
        r#"{"result":{"user":"alice","channels":"kept:1"}}"#,
        r#"{"result":{"user":"alice","channels":["kept:\n"]}}"#,
        r#"{"result":{"user":"alice","subs":{"kept:1":true}}}"#,
    ] {
        application.becomes(Manner::Says(bad.to_owned()));
        let mut client = Client::connect(daemon.address).expect("it accepts");
        let request = Request::websocket("h", "/connection/websocket");
        client.send(&request.bytes()).expect("it reads");
        let status = client.read_response().expect("an answer").status;
        assert_eq!(status, 503, "{bad}");
    }
    std::fs::remove_file(file).expect("it is ours");
}
