//! A list of certificates, each with its key: tables of files.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::nearest::nearest;
use crate::pattern::FILE;
use crate::value::{Refusal, ValueType, describe, quoted, shortened};

/// A certificate by the names of its files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM: the certificate and its chain.
    pub certificate: String,
    /// PEM: the private key.
    pub key: String,
    /// DER: an OCSP response; empty for none.
    pub ocsp: String,
}

/// A list of tables with `certificate`, `key` and `ocsp`.
pub(crate) struct CertificateList;

impl ValueType for CertificateList {
    type Value = Vec<CertificateFiles>;

    fn read(
        &self,
        value: &Spanned<DeValue<'_>>,
        refusals: &mut Vec<Refusal>,
    ) -> Option<Vec<CertificateFiles>> {
        let Some(array) = value.get_ref().as_array() else {
            let hint = matches!(value.get_ref(), DeValue::Table(_))
                .then(|| "put it in brackets: there may be several".to_owned());
            refusals.push(refusal(value, self.expected(), hint));
            return None;
        };
        let start = refusals.len();
        let mut list = Vec::with_capacity(array.len());
        for entry in array.iter() {
            match entry.get_ref() {
                DeValue::Table(table) => list.extend(self.entry(entry, table, refusals)),
                _ => refusals.push(refusal(entry, ENTRY.to_owned(), None)),
            }
        }
        (refusals.len() == start).then_some(list)
    }

    fn write(&self, value: &Vec<CertificateFiles>) -> String {
        let entries = value.iter().map(|one| {
            let names = [("certificate", &one.certificate), ("key", &one.key)];
            let ocsp = [("ocsp", &one.ocsp)];
            let ocsp = ocsp.into_iter().filter(|(_, file)| !file.is_empty());
            let fields: Vec<String> = names
                .into_iter()
                .chain(ocsp)
                .map(|(name, file)| format!("{name} = {}", quoted(file)))
                .collect();
            format!("{{ {} }}", fields.join(", "))
        });
        format!("[{}]", entries.collect::<Vec<_>>().join(", "))
    }

    fn expected(&self) -> String {
        format!("a list, each entry {ENTRY}")
    }

    fn takes(&self) -> String {
        "list of tables with `certificate`, `key`, `ocsp`".to_owned()
    }
}

impl CertificateList {
    fn entry(
        &self,
        entry: &Spanned<DeValue<'_>>,
        table: &DeTable<'_>,
        refusals: &mut Vec<Refusal>,
    ) -> Option<CertificateFiles> {
        let start = refusals.len();
        for key in table.keys() {
            let name = key.get_ref().as_ref();
            if !NAMES.contains(&name) {
                let near = nearest(name, NAMES);
                refusals.push(Refusal {
                    span: key.span(),
                    found: format!("the unknown key `{}`", shortened(name)),
                    expected: ENTRY.to_owned(),
                    hint: near.map(|near| format!("did you mean `{near}`?")),
                });
            }
        }
        let mut file = |name: &str, is_needed: bool| {
            let Some(value) = table.get(name) else {
                if is_needed {
                    refusals.push(Refusal {
                        span: entry.span(),
                        found: format!("a table without `{name}`"),
                        expected: ENTRY.to_owned(),
                        hint: None,
                    });
                }
                return None;
            };
            let file = FILE.read(value, refusals);
            if is_needed && file.as_deref() == Some("") {
                refusals.push(refusal(value, format!("the {name}'s file"), None));
            }
            file
        };
        let files = CertificateFiles {
            certificate: file("certificate", true).unwrap_or_default(),
            key: file("key", true).unwrap_or_default(),
            ocsp: file("ocsp", false).unwrap_or_default(),
        };
        (refusals.len() == start).then_some(files)
    }
}

fn refusal(value: &Spanned<DeValue<'_>>, expected: String, hint: Option<String>) -> Refusal {
    Refusal {
        span: value.span(),
        found: describe(value.get_ref()),
        expected,
        hint,
    }
}

const NAMES: [&str; 3] = ["certificate", "key", "ocsp"];
const ENTRY: &str = "a table such as { certificate = \"b.pem\", key = \"b.key\" }";
