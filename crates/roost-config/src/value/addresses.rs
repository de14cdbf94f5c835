//! Values that are addresses.

use std::net::SocketAddr;

use toml::Spanned;
use toml::de::DeValue;

use super::{Refusal, ValueType, entries_of, integer, quoted, refuse, shortened};
use crate::address::{ListenAddress, address_hint, check_socket};

/// An IP address with a port.
pub(crate) struct Address;

impl ValueType for Address {
    type Value = SocketAddr;

    fn read(
        &self,
        value: &Spanned<DeValue<'_>>,
        refusals: &mut Vec<Refusal>,
    ) -> Option<SocketAddr> {
        let Some(text) = value.get_ref().as_str() else {
            let port = integer(value.get_ref()).map(|port| port.to_string());
            let hint = port.and_then(|port| address_hint(&port));
            return refuse(self, value, hint, refusals);
        };
        match text.parse() {
            Ok(address) => Some(address),
            Err(_) => refuse(self, value, address_hint(text), refusals),
        }
    }

    fn write(&self, value: &SocketAddr) -> String {
        quoted(&value.to_string())
    }

    fn expected(&self) -> String {
        "an IP address with a port, such as \"127.0.0.1:8080\" or \"[::]:8080\"".to_owned()
    }

    fn takes(&self) -> String {
        "IP address and port".to_owned()
    }
}

/// An IP address with a port, or a unix socket's path.
pub(crate) struct ListenerAddress;

impl ValueType for ListenerAddress {
    type Value = ListenAddress;

    fn read(
        &self,
        value: &Spanned<DeValue<'_>>,
        refusals: &mut Vec<Refusal>,
    ) -> Option<ListenAddress> {
        let text = value.get_ref().as_str().unwrap_or_default();
        if let Some(path) = text.strip_prefix("unix:") {
            return match check_socket(path) {
                Ok(()) if !path.is_empty() => Some(ListenAddress::Unix(path.to_owned())),
                Ok(()) => refuse(
                    self,
                    value,
                    Some("the path is missing".to_owned()),
                    refusals,
                ),
                Err(hint) => refuse(self, value, Some(hint), refusals),
            };
        }
        if text.starts_with('/') && check_socket(text).is_ok() {
            let hint = format!("for a unix socket write \"unix:{}\"", shortened(text));
            return refuse(self, value, Some(hint), refusals);
        }
        let start = refusals.len();
        let read = Address.read(value, refusals);
        for refusal in &mut refusals[start..] {
            refusal.expected = self.expected();
        }
        read.map(ListenAddress::Tcp)
    }

    fn write(&self, value: &ListenAddress) -> String {
        quoted(&value.to_string())
    }

    fn expected(&self) -> String {
        "an IP address with a port, such as \"127.0.0.1:8080\" or \"[::]:8080\", or a unix socket, \
         such as \"unix:/run/roost/clients.sock\""
            .to_owned()
    }

    fn takes(&self) -> String {
        "IP address and port, `\"unix:\"` and an absolute path".to_owned()
    }
}

/// A list of such addresses.
pub(crate) struct ListenerAddresses;

impl ValueType for ListenerAddresses {
    type Value = Vec<ListenAddress>;

    fn read(
        &self,
        value: &Spanned<DeValue<'_>>,
        refusals: &mut Vec<Refusal>,
    ) -> Option<Vec<ListenAddress>> {
        let array = entries_of(self, value, refusals)?;
        let start = refusals.len();
        let mut addresses: Vec<ListenAddress> = Vec::with_capacity(array.len());
        for entry in array.iter() {
            let Some(address) = ListenerAddress.read(entry, refusals) else {
                continue;
            };
            if addresses.iter().any(|other| other.clashes_with(&address)) {
                let hint = Some("it clashes with one before it".to_owned());
                refuse::<_, ()>(&ListenerAddress, entry, hint, refusals);
            }
            addresses.push(address);
        }
        if addresses.len() > ADDRESSES_MAX {
            let hint = Some(format!("at most {ADDRESSES_MAX}"));
            refuse::<_, ()>(self, value, hint, refusals);
        }
        (refusals.len() == start).then_some(addresses)
    }

    fn write(&self, value: &Vec<ListenAddress>) -> String {
        let addresses = value.iter().map(|address| ListenerAddress.write(address));
        format!("[{}]", addresses.collect::<Vec<_>>().join(", "))
    }

    fn expected(&self) -> String {
        format!("a list, each entry {}", ListenerAddress.expected())
    }

    fn takes(&self) -> String {
        format!("list of: {}", ListenerAddress.takes())
    }
}

/// Addresses in a list.
const ADDRESSES_MAX: usize = 8;
