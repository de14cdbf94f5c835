//! Long answers, made some lines at a time.
//!
//! A page of some thousand connections takes milliseconds. The thread has other requests meanwhile, and
//! the processor has reactors, which the scheduler (EEVDF, Linux 6.6) lets wait until the slice of whoever
//! runs is over, whatever its priority. Whoever gives the processor up is behind all that wait for it.

/// Counts lines, and lets others go first after some.
#[derive(Default)]
pub(crate) struct Pauses {
    lines: u32,
}

impl Pauses {
    /// A line is written.
    pub(crate) async fn after_line(&mut self) {
        self.lines += 1;
        if self.lines.is_multiple_of(LINES) {
            std::thread::yield_now();
            tokio::task::yield_now().await;
        }
    }
}

/// Lines from one pause to the next: some 20 µs.
const LINES: u32 = 16;
