//! Centrifugo's commands and replies as JSON for those who read and write them, and as JSON or Protobuf on the wire.
//!
//! The Protobuf is written here a second time, from a table of `client.proto`'s fields, and read strictly: what the
//! server sends has to be a message that the table knows, in the way that encoders write it. So it is an oracle for
//! the server's own reader and writer.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roost_dialect::fossil;
use serde_json::{Map, Value, json};

use crate::client::{Client, Failure, Message as Heard};
use crate::server::TestServer;

/// What a client and the server have agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// A command or reply a line.
    Json,
    /// Each behind its length.
    Protobuf,
}

impl Encoding {
    /// Both.
    pub const ALL: [Encoding; 2] = [Encoding::Json, Encoding::Protobuf];

    /// Where a client connects that wants this.
    pub fn target(self) -> &'static str {
        match self {
            Encoding::Json => "/connection/websocket",
            Encoding::Protobuf => "/connection/websocket?cf_protocol=protobuf",
        }
    }
}

/// A client of such an encoding, on a WebSocket.
pub struct Peer {
    /// Its connection.
    pub client: Client,
    encoding: Encoding,
    /// What has come in a message with others.
    replies: VecDeque<Value>,
}

impl Peer {
    /// One that has sent nothing yet.
    ///
    /// # Errors
    /// When the server does not open.
    pub fn open(server: &TestServer, encoding: Encoding) -> Result<Peer, Failure> {
        Ok(Peer::of(server.open(encoding.target())?, encoding))
    }

    /// On a connection that is open.
    pub fn of(client: Client, encoding: Encoding) -> Peer {
        Peer {
            client,
            encoding,
            replies: VecDeque::new(),
        }
    }

    /// One that has connected.
    ///
    /// # Errors
    /// When it is not let in.
    pub fn connect(server: &TestServer, encoding: Encoding) -> Result<Peer, Failure> {
        let mut peer = Peer::open(server, encoding)?;
        let answer = peer.ask(&json!({"id": 1, "connect": {}}))?;
        match answer["client"].is_string() {
            true => Ok(peer),
            false => Err(Failure::new(format!("answered {answer}"))),
        }
    }

    /// Sends commands, one a line of JSON, in one message.
    ///
    /// # Errors
    /// When they cannot be sent.
    pub fn say(&mut self, lines: &str) -> Result<(), Failure> {
        match self.encoding {
            Encoding::Json => self.client.send_text(lines),
            Encoding::Protobuf => self.client.send_binary(&commands(lines)),
        }
    }

    /// Sends a command; its result, or the error.
    ///
    /// # Errors
    /// When something else comes.
    pub fn ask(&mut self, command: &Value) -> Result<Value, Failure> {
        self.say(&command.to_string())?;
        let reply = self.reply()?;
        let methods = command.as_object().into_iter().flat_map(|it| it.keys());
        let mut methods = methods.filter(|&key| key != "id");
        let result = reply.get(methods.next().expect("a method"));
        match result.or(reply.get("error")) {
            Some(result) if reply["id"] == command["id"] => Ok(result.clone()),
            _ => Err(Failure::new(format!("{command} is answered by {reply}"))),
        }
    }

    /// The next reply or push, which may have come in one message with others.
    ///
    /// # Errors
    /// When something else comes.
    pub fn reply(&mut self) -> Result<Value, Failure> {
        while self.replies.is_empty() {
            match (self.client.receive()?, self.encoding) {
                (Heard::Text(text), Encoding::Json) => {
                    for line in text.split('\n') {
                        let reply = serde_json::from_str(line);
                        let reply =
                            reply.map_err(|error| Failure::new(format!("{error}: {line}")))?;
                        self.replies.push_back(reply);
                    }
                }
                (Heard::Binary(bytes), Encoding::Protobuf) => {
                    let read = replies(&bytes);
                    let read = read.map_err(|why| Failure::new(format!("{why}: {bytes:?}")))?;
                    self.replies.extend(read);
                }
                (other, _) => return Err(Failure::new(format!("received {other:?}"))),
            }
        }
        Ok(self.replies.pop_front().expect("one is there"))
    }
}

/// What a client that gets deltas has of a channel.
#[derive(Debug, Default)]
pub struct Deltas {
    base: Option<Vec<u8>>,
    /// How many publications came as deltas.
    pub deltas: u64,
    /// How many came whole.
    pub whole: u64,
}

impl Deltas {
    /// The data of the publication that comes next, which may be a delta against the one before.
    ///
    /// # Errors
    /// When it is none of the one that this client has.
    pub fn read(&mut self, encoding: Encoding, publication: &Value) -> Result<Value, String> {
        let data = &publication["data"];
        let bytes = match (encoding, data.as_str()) {
            (Encoding::Json, None) => return Err(format!("no string: {publication}")),
            (Encoding::Json, Some(text)) => text.as_bytes().to_vec(),
            (Encoding::Protobuf, _) => bytes_of(data),
        };
        let whole = if publication["delta"] == true {
            self.deltas += 1;
            let base = self
                .base
                .as_deref()
                .ok_or(format!("no base: {publication}"))?;
            let decoded = fossil::decode(base, &bytes, 1 << 20);
            decoded.map_err(|error| format!("{error}: {publication}"))?
        } else {
            self.whole += 1;
            bytes
        };
        let value = match encoding {
            Encoding::Json => serde_json::from_slice(&whole).map_err(|error| error.to_string()),
            Encoding::Protobuf => Ok(value_of(&whole)),
        };
        self.base = Some(whole);
        value.map_err(|error| format!("{error}: {publication}"))
    }
}

/// Each case in each encoding, on each backend: `json::epoll::case` and so on.
#[macro_export]
macro_rules! in_each_encoding {
    ($($case:ident),+ $(,)?) => {
        $crate::in_encoding!(json, Json, $($case),+);
        $crate::in_encoding!(protobuf, Protobuf, $($case),+);
    };
}

/// The part of [`in_each_encoding`] for one encoding.
#[macro_export]
macro_rules! in_encoding {
    ($module:ident, $encoding:ident, $($case:ident),+) => {
        mod $module {
            $(
                fn $case(backend: $crate::server::Backend) -> $crate::client::Checked {
                    super::$case(backend, $crate::centrifugo::Encoding::$encoding)
                }
            )+
            $crate::on_each_backend!($($case),+);
        }
    };
}

/// Commands, one a line, as a message of Protobuf.
///
/// # Panics
/// When one is no JSON, or has a member that the protocol does not know.
pub fn commands(lines: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines.split('\n') {
        let command = serde_json::from_str(line).expect("a command is JSON");
        let message = write(&COMMAND, &command);
        push_delimited(&mut out, &message);
    }
    out
}

/// The replies of a message.
///
/// # Errors
/// What is none of the protocol's.
pub fn replies(mut message: &[u8]) -> Result<Vec<Value>, String> {
    let mut replies = Vec::new();
    while !message.is_empty() {
        let reply = take_delimited(&mut message)?;
        replies.push(read(&REPLY, reply)?);
    }
    Ok(replies)
}

/// Takes the replies that are whole from the front of a stream.
///
/// # Errors
/// What is none of the protocol's.
pub fn take_replies(stream: &mut Vec<u8>) -> Result<Vec<Value>, String> {
    let mut taken = Vec::new();
    let mut rest = &stream[..];
    // A length may be cut as well.
    while rest.iter().any(|&byte| byte < 0x80) {
        let mut behind = rest;
        let length = take_number(&mut behind)?;
        if (behind.len() as u64) < length {
            break;
        }
        taken.push(read(&REPLY, take_delimited(&mut rest)?)?);
    }
    let left = rest.to_vec();
    *stream = left;
    Ok(taken)
}

/// What a client without a WebSocket sends, in Protobuf.
pub fn emulation_request(session: &str, lines: &str) -> Vec<u8> {
    let mut out = Vec::new();
    push_field(&mut out, 1, b"node");
    push_field(&mut out, 2, session.as_bytes());
    push_field(&mut out, 3, &commands(lines));
    out
}

/// A message's fields: number, name and type.
struct Schema(&'static [(u32, &'static str, Type)]);

#[derive(Clone, Copy)]
enum Type {
    Number,
    Signed,
    Flag,
    Text,
    Bytes,
    Message(&'static Schema),
    List(&'static Schema),
    /// By a text.
    Map(&'static Schema),
}

use Type::{Bytes, Flag, List, Message, Number, Signed, Text};

static COMMAND: Schema = Schema(&[
    (1, "id", Number),
    (4, "connect", Message(&CONNECT_REQUEST)),
    (5, "subscribe", Message(&SUBSCRIBE_REQUEST)),
    (6, "unsubscribe", Message(&CHANNEL)),
    (7, "publish", Message(&PUBLISH_REQUEST)),
    (8, "presence", Message(&CHANNEL)),
    (9, "presence_stats", Message(&CHANNEL)),
    (10, "history", Message(&HISTORY_REQUEST)),
    (11, "ping", Message(&EMPTY)),
    (12, "send", Message(&DATA)),
    (13, "rpc", Message(&RPC_REQUEST)),
    (14, "refresh", Message(&TOKEN)),
    (15, "sub_refresh", Message(&SUB_REFRESH_REQUEST)),
]);

static REPLY: Schema = Schema(&[
    (1, "id", Number),
    (2, "error", Message(&ERROR)),
    (4, "push", Message(&PUSH)),
    (5, "connect", Message(&CONNECT_RESULT)),
    (6, "subscribe", Message(&SUBSCRIBE_RESULT)),
    (7, "unsubscribe", Message(&EMPTY)),
    (8, "publish", Message(&EMPTY)),
    (9, "presence", Message(&PRESENCE_RESULT)),
    (10, "presence_stats", Message(&PRESENCE_STATS_RESULT)),
    (11, "history", Message(&HISTORY_RESULT)),
    (12, "ping", Message(&EMPTY)),
    (13, "rpc", Message(&DATA)),
    (14, "refresh", Message(&REFRESH_RESULT)),
    (15, "sub_refresh", Message(&EXPIRY)),
]);

static PUSH: Schema = Schema(&[
    (2, "channel", Text),
    (4, "pub", Message(&PUBLICATION)),
    (5, "join", Message(&INFO)),
    (6, "leave", Message(&INFO)),
    (7, "unsubscribe", Message(&UNSUBSCRIBE)),
    (9, "subscribe", Message(&SUBSCRIBE)),
    (11, "disconnect", Message(&DISCONNECT)),
]);

static EMPTY: Schema = Schema(&[]);
static DATA: Schema = Schema(&[(1, "data", Bytes)]);
static TOKEN: Schema = Schema(&[(1, "token", Text)]);
static CHANNEL: Schema = Schema(&[(1, "channel", Text)]);
static EXPIRY: Schema = Schema(&[(1, "expires", Flag), (2, "ttl", Number)]);
static INFO: Schema = Schema(&[(1, "info", Message(&CLIENT_INFO))]);

static ERROR: Schema = Schema(&[
    (1, "code", Number),
    (2, "message", Text),
    (3, "temporary", Flag),
]);

static CLIENT_INFO: Schema = Schema(&[
    (1, "user", Text),
    (2, "client", Text),
    (3, "conn_info", Bytes),
    (4, "chan_info", Bytes),
]);

static PUBLICATION: Schema = Schema(&[
    (4, "data", Bytes),
    (5, "info", Message(&CLIENT_INFO)),
    (6, "offset", Number),
    (8, "delta", Flag),
]);

static UNSUBSCRIBE: Schema = Schema(&[(2, "code", Number), (3, "reason", Text)]);
static DISCONNECT: Schema = Schema(&[(1, "code", Number), (2, "reason", Text)]);

static SUBSCRIBE: Schema = Schema(&[
    (1, "recoverable", Flag),
    (4, "epoch", Text),
    (5, "offset", Number),
    (6, "positioned", Flag),
]);

static CONNECT_REQUEST: Schema = Schema(&[
    (1, "token", Text),
    (2, "data", Bytes),
    (3, "subs", Type::Map(&SUBSCRIBE_REQUEST)),
    (4, "name", Text),
    (5, "version", Text),
]);

static CONNECT_RESULT: Schema = Schema(&[
    (1, "client", Text),
    (2, "version", Text),
    (3, "expires", Flag),
    (4, "ttl", Number),
    (6, "subs", Type::Map(&SUBSCRIBE_RESULT)),
    (7, "ping", Number),
    (8, "pong", Flag),
    (9, "session", Text),
    (10, "node", Text),
]);

static REFRESH_RESULT: Schema = Schema(&[
    (1, "client", Text),
    (2, "version", Text),
    (3, "expires", Flag),
    (4, "ttl", Number),
]);

static SUBSCRIBE_REQUEST: Schema = Schema(&[
    (1, "channel", Text),
    (2, "token", Text),
    (3, "recover", Flag),
    (6, "epoch", Text),
    (7, "offset", Number),
    (8, "data", Bytes),
    (9, "positioned", Flag),
    (10, "recoverable", Flag),
    (11, "join_leave", Flag),
    (12, "delta", Text),
    (14, "flag", Number),
    (15, "type", Signed),
]);

static SUBSCRIBE_RESULT: Schema = Schema(&[
    (1, "expires", Flag),
    (2, "ttl", Number),
    (3, "recoverable", Flag),
    (6, "epoch", Text),
    (7, "publications", List(&PUBLICATION)),
    (8, "recovered", Flag),
    (9, "offset", Number),
    (10, "positioned", Flag),
    (12, "was_recovering", Flag),
    (13, "delta", Flag),
]);

static SUB_REFRESH_REQUEST: Schema = Schema(&[(1, "channel", Text), (2, "token", Text)]);

static PUBLISH_REQUEST: Schema = Schema(&[
    (1, "channel", Text),
    (2, "data", Bytes),
    (3, "type", Signed),
]);

static PRESENCE_RESULT: Schema = Schema(&[(1, "presence", Type::Map(&CLIENT_INFO))]);
static PRESENCE_STATS_RESULT: Schema =
    Schema(&[(1, "num_clients", Number), (2, "num_users", Number)]);

static HISTORY_REQUEST: Schema = Schema(&[
    (1, "channel", Text),
    (7, "limit", Signed),
    (8, "since", Message(&STREAM_POSITION)),
    (9, "reverse", Flag),
]);

static STREAM_POSITION: Schema = Schema(&[(1, "offset", Number), (2, "epoch", Text)]);

static HISTORY_RESULT: Schema = Schema(&[
    (1, "publications", List(&PUBLICATION)),
    (2, "epoch", Text),
    (3, "offset", Number),
]);

static RPC_REQUEST: Schema = Schema(&[(1, "data", Bytes), (2, "method", Text)]);

/// `null` is a member that is not there, but for data.
fn write(schema: &Schema, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in value.as_object().expect("a message is an object") {
        let field = schema.0.iter().find(|(_, known, _)| known == name);
        let &(number, _, kind) = field.unwrap_or_else(|| panic!("no member is called {name}"));
        match kind {
            Bytes => push_field(&mut out, number, &bytes_of(value)),
            _ if value.is_null() => {}
            Number => push_number(&mut out, number, value.as_u64().expect("a number")),
            Signed => {
                let signed = value.as_i64().expect("a number");
                push_number(&mut out, number, signed.cast_unsigned());
            }
            Flag => push_number(&mut out, number, value.as_bool().expect("a flag").into()),
            Text => push_field(&mut out, number, value.as_str().expect("a text").as_bytes()),
            Message(schema) => push_field(&mut out, number, &write(schema, value)),
            List(schema) => {
                for one in value.as_array().expect("a list") {
                    push_field(&mut out, number, &write(schema, one));
                }
            }
            Type::Map(schema) => {
                for (key, value) in value.as_object().expect("a map") {
                    let mut entry = Vec::new();
                    push_field(&mut entry, 1, key.as_bytes());
                    push_field(&mut entry, 2, &write(schema, value));
                    push_field(&mut out, number, &entry);
                }
            }
        }
    }
    out
}

/// What a field of bytes has for a value: the bytes that a string with U+0000 stands for, or its JSON.
fn bytes_of(value: &Value) -> Vec<u8> {
    let base64 = value.as_str().and_then(|text| text.strip_prefix('\0'));
    let bytes = base64.and_then(|base64| STANDARD.decode(base64).ok());
    bytes.unwrap_or_else(|| value.to_string().into_bytes())
}

/// The same the other way round.
fn value_of(bytes: &[u8]) -> Value {
    let value = serde_json::from_slice(bytes).ok();
    value.unwrap_or_else(|| json!(format!("\0{}", STANDARD.encode(bytes))))
}

fn read(schema: &Schema, mut message: &[u8]) -> Result<Value, String> {
    let mut members = Map::new();
    let mut seen = Vec::new();
    while !message.is_empty() {
        let tag = take_number(&mut message)?;
        let field = schema
            .0
            .iter()
            .find(|&&(number, ..)| u64::from(number) == tag >> 3);
        let &(number, name, kind) = field.ok_or(format!("no field {}", tag >> 3))?;
        let is_number = matches!(kind, Number | Signed | Flag);
        if tag & 7 != if is_number { 0 } else { 2 } {
            return Err(format!("{name} has wire type {}", tag & 7));
        }
        let may_repeat = matches!(kind, List(_) | Type::Map(_));
        if seen.contains(&number) && !may_repeat {
            return Err(format!("{name} is there twice"));
        }
        seen.push(number);
        read_field(&mut members, (name, kind), &mut message)?;
    }
    fill(schema, &mut members);
    Ok(Value::Object(members))
}

/// What is 0 or empty stands in JSON where there is a place for it.
fn fill(schema: &Schema, members: &mut Map<String, Value>) {
    let is = |other: &Schema| std::ptr::eq(schema, other);
    let mut default = |name: &str, value: Value| _ = members.entry(name).or_insert(value);
    if is(&CLIENT_INFO) {
        default("user", json!(""));
    } else if is(&PRESENCE_RESULT) {
        default("presence", json!({}));
    } else if is(&PRESENCE_STATS_RESULT) {
        default("num_clients", json!(0));
        default("num_users", json!(0));
    } else if is(&HISTORY_RESULT) {
        default("publications", json!([]));
        default("offset", json!(0));
    } else if is(&SUBSCRIBE_RESULT) {
        if members.contains_key("recoverable") {
            members.entry("offset").or_insert(json!(0));
        }
        if members.contains_key("recovered") {
            members.entry("publications").or_insert(json!([]));
        }
    }
}

fn read_field(
    members: &mut Map<String, Value>,
    (name, kind): (&str, Type),
    message: &mut &[u8],
) -> Result<(), String> {
    if matches!(kind, Number | Signed | Flag) {
        let number = take_number(message)?;
        if number == 0 {
            return Err(format!("{name} is 0, which encoders leave out"));
        }
        let value = match kind {
            Flag => json!(number == 1),
            Signed => json!(number.cast_signed()),
            _ => json!(number),
        };
        members.insert(name.to_owned(), value);
        return Ok(());
    }
    let bytes = take_delimited(message)?;
    let text =
        |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| format!("{name}: no UTF-8"));
    let is_left_out = bytes.is_empty() && matches!(kind, Text | Bytes);
    if is_left_out {
        return Err(format!("{name} is empty, which encoders leave out"));
    }
    match kind {
        Text => drop(members.insert(name.to_owned(), json!(text(bytes)?))),
        Bytes => drop(members.insert(name.to_owned(), value_of(bytes))),
        Message(schema) => drop(members.insert(name.to_owned(), read(schema, bytes)?)),
        List(schema) => {
            let list = members.entry(name).or_insert(json!([]));
            list.as_array_mut()
                .expect("a list")
                .push(read(schema, bytes)?);
        }
        Type::Map(schema) => {
            let mut entry = bytes;
            let (mut key, mut value) = (String::new(), json!({}));
            while !entry.is_empty() {
                match take_number(&mut entry)? {
                    0x0a => key = text(take_delimited(&mut entry)?)?,
                    0x12 => value = read(schema, take_delimited(&mut entry)?)?,
                    tag => return Err(format!("{name} has an entry with tag {tag}")),
                }
            }
            let map = members.entry(name).or_insert(json!({}));
            if map
                .as_object_mut()
                .expect("a map")
                .insert(key, value)
                .is_some()
            {
                return Err(format!("{name} has a key twice"));
            }
        }
        Number | Signed | Flag => unreachable!("they were read above"),
    }
    Ok(())
}

fn take_number(rest: &mut &[u8]) -> Result<u64, String> {
    let mut number = 0_u64;
    for at in 0..10 {
        let (&byte, behind) = rest.split_first().ok_or("a number is cut off")?;
        *rest = behind;
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return match byte == 0 && at > 0 {
                true => Err("a number is longer than it need be".to_owned()),
                false => Ok(number),
            };
        }
    }
    Err("a number does not end".to_owned())
}

fn take_delimited<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let length = take_number(rest)?;
    let length = usize::try_from(length).map_err(|error| error.to_string())?;
    let (taken, behind) = rest
        .split_at_checked(length)
        .ok_or("less than its length")?;
    *rest = behind;
    Ok(taken)
}

fn push_field(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    push_varint(out, u64::from(number) << 3 | 2);
    push_delimited(out, bytes);
}

fn push_delimited(out: &mut Vec<u8>, bytes: &[u8]) {
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn push_number(out: &mut Vec<u8>, field: u32, number: u64) {
    push_varint(out, u64::from(field) << 3);
    push_varint(out, number);
}

fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
