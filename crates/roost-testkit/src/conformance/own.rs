//! Roost itself as a target, with everything on that a case can ask for.

use std::time::Duration;

use roost_reactor::{Origins, Settings};

use super::Target;
use crate::client::Address;

/// Changes a server's settings to those that [`own_target`] describes.
pub fn own_settings(settings: &mut Settings) {
    settings.listeners[0].origins = Origins::Listed(vec![ORIGIN.to_owned()]);
}

/// A server with [`own_settings`] at this address.
pub fn own_target(address: impl Into<Address>) -> Target {
    Target {
        raw: Some("/raw/conformance".to_owned()),
        subprotocol: Some("wamp.2.json".to_owned()),
        subprotocol_path: Some("/wamp".to_owned()),
        origin: Some(ORIGIN.to_owned()),
        timeout: Duration::from_secs(10),
        ..Target::at(address)
    }
}

const ORIGIN: &str = "https://app.example";
