//! Centrifugo's clients and event streams: against a server of ours, and against one that does one thing
//! wrong when a client comes back.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use roost_load::cli::{self, Cli};
use roost_load::output::{Deliveries, Document};
use roost_load::progress::Progress;
use roost_load::run;
use roost_wire::frame::append_frame;
use roost_wire::handshake::{Request, Upgrade, write_accept};
use roost_wire::{Inbound, Input, Limits, Message, Opcode, Role};
use serde_json::Value;

/// What goes wrong, once.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Nothing,
    /// In what a client missed, the second message is missing.
    Lose,
    /// It comes twice.
    Double,
    /// It comes before the first.
    Swap,
    /// The client is told that messages are lost, and gets none.
    Tell,
    /// It gets none and is not told.
    Forget,
    /// The second publish of all is not acknowledged.
    Unacknowledged,
}

/// One channel, all whose messages are kept.
#[derive(Default)]
struct Channel {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Payloads in base64.
    messages: Vec<String>,
    fault: Option<Fault>,
    publishes: u32,
}

impl Channel {
    fn publish(&self, base64: String) {
        self.state.lock().expect("no panic").messages.push(base64);
        self.changed.notify_all();
    }

    /// Messages from `next` on, once there are some; each with its offset, from 1.
    fn after(&self, next: usize) -> Vec<(usize, String)> {
        let state = self.state.lock().expect("no panic");
        let state = self
            .changed
            .wait_while(state, |state| state.messages.len() <= next);
        let state = state.expect("no panic");
        (next + 1..)
            .zip(state.messages[next..].iter().cloned())
            .collect()
    }

    /// What a client that has seen `offset` gets at once; `None`: it is told of a loss.
    fn missed(&self, offset: usize) -> Option<Vec<(usize, String)>> {
        let mut state = self.state.lock().expect("no panic");
        let mut list: Vec<_> = (offset + 1..)
            .zip(state.messages[offset..].iter().cloned())
            .collect();
        if list.len() < 3 {
            return Some(list);
        }
        match state.fault.take().unwrap_or(Fault::Nothing) {
            Fault::Lose => {
                list.remove(1);
            }
            Fault::Double => list.insert(2, list[1].clone()),
            Fault::Swap => list.swap(0, 1),
            Fault::Tell => return None,
            Fault::Forget => list.clear(),
            Fault::Nothing | Fault::Unacknowledged => {}
        }
        Some(list)
    }

    fn len(&self) -> usize {
        self.state.lock().expect("no panic").messages.len()
    }
}

/// Serves `/sse/…`, `/raw/…` for publishers, and `/connection/websocket`; ends with the test's process.
fn serve(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let channel = Arc::new(Channel::default());
    channel.state.lock().expect("no panic").fault = Some(fault);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let channel = Arc::clone(&channel);
            // The client's end is seen by the client.
            thread::spawn(move || serve_one(stream, &channel));
        }
    });
    address
}

fn serve_one(mut stream: TcpStream, channel: &Arc<Channel>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend_from_slice(&byte);
    }
    let request = Request::parse(&head, 32).expect("the harness asks properly");
    let path = request.path().to_owned();
    if path.starts_with("/sse/") {
        assert_eq!(request.header("Accept"), Some("text/event-stream"));
        let id = request.header("Last-Event-ID");
        let seen = id.map(|id| id.strip_prefix("epoch-").expect("an id of ours"));
        let seen = seen.map(|offset| offset.parse().expect("a number"));
        return stream_events(stream, channel, seen);
    }
    let Upgrade::WebSocket(websocket) = request.upgrade() else {
        panic!("the harness asks for a WebSocket");
    };
    let mut out = Vec::new();
    write_accept(&mut out, websocket.key(), None, None);
    stream.write_all(&out)?;
    let mut client = Client {
        subscribed: false,
        is_raw: path.starts_with("/raw/"),
        stream,
        channel: Arc::clone(channel),
    };
    let limits = Limits {
        frame_bytes_max: 1 << 20,
        message_bytes_max: 1 << 20,
    };
    let mut inbound = Inbound::new(Role::Server);
    let mut lease = [0; 4_096];
    loop {
        let len = client.stream.read(&mut lease)?;
        if len == 0 {
            return Ok(());
        }
        let mut input = Input::new(&mut lease[..len]);
        while let Some(message) = inbound.next(&mut input, &limits).expect("clean frames") {
            match message {
                Message::Binary(payload) => client.channel.publish(STANDARD.encode(payload)),
                Message::Text(line) => client.handle(line)?,
                Message::Close(..) => {
                    client.send(Opcode::Close, &1000u16.to_be_bytes())?;
                    return Ok(());
                }
                Message::Ping(_) | Message::Pong(_) => {}
            }
        }
    }
}

/// A body in chunks that are cut where no event ends.
fn stream_events(
    mut stream: TcpStream,
    channel: &Channel,
    seen: Option<usize>,
) -> std::io::Result<()> {
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    )?;
    let mut next = channel.len();
    let mut text = "retry: 1000\n".to_owned();
    let missed = seen.map_or(Some(Vec::new()), |seen| channel.missed(seen));
    match &missed {
        None => text.push_str(&format!(
            "id: epoch-{next}\nevent: roost.lost\ndata: {{}}\n\n"
        )),
        Some(_) => text.push_str(&format!("id: epoch-{}\n\n", seen.unwrap_or(next))),
    }
    let mut events = missed.unwrap_or_default();
    if let Some(seen) = seen {
        next = next.max(seen);
    }
    if let Some(last) = events.iter().map(|&(offset, _)| offset).max() {
        next = last;
    }
    loop {
        for (offset, data) in events {
            text.push_str(&format!(": a comment\r\nid: epoch-{offset}\r\n"));
            text.push_str(&format!("event: binary\r\ndata: {data}\r\n\r\n"));
        }
        for piece in text.as_bytes().chunks(50) {
            let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
            chunk.extend_from_slice(piece);
            chunk.extend_from_slice(b"\r\n");
            stream.write_all(&chunk)?;
        }
        text.clear();
        events = channel.after(next);
        next += events.len();
    }
}

/// A publisher, or a client of Centrifugo's.
struct Client {
    stream: TcpStream,
    channel: Arc<Channel>,
    is_raw: bool,
    subscribed: bool,
}

impl Client {
    fn send(&mut self, opcode: Opcode, payload: &[u8]) -> std::io::Result<()> {
        let mut out = Vec::new();
        append_frame(&mut out, opcode, payload);
        self.stream.write_all(&out)
    }

    fn handle(&mut self, line: &str) -> std::io::Result<()> {
        assert!(!self.is_raw, "binary is published");
        let command: BTreeMap<String, Value> = serde_json::from_str(line).expect("a command");
        let id = command.get("id").cloned().unwrap_or_default();
        if command.contains_key("connect") {
            // A reply and a ping in one message.
            let text =
                format!("{{\"id\":{id},\"connect\":{{\"client\":\"c\",\"ping\":25}}}}\n{{}}");
            return self.send(Opcode::Text, text.as_bytes());
        }
        if let Some(publish) = command.get("publish") {
            let data = publish["data"].as_str().expect("a string");
            let base64 = data.strip_prefix('\0').expect("bytes");
            self.channel.publish(base64.to_owned());
            let mut state = self.channel.state.lock().expect("no panic");
            state.publishes += 1;
            let is_forgotten = state.publishes == 2 && state.fault == Some(Fault::Unacknowledged);
            drop(state);
            if is_forgotten {
                return Ok(());
            }
            return self.send(
                Opcode::Text,
                format!("{{\"id\":{id},\"publish\":{{}}}}").as_bytes(),
            );
        }
        let Some(subscribe) = command.get("subscribe") else {
            assert_eq!(line, "{}", "nothing else but a pong is said");
            return Ok(());
        };
        assert!(!self.subscribed, "one channel");
        self.subscribed = true;
        assert_eq!(subscribe["channel"], "load");
        let is_recovering = subscribe["recover"] == true;
        let top = self.channel.len();
        let seen = subscribe["offset"]
            .as_u64()
            .map_or(top, |offset| offset as usize);
        if is_recovering {
            assert_eq!(subscribe["epoch"], "epoch");
        }
        assert_eq!(subscribe["recoverable"], true);
        let missed = self.channel.missed(seen);
        let list: Vec<_> = missed
            .iter()
            .flatten()
            .map(|(offset, data)| format!("{{\"data\":\"\\u0000{data}\",\"offset\":{offset}}}"))
            .collect();
        let text = format!(
            "{{\"id\":{id},\"subscribe\":{{\"recoverable\":true,\"epoch\":\"epoch\",\"offset\":{top},\
             \"recovered\":{},\"was_recovering\":{is_recovering},\"publications\":[{}]}}}}",
            is_recovering && missed.is_some(),
            list.join(","),
        );
        self.send(Opcode::Text, text.as_bytes())?;
        let last = missed.iter().flatten().map(|&(offset, _)| offset).max();
        let (mut next, channel) = (last.unwrap_or(top), Arc::clone(&self.channel));
        let mut stream = self.stream.try_clone()?;
        thread::spawn(move || -> std::io::Result<()> {
            loop {
                for (offset, data) in channel.after(next) {
                    next = offset;
                    let push = format!(
                        "{{\"push\":{{\"channel\":\"load\",\"pub\":{{\"data\":\"\\u0000{data}\",\
                         \"offset\":{offset}}}}}}}"
                    );
                    let mut out = Vec::new();
                    append_frame(&mut out, Opcode::Text, push.as_bytes());
                    stream.write_all(&out)?;
                }
            }
        });
        Ok(())
    }
}

/// Three subscribers, who miss about twenty messages once.
fn run_against(dialect: &str, fault: Fault) -> Document {
    let url = format!("ws://{}", serve(fault));
    let command = format!(
        "roost-load recover -n 3 --rounds 1 --rate 100 --away 200ms --dialect {dialect} \
         --memory-wait 0s --quiet {url}"
    );
    let cli = Cli::try_parse_from(command.split(' ').filter(|word| !word.is_empty()));
    let cli = cli.unwrap_or_else(|error| panic!("{error}"));
    let (plan, _) = cli::plan_of(&cli.command)
        .expect("a plan")
        .expect("it runs");
    run::run(&plan, &mut Progress::new(true)).expect("the plan fits")
}

#[test]
fn a_faultless_recovery_is_found_faultless() {
    for dialect in ["sse", "centrifugo"] {
        let document = run_against(dialect, Fault::Nothing);
        assert_eq!(document.problems, Vec::<String>::new(), "{dialect}");
        let recovery = document.recovery.as_ref().expect("they came back");
        assert_eq!((recovery.connections, recovery.told), (3, 0), "{dialect}");
        let sent = document.phases[6].sent;
        assert!(sent > 10, "{dialect}: {sent}");
        assert_eq!(recovery.messages, 3 * sent, "{dialect}");
        let back = &document.phases[8];
        assert_eq!(back.latencies["caught_up"].count, 3, "{dialect}");
        assert_eq!((back.recovered, back.held), (3, 4), "{dialect}");
        let table = document.table();
        assert!(table.contains("recovery (1 rounds)"), "{table}");
    }
}

#[test]
fn each_fault_of_a_recovery_is_found_and_nothing_else() {
    let none = Deliveries::default();
    let (lost, doubled, reordered) = (
        Deliveries { lost: 1, ..none },
        Deliveries { doubled: 1, ..none },
        Deliveries {
            reordered: 1,
            ..none
        },
    );
    let cases = [
        (Fault::Lose, lost),
        (Fault::Double, doubled),
        (Fault::Swap, reordered),
    ];
    let mut runs = Vec::new();
    for dialect in ["sse", "centrifugo"] {
        for (fault, expected) in cases {
            let run = thread::spawn(move || run_against(dialect, fault));
            runs.push((dialect, fault, expected, run));
        }
    }
    for (dialect, fault, expected, run) in runs {
        let document = run.join().expect("the run ends");
        let deliveries = document.phases[8].deliveries;
        let found = Deliveries {
            received: 0,
            ..deliveries
        };
        assert_eq!(found, expected, "{dialect} {fault:?}");
        assert!(
            deliveries.received > 20,
            "{dialect} {fault:?}: {deliveries:?}"
        );
        assert!(!document.problems.is_empty(), "{dialect} {fault:?}");
    }
}

#[test]
fn a_loss_that_is_told_is_counted_by_itself() {
    for dialect in ["sse", "centrifugo"] {
        let document = run_against(dialect, Fault::Tell);
        assert_eq!(document.problems, Vec::<String>::new(), "{dialect}");
        let (away, back) = (&document.phases[6], &document.phases[8]);
        assert_eq!((back.recovered, back.told), (2, 1), "{dialect}");
        assert_eq!(back.told_messages, away.sent, "{dialect}");
        assert_eq!(back.deliveries.received, 2 * away.sent, "{dialect}");
        assert_eq!(back.deliveries.lost, 0, "{dialect}");
    }
}

#[test]
fn a_loss_that_is_not_told_is_a_loss() {
    for dialect in ["sse", "centrifugo"] {
        let document = run_against(dialect, Fault::Forget);
        let (away, back) = (&document.phases[6], &document.phases[8]);
        assert_eq!(back.told, 0, "{dialect}");
        assert_eq!(back.deliveries.lost, away.sent, "{dialect}");
        assert!(!document.problems.is_empty(), "{dialect}");
    }
}

#[test]
fn a_publish_that_is_not_acknowledged_is_found() {
    let document = run_against("centrifugo", Fault::Unacknowledged);
    let missing: u64 = document
        .phases
        .iter()
        .map(|phase| phase.unacknowledged)
        .sum();
    assert_eq!(missing, 1);
    let told = |problem: &String| problem.contains("1 publishes of");
    assert!(
        document.problems.iter().any(told),
        "{:?}",
        document.problems
    );
}
