//! What each connection gets in one tick, without a copy or a list per connection.
//!
//! The palette holds the tick's frames once. A connection holds one number, its *state*: 0 is
//! nothing yet, every other state is "what another state had, then this frame". States form a
//! tree, and connections with the same history stand on the same state: all subscribers of a
//! channel, say. Each state remembers the last step taken from it, so the next connection takes
//! the same step without a search. A step that was forgotten in between makes a twin state: the
//! same frames, shared by fewer.
//!
//! The palette never looks at connections. What moves a connection to a new state stores what
//! [`Palette::append`] returns, and [`Palette::leave`]s when a connection goes before the tick
//! ends.

/// The size of a frame, for the sums the palette keeps.
pub(crate) trait FrameBytes {
    /// Length on the wire, in bytes.
    fn frame_bytes(&self) -> usize;
}

/// A frame of this tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FrameIndex(pub(crate) u32);

/// The frames of a tick and the states that connections stand on.
#[derive(Debug)]
pub(crate) struct Palette<T> {
    frames: Vec<T>,
    /// The first is "nothing": no frame, no parent.
    states: Vec<State>,
}

#[derive(Debug)]
struct State {
    parent: u32,
    frame: FrameIndex,
    bytes: u64,
    /// Connections that stand here. Not kept for the first state.
    connections: u32,
    /// The last step taken from here: this frame led to that state; 0 is none.
    step_frame: FrameIndex,
    step_state: u32,
}

const _: () = assert!(size_of::<State>() <= 32);

impl State {
    const NOTHING: State = State {
        parent: 0,
        frame: FrameIndex(0),
        bytes: 0,
        connections: 0,
        step_frame: FrameIndex(0),
        step_state: 0,
    };
}

impl<T: FrameBytes> Palette<T> {
    /// An empty palette.
    pub(crate) fn new() -> Self {
        Palette {
            frames: Vec::new(),
            states: vec![State::NOTHING],
        }
    }

    /// Adds a frame to the tick.
    ///
    /// # Panics
    /// At 2^32 frames in one tick.
    pub(crate) fn push(&mut self, frame: T) -> FrameIndex {
        let index = u32::try_from(self.frames.len()).expect("a tick has fewer than 2^32 frames");
        self.frames.push(frame);
        FrameIndex(index)
    }

    /// Moves one connection from `state` to "what `state` had, then `frame`" and returns that.
    ///
    /// # Panics
    /// When `state` or `frame` is not of this tick, or at 2^32 states in one tick.
    pub(crate) fn append(&mut self, state: u32, frame: FrameIndex) -> u32 {
        let from = &mut self.states[state as usize];
        if state != 0 {
            debug_assert!(
                from.connections > 0,
                "a connection leaves a state it stands on"
            );
            from.connections -= 1;
        }
        if from.step_state != 0 && from.step_frame == frame {
            let next = from.step_state;
            self.states[next as usize].connections += 1;
            return next;
        }
        let frame_bytes = self.frames[frame.0 as usize].frame_bytes() as u64;
        let next = u32::try_from(self.states.len()).expect("a tick has fewer than 2^32 states");
        let from = &mut self.states[state as usize];
        from.step_frame = frame;
        from.step_state = next;
        let joined = State {
            parent: state,
            frame,
            bytes: from.bytes + frame_bytes,
            connections: 1,
            ..State::NOTHING
        };
        self.states.push(joined);
        next
    }

    /// One connection no longer stands on `state`: it goes before the tick ends.
    pub(crate) fn leave(&mut self, state: u32) {
        if state != 0 {
            let from = &mut self.states[state as usize];
            debug_assert!(
                from.connections > 0,
                "a connection leaves a state it stands on"
            );
            from.connections -= 1;
        }
    }

    /// Ends the tick: no frame, no state but 0. Keeps the capacity.
    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        self.states.clear();
        self.states.push(State::NOTHING);
    }

    /// Gives memory back beyond what a tick of this many frames and states needs; of use between
    /// ticks.
    pub(crate) fn shrink_to(&mut self, frames: usize, states: usize) {
        self.frames.shrink_to(frames);
        self.states.shrink_to(states);
    }

    /// The frame itself.
    pub(crate) fn frame(&self, frame: FrameIndex) -> &T {
        &self.frames[frame.0 as usize]
    }

    /// Fills `into` with the frames of `state`, in the order they were appended.
    pub(crate) fn frames(&self, state: u32, into: &mut Vec<FrameIndex>) {
        into.clear();
        let mut at = state;
        while at != 0 {
            let state = &self.states[at as usize];
            into.push(state.frame);
            at = state.parent;
        }
        into.reverse();
    }

    /// The frame of a state that has one alone. State 0 has none and is not asked about.
    #[inline]
    pub(crate) fn only_frame(&self, state: u32) -> Option<FrameIndex> {
        debug_assert_ne!(state, 0);
        let state = &self.states[state as usize];
        (state.parent == 0).then_some(state.frame)
    }

    /// What `state` sums up to on the wire, in bytes.
    pub(crate) fn bytes(&self, state: u32) -> u64 {
        self.states[state as usize].bytes
    }

    /// How many connections stand on `state`; 0 for state 0, on which all the others are.
    pub(crate) fn connections(&self, state: u32) -> u32 {
        self.states[state as usize].connections
    }

    /// Whether no frame was pushed in this tick.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// How many states there are besides 0: they are numbered from 1 up to this.
    pub(crate) fn states(&self) -> u32 {
        let states = u32::try_from(self.states.len());
        states.expect("a tick has fewer than 2^32 states") - 1
    }

    /// States there is room for.
    pub(crate) fn capacity(&self) -> usize {
        self.states.capacity()
    }

    /// Heap bytes held.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.frames.capacity() * size_of::<T>() + self.states.capacity() * size_of::<State>()
    }
}

impl<T: FrameBytes> Default for Palette<T> {
    fn default() -> Self {
        Palette::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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

    #[test]
    fn a_warm_palette_does_not_grow() {
        let mut palette = Palette::new();
        let mut tick = || {
            let mut states = [0; 100];
            for n in 0..50 {
                let frame = palette.push(Sized(n));
                for state in states.iter_mut().skip(n) {
                    *state = palette.append(*state, frame);
                }
            }
            palette.clear();
            palette.memory_bytes()
        };
        let warm = tick();
        assert!(warm > 0);
        assert!((0..10).all(|_| tick() == warm));
    }
}
