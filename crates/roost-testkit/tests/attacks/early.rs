//! The framings before RFC 6455 keep to the same limits.

use std::time::Duration;

use roost_testkit::client::{Checked, Client, Failure};
use roost_testkit::server::{Backend, TestServer};

use crate::support::{PINNED_BYTES_BASE, nothing_left, still_serves};

roost_testkit::on_each_backend_and_over_tls!(
    attack_06_bandit_cve_2026_65623_early_text_byte_by_byte,
    attack_11_undici_cve_2026_1528_early_length_without_end,
    attack_16_tungstenite_cve_2023_43669_early_challenge_byte_by_byte,
    attack_34_tomcat_cve_2024_23672_early_close_never_answered,
);

fn start(backend: Backend) -> TestServer {
    TestServer::with(backend, 1, |settings| {
        settings.listeners[0].config.hixie = true;
        settings.limits.message_bytes_max = 1 << 20;
        settings.limits.close_timeout_ms = 300;
    })
}

/// draft-hixie-thewebsocketprotocol-76 §1.3, its example.
const HEAD: &[u8] = b"GET /echo HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\nUpgrade: WebSocket\r\n\
    Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nOrigin: http://example.com\r\n\r\n";
const CHALLENGE: &[u8] = b"^n:ds[4U";
const ANSWER: &[u8] = b"8jKS'y:G*Co,Wxa-";

fn open(server: &TestServer, piece_bytes: usize) -> Result<Client, Failure> {
    let mut client = Client::connect(server.address())?;
    let hello = [HEAD, CHALLENGE].concat();
    client.send_in_pieces(&hello, piece_bytes, Duration::ZERO)?;
    let response = client.read_response()?;
    assert_eq!(response.status, 101);
    assert_eq!(client.read_exact(ANSWER.len())?, ANSWER);
    Ok(client)
}

fn attack_16_tungstenite_cve_2023_43669_early_challenge_byte_by_byte(backend: Backend) -> Checked {
    let server = start(backend);
    for piece_bytes in [1, 3, HEAD.len(), HEAD.len() + 4, 1000] {
        let mut client = open(&server, piece_bytes)?;
        client.send(b"\0hello\xff")?;
        assert_eq!(client.read_exact(7)?, b"\0hello\xff");
    }
    nothing_left(&server);
    Ok(())
}

/// A text has no length: it ends when it ends, or at the limit.
fn attack_06_bandit_cve_2026_65623_early_text_byte_by_byte(backend: Backend) -> Checked {
    let server = start(backend);
    let mut client = open(&server, 1000)?;
    client.send(b"\0")?;
    let mut sent = 1;
    for _ in 0..20 {
        client.send_in_pieces(&[b'x'; 1000], 1, Duration::ZERO)?;
        sent += 1000;
        let pinned = server.count("input_buffered_bytes");
        assert!(
            pinned <= PINNED_BYTES_BASE + 2 * sent,
            "{pinned} for {sent}"
        );
    }
    client.send(b"\xff")?;
    assert_eq!(client.read_exact(20_002)?[20_001], 0xff);
    client.send(b"\0")?;
    client.send_anyway(&vec![b'x'; (1 << 20) + 1]);
    client.read_to_end()?;
    drop(client);
    still_serves(&server)?;
    nothing_left(&server);
    Ok(())
}

fn attack_11_undici_cve_2026_1528_early_length_without_end(backend: Backend) -> Checked {
    let server = start(backend);
    for length in [
        &b"\x80\xff\xff\xff\xff\x7f"[..],
        &[0xff; 40],
        b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    ] {
        let mut client = open(&server, 1000)?;
        client.send(b"\x80")?;
        client.send_anyway(length);
        client.read_to_end()?;
    }
    still_serves(&server)?;
    nothing_left(&server);
    Ok(())
}

fn attack_34_tomcat_cve_2024_23672_early_close_never_answered(backend: Backend) -> Checked {
    let server = start(backend);
    let mut client = open(&server, 1000)?;
    client.send(b"\xff\0")?;
    assert_eq!(client.read_exact(2)?, b"\xff\0");
    server.wait_for_count("close_timeouts_total", |count| count == 1);
    nothing_left(&server);
    Ok(())
}
