//! Says once a day that a certificate expires soon, and keeps the clock that certificates and tickets go
//! by.

use std::sync::Arc;

use roost_tls::certs::EXPIRES_SOON_SECONDS;
use tracing::warn;

use crate::reload::CurrentTls;
use crate::tls::{date, now};

/// What has been said of the certificates.
pub(crate) struct Expiry {
    tls: Arc<CurrentTls>,
    /// When they are looked at next, in seconds since 1970.
    next: u64,
}

impl Expiry {
    /// Begins a day from now: the start has warned.
    pub(crate) fn new(tls: Arc<CurrentTls>) -> Expiry {
        let next = now() + DAY_SECONDS;
        Expiry { tls, next }
    }

    /// To be called about once a second.
    pub(crate) fn check(&mut self) {
        let now = now();
        let tls = self.tls.get();
        tls.set_clock(now);
        if now < self.next {
            return;
        }
        self.next = now + DAY_SECONDS;
        for (listener, expires) in tls.expiries() {
            if let Some(what) = warning(expires, now) {
                warn!(listener, "{what}");
            }
        }
    }
}

fn warning(expires: u64, now: u64) -> Option<String> {
    let date = date(expires);
    match expires.checked_sub(now) {
        None => Some(format!(
            "the listener's certificate has expired on {date}: clients refuse it. Remedy: renew it and \
             send SIGHUP"
        )),
        Some(left) if left < EXPIRES_SOON_SECONDS => Some(format!(
            "the listener's certificate expires on {date}, in {} days. Remedy: renew it and send SIGHUP",
            left / DAY_SECONDS
        )),
        Some(_) => None,
    }
}

const DAY_SECONDS: u64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_weeks_are_soon_and_what_is_over_is_said_too() {
        let now = 1_800_000_000; // 2027-01-15
        let after = |days: u64| warning(now + days * DAY_SECONDS, now);
        assert_eq!(after(14), None);
        let soon = after(13).expect("it is soon");
        assert!(soon.contains("expires on 2027-01-28, in 13 days"), "{soon}");
        let over = warning(now - 1, now).expect("it is over");
        assert!(over.contains("has expired on 2027-01-15"), "{over}");
        assert_eq!(warning(u64::MAX, now), None);
    }
}
