//! An echo server that does one thing wrong, and what is found of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use roost_load::output::{Deliveries, Document};
use roost_load::plan::{Echo, Group, Phase, Plan, Role, Settings, Step, Target};
use roost_load::progress::Progress;
use roost_load::{dialect, run};
use roost_wire::frame::append_frame;
use roost_wire::handshake::{Request, Upgrade, write_accept};
use roost_wire::{Inbound, Input, Limits, Message, Opcode, Role as Side};

/// What goes wrong with the tenth message.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Nothing,
    Lose,
    Double,
    /// It comes after the eleventh.
    Swap,
    Corrupt,
    /// It comes as text.
    Text,
    Reset,
    /// All wait for a second.
    Stall,
}

/// A server for one connection after the other; ends with the test's process.
fn serve(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        // The fault is there once, on the first connection.
        let used = Arc::new(AtomicBool::new(false));
        for stream in listener.incoming().flatten() {
            let used = Arc::clone(&used);
            thread::spawn(move || {
                let fault = match used.swap(true, Ordering::Relaxed) {
                    false => fault,
                    true => Fault::Nothing,
                };
                // The client's end is seen by the client.
                let _ = echo(stream, fault);
            });
        }
    });
    address
}

fn echo(mut stream: TcpStream, fault: Fault) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend_from_slice(&byte);
    }
    let request = Request::parse(&head, 32).expect("the harness asks properly");
    let Upgrade::WebSocket(websocket) = request.upgrade() else {
        panic!("the harness asks for a WebSocket");
    };
    let mut out = Vec::new();
    write_accept(&mut out, websocket.key(), None, None);
    stream.write_all(&out)?;
    let limits = Limits {
        frame_bytes_max: 1 << 20,
        message_bytes_max: 1 << 20,
    };
    let mut inbound = Inbound::new(Side::Server);
    let mut lease = [0; 4_096];
    let mut messages = 0;
    let mut kept: Option<Vec<u8>> = None;
    loop {
        let len = stream.read(&mut lease)?;
        if len == 0 {
            return Ok(());
        }
        let mut input = Input::new(&mut lease[..len]);
        out.clear();
        while let Some(message) = inbound.next(&mut input, &limits).expect("clean frames") {
            match message {
                Message::Binary(payload) => {
                    messages += 1;
                    let now = if messages == 10 {
                        fault
                    } else {
                        Fault::Nothing
                    };
                    let mut payload = payload.to_vec();
                    match now {
                        Fault::Nothing => append_frame(&mut out, Opcode::Binary, &payload),
                        Fault::Lose => {}
                        Fault::Double => {
                            append_frame(&mut out, Opcode::Binary, &payload);
                            append_frame(&mut out, Opcode::Binary, &payload);
                        }
                        Fault::Swap => kept = Some(payload),
                        Fault::Corrupt => {
                            payload[50] ^= 4;
                            append_frame(&mut out, Opcode::Binary, &payload);
                        }
                        Fault::Text => append_frame(&mut out, Opcode::Text, b"hello"),
                        Fault::Reset => return Ok(()),
                        Fault::Stall => {
                            thread::sleep(STALL);
                            append_frame(&mut out, Opcode::Binary, &payload);
                        }
                    }
                    if messages == 11
                        && let Some(kept) = kept.take()
                    {
                        append_frame(&mut out, Opcode::Binary, &kept);
                    }
                }
                Message::Close(..) => {
                    append_frame(&mut out, Opcode::Close, &1000u16.to_be_bytes());
                    stream.write_all(&out)?;
                    return Ok(());
                }
                _ => {}
            }
        }
        stream.write_all(&out)?;
    }
}

fn run_against(fault: Fault) -> Document {
    let echo = Echo {
        rate: None,
        in_flight: 4,
        size: 100,
    };
    run_echo(fault, 3, echo, Duration::from_millis(200))
}

/// One connection, 200 messages a second by a schedule.
fn run_scheduled(fault: Fault, in_flight: u32) -> Document {
    let echo = Echo {
        rate: Some(RATE),
        in_flight,
        size: 100,
    };
    run_echo(fault, 1, echo, Duration::from_millis(500))
}

fn run_echo(fault: Fault, count: u32, echo: Echo, time: Duration) -> Document {
    let address = serve(fault);
    let plan = Plan {
        name: "faulty".to_owned(),
        target: Target::parse(&format!("ws://{address}"), &[]).expect("a target"),
        settings: Settings {
            memory_wait: Duration::ZERO,
            ..Settings::default()
        },
        topics: Vec::new(),
        groups: vec![Group {
            name: "busy".to_owned(),
            count,
            dialect: dialect::by_name("echo").expect("a dialect"),
            subscribe: Vec::new(),
            recovers: false,
            role: Role::Echo(echo),
        }],
        phases: [Step::Open(None), Step::Traffic(time, None), Step::Close]
            .map(|step| Phase {
                name: format!("{step:?}"),
                step,
            })
            .to_vec(),
        after: None,
    };
    run::run(&plan, &mut Progress::new(true)).expect("the plan fits")
}

/// What is wrong, without the count of what is right.
fn found(document: &Document) -> Deliveries {
    let echoes = document.phases[1].echoes;
    assert!(echoes.received > 11, "{echoes:?}");
    Deliveries {
        received: 0,
        ..echoes
    }
}

#[test]
fn a_faultless_server_is_found_faultless() {
    let document = run_against(Fault::Nothing);
    assert_eq!(document.problems, Vec::<String>::new());
    assert_eq!(found(&document), Deliveries::default());
    assert_eq!(document.phases[2].closed, 3);
}

#[test]
fn each_fault_is_found_and_nothing_else() {
    let none = Deliveries::default();
    let cases = [
        (Fault::Lose, Deliveries { lost: 1, ..none }),
        (Fault::Double, Deliveries { doubled: 1, ..none }),
        (
            Fault::Swap,
            Deliveries {
                reordered: 1,
                ..none
            },
        ),
        // A corrupt message is one that did not come, too.
        (
            Fault::Corrupt,
            Deliveries {
                corrupt: 1,
                lost: 1,
                ..none
            },
        ),
        (
            Fault::Text,
            Deliveries {
                corrupt: 1,
                lost: 1,
                ..none
            },
        ),
    ];
    let runs: Vec<_> = cases
        .map(|(fault, expected)| (fault, expected, thread::spawn(move || run_against(fault))))
        .into();
    for (fault, expected, run) in runs {
        let document = run.join().expect("the run ends");
        assert_eq!(found(&document), expected, "{fault:?}");
        assert!(!document.problems.is_empty(), "{fault:?}");
    }
}

#[test]
fn a_connection_that_ends_is_lost() {
    let document = run_against(Fault::Reset);
    let traffic = &document.phases[1];
    assert_eq!((traffic.lost, traffic.held), (1, 2), "{:?}", traffic.losses);
    assert_eq!(document.problems.len(), 2, "{:?}", document.problems);
}

#[test]
fn what_comes_when_nothing_is_sent_any_more_took_its_time() {
    let document = run_scheduled(Fault::Stall, 1_000);
    assert_eq!(document.problems, Vec::<String>::new());
    let traffic = &document.phases[1];
    assert_eq!(traffic.received, traffic.sent);
    // It was sent within half a second, and most of it came after the stall.
    let (sending, receiving) = (traffic.traffic_seconds, traffic.receiving_seconds);
    assert!(
        receiving > STALL.as_secs_f64() && sending < receiving,
        "{sending} s, {receiving} s"
    );
    let rate = traffic.received_per_second();
    let expected = traffic.received as f64 / receiving;
    assert!(
        (rate - expected).abs() < 1e-6,
        "{rate} instead of {expected}"
    );
    let line = format!("{}, {rate:.0} a second", traffic.received);
    let table = document.table();
    assert!(table.contains(&line), "{table}");
}

#[test]
fn what_was_due_and_never_sent_is_counted() {
    let document = run_scheduled(Fault::Stall, 1);
    let traffic = &document.phases[1];
    let due = (traffic.sent + traffic.unsent) as f64;
    let by_schedule = traffic.traffic_seconds * RATE;
    assert!(
        (due - by_schedule).abs() < 3.0,
        "{due} of {by_schedule} due"
    );
    assert!(traffic.unsent_overdue > 20, "{}", traffic.unsent_overdue);
    assert!(traffic.unsent_overdue < traffic.unsent);
    assert_eq!(document.problems.len(), 1, "{:?}", document.problems);
    assert!(
        document.problems[0].contains("unsent"),
        "{:?}",
        document.problems
    );
    let table = document.table();
    assert!(table.contains("  unsent  "), "{table}");
}

#[test]
fn what_is_due_at_the_very_end_is_not_lost() {
    let document = run_scheduled(Fault::Nothing, 1);
    assert_eq!(document.problems, Vec::<String>::new());
    assert_eq!(document.phases[1].unsent_overdue, 0);
}

const STALL: Duration = Duration::from_secs(1);
const RATE: f64 = 200.0;
