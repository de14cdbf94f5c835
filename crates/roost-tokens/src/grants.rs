//! Capabilities of tokens, as permissions.

use std::sync::Arc;

use roost_access::{Matching, Operation, Operations, Pattern, Permission, PermissionSet};

use crate::claims::{Keys, RawCap};
use crate::object::Object;
use crate::outcome::Refusal;

/// Those of a list that has the form of the claim `caps`, as JSON.
///
/// # Errors
/// What is wrong with it, in words.
pub fn permissions_of_caps(json: &str) -> Result<PermissionSet, &'static str> {
    let caps = serde_json::from_str(json).map_err(|_| "caps is no list of objects")?;
    permissions_of(caps).map_err(|refusal| match refusal {
        Refusal::Claim(what) => what,
        _ => "caps is not understood",
    })
}

/// The channels of two members that have the form of the claims `channels` and `subs`, as JSON.
///
/// # Errors
/// What is wrong with them, in words.
pub fn subscriptions_of_json(
    channels: Option<&str>,
    subs: Option<&str>,
) -> Result<Vec<Box<str>>, &'static str> {
    let channels: Option<Vec<String>> = channels
        .map(serde_json::from_str)
        .transpose()
        .map_err(|_| "channels is no list of strings")?;
    let subs: Option<Keys> = subs
        .map(serde_json::from_str)
        .transpose()
        .map_err(|_| "subs is no object of objects")?;
    subscriptions_of(channels, subs)
}

/// Those of a JWT's claims `channels` and `subs`: each once, in their order.
pub(crate) fn subscriptions_of(
    channels: Option<Vec<String>>,
    subs: Option<Keys>,
) -> Result<Vec<Box<str>>, &'static str> {
    let subs = subs.map_or_else(Vec::new, |Keys(names)| names);
    let names = channels.unwrap_or_default().into_iter().chain(subs);
    let mut all: Vec<Box<str>> = Vec::new();
    for name in names {
        let is_bad = |name: &str| name.is_empty() || name.chars().any(char::is_control);
        if is_bad(&name) || name.len() > SUBSCRIPTION_BYTES_MAX {
            return Err(
                "a channel to subscribe to is empty, longer than 255 bytes, or has control characters",
            );
        }
        if all.iter().all(|other| **other != *name) {
            if all.len() == SUBSCRIPTIONS_MAX {
                return Err("there are more than 64 channels to subscribe to");
            }
            all.push(name.into());
        }
    }
    Ok(all)
}

/// What the claim `info` says of a client, as JSON; `null` says nothing.
///
/// # Errors
/// It is too long.
pub fn info_of(json: Option<&str>) -> Result<Option<Arc<str>>, &'static str> {
    match json {
        None | Some("null") => Ok(None),
        Some(json) if json.len() > INFO_BYTES_MAX => Err("info is longer than 1024 bytes"),
        Some(json) => Ok(Some(json.into())),
    }
}

/// Those of a JWT's claim `caps`.
pub(crate) fn permissions_of(caps: Vec<Object<RawCap>>) -> Result<PermissionSet, Refusal> {
    let names: usize = caps.iter().map(|cap| cap.0.channels.len()).sum();
    if caps.len() > CAPS_MAX || names > CAP_CHANNELS_MAX {
        return Err(Refusal::Claim(
            "the token has more than 64 caps, or more than 256 channels in them",
        ));
    }
    let mut permissions = Vec::new();
    for Object(cap) in caps {
        add_cap(cap, &mut permissions)?;
    }
    Ok(PermissionSet::of_token(permissions))
}

fn add_cap(cap: RawCap, permissions: &mut Vec<Permission>) -> Result<(), Refusal> {
    let has_wildcards = match cap.r#match.as_deref() {
        None | Some("" | "exact") => false,
        Some("wildcard") => true,
        // What a pattern costs would be the token's choice.
        Some("regex") => {
            return Err(Refusal::Claim(
                "caps with match regex are not understood; use wildcard",
            ));
        }
        Some(_) => {
            return Err(Refusal::Claim(
                "match in the token's caps is neither exact nor wildcard",
            ));
        }
    };
    let mut operations = Vec::new();
    for word in &cap.allow {
        match word.as_str() {
            "sub" => operations.push(Operation::Subscribe),
            "pub" => operations.push(Operation::Publish),
            "prs" => operations.push(Operation::ReadPresence),
            // What history clients may read is not asked yet.
            "hst" => {}
            _ => {
                return Err(Refusal::Claim(
                    "allow in the token's caps has words beside sub, pub, prs and hst",
                ));
            }
        }
    }
    let allow = Operations::from_iter(operations);
    for channel in cap.channels {
        let pattern = match has_wildcards {
            true => pattern(&channel).ok_or(Refusal::Claim(
                "a channel in the token's caps has * elsewhere than at its end",
            ))?,
            false => Pattern::new(Matching::Exact, channel),
        };
        permissions.push(Permission { pattern, allow });
    }
    Ok(())
}

/// A name, or a beginning of names if it ends with `*`; `None` with one elsewhere.
pub(crate) fn pattern(text: &str) -> Option<Pattern> {
    let (matching, text) = match text.strip_suffix('*') {
        Some(start) => (Matching::Prefix, start),
        None => (Matching::Exact, text),
    };
    (!text.contains('*')).then(|| Pattern::new(matching, text))
}

/// Channels that a client is subscribed to when it connects: each is asked for at once.
const SUBSCRIPTIONS_MAX: usize = 64;
/// What is said of a client goes to all that are told of it.
const INFO_BYTES_MAX: usize = 1024;
/// No channel's name is longer, whatever the configuration says.
const SUBSCRIPTION_BYTES_MAX: usize = 255;
/// Each is looked through when a channel is asked for.
const CAPS_MAX: usize = 64;
/// The same, of all of them.
const CAP_CHANNELS_MAX: usize = 256;
