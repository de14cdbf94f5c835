//! TLS handshakes that are cut, ended or announced otherwise than a client of ours would do it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use roost_testkit::client::{Checked, Failure};
use roost_testkit::server::{Backend, DEADLINE, TestServer};
use roost_tls::testing::{Endpoint, setups};

use crate::support::{PINNED_BYTES_BASE, nothing_left, still_serves};

roost_testkit::on_each_backend_over_tls!(
    attack_42_rustls_rustsec_2024_0336_close_notify_in_a_handshake,
    attack_42_rustls_rustsec_2024_0399_a_client_hello_in_pieces,
    attack_42_netty_cve_2026_45416_sixteen_megabytes_announced,
    attack_42_emqx_cve_2021_33175_half_handshakes_pin_what_they_sent,
);

/// A ClientHello, in one record.
fn client_hello() -> (Endpoint, Vec<u8>) {
    let mut client = Endpoint::client(&setups().1, "localhost");
    let hello = client.take();
    (client, hello)
}

fn connect(server: &TestServer) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(server.address())?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The same message in records of so many bytes of it.
fn in_records(record: &[u8], piece_bytes: usize) -> Vec<u8> {
    let (header, message) = record.split_at(5);
    let pieces = message.chunks(piece_bytes);
    let records = pieces.map(|piece| {
        let len = u16::try_from(piece.len()).expect("a piece of a record");
        [&header[..3], &len.to_be_bytes(), piece].concat()
    });
    records.collect::<Vec<_>>().concat()
}

/// After a close_notify the handshake was never to end, and its loop never did: a core each.
fn attack_42_rustls_rustsec_2024_0336_close_notify_in_a_handshake(backend: Backend) -> Checked {
    const CLOSE_NOTIFY: [u8; 7] = [21, 3, 3, 0, 2, 1, 0];
    let server = TestServer::start(backend);
    let (_, hello) = client_hello();
    for before in [&hello[..], &in_records(&hello, 100)[..105], &[]] {
        for behind in [&b""[..], &CLOSE_NOTIFY, &[22, 3, 3, 0, 4, 1, 0, 0, 0]] {
            let mut stream = connect(&server)?;
            let bytes = [before, &CLOSE_NOTIFY, behind].concat();
            stream.write_all(&bytes).map_err(Failure::from)?;
            let mut answer = Vec::new();
            // FIN, or a reset for what was not read.
            let _ = stream.read_to_end(&mut answer);
            drop(stream);
            server.wait_for_count("connections_open", |count| count == 0);
        }
    }
    // With an iteration that does not end, none of this would be answered.
    still_serves(&server)?;
    nothing_left(&server);
    Ok(())
}

/// A ClientHello in several records was a panic.
fn attack_42_rustls_rustsec_2024_0399_a_client_hello_in_pieces(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let mut established = 0;
    for piece_bytes in [1, 2, 3, 4, 5, 50, 100, 200, 1_000] {
        let (mut client, hello) = client_hello();
        let bytes = in_records(&hello, piece_bytes);
        let mut stream = connect(&server)?;
        // A handshake of hundreds of records is refused, so the server may be gone before its end.
        for half in bytes.chunks(bytes.len() / 2 + 1) {
            let _ = stream.write_all(half);
        }
        let mut piece = [0; 4096];
        while !client.is_established() && client.over.is_none() {
            match stream.read(&mut piece) {
                Ok(len) if len > 0 => client.give(&piece[..len]),
                _ => break,
            }
            let _ = stream.write_all(&client.take());
        }
        assert!(
            client.is_established() || hello.len() / piece_bytes > 100,
            "records of {piece_bytes} bytes: {:?}",
            client.over
        );
        established += u64::from(client.is_established());
        drop(stream);
    }
    server.wait_for_count("tls_handshakes_total", |count| count == established);
    still_serves(&server)?;
    nothing_left(&server);
    Ok(())
}

/// Nine bytes had 16 MiB set aside, and no deadline.
fn attack_42_netty_cve_2026_45416_sixteen_megabytes_announced(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.limits.handshake_timeout_ms = 1_000;
        settings.limits.close_timeout_ms = 1_000;
    });
    let begun = Instant::now();
    for announced in [
        // A record with the header of a ClientHello of 16 MiB, and what may be the longest record.
        &[22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff][..],
        &[22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff],
    ] {
        let mut streams = Vec::new();
        for _ in 0..50 {
            let mut stream = connect(&server)?;
            stream.write_all(announced).map_err(Failure::from)?;
            streams.push(stream);
        }
        server.wait_for_count("handshakes_in_flight", |count| count > 0);
        let pinned = server.count("input_buffered_bytes");
        let allowed = 50 * (PINNED_BYTES_BASE + 2 * announced.len() as u64);
        assert!(pinned <= allowed, "{pinned} bytes for {announced:?}");
        server.wait_for_count("connections_open", |count| count == 0);
    }
    assert!(
        begun.elapsed() >= Duration::from_secs(1),
        "there is time for a handshake"
    );
    still_serves(&server)?;
    nothing_left(&server);
    Ok(())
}

/// Memory without bound for clients that had not said who they are.
fn attack_42_emqx_cve_2021_33175_half_handshakes_pin_what_they_sent(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.limits.handshake_timeout_ms = 120_000;
    });
    // The beginning of the longest record, byte by byte in the end: no more is kept than has come.
    let mut begun = vec![22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc];
    begun.resize(1_000, 7);
    let mut streams = Vec::new();
    for _ in 0..100 {
        let mut stream = connect(&server)?;
        stream.write_all(&begun).map_err(Failure::from)?;
        streams.push(stream);
    }
    let sent = 100 * begun.len() as u64;
    server.wait_for_count("received_bytes_total", |bytes| bytes >= sent);
    server.wait_for_count("input_buffered_bytes", |pinned| pinned >= sent);
    let pinned = server.count("input_buffered_bytes");
    assert!(
        pinned <= 100 * PINNED_BYTES_BASE + 2 * sent,
        "{pinned} bytes for {sent}"
    );
    drop(streams);
    nothing_left(&server);
    Ok(())
}
