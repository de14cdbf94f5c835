//! Several listeners of one server: IPv4, IPv6 and a unix socket, each with what it serves.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use roost_net::ListenAddr;
use roost_net::unix_socket::UnixOptions;
use roost_reactor::{Listener, ListenerConfig, Origins, Settings, Subprotocols};
use roost_testkit::client::{Checked, Client, Failure, Request, Response};
use roost_testkit::server::{Backend, TestServer, wait_until};

roost_testkit::on_each_backend!(
    each_listener_has_its_own_origins_dialects_and_health_path,
    a_channel_is_one_on_all_listeners,
    unix_clients_are_not_limited_by_address,
    unix_clients_come_to_all_reactors,
    a_drain_removes_the_socket,
);

/// The listeners of [`with_listeners`], in their order.
const PUBLIC: usize = 0;
const IPV6: usize = 1;
const UNIX: usize = 2;

/// A path that no other test has.
fn fresh_path() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("roost-clients-{}-{number}.sock", std::process::id());
    std::env::temp_dir().join(name)
}

fn with_listeners(
    backend: Backend,
    reactors: usize,
    change: impl FnOnce(&mut Settings),
) -> TestServer {
    TestServer::with(backend, reactors, |settings| {
        let mut dialects = settings.dialects.clone();
        Arc::make_mut(&mut dialects.wamp).enabled = false;
        Arc::make_mut(&mut dialects.raw).subprotocols =
            Subprotocols::from_list(["chat.v1".to_owned()]);
        settings.listeners = vec![
            Listener {
                origins: Origins::Listed(vec!["https://good.example".to_owned()]),
                dialects: Some(dialects),
                config: ListenerConfig {
                    health_path: "/up".to_owned(),
                    ..ListenerConfig::default()
                },
                ..Listener::for_tests()
            },
            Listener {
                address: ListenAddr::Tcp("[::1]:0".parse().expect("an address")),
                config: ListenerConfig {
                    hixie: true,
                    ..ListenerConfig::default()
                },
                ..Listener::for_tests()
            },
            Listener {
                address: ListenAddr::unix(UnixOptions {
                    path: fresh_path(),
                    mode: 0o600,
                    group: None,
                }),
                config: ListenerConfig {
                    health_path: String::new(),
                    ..ListenerConfig::default()
                },
                ..Listener::for_tests()
            },
        ];
        change(settings);
    })
}

fn path(server: &TestServer) -> &Path {
    server.addresses()[UNIX].path().expect("a unix socket")
}

fn connect(server: &TestServer, listener: usize) -> Result<Client, Failure> {
    match server.addresses()[listener].tcp() {
        Some(address) => Client::connect(address),
        None => Client::connect_unix(path(server)),
    }
}

fn ask(server: &TestServer, listener: usize, request: &Request) -> Result<Response, Failure> {
    let mut client = connect(server, listener)?;
    client.send(&request.bytes())?;
    client.read_response()
}

fn open(server: &TestServer, listener: usize, target: &str) -> Result<Client, Failure> {
    let mut client = connect(server, listener)?;
    client.shake_hands(&Request::websocket("h", target))?;
    Ok(client)
}

fn each_listener_has_its_own_origins_dialects_and_health_path(backend: Backend) -> Checked {
    let server = with_listeners(backend, 1, |_| {});
    let websocket = |target| Request::websocket("h", target);
    let from = |origin: &str| websocket("/echo").header(format!("Origin: {origin}"));
    let early = Request::get("h", "/echo")
        .header("Upgrade: WebSocket")
        .header("Connection: Upgrade")
        .header("Origin: https://good.example");
    for (request, statuses) in [
        (from("https://good.example"), [101, 101, 101]),
        (from("https://bad.example"), [403, 101, 101]),
        (websocket("/echo"), [101, 101, 101]),
        (websocket("/raw/room"), [101, 101, 101]),
        (websocket("/wamp"), [404, 101, 101]),
        (Request::get("h", "/wamp"), [404, 426, 426]),
        (Request::get("h", "/up"), [200, 404, 404]),
        (Request::get("h", "/health"), [404, 200, 404]),
        (early, [426, 101, 426]),
    ] {
        for (listener, status) in statuses.into_iter().enumerate() {
            let got = ask(&server, listener, &request)?.status;
            let request = String::from_utf8_lossy(&request.bytes()).into_owned();
            assert_eq!(got, status, "listener {listener}: {request}");
        }
    }
    let offer = websocket("/raw/room").header("Sec-WebSocket-Protocol: chat.v1");
    for (listener, selected) in [(PUBLIC, Some("chat.v1")), (IPV6, None), (UNIX, None)] {
        let response = ask(&server, listener, &offer)?;
        let got = response.header("sec-websocket-protocol");
        assert_eq!(got, selected, "listener {listener}");
    }
    assert_eq!(server.count("origins_refused_total"), 1);
    Ok(())
}

fn a_channel_is_one_on_all_listeners(backend: Backend) -> Checked {
    let server = with_listeners(backend, 2, |_| {});
    let mut clients = Vec::new();
    for listener in [PUBLIC, IPV6, UNIX] {
        clients.push(open(&server, listener, "/raw/room")?);
    }
    for sender in 0..clients.len() {
        let text = format!("from {sender}");
        clients[sender].send_text(&text)?;
        for (receiver, client) in clients.iter_mut().enumerate() {
            if receiver != sender {
                client.expect_text(&text)?;
            }
        }
    }
    clients.into_iter().try_for_each(Client::close)?;
    Ok(())
}

fn unix_clients_are_not_limited_by_address(backend: Backend) -> Checked {
    let server = with_listeners(backend, 1, |settings| {
        settings.limits.connections_per_address_max = 1;
    });
    let clients: Result<Vec<_>, _> = (0..8).map(|_| open(&server, UNIX, "/echo")).collect();
    for (number, client) in clients?.iter_mut().enumerate() {
        client.send_text(&number.to_string())?;
        client.expect_text(&number.to_string())?;
    }
    for listener in [PUBLIC, IPV6] {
        let _first = open(&server, listener, "/echo")?;
        assert!(open(&server, listener, "/echo").is_err(), "one too many");
    }
    assert_eq!(server.count("refused_per_address_total"), 2);
    Ok(())
}

fn unix_clients_come_to_all_reactors(backend: Backend) -> Checked {
    const REACTORS: usize = 3;
    let server = with_listeners(backend, REACTORS, |_| {});
    let mut clients = Vec::new();
    let open_at = |reactor| server.registry().reactor(reactor).websockets_open.get();
    // A reactor whose thread is not run for a while accepts nothing meanwhile.
    while clients.len() < 600 {
        for _ in 0..48 {
            clients.push(open(&server, UNIX, "/echo")?);
        }
        let dealt: Vec<u64> = (0..REACTORS).map(open_at).collect();
        assert_eq!(dealt.iter().sum::<u64>(), clients.len() as u64);
        if dealt.iter().all(|&n| n >= 4) {
            println!("{}: {dealt:?}", backend.name());
            return Ok(());
        }
    }
    panic!("of {} clients a reactor has hardly any", clients.len());
}

fn a_drain_removes_the_socket(backend: Backend) -> Checked {
    let server = with_listeners(backend, 2, |_| {});
    let path = path(&server).to_owned();
    let mut client = open(&server, UNIX, "/echo")?;
    assert!(path.exists());
    server.begin_stop(10_000);
    client.expect_close(1001)?;
    wait_until(|| !path.exists(), || format!("{} is there", path.display()));
    assert!(Client::connect_unix(&path).is_err(), "no process listens");
    client.send_close(1001, "")?;
    server.wait_stopped();
    Ok(())
}
