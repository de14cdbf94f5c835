//! Requests that want no WebSocket: pages, and what load balancers ask.

use roost_dialect::dialect::Accept;
use roost_net::ConnKey;
use roost_wire::handshake::{HandshakeError, Request};

use crate::core::Core;
use crate::handshake::{NOT_FOUND, TEXT};

impl Core {
    /// A request that wants no WebSocket.
    pub(crate) fn handle_plain(&mut self, key: ConnKey, request: &Request<'_>) {
        self.counters.http_requests_total.inc();
        let path = request.path();
        if request.method() == "OPTIONS" || path == self.settings.health_path {
            return self.handle_health_check(key, request.method());
        }
        let settings = self.settings.clone();
        let page = settings.pages.iter().find(|page| page.path == path);
        let offer = settings.offer(path, &[]);
        let accept = settings.dialects.accept(&offer).map(|(_, accept)| accept);
        let head_only = match request.method() {
            "GET" => false,
            "HEAD" => true,
            _ if page.is_none() && path != "/" && accept.is_none() => {
                return self.refuse(key, 404, NOT_FOUND);
            }
            _ => return self.refuse_handshake(key, HandshakeError::Method),
        };
        if let Some(page) = page {
            let headers = [
                ("Cache-Control", "no-cache"),
                ("X-Content-Type-Options", "nosniff"),
                ("Content-Security-Policy", page.content_security_policy),
            ];
            return self.respond(key, 200, page.content_type, &headers, page.body, head_only);
        }
        match accept {
            None | Some(Accept::NotMine) if path == "/" => {
                // What some balancers ask that were told nothing; and what a person tries first.
                let (status, body): (_, &[u8]) = match self.draining {
                    false => (
                        200,
                        b"This server speaks WebSocket; there is no page here.\n",
                    ),
                    true => (503, DRAINING),
                };
                self.respond(key, status, TEXT, NO_STORE, body, head_only);
            }
            None | Some(Accept::NotMine) => self.refuse(key, 404, NOT_FOUND),
            Some(Accept::Refused(reason)) => self.refuse(key, 400, &reason),
            Some(Accept::Open { .. } | Accept::OpenAndClose(..)) => {
                // RFC 9110 §15.5.22: 426 names the protocol to upgrade to; §7.8: Connection names it.
                let headers = HandshakeError::VersionUnsupported.extra_headers();
                self.counters.handshakes_refused_total.inc();
                self.respond(key, 426, TEXT, headers, UPGRADE_REQUIRED, head_only);
            }
        }
    }

    /// A balancer driver_ops whether to send clients here: on the health path, or with OPTIONS on any.
    /// While draining it is told not to, if its request came before the port was closed.
    fn handle_health_check(&mut self, key: ConnKey, method: &str) {
        let (head_only, body): (_, &[u8]) = match method {
            "GET" => (false, b"ok\n"),
            "HEAD" => (true, b"ok\n"),
            "OPTIONS" => (false, b""),
            _ => return self.refuse_handshake(key, HandshakeError::Method),
        };
        self.counters.health_checks_total.inc();
        let (status, body) = match self.draining {
            false => (200, body),
            true => (503, DRAINING),
        };
        let headers = match method {
            // RFC 9110 §9.3.7.
            "OPTIONS" => HandshakeError::Method.extra_headers(),
            _ => NO_STORE,
        };
        self.respond(key, status, TEXT, headers, body, head_only);
    }
}

const NO_STORE: &[(&str, &str)] = &[("Cache-Control", "no-store")];
const DRAINING: &[u8] = b"draining\n";
const UPGRADE_REQUIRED: &[u8] =
    b"This path speaks WebSocket: the request needs \"Upgrade: websocket\" and \"Connection: Upgrade\". \
      Behind a proxy, have it forward the headers Upgrade and Connection.\n";
