//! Dealers, the network between them, and their clients as those see themselves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use roost_dealer::{
    Answer, Call, CallError, CalleeFeatures, CancelMode, Client, Dealer, DealerCounts,
    DealerOptions, Interrupt, Item, Match, NeverInvoked, Notice, Output, Policy, Procedure,
    Register, RegisterError, RegistrationChange, RegistrationEvent,
};
use roost_hub::{Name, Prefixes, ReactorId};

pub(crate) const CALLS_MAX: usize = 4;
pub(crate) const INVOCATIONS_MAX: usize = 3;
const REGISTRATIONS_MAX: usize = 3;
const NAMES: [&str; 5] = ["a.b", "a.c", "a.b.c", "x", "é.b"];
const PATTERNS: [&str; 5] = ["a", "a.", "a..c", ".b", ""];

/// What clients do, and the network.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Register {
        client: usize,
        name: usize,
        matching: u8,
        policy: u8,
    },
    Unregister {
        client: usize,
        which: usize,
    },
    Call {
        client: usize,
        name: usize,
        wants_progress: bool,
        timeout: u32,
    },
    Cancel {
        client: usize,
        which: usize,
        mode: u8,
    },
    Answer {
        client: usize,
        which: usize,
        kind: u8,
    },
    Leave {
        client: usize,
    },
    Deliver {
        link: usize,
        count: usize,
    },
    Tick,
    /// A dealer is taken apart and put together again.
    HandOver {
        reactor: usize,
    },
}

/// A client as it sees itself.
#[derive(Default)]
pub(crate) struct Peer {
    client: u64,
    features: CalleeFeatures,
    /// Open calls: by number, the payload and whether progress is wanted.
    pub(crate) calls: BTreeMap<u64, (u64, bool)>,
    requests: u64,
    /// Invocations not answered yet: by number, the payload.
    pub(crate) invocations: BTreeMap<u64, (u64, bool)>,
    last_invocation: u64,
    pub(crate) interrupted: Vec<u64>,
    pub(crate) registrations: Vec<u64>,
    /// Tokens of registers that are not answered.
    pending: Vec<u64>,
}

pub(crate) struct World {
    pub(crate) dealers: Vec<Dealer<u64>>,
    /// By sender, receiver and lane.
    pub(crate) links: BTreeMap<(u8, u8, bool), VecDeque<Item<u64>>>,
    pub(crate) peers: Vec<Peer>,
    now: u32,
    /// The last payload of a call.
    payloads: u64,
    /// Answers that came from a procedure, and those that did not.
    pub(crate) answered: (u32, u32),
    /// Registrations with their callees' sessions, as events say.
    told: BTreeMap<u64, Vec<u64>>,
}

pub(crate) fn options(me: u8, reactors: u16) -> DealerOptions {
    DealerOptions {
        me: ReactorId(me),
        reactors,
        hash_key: [9; 16],
        seed: 4,
        apart: Prefixes::default(),
        registrations_max: REGISTRATIONS_MAX as u32,
        calls_max: CALLS_MAX as u32,
        invocations_max: INVOCATIONS_MAX as u32,
    }
}

impl World {
    pub(crate) fn new(reactors: u16, clients: usize) -> World {
        let dealer = |me| {
            let mut dealer = Dealer::new(options(me, reactors));
            dealer.set_reports_registrations(true);
            dealer
        };
        let peer = |client| Peer {
            client: client as u64,
            features: features(client),
            ..Peer::default()
        };
        World {
            dealers: (0..reactors).map(|me| dealer(me as u8)).collect(),
            links: BTreeMap::new(),
            peers: (0..clients).map(peer).collect(),
            now: 1,
            payloads: 0,
            answered: (0, 0),
            told: BTreeMap::new(),
        }
    }

    fn reactor(&self, peer: usize) -> usize {
        peer % self.dealers.len()
    }

    pub(crate) fn apply(&mut self, op: Op) {
        let clients = self.peers.len();
        let mut out = Vec::new();
        match op {
            Op::Register {
                client,
                name,
                matching,
                policy,
            } => self.register(client % clients, (name, matching, policy), &mut out),
            Op::Unregister { client, which } => {
                let at = client % clients;
                let reactor = self.reactor(at);
                let peer = &mut self.peers[at];
                if !peer.registrations.is_empty() {
                    let registration = peer.registrations.remove(which % peer.registrations.len());
                    let dealer = &mut self.dealers[reactor];
                    let client = Client(peer.client);
                    assert!(dealer.unregister(client, registration, &mut out));
                    assert!(!dealer.unregister(client, registration, &mut out));
                }
            }
            Op::Call {
                client,
                name,
                wants_progress,
                timeout,
            } => self.call(client % clients, name, wants_progress, timeout, &mut out),
            Op::Cancel {
                client,
                which,
                mode,
            } => {
                let at = client % clients;
                let peer = &self.peers[at];
                let request = pick(peer.calls.keys(), which).unwrap_or(99);
                let modes = [CancelMode::Skip, CancelMode::Kill, CancelMode::KillNoWait];
                let (client, mode) = (Client(peer.client), modes[usize::from(mode) % 3]);
                let reactor = self.reactor(at);
                self.dealers[reactor].cancel(client, request, mode, &mut out);
            }
            Op::Answer {
                client,
                which,
                kind,
            } => self.answer(client % clients, which, kind, &mut out),
            Op::Leave { client } => self.leave(client % clients, &mut out),
            Op::Deliver { link, count } => {
                let busy = self.links.iter().filter(|(_, items)| !items.is_empty());
                let keys: Vec<_> = busy.map(|(key, _)| *key).collect();
                if let Some(&key) = keys.get(link % keys.len().max(1)) {
                    for _ in 0..count {
                        self.deliver(key);
                    }
                }
            }
            Op::HandOver { reactor } => self.hand_over(reactor % self.dealers.len()),
            Op::Tick => {
                self.now += 1;
                for reactor in 0..self.dealers.len() {
                    let mut out = Vec::new();
                    self.dealers[reactor].expire(self.now, &mut out);
                    self.carry_out(reactor, out);
                }
            }
        }
        let client = match op {
            Op::Register { client, .. }
            | Op::Unregister { client, .. }
            | Op::Call { client, .. }
            | Op::Cancel { client, .. }
            | Op::Answer { client, .. }
            | Op::Leave { client } => client,
            Op::Deliver { .. } | Op::Tick | Op::HandOver { .. } => 0,
        };
        self.carry_out(self.reactor(client % clients), out);
    }

    fn register(
        &mut self,
        at: usize,
        (name, matching, policy): (usize, u8, u8),
        out: &mut Vec<Output<u64>>,
    ) {
        let matching = [Match::Exact, Match::Prefix, Match::Wildcard][usize::from(matching) % 3];
        let names = if matching == Match::Exact {
            NAMES
        } else {
            PATTERNS
        };
        let policies = [
            Policy::Single,
            Policy::RoundRobin,
            Policy::Random,
            Policy::First,
            Policy::Last,
        ];
        let reactor = self.reactor(at);
        let peer = &mut self.peers[at];
        peer.requests += 1;
        let register = Register {
            callee: Client(peer.client),
            name: names[name % names.len()],
            matching,
            policy: policies[usize::from(policy) % 5],
            features: peer.features,
            session: peer.client,
            token: peer.requests,
        };
        let count = peer.pending.len() + peer.registrations.len();
        let expected = if count < REGISTRATIONS_MAX {
            peer.pending.push(peer.requests);
            Ok(())
        } else {
            Err(RegisterError::TooMany)
        };
        let registered = self.dealers[reactor].register(register, self.now, out);
        assert_eq!(registered, expected);
    }

    fn call(
        &mut self,
        at: usize,
        name: usize,
        wants_progress: bool,
        timeout: u32,
        out: &mut Vec<Output<u64>>,
    ) {
        self.payloads += 1;
        let reactor = self.reactor(at);
        let peer = &mut self.peers[at];
        // The number of a call that is over comes again at once, while answers to that may be late.
        let request = (1..).find(|number| !peer.calls.contains_key(number));
        let request = request.expect("some are free");
        let call = Call {
            caller: Client(peer.client),
            request,
            procedure: NAMES[name % NAMES.len()],
            wants_progress,
            timeout,
            payload: self.payloads,
        };
        let dealer = &mut self.dealers[reactor];
        let result = dealer.call(call.clone(), self.now, out);
        match result {
            Ok(()) => {
                peer.calls.insert(request, (self.payloads, wants_progress));
                // What is not kept for its sake may have been answered within the call.
                if peer.calls.len() < CALLS_MAX && out.is_empty() {
                    let again = dealer.call(call, self.now, &mut Vec::new());
                    assert_eq!(again, Err(CallError::RequestInUse));
                }
            }
            // Calls that were canceled on their way count, and keep their numbers, until they have
            // arrived.
            Err(CallError::TooMany | CallError::RequestInUse) => {}
        }
        assert!(peer.calls.len() <= CALLS_MAX);
    }

    fn answer(&mut self, at: usize, which: usize, kind: u8, out: &mut Vec<Output<u64>>) {
        let reactor = self.reactor(at);
        let peer = &mut self.peers[at];
        let client = Client(peer.client);
        let dealer = &mut self.dealers[reactor];
        let never = peer.last_invocation + 1;
        let answer = dealer.answer(client, never, Answer::Result(0), self.now, out);
        assert_eq!(answer, Err(NeverInvoked));
        let Some(invocation) = pick(peer.invocations.keys(), which) else {
            return;
        };
        let (payload, _) = peer.invocations[&invocation];
        let answer = match kind % 3 {
            0 => Answer::Progress(payload),
            1 => Answer::Result(payload),
            _ => Answer::Error(payload),
        };
        if !matches!(answer, Answer::Progress(_)) {
            peer.invocations.remove(&invocation);
        }
        let answered = dealer.answer(client, invocation, answer, self.now, out);
        assert_eq!(answered, Ok(()));
    }

    /// Another dealer goes on where one was, and is the same.
    fn hand_over(&mut self, reactor: usize) {
        let reactors = self.dealers.len() as u16;
        let options = || options(reactor as u8, reactors);
        let before = std::mem::replace(&mut self.dealers[reactor], Dealer::new(options()));
        let (counts, due) = (before.counts(), before.due());
        let state = before.export();
        let mut dealer = Dealer::import(options(), state.clone()).expect("a dealer's state");
        assert_eq!((dealer.counts(), dealer.due()), (counts, due));
        dealer.set_reports_registrations(true);
        self.dealers[reactor] = dealer;
        let again: Dealer<u64> = Dealer::import(options(), state.clone()).expect("the same");
        assert_eq!(again.export(), state);
    }

    /// A client leaves, and another takes its slot.
    fn leave(&mut self, at: usize, out: &mut Vec<Output<u64>>) {
        let reactor = self.reactor(at);
        let client = self.peers[at].client;
        self.dealers[reactor].leave(Client(client), self.now, out);
        self.peers[at] = Peer {
            client: client + 1000,
            features: self.peers[at].features,
            ..Peer::default()
        };
    }

    pub(crate) fn deliver(&mut self, (from, to, lane): (u8, u8, bool)) {
        let items = self.links.get_mut(&(from, to, lane));
        let Some(item) = items.and_then(VecDeque::pop_front) else {
            return;
        };
        let mut out = Vec::new();
        let dealer = &mut self.dealers[usize::from(to)];
        dealer.handle(ReactorId(from), item, self.now, &mut out);
        self.carry_out(usize::from(to), out);
    }

    fn carry_out(&mut self, reactor: usize, out: Vec<Output<u64>>) {
        for output in out {
            match output {
                Output::ToReactor(to, item) => {
                    assert_ne!(usize::from(to.0), reactor, "no reactor sends to itself");
                    let lane = matches!(item, Item::Call { .. });
                    let key = (reactor as u8, to.0, lane);
                    self.links.entry(key).or_default().push_back(item);
                }
                Output::ToClient(client, notice) => self.notice(reactor, client, notice),
                Output::Registration(event) => self.told(reactor, *event),
            }
        }
    }

    /// Events of one registration begin and end, and name each callee once.
    fn told(&mut self, reactor: usize, event: RegistrationEvent) {
        let RegistrationEvent {
            session,
            registration,
            change,
        } = event;
        let number = registration.number;
        let shown = self.dealers[reactor].registrations().get(number);
        match change {
            RegistrationChange::Created => {
                assert_eq!(shown.map(|shown| shown.created), Some(self.now));
                assert_eq!(self.told.insert(number, Vec::new()), None, "created once");
            }
            RegistrationChange::Registered => {
                let sessions = self.told.get_mut(&number).expect("created before");
                assert!(!sessions.contains(&session), "it has one place");
                sessions.push(session);
            }
            RegistrationChange::Unregistered => {
                let sessions = self.told.get_mut(&number).expect("not deleted yet");
                let at = sessions.iter().position(|one| *one == session);
                sessions.remove(at.expect("it was registered"));
            }
            RegistrationChange::Deleted => {
                assert_eq!(self.told.remove(&number), Some(Vec::new()));
            }
        }
    }

    /// What is told of registrations, what the home shows and what clients know agree.
    fn check_registrations(&self) {
        let home = &self.dealers[usize::from(self.dealers[0].home().0)];
        let shown = home.registrations();
        let numbers = shown.behind(0).map(|(number, ..)| number);
        let shown_all: BTreeMap<u64, Vec<u64>> = numbers
            .map(|number| (number, shown.callees(number).collect()))
            .collect();
        assert_eq!(shown_all, self.told);
        let mut known: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for peer in &self.peers {
            for &number in &peer.registrations {
                known.entry(number).or_default().insert(peer.client);
            }
        }
        let told = self.told.iter();
        let told = told.map(|(&number, list)| (number, list.iter().copied().collect()));
        assert_eq!(told.collect::<BTreeMap<u64, BTreeSet<u64>>>(), known);
        for (number, name, matching) in shown.behind(0) {
            let name = Name::from(name);
            let procedure = Procedure { name, matching };
            assert_eq!(shown.find(&procedure), Some(number));
            if matching == Match::Exact {
                let found = shown.matching(&procedure.name);
                assert_eq!(found, Some((number, &procedure)));
            }
        }
    }

    fn notice(&mut self, reactor: usize, client: Client, notice: Notice<u64>) {
        let at = self.peers.iter().position(|peer| peer.client == client.0);
        let at = at.unwrap_or_else(|| panic!("{client:?} has left, and is told {notice:?}"));
        assert_eq!(self.reactor(at), reactor);
        let peer = &mut self.peers[at];
        match notice {
            Notice::Registered {
                token,
                registration,
            } => {
                peer.answer_register(token);
                assert!(!peer.registrations.contains(&registration));
                peer.registrations.push(registration);
            }
            Notice::RegisterRefused { token, error: _ } => peer.answer_register(token),
            Notice::Invocation {
                invocation,
                registration: _,
                procedure: _,
                wants_progress,
                payload,
            } => {
                assert_eq!(invocation, peer.last_invocation + 1, "without a gap");
                assert!(!wants_progress || peer.features.progress);
                peer.last_invocation = invocation;
                peer.invocations
                    .insert(invocation, (payload, wants_progress));
            }
            Notice::Interrupt {
                invocation,
                interrupt,
            } => {
                assert!(peer.features.interrupt, "it has not said that it can be");
                assert!(
                    peer.invocations.contains_key(&invocation),
                    "it has answered"
                );
                assert!(!peer.interrupted.contains(&invocation), "once is enough");
                peer.interrupted.push(invocation);
                if interrupt == Interrupt::KillNoWait {
                    peer.invocations.remove(&invocation);
                }
            }
            Notice::Answer { request, answer } => {
                let open = peer.calls.get(&request);
                let (payload, wants_progress) = *open.expect("one answer to an open call");
                match answer {
                    Answer::Progress(part) => {
                        assert!(wants_progress);
                        assert_eq!(part, payload, "of its own call");
                    }
                    Answer::Result(whole) | Answer::Error(whole) => {
                        assert_eq!(whole, payload, "of its own call");
                        peer.calls.remove(&request);
                        self.answered.0 += 1;
                    }
                    Answer::Failed(_) => {
                        peer.calls.remove(&request);
                        self.answered.1 += 1;
                    }
                }
            }
        }
    }

    pub(crate) fn deliver_all(&mut self) {
        for _ in 0..1000 {
            let busy = self.links.iter().filter(|(_, items)| !items.is_empty());
            let keys: Vec<_> = busy.map(|(&key, _)| key).collect();
            if keys.is_empty() {
                return;
            }
            for key in keys {
                self.deliver(key);
            }
        }
        panic!("items go round for ever");
    }

    /// All callees answer, all that is under way arrives: then each call has been answered.
    pub(crate) fn finish(&mut self) {
        self.deliver_all();
        self.check_registrations();
        for at in 0..self.peers.len() {
            while !self.peers[at].invocations.is_empty() {
                let client = at;
                self.apply(Op::Answer {
                    client,
                    which: 0,
                    kind: 1,
                });
            }
        }
        self.deliver_all();
        for peer in &self.peers {
            assert!(peer.calls.is_empty(), "not answered: {:?}", peer.calls);
            assert!(
                peer.pending.is_empty(),
                "not registered: {:?}",
                peer.pending
            );
        }
        let calls: usize = self
            .dealers
            .iter()
            .map(|dealer| dealer.counts().calls)
            .sum();
        assert_eq!(calls, 0, "what is answered is forgotten");
        for client in 0..self.peers.len() {
            self.apply(Op::Leave { client });
        }
        self.deliver_all();
        for dealer in &self.dealers {
            assert_eq!(
                dealer.counts(),
                DealerCounts::default(),
                "something is left"
            );
            assert_eq!(dealer.due(), u32::MAX);
        }
        assert!(self.told.is_empty(), "all are deleted: {:?}", self.told);
    }
}

impl Peer {
    fn answer_register(&mut self, token: u64) {
        let at = self.pending.iter().position(|&pending| pending == token);
        self.pending.remove(at.expect("answered once"));
    }
}

fn features(client: usize) -> CalleeFeatures {
    CalleeFeatures {
        interrupt: client % 4 < 2,
        progress: !client.is_multiple_of(3),
    }
}

fn pick<'a>(mut keys: impl ExactSizeIterator<Item = &'a u64>, which: usize) -> Option<u64> {
    let count = keys.len();
    keys.nth(which % count.max(1)).copied()
}
