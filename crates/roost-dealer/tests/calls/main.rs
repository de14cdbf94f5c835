//! Whole networks of dealers, with items that arrive in any order that their lanes allow: each call
//! has exactly one answer, and nothing is left at the end.

mod world;

use proptest::prelude::*;
use roost_dealer::state::{DealerState, StateError};
use roost_dealer::{
    Answer, Call, Client, Dealer, DealerCounts, DealerOptions, Failure, Notice, Output,
};
use roost_hub::{Prefixes, ReactorId};

use world::{INVOCATIONS_MAX, Op, World, options};

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
        1 => (0..4usize).prop_map(|reactor| Op::HandOver { reactor }),
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
fn a_state_that_no_dealer_has_is_not_taken_over() {
    let mut world = three();
    call(&mut world, 2, 0);
    world.deliver_all();
    let home = usize::from(world.dealers[0].home().0);
    let mut states = Vec::new();
    for reactor in 0..3 {
        let empty = Dealer::new(options(reactor as u8, 3));
        let dealer = std::mem::replace(&mut world.dealers[reactor], empty);
        states.push(dealer.export());
    }
    let import = |reactor: usize, state: DealerState| {
        let dealer: Result<Dealer<u64>, StateError> =
            Dealer::import(options(reactor as u8, 3), state);
        dealer.err()
    };
    let registration = states[home].registrations[0].clone();
    let number = Some(StateError::Registration(registration.number));
    let mut twice = states[home].clone();
    twice.registrations.push(registration);
    assert_eq!(import(home, twice), number);
    let mut empty = states[home].clone();
    empty.registrations[0].callees.clear();
    assert_eq!(import(home, empty), number);
    let client = states[2].clients[0].clone();
    let mut twice = states[2].clone();
    twice.clients.push(client.clone());
    let refused = Some(StateError::Client(client.client));
    assert_eq!(import(2, twice), refused);
    let mut idle = states[2].clone();
    idle.clients[0].calls.clear();
    assert_eq!(import(2, idle), refused);
    for (reactor, state) in states.into_iter().enumerate() {
        assert_eq!(import(reactor, state), None);
    }
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
