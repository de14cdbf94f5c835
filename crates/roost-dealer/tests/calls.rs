//! Whole networks of dealers, with items that arrive in any order that their lanes allow: each call
//! has exactly one answer, and nothing is left at the end.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use roost_dealer::{
    Answer, Call, CallError, CalleeFeatures, CancelMode, Client, Dealer, DealerCounts,
    DealerOptions, Failure, Interrupt, Item, Match, NeverInvoked, Notice, Output, Policy, Register,
    RegisterError,
};
use roost_hub::{Prefixes, ReactorId};

const CALLS_MAX: usize = 4;
const INVOCATIONS_MAX: usize = 3;
const REGISTRATIONS_MAX: usize = 3;
const NAMES: [&str; 5] = ["a.b", "a.c", "a.b.c", "x", "é.b"];
const PATTERNS: [&str; 5] = ["a", "a.", "a..c", ".b", ""];

/// What clients do, and the network.
#[derive(Debug, Clone)]
enum Op {
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
}

/// A client as it sees itself.
#[derive(Default)]
struct Peer {
    client: u64,
    features: CalleeFeatures,
    /// Open calls: by number, the payload and whether progress is wanted.
    calls: BTreeMap<u64, (u64, bool)>,
    requests: u64,
    /// Invocations not answered yet: by number, the payload.
    invocations: BTreeMap<u64, (u64, bool)>,
    last_invocation: u64,
    interrupted: Vec<u64>,
    registrations: Vec<u64>,
    /// Tokens of registers that are not answered.
    pending: Vec<u64>,
}

struct World {
    dealers: Vec<Dealer<u64>>,
    /// By sender, receiver and lane.
    links: BTreeMap<(u8, u8, bool), VecDeque<Item<u64>>>,
    peers: Vec<Peer>,
    now: u32,
    /// The last payload of a call.
    payloads: u64,
    /// Answers that came from a procedure, and those that did not.
    answered: (u32, u32),
}

impl World {
    fn new(reactors: u16, clients: usize) -> World {
        let dealer = |me| {
            Dealer::new(DealerOptions {
                me: ReactorId(me),
                reactors,
                hash_key: [9; 16],
                seed: 4,
                apart: Prefixes::default(),
                registrations_max: REGISTRATIONS_MAX as u32,
                calls_max: CALLS_MAX as u32,
                invocations_max: INVOCATIONS_MAX as u32,
            })
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
        }
    }

    fn reactor(&self, peer: usize) -> usize {
        peer % self.dealers.len()
    }

    fn apply(&mut self, op: Op) {
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
            Op::Deliver { .. } | Op::Tick => 0,
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
            token: peer.requests,
        };
        let count = peer.pending.len() + peer.registrations.len();
        let expected = if count < REGISTRATIONS_MAX {
            peer.pending.push(peer.requests);
            Ok(())
        } else {
            Err(RegisterError::TooMany)
        };
        assert_eq!(self.dealers[reactor].register(register, out), expected);
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

    fn deliver(&mut self, (from, to, lane): (u8, u8, bool)) {
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

    fn deliver_all(&mut self) {
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
    fn finish(&mut self) {
        self.deliver_all();
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

fn ops() -> impl Strategy<Value = Op> {
    let client = 0..6usize;
    prop_oneof![
        3 => (client.clone(), 0..5usize, 0..3u8, 0..5u8).prop_map(|(client, name, matching, policy)| {
            Op::Register { client, name, matching, policy }
        }),
        1 => (client.clone(), any::<usize>()).prop_map(|(client, which)| Op::Unregister { client, which }),
        5 => (client.clone(), 0..5usize, any::<bool>(), prop_oneof![3 => Just(0u32), 1 => 1..4u32])
            .prop_map(|(client, name, wants_progress, timeout)| {
                Op::Call { client, name, wants_progress, timeout }
            }),
        2 => (client.clone(), any::<usize>(), 0..3u8)
            .prop_map(|(client, which, mode)| Op::Cancel { client, which, mode }),
        4 => (client.clone(), any::<usize>(), 0..3u8)
            .prop_map(|(client, which, kind)| Op::Answer { client, which, kind }),
        1 => client.prop_map(|client| Op::Leave { client }),
        8 => (any::<usize>(), 1..6usize).prop_map(|(link, count)| Op::Deliver { link, count }),
        1 => Just(Op::Tick),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 600,
        max_shrink_iters: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn each_call_has_one_answer(
        reactors in 1..4u16,
        ops in proptest::collection::vec(ops(), 0..160),
    ) {
        let mut world = World::new(reactors, 6);
        for op in ops {
            world.apply(op);
        }
        world.finish();
    }
}

/// A caller and a callee on different reactors, and a home that is neither's.
fn three() -> World {
    let mut world = World::new(3, 6);
    world.apply(Op::Register {
        client: 1,
        name: 0,
        matching: 0,
        policy: 0,
    });
    world.deliver_all();
    assert_eq!(world.peers[1].registrations.len(), 1);
    world
}

fn call(world: &mut World, client: usize, timeout: u32) {
    world.apply(Op::Call {
        client,
        name: 0,
        wants_progress: true,
        timeout,
    });
}

fn answer(world: &mut World, client: usize, kind: u8) {
    world.apply(Op::Answer {
        client,
        which: 0,
        kind,
    });
    world.deliver_all();
}

#[test]
fn a_call_is_answered_by_its_callee() {
    let mut world = three();
    call(&mut world, 2, 0);
    world.deliver_all();
    assert_eq!(world.peers[1].invocations.len(), 1);
    answer(&mut world, 1, 0);
    assert_eq!(world.peers[2].calls.len(), 1, "progress ends nothing");
    answer(&mut world, 1, 1);
    assert_eq!(world.answered, (1, 0));
    world.finish();
}

#[test]
fn a_callee_that_leaves_answers_by_that() {
    let mut world = three();
    call(&mut world, 2, 0);
    world.deliver_all();
    world.apply(Op::Leave { client: 1 });
    world.deliver_all();
    assert_eq!(world.answered, (0, 1));
    assert!(world.peers[2].calls.is_empty());
    world.finish();
}

#[test]
fn a_caller_that_leaves_interrupts_its_callee() {
    for arrives_first in [true, false] {
        let mut world = three();
        call(&mut world, 2, 0);
        if arrives_first {
            world.deliver_all();
        }
        world.apply(Op::Leave { client: 2 });
        world.deliver_all();
        assert_eq!(world.peers[1].interrupted, [1]);
        world.finish();
    }
}

#[test]
fn a_limit_is_that_between_two_results() {
    let mut world = three();
    call(&mut world, 2, 2);
    world.deliver_all();
    for _ in 0..5 {
        world.apply(Op::Tick);
        answer(&mut world, 1, 0);
    }
    assert_eq!(world.answered, (0, 0));
    world.apply(Op::Tick);
    world.apply(Op::Tick);
    assert_eq!(world.answered, (0, 1));
    world.deliver_all();
    assert_eq!(world.peers[1].interrupted, [1]);
    world.finish();
}

#[test]
fn a_call_that_finds_its_callee_gone_goes_to_another() {
    let mut world = World::new(3, 6);
    for client in [1, 2] {
        world.apply(Op::Register {
            client,
            name: 0,
            matching: 0,
            policy: 3, // first
        });
        world.deliver_all();
    }
    call(&mut world, 0, 0);
    // The home has chosen the first, which leaves before it hears of it.
    let calls: Vec<_> = world.links.keys().copied().filter(|key| key.2).collect();
    for key in calls {
        world.deliver(key);
    }
    world.apply(Op::Unregister {
        client: 1,
        which: 0,
    });
    world.deliver_all();
    assert_eq!(
        world.peers[2].invocations.len() + world.peers[1].invocations.len(),
        1
    );
    answer(&mut world, 2, 1);
    answer(&mut world, 1, 1);
    assert_eq!(world.answered, (1, 0));
    world.finish();
}

#[test]
fn a_callee_has_a_bound_of_open_invocations() {
    let mut world = three();
    for client in [0, 2, 3, 4, 5] {
        call(&mut world, client, 0);
        world.deliver_all();
    }
    assert_eq!(world.peers[1].invocations.len(), INVOCATIONS_MAX);
    assert_eq!(world.answered, (0, 2));
    world.finish();
}

#[test]
fn failures_are_named() {
    let mut dealer = Dealer::new(DealerOptions {
        me: ReactorId(0),
        reactors: 1,
        hash_key: [1; 16],
        seed: 1,
        apart: Prefixes::default(),
        registrations_max: 1,
        calls_max: 1,
        invocations_max: 1,
    });
    let mut out = Vec::new();
    let call = Call {
        caller: Client(1),
        request: 7,
        procedure: "nobody.knows",
        wants_progress: false,
        timeout: 0,
        payload: 0u64,
    };
    assert_eq!(dealer.call(call, 0, &mut out), Ok(()));
    let [Output::ToClient(Client(1), notice)] = &out[..] else {
        panic!("{out:?}");
    };
    let expected = Notice::Answer {
        request: 7,
        answer: Answer::Failed(Failure::NoSuchProcedure),
    };
    assert_eq!(*notice, expected);
    assert_eq!(dealer.counts(), DealerCounts::default());
}
