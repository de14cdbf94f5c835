//! One token: its form, its key and signature, its claims.

use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Validation, errors::ErrorKind};
use roost_access::TokenMark;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::claims::{RawClaims, Seconds};
use crate::grants::{info_of, permissions_of, subscriptions_of};
use crate::keys::{KID_BYTES_MAX, KeyPrint, KeySet, NoKey};
use crate::object::Object;
use crate::outcome::{Refusal, Verified, id_of};

/// What a JWT has to fulfil beside its signature.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Whom tokens have to be for; without it a token must not name anybody.
    pub audience: Option<String>,
    /// Who has to have issued them; without it anybody who has a key.
    pub issuer: Option<String>,
    /// Whether a token without `exp` is refused.
    pub is_expiry_required: bool,
    /// Whether a token without `sub` is refused; otherwise it has no user.
    pub is_subject_required: bool,
    /// From `iat`, or from now, to `exp`; 0: without limit.
    pub lifetime_max_secs: u64,
    /// How much the clocks may differ.
    pub leeway_secs: u64,
    /// Of the whole token.
    pub token_bytes_max: usize,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            audience: None,
            issuer: None,
            is_expiry_required: true,
            is_subject_required: true,
            lifetime_max_secs: 24 * 3600,
            leeway_secs: 10,
            token_bytes_max: 4 << 10,
        }
    }
}

/// The members of a head that decide something; one that stands twice refuses the token.
///
/// `jku`, `jwk`, `x5u` and `x5c` are ignored: a token does not choose its key (RFC 8725 §3.10).
#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    cty: Option<IgnoredAny>,
    crit: Option<IgnoredAny>,
    b64: Option<IgnoredAny>,
    enc: Option<IgnoredAny>,
    zip: Option<IgnoredAny>,
}

/// Checks a JWT. `now` is in seconds of the Unix epoch.
///
/// # Errors
/// Whatever is wrong first: form, key, signature, claims. No claim is looked at before the signature
/// is known to be good.
pub fn verify(token: &[u8], keys: &KeySet, rules: &Rules, now: u64) -> Result<Verified, Refusal> {
    if token.len() > rules.token_bytes_max {
        return Err(Refusal::TooLarge);
    }
    let head = parse_head(token)?;
    let algorithm = check_head(&head)?;
    // The library knows more members, and their types.
    jsonwebtoken::decode_header(token).map_err(|_| Refusal::Malformed)?;
    let not_here = || Refusal::MaybeInJwks(head.kid.as_deref().unwrap_or("").into());
    let candidates =
        keys.candidates(algorithm, head.kid.as_deref())
            .map_err(|none| match none {
                NoKey::Algorithm => Refusal::Algorithm,
                NoKey::Kid => Refusal::UnknownKey,
                NoKey::MaybeInJwks => not_here(),
                NoKey::Ambiguous => Refusal::AmbiguousKey,
            })?;
    let mut refusal = match candidates.may_be_in_jwks {
        true => not_here(),
        false => Refusal::Signature,
    };
    for key in candidates.keys {
        match jsonwebtoken::decode::<Object<RawClaims>>(
            token,
            key.material(),
            &signature_only(algorithm),
        ) {
            Ok(data) => return check_claims(data.claims.0, rules, now, key.print()),
            Err(error) if *error.kind() == ErrorKind::InvalidSignature => {}
            Err(error) => {
                // The signature is checked before the claims are read.
                refusal = match error.kind() {
                    ErrorKind::Json(_) | ErrorKind::Utf8(_) => return Err(Refusal::Claims),
                    _ => Refusal::Malformed,
                };
            }
        }
    }
    Err(refusal)
}

/// The library reads the clock itself, rounds fractions, and lets a claim be missing: what it checks
/// is the head once more, the algorithm and the signature; times and names are checked here.
fn signature_only(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

/// RFC 7515 §7.1: three parts in base64url without padding.
fn parse_head(token: &[u8]) -> Result<Head, Refusal> {
    let is_compact = token
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if !is_compact {
        return Err(Refusal::Malformed);
    }
    let mut parts = token.split(|byte| *byte == b'.');
    let (head, parts_after) = (parts.next().unwrap_or(b""), parts.by_ref().take(5).count());
    match parts_after {
        2 => {}
        // RFC 7516 §9: five parts are a JWE.
        4 => return Err(Refusal::Head("encrypted tokens are not understood")),
        _ => return Err(Refusal::Malformed),
    }
    let head = URL_SAFE_NO_PAD
        .decode(head)
        .map_err(|_| Refusal::Malformed)?;
    serde_json::from_slice(&head)
        .map(|Object(head)| head)
        .map_err(|_| Refusal::Malformed)
}

fn check_head(head: &Head) -> Result<Algorithm, Refusal> {
    // RFC 7515 §4.1.11: what is critical and not understood refuses the token.
    if head.crit.is_some() || head.b64.is_some() {
        return Err(Refusal::Head("the token's head has critical extensions"));
    }
    if head.enc.is_some() || head.zip.is_some() || head.cty.is_some() {
        return Err(Refusal::Head(
            "encrypted, compressed and nested tokens are not understood",
        ));
    }
    // RFC 8725 §3.11: a token of another kind is not one for connecting. RFC 9068 has `at+jwt`.
    let is_for_access = head.typ.as_deref().is_none_or(|typ| {
        let typ = typ.to_ascii_lowercase();
        let typ = typ.strip_prefix("application/").unwrap_or(&typ);
        matches!(typ, "jwt" | "at+jwt")
    });
    if !is_for_access {
        return Err(Refusal::Head("the token's typ is neither JWT nor at+jwt"));
    }
    if head
        .kid
        .as_ref()
        .is_some_and(|kid| kid.len() > KID_BYTES_MAX)
    {
        return Err(Refusal::Head("the token's kid is too long"));
    }
    Algorithm::from_str(&head.alg).map_err(|_| Refusal::Algorithm)
}

fn check_claims(
    claims: RawClaims,
    rules: &Rules,
    now: u64,
    key: KeyPrint,
) -> Result<Verified, Refusal> {
    check_names(&claims, rules)?;
    let (token_expires_at, expires_at) = check_times(&claims, rules, now)?;
    let user = match claims.sub {
        None if rules.is_subject_required => {
            return Err(Refusal::Claim("the token has no sub"));
        }
        user => user.unwrap_or_default().into_boxed_str(),
    };
    let is_long = |name: &str| name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control);
    if is_long(&user) || claims.jti.as_deref().is_some_and(is_long) {
        return Err(Refusal::Claim(
            "the token's sub or jti is longer than 255 bytes or has control characters",
        ));
    }
    let permissions = permissions_of(claims.caps.unwrap_or_default())?;
    let subscriptions = subscriptions_of(claims.channels, claims.subs).map_err(Refusal::Claim)?;
    let info = claims.info.as_deref().map(RawValue::get);
    let info = info_of(info).map_err(Refusal::Claim)?;
    Ok(Verified {
        user,
        mark: TokenMark {
            id: claims.jti.as_deref().map(id_of).unwrap_or_default(),
            issued_at: claims
                .iat
                .map_or(0, |at| u32::try_from(at.0).unwrap_or(u32::MAX)),
        },
        token_expires_at,
        expires_at,
        permissions: Arc::new(
            permissions
                .with_subscriptions(subscriptions)
                .with_info(info),
        ),
        channel: claims.channel.map(String::into_boxed_str),
        key: Some(key),
    })
}

/// RFC 7519 §4.1.1 and §4.1.3.
fn check_names(claims: &RawClaims, rules: &Rules) -> Result<(), Refusal> {
    let is_for_us = match (&claims.aud, &rules.audience) {
        (Some(named), Some(audience)) => named.has(audience),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    if !is_for_us {
        return Err(Refusal::Audience);
    }
    match &rules.issuer {
        Some(issuer) if claims.iss.as_ref() != Some(issuer) => Err(Refusal::Issuer),
        _ => Ok(()),
    }
}

/// When the token expires, with the leeway, and when its connection does.
fn check_times(
    claims: &RawClaims,
    rules: &Rules,
    now: u64,
) -> Result<(Option<u64>, Option<u64>), Refusal> {
    let seconds = |claim: Option<Seconds>| claim.map(|at| at.0);
    let (exp, iat) = (seconds(claims.exp), seconds(claims.iat));
    if exp.is_none() && rules.is_expiry_required {
        return Err(Refusal::Claim("the token has no exp"));
    }
    let token_expires_at = exp.map(|exp| exp + rules.leeway_secs);
    // RFC 7519 §4.1.4: "on or after which the JWT MUST NOT be accepted".
    if token_expires_at.is_some_and(|at| now >= at) {
        return Err(Refusal::Expired);
    }
    let begins = [seconds(claims.nbf), iat];
    if begins
        .into_iter()
        .flatten()
        .any(|at| at > now + rules.leeway_secs)
    {
        return Err(Refusal::NotYet);
    }
    let latest = match rules.lifetime_max_secs {
        0 => None,
        lifetime => Some(lifetime),
    };
    let begin = iat.map_or(now, |iat| iat.min(now));
    if let (Some(exp), Some(lifetime)) = (exp, latest)
        && exp > begin + lifetime
    {
        return Err(Refusal::Lifetime);
    }
    // Centrifugo: expire_at says when the connection ends, 0 that it does not.
    let expires_at = match seconds(claims.expire_at) {
        None => token_expires_at,
        Some(0) => None,
        Some(at) if now >= at + rules.leeway_secs => return Err(Refusal::Expired),
        Some(at) => Some(at + rules.leeway_secs),
    };
    let latest = latest.map(|lifetime| now + lifetime + rules.leeway_secs);
    let expires_at = match (expires_at, latest) {
        (Some(at), Some(latest)) => Some(at.min(latest)),
        // Without a time in the token, one that may have any is held to the same limit.
        (None, Some(latest)) if exp.is_some() || rules.is_expiry_required => Some(latest),
        (at, _) => at,
    };
    Ok((token_expires_at, expires_at))
}

/// Of a user's name and a token's.
const NAME_BYTES_MAX: usize = 255;
