//! The dealer's side of an open session: procedures and calls, in the words of WAMP. It keeps nothing:
//! what is registered and called stands in the dealer.

use std::borrow::Cow;

use roost_dealer::{
    Answer, CallError, CalleeFeatures, CancelMode, Failure, Interrupt, Match, Notice, Policy,
    RegisterError,
};

use super::answers::Answers;
use super::auth::ANONYMOUS;
use super::dict::Sparse;
use super::message::WampMessage;
use super::options::{
    CallOptions, CancelMode as Mode, CancelOptions, Features, InvocationDetails, Invoke,
    Match as Matching, RegisterOptions, ResultDetails, Roles,
};
use super::settings::Names;
use super::{entries, meta, reply, uri};
use crate::dialect::Command;
use crate::{Arguments, CallBody, CallBodyRef, PayloadRef};

/// The numbers of the messages that are answered with ERROR.
const CALL: u64 = 48;
const REGISTER: u64 = 64;
const UNREGISTER: u64 = 66;
const INVOCATION: u64 = 68;

/// What a client announces of itself as a callee.
pub(super) fn callee_features(roles: Option<&Roles>) -> CalleeFeatures {
    let callee = roles.and_then(|roles| roles.callee).unwrap_or_default();
    CalleeFeatures {
        interrupt: callee.has(Features::CALL_CANCELING),
        progress: callee.has(Features::PROGRESSIVE_CALL_RESULTS),
    }
}

/// The session that calls, or offers a procedure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    pub(super) session: u64,
    pub(super) realm: u16,
    pub(super) callee: CalleeFeatures,
}

/// CALL, CANCEL, REGISTER, UNREGISTER, YIELD, and ERROR of an invocation; any other message is
/// no dealer's, and its number comes back.
pub(super) fn handle<'a>(
    caller: Caller,
    message: WampMessage<'a>,
    answers: &mut Answers<'_>,
    names: Names<'_>,
) -> Result<Option<Command<'a>>, u64> {
    let command = match message {
        WampMessage::Call {
            request,
            options,
            procedure,
            arguments,
        } => {
            let call = (request, procedure, arguments);
            return Ok(handle_call(caller, call, options.get(), answers, names));
        }
        WampMessage::Cancel { request, options } => {
            let mode = options.get().and_then(|options| options.mode);
            let mode = match mode {
                Some(Mode::Skip) => CancelMode::Skip,
                Some(Mode::Kill) => CancelMode::Kill,
                // As Crossbar has it without a mode.
                Some(Mode::KillNoWait | Mode::Abort) | None => CancelMode::KillNoWait,
            };
            Command::CancelCall { request, mode }
        }
        WampMessage::Register {
            request,
            options,
            procedure,
        } => {
            let asked = (request, procedure);
            return Ok(handle_register(
                caller,
                asked,
                options.get(),
                answers,
                names,
            ));
        }
        WampMessage::Unregister {
            request,
            registration,
        } => Command::Unregister {
            registration,
            token: request,
        },
        WampMessage::Yield {
            request,
            options,
            arguments,
        } => Command::Answer {
            invocation: request,
            answer: yielded(options.get(), arguments),
        },
        WampMessage::Error {
            request_type: INVOCATION,
            request,
            error,
            arguments,
            ..
        } => Command::Answer {
            invocation: request,
            answer: Answer::Error(body(arguments, Some(error))),
        },
        other => return Err(other.code()),
    };
    Ok(Some(command))
}

fn handle_call<'a>(
    Caller { session, realm, .. }: Caller,
    (request, procedure, arguments): (u64, Cow<'a, str>, Arguments<'a>),
    options: Option<&CallOptions<'_>>,
    answers: &mut Answers<'_>,
    names: Names<'_>,
) -> Option<Command<'a>> {
    if uri::is_reserved(&procedure) && check_procedure(&procedure, Match::Exact, names).is_ok() {
        let asker = (session, realm);
        return handle_own(asker, (request, procedure, arguments), answers, names);
    }
    let refusal = if let Err(message) = check_procedure(&procedure, Match::Exact, names) {
        Some((uri::INVALID_URI, message))
    } else {
        options.and_then(unsupported_in_call)
    };
    if let Some((error, message)) = refusal {
        answers.say_error((CALL, request), error, message);
        return None;
    }
    let has = |option: fn(&CallOptions<'_>) -> Option<bool>| options.and_then(option);
    let is_disclosed = has(|options| options.disclose_me) == Some(true);
    let wants_progress = has(|options| options.receive_progress) == Some(true);
    let caller = is_disclosed.then(|| {
        Box::new(crate::Caller {
            session,
            authid: session.to_string(),
            authrole: ANONYMOUS.to_owned(), // what is known of it otherwise, is filled in later
        })
    });
    Some(Command::Call {
        procedure: names.full(procedure),
        request,
        wants_progress,
        timeout_ms: options.and_then(|options| options.timeout).unwrap_or(0),
        body: CallBodyRef {
            caller,
            ..body(arguments, None)
        },
    })
}

/// CALL of one of the router's procedures.
fn handle_own<'a>(
    (session, realm): (u64, u16),
    (request, procedure, arguments): (u64, Cow<'a, str>, Arguments<'a>),
    answers: &mut Answers<'_>,
    names: Names<'_>,
) -> Option<Command<'a>> {
    let refusal = if let Some(asked) = meta::query((session, realm), &procedure, &arguments) {
        match asked {
            Ok(query) => {
                return Some(Command::AskSessions {
                    takes_permission: meta::is_deadly(&procedure),
                    procedure: names.full(procedure),
                    request,
                    query: Box::new(query),
                });
            }
            Err(refusal) => refusal,
        }
    } else if let Some(asked) = entries::query(realm, &procedure, &arguments, names) {
        match asked {
            Ok(query) => {
                return Some(Command::AskEntries {
                    procedure: names.full(procedure),
                    request,
                    query: Box::new(query),
                });
            }
            Err(refusal) => refusal,
        }
    } else {
        let message = "There is no such procedure; those that begin with wamp. are the router's.";
        (uri::NO_SUCH_PROCEDURE, message)
    };
    answers.say_error((CALL, request), refusal.0, refusal.1);
    None
}

fn handle_register<'a>(
    Caller {
        session, callee, ..
    }: Caller,
    (request, procedure): (u64, Cow<'a, str>),
    options: Option<&RegisterOptions<'_>>,
    answers: &mut Answers<'_>,
    names: Names<'_>,
) -> Option<Command<'a>> {
    let matching = match options.and_then(|options| options.matching) {
        Some(Matching::Exact) | None => Match::Exact,
        Some(Matching::Prefix) => Match::Prefix,
        Some(Matching::Wildcard) => Match::Wildcard,
    };
    let policy = match options.and_then(|options| options.invoke) {
        Some(Invoke::Single) | None => Some(Policy::Single),
        Some(Invoke::RoundRobin) => Some(Policy::RoundRobin),
        Some(Invoke::Random) => Some(Policy::Random),
        Some(Invoke::First) => Some(Policy::First),
        Some(Invoke::Last) => Some(Policy::Last),
        Some(Invoke::All) => None,
    };
    let forces = options.is_some_and(|options| {
        options.force_reregister == Some(true) || options.concurrency.unwrap_or(0) > 0
    });
    let refusal = if let Err(message) = check_procedure(&procedure, matching, names) {
        (uri::INVALID_URI, message)
    } else if uri::is_reserved(&procedure) {
        let message = "Procedures that begin with wamp. are reserved by the protocol.";
        (uri::INVALID_URI, message)
    } else if forces {
        let message = "concurrency and force_reregister are not served: leave them out.";
        (uri::OPTION_NOT_ALLOWED, message)
    } else if let Some(policy) = policy {
        return Some(Command::Register {
            procedure: names.full(procedure),
            matching,
            policy,
            features: callee,
            session,
            token: request,
        });
    } else {
        let message = "invoke must be single, roundrobin, random, first or last.";
        (uri::OPTION_NOT_ALLOWED, message)
    };
    answers.say_error((REGISTER, request), refusal.0, refusal.1);
    None
}

/// What the dealer says.
pub(super) fn on_notice(notice: &Notice<CallBody>, names: Names<'_>, answers: &mut Answers<'_>) {
    let serializer = answers.serializer();
    match notice {
        Notice::Registered {
            token,
            registration,
        } => {
            let registered = WampMessage::Registered {
                request: *token,
                registration: *registration,
            };
            answers.say(&registered);
        }
        Notice::RegisterRefused { token, error } => {
            let (error, message) = register_error(*error);
            answers.say_error((REGISTER, *token), error, message);
        }
        Notice::Invocation {
            invocation,
            registration,
            procedure,
            wants_progress,
            payload,
        } => {
            let procedure = procedure.as_deref().map(|name| names.own(name));
            let details = invocation_details(procedure, *wants_progress, payload);
            payload.payload.with_arguments(serializer, |arguments| {
                let invocation = WampMessage::Invocation {
                    request: *invocation,
                    registration: *registration,
                    details,
                    arguments,
                };
                answers.say(&invocation);
            });
        }
        Notice::Interrupt {
            invocation,
            interrupt,
        } => {
            let mode = match interrupt {
                Interrupt::Kill => Mode::Kill,
                Interrupt::KillNoWait => Mode::KillNoWait,
            };
            let interrupt = WampMessage::Interrupt {
                request: *invocation,
                options: Sparse::of(CancelOptions {
                    mode: Some(mode),
                    ..CancelOptions::default()
                }),
            };
            answers.say(&interrupt);
        }
        Notice::Answer { request, answer } => on_answer(*request, answer, answers),
    }
}

fn on_answer(request: u64, answer: &Answer<CallBody>, answers: &mut Answers<'_>) {
    match answer {
        Answer::Progress(body) => {
            let details = Sparse::of(ResultDetails {
                progress: Some(true),
                ..ResultDetails::default()
            });
            say_result(request, details, body, answers);
        }
        Answer::Result(body) => say_result(request, Sparse::default(), body, answers),
        Answer::Error(body) => {
            let error = body.error.as_deref().unwrap_or(uri::RUNTIME_ERROR);
            let serializer = answers.serializer();
            body.payload.with_arguments(serializer, |arguments| {
                answers.say(&reply::error((CALL, request), error, arguments));
            });
        }
        Answer::Failed(failure) => {
            let (error, message) = failure_error(*failure);
            answers.say_error((CALL, request), error, message);
        }
    }
}

fn say_result(
    request: u64,
    details: Sparse<ResultDetails<'_>>,
    body: &CallBody,
    answers: &mut Answers<'_>,
) {
    let serializer = answers.serializer();
    body.payload.with_arguments(serializer, |arguments| {
        let result = WampMessage::Result {
            request,
            details,
            arguments,
        };
        answers.say(&result);
    });
}

/// The registration has ended, if there was one.
pub(super) fn on_unregistered(token: u64, existed: bool, answers: &mut Answers<'_>) {
    let answer = match existed {
        true => WampMessage::Unregistered {
            request: token,
            details: Sparse::default(),
        },
        false => {
            let error = uri::NO_SUCH_REGISTRATION;
            reply::error((UNREGISTER, token), error, Arguments::NONE)
        }
    };
    answers.say(&answer);
}

/// The call is not made. A number that is in use is a violation, and what it violates comes back:
/// which of the two calls an answer is for could not be said.
pub(super) fn on_call_refused(
    request: u64,
    error: CallError,
    answers: &mut Answers<'_>,
) -> Result<(), &'static str> {
    match error {
        CallError::TooMany => {
            let message = "The session has as many open calls as it may have.";
            answers.say_error((CALL, request), uri::UNAVAILABLE, message);
            Ok(())
        }
        CallError::RequestInUse => {
            Err("Received a CALL with the Request of one that is not answered yet.")
        }
    }
}

/// What a YIELD says.
fn yielded<'a>(
    options: Option<&ResultDetails<'_>>,
    arguments: Arguments<'a>,
) -> Answer<CallBodyRef<'a>> {
    let is_packed =
        options.is_some_and(|options| options.enc_algo.is_some() || options.ppt_scheme.is_some());
    if is_packed {
        // YIELD has no answer of its own, and its caller could not unpack it.
        let error = Cow::Borrowed(uri::FEATURE_NOT_SUPPORTED);
        return Answer::Error(body(Arguments::NONE, Some(error)));
    }
    match options.and_then(|options| options.progress) {
        Some(true) => Answer::Progress(body(arguments, None)),
        _ => Answer::Result(body(arguments, None)),
    }
}

fn body<'a>(arguments: Arguments<'a>, error: Option<Cow<'a, str>>) -> CallBodyRef<'a> {
    CallBodyRef {
        payload: PayloadRef::Wamp(arguments),
        caller: None,
        error,
    }
}

fn invocation_details<'a>(
    procedure: Option<&'a str>,
    wants_progress: bool,
    payload: &'a CallBody,
) -> Sparse<InvocationDetails<'a>> {
    let caller = payload.caller.as_deref();
    if procedure.is_none() && !wants_progress && caller.is_none() {
        return Sparse::default();
    }
    Sparse::of(InvocationDetails {
        receive_progress: wants_progress.then_some(true),
        caller: caller.map(|caller| caller.session),
        caller_authid: caller.map(|caller| Cow::Borrowed(&*caller.authid)),
        caller_authrole: caller.map(|caller| Cow::Borrowed(&*caller.authrole)),
        procedure: procedure.map(Cow::Borrowed),
        ..InvocationDetails::default()
    })
}

/// Options of CALL that are not known here, and to ignore them would be worse than to refuse.
fn unsupported_in_call(options: &CallOptions<'_>) -> Option<(&'static str, &'static str)> {
    let is_packed = options.enc_algo.is_some()
        || options.enc_serializer.is_some()
        || options.enc_key.is_some()
        || options.ppt_scheme.is_some()
        || options.ppt_serializer.is_some()
        || options.ppt_cipher.is_some()
        || options.ppt_keyid.is_some();
    if is_packed {
        let message = "Packed payloads (ppt_, enc_) are not supported.";
        return Some((uri::OPTION_NOT_ALLOWED, message));
    }
    if options.progress == Some(true) {
        let message = "Progressive call invocations are not supported: leave progress out.";
        return Some((uri::FEATURE_NOT_SUPPORTED, message));
    }
    (options.runmode.is_some() || options.rkey.is_some()).then_some((
        uri::OPTION_NOT_ALLOWED,
        "Sharded calls (runmode, rkey) are not supported.",
    ))
}

/// A procedure's name or pattern: a loose URI. A prefix may end in the middle of a component or
/// before one, and be empty; a wildcard pattern may have empty components.
fn check_procedure(procedure: &str, matching: Match, names: Names<'_>) -> Result<(), &'static str> {
    if matching == Match::Exact || !procedure.is_empty() {
        names.check(procedure)?;
    }
    let is_good = match matching {
        Match::Exact => uri::is_loose(procedure),
        Match::Prefix => {
            let whole = procedure.strip_suffix('.').unwrap_or(procedure);
            procedure.is_empty() || uri::is_loose(whole)
        }
        Match::Wildcard => uri::is_loose_pattern(procedure),
    };
    match is_good {
        true => Ok(()),
        false => Err(
            "The procedure is not a valid URI: it must be words with dots between, without # and spaces.",
        ),
    }
}

fn register_error(error: RegisterError) -> (&'static str, &'static str) {
    match error {
        RegisterError::AlreadyExists => (
            uri::PROCEDURE_ALREADY_EXISTS,
            "The procedure is registered already.",
        ),
        RegisterError::OtherPolicy => (
            uri::OTHER_INVOCATION_POLICY,
            "The procedure is registered with another value of invoke.",
        ),
        RegisterError::TooMany => (
            uri::NOT_AUTHORIZED,
            "The session has as many registrations as it may have; end one first.",
        ),
        RegisterError::NoRoom => (
            uri::UNAVAILABLE,
            "The procedure has as many callees, or the router as many forms of patterns, as it may have.",
        ),
        RegisterError::TooComplex => (
            uri::INVALID_URI,
            "A wildcard pattern has at most 32 components, and 8 of them empty.",
        ),
    }
}

fn failure_error(failure: Failure) -> (&'static str, &'static str) {
    match failure {
        Failure::NoSuchProcedure => (
            uri::NO_SUCH_PROCEDURE,
            "No callee has registered the procedure.",
        ),
        Failure::Canceled => (uri::CANCELED, "The call was canceled."),
        Failure::TimedOut => (uri::TIMEOUT, "The call was not answered in time."),
        // "Callee Leaving During an RPC Invocation"
        Failure::CalleeLeft => (
            uri::CANCELED,
            "The callee has left before it answered the call.",
        ),
        Failure::CalleeBusy => (
            uri::NO_AVAILABLE_CALLEE,
            "The callee has as many calls to answer as it may have.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_registered_and_called() {
        let settings = super::super::settings::Settings {
            channel_name_bytes_max: 20,
            ..Default::default()
        };
        let check = |matching, name| check_procedure(name, matching, settings.names(0)).is_ok();
        for (name, [exact, prefix, wildcard]) in [
            ("com.a", [true; 3]),
            ("com.a.", [false, true, true]),
            ("com..a", [false, false, true]),
            (".a", [false, false, true]),
            ("", [false, true, true]),
            (".", [false, false, true]),
            ("com. a", [false; 3]),
            ("com#.a", [false; 3]),
            ("com.a.very.long.name.x", [false; 3]),
        ] {
            assert_eq!(check(Match::Exact, name), exact, "{name:?}");
            assert_eq!(check(Match::Prefix, name), prefix, "{name:?}");
            assert_eq!(check(Match::Wildcard, name), wildcard, "{name:?}");
        }
    }
}
