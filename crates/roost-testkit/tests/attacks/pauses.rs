//! The server's process stops for a while (SIGSTOP: a debugger, `docker pause`, a machine that slept):
//! nobody that answers is cut for it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use roost_testkit::client::Checked;
use roost_testkit::server::{Backend, DEADLINE, TestServer};

use crate::child::{Child, role, tell, wait_for_end};
use crate::support::alone;

roost_testkit::on_each_backend!(a_stopped_process_cuts_nobody_that_answers);

const CLIENTS: usize = 150;
/// Clients that finish their request while the server stands still.
const OPENING: usize = 20;
/// How long the server waits for a pong, and for a request: shorter than the second pause, and so long
/// that a busy machine does not hold up all clients for the rest of it.
const LIMIT_MS: u32 = 3_000;
const PAUSES_S: [u64; 2] = [2, 5];
/// How long a client takes to answer a ping.
const ANSWER_AFTER: Duration = Duration::from_millis(300);

struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    /// When it answers the ping it got.
    pong_at: Option<Instant>,
    pings: usize,
    end: Option<String>,
}

impl Client {
    fn new(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nonblocking(true).expect("a socket");
        Client {
            stream,
            received: Vec::new(),
            pong_at: None,
            pings: 0,
            end: None,
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        match self.stream.write(bytes) {
            Ok(taken) if taken == bytes.len() => {}
            other => self.end = Some(format!("cannot write: {other:?}")),
        }
    }

    /// Reads what is there, and answers pings when their time has come.
    fn step(&mut self) {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.end = Some("FIN".to_owned()),
            Ok(n) => {
                self.received.extend_from_slice(&bytes[..n]);
                let pings = self.received.windows(2).filter(|part| part == b"\x89\x00");
                let pings = pings.count();
                if pings > self.pings {
                    self.pings = pings;
                    self.pong_at = Some(Instant::now() + ANSWER_AFTER);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => self.end = Some(error.to_string()),
        }
        if self.pong_at.is_some_and(|at| at <= Instant::now()) {
            self.pong_at = None;
            self.send(&[0x8a, 0x80, 0, 0, 0, 0]);
        }
    }

    fn has_received(&self, what: &[u8]) -> bool {
        self.received.windows(what.len()).any(|part| part == what)
    }
}

fn run_for(clients: &mut [Client], time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        clients
            .iter_mut()
            .filter(|c| c.end.is_none())
            .for_each(Client::step);
        thread::sleep(Duration::from_millis(10));
    }
}

/// Runs until all have received `what`, or their end.
fn run_until_all_heard(clients: &mut [Client], what: &[u8]) {
    let begun = Instant::now();
    let waits = |client: &Client| client.end.is_none() && !client.has_received(what);
    while clients.iter().any(waits) {
        assert!(begun.elapsed() < DEADLINE, "no answer to all");
        run_for(clients, Duration::from_millis(10));
    }
}

fn ends(clients: &[Client]) -> Vec<&str> {
    clients
        .iter()
        .filter_map(|client| client.end.as_deref())
        .collect()
}

fn a_stopped_process_cuts_nobody_that_answers(backend: Backend) -> Checked {
    if role().is_some() {
        let server = TestServer::with(backend, 2, |settings| {
            settings.limits.ping_interval_ms = 1_000;
            settings.limits.ping_timeout_ms = LIMIT_MS;
            settings.limits.handshake_timeout_ms = LIMIT_MS;
        });
        tell(&server.address().to_string());
        wait_for_end();
        return Ok(());
    }
    let _alone = alone();
    let case = "a_stopped_process_cuts_nobody_that_answers";
    let mut child = Child::start("pauses", backend, case, None);
    let address: SocketAddr = child.read_line().parse().expect("an address");

    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::new(address)).collect();
    for client in &mut clients {
        client.send(REQUEST.as_bytes());
    }
    run_until_all_heard(&mut clients, b"\r\n\r\n");
    for pause_s in PAUSES_S {
        // Pings are spread over the interval: at any time some are not answered yet.
        run_for(&mut clients, Duration::from_millis(1_500));
        let (half, rest) = REQUEST.split_at(REQUEST.len() / 2);
        let mut opening: Vec<Client> = (0..OPENING).map(|_| Client::new(address)).collect();
        for client in &mut opening {
            client.send(half.as_bytes());
        }
        run_for(&mut clients, Duration::from_millis(300));

        let pid = child.pid();
        // One process of its own does both: a test that is killed leaves nothing stopped.
        let script = format!("kill -STOP {pid} && sleep {pause_s}; kill -CONT {pid}");
        let mut pause = Command::new("sh")
            .args(["-c", &script])
            .spawn()
            .expect("a shell");
        run_for(&mut clients, Duration::from_millis(400));
        for client in &mut opening {
            client.send(rest.as_bytes());
        }
        let begun = Instant::now();
        while pause.try_wait().expect("a child of ours").is_none() {
            assert!(begun.elapsed() < DEADLINE, "the pause does not end");
            run_for(&mut clients, Duration::from_millis(10));
        }
        run_until_all_heard(&mut opening, b"\r\n\r\n");
        let refused: Vec<_> = opening
            .iter()
            .filter(|c| !c.has_received(b" 101 "))
            .collect();
        assert_eq!(refused.len(), 0, "refused after a pause of {pause_s} s");
        clients.append(&mut opening);
        run_for(&mut clients, Duration::from_millis(1_500));
        let cut = ends(&clients);
        assert!(cut.is_empty(), "{} cut by {pause_s} s: {cut:?}", cut.len());
    }
    assert!(clients.iter().all(|client| client.pings > 0), "no pings");
    for client in &mut clients {
        client.send(&[0x81, 0x81, 0, 0, 0, 0, b'x']);
    }
    run_until_all_heard(&mut clients, b"\x81\x01x");
    let cut = ends(&clients);
    assert!(cut.is_empty(), "{} cut in the end: {cut:?}", cut.len());
    child.finish();
    Ok(())
}

const REQUEST: &str = "GET /echo HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
     Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
