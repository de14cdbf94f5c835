//! What a dealer does with items: at the home of procedures, at the callee, and at the caller.

use roost_hub::ReactorId;

use super::Dealer;
use super::registrations::report_left;
use crate::calls::{Call as OpenCall, Invocation, Registered};
use crate::ids::{Address, CallRef, Client, InvocationRef};
use crate::item::{
    Answer, Failure, Interrupt, Item, Notice, Output, Policy, Procedure, RegisterError,
};
use crate::procedures::{Callee, Chosen};

impl<P> Dealer<P> {
    pub(super) fn take(
        &mut self,
        from: ReactorId,
        item: Item<P>,
        now: u32,
        out: &mut Vec<Output<P>>,
    ) {
        match item {
            Item::Register {
                procedure,
                policy,
                callee,
                session,
                token,
            } => {
                let callee = Callee {
                    address: Address {
                        reactor: from,
                        client: callee,
                    },
                    session,
                };
                self.take_register(procedure, policy, (callee, token), now, out);
            }
            Item::Registered {
                callee,
                token,
                procedure,
                registration,
                seat,
            } => {
                let registered = Registered { procedure, seat };
                self.take_registered((callee, token), registration, registered, out);
            }
            Item::RegisterRefused {
                callee,
                token,
                error,
            } => self.refuse(callee, token, error, out),
            Item::Unregister { procedure, seat } => {
                self.take_unregister(procedure, seat, out);
            }
            Item::Call { .. } => self.route(item, now, out),
            Item::Invoke { .. } => self.invoke(item, now, out),
            Item::Invoked {
                call,
                invocation,
                can_interrupt,
            } => self.take_invoked(call, invocation, can_interrupt, out),
            Item::Answer { call, answer } => self.take_answer(call, answer, now, out),
            Item::GiveUp {
                callee,
                invocation,
                interrupt,
            } => self.take_give_up(callee, invocation, interrupt, out),
        }
    }

    /// At home: one more callee.
    fn take_register(
        &mut self,
        procedure: Procedure,
        policy: Policy,
        (callee, token): (Callee, u64),
        now: u32,
        out: &mut Vec<Output<P>>,
    ) {
        let Callee { address, session } = callee;
        let Address { reactor, client } = address;
        let registered = self.registry.register(&procedure, policy, callee, now);
        if let (Ok(place), true) = (registered, self.reports_registrations) {
            let registrations = self.registrations();
            registrations.report_registered(session, place, out);
        }
        let answer = match registered {
            Ok(place) => Item::Registered {
                callee: client,
                token,
                procedure,
                registration: place.registration,
                seat: place.seat,
            },
            Err(error) => Item::RegisterRefused {
                callee: client,
                token,
                error,
            },
        };
        self.send(reactor, answer, out);
    }

    /// At home: a callee has left its place.
    fn take_unregister(&mut self, procedure: Procedure, seat: u64, out: &mut Vec<Output<P>>) {
        let before = match self.reports_registrations {
            true => self.registrations().of(&procedure),
            false => None,
        };
        let left = self.registry.unregister(&procedure, seat);
        debug_assert!(left.is_some(), "a seat is left once");
        if let Some((registration, left)) = before.zip(left) {
            report_left(registration, left, out);
        }
    }

    /// At the callee: it is one.
    fn take_registered(
        &mut self,
        (callee, token): (Client, u64),
        registration: u64,
        registered: Registered,
        out: &mut Vec<Output<P>>,
    ) {
        let Some(record) = self.clients.get_mut(&callee) else {
            return self.vacate(registered, out); // it has left
        };
        if record.registrations.contains_key(&registration) {
            // A client has one place in a procedure.
            self.vacate(registered, out);
            return self.refuse(callee, token, RegisterError::AlreadyExists, out);
        }
        record.pending -= 1;
        record.registrations.insert(registration, registered);
        self.open.registrations += 1;
        let notice = Notice::Registered {
            token,
            registration,
        };
        out.push(Output::ToClient(callee, notice));
    }

    fn refuse(
        &mut self,
        callee: Client,
        token: u64,
        error: RegisterError,
        out: &mut Vec<Output<P>>,
    ) {
        if let Some(record) = self.clients.get_mut(&callee) {
            record.pending -= 1;
            let notice = Notice::RegisterRefused { token, error };
            out.push(Output::ToClient(callee, notice));
            self.drop_if_idle(callee);
        }
    }

    /// At home: chooses whom a call goes to.
    fn route(&mut self, item: Item<P>, now: u32, out: &mut Vec<Output<P>>) {
        let Item::Call {
            call,
            procedure,
            wants_progress,
            payload,
        } = item
        else {
            return;
        };
        let exact = self.registry.choose(&procedure);
        let is_pattern = exact.is_none();
        let chosen = exact.or_else(|| self.registry.choose_by_pattern(&procedure));
        let Some(Chosen {
            registration,
            seat,
            callee,
        }) = chosen
        else {
            let answer = Answer::Failed(Failure::NoSuchProcedure);
            return self.reply(call, answer, now, out);
        };
        let item = Item::Invoke {
            callee: callee.client,
            seat,
            registration,
            call,
            procedure,
            is_pattern,
            wants_progress,
            payload,
        };
        self.deliver(callee.reactor, item, now, out);
    }

    /// At the callee: it is called.
    fn invoke(&mut self, item: Item<P>, now: u32, out: &mut Vec<Output<P>>) {
        let Item::Invoke {
            callee,
            seat,
            registration,
            call,
            procedure,
            is_pattern,
            wants_progress,
            payload,
        } = item
        else {
            return;
        };
        let invocations_max = self.options.invocations_max as usize;
        let record = self.clients.get_mut(&callee).filter(|record| {
            let registered = record.registrations.get(&registration);
            registered.is_some_and(|registered| registered.seat == seat)
        });
        let Some(record) = record else {
            // It has left its place meanwhile, and the home gets to know: it chooses again.
            let item = Item::Call {
                call,
                procedure,
                wants_progress,
                payload,
            };
            return self.deliver(self.home, item, now, out);
        };
        if record.invocations.len() >= invocations_max {
            let answer = Answer::Failed(Failure::CalleeBusy);
            return self.reply(call, answer, now, out);
        }
        // WAMP, "Progressive Call Results", also wants that the callee can be interrupted. Stock
        // clients announce the one and not the other, and Crossbar does not ask for both.
        let can_interrupt = record.features.interrupt;
        let wants_progress = wants_progress && record.features.progress;
        let invocation = record.invoke(Invocation {
            call,
            wants_progress,
        });
        self.open.invocations += 1;
        let notice = Notice::Invocation {
            invocation,
            registration,
            procedure: is_pattern.then_some(procedure),
            wants_progress,
            payload,
        };
        out.push(Output::ToClient(callee, notice));
        let callee = self.address(callee);
        let item = Item::Invoked {
            call,
            invocation: InvocationRef { callee, invocation },
            can_interrupt,
        };
        self.deliver(call.caller.reactor, item, now, out);
    }

    /// At the caller: a callee has the call.
    fn take_invoked(
        &mut self,
        call: CallRef,
        invocation: InvocationRef,
        can_interrupt: bool,
        out: &mut Vec<Output<P>>,
    ) {
        if self.find(call).is_none() {
            // The caller has left.
            let interrupt = can_interrupt.then_some(Interrupt::KillNoWait);
            return self.give_up(invocation, interrupt, out);
        }
        let CallRef {
            caller, request, ..
        } = call;
        let step = |call: &mut OpenCall| call.on_invoked(invocation, can_interrupt);
        self.step(caller.client, request, step, out);
    }

    /// At the caller: an answer.
    fn take_answer(
        &mut self,
        call: CallRef,
        answer: Answer<P>,
        now: u32,
        out: &mut Vec<Output<P>>,
    ) {
        let Some(open) = self.find(call) else {
            return; // it is late
        };
        let (caller, request) = (call.caller.client, call.request);
        let is_progress = matches!(answer, Answer::Progress(_));
        if is_progress && !open.takes_progress() {
            return;
        }
        let (is_open, deadline, timeout) = (open.is_open(), open.deadline, open.timeout);
        if is_progress && timeout > 0 {
            // WAMP, "Progressive Call Results": the limit is that between two results.
            open.deadline = now.saturating_add(timeout);
            let deadline_now = open.deadline;
            self.deadlines.remove(&(deadline, caller, request));
            self.deadlines.insert((deadline_now, caller, request));
        }
        if !is_progress {
            self.end(caller, request);
        }
        if is_open {
            let notice = Notice::Answer { request, answer };
            out.push(Output::ToClient(caller, notice));
        }
    }

    /// At the callee: its caller no longer wants an answer, or is in a hurry.
    fn take_give_up(
        &mut self,
        callee: Client,
        invocation: u64,
        interrupt: Option<Interrupt>,
        out: &mut Vec<Output<P>>,
    ) {
        let Some(record) = self.clients.get_mut(&callee) else {
            return;
        };
        if !record.invocations.contains_key(&invocation) {
            return; // it has answered meanwhile
        }
        if interrupt != Some(Interrupt::Kill) {
            record.invocations.remove(&invocation);
            self.open.invocations -= 1;
        }
        if let Some(interrupt) = interrupt {
            let notice = Notice::Interrupt {
                invocation,
                interrupt,
            };
            out.push(Output::ToClient(callee, notice));
        }
    }
}
