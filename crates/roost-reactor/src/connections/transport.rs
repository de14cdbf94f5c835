//! The stages between net and wire: what a connection's bytes pass through on their way.
//!
//! | direction | stages, in order |
//! |---|---|
//! | input | the transport opens records in place and yields their plaintext, piece by piece; the decoder of the connection's phase reads that |
//! | output | compression with a context of the connection's own ([`super::contexts`]), then the transport seals records |
//!
//! Both keep partial input at the same time if need be: a record that is not whole stands beside a
//! message that is not. Output is sealed as late as it is compressed, when it is handed to the driver:
//! what waits in an outbox may still be dropped, and what was sealed must be sent.
//!
//! A plain connection passes through none of this, once its PROXY header has come where one is
//! required. TLS is the only other transport: a flag of the record tells its connections, and 208
//! bytes in a slot beside the table are all that one keeps while it is quiet. During the handshake it
//! has an entry in a table, and, from when its ClientHello is whole, about 4 kB of rustls'.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use roost_net::ConnKey;
use roost_net::memory::SecretSlots;
use roost_tls::record::{Extent, begins_handshake, extent, plain_alert};
use roost_tls::{
    Alert, ClientName, End, Fault, Handshake, HandshakeFault, Rest, Sealer, Session, SharedSetup,
};
use roost_tls::{ImportError, Step, seal};
use roost_wire::proxy::{self, Progress, ProxyError, Source};
use zeroize::Zeroizing;

/// The TLS connections of one reactor, by slot.
#[derive(Default)]
pub(crate) struct Transports {
    /// Handshakes under way.
    handshakes: HashMap<u32, PendingHandshake>,
    /// Those that are established, and places for those whose handshake has begun.
    rests: SecretSlots<Rest>,
    /// What is sealed and not handed to the driver: handshakes' flights, alerts.
    unsent: HashMap<u32, Vec<u8>>,
    /// Slots that have something to send though there may be no data for them: what is unsent, or a
    /// key update.
    owing: Vec<u32>,
    /// As whom certificates name clients that have not asked for a WebSocket, by slot.
    names: HashMap<u32, ClientName>,
    /// Connections whose ClientHello is whole and has not had its turn, in order.
    hellos: VecDeque<ConnKey>,
}

/// A handshake under way, or what comes before one.
struct PendingHandshake {
    /// Until a PROXY header has come. In a box, for others have none.
    header: Option<Box<ProxyHeader>>,
    /// `None` where there is only a header before a plain connection.
    setup: Option<Arc<SharedSetup>>,
    /// From the first turn on.
    handshake: Option<Box<Handshake>>,
    /// The next record may be handled, whatever it costs.
    has_turn: bool,
}

impl PendingHandshake {
    /// Whether the next record has to wait: the step with the whole of a ClientHello may come with any
    /// record until it has been answered.
    fn needs_turn(&self) -> bool {
        let handshake = self.handshake.as_ref();
        !self.has_turn && handshake.is_none_or(|handshake| handshake.awaits_hello())
    }
}

/// A PROXY header is awaited.
pub(crate) struct ProxyHeader {
    /// The socket's own address: the client's where the header names none.
    pub(crate) socket: Option<SocketAddr>,
}

/// What a TLS connection is, written down: key material, wiped when it is dropped.
pub(crate) struct TransportState {
    rest: Zeroizing<[u8; Rest::EXPORT_BYTES]>,
    unsent: Option<Vec<u8>>,
    name: Option<ClientName>,
}

/// The same, read.
pub(crate) struct Carried {
    rest: Rest,
    unsent: Option<Vec<u8>>,
    name: Option<ClientName>,
}

/// What was opened of a connection's bytes.
pub(crate) struct Opened {
    /// Which bytes are plaintext, now.
    pub(crate) plaintext: Range<usize>,
    /// So many were used up.
    pub(crate) consumed: usize,
    /// Something authentic has come, or the handshake has gone on.
    pub(crate) is_sign_of_life: bool,
    /// Work: bytes touched, and one for each record.
    pub(crate) steps: u64,
    /// What follows.
    pub(crate) then: Then,
}

/// What follows on what was opened.
pub(crate) enum Then {
    /// The rest can be opened.
    GoOn,
    /// The rest is the beginning of a record.
    Wait,
    /// The rest begins with a ClientHello, which has to wait for its turn.
    WaitForTurn,
    /// The PROXY header has come whole, and says whose connection this is. The rest follows as the caller
    /// makes of [`Transports::take_header`].
    Announced(Source),
    /// The first bytes are no PROXY header, and nothing is answered.
    NotAnnounced(ProxyError),
    /// The handshake is over; the rest can be opened.
    Established(Box<Session>),
    /// The peer will send no more.
    Closed,
    /// The handshake failed: an alert is to be sent, then FIN.
    HandshakeFailed(HandshakeFault),
    /// The peer broke a rule: an alert is to be sent, then FIN.
    Failed(Fault),
    /// The first byte is none of TLS.
    NotTls,
    /// Keys that cannot be changed (TLS 1.2) have been used as often as may be: the connection is to be
    /// closed.
    WornOut,
}

impl TransportState {
    /// Reads it.
    ///
    /// # Errors
    /// It was written by a version that knows other suites: the connection cannot go on.
    pub(super) fn read(self) -> Result<Carried, ImportError> {
        let TransportState { rest, unsent, name } = self;
        Ok(Carried {
            rest: Rest::from_bytes(&rest[..])?,
            unsent,
            name,
        })
    }
}

impl Opened {
    fn nothing(then: Then) -> Opened {
        Opened {
            plaintext: 0..0,
            consumed: 0,
            is_sign_of_life: false,
            steps: 1,
            then,
        }
    }
}

impl Transports {
    /// The connection in `slot` begins with a PROXY header, a handshake, or one behind the other.
    pub(super) fn begin(
        &mut self,
        slot: u32,
        header: Option<ProxyHeader>,
        setup: Option<Arc<SharedSetup>>,
    ) {
        let pending = PendingHandshake {
            header: header.map(Box::new),
            setup,
            handshake: None,
            has_turn: false,
        };
        self.handshakes.insert(slot, pending);
    }

    /// Whether all connections are plain.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.rests.is_empty() && self.handshakes.is_empty()
    }

    /// Whether the connection in `slot` is not.
    #[inline]
    pub(super) fn has(&self, slot: u32) -> bool {
        self.rests.is_taken(slot) || self.handshakes.contains_key(&slot)
    }

    /// Whether the handshake of the connection in `slot` is not over: nothing can be sealed.
    pub(super) fn is_handshaking(&self, slot: u32) -> bool {
        self.handshakes.contains_key(&slot)
    }

    /// Whether the PROXY header of the connection in `slot` has not come whole.
    pub(super) fn awaits_header(&self, slot: u32) -> bool {
        let pending = self.handshakes.get(&slot);
        pending.is_some_and(|pending| pending.header.is_some())
    }

    /// The PROXY header of the connection in `slot` has come. Returns the socket's address, and whether a
    /// TLS handshake follows.
    pub(super) fn take_header(&mut self, slot: u32) -> (Option<SocketAddr>, bool) {
        let Some(pending) = self.handshakes.get_mut(&slot) else {
            return (None, false);
        };
        let header = pending.header.take();
        let socket = header.and_then(|header| header.socket);
        (socket, pending.setup.is_some())
    }

    /// Wipes and frees what is kept for the connection in `slot`.
    pub(super) fn release(&mut self, slot: u32) {
        self.rests.remove(slot);
        self.unsent.remove(&slot);
        self.take_name(slot);
        if self.handshakes.remove(&slot).is_some() && self.handshakes.is_empty() {
            self.handshakes = HashMap::new();
        }
    }

    /// Opens the records at the front of `bytes`, in place.
    pub(super) fn open(&mut self, slot: u32, bytes: &mut [u8]) -> Opened {
        if self.handshakes.contains_key(&slot) {
            return self.feed_handshake(slot, bytes);
        }
        let Some(rest) = self.rests.get_mut(slot) else {
            debug_assert!(false, "only connections with a transport open records");
            return Opened::nothing(Then::Closed);
        };
        let opened = roost_tls::open(rest, bytes);
        let then = match opened.end {
            End::Incomplete(_) if rest.is_worn_out() => Then::WornOut,
            End::Incomplete(_) => Then::Wait,
            End::Closed => Then::Closed,
            End::Failed(fault) => {
                if let Some(alert) = fault.alert() {
                    seal::alert(rest, alert, self.unsent.entry(slot).or_default());
                }
                Then::Failed(fault)
            }
        };
        if rest.owes_output() || matches!(then, Then::Failed(_)) {
            self.owing.push(slot);
        }
        Opened {
            plaintext: opened.plaintext,
            consumed: opened.consumed,
            is_sign_of_life: opened.records > 0,
            steps: opened.steps,
            then,
        }
    }

    /// Goes on with a handshake, by one record.
    fn feed_handshake(&mut self, slot: u32, bytes: &mut [u8]) -> Opened {
        let Some(pending) = self.handshakes.get_mut(&slot) else {
            return Opened::nothing(Then::Closed);
        };
        if pending.header.is_some() {
            return read_header(bytes);
        }
        let is_first = pending.handshake.is_none();
        if is_first && bytes.first().is_some_and(|&byte| !begins_handshake(byte)) {
            return Opened::nothing(Then::NotTls);
        }
        let len = match extent(bytes) {
            Extent::Whole(len) => len,
            Extent::Missing(_) => return Opened::nothing(Then::Wait),
            Extent::TooLong => {
                let alert = plain_alert(Alert::RecordOverflow);
                self.owe(slot, |out| out.extend_from_slice(&alert));
                return Opened::nothing(Then::HandshakeFailed(HandshakeFault::Misbehaved));
            }
        };
        if pending.needs_turn() {
            return Opened::nothing(Then::WaitForTurn);
        }
        pending.has_turn = false;
        let (Some(handshake), Some(rest)) = (&mut pending.handshake, self.rests.get_mut(slot))
        else {
            debug_assert!(false, "a turn begins a handshake");
            return Opened::nothing(Then::Closed);
        };
        let out = self.unsent.entry(slot).or_default();
        let step = handshake.feed(&mut bytes[..len], out, rest);
        match out.is_empty() {
            true => drop(self.unsent.remove(&slot)),
            false => self.owing.push(slot),
        }
        let then = match step {
            Step::More => Then::GoOn,
            Step::Done(session) => {
                let pending = self.handshakes.remove(&slot);
                let setup = pending.and_then(|pending| pending.setup);
                if let (Some(setup), Some(certificate)) = (setup, &session.peer_certificate)
                    && let Some(name) = setup.current().name_of(certificate)
                {
                    self.names.insert(slot, name);
                }
                Then::Established(session)
            }
            Step::Failed(fault) => Then::HandshakeFailed(fault),
        };
        Opened {
            plaintext: 0..0,
            consumed: len,
            is_sign_of_life: true,
            steps: 1 + 2 * len as u64,
            then,
        }
    }

    /// Whether certificates name some clients that have not asked for a WebSocket.
    #[inline]
    pub(super) fn has_names(&self) -> bool {
        !self.names.is_empty()
    }

    /// As whom its certificate names the client in `slot`; once.
    pub(super) fn take_name(&mut self, slot: u32) -> Option<ClientName> {
        let name = self.names.remove(&slot)?;
        if self.names.is_empty() {
            self.names = HashMap::new();
        }
        Some(name)
    }

    /// A record of a ClientHello of `key` is whole: it is handled when it has its turn.
    pub(super) fn queue_hello(&mut self, key: ConnKey) {
        self.hellos.push_back(key);
    }

    /// Whether the connection in `slot` waits for its turn.
    pub(super) fn waits_for_turn(&self, slot: u32) -> bool {
        let pending = self.handshakes.get(&slot);
        pending.is_some_and(PendingHandshake::needs_turn)
    }

    /// How many ClientHellos wait.
    #[inline]
    pub(super) fn hellos(&self) -> usize {
        self.hellos.len()
    }

    /// The one whose turn it is. Its connection may have ended meanwhile.
    pub(super) fn next_hello(&mut self) -> Option<ConnKey> {
        let key = self.hellos.pop_front();
        if self.hellos.is_empty() {
            self.hellos = VecDeque::new();
        }
        key
    }

    /// It is the turn of the connection in `slot`: one record of it.
    pub(super) fn begin_handshake(&mut self, slot: u32) -> Result<(), HandshakeFault> {
        let Some(pending) = self.handshakes.get_mut(&slot) else {
            return Ok(());
        };
        let Some(setup) = &pending.setup else {
            debug_assert!(false, "a plain connection has no ClientHello");
            return Ok(());
        };
        pending.has_turn = true;
        if pending.handshake.is_none() {
            let handshake = Handshake::server(&setup.current())?;
            pending.handshake = Some(Box::new(handshake));
            self.rests.insert(slot, Rest::VACANT);
        }
        Ok(())
    }

    fn owe(&mut self, slot: u32, write: impl FnOnce(&mut Vec<u8>)) {
        write(self.unsent.entry(slot).or_default());
        self.owing.push(slot);
    }

    /// Whether something is to be sent that is no data.
    #[inline]
    pub(super) fn has_owing(&self) -> bool {
        !self.owing.is_empty()
    }

    /// The slots that have something to send though there may be no data; give the list back with
    /// [`Transports::return_owing`].
    pub(super) fn take_owing(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.owing)
    }

    /// Takes the list back, to be used again.
    pub(super) fn return_owing(&mut self, mut owing: Vec<u32>) {
        owing.clear();
        if self.owing.is_empty() && owing.capacity() <= OWING_KEPT {
            self.owing = owing;
        }
    }

    /// The batch in flight of the connection in `slot` has gone: notes what it has to send yet.
    pub(super) fn note_sendable(&mut self, slot: u32) {
        let owes_records = self.unsent.contains_key(&slot);
        if owes_records
            || self
                .rests
                .get_mut(slot)
                .is_some_and(|rest| rest.owes_output())
        {
            self.owing.push(slot);
        }
    }

    /// Whether something is sealed for the connection in `slot` that the driver has not got.
    pub(super) fn has_unsent(&self, slot: u32) -> bool {
        self.unsent.contains_key(&slot)
    }

    /// Appends what is to be sent to the connection in `slot`: what is unsent, a key update if one is
    /// due, and `pieces`, sealed.
    pub(super) fn seal<'p>(
        &mut self,
        slot: u32,
        pieces: impl IntoIterator<Item = &'p [u8]>,
        out: &mut Vec<u8>,
    ) {
        if !self.unsent.is_empty()
            && let Some(unsent) = self.unsent.remove(&slot)
        {
            out.extend_from_slice(&unsent);
        }
        if self.is_handshaking(slot) {
            return; // only its own flights are sent
        }
        let Some(rest) = self.rests.get_mut(slot) else {
            return;
        };
        // Behind an alert or close_notify nothing is sent.
        if let Some(mut sealer) = Sealer::new(rest, out) {
            for piece in pieces {
                sealer.push(piece);
            }
            sealer.finish();
        }
    }

    /// Appends close_notify, if it or an alert has not been sent before, behind what is unsent: a record
    /// that is left out would make all behind it unreadable.
    pub(super) fn close(&mut self, slot: u32, out: &mut Vec<u8>) {
        if let Some(unsent) = self.unsent.remove(&slot) {
            out.extend_from_slice(&unsent);
        }
        if !self.is_handshaking(slot)
            && let Some(rest) = self.rests.get_mut(slot)
        {
            seal::close(rest, out);
        }
    }

    /// Takes what is kept of the connection in `slot` out. `None` if it is plain. Its handshake, if it has
    /// one, must be over: that cannot go on in another process.
    pub(super) fn take_apart(&mut self, slot: u32) -> Option<TransportState> {
        debug_assert!(
            !self.is_handshaking(slot),
            "a handshake is ended, not carried"
        );
        let mut rest = Rest::VACANT;
        self.rests.get_mut(slot)?.move_to(&mut rest);
        let unsent = self.unsent.remove(&slot);
        let name = self.take_name(slot);
        self.release(slot);
        Some(TransportState {
            rest: rest.into_bytes(),
            unsent,
            name,
        })
    }

    /// Puts it into `slot`.
    pub(super) fn put_together(&mut self, slot: u32, carried: Carried) {
        let Carried {
            mut rest,
            unsent,
            name,
        } = carried;
        rest.move_to(self.rests.insert(slot, Rest::VACANT));
        if let Some(unsent) = unsent {
            self.unsent.insert(slot, unsent);
        }
        if let Some(name) = name {
            self.names.insert(slot, name);
        }
        self.note_sendable(slot);
    }

    /// In tests: an established connection in `slot`.
    #[cfg(test)]
    pub(super) fn establish(&mut self, slot: u32, rest: &mut Rest) {
        rest.move_to(self.rests.insert(slot, Rest::VACANT));
    }

    /// Gives memory back that is free; in bytes.
    pub(super) fn shrink(&mut self) -> usize {
        self.rests.release_free()
    }
}

/// Reads a PROXY header at the front of a connection's first bytes. They are looked at again from the
/// start when more have come: a header has 552 at most.
fn read_header(bytes: &[u8]) -> Opened {
    match proxy::parse(bytes) {
        Ok(Progress::Incomplete) => Opened::nothing(Then::Wait),
        Ok(Progress::Whole(len, source)) => Opened {
            plaintext: 0..0,
            consumed: len,
            is_sign_of_life: true,
            steps: 1 + len as u64,
            then: Then::Announced(source),
        },
        Err(error) => Opened::nothing(Then::NotAnnounced(error)),
    }
}

/// A list of so many is kept for the next loop iteration.
const OWING_KEPT: usize = 1024;

#[cfg(test)]
mod tests {
    use roost_tls::Suite;
    use roost_tls::testing::{Endpoint, Over, pair, setups};

    use super::*;

    #[test]
    fn close_notify_goes_behind_what_is_unsent() {
        let (mut client, mut server) = pair(Suite::Aes128GcmSha256, 3);
        let mut transports = Transports::default();
        transports.establish(5, &mut server.rest);
        let mut first = Vec::new();
        transports.seal(5, [&b"first"[..]], &mut first);
        transports.unsent.insert(5, first);
        let mut out = Vec::new();
        transports.close(5, &mut out);
        client.give(&out);
        assert_eq!(client.received, b"first");
        assert_eq!(client.over, Some(Over::Closed));
        assert!(!transports.has_unsent(5));
    }
    /// A ClientHello comes in a record for each of its bytes but the last one's rest; only the record
    /// with which it is whole costs something, and each has to wait.
    #[test]
    fn each_record_of_a_client_hello_waits_for_a_turn() {
        let (server, client) = setups();
        let hello = Endpoint::client(&client, "localhost").take();
        let (header, message) = hello.split_at(5);
        let record = |part: &[u8]| {
            let len = u16::try_from(part.len())
                .expect("a short part")
                .to_be_bytes();
            [&header[..3], &len, part].concat()
        };
        let (beginning, end) = message.split_at(7);
        let mut transports = Transports::default();
        transports.begin(5, None, Some(Arc::new(SharedSetup::new(server))));
        for (number, part) in [&beginning[..1], &beginning[1..], end]
            .into_iter()
            .enumerate()
        {
            let mut record = record(part);
            let opened = transports.open(5, &mut record);
            assert!(matches!(opened.then, Then::WaitForTurn), "record {number}");
            assert!(!transports.has_unsent(5), "nothing is answered yet");
            transports
                .begin_handshake(5)
                .expect("a setup that was checked");
            let opened = transports.open(5, &mut record);
            assert!(matches!(opened.then, Then::GoOn), "record {number}");
            assert_eq!(opened.consumed, record.len());
        }
        assert!(transports.has_unsent(5), "ServerHello and what follows it");
        // What comes now costs little and waits no more.
        let mut client_finished = record(&[1]);
        client_finished[0] = 20; // change_cipher_spec, which TLS 1.3 ignores
        let opened = transports.open(5, &mut client_finished);
        assert!(matches!(opened.then, Then::GoOn), "{:?}", opened.consumed);
    }
}
