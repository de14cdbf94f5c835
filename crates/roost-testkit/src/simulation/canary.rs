//! The control thread's canary in a simulation: what it hears was sent, once and in order.

use std::collections::HashMap;

use roost_dialect::PayloadRef;
use roost_reactor::{
    Canary, CanaryStep, ControlPeer, ControlPublication, Placement, Refusal, Shared, Tap, Tapped,
    Token,
};

/// The canary, and what is known of it.
pub(super) struct Probes {
    canary: Canary,
    shared: Shared,
    /// Of which reactor, and which probe.
    sent: HashMap<Token, (usize, u64)>,
    /// By reactor: the offset of the last one that was heard.
    offsets: Vec<u64>,
    heard: u64,
}

impl Probes {
    pub(super) fn new(peer: &ControlPeer, shared: &Shared) -> Probes {
        let channels = (0..peer.reactors()).map(|home| peer.canary_of(home));
        Probes {
            canary: Canary::new(channels.collect(), INTERVAL_NS, 0),
            shared: shared.clone(),
            sent: HashMap::new(),
            offsets: vec![0; peer.reactors()],
            heard: 0,
        }
    }

    /// Does what is due. Returns what will be answered.
    pub(super) fn send_due(&mut self, peer: &mut ControlPeer, now_ns: u64) -> Vec<Token> {
        let mut tokens = Vec::new();
        while let Some(step) = self.canary.next_step(now_ns, self.shared.registry()) {
            let (CanaryStep::Listen { home } | CanaryStep::Publish { home, .. }) = step;
            let channel = self.canary.channel(home).clone();
            assert_eq!(
                peer.home_of(&channel),
                home,
                "each has a channel of its own"
            );
            let is_sent = match step {
                CanaryStep::Listen { .. } => peer.listen(&channel, tap_of(home)).is_ok(),
                CanaryStep::Publish { number, .. } => {
                    let publication = ControlPublication {
                        channel,
                        payload: PayloadRef::Text(&number.to_string()).freeze(),
                        is_limited: false,
                        repeat_key: None,
                    };
                    let sent = peer.publish(home, vec![publication]);
                    sent.is_ok_and(|token| {
                        self.sent.insert(token, (home, number));
                        tokens.push(token);
                        true
                    })
                }
            };
            self.canary.sent(step, is_sent);
        }
        tokens
    }

    pub(super) fn listening(&mut self, number: u32, now_ns: u64) {
        self.canary.listening(number as usize, now_ns);
    }

    /// Whether the answer is one to a probe.
    pub(super) fn answered(
        &mut self,
        token: Token,
        outcomes: &[Result<Placement, Refusal>],
    ) -> bool {
        let Some((home, number)) = self.sent.remove(&token) else {
            return false;
        };
        let [outcome] = outcomes else {
            panic!("one probe, and not one outcome: {outcomes:?}");
        };
        self.canary.placed(home, number, outcome.map(|_| ()));
        true
    }

    pub(super) fn hear(&mut self, heard: &[Tapped], now_ns: u64) {
        for one in heard {
            let home = one.tap as usize;
            assert!(
                self.offsets[home] < one.offset,
                "{one:?} comes out of order"
            );
            self.offsets[home] = one.offset;
            let payload = one.payload().expect("it is small");
            // Late ones are known as well, but for those that were given up.
            self.heard += u64::from(self.canary.heard(home, payload, now_ns).is_some());
        }
    }

    pub(super) fn heard(&self) -> u64 {
        self.heard
    }
}

fn tap_of(home: usize) -> Tap {
    Tap {
        number: u32::try_from(home).expect("few reactors"),
        is_gathered: false,
    }
}

/// Much shorter than in life: a run takes a few seconds.
const INTERVAL_NS: u64 = 200_000_000;
