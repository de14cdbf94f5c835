//! What a process asks of the kernel for itself and its children: signals that are ignored, children
//! that end with the process that started them, however that one ends, and CPU time.
#![expect(
    unsafe_code,
    reason = "signals, what a child does before exec, and clocks of processes have no safe form in std"
)]

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use crate::sys;

/// Lets the kernel end the command's process (SIGKILL) when the thread that starts it has ended:
/// because the test is over, because the process was killed, for any cause. The wish outlives
/// `exec`, so a shell that becomes something else passes it on; children of the child do not have
/// it. Start the process from a thread that lives as long as the process should.
pub fn end_with_parent(command: &mut Command) -> &mut Command {
    let parent = std::process::id();
    // SAFETY: the closure runs in the child between fork and exec, and only makes system calls: it
    // takes no lock and allocates nothing (an `io::Error` of a number is a plain value).
    unsafe { command.pre_exec(move || ask_for_end(parent)) }
}

/// Microseconds of CLOCK_MONOTONIC, which systemd compares with its own.
pub fn monotonic_us() -> u64 {
    sys::monotonic_ns() / 1_000
}

fn ask_for_end(parent: u32) -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes a signal's number and touches no memory of ours.
    let status = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    // The parent may have ended before it was asked for.
    if std::os::unix::process::parent_id() != parent {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    Ok(())
}

/// CPU time of a process since its start: user and system time of all its threads, those included that
/// have ended, and without its children's. `None` when there is no such process.
///
/// clock_getcpuclockid(3). `/proc/PID/stat` says the same in steps of 10 ms.
pub fn cpu_time(pid: u32) -> Option<Duration> {
    let pid = libc::pid_t::try_from(pid).ok()?;
    let mut clock = 0;
    // SAFETY: `clock` is written, and nothing kept.
    let status = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) };
    if status != 0 {
        return None;
    }
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is written, and nothing kept. A process that has ended meanwhile is an error.
    let status = unsafe { libc::clock_gettime(clock, &raw mut time) };
    if status != 0 {
        return None;
    }
    let (seconds, nanos) = (time.tv_sec.try_into(), time.tv_nsec.try_into());
    Some(Duration::new(seconds.ok()?, nanos.ok()?))
}

/// Ignores all signals that would end or stop the process though nothing is wrong with it, but for
/// those that mean something to a daemon: HUP, INT, QUIT, TERM, USR1, and those of a terminal that
/// stop it on request. What a fault raises (SEGV, BUS, ILL, FPE, TRAP, ABRT, SYS) keeps ending the
/// process. std ignores SIGPIPE by itself.
///
/// SIGXFSZ is among them: a log in a file that may not grow any more is a failed write. So is
/// SIGTTOU: a terminal with `tostop` would stop a daemon in the background at its first line.
pub fn ignore_stray_signals() {
    let stray = [
        libc::SIGUSR2,
        libc::SIGALRM,
        libc::SIGVTALRM,
        libc::SIGPROF,
        libc::SIGXCPU,
        libc::SIGXFSZ,
        libc::SIGTTOU,
        libc::SIGTTIN,
        libc::SIGIO,
        libc::SIGPWR,
        libc::SIGSTKFLT,
        libc::SIGPIPE,
    ];
    for signal in stray.into_iter().chain(libc::SIGRTMIN()..=libc::SIGRTMAX()) {
        // SAFETY: sets a disposition without a handler: none of our code runs at a signal.
        // Numbers the system does not know are refused with an error that changes nothing.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::path::Path;
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    use super::*;

    /// Started again as a process of its own, this test starts a child and waits to be killed.
    #[test]
    fn a_child_is_gone_when_its_parent_is_killed() {
        if std::env::var_os("ROOST_ROLE").is_some() {
            // A shell that becomes another program, as tests do to lower a limit.
            let mut sleep = Command::new("sh");
            sleep.args(["-c", "exec sleep 300"]);
            let mut child = end_with_parent(&mut sleep).spawn().expect("a shell");
            println!("\nROOST {}", child.id());
            child.wait().expect("a child of ours");
            return;
        }
        let mut again = Command::new(std::env::current_exe().expect("this test"));
        again
            .args(["--exact", "--nocapture"])
            .arg("process::tests::a_child_is_gone_when_its_parent_is_killed")
            .env("ROOST_ROLE", "parent")
            .stdout(Stdio::piped());
        see_that_the_child_ends(&mut again);
    }

    /// The same for scripts, whose children are started by scripts/with-parent.
    #[test]
    fn a_child_of_a_script_is_gone_when_the_script_is_killed() {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", r#""$0" $$ sleep 300 & echo "ROOST $!"; wait"#])
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../scripts/with-parent"
            ))
            .stdout(Stdio::piped());
        see_that_the_child_ends(&mut shell);
    }

    /// Starts a parent, kills it, and waits until the child that it told of is gone.
    fn see_that_the_child_ends(parent: &mut Command) {
        let mut parent = end_with_parent(parent).spawn().expect("a parent");
        let out = BufReader::new(parent.stdout.take().expect("piped"));
        let mut lines = out.lines().map_while(Result::ok);
        let pid = lines.find_map(|line| line.strip_prefix("ROOST ").map(str::to_owned));
        let pid = pid.expect("the parent tells its child");
        let sleeps = || command_of(&pid).is_some_and(|name| name.starts_with("sleep"));
        wait_until("the child runs", sleeps);
        parent.kill().expect("it runs");
        parent.wait().expect("it was killed");
        wait_until("the child is gone", || !lives(&pid));
    }

    fn wait_until(what: &str, done: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !done() {
            assert!(Instant::now() < deadline, "{what}: not in 30 s");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn command_of(pid: &str) -> Option<String> {
        std::fs::read_to_string(Path::new("/proc").join(pid).join("comm")).ok()
    }

    #[test]
    fn a_child_of_a_parent_that_is_gone_does_not_start() {
        let error = ask_for_end_in_child(u32::MAX);
        assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
    }

    fn ask_for_end_in_child(parent: u32) -> io::Error {
        let mut command = Command::new("true");
        // SAFETY: as in `end_with_parent`.
        unsafe { command.pre_exec(move || ask_for_end(parent)) };
        command.spawn().expect_err("its parent is another")
    }

    /// A process that has ended and was not yet waited for does not count.
    fn lives(pid: &str) -> bool {
        let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
        stat.is_ok_and(|stat| {
            let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
            !state.is_some_and(|state| state.starts_with(['Z', 'X']))
        })
    }

    #[test]
    fn cpu_time_goes_on_with_work() {
        let own = std::process::id();
        let before = cpu_time(own).expect("this process exists");
        let until = before + Duration::from_millis(1);
        // A thread that has ended counts.
        let work = move || while cpu_time(own).expect("it still exists") < until {};
        std::thread::spawn(work).join().expect("it only waits");
        assert!(cpu_time(own).expect("it still exists") >= until);
        assert_eq!(cpu_time(u32::MAX), None);
    }
}
