//! The palette against a list of frames for each connection.

use proptest::prelude::*;
use roost_hub::{FrameBytes, FrameIndex, Palette};

#[derive(Debug, Clone, PartialEq)]
struct Sized(usize);

impl FrameBytes for Sized {
    fn frame_bytes(&self) -> usize {
        self.0
    }
}

#[derive(Debug, Clone)]
enum Op {
    Push(usize),
    /// The last frame but so many goes to these connections.
    Append(usize, Vec<usize>),
    Leave(usize),
    Clear,
}

const CONNECTIONS: usize = 12;

fn op() -> impl Strategy<Value = Op> {
    let connections = prop::collection::vec(0..CONNECTIONS, 1..CONNECTIONS);
    prop_oneof![
        4 => (0..1000usize).prop_map(Op::Push),
        6 => (0..3usize, connections).prop_map(|(f, c)| Op::Append(f, c)),
        1 => (0..CONNECTIONS).prop_map(Op::Leave),
        1 => Just(Op::Clear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_connection_gets_its_own_frames(ops in prop::collection::vec(op(), 1..40)) {
        let mut palette = Palette::new();
        let mut pushed: Vec<FrameIndex> = Vec::new();
        let mut states = [0; CONNECTIONS];
        let mut model: [Vec<FrameIndex>; CONNECTIONS] = Default::default();
        let mut found = Vec::new();
        for op in ops {
            match op {
                Op::Push(bytes) => pushed.push(palette.push(Sized(bytes))),
                Op::Append(back, connections) => {
                    let Some(&frame) = pushed.iter().rev().nth(back) else {
                        continue;
                    };
                    for connection in connections {
                        states[connection] = palette.append(states[connection], frame);
                        model[connection].push(frame);
                    }
                }
                Op::Leave(connection) => {
                    palette.leave(states[connection]);
                    states[connection] = 0;
                    model[connection].clear();
                }
                Op::Clear => {
                    palette.clear();
                    pushed.clear();
                    states = [0; CONNECTIONS];
                    model = Default::default();
                }
            }
            for (&state, frames) in states.iter().zip(&model) {
                palette.frames(state, &mut found);
                prop_assert_eq!(&found, frames);
                prop_assert_eq!(palette.len(state) as usize, frames.len());
                let bytes: usize = frames.iter().map(|&f| palette.frame(f).0).sum();
                prop_assert_eq!(palette.bytes(state), bytes as u64);
            }
            for state in 1..=palette.states() {
                let standing = states.iter().filter(|&&s| s == state).count();
                prop_assert_eq!(palette.connections(state) as usize, standing);
            }
        }
    }
}

#[test]
fn subscribers_with_one_history_share_one_state() {
    let mut palette = Palette::new();
    let [first, second, other] = [10, 20, 30].map(|bytes| palette.push(Sized(bytes)));
    let mut states = vec![0; 1000];
    for frame in [first, second] {
        for state in &mut states {
            *state = palette.append(*state, frame);
        }
    }
    assert!(states.iter().all(|&state| state == states[0]));
    assert_eq!(palette.states(), 2);
    assert_eq!(palette.connections(states[0]), 1000);
    // One in two gets another frame; the others stay together.
    for state in states.iter_mut().step_by(2) {
        *state = palette.append(*state, other);
    }
    assert_eq!(palette.states(), 3);
    assert_eq!(palette.connections(states[0]), 500);
    assert_eq!(palette.connections(states[1]), 500);
    assert_eq!(
        (palette.bytes(states[0]), palette.bytes(states[1])),
        (60, 30)
    );
}
