//! The admin page is on the admin listeners, and on no port of clients.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::daemon::{DEADLINE, Daemon, Log, wait_until};

#[test]
fn the_admin_page_is_served_to_administrators_alone() {
    for is_demonstrated in ["true", "false"] {
        let demonstrates = format!("listener.demo_page={is_demonstrated}");
        let set = ["--set", "admin.listen=127.0.0.1:0", "--set", &demonstrates];
        let daemon = Daemon::start(&set, Log::Read);
        let admin = || {
            let log = daemon.stderr.get();
            let mut lines = log.lines().filter(|line| line.contains("admin listener"));
            lines.find_map(|line| line.split("address=").nth(1)?.trim().parse().ok())
        };
        wait_until(|| admin().is_some(), || daemon.stderr.get());
        let page = get(admin().expect("it was there"), "/");
        assert!(page.starts_with("HTTP/1.1 200"), "{page}");
        assert!(page.contains("<title>Roost admin</title>"), "{page}");
        assert!(page.contains("data-access=\"read-only\""), "{page}");
        assert!(page.contains("frame-ancestors 'none'"), "{page}");
        for path in ["/", "/admin", "/stats/reactors", "/connections"] {
            let answer = get(daemon.address, path);
            assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
            let known = ["Roost admin", "cpu_ms_total", "silent_seconds"];
            assert!(
                !known.iter().any(|word| answer.contains(word)),
                "{path}: {answer}"
            );
        }
    }
}

/// As a browser asks.
fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it accepts");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("writes");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}
