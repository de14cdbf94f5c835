//! Which requests for a WebSocket are SOAP's (MS-SWSB §3).

use std::borrow::Cow;

use roost_wire::CloseCode;

use super::Settings;
use super::names::{Version, is_absolute};
use crate::dialect::{Accept, Offer, Terms};
use crate::path::channel_from_path;
use crate::{DialectKind, Form};

/// The subprotocol.
pub const SOAP: &str = "soap";

/// What a server that refuses a content type serves instead.
pub const SERVED: &[(&str, &str)] = &[(
    CONTENT_TYPE,
    "application/soap+xml; charset=utf-8, text/xml; charset=utf-8",
)];

/// Which envelopes a session takes and is sent. Its number is what [`Terms`] and sessions keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// Of both versions: the client did not say.
    Any = 0,
    V11 = 1,
    V12 = 2,
}

impl Takes {
    pub(super) const FORMS: [&'static str; 3] = ["soap", "soap-1.1", "soap-1.2"];

    pub(super) fn from_number(number: u8) -> Takes {
        match number {
            1 => Takes::V11,
            2 => Takes::V12,
            _ => Takes::Any,
        }
    }

    /// What subscribers with it are sent.
    pub(super) fn form(self) -> Form {
        Form::of(DialectKind::Soap, self as usize)
    }

    /// The version, if the client has chosen one.
    pub(super) fn version(self) -> Option<Version> {
        match self {
            Takes::Any => None,
            Takes::V11 => Some(Version::V11),
            Takes::V12 => Some(Version::V12),
        }
    }

    pub(super) fn admits(self, version: Version) -> bool {
        self.version().is_none_or(|own| own == version)
    }

    fn terms(self) -> Terms {
        let content_type = match self {
            Takes::Any => None,
            Takes::V11 => Some("text/xml; charset=utf-8"),
            Takes::V12 => Some("application/soap+xml; charset=utf-8"),
        };
        Terms {
            number: self as u8,
            header: content_type.map(|content_type| (CONTENT_TYPE, content_type)),
        }
    }
}

/// Clients are configured with any URL: the subprotocol is enough, on each path that is no other
/// dialect's. `/soap/{channel}` subscribes.
pub(super) fn accept<'a>(settings: &Settings, offer: &Offer<'a>) -> Accept<'a> {
    if !settings.enabled {
        return Accept::NotMine;
    }
    let path = match offer.path.strip_prefix("/soap") {
        Some("") => Some(None),
        Some(rest) => rest.strip_prefix('/').map(Some),
        None => None,
    };
    let mut offered = offer.subprotocols.iter().copied();
    let Some(subprotocol) = offered.find(|&name| name == SOAP) else {
        return match path {
            Some(_) => Accept::OpenAndClose(CloseCode::PROTOCOL_ERROR, SUBPROTOCOL_REQUIRED),
            None => Accept::NotMine,
        };
    };
    let Some(takes) = negotiate(offer) else {
        return Accept::RefusedNaming(CONTENT_TYPE_REQUIRED, SERVED);
    };
    let join = match path.flatten() {
        None => None,
        Some(encoded) => match channel_from_path(encoded, offer.channel_name_bytes_max) {
            Ok(channel) if is_absolute(&channel) => Some((channel, takes.form())),
            Ok(_) => return Accept::Refused(Cow::Borrowed(URI_REQUIRED)),
            Err(error) => return Accept::Refused(Cow::Borrowed(error.reason())),
        },
    };
    Accept::Open {
        subprotocol: Some(subprotocol),
        join,
        terms: takes.terms(),
    }
}

/// `None`: what the client wants is not served. A browser cannot send these headers.
fn negotiate(offer: &Offer<'_>) -> Option<Takes> {
    // MS-SWSB: it comes with binary encodings.
    if offer.headers.has(TRANSFER_MODE) {
        return None;
    }
    if !offer.headers.has(CONTENT_TYPE) {
        return Some(Takes::Any);
    }
    let mut parts = offer.headers.get(CONTENT_TYPE)?.split(';').map(str::trim);
    let media_type = parts.next()?;
    let takes = if media_type.eq_ignore_ascii_case("application/soap+xml") {
        Takes::V12
    } else if media_type.eq_ignore_ascii_case("text/xml") {
        Takes::V11
    } else {
        return None;
    };
    let is_utf8 = parts
        .filter_map(|part| part.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
        .all(|(_, value)| value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8"));
    is_utf8.then_some(takes)
}

/// MS-SWSB's headers.
const CONTENT_TYPE: &str = "soap-content-type";
const TRANSFER_MODE: &str = "microsoft-binary-transfer-mode";

/// A browser shows it.
const SUBPROTOCOL_REQUIRED: &str =
    "This path speaks SOAP: the client must offer the subprotocol soap.";
const CONTENT_TYPE_REQUIRED: &str = "soap-content-type must be application/soap+xml (SOAP 1.2) or text/xml (SOAP 1.1), in UTF-8. \
     Binary encodings (application/soap+msbin1, application/soap+msbinsession1), MTOM and \
     microsoft-binary-transfer-mode are not served.";
const URI_REQUIRED: &str =
    "The channel of a SOAP client must be an absolute URI, such as urn:example:prices.";
