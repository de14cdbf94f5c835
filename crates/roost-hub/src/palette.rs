//! What each connection gets in one tick, without a copy or a list per connection.
//!
//! The palette holds the tick's frames once. A connection holds one number, its *state*: 0 is
//! nothing yet, every other state is "what another state had, then this frame". States form a
//! tree, and connections with the same history stand on the same state: all subscribers of a
//! channel, say. Each state remembers the last step taken from it, so the next connection takes
//! the same step without a search. A step that was forgotten in between makes a twin state: the
//! same frames, shared by fewer.
//!
//! The palette never looks at connections. Whoever moves a connection to a new state stores what
//! [`Palette::append`] returns, and [`Palette::leave`]s when a connection goes before the tick
//! ends.

/// The size of a frame, for the sums the palette keeps.
pub trait FrameBytes {
    /// Length on the wire, in bytes.
    fn frame_bytes(&self) -> usize;
}

/// A frame of this tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameIndex(pub u32);

/// The frames of a tick and the states that connections stand on.
#[derive(Debug)]
pub struct Palette<T> {
    frames: Vec<T>,
    /// The first is "nothing": no frame, no parent.
    states: Vec<State>,
}

#[derive(Debug)]
struct State {
    parent: u32,
    frame: FrameIndex,
    bytes: u64,
    len: u32,
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
        len: 0,
        connections: 0,
        step_frame: FrameIndex(0),
        step_state: 0,
    };
}

impl<T: FrameBytes> Palette<T> {
    /// An empty palette.
    pub fn new() -> Self {
        Palette {
            frames: Vec::new(),
            states: vec![State::NOTHING],
        }
    }

    /// Adds a frame to the tick.
    ///
    /// # Panics
    /// At 2^32 frames in one tick.
    pub fn push(&mut self, frame: T) -> FrameIndex {
        let index = u32::try_from(self.frames.len()).expect("a tick has fewer than 2^32 frames");
        self.frames.push(frame);
        FrameIndex(index)
    }

    /// Moves one connection from `state` to "what `state` had, then `frame`" and returns that.
    ///
    /// # Panics
    /// When `state` or `frame` is not of this tick, or at 2^32 states in one tick.
    pub fn append(&mut self, state: u32, frame: FrameIndex) -> u32 {
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
            len: from.len + 1,
            connections: 1,
            ..State::NOTHING
        };
        self.states.push(joined);
        next
    }

    /// One connection no longer stands on `state`: it goes before the tick ends.
    pub fn leave(&mut self, state: u32) {
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
    pub fn clear(&mut self) {
        self.frames.clear();
        self.states.clear();
        self.states.push(State::NOTHING);
    }

    /// Gives memory back beyond what a tick of this many frames and states needs; of use between
    /// ticks.
    pub fn shrink_to(&mut self, frames: usize, states: usize) {
        self.frames.shrink_to(frames);
        self.states.shrink_to(states);
    }

    /// The frame itself.
    pub fn frame(&self, frame: FrameIndex) -> &T {
        &self.frames[frame.0 as usize]
    }

    /// Fills `into` with the frames of `state`, in the order they were appended.
    pub fn frames(&self, state: u32, into: &mut Vec<FrameIndex>) {
        into.clear();
        let mut at = state;
        while at != 0 {
            let state = &self.states[at as usize];
            into.push(state.frame);
            at = state.parent;
        }
        into.reverse();
    }

    /// What `state` sums up to on the wire, in bytes.
    pub fn bytes(&self, state: u32) -> u64 {
        self.states[state as usize].bytes
    }

    /// How many frames `state` has.
    pub fn len(&self, state: u32) -> u32 {
        self.states[state as usize].len
    }

    /// How many connections stand on `state`; 0 for state 0, on which all the others are.
    pub fn connections(&self, state: u32) -> u32 {
        self.states[state as usize].connections
    }

    /// Whether no frame was pushed in this tick.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// How many states there are besides 0: they are numbered from 1 up to this.
    pub fn states(&self) -> u32 {
        self.states.len() as u32 - 1
    }

    /// States there is room for.
    pub fn capacity(&self) -> usize {
        self.states.capacity()
    }

    /// Heap bytes held.
    pub fn memory_bytes(&self) -> usize {
        self.frames.capacity() * size_of::<T>() + self.states.capacity() * size_of::<State>()
    }
}

impl<T: FrameBytes> Default for Palette<T> {
    fn default() -> Self {
        Palette::new()
    }
}
