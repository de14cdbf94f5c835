//! What a key of the API allows.

use std::fmt;

use crate::nearest::nearest;

/// Something that may be done with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiScope {
    /// To publish on channels: all, one, or those whose names begin so.
    Publish(ChannelPattern),
    /// To see what runs, and connections.
    Read,
    /// To disconnect clients.
    Disconnect,
    /// To revoke tokens.
    Revoke,
    /// To subscribe connections to such channels.
    Subscribe(ChannelPattern),
    /// To let connections be for longer than their tokens say.
    Refresh,
    /// To read what such channels keep, and to have it forgotten.
    History(ChannelPattern),
    /// To read who is in such channels.
    Presence(ChannelPattern),
}

/// A set of channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelPattern {
    /// All.
    Any,
    /// The one of this name.
    Exact(String),
    /// Those whose names begin so.
    Prefix(String),
}

impl ApiScope {
    /// Everything.
    pub fn all() -> Vec<ApiScope> {
        let publish = ApiScope::Publish(ChannelPattern::Any);
        let history = ApiScope::History(ChannelPattern::Any);
        vec![
            publish,
            ApiScope::Read,
            ApiScope::Disconnect,
            ApiScope::Subscribe(ChannelPattern::Any),
            ApiScope::Revoke,
            ApiScope::Refresh,
            history,
            ApiScope::Presence(ChannelPattern::Any),
        ]
    }

    /// As it is written in the configuration.
    ///
    /// # Errors
    /// A hint, which may be empty.
    pub fn parse(word: &str) -> Result<ApiScope, String> {
        let (action, pattern) = match word.split_once(':') {
            Some((action, pattern)) => (action, Some(pattern)),
            None => (word, None),
        };
        match (action, pattern) {
            ("publish", None) => Ok(ApiScope::Publish(ChannelPattern::Any)),
            ("read", None) => Ok(ApiScope::Read),
            ("disconnect", None) => Ok(ApiScope::Disconnect),
            ("subscribe", None) => Ok(ApiScope::Subscribe(ChannelPattern::Any)),
            ("subscribe", Some(pattern)) => {
                Ok(ApiScope::Subscribe(ChannelPattern::parse(pattern)?))
            }
            ("revoke", None) => Ok(ApiScope::Revoke),
            ("refresh", None) => Ok(ApiScope::Refresh),
            ("publish", Some(pattern)) => Ok(ApiScope::Publish(ChannelPattern::parse(pattern)?)),
            ("history", None) => Ok(ApiScope::History(ChannelPattern::Any)),
            ("history", Some(pattern)) => Ok(ApiScope::History(ChannelPattern::parse(pattern)?)),
            ("presence", None) => Ok(ApiScope::Presence(ChannelPattern::Any)),
            ("presence", Some(pattern)) => Ok(ApiScope::Presence(ChannelPattern::parse(pattern)?)),
            _ => {
                let near = nearest(action, ACTIONS);
                Err(near.map_or_else(String::new, |near| format!("did you mean \"{near}\"?")))
            }
        }
    }
}

impl ChannelPattern {
    fn parse(word: &str) -> Result<ChannelPattern, String> {
        if word.is_empty() {
            return Err("the channel is missing behind the colon".to_owned());
        }
        if word.contains(char::is_control) {
            return Err("no channel's name has a control character".to_owned());
        }
        match word.strip_suffix('*') {
            Some(prefix) if prefix.contains('*') => {
                Err("* stands for any rest of a name, at the end alone".to_owned())
            }
            Some("") => Ok(ChannelPattern::Any),
            Some(prefix) => Ok(ChannelPattern::Prefix(prefix.to_owned())),
            None if word.contains('*') => {
                Err("* stands for any rest of a name, at the end alone".to_owned())
            }
            None => Ok(ChannelPattern::Exact(word.to_owned())),
        }
    }
}

/// As it is written in the configuration.
impl fmt::Display for ApiScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (action, pattern) = match self {
            ApiScope::Read => return f.write_str("read"),
            ApiScope::Disconnect => return f.write_str("disconnect"),
            ApiScope::Revoke => return f.write_str("revoke"),
            ApiScope::Refresh => return f.write_str("refresh"),
            ApiScope::Publish(pattern) => ("publish", pattern),
            ApiScope::Subscribe(pattern) => ("subscribe", pattern),
            ApiScope::History(pattern) => ("history", pattern),
            ApiScope::Presence(pattern) => ("presence", pattern),
        };
        match pattern {
            ChannelPattern::Any => f.write_str(action),
            ChannelPattern::Exact(name) => write!(f, "{action}:{name}"),
            ChannelPattern::Prefix(prefix) => write!(f, "{action}:{prefix}*"),
        }
    }
}

const ACTIONS: [&str; 8] = [
    "publish",
    "read",
    "disconnect",
    "subscribe",
    "revoke",
    "refresh",
    "history",
    "presence",
];
