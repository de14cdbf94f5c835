//! The keys of the API: tables of a name, a hash or a file, and what they allow.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::nearest::nearest;
use crate::pattern::{FILE, KEY_NAME, SCOPE, SHA256};
use crate::scope::ApiScope;
use crate::value::{Pattern, Refusal, ValueType, describe, quoted, shortened};

/// A key of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// What messages call it.
    pub name: String,
    /// Where it comes from.
    pub source: ApiKeySource,
    /// What may be done with it.
    pub allow: Vec<ApiScope>,
}

/// Where a key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiKeySource {
    /// Its SHA-256: 64 hexadecimal digits in lower case.
    Sha256(String),
    /// A file that has the key.
    File(String),
}

/// A list of tables with `name`, `sha256` or `key_file`, and `allow`.
pub(crate) struct ApiKeyList;

impl ValueType for ApiKeyList {
    type Value = Vec<ApiKey>;

    fn read(
        &self,
        value: &Spanned<DeValue<'_>>,
        refusals: &mut Vec<Refusal>,
    ) -> Option<Vec<ApiKey>> {
        let Some(array) = value.get_ref().as_array() else {
            let hint = matches!(value.get_ref(), DeValue::Table(_))
                .then(|| "double brackets, [[api.key]]: there may be several".to_owned());
            refusals.push(refusal(value, self.expected(), hint));
            return None;
        };
        let start = refusals.len();
        let mut list: Vec<ApiKey> = Vec::with_capacity(array.len());
        for entry in array.iter() {
            let DeValue::Table(table) = entry.get_ref() else {
                refusals.push(refusal(entry, ENTRY.to_owned(), None));
                continue;
            };
            let Some(key) = read_key(entry, table, refusals) else {
                continue;
            };
            if list.iter().any(|other| other.name == key.name) {
                refusals.push(Refusal {
                    span: entry.span(),
                    found: format!("a second key \"{}\"", shortened(&key.name)),
                    expected: "a name of its own for each key".to_owned(),
                    hint: None,
                });
            }
            list.push(key);
        }
        if list.len() > KEYS_MAX {
            refusals.push(Refusal {
                span: value.span(),
                found: format!("{} keys", list.len()),
                expected: format!("at most {KEYS_MAX}"),
                hint: None,
            });
        }
        (refusals.len() == start).then_some(list)
    }

    fn write(&self, value: &Vec<ApiKey>) -> String {
        let entries = value.iter().map(|key| {
            let source = match &key.source {
                ApiKeySource::Sha256(sha256) => format!("sha256 = {}", quoted(sha256)),
                ApiKeySource::File(file) => format!("key_file = {}", quoted(file)),
            };
            let allow: Vec<String> = key.allow.iter().map(|s| quoted(&s.to_string())).collect();
            let (name, allow) = (quoted(&key.name), allow.join(", "));
            format!("{{ name = {name}, {source}, allow = [{allow}] }}")
        });
        format!("[{}]", entries.collect::<Vec<_>>().join(", "))
    }

    fn expected(&self) -> String {
        format!("a list, each entry {ENTRY}")
    }

    fn takes(&self) -> String {
        "list of tables with `name`, `sha256` or `key_file`, `allow`".to_owned()
    }
}

fn read_key(
    entry: &Spanned<DeValue<'_>>,
    table: &DeTable<'_>,
    refusals: &mut Vec<Refusal>,
) -> Option<ApiKey> {
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
    let name = word(entry, table, "name", &KEY_NAME, refusals);
    let source = match (table.get("sha256"), table.get("key_file")) {
        (Some(value), None) => SHA256.read(value, refusals).map(ApiKeySource::Sha256),
        (None, Some(value)) => {
            let file = FILE.read(value, refusals);
            if file.as_deref() == Some("") {
                refusals.push(refusal(value, "the key's file".to_owned(), None));
            }
            file.map(ApiKeySource::File)
        }
        (both, _) => {
            let what = if both.is_some() { "both" } else { "neither" };
            refusals.push(Refusal {
                span: entry.span(),
                found: format!("{what} of `sha256` and `key_file`"),
                expected: "one of them".to_owned(),
                hint: Some("roostd hash-key makes the line sha256".to_owned()),
            });
            None
        }
    };
    let allow = read_scopes(entry, table, refusals);
    let key = ApiKey {
        name: name?,
        source: source?,
        allow: allow?,
    };
    (refusals.len() == start).then_some(key)
}

fn word(
    entry: &Spanned<DeValue<'_>>,
    table: &DeTable<'_>,
    name: &str,
    pattern: &Pattern,
    refusals: &mut Vec<Refusal>,
) -> Option<String> {
    match table.get(name) {
        Some(value) => pattern.read(value, refusals),
        None => {
            refusals.push(without(entry, name));
            None
        }
    }
}

fn read_scopes(
    entry: &Spanned<DeValue<'_>>,
    table: &DeTable<'_>,
    refusals: &mut Vec<Refusal>,
) -> Option<Vec<ApiScope>> {
    let Some(value) = table.get("allow") else {
        refusals.push(without(entry, "allow"));
        return None;
    };
    let Some(array) = value.get_ref().as_array().filter(|array| !array.is_empty()) else {
        let expected = format!("a list, each entry {}", SCOPE.expected);
        refusals.push(refusal(value, expected, None));
        return None;
    };
    let words = array.iter().filter_map(|one| SCOPE.read(one, refusals));
    Some(
        words
            .filter_map(|word| ApiScope::parse(&word).ok())
            .collect(),
    )
}

fn without(entry: &Spanned<DeValue<'_>>, name: &str) -> Refusal {
    Refusal {
        span: entry.span(),
        found: format!("a key without `{name}`"),
        expected: ENTRY.to_owned(),
        hint: None,
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

const NAMES: [&str; 4] = ["name", "sha256", "key_file", "allow"];
const ENTRY: &str =
    "a table such as { name = \"shop\", key_file = \"shop.key\", allow = [\"publish\"] }";
/// Each request is compared with all of them.
const KEYS_MAX: usize = 64;
