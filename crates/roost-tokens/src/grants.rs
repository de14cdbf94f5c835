//! Capabilities of tokens, as permissions.

use roost_access::{Matching, Operation, Operations, Pattern, Permission, PermissionSet};

use crate::claims::RawCap;
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

/// Each is looked through when a channel is asked for.
const CAPS_MAX: usize = 64;
/// The same, of all of them.
const CAP_CHANNELS_MAX: usize = 256;
