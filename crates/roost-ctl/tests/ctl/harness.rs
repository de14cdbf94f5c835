//! A server with a control thread, and `roostctl` asked about it.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use roost_control::{
    Build, Control, DrainAsked, Limits, Listeners, Operator, Options, Reloaded, ReloadedKey,
    Served, Socket,
};
use roost_reactor::{Pace, Settings};
use roost_testkit::client::Client;
use roost_testkit::server::{Backend, DEADLINE, TestServer};
use serde_json::Value;

/// What administrators have asked of the process.
#[derive(Default)]
pub(crate) struct Asked(Mutex<Vec<String>>);

impl Operator for Asked {
    fn set_log_level(&self, level: &str) -> Result<String, String> {
        match level {
            "debug" => {
                self.note(format!("log {level}"));
                Ok("info".to_owned())
            }
            _ => Err(format!("\"{level}\" is no level of the log")),
        }
    }

    fn reload(&self, is_check: bool) -> Reloaded {
        self.note(format!("reload {is_check}"));
        if !is_check {
            return Reloaded::failed(vec!["roost.toml:2:1: found no good value".to_owned()]);
        }
        Reloaded {
            errors: Vec::new(),
            warnings: vec!["a certificate expires soon".to_owned()],
            changes: vec![ReloadedKey {
                key: "limits.idle_timeout".to_owned(),
                before: Some("\"0s\"".to_owned()),
                after: Some("\"1h\"".to_owned()),
                class: "new connections",
                effect: "for new connections",
            }],
        }
    }

    fn drain(&self, asked: DrainAsked) -> Pace {
        let DrainAsked {
            delay_ms,
            timeout_ms,
            per_second,
        } = asked;
        self.note(format!("drain {delay_ms:?} {timeout_ms:?} {per_second:?}"));
        Pace {
            delay_ms: delay_ms.unwrap_or(5_000),
            timeout_ms: timeout_ms.unwrap_or(10_000),
            per_second: per_second.unwrap_or(0),
        }
    }
}

impl Asked {
    fn note(&self, what: String) {
        self.0.lock().expect("no test panics with it").push(what);
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("no test panics with it"))
    }
}

/// A server and its admin socket. Stopped when dropped.
pub(crate) struct Daemon {
    pub(crate) server: TestServer,
    pub(crate) asked: Arc<Asked>,
    socket: PathBuf,
    control: Option<Control>,
}

/// What `roostctl` has printed, and whether it has done what it was told.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) ok: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Daemon {
    pub(crate) fn start() -> Daemon {
        Daemon::on(Backend::Epoll, |_| {})
    }

    pub(crate) fn on(backend: Backend, change: impl FnOnce(&mut Settings)) -> Daemon {
        let server = TestServer::with(backend, 2, change);
        let socket = fresh_path();
        let options = Options {
            socket: Some(Socket {
                path: socket.clone(),
                mode: 0o600,
                group: None,
            }),
            listen: None,
        };
        let asked = Arc::new(Asked::default());
        let served = Served {
            admin: Listeners::bind(&options).expect("binds"),
            limits: Limits::default(),
            api: None,
            tokens: None,
            hooks: Vec::new(),
            canary_interval: None,
            events: Vec::new(),
            operator: Some(asked.clone()),
        };
        let build = Build {
            version: "1.2.3",
            driver: "epoll",
        };
        let control = roost_control::start(served, server.shared().clone(), build);
        Daemon {
            server,
            asked,
            socket,
            control: Some(control.expect("starts")),
        }
    }

    pub(crate) fn ctl(&self, arguments: &[&str]) -> Ran {
        self.begin(arguments)()
    }

    /// Starts it; what is returned waits for its end.
    pub(crate) fn begin(&self, arguments: &[&str]) -> impl FnOnce() -> Ran + use<> {
        let child = Command::new(env!("CARGO_BIN_EXE_roostctl"))
            .arg("--socket")
            .arg(&self.socket)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        move || {
            let output = child.wait_with_output().expect("it ends");
            Ran {
                ok: output.status.success(),
                out: String::from_utf8(output.stdout).expect("UTF-8"),
                err: String::from_utf8(output.stderr).expect("UTF-8"),
            }
        }
    }

    /// The objects that it prints with `--json`.
    pub(crate) fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let ran = self.ctl(&[arguments, &["--json"]].concat());
        assert!(ran.ok, "{arguments:?}: {ran:?}");
        let objects = ran.out.lines().map(serde_json::from_str);
        objects.collect::<Result<_, _>>().expect("JSON")
    }

    /// The name of the only connection that is subscribed to a channel.
    pub(crate) fn key_of(&self, channel: &str) -> String {
        let found = self.json(&["conns", "--channel", channel]);
        assert_eq!(found.len(), 1, "{channel}: {found:?}");
        found[0]["connection"].as_str().expect("a name").to_owned()
    }

    pub(crate) fn raw(&self, channel: &str) -> Client {
        let opened = self.server.open(&format!("/raw/{channel}"));
        opened.unwrap_or_else(|error| panic!("{channel}: {error}"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(control) = self.control.take() {
            control.stop(DEADLINE);
        }
    }
}

/// A path that no other test has.
fn fresh_path() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("roostctl-{}-{number}.sock", std::process::id());
    std::env::temp_dir().join(name)
}
