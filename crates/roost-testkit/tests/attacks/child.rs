//! A server in a process of its own: the test starts itself again, as a child with few descriptors
//! or with memory to be measured.
//!
//! The child runs the same case with `ROOST_ROLE` set, tells what it has to tell in lines that
//! begin with `ROOST `, and ends when its standard input does.

use std::io::{BufRead, BufReader, Read, stdin};
use std::process::{self, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::{env, fs, thread};

use roost_net::process::end_with_parent;
use roost_testkit::server::{Backend, DEADLINE};

/// A child of a test; killed when dropped, or when the test ends in any other way.
pub(crate) struct Child {
    process: process::Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

/// The role that this process has been started for; none in the test itself.
pub(crate) fn role() -> Option<String> {
    env::var("ROOST_ROLE").ok()
}

/// Tells the parent.
pub(crate) fn tell(text: &str) {
    // The test harness may have begun the line.
    println!("\nROOST {text}");
}

/// Waits until the parent wants the child to end.
pub(crate) fn wait_for_end() {
    let mut rest = String::new();
    let _ = stdin().read_to_string(&mut rest);
}

impl Child {
    /// Starts `module::…::case` for this backend, with so many descriptors at most.
    pub(crate) fn start(
        module: &str,
        backend: Backend,
        case: &str,
        descriptors_max: Option<u32>,
    ) -> Child {
        let backend = match backend {
            Backend::Epoll => "epoll",
            Backend::Uring => "io_uring",
            Backend::UringDirect => "io_uring_direct",
            Backend::EpollTls => "epoll_tls",
            Backend::UringTls => "io_uring_tls",
        };
        let test = env::current_exe().expect("this test");
        let limit = descriptors_max.map_or(String::new(), |max| format!("ulimit -n {max} && "));
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{limit}exec \"$0\" \"$@\"")])
            .arg(test)
            .arg(format!("{module}::{backend}::{case}"))
            .args(["--exact", "--nocapture", "--test-threads=1"])
            .env("ROOST_ROLE", "server")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = end_with_parent(&mut command).spawn().expect("a shell");
        let stdin = process.stdin.take();
        let stdout = process.stdout.take().expect("piped");
        let (tx, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(told) = line.strip_prefix("ROOST ") {
                    let _ = tx.send(told.to_owned());
                }
            }
        });
        Child {
            process,
            stdin,
            lines,
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The next thing the child tells.
    pub(crate) fn read_line(&mut self) -> String {
        self.lines
            .recv_timeout(DEADLINE)
            .expect("the child tells something")
    }

    /// Lets the child end, and sees that it ends well.
    pub(crate) fn finish(mut self) {
        self.stdin = None;
        while self.lines.recv_timeout(DEADLINE).is_ok() {}
        let status = self.process.wait().expect("a child of ours");
        assert!(status.success(), "the child ended with {status}");
    }

    /// Nanoseconds of CPU that the child has used, all threads.
    pub(crate) fn cpu_ns(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("it lives");
        let of_task = |task: std::io::Result<fs::DirEntry>| -> Option<u64> {
            let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse().ok()
        };
        tasks.filter_map(of_task).sum()
    }

    /// Memory of the child in bytes (VmRSS).
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.status_kib("VmRSS:") * 1024
    }

    /// The most it has had (VmHWM).
    pub(crate) fn memory_bytes_max(&self) -> u64 {
        self.status_kib("VmHWM:") * 1024
    }

    fn status_kib(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = fs::read_to_string(path).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok());
        kib.expect("Linux tells it in kB")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // After `finish` it is gone, and this does nothing.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
