//! What stops for a while: the whole server, one of its reactors, or server and peers together.
//!
//! The network goes on meanwhile, and so do the peers, but for a jump of the clock. What is promised:
//! no peer that answers is closed for it.

use roost_net::sim::SimRng;

/// A pause, decided before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// When it begins, in nanoseconds.
    pub at_ns: u64,
    /// How long it lasts.
    pub length_ns: u64,
    /// What stops.
    pub what: Stopped,
}

/// What stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// All reactors: SIGSTOP, `docker pause`.
    Process,
    /// One of them: a debugger, a core that is taken.
    Reactor(usize),
    /// Reactors and peers: a machine that slept, or its clock jumped.
    All,
}

impl Pause {
    /// When it is over.
    pub fn end_ns(&self) -> u64 {
        self.at_ns + self.length_ns
    }
}

/// The pauses of a script that begins at `start_ns` and ends at `end_ns`: one before the load, so
/// that no peer is slow because of it, and one behind the script.
pub(super) fn of_seed(seed: u64, reactors: usize, start_ns: u64, end_ns: u64) -> Vec<Pause> {
    let mut rng = SimRng::new(seed ^ 0x9a_05_e5);
    let mut pauses = Vec::new();
    if !rng.per_mille(PAUSED_PER_MILLE) {
        return pauses;
    }
    if rng.per_mille(500) {
        let at_ns = start_ns + MS * rng.between(100, 500);
        let length_ns = MS * rng.between(200, 1_900);
        pauses.push(draw(&mut rng, reactors, at_ns, length_ns));
    }
    if rng.per_mille(700) {
        let at_ns = end_ns + MS * rng.between(10, 1_000);
        let length_ns = MS * rng.between(500, 8_000);
        pauses.push(draw(&mut rng, reactors, at_ns, length_ns));
    }
    pauses
}

/// The pause of the drain, if there is one, in time since it began.
pub(super) fn of_drain(seed: u64, reactors: usize) -> Option<Pause> {
    let mut rng = SimRng::new(seed ^ 0xd4_a1_2e);
    let at_ns = MS * rng.between(0, 300);
    let length_ns = MS * rng.between(500, 4_000);
    let has_one = rng.per_mille(PAUSED_PER_MILLE / 2);
    has_one.then(|| draw(&mut rng, reactors, at_ns, length_ns))
}

fn draw(rng: &mut SimRng, reactors: usize, at_ns: u64, length_ns: u64) -> Pause {
    let what = match rng.below(3) {
        0 => Stopped::Process,
        1 => Stopped::Reactor(rng.below(reactors as u64) as usize),
        _ => Stopped::All,
    };
    Pause {
        at_ns,
        length_ns,
        what,
    }
}

const MS: u64 = 1_000_000;
/// Seeds with pauses, of a thousand.
const PAUSED_PER_MILLE: u32 = 400;
