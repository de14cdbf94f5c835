//! The dealer of one reactor: calls and invocations of its clients, and the procedures at home here.
//!
//! What its clients do stands here, what items from other dealers do in `items`.

mod items;
mod registrations;

pub use registrations::Registrations;

use std::collections::BTreeSet;

use hashbrown::HashMap;
use roost_hub::{Homes, Name, ReactorId};

use crate::calls::{Call as OpenCall, ClientRecord, Registered, Step};
use crate::ids::{Address, CallRef, Client, InvocationRef};
use crate::item::{
    Answer, Call, CallError, CancelMode, Failure, Interrupt, Item, NeverInvoked, Notice, Output,
    Procedure, Register, RegisterError,
};
use crate::options::{DealerCounts, DealerLimits, DealerOptions};
use crate::procedures::Registry;
use crate::state::{DealerState, StateError};

/// Calls and procedures of one reactor. See the crate's documentation.
#[derive(Debug)]
pub struct Dealer<P> {
    options: DealerOptions,
    /// The reactor where all procedures are registered.
    home: ReactorId,
    /// Its procedures, if that is here.
    registry: Registry,
    clients: HashMap<Client, Box<ClientRecord>, Keys>,
    /// When open calls with a limit are overdue.
    deadlines: BTreeSet<(u32, Client, u64)>,
    /// The last call's.
    serial: u32,
    /// Of clients here.
    open: Open,
    /// Whether [`Output::Registration`] is said.
    reports_registrations: bool,
    payload: std::marker::PhantomData<fn(P)>,
}

/// How many of each clients here have.
#[derive(Debug, Clone, Copy, Default)]
struct Open {
    registrations: usize,
    calls: usize,
    invocations: usize,
}

/// Names of clients are the reactor's own numbers.
type Keys = std::hash::BuildHasherDefault<KeyHasher>;

/// Spreads a client's name.
#[derive(Debug, Default)]
struct KeyHasher(u64);

impl std::hash::Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = roost_random::mix(self.0 ^ number);
    }
}

impl<P> Dealer<P> {
    /// Most registrations, open calls and open invocations of a client from now on. What is above stays.
    pub fn set_limits(&mut self, limits: DealerLimits) {
        let DealerLimits {
            registrations_max,
            calls_max,
            invocations_max,
        } = limits;
        self.options.registrations_max = registrations_max;
        self.options.calls_max = calls_max;
        self.options.invocations_max = invocations_max;
    }

    /// A dealer without clients and procedures.
    pub fn new(options: DealerOptions) -> Dealer<P> {
        Dealer {
            home: Homes::new(&options.hash_key, options.reactors).home_of(PROCEDURES),
            registry: Registry::new(&options),
            clients: HashMap::default(),
            deadlines: BTreeSet::new(),
            serial: 0,
            open: Open::default(),
            reports_registrations: false,
            payload: std::marker::PhantomData,
            options,
        }
    }

    /// A dealer that goes on where the one of this state was. `options` name the same reactor among as many, and
    /// the same hash key.
    pub fn import(options: DealerOptions, state: DealerState) -> Result<Dealer<P>, StateError> {
        let DealerState {
            registrations,
            seats,
            clients,
            serial,
        } = state;
        let mut dealer = Dealer::new(options);
        dealer.registry = Registry::from_state(&dealer.options, (registrations, seats))?;
        dealer.serial = serial;
        for state in clients {
            let (client, record) = ClientRecord::from_state(state);
            if record.is_idle() || dealer.clients.contains_key(&client) {
                return Err(StateError::Client(client));
            }
            dealer.open.registrations += record.registrations.len();
            dealer.open.calls += record.calls.len();
            dealer.open.invocations += record.invocations.len();
            for (&request, call) in &record.calls {
                if call.timeout > 0 && call.is_open() {
                    dealer.deadlines.insert((call.deadline, client, request));
                }
            }
            dealer.clients.insert(client, Box::new(record));
        }
        dealer.debug_check();
        Ok(dealer)
    }

    /// Takes the dealer apart, with all that [`Dealer::import`] needs to go on. Outputs that are not done yet and
    /// items under way are the caller's.
    pub fn export(self) -> DealerState {
        let Dealer {
            options: _, // the caller's
            home: _,    // follows from them
            registry,
            clients,
            deadlines: _, // the calls', as the next
            serial,
            open: _,
            reports_registrations: _, // as the dealer is set up
            payload: _,
        } = self;
        let (registrations, seats) = registry.into_state();
        let clients = clients.into_iter();
        let mut clients: Vec<_> = clients
            .map(|(client, record)| record.into_state(client))
            .collect();
        clients.sort_unstable_by_key(|one| one.client);
        DealerState {
            registrations,
            seats,
            clients,
            serial,
        }
    }

    /// A client offers a procedure. [`Notice::Registered`] or [`Notice::RegisterRefused`] follows,
    /// unless the error is returned.
    pub fn register(
        &mut self,
        register: Register<'_>,
        now: u32,
        out: &mut Vec<Output<P>>,
    ) -> Result<(), RegisterError> {
        let Register {
            callee,
            name,
            matching,
            policy,
            features,
            session,
            token,
        } = register;
        let record = self.clients.entry(callee).or_default();
        let count = record.registrations.len() + record.pending as usize;
        if count >= self.options.registrations_max as usize {
            self.drop_if_idle(callee);
            return Err(RegisterError::TooMany);
        }
        record.pending += 1;
        record.features = features;
        let procedure = Procedure {
            name: Name::from(name),
            matching,
        };
        let item = Item::Register {
            policy,
            callee,
            session,
            token,
            procedure,
        };
        self.deliver(self.home, item, now, out);
        self.debug_check();
        Ok(())
    }

    /// A client no longer offers a procedure. Calls that it has stay open. False if it has no such
    /// registration.
    pub fn unregister(
        &mut self,
        callee: Client,
        registration: u64,
        out: &mut Vec<Output<P>>,
    ) -> bool {
        let record = self.clients.get_mut(&callee);
        let Some(gone) = record.and_then(|record| record.registrations.remove(&registration))
        else {
            return false;
        };
        self.open.registrations -= 1;
        self.vacate(gone, out);
        self.drop_if_idle(callee);
        self.debug_check();
        true
    }

    /// Calls a procedure. One answer follows that is not [`Answer::Progress`], unless the error is
    /// returned or the caller leaves.
    pub fn call(
        &mut self,
        call: Call<'_, P>,
        now: u32,
        out: &mut Vec<Output<P>>,
    ) -> Result<(), CallError> {
        let Call {
            caller,
            request,
            procedure,
            wants_progress,
            timeout,
            payload,
        } = call;
        let record = self.clients.entry(caller).or_default();
        if record.calls.contains_key(&request) {
            return Err(CallError::RequestInUse);
        }
        if record.calls.len() >= self.options.calls_max as usize {
            self.drop_if_idle(caller);
            return Err(CallError::TooMany);
        }
        self.serial = self.serial.wrapping_add(1);
        let open = OpenCall::new(self.serial, wants_progress, timeout, now);
        if timeout > 0 {
            self.deadlines.insert((open.deadline, caller, request));
        }
        record.calls.insert(request, open);
        self.open.calls += 1;
        let item = Item::Call {
            call: CallRef {
                caller: self.address(caller),
                request,
                serial: self.serial,
            },
            procedure: Name::from(procedure),
            wants_progress,
            payload,
        };
        self.deliver(self.home, item, now, out);
        self.debug_check();
        Ok(())
    }

    /// A caller no longer wants a call. Of one that is answered, nothing follows.
    pub fn cancel(
        &mut self,
        caller: Client,
        request: u64,
        mode: CancelMode,
        out: &mut Vec<Output<P>>,
    ) {
        self.step(caller, request, |call| call.cancel(mode), out);
        self.debug_check();
    }

    /// A callee answers an invocation. What is late, or unwanted, is dropped.
    pub fn answer(
        &mut self,
        callee: Client,
        invocation: u64,
        answer: Answer<P>,
        now: u32,
        out: &mut Vec<Output<P>>,
    ) -> Result<(), NeverInvoked> {
        let record = self.clients.get_mut(&callee).ok_or(NeverInvoked)?;
        let Some(open) = record.invocations.get(&invocation) else {
            return match record.was_invoked(invocation) {
                true => Ok(()), // it was given up
                false => Err(NeverInvoked),
            };
        };
        let call = open.call;
        if matches!(answer, Answer::Progress(_)) {
            if !open.wants_progress {
                return Ok(());
            }
        } else {
            record.invocations.remove(&invocation);
            self.open.invocations -= 1;
        }
        self.reply(call, answer, now, out);
        self.debug_check();
        Ok(())
    }

    /// A client has gone: its calls, its invocations and its registrations end. Nothing is said to
    /// it from here on.
    pub fn leave(&mut self, client: Client, now: u32, out: &mut Vec<Output<P>>) {
        if self.clients.is_empty() {
            return;
        }
        let Some(record) = self.clients.remove(&client) else {
            return;
        };
        let ClientRecord {
            calls,
            registrations,
            pending: _, // answered to a client that is not there
            invocations,
            ..
        } = *record;
        self.open.calls -= calls.len();
        self.open.registrations -= registrations.len();
        self.open.invocations -= invocations.len();
        for (_, gone) in registrations {
            self.vacate(gone, out);
        }
        for (_, invocation) in invocations {
            let answer = Answer::Failed(Failure::CalleeLeft);
            self.reply(invocation.call, answer, now, out);
        }
        for (request, mut call) in calls {
            if call.timeout > 0 {
                self.deadlines.remove(&(call.deadline, client, request));
            }
            if let Some((invocation, interrupt)) = call.leave() {
                self.give_up(invocation, interrupt, out);
            }
        }
        self.debug_check();
    }

    /// Answers calls that are overdue.
    pub fn expire(&mut self, now: u32, out: &mut Vec<Output<P>>) {
        while self.due() <= now {
            let Some((_, caller, request)) = self.deadlines.pop_first() else {
                return;
            };
            self.step(caller, request, OpenCall::time_out, out);
        }
        self.debug_check();
    }

    /// The tick at which the first call is overdue; `u32::MAX` is never.
    pub fn due(&self) -> u32 {
        self.deadlines.first().map_or(u32::MAX, |&(due, ..)| due)
    }

    /// Takes in what another reactor's dealer has sent.
    pub fn handle(&mut self, from: ReactorId, item: Item<P>, now: u32, out: &mut Vec<Output<P>>) {
        self.take(from, item, now, out);
        self.debug_check();
    }

    /// Whether [`Output::Registration`] says of registrations at home here that they change.
    pub fn set_reports_registrations(&mut self, reports: bool) {
        self.reports_registrations = reports;
    }

    /// The reactor where all procedures are registered.
    pub fn home(&self) -> ReactorId {
        self.home
    }

    /// The registrations at home here: none where the home is another reactor.
    pub fn registrations(&self) -> Registrations<'_> {
        Registrations(&self.registry)
    }

    /// How many of each there are.
    pub fn counts(&self) -> DealerCounts {
        let Open {
            registrations,
            calls,
            invocations,
        } = self.open;
        DealerCounts {
            clients: self.clients.len(),
            procedures: self.registry.len(),
            registrations,
            calls,
            invocations,
        }
    }

    /// Does something to a call, and what follows from it.
    fn step(
        &mut self,
        caller: Client,
        request: u64,
        act: impl FnOnce(&mut OpenCall) -> Step,
        out: &mut Vec<Output<P>>,
    ) {
        let record = self.clients.get_mut(&caller);
        let Some(call) = record.and_then(|record| record.calls.get_mut(&request)) else {
            return;
        };
        let Step {
            give_up,
            answer,
            ends,
        } = act(call);
        let (timeout, deadline) = (call.timeout, call.deadline);
        if answer.is_some() && timeout > 0 {
            self.deadlines.remove(&(deadline, caller, request));
        }
        if ends {
            self.end(caller, request);
        }
        if let Some((invocation, interrupt)) = give_up {
            self.give_up(invocation, interrupt, out);
        }
        if let Some(failure) = answer {
            let answer = Answer::Failed(failure);
            let notice = Notice::Answer { request, answer };
            out.push(Output::ToClient(caller, notice));
        }
    }

    /// A call that is open, or whose invocation is still to be given up.
    fn find(&mut self, call: CallRef) -> Option<&mut OpenCall> {
        debug_assert_eq!(call.caller.reactor, self.options.me);
        let record = self.clients.get_mut(&call.caller.client)?;
        let found = record.calls.get_mut(&call.request)?;
        (found.serial == call.serial).then_some(found)
    }

    /// Forgets a call.
    fn end(&mut self, caller: Client, request: u64) {
        let record = self.clients.get_mut(&caller);
        if let Some(call) = record.and_then(|record| record.calls.remove(&request)) {
            self.open.calls -= 1;
            if call.timeout > 0 {
                self.deadlines.remove(&(call.deadline, caller, request));
            }
            self.drop_if_idle(caller);
        }
    }

    /// Answers a call, wherever its caller is.
    fn reply(&mut self, call: CallRef, answer: Answer<P>, now: u32, out: &mut Vec<Output<P>>) {
        let item = Item::Answer { call, answer };
        self.deliver(call.caller.reactor, item, now, out);
    }

    /// Gives an invocation up, wherever its callee is.
    fn give_up(
        &mut self,
        invocation: InvocationRef,
        interrupt: Option<Interrupt>,
        out: &mut Vec<Output<P>>,
    ) {
        let InvocationRef { callee, invocation } = invocation;
        let item = Item::GiveUp {
            callee: callee.client,
            invocation,
            interrupt,
        };
        self.send(callee.reactor, item, out);
    }

    /// Leaves a place in a registration.
    fn vacate(&mut self, registered: Registered, out: &mut Vec<Output<P>>) {
        let Registered { procedure, seat } = registered;
        self.send(self.home, Item::Unregister { procedure, seat }, out);
    }

    /// As [`Dealer::deliver`], of what does not depend on the time.
    fn send(&mut self, to: ReactorId, item: Item<P>, out: &mut Vec<Output<P>>) {
        self.deliver(to, item, 0, out);
    }

    /// Sends an item; one for this very reactor is taken in at once.
    fn deliver(&mut self, to: ReactorId, item: Item<P>, now: u32, out: &mut Vec<Output<P>>) {
        if to == self.options.me {
            self.take(to, item, now, out);
        } else {
            out.push(Output::ToReactor(to, item));
        }
    }

    fn address(&self, client: Client) -> Address {
        Address {
            reactor: self.options.me,
            client,
        }
    }

    /// Forgets a client that there is nothing to know of.
    fn drop_if_idle(&mut self, client: Client) {
        if self
            .clients
            .get(&client)
            .is_some_and(|record| record.is_idle())
        {
            self.clients.remove(&client);
            let is_sparse = self.clients.len() < self.clients.capacity() / 4;
            if is_sparse && self.clients.capacity() > CLIENTS_KEPT {
                self.clients.shrink_to(self.clients.len() * 2);
            }
        }
    }

    fn debug_check(&self) {
        if cfg!(debug_assertions) && self.clients.len() <= CHECKED_MAX {
            self.check_invariants();
        }
    }

    /// What always holds between two calls.
    fn check_invariants(&self) {
        if self.registry.len() <= CHECKED_MAX {
            self.registry.check_invariants();
        }
        let mut open = Open::default();
        let mut limited = 0;
        for (&client, record) in &self.clients {
            assert!(!record.is_idle(), "{client:?} has nothing");
            open.calls += record.calls.len();
            open.registrations += record.registrations.len();
            open.invocations += record.invocations.len();
            for (&request, call) in &record.calls {
                let deadline = (call.deadline, client, request);
                let is_limited = call.timeout > 0 && call.is_open();
                assert_eq!(self.deadlines.contains(&deadline), is_limited);
                limited += usize::from(is_limited);
            }
        }
        assert_eq!(
            self.deadlines.len(),
            limited,
            "a deadline is an open call's"
        );
        let Open {
            registrations,
            calls,
            invocations,
        } = self.open;
        assert_eq!(calls, open.calls);
        assert_eq!(registrations, open.registrations);
        assert_eq!(invocations, open.invocations);
    }
}

/// What the home of procedures is chosen by: one for all, so that calls to one callee keep their
/// order. No channel has this name.
const PROCEDURES: &str = "";
/// Room for so many clients is kept.
const CLIENTS_KEPT: usize = 64;
/// Of so many clients the invariants are checked after each call, in debug builds.
const CHECKED_MAX: usize = 32;
