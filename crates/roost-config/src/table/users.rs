//! `[[wamp.realm]]`, `[[wamp.user]]`, `[[wamp.permission]]`: which realms there are, who may log in, and
//! what roles may do.

use crate::pattern::{
    AUTHID, FILE, METHOD, OPERATION, PUBLIC_KEY, REALM_NAME, REALM_PREFIX, ROLE, SALT, URI,
};
use crate::row::{section, words};
use crate::value::{Count, Flag, OrNone, Patterns};

section! {
    /// A realm of WAMP ([wamp.md](wamp.md#realms)); as many sections as there are realms, 1,000 at most. With
    /// one or more, a session may join these and those that `wamp.realms` names, `"*"` there counts for
    /// nothing, and another realm gets ABORT with `wamp.error.no_such_realm`.
    "wamp.realm" WampRealm
    /// Its name, in HELLO. Two realms with one name are an error.
    name: String = String::new(), REALM_NAME, Restart, r#""acme""#;
    /// What its topics and procedures begin with outside of the realm, such as in permissions of tokens,
    /// for the API and for `roostctl`; it ends in a dot. Its sessions reach these and no others, and no other
    /// session reaches them. `""`: the realm has the channels of all that have no prefix. With a colon in
    /// it, what stands before that is the name of the realm's `[[namespace]]`. No prefix begins with another.
    prefix: String = String::new(), REALM_PREFIX, Restart, r#""acme:.""#;
    /// Whether it has sessions that do not authenticate. `wamp.anonymous = false` allows none anywhere.
    anonymous: bool = true, Flag, Restart, "false";
    /// Whether the ticket of a session may be a token, where tokens are configured. If not, tickets are
    /// those of its `[[wamp.user]]`.
    tokens: bool = true, Flag, Restart, "false";
    /// Whether clients of other dialects may name its channels and procedures, with the prefix, as their
    /// namespace allows. Otherwise they are refused, whatever the namespace says. The HTTP API may always.
    other_dialects: bool = false, Flag, Restart, "true";
}

section! {
    /// A user of a WAMP realm ([wamp.md](wamp.md#authentication)); as many sections as there are users.
    /// What is secret stands in files.
    "wamp.user" WampUser
    /// Who it is, in HELLO. Two users of one realm with one name are an error.
    authid: String = String::new(), AUTHID, Live, r#""alice""#;
    /// The realm it may join.
    realm: String = String::new(), REALM_NAME, Live, r#""realm1""#;
    /// Its role there, which `[[wamp.permission]]` names.
    role: String = String::new(), ROLE, Live, r#""staff""#;
    /// A file with what it shows for `ticket`: one line. `""`: none.
    ticket_file: String = String::new(), FILE, Live, r#""/etc/roost/alice.ticket""#;
    /// A file with its password, for `wampcra` and `scram`: one line. `""`: none.
    secret_file: String = String::new(), FILE, Live, r#""/etc/roost/alice.secret""#;
    /// With which salt the password is derived, base64 of 8 bytes or more: `openssl rand -base64 16`. `""`:
    /// for `wampcra` it is not derived, and for `scram` the salt is a hash of realm and authid.
    salt: Option<String> = None, OrNone(SALT), Live, r#""aBc+fx0NAVAx2iTmm0zd4g==""#;
    /// How often the derivation (PBKDF2 with HMAC-SHA-256) is iterated. Clients do it at each login, and
    /// this server at its start: some 3 ms for 10,000.
    iterations: u32 = 10_000, Count(1_000..=10_000_000), Live, "100000";
    /// Its public keys for `cryptosign`, Ed25519, each 64 hexadecimal digits.
    public_keys: Vec<String> = Vec::new(), Patterns(PUBLIC_KEY), Live,
        r#"["545efb0a2192db8d43f118e9bf9aee081466e1ef36c708b96ee6f62dddad9122"]"#;
    /// Which methods it may use, of `"ticket"`, `"wampcra"`, `"scram"` and `"cryptosign"`; `["*"]`: all
    /// that it has the files or keys for.
    methods: Vec<String> = vec!["*".to_owned()], Patterns(METHOD), Live, r#"["scram"]"#;
}

section! {
    /// What a role of a WAMP realm may do where a namespace says `"granted"`; as many sections as are
    /// needed. Anonymous sessions have the role `anonymous`.
    "wamp.permission" WampPermission
    /// The realm.
    realm: String = String::new(), REALM_NAME, Live, r#""realm1""#;
    /// The role in it.
    role: String = String::new(), ROLE, Live, r#""staff""#;
    /// The name, or the pattern, of channels and procedures; `""` with `match = "prefix"` is all.
    uri: String = String::new(), URI, Live, r#""com.example.""#;
    /// How it is compared: `"exact"`, `"prefix"` (of bytes), or `"wildcard"` (an empty component between
    /// dots is any).
    match_: Matching = Matching::Exact, Matching::WORDS, Live, r#""prefix""#;
    /// What the role may do with these names.
    allow: Vec<String> = Vec::new(), Patterns(OPERATION), Live, r#"["subscribe", "call"]"#;
}

words! {
    /// How a name is compared with a permission.
    Matching
    /// It is the name.
    Exact = "exact",
    /// The name begins with it.
    Prefix = "prefix",
    /// It has the same components, but for empty ones, which are any.
    Wildcard = "wildcard",
}

/// Most `[[wamp.realm]]`: what may be published is compared with their prefixes where patterns are.
pub(crate) const REALMS_MAX: usize = 1_000;
/// Most `[[wamp.user]]`, and most `[[wamp.permission]]`: each is looked at at the start.
pub(crate) const ENTRIES_MAX: usize = 10_000;
