//! Requests to reactors: each with a deadline, and a bounded number of them.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roost_dialect::Publication;
use roost_reactor::{ConnectionRecord, ControlPeer, Part, Refusal, Request, RingFull, Token};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// The control thread's place in the mesh, for many callers on one thread.
pub(crate) struct Peer {
    /// Never held over an `await`.
    state: Mutex<State>,
}

struct State {
    peer: ControlPeer,
    waiting: HashMap<Token, Waiting>,
}

struct Waiting {
    caller: oneshot::Sender<Result<Reply, Refusal>>,
    /// What has come so far; bounded by the request's limit.
    records: Vec<ConnectionRecord>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) enum Reply {
    Pong,
    Connections {
        records: Vec<ConnectionRecord>,
        next_slot: Option<u32>,
    },
    Published {
        publication: u64,
    },
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AskError {
    /// The reactor's ring is full: it is behind with what it was asked before.
    RingFull,
    /// So many requests of all callers together wait for their answers.
    TooManyWaiting,
    /// The reactor has refused the request.
    Refused(Refusal),
    /// No answer within the deadline.
    Deadline,
}

/// A request that was sent.
pub(crate) struct Sent<'a> {
    peer: &'a Peer,
    token: Token,
    answer: oneshot::Receiver<Result<Reply, Refusal>>,
}

impl Peer {
    pub(crate) fn new(peer: ControlPeer) -> Peer {
        Peer {
            state: Mutex::new(State {
                peer,
                waiting: HashMap::new(),
            }),
        }
    }

    pub(crate) fn ask(&self, reactor: usize, request: Request) -> Result<Sent<'_>, AskError> {
        self.send(|peer| peer.ask(reactor, request))
    }

    pub(crate) fn publish(
        &self,
        channel: &str,
        payload: Publication,
    ) -> Result<Sent<'_>, AskError> {
        self.send(|peer| peer.publish(channel, payload))
    }

    fn send(
        &self,
        send: impl FnOnce(&mut ControlPeer) -> Result<Token, RingFull>,
    ) -> Result<Sent<'_>, AskError> {
        let mut state = self.lock();
        if state.waiting.len() >= WAITING_MAX {
            return Err(AskError::TooManyWaiting);
        }
        let token = send(&mut state.peer).map_err(|RingFull| AskError::RingFull)?;
        let (caller, answer) = oneshot::channel();
        let waiting = Waiting {
            caller,
            records: Vec::new(),
        };
        state.waiting.insert(token, waiting);
        Ok(Sent {
            peer: self,
            token,
            answer,
        })
    }

    /// Hands answers to their callers, until the socket fails.
    pub(crate) async fn read_answers(self: Arc<Self>, woken: UnixStream) -> io::Result<()> {
        loop {
            let may_sleep = {
                let mut state = self.lock();
                state.read_some();
                state.peer.may_sleep()
            };
            if may_sleep {
                wait_for_wake(&woken).await?;
            } else {
                tokio::task::yield_now().await;
            }
            self.lock().peer.wake_up();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Reads a bounded number of answers, so that other tasks run in between.
    fn read_some(&mut self) {
        for _ in 0..ANSWERS_AT_ONCE {
            let Some(answer) = self.peer.next_answer() else {
                return;
            };
            self.hand_over(answer.token, answer.part);
        }
    }

    /// An answer whose caller has ended, or whose deadline is over, is dropped.
    fn hand_over(&mut self, token: Token, part: Part) {
        let Some(waiting) = self.waiting.get_mut(&token) else {
            return;
        };
        let reply = match part {
            Part::Connections(records) => {
                waiting.records.extend(records);
                return;
            }
            Part::ConnectionsEnd { records, next_slot } => {
                waiting.records.extend(records);
                Ok(Reply::Connections {
                    records: std::mem::take(&mut waiting.records),
                    next_slot,
                })
            }
            Part::Pong => Ok(Reply::Pong),
            Part::Published { publication } => Ok(Reply::Published { publication }),
            Part::Refused(refusal) => Err(refusal),
        };
        if let Some(waiting) = self.waiting.remove(&token) {
            let _ = waiting.caller.send(reply); // it may just have ended
        }
    }
}

impl Sent<'_> {
    /// The answer, if it comes in time.
    pub(crate) async fn answer_by(mut self, deadline: Instant) -> Result<Reply, AskError> {
        match timeout_at(deadline, &mut self.answer).await {
            Ok(Ok(reply)) => reply.map_err(AskError::Refused),
            // The sender is dropped only together with the entry, by `drop` below.
            Ok(Err(_)) | Err(_) => Err(AskError::Deadline),
        }
    }
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        self.peer.lock().waiting.remove(&self.token);
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AskError::RingFull => "the reactor has not taken earlier requests yet",
            AskError::TooManyWaiting => "too many requests wait for their answers",
            AskError::Refused(Refusal::Busy) => "the reactor is answering other listings",
            AskError::Refused(Refusal::Congested) => {
                "the channel is published to faster than it is delivered"
            }
            AskError::Deadline => "the reactor has not answered in time",
        })
    }
}

/// Returns when the waker has been used, with nothing left to read of it.
async fn wait_for_wake(woken: &UnixStream) -> io::Result<()> {
    loop {
        woken.readable().await?;
        match woken.try_read(&mut [0; 64]) {
            Ok(0) => return Err(io::Error::other("the reactors' wake-up is closed")),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Requests of all callers together that wait for their answers.
const WAITING_MAX: usize = 4096;
/// Answers handed over before other tasks run.
const ANSWERS_AT_ONCE: usize = 256;
