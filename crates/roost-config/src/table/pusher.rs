//! `[pusher]`, `[[pusher.app]]`: Pusher's protocol, and the applications whose clients speak it.

use crate::pattern::{
    APP_NAME, APP_PREFIX, CHANNEL_PART, FILE, HOOK_URL, WEBHOOK_EVENT, WEBHOOK_EVENTS_USUAL,
    WEBHOOK_HEADER,
};
use crate::row::{HOUR, SECOND, section, time, words};
use crate::units::{KIB, MIB};
use crate::value::{Count, Flag, OrNone, Patterns, Size};

section! {
    /// The dialect of Pusher's clients ([pusher.md](pusher.md)).
    "pusher" Pusher
    /// Whether `/app/{key}` is served: Pusher's protocol, version 5 to 7. Otherwise 404.
    enabled: bool = false, Flag, NewConnections, "true";
    /// How long clients are to be quiet before they ask whether the server is there (`pusher:ping`).
    activity_timeout_ms: u32 = 120 * SECOND, time(SECOND..=HOUR), NewConnections, r#""30s""#;
    /// Events that one client may publish in a second, `client-…`; one beyond gets the error 4301 and is
    /// dropped.
    client_events_per_second_max: u32 = 10, Count(1..=10_000), Live, "50";
    /// Bytes of the data of such an event. A longer one gets the error 4301 and is dropped.
    client_event_bytes_max: usize = 10 * KIB, Size(1..=16 * MIB), Live, r#""1KiB""#;
    /// Users that a presence channel may have. Another one's subscription is refused.
    members_per_channel_max: u32 = 100, Count(1..=10_000), Live, "1000";
    /// Bytes of what is said of a user in a presence channel, `user_info`. A subscription with more is refused.
    member_bytes_max: usize = KIB, Size(2..=64 * KIB), Live, r#""4KiB""#;
    /// Characters of an event's name, of clients' events and of the application's. A longer one is refused.
    event_name_chars_max: u32 = 200, Count(1..=1000), Live, "50";
    /// Channels to which the application sends one event. More are refused.
    channels_per_event_max: u32 = 100, Count(1..=1000), Live, "10";
    /// Bytes of the data of an event of the application's. A longer one is refused with 413.
    event_bytes_max: usize = 10 * KIB, Size(1..=16 * MIB), Live, r#""64KiB""#;
}

section! {
    /// An application of Pusher's ([pusher.md](pusher.md)); as many sections as there are applications, 100 at
    /// most. Where there is one, the channels whose names begin with `private-` or `presence-` are
    /// protected in every dialect.
    "pusher.app" PusherApp
    /// Its name in the paths of the HTTP API, `/apps/{id}/events`. Two applications with one are an error.
    id: String = String::new(), APP_NAME, Restart, r#""shop""#;
    /// Its key, which is no secret: clients name it, `/app/{key}`. Two applications with one are an error.
    key: String = String::new(), APP_NAME, Restart, r#""278d425bdf160c739803""#;
    /// A file with its secret, one line, with which the application signs what clients may do, and its own
    /// requests. A reload reads it again.
    secret_file: String = String::new(), FILE, Restart, r#""/etc/roost/shop.secret""#;
    /// What its channels begin with outside of the application: in other dialects, in permissions, for the
    /// API and for `roostctl`. It ends in a colon, and what stands before that is the name of the channels'
    /// `[[namespace]]`. Its clients reach these and no others. `""`: its channels are those that begin with
    /// no other application's prefix. Two applications with one prefix are an error.
    prefix: String = String::new(), APP_PREFIX, Restart, r#""shop:""#;
    /// Whether its clients may connect, and its requests to the HTTP API are answered. Otherwise they are
    /// closed with 4003 and do not come back by themselves, and requests get 403.
    enabled: bool = true, Flag, Restart, "false";
    /// Whether its clients may publish events (`client-…`) on private and presence channels.
    client_events: bool = true, Flag, Restart, "false";
    /// Whether a client stays only if the application signs something for it, a subscription or a user, within
    /// `limits.handshake_timeout`. Otherwise it is closed with 4009.
    authorized_connections: bool = false, Flag, Restart, "true";
    /// Whether subscribers are told how many they are (`pusher:subscription_count`), on all channels but
    /// presence channels. Its channels keep at least `presence = "counts"` for that.
    subscription_count: bool = false, Flag, Restart, "true";
    /// Where its webhooks are sent to (POST, [events.md](events.md#pushers-webhooks)), signed with its secret.
    /// `timeout`, `batch_max`, `batch_wait`, `queue_max`, `linger` and `ca_file` of `[events]` hold for them.
    /// `""`: none. A `[[pusher.webhook]]` can say more.
    webhook_url: Option<String> = None, OrNone(HOOK_URL), Restart, r#""http://127.0.0.1:3000/pusher""#;
    /// What they tell: `"channel_occupied"`, `"channel_vacated"`, `"member_added"`, `"member_removed"`,
    /// `"client_event"`, `"cache_miss"`; `["*"]`: all.
    webhook_events: Vec<String> = WEBHOOK_EVENTS_USUAL.map(str::to_owned).to_vec(),
        Patterns(WEBHOOK_EVENT), Restart, r#"["member_added", "member_removed"]"#;
}

section! {
    /// A webhook of an application of Pusher's beside its `webhook_url`
    /// ([events.md](events.md#pushers-webhooks)); as many sections as there are webhooks, 100 at most. Each
    /// has a queue of its own, and the keys of `[events]` hold that hold for `webhook_url`.
    "pusher.webhook" PusherWebhook
    /// The `id` of the `[[pusher.app]]`, which signs it.
    app: String = String::new(), APP_NAME, Restart, r#""shop""#;
    /// Where it is sent to (POST).
    url: String = String::new(), HOOK_URL, Restart, r#""http://127.0.0.1:3000/pusher""#;
    /// What it tells, as `pusher.app.webhook_events`.
    events: Vec<String> = WEBHOOK_EVENTS_USUAL.map(str::to_owned).to_vec(),
        Patterns(WEBHOOK_EVENT), Restart, r#"["client_event"]"#;
    /// How the names of the channels begin that it tells of, as clients know them. `""`: in any way.
    channel_name_starts_with: String = String::new(), CHANNEL_PART, Restart, r#""presence-""#;
    /// How they end. `""`: in any way.
    channel_name_ends_with: String = String::new(), CHANNEL_PART, Restart, r#""-room""#;
    /// Headers that are sent with it, each `"Name: value"`. `X-Pusher-Key` and `X-Pusher-Signature` are
    /// the webhook's own whatever stands here. No place for secrets, for `roostd print-config` shows it.
    headers: Vec<String> = Vec::new(), Patterns(WEBHOOK_HEADER), Restart, r#"["X-Shop: 7"]"#;
    /// How `data` and `user_id` are told. `"text"`, as Pusher has it: as strings, JSON that a client has
    /// sent in a string. `"json"`, as soketi has it: as they were sent, an object as an object and a
    /// number as a number.
    values: WebhookValues = WebhookValues::Text, WebhookValues::WORDS, Restart, r#""json""#;
}

words! {
    /// `pusher.webhook.values`.
    WebhookValues
    /// As strings.
    Text = "text",
    /// As they were sent.
    Json = "json",
}

/// Most `[[pusher.webhook]]`: each event is compared with their filters.
pub(crate) const WEBHOOKS_MAX: usize = 100;
/// Most `[[pusher.app]]`: each name is compared with their prefixes.
pub(crate) const APPS_MAX: usize = 100;
