//! An operator can tell clients apart.

use std::collections::HashSet;

use roost_testkit::client::Client;
use serde_json::Value;

use crate::daemon::Daemon;

fn lines(daemon: &Daemon, message: &str) -> Vec<Value> {
    let log = daemon.stderr.get();
    let lines = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object"));
    lines
        .filter(|line: &Value| line["message"] == message)
        .collect()
}

#[test]
fn a_connection_has_one_name_in_the_process_and_its_address() {
    for driver in ["epoll", "io_uring"] {
        let args = ["--reactors", "3", "--driver", driver];
        let mut daemon = Daemon::start_logging("debug", "json", &args);
        let clients: Vec<Client> = (0..40).map(|_| daemon.open()).collect();
        let peers: HashSet<String> = clients
            .iter()
            .map(|client| client.local_address().expect("connected").to_string())
            .collect();
        drop(clients);
        daemon.signal("TERM");
        assert!(daemon.wait().success());
        daemon.stderr.wait_for("\"stopped\"");

        let accepted = lines(&daemon, "accepted");
        let logged: HashSet<String> = accepted
            .iter()
            .map(|line| line["peer"].as_str().expect("an address").to_owned())
            .collect();
        assert_eq!(logged, peers, "{driver}");
        let names = |message: &str| -> HashSet<String> {
            let name = |line: &Value| line["connection"].as_str().expect("a name").to_owned();
            lines(&daemon, message).iter().map(name).collect()
        };
        let accepted = names("accepted");
        assert_eq!(accepted.len(), 40, "{driver}: {accepted:?}");
        assert_eq!(accepted, names("open"), "{driver}");
        assert_eq!(accepted, names("closed"), "{driver}");
        for name in &accepted {
            let parts: Vec<&str> = name.split(['r', '-', '.']).collect();
            let [_, reactor, slot, generation] = parts[..] else {
                panic!("{name}");
            };
            assert!(reactor.parse::<u8>().expect(name) < 3);
            assert!(slot.parse::<u32>().expect(name) < 40);
            generation.parse::<u16>().expect(name);
        }
        assert!(!daemon.stderr.get().contains("None"), "{driver}");
    }
}
