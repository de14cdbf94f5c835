//! Requests to reactors: each with a deadline, and a bounded number of them. Single publications
//! that are asked for at the same time go to a reactor together ([`crate::gathered`]).

use std::collections::HashMap;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roost_reactor::{
    ChannelRecord, ConnectionRecord, ControlPeer, ControlPublication, Described, FromReactor,
    HistoryPage, HookAnswer, Loss, Name, Part, Placement, PresenceView, Refusal, RepeatKey,
    Request, RingFull, Token, Verdict,
};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout_at};

use crate::event_inputs::{Input as EventInput, ToEvents};
use crate::first_of::first_of;
use crate::gathered::{Gathered, HOLD_MAX, Outcome, Pending, Publisher};
use crate::hook_inputs::{Input, ToHooks};
use crate::taps::{Listener, Taps};
use crate::token_jobs::ToThread;

pub(crate) use crate::ask_error::AskError;
pub(crate) use crate::gathered::Until;

/// The control thread's place in the mesh, for many callers on one thread.
pub(crate) struct Peer {
    /// Never held over an `await`.
    state: Mutex<State>,
    /// Single publications are to be sent.
    has_due: Notify,
}

struct State {
    peer: ControlPeer,
    waiting: HashMap<Token, Waiting>,
    /// Single publications that are not sent yet.
    gathered: Gathered,
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
    /// Callers with a publication each, in their order. Those that have gone want no answer.
    Publishers(Vec<Option<Publisher>>),
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
        let gathered = Gathered::new(peer.reactors());
        Peer {
            state: Mutex::new(State {
                peer,
                waiting: HashMap::new(),
                gathered,
                tokens,
                hooks,
                taps: Taps::default(),
                events,
            }),
            has_due: Notify::new(),
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

    /// Publishes, together with others that do so meanwhile. `None`: it is sent, and that was what the
    /// caller waited for.
    pub(crate) async fn publish(
        &self,
        publication: ControlPublication,
        until: Until,
        deadline: Instant,
    ) -> Outcome {
        let (caller, answer) = oneshot::channel();
        let is_due = {
            let mut state = self.lock();
            let home = state.peer.home_of(&publication.channel);
            let publisher = Publisher { caller, deadline };
            let pending = Pending::new(publication, publisher, until);
            let pushed = state.gathered.push(home, pending);
            pushed.map_err(|_| AskError::TooManyWaiting)?
        };
        if is_due {
            self.has_due.notify_one();
        }
        // `State::expire` keeps the deadline, of all at once: a timer for each would cost more than it.
        answer.await.unwrap_or(Err(AskError::Deadline))
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

    /// The epoch of a reactor's channels.
    pub(crate) fn epoch_at(&self, home: usize) -> u64 {
        self.lock().peer.epoch_of(home)
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

    /// Sends what is due and hands answers to their callers, until the waker fails.
    pub(crate) async fn run(self: Arc<Self>, woken: Receiver) -> io::Result<()> {
        let sleep = pin!(sleep_until(Instant::now()));
        let mut timer = Timer {
            sleep,
            is_armed: false,
        };
        loop {
            // Callers that are ready add what they publish.
            tokio::task::yield_now().await;
            let is_late = timer.has_rung();
            let (may_sleep, is_waiting) = {
                let mut state = self.lock();
                if is_late {
                    state.expire(Instant::now());
                }
                state.read_some();
                state.send_due();
                let State { peer, taps, .. } = &mut *state;
                taps.send_ends(peer);
                (state.peer.may_sleep(), state.is_waiting())
            };
            if may_sleep {
                let has_due = async {
                    self.has_due.notified().await;
                    Ok(())
                };
                let sent_or_come = first_of(wait_for_wake(&woken), has_due);
                first_of(sent_or_come, timer.wait(is_waiting)).await?;
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

    /// Whether [`State::expire`] is to be called.
    fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || self.gathered.is_under_way()
    }

    /// Tells publishers whose deadline is over, and holds nothing up any longer for a batch that was not
    /// answered in time.
    fn expire(&mut self, now: Instant) {
        self.gathered.stop_waiting(now);
        self.waiting.retain(|_, waiting| match waiting {
            Waiting::Whole { .. } => true, // its caller keeps the deadline
            Waiting::Publishers(publishers) => {
                for publisher in publishers.iter_mut() {
                    let is_over = |one: &mut Publisher| one.deadline <= now;
                    if let Some(publisher) = publisher.take_if(is_over) {
                        publisher.tell(Err(AskError::Deadline));
                    }
                }
                publishers.iter().any(Option::is_some)
            }
        });
    }

    fn send_due(&mut self) {
        for home in 0..self.gathered.homes() {
            while let Some((publications, publishers)) = self.gathered.take_due(home) {
                self.send(home, publications, publishers);
            }
        }
    }

    fn send(
        &mut self,
        home: usize,
        publications: Vec<ControlPublication>,
        publishers: Vec<(Publisher, Until)>,
    ) {
        let sent = self.make_room().and_then(|()| {
            let sent = self.peer.publish(home, publications);
            sent.map_err(|_| AskError::RingFull)
        });
        match sent {
            Err(error) => {
                let publishers = publishers.into_iter();
                publishers.for_each(|(publisher, _)| publisher.tell(Err(error)));
            }
            Ok(token) => {
                self.gathered.sent(home, token, Instant::now());
                let publishers = publishers
                    .into_iter()
                    .map(|(publisher, until)| match until {
                        Until::Placed => Some(publisher),
                        Until::Sent => {
                            publisher.tell(Ok(None));
                            None
                        }
                    });
                let waiting = Waiting::Publishers(publishers.collect());
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
        self.gathered.answered(token);
        match (self.waiting.remove(&token), part) {
            (Some(Waiting::Publishers(publishers)), Part::Published(outcomes)) => {
                for (publisher, outcome) in publishers.into_iter().zip(outcomes) {
                    if let Some(publisher) = publisher {
                        publisher.tell(outcome.map(Some).map_err(AskError::Refused));
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
            Waiting::Publishers(publishers) => {
                publishers.iter().flatten().any(Publisher::is_wanted)
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

/// When [`State::expire`] is called next. It is set anew only once it is over, not for each batch.
struct Timer<'a> {
    sleep: Pin<&'a mut Sleep>,
    is_armed: bool,
}

impl Timer<'_> {
    /// Whether it is over, once.
    fn has_rung(&mut self) -> bool {
        let has = self.is_armed && self.sleep.is_elapsed();
        self.is_armed &= !has;
        has
    }

    /// Returns when it is over; never if it is not needed.
    async fn wait(&mut self, is_needed: bool) -> io::Result<()> {
        if !self.is_armed {
            if !is_needed {
                return std::future::pending().await;
            }
            self.sleep.as_mut().reset(Instant::now() + HOLD_MAX);
            self.is_armed = true;
        }
        self.sleep.as_mut().await;
        Ok(())
    }
}

/// Returns when the waker has been used. Its counter is not read: each use is an event of its own.
async fn wait_for_wake(woken: &Receiver) -> io::Result<()> {
    woken.readable().await?;
    // Until the next event.
    let _: io::Result<()> = woken.try_io(|| Err(io::ErrorKind::WouldBlock.into()));
    Ok(())
}

/// Requests of all callers together that wait for their answers.
const WAITING_MAX: usize = 4096;
/// How soon a full ring is tried again.
pub(crate) const RING_RETRY: Duration = Duration::from_millis(5);
/// Answers handed over before other tasks run.
const ANSWERS_AT_ONCE: usize = 256;

#[cfg(test)]
mod tests {
    use roost_net::Driver;
    use roost_net::sim::{SimFaults, SimNet, SimOptions};
    use roost_reactor::{Reactor, Settings, Shared};

    use super::*;

    #[test]
    fn all_that_reactors_have_said_is_read_at_the_end() {
        const REACTORS: usize = 12;
        let net = SimNet::new(1, SimFaults::none());
        let shared = Shared::new(Settings::for_tests(), REACTORS, 1);
        let waker = net.driver(SimOptions::default()).waker();
        let control = shared.control_peer(waker).expect("the only one");
        let peer = Peer::new(control, None, None, None);
        let mut sent = Vec::new();
        for id in 0..REACTORS {
            let driver = net.driver(SimOptions::default());
            let mut reactor = Reactor::new(driver, id as u8, shared.clone());
            // As many as its ring takes.
            while let Ok(asked) = peer.ask(id, Request::Ping) {
                sent.push(asked);
            }
            reactor.run_once().expect("a simulated wait does not fail");
        }
        assert!(sent.len() > ANSWERS_AT_ONCE, "{} are few", sent.len());
        peer.read_all();
        for asked in &mut sent {
            let answer = asked.answer.try_recv();
            assert!(matches!(answer, Ok(Ok(Reply::Pong))), "{answer:?}");
        }
    }
}
