//! Runs over `wss://`, against an echo server of one thread a connection that does one thing its own
//! way, and what is found of that.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use roost_load::cli::{self, Cli};
use roost_load::output::Document;
use roost_load::progress::Progress;
use roost_load::run;
use roost_tls::testing::Endpoint;
use roost_tls::{Clock, ServerSetup, self_signed};
use roost_wire::frame::append_frame;
use roost_wire::handshake::{Request, Upgrade, write_accept};
use roost_wire::{Inbound, Input, Limits, Message, Opcode, Role as Side};

/// What is done another way than usual.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Usual,
    /// Everything leaves a byte at a time.
    Crumbs,
    /// New keys are asked for before every answer.
    NewKeys,
    /// New keys are asked for as soon as the WebSocket is open.
    NewKeysAtOnce,
    /// A bit of the tenth answer is turned.
    Altered,
    /// FIN comes without close_notify.
    NoCloseNotify,
    /// close_notify comes instead of the tenth answer, without a close frame.
    EarlyCloseNotify,
    /// FIN comes instead of an answer to the ClientHello.
    NoHello,
    /// HTTP in the clear comes instead.
    Clear,
    /// An alert in the clear, handshake_failure, comes instead, and FIN right behind it.
    Alert,
    /// It says that a record of more than a record's length comes.
    TooLong,
}

struct Server {
    address: SocketAddr,
    /// Its certificate.
    certificate: PathBuf,
    /// Key updates that clients have answered.
    updates: Arc<AtomicU64>,
    /// Connections that ended with the client's close_notify.
    closed: Arc<AtomicU64>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.certificate);
    }
}

/// One connection of it.
struct Connection {
    stream: TcpStream,
    tls: Endpoint,
    way: Way,
}

impl Server {
    /// Serves until the test's process ends.
    fn start(way: Way) -> Server {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("a date after 1970").as_secs();
        let made = self_signed(now).expect("a certificate");
        let clock = Arc::new(Clock::new(now));
        let setup = ServerSetup::for_development(&made, &clock).expect("a good pair");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let name = format!(
            "roost-load-tls-{}-{}.pem",
            std::process::id(),
            address.port()
        );
        let certificate = std::env::temp_dir().join(name);
        fs::write(&certificate, &made.certificate).expect("a temporary directory");
        let server = Server {
            address,
            certificate,
            updates: Arc::default(),
            closed: Arc::default(),
        };
        let (updates, closed) = (Arc::clone(&server.updates), Arc::clone(&server.closed));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let tls = Endpoint::server(&setup);
                let connection = Connection { stream, tls, way };
                let (updates, closed) = (Arc::clone(&updates), Arc::clone(&closed));
                thread::spawn(move || {
                    // The client's end is seen by the client.
                    let _ = connection.serve(&updates, &closed);
                });
            }
        });
        server
    }

    fn url(&self) -> String {
        format!("wss://{}", self.address)
    }

    fn try_run(&self, command: &str) -> Result<Document, String> {
        let url = self.url();
        let mut arguments = vec!["roost-load"];
        arguments.extend(command.split(' '));
        arguments.extend([url.as_str(), "--memory-wait", "0s", "--quiet"]);
        let cli = Cli::try_parse_from(arguments).map_err(|error| error.to_string())?;
        let plan = cli::plan_of(&cli.command)?;
        let (plan, _) = plan.expect("a subcommand that runs");
        run::run(&plan, &mut Progress::new(true))
    }

    /// A run that trusts the server's certificate.
    fn run(&self, command: &str) -> Document {
        let command = format!("{command} --ca {}", self.certificate.display());
        let document = self.try_run(&command);
        document.unwrap_or_else(|error| panic!("{command}: {error}"))
    }
}

impl Connection {
    fn serve(mut self, updates: &AtomicU64, closed: &AtomicU64) -> std::io::Result<()> {
        self.stream.set_nodelay(true)?;
        let answer: &[u8] = match self.way {
            Way::NoHello => b"",
            Way::Clear => b"HTTP/1.1 400 Bad Request\r\n\r\n",
            Way::Alert => &[21, 3, 3, 0, 2, 2, 40],
            Way::TooLong => &[22, 3, 3, 0x7f, 0xff, 2],
            _ => return self.echo(updates, closed),
        };
        let mut header = [0; 5];
        self.stream.read_exact(&mut header)?;
        let len = u16::from_be_bytes([header[3], header[4]]);
        self.stream.read_exact(&mut vec![0; usize::from(len)])?;
        self.stream.write_all(answer)
    }

    fn echo(mut self, updates: &AtomicU64, closed: &AtomicU64) -> std::io::Result<()> {
        let mut inbound = None;
        let mut answers = 0;
        while self.tls.over.is_none() {
            if !self.read()? {
                return Ok(());
            }
            let mut received = std::mem::take(&mut self.tls.received);
            let Some(inbound) = &mut inbound else {
                if received.is_empty() {
                    continue;
                }
                self.accept(&received)?;
                inbound = Some(Inbound::new(Side::Server));
                if self.way == Way::NewKeysAtOnce {
                    self.tls.rest.request_key_update();
                    self.tls.flush();
                    self.write_out()?;
                }
                continue;
            };
            if self.way == Way::NewKeysAtOnce && self.tls.rest.opened() == 0 {
                // Numbers begin anew with each key, and this one has come alone.
                updates.fetch_add(1, Ordering::Relaxed);
            }
            let mut input = Input::new(&mut received);
            while let Some(message) = inbound.next(&mut input, &LIMITS).expect("clean frames") {
                let mut frame = Vec::new();
                match message {
                    Message::Binary(payload) => {
                        answers += 1;
                        append_frame(&mut frame, Opcode::Binary, payload);
                    }
                    Message::Close(..) => {
                        append_frame(&mut frame, Opcode::Close, &1000u16.to_be_bytes());
                        self.send(&frame, 0)?;
                        return self.end(closed);
                    }
                    _ => continue,
                }
                if self.way == Way::EarlyCloseNotify && answers == 10 {
                    return self.end(closed);
                }
                if self.way == Way::NewKeys {
                    let before = self.tls.rest.opened();
                    // Numbers begin anew with each key.
                    updates.fetch_add(u64::from(before <= 1), Ordering::Relaxed);
                    self.tls.rest.request_key_update();
                }
                self.send(&frame, answers)?;
            }
        }
        Ok(())
    }

    /// False at the client's FIN.
    fn read(&mut self) -> std::io::Result<bool> {
        let mut lease = [0; 4_096];
        let len = self.stream.read(&mut lease)?;
        self.tls.give(&lease[..len]);
        self.tls.flush();
        self.write_out()?;
        Ok(len > 0)
    }

    fn accept(&mut self, head: &[u8]) -> std::io::Result<()> {
        let request = Request::parse(head, 32).expect("the harness asks properly");
        let Upgrade::WebSocket(websocket) = request.upgrade() else {
            panic!("the harness asks for a WebSocket");
        };
        let mut out = Vec::new();
        write_accept(&mut out, websocket.key(), None, None);
        self.send(&out, 0)
    }

    fn send(&mut self, bytes: &[u8], answers: u32) -> std::io::Result<()> {
        self.tls.send(bytes);
        if self.way == Way::Altered && answers == 10 {
            let last = self.tls.out.last_mut().expect("a record");
            *last ^= 1;
        }
        self.write_out()
    }

    fn write_out(&mut self) -> std::io::Result<()> {
        let out = self.tls.take();
        let each = match self.way {
            Way::Crumbs => 1,
            _ => out.len().max(1),
        };
        out.chunks(each)
            .try_for_each(|piece| self.stream.write_all(piece))
    }

    /// close_notify, FIN, and the client's until its FIN.
    fn end(mut self, closed: &AtomicU64) -> std::io::Result<()> {
        if self.way != Way::NoCloseNotify {
            roost_tls::seal::close(&mut self.tls.rest, &mut self.tls.out);
            self.write_out()?;
        }
        self.stream.shutdown(std::net::Shutdown::Write)?;
        let mut lease = [0; 4_096];
        loop {
            let len = self.stream.read(&mut lease)?;
            self.tls.give(&lease[..len]);
            if len == 0 {
                let is_closed = self.tls.rest.is_receive_closed();
                closed.fetch_add(u64::from(is_closed), Ordering::Relaxed);
                return Ok(());
            }
        }
    }
}

const LIMITS: Limits = Limits {
    frame_bytes_max: 1 << 20,
    message_bytes_max: 1 << 20,
};

const ECHO: &str = "echo -n 3 -m 2 --time 200ms --warm-up 0s";

fn until(mut is_so: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn messages_come_back_on_each_driver_and_connections_end_with_close_notify() {
    let server = Server::start(Way::Usual);
    for (done, driver) in [(3, "epoll"), (6, "io_uring")] {
        // Longer than a record, and than what a socket takes at once.
        for size in [" --size 125", " --size 300000"] {
            let document = server.run(&format!("{ECHO}{size} --driver {driver}"));
            assert_eq!(document.problems, Vec::<String>::new(), "{driver}{size}");
            let (open, traffic) = (&document.phases[0], &document.phases[1]);
            assert_eq!(traffic.received, traffic.sent);
            assert!(traffic.received > 6, "{}", traffic.received);
            assert_eq!(document.phases[2].closed, 3);
            assert_eq!(open.latencies["tls_wait"].count, 3);
            let text = &document.settings["tls"];
            assert!(text.starts_with("authorities of "), "{text}");
        }
        until(|| server.closed.load(Ordering::Relaxed) == 2 * done);
    }
}

#[test]
fn records_in_pieces_are_joined() {
    let server = Server::start(Way::Crumbs);
    let document = server.run(ECHO);
    assert_eq!(document.problems, Vec::<String>::new());
    assert!(document.phases[1].received > 6);
    assert_eq!(document.phases[2].closed, 3);
}

#[test]
fn key_updates_are_answered() {
    let server = Server::start(Way::NewKeys);
    let document = server.run("echo -n 3 -m 1 --time 200ms --warm-up 0s");
    assert_eq!(document.problems, Vec::<String>::new());
    let (updates, messages) = (
        server.updates.load(Ordering::Relaxed),
        document.phases[1].sent,
    );
    assert!(updates * 2 > messages, "{updates} of {messages}");
}

#[test]
fn key_updates_are_answered_by_who_has_nothing_to_say() {
    let server = Server::start(Way::NewKeysAtOnce);
    let document = server.run("idle -n 3 --hold 500ms");
    assert_eq!(document.problems, Vec::<String>::new());
    assert_eq!(server.updates.load(Ordering::Relaxed), 3);
}

#[test]
fn faults_of_records_and_ends_are_counted_in_their_own_words() {
    let cases = [
        (Way::Altered, 1, "TLS: record altered or out of order"),
        (Way::EarlyCloseNotify, 1, "close_notify"),
        (Way::NoCloseNotify, 2, "closing: FIN without close_notify"),
    ];
    for (way, phase, why) in cases {
        let server = Server::start(way);
        let document = server.run(ECHO);
        let phase = &document.phases[phase];
        assert_eq!(
            phase.losses.get(why),
            Some(&3),
            "{way:?}: {:?}",
            phase.losses
        );
        assert_eq!(phase.losses.len(), 1, "{way:?}: {:?}", phase.losses);
        assert!(!document.problems.is_empty(), "{way:?}");
    }
}

#[test]
fn failed_handshakes_are_counted_in_their_own_words() {
    let cases = [
        (Way::NoHello, "FIN in the TLS handshake"),
        (Way::Clear, "no TLS: the server answers in the clear"),
        (Way::Alert, "TLS handshake failed: alert 40 from the peer"),
        (Way::TooLong, "TLS handshake failed: record too long"),
    ];
    for (way, why) in cases {
        let server = Server::start(way);
        let error = server
            .try_run("idle -n 3 --insecure")
            .expect_err("no connection");
        assert!(error.contains(&format!("3 × {why}")), "{way:?}: {error}");
    }
}

#[test]
fn only_who_is_trusted_is_spoken_to() {
    let server = Server::start(Way::Usual);
    let other = Server::start(Way::Usual);
    let foreign = format!("idle -n 2 --hold 0s --ca {}", other.certificate.display());
    let error = server.try_run(&foreign).expect_err("no connection");
    // The other has the same name and another key.
    let why = "2 × TLS handshake failed: the peer's certificate cannot be accepted";
    assert!(error.contains(why), "{error}");

    let document = server
        .try_run("idle -n 2 --hold 0s --insecure")
        .expect("a run");
    assert_eq!(document.problems, Vec::<String>::new());

    let error = server
        .try_run("idle -n 2 --ca /no/such/file")
        .expect_err("no file");
    assert!(error.contains("/no/such/file"), "{error}");
    let error = server
        .try_run("idle -n 2 --ca x --insecure")
        .expect_err("not both");
    assert!(error.contains("--insecure"), "{error}");
}

#[test]
fn tcp_alone_needs_no_trust() {
    let server = Server::start(Way::Usual);
    let document = server.try_run("idle -n 2 --hold 0s --bare").expect("a run");
    assert_eq!(document.phases[0].held, 2);
}
