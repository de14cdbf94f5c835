//! The journal of events: reactors say what has happened, and applications are told.
//!
//! What is sent when, and again, says `roost_hooks::Journal`; here stand the clock and the way from the
//! reactors; the socket and the signature of each application that is told stand in `event_destination.rs`.

use std::io;
use std::time::Duration;

use roost_metrics::process::EVENTS_QUEUED;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use crate::clock::unix_ms;
use crate::event_destination::{Destination, EventsTo};
use crate::event_inputs::{Input, ToEvents};
use crate::peer::Peer;

/// What the control thread does for events.
pub(crate) struct EventTasks {
    destinations: Vec<Destination>,
    inputs: mpsc::UnboundedReceiver<Input>,
    begin: Instant,
}

/// Makes the task.
pub(crate) fn start(to: Vec<EventsTo>) -> io::Result<(ToEvents, EventTasks)> {
    let (input, inputs) = mpsc::unbounded_channel();
    let destinations = to.into_iter().enumerate();
    let destinations = destinations.map(|(at, to)| Destination::new(at, to, input.clone()));
    let tasks = EventTasks {
        destinations: destinations.collect::<io::Result<_>>()?,
        inputs,
        begin: Instant::now(),
    };
    Ok((input, tasks))
}

impl EventTasks {
    /// Runs for as long as there are reactors. What is under way when the future is dropped goes on, for
    /// [`EventTasks::finish`].
    pub(crate) async fn run(&mut self) -> io::Result<()> {
        loop {
            let wake = self.begin + Duration::from_millis(self.go_on());
            match timeout_at(wake, self.inputs.recv()).await {
                Err(_) => {}
                Ok(None) => return Err(io::Error::other("no reactor says what happens any more")),
                Ok(Some(input)) => self.handle(input),
            }
            self.handle_some();
        }
    }

    /// The reactors have stopped: tells what is left, for so long at most.
    pub(crate) async fn finish(&mut self, peer: &Peer, wait: Duration) {
        peer.read_all();
        while let Ok(input) = self.inputs.try_recv() {
            self.handle(input);
        }
        let now = self.now();
        self.destinations.iter_mut().for_each(|one| one.end(now));
        let told = timeout(wait, async {
            loop {
                let wake = self.begin + Duration::from_millis(self.go_on());
                if self.destinations.iter().all(Destination::is_empty) {
                    return;
                }
                if let Ok(Some(input)) = timeout_at(wake, self.inputs.recv()).await {
                    self.handle(input);
                }
            }
        });
        if told.await.is_err() {
            self.destinations.iter().for_each(Destination::warn_of_left);
        }
    }

    fn handle_some(&mut self) {
        for _ in 0..INPUTS_AT_ONCE {
            match self.inputs.try_recv() {
                Ok(input) => self.handle(input),
                Err(_) => return,
            }
        }
    }

    /// Sends the batches that are due. Returns when it is to be called again.
    fn go_on(&mut self) -> u64 {
        let now = self.now();
        let due = self.destinations.iter_mut().map(|one| one.go_on(now));
        let due = due.flatten().min().unwrap_or(now + IDLE_MS);
        let depth: usize = self.destinations.iter().map(Destination::depth).sum();
        EVENTS_QUEUED.set(depth as u64);
        due.clamp(now + 1, now + IDLE_MS)
    }

    fn handle(&mut self, input: Input) {
        let now = self.now();
        match input {
            Input::Happened(reactor, batch) => {
                let (batch, unix_ms) = (*batch, unix_ms());
                for one in &mut self.destinations {
                    one.take_in(reactor, &batch, now, unix_ms);
                }
            }
            Input::Ended(at, outcome) => {
                if let Some(one) = self.destinations.get_mut(at) {
                    one.ended(&outcome, now);
                }
            }
        }
    }

    /// Milliseconds of a clock that does not jump.
    fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Inputs handled before a batch is sent.
const INPUTS_AT_ONCE: usize = 256;
/// How often gauges are brought up to date where nothing happens.
const IDLE_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::thread;

    use roost_hooks::{JournalRules, Keys};
    use roost_net::wake_event;
    use roost_reactor::{EventKinds, Events};
    use roost_testkit::client::Client;
    use roost_testkit::server::{Backend, DEADLINE, TestServer};
    use rustls::{ClientConfig, RootCertStore};

    use super::*;
    use crate::event_destination::Teller;
    use crate::hook_client::HookUrl;

    /// An application that takes a batch, and says what it was.
    fn take(stream: &TcpStream) -> String {
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("it sends");
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().expect("a length");
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("it sends all");
        let mut writer = stream;
        let answer = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
        writer.write_all(answer).expect("it reads");
        String::from_utf8(body).expect("JSON")
    }

    fn to(url: &str) -> EventsTo {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider);
        let tls = tls.with_safe_default_protocol_versions().expect("versions");
        let tls = tls.with_root_certificates(RootCertStore::empty());
        EventsTo {
            rules: JournalRules {
                batch_max: 1_000,
                batch_wait_ms: 0,
                queue_max: 1_000,
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
            url: HookUrl::parse(url).expect("a URL"),
            tls: Arc::new(tls.with_no_client_auth()),
            timeout: DEADLINE,
        }
    }

    /// The ends of its last connections are what a reactor says last: the control thread has not read them when it
    /// is told that the reactors have stopped.
    #[test]
    fn what_reactors_have_said_when_they_stopped_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let told = thread::spawn(move || take(&listener.accept().expect("a connection").0));
        let server = TestServer::with(Backend::Epoll, 1, |settings| {
            settings.events = Events {
                kinds: EventKinds::of(|_| true),
                namespaces: vec!["*".to_owned()],
            };
        });
        let (waker, _woken) = wake_event().expect("two descriptors");
        let control = server.shared().control_peer(waker).expect("the only one");
        let clients = [1, 2, 3].map(|_| Client::open(server.address(), "/echo").expect("it opens"));
        drop(clients);
        server.wait_for_count("connections_open", |count| count == 0);
        drop(server);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("descriptors").block_on(async {
            let (to_events, mut tasks) =
                start(vec![to(&format!("http://{address}/"))]).expect("it starts");
            let peer = Peer::new(control, None, None, Some(to_events));
            tasks.finish(&peer, DEADLINE).await;
        });
        let told = told.join().expect("it was told");
        for kind in ["connected", "disconnected"] {
            let count = told.matches(&format!(r#":"{kind}""#)).count();
            assert_eq!(count, 3, "{kind}: {told}");
        }
    }
}
