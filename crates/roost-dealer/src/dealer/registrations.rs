//! What there is to know of the procedures at home here: for clients that ask, and for those that want to be
//! told of changes.

use crate::item::{Match, Output, Procedure, Registration, RegistrationChange, RegistrationEvent};
use crate::procedures::{Callees, Left, Place, Registry};

/// The registrations at home here, to look at.
#[derive(Debug, Clone, Copy)]
pub struct Registrations<'a>(pub(super) &'a Registry);

impl<'a> Registrations<'a> {
    /// The one of this number.
    pub fn get(self, number: u64) -> Option<Registration> {
        let (procedure, callees) = self.0.numbered(number)?;
        Some(registration_of(procedure, callees))
    }

    /// The number of the one of this very name or pattern.
    pub fn find(self, procedure: &Procedure) -> Option<u64> {
        Some(self.0.find(procedure)?.registration())
    }

    /// The one that a call of this name goes to: its number, and what is registered.
    pub fn matching(self, name: &str) -> Option<(u64, &'a Procedure)> {
        let number = self.0.find_matching(name)?.registration();
        let (procedure, _) = self.0.numbered(number)?;
        Some((number, procedure))
    }

    /// Those behind a number, ascending: a walk goes on where it was interrupted.
    pub fn behind(self, number: u64) -> impl Iterator<Item = (u64, &'a str, Match)> {
        let behind = self.0.numbers_behind(number);
        behind.map(|(number, procedure)| (number, procedure.name.as_str(), procedure.matching))
    }

    /// The callees of one, as [`crate::Register::session`], in the order of registration.
    pub fn callees(self, number: u64) -> impl Iterator<Item = u64> + 'a {
        let found = self.0.numbered(number);
        found
            .into_iter()
            .flat_map(|(_, callees)| callees.sessions())
    }

    /// A registration of this very name or pattern, if it is there.
    pub(super) fn of(self, procedure: &Procedure) -> Option<Registration> {
        let callees = self.0.find(procedure)?;
        Some(registration_of(procedure, callees))
    }

    /// A callee has come.
    pub(super) fn report_registered<P>(self, session: u64, place: Place, out: &mut Vec<Output<P>>) {
        let registration = self.get(place.registration);
        let registration = registration.expect("it was registered just now");
        if place.is_first {
            let created = RegistrationChange::Created;
            out.push(report(session, registration.clone(), created));
        }
        out.push(report(
            session,
            registration,
            RegistrationChange::Registered,
        ));
    }
}

/// A callee has left.
pub(super) fn report_left<P>(registration: Registration, left: Left, out: &mut Vec<Output<P>>) {
    let session = left.session;
    let unregistered = RegistrationChange::Unregistered;
    out.push(report(session, registration.clone(), unregistered));
    if left.is_last {
        out.push(report(session, registration, RegistrationChange::Deleted));
    }
}

fn report<P>(session: u64, registration: Registration, change: RegistrationChange) -> Output<P> {
    Output::Registration(Box::new(RegistrationEvent {
        session,
        registration,
        change,
    }))
}

fn registration_of(procedure: &Procedure, callees: &Callees) -> Registration {
    Registration {
        number: callees.registration(),
        procedure: procedure.clone(),
        policy: callees.policy(),
        created: callees.created(),
    }
}
