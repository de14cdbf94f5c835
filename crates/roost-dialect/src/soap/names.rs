//! The names of SOAP and WS-Addressing, in both versions of each.

/// A version of SOAP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    /// SOAP 1.1, `text/xml`.
    V11,
    /// SOAP 1.2, `application/soap+xml`.
    V12,
}

impl Version {
    pub(super) const ALL: [Version; 2] = [Version::V11, Version::V12];

    /// Of the envelope.
    pub(super) fn namespace(self) -> &'static str {
        match self {
            Version::V11 => "http://schemas.xmlsoap.org/soap/envelope/",
            Version::V12 => "http://www.w3.org/2003/05/soap-envelope",
        }
    }

    /// The attribute that says whom a header block is for.
    pub(super) fn role_name(self) -> &'static str {
        match self {
            Version::V11 => "actor",
            Version::V12 => "role",
        }
    }

    /// Whether a header block with this role is for this server (SOAP 1.2 §2.2, SOAP 1.1 §4.2.2).
    pub(super) fn is_own_role(self, role: &str) -> bool {
        match self {
            Version::V11 => role.is_empty() || role == "http://schemas.xmlsoap.org/soap/actor/next",
            Version::V12 => matches!(
                role,
                "" | "http://www.w3.org/2003/05/soap-envelope/role/next"
                    | "http://www.w3.org/2003/05/soap-envelope/role/ultimateReceiver"
            ),
        }
    }
}

/// A version of WS-Addressing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Addresses {
    /// WS-Addressing 1.0.
    V10,
    /// The submission of August 2004.
    V2004,
}

impl Addresses {
    pub(super) fn of_namespace(namespace: &str) -> Option<Addresses> {
        let all = [Addresses::V10, Addresses::V2004];
        all.into_iter().find(|one| one.namespace() == namespace)
    }

    pub(super) fn namespace(self) -> &'static str {
        match self {
            Addresses::V10 => "http://www.w3.org/2005/08/addressing",
            Addresses::V2004 => "http://schemas.xmlsoap.org/ws/2004/08/addressing",
        }
    }

    /// The address of the other end of the connection.
    pub(super) fn anonymous(self) -> &'static str {
        match self {
            Addresses::V10 => "http://www.w3.org/2005/08/addressing/anonymous",
            Addresses::V2004 => "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous",
        }
    }

    /// The address that stands for no reply.
    pub(super) fn none(self) -> Option<&'static str> {
        match self {
            Addresses::V10 => Some("http://www.w3.org/2005/08/addressing/none"),
            Addresses::V2004 => None,
        }
    }

    /// The Action of a fault that is about addresses, or about what came with them.
    pub(super) fn fault_action(self) -> &'static str {
        match self {
            Addresses::V10 => "http://www.w3.org/2005/08/addressing/fault",
            Addresses::V2004 => "http://schemas.xmlsoap.org/ws/2004/08/addressing/fault",
        }
    }
}

/// An absolute URI or IRI (RFC 3986 §4.3, RFC 3987 §2.2), roughly: a scheme, and something behind it
/// without what no URI has.
pub(super) fn is_absolute(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once(':') else {
        return false;
    };
    let mut scheme = scheme.bytes();
    scheme.next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && scheme.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        && !rest.is_empty()
        && !rest
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || "<>\"{}|\\^`".contains(c))
}
