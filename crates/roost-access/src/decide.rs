//! The one decision: whether a connection may do something with a name, and which rule says so.

use std::fmt;

use crate::{Identity, Operation, PatternRef, Permission, PermissionSet, Source};

/// What the namespace of a name requires of a connection, for one operation. What is less is laxer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Requirement {
    /// Nothing.
    Anyone,
    /// To be authenticated.
    Authenticated,
    /// A permission of its role.
    Granted,
    /// To be subscribed to the channel.
    Subscribers,
    /// That the application says so, which a hook asks.
    Hook,
    /// It cannot be met.
    Nobody,
}

impl Requirement {
    /// As the configuration has it.
    pub fn name(self) -> &'static str {
        match self {
            Requirement::Anyone => "anyone",
            Requirement::Authenticated => "authenticated",
            Requirement::Granted => "granted",
            Requirement::Subscribers => "subscribers",
            Requirement::Hook => "hook",
            Requirement::Nobody => "nobody",
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// What the connection wants to do.
    pub operation: Operation,
    /// With which name, or with all names of a pattern.
    pub asked: PatternRef<'a>,
    /// What the namespace requires for it. A pattern's is the strictest of all namespaces that it may
    /// have names of.
    pub requirement: Requirement,
    /// Whether the connection is subscribed to the channel; looked at for [`Requirement::Subscribers`].
    pub is_subscribed: bool,
    /// Whether the name belongs to a realm that the connection is not in.
    pub is_foreign: bool,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision<'a> {
    /// What was asked.
    pub operation: Operation,
    /// Whether it may.
    pub is_allowed: bool,
    /// The rule that says so.
    pub decided_by: DecidedBy<'a>,
}

/// The rule that decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecidedBy<'a> {
    /// The name belongs to the protocol.
    ProtectedName,
    /// The name belongs to a realm that the connection is not in.
    OtherRealm,
    /// The namespace's key alone.
    Namespace(Requirement),
    /// A permission of the connection's role.
    Permission(&'a PermissionSet, &'a Permission),
    /// The namespace wants a permission, and the connection has none for it.
    Default,
    /// The connection's identity has expired, and without it the namespace's key decides.
    Expired,
    /// None yet: the application's hook has to be asked.
    Hook,
}

/// Why something may not be done, as a client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denial {
    operation: Operation,
    why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Protected,
    OtherRealm,
    Nobody,
    NotSubscribed,
    NotAuthenticated,
    NotGranted,
    Expired,
    Unasked,
    Refused,
    Unavailable,
}

/// Whether a connection may do what is asked, and by which rule. Without an identity it is anonymous.
/// `now` is of the clock that [`Identity::expires`] counts by.
pub fn decide<'a>(
    identity: Option<&'a Identity>,
    question: &Question<'_>,
    now: u32,
) -> Decision<'a> {
    let Question {
        operation,
        asked,
        requirement,
        is_subscribed,
        is_foreign,
    } = *question;
    let decision = |is_allowed, decided_by| Decision {
        operation,
        is_allowed,
        decided_by,
    };
    if is_protected(operation, asked.text) {
        return decision(false, DecidedBy::ProtectedName);
    }
    if is_foreign {
        return decision(false, DecidedBy::OtherRealm);
    }
    let is_expired = identity.is_some_and(|identity| identity.is_expired(now));
    let identity = identity.filter(|_| !is_expired);
    let by_key = DecidedBy::Namespace(requirement);
    match requirement {
        Requirement::Anyone => decision(true, by_key),
        Requirement::Nobody => decision(false, by_key),
        Requirement::Subscribers => decision(is_subscribed, by_key),
        Requirement::Authenticated | Requirement::Granted | Requirement::Hook if is_expired => {
            decision(false, DecidedBy::Expired)
        }
        Requirement::Hook => decision(false, DecidedBy::Hook),
        Requirement::Authenticated => {
            decision(identity.is_some_and(Identity::is_authenticated), by_key)
        }
        Requirement::Granted => {
            let set = identity.map(|identity| &*identity.permissions);
            let granted = set.and_then(|set| Some((set, set.find(operation, asked)?)));
            match granted {
                Some((set, permission)) => decision(true, DecidedBy::Permission(set, permission)),
                None => decision(false, DecidedBy::Default),
            }
        }
    }
}

/// Names that belong to a protocol, in every dialect. WAMP, "Reserved URIs": what a client published
/// below `wamp.` could feign what the router says there.
pub fn is_protected(operation: Operation, name: &str) -> bool {
    let is_reserved = name
        .strip_prefix("wamp")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    is_reserved && matches!(operation, Operation::Publish | Operation::Register)
}

impl Denial {
    /// The application's hook has been asked, and says no.
    pub fn by_hook(operation: Operation) -> Denial {
        let why = Why::Refused;
        Denial { operation, why }
    }

    /// It could not be asked.
    pub fn hook_unavailable(operation: Operation) -> Denial {
        let why = Why::Unavailable;
        Denial { operation, why }
    }

    /// Whether the same may be allowed a little later.
    pub fn is_temporary(self) -> bool {
        self.why == Why::Unavailable
    }
}

impl Decision<'_> {
    /// Whether the application's hook has to be asked.
    pub fn asks_hook(&self) -> bool {
        self.decided_by == DecidedBy::Hook
    }

    /// What the client is told, if it may not.
    pub fn denial(&self) -> Option<Denial> {
        let why = match self.decided_by {
            _ if self.is_allowed => return None,
            DecidedBy::ProtectedName => Why::Protected,
            DecidedBy::OtherRealm => Why::OtherRealm,
            DecidedBy::Expired => Why::Expired,
            DecidedBy::Namespace(Requirement::Nobody) => Why::Nobody,
            DecidedBy::Namespace(Requirement::Subscribers) => Why::NotSubscribed,
            DecidedBy::Namespace(Requirement::Authenticated) => Why::NotAuthenticated,
            DecidedBy::Namespace(Requirement::Granted) | DecidedBy::Default => Why::NotGranted,
            DecidedBy::Namespace(Requirement::Hook) | DecidedBy::Hook => Why::Unasked,
            DecidedBy::Namespace(Requirement::Anyone) | DecidedBy::Permission(..) => {
                debug_assert!(false, "these allow");
                return None;
            }
        };
        Some(Denial {
            operation: self.operation,
            why,
        })
    }
}

impl fmt::Display for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.is_allowed {
            true => "allowed",
            false if self.asks_hook() => "asked",
            false => "denied",
        };
        let operation = self.operation.name();
        write!(f, "{word}: ")?;
        match self.decided_by {
            DecidedBy::ProtectedName => f.write_str("the name belongs to the protocol"),
            DecidedBy::OtherRealm => f.write_str("the name belongs to another realm"),
            DecidedBy::Namespace(requirement) => {
                write!(
                    f,
                    "{operation} = \"{}\" of the namespace",
                    requirement.name()
                )
            }
            DecidedBy::Permission(set, permission) => {
                let kind = match set.source() {
                    Source::Role => "role",
                    Source::Token => "capability of",
                };
                let pattern = permission.pattern.borrowed();
                let (matching, text) = (pattern.matching, pattern.text);
                write!(f, "{kind} \"{}\", {matching:?} \"{text}\"", set.role())
            }
            DecidedBy::Default => {
                write!(
                    f,
                    "{operation} = \"granted\" of the namespace, and no permission covers it"
                )
            }
            DecidedBy::Expired => f.write_str("the identity has expired"),
            DecidedBy::Hook => write!(
                f,
                "{operation} = \"hook\" of the namespace: the application decides"
            ),
        }
    }
}

macro_rules! denials {
    ($($Operation:ident $word:literal,)+) => {
        impl Denial {
            /// A sentence for the client that names the rule. At most 123 bytes: it may be the reason of a
            /// close frame.
            pub fn message(self) -> &'static str {
                match self.operation {
                    $(Operation::$Operation => match self.why {
                        Why::Protected => "This name belongs to the protocol.",
                        Why::OtherRealm => "Not allowed: the name belongs to a realm that this connection is not in.",
                        Why::Nobody =>
                            concat!("Not allowed: ", $word, " = \"nobody\" in this namespace."),
                        Why::NotSubscribed =>
                            concat!("Not allowed: ", $word, " = \"subscribers\" in this namespace."),
                        Why::NotAuthenticated =>
                            concat!("Not allowed: ", $word, " = \"authenticated\" in this namespace."),
                        Why::NotGranted =>
                            concat!("Not allowed: ", $word, " = \"granted\" in this namespace, and no permission covers it."),
                        Why::Expired => "Not allowed: the identity has expired.",
                        Why::Unasked =>
                            concat!("Not allowed: ", $word, " = \"hook\" in this namespace, and no hook is asked about this."),
                        Why::Refused => "The application does not allow it.",
                        Why::Unavailable => "The application could not be asked; try again.",
                    },)+
                }
            }
        }
    };
}

denials! {
    Subscribe "subscribe",
    Publish "publish",
    Call "call",
    Register "register",
    ReadPresence "presence_read",
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::sync::Arc;

    use super::*;
    use crate::{Matching, Method, Operations, Pattern, Provider, TokenMark};

    fn identity(method: Method, expires: u32) -> Identity {
        let permission = |matching, text: &str, allow: &[Operation]| Permission {
            pattern: Pattern::new(matching, text),
            allow: Operations::from_iter(allow.iter().copied()),
        };
        let permissions = vec![
            permission(
                Matching::Prefix,
                "com.a.",
                &[Operation::Subscribe, Operation::Call],
            ),
            permission(Matching::Exact, "com.b", &[Operation::Publish]),
            permission(Matching::Prefix, "", &[Operation::Register]),
        ];
        Identity {
            user: "alice".into(),
            permissions: Arc::new(PermissionSet::of_role("staff", permissions)),
            expires: NonZeroU32::new(expires),
            method,
            provider: Provider::Static,
            token: TokenMark::default(),
        }
    }

    fn ask(
        identity: Option<&Identity>,
        operation: Operation,
        name: &str,
        requirement: Requirement,
    ) -> (bool, String) {
        let question = Question {
            operation,
            asked: PatternRef::name(name),
            requirement,
            is_subscribed: false,
            is_foreign: false,
        };
        let decision = decide(identity, &question, 1_000);
        assert_eq!(decision.denial().is_none(), decision.is_allowed);
        (decision.is_allowed, decision.to_string())
    }

    #[test]
    fn what_belongs_to_another_realm_is_denied_whatever_its_namespace_says() {
        let alice = identity(Method::Ticket, 0);
        for requirement in [Requirement::Anyone, Requirement::Granted, Requirement::Hook] {
            let question = |is_foreign| Question {
                operation: Operation::Subscribe,
                asked: PatternRef::name("com.a.b"),
                requirement,
                is_subscribed: true,
                is_foreign,
            };
            let decision = decide(Some(&alice), &question(true), 0);
            assert_eq!(decision.decided_by, DecidedBy::OtherRealm);
            assert!(
                decision
                    .denial()
                    .is_some_and(|denial| !denial.is_temporary())
            );
            let own = decide(Some(&alice), &question(false), 0);
            assert_eq!(own.is_allowed, requirement != Requirement::Hook);
        }
    }

    #[test]
    fn the_rule_that_decided_is_named() {
        use Operation::{Publish, Register, Subscribe};
        use Requirement::{Anyone, Authenticated, Granted, Nobody, Subscribers};
        let alice = identity(Method::Ticket, 0);
        let (none, alice) = (None, Some(&alice));
        for (who, operation, name, requirement, is_allowed, words) in [
            (none, Subscribe, "x", Anyone, true, "subscribe = \"anyone\""),
            (
                none,
                Subscribe,
                "x",
                Authenticated,
                false,
                "subscribe = \"authenticated\"",
            ),
            (
                alice,
                Subscribe,
                "x",
                Authenticated,
                true,
                "subscribe = \"authenticated\"",
            ),
            (
                none,
                Subscribe,
                "com.a.b",
                Granted,
                false,
                "no permission covers it",
            ),
            (
                alice,
                Subscribe,
                "com.a.b",
                Granted,
                true,
                "role \"staff\", Prefix \"com.a.\"",
            ),
            (
                alice,
                Publish,
                "com.a.b",
                Granted,
                false,
                "no permission covers it",
            ),
            (alice, Publish, "com.b", Granted, true, "Exact \"com.b\""),
            (
                alice,
                Publish,
                "com.b",
                Nobody,
                false,
                "publish = \"nobody\"",
            ),
            (
                alice,
                Publish,
                "com.b",
                Subscribers,
                false,
                "publish = \"subscribers\"",
            ),
            (
                alice,
                Register,
                "wamp.session.count",
                Granted,
                false,
                "belongs to the protocol",
            ),
            (
                none,
                Publish,
                "wamp",
                Anyone,
                false,
                "belongs to the protocol",
            ),
            (
                none,
                Subscribe,
                "wamp.session.on_join",
                Anyone,
                true,
                "\"anyone\"",
            ),
            (none, Publish, "wampum", Anyone, true, "\"anyone\""),
        ] {
            let (allowed, said) = ask(who, operation, name, requirement);
            assert_eq!(allowed, is_allowed, "{operation:?} {name}: {said}");
            assert!(said.contains(words), "{operation:?} {name}: {said}");
        }
    }

    #[test]
    fn a_hook_decides_itself_but_for_names_of_the_protocol_and_identities_that_have_expired() {
        let question = |operation, name| Question {
            operation,
            asked: PatternRef::name(name),
            requirement: Requirement::Hook,
            is_subscribed: true,
            is_foreign: false,
        };
        let (alice, late) = (identity(Method::Token, 0), identity(Method::Token, 1_000));
        let publish = question(Operation::Publish, "com.b");
        for (who, asks) in [(None, true), (Some(&alice), true), (Some(&late), false)] {
            let decision = decide(who, &publish, 1_000);
            assert_eq!(
                (decision.is_allowed, decision.asks_hook()),
                (false, asks),
                "{decision}"
            );
            assert!(
                decision.denial().is_some(),
                "it is not allowed before the hook has said so"
            );
        }
        assert!(!decide(None, &question(Operation::Publish, "wamp.x"), 1_000).asks_hook());
        assert!(
            decide(None, &publish, 0)
                .to_string()
                .starts_with("asked: publish = \"hook\"")
        );
        assert!(Denial::hook_unavailable(Operation::Publish).is_temporary());
        assert!(!Denial::by_hook(Operation::Publish).is_temporary());
    }

    #[test]
    fn an_expired_identity_is_none() {
        for (expires, is_allowed) in [(0, true), (1_001, true), (1_000, false), (1, false)] {
            let alice = identity(Method::Ticket, expires);
            for requirement in [Requirement::Authenticated, Requirement::Granted] {
                let (allowed, said) = ask(Some(&alice), Operation::Call, "com.a.b", requirement);
                assert_eq!(allowed, is_allowed, "{expires}: {said}");
                assert_eq!(said.contains("expired"), !is_allowed, "{said}");
            }
            let (open, _) = ask(Some(&alice), Operation::Call, "x", Requirement::Anyone);
            assert!(open, "what anyone may needs no identity");
        }
    }

    #[test]
    fn an_anonymous_role_is_granted_what_it_has_and_is_not_authenticated() {
        let guest = identity(Method::Anonymous, 0);
        let call = |requirement| ask(Some(&guest), Operation::Call, "com.a.b", requirement).0;
        assert!(call(Requirement::Granted));
        assert!(!call(Requirement::Authenticated));
    }

    #[test]
    fn a_denial_fits_in_a_close_frame() {
        for operation in Operation::ALL {
            for why in [
                Why::Protected,
                Why::Nobody,
                Why::NotSubscribed,
                Why::NotAuthenticated,
                Why::NotGranted,
                Why::Expired,
                Why::Unasked,
                Why::Refused,
                Why::Unavailable,
            ] {
                let message = Denial { operation, why }.message();
                assert!(message.len() <= 123, "{message}");
            }
        }
    }
}
