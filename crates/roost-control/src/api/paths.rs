//! The paths of the API, each with its methods: one list, which requests and the OpenAPI file are
//! held against.

use axum::http::Method;

use super::centrifugo::{METHODS, Method as Centrifugo};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Publish,
    Broadcast,
    Publications,
    Connections,
    Connection,
    DeleteConnection,
    Disconnect,
    Subscribe,
    Unsubscribe,
    Refresh,
    Revoke,
    Channels,
    Info,
    History,
    RemoveHistory,
    Presence,
    PresenceStats,
    Centrifugo(Centrifugo),
}

/// What a path and a method mean.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// With what stands in place of the path's `{…}`.
    Operation(Operation, &'a str),
    /// Another method; these are taken, as `Allow` lists them.
    Methods(String),
    Nothing,
}

/// Method, path and operation; a `{…}` at a path's end stands for one segment.
const ROUTES: [(Method, &str, Operation); 17] = [
    (Method::POST, "/v1/publish", Operation::Publish),
    (Method::POST, "/v1/broadcast", Operation::Broadcast),
    (Method::POST, "/v1/publications", Operation::Publications),
    (Method::GET, "/v1/connections", Operation::Connections),
    (Method::GET, CONNECTION, Operation::Connection),
    (Method::DELETE, CONNECTION, Operation::DeleteConnection),
    (Method::POST, "/v1/disconnect", Operation::Disconnect),
    (Method::POST, "/v1/subscribe", Operation::Subscribe),
    (Method::POST, "/v1/unsubscribe", Operation::Unsubscribe),
    (Method::POST, "/v1/refresh", Operation::Refresh),
    (Method::POST, "/v1/revoke", Operation::Revoke),
    (Method::GET, "/v1/channels", Operation::Channels),
    (Method::GET, "/v1/info", Operation::Info),
    (Method::GET, HISTORY, Operation::History),
    (Method::DELETE, HISTORY, Operation::RemoveHistory),
    (Method::GET, "/v1/presence", Operation::Presence),
    (Method::GET, "/v1/presence_stats", Operation::PresenceStats),
];
const HISTORY: &str = "/v1/history";
const CONNECTION: &str = "/v1/connections/{connection}";
/// What the paths of Centrifugo's methods begin with.
const CENTRIFUGO: &str = "/api/";

/// Methods and paths, for tests of the documentation.
#[doc(hidden)]
pub fn paths() -> Vec<(String, String)> {
    let own = ROUTES.iter();
    let own = own.map(|(method, path, _)| (method.to_string(), (*path).to_owned()));
    let centrifugo = METHODS.iter();
    let centrifugo = centrifugo.map(|(name, _)| ("POST".to_owned(), format!("{CENTRIFUGO}{name}")));
    let pusher = super::pusher::PATHS.iter();
    let pusher = pusher.map(|(method, path)| ((*method).to_owned(), (*path).to_owned()));
    own.chain(centrifugo).chain(pusher).collect()
}

pub(super) fn find<'a>(path: &'a str, method: &Method) -> Found<'a> {
    let mut allowed = Vec::new();
    for (known, pattern, operation) in &ROUTES {
        let Some(segment) = matched(pattern, path) else {
            continue;
        };
        if known == method {
            return Found::Operation(*operation, segment);
        }
        allowed.push(known.as_str());
    }
    let named = path.strip_prefix(CENTRIFUGO);
    let named = named.and_then(|name| METHODS.iter().find(|(known, _)| *known == name));
    if let Some(&(_, centrifugo)) = named {
        if method == Method::POST {
            return Found::Operation(Operation::Centrifugo(centrifugo), "");
        }
        allowed.push(Method::POST.as_str());
    }
    if allowed.is_empty() {
        return Found::Nothing;
    }
    allowed.push(Method::OPTIONS.as_str());
    Found::Methods(allowed.join(", "))
}

/// What stands in place of the pattern's `{…}`, if the path is one of it.
fn matched<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    match pattern.split_once('{') {
        None => (pattern == path).then_some(""),
        Some((before, _)) => {
            let segment = path.strip_prefix(before)?;
            (!segment.is_empty() && !segment.contains('/')).then_some(segment)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_its_methods() {
        let of = |method, path| find(path, &method);
        let publish = Found::Operation(Operation::Publish, "");
        assert_eq!(of(Method::POST, "/v1/publish"), publish);
        let one = Found::Operation(Operation::DeleteConnection, "r0-1.2");
        assert_eq!(of(Method::DELETE, "/v1/connections/r0-1.2"), one);
        let methods = Found::Methods("GET, DELETE, OPTIONS".to_owned());
        assert_eq!(of(Method::POST, "/v1/connections/x"), methods);
        let centrifugo = Operation::Centrifugo(Centrifugo::Publish);
        assert_eq!(
            of(Method::POST, "/api/publish"),
            Found::Operation(centrifugo, "")
        );
        for nothing in [
            "/",
            "/v1",
            "/v1/publish/",
            "/v1/connections/",
            "/v1/connections/a/b",
            "/api/x",
        ] {
            assert_eq!(of(Method::POST, nothing), Found::Nothing, "{nothing}");
        }
    }
}
