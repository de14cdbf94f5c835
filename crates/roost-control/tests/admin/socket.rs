//! The unix socket's file: its permissions, owner and removal.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use roost_control::{Listeners, Options};

use crate::harness::{Admin, fresh_path, server, socket_at};

fn bind(change: impl FnOnce(&mut roost_control::Socket)) -> Result<Listeners, String> {
    let mut socket = socket_at(&fresh_path());
    change(&mut socket);
    let options = Options {
        socket: Some(socket),
        listen: None,
    };
    Listeners::bind(&options).map_err(|error| error.to_string())
}

#[test]
fn the_file_has_the_mode_and_group_it_was_given() {
    for mode in [0o600, 0o660] {
        let path = fresh_path();
        let own_group = fs::metadata("/proc/self").expect("proc is mounted").gid();
        let listeners = bind(|socket| {
            socket.path.clone_from(&path);
            socket.mode = mode;
            socket.group = Some(own_group.to_string());
        })
        .expect("binds");
        let file = fs::metadata(&path).expect("it is there");
        assert_eq!(file.permissions().mode() & 0o777, mode);
        assert_eq!(file.gid(), own_group);
        drop(listeners);
        assert!(!path.exists(), "it goes with its listener");
    }
    let error = bind(|socket| socket.group = Some("no such group".to_owned()))
        .expect_err("there is no such group");
    assert!(
        error.contains("admin.socket_group") && error.contains("Remedy"),
        "{error}"
    );
}

#[test]
fn a_socket_left_behind_is_replaced_and_a_served_one_stays() {
    let path = fresh_path();
    drop(UnixListener::bind(&path).expect("binds")); // std leaves the file
    assert!(path.exists());
    let first = bind(|socket| socket.path.clone_from(&path)).expect("the file is stale");
    let error = bind(|socket| socket.path.clone_from(&path)).expect_err("the first serves it");
    assert!(error.contains("another process serves it"), "{error}");
    assert!(path.exists(), "it is still the first's");
    // Another has taken its place meanwhile.
    fs::remove_file(&path).expect("removes");
    let other = UnixListener::bind(&path).expect("binds");
    drop(first);
    assert!(path.exists(), "it is another's");
    drop(other);
    fs::remove_file(&path).expect("removes");
}

#[test]
fn other_files_stay() {
    let path = fresh_path();
    fs::write(&path, "precious").expect("writes");
    let error = bind(|socket| socket.path.clone_from(&path)).expect_err("it is no socket");
    assert!(
        error.contains("no socket") && error.contains("Remedy"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&path).expect("reads"), "precious");
    fs::remove_file(&path).expect("removes");
    let error = bind(|socket| socket.path = "/nowhere/at/all/admin.sock".into())
        .expect_err("there is no such directory");
    assert!(error.contains("/nowhere/at/all/admin.sock"), "{error}");
    assert!(error.contains("make its directory"), "{error}");
    let long = format!("/tmp/{}", "x".repeat(200));
    let error = bind(|socket| socket.path = long.into()).expect_err("the path is too long");
    assert!(error.contains("107 bytes"), "{error}");
}

#[test]
fn a_taken_address_is_an_error_with_a_remedy() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let path = fresh_path();
    let options = Options {
        socket: Some(socket_at(&path)),
        listen: Some(taken.local_addr().expect("it has a port")),
    };
    let error = Listeners::bind(&options)
        .expect_err("the address is taken")
        .to_string();
    assert!(
        error.contains("admin.listen") && error.contains("Remedy"),
        "{error}"
    );
    assert!(!path.exists(), "the socket bound before has gone");
}

#[test]
fn a_server_has_one_control_thread() {
    let server = server();
    let _admin = Admin::of(server.shared());
    let served = roost_control::Served {
        admin: bind(|_| {}).expect("binds"),
        limits: roost_control::Limits::default(),
        api: None,
        tokens: None,
        hooks: Vec::new(),
        canary_interval: None,
        events: Vec::new(),
        operator: None,
    };
    let build = roost_control::Build {
        version: "",
        driver: "",
    };
    let second = roost_control::start(served, server.shared().clone(), build);
    assert!(second.is_err());
}
