//! A connection that has ended is let go at once, however it ended.

use roost_testkit::client::{Checked, Client, Failure, Frame};
use roost_testkit::server::{Backend, TestServer};

roost_testkit::on_each_backend!(
    a_reset_behind_bytes_is_noticed,
    a_reset_behind_many_bytes_is_noticed,
    a_reset_behind_half_a_head_is_noticed,
    a_fin_behind_bytes_is_noticed,
);

/// A server that would find out by no other means.
fn start(backend: Backend) -> TestServer {
    TestServer::with(backend, 1, |settings| {
        settings.limits.ping_interval_ms = 0;
        settings.limits.handshake_timeout_ms = 0;
    })
}

/// Many ends, for bytes and end have to meet on their way.
fn each_is_let_go(
    server: &TestServer,
    end: impl Fn(&TestServer) -> Result<(), Failure>,
) -> Checked {
    for _ in 0..50 {
        end(server)?;
    }
    server.wait_for_count("connections_open", |open| open == 0);
    Ok(())
}

fn a_reset_behind_bytes_is_noticed(backend: Backend) -> Checked {
    each_is_let_go(&start(backend), |server| {
        let mut client = server.open("/echo")?;
        client.send_frame(&Frame::binary([1; 100]).declare(5000))?;
        client.reset()
    })
}

fn a_reset_behind_many_bytes_is_noticed(backend: Backend) -> Checked {
    each_is_let_go(&start(backend), |server| {
        let mut client = server.open("/echo")?;
        client.send_frame(&Frame::binary([1; 50_000]).declare(60_000))?;
        client.reset()
    })
}

fn a_reset_behind_half_a_head_is_noticed(backend: Backend) -> Checked {
    each_is_let_go(&start(backend), |server| {
        let mut client = Client::connect(server.address())?;
        client.send(b"GET /echo HTTP/1.1\r\n")?;
        client.reset()
    })
}

fn a_fin_behind_bytes_is_noticed(backend: Backend) -> Checked {
    each_is_let_go(&start(backend), |server| {
        let mut client = server.open("/echo")?;
        client.send_frame(&Frame::binary([1; 100]).declare(5000))?;
        drop(client);
        Ok(())
    })
}
