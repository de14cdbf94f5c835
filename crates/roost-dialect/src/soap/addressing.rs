//! What a message says of where it goes (WS-Addressing), and what follows from it.

use std::borrow::Cow;

use super::fault::{Mistake, Subcode};
use super::names::{Addresses, is_absolute};

/// The headers of WS-Addressing that count here, without white space around.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Addressing<'a> {
    /// Whose they are; `None` without any.
    pub(super) addresses: Option<Addresses>,
    to: Option<Cow<'a, str>>,
    action: Option<Cow<'a, str>>,
    message_id: Option<Cow<'a, str>>,
    relates_to: Vec<Cow<'a, str>>,
    reply_to: Option<ReplyTo>,
    fault_to: Option<ReplyTo>,
}

/// Where a reply is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReplyTo {
    /// Over the connection.
    Connection,
    /// Nowhere.
    Nowhere,
    /// At an address, to which this server does not connect.
    Elsewhere,
}

impl ReplyTo {
    /// Of an endpoint's Address. WS-Addressing 1.0 §3.2: none means anonymous.
    pub(super) fn of_address(addresses: Addresses, address: Option<&str>) -> ReplyTo {
        match address {
            None => ReplyTo::Connection,
            Some(address) if address == addresses.anonymous() => ReplyTo::Connection,
            Some(address) if Some(address) == addresses.none() => ReplyTo::Nowhere,
            Some(_) => ReplyTo::Elsewhere,
        }
    }
}

/// What a message asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order<'m> {
    /// Publish it; without a name, on the channel that the connection has joined.
    Publish(Option<&'m str>),
    /// Call the service of this name.
    Request {
        name: &'m str,
        /// The name is that of the Action, not of To.
        is_action: bool,
        message_id: &'m str,
    },
}

impl<'a> Addressing<'a> {
    /// Whether a header of this name is one of them.
    pub(super) fn takes(local: &str) -> bool {
        matches!(
            local,
            "To" | "Action" | "MessageID" | "RelatesTo" | "ReplyTo" | "FaultTo" | "From"
        )
    }

    /// A header of them has come.
    pub(super) fn begin(&mut self, addresses: Addresses) -> Result<(), Mistake> {
        let known = *self.addresses.get_or_insert(addresses);
        if known != addresses {
            let reason = "The headers of WS-Addressing are of two versions.";
            return Err(Mistake::about(Subcode::InvalidAddressingHeader, reason));
        }
        Ok(())
    }

    /// Takes a header that has text.
    pub(super) fn set(&mut self, local: &str, value: Cow<'a, str>) -> Result<(), Mistake> {
        let field = match local {
            "To" => &mut self.to,
            "Action" => &mut self.action,
            "MessageID" => &mut self.message_id,
            _ => {
                self.relates_to.push(value);
                return Ok(());
            }
        };
        match field.replace(value) {
            None => Ok(()),
            Some(_) => Err(twice()),
        }
    }

    /// Takes a header that has an Address.
    pub(super) fn set_endpoint(&mut self, local: &str, to: ReplyTo) -> Result<(), Mistake> {
        let field = match local {
            "ReplyTo" => &mut self.reply_to,
            "FaultTo" => &mut self.fault_to,
            _ => return Ok(()), // From tells nothing that is needed
        };
        match field.replace(to) {
            None => Ok(()),
            Some(_) => Err(twice()),
        }
    }

    /// The message's own number, to answer it.
    pub(super) fn message_id(&self) -> Option<&str> {
        let id = self.message_id.as_deref();
        id.filter(|id| is_message_id(id))
    }

    /// Whether the message says that it answers this one.
    pub(super) fn relates_to(&self, message_id: &str) -> bool {
        self.relates_to.iter().any(|id| id == message_id)
    }

    /// Whether the message says that it answers one.
    pub(super) fn is_reply(&self) -> bool {
        !self.relates_to.is_empty()
    }

    /// What the message asks for. A channel's name has so many bytes at most.
    ///
    /// WS-Addressing 1.0 §3.3: a message with a MessageID may be answered; one without is one-way.
    pub(super) fn order(&self, name_bytes_max: usize) -> Result<Order<'_>, Mistake> {
        for endpoint in [self.reply_to, self.fault_to].into_iter().flatten() {
            if endpoint == ReplyTo::Elsewhere {
                let reason =
                    "Replies go over this connection only: ReplyTo and FaultTo must be anonymous.";
                return Err(Mistake::about(Subcode::OnlyAnonymousAddress, reason));
            }
        }
        let (name, is_action) = self.destination()?;
        if name.is_some_and(|name| name.len() > name_bytes_max) {
            let reason = "The address has more bytes than a channel's name may have.";
            return Err(Mistake::about(Subcode::DestinationUnreachable, reason));
        }
        let Some(message_id) = self.message_id.as_deref() else {
            return Ok(Order::Publish(name));
        };
        if !is_message_id(message_id) {
            let reason = "The MessageID must have 1 to 256 bytes.";
            return Err(Mistake::about(Subcode::InvalidAddressingHeader, reason));
        }
        if self.reply_to == Some(ReplyTo::Nowhere) {
            return Ok(Order::Publish(name));
        }
        match name {
            Some(name) => Ok(Order::Request {
                name,
                is_action,
                message_id,
            }),
            None => Err(Mistake::about(Subcode::AddressingHeaderRequired, NO_NAME)),
        }
    }

    /// To, or else the Action, and whether it is that.
    fn destination(&self) -> Result<(Option<&str>, bool), Mistake> {
        let to = self.to.as_deref().filter(|to| self.is_name(to));
        let (name, is_action) = match (to, self.action.as_deref()) {
            (Some(to), _) => (to, false),
            (None, Some(action)) => (action, true),
            (None, None) => return Ok((None, false)),
        };
        if !is_absolute(name) {
            let reason = "To and Action must be absolute URIs, such as urn:example:prices.";
            return Err(Mistake::about(Subcode::InvalidAddressingHeader, reason));
        }
        Ok((Some(name), is_action))
    }

    /// Whether To names a channel: not this connection's other end, nor the URL that it was opened
    /// with, which clients put there by themselves.
    fn is_name(&self, to: &str) -> bool {
        let anonymous = self.addresses.map(Addresses::anonymous);
        Some(to) != anonymous && !has_scheme(to, "ws") && !has_scheme(to, "wss")
    }
}

fn has_scheme(uri: &str, scheme: &str) -> bool {
    let before = uri.split_once(':').map(|(before, _)| before);
    before.is_some_and(|before| before.eq_ignore_ascii_case(scheme))
}

fn is_message_id(id: &str) -> bool {
    (1..=MESSAGE_ID_BYTES_MAX).contains(&id.len())
}

fn twice() -> Mistake {
    let reason = "A header of WS-Addressing stands twice that may stand once.";
    Mistake::about(Subcode::InvalidCardinality, reason)
}

/// A message that names no channel.
pub(super) const NO_NAME: &str =
    "The message names no channel: it needs a To or an Action of WS-Addressing, an absolute URI.";
/// It is kept until the request is answered. A UUID as a URN has 45.
pub(super) const MESSAGE_ID_BYTES_MAX: usize = 256;
