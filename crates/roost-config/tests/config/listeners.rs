//! `[[listener]]`: one, several, and what two of them cannot share.

use roost_config::{
    ClientSocketMode, ListenAddress, Listener, Overrides, Settings, Source, parse, parse_with,
    to_toml,
};

fn settings(text: &str) -> Settings {
    let loaded = parse(text, "t").unwrap_or_else(|errors| panic!("{text}: {errors}"));
    let written = to_toml(&loaded);
    let again = parse(&written, "t").unwrap_or_else(|errors| panic!("{written}: {errors}"));
    assert_eq!(again.settings, loaded.settings, "{written}");
    loaded.settings
}

/// Every mistake, a line each.
fn mistakes(text: &str) -> Vec<String> {
    let errors = parse(text, "t").expect_err(text);
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn without_any_there_is_one_and_a_single_table_is_one() {
    let one = vec![Listener::default()];
    for text in ["", "[listener]\n", "[[listener]]\n", "listener = {}\n"] {
        assert_eq!(settings(text).listeners, one, "{text}");
    }
    for text in [
        "[listener]\nhixie = true\n",
        "[[listener]]\nhixie = true\n",
        "listener.hixie = true\n",
    ] {
        let listeners = settings(text).listeners;
        assert!(listeners.len() == 1 && listeners[0].hixie, "{text}");
    }
}

#[test]
fn each_has_its_own_keys() {
    let text = "[[listener]]\nname = \"public\"\naddress = \"[::]:80\"\ndialects = [\"raw\"]\n\
                allowed_origins = [\"https://example.org\"]\nraw_subprotocols = [\"chat.v1\"]\n\
                [[listener]]\naddress = \"unix:/run/roost/clients.sock\"\nsocket_mode = \"0666\"\n\
                hixie = true\n";
    let listeners = settings(text).listeners;
    let [public, inside] = listeners.as_slice() else {
        panic!("{listeners:?}")
    };
    assert_eq!((public.label(), public.hixie), ("public".to_owned(), false));
    assert!(public.serves("raw") && !public.serves("wamp"));
    assert_eq!(
        public.raw_subprotocols.as_deref(),
        Some(&["chat.v1".to_owned()][..])
    );
    assert_eq!(
        inside.address,
        ListenAddress::Unix("/run/roost/clients.sock".to_owned())
    );
    assert_eq!(inside.label(), "unix:/run/roost/clients.sock");
    assert_eq!(inside.socket_mode, ClientSocketMode::All);
    assert!(inside.hixie && inside.serves("raw") && inside.serves("wamp"));
    assert_eq!(inside.allowed_origins, ["*"], "not that of the first");
    assert!(inside.address.is_local() && !public.address.is_local());
}

#[test]
fn proxies_are_listed_where_requests_name_clients() {
    let text = "[listener]\nforwarded = \"forwarded\"\nforwarded_from = []\n";
    let expected = "t:3:1: listener.forwarded_from: found [], expected the proxies' networks while \
                    forwarded is not \"off\"; what clients say themselves is not believed";
    assert_eq!(mistakes(text), [expected]);
    let text = "[listener]\nforwarded_from = [\"10.0.0.7\"]\n";
    let expected = "t:2:1: listener.forwarded_from: found a list of proxies, expected forwarded = \
                    \"x-forwarded-for\" or \"forwarded\" with it; while that is \"off\", no header is \
                    looked at";
    assert_eq!(mistakes(text), [expected]);
    let text = "[listener]\nproxy_protocol = \"required\"\nforwarded = \"x-forwarded-for\"\n";
    let expected = "t:3:1: listener.forwarded: found \"x-forwarded-for\", expected \"off\" while \
                    proxy_protocol is \"required\"; one of the two names the client; make a \
                    [[listener]] for each";
    assert_eq!(mistakes(text), [expected]);
    for text in [
        "[listener]\nforwarded = \"x-forwarded-for\"\n",
        "[listener]\nforwarded = \"forwarded\"\nforwarded_from = [\"10.0.0.0/8\", \"fd00::/8\"]\n",
        "[listener]\naddress = \"unix:/a\"\nforwarded = \"forwarded\"\nforwarded_from = []\n",
    ] {
        settings(text);
    }
}

#[test]
fn proxies_are_listed_where_headers_are_required() {
    let text = "[listener]\nproxy_protocol = \"required\"\nproxy_protocol_from = []\n";
    let expected = "t:3:1: listener.proxy_protocol_from: found [], expected the proxies' networks \
                    while proxy_protocol is \"required\"; nothing can connect as it is";
    assert_eq!(mistakes(text), [expected]);
    let text = "[listener]\nproxy_protocol_from = [\"10.0.0.0/8\"]\n";
    let expected = "t:2:1: listener.proxy_protocol_from: found a list of proxies, expected \
                    proxy_protocol = \"required\" with it; while that is \"off\", headers are not \
                    read and a connection that begins with one is refused";
    assert_eq!(mistakes(text), [expected]);
    for text in [
        "[listener]\nproxy_protocol = \"required\"\n",
        "[listener]\nproxy_protocol = \"off\"\nproxy_protocol_from = [\"127.0.0.0/8\", \"::1\"]\n",
        "[listener]\naddress = \"unix:/a\"\nproxy_protocol = \"required\"\nproxy_protocol_from = []\n",
    ] {
        settings(text);
    }
}

#[test]
fn two_with_one_name_or_address_name_both_lines() {
    for (one, other, clash) in [
        (
            "address = \"127.0.0.1:80\"",
            "address = \"127.0.0.1:80\"",
            "127.0.0.1:80",
        ),
        (
            "address = \"0.0.0.0:80\"",
            "address = \"127.0.0.1:80\"",
            "127.0.0.1:80",
        ),
        ("address = \"[::1]:80\"", "address = \"[::]:80\"", "[::]:80"),
        ("address = \"unix:/a\"", "address = \"unix:/a\"", "unix:/a"),
    ] {
        let text = format!("[[listener]]\n{one}\n[[listener]]\n{other}\n");
        let expected = format!(
            "t:4:1: listener[1].address: found \"{clash}\" a second time, expected another address \
             than that of line 2"
        );
        assert_eq!(mistakes(&text), [expected]);
    }
    let text = "[[listener]]\nname = \"a\"\n[[listener]]\nname = \"a\"\naddress = \"unix:/a\"\n";
    assert_eq!(
        mistakes(text),
        [
            "t:4:1: listener \"a\".name: found \"a\" a second time, expected another name than that \
             of line 2"
        ]
    );
    // The first's is the default, which stands nowhere.
    let text = "[[listener]]\n[[listener]]\naddress = \"127.0.0.1:8080\"\n";
    assert_eq!(
        mistakes(text),
        [
            "t:3:1: listener[1].address: found \"127.0.0.1:8080\" a second time, expected another \
             address than that of the first, 127.0.0.1:8080"
        ]
    );
    for text in [
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n",
        "[[listener]]\naddress = \"127.0.0.1:80\"\n[[listener]]\naddress = \"[::1]:80\"\n",
        "[[listener]]\naddress = \"127.0.0.1:80\"\n[[listener]]\naddress = \"127.0.0.1:81\"\n",
    ] {
        assert_eq!(settings(text).listeners.len(), 2, "{text}");
    }
}

#[test]
fn what_is_no_list_of_listeners_says_so() {
    for (text, expected) in [
        (
            "[[listener]]\n[[listener]]\nhixie = true\n",
            "t:2:1: listener[1]: found no address, expected the key address: only the first has a \
             default",
        ),
        (
            "listener = 1\n",
            "t:1:12: listener: found the number 1, expected sections [[listener]]",
        ),
        (
            "listener = []\n",
            "t:1:12: listener: found 0 listeners, expected 1 to 64",
        ),
        (
            "listener = [{}, 7]\n",
            "t:1:17: listener[1]: found the number 7, expected a table",
        ),
        (
            "[[listener]]\n[[listener]]\naddress = \"unix:/a\"\nhixi = true\n",
            "t:4:1: listener[1].hixi: found an unknown key, expected a key of [[listener]]; did you \
             mean `hixie`?",
        ),
        (
            "[[listener]]\n[[listener]]\naddress = \"unix:/a\"\npage = true\n",
            "t:4:1: listener[1].page: found an unknown key, expected a key of [[listener]]; it is \
             called `demo_page` now",
        ),
        (
            "[[listener]]\ndialects = [\"mqtt\"]\n",
            "t:2:13: listener.dialects: found \"mqtt\", expected \"raw\", \"echo\", \"wamp\", \"soap\", \"centrifugo\", \"pusher\" or \"sse\"",
        ),
        (
            "[[listener]]\ndialects = [\"wmap\"]\n",
            "t:2:13: listener.dialects: found \"wmap\", expected \"raw\", \"echo\", \"wamp\", \"soap\", \"centrifugo\", \"pusher\" or \"sse\"; did \
             you mean \"wamp\"?",
        ),
        (
            "[[listener]]\ndialects = [\"soap\"]\n",
            "t:2:1: listener.dialects: found \"soap\", expected dialects that are enabled, and \
             soap.enabled is false; [\"*\"] is all that are",
        ),
        (
            "[[listener]]\ndialects = [\"echo\"]\n",
            "t:2:1: listener.dialects: found \"echo\", expected dialects that are enabled, and \
             echo.enabled is false; [\"*\"] is all that are",
        ),
    ] {
        assert_eq!(mistakes(text), [expected]);
    }
    let many = "[[listener]]\naddress = \"127.0.0.1:0\"\n".repeat(65);
    assert!(mistakes(&many)[0].contains("found 65 listeners, expected 1 to 64"));
}

#[test]
fn a_health_path_hides_only_what_its_listener_serves() {
    let text = "[[listener]]\n[[listener]]\naddress = \"unix:/a\"\nhealth_path = \"/wamp\"\n";
    assert!(mistakes(text)[0].contains("while wamp.enabled is true"));
    let dialects = format!("{text}dialects = [\"raw\"]\n");
    assert_eq!(settings(&dialects).listeners[1].health_path, "/wamp");
    let page = "[[listener]]\nname = \"a\"\n[[listener]]\nname = \"b\"\naddress = \"unix:/a\"\n\
                health_path = \"/\"\ndemo_page = true\n";
    let expected = "listener \"b\".health_path: found \"/\", expected another path while listener \
                    \"b\".demo_page is true";
    assert!(mistakes(page)[0].contains(expected), "{:?}", mistakes(page));
}

#[test]
fn overrides_are_of_the_first() {
    let text = "[[listener]]\nname = \"a\"\n[[listener]]\nname = \"b\"\naddress = \"unix:/b\"\n";
    let mut overrides = Overrides::new();
    overrides.add_command_line("listener.address", "unix:/a");
    overrides.add_environment([("ROOSTD__LISTENER__HIXIE".into(), "true".into())]);
    let loaded = parse_with(text, "t", &overrides).unwrap_or_else(|errors| panic!("{errors}"));
    let [first, second] = loaded.settings.listeners.as_slice() else {
        panic!("two")
    };
    assert_eq!(first.address.to_string(), "unix:/a");
    assert_eq!(second.address.to_string(), "unix:/b");
    assert!(first.hixie && !second.hixie);
    assert_eq!(loaded.source("listener.address"), Source::CommandLine);
    assert!(matches!(
        loaded.source("listener[1].address"),
        Source::File { line: 5, .. }
    ));
    for key in ["listener[1].hixie", "listener.b.hixie"] {
        let mut overrides = Overrides::new();
        overrides.add_command_line(key, "true");
        let errors = parse_with(text, "t", &overrides)
            .expect_err(key)
            .to_string();
        assert!(errors.contains("is the first [[listener]]"), "{errors}");
    }
    let mut overrides = Overrides::new();
    overrides.add_command_line("listener.address", "unix:/b");
    let errors = parse_with(text, "t", &overrides).expect_err("it is the second's");
    assert!(errors.to_string().contains("a second time"), "{errors}");
}
