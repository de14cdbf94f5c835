//! What the dialects cost a message: nanoseconds, the best of several rounds.
//!
//! `cargo run --release -p roost-dialect --example dialect_cost`
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::hint::black_box;
use std::time::Instant;

use roost_dialect::dialect::{Command, Message};
use roost_dialect::wamp::{Realms, Session, Settings, Wire};
use roost_dialect::{Arguments, Form, PayloadRef, encode};
use roost_hub::EventIds;

const ROUNDS: usize = 20;
const MESSAGES: usize = 20_000;

const IDS: EventIds = EventIds {
    topic: 4097,
    publication: 4_429_313_566,
    offset: 1,
};

fn main() {
    for bytes in [125, 4096] {
        let text = "x".repeat(bytes);
        let binary = vec![b'x'; bytes];
        let publish = format!(r#"[16,239714735,{{}},"com.myapp.mytopic1",["{text}"]]"#);
        let args = format!(r#"["{text}"]"#);

        let settings = Settings {
            enabled: true,
            realms: Realms::Any,
            users: None,
            own_realms: roost_dialect::wamp::OwnRealms::default(),
            takes_tokens: false,
            subscriptions_per_connection_max: 128,
            channel_name_bytes_max: 255,
        };
        let mut session = Session::new(Wire::default());
        let mut out = Vec::new();
        let hello = r#"[1,"realm1",{"roles":{"publisher":{}}}]"#;
        session.handle(Message::Text(hello), &mut out, &mut || 1, &settings);
        report(bytes, "WAMP PUBLISH -> command", || {
            out.clear();
            let command = session.handle(Message::Text(&publish), &mut out, &mut || 1, &settings);
            assert!(matches!(command, Some(Command::Publish { .. })));
        });

        let wamp = PayloadRef::Wamp(Arguments::json(Some(&args), None));
        report(bytes, "freeze WAMP", || drop(black_box(wamp.freeze())));
        report(bytes, "freeze raw text", || {
            drop(black_box(PayloadRef::Text(&text).freeze()));
        });

        for (name, payload) in [
            ("WAMP", wamp),
            ("raw text", PayloadRef::Text(&text)),
            ("raw binary", PayloadRef::Binary(&binary)),
        ] {
            let publication = payload.freeze();
            for (to, encoding) in [("WAMP", Form::WAMP_JSON), ("raw", Form::RAW)] {
                report(bytes, &format!("encode {name} -> {to}"), || {
                    drop(black_box(encode(&publication, encoding, IDS, "c")));
                });
            }
        }
    }
}

fn report(bytes: usize, name: &str, mut work: impl FnMut()) {
    let best = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            for _ in 0..MESSAGES {
                work();
            }
            started.elapsed()
        })
        .min()
        .expect("there are rounds");
    let nanos = best.as_nanos() as f64 / MESSAGES as f64;
    println!("{bytes:>5} B  {name:<28} {nanos:>8.0} ns");
}
