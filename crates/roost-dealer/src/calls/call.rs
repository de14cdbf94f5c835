//! One open call, as its caller's reactor keeps it.
//!
//! The caller's reactor decides alone when a call has been answered, and says so once: an answer
//! that finds no call is late, and dropped. A call whose invocation is not known yet and that was
//! answered meanwhile (canceled, timed out) stays until the invocation is known, which is then given
//! up: an invocation is given up or answered, but never left.
//!
//! ```text
//!                  invoked                  answer
//! Routing(Wanted) ─────────▶ Invoked ──────────────────▶ gone
//!   │ kill                     │ kill: Invoked(killed)
//!   ▼                          │ skip, killnowait, timeout
//! Routing(Killed) ── invoked ──┤
//!   │ skip, killnowait, timeout▼
//!   ▼                        gone, invocation given up
//! Routing(Answered) ── invoked or answer ──▶ gone
//! ```

use crate::ids::InvocationRef;
use crate::item::{CancelMode, Failure, Interrupt};
use crate::state::{CallStage, CallState};

/// An open call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) serial: u32,
    pub(crate) wants_progress: bool,
    /// Ticks from one result to the next; 0 is no limit.
    pub(crate) timeout: u32,
    /// The tick at which the next result is overdue, if there is a limit.
    pub(crate) deadline: u32,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// On its way to a callee.
    Routing(Fate),
    /// A callee has it.
    Invoked {
        invocation: InvocationRef,
        can_interrupt: bool,
        is_killed: bool,
    },
}

/// What becomes of a call when its invocation is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Wanted,
    /// The callee is interrupted, and its answer awaited.
    Killed,
    /// The caller has its answer; the callee is told this.
    Answered(Option<Interrupt>),
}

/// What follows, in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// What the callee is told.
    pub(crate) give_up: Option<(InvocationRef, Option<Interrupt>)>,
    /// The caller's answer.
    pub(crate) answer: Option<Failure>,
    /// The call is gone.
    pub(crate) ends: bool,
}

impl Call {
    pub(crate) fn new(serial: u32, wants_progress: bool, timeout: u32, now: u32) -> Call {
        Call {
            serial,
            wants_progress,
            timeout,
            deadline: now.saturating_add(timeout),
            stage: Stage::Routing(Fate::Wanted),
        }
    }

    /// Takes the call apart that has this number.
    pub(crate) fn into_state(self, request: u64) -> CallState {
        let Call {
            serial,
            wants_progress,
            timeout,
            deadline,
            stage,
        } = self;
        CallState {
            request,
            serial,
            wants_progress,
            timeout,
            deadline,
            stage: match stage {
                Stage::Routing(Fate::Wanted) => CallStage::Routing,
                Stage::Routing(Fate::Killed) => CallStage::RoutingKilled,
                Stage::Routing(Fate::Answered(interrupt)) => CallStage::RoutingAnswered(interrupt),
                Stage::Invoked {
                    invocation,
                    can_interrupt,
                    is_killed,
                } => CallStage::Invoked {
                    invocation,
                    can_interrupt,
                    is_killed,
                },
            },
        }
    }

    /// The call of a state, with its number.
    pub(crate) fn from_state(state: CallState) -> (u64, Call) {
        let CallState {
            request,
            serial,
            wants_progress,
            timeout,
            deadline,
            stage,
        } = state;
        let stage = match stage {
            CallStage::Routing => Stage::Routing(Fate::Wanted),
            CallStage::RoutingKilled => Stage::Routing(Fate::Killed),
            CallStage::RoutingAnswered(interrupt) => Stage::Routing(Fate::Answered(interrupt)),
            CallStage::Invoked {
                invocation,
                can_interrupt,
                is_killed,
            } => Stage::Invoked {
                invocation,
                can_interrupt,
                is_killed,
            },
        };
        let call = Call {
            serial,
            wants_progress,
            timeout,
            deadline,
            stage,
        };
        (request, call)
    }

    /// Whether the caller still awaits an answer.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.stage, Stage::Routing(Fate::Answered(_)))
    }

    /// Whether progressive results are the caller's: it wants them, and has not canceled the call.
    pub(crate) fn takes_progress(&self) -> bool {
        let is_killed = matches!(
            self.stage,
            Stage::Invoked {
                is_killed: true,
                ..
            }
        );
        self.wants_progress && self.is_open() && !is_killed
    }

    /// A callee has it.
    #[must_use]
    pub(crate) fn on_invoked(&mut self, invocation: InvocationRef, can_interrupt: bool) -> Step {
        let Stage::Routing(fate) = self.stage else {
            debug_assert!(false, "a call is invoked once");
            return Step::default();
        };
        self.stage = Stage::Invoked {
            invocation,
            can_interrupt,
            is_killed: false,
        };
        match fate {
            Fate::Wanted => Step::default(),
            Fate::Killed => self.cancel(CancelMode::Kill),
            Fate::Answered(interrupt) => Step {
                give_up: Some((invocation, interrupt.filter(|_| can_interrupt))),
                answer: None,
                ends: true,
            },
        }
    }

    /// The caller no longer wants it.
    #[must_use]
    pub(crate) fn cancel(&mut self, mode: CancelMode) -> Step {
        match (&mut self.stage, mode) {
            (Stage::Routing(Fate::Answered(_)), _) => Step::default(),
            (Stage::Routing(fate), CancelMode::Kill) => {
                *fate = Fate::Killed;
                Step::default()
            }
            (
                Stage::Invoked {
                    invocation,
                    can_interrupt: true,
                    is_killed,
                },
                CancelMode::Kill,
            ) => {
                let was_killed = std::mem::replace(is_killed, true);
                let invocation = *invocation;
                Step {
                    give_up: (!was_killed).then_some((invocation, Some(Interrupt::Kill))),
                    answer: None,
                    ends: false,
                }
            }
            // WAMP, "Call Canceling": if the callee does not support it, the behavior is skip.
            (_, CancelMode::Skip | CancelMode::Kill) => self.give_up(None, Failure::Canceled),
            (_, CancelMode::KillNoWait) => {
                self.give_up(Some(Interrupt::KillNoWait), Failure::Canceled)
            }
        }
    }

    /// It is not answered in time.
    #[must_use]
    pub(crate) fn time_out(&mut self) -> Step {
        self.give_up(Some(Interrupt::KillNoWait), Failure::TimedOut)
    }

    /// The caller has gone. What the callee is told, if it is known; else it is when it gets known,
    /// for there is no such call then.
    pub(crate) fn leave(&mut self) -> Option<(InvocationRef, Option<Interrupt>)> {
        match self.stage {
            Stage::Routing(_) => None,
            Stage::Invoked { .. } => self.time_out().give_up,
        }
    }

    /// The caller is answered now, whatever the callee will say.
    fn give_up(&mut self, interrupt: Option<Interrupt>, failure: Failure) -> Step {
        match &mut self.stage {
            Stage::Routing(Fate::Answered(_)) => Step::default(),
            Stage::Routing(fate) => {
                *fate = Fate::Answered(interrupt);
                Step {
                    give_up: None,
                    answer: Some(failure),
                    ends: false,
                }
            }
            Stage::Invoked {
                invocation,
                can_interrupt,
                is_killed,
            } => {
                let interrupts = *can_interrupt && !*is_killed;
                Step {
                    give_up: Some((*invocation, interrupt.filter(|_| interrupts))),
                    answer: Some(failure),
                    ends: true,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use roost_hub::ReactorId;

    use super::*;
    use crate::ids::{Address, Client};

    const INVOCATION: InvocationRef = InvocationRef {
        callee: Address {
            reactor: ReactorId(1),
            client: Client(2),
        },
        invocation: 3,
    };
    const NOTHING: Step = Step {
        give_up: None,
        answer: None,
        ends: false,
    };

    fn call() -> Call {
        Call::new(1, true, 0, 0)
    }

    fn invoked(can_interrupt: bool) -> Call {
        let mut call = call();
        assert_eq!(call.on_invoked(INVOCATION, can_interrupt), NOTHING);
        call
    }

    fn told(interrupt: Option<Interrupt>) -> Step {
        Step {
            give_up: Some((INVOCATION, interrupt)),
            answer: None,
            ends: true,
        }
    }

    fn answered(failure: Failure) -> Step {
        Step {
            give_up: None,
            answer: Some(failure),
            ends: false,
        }
    }

    #[test]
    fn skip_and_killnowait_answer_at_once() {
        for (mode, interrupt) in [
            (CancelMode::Skip, None),
            (CancelMode::KillNoWait, Some(Interrupt::KillNoWait)),
        ] {
            let mut call = invoked(true);
            let answer = Some(Failure::Canceled);
            assert_eq!(
                call.cancel(mode),
                Step {
                    answer,
                    ..told(interrupt)
                }
            );
            let mut call = invoked(false);
            assert_eq!(
                call.cancel(mode),
                Step {
                    answer,
                    ..told(None)
                }
            );
        }
    }

    #[test]
    fn kill_waits_for_a_callee_that_can_be_interrupted() {
        let mut call = invoked(true);
        let killed = Step {
            ends: false,
            ..told(Some(Interrupt::Kill))
        };
        assert_eq!(call.cancel(CancelMode::Kill), killed);
        assert!(call.is_open() && !call.takes_progress());
        assert_eq!(
            call.cancel(CancelMode::Kill),
            NOTHING,
            "it is interrupted once"
        );
        let canceled = Step {
            answer: Some(Failure::Canceled),
            ..told(None)
        };
        assert_eq!(call.cancel(CancelMode::KillNoWait), canceled);
        assert_eq!(invoked(false).cancel(CancelMode::Kill), canceled);
    }

    #[test]
    fn what_is_canceled_on_its_way_is_given_up_when_it_arrives() {
        for (mode, interrupt) in [
            (CancelMode::Skip, None),
            (CancelMode::KillNoWait, Some(Interrupt::KillNoWait)),
        ] {
            for can_interrupt in [false, true] {
                let mut call = call();
                assert_eq!(call.cancel(mode), answered(Failure::Canceled));
                assert!(!call.is_open());
                assert_eq!(call.cancel(mode), NOTHING, "it is answered once");
                assert_eq!(call.time_out(), NOTHING);
                let told = told(interrupt.filter(|_| can_interrupt));
                assert_eq!(call.on_invoked(INVOCATION, can_interrupt), told);
            }
        }
    }

    #[test]
    fn what_is_killed_on_its_way_is_interrupted_when_it_arrives() {
        let mut call = call();
        assert_eq!(call.cancel(CancelMode::Kill), NOTHING);
        let killed = Step {
            ends: false,
            ..told(Some(Interrupt::Kill))
        };
        assert_eq!(call.on_invoked(INVOCATION, true), killed);
        let mut call = self::call();
        assert_eq!(call.cancel(CancelMode::Kill), NOTHING);
        let canceled = Step {
            answer: Some(Failure::Canceled),
            ..told(None)
        };
        assert_eq!(call.on_invoked(INVOCATION, false), canceled);
        let mut call = self::call();
        assert_eq!(call.cancel(CancelMode::Kill), NOTHING);
        assert_eq!(call.time_out(), answered(Failure::TimedOut));
    }

    #[test]
    fn the_callee_is_told_when_its_caller_leaves() {
        assert_eq!(call().leave(), None);
        assert_eq!(invoked(false).leave(), Some((INVOCATION, None)));
        let interrupt = Some(Interrupt::KillNoWait);
        assert_eq!(invoked(true).leave(), Some((INVOCATION, interrupt)));
    }
}
