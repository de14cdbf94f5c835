//! Requests to reactors: each with a deadline, and a bounded number of them. Single publications
//! that are asked for at the same time go to a reactor together.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roost_reactor::{
    ChannelRecord, ConnectionRecord, ControlPeer, ControlPublication, Described, FromReactor,
    HistoryPage, HookAnswer, Loss, Name, PUBLICATIONS_BYTES_MAX, PUBLICATIONS_MAX, Part, Placement,
    PresenceView, Refusal, RepeatKey, Request, RingFull, Token, Verdict,
};
use tokio::net::UnixStream;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use crate::event_inputs::{Input as EventInput, ToEvents};
use crate::first_of::first_of;
use crate::hook_inputs::{Input, ToHooks};
use crate::taps::{Listener, Taps};
use crate::token_jobs::ToThread;

/// The control thread's place in the mesh, for many callers on one thread.
pub(crate) struct Peer {
    /// Never held over an `await`.
    state: Mutex<State>,
    /// Single publications wait to be sent.
    has_pending: Notify,
}

struct State {
    peer: ControlPeer,
    waiting: HashMap<Token, Waiting>,
    /// By reactor: publications of callers that run in this turn of the thread's tasks.
    pending: Vec<Vec<Pending>>,
    /// Where tokens are checked, if they are.
    tokens: Option<ToThread>,
    /// Where applications are asked, if they are.
    hooks: Option<ToHooks>,
    /// What is listened to.
    taps: Taps,
    /// Where the application is told what happens, if it is.
    events: Option<ToEvents>,
}

/// What waits for an answer.
enum Waiting {
    /// One caller, for all of it.
    Whole {
        caller: oneshot::Sender<Result<Reply, Refusal>>,
        /// What has come so far; bounded by the request's limit.
        records: Vec<ConnectionRecord>,
        channels: Vec<ChannelRecord>,
    },
    /// Callers with a publication each, in their order. Those whose sender has gone want no answer.
    Publishers(Vec<Option<Publisher>>),
}

/// One that waits for the outcome of its publication; `None` tells it that the publication is sent.
type Publisher = oneshot::Sender<Result<Option<Placement>, AskError>>;

/// One publication that is sent with others.
struct Pending {
    publication: ControlPublication,
    caller: Publisher,
    until: Until,
}

/// What a publisher waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// The publication has its place in the channel's order.
    Placed,
    /// The ring of the channel's home has it.
    Sent,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) enum Reply {
    Pong,
    Connections {
        records: Vec<ConnectionRecord>,
        next_slot: Option<u32>,
    },
    Channels {
        records: Vec<ChannelRecord>,
        next: Option<u32>,
    },
    Subscribers(Box<[u32]>),
    Described(Box<Described>),
    Published(Box<[Result<Placement, Refusal>]>),
    Disconnected {
        was_open: bool,
    },
    Done {
        connections: u32,
    },
    History(Result<HistoryPage, Loss>),
    HistoryRemoved,
    Presence(PresenceView),
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
    pub(crate) fn new(
        peer: ControlPeer,
        tokens: Option<ToThread>,
        hooks: Option<ToHooks>,
        events: Option<ToEvents>,
    ) -> Peer {
        let pending = (0..peer.reactors()).map(|_| Vec::new()).collect();
        Peer {
            state: Mutex::new(State {
                peer,
                waiting: HashMap::new(),
                pending,
                tokens,
                hooks,
                taps: Taps::default(),
                events,
            }),
            has_pending: Notify::new(),
        }
    }

    pub(crate) fn ask(&self, reactor: usize, request: Request) -> Result<Sent<'_>, AskError> {
        let mut state = self.lock();
        state.make_room()?;
        let token = state.peer.ask(reactor, request);
        let token = token.map_err(|RingFull| AskError::RingFull)?;
        let (caller, answer) = oneshot::channel();
        let waiting = Waiting::whole(caller);
        state.waiting.insert(token, waiting);
        Ok(Sent {
            peer: self,
            token,
            answer,
        })
    }

    /// The same, but waits for room in the ring.
    pub(crate) async fn ask_patiently(
        &self,
        reactor: usize,
        request: &Request,
        deadline: Instant,
    ) -> Result<Sent<'_>, AskError> {
        loop {
            match self.ask(reactor, request.clone()) {
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => sleep(RING_RETRY).await,
                sent => return sent,
            }
        }
    }

    /// Publishes, together with others that do so in this turn. `None`: it is sent, and that was what
    /// the caller waited for.
    pub(crate) async fn publish(
        &self,
        publication: ControlPublication,
        until: Until,
        deadline: Instant,
    ) -> Result<Option<Placement>, AskError> {
        let (caller, answer) = oneshot::channel();
        {
            let mut state = self.lock();
            let home = state.peer.home_of(&publication.channel);
            if state.pending[home].len() >= PENDING_MAX {
                return Err(AskError::TooManyWaiting);
            }
            state.pending[home].push(Pending {
                publication,
                caller,
                until,
            });
        }
        self.has_pending.notify_one();
        match timeout_at(deadline, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) | Err(_) => Err(AskError::Deadline),
        }
    }

    /// Publishes on channels whose home is one reactor, in this order. On an error the publications
    /// are returned, and none is published.
    pub(crate) fn publish_batch(
        &self,
        home: usize,
        publications: Vec<ControlPublication>,
    ) -> Result<Sent<'_>, (AskError, Vec<ControlPublication>)> {
        let mut state = self.lock();
        if let Err(error) = state.make_room() {
            return Err((error, publications));
        }
        let token = state.peer.publish(home, publications);
        let token = token.map_err(|publications| (AskError::RingFull, publications))?;
        let (caller, answer) = oneshot::channel();
        let waiting = Waiting::whole(caller);
        state.waiting.insert(token, waiting);
        Ok(Sent {
            peer: self,
            token,
            answer,
        })
    }

    /// The reactor that orders a channel.
    pub(crate) fn home_of(&self, channel: &str) -> usize {
        self.lock().peer.home_of(channel)
    }

    pub(crate) fn reactors(&self) -> usize {
        self.lock().peer.reactors()
    }

    /// What an idempotency key for a channel comes to.
    pub(crate) fn repeat_key(&self, channel: &str, key: &str) -> RepeatKey {
        self.lock().peer.repeat_key(channel, key)
    }

    /// The epoch in which a channel's offsets count.
    pub(crate) fn epoch_of(&self, channel: &str) -> u64 {
        let state = self.lock();
        state.peer.epoch_of(state.peer.home_of(channel))
    }

    /// Says what has become of tokens. Gives the verdicts back if the reactor's ring is full.
    pub(crate) fn send_verdicts(
        &self,
        reactor: usize,
        verdicts: Vec<Verdict>,
    ) -> Result<(), Vec<Verdict>> {
        self.lock().peer.send_verdicts(reactor, verdicts)
    }

    /// Says what applications have answered. Gives the answers back if the reactor's ring is full.
    pub(crate) fn send_hook_answers(
        &self,
        reactor: usize,
        answers: Vec<HookAnswer>,
    ) -> Result<(), Vec<HookAnswer>> {
        self.lock().peer.send_hook_answers(reactor, answers)
    }

    /// The channel that shows whether a reactor delivers.
    pub(crate) fn canary_of(&self, home: usize) -> Name {
        self.lock().peer.canary_of(home)
    }

    /// Has `listener` hear what is published on a channel, from when it is told so; see [`Tap`].
    pub(crate) fn listen(
        &self,
        channel: &Name,
        is_gathered: bool,
        listener: Arc<dyn Listener>,
    ) -> Result<(), AskError> {
        let mut state = self.lock();
        let State { peer, taps, .. } = &mut *state;
        let begun = taps.begin(peer, channel, is_gathered, listener);
        begun.map_err(|RingFull| AskError::RingFull)
    }

    /// Ends that.
    pub(crate) fn stop_listening(&self, channel: &Name, listener: &Arc<dyn Listener>) {
        let mut state = self.lock();
        let State { peer, taps, .. } = &mut *state;
        taps.end(peer, channel, listener);
    }

    /// Sends what is pending and hands answers to their callers, until the socket fails.
    pub(crate) async fn run(self: Arc<Self>, woken: UnixStream) -> io::Result<()> {
        loop {
            // Callers that are ready add what they publish.
            tokio::task::yield_now().await;
            let may_sleep = {
                let mut state = self.lock();
                state.send_pending();
                let State { peer, taps, .. } = &mut *state;
                taps.send_ends(peer);
                state.read_some();
                state.peer.may_sleep()
            };
            if may_sleep {
                let has_pending = async {
                    self.has_pending.notified().await;
                    Ok(())
                };
                first_of(wait_for_wake(&woken), has_pending).await?;
            }
            self.lock().peer.wake_up();
        }
    }

    /// Reads all that has come: what reactors have said that have stopped since.
    pub(crate) fn read_all(&self) {
        let mut state = self.lock();
        while state.read_some() == ANSWERS_AT_ONCE {}
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether one more may wait for an answer.
    fn make_room(&mut self) -> Result<(), AskError> {
        if self.waiting.len() < WAITING_MAX {
            return Ok(());
        }
        // An answer that was dropped leaves those behind that have stopped waiting for it.
        self.waiting.retain(|_, waiting| waiting.is_wanted());
        match self.waiting.len() < WAITING_MAX {
            true => Ok(()),
            false => Err(AskError::TooManyWaiting),
        }
    }

    fn send_pending(&mut self) {
        for home in 0..self.pending.len() {
            let mut left = mem::take(&mut self.pending[home]).into_iter().peekable();
            while left.peek().is_some() {
                let mut bytes = 0;
                let (mut publications, mut callers) = (Vec::new(), Vec::new());
                while publications.len() < PUBLICATIONS_MAX && bytes < PUBLICATIONS_BYTES_MAX {
                    let Some(pending) = left.next() else {
                        break;
                    };
                    bytes += pending.publication.bytes();
                    publications.push(pending.publication);
                    callers.push((pending.caller, pending.until));
                }
                self.send(home, publications, callers);
            }
        }
    }

    fn send(
        &mut self,
        home: usize,
        publications: Vec<ControlPublication>,
        callers: Vec<(Publisher, Until)>,
    ) {
        let sent = self.make_room().and_then(|()| {
            let sent = self.peer.publish(home, publications);
            sent.map_err(|_| AskError::RingFull)
        });
        match sent {
            Err(error) => callers.into_iter().for_each(|(caller, _)| {
                let _ = caller.send(Err(error)); // it may just have ended
            }),
            Ok(token) => {
                let callers = callers.into_iter().map(|(caller, until)| match until {
                    Until::Placed => Some(caller),
                    Until::Sent => {
                        let _ = caller.send(Ok(None)); // it may just have ended
                        None
                    }
                });
                let waiting = Waiting::Publishers(callers.collect());
                self.waiting.insert(token, waiting);
            }
        }
    }

    /// Reads a bounded number of messages, so that other tasks run in between. Returns how many.
    fn read_some(&mut self) -> usize {
        for read in 0..ANSWERS_AT_ONCE {
            match self.peer.next_message() {
                Some(FromReactor::Answer(answer)) => self.hand_over(answer.token, answer.part),
                Some(FromReactor::TokenChecks(reactor, checks)) => {
                    if let Some(tokens) = &self.tokens {
                        tokens.check(reactor, checks);
                    }
                }
                Some(FromReactor::Listening(number)) => self.taps.listening(number),
                Some(FromReactor::Tapped(heard)) => self.taps.hear(&heard),
                Some(FromReactor::HookCalls(reactor, calls)) => {
                    if let Some(hooks) = &self.hooks {
                        let _ = hooks.send(Input::Asked(reactor, calls)); // the task may have ended
                    }
                }
                Some(FromReactor::Events(reactor, batch)) => {
                    if let Some(events) = &self.events {
                        let _ = events.send(EventInput::Happened(reactor, batch)); // the same
                    }
                }
                None => return read,
            }
        }
        ANSWERS_AT_ONCE
    }

    /// An answer whose caller has ended, or whose deadline is over, is dropped.
    fn hand_over(&mut self, token: Token, part: Part) {
        match (part, self.waiting.get_mut(&token)) {
            (Part::Connections(part), Some(Waiting::Whole { records, .. })) => records.extend(part),
            (Part::Channels(part), Some(Waiting::Whole { channels, .. })) => channels.extend(part),
            (part, _) => self.hand_over_end(token, part),
        }
    }

    /// The last part of an answer, or all of it.
    fn hand_over_end(&mut self, token: Token, part: Part) {
        match (self.waiting.remove(&token), part) {
            (Some(Waiting::Publishers(callers)), Part::Published(outcomes)) => {
                for (caller, outcome) in callers.into_iter().zip(outcomes) {
                    if let Some(caller) = caller {
                        let outcome = outcome.map(Some).map_err(AskError::Refused);
                        let _ = caller.send(outcome); // it may just have ended
                    }
                }
            }
            (
                Some(Waiting::Whole {
                    caller,
                    mut records,
                    mut channels,
                }),
                part,
            ) => {
                let reply = match part {
                    Part::Connections(_) | Part::Channels(_) => return, // above
                    Part::ChannelsEnd {
                        records: last,
                        next,
                    } => {
                        channels.extend(last);
                        Ok(Reply::Channels {
                            records: channels,
                            next,
                        })
                    }
                    Part::Subscribers(counts) => Ok(Reply::Subscribers(counts)),
                    Part::ConnectionsEnd {
                        records: last,
                        next_slot,
                    } => {
                        records.extend(last);
                        Ok(Reply::Connections { records, next_slot })
                    }
                    Part::Pong => Ok(Reply::Pong),
                    Part::Described(described) => Ok(Reply::Described(described)),
                    Part::Published(outcomes) => Ok(Reply::Published(outcomes)),
                    Part::Disconnected { was_open } => Ok(Reply::Disconnected { was_open }),
                    Part::Done { connections } => Ok(Reply::Done { connections }),
                    Part::History(page) => Ok(Reply::History(*page)),
                    Part::HistoryRemoved => Ok(Reply::HistoryRemoved),
                    Part::Presence(view) => Ok(Reply::Presence(*view)),
                    Part::Refused(refusal) => Err(refusal),
                };
                let _ = caller.send(reply); // it may just have ended
            }
            (Some(Waiting::Publishers(_)), _) => {
                debug_assert!(false, "publications are answered with their outcomes");
            }
            (None, _) => {}
        }
    }
}

impl Waiting {
    fn whole(caller: oneshot::Sender<Result<Reply, Refusal>>) -> Waiting {
        Waiting::Whole {
            caller,
            records: Vec::new(),
            channels: Vec::new(),
        }
    }

    fn is_wanted(&self) -> bool {
        match self {
            Waiting::Whole { caller, .. } => !caller.is_closed(),
            Waiting::Publishers(callers) => {
                callers.iter().flatten().any(|caller| !caller.is_closed())
            }
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
            AskError::Refused(Refusal::Busy) => "the reactor is answering other listings or sweeps",
            AskError::Refused(Refusal::RevocationsFull) => {
                "as many revocations are kept as may be (auth.revocations_max)"
            }
            AskError::Refused(Refusal::Congested) => {
                "the channel is published to faster than it is delivered"
            }
            AskError::Refused(Refusal::RateLimited { .. }) => {
                "the channel's namespace is published to as fast as it may be"
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
/// Single publications to one reactor that wait to be sent: more than requests can be under way.
const PENDING_MAX: usize = 1 << 17;
/// How soon a full ring is tried again.
pub(crate) const RING_RETRY: Duration = Duration::from_millis(5);
/// Answers handed over before other tasks run.
const ANSWERS_AT_ONCE: usize = 256;
