//! One procedure: its callees in the order of registration, and which of them is next.

use roost_hub::Name;
use roost_random::SplitMix64;

use crate::ids::Address;
use crate::item::{Match, Policy, Procedure, RegisterError};
use crate::state::RegistrationState;

/// A procedure that has callees.
#[derive(Debug)]
pub(crate) struct Callees {
    name: Name,
    /// The registration's number.
    registration: u64,
    policy: Policy,
    /// The tick of the first callee.
    created: u32,
    /// Ascending by seat; never empty.
    seats: Vec<Seat>,
    /// The seat that was called last, for [`Policy::RoundRobin`].
    last: u64,
}

/// A callee's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seat {
    number: u64,
    callee: Callee,
}

/// Who offers a procedure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Callee {
    pub(crate) address: Address,
    /// As in [`crate::Register::session`].
    pub(crate) session: u64,
}

/// Who is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) registration: u64,
    pub(crate) seat: u64,
    pub(crate) callee: Address,
}

impl Callees {
    /// A procedure and its first callee.
    pub(crate) fn new(
        name: Name,
        registration: u64,
        policy: Policy,
        (seat, callee): (u64, Callee),
        created: u32,
    ) -> Callees {
        Callees {
            name,
            registration,
            policy,
            created,
            seats: vec![Seat {
                number: seat,
                callee,
            }],
            last: 0,
        }
    }

    /// Takes the procedure apart.
    pub(crate) fn into_state(self, matching: Match) -> RegistrationState {
        let Callees {
            name,
            registration,
            policy,
            created,
            seats,
            last,
        } = self;
        let apart = |seat: Seat| {
            let Seat { number, callee } = seat;
            let Callee { address, session } = callee;
            (number, address, session)
        };
        RegistrationState {
            number: registration,
            procedure: Procedure { name, matching },
            policy,
            created,
            last,
            callees: seats.into_iter().map(apart).collect(),
        }
    }

    /// The procedure of a state, and how it is matched.
    pub(crate) fn from_state(state: RegistrationState) -> (Match, Callees) {
        let RegistrationState {
            number,
            procedure,
            policy,
            created,
            last,
            callees,
        } = state;
        let Procedure { name, matching } = procedure;
        let seats = callees.into_iter().map(|(number, address, session)| Seat {
            number,
            callee: Callee { address, session },
        });
        let callees = Callees {
            name,
            registration: number,
            policy,
            created,
            seats: seats.collect(),
            last,
        };
        (matching, callees)
    }

    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    pub(crate) fn registration(&self) -> u64 {
        self.registration
    }

    pub(crate) fn policy(&self) -> Policy {
        self.policy
    }

    /// The tick of the first callee.
    pub(crate) fn created(&self) -> u32 {
        self.created
    }

    /// The callees' sessions, in the order of registration.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = u64> {
        self.seats.iter().map(|seat| seat.callee.session)
    }

    /// One more callee, behind all others. One has one place.
    pub(crate) fn add(
        &mut self,
        policy: Policy,
        seat: u64,
        callee: Callee,
    ) -> Result<(), RegisterError> {
        if self.policy == Policy::Single {
            return Err(RegisterError::AlreadyExists);
        }
        if self.policy != policy {
            return Err(RegisterError::OtherPolicy);
        }
        let is_here = |seat: &Seat| seat.callee.address == callee.address;
        if self.seats.iter().any(is_here) {
            return Err(RegisterError::AlreadyExists);
        }
        if self.seats.len() >= CALLEES_MAX {
            return Err(RegisterError::NoRoom);
        }
        self.seats.push(Seat {
            number: seat,
            callee,
        });
        Ok(())
    }

    /// The callee in this place has gone: its session. `None` if there is none.
    pub(crate) fn remove(&mut self, seat: u64) -> Option<u64> {
        let found = self.seats.binary_search_by_key(&seat, |seat| seat.number);
        Some(self.seats.remove(found.ok()?).callee.session)
    }

    /// Whether no callee is left: the procedure has gone.
    pub(crate) fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// Who is called next.
    pub(crate) fn choose(&mut self, random: &mut SplitMix64) -> Chosen {
        let count = self.seats.len();
        let at = match self.policy {
            Policy::Single | Policy::First => 0,
            Policy::Last => count - 1,
            Policy::Random => usize::try_from(random.below(count as u64)).unwrap_or_default(),
            Policy::RoundRobin => {
                let behind = self.seats.partition_point(|seat| seat.number <= self.last);
                if behind < count { behind } else { 0 }
            }
        };
        let Seat { number, callee } = self.seats[at];
        self.last = number;
        Chosen {
            registration: self.registration,
            seat: number,
            callee: callee.address,
        }
    }
}

/// Callees of one procedure: a callee that goes moves those behind it, 100 KB at most.
const CALLEES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use roost_hub::ReactorId;

    use super::*;
    use crate::ids::Client;

    fn callee(number: u64) -> Callee {
        Callee {
            address: Address {
                reactor: ReactorId(0),
                client: Client(number),
            },
            session: number + 1000,
        }
    }

    fn callees(policy: Policy) -> Callees {
        let mut callees = Callees::new(Name::from("p"), 1, policy, (10, callee(10)), 0);
        for seat in [20, 30] {
            assert_eq!(callees.add(policy, seat, callee(seat)), Ok(()));
        }
        callees
    }

    fn chosen(callees: &mut Callees, calls: usize) -> Vec<u64> {
        let mut random = SplitMix64::new(7);
        let seats = (0..calls).map(|_| callees.choose(&mut random));
        seats
            .inspect(|chosen| assert_eq!(chosen.callee.client.0, chosen.seat))
            .map(|chosen| chosen.seat)
            .collect()
    }

    #[test]
    fn each_policy_chooses_its_way() {
        assert_eq!(chosen(&mut callees(Policy::First), 3), [10, 10, 10]);
        assert_eq!(chosen(&mut callees(Policy::Last), 3), [30, 30, 30]);
        assert_eq!(
            chosen(&mut callees(Policy::RoundRobin), 4),
            [10, 20, 30, 10]
        );
        let random = chosen(&mut callees(Policy::Random), 300);
        for seat in [10, 20, 30] {
            let count = random.iter().filter(|&&one| one == seat).count();
            assert!((60..=140).contains(&count), "seat {seat}: {count} of 300");
        }
    }

    #[test]
    fn round_robin_goes_on_behind_a_callee_that_has_gone() {
        let mut callees = callees(Policy::RoundRobin);
        assert_eq!(chosen(&mut callees, 2), [10, 20]);
        assert_eq!(callees.remove(20), Some(1020));
        assert_eq!(callees.remove(20), None);
        assert_eq!(chosen(&mut callees, 3), [30, 10, 30]);
        assert_eq!(callees.remove(30), Some(1030));
        assert_eq!(callees.sessions().collect::<Vec<_>>(), [1010]);
        assert_eq!(callees.remove(10), Some(1010));
        assert!(callees.is_empty());
    }

    #[test]
    fn a_second_callee_comes_only_under_the_same_shared_policy() {
        let mut shared = callees(Policy::First);
        for policy in [Policy::Single, Policy::Last, Policy::Random] {
            assert_eq!(
                shared.add(policy, 40, callee(40)),
                Err(RegisterError::OtherPolicy)
            );
        }
        let mut single = Callees::new(Name::from("p"), 1, Policy::Single, (10, callee(10)), 0);
        for policy in [Policy::Single, Policy::First] {
            assert_eq!(
                single.add(policy, 40, callee(40)),
                Err(RegisterError::AlreadyExists)
            );
        }
    }

    #[test]
    fn a_callee_has_one_place() {
        let mut callees = callees(Policy::First);
        let again = callees.add(Policy::First, 40, callee(20));
        assert_eq!(again, Err(RegisterError::AlreadyExists));
        assert_eq!(callees.remove(20), Some(1020));
        assert_eq!(callees.add(Policy::First, 50, callee(20)), Ok(()));
    }

    #[test]
    fn the_number_of_callees_has_a_bound() {
        let mut callees = Callees::new(Name::from("p"), 1, Policy::Random, (0, callee(0)), 0);
        for seat in 1..CALLEES_MAX as u64 {
            assert_eq!(callees.add(Policy::Random, seat, callee(seat)), Ok(()));
        }
        let error = Err(RegisterError::NoRoom);
        assert_eq!(callees.add(Policy::Random, 1 << 40, callee(1 << 40)), error);
    }
}
