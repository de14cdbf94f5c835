//! What is asked of a run at its end: that all is answered, that the drain lets everyone go and leaves nothing,
//! and what was counted.

use roost_reactor::{Events, Pace};

use super::control::Control;
use super::journal::Over;
use super::{Pause, Plan, QUIESCE_NS, Report, Simulation, Told, closes};

impl Simulation {
    /// What was counted over the whole run.
    pub(super) fn write_counts(&self, report: &mut Report) {
        report.trace = self.net.trace_hash();
        report.reloads = self.reloads.begun();
        report.listeners_opened = self.reloads.opened();
        report.costs = self.costs;
        report.control = self
            .control
            .as_ref()
            .map(Control::report)
            .unwrap_or_default();
        report.costs.hostile_bytes = self.hostiles.sent_bytes();
        report.slow_consumers = self.count("slow_consumers_total");
        report.slow_closes_received = self.peers.slow_closes_received();
        report.pings = self.count("pings_sent_total");
        report.paused = self.count("publishers_paused_total");
        report.congestions = self.count("channel_backpressure_total");
        report.budget_closes = self.count("closed_memory_limit_total");
        report.pauses = self.pauses_begun;
        if report.pauses > 0 {
            report.timeouts = self.count("ping_timeouts_total")
                + self.count("handshake_timeouts_total")
                + self.count("close_timeouts_total");
        }
        report.idle = self.count("idle_timeouts_total");
        report.tokens = self.tokens();
        report.ended =
            ["disconnected", "revoked"].map(|how| self.count(&format!("connections_{how}_total")));
        report.hooks = self.hooks();
        report.iterations = self.count("loop_iterations_total");
    }

    /// The script of the HTTP peers is over. Returns how many requests were answered.
    pub(super) fn end_http(&mut self, plan: &Plan) -> Result<u64, String> {
        let Some(http) = &mut self.http else {
            return Ok(0);
        };
        let answered = http.check(plan);
        http.abort_all();
        answered
    }

    /// Sessions that ask have their answers, and vanish.
    pub(super) fn end_askers(&mut self, plan: &Plan) -> Result<(u64, u64), String> {
        if self.askers.is_none() {
            return Ok((0, 0));
        }
        self.run_until(plan.end_ns + plan.rest_ns() + SOAP_SLACK_NS);
        let Some(askers) = &mut self.askers else {
            return Ok((0, 0));
        };
        let checked = askers.check(plan.reliable);
        askers.abort_all();
        checked
    }

    /// The script of the SOAP peers is over: what is open is answered in time. Returns how many requests
    /// were answered, and how many publications were received.
    pub(super) fn end_soap(&mut self, plan: &Plan) -> Result<(u64, u64), String> {
        if self.soap.is_none() {
            return Ok((0, 0));
        }
        let timeout_ns = u64::from(plan.settings.dialects.soap.request_timeout_ms) * 1_000_000;
        let rest_ns = plan.rest_ns() + timeout_ns + SOAP_SLACK_NS;
        self.run_until(plan.end_ns + rest_ns);
        let Some(soap) = &mut self.soap else {
            return Ok((0, 0));
        };
        let checked = soap.check(plan);
        soap.abort_all();
        checked
    }

    /// The script of the Pusher peers is over. Returns how many of their subscriptions were answered, and how
    /// many events were received.
    pub(super) fn end_pusher(&mut self, plan: &Plan) -> Result<(u64, u64), String> {
        self.run_until(plan.end_ns + plan.rest_ns() + SOAP_SLACK_NS);
        let Some(pusher) = &mut self.pusher else {
            return Ok((0, 0));
        };
        let checked = pusher.check(plan);
        pusher.abort_all();
        self.run_until(self.net.now() + GONE_NS);
        checked
    }

    /// The script of the Centrifugo peers is over: their commands are answered in time. Returns how many were,
    /// and how many publications were received.
    pub(super) fn end_centrifugo(&mut self, plan: &Plan) -> Result<[u64; 3], String> {
        if self.centrifugo.is_none() {
            return Ok([0; 3]);
        }
        self.run_until(plan.end_ns + plan.rest_ns() + SOAP_SLACK_NS);
        let Some(centrifugo) = &mut self.centrifugo else {
            return Ok([0; 3]);
        };
        let checked = centrifugo.check(plan);
        let members = centrifugo.members().filter(|_| plan.reliable);
        centrifugo.abort_all();
        let listed = self.count("presence_members") + self.count("presence_unlisted");
        if let Some(members) = members.filter(|&members| members != listed) {
            return Err(format!("{listed} members, and {members} subscriptions"));
        }
        checked
    }

    /// The control thread has ended; its subscribers have all that they will get.
    pub(super) fn end_api(&mut self, plan: &Plan) -> Result<(), String> {
        let (Some(subscribers), Some(control)) = (&mut self.subscribers, &self.control) else {
            return Ok(());
        };
        let checked = subscribers.check(control.published(), plan);
        subscribers.abort_all();
        checked
    }

    /// The script of those that come back is over; what was published has had time to come. Returns how
    /// it was.
    pub(super) fn end_recovering(&mut self, plan: &Plan) -> Result<Told, String> {
        let has_all = plan.reliable && !plan.has_small_budget() && plan.pauses.is_empty();
        let told = self.recovering.check(has_all);
        self.recovering.abort_all();
        told
    }

    /// The script of the guarded clients is over. Returns how many requests were answered.
    pub(super) fn end_guarded(&mut self, plan: &Plan) -> Result<u64, String> {
        let Some(guarded) = &mut self.guarded else {
            return Ok(0);
        };
        let revoked = self.control.as_ref().map(Control::revoked);
        let answered = guarded.check(plan.reliable, &revoked.unwrap_or_default());
        guarded.abort_all();
        answered
    }

    /// Counts the messages dropped in each namespace.
    pub(super) fn count_drops(&self, report: &mut Report) {
        for index in 0..self.reactors.len() {
            let namespaces = self.shared.registry().namespaces(index);
            for (sum, counters) in report.dropped.iter_mut().zip(&namespaces[1..]) {
                report.inflow_limited += counters.publish_rate_limited_total.get();
                *sum += counters.dropped_oldest_total.get()
                    + counters.dropped_newest_total.get()
                    + counters.replaced_total.get();
            }
        }
    }

    /// Handshakes with a token, by what became of it.
    pub(super) fn tokens(&self) -> [u64; 3] {
        let outcomes = ["accepted", "refused", "unchecked"];
        outcomes.map(|outcome| self.count(&format!("tokens_{outcome}_total")))
    }

    pub(super) fn hooks(&self) -> [u64; 3] {
        let outcomes = ["allowed", "refused", "unavailable"];
        outcomes.map(|outcome| self.count(&format!("hooks_{outcome}_total")))
    }

    pub(super) fn check_strangers(&mut self, plan: &Plan) -> Result<(), String> {
        let refused = self.count("origins_refused_total");
        let strangers = self.strangers.as_mut();
        strangers.map_or(Ok(()), |strangers| strangers.check(plan, refused))
    }

    pub(super) fn drain(&mut self, plan: &Plan) -> Result<(), String> {
        let drain_ms = plan.drain_ms;
        let open = self.peers.open();
        let pause = plan.drain_pause.map(|pause| Pause {
            at_ns: self.net.now() + pause.at_ns,
            ..pause
        });
        self.pauses.extend(pause);
        let pace = pace_of(plan);
        self.shared.begin_paced_drain(pace);
        for reactor in self.reactors.iter().flatten() {
            reactor.waker().wake();
        }
        if pace.delay_ms > 0 {
            self.run_until(self.net.now() + u64::from(pace.delay_ms - TICK_MS) * 1_000_000);
            let told = self.count("drain_told_total");
            if told > 0 || self.count("reactors_draining") > 0 {
                return Err(format!(
                    "{told} connections were told before the delay was over"
                ));
            }
        }
        // A close frame may take its time to be answered, and then the peer's FIN.
        let limit_ms = match pace.per_second {
            0 => drain_ms.min(2 * plan.settings.limits.close_timeout_ms),
            _ => pace.timeout_ms + TICK_MS,
        };
        let mut until = self.net.now() + u64::from(limit_ms + DRAIN_SLACK_MS) * 1_000_000;
        if let Some(pause) = pause {
            until += pause.end_ns() - self.net.now() + u64::from(limit_ms) * 1_000_000;
        }
        if plan.settings.events != Events::default() {
            until += EVENTS_WAIT_NS; // for a control thread that has ended
        }
        self.run_until(until);
        let running = self.reactors.iter().flatten().count();
        if running > 0 {
            return Err(format!("{running} reactors still run after the drain"));
        }
        if plan.drain_pause.is_none() && self.ended_homes > 0 {
            let homes = self.ended_homes;
            return Err(format!(
                "the homes of {homes} channels ended before their subscribers had gone"
            ));
        }
        self.run_until(self.net.now() + QUIESCE_NS);
        let over = match plan.drain_pause {
            Some(_) => Over::Connections,
            None => Over::Everything,
        };
        let control = self.control.iter_mut();
        control.for_each(|control| control.end(over));
        // One that went silent shortly before may not have been found out yet.
        let cuts = self.net.counts().cuts - self.cuts_before;
        closes::check_drain(&self.peers, plan, &open, cuts)
    }

    pub(super) fn check_end_state(&mut self) -> Result<(), String> {
        for name in EMPTY_AT_END {
            let mut left = self.count(name);
            if *name == "home_channels" {
                // Some are remembered, which is no leak: they expire.
                left = left.saturating_sub(self.ended_homes + self.count("history_channels"));
            }
            if left != 0 {
                return Err(format!("{name} is {left} at the end"));
            }
        }
        self.peers.abort_all();
        if let Some(strangers) = &mut self.strangers {
            strangers.abort_all();
        }
        let until = self.net.now() + QUIESCE_NS;
        self.run_until(until);
        self.net.run_to_end();
        self.net.check_invariants();
        let leaks = self.net.leaks();
        if !leaks.is_none() {
            return Err(format!("the network still holds {leaks:?}"));
        }
        Ok(())
    }
}

/// Counters that must be zero when all is over.
const EMPTY_AT_END: &[&str] = &[
    "connections_open",
    "websockets_open",
    "event_streams_open",
    "handshakes_in_flight",
    "channels",
    "home_channels",
    "subscriptions",
    "patterns",
    "calls_open",
    "invocations_open",
    "registrations",
    "connections_backlogged",
    "outbox_bytes",
    "input_buffered_bytes",
    "cross_reactor_backlog",
    "presence_channels",
    "presence_members",
    "presence_unlisted",
    "presence_bytes",
];

/// How the run ends: on some seeds after a delay, and so many connections a second. The last one has its time
/// to answer.
fn pace_of(plan: &Plan) -> Pace {
    if !plan.seed.is_multiple_of(5) || plan.drain_pause.is_some() {
        return Pace::at_once(plan.drain_ms);
    }
    Pace {
        delay_ms: 500,
        timeout_ms: plan.drain_ms + 8 * plan.settings.limits.close_timeout_ms,
        per_second: 20,
    }
}

/// A tick of the reactors' clock.
const TICK_MS: u32 = 100;
/// An answer's way, and a tick.
const SOAP_SLACK_NS: u64 = 1_000_000_000;
/// By then the server knows of connections that have just been reset.
const GONE_NS: u64 = 200_000_000;
/// How long a reactor that has nothing else to do waits for the control thread to take its events.
const EVENTS_WAIT_NS: u64 = 1_100_000_000;
/// A tick, and the network's delay.
const DRAIN_SLACK_MS: u32 = 500;
