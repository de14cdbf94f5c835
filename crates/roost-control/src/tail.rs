//! What an administrator looks on at: publications of a channel, kept until they are written, within limits.
//!
//! Nothing waits for the one that reads. What it does not take is dropped, and what follows says how many
//! are missing: a channel's offsets have no gaps.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use roost_reactor::Tapped;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::taps::Listener;

/// Goes with a response whose body is written for as long as something happens. While it is true, the
/// connection is busy, and its time is not over.
#[derive(Clone)]
pub(crate) struct Lasting(pub(crate) Arc<AtomicBool>);

/// One that looks on.
pub(crate) struct Tail {
    state: Mutex<State>,
    /// The channel's home has answered.
    listening: Notify,
    /// Until it has ended.
    pub(crate) lasts: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    is_listening: bool,
    waiting: VecDeque<Tapped>,
    bytes: usize,
    /// The offset of the last publication that was given out.
    last: Option<u64>,
    /// Since when there has been no room.
    full_since: Option<Instant>,
    /// Why it has ended.
    end: Option<&'static str>,
    waker: Option<Waker>,
}

/// What comes next.
pub(crate) enum Next {
    /// A publication, and how many are missing before it.
    Publication(Tapped, u64),
    /// Nothing comes any more.
    End(&'static str),
}

impl Tail {
    pub(crate) fn new() -> Tail {
        Tail {
            state: Mutex::default(),
            listening: Notify::new(),
            lasts: Arc::new(AtomicBool::new(true)),
        }
    }

    /// Returns when everything published from then on is heard.
    pub(crate) async fn wait_for_home(&self) {
        loop {
            let listening = self.listening.notified();
            if self.lock().is_listening {
                return;
            }
            listening.await;
        }
    }

    /// What comes next, once something has.
    pub(crate) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Next> {
        let mut state = self.lock();
        state.full_since = None;
        if let Some(heard) = state.waiting.pop_front() {
            state.bytes -= heard.bytes();
            let missing = state.last.map_or(0, |last| {
                heard.offset.saturating_sub(last.saturating_add(1))
            });
            state.last = Some(heard.offset);
            return Poll::Ready(Next::Publication(heard, missing));
        }
        if let Some(why) = state.end {
            return Poll::Ready(Next::End(why));
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Nothing more is heard, and what waits is still given out.
    pub(crate) fn end(&self, why: &'static str) {
        let mut state = self.lock();
        state.end.get_or_insert(why);
        self.lasts.store(false, Ordering::Relaxed);
        state.wake();
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.lock().end.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for Tail {
    fn listening(&self) {
        self.lock().is_listening = true;
        self.listening.notify_one();
    }

    fn hear(&self, heard: &Tapped) {
        let mut state = self.lock();
        if state.end.is_some() {
            return;
        }
        if state.waiting.len() >= WAITING_MAX || state.bytes >= WAITING_BYTES_MAX {
            let since = *state.full_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= STUCK_AFTER {
                drop(state);
                self.end("its reader takes nothing");
            }
            return;
        }
        state.bytes += heard.bytes();
        state.waiting.push_back(heard.clone());
        state.wake();
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Publications that wait to be written, and bytes of them after which no further one is added.
const WAITING_MAX: usize = 4096;
const WAITING_BYTES_MAX: usize = 256 << 10;
/// One that has taken nothing for so long, while something came, is ended.
const STUCK_AFTER: Duration = Duration::from_secs(30);
/// So many at once.
pub const TAILS_MAX: usize = 16;
/// Bytes that wait for one of them, beside one message of the greatest length.
pub const TAIL_BYTES_MAX: usize = WAITING_BYTES_MAX;
