//! The canary, and what else the control thread hears as a subscriber, on simulated reactors.

use std::collections::HashMap;
use std::time::Duration;

use roost_dialect::PayloadRef;
use roost_net::Driver;
use roost_net::sim::{SimDriver, SimFaults, SimNet, SimOptions};

use crate::control::BrokenHop;
use crate::{
    Canary, CanaryStep, ControlPeer, ControlPublication, FromReactor, Iteration, Name, Part,
    Reactor, Request, Settings, Shared, Tap, Tapped, Token,
};

/// Two reactors and a control thread.
struct Scene {
    net: SimNet,
    shared: Shared,
    /// `None`: it has ended.
    reactors: Vec<Option<Reactor<SimDriver>>>,
    is_stalled: [bool; 2],
    driver: SimDriver,
    peer: ControlPeer,
    canary: Canary,
    probes: HashMap<Token, (usize, u64)>,
    /// What came that is not of the canary.
    heard: Vec<Tapped>,
    answers: Vec<Part>,
}

impl Scene {
    fn new() -> Scene {
        Scene::with(Settings::for_tests())
    }

    fn with(settings: Settings) -> Scene {
        let net = SimNet::new(3, SimFaults::none());
        let shared = Shared::new(settings, 2, 3);
        let reactors = (0..2).map(|id| {
            let driver = net.driver(SimOptions::default());
            Some(Reactor::new(driver, id, shared.clone()))
        });
        let reactors = reactors.collect();
        let driver = net.driver(SimOptions::default());
        let peer = shared.control_peer(driver.waker()).expect("the only one");
        let channels = (0..2).map(|home| peer.canary_of(home)).collect();
        Scene {
            canary: Canary::new(channels, INTERVAL_MS * 1_000_000, net.now()),
            net,
            shared,
            reactors,
            is_stalled: [false; 2],
            driver,
            peer,
            probes: HashMap::new(),
            heard: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// Lets `ms` pass.
    fn run(&mut self, ms: u64) {
        let until = self.net.now() + ms * 1_000_000;
        while self.net.now() < until {
            for (index, slot) in self.reactors.iter_mut().enumerate() {
                let Some(reactor) = slot else { continue };
                let mut has_stopped = false;
                while !has_stopped && !self.is_stalled[index] && reactor.driver.is_due() {
                    let iteration = reactor.run_once();
                    let iteration = iteration.expect("a simulated wait does not fail");
                    has_stopped = iteration == Iteration::Stopped;
                }
                if has_stopped {
                    *slot = None;
                }
            }
            self.read();
            self.probe();
            self.net.advance(Duration::from_millis(1));
        }
    }

    fn read(&mut self) {
        let now = self.net.now();
        while let Some(message) = self.peer.next_message() {
            match message {
                FromReactor::Listening(number) if number < 2 => {
                    self.canary.listening(number as usize, now);
                }
                FromReactor::Tapped(heard) => {
                    for one in heard {
                        match one.tap {
                            home @ 0..2 => {
                                let payload = one.payload().expect("it is small");
                                self.canary.heard(home as usize, payload, now);
                            }
                            _ => self.heard.push(one),
                        }
                    }
                }
                FromReactor::Answer(answer) => match self.probes.remove(&answer.token) {
                    Some((home, number)) => self.canary.placed(home, number, Ok(())),
                    None => self.answers.push(answer.part),
                },
                _ => {}
            }
        }
        if self.peer.may_sleep() {
            let slept = self.driver.wait(Some(Duration::ZERO));
            slept.expect("a simulated wait does not fail");
        }
    }

    fn probe(&mut self) {
        let now = self.net.now();
        while let Some(step) = self.canary.next_step(now, self.shared.registry()) {
            let is_sent = match step {
                CanaryStep::Listen { home } => {
                    let channel = self.canary.channel(home).clone();
                    self.peer.listen(&channel, tap(home as u32, false)).is_ok()
                }
                CanaryStep::Publish { home, number } => {
                    let channel = self.canary.channel(home).clone();
                    match self.publish(home, &channel, &number.to_string()) {
                        Some(token) => {
                            self.probes.insert(token, (home, number));
                            true
                        }
                        None => false,
                    }
                }
            };
            self.canary.sent(step, is_sent);
        }
    }

    fn publish(&mut self, home: usize, channel: &Name, text: &str) -> Option<Token> {
        let publication = ControlPublication {
            channel: channel.clone(),
            payload: PayloadRef::Text(text).freeze(),
            is_limited: false,
            repeat_key: None,
        };
        self.peer.publish(home, vec![publication]).ok()
    }

    fn count(&self, name: &str) -> u64 {
        self.shared.registry().sum(name).expect("a counter")
    }

    /// How long it takes until a reactor is known not to deliver, in milliseconds.
    fn until_broken(&mut self, home: usize) -> (u64, BrokenHop) {
        for ms in 0..20_000 {
            if let Some(hop) = self.canary.broken_hop(home) {
                return (ms, hop);
            }
            self.run(1);
        }
        panic!("nothing is noticed");
    }
}

fn tap(number: u32, is_gathered: bool) -> Tap {
    Tap {
        number,
        is_gathered,
    }
}

#[test]
fn reactors_that_deliver_are_woken_once_an_interval_each_and_count_nothing_of_it() {
    let mut scene = Scene::new();
    scene.run(10_000);
    assert!(scene.canary.problems().is_empty());
    let before = scene.count("loop_iterations_total");
    scene.run(20 * INTERVAL_MS);
    let iterations = scene.count("loop_iterations_total") - before;
    // One may lie at the edge, of each.
    let expected = 2 * 19..=2 * 21;
    assert!(expected.contains(&iterations), "{iterations} wake-ups");
    for name in [
        "publishes_total",
        "home_channels",
        "channels",
        "subscriptions",
    ] {
        assert_eq!(scene.count(name), 0, "{name}");
    }
    let latency = scene.canary.latency_ns(1).expect("it was heard");
    assert!(latency <= 2_000_000, "{latency} ns");
    let request = Request::Channels {
        from: 0,
        limit: 10,
        prefix: Name::from(""),
    };
    for reactor in 0..2 {
        scene
            .peer
            .ask(reactor, request.clone())
            .expect("there is room");
    }
    scene.run(100);
    for part in &scene.answers {
        assert!(
            matches!(part, Part::ChannelsEnd { records, next: None } if records.is_empty()),
            "{part:?}"
        );
    }
    assert_eq!(scene.answers.len(), 2);
}

#[test]
fn a_reactor_that_stands_still_is_found_within_five_seconds_wherever_it_stops() {
    for after_ms in [0, 1, 999, 1_000, 1_500, 1_999] {
        let mut scene = Scene::new();
        scene.run(10_000 + after_ms);
        scene.is_stalled[1] = true;
        let (ms, hop) = scene.until_broken(1);
        assert!(ms <= 5_000, "after {ms} ms");
        assert_eq!(hop, BrokenHop::Stalled);
        assert_eq!(
            scene.canary.problems(),
            ["reactor 1 does not deliver: its loop stands still"]
        );
        scene.is_stalled[1] = false;
        scene.run(2_000);
        assert!(scene.canary.problems().is_empty(), "it goes on");
    }
}

#[test]
fn a_home_that_has_ended_is_found_within_five_seconds() {
    let mut scene = Scene::new();
    scene.run(10_000);
    scene.reactors[0] = None;
    let (ms, hop) = scene.until_broken(0);
    assert!(ms <= 5_000, "after {ms} ms");
    assert_eq!(hop, BrokenHop::Stalled);
    assert_eq!(scene.canary.broken_hop(1), None);
}

#[test]
fn a_full_ring_is_named() {
    let mut scene = Scene::new();
    scene.run(10_000);
    scene.is_stalled[1] = true;
    let channel = scene.canary.channel(1).clone();
    while scene.publish(1, &channel, "of no probe").is_some() {}
    let (ms, hop) = scene.until_broken(1);
    assert!(ms <= 5_000, "after {ms} ms");
    assert_eq!(hop, BrokenHop::RingFull);
    assert_eq!(scene.canary.problems(), ["the ring to reactor 1 is full"]);
    scene.is_stalled[1] = false;
    scene.run(3_000);
    assert!(scene.canary.problems().is_empty());
}

#[test]
fn the_control_thread_hears_a_channel_while_it_listens_and_misses_nothing_of_a_quiet_one() {
    let mut scene = Scene::new();
    let name = Name::from("news");
    let home = scene.peer.home_of(&name);
    scene
        .peer
        .listen(&name, tap(7, true))
        .expect("there is room");
    scene.run(300);
    for n in 0..20 {
        scene
            .publish(home, &name, &format!("{n}"))
            .expect("there is room");
        scene.run(30);
    }
    scene.run(300);
    let texts: Vec<_> = scene.heard.iter().map(|one| one.payload()).collect();
    let expected: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let expected: Vec<_> = expected.iter().map(|text| Some(text.as_bytes())).collect();
    assert_eq!(texts, expected);
    let offsets = scene
        .heard
        .windows(2)
        .all(|two| two[0].offset + 1 == two[1].offset);
    assert!(offsets, "they have no gap");
    scene
        .peer
        .stop_listening(&name, tap(7, true))
        .expect("there is room");
    scene.run(100);
    scene.heard.clear();
    scene
        .publish(home, &name, "unheard")
        .expect("there is room");
    scene.run(300);
    assert!(scene.heard.is_empty());
    assert_eq!(scene.count("home_channels"), 0);
}

#[test]
fn what_is_too_much_to_be_heard_is_dropped_and_leaves_a_gap() {
    let mut scene = Scene::new();
    let name = Name::from("flood");
    let home = scene.peer.home_of(&name);
    scene
        .peer
        .listen(&name, tap(7, true))
        .expect("there is room");
    scene.run(300);
    for _ in 0..64 {
        let flood = (0..64).map(|_| ControlPublication {
            channel: name.clone(),
            payload: PayloadRef::Text("x").freeze(),
            is_limited: false,
            repeat_key: None,
        });
        scene
            .peer
            .publish(home, flood.collect())
            .expect("there is room");
        scene.run(1);
    }
    scene.run(300);
    assert!(scene.answers.len() >= 64, "all are answered");
    let (first, last) = (&scene.heard[0], &scene.heard[scene.heard.len() - 1]);
    let passed = last.offset - first.offset + 1;
    assert!((scene.heard.len() as u64) < passed, "{passed} are there");
    let ascends = scene
        .heard
        .windows(2)
        .all(|two| two[0].offset < two[1].offset);
    assert!(ascends);
}

/// What is looked on at is sent within a tick; a reactor without connections has none left in a drain.
#[test]
fn a_reactor_that_ends_hands_over_what_was_heard_and_its_taps_harm_nothing() {
    let mut scene = Scene::new();
    let names: Vec<Name> = (0..20).map(|n| Name::from(&*format!("c{n}"))).collect();
    for (number, name) in (10..).zip(&names) {
        let tap = tap(number, number % 2 == 0);
        scene.peer.listen(name, tap).expect("there is room");
    }
    scene.run(300);
    scene.shared.begin_drain(0);
    // A reactor sees the drain in the iteration in which it publishes, and ends with it.
    for name in &names {
        let home = scene.peer.home_of(name);
        scene.publish(home, name, "last").expect("there is room");
    }
    scene.run(20);
    assert!(
        scene.reactors.iter().all(Option::is_none),
        "none has a connection"
    );
    let mut heard: Vec<u32> = scene.heard.iter().map(|one| one.tap).collect();
    heard.sort_unstable();
    let all: Vec<u32> = (10..30).collect();
    assert_eq!(heard, all, "each once");
    // Their ends are sent to a ring that nothing reads any more; more of them are refused.
    for (number, name) in (10..).zip(&names) {
        let _ = scene
            .peer
            .stop_listening(name, tap(number, number % 2 == 0));
    }
    let mut refused = 0;
    for _ in 0..100 {
        refused += u32::from(scene.peer.listen(&names[0], tap(99, false)).is_err());
        scene.run(1);
    }
    assert!(refused > 0, "the ring is bounded");
}

const INTERVAL_MS: u64 = 2_000;
