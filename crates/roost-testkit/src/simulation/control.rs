//! The control thread in a simulation: it sends requests, goes on without reading the answers, reads
//! again, and ends in the middle of the script with its rings full. The checks of all other peers are
//! the same as without it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use roost_access::{Operation, Provider};
use roost_dialect::PayloadRef;
use roost_dialect::dialect::RpcAnswer;
use roost_net::Driver;
use roost_net::sim::{SimDriver, SimRng};
use roost_reactor::{
    CONNECTIONS_MAX, ConnectionFilter, ControlPeer, ControlPublication, Denied, FromReactor,
    HookAnswer, HookAsked, HookCall, HookOutcome, Login, Part, Request, RingFull, Shared, Token,
    TokenCheck, Verdict,
};

use super::api::{self, Published};
use super::canary::Probes;
use super::guarded::{application_allows, login_of};
use super::journal::{Over, Told};
use super::plan::{Plan, has_control};
use super::users::{InForce, Users};

/// The simulated control thread.
pub(super) struct Control {
    driver: SimDriver,
    rng: SimRng,
    shared: Shared,
    peer: Option<ControlPeer>,
    /// Requests without their last answer.
    unanswered: HashSet<Token>,
    /// The numbers of what is published in a batch.
    batches: HashMap<Token, Vec<usize>>,
    published: Published,
    canary: Probes,
    /// What becomes of users, where there are some.
    users: Option<Users>,
    /// What the application is told, if it is.
    told: Option<Told>,
    /// When which reactor is told what the application says.
    late: Vec<(u64, usize, HookAnswer)>,
    asked: u64,
    answered: u64,
    refused: u64,
    listed: u64,
}

/// What it does at a time of the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Asks,
    /// It asks and does not read.
    Hangs,
    Reads,
    /// The script is over: it reads what happens.
    Stays,
    Ends,
}

impl Control {
    /// On one seed of four, so that the others keep their plans.
    pub(super) fn new(
        plan: &Plan,
        shared: &Shared,
        make_driver: impl FnOnce() -> SimDriver,
    ) -> Option<Control> {
        if !has_control(plan.seed) {
            return None;
        }
        let driver = make_driver();
        let peer = shared.control_peer(driver.waker());
        let peer = peer.expect("the only one of this server");
        Some(Control {
            canary: Probes::new(&peer, shared),
            driver,
            rng: SimRng::new(plan.seed ^ 0xc0_47_01),
            shared: shared.clone(),
            peer: Some(peer),
            unanswered: HashSet::new(),
            batches: HashMap::new(),
            published: Published::default(),
            users: (plan.guarded > 0).then(|| Users::new(plan.seed)),
            told: Told::new(plan.seed, &plan.settings),
            late: Vec::new(),
            asked: 0,
            answered: 0,
            refused: 0,
            listed: 0,
        })
    }

    pub(super) fn is_due(&self) -> bool {
        self.peer.is_some() && self.driver.is_due()
    }

    pub(super) fn run_once(&mut self, now_ns: u64) {
        while self.driver.next_event().is_some() {}
        let Some(mut peer) = self.peer.take() else {
            return;
        };
        peer.wake_up();
        let stays = self.told.as_ref().is_some_and(|told| told.stays);
        let phase = match phase_at(now_ns) {
            Phase::Ends if stays => Phase::Stays,
            phase => phase,
        };
        if phase != Phase::Hangs {
            self.read(&mut peer);
            self.answer_hooks(&mut peer);
            let now = self.driver.now();
            self.told.iter_mut().for_each(|told| told.go_on(now));
        }
        match phase {
            Phase::Asks => {
                self.unanswered
                    .extend(self.canary.send_due(&mut peer, self.driver.now()));
                for _ in 0..self.rng.between(0, 4) {
                    let reactor = self.rng.below(peer.reactors() as u64) as usize;
                    self.ask(&mut peer, reactor);
                }
                if let Some(users) = &mut self.users {
                    let now = self.driver.now();
                    self.unanswered.extend(users.ask(&mut peer, now));
                }
            }
            // More than a ring holds, of every reactor.
            Phase::Hangs | Phase::Ends => {
                if phase == Phase::Ends {
                    self.check_answers();
                }
                for reactor in 0..peer.reactors() {
                    for _ in 0..self.rng.between(4, 80) {
                        self.ask(&mut peer, reactor);
                    }
                }
            }
            Phase::Reads | Phase::Stays => {}
        }
        if phase == Phase::Ends {
            let now = self.driver.now();
            self.told
                .iter_mut()
                .for_each(|told| told.end(now, Over::Nothing));
            return; // and the peer is dropped
        }
        let may_sleep = phase == Phase::Hangs || peer.may_sleep();
        let timeout = Duration::from_micros(if may_sleep {
            self.rng.between(500, 40_000)
        } else {
            0
        });
        self.peer = Some(peer);
        self.driver
            .wait(Some(timeout))
            .expect("a simulated wait does not fail");
    }

    fn read(&mut self, peer: &mut ControlPeer) {
        while let Some(message) = peer.next_message() {
            let answer = match message {
                FromReactor::Answer(answer) => answer,
                FromReactor::Events(reactor, batch) => {
                    let told = self.told.as_mut().expect("events are asked for");
                    told.happened(reactor, *batch, self.driver.now());
                    continue;
                }
                FromReactor::Listening(number) => {
                    self.canary.listening(number, self.driver.now());
                    continue;
                }
                FromReactor::Tapped(heard) => {
                    self.canary.hear(&heard, self.driver.now());
                    continue;
                }
                FromReactor::HookCalls(reactor, calls) => {
                    for call in calls {
                        self.ask_application(reactor, &call);
                    }
                    continue;
                }
                FromReactor::TokenChecks(reactor, checks) => {
                    let verdicts = checks.iter().map(|check| self.judge(check)).collect();
                    let _ = peer.send_verdicts(reactor, verdicts); // if it is lost, they wait in vain
                    continue;
                }
            };
            if let Part::Connections(records) | Part::ConnectionsEnd { records, .. } = &answer.part
            {
                self.listed += records.len() as u64;
            }
            if let Part::Published(outcomes) = &answer.part
                && !self.canary.answered(answer.token, outcomes)
            {
                let numbers = self.batches.remove(&answer.token);
                let numbers = numbers.expect("a batch is answered once");
                assert_eq!(numbers.len(), outcomes.len(), "an outcome each");
                for (number, outcome) in numbers.into_iter().zip(outcomes) {
                    self.published.answer(number, *outcome);
                }
            }
            if let Some(users) = &mut self.users {
                users.answer(&answer, self.driver.now());
            }
            if !matches!(answer.part, Part::Connections(_)) {
                let was_asked = self.unanswered.remove(&answer.token);
                assert!(was_asked, "{answer:?} answers nothing that was asked");
                self.answered += 1;
            }
        }
    }

    /// It answers at once, late, not at all, or that it cannot say.
    fn ask_application(&mut self, reactor: usize, call: &HookCall) {
        self.asked += 1;
        let outcome = match &call.asked {
            HookAsked::Subscribe { channel } => {
                self.judge_request(call, Operation::Subscribe, channel)
            }
            HookAsked::Publish { channel, .. } => {
                self.judge_request(call, Operation::Publish, channel)
            }
            HookAsked::Rpc { data, .. } => HookOutcome::Rpc(match self.rng.below(10) {
                0 => RpcAnswer::Unavailable,
                1 => RpcAnswer::Error {
                    code: 1000,
                    message: "It is not for you.".into(),
                    is_temporary: false,
                },
                _ => RpcAnswer::Result(data.clone()),
            }),
            HookAsked::Connect { .. } => panic!("it is not asked about it: {call:?}"),
        };
        let after_ms = match self.rng.below(10) {
            0..6 => 0,
            6..9 => self.rng.between(1, 1_500),
            _ => return, // it hangs
        };
        let answer = HookAnswer {
            key: call.key,
            number: call.number,
            outcome,
        };
        let at = self.driver.now() + after_ms * 1_000_000;
        self.late.push((at, reactor, answer));
    }

    fn judge_request(
        &mut self,
        call: &HookCall,
        operation: Operation,
        channel: &str,
    ) -> HookOutcome {
        match application_allows(&call.user, operation, channel) {
            _ if self.rng.per_mille(50) => HookOutcome::Unavailable("It is busy.".into()),
            true => HookOutcome::Allowed(None),
            false => HookOutcome::Refused("It is not for you.".into()),
        }
    }

    fn answer_hooks(&mut self, peer: &mut ControlPeer) {
        let now = self.driver.now();
        for (at, reactor, answer) in std::mem::take(&mut self.late) {
            if at > now {
                self.late.push((at, reactor, answer));
                continue;
            }
            let _ = peer.send_hook_answers(reactor, vec![answer]); // if it is lost, it waits in vain
        }
    }

    /// What becomes of a token; now and then it cannot be said.
    fn judge(&mut self, check: &TokenCheck) -> Verdict {
        let outcome = match login_of(check.token.expose()) {
            _ if self.rng.per_mille(50) => Err(Denied::Unavailable("No key is there yet.".into())),
            Some((user, permissions, token)) => Ok(Login {
                user: user.into(),
                permissions,
                expires_in_ms: None,
                provider: Provider::Jwt,
                token,
            }),
            None => Err(Denied::Refused("The token is not good.".into())),
        };
        Verdict {
            key: check.key,
            outcome,
        }
    }

    fn ask(&mut self, peer: &mut ControlPeer, reactor: usize) {
        let sent = match self.rng.below(3) {
            0 => peer.ask(reactor, Request::Ping),
            1 => {
                let from_slot = self.rng.below(4) as u32;
                let limit = self.rng.between(1, u64::from(CONNECTIONS_MAX)) as u32;
                let filter = ConnectionFilter {
                    channel: limit.is_multiple_of(4).then(|| api::name_of(0).into()),
                    is_waiting: limit.is_multiple_of(3),
                    ..ConnectionFilter::default()
                };
                let request = Request::Connections {
                    from_slot,
                    limit,
                    filter: limit.is_multiple_of(2).then(|| Arc::new(filter)),
                };
                peer.ask(reactor, request)
            }
            _ => return self.publish(peer),
        };
        match sent {
            Ok(token) => {
                self.unanswered.insert(token);
            }
            Err(RingFull) => self.refused += 1,
        }
    }

    /// Publishes a batch, as requests of the API that come together do.
    fn publish(&mut self, peer: &mut ControlPeer) {
        let now = self.driver.now();
        let (channel, _) = api::draw(&mut self.rng);
        let home = peer.home_of(&api::name_of(channel));
        let (mut numbers, mut batch) = (Vec::new(), Vec::new());
        for _ in 0..self.rng.between(1, 20) {
            let (channel, key) = api::draw(&mut self.rng);
            let name = api::name_of(channel);
            if peer.home_of(&name) != home {
                continue;
            }
            let number = self.published.add(channel, key, now);
            let text = number.to_string();
            batch.push(ControlPublication {
                repeat_key: key.map(|key| peer.repeat_key(&name, &key.to_string())),
                channel: name.into(),
                payload: PayloadRef::Text(&text).freeze(),
                is_limited: true,
            });
            numbers.push(number);
        }
        if batch.is_empty() {
            return;
        }
        match peer.publish(home, batch) {
            Ok(token) => {
                self.unanswered.insert(token);
                self.batches.insert(token, numbers);
            }
            Err(_) => {
                self.refused += 1;
                numbers
                    .into_iter()
                    .for_each(|number| self.published.refuse(number));
            }
        }
    }

    /// When tokens of guarded clients were revoked.
    pub(super) fn revoked(&self) -> Vec<InForce> {
        self.users.as_ref().map(Users::revoked).unwrap_or_default()
    }

    /// What it has published.
    pub(super) fn published(&self) -> &Published {
        &self.published
    }

    /// All reactors have ended: what they have said is read, and told.
    pub(super) fn end(&mut self, over: Over) {
        let Some(mut peer) = self.peer.take() else {
            return;
        };
        self.read(&mut peer);
        let now = self.driver.now();
        self.told.iter_mut().for_each(|told| told.end(now, over));
    }

    /// It has read for a while and asked nothing: all that it asked was answered, or dropped while it
    /// did not read.
    fn check_answers(&self) {
        let dropped = self.report().dropped;
        assert_eq!(
            self.unanswered.len() as u64,
            dropped,
            "control requests without an answer, and answers dropped"
        );
    }

    /// Answers that came, requests refused, connections listed, answers dropped.
    pub(super) fn report(&self) -> ControlReport {
        let dropped = self.shared.registry().sum("control_answers_dropped_total");
        ControlReport {
            answered: self.answered,
            refused: self.refused,
            placed: self.published.placed(),
            listed: self.listed,
            asked: self.asked,
            heard: self.canary.heard(),
            told: self.told.as_ref().map_or(0, Told::told),
            lost: self.told.as_ref().map_or(0, Told::lost),
            dropped: dropped.expect("a counter of this name"),
        }
    }
}

/// What the control thread has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ControlReport {
    /// Requests answered.
    pub answered: u64,
    /// Requests that found a reactor's ring full.
    pub refused: u64,
    /// Publications that got a place.
    pub placed: u64,
    /// Connections listed.
    pub listed: u64,
    /// What the application was asked.
    pub asked: u64,
    /// Probes of the canary that were heard.
    pub heard: u64,
    /// Events it was told of.
    pub told: u64,
    /// Events that were lost, and told as lost.
    pub lost: u64,
    /// Answers that found its own ring full.
    pub dropped: u64,
}

fn phase_at(now_ns: u64) -> Phase {
    match now_ns / 1_000_000 {
        ..2_500 => Phase::Asks,
        2_500..3_500 => Phase::Hangs,
        3_500..4_000 => Phase::Asks,
        4_000..4_600 => Phase::Reads,
        _ => Phase::Ends,
    }
}
