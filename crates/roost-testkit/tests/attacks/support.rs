//! What several modules use.

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use roost_testkit::client::{Checked, Client, Failure, Request};
use roost_testkit::server::TestServer;

/// The server still serves: an attack on one client's connection is no outage for others.
pub(crate) fn still_serves(server: &TestServer) -> Checked {
    let mut client = server.open("/echo")?;
    client.send_text("still there?")?;
    client.expect_text("still there?")?;
    client.close()?;
    Ok(())
}

/// Nothing of any connection is left: the last one gone, everything is as at the start.
pub(crate) fn nothing_left(server: &TestServer) {
    server.wait_for_count("connections_open", |count| count == 0);
    for gauge in [
        "websockets_open",
        "handshakes_in_flight",
        "input_buffered_bytes",
        "connections_backlogged",
        "outbox_bytes",
        "subscriptions",
        "deflate_contexts",
        "deflate_context_bytes",
    ] {
        server.wait_for_count(gauge, |count| count == 0);
    }
}

/// A WebSocket with a subprotocol, such as WAMP's.
pub(crate) fn open_wamp(server: &TestServer) -> Result<Client, Failure> {
    let mut client = Client::connect(server.address())?;
    let request = Request::websocket("h", "/wamp");
    client.shake_hands(&request.header("Sec-WebSocket-Protocol: wamp.2.json"))?;
    Ok(client)
}

/// How much more CPU time `more` takes than `less`: about 2 for twice the work, 4 where the work
/// grows with the square. The median of five tries, each of the best of three goes: the machine is
/// not ours alone.
pub(crate) fn cpu_ratio(mut less: impl FnMut(), mut more: impl FnMut()) -> f64 {
    let mut once = || least_cpu_ns(&mut more) as f64 / least_cpu_ns(&mut less) as f64;
    let mut ratios: Vec<f64> = (0..5).map(|_| once()).collect();
    ratios.sort_by(f64::total_cmp);
    ratios[2]
}

fn least_cpu_ns(work: &mut dyn FnMut()) -> u64 {
    let mut once = || {
        let before = thread_cpu_ns();
        work();
        thread_cpu_ns() - before
    };
    (0..3).map(|_| once()).min().expect("three goes")
}

/// Nanoseconds of CPU that this thread has used.
fn thread_cpu_ns() -> u64 {
    // The kernel brings the account of a thread up to date when it leaves the CPU.
    thread::sleep(Duration::from_nanos(1));
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux has it");
    let first = text.split(' ').next().and_then(|field| field.parse().ok());
    first.expect("nanoseconds on the CPU come first")
}

/// One test with thousands of sockets at a time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a connection may pin whatever it has sent: its records of unfinished input.
pub(crate) const PINNED_BYTES_BASE: u64 = 512;
