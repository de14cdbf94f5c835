//! What a ring keeps of its connections' TLS: 208 bytes of each that is open, in memory that never
//! moves and is not dumped, and more only while a handshake or a record is under way.

use std::collections::{HashMap, VecDeque};

use roost_net::ConnKey;
use roost_net::clock::now_ns;
use roost_net::memory::SecretSlots;
use roost_tls::record::{Extent, extent, plain_alert};
use roost_tls::{Alert, ClientSetup, End, Handshake, Opened, Rest, Sealer, Step, handshake, seal};

pub(super) struct Tls {
    setup: ClientSetup,
    server_name: String,
    /// Connections that are established, and places for those whose handshake has begun.
    rests: SecretSlots<Rest>,
    handshakes: HashMap<u32, PendingHandshake>,
    /// Handshakes that can go on, in order.
    ready: VecDeque<ConnKey>,
    /// Records of which a part has come.
    records: HashMap<u32, Vec<u8>>,
    /// What is sealed, or needs not be, and has not been sent.
    unsent: HashMap<u32, Vec<u8>>,
    /// What is sent next.
    batch: Vec<u8>,
}

/// A handshake under way.
#[derive(Default)]
struct PendingHandshake {
    /// From its first step on.
    handshake: Option<Box<Handshake>>,
    /// Records, and the beginning of one, that wait for a step.
    received: Vec<u8>,
    /// Since when it has been in `ready`.
    waits_since: Option<u64>,
    /// How long it has waited there in all.
    waited_ns: u64,
}

/// What a step has come to.
pub(super) enum Progress {
    /// The handshake waits for the server, or for another step.
    More,
    /// It is over, and well.
    Established {
        /// What came behind it.
        rest: Vec<u8>,
        /// How long it had to wait for its steps.
        waited_ns: u64,
    },
    /// It failed, and why.
    Failed(String),
}

impl Tls {
    pub(super) fn new(setup: ClientSetup, server_name: String) -> Tls {
        Tls {
            setup,
            server_name,
            rests: SecretSlots::new(),
            handshakes: HashMap::new(),
            ready: VecDeque::new(),
            records: HashMap::new(),
            unsent: HashMap::new(),
            batch: Vec::new(),
        }
    }

    // Handshakes.

    /// TCP is connected: the handshake begins with its first step.
    pub(super) fn begin(&mut self, key: ConnKey) {
        let pending = PendingHandshake {
            waits_since: Some(now_ns()),
            ..PendingHandshake::default()
        };
        self.handshakes.insert(key.slot(), pending);
        self.ready.push_back(key);
    }

    /// Bytes of the server, for the handshake's next step.
    pub(super) fn handle_bytes(&mut self, key: ConnKey, bytes: &[u8]) -> Result<(), &'static str> {
        let Some(pending) = self.handshakes.get_mut(&key.slot()) else {
            return Ok(());
        };
        pending.received.extend_from_slice(bytes);
        if pending.received.len() > RECEIVED_BYTES_MAX {
            return Err("TLS handshake failed: the server sends too much at once");
        }
        self.queue(key);
        Ok(())
    }

    /// Whether a handshake can go on.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The connection whose handshake goes on. It may have ended meanwhile.
    pub(super) fn next_ready(&mut self) -> Option<ConnKey> {
        self.ready.pop_front()
    }

    /// Whether the handshake of a connection can go on.
    pub(super) fn is_ready(&self, slot: u32) -> bool {
        let pending = self.handshakes.get(&slot);
        pending.is_some_and(|pending| pending.waits_since.is_some())
    }

    /// Goes on with a handshake, by one record: begins it, which makes the ClientHello, or reads the
    /// server's next.
    pub(super) fn advance(&mut self, key: ConnKey) -> Progress {
        let slot = key.slot();
        let Some(pending) = self.handshakes.get_mut(&slot) else {
            return Progress::More;
        };
        if let Some(since) = pending.waits_since.take() {
            pending.waited_ns += now_ns().saturating_sub(since);
        }
        let Some(handshake) = &mut pending.handshake else {
            return self.begin_handshake(key);
        };
        // RFC 8446 §5.1: change_cipher_spec, alert, handshake, application_data.
        if !(20..=23).contains(&pending.received[0]) {
            return Progress::Failed("no TLS: the server answers in the clear".to_owned());
        }
        let Extent::Whole(len) = extent(&pending.received) else {
            let alert = plain_alert(Alert::RecordOverflow);
            self.unsent.entry(slot).or_default().extend(alert);
            return Progress::Failed("TLS handshake failed: record too long".to_owned());
        };
        let rest = self.rests.get_mut(slot).expect("taken by begin_handshake");
        let mut out = Vec::new();
        let step = handshake.feed(&mut pending.received[..len], &mut out, rest);
        pending.received.drain(..len);
        if !out.is_empty() {
            self.unsent.entry(slot).or_default().append(&mut out);
        }
        match step {
            Step::More => {
                self.queue(key);
                Progress::More
            }
            Step::Done(_) => {
                let pending = self.handshakes.remove(&slot).unwrap_or_default();
                Progress::Established {
                    rest: pending.received,
                    waited_ns: pending.waited_ns,
                }
            }
            Step::Failed(fault) => Progress::Failed(fault.to_string()),
        }
    }

    fn begin_handshake(&mut self, key: ConnKey) -> Progress {
        let slot = key.slot();
        let out = self.unsent.entry(slot).or_default();
        let handshake = match Handshake::client(&self.setup, &self.server_name, out) {
            Ok(handshake) => handshake,
            Err(fault) => return Progress::Failed(fault.to_string()),
        };
        self.rests.insert(slot, Rest::VACANT);
        if let Some(pending) = self.handshakes.get_mut(&slot) {
            pending.handshake = Some(Box::new(handshake));
        }
        self.queue(key);
        Progress::More
    }

    /// Queues the handshake if it can go on: it has a record, or what cannot become one.
    fn queue(&mut self, key: ConnKey) {
        if let Some(pending) = self.handshakes.get_mut(&key.slot())
            && pending.handshake.is_some()
            && pending.waits_since.is_none()
            && !pending.received.is_empty()
            && !matches!(extent(&pending.received), Extent::Missing(_))
        {
            pending.waits_since = Some(now_ns());
            self.ready.push_back(key);
        }
    }

    // Records.

    /// Opens the records at the front of `bytes`, in place. If the server broke a rule, the alert is
    /// what is sent next.
    pub(super) fn open(&mut self, slot: u32, bytes: &mut [u8]) -> Option<Opened> {
        let rest = self.rests.get_mut(slot)?;
        if rest.is_vacant() || rest.is_receive_closed() || rest.has_failed() {
            return None; // what comes behind the end is not looked at
        }
        let opened = roost_tls::open(rest, bytes);
        if let End::Failed(fault) = opened.end
            && let Some(alert) = fault.alert()
        {
            seal::alert(rest, alert, self.unsent.entry(slot).or_default());
        }
        Some(opened)
    }

    /// The beginning of a record, if one was kept.
    pub(super) fn take_record(&mut self, slot: u32) -> Option<Vec<u8>> {
        self.records.remove(&slot)
    }

    pub(super) fn keep_record(&mut self, slot: u32, record: Vec<u8>) {
        self.records.insert(slot, record);
    }

    /// What is to be sent now: what is unsent, a key update if one is due, and `plaintext`, sealed.
    pub(super) fn seal(&mut self, slot: u32, plaintext: &[u8]) -> &[u8] {
        self.begin_batch(slot);
        if !self.handshakes.contains_key(&slot)
            && let Some(rest) = self.rests.get_mut(slot)
            && let Some(mut sealer) = Sealer::new(rest, &mut self.batch)
        {
            sealer.push(plaintext);
            sealer.finish();
        }
        &self.batch
    }

    /// The same with close_notify instead, if that has not been sent.
    pub(super) fn close(&mut self, slot: u32) -> &[u8] {
        self.begin_batch(slot);
        if !self.handshakes.contains_key(&slot)
            && let Some(rest) = self.rests.get_mut(slot)
        {
            seal::close(rest, &mut self.batch);
        }
        &self.batch
    }

    fn begin_batch(&mut self, slot: u32) {
        self.batch.clear();
        if let Some(unsent) = self.unsent.remove(&slot) {
            self.batch.extend_from_slice(&unsent);
        }
    }

    /// Whether something is to be sent though there may be no data.
    pub(super) fn owes_output(&mut self, slot: u32) -> bool {
        let rest = self.rests.get_mut(slot);
        self.unsent.contains_key(&slot) || rest.is_some_and(|rest| rest.owes_output())
    }

    /// Whether the keys have been used as often as may be and cannot be changed.
    pub(super) fn is_worn_out(&mut self, slot: u32) -> bool {
        let rest = self.rests.get_mut(slot);
        rest.is_some_and(|rest| rest.is_worn_out())
    }

    /// Whether the server has said that it will send no more.
    pub(super) fn is_receive_closed(&mut self, slot: u32) -> bool {
        let rest = self.rests.get_mut(slot);
        rest.is_some_and(|rest| rest.is_receive_closed())
    }

    /// Wipes and frees what there is of a connection.
    pub(super) fn release(&mut self, slot: u32) {
        self.rests.remove(slot);
        self.handshakes.remove(&slot);
        self.records.remove(&slot);
        self.unsent.remove(&slot);
    }
}

/// A server's whole flight, and then some: what follows waits for the client's.
const RECEIVED_BYTES_MAX: usize = handshake::BYTES_MAX + (64 << 10);
