//! Lines on their way to the thread that writes them: bounded, and no thread waits for room.

use std::io::{ErrorKind, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use roost_metrics::process::LOG_LINES_DROPPED;

/// The queue, and what became of its lines.
pub(super) struct LogQueue {
    state: Mutex<State>,
    /// Something is there to be written, or all shall end.
    filled: Condvar,
    /// All has been written.
    emptied: Condvar,
    bytes_max: usize,
}

#[derive(Default)]
struct State {
    /// Whole lines, oldest first.
    lines: Vec<u8>,
    /// Lines lost and not yet told of.
    lost: u64,
    /// The thread that writes sleeps until it is told of lines.
    is_waiting: bool,
    /// Lines are with that thread.
    is_writing: bool,
    is_ending: bool,
    is_told: bool,
    is_over: bool,
}

impl LogQueue {
    /// For `bytes_max` bytes of lines that wait.
    pub(super) fn new(bytes_max: usize) -> LogQueue {
        LogQueue {
            state: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            bytes_max,
        }
    }

    /// Queues a line, or loses it if there is no room. The lock is never held while anything is
    /// written.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if line.len() > self.bytes_max - state.lines.len() {
            state.lose(1);
            return;
        }
        if state.lines.capacity() == 0 {
            // Once for all: the memory of what is not used is never touched.
            state.lines.reserve_exact(self.bytes_max);
        }
        state.lines.extend_from_slice(line);
        // The wake-up is a system call: one for all lines that come before the thread runs.
        if std::mem::take(&mut state.is_waiting) {
            drop(state);
            self.filled.notify_one();
        }
    }

    /// Writes what comes, until [`LogQueue::finish`] and everything before it is written. `told`
    /// makes the line that says how many were lost.
    pub(super) fn write_to(&self, mut out: impl Write, told: impl Fn(u64) -> String) {
        let mut batch = Vec::new();
        let mut is_torn = false;
        while let Some(lost) = self.next_batch(&mut batch) {
            let mut writer = Lines {
                out: &mut out,
                queue: self,
                is_torn,
            };
            if lost > 0 && writer.write(told(lost).as_bytes()).is_ok() {
                let mut state = self.lock();
                state.lost -= lost;
            }
            let mut rest = &batch[..];
            while !rest.is_empty() {
                let chunk = whole_lines(rest, CHUNK_BYTES);
                if let Err(lines) = writer.write(&rest[..chunk]) {
                    self.lock().lose(lines);
                }
                rest = &rest[chunk..];
            }
            is_torn = writer.is_torn;
            batch.clear();
        }
        self.lock().is_over = true;
        self.emptied.notify_all();
    }

    /// Waits for what is queued to be written, but no longer than `wait`.
    pub(super) fn flush(&self, wait: Duration) {
        let goes_on = |state: &mut State| state.is_writing || !state.lines.is_empty();
        drop(self.emptied.wait_timeout_while(self.lock(), wait, goes_on));
    }

    /// Ends the queue; waits for what is in it to be written, but no longer than `wait`.
    pub(super) fn finish(&self, wait: Duration) {
        let mut state = self.lock();
        state.is_ending = true;
        self.filled.notify_one();
        let goes_on = |state: &mut State| !state.is_over;
        drop(self.emptied.wait_timeout_while(state, wait, goes_on));
    }

    /// Waits for lines and takes them all into `batch`; returns how many were lost that were not
    /// told of. `None` when all is over.
    fn next_batch(&self, batch: &mut Vec<u8>) -> Option<u64> {
        let mut state = self.lock();
        state.is_writing = false;
        self.emptied.notify_all();
        let retry_at = Instant::now() + LOST_RETRY;
        while state.lines.is_empty() {
            if state.is_ending {
                if state.lost == 0 || state.is_told {
                    return None;
                }
                state.is_told = true; // or has been tried
                break;
            }
            state.is_waiting = true;
            if state.lost == 0 {
                state = self
                    .filled
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            // What was lost is said as soon as it can be said, though nothing else is.
            let left = retry_at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.filled.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.is_waiting = false;
        state.is_writing = true;
        std::mem::swap(&mut state.lines, batch);
        Some(state.lost)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere is no reason to lose the line that tells of it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn lose(&mut self, lines: u64) {
        self.lost += lines;
        LOG_LINES_DROPPED.add(lines);
    }
}

/// Writes whole lines.
struct Lines<'a, W> {
    out: &'a mut W,
    queue: &'a LogQueue,
    /// The last line written has no end: the next begins on a line of its own.
    is_torn: bool,
}

impl<W: Write> Lines<'_, W> {
    /// Writes some lines. When that fails, the number of them that were not written to their end.
    fn write(&mut self, lines: &[u8]) -> Result<(), u64> {
        if self.is_torn {
            self.write_all(b"\n").map_err(|_| count(lines))?;
            self.is_torn = false;
        }
        self.write_all(lines).map_err(|written| {
            self.is_torn = written > 0 && lines[written - 1] != b'\n';
            count(lines) - count(&lines[..written])
        })
    }

    /// As [`Write::write_all`], but the error is how much was written.
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut written = 0;
        while written < bytes.len() {
            match self.out.write(&bytes[written..]) {
                Ok(0) => return Err(written),
                Ok(n) => written += n,
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    // Somebody has made the descriptor non-blocking, and its reader is slow. What
                    // comes meanwhile has the queue's room.
                    ErrorKind::WouldBlock if !self.queue.lock().is_ending => {
                        thread::sleep(WOULD_BLOCK_RETRY);
                    }
                    _ => return Err(written),
                },
            }
        }
        Ok(())
    }
}

/// Bytes of the whole lines at the beginning of `lines` that fit into `bytes_max`; of the first one
/// in any case.
fn whole_lines(lines: &[u8], bytes_max: usize) -> usize {
    if lines.len() <= bytes_max {
        return lines.len();
    }
    let is_end = |byte: &u8| *byte == b'\n';
    match lines[..bytes_max].iter().rposition(is_end) {
        Some(end) => end + 1,
        None => lines
            .iter()
            .position(is_end)
            .map_or(lines.len(), |end| end + 1),
    }
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Bytes written at once.
const CHUNK_BYTES: usize = 64 << 10;
/// How often a line that says how many were lost is tried.
const LOST_RETRY: Duration = Duration::from_secs(1);
/// How often a descriptor that takes nothing is tried again.
const WOULD_BLOCK_RETRY: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::mpsc::{self, Receiver, Sender};

    use super::*;

    /// Takes what it is told to take, in pieces of at most so many bytes, and refuses else.
    struct Script {
        answers: Receiver<Result<usize, ErrorKind>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let most = self.answers.recv().unwrap_or(Ok(usize::MAX))?;
            let n = bytes.len().min(most);
            let mut written = self.written.lock().expect("no thread panics with it");
            written.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Fixture {
        queue: Arc<LogQueue>,
        answers: Sender<Result<usize, ErrorKind>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Fixture {
        fn new(bytes_max: usize) -> Fixture {
            let queue = Arc::new(LogQueue::new(bytes_max));
            let (answers, asked) = mpsc::channel();
            let written = Arc::new(Mutex::default());
            let out = Script {
                answers: asked,
                written: Arc::clone(&written),
            };
            let writing = Arc::clone(&queue);
            thread::spawn(move || writing.write_to(out, |lost| format!("{lost} lost\n")));
            Fixture {
                queue,
                answers,
                written,
            }
        }

        /// Lets everything be written from now on, and says what was written in all.
        fn finish(self) -> String {
            drop(self.answers);
            self.queue.finish(Duration::from_secs(20));
            let written = self.written.lock().expect("no thread panics with it");
            String::from_utf8(written.clone()).expect("text")
        }
    }

    #[test]
    fn lines_are_written_in_order_and_the_end_waits_for_them() {
        let fixture = Fixture::new(1 << 20);
        let mut expected = String::new();
        for n in 0..10_000 {
            let line = format!("line {n}\n");
            fixture.queue.push(line.as_bytes());
            expected.push_str(&line);
        }
        assert_eq!(fixture.finish(), expected);
    }

    #[test]
    fn a_stalled_reader_costs_lines_and_no_time() {
        let fixture = Fixture::new(1_000);
        let before = LOG_LINES_DROPPED.get();
        let began = Instant::now();
        for n in 0..100_000 {
            fixture.queue.push(format!("line {n:06}\n").as_bytes());
        }
        fixture.queue.finish(Duration::from_millis(50));
        assert!(began.elapsed() < Duration::from_secs(10), "it waited");
        let lost = fixture.queue.lock().lost;
        // One batch is with the writer, one waits: 83 lines each at most.
        assert!((99_800..100_000).contains(&lost), "{lost} lost");
        assert!(LOG_LINES_DROPPED.get() - before >= lost);
    }

    #[test]
    fn what_was_lost_is_said_when_it_can_be_said_again() {
        let fixture = Fixture::new(1 << 20);
        fixture.queue.push(b"one\ntwo\n");
        fixture
            .answers
            .send(Err(ErrorKind::BrokenPipe))
            .expect("it asks");
        let began = Instant::now();
        while fixture.queue.lock().lost < 2 {
            assert!(began.elapsed() < Duration::from_secs(20), "nothing is lost");
            thread::sleep(Duration::from_millis(1));
        }
        // The next try comes by itself.
        fixture.answers.send(Ok(usize::MAX)).expect("it asks");
        while fixture.queue.lock().lost > 0 {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "the loss is not reported"
            );
            thread::sleep(Duration::from_millis(1));
        }
        fixture.queue.push(b"three\n");
        assert_eq!(fixture.finish(), "2 lost\nthree\n");
    }

    #[test]
    fn a_torn_line_does_not_run_into_the_next() {
        let fixture = Fixture::new(1 << 20);
        fixture.queue.push(b"one\ntwo\nthree\n");
        for answer in [Ok(6), Err(ErrorKind::StorageFull), Ok(usize::MAX)] {
            fixture.answers.send(answer).expect("it asks");
        }
        assert_eq!(
            {
                let began = Instant::now();
                while fixture.queue.lock().lost < 2 {
                    assert!(began.elapsed() < Duration::from_secs(20), "nothing is lost");
                    thread::sleep(Duration::from_millis(1));
                }
                fixture.queue.push(b"four\n");
                fixture.finish()
            },
            "one\ntw\n2 lost\nfour\n"
        );
    }

    #[test]
    fn a_descriptor_that_does_not_block_is_tried_again() {
        let fixture = Fixture::new(1 << 20);
        fixture.queue.push(b"one\n");
        fixture
            .answers
            .send(Err(ErrorKind::WouldBlock))
            .expect("it asks");
        fixture
            .answers
            .send(Err(ErrorKind::Interrupted))
            .expect("it asks");
        fixture.answers.send(Ok(1)).expect("it asks");
        fixture.answers.send(Ok(usize::MAX)).expect("it asks");
        let began = Instant::now();
        while fixture
            .written
            .lock()
            .expect("no thread panics with it")
            .len()
            < 4
        {
            assert!(began.elapsed() < Duration::from_secs(20), "it gave up");
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(fixture.finish(), "one\n");
    }
}
