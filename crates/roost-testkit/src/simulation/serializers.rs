//! WAMP messages of peers, which are JSON to the rest of the simulation, in each peer's serializer.

use roost_dialect::Serializer;
use roost_dialect::serial::convert;
use roost_dialect::wamp::Wire;
use roost_wire::Opcode;

/// The WebSocket message in which a client sends one message.
pub(super) fn wrap(wire: Wire, json: &str) -> (Opcode, Vec<u8>) {
    let bytes = convert(json.as_bytes(), Serializer::Json, wire.serializer);
    let bytes = bytes.expect("peers write JSON");
    let message = match (wire.is_batched, wire.serializer) {
        (false, _) => bytes,
        (true, Serializer::Json) => [&bytes[..], b"\x1e"].concat(),
        (true, _) => {
            let length = u32::try_from(bytes.len()).expect("peers are brief");
            [&length.to_be_bytes()[..], &bytes].concat()
        }
    };
    (wire.opcode(), message)
}

/// The messages in a WebSocket message of the server.
pub(super) fn unwrap(wire: Wire, opcode: Opcode, message: &[u8]) -> Result<Vec<String>, String> {
    let name = wire.subprotocol();
    if opcode != wire.opcode() {
        return Err(format!("{opcode:?} on {name}"));
    }
    let mut messages = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        let one = next_of(wire, &mut rest).ok_or_else(|| format!("a broken batch on {name}"))?;
        let json = convert(one, wire.serializer, Serializer::Json);
        let json = json.map_err(|error| format!("no value on {name}: {error}"))?;
        messages.push(String::from_utf8(json).map_err(|error| error.to_string())?);
    }
    Ok(messages)
}

fn next_of<'a>(wire: Wire, rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (one, behind) = match (wire.is_batched, wire.serializer) {
        (false, _) => (*rest, &[][..]),
        (true, Serializer::Json) => {
            let end = rest.iter().position(|&byte| byte == 0x1e)?;
            (&rest[..end], &rest[end + 1..])
        }
        (true, _) => {
            let (length, behind) = rest.split_first_chunk::<4>()?;
            behind.split_at_checked(u32::from_be_bytes(*length) as usize)?
        }
    };
    *rest = behind;
    Some(one)
}
