//! Thousands of half handshakes beside good clients.

use roost_testkit::client::{Address, Checked, Client, Failure, Frame, Located};
use roost_testkit::server::{Backend, TestServer};

use crate::child::{Child, role, tell, wait_for_end};
use crate::support::alone;

roost_testkit::on_each_backend_and_over_tls!(
    attack_41_thousands_of_half_handshakes_beside_good_clients,
    attack_07_thousands_of_half_frames_beside_good_clients,
);

/// Sockets of the attacker. Two thousand at this end, as many in the child.
const CLIENTS: usize = 2000;
/// How many of them the others are compared with.
const FEW: usize = 20;
/// Echoes of the good client. Before each, two of the attacker's sockets send a byte.
const ECHOES: usize = CLIENTS / 2;
/// How much more CPU time the server may take for the same beside all than beside a few. Nothing in it
/// depends on how many there are; but where a thread wakes decides over some of it, up to eight times.
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
    let mut cpu_ns = |clients: &mut [Client]| -> Result<u64, Located> {
        let begun = child.cpu_ns();
        for _ in 0..3 {
            echo(&mut good, clients)?;
        }
        Ok(child.cpu_ns() - begun)
    };
    let mut clients = Vec::new();
    for _ in 0..FEW {
        clients.push(bad(address)?);
    }
    let few = cpu_ns(&mut clients)?;
    for _ in FEW..CLIENTS {
        clients.push(bad(address)?);
    }
    let all = cpu_ns(&mut clients)?;
    // New connections are served as well.
    let mut another = Client::open(address, "/echo")?;
    another.send_text("hello")?;
    another.expect_text("hello")?;

    let ratio = all as f64 / few as f64;
    println!("{few} ns of CPU time beside {FEW}, {all} beside {CLIENTS}: {ratio:.2} times");
    assert!(
        ratio < RATIO_MAX,
        "{ratio:.2} times the CPU time beside {CLIENTS}"
    );
    drop((clients, good, another));
    child.finish();
    Ok(())
}

/// Echoes one after the other; before each the next two of the others send a byte.
fn echo(good: &mut Client, others: &mut [Client]) -> Checked {
    for number in 0..ECHOES {
        for at in [2 * number, 2 * number + 1] {
            others[at % others.len()].send_anyway(b"x");
        }
        good.send_text("how long?")?;
        good.expect_text("how long?")?;
    }
    Ok(())
}
