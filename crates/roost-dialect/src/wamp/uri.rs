//! URIs: the rules a topic or realm must keep, and the error URIs this broker answers with.

/// A peer gave a URI that breaks the rules.
pub const INVALID_URI: &str = "wamp.error.invalid_uri";
/// UNSUBSCRIBE for a subscription this session does not have.
pub const NO_SUCH_SUBSCRIPTION: &str = "wamp.error.no_such_subscription";
/// CALL of a procedure that is not registered.
pub const NO_SUCH_PROCEDURE: &str = "wamp.error.no_such_procedure";
/// A procedure of the router's, called with what it does not take.
pub const INVALID_ARGUMENT: &str = "wamp.error.invalid_argument";
/// No session has this number.
pub const NO_SUCH_SESSION: &str = "wamp.error.no_such_session";
/// UNREGISTER of a registration this session does not have.
pub const NO_SUCH_REGISTRATION: &str = "wamp.error.no_such_registration";
/// A feature of the Advanced Profile that is not served.
pub const FEATURE_NOT_SUPPORTED: &str = "wamp.error.feature_not_supported";
/// REGISTER of a procedure that another has, or the session itself.
pub const PROCEDURE_ALREADY_EXISTS: &str = "wamp.error.procedure_already_exists";
/// REGISTER of a procedure that others have under another policy.
pub const OTHER_INVOCATION_POLICY: &str =
    "wamp.error.procedure_exists_with_different_invocation_policy";
/// The caller has canceled the call, or its callee has left.
pub const CANCELED: &str = "wamp.error.canceled";
/// The call was not answered in time.
pub const TIMEOUT: &str = "wamp.error.timeout";
/// The callee has as many calls to answer as it may have.
pub const NO_AVAILABLE_CALLEE: &str = "wamp.error.no_available_callee";
/// What a callee of another dialect says of a failure.
pub const RUNTIME_ERROR: &str = "wamp.error.runtime_error";
/// Publish or subscribe is not allowed to this session on this topic.
pub const NOT_AUTHORIZED: &str = "wamp.error.not_authorized";
/// It could not be found out whether the peer may: try again.
pub const AUTHORIZATION_FAILED: &str = "wamp.error.authorization_failed";
/// An option that this broker does not grant.
pub const OPTION_NOT_ALLOWED: &str = "wamp.error.option_not_allowed";
/// HELLO for a realm that is not configured.
pub const NO_SUCH_REALM: &str = "wamp.error.no_such_realm";
/// HELLO with a role that the user, or a session without one, does not have.
pub const NO_SUCH_ROLE: &str = "wamp.error.no_such_role";
/// HELLO with authentication methods that are not served.
pub const NO_MATCHING_AUTH_METHOD: &str = "wamp.error.no_matching_auth_method";
/// HELLO without an authentication method where there has to be one.
pub const AUTHENTICATION_REQUIRED: &str = "wamp.error.authentication_required";
/// AUTHENTICATE with a wrong answer, or of a user that does not exist.
pub const AUTHENTICATION_DENIED: &str = "wamp.error.authentication_denied";
/// The exchange could not be brought to its end: something is malformed, or it took too long.
pub const AUTHENTICATION_FAILED: &str = "wamp.error.authentication_failed";
/// A message that is none, or not now.
pub const PROTOCOL_VIOLATION: &str = "wamp.error.protocol_violation";
/// The server failed to do what was asked (a limit of its own).
pub const UNAVAILABLE: &str = "wamp.error.unavailable";
/// GOODBYE: the server goes down.
pub const SYSTEM_SHUTDOWN: &str = "wamp.close.system_shutdown";
/// GOODBYE: the session is closed because more waited for it than may.
pub const SLOW_CONSUMER: &str = "roost.close.slow_consumer";
/// GOODBYE: the client's identity has expired.
pub const EXPIRED: &str = "roost.close.expired";
/// GOODBYE: the client's token is not taken any more.
pub const REVOKED: &str = "roost.close.revoked";
/// GOODBYE: the application has ended the session ("Session Meta Procedures", `wamp.session.kill`).
pub const KILLED: &str = "wamp.close.killed";
/// GOODBYE: the client has done more than its rates allow.
pub const OVER_LIMIT: &str = "roost.close.over_limit";
/// UNSUBSCRIBED without a request: the application has ended the subscription.
pub const UNSUBSCRIBED: &str = "roost.close.unsubscribed";
/// GOODBYE: the answer to a GOODBYE.
pub const GOODBYE_AND_OUT: &str = "wamp.close.goodbye_and_out";

/// A topic of each session's own: what was dropped because the session did not read as fast as its
/// channels spoke. Only the broker publishes to it.
pub const DROPPED: &str = "roost.session.dropped";

/// WAMP, "Relaxed/Loose URIs": components between dots, none of them empty, without `#` and
/// whitespace. Control characters are refused with them: topics are channel names.
pub fn is_loose(uri: &str) -> bool {
    is_loose_pattern(uri) && !uri.split('.').any(str::is_empty)
}

/// The same, but for components that are empty: they stand for any ("Wildcard Matching").
pub fn is_loose_pattern(uri: &str) -> bool {
    !uri.chars()
        .any(|c| c == '#' || c.is_whitespace() || c.is_control())
}

/// WAMP, "Reserved URIs": `wamp` as first component belongs to the protocol.
pub fn is_reserved(uri: &str) -> bool {
    uri.split('.').next() == Some("wamp")
}

#[cfg(test)]
mod tests {
    use super::{is_loose, is_reserved};

    #[test]
    fn loose_rules() {
        for good in [
            "a",
            "com.myapp.mytopic1",
            "Com.My-App./x:y",
            "é.😀",
            "chat:lobby",
        ] {
            assert!(is_loose(good), "{good:?}");
        }
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a b",
            "a#",
            "a\tb",
            "a\u{a0}b",
            "a\u{3000}b",
            "a\u{0}",
            "a\u{1c}b",
        ] {
            assert!(!is_loose(bad), "{bad:?}");
        }
    }

    #[test]
    fn reserved_is_the_first_component_only() {
        assert!(is_reserved("wamp"));
        assert!(is_reserved("wamp.session.on_join"));
        assert!(!is_reserved("wampum.x"));
        assert!(!is_reserved("com.wamp.x"));
    }
}
