//! As whom a client's certificate names it. Only certificates that a handshake has verified are looked at:
//! what stands in another is its maker's word.

/// Which name of a certificate is the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// The common name of the subject.
    Common,
    /// A host name among the alternative names.
    Dns,
    /// A URI among them, such as a SPIFFE ID.
    Uri,
    /// An address of mail among them.
    Email,
}

/// As whom a client's certificate names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientName {
    /// The name, of 1 to 255 bytes and without control characters.
    pub name: Box<str>,
    /// From when the certificate is valid, in seconds since 1970.
    pub not_before: u64,
    /// Until when.
    pub not_after: u64,
}

impl ClientName {
    /// What a certificate in DER says. `None` if it has no name of the kind, or several: which one is meant
    /// would be a guess.
    pub(crate) fn of(certificate: &[u8], kind: NameKind) -> Option<ClientName> {
        let (not_before, not_after) = crate::certs::dates(&certificate.into()).ok()?;
        let name = match kind {
            NameKind::Common => common_name(certificate),
            NameKind::Dns => alternative_name(certificate, DNS_NAME),
            NameKind::Uri => alternative_name(certificate, UNIFORM_RESOURCE_IDENTIFIER),
            NameKind::Email => alternative_name(certificate, RFC822_NAME),
        };
        let name = name.filter(|name| is_usable(name))?;
        Some(ClientName {
            name: name.into(),
            not_before,
            not_after,
        })
    }
}

fn is_usable(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// RFC 5280 §4.1.2.6: the subject is a list of sets of pairs of a type and a value.
fn common_name(certificate: &[u8]) -> Option<&str> {
    let Fields { subject, .. } = fields(certificate)?;
    let mut found = Only::default();
    for set in Elements(subject) {
        for pair in Elements(set?.expect(SET)?) {
            let mut pair = Elements(pair?.expect(SEQUENCE)?);
            if pair.next()??.expect(OBJECT_IDENTIFIER)? == COMMON_NAME {
                let value = pair.next()??;
                let is_text = matches!(value.tag, UTF8_STRING | PRINTABLE_STRING | IA5_STRING);
                found.add(is_text.then_some(value.content)?);
            }
        }
    }
    found.text()
}

/// RFC 5280 §4.2.1.6.
fn alternative_name(certificate: &[u8], tag: u8) -> Option<&str> {
    let Fields { extensions, .. } = fields(certificate)?;
    let mut found = Only::default();
    for extension in Elements(extensions?) {
        let mut parts = Elements(extension?.expect(SEQUENCE)?);
        if parts.next()??.expect(OBJECT_IDENTIFIER)? != SUBJECT_ALTERNATIVE_NAME {
            continue;
        }
        // Between them may stand whether it is critical.
        let value = parts.last()??.expect(OCTET_STRING)?;
        for name in Elements(Elements(value).next()??.expect(SEQUENCE)?) {
            let name = name?;
            if name.tag == tag {
                found.add(name.content);
            }
        }
    }
    found.text()
}

/// One name, if there is one.
#[derive(Default)]
struct Only<'a> {
    name: Option<&'a [u8]>,
    has_more: bool,
}

impl<'a> Only<'a> {
    fn add(&mut self, name: &'a [u8]) {
        self.has_more |= self.name.replace(name).is_some();
    }

    fn text(self) -> Option<&'a str> {
        let name = self.name.filter(|_| !self.has_more)?;
        str::from_utf8(name).ok()
    }
}

/// The parts of a certificate that names stand in.
struct Fields<'a> {
    subject: &'a [u8],
    extensions: Option<&'a [u8]>,
}

/// RFC 5280 §4.1: version, serial number, algorithm, issuer, validity, subject, key, identifiers, extensions.
fn fields(certificate: &[u8]) -> Option<Fields<'_>> {
    let whole = Elements(certificate).next()??.expect(SEQUENCE)?;
    let signed = Elements(whole).next()??.expect(SEQUENCE)?;
    let mut fields = Elements(signed);
    fields.next()??.expect(VERSION)?;
    for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE] {
        fields.next()??.expect(tag)?;
    }
    let subject = fields.next()??.expect(SEQUENCE)?;
    let mut extensions = None;
    for field in fields {
        let field = field?;
        if field.tag == EXTENSIONS {
            extensions = Some(Elements(field.content).next()??.expect(SEQUENCE)?);
        }
    }
    Some(Fields {
        subject,
        extensions,
    })
}

/// The elements of DER, one behind the other: `Some(None)` for one that is damaged, and nothing behind it.
struct Elements<'a>(&'a [u8]);

#[derive(Clone, Copy)]
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
}

impl<'a> Element<'a> {
    fn expect(self, tag: u8) -> Option<&'a [u8]> {
        (self.tag == tag).then_some(self.content)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Option<Element<'a>>;

    fn next(&mut self) -> Option<Option<Element<'a>>> {
        if self.0.is_empty() {
            return None;
        }
        let split = split(self.0);
        self.0 = split.map_or(&[][..], |(_, rest)| rest);
        Some(split.map(|(element, _)| element))
    }
}

/// X.690 §8.1: the tag in one byte, the length in one, or in one to three behind their number.
fn split(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (len, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let len = len
                .iter()
                .fold(0, |len, byte| len << 8 | usize::from(*byte));
            (len, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((Element { tag, content }, rest))
}

/// The same as of the users of tokens.
const NAME_BYTES_MAX: usize = 255;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const RFC822_NAME: u8 = 0x81;
const DNS_NAME: u8 = 0x82;
const UNIFORM_RESOURCE_IDENTIFIER: u8 = 0x86;
/// 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 2.5.29.17.
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];

#[cfg(test)]
mod tests {
    use rcgen::string::Ia5String;
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SanType};

    use super::*;

    fn ia5(text: &str) -> Ia5String {
        text.try_into().expect("ASCII")
    }

    fn made(common: &[DnValue], names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "devices");
        for name in common {
            params
                .distinguished_name
                .push(DnType::CommonName, name.clone());
        }
        params.subject_alt_names = names;
        let key = KeyPair::generate().expect("a key");
        let made = params.self_signed(&key).expect("a certificate");
        made.der().to_vec()
    }

    fn found(certificate: &[u8]) -> [Option<String>; 4] {
        let kinds = [
            NameKind::Common,
            NameKind::Dns,
            NameKind::Uri,
            NameKind::Email,
        ];
        kinds.map(|kind| ClientName::of(certificate, kind).map(|name| name.name.into()))
    }

    #[test]
    fn each_kind_of_name_is_found_where_it_stands() {
        let names = vec![
            SanType::Rfc822Name(ia5("probe@example.org")),
            SanType::DnsName(ia5("probe.example.org")),
            SanType::IpAddress([127, 0, 0, 1].into()),
            SanType::URI(ia5("spiffe://example.org/probe")),
        ];
        let certificate = made(&["probe é".into()], names);
        let expected = [
            "probe é",
            "probe.example.org",
            "spiffe://example.org/probe",
            "probe@example.org",
        ];
        assert_eq!(found(&certificate), expected.map(|name| Some(name.into())));
        let name = ClientName::of(&certificate, NameKind::Dns).expect("it has one");
        assert!(name.not_before < name.not_after);
        // Cut or changed anywhere it is damaged, or says something else, and nothing panics.
        for at in 0..certificate.len() {
            let _ = fields(&certificate[..at]);
            let mut changed = certificate.clone();
            changed[at] ^= 0x81;
            let _ = (common_name(&changed), alternative_name(&changed, DNS_NAME));
        }
    }

    #[test]
    fn a_name_that_is_missing_doubtful_or_unusable_is_none() {
        assert_eq!(found(&made(&[], Vec::new())), [None, None, None, None]);
        let two = vec![
            SanType::DnsName(ia5("a.example.org")),
            SanType::DnsName(ia5("b.example.org")),
        ];
        assert_eq!(found(&made(&[], two)), [None, None, None, None]);
        for bad in ["", "a\0b", "a\nb", &"a".repeat(256)] {
            let certificate = made(&[DnValue::Utf8String(bad.to_owned())], Vec::new());
            assert_eq!(found(&certificate)[0], None, "{bad:?}");
        }
        let longest = "a".repeat(255);
        let certificate = made(&[DnValue::Utf8String(longest.clone())], Vec::new());
        assert_eq!(found(&certificate)[0], Some(longest));
    }
}
