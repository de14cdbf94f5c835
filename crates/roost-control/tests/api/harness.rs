//! A server with the API, and a client that speaks just enough HTTP.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use roost_auth::{PusherApp, PusherKey};
use roost_config::ApiScope;
use roost_control::{
    ApiKey, ApiLimits, ApiListener, ApiOptions, Build, Control, Limits, Listeners, Served, Tokens,
};
use roost_reactor::Shared;
use roost_testkit::server::{Backend, DEADLINE, TestServer};
use serde_json::Value;

/// The API of one test. Stopped when dropped.
pub(crate) struct Api {
    pub(crate) address: SocketAddr,
    control: Mutex<Option<Control>>,
}

/// A key that allows everything.
pub(crate) const KEY: &str = "a key that allows everything";
/// One that allows to publish on channels that begin with `order:`.
pub(crate) const ORDER_KEY: &str = "a key for orders";

/// One that allows nothing.
pub(crate) const NO_KEY: &str = "a key that allows nothing";

/// The id of an application of Pusher's, without a prefix.
pub(crate) const APP: &str = "3";
/// Its key and its secret; those of another one end in its id.
pub(crate) const APP_KEY: &str = "key-of-3";
pub(crate) const APP_SECRET: &str = "secret-of-3";

/// An application of Pusher's.
pub(crate) fn app(id: &str, prefix: &str) -> PusherApp {
    PusherApp {
        id: id.into(),
        key: format!("key-of-{id}").into(),
        signing: signing(&format!("secret-of-{id}")),
        prefix: prefix.into(),
        enabled: true,
        client_events: true,
        authorized_connections: false,
    }
}

pub(crate) fn signing(secret: &str) -> PusherKey {
    PusherKey::new(&secret.as_bytes().to_vec().into())
}

pub(crate) fn limits() -> ApiLimits {
    ApiLimits {
        in_flight_max: 64,
        body_bytes_max: 1 << 20,
        bodies_bytes_max: 16 << 20,
        strict_namespaces: false,
        timeout: DEADLINE,
        token_lifetime: Some(Duration::from_secs(3_600)),
    }
}

impl Api {
    pub(crate) fn of(shared: &Shared) -> Api {
        Api::with(shared, limits())
    }

    pub(crate) fn with(shared: &Shared, limits: ApiLimits) -> Api {
        Api::checking(shared, limits, None)
    }

    /// It checks tokens too.
    pub(crate) fn checking(shared: &Shared, limits: ApiLimits, tokens: Option<Tokens>) -> Api {
        let listener = ApiListener::tcp(SocketAddr::from(([127, 0, 0, 1], 0))).expect("binds");
        let address = listener.address().expect("it has a port");
        let keys = vec![
            key("everything", KEY, ApiScope::all()),
            key(
                "orders",
                ORDER_KEY,
                vec![ApiScope::parse("publish:order:*").expect("a scope")],
            ),
            key("nothing", NO_KEY, Vec::new()),
        ];
        let disabled = PusherApp {
            enabled: false,
            ..app("off", "off:")
        };
        let options = ApiOptions {
            listeners: vec![listener],
            keys,
            pusher: vec![app(APP, ""), app("other", "other:"), disabled],
            limits,
            revocations: None,
        };
        let control = start_with(shared, options, tokens).expect("starts");
        Api {
            address,
            control: Mutex::new(Some(control)),
        }
    }

    pub(crate) fn stop(&self) {
        let control = self.control.lock().expect("no test panics with it").take();
        if let Some(control) = control {
            control.stop(DEADLINE);
        }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the address is served");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream
    }

    /// A POST of JSON with the key that allows everything.
    pub(crate) fn post(&self, path: &str, json: &str) -> Answer {
        self.post_with(path, &format!("Authorization: Bearer {KEY}\r\n"), json)
    }

    pub(crate) fn post_with(&self, path: &str, headers: &str, json: &str) -> Answer {
        let headers = format!("{headers}Content-Type: application/json\r\n");
        self.request("POST", path, &headers, json.as_bytes())
    }

    pub(crate) fn request(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: api\r\nConnection: close\r\n{headers}\
             Content-Length: {length}\r\n\r\n"
        );
        let mut stream = self.connect();
        stream
            .write_all(head.as_bytes())
            .expect("it reads the head");
        let _ = stream.write_all(body); // it may refuse before it has read all
        Answer::parse(&read_to_end(&mut stream))
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) fn start(shared: &Shared, options: ApiOptions) -> std::io::Result<Control> {
    start_with(shared, options, None)
}

fn start_with(
    shared: &Shared,
    options: ApiOptions,
    tokens: Option<Tokens>,
) -> std::io::Result<Control> {
    let served = Served {
        admin: Listeners::bind(&roost_control::Options::default()).expect("none"),
        limits: Limits::default(),
        api: Some(options),
        tokens,
        hooks: Vec::new(),
        canary_interval: None,
        events: Vec::new(),
        operator: None,
    };
    let build = Build {
        version: "1.2.3",
        driver: "epoll",
    };
    roost_control::start(served, shared.clone(), build)
}

pub(crate) fn key(name: &str, secret: &str, allow: Vec<ApiScope>) -> ApiKey {
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
    ApiKey {
        name: name.to_owned(),
        sha256,
        allow,
    }
}

/// Two reactors on epoll.
pub(crate) fn server() -> TestServer {
    TestServer::with(Backend::Epoll, 2, |_| {})
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (own, value) = line.split_once(": ")?;
            own.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Lines of JSON.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let lines = self.body.lines();
        let lines = lines.map(|line| serde_json::from_str(line).expect("a line of JSON"));
        lines.collect()
    }

    /// That it is this problem; its detail.
    pub(crate) fn problem(&self, status: u16, kind: &str) -> String {
        assert_eq!(self.status, status, "{self:?}");
        let content_type = self.header("content-type");
        assert_eq!(content_type, Some("application/problem+json"), "{self:?}");
        let json = self.json();
        assert_eq!(
            json["type"],
            format!("urn:roost:problem:{kind}"),
            "{self:?}"
        );
        assert_eq!(json["status"], status, "{self:?}");
        assert!(json["title"].is_string(), "{self:?}");
        json["detail"].as_str().expect("a detail").to_owned()
    }

    fn parse(bytes: &[u8]) -> Answer {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1);
        let status = status.and_then(|status| status.parse().ok());
        let is_chunked = head
            .to_ascii_lowercase()
            .contains("transfer-encoding: chunked");
        Answer {
            status: status.unwrap_or_else(|| panic!("no status in {text:?}")),
            head: head.to_owned(),
            body: match is_chunked {
                true => unchunked(body),
                false => body.to_owned(),
            },
        }
    }
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).expect("a chunk's length");
        let _ = write!(whole, "{}", &rest[..length]);
        body = rest[length..].strip_prefix("\r\n").expect("a chunk's end");
    }
    whole
}

/// All that comes, to FIN or RST.
fn read_to_end(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return bytes,
            Ok(length) => bytes.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return bytes,
            Err(error) => panic!("{error} behind {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
}

/// Well above what an answer takes that waits for nothing.
pub(crate) const SOON: Duration = Duration::from_secs(10);
