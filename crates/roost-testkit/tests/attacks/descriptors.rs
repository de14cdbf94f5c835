//! No descriptor left.

use std::thread;
use std::time::{Duration, Instant};

use roost_testkit::client::{Address, Checked, Client, Failure, Request};
use roost_testkit::server::{Backend, DEADLINE, TestServer};

use crate::child::{Child, role, tell, wait_for_end};
use crate::support::alone;

roost_testkit::on_each_backend_and_over_tls!(attack_43_bun_32705_no_descriptor_left);

/// Descriptors of the server's process, and so of its io_uring's table too.
const DESCRIPTORS_MAX: u32 = 64;
/// A share of a core that waiting never takes, however busy the machine is and however cold its caches. A
/// loop that asks again at once takes all that it gets.
const SPINNING: f64 = 0.2;

/// What became of a client at the door.
enum AtTheDoor {
    In(Client),
    Reset,
    Waiting(Client),
}

/// 98,000 accepts in ten seconds that all found no descriptor, and a core at its limit; also
/// uSockets `loop.c` line 271, wai#928, tokio#3529, payjoin#1608.
fn attack_43_bun_32705_no_descriptor_left(backend: Backend) -> Checked {
    if role().is_some() {
        let server = TestServer::start(backend);
        tell(&server.address().url());
        wait_for_end();
        return Ok(());
    }
    let _alone = alone();
    let case = "attack_43_bun_32705_no_descriptor_left";
    let child_of = |max| Child::start("descriptors", backend, case, Some(max));
    let mut child = child_of(DESCRIPTORS_MAX);
    let address: Address = child.read_line().parse().expect("an address");

    let mut inside = Vec::new();
    let mut waiting = Vec::new();
    let mut resets = 0;
    for _ in 0..100 {
        match knock(address, Duration::from_millis(300))? {
            AtTheDoor::In(client) => inside.push(client),
            AtTheDoor::Reset => resets += 1,
            AtTheDoor::Waiting(client) => {
                waiting.push(client);
                // The rest would wait too.
                if waiting.len() == 3 {
                    break;
                }
            }
        }
    }
    let full = inside.len();
    println!("{full} let in, {resets} reset, {} waiting", waiting.len());
    assert!(full > 10, "only {full} in {DESCRIPTORS_MAX} descriptors");
    assert!(
        full < 100 && resets + waiting.len() > 0,
        "the limit was not reached"
    );

    // New connections go on arriving, a hundred a second, and cost little.
    let (begun, cpu_before) = (Instant::now(), child.cpu_ns());
    while begun.elapsed() < Duration::from_secs(1) {
        if let AtTheDoor::Waiting(client) = knock(address, Duration::ZERO)? {
            waiting.push(client);
        }
        thread::sleep(Duration::from_millis(10));
    }
    let share = (child.cpu_ns() - cpu_before) as f64 / begun.elapsed().as_nanos() as f64;
    println!("{:.2} % of a core while full", share * 100.0);
    assert!(
        share < SPINNING,
        "{:.2} % of a core while full",
        share * 100.0
    );
    for client in &mut inside {
        client.send_text("served")?;
        client.expect_text("served")?;
    }

    // One goes, one comes. The best of ten tells the machine's noise from a slow retry.
    drop(waiting);
    let mut best = Duration::MAX;
    for _ in 0..10 {
        let mut next = knock(address, Duration::ZERO)?;
        drop(inside.pop());
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < DEADLINE, "nobody was let in");
            next = match next {
                AtTheDoor::In(client) => {
                    inside.push(client);
                    break;
                }
                AtTheDoor::Reset => knock(address, Duration::ZERO)?,
                AtTheDoor::Waiting(client) => answer(client, Duration::from_secs(1))?,
            }
        }
        best = best.min(begun.elapsed());
    }
    println!("the next is in {best:?} after one has left, at best");
    assert!(
        best <= Duration::from_millis(10),
        "{best:?} until the next was let in"
    );
    drop(inside);
    child.finish();
    Ok(())
}

/// Connects and asks for a WebSocket.
fn knock(address: Address, wait: Duration) -> Result<AtTheDoor, Failure> {
    let Ok(mut client) = Client::connect(address) else {
        return Ok(AtTheDoor::Reset);
    };
    if client
        .send(&Request::websocket("h", "/echo").bytes())
        .is_err()
    {
        return Ok(AtTheDoor::Reset);
    }
    answer(client, wait)
}

fn answer(mut client: Client, wait: Duration) -> Result<AtTheDoor, Failure> {
    client.set_timeout(wait.max(Duration::from_micros(100)));
    let answer = client.receive_response();
    client.set_timeout(DEADLINE);
    match answer {
        Ok(Some(response)) => {
            assert_eq!(response.status, 101);
            Ok(AtTheDoor::In(client))
        }
        Ok(None) => Ok(AtTheDoor::Reset),
        Err(_) => Ok(AtTheDoor::Waiting(client)),
    }
}
