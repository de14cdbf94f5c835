//! `[listener.tls]`: the ways to write it, what its keys need of each other, and where its files are.

use std::path::Path;

use roost_config::{
    ClientAuth, Listener, Loaded, MinVersion, Overrides, Settings, Source, parse, parse_with,
    to_toml,
};

fn loaded(text: &str) -> Loaded {
    let loaded =
        parse(text, "/etc/roost/t.toml").unwrap_or_else(|errors| panic!("{text}: {errors}"));
    let written = to_toml(&loaded);
    let again = parse(&written, "t").unwrap_or_else(|errors| panic!("{written}: {errors}"));
    assert_eq!(again.settings, loaded.settings, "{written}");
    loaded
}

/// Every mistake, a line each.
fn mistakes(text: &str) -> Vec<String> {
    let errors = parse(text, "t").expect_err(text);
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn a_section_and_an_inline_table_read_the_same() {
    let expected = loaded("[listener.tls]\ncertificate = \"a\"\nkey = \"b\"\n").settings;
    assert!(expected.listeners[0].tls.is_on());
    for text in [
        "[[listener]]\ntls = { certificate = \"a\", key = \"b\" }\n",
        "[[listener]]\n[listener.tls]\ncertificate = \"a\"\nkey = \"b\"\n",
        "[[listener]]\ntls.certificate = \"a\"\ntls.key = \"b\"\n",
        "[listener]\ntls = { certificate = \"a\", key = \"b\" }\n",
        "listener = { tls = { certificate = \"a\", key = \"b\" } }\n",
        "listener = [{ tls = { certificate = \"a\", key = \"b\" } }]\n",
    ] {
        assert_eq!(loaded(text).settings, expected, "{text}");
    }
}

#[test]
fn each_listener_has_its_own() {
    let text = "[[listener]]\n[[listener]]\nname = \"b\"\naddress = \"unix:/b\"\n[listener.tls]\n\
                certificate = \"a\"\nkey = \"b\"\nmin_version = \"1.3\"\nclient_auth = \"required\"\n\
                client_ca = \"c\"\n[[listener]]\naddress = \"unix:/c\"\n";
    let loaded = loaded(text);
    let tls: Vec<_> = loaded
        .settings
        .listeners
        .iter()
        .map(|one| &one.tls)
        .collect();
    let on: Vec<bool> = tls.iter().map(|tls| tls.is_on()).collect();
    assert_eq!(on, [false, true, false]);
    assert_eq!(tls[1].min_version, MinVersion::Tls13);
    assert_eq!(tls[1].client_auth, ClientAuth::Required);
    assert!(!tls[1].gives_tickets() && tls[0].gives_tickets());
    let source = loaded.source("listener[1].tls.key");
    assert!(matches!(source, Source::File { line: 7, .. }), "{source:?}");
    assert_eq!(loaded.source("listener.tls.key"), Source::Default);
    let place = "/etc/roost/t.toml:7:1: listener \"b\".tls.key";
    assert_eq!(loaded.listener_place(1, "tls.key").to_string(), place);
}

#[test]
fn more_certificates_are_a_list_of_tables() {
    let head = "[listener.tls]\ncertificate = \"a\"\nkey = \"b\"\n";
    let inline = "more_certificates = [{ certificate = \"c\", key = \"d\" }, { certificate = \"e\", \
                  key = \"f\", ocsp = \"g\" }]\n";
    let sections = "[[listener.tls.more_certificates]]\ncertificate = \"c\"\nkey = \"d\"\n\
                    [[listener.tls.more_certificates]]\ncertificate = \"e\"\nkey = \"f\"\nocsp = \"g\"\n";
    let [inline, sections] =
        [inline, sections].map(|more| loaded(&format!("{head}{more}")).settings);
    assert_eq!(inline, sections);
    let more = &inline.listeners[0].tls.more_certificates;
    assert_eq!(more.len(), 2);
    assert_eq!(
        (more[1].certificate.as_str(), more[1].ocsp.as_str()),
        ("e", "g")
    );
    let entry = "a table such as { certificate = \"b.pem\", key = \"b.key\" }";
    for (value, expected) in [
        (
            "{ certificate = \"c\" }",
            format!("a list, each entry {entry}; put it in brackets: there may be several"),
        ),
        ("[7]", entry.to_owned()),
    ] {
        let found = mistakes(&format!("{head}more_certificates = {value}\n"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].ends_with(&format!("expected {expected}")),
            "{}",
            found[0]
        );
    }
    let text = format!("{head}more_certificates = [{{ certificate = \"\", kye = \"x\" }}]\n");
    let expected = [
        format!("t:4:22: {KEY}: found a table without `key`, expected {entry}"),
        format!("t:4:38: {KEY}: found \"\", expected the certificate's file"),
        format!(
            "t:4:42: {KEY}: found the unknown key `kye`, expected {entry}; did you mean `key`?"
        ),
    ];
    assert_eq!(mistakes(&text), expected);
}

#[test]
fn what_goes_together_is_asked_for() {
    let pair = "certificate = \"a\"\nkey = \"b\"\n";
    for (lines, expected) in [
        (
            "certificate = \"a\"\n".to_owned(),
            "t:2:1: listener.tls.certificate: found \"a\", expected the key `key` beside it; it names the \
             file with the certificate's private key",
        ),
        (
            "key = \"b\"\n".to_owned(),
            "t:2:1: listener.tls.key: found \"b\", expected the key certificate beside it; it names the \
             certificate that this private key belongs to",
        ),
        (
            "min_version = \"1.3\"\n".to_owned(),
            "t:2:1: listener.tls.min_version: found \"1.3\", expected the keys certificate and key beside \
             it: there is no TLS without",
        ),
        (
            "tickets = false\n".to_owned(),
            "t:2:1: listener.tls.tickets: found false, expected the keys certificate and key beside it: \
             there is no TLS without",
        ),
        (
            format!("{pair}client_auth = \"required\"\n"),
            "t:4:1: listener.tls.client_auth: found \"required\", expected the key client_ca beside it; it \
             names the authorities that sign clients' certificates",
        ),
        (
            format!("{pair}client_ca = \"c\"\n"),
            "t:4:1: listener.tls.client_ca: found \"c\", expected client_auth = \"optional\" or \
             \"required\" beside it; clients are not asked for certificates as it is",
        ),
        (
            format!("{pair}client_crl = \"c\"\n"),
            "t:4:1: listener.tls.client_crl: found \"c\", expected client_auth = \"optional\" or \
             \"required\" beside it; clients are not asked for certificates as it is",
        ),
        (
            format!("{pair}client_user = \"cn\"\n"),
            "t:4:1: listener.tls.client_user: found \"cn\", expected client_auth = \"optional\" or \
             \"required\" beside it; clients are not asked for certificates as it is",
        ),
        (
            format!("{pair}client_allow = [\"sub:a\"]\n"),
            "t:4:1: listener.tls.client_allow: found [\"sub:a\"], expected client_user beside it; \
             without it no certificate names a user",
        ),
        (
            format!("{pair}client_allow = [\"sub:a*b\"]\n"),
            "t:4:17: listener.tls.client_allow: found \"sub:a*b\", expected a grant such as \
             \"sub:status:*\" or \"pub:probe:1\"; a * stands at the end alone",
        ),
        (
            format!(
                "{pair}tickets_secret_file = \"s\"\nclient_auth = \"optional\"\nclient_ca = \"c\"\n\
                 client_user = \"cn\"\n"
            ),
            "t:4:1: listener.tls.tickets_secret_file: found \"s\", expected tickets = true beside it, for \
             there is a client_user; without tickets nothing is made of the secret",
        ),
        (
            format!("{pair}tickets_secret_file = \"s\"\ntickets = false\n"),
            "t:4:1: listener.tls.tickets_secret_file: found \"s\", expected tickets that are not false; \
             without tickets nothing is made of the secret",
        ),
        (
            format!(
                "{pair}tickets_secret_file = \"s\"\nclient_auth = \"required\"\nclient_ca = \"c\"\n"
            ),
            "t:4:1: listener.tls.tickets_secret_file: found \"s\", expected tickets = true beside it, for \
             client_auth is \"required\"; without tickets nothing is made of the secret",
        ),
        (
            format!("{pair}min_version = \"1.1\"\n"),
            "t:4:15: listener.tls.min_version: found \"1.1\", expected \"1.2\" or \"1.3\"; \
             did you mean \"1.2\"?",
        ),
        (
            format!("{pair}client_auth = \"requird\"\n"),
            "t:4:15: listener.tls.client_auth: found \"requird\", expected \"off\", \"optional\" or \
             \"required\"; did you mean \"required\"?",
        ),
        (
            format!("{pair}certficate = \"a\"\n"),
            "t:4:1: listener.tls.certficate: found an unknown key, expected a key of [listener.tls]; did \
             you mean `certificate`?",
        ),
        (
            "certificate = \"/etc/tls/\"\n".to_owned(),
            "t:2:15: listener.tls.certificate: found \"/etc/tls/\", expected a file's path such as \
             \"/etc/roost/key.pem\", or \"\" for none; it ends with a slash, which names a directory",
        ),
    ] {
        let text = format!("[listener.tls]\n{lines}");
        // A value that is refused may leave its pair alone, which is not a mistake of its own.
        assert_eq!(mistakes(&text), [expected], "{text}");
    }
}

#[test]
fn sections_at_the_wrong_place_lead_to_the_right_one() {
    for (text, expected) in [
        (
            "[tls]\ncertificate = \"a\"\n",
            "t:1:2: tls: found an unknown section, expected one of the sections; did you mean \
             [listener.tls]?",
        ),
        (
            "[[listener]]\ncertificate = \"a\"\n",
            "t:2:1: listener.certificate: found an unknown key, expected a key of [[listener]]; \
             `certificate` belongs to [listener.tls]",
        ),
        (
            "[[listener]]\ntls = true\n",
            "t:2:7: listener.tls: found true, expected the section [listener.tls], or a table: tls = { … }",
        ),
        (
            "[[listener]]\n[[listener.tls]]\ncertificate = \"a\"\n",
            "t:2:1: listener.tls: found a list, expected the section [listener.tls], or a table: tls = { … }",
        ),
    ] {
        assert_eq!(mistakes(text), [expected], "{text}");
    }
}

#[test]
fn the_command_line_and_the_environment_set_them() {
    let mut overrides = Overrides::new();
    overrides.add_environment([("ROOSTD__LISTENER__TLS__KEY".into(), "/k.pem".into())]);
    overrides.add_pair("listener.tls.certificate=c.pem");
    let text = "[[listener]]\n[[listener]]\naddress = \"unix:/b\"\n";
    let loaded = parse_with(text, "/etc/roost/t.toml", &overrides);
    let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
    let tls = &loaded.settings.listeners[0].tls;
    assert_eq!(
        (tls.certificate.as_str(), tls.key.as_str()),
        ("c.pem", "/k.pem")
    );
    assert_eq!(loaded.settings.listeners[1].tls, Listener::default().tls);
    assert_eq!(loaded.source("listener.tls.key"), Source::Environment);
    for (pair, hint) in [
        (
            "listener.tls.certificat=a",
            "did you mean `listener.tls.certificate`?",
        ),
        (
            "listener[1].tls.certificate=a",
            "`listener` is the first [[listener]]; others are written in a file",
        ),
    ] {
        let mut overrides = Overrides::new();
        overrides.add_pair(pair);
        let errors = parse_with("", "t", &overrides).expect_err(pair).to_string();
        assert!(errors.contains(hint), "{errors}");
    }
    let mut overrides = Overrides::new();
    overrides.add_environment([("ROOSTD__LISTENER__TLS__CERTIFICAT".into(), "a".into())]);
    let errors = parse_with("", "t", &overrides)
        .expect_err("unknown")
        .to_string();
    assert!(
        errors.contains("did you mean ROOSTD__LISTENER__TLS__CERTIFICATE?"),
        "{errors}"
    );
}

#[test]
fn files_are_found_from_the_files_directory_or_the_working_directory() {
    let at = |loaded: &Loaded| {
        let tls = &loaded.settings.listeners[0].tls;
        loaded.listener_file(0, "tls.certificate", &tls.certificate)
    };
    let text = |file| format!("[listener.tls]\ncertificate = \"{file}\"\nkey = \"b\"\n");
    assert_eq!(
        at(&loaded(&text("tls/a.pem"))),
        Path::new("/etc/roost/tls/a.pem")
    );
    assert_eq!(at(&loaded(&text("/tls/a.pem"))), Path::new("/tls/a.pem"));
    let beside = parse(&text("a.pem"), "t.toml").unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(at(&beside), Path::new("a.pem"));
    let mut overrides = Overrides::new();
    overrides.add_pair("listener.tls.certificate=a.pem");
    let overridden = parse_with(&text("x"), "/etc/roost/t.toml", &overrides);
    let overridden = overridden.unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(at(&overridden), Path::new("a.pem"));
}

#[test]
fn without_it_a_listener_is_plain() {
    assert!(!Settings::default().listeners[0].tls.is_on());
}

const KEY: &str = "listener.tls.more_certificates";
