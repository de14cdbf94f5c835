//! Connections that a proxy forwards and announces, before HTTP in the clear and before TLS.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use roost_testkit::client::{Checked, Client, Failure, Request};
use roost_testkit::server::{Backend, DEADLINE, TestServer};

roost_testkit::on_each_backend_and_over_tls!(
    a_header_may_come_in_any_pieces,
    the_announced_address_is_the_one_that_is_limited,
    a_connection_of_the_proxys_own_has_its_sockets_address,
    what_is_no_header_is_cut_without_an_answer,
    only_proxies_may_connect,
    a_header_that_does_not_come_is_not_waited_for,
);

fn server(backend: Backend, network: &str, per_address_max: u32) -> TestServer {
    TestServer::with(backend, 1, |settings| {
        settings.listeners[0].proxies = Some(vec![network.parse().expect("a network")]);
        settings.limits.connections_per_address_max = per_address_max;
    })
}

/// A connection for a client of this address, whose header is sent in pieces.
fn forward(server: &TestServer, header: &[u8], piece_bytes: usize) -> Result<Client, Failure> {
    let mut client = Client::connect(server.address())?;
    for piece in header.chunks(piece_bytes) {
        client.send_before_tls(piece)?;
        if piece.len() < header.len() {
            thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(client)
}

fn open(server: &TestServer, header: &[u8], piece_bytes: usize) -> Result<Client, Failure> {
    let mut client = forward(server, header, piece_bytes)?;
    client.shake_hands(&Request::websocket("h", "/echo"))?;
    client.send_text("through a proxy")?;
    client.expect_text("through a proxy")?;
    Ok(client)
}

/// What comes back of these bytes until the end.
fn answer(server: &TestServer, bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut stream = TcpStream::connect(server.address())?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => Err(error.into()),
        _ => Ok(answer),
    }
}

fn line(last: u8) -> Vec<u8> {
    format!("PROXY TCP4 192.0.2.{last} 192.0.2.200 5000 443\r\n").into_bytes()
}

/// Version 2, with a value behind the addresses.
fn binary(command: u8, last: u8) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, 0x11, 0, 16, 192, 0, 2, last, 192, 0, 2, 200]);
    header.extend([0x13, 0x88, 1, 0xbb, 4, 0, 1, 7]);
    header
}

fn a_header_may_come_in_any_pieces(backend: Backend) -> Checked {
    let server = server(backend, "127.0.0.0/8", 0);
    let mut headers = 0;
    for header in [line(1), b"PROXY UNKNOWN\r\n".to_vec(), binary(0x21, 1)] {
        for piece_bytes in [1, 5, 13, header.len()] {
            let client = open(&server, &header, piece_bytes)?;
            client.close()?;
            headers += 1;
        }
        // What follows comes with it.
        if !backend.has_tls() {
            let mut client = Client::connect(server.address())?;
            let request = Request::websocket("h", "/echo").bytes();
            client.send(&[header, request].concat())?;
            assert_eq!(client.read_response()?.status, 101);
            headers += 1;
        }
    }
    assert_eq!(server.count("proxy_headers_total"), headers);
    server.wait_for_count("connections_open", |open| open == 0);
    server.wait_for_count("input_buffered_bytes", |count| count == 0);
    Ok(())
}

fn the_announced_address_is_the_one_that_is_limited(backend: Backend) -> Checked {
    let server = server(backend, "127.0.0.0/8", 2);
    let first = open(&server, &line(1), 100)?;
    let _second = open(&server, &binary(0x21, 1), 100)?;
    let mut third = forward(&server, &line(1), 100)?;
    assert!(
        third
            .shake_hands(&Request::websocket("h", "/echo"))
            .is_err()
    );
    assert_eq!(server.count("refused_per_address_total"), 1);
    let _other = open(&server, &line(2), 100)?;
    // A place that comes free is free for the address that had it.
    first.close()?;
    server.wait_for_count("connections_open", |open| open == 2);
    open(&server, &line(1), 100)?;
    Ok(())
}

fn a_connection_of_the_proxys_own_has_its_sockets_address(backend: Backend) -> Checked {
    let server = server(backend, "127.0.0.1", 2);
    let _first = open(&server, &binary(0x20, 1), 100)?;
    let _second = open(&server, b"PROXY UNKNOWN\r\n", 100)?;
    let mut third = forward(&server, &binary(0x20, 2), 100)?;
    assert!(
        third
            .shake_hands(&Request::websocket("h", "/echo"))
            .is_err()
    );
    assert_eq!(server.count("refused_per_address_total"), 1);
    open(&server, b"PROXY TCP4 127.0.0.2 127.0.0.1 1 2\r\n", 100)?;
    Ok(())
}

fn what_is_no_header_is_cut_without_an_answer(backend: Backend) -> Checked {
    let server = server(backend, "127.0.0.0/8", 0);
    let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat();
    let wrong: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        &[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3],
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        &long,
        &binary(0x2f, 1),
        b"\r\n\r\nGET",
    ];
    for (number, bytes) in wrong.iter().enumerate() {
        assert_eq!(answer(&server, bytes)?, b"", "{}", bytes.escape_ascii());
        server.wait_for_count("proxy_headers_refused_total", |n| n == number as u64 + 1);
    }
    open(&server, &line(1), 100)?;
    Ok(())
}

fn only_proxies_may_connect(backend: Backend) -> Checked {
    let server = server(backend, "10.0.0.0/8", 0);
    // The reset may be there before the connection is.
    if let Ok(answer) = answer(&server, &line(1)) {
        assert_eq!(answer, b"");
    }
    server.wait_for_count("refused_proxy_source_total", |count| count == 1);
    server.wait_for_count("connections_open", |count| count == 0);
    Ok(())
}

fn a_header_that_does_not_come_is_not_waited_for(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        settings.listeners[0].proxies = Some(vec!["127.0.0.0/8".parse().expect("a network")]);
        settings.limits.handshake_timeout_ms = 300;
    });
    for header in [&b""[..], &line(1)[..20], &binary(0x21, 1)[..14]] {
        assert_eq!(answer(&server, header)?, b"");
    }
    assert_eq!(server.count("handshake_timeouts_total"), 3);
    assert_eq!(server.count("proxy_headers_total"), 0);
    Ok(())
}
