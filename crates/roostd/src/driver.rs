//! Which driver moves the bytes, why, and how many connections it can hold.

use roost_config as config;
use roost_net::epoll::EpollOptions;
use roost_net::uring::{UringDriver, UringOptions};
use tracing::warn;

/// The driver to use, and why.
pub(crate) struct Choice {
    pub(crate) driver: Chosen,
    pub(crate) reason: String,
}

pub(crate) enum Chosen {
    Epoll(EpollOptions),
    Uring(UringOptions),
}

impl Choice {
    /// Tries the wanted driver. Only `auto` falls back, and says so.
    ///
    /// # Errors
    /// A sentence for people, with the remedy.
    pub(crate) fn of(from: &config::Settings, open_files: u64) -> Result<Choice, String> {
        let epoll = Chosen::Epoll(EpollOptions {
            read_buffer_bytes: from.epoll.read_buffer_bytes,
            ..EpollOptions::default()
        });
        let uring = uring_options(&from.io_uring, open_files);
        let works = || UringDriver::probe(&uring);
        match from.server.driver {
            config::Driver::Epoll => Ok(Choice {
                driver: epoll,
                reason: "as configured".to_owned(),
            }),
            config::Driver::IoUring => match works() {
                Ok(()) => Ok(Choice {
                    driver: Chosen::Uring(uring),
                    reason: "as configured".to_owned(),
                }),
                Err(error) => Err(format!(
                    "server.driver is io_uring, which does not run here: {error}. \
                     Remedy: what it names, or driver = \"epoll\" (or \"auto\")."
                )),
            },
            config::Driver::Auto => match works() {
                Ok(()) => {
                    let reason = "auto: this kernel has all it needs".to_owned();
                    Ok(Choice {
                        driver: Chosen::Uring(uring),
                        reason,
                    })
                }
                Err(error) => {
                    warn!(%error, "io_uring does not run here; using epoll");
                    let reason = format!("auto: io_uring does not run here: {error}");
                    Ok(Choice {
                        driver: epoll,
                        reason,
                    })
                }
            },
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.driver {
            Chosen::Epoll(_) => "epoll",
            Chosen::Uring(_) => "io_uring",
        }
    }

    /// How many connections the limit on open files allows.
    pub(crate) fn connections_allowed(
        &self,
        open_files: u64,
        reactors: usize,
        listeners: usize,
    ) -> u64 {
        match &self.driver {
            Chosen::Uring(UringOptions {
                direct_slots: Some(slots),
                ..
            }) => u64::from(*slots) * reactors as u64,
            Chosen::Epoll(_) | Chosen::Uring(_) => {
                open_files.saturating_sub(open_files_reserved(reactors, listeners))
            }
        }
    }
}

/// Whether so few files may be open that there would be a server without clients.
///
/// # Errors
/// A sentence for people, with the remedy.
pub(crate) fn check_open_files(
    from: &config::Settings,
    open_files: u64,
    reactors: usize,
) -> Result<(), String> {
    let listeners = from.listeners.len();
    let reserved = open_files_reserved(reactors, listeners);
    let wanted = from.server.connections_max.map_or(u64::MAX, u64::from);
    let least = reserved + wanted.min(CONNECTIONS_LEAST);
    if open_files >= least {
        return Ok(());
    }
    let fewer = match reactors {
        1 => String::new(),
        _ => {
            let fit = open_files.saturating_sub(OPEN_FILES_BASE + CONNECTIONS_LEAST);
            match fit / open_files_per_reactor(listeners) {
                0 => String::new(),
                fit => format!(", or at most {fit} reactors with --reactors"),
            }
        }
    };
    Err(format!(
        "{open_files} open files are allowed, and {reactors} reactors need {reserved} for \
         themselves. Remedy: at least {least}, better one more for each connection (ulimit -n, \
         LimitNOFILE= in the unit){fewer}."
    ))
}

/// For `listeners` beyond the first, too.
fn open_files_reserved(reactors: usize, listeners: usize) -> u64 {
    OPEN_FILES_BASE + open_files_per_reactor(listeners) * reactors as u64
}

fn open_files_per_reactor(listeners: usize) -> u64 {
    OPEN_FILES_PER_REACTOR + listeners.saturating_sub(1) as u64
}

fn uring_options(from: &config::IoUring, open_files: u64) -> UringOptions {
    let auto_slots = u32::try_from(open_files.saturating_sub(DIRECT_SLOTS_RESERVED));
    let direct_slots = from
        .direct_descriptors
        .then(|| from.direct_slots.unwrap_or(auto_slots.unwrap_or(u32::MAX)));
    UringOptions {
        entries: from.entries,
        cq_entries: from.entries * 4,
        buffers: u16::try_from(from.buffers).unwrap_or(u16::MAX),
        buffer_bytes: u32::try_from(from.buffer_bytes).unwrap_or(u32::MAX),
        direct_slots,
    }
}

/// Descriptors the process needs for itself: standard streams, libraries, a reserve.
const OPEN_FILES_BASE: u64 = 32;
/// Descriptors a reactor needs: its listener, its queue, its wake-up, a reserve for refusals.
const OPEN_FILES_PER_REACTOR: u64 = 8;
/// Below the limit on open files that the kernel also sets to a ring's table.
const DIRECT_SLOTS_RESERVED: u64 = 10;
/// With room for fewer connections than these, or than are wanted, the daemon does not start.
const CONNECTIONS_LEAST: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_without_room_for_clients_is_an_error_with_its_remedy() {
        let mut settings = config::Settings::default();
        for (open_files, reactors, remedy) in [
            (20, 1, "at least 56"),
            (55, 1, "at least 56"),
            (64, 8, "at least 112, "),
            (64, 8, "at most 2 reactors"),
            (1_024, 256, "at most 122 reactors"),
        ] {
            let error = check_open_files(&settings, open_files, reactors).expect_err("too few");
            assert!(error.contains(remedy), "{open_files}, {reactors}: {error}");
        }
        for (open_files, reactors) in [(56, 1), (112, 8), (1_024, 122), (1 << 20, 256)] {
            let checked = check_open_files(&settings, open_files, reactors);
            assert_eq!(checked, Ok(()), "{open_files}, {reactors}");
        }
        settings.server.connections_max = Some(2);
        assert_eq!(check_open_files(&settings, 42, 1), Ok(()));
        assert!(check_open_files(&settings, 41, 1).is_err());
    }
}
