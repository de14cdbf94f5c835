//! TLS as a client sees it, on each driver. The client's side is the same records by other hands:
//! rustls' handshake, then keys at rest as the server keeps them; other programs' clients are asked by
//! the end-to-end suites.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use roost_testkit::client::{Checked, Failure};
use roost_testkit::server::{Backend, DEADLINE, TestServer};
use roost_tls::testing::{Endpoint, Over, setups};
use roost_tls::{ClientSetup, Fault, SharedSetup};
use roost_wire::Opcode;
use roost_wire::frame::{append_masked_frame, split_frame};

roost_testkit::on_each_backend!(
    messages_of_any_length_come_back,
    keys_are_changed_by_either_side,
    a_publication_reaches_encrypted_and_plain_clients,
    many_handshakes_at_once_all_end_well,
    a_client_that_reads_late_gets_everything,
    an_end_without_close_notify_is_an_end,
    rubbish_gets_an_alert_or_a_hint,
    a_new_setup_serves_new_connections_and_drops_none,
    a_client_that_leaves_in_its_handshake_leaves_nothing,
    a_session_without_a_websocket_goes_over_tls,
);

struct TlsClient {
    stream: TcpStream,
    tls: Endpoint,
    frames: Vec<u8>,
}

impl TlsClient {
    /// Connects, and sends the ClientHello.
    fn begin(address: impl ToSocketAddrs, setup: &ClientSetup) -> TlsClient {
        let stream = TcpStream::connect(address).expect("a listener");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        let mut client = TlsClient {
            stream,
            tls: Endpoint::client(setup, "localhost"),
            frames: Vec::new(),
        };
        client.flush();
        client
    }

    /// Connects, and opens a WebSocket.
    fn open(address: impl ToSocketAddrs, setup: &ClientSetup, path: &str) -> TlsClient {
        let mut client = TlsClient::begin(address, setup);
        client.upgrade(path);
        client
    }

    fn upgrade(&mut self, path: &str) {
        self.until(|client| client.tls.is_established());
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        self.send_bytes(head.as_bytes());
        self.until(|client| {
            client
                .tls
                .received
                .windows(4)
                .any(|bytes| bytes == b"\r\n\r\n")
        });
        let received = std::mem::take(&mut self.tls.received);
        let end = received.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let (head, rest) = received.split_at(end.expect("checked") + 4);
        assert!(
            head.starts_with(b"HTTP/1.1 101 "),
            "{}",
            String::from_utf8_lossy(head)
        );
        self.tls.received = rest.to_vec();
    }

    fn flush(&mut self) {
        self.tls.flush();
        let out = self.tls.take();
        self.stream.write_all(&out).expect("the server reads");
    }

    fn send_bytes(&mut self, bytes: &[u8]) {
        self.tls.send(bytes);
        self.flush();
    }

    fn send(&mut self, payload: &[u8]) {
        let mut frame = Vec::new();
        append_masked_frame(&mut frame, Opcode::Binary, payload, [1, 2, 3, 4]);
        self.send_bytes(&frame);
    }

    /// Reads once. False at FIN or a reset.
    fn read(&mut self) -> bool {
        let mut piece = [0; 16 << 10];
        match self.stream.read(&mut piece) {
            Ok(0) | Err(_) => false,
            Ok(len) => {
                self.tls.give(&piece[..len]);
                self.flush();
                true
            }
        }
    }

    fn until(&mut self, mut is_so: impl FnMut(&mut TlsClient) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            assert!(begun.elapsed() < DEADLINE, "{:?}", self.tls.over);
            assert!(self.read(), "the server ended it: {:?}", self.tls.over);
        }
    }

    /// The payload of the next message.
    fn receive(&mut self) -> Vec<u8> {
        self.until(|client| {
            client.frames.append(&mut client.tls.received);
            split_frame(&client.frames).is_some()
        });
        let (_, payload, rest) = split_frame(&self.frames).expect("checked");
        let (payload, rest) = (payload.to_vec(), rest.to_vec());
        self.frames = rest;
        payload
    }

    /// Reads to the end.
    fn read_to_end(&mut self) {
        let begun = Instant::now();
        while self.read() {
            assert!(begun.elapsed() < DEADLINE);
        }
    }
}

fn server(backend: Backend, reactors: usize) -> (TestServer, ClientSetup) {
    let (server, client) = setups();
    let server = Arc::new(SharedSetup::new(server));
    let server = TestServer::with(backend, reactors, |settings| {
        settings.listeners[0].tls = Some(server);
        // Clients here share one thread, and do their own handshakes in it.
        settings.limits.handshake_timeout_ms = 120_000;
    });
    (server, client)
}

fn messages_of_any_length_come_back(backend: Backend) -> Checked {
    let (server, setup) = server(backend, 1);
    let mut client = TlsClient::open(server.address(), &setup, "/echo");
    for len in [0, 1, 125, 126, 16_384, 16_385, 65_536, 1 << 20] {
        let payload: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        client.send(&payload);
        assert_eq!(client.receive().len(), len);
    }
    assert_eq!(server.count("tls_handshakes_total"), 1);
    assert_eq!(server.count("tls_faults_total"), 0);
    Ok(())
}

fn keys_are_changed_by_either_side(backend: Backend) -> Checked {
    let (server, setup) = server(backend, 1);
    let mut client = TlsClient::open(server.address(), &setup, "/echo");
    for round in 0..103_u8 {
        // Asks for new keys in both directions, sometimes with nothing else to send.
        client.tls.rest.request_key_update();
        if round % 3 == 0 {
            client.flush();
        }
        client.send(&[round; 100]);
        assert_eq!(client.receive(), [round; 100]);
    }
    // A server that is asked answers at once, not with its next data.
    client.tls.rest.request_key_update();
    client.flush();
    let opened = client.tls.rest.opened();
    client.until(|client| client.tls.rest.opened() < opened || client.tls.rest.opened() == 0);
    Ok(())
}

fn a_publication_reaches_encrypted_and_plain_clients(backend: Backend) -> Checked {
    let (tls, setup) = setups();
    let tls = Arc::new(SharedSetup::new(tls));
    let server = TestServer::with(backend, 2, |settings| {
        let mut encrypted = settings.listeners[0].clone();
        encrypted.config.name = "encrypted".to_owned();
        encrypted.tls = Some(tls);
        settings.listeners.push(encrypted);
    });
    let addresses = server.addresses();
    let encrypted = addresses[1].tcp().expect("TCP");
    let mut readers: Vec<_> = (0..20)
        .map(|_| TlsClient::open(encrypted, &setup, "/raw/c"))
        .collect();
    let mut plain = server.open("/raw/c")?;
    let mut publisher = TlsClient::open(encrypted, &setup, "/raw/c");
    for n in 0..50_u8 {
        publisher.send(&[n; 300]);
    }
    for n in 0..50_u8 {
        plain.expect_binary(&[n; 300])?;
        for reader in &mut readers {
            assert_eq!(reader.receive(), [n; 300]);
        }
    }
    Ok(())
}

fn many_handshakes_at_once_all_end_well(backend: Backend) -> Checked {
    const CLIENTS: usize = 300;
    let (server, setup) = server(backend, 2);
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|_| TlsClient::begin(server.address(), &setup))
        .collect();
    for client in &mut clients {
        client.upgrade("/echo");
        client.send(b"hello");
        assert_eq!(client.receive(), b"hello");
    }
    assert_eq!(server.count("tls_handshakes_total"), CLIENTS as u64);
    server.wait_for_count("tls_hellos_waiting", |count| count == 0);
    Ok(())
}

fn a_client_that_reads_late_gets_everything(backend: Backend) -> Checked {
    let (server, setup) = server(backend, 1);
    let mut reader = TlsClient::open(server.address(), &setup, "/raw/c");
    let mut publisher = TlsClient::open(server.address(), &setup, "/raw/c");
    const COUNT: u8 = 40;
    for n in 0..COUNT {
        publisher.send(&vec![n; 100_000]);
    }
    let begun = Instant::now();
    while server.count("connections_backlogged") == 0 && begun.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(5));
    }
    for n in 0..COUNT {
        assert_eq!(reader.receive(), vec![n; 100_000]);
    }
    Ok(())
}

fn an_end_without_close_notify_is_an_end(backend: Backend) -> Checked {
    let (server, setup) = server(backend, 1);
    let mut client = TlsClient::open(server.address(), &setup, "/echo");
    client.stream.shutdown(Shutdown::Write).map_err(failure)?;
    client.read_to_end();
    assert_eq!(
        client.tls.over,
        Some(Over::Closed),
        "the server says its end"
    );
    server.wait_for_count("connections_open", |count| count == 0);
    assert_eq!(server.count("abnormal_closes_total"), 1);
    Ok(())
}

fn rubbish_gets_an_alert_or_a_hint(backend: Backend) -> Checked {
    let (server, setup) = server(backend, 1);
    let ask = |bytes: &[u8]| -> Result<Vec<u8>, Failure> {
        let mut stream = TcpStream::connect(server.address()).map_err(failure)?;
        stream.set_read_timeout(Some(DEADLINE)).map_err(failure)?;
        stream.write_all(bytes).map_err(failure)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(failure)?;
        Ok(answer)
    };
    let answer = String::from_utf8(ask(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")?).expect("text");
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.contains("wss://"),
        "{answer}"
    );
    server.wait_for_count("plain_on_tls_total", |count| count == 1);
    // RFC 8446 §5.1, §5.2: a record that is too long, one that is no handshake message.
    assert_eq!(ask(&[22, 3, 1, 0xff, 0xff])?, [21, 3, 3, 0, 2, 2, 22]);
    let answer = ask(&[22, 3, 1, 0, 4, 99, 0, 0, 0])?;
    assert!(matches!(answer[..], [21, 3, _, 0, 2, 2, _]), "{answer:?}");
    // After the handshake: a record that is altered.
    let mut client = TlsClient::open(server.address(), &setup, "/echo");
    client.tls.send(b"hello");
    let mut record = client.tls.take();
    record[10] ^= 1;
    client.stream.write_all(&record).map_err(failure)?;
    client.read_to_end();
    assert_eq!(client.tls.over, Some(Over::Failed(Fault::PeerAlert(20))));
    assert_eq!(server.count("tls_faults_total"), 1);
    drop(client);
    server.wait_for_count("connections_open", |count| count == 0);
    Ok(())
}

fn a_new_setup_serves_new_connections_and_drops_none(backend: Backend) -> Checked {
    let (first, setup) = setups();
    let shared = Arc::new(SharedSetup::new(first));
    let server = TestServer::with(backend, 1, |settings| {
        settings.listeners[0].tls = Some(Arc::clone(&shared));
    });
    let certificate = |client: &TlsClient| {
        let session = client.tls.session.as_ref().expect("it is established");
        session.peer_certificate.clone().expect("a server has one")
    };
    let mut old = TlsClient::open(server.address(), &setup, "/echo");
    shared.replace(setups().0);
    let mut new = TlsClient::open(server.address(), &setup, "/echo");
    assert_ne!(certificate(&old), certificate(&new));
    for client in [&mut old, &mut new] {
        client.send(b"still here");
        assert_eq!(client.receive(), b"still here");
    }
    Ok(())
}

fn a_client_that_leaves_in_its_handshake_leaves_nothing(backend: Backend) -> Checked {
    let (server, setup) = server(backend, 1);
    for (before, len) in (0..).zip([0, 3, 5, 100, usize::MAX]) {
        let hello = Endpoint::client(&setup, "localhost").take();
        let mut stream = TcpStream::connect(server.address()).map_err(failure)?;
        let len = len.min(hello.len());
        stream.write_all(&hello[..len]).map_err(failure)?;
        drop(stream);
        server.wait_for_count("connections_accepted_total", |count| count > before);
        server.wait_for_count("connections_open", |count| count == 0);
    }
    for gauge in [
        "handshakes_in_flight",
        "input_buffered_bytes",
        "tls_hellos_waiting",
    ] {
        server.wait_for_count(gauge, |count| count == 0);
    }
    Ok(())
}

fn failure(error: std::io::Error) -> Failure {
    Failure::new(error.to_string())
}

/// Sends a request; returns what has come when it has this in it.
fn ask(client: &mut TlsClient, target: &str, body: &str, awaited: &str) -> String {
    let length = body.len();
    let head = format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
    client.send_bytes(format!("{head}{body}").as_bytes());
    until_text(client, awaited)
}

fn until_text(client: &mut TlsClient, awaited: &str) -> String {
    let text = |client: &TlsClient| String::from_utf8_lossy(&client.tls.received).into_owned();
    client.until(|client| text(client).contains(awaited));
    let all = text(client);
    client.tls.received.clear();
    all
}

fn a_session_without_a_websocket_goes_over_tls(backend: Backend) -> Checked {
    let (server, setup) = server(backend, 3);
    let address = server.address();
    let connect = |client: &mut TlsClient| client.until(|client| client.tls.is_established());
    let mut stream = TlsClient::begin(address, &setup);
    connect(&mut stream);
    let target = "/connection/http_stream";
    let told = ask(
        &mut stream,
        target,
        r#"{"id":1,"connect":{}}"#,
        "\"pong\":true",
    );
    let (_, behind) = told.split_once(r#""session":""#).expect("a name");
    let (session, _) = behind.split_once('"').expect("its end");
    for id in 2..8 {
        let mut sender = TlsClient::begin(address, &setup);
        connect(&mut sender);
        let data = format!(r#"{{\"id\":{id},\"rpc\":{{}}}}"#);
        let body = format!(r#"{{"session":"{session}","data":"{data}"}}"#);
        ask(&mut sender, "/emulation", &body, "HTTP/1.1 204 ");
        until_text(&mut stream, &format!(r#"{{"id":{id},"error":{{"code":108"#));
    }
    Ok(())
}
