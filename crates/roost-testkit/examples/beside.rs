//! How long an echo takes good clients alone, beside an attack on another server of the machine,
//! and beside the same attack on theirs. The first two differ by what the machine has to do, the
//! last two by what the attack does to connections of the same reactor.
//!
//! `cargo run --release -p roost-testkit --example beside` prints a table for docs/measurements.md;
//! `-- pings` runs the attacks whose name has this in it. Each cell is the median and the
//! 99th percentile. Everything is bounded: about a minute in all.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use roost_testkit::client::{Address, Client, ConnectOptions, Failure, Frame, Request};
use roost_testkit::server::{Backend, TestServer};

/// What hostile peers do, all at a time, in a thread of their own.
struct Attack {
    name: &'static str,
    peers: usize,
    open: fn(Address) -> Result<Client, Failure>,
    /// What each of them sends again and again.
    piece: fn() -> Vec<u8>,
    /// Peers that send before a pause.
    peers_a_pause: usize,
    pause: Duration,
}

const ATTACKS: &[Attack] = &[
    Attack {
        name: "pings whose pongs are not read, 8 at a time",
        peers: 50,
        open: |address| open_with_small_window(address, "/echo"),
        piece: || Frame::ping([b'p'; 125]).bytes().repeat(8),
        peers_a_pause: 50,
        pause: Duration::from_millis(2),
    },
    Attack {
        name: "fragments of one byte, 100 at a time",
        peers: 50,
        open: |address| {
            let mut client = Client::open(address, "/echo")?;
            client.send_frame(&Frame::binary("").unfinished())?;
            Ok(client)
        },
        piece: || Frame::continuation("x").unfinished().bytes().repeat(100),
        peers_a_pause: 50,
        pause: Duration::from_millis(2),
    },
    Attack {
        name: "heads byte by byte",
        peers: 500,
        open: |address| half_handshake(address),
        piece: || vec![b'x'],
        peers_a_pause: 50,
        pause: Duration::from_millis(1),
    },
    Attack {
        name: "half handshakes, a byte now and then",
        peers: 3000,
        open: |address| half_handshake(address),
        piece: || vec![b'x'],
        peers_a_pause: 20,
        pause: Duration::from_millis(2),
    },
    Attack {
        name: "16 MB declared, a byte now and then",
        peers: 3000,
        open: |address| {
            let mut client = Client::open(address, "/echo")?;
            client.send_frame(&Frame::binary("x").declare(16_000_000))?;
            Ok(client)
        },
        piece: || vec![b'x'],
        peers_a_pause: 20,
        pause: Duration::from_millis(2),
    },
];

fn half_handshake(address: Address) -> Result<Client, Failure> {
    let mut client = Client::connect(address)?;
    client.send(b"GET /echo HTTP/1.1\r\nHost: h\r\nX: ")?;
    Ok(client)
}

fn open_with_small_window(address: Address, target: &str) -> Result<Client, Failure> {
    let options = ConnectOptions {
        receive_buffer_bytes: Some(4096),
        ..ConnectOptions::default()
    };
    let mut client = Client::connect_with(address, options)?;
    client.shake_hands(&Request::websocket("h", target))?;
    Ok(client)
}

fn main() -> Result<(), Failure> {
    let filter = std::env::args().nth(1).unwrap_or_default();
    println!(
        "| attack | driver | pieces a second | alone | attack elsewhere | attack here | \
         here ÷ alone | here ÷ elsewhere |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|");
    let wanted = |attack: &&Attack| attack.name.contains(&filter);
    for attack in ATTACKS.iter().filter(wanted) {
        for backend in [Backend::Epoll, Backend::Uring] {
            let row = measure(attack, backend)?;
            println!("| {} | {} | {row}", attack.name, backend.name());
        }
    }
    Ok(())
}

/// One row: rounds of alone, elsewhere and here in turn, so that changes of the machine affect all.
fn measure(attack: &Attack, backend: Backend) -> Result<String, Failure> {
    let start = || {
        TestServer::with(backend, 1, |settings| {
            settings.limits.handshakes_in_flight_max = 10_000;
            settings.limits.handshake_timeout_ms = 0;
            settings.limits.handshake_bytes_max = 1 << 20;
            settings.limits.ping_interval_ms = 0;
        })
    };
    let (here, elsewhere) = (start(), start());
    let open = || here.open("/echo");
    let mut good = (0..GOOD).map(|_| open()).collect::<Result<Vec<_>, _>>()?;
    let mut attackers = Vec::new();
    for target in [&elsewhere, &here] {
        let one = || (attack.open)(target.address());
        attackers.push(
            (0..attack.peers)
                .map(|_| one())
                .collect::<Result<Vec<_>, _>>()?,
        );
    }
    let mut times = [const { Vec::new() }; 3];
    let mut rate = 0.0;
    for round in 0..=ROUNDS {
        for (place, times) in times.iter_mut().enumerate() {
            let (sent, took) = (AtomicU64::new(0), Instant::now());
            let received = match place.checked_sub(1) {
                None => echoes(&mut good)?,
                Some(index) => beside(attack, &mut attackers[index], &sent, || echoes(&mut good))?,
            };
            // The first round warms.
            if round > 0 {
                times.extend(received);
                if place == 2 {
                    let seconds = took.elapsed().as_secs_f64();
                    rate += sent.into_inner() as f64 / seconds / f64::from(ROUNDS);
                }
            }
        }
    }
    let [alone, elsewhere, here] = times.map(Quantiles::of);
    let (to_alone, to_elsewhere) = (here.ratio_to(&alone), here.ratio_to(&elsewhere));
    Ok(format!(
        "{rate:.0} | {alone} | {elsewhere} | {here} | {to_alone} | {to_elsewhere} |"
    ))
}

/// Runs `work` while the attackers send.
fn beside<T>(
    attack: &Attack,
    attackers: &mut [Client],
    sent: &AtomicU64,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let stop = AtomicBool::new(false);
    let piece = (attack.piece)();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                for some in attackers.chunks_mut(attack.peers_a_pause) {
                    for client in some {
                        let is_whole =
                            client.push(&piece, Duration::from_millis(100)) == piece.len();
                        sent.fetch_add(u64::from(is_whole), Ordering::Relaxed);
                    }
                    thread::sleep(attack.pause);
                    if stop.load(Ordering::Acquire) {
                        return;
                    }
                }
            }
        });
        thread::sleep(BEFORE);
        let done = work();
        stop.store(true, Ordering::Release);
        done
    })
}

/// Echoes of 125 bytes, one at a time, over all good clients in turn; seconds each.
fn echoes(good: &mut [Client]) -> Result<Vec<f64>, Failure> {
    let text = "e".repeat(125);
    let mut times = Vec::new();
    for _ in 0..ECHOES / GOOD {
        for client in &mut *good {
            let begun = Instant::now();
            client.send_text(&text)?;
            client.expect_text(&text)?;
            times.push(begun.elapsed().as_secs_f64());
        }
    }
    Ok(times)
}

struct Quantiles {
    median: f64,
    p99: f64,
}

impl Quantiles {
    fn of(mut times: Vec<f64>) -> Quantiles {
        times.sort_by(f64::total_cmp);
        Quantiles {
            median: times[times.len() / 2],
            p99: times[times.len() * 99 / 100],
        }
    }

    fn ratio_to(&self, other: &Quantiles) -> String {
        let (median, p99) = (self.median / other.median, self.p99 / other.p99);
        format!("{median:.2} / {p99:.1}")
    }
}

impl std::fmt::Display for Quantiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let micros = |seconds: f64| seconds * 1e6;
        write!(f, "{:.0} / {:.0} µs", micros(self.median), micros(self.p99))
    }
}

/// Good clients.
const GOOD: usize = 10;
/// Echoes in one round.
const ECHOES: usize = 2000;
const ROUNDS: u32 = 15;
/// So long an attack goes on before anything is measured.
const BEFORE: Duration = Duration::from_millis(100);
