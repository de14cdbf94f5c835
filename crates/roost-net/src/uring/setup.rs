//! What a ring needs from the kernel, and what to say when it is not there.

use std::io;

use io_uring::{IoUring, Probe, opcode};

/// Registers a table of `slots` empty slots.
pub(super) fn register_slots(io: &IoUring, probe: &Probe, slots: u32) -> io::Result<()> {
    // FIXED_FD_INSTALL came in Linux 6.8, after the socket options by URING_CMD in 6.7, which
    // cannot be probed.
    if !probe.is_supported(opcode::FixedFdInstall::CODE) {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!(
                "io_uring with direct descriptors needs Linux 6.8 or later (this is {}): \
                 upgrade, or use ordinary descriptors",
                kernel_release()
            ),
        ));
    }
    io.submitter()
        .register_files_sparse(slots)
        .map_err(|error| match error.raw_os_error() {
            Some(libc::EMFILE) => io::Error::new(
                error.kind(),
                format!(
                    "{slots} direct descriptors are more than the limit on open files allows: \
                 raise RLIMIT_NOFILE (ulimit -n, LimitNOFILE=) or ask for fewer"
                ),
            ),
            _ => explain("registering the table of direct descriptors", &error),
        })
}

/// Says what is missing for a ring to be set up, and the remedy.
pub(super) fn explain_setup(error: io::Error) -> io::Error {
    let reason = match error.raw_os_error() {
        Some(libc::ENOSYS) => "io_uring is not in this kernel, or a seccomp filter hides it: \
             allow io_uring_setup, io_uring_enter and io_uring_register"
            .to_owned(),
        Some(libc::EPERM | libc::EACCES) => match sysctl("io_uring_disabled").as_deref() {
            None => "io_uring is forbidden by kernel.io_uring_disabled, a seccomp filter or a \
                 security module; /proc, which would tell, is not mounted: mount it, or allow \
                 io_uring_setup, io_uring_enter and io_uring_register"
                .to_owned(),
            Some("0") => "a seccomp filter or security module forbids io_uring: allow \
                 io_uring_setup, io_uring_enter and io_uring_register"
                .to_owned(),
            Some(level) => format!(
                "kernel.io_uring_disabled is {level}: set it to 0 with sysctl, or to 1 and join \
                 the group of kernel.io_uring_group"
            ),
        },
        Some(libc::EINVAL) => format!(
            "io_uring is too old here: Linux 6.1 or later is needed (this is {})",
            kernel_release()
        ),
        _ => return explain("setting the ring up", &error),
    };
    io::Error::new(
        error.kind(),
        format!("{reason}; or use the epoll driver ({error})"),
    )
}

/// The error of a call on a ring that was set up. The three system calls are filtered apart.
pub(super) fn explain_call(step: &str, error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EPERM | libc::EACCES) => io::Error::new(
            error.kind(),
            format!(
                "io_uring, {step}: a seccomp filter allows io_uring_setup and refuses what comes \
                 after it: allow io_uring_enter and io_uring_register, too; or use the epoll \
                 driver ({error})"
            ),
        ),
        _ => explain(step, &error),
    }
}

/// The error, with the step that failed.
pub(super) fn explain(step: &str, error: &io::Error) -> io::Error {
    let remedy = match error.raw_os_error() {
        Some(libc::ENOMEM) => MEMORY_REMEDY,
        _ => "",
    };
    io::Error::new(error.kind(), format!("io_uring, {step}: {error}{remedy}"))
}

fn kernel_release() -> String {
    sysctl("osrelease").unwrap_or_else(|| "unknown".to_owned())
}

fn sysctl(name: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?;
    Some(text.trim().to_owned())
}

/// Without CAP_IPC_LOCK the queues of all rings of a user count as locked memory.
const MEMORY_REMEDY: &str = ": raise RLIMIT_MEMLOCK (ulimit -l, LimitMEMLOCK=) or the memory limit \
     of the cgroup, or ask for fewer entries";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_names_a_remedy() {
        for (errno, remedy) in [
            (libc::ENOSYS, "allow io_uring_setup"),
            (libc::EPERM, "io_uring"),
            (libc::EINVAL, "Linux 6.1"),
            (libc::ENOMEM, "RLIMIT_MEMLOCK"),
        ] {
            let error = io::Error::from_raw_os_error(errno);
            let (kind, text) = (error.kind(), error.to_string());
            let explained = explain_setup(error);
            assert_eq!(explained.kind(), kind);
            let said = explained.to_string();
            assert!(said.contains(remedy) && said.contains(&text), "{said}");
        }
        let refused = io::Error::from_raw_os_error(libc::EPERM);
        let said = explain_call("waiting", refused).to_string();
        assert!(said.contains("allow io_uring_enter"), "{said}");
    }
}
