//! `[channels]`, `[[namespace]]`: who may do what in which channels.

use crate::pattern::NAMESPACE_NAME;
use crate::row::{HOUR, SECOND, WEEK, section, time, time_or_zero, words};
use crate::row::{Reload, Row, Section, Visitor};
use crate::units::{GIB, KIB, MIB};
use crate::value::{Count, Flag, SharedSize, Size};

section! {
    /// Every channel whose namespace has no section of its own.
    "channels" ChannelPolicy
    /// Which clients may publish: all (`"anyone"`), those that are authenticated, those whose role has
    /// a permission for the channel (`"granted"`), those subscribed to it, those that the application
    /// allows to (`"hook"`, [hooks.md](hooks.md)), or none. A message that may
    /// not be published is dropped and counted in `publishes_refused_total`; a dialect that can answer
    /// names the rule. Of raw and SOAP connections it is decided once, by their handshake.
    publish: Publish = Publish::Anyone, Publish::WORDS, Live, r#""subscribers""#;
    /// Which clients may subscribe; `"hook"`: a `[[hook]]` with `subscribe` is asked. `publish = "subscribers"` beside `"nobody"` here is an error.
    subscribe: Access = Access::Anyone, Access::WORDS, Live, r#""granted""#;
    /// Which clients may call procedures whose names are in the namespace.
    call: Access = Access::Anyone, Access::WORDS, Live, r#""authenticated""#;
    /// Which clients may register them. For a pattern the strictest of all namespaces holds that it may
    /// have names of, and one permission must cover the whole of it.
    register: Access = Access::Anyone, Access::WORDS, Live, r#""granted""#;
    /// Whether a raw client receives its own messages. A WAMP client says so itself, with
    /// `exclude_me`.
    receive_own: bool = false, Flag, NewConnections, "true";
    /// What happens when more waits for one subscriber than the next two keys allow. `"close"`: it
    /// is closed with 1013. `"drop_oldest"`: what has waited longest is dropped. `"drop_newest"`:
    /// what arrives is dropped. `"keep_latest"`: of each channel only the newest message waits, for
    /// values that the next one replaces. Counted by namespace in `dropped_oldest_total`,
    /// `dropped_newest_total`, `replaced_total`, `slow_consumers_total`. Pings, pongs, close frames
    /// and answers are never dropped; neither is the batch of up to 256 KiB that is with the
    /// kernel. A WAMP session can be told how many were dropped ([wamp.md](wamp.md)).
    slow_consumer: SlowConsumer = SlowConsumer::Close, SlowConsumer::WORDS, Live, r#""keep_latest""#;
    /// Bytes that wait for one subscriber from these channels. One message always fits. It cannot be
    /// more than `limits.outbox_bytes_max`.
    outbox_bytes_max: usize = MIB, Size(125..=GIB), Live, r#""64KiB""#,
        follows outbox_bytes_max = |limits| limits.outbox_bytes_max;
    /// The same in messages; 0: any number.
    outbox_messages_max: u32 = 0, Count(0..=100_000_000), Live, "100";
    /// Messages published in these channels in a second, by all connections of the process
    /// together; 0: any number. 0.4 s' worth may come at once, and one message of each publisher. A
    /// publisher beyond it is not read until the rate allows it: TCP holds up the client, an
    /// acknowledged publish is acknowledged later, nothing is dropped; `publish_rate_limited_total` counts
    /// the messages after which a publisher had to wait. Each namespace counts for itself, also
    /// where its limit is that of `[channels]`.
    publish_messages_per_second_max: u32 = 0, Count(0..=100_000_000), Live, "1000";
    /// The same in bytes of payload; `"0B"`: any number.
    publish_bytes_per_second_max: u64 = 0, SharedSize(0..=1024 * GIB), Live, r#""1MiB""#;
    /// The newest messages that each of these channels keeps, so that a client that was away gets what
    /// it has missed ([history.md](history.md)); 0: none. They are kept in memory, whether anyone
    /// is subscribed or not.
    history_messages_max: u32 = 0, Count(0..=1_000_000), Restart, "100";
    /// Bytes of the messages that one channel keeps; the oldest are forgotten first.
    history_bytes_max: u64 = 256 * KIB as u64, SharedSize(125..=GIB), Restart, r#""1MiB""#;
    /// How long a message is kept, and a channel without subscribers remembered. A client that was
    /// away for longer may be told that it has missed something though it has not.
    history_lifetime_ms: u32 = HOUR / 12, time(SECOND..=WEEK), Restart, r#""1h""#;
    /// What a Centrifugo client gets that comes back to one of these channels, where they keep history
    /// ([centrifugo.md](centrifugo.md)). `"stream"`: all it has missed, or it is told that something is
    /// missing. `"cache"`: the last message. `"off"`: nothing. A client that reads too slowly for
    /// `slow_consumer = "drop_oldest"` or `"drop_newest"` is then made to subscribe again, so that it misses
    /// nothing that is kept.
    recovery: Recovery = Recovery::Stream, Recovery::WORDS, Live, r#""cache""#;
    /// Whether Centrifugo clients that ask for it get a publication as the difference to the previous one in
    /// the channel ([centrifugo.md](centrifugo.md#deltas)). `"fossil"`: in Fossil's delta format, for
    /// publications of all clients and of the API. A publication is sent whole if its delta is not shorter,
    /// and to a client that has not received the previous one. The last publication of each channel with such
    /// a client is kept, up to 16 MiB on a reactor. A reload holds for subscriptions begun later.
    delta: Delta = Delta::Off, Delta::WORDS, Live, r#""fossil""#;
    /// Whether each of these channels knows who is subscribed to it ([presence.md](presence.md)). `"counts"`:
    /// how many clients and users; `"members"`: which. What is subscribed at the time of a change is not
    /// known otherwise, so it takes a restart.
    presence: Presence = Presence::Off, Presence::WORDS, Restart, r#""members""#;
    /// Members of a channel up to which they are listed and told one by one; above, only how many there
    /// are is said, with `"truncated": true`.
    presence_members_max: u32 = 1000, Count(1..=10_000), Restart, "100";
    /// For how long a client that has left may come back without its leaving or its return being told. A
    /// user whose connection has ended may come back as another client.
    presence_linger_ms: u32 = 5 * SECOND, time_or_zero(SECOND / 10..=HOUR), Restart, r#""15s""#;
    /// For how long joins and leaves are gathered before they are told.
    presence_notify_ms: u32 = SECOND / 2, time(SECOND / 10..=HOUR), Restart, r#""2s""#;
    /// Joins and leaves told in a channel in a second. What is beyond is told later, and how many there are
    /// at once.
    presence_notify_per_second_max: u32 = 50, Count(1..=1000), Restart, "10";
    /// Whether a channel's subscribers are told of joins and leaves, where their dialect has words for it:
    /// none, those that ask for it when they subscribe, or all.
    join_leave: JoinLeave = JoinLeave::Off, JoinLeave::WORDS, Restart, r#""asked""#;
    /// Which clients may ask who is in a channel. A token's capability for it is `prs`.
    presence_read: Readers = Readers::Subscribers, Readers::WORDS, Live, r#""granted""#;
}

words! {
    /// What a channel knows of its subscribers.
    Presence
    /// Nothing.
    Off = "off",
    /// How many there are.
    Counts = "counts",
    /// Which.
    Members = "members",
}

words! {
    /// Which subscribers are told of joins and leaves.
    JoinLeave
    /// None.
    Off = "off",
    /// Those that have asked for it.
    Asked = "asked",
    /// All.
    All = "all",
}

words! {
    /// Which clients may read what a channel knows.
    Readers
    /// All.
    Anyone = "anyone",
    /// Those that are authenticated.
    Authenticated = "authenticated",
    /// Those that have a permission for the channel.
    Granted = "granted",
    /// Those subscribed to the channel.
    Subscribers = "subscribers",
    /// None.
    Nobody = "nobody",
}

words! {
    /// Which clients may publish.
    Publish
    /// All.
    Anyone = "anyone",
    /// Those that are authenticated.
    Authenticated = "authenticated",
    /// Those whose role has a permission for the channel.
    Granted = "granted",
    /// Those subscribed to the channel.
    Subscribers = "subscribers",
    /// Those that the application allows to, which a `[[hook]]` asks.
    Hook = "hook",
    /// None.
    Nobody = "nobody",
}

words! {
    /// Which clients may do what else is done with a name.
    Access
    /// All.
    Anyone = "anyone",
    /// Those that are authenticated.
    Authenticated = "authenticated",
    /// Those whose role has a permission for the name.
    Granted = "granted",
    /// Those that the application allows to, which a `[[hook]]` asks. Of subscribing alone.
    Hook = "hook",
    /// None.
    Nobody = "nobody",
}

words! {
    /// What a client gets that comes back to a channel.
    Recovery
    /// Nothing.
    Off = "off",
    /// All it has missed, or to be told that something is missing.
    Stream = "stream",
    /// The last message.
    Cache = "cache",
}

words! {
    /// How publications go to clients that take differences.
    Delta
    /// Whole.
    Off = "off",
    /// As deltas in Fossil's format.
    Fossil = "fossil",
}

words! {
    /// What happens to a subscriber that reads slower than is published.
    SlowConsumer
    /// It is closed with 1013.
    Close = "close",
    /// What has waited longest is dropped.
    DropOldest = "drop_oldest",
    /// What arrives is dropped.
    DropNewest = "drop_newest",
    /// Only the newest message of each channel waits.
    Latest = "keep_latest",
}

/// `[[namespace]]`: the channels named `name:rest`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Namespace {
    /// What stands before the colon: 1 to 64 letters, digits, `-`, `_` or `.`.
    pub name: String,
    /// Keys that are not written are those of `[channels]`.
    pub policy: ChannelPolicy,
}

/// The section `[[namespace]]`, of which there may be several.
pub(crate) const NAMESPACE: Section = Section {
    name: "namespace",
    doc: &[
        "A namespace is what stands before the first colon of a channel's name: `chat` for",
        "`chat:lobby`. Each has its own section, as many as needed; the double brackets are TOML's",
        "for \"one of several\". Keys that are not written are those of `[channels]`.",
    ],
};

/// Shows the keys of one namespace; the caller opens and closes it. `channels` leads.
pub(crate) fn visit_namespace(
    namespace: &mut Namespace,
    channels: &ChannelPolicy,
    visitor: &mut impl Visitor,
) {
    let Namespace { name, policy } = namespace;
    let row = Row {
        name: "name",
        value_type: NAMESPACE_NAME,
        default: String::new(),
        example: r#""chat""#,
        reload: Reload::Live,
        follows: None,
        doc: &["Which namespace. Two sections with one name are an error."],
    };
    visitor.key(row, name, None);
    policy.visit_keys(Some(channels), visitor);
}
