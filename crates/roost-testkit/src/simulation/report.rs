//! What a simulation did.

use super::control::ControlReport;
use super::costs::Costs;
use super::recovering_client::Told;

/// What a simulation did, for a test to see that something happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Reloads of the settings.
    pub reloads: u64,
    /// Listeners that reloads opened.
    pub listeners_opened: u64,
    /// Peers whose WebSocket opened.
    pub opened: usize,
    /// Publications sent by peers.
    pub published: usize,
    /// Publications received by peers.
    pub received: usize,
    /// Subscription windows compared with their channel's order.
    pub windows: usize,
    /// Publications received through patterns.
    pub matched: usize,
    /// Windows that began after their reactor had delivered something of the channel.
    pub begun_later: usize,
    /// Peers that never read and received a close frame 1013.
    pub slow_closes_received: usize,
    /// Peers closed as slow consumers.
    pub slow_consumers: u64,
    /// Messages dropped for slow consumers, by namespace.
    pub dropped: [u64; 4],
    /// Namespaces whose drops were all found missing at a peer, and no others.
    pub drops_compared: u64,
    /// Connections closed for the memory budget.
    pub budget_closes: u64,
    /// Pings sent by the server.
    pub pings: u64,
    /// Publishers not read because a reactor's ring was full.
    pub paused: u64,
    /// Times a channel's publishers were asked to wait.
    pub congestions: u64,
    /// Publishes beyond what may come in a second.
    pub inflow_limited: u64,
    /// Pauses.
    pub pauses: u64,
    /// Connections timed out on seeds with pauses: for no answer to a ping, to a close frame, or
    /// for an unfinished request.
    pub timeouts: u64,
    /// Connections closed as idle.
    pub idle: u64,
    /// Requests answered of clients of namespaces that not all may use.
    pub guarded_answers: u64,
    /// Handshakes with a token that was good, that was not, and that was not checked in time.
    pub tokens: [u64; 3],
    /// Connections of users closed, and of tokens that were revoked.
    pub ended: [u64; 2],
    /// Requests that a hook has allowed, refused, and not answered in time.
    pub hooks: [u64; 3],
    /// How it was for clients of event streams that came back.
    pub told: Told,
    /// Plain HTTP requests answered.
    pub http_answers: u64,
    /// SOAP requests answered.
    pub soap_answers: u64,
    /// Publications received by SOAP peers.
    pub soap_received: u64,
    /// Questions answered about what there is in a realm.
    pub asked: u64,
    /// Retained events received.
    pub retained: u64,
    /// Commands of Centrifugo peers answered.
    pub centrifugo_answers: u64,
    /// Publications received by Centrifugo peers.
    pub centrifugo_received: u64,
    /// Of these, deltas.
    pub centrifugo_deltas: u64,
    /// Subscriptions of Pusher peers answered.
    pub pusher_answers: u64,
    /// Events received by Pusher peers.
    pub pusher_received: u64,
    /// Calls answered.
    pub calls_answered: u64,
    /// The longest delivery of a publication on a reliable network, in nanoseconds.
    pub delay_ns: u64,
    /// What the control thread has seen, on seeds that have one.
    pub control: ControlReport,
    /// The highest costs of a connection.
    pub costs: Costs,
    /// Loop iterations of all reactors.
    pub iterations: u64,
    /// Hash over all events, with their times and bytes; of connections with TLS, whose keys are random, with the
    /// lengths of what comes. Equal seeds give equal traces, in each run of a program.
    pub trace: u64,
}
