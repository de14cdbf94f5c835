//! The dictionaries of WAMP's messages: Details, Options and Extra, by message. What is declared
//! here is read and written in all serializers; other keys are skipped.

use std::borrow::Cow;

use serde::de::{self, Deserialize, Deserializer, MapAccess};

use crate::Receivers;
use crate::json::Text;
use crate::serial::{Sink, Token};
use crate::wamp::dict::{
    Element, Field, FromDict, Keys, List, Sparse, dict, dicts, key, skip_value, text, value, words,
    write_dict,
};

/// `PUBLISH.Options`. Hardly any message has others than the first four.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PublishOptions<'a> {
    /// `acknowledge`
    pub acknowledge: Option<bool>,
    /// `exclude_me`
    pub exclude_me: Option<bool>,
    /// `disclose_me`
    pub disclose_me: Option<bool>,
    /// `retain`
    pub retain: Option<bool>,
    /// The rest.
    pub more: Sparse<PublishMore<'a>>,
}

impl<'de> FromDict<'de> for PublishOptions<'de> {
    fn start() -> Self {
        PublishOptions::default()
    }

    fn entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "acknowledge" => self.acknowledge = value(key, map)?,
            "exclude_me" => self.exclude_me = value(key, map)?,
            "disclose_me" => self.disclose_me = value(key, map)?,
            "retain" => self.retain = value(key, map)?,
            _ => self.more.entry(key, map)?,
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for PublishOptions<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        dict(deserializer)
    }
}

impl PublishOptions<'_> {
    pub(super) fn write<S: Sink>(&self, sink: &mut S) {
        let few = [
            ("acknowledge", self.acknowledge),
            ("exclude_me", self.exclude_me),
            ("disclose_me", self.disclose_me),
            ("retain", self.retain),
        ];
        let count = few.iter().filter(|(_, value)| value.is_some()).count() as u64;
        let more = self.more.get();
        sink.begin_map(Some(count + more.map_or(0, Keys::len)));
        for (name, value) in few {
            if let Some(value) = value {
                key(sink, name);
                value.write(sink);
            }
        }
        if let Some(more) = more {
            more.write(sink);
        }
        sink.end_map();
    }
}

dicts! {
    /// `PUBLISH.Options`, the rare ones.
    PublishMore<'a> {
        "exclude" exclude: List<u64>,
        "exclude_authid" exclude_authid: List<Cow<'a, str>>,
        "exclude_authrole" exclude_authrole: List<Cow<'a, str>>,
        "eligible" eligible: List<u64>,
        "eligible_authid" eligible_authid: List<Cow<'a, str>>,
        "eligible_authrole" eligible_authrole: List<Cow<'a, str>>,
        "transaction_hash" transaction_hash: Cow<'a, str>,
        "forward_for" forward_for: List<Forwarder<'a>>,
        "enc_algo" enc_algo: EncAlgo<'a>,
        "enc_serializer" enc_serializer: Cow<'a, str>,
        "enc_key" enc_key: Cow<'a, str>,
        "ppt_scheme" ppt_scheme: Cow<'a, str>,
        "ppt_serializer" ppt_serializer: Cow<'a, str>,
        "ppt_cipher" ppt_cipher: Cow<'a, str>,
        "ppt_keyid" ppt_keyid: Cow<'a, str>,
    }

    /// `SUBSCRIBE.Options`
    SubscribeOptions<'a> {
        "match" matching: Match,
        "get_retained" get_retained: bool,
        "forward_for" forward_for: List<Forwarder<'a>>,
    }

    /// `EVENT.Details`
    EventDetails<'a> {
        "publisher" publisher: u64,
        "publisher_authid" publisher_authid: Cow<'a, str>,
        "publisher_authrole" publisher_authrole: Cow<'a, str>,
        "topic" topic: Cow<'a, str>,
        "retained" retained: bool,
        "transaction_hash" transaction_hash: Cow<'a, str>,
        "x_acknowledged_delivery" x_acknowledged_delivery: bool,
        "forward_for" forward_for: List<Forwarder<'a>>,
        "enc_algo" enc_algo: EncAlgo<'a>,
        "enc_serializer" enc_serializer: Cow<'a, str>,
        "enc_key" enc_key: Cow<'a, str>,
        "ppt_scheme" ppt_scheme: Cow<'a, str>,
        "ppt_serializer" ppt_serializer: Cow<'a, str>,
        "ppt_cipher" ppt_cipher: Cow<'a, str>,
        "ppt_keyid" ppt_keyid: Cow<'a, str>,
    }

    /// `CALL.Options`
    CallOptions<'a> {
        "timeout" timeout: u64,
        "receive_progress" receive_progress: bool,
        "progress" progress: bool,
        "disclose_me" disclose_me: bool,
        "runmode" runmode: Cow<'a, str>,
        "rkey" rkey: Cow<'a, str>,
        "transaction_hash" transaction_hash: Cow<'a, str>,
        "forward_for" forward_for: List<Forwarder<'a>>,
        "enc_algo" enc_algo: EncAlgo<'a>,
        "enc_serializer" enc_serializer: Cow<'a, str>,
        "enc_key" enc_key: Cow<'a, str>,
        "ppt_scheme" ppt_scheme: Cow<'a, str>,
        "ppt_serializer" ppt_serializer: Cow<'a, str>,
        "ppt_cipher" ppt_cipher: Cow<'a, str>,
        "ppt_keyid" ppt_keyid: Cow<'a, str>,
    }

    /// `CANCEL.Options` and `INTERRUPT.Options`
    CancelOptions<'a> {
        "mode" mode: CancelMode,
        "reason" reason: Cow<'a, str>,
        "forward_for" forward_for: List<Forwarder<'a>>,
    }

    /// `YIELD.Options` and `RESULT.Details`
    ResultDetails<'a> {
        "progress" progress: bool,
        "callee" callee: u64,
        "callee_authid" callee_authid: Cow<'a, str>,
        "callee_authrole" callee_authrole: Cow<'a, str>,
        "forward_for" forward_for: List<Forwarder<'a>>,
        "enc_algo" enc_algo: EncAlgo<'a>,
        "enc_serializer" enc_serializer: Cow<'a, str>,
        "enc_key" enc_key: Cow<'a, str>,
        "ppt_scheme" ppt_scheme: Cow<'a, str>,
        "ppt_serializer" ppt_serializer: Cow<'a, str>,
        "ppt_cipher" ppt_cipher: Cow<'a, str>,
        "ppt_keyid" ppt_keyid: Cow<'a, str>,
    }

    /// `REGISTER.Options`
    RegisterOptions<'a> {
        "match" matching: Match,
        "invoke" invoke: Invoke,
        "concurrency" concurrency: u64,
        "force_reregister" force_reregister: bool,
        "forward_for" forward_for: List<Forwarder<'a>>,
    }

    /// `INVOCATION.Details`
    InvocationDetails<'a> {
        "timeout" timeout: u64,
        "receive_progress" receive_progress: bool,
        "progress" progress: bool,
        "caller" caller: u64,
        "caller_authid" caller_authid: Cow<'a, str>,
        "caller_authrole" caller_authrole: Cow<'a, str>,
        "procedure" procedure: Cow<'a, str>,
        "transaction_hash" transaction_hash: Cow<'a, str>,
        "forward_for" forward_for: List<Forwarder<'a>>,
        "enc_algo" enc_algo: EncAlgo<'a>,
        "enc_serializer" enc_serializer: Cow<'a, str>,
        "enc_key" enc_key: Cow<'a, str>,
        "ppt_scheme" ppt_scheme: Cow<'a, str>,
        "ppt_serializer" ppt_serializer: Cow<'a, str>,
        "ppt_cipher" ppt_cipher: Cow<'a, str>,
        "ppt_keyid" ppt_keyid: Cow<'a, str>,
    }

    /// `UNSUBSCRIBED.Details` and `UNREGISTERED.Details`: the router has ended it.
    RevokedDetails<'a> {
        "subscription" subscription: u64,
        "registration" registration: u64,
        "reason" reason: Cow<'a, str>,
    }

    /// `HELLO.Details`
    HelloDetails<'a> {
        "agent" agent: Cow<'a, str>,
        "authmethods" authmethods: List<Cow<'a, str>>,
        "authid" authid: Cow<'a, str>,
        "authrole" authrole: Cow<'a, str>,
        "authextra" authextra: Sparse<AuthExtra<'a>>,
        "roles" roles: Roles,
    }

    /// `WELCOME.Details`
    WelcomeDetails<'a> {
        "agent" agent: Cow<'a, str>,
        "authid" authid: Cow<'a, str>,
        "authrole" authrole: Cow<'a, str>,
        "authmethod" authmethod: Cow<'a, str>,
        "authprovider" authprovider: Cow<'a, str>,
        "authextra" authextra: Sparse<AuthExtra<'a>>,
        "roles" roles: Roles,
    }

    /// `HELLO.Details.authextra`, `CHALLENGE.Extra`, `AUTHENTICATE.Extra` and
    /// `WELCOME.Details.authextra`: the keys of all methods that the specification names.
    AuthExtra<'a> {
        "challenge" challenge: Cow<'a, str>,
        "salt" salt: Cow<'a, str>,
        "keylen" keylen: u64,
        "iterations" iterations: u64,
        "memory" memory: u64,
        "kdf" kdf: Cow<'a, str>,
        "nonce" nonce: Cow<'a, str>,
        "channel_binding" channel_binding: Cow<'a, str>,
        "cbind_data" cbind_data: Cow<'a, str>,
        "pubkey" pubkey: Cow<'a, str>,
        "scram_server_signature" scram_server_signature: Cow<'a, str>,
        "verifier" verifier: Cow<'a, str>,
    }

    /// The Details of ABORT, GOODBYE and ERROR.
    Reasons<'a> {
        "message" message: Cow<'a, str>,
        "enc_algo" enc_algo: EncAlgo<'a>,
        "enc_serializer" enc_serializer: Cow<'a, str>,
        "enc_key" enc_key: Cow<'a, str>,
    }

    /// One of `forward_for`.
    Forwarder<'a> {
        "session" session: u64,
        "authid" authid: Cow<'a, str>,
        "authrole" authrole: Cow<'a, str>,
    }

    /// Who a peer is, by role.
    Roles {
        "publisher" publisher: Features,
        "subscriber" subscriber: Features,
        "caller" caller: Features,
        "callee" callee: Features,
        "broker" broker: Features,
        "dealer" dealer: Features,
    }
}

words! {
    /// How a topic or a procedure is matched.
    Match = "exact, prefix or wildcard" {
        Exact = "exact",
        Prefix = "prefix",
        Wildcard = "wildcard",
    }

    /// Which of the callees of a shared registration is called.
    Invoke = "single, roundrobin, random, first, last or all" {
        Single = "single",
        RoundRobin = "roundrobin",
        Random = "random",
        First = "first",
        Last = "last",
        All = "all",
    }

    /// What becomes of a cancelled call.
    CancelMode = "skip, kill, killnowait or abort" {
        Skip = "skip",
        Kill = "kill",
        KillNoWait = "killnowait",
        Abort = "abort",
    }
}

/// `enc_algo`: how a payload is packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncAlgo<'a>(pub Cow<'a, str>);

impl<'a> Field<'a> for EncAlgo<'a> {
    const FORM: &'static str = "cryptobox, mqtt, xbr or a name that begins with x_";

    fn read<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(name) = Text::deserialize(deserializer)?;
        if matches!(&*name, "cryptobox" | "mqtt" | "xbr") || name.starts_with("x_") {
            return Ok(EncAlgo(name));
        }
        Err(de::Error::custom("an unknown algorithm"))
    }

    fn write<S: Sink>(&self, sink: &mut S) {
        text(sink, &self.0);
    }
}

/// A field that is a dictionary itself.
impl<'a, T: Keys<'a>> Field<'a> for Sparse<T> {
    const FORM: &'static str = "an object";

    fn read<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        dict(deserializer)
    }

    fn write<S: Sink>(&self, sink: &mut S) {
        write_dict(self.get(), sink);
    }
}

impl<'a> FromDict<'a> for Forwarder<'a> {
    fn start() -> Self {
        Forwarder::default()
    }

    fn entry<A: MapAccess<'a>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        self.read(key, map)
    }
}

impl<'a> Field<'a> for Forwarder<'a> {
    const FORM: &'static str = "an object";

    fn read<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        dict(deserializer)
    }

    fn write<S: Sink>(&self, sink: &mut S) {
        write_dict(Some(self), sink);
    }
}

impl<'a> Element<'a> for Forwarder<'a> {
    const LIST_FORM: &'static str = "an array of objects with session, authid and authrole";
}

impl<'a> FromDict<'a> for Roles {
    fn start() -> Self {
        Roles::default()
    }

    fn entry<A: MapAccess<'a>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        if <Roles as Keys<'a>>::knows(key) {
            return self.read(key, map);
        }
        // Whatever the role is, it must be an object.
        value::<Features, A>(key, map).map(|_| ())
    }
}

impl<'a> Field<'a> for Roles {
    const FORM: &'static str = "an object of objects";

    fn read<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        dict(deserializer)
    }

    fn write<S: Sink>(&self, sink: &mut S) {
        write_dict(Some(self), sink);
    }
}

impl Roles {
    /// Whether one of the roles of a client is there.
    pub fn has_client_role(&self) -> bool {
        let roles = [
            &self.publisher,
            &self.subscriber,
            &self.caller,
            &self.callee,
        ];
        roles.iter().any(|role| role.is_some())
    }
}

/// A set of advanced features, which a role announces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features(u32);

macro_rules! features {
    ($( $bit:literal $NAME:ident = $name:literal, )+) => {
        impl Features {
            $(
                #[doc = concat!("`", $name, "`")]
                pub const $NAME: Features = Features(1 << $bit);
            )+

            const NAMES: &'static [(&'static str, Features)] =
                &[$( ($name, Features::$NAME), )+];
        }
    };
}

features! {
    0 PUBLISHER_EXCLUSION = "publisher_exclusion",
    1 PUBLISHER_IDENTIFICATION = "publisher_identification",
    2 SUBSCRIBER_BLACKWHITE_LISTING = "subscriber_blackwhite_listing",
    3 PATTERN_BASED_SUBSCRIPTION = "pattern_based_subscription",
    4 EVENT_RETENTION = "event_retention",
    5 CALLER_IDENTIFICATION = "caller_identification",
    6 CALL_CANCELING = "call_canceling",
    7 CALL_TIMEOUT = "call_timeout",
    8 PROGRESSIVE_CALL_RESULTS = "progressive_call_results",
    9 PROGRESSIVE_CALL_INVOCATIONS = "progressive_call_invocations",
    10 PATTERN_BASED_REGISTRATION = "pattern_based_registration",
    11 SHARED_REGISTRATION = "shared_registration",
    12 SESSION_META_API = "session_meta_api",
    13 SUBSCRIPTION_META_API = "subscription_meta_api",
    14 REGISTRATION_META_API = "registration_meta_api",
    15 PAYLOAD_PASSTHRU_MODE = "payload_passthru_mode",
    16 PAYLOAD_ENCRYPTION_CRYPTOBOX = "payload_encryption_cryptobox",
    17 PAYLOAD_TRANSPARENCY = "payload_transparency",
    18 SUBSCRIPTION_REVOCATION = "subscription_revocation",
}

impl Features {
    /// No feature.
    pub const NONE: Features = Features(0);

    /// What is in either.
    #[must_use]
    pub const fn with(self, other: Features) -> Features {
        Features(self.0 | other.0)
    }

    /// Whether all of `other` is in it.
    pub fn has(self, other: Features) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A role: `{"features": {name: bool}}`, everything optional.
impl<'a> Field<'a> for Features {
    const FORM: &'static str = "an object";

    fn read<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct Role(Features);

        impl<'de> FromDict<'de> for Role {
            fn start() -> Role {
                Role(Features::NONE)
            }

            fn entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
                if key != "features" {
                    return skip_value(map);
                }
                self.0 = map
                    .next_value::<Option<Listed>>()?
                    .map_or(Features::NONE, |it| it.0);
                Ok(())
            }
        }

        dict::<Role, D>(deserializer).map(|role| role.0)
    }

    fn write<S: Sink>(&self, sink: &mut S) {
        let has = |(_, feature): &&(&str, Features)| self.has(*feature);
        let count = Features::NAMES.iter().filter(has).count() as u64;
        sink.begin_map(Some(u64::from(count > 0)));
        if count > 0 {
            key(sink, "features");
            sink.begin_map(Some(count));
            for (name, _) in Features::NAMES.iter().filter(has) {
                key(sink, name);
                sink.scalar(&Token::Bool(true));
            }
            sink.end_map();
        }
        sink.end_map();
    }
}

/// What stands under `features`.
struct Listed(Features);

impl<'de> FromDict<'de> for Listed {
    fn start() -> Listed {
        Listed(Features::NONE)
    }

    fn entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        let known = Features::NAMES.iter().find(|(name, _)| *name == key);
        let Some((_, feature)) = known else {
            return skip_value(map);
        };
        if map.next_value::<Option<bool>>()?.unwrap_or(false) {
            self.0 = self.0.with(*feature);
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        dict(deserializer)
    }
}

impl PublishMore<'_> {
    /// "Subscriber Black- and Whitelisting".
    pub(super) fn receivers(&self) -> Option<Receivers> {
        let has_any = self.exclude.is_some()
            || self.exclude_authid.is_some()
            || self.exclude_authrole.is_some()
            || self.eligible.is_some()
            || self.eligible_authid.is_some()
            || self.eligible_authrole.is_some();
        if !has_any {
            return None;
        }
        let receivers = Receivers::default()
            .excluding(
                self.exclude.as_ref().map_or(&[], List::as_slice),
                self.exclude_authid.as_ref().map_or(&[], List::as_slice),
                self.exclude_authrole.as_ref().map_or(&[], List::as_slice),
            )
            .only(
                self.eligible.as_ref().map(List::as_slice),
                self.eligible_authid.as_ref().map(List::as_slice),
                self.eligible_authrole.as_ref().map(List::as_slice),
            );
        (receivers != Receivers::default()).then_some(receivers)
    }

    pub(super) fn has_too_long_list(&self) -> bool {
        let ids = [&self.exclude, &self.eligible];
        let names = [
            &self.exclude_authid,
            &self.exclude_authrole,
            &self.eligible_authid,
            &self.eligible_authrole,
        ];
        ids.into_iter().flatten().any(List::is_too_long)
            || names.into_iter().flatten().any(List::is_too_long)
    }

    /// "Payload Passthru Mode".
    pub(super) fn is_packed(&self) -> bool {
        self.enc_algo.is_some()
            || self.enc_serializer.is_some()
            || self.enc_key.is_some()
            || self.ppt_scheme.is_some()
            || self.ppt_serializer.is_some()
            || self.ppt_cipher.is_some()
            || self.ppt_keyid.is_some()
    }
}
