//! Whether a request is signed by its application (Pusher's "Auth signatures"): the parameters, the time,
//! the signature. Whether the body is the one that was signed is seen when it has come.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request};
use roost_auth::PusherApp;
use roost_dialect::percent_decode;

use super::fault::Fault;
use crate::api::pusher_apps::PusherApps;
use crate::clock::{unix_ms, unix_secs};

/// The parameters of a query, decoded.
pub(super) struct Pairs(Vec<(String, String)>);

/// A request that is signed.
pub(super) struct Signed {
    pub(super) query: Pairs,
    /// As the signature has it; empty without a body.
    pub(super) body_md5: String,
}

impl Pairs {
    fn of(query: &str) -> Pairs {
        let pairs = form_urlencoded::parse(query.as_bytes());
        Pairs(pairs.into_owned().collect())
    }

    /// The one of this name.
    pub(super) fn get(&self, name: &str) -> Result<Option<&str>, Fault> {
        let mut all = self.0.iter().filter(|(known, _)| known == name);
        match (all.next(), all.next()) {
            (found, None) => Ok(found.map(|(_, value)| value.as_str())),
            (_, Some(_)) => Err(Fault::bad(format!("{name} stands twice in the query"))),
        }
    }

    fn need(&self, name: &str) -> Result<&str, Fault> {
        let missing = || {
            let detail = format!("the query has no {name}: requests are signed (docs/api.md)");
            Fault::unauthorized(detail)
        };
        self.get(name)?.ok_or_else(missing)
    }
}

/// The application that a request's key names, for a path that does not.
pub(super) fn app_of_key<'a>(
    apps: &'a [Arc<PusherApp>],
    request: &Request<Body>,
) -> Result<&'a Arc<PusherApp>, Fault> {
    let query = Pairs::of(request.uri().query().unwrap_or_default());
    let key = query.need("auth_key")?;
    let found = apps.iter().find(|app| *app.key == *key);
    found.ok_or_else(|| Fault::unauthorized("auth_key is no application's (pusher.app.key)"))
}

impl Signed {
    /// `paths` are those that libraries sign: as it is sent, and decoded.
    pub(super) fn check(
        app: &PusherApp,
        request: &Request<Body>,
        paths: [&str; 2],
        apps: &PusherApps,
    ) -> Result<Signed, Fault> {
        let query = Pairs::of(request.uri().query().unwrap_or_default());
        if query.need("auth_key")? != &*app.key {
            return Err(Fault::unauthorized(
                "auth_key is not the application's (pusher.app.key)",
            ));
        }
        if query.need("auth_version")? != "1.0" {
            return Err(Fault::unauthorized("auth_version is another one than 1.0"));
        }
        check_time(query.need("auth_timestamp")?, unix_secs())?;
        let has_body = request.method() != Method::GET;
        let body_md5 = match has_body {
            true => query.need("body_md5")?,
            false => query.get("body_md5")?.unwrap_or_default(),
        };
        let signature = query.need("auth_signature")?;
        let pairs = query.0.iter();
        let pairs: Vec<(&str, &str)> = pairs.map(|(name, value)| (&**name, &**value)).collect();
        let method = request.method().as_str();
        let is_of = |path| {
            app.signing
                .verifies_request(signature, method, path, &pairs)
        };
        if !paths.into_iter().any(is_of) {
            return Err(Fault::unauthorized(
                "auth_signature is not the signature of this request by the application's secret",
            ));
        }
        // A signature that is good has 64 digits; half of them tell it from others.
        let short = signature
            .get(..32)
            .and_then(|half| u128::from_str_radix(half, 16).ok());
        if has_body && !apps.admits(short.unwrap_or_default(), unix_ms()) {
            return Err(Fault::unauthorized(
                "the request was carried out before: sign another one",
            ));
        }
        Ok(Signed {
            body_md5: body_md5.to_owned(),
            query,
        })
    }
}

/// Seconds since 1970.
fn check_time(timestamp: &str, now: u64) -> Result<(), Fault> {
    let at: u64 = timestamp
        .parse()
        .map_err(|_| Fault::unauthorized("auth_timestamp is no number of seconds"))?;
    if at.abs_diff(now) > TIME_SECS_MAX {
        return Err(Fault::unauthorized(format!(
            "auth_timestamp is {} s off the server's clock, and {TIME_SECS_MAX} s are taken",
            at.abs_diff(now)
        )));
    }
    Ok(())
}

/// A path without escapes.
pub(super) fn decoded(path: &str) -> Result<Cow<'_, str>, Fault> {
    percent_decode(path).map_err(|_| Fault::bad("the path is not UTF-8, percent-encoded"))
}

/// How far a request's time may be off.
const TIME_SECS_MAX: u64 = 600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_ten_minutes_off_is_taken() {
        for good in ["1000", "400", "1600", "0001000"] {
            assert!(check_time(good, 1_000).is_ok(), "{good}");
        }
        for bad in ["399", "1601", "", "-1", "1e3", "18446744073709551616"] {
            assert!(check_time(bad, 1_000).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_parameter_stands_once() {
        let pairs = Pairs::of("a=1&b=x%20y&a=2");
        assert!(pairs.get("a").is_err());
        assert!(matches!(pairs.get("b"), Ok(Some("x y"))));
        assert!(matches!(pairs.get("c"), Ok(None)));
    }
}
