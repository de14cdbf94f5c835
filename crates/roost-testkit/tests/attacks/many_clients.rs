//! Thousands of half handshakes beside good clients.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use roost_testkit::client::{Address, Checked, Client, Failure, Frame};
use roost_testkit::server::{Backend, TestServer};

use crate::child::{Child, role, tell, wait_for_end};
use crate::support::alone;

roost_testkit::on_each_backend_and_over_tls!(
    attack_41_thousands_of_half_handshakes_beside_good_clients,
    attack_07_thousands_of_half_frames_beside_good_clients,
);

/// Sockets of the attacker. Two thousand at this end, as many in the child.
const CLIENTS: usize = 2000;
/// How much slower a good client's echo may get, by the median. Nothing in the server depends on
/// as many clients, but it is read too, and on few cores.
const RATIO_MAX: f64 = 20.0;

fn serve(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.limits.handshakes_in_flight_max = 10_000;
        settings.limits.handshake_timeout_ms = 120_000;
    });
    tell(&server.address().url());
    wait_for_end();
    Ok(())
}

fn attack_41_thousands_of_half_handshakes_beside_good_clients(backend: Backend) -> Checked {
    let case = "attack_41_thousands_of_half_handshakes_beside_good_clients";
    beside(backend, case, |address| {
        let mut client = Client::connect(address)?;
        client.send(b"GET /echo HTTP/1.1\r\nHost: h\r\nX: ")?;
        Ok(client)
    })
}

fn attack_07_thousands_of_half_frames_beside_good_clients(backend: Backend) -> Checked {
    let case = "attack_07_thousands_of_half_frames_beside_good_clients";
    beside(backend, case, |address| {
        let mut client = Client::open(address, "/echo")?;
        client.send(&Frame::binary("x").declare(60_000).bytes())?;
        Ok(client)
    })
}

fn beside(backend: Backend, case: &str, bad: fn(Address) -> Result<Client, Failure>) -> Checked {
    if role().is_some() {
        return serve(backend);
    }
    let _alone = alone();
    let mut child = Child::start("many_clients", backend, case, None);
    let address: Address = child.read_line().parse().expect("an address");
    let mut good = Client::open(address, "/echo")?;
    median_echo(&mut good)?; // warm
    let before = median_echo(&mut good)?;

    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(bad(address)?);
    }
    let stop = AtomicBool::new(false);
    let during = thread::scope(|scope| {
        // Each of them sends a byte now and then.
        scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                for some in clients.chunks_mut(20) {
                    some.iter_mut().for_each(|client| client.send_anyway(b"x"));
                    thread::sleep(Duration::from_millis(2));
                }
            }
        });
        let during = median_echo(&mut good).and_then(|_| median_echo(&mut good));
        stop.store(true, Ordering::Release);
        during
    })?;
    // New connections are served as well.
    let mut another = Client::open(address, "/echo")?;
    another.send_text("hello")?;
    another.expect_text("hello")?;

    let ratio = during.as_secs_f64() / before.as_secs_f64();
    println!("an echo took {before:?} alone, {during:?} beside {CLIENTS}: {ratio:.2} times");
    assert!(
        ratio < RATIO_MAX,
        "{ratio:.2} times as slow beside {CLIENTS}"
    );
    drop((clients, good, another));
    child.finish();
    Ok(())
}

/// The median of some hundred echoes, one after the other.
fn median_echo(client: &mut Client) -> Result<Duration, Failure> {
    let mut times = Vec::new();
    for _ in 0..300 {
        let begun = Instant::now();
        client.send_text("how long?")?;
        client.expect_text("how long?")?;
        times.push(begun.elapsed());
    }
    times.sort();
    Ok(times[times.len() / 2])
}
