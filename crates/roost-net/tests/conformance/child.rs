//! A case in several processes: the test starts itself again, in another role.
//!
//! A child runs the same test with `ROOST_ROLE` set, says what it has to say in lines that begin
//! with `ROOST `, hears lines on its standard input, and ends when that is closed.

use std::io::{BufRead, BufReader, Write, stdin};
use std::process::{self, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use std::{env, fs, thread};

use roost_net::process::end_with_parent;

use crate::backend::Backend;

/// A child of a test; killed when dropped, or when the test ends in any other way.
pub(crate) struct Child {
    process: process::Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

/// The role this process has been started for; none in the test itself.
pub(crate) fn role() -> Option<String> {
    env::var("ROOST_ROLE").ok()
}

/// What the parent passed along.
pub(crate) fn argument() -> String {
    env::var("ROOST_ARGUMENT").expect("the parent sets it")
}

/// Tells the parent.
pub(crate) fn tell(text: &str) {
    // The test harness may have begun the line.
    println!("\nROOST {text}");
}

/// Calls `receive` in another thread for each line of the parent, and with `None` at the end.
pub(crate) fn listen(mut receive: impl FnMut(Option<String>) + Send + 'static) {
    thread::spawn(move || {
        for line in stdin().lines() {
            receive(line.ok());
        }
        receive(None);
    });
}

impl Child {
    /// Starts `case` of backend `B` as `role`, with so many descriptors at most.
    pub(crate) fn start<B: Backend>(
        case: &str,
        role: &str,
        argument: &str,
        descriptors_max: Option<u32>,
    ) -> Child {
        let test = env::current_exe().expect("this test");
        let limit = descriptors_max.map_or(String::new(), |max| format!("ulimit -n {max} && "));
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{limit}exec \"$0\" \"$@\"")])
            .arg(test)
            .arg(format!("{}::{case}", B::NAME))
            .args(["--exact", "--nocapture", "--test-threads=1"])
            .env("ROOST_ROLE", role)
            .env("ROOST_ARGUMENT", argument)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = end_with_parent(&mut command).spawn().expect("a shell");
        let stdin = process.stdin.take();
        let stdout = process.stdout.take().expect("piped");
        Child {
            process,
            stdin,
            lines: read_lines(stdout),
        }
    }

    /// The next thing the child tells.
    pub(crate) fn hear(&mut self) -> String {
        self.lines
            .recv_timeout(Duration::from_secs(60))
            .expect("the child tells something")
    }

    /// Sends the child a line.
    pub(crate) fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("not finished");
        writeln!(stdin, "{line}").expect("the child listens");
    }

    /// Lets the child end, and sees that it ends well.
    pub(crate) fn finish(mut self) {
        self.stdin = None;
        while self.lines.recv_timeout(Duration::from_secs(60)).is_ok() {}
        let status = self.process.wait().expect("a child of ours");
        assert!(status.success(), "the child ended with {status}");
    }

    /// Nanoseconds of CPU the child has used, all threads.
    pub(crate) fn cpu_ns(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("it lives");
        let of_task = |task: std::io::Result<fs::DirEntry>| -> Option<u64> {
            let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse().ok()
        };
        tasks.filter_map(of_task).sum()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // After `finish` it is gone, and this does nothing.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn read_lines(stdout: ChildStdout) -> mpsc::Receiver<String> {
    let (tx, rx) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some(told) = line.strip_prefix("ROOST ")
                && tx.send(told.to_owned()).is_err()
            {
                return;
            }
        }
    });
    rx
}
