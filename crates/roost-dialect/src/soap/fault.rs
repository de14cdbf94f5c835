//! Faults: what went wrong with a message, in the words of SOAP 1.1 and 1.2.

use std::borrow::Cow;

use super::names::{Addresses, Version};
use super::xml::is_allowed;

/// Whose mistake it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    VersionMismatch,
    MustUnderstand,
    /// The message is wrong.
    Sender,
    /// The message may be right, and was not answered.
    Receiver,
}

/// What it is about: the faults that WS-Addressing has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subcode {
    InvalidAddressingHeader,
    InvalidCardinality,
    OnlyAnonymousAddress,
    AddressingHeaderRequired,
    DestinationUnreachable,
    ActionNotSupported,
    EndpointUnavailable,
}

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) code: Code,
    pub(super) subcode: Option<Subcode>,
    /// For a person.
    pub(super) reason: Cow<'static, str>,
    /// The header that had to be understood.
    pub(super) not_understood: Option<NotUnderstood>,
    /// The name of a service's error.
    pub(super) error: Option<String>,
}

/// A header block's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotUnderstood {
    pub(super) namespace: String,
    pub(super) local: String,
}

/// How a client is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) version: Version,
    /// `None` for a message without such headers.
    pub(super) addresses: Option<Addresses>,
    /// In a binary message, as it wrote itself.
    pub(super) is_binary: bool,
}

impl Mistake {
    pub(super) fn new(code: Code, reason: Cow<'static, str>) -> Mistake {
        Mistake {
            code,
            subcode: None,
            reason,
            not_understood: None,
            error: None,
        }
    }

    /// One of those that WS-Addressing has.
    pub(super) fn about(subcode: Subcode, reason: &'static str) -> Mistake {
        let code = match subcode {
            Subcode::EndpointUnavailable => Code::Receiver,
            _ => Code::Sender,
        };
        Mistake {
            subcode: Some(subcode),
            ..Mistake::new(code, Cow::Borrowed(reason))
        }
    }

    /// Appends the fault, as an answer to the message of this number.
    pub(super) fn write(&self, style: Style, relates_to: Option<&str>, out: &mut Vec<u8>) {
        let mut xml = Writer(out);
        let namespace = style.version.namespace();
        let addresses = style.addresses.unwrap_or(Addresses::V10);
        xml.raw("<env:Envelope xmlns:env=\"");
        xml.raw(namespace);
        xml.raw("\" xmlns:wsa=\"");
        xml.raw(addresses.namespace());
        xml.raw("\">");
        self.write_header(style, relates_to, &mut xml);
        xml.raw("<env:Body><env:Fault>");
        match style.version {
            Version::V11 => self.write_v11(addresses, &mut xml),
            Version::V12 => self.write_v12(addresses, &mut xml),
        }
        xml.raw("</env:Fault></env:Body></env:Envelope>");
    }

    fn write_header(&self, style: Style, relates_to: Option<&str>, xml: &mut Writer<'_>) {
        xml.raw("<env:Header>");
        if let Some(addresses) = style.addresses {
            xml.element("wsa:Action", addresses.fault_action());
            if let Some(id) = relates_to {
                xml.element("wsa:RelatesTo", id);
            }
        }
        if style.version == Version::V12 {
            // SOAP 1.2 §5.4.7 and §5.4.8.
            if let Some(NotUnderstood { namespace, local }) = &self.not_understood {
                xml.raw("<env:NotUnderstood qname=\"");
                // A name without a namespace has no prefix.
                if namespace.is_empty() {
                    xml.text(local);
                } else {
                    xml.raw("ns:");
                    xml.text(local);
                    xml.raw("\" xmlns:ns=\"");
                    xml.text(namespace);
                }
                xml.raw("\"/>");
            }
            if self.code == Code::VersionMismatch {
                xml.raw("<env:Upgrade><env:SupportedEnvelope qname=\"env:Envelope\"/>");
                xml.raw("<env:SupportedEnvelope qname=\"soap11:Envelope\" xmlns:soap11=\"");
                xml.raw(Version::V11.namespace());
                xml.raw("\"/></env:Upgrade>");
            }
        }
        xml.raw("</env:Header>");
    }

    /// SOAP 1.1 §4.4; WS-Addressing 1.0 SOAP Binding §6.1: the subcode stands for the code.
    fn write_v11(&self, addresses: Addresses, xml: &mut Writer<'_>) {
        let code = match self.code {
            Code::VersionMismatch => "env:VersionMismatch",
            Code::MustUnderstand => "env:MustUnderstand",
            Code::Sender => "env:Client",
            Code::Receiver => "env:Server",
        };
        let most_exact = self.subcode.map(|subcode| {
            let (name, inner) = subcode.names(addresses);
            inner.unwrap_or(name)
        });
        xml.element("faultcode", most_exact.unwrap_or(code));
        xml.element("faultstring", &self.reason);
        if let Some(error) = &self.error {
            xml.raw("<detail>");
            write_error(error, xml);
            xml.raw("</detail>");
        }
    }

    /// SOAP 1.2 §5.4.
    fn write_v12(&self, addresses: Addresses, xml: &mut Writer<'_>) {
        xml.raw("<env:Code>");
        xml.element(
            "env:Value",
            match self.code {
                Code::VersionMismatch => "env:VersionMismatch",
                Code::MustUnderstand => "env:MustUnderstand",
                Code::Sender => "env:Sender",
                Code::Receiver => "env:Receiver",
            },
        );
        if let Some((name, inner)) = self.subcode.map(|one| one.names(addresses)) {
            xml.raw("<env:Subcode>");
            xml.element("env:Value", name);
            if let Some(inner) = inner {
                xml.raw("<env:Subcode>");
                xml.element("env:Value", inner);
                xml.raw("</env:Subcode>");
            }
            xml.raw("</env:Subcode>");
        }
        xml.raw("</env:Code><env:Reason><env:Text xml:lang=\"en\">");
        xml.text(&self.reason);
        xml.raw("</env:Text></env:Reason>");
        if let Some(error) = &self.error {
            xml.raw("<env:Detail>");
            write_error(error, xml);
            xml.raw("</env:Detail>");
        }
    }
}

impl Subcode {
    /// Its name, and that of the more exact one in it.
    fn names(self, addresses: Addresses) -> (&'static str, Option<&'static str>) {
        match addresses {
            Addresses::V10 => match self {
                Subcode::InvalidAddressingHeader => ("wsa:InvalidAddressingHeader", None),
                Subcode::InvalidCardinality => (
                    "wsa:InvalidAddressingHeader",
                    Some("wsa:InvalidCardinality"),
                ),
                Subcode::OnlyAnonymousAddress => (
                    "wsa:InvalidAddressingHeader",
                    Some("wsa:OnlyAnonymousAddressSupported"),
                ),
                Subcode::AddressingHeaderRequired => ("wsa:MessageAddressingHeaderRequired", None),
                Subcode::DestinationUnreachable => ("wsa:DestinationUnreachable", None),
                Subcode::ActionNotSupported => ("wsa:ActionNotSupported", None),
                Subcode::EndpointUnavailable => ("wsa:EndpointUnavailable", None),
            },
            Addresses::V2004 => match self {
                Subcode::InvalidAddressingHeader
                | Subcode::InvalidCardinality
                | Subcode::OnlyAnonymousAddress => ("wsa:InvalidMessageInformationHeader", None),
                Subcode::AddressingHeaderRequired => ("wsa:MessageInformationHeaderRequired", None),
                Subcode::DestinationUnreachable => ("wsa:DestinationUnreachable", None),
                Subcode::ActionNotSupported => ("wsa:ActionNotSupported", None),
                Subcode::EndpointUnavailable => ("wsa:EndpointUnavailable", None),
            },
        }
    }
}

/// The header block that says which message is answered.
pub(super) fn relates_to_block(addresses: Addresses, message_id: &str) -> String {
    let mut block = Vec::new();
    let mut xml = Writer(&mut block);
    xml.raw("<wsa:RelatesTo xmlns:wsa=\"");
    xml.raw(addresses.namespace());
    xml.raw("\">");
    xml.text(message_id);
    xml.raw("</wsa:RelatesTo>");
    String::from_utf8(block).expect("it is written from strings")
}

fn write_error(name: &str, xml: &mut Writer<'_>) {
    xml.raw("<error xmlns=\"urn:roost:soap\">");
    xml.text(name);
    xml.raw("</error>");
}

/// Appends XML.
struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    fn element(&mut self, name: &str, text: &str) {
        self.raw("<");
        self.raw(name);
        self.raw(">");
        self.text(text);
        self.raw("</");
        self.raw(name);
        self.raw(">");
    }

    /// Text, or an attribute's value between double quotes.
    fn text(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.raw("&amp;"),
                '<' => self.raw("&lt;"),
                '>' => self.raw("&gt;"),
                '"' => self.raw("&quot;"),
                // Line ends and tabs would be changed by who reads them.
                '\t' => self.raw("&#9;"),
                '\n' => self.raw("&#10;"),
                '\r' => self.raw("&#13;"),
                c if is_allowed(c) => self.raw(c.encode_utf8(&mut [0; 4])),
                _ => self.raw("\u{FFFD}"),
            }
        }
    }
}
