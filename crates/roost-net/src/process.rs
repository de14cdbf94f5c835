//! Signals that end a process unless it says otherwise.
#![expect(unsafe_code, reason = "std has no way to ignore a signal")]

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
