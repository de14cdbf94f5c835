//! A server with a control thread, and a client of its listeners that speaks just enough HTTP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use roost_control::{Build, Control, Limits, Listeners, Operator, Options, Served, Socket};
use roost_reactor::Shared;
use roost_testkit::server::{Backend, DEADLINE, TestServer};

/// The listeners of one test, on a socket of its own and a free port. Stopped when dropped.
pub(crate) struct Admin {
    pub(crate) path: PathBuf,
    pub(crate) address: SocketAddr,
    control: Mutex<Option<Control>>,
}

impl Admin {
    pub(crate) fn of(shared: &Shared) -> Admin {
        Admin::with(shared, Limits::default())
    }

    pub(crate) fn with(shared: &Shared, limits: Limits) -> Admin {
        Admin::started(shared, limits, None, None)
    }

    /// With a canary.
    pub(crate) fn with_canary(shared: &Shared, interval: Duration) -> Admin {
        Admin::started(shared, Limits::default(), Some(interval), None)
    }

    pub(crate) fn operated(
        shared: &Shared,
        limits: Limits,
        operator: Option<Arc<dyn Operator>>,
    ) -> Admin {
        Admin::started(shared, limits, None, operator)
    }

    fn started(
        shared: &Shared,
        limits: Limits,
        canary_interval: Option<Duration>,
        operator: Option<Arc<dyn Operator>>,
    ) -> Admin {
        let path = fresh_path();
        let options = Options {
            socket: Some(socket_at(&path)),
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        };
        let listeners = Listeners::bind(&options).expect("binds");
        let address = listeners.address().expect("it has a port");
        let build = Build {
            version: "1.2.3",
            driver: "epoll",
        };
        let served = Served {
            admin: listeners,
            limits,
            api: None,
            tokens: None,
            hooks: Vec::new(),
            canary_interval,
            events: Vec::new(),
            operator,
        };
        let control = roost_control::start(served, shared.clone(), build).expect("starts");
        Admin {
            path,
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

    pub(crate) fn unix(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).expect("the socket is served");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream
    }

    pub(crate) fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the address is served");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream
    }

    /// GET over the unix socket.
    pub(crate) fn get(&self, target: &str) -> Answer {
        ask(&mut self.unix(), "GET", target, "", b"")
    }

    /// POST over the unix socket.
    pub(crate) fn post(&self, target: &str, headers: &str, body: &[u8]) -> Answer {
        ask(&mut self.unix(), "POST", target, headers, body)
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Two reactors on epoll.
pub(crate) fn server() -> TestServer {
    TestServer::with(Backend::Epoll, 2, |_| {})
}

pub(crate) fn socket_at(path: &Path) -> Socket {
    Socket {
        path: path.to_owned(),
        mode: 0o600,
        group: None,
    }
}

/// A path that no other test has.
pub(crate) fn fresh_path() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("roost-admin-{}-{number}.sock", std::process::id());
    std::env::temp_dir().join(name)
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (own, value) = line.split_once(": ")?;
            own.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn parse(bytes: &[u8]) -> Answer {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        Answer {
            status: status.unwrap_or_else(|| panic!("no status in {text:?}")),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }
}

/// Sends one request and reads to the connection's end.
pub(crate) fn ask(
    stream: &mut (impl Read + Write),
    method: &str,
    target: &str,
    headers: &str,
    body: &[u8],
) -> Answer {
    ask_with_host(
        stream,
        (method, target),
        &format!("Host: admin\r\n{headers}"),
        body,
    )
}

/// The same with a `Host` of the caller's, among the headers.
pub(crate) fn ask_with_host(
    stream: &mut (impl Read + Write),
    (method, target): (&str, &str),
    headers: &str,
    body: &[u8],
) -> Answer {
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nConnection: close\r\n{headers}\
         Content-Length: {length}\r\n\r\n"
    );
    stream
        .write_all(head.as_bytes())
        .expect("it reads the head");
    let _ = stream.write_all(body); // it may refuse before it has read all
    Answer::parse(&read_to_end(stream))
}

/// What stands between the first of both.
pub(crate) fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let behind = text.split_once(begin).map(|(_, behind)| behind);
    let inside = behind.and_then(|behind| behind.split_once(end));
    inside
        .unwrap_or_else(|| panic!("no {begin} and {end} in {text}"))
        .0
}

/// All that comes, to FIN or RST.
pub(crate) fn read_to_end(stream: &mut impl Read) -> Vec<u8> {
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
