//! Unix sockets, at an address that only they have.

use std::path::Path;

use roost_net::sim::{SimFaults, SimNet, SimOptions, unix_addr};
use roost_net::unix_socket::UnixOptions;
use roost_net::{ConnKey, ConnectOptions, Driver, Event, ListenAddr, ListenOptions};

const CLIENTS: u32 = 64;

#[test]
fn drivers_share_a_unix_socket_whose_clients_have_no_address() {
    let net = SimNet::new(3, SimFaults::lossless());
    let mut servers = [SimOptions::default(), SimOptions::default()].map(|o| net.driver(o));
    let mut client = net.driver(SimOptions::default());
    let path = Path::new("/run/roost/clients.sock");
    let mut options = ListenOptions {
        addr: ListenAddr::unix(UnixOptions {
            path: path.to_owned(),
            mode: 0o660,
            group: None,
        }),
        backlog: 128,
        reuse_port: true,
        exclusive: true,
        sharers: 2,
        want_peer: true,
    };
    for server in &mut servers {
        options.addr = server.listen(&options).unwrap().1;
        assert_eq!(options.addr.path(), Some(path));
    }
    let elsewhere = unix_addr(Path::new("/run/roost/other.sock"));
    assert_ne!(unix_addr(path), elsewhere);
    for slot in 0..=CLIENTS {
        let addr = match slot {
            CLIENTS => elsewhere,
            _ => unix_addr(path),
        };
        let options = ConnectOptions { addr, local: None };
        client.connect(ConnKey::new(slot, 1), &options).unwrap();
    }
    let (mut accepted, mut connected, mut failed) = ([0, 0], 0, 0);
    while net.step() {
        for (server, accepted) in servers.iter_mut().zip(&mut accepted) {
            server.wait(None).unwrap();
            let slots = *accepted..;
            for slot in slots {
                let socket = match server.next_event() {
                    Some(Event::Accepted { socket, peer, .. }) => {
                        assert_eq!(peer, None);
                        socket
                    }
                    Some(other) => panic!("{other:?}"),
                    None => break,
                };
                let key = ConnKey::new(slot, 1);
                server.adopt(key, socket).unwrap();
                assert_eq!(server.peer_addr(key), None);
                *accepted += 1;
            }
        }
        client.wait(None).unwrap();
        while let Some(event) = client.next_event() {
            match event {
                Event::Connected(key) => {
                    assert_eq!(client.peer_addr(key), None);
                    connected += 1;
                }
                Event::Closed(key, _) if key.slot() == CLIENTS => failed += 1,
                other => panic!("{other:?}"),
            }
        }
        if connected == CLIENTS && failed == 1 && accepted[0] + accepted[1] == CLIENTS {
            break;
        }
    }
    assert_eq!((connected, failed), (CLIENTS, 1));
    assert!(accepted.iter().all(|&n| n > 8), "{accepted:?}");
}
