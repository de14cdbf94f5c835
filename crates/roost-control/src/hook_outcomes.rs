//! From what an application says to what a reactor does.

use std::sync::Arc;

use roost_access::{PermissionSet, PermissionSets, Provider, TokenMark};
use roost_dialect::PayloadRef;
use roost_dialect::dialect::RpcAnswer;
use roost_hooks::{Answer, Changed, Event, Failure, Granted, Outcome};
use roost_reactor::{CloseReason, HookOutcome, Login};
use roost_wire::CloseCode;

/// What a reactor is told. `now` in seconds since 1970.
pub(crate) fn outcome_of(
    event: Event,
    outcome: Outcome,
    now: u64,
    message_bytes_max: usize,
    permissions: &mut PermissionSets,
) -> HookOutcome {
    match (outcome, event) {
        (Outcome::Answered(Answer::Connect(granted)), Event::Connect) => {
            login_of(granted, now, permissions)
        }
        (Outcome::Allowed, Event::Connect) => {
            let nothing = Granted {
                user: "".into(),
                expire_at: None,
                permissions: Arc::new(PermissionSet::of_token(Vec::new())),
            };
            login_of(nothing, now, permissions)
        }
        (Outcome::Answered(Answer::Subscribe), Event::Subscribe)
        | (Outcome::Allowed, Event::Subscribe | Event::Publish) => HookOutcome::Allowed(None),
        (Outcome::Answered(Answer::Publish(changed)), Event::Publish) => {
            let payload = match &changed {
                Changed::Nothing => return HookOutcome::Allowed(None),
                Changed::Text(json) => PayloadRef::Text(json),
                Changed::Binary(bytes) => PayloadRef::Binary(bytes),
            };
            match payload.size() <= message_bytes_max {
                true => HookOutcome::Allowed(Some(payload.freeze())),
                false => unavailable("What the application wants published is too long."),
            }
        }
        (Outcome::Answered(Answer::Rpc(data)), Event::Rpc) => {
            HookOutcome::Rpc(RpcAnswer::Result(data))
        }
        // It would have to make a result up.
        (Outcome::Allowed, Event::Rpc) => unavailable("The application could not be asked."),
        (
            Outcome::Answered(Answer::Error {
                code,
                message,
                is_temporary,
            }),
            event,
        ) => error_of(event, code, message, is_temporary),
        (Outcome::Answered(Answer::Disconnect { code, reason }), _) => {
            match (CloseCode::new(code), CloseReason::new(&reason)) {
                (Some(code), Some(reason)) => HookOutcome::Disconnect { code, reason },
                _ => unavailable("The application's answer is not understood."),
            }
        }
        (Outcome::Failed(failure), _) => unavailable(match failure {
            Failure::Timeout | Failure::Call | Failure::Broken => {
                "The application could not be asked; try again."
            }
            Failure::Full => "Too many clients wait for the application; try again.",
        }),
        (
            Outcome::Answered(
                Answer::Connect(_) | Answer::Subscribe | Answer::Publish(_) | Answer::Rpc(_),
            ),
            Event::Connect | Event::Subscribe | Event::Publish | Event::Rpc,
        ) => {
            debug_assert!(false, "answers are parsed for their event");
            unavailable("The application's answer is not understood.")
        }
    }
}

/// The application says no, with a code of its own.
fn error_of(event: Event, code: u32, message: Box<str>, is_temporary: bool) -> HookOutcome {
    match (event, is_temporary) {
        (Event::Rpc, is_temporary) => HookOutcome::Rpc(RpcAnswer::Error {
            code,
            message,
            is_temporary,
        }),
        (Event::Connect | Event::Subscribe | Event::Publish, true) => {
            HookOutcome::Unavailable(message)
        }
        (Event::Connect | Event::Subscribe | Event::Publish, false) => {
            HookOutcome::Refused(message)
        }
    }
}

fn login_of(granted: Granted, now: u64, permissions: &mut PermissionSets) -> HookOutcome {
    let Granted {
        user,
        expire_at,
        permissions: own,
    } = granted;
    if expire_at.is_some_and(|at| at <= now) {
        return HookOutcome::Refused("What the application grants has expired already.".into());
    }
    HookOutcome::Login(Box::new(Login {
        user,
        permissions: permissions.intern(Arc::unwrap_or_clone(own)),
        expires_in_ms: expire_at.map(|at| (at - now).saturating_mul(1_000)),
        provider: Provider::Hook,
        token: TokenMark::default(),
    }))
}

fn unavailable(sentence: &str) -> HookOutcome {
    HookOutcome::Unavailable(sentence.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(event: Event, outcome: Outcome) -> HookOutcome {
        outcome_of(event, outcome, 1_000, 10, &mut PermissionSets::default())
    }

    fn granted(expire_at: Option<u64>) -> Outcome {
        Outcome::Answered(Answer::Connect(Granted {
            user: "alice".into(),
            expire_at,
            permissions: Arc::new(PermissionSet::of_token(Vec::new())),
        }))
    }

    #[test]
    fn a_login_ends_when_the_application_says() {
        for (expire_at, expected) in [(None, None), (Some(1_060), Some(60_000))] {
            let HookOutcome::Login(login) = told(Event::Connect, granted(expire_at)) else {
                panic!("a login");
            };
            assert_eq!((&*login.user, login.expires_in_ms), ("alice", expected));
        }
        let late = told(Event::Connect, granted(Some(1_000)));
        assert!(matches!(late, HookOutcome::Refused(_)), "{late:?}");
    }

    #[test]
    fn what_the_rules_allow_has_no_account_and_no_permissions() {
        let HookOutcome::Login(login) = told(Event::Connect, Outcome::Allowed) else {
            panic!("a login");
        };
        assert_eq!(&*login.user, "");
        let allowed = told(Event::Publish, Outcome::Allowed);
        assert!(matches!(allowed, HookOutcome::Allowed(None)));
    }

    #[test]
    fn what_is_published_instead_is_no_longer_than_a_message() {
        let changed = |text: &str| {
            let changed = Changed::Text(text.into());
            told(Event::Publish, Outcome::Answered(Answer::Publish(changed)))
        };
        assert!(matches!(
            changed("1234567890"),
            HookOutcome::Allowed(Some(_))
        ));
        assert!(matches!(
            changed("12345678901"),
            HookOutcome::Unavailable(_)
        ));
    }
}
