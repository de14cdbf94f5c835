//! The calls of one WAMP peer: what it calls and offers, and that each call has one answer of its own.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// A peer's own part in calls. It writes JSON, which the peer sends in its serializer.
#[derive(Debug, Default)]
pub(super) struct Calls {
    open: BTreeSet<u64>,
    answered: u64,
    /// Invocations that it was asked and does not answer, and whose calls they are.
    held: BTreeMap<u64, CallId>,
}

/// A call: its caller's index, and its request.
pub(super) type CallId = (usize, u64);

impl Calls {
    pub(super) fn has_room(&self) -> bool {
        self.open.len() < CALLS_MAX
    }

    /// Peer `index` calls a procedure that some peers have and others do not, and cancels some of the
    /// calls. One in four may take any time.
    pub(super) fn begin(&mut self, index: usize, request: u64) -> Vec<String> {
        self.open.insert(request);
        let procedure = request % 3;
        let timeout = if has_timeout(request) { 500 } else { 0 };
        let mut messages = vec![format!(
            r#"[48,{request},{{"timeout":{timeout},"receive_progress":true}},"urn:rpc.{procedure}",[{request},{index}]]"#
        )];
        if request.is_multiple_of(5) {
            let mode = ["skip", "kill", "killnowait"][(request / 5 % 3) as usize];
            messages.push(format!(r#"[49,{request},{{"mode":"{mode}"}}]"#));
        }
        messages
    }

    /// Peer `index` is called: it answers progressively, with an error, or not, as one that takes its
    /// time with all.
    pub(super) fn answer(&mut self, index: usize, invocation: u64, args: &Value) -> Vec<String> {
        match index % 3 {
            0 => vec![
                format!(r#"[70,{invocation},{{"progress":true}},{args}]"#),
                format!("[70,{invocation},{{}},{args}]"),
            ],
            1 => {
                let number = |at: usize| args[at].as_u64().unwrap_or(0);
                self.held
                    .insert(invocation, (number(1) as usize, number(0)));
                Vec::new()
            }
            _ => vec![format!(r#"[8,68,{invocation},{{}},"rpc.error",{args}]"#)],
        }
    }

    /// INTERRUPT: the call is over, unless its caller waits for what this peer says to that.
    pub(super) fn take_interrupt(&mut self, message: &[Value]) {
        if message[2]["mode"] != "kill" {
            self.held.remove(&message[1].as_u64().unwrap_or(0));
        }
    }

    /// An answer: to a call that is open, and of that call. Nothing but the last one ends it.
    pub(super) fn take_answer(&mut self, message: &[Value]) -> Result<(), String> {
        let is_result = message[0] == 50;
        let request_at = if is_result { 1 } else { 2 };
        let request = message[request_at].as_u64().unwrap_or(0);
        let is_progress = message[request_at + 1]["progress"] == true;
        let is_open = match is_progress {
            true => self.open.contains(&request),
            false => self.open.remove(&request),
        };
        if !is_open {
            return Err(format!("an answer to no open call: {message:?}"));
        }
        let from_callee = is_result || message.get(4).is_some_and(|error| error == "rpc.error");
        let args = message.get(if is_result { 3 } else { 5 });
        if from_callee && args.is_none_or(|args| args[0] != request) {
            return Err(format!("the answer to another call: {message:?}"));
        }
        self.answered += u64::from(!is_progress);
        Ok(())
    }

    /// Requests that are not answered, of calls that have a limit and of those that have none.
    pub(super) fn open(&self) -> (Vec<u64>, Vec<u64>) {
        self.open.iter().partition(|&&request| has_timeout(request))
    }

    /// Calls that this peer was asked and does not answer.
    pub(super) fn held(&self) -> impl Iterator<Item = CallId> {
        self.held.values().copied()
    }

    /// How many calls were answered.
    pub(super) fn answered(&self) -> u64 {
        self.answered
    }
}

/// The role of callee as the peer of this number announces it: some can be interrupted.
pub(super) fn callee_role(index: usize) -> &'static str {
    match can_be_interrupted(index) {
        true => r#"{"features":{"call_canceling":true,"progressive_call_results":true}}"#,
        false => "{}",
    }
}

pub(super) fn can_be_interrupted(index: usize) -> bool {
    index.is_multiple_of(4)
}

/// The procedure that the peer of this number offers, if it does.
pub(super) fn registration(index: usize, request: u64) -> String {
    let procedure = index / 2 % 2;
    format!(r#"[64,{request},{{"invoke":"roundrobin"}},"urn:rpc.{procedure}"]"#)
}

/// Whether the router is to end the call.
fn has_timeout(request: u64) -> bool {
    !request.is_multiple_of(4)
}

/// Open calls of a peer, so that no limit of the server's is met.
const CALLS_MAX: usize = 8;
