//! What a token says, read strictly.
//!
//! The names are Centrifugo's, so that a backend's tokens stay as they are. A known claim with another
//! type than it has refuses the token, and so does one that stands twice; an unknown one is ignored.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use crate::object::Object;

/// Claims as they stand in a token whose signature is good.
#[derive(Deserialize)]
pub(crate) struct RawClaims {
    #[serde(default, deserialize_with = "present")]
    pub(crate) sub: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) exp: Option<Seconds>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) nbf: Option<Seconds>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) iat: Option<Seconds>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) jti: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) aud: Option<Names>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) iss: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) expire_at: Option<Seconds>,
    #[serde(default)]
    pub(crate) caps: Option<Vec<Object<RawCap>>>,
    /// Of a token that is for one subscription, not for a connection.
    #[serde(default, deserialize_with = "present")]
    pub(crate) channel: Option<String>,
    /// Channels that the client is subscribed to without asking.
    #[serde(default)]
    pub(crate) channels: Option<Vec<String>>,
    /// The same, each with options, which have no effect.
    #[serde(default)]
    pub(crate) subs: Option<Keys>,
    /// What other clients are told of this one beside its user.
    #[serde(default)]
    pub(crate) info: Option<Box<RawValue>>,
    // The rest has no effect here yet: its types are checked, so that a mistake shows at once.
    #[serde(default, rename = "b64info")]
    _b64info: Option<String>,
    #[serde(default, rename = "meta")]
    _meta: Option<IgnoredAny>,
}

#[derive(Deserialize)]
pub(crate) struct RawCap {
    #[serde(default)]
    pub(crate) channels: Vec<String>,
    #[serde(default)]
    pub(crate) r#match: Option<String>,
    #[serde(default)]
    pub(crate) allow: Vec<String>,
}

/// RFC 7519 §2, NumericDate, of which only whole seconds are taken: 0 to the year 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seconds(pub(crate) u64);

/// RFC 7519 §4.1.3: one string, or several.
pub(crate) struct Names(Vec<String>);

impl Names {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|other| other == name)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Seconds, D::Error> {
        let seconds = u64::deserialize(deserializer)?;
        if seconds > SECONDS_MAX {
            return Err(de::Error::custom("beyond the year 9999"));
        }
        Ok(Seconds(seconds))
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Names, D::Error> {
        struct OneOrSeveral;

        impl<'de> Visitor<'de> for OneOrSeveral {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Names, E> {
                Ok(Names(vec![name.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = seq.next_element::<Cow<'_, str>>()? {
                    names.push(name.into_owned());
                }
                Ok(Names(names))
            }
        }

        deserializer.deserialize_any(OneOrSeveral)
    }
}

/// The names of an object's members, whose values are objects.
pub(crate) struct Keys(pub(crate) Vec<String>);

struct AnyObject;

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Keys, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of objects")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, AnyObject)) = map.next_entry()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

impl<'de> Deserialize<'de> for AnyObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<AnyObject, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = AnyObject;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AnyObject, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(AnyObject)
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// A claim that is there has its type: `null` is none of ours.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The last second of the year 9999: below it, sums of times cannot overflow.
const SECONDS_MAX: u64 = 253_402_300_799;
