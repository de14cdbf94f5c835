//! `roostd token`: one for trying out.

use roost_config::Loaded;
use roost_tokens::parse_allow;
use serde_json::{Value, json};

use crate::tls::now;
use crate::tokens::read_secrets;

/// A token for so many seconds. The error is a message for people.
pub(crate) fn make(
    loaded: &Loaded,
    user: &str,
    expires: u64,
    allow: &[String],
) -> Result<String, String> {
    let jwt = &loaded.settings.auth.jwt;
    if jwt.hmac_secrets_file.is_empty() {
        return Err(NO_SECRET.to_owned());
    }
    let secrets = read_secrets(loaded, &jwt.hmac_secrets_file)?;
    let caps: Result<Vec<Value>, String> = allow.iter().map(|one| cap(one)).collect();
    let (now, caps) = (now(), caps?);
    let mut claims = json!({ "sub": user, "iat": now, "exp": now + expires });
    for (claim, value) in [("aud", &jwt.audience), ("iss", &jwt.issuer)] {
        if let Some(value) = value {
            claims[claim] = json!(value);
        }
    }
    if !caps.is_empty() {
        claims["caps"] = json!(caps);
    }
    let token = secrets.signer.sign(&claims);
    String::from_utf8(token.expose().to_vec()).map_err(|_| "the token is not ASCII".to_owned())
}

fn cap(text: &str) -> Result<Value, String> {
    let Some((word, channel)) = text.split_once(':').filter(|_| parse_allow(text).is_some()) else {
        return Err(format!(
            "--allow {text}: write sub:, pub: or prs: and a channel, which may end with *"
        ));
    };
    let matching = match channel.ends_with('*') {
        true => "wildcard",
        false => "exact",
    };
    Ok(json!({ "channels": [channel], "match": matching, "allow": [word] }))
}

/// `90s`, `15m`, `12h` or `1d`.
pub(crate) fn parse_seconds(text: &str) -> Result<u64, String> {
    let wrong = || "write a number and s, m, h or d, such as 1h".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let each = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let count: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    Ok(u64::from(count) * each)
}

const NO_SECRET: &str = "\
auth.jwt.hmac_secrets_file: none, and a token is signed with a secret. Remedy: name a file in the \
configuration that --config gives; docs/identity.md has the five lines";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("1h", 3_600), ("2d", 172_800)] {
            assert_eq!(parse_seconds(text), Ok(seconds), "{text}");
        }
        for text in ["", "h", "1", "-1h", "1.5h", "1w", "99999999999d", "1é"] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }
}
