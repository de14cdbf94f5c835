//! The keys of an issuer: fetched, kept, asked for anew, with the whole daemon.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use roost_testkit::client::{Client, Request};
use serde_json::json;

use crate::daemon::{Daemon, Log, wait_until};
use crate::reload::reload;

/// Answers each request with the present document, or that it is the same; without one, with 500.
struct Issuer {
    address: SocketAddr,
    document: Arc<Mutex<Option<String>>>,
    requests: Arc<AtomicUsize>,
    /// Of those, the ones that were answered with 304.
    unchanged: Arc<AtomicUsize>,
}

impl Issuer {
    fn start(document: String) -> Issuer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let issuer = Issuer {
            address: listener.local_addr().expect("an address"),
            document: Arc::new(Mutex::new(Some(document))),
            requests: Arc::default(),
            unchanged: Arc::default(),
        };
        let (document, requests) = (issuer.document.clone(), issuer.requests.clone());
        let unchanged = issuer.unchanged.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                requests.fetch_add(1, Ordering::Relaxed);
                let document = document.lock().expect("no thread panics with it").clone();
                let answered = answer(stream, document.as_deref());
                if answered.is_ok_and(|status| status.starts_with("304")) {
                    unchanged.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        issuer
    }

    fn publish(&self, document: Option<String>) {
        *self.document.lock().expect("no thread panics with it") = document;
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    fn unchanged(&self) -> usize {
        self.unchanged.load(Ordering::Relaxed)
    }
}

fn answer(mut stream: TcpStream, document: Option<&str>) -> std::io::Result<&'static str> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let etag = document.unwrap_or_default().bytes();
    let etag = etag.fold(0_u64, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    });
    let known = format!("if-none-match: \"{etag}\"\r\n");
    let is_known = String::from_utf8_lossy(&head)
        .to_lowercase()
        .contains(&known);
    let (status, body) = match document {
        Some(_) if is_known => ("304 Not Modified", ""),
        Some(document) => ("200 OK", document),
        None => ("500 Internal Server Error", ""),
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nETag: \"{etag}\"\r\n\r\n");
    stream.write_all(format!("{head}{body}").as_bytes())?;
    Ok(status)
}

fn document(keys: &[(&str, &Ed25519KeyPair)]) -> String {
    let keys: Vec<_> = keys
        .iter()
        .map(|(kid, key)| {
            let x = URL_SAFE_NO_PAD.encode(key.public_key());
            json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x})
        })
        .collect();
    json!({ "keys": keys }).to_string()
}

fn token(kid: &str, key: &Ed25519KeyPair) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let exp = now.expect("after 1970").as_secs() + 600;
    let head = json!({"alg": "EdDSA", "kid": kid});
    let claims = json!({"sub": "alice", "exp": exp, "aud": "chat", "iss": "https://id.example"});
    let encoded = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", encoded(head), encoded(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// A daemon that keeps the keys in `state`.
fn daemon(issuer: SocketAddr, state: &str, cooldown: &str) -> Daemon {
    let set = [
        format!("auth.jwt.jwks_url=http://{issuer}/jwks"),
        "auth.jwt.audience=chat".to_owned(),
        "auth.jwt.issuer=https://id.example".to_owned(),
        format!("auth.jwt.jwks_state_file={state}"),
        format!("auth.jwt.jwks_cooldown={cooldown}"),
        "auth.required=true".to_owned(),
        "auth.wait=20s".to_owned(),
    ];
    let mut args = vec!["--reactors", "2"];
    for one in &set {
        args.extend(["--set", one]);
    }
    Daemon::start(&args, Log::Read)
}

fn status(daemon: &Daemon, token: &str) -> u16 {
    let mut client = Client::connect(daemon.address).expect("it accepts");
    let request = Request::websocket(&daemon.address.to_string(), "/raw/news");
    let request = request.header(format!("Authorization: Bearer {token}"));
    client.send(&request.bytes()).expect("it reads");
    client.read_response().expect("an answer").status
}

fn state_file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("roostd-jwks-{name}-{}.json", std::process::id()))
}

#[test]
fn keys_serve_without_their_issuer_and_after_a_restart() {
    let file = state_file("restart");
    let state = file.display().to_string();
    let key = Ed25519KeyPair::generate().expect("a key");
    let issuer = Issuer::start(document(&[("a", &key)]));
    let first = daemon(issuer.address, &state, "30s");
    assert_eq!(status(&first, &token("a", &key)), 101);
    wait_until(|| file.exists(), || "the keys are kept".to_owned());
    // Made-up kids: none makes a fetch, for one was made a moment ago.
    for n in 0..200 {
        assert_eq!(status(&first, &token(&format!("made-up-{n}"), &key)), 401);
    }
    assert_eq!(issuer.requests(), 1);
    assert_eq!(first.count("tokens_refused_total"), 200);
    issuer.publish(None);
    assert_eq!(status(&first, &token("a", &key)), 101);
    drop(first);
    let second = daemon(issuer.address, &state, "30s");
    assert_eq!(
        status(&second, &token("a", &key)),
        101,
        "the issuer is down"
    );
    second.stderr.wait_for("could not be fetched");
    assert_eq!(status(&second, &token("a", &key)), 101);
    assert_eq!(issuer.requests(), 2);
    drop(second);
    // Without what was kept there are no keys, and it is said so.
    std::fs::remove_file(&file).expect("it was there");
    let third = daemon(issuer.address, &state, "1s");
    assert_eq!(status(&third, &token("a", &key)), 401);
    let ready = third.admin("/ready");
    assert!(
        ready.contains("503") && ready.contains("no keys"),
        "{ready}"
    );
    assert!(third.admin("/live").contains("200 OK"));
    issuer.publish(Some(document(&[("a", &key)])));
    wait_until(
        || third.admin("/ready").contains("200 OK"),
        || third.admin("/ready"),
    );
    assert_eq!(status(&third, &token("a", &key)), 101);
}

#[test]
fn a_token_of_a_new_key_waits_for_it() {
    let file = state_file("rotate");
    let state = file.display().to_string();
    let (old, new) = (
        Ed25519KeyPair::generate().expect("a key"),
        Ed25519KeyPair::generate().expect("a key"),
    );
    let issuer = Issuer::start(document(&[("old", &old)]));
    let daemon = daemon(issuer.address, &state, "1s");
    assert_eq!(status(&daemon, &token("old", &old)), 101);
    issuer.publish(Some(document(&[("new", &new)])));
    // In the cool-down it is refused; behind it, the first that comes waits for the fetch.
    wait_until(
        || status(&daemon, &token("new", &new)) == 101,
        || "the new key is not fetched".to_owned(),
    );
    // The old one is gone, and with it what was remembered of its tokens.
    assert_eq!(status(&daemon, &token("old", &old)), 401);
    let _ = std::fs::remove_file(&file);
}

/// What a reload puts in place are rules and keys of files.
#[test]
fn a_reload_keeps_the_keys_that_were_fetched() {
    let file = state_file("reload");
    let key = Ed25519KeyPair::generate().expect("a key");
    let issuer = Issuer::start(document(&[("a", &key)]));
    let daemon = daemon(issuer.address, &file.display().to_string(), "1h");
    assert_eq!(status(&daemon, &token("a", &key)), 101);
    issuer.publish(None);
    let (reloaded, said) = reload(&daemon, false);
    assert_eq!(reloaded, 200, "{said}");
    assert_eq!(status(&daemon, &token("a", &key)), 101);
    assert_eq!(status(&daemon, &token("b", &key)), 401);
    assert_eq!(issuer.requests(), 1);
    let _ = std::fs::remove_file(&file);
}

/// A document that has not changed is not sent again, and its keys serve on.
#[test]
fn an_issuer_is_asked_for_what_has_changed() {
    let file = state_file("etag");
    let key = Ed25519KeyPair::generate().expect("a key");
    let issuer = Issuer::start(document(&[("a", &key)]));
    let daemon = daemon(issuer.address, &file.display().to_string(), "1s");
    assert_eq!(status(&daemon, &token("a", &key)), 101);
    wait_until(
        || {
            let is_refused = status(&daemon, &token("made-up", &key)) == 401;
            is_refused && issuer.requests() > 1
        },
        || "it is not asked again".to_owned(),
    );
    assert_eq!(issuer.unchanged(), issuer.requests() - 1);
    assert_eq!(daemon.count("jwks_fetches_failed_total"), 0);
    assert_eq!(status(&daemon, &token("a", &key)), 101);
    let _ = std::fs::remove_file(&file);
}

/// An issuer that sends and sends does not fill the memory, and the keys that are there serve on.
#[test]
fn a_document_without_an_end_is_given_up_once_it_is_too_long() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (sent, counts) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            let chunk = format!("10000\r\n{}\r\n", "[".repeat(0x1_0000));
            // An answer that is there before the question is none.
            let mut asked = Vec::new();
            let mut reader = BufReader::new(&stream);
            while !asked.ends_with(b"\r\n\r\n")
                && reader
                    .read_until(b'\n', &mut asked)
                    .is_ok_and(|count| count > 0)
            {}
            let mut bytes = 0;
            if stream.write_all(head).is_ok() {
                while bytes < 1 << 30 && stream.write_all(chunk.as_bytes()).is_ok() {
                    bytes += chunk.len();
                }
            }
            let _ = sent.send(bytes); // the test may be over
        }
    });
    let daemon = daemon(address, "", "1s");
    daemon
        .stderr
        .wait_for("it is larger than auth.jwt.jwks_bytes_max");
    let bytes = counts.recv().expect("it has been given up");
    assert!(bytes < 64 << 20, "{bytes} bytes were taken");
    let key = Ed25519KeyPair::generate().expect("a key");
    assert_eq!(status(&daemon, &token("a", &key)), 401);
}
