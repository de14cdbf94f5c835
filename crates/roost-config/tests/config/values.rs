//! What each kind of value takes, at its edges.

use roost_config::{Driver, Publish, Settings, Source, parse};

/// The settings of one key, or the words of the first mistake.
fn one(key: &str, value: &str) -> Result<Settings, String> {
    let (section, name) = key.split_once('.').expect("section.key");
    let text = format!("[{section}]\n{name} = {value}\n");
    match parse(&text, "t") {
        Ok(loaded) => Ok(loaded.settings),
        Err(errors) => Err(errors.iter().next().expect("a mistake").to_string()),
    }
}

fn good(key: &str, value: &str) -> Settings {
    one(key, value).unwrap_or_else(|mistake| panic!("{key} = {value}: {mistake}"))
}

fn bad(key: &str, value: &str, words: &str) {
    let mistake = one(key, value).expect_err(&format!("{key} = {value} was accepted"));
    assert!(mistake.contains(words), "{key} = {value}: {mistake}");
    assert!(mistake.starts_with("t:2:"), "{mistake}");
}

#[test]
fn sizes() {
    let size = |value| {
        good("limits.channel_name_bytes_max", value)
            .limits
            .channel_name_bytes_max
    };
    assert_eq!(size("\"64KiB\""), 65_536);
    assert_eq!(size("\"1 KiB\""), 1_024);
    assert_eq!(size("\"7B\""), 7);
    assert_eq!(size("7"), 7);
    assert_eq!(size("0x10"), 16);
    assert_eq!(size("1_000"), 1_000);
    assert_eq!(
        good("limits.message_bytes_max", "\"1GiB\"")
            .limits
            .message_bytes_max,
        1 << 30
    );
    for (value, words) in [
        ("0", "expected a size from \"1B\" to \"64KiB\""),
        ("\"65KiB\"", "found \"65KiB\", expected a size"),
        ("65537", "the number 65537"),
        ("-1", "the number -1"),
        ("\"18014398509481985KiB\"", "expected a size"),
        ("\"99999999999999999999B\"", "expected a size"),
        ("9223372036854775808", "the number 9223372036854775808"),
        ("\"64KB\"", "write KiB, which is 1024 bytes"),
        ("\"1mb\"", "write MiB, which is 1048576 bytes"),
        ("\"64\"", "expected a size"),
        ("\"KiB\"", "expected a size"),
        ("\"\"", "expected a size"),
        ("\"1.5KiB\"", "expected a size"),
        ("\" 1KiB\"", "expected a size"),
        ("\"1  KiB\"", "expected a size"),
        ("\"1KiB \"", "expected a size"),
        ("1.0", "the number 1.0"),
        ("true", "found true"),
    ] {
        bad("limits.channel_name_bytes_max", value, words);
    }
}

#[test]
fn times() {
    let time = |value| good("limits.idle_timeout", value).limits.idle_timeout_ms;
    assert_eq!(time("\"1000ms\""), 1_000);
    assert_eq!(time("\"90s\""), 90_000);
    assert_eq!(time("\"2m\""), 120_000);
    assert_eq!(time("\"168h\""), 7 * 24 * 3_600_000);
    assert_eq!(time("\"0s\""), 0);
    assert_eq!(time("\"0ms\""), 0);
    assert_eq!(time("0"), 0);
    for (value, words) in [
        ("30", "name the unit: \"30s\" or \"30ms\""),
        ("-30", "the number -30"),
        (
            "\"999ms\"",
            "expected \"0s\", or a time from \"1s\" to \"168h\"",
        ),
        ("\"169h\"", "expected \"0s\", or"),
        ("\"30 sec\"", "write s for seconds"),
        ("\"1d\"", "a day has 24h"),
        ("\"30S\"", "write s for seconds"),
        ("\"99999999999999999h\"", "expected"),
        ("07:32:00", "found a date or time"),
    ] {
        bad("limits.idle_timeout", value, words);
    }
    bad(
        "limits.ping_timeout",
        "\"0s\"",
        "expected a time from \"1s\" to \"1h\"",
    );
}

#[test]
fn numbers_and_auto() {
    assert_eq!(good("server.reactors", "\"auto\"").server.reactors, None);
    assert_eq!(good("server.reactors", "255").server.reactors, Some(255));
    bad(
        "server.reactors",
        "0",
        "expected \"auto\" or a whole number from 1 to 255",
    );
    bad("server.reactors", "256", "the number 256");
    bad("server.reactors", "4294967297", "the number 4294967297");
    bad("server.reactors", "\"4\"", "write 4 without quotes");
    bad("server.reactors", "\"Auto\"", "found \"Auto\"");
    bad("limits.handshakes_in_flight_max", "[1]", "found a list");
    bad(
        "limits.handshakes_in_flight_max",
        "{ a = 1 }",
        "found a table",
    );
    assert_eq!(good("io_uring.entries", "32768").io_uring.entries, 32_768);
    bad("io_uring.entries", "1000", "the next one is 1024");
    bad(
        "io_uring.entries",
        "65536",
        "a power of two from 8 to 32768",
    );
    bad("listener.demo_page", "1", "expected true or false");
    bad(
        "listener.demo_page",
        "\"false\"",
        "write false without quotes",
    );
}

#[test]
fn words() {
    assert_eq!(
        good("server.driver", "\"io_uring\"").server.driver,
        Driver::IoUring
    );
    bad(
        "server.driver",
        "\"io-uring\"",
        "did you mean \"io_uring\"?",
    );
    bad(
        "server.driver",
        "\"kqueue\"",
        "expected \"auto\", \"epoll\" or \"io_uring\"",
    );
    bad("server.driver", "3", "the number 3");
    bad("log.level", "\"\"", "found \"\"");
}

#[test]
fn addresses() {
    let address = |value: &str| {
        let value = format!("\"{value}\"");
        good("listener.address", &value).listeners[0]
            .address
            .to_string()
    };
    for text in [
        "0.0.0.0:80",
        "[::]:8080",
        "127.0.0.1:0",
        "[::1]:65535",
        "[fe80::1%2]:80",
    ] {
        assert_eq!(address(text), text);
    }
    for (text, hint) in [
        (
            ":8080",
            "for every address write \"0.0.0.0:8080\" or \"[::]:8080\"",
        ),
        (
            "*:8080",
            "for every address write \"0.0.0.0:8080\" or \"[::]:8080\"",
        ),
        (
            "8080",
            "for every address write \"0.0.0.0:8080\" or \"[::]:8080\"",
        ),
        (
            "*",
            "for every address write \"0.0.0.0:8080\" or \"[::]:8080\"",
        ),
        (
            "localhost:9",
            "names are not looked up: write \"127.0.0.1:9\"",
        ),
        (
            "localhost",
            "names are not looked up: write \"127.0.0.1:8080\"",
        ),
        (
            "www.example.org:80",
            "names are not looked up: write its IP address",
        ),
        ("::1", "the port is missing: \"[::1]:8080\""),
        ("[::1]", "the port is missing: \"[::1]:8080\""),
        ("::", "the port is missing: \"[::]:8080\""),
        ("10.0.0.1", "the port is missing: \"10.0.0.1:8080\""),
        ("127.0.0.1:", "the port is missing after the colon"),
        ("[::1]:", "the port is missing after the colon"),
        (
            "::1:8080",
            "an IPv6 address stands in brackets: \"[::1]:8080\"",
        ),
        (
            "[::1:8080]",
            "an IPv6 address stands in brackets: \"[::1]:8080\"",
        ),
        (
            "::8080",
            "an IPv6 address stands in brackets: \"[::]:8080\"",
        ),
        (
            "fe80::1:443",
            "an IPv6 address stands in brackets: \"[fe80::1]:443\"",
        ),
        (
            "2001:db8:0:0:0:0:0:1:80",
            "an IPv6 address stands in brackets: \"[2001:db8::1]:80\"",
        ),
        (
            "2001:db8::2:1",
            "the port is missing: \"[2001:db8::2:1]:8080\"",
        ),
        ("127.0.0.1:65536", "a port is at most 65535"),
        ("[::1]:70000", "a port is at most 65535"),
        ("::1:99999", "a port is at most 65535"),
        ("localhost:70000", "a port is at most 65535"),
        (
            "127.0.0.1:http",
            "the port is a number, and nothing follows it",
        ),
        (
            "127.0.0.1:80/",
            "the port is a number, and nothing follows it",
        ),
        (
            "http://127.0.0.1:80/x",
            "without scheme and path: \"127.0.0.1:80\"",
        ),
        ("ws://[::1]:80", "without scheme and path: \"[::1]:80\""),
        (
            "http://localhost",
            "without scheme and path: \"127.0.0.1:8080\"",
        ),
        ("tcp://www.example.org:80", "without scheme and path"),
        (" 127.0.0.1:80", "write \"127.0.0.1:80\""),
        (
            "[::1]:80 ",
            "an IPv6 address stands in brackets: \"[::1]:80\"",
        ),
        (
            "/run/roost.sock",
            "for a unix socket write \"unix:/run/roost.sock\"",
        ),
        ("unix:", "the path is missing"),
        (
            "unix:run/roost.sock",
            "it begins with a slash and names a file",
        ),
    ] {
        let mistake = one("listener.address", &format!("\"{text}\"")).expect_err(text);
        assert!(mistake.ends_with(&format!("; {hint}")), "{mistake}");
    }
    for text in ["", "127.0.0.1.5:80", "[::1", "a b:80", "1:2:3"] {
        bad(
            "listener.address",
            &format!("\"{text}\""),
            "expected an IP address with a port",
        );
    }
    bad(
        "listener.address",
        "8080",
        "found the number 8080, expected an IP address with a port",
    );
    bad(
        "listener.address",
        "8080",
        "write \"0.0.0.0:8080\" or \"[::]:8080\"",
    );
    bad("listener.address", "true", "found true");
}

#[test]
fn health_paths() {
    let path = |value| {
        good("listener.health_path", value).listeners[0]
            .health_path
            .clone()
    };
    assert_eq!(path("\"\""), "");
    assert_eq!(path("\"/\""), "/", "while there is no page");
    assert_eq!(path("\"/-/healthy%20\""), "/-/healthy%20");
    assert_eq!(path("\"/stats\""), "/stats");
    for (value, words) in [
        ("\"health\"", "a path begins with a slash: \"/health\""),
        ("\"/a?b\"", "no ? and no #"),
        ("\"/a b\"", "no spaces"),
        ("\"/h\u{e4}lth\"", "nothing outside ASCII"),
        (
            "false",
            "expected a path such as \"/health\", or \"\" for none",
        ),
        ("\"/raw\"", "another path while raw.enabled is true"),
        ("\"/raw/health\"", "another path while raw.enabled is true"),
        ("\"/wamp\"", "another path while wamp.enabled is true"),
    ] {
        bad("listener.health_path", value, words);
    }
    let long = format!("\"/{}\"", "a".repeat(255));
    bad("listener.health_path", &long, "at most 255 bytes");
    for (path, section, key) in [
        ("/", "listener", "demo_page"),
        ("/echo", "echo", "enabled"),
        ("/soap", "soap", "enabled"),
        ("/sse", "sse", "enabled"),
        ("/sse/a", "sse", "enabled"),
        ("/soap/urn:up", "soap", "enabled"),
    ] {
        let text = format!("listener.health_path = \"{path}\"\n{section}.{key} = true\n");
        let errors = parse(&text, "t").expect_err(path);
        let mistake = errors.iter().next().expect("a mistake").to_string();
        let words = format!(
            "listener.health_path: found \"{path}\", expected another path while {section}.{key} is true"
        );
        assert!(
            mistake.starts_with("t:1:") && mistake.contains(&words),
            "{mistake}"
        );
    }
    let text = "listener.health_path = \"/wamp\"\nwamp.enabled = false\n";
    assert!(parse(text, "t").is_ok());
}

#[test]
fn subprotocols() {
    let names = |value| good("raw.subprotocols", value).raw.subprotocols;
    assert_eq!(names("[]"), [""; 0]);
    assert_eq!(names("[\"*\"]"), ["*"]);
    assert_eq!(names("[\"chat.v1\", \"x!~\"]"), ["chat.v1", "x!~"]);
    for (entry, words) in [
        ("\"\"", "1 to 255 letters, digits"),
        ("\"a b\"", "1 to 255 letters, digits"),
        ("\"a,b\"", "1 to 255 letters, digits"),
        ("\"caf\u{e9}\"", "1 to 255 letters, digits"),
        ("\"wamp.2.json\"", "/wamp does"),
        ("7", "expected a subprotocol such as \"chat.v1\""),
    ] {
        bad("raw.subprotocols", &format!("[{entry}]"), words);
    }
    bad(
        "raw.subprotocols",
        "\"chat.v1\"",
        "put it in brackets: [\"chat.v1\"]",
    );
    bad("raw.subprotocols", "[\"*\", \"a\"]", "stands alone");
}

#[test]
fn echo_texts() {
    let subprotocol = |value| good("echo.subprotocol", value).echo.subprotocol;
    assert_eq!(subprotocol("\"\""), None);
    assert_eq!(subprotocol("\"echo\"").as_deref(), Some("echo"));
    for (value, words) in [
        ("\"a b\"", "1 to 255 letters, digits"),
        ("\"*/*\"", "1 to 255 letters, digits"),
        ("\"wamp.2.json\"", "/wamp does"),
        ("[\"echo\"]", "\"chat.v1\", or \"\" for none"),
    ] {
        bad("echo.subprotocol", value, words);
    }
    let goodbye = |value| good("echo.goodbye", value).echo.goodbye;
    assert_eq!(goodbye("\"\""), "");
    assert_eq!(goodbye("\"Au revoir, d\u{e9}j\u{e0}\""), "Au revoir, déjà");
    bad("echo.goodbye", "\"a\\nb\"", "without control characters");
    let long = format!("\"{}\"", "x".repeat(256));
    bad("echo.goodbye", &long, "at most 255 bytes");
    bad(
        "echo.goodbye",
        "true",
        "expected a text such as \"Goodbye\"",
    );
}

#[test]
fn origins() {
    let origins = |value| {
        good("listener.allowed_origins", value).listeners[0]
            .allowed_origins
            .clone()
    };
    assert_eq!(origins("[]"), [""; 0]);
    assert_eq!(origins("[\"*\"]"), ["*"]);
    let listed = origins(
        "[\"https://a.example\", \"http://[::1]:8080\", \"null\", \"chrome-extension://abc\", \
         'http://127.0.0.1:3000', \"http://a_b.local:65535\"]",
    );
    assert_eq!(listed.len(), 6);
    // What apps and extensions send.
    for origin in [
        "null",
        "file://",
        "app://.",
        "app://obsidian.md",
        "capacitor://localhost",
        "ionic://localhost",
        "tauri://localhost",
        "http://tauri.localhost",
        "vscode-webview://1n3i7ggg9hn2l1lbc5lr3ikqvd3uhuhiqvj7tlvsp2lbd4ur2ml1",
        "chrome-extension://gighmmpiobklfepjocnamgkkbiglidom",
        "moz-extension://c7f2e4a6-1b0d-4c56-9a0f-3a6d1f1b2c3d",
    ] {
        let value = format!("[\"{origin}\"]");
        let listed = good("listener.allowed_origins", &value).listeners[0]
            .allowed_origins
            .clone();
        assert_eq!(listed, [origin]);
    }
    for (entry, words) in [
        ("\"example.org\"", "begins with its scheme"),
        ("\"https://\"", "a host and nothing else"),
        ("\"app://\"", "a host and nothing else"),
        ("\"file:///\"", "sends \"file://\" or \"null\""),
        ("\"file:///home/a.html\"", "sends \"file://\" or \"null\""),
        ("\"File://\"", "in lower case: \"file://\""),
        ("\"Null\"", "begins with its scheme"),
        (
            "\"https://a.example/\"",
            "without the slash at its end: \"https://a.example\"",
        ),
        ("\"https://a.example/x\"", "a host and nothing else"),
        ("\"https://u@a.example\"", "a host and nothing else"),
        ("\"https://*.example\"", "patterns are not matched"),
        (
            "\"https://A.example\"",
            "in lower case: \"https://a.example\"",
        ),
        (
            "\"https://a.example:443\"",
            "leave the default port out: \"https://a.example\"",
        ),
        ("\"http://a.example:80\"", "leave the default port out"),
        ("\"https://a.example:0x1\"", "the port is a number"),
        ("\"https://a.example:\"", "the port is a number"),
        ("\"https://a.example:65536\"", "the port is a number"),
        ("\"https://[::1\"", "not closed"),
        ("\"https://[1]:2\"", "in brackets stands an IPv6 address"),
        ("\"https://[::1]x\"", "the port is a number"),
        ("\"https://ä.example\"", "a host and nothing else"),
        ("\"https://a.example\\n\"", "a host and nothing else"),
        ("\"1x://a.example\"", "expected an origin"),
        ("\"\"", "begins with its scheme"),
        ("7", "the number 7"),
    ] {
        bad("listener.allowed_origins", &format!("[{entry}]"), words);
    }
    bad(
        "listener.allowed_origins",
        "[\"*\", \"https://a.example\"]",
        "stands alone",
    );
    bad(
        "listener.allowed_origins",
        "\"*\"",
        "put it in brackets: [\"*\"]",
    );
}

#[test]
fn realms() {
    let realms = good("wamp.realms", "['realm1', 'com.example.\"x\\y']")
        .wamp
        .realms;
    assert_eq!(realms, ["realm1", "com.example.\"x\\y"]);
    for entry in [
        "\"\"",
        "\"a b\"",
        "\"a#b\"",
        "\"a\\u0000\"",
        "\"a\\u2028b\"",
    ] {
        bad(
            "wamp.realms",
            &format!("[{entry}]"),
            "without space, control or '#'",
        );
    }
    bad(
        "wamp.realms",
        &format!("[\"{}\"]", "r".repeat(256)),
        "1 to 255 bytes",
    );
}

#[test]
fn what_is_not_written_follows() {
    let limits = good("limits.message_bytes_max", "\"64KiB\"").limits;
    assert_eq!(
        (limits.frame_bytes_max, limits.outbox_bytes_max),
        (65_536, 1 << 20)
    );
    let limits = good("limits.message_bytes_max", "\"16MiB\"").limits;
    assert_eq!(
        (limits.frame_bytes_max, limits.outbox_bytes_max),
        (16 << 20, 16 << 20)
    );
    let limits = good("limits.frame_bytes_max", "\"64KiB\"").limits;
    assert_eq!(
        (limits.frame_bytes_max, limits.message_bytes_max),
        (65_536, 1 << 20)
    );

    let text = "[[namespace]]\nname = \"a\"\n[[namespace]]\nname = \"b\"\npublish = \"anyone\"\n\
                [channels]\npublish = \"nobody\"\n";
    let loaded = parse(text, "t").unwrap_or_else(|errors| panic!("{errors}"));
    let published: Vec<Publish> = loaded
        .settings
        .namespaces
        .iter()
        .map(|namespace| namespace.policy.publish)
        .collect();
    assert_eq!(published, [Publish::Nobody, Publish::Anyone]);
    assert_eq!(
        loaded.source("namespace[0].publish"),
        Source::Follows {
            section: "channels",
            name: "publish"
        }
    );
    assert_eq!(
        loaded.source("namespace[1].publish"),
        Source::File { line: 5, column: 1 }
    );
    assert_eq!(loaded.source("namespace[0].receive_own"), Source::Default);
}

#[test]
fn every_way_of_writing_a_section() {
    for text in [
        "[limits]\nclose_timeout = \"7s\"",
        "limits.close_timeout = \"7s\"",
        "limits = { close_timeout = \"7s\" }",
        "[\"limits\"]\r\n'close_timeout' = '7s'\r\n",
        "\u{feff}[limits]\nclose_timeout = \"\"\"7s\"\"\"",
    ] {
        let loaded = parse(text, "t").unwrap_or_else(|errors| panic!("{text}: {errors}"));
        assert_eq!(loaded.settings.limits.close_timeout_ms, 7_000, "{text}");
    }
    let loaded = parse("namespace = [{ name = \"a\" }, { name = \"b\" }]", "t");
    assert_eq!(
        loaded
            .unwrap_or_else(|e| panic!("{e}"))
            .settings
            .namespaces
            .len(),
        2
    );
}
