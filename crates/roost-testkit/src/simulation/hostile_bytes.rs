//! What hostile peers send, in the clear and behind TLS.

use roost_wire::Opcode;
use roost_wire::frame::append_masked_frame;

pub(super) fn bytewise(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.iter().map(|&byte| vec![byte]).collect()
}

pub(super) fn frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    append_masked_frame(out, opcode, payload, [9, 8, 7, 6]);
}

/// A request that is accepted, and its first line below.
pub(super) const OPEN: &str = "GET /echo HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
     Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// The same of a WAMP client.
pub(super) const WAMP_OPEN: &str = "GET /wamp HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
     Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: wamp.2.json\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
pub(super) const OPEN_LINE: &str = "GET /echo HTTP/1.1\r\n";
