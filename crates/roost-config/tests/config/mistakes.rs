//! Every mistake of a file in one go, each at its place.

use roost_config::{Errors, Overrides, Place, load, parse, parse_bytes};

fn errors(text: &str) -> Errors {
    parse(text, "f.toml").expect_err("a mistake")
}

/// The mistakes as printed, without the count at the end.
fn lines(text: &str) -> Vec<String> {
    errors(text).iter().map(ToString::to_string).collect()
}

#[test]
fn all_in_one_go() {
    let text = "\
idle_timeout = \"5s\"
[server]
reactors = 0
drain_timeout = 10
drain_timeout = \"20s\"
[limts]
x = 1
[limits]
idle_timout = \"30s\"
frame_bytes_max =
message_bytes_max = \"64KiB\"
outbox_bytes_max = \"1KiB\"
demo_page = true
frobnicate = 1
[listener]
backlog \"x\"
hixie = \"true\"
[[namespace]]
name = \"chat:\"
[[namespace]]
name = \"a\"
[[namespace]]
name = \"a\"
[[namespace]]
publish = \"none\"
";
    let dead_ends = [
        "f.toml:1:1: idle_timeout: found an unknown key, expected one of the sections; \
         `idle_timeout` belongs to [limits]",
        "f.toml:3:12: server.reactors: found the number 0, expected \"auto\" or a whole number \
         from 1 to 255",
        "f.toml:4:17: server.drain_timeout: found the number 10, expected \"0s\", or a time from \
         \"100ms\" to \"1h\" (a whole number with ms, s, m or h); name the unit: \"10s\" or \"10ms\"",
        "f.toml:5:1: found `drain_timeout` a second time, expected each key and each section once",
        "f.toml:6:2: limts: found an unknown section, expected one of the sections; did you mean \
         [limits]?",
        "f.toml:9:1: limits.idle_timout: found an unknown key, expected a key of [limits]; did you \
         mean `idle_timeout`?",
        "f.toml:10:18: found no value, expected a value",
        "f.toml:12:1: limits.outbox_bytes_max: found \"1KiB\", expected at least \
         limits.message_bytes_max, which is \"64KiB\"; the longest message must have room to wait",
        "f.toml:13:1: limits.demo_page: found an unknown key, expected a key of [limits]; \
         `demo_page` belongs to [[listener]]",
        "f.toml:14:1: limits.frobnicate: found an unknown key, expected a key of [limits]: \
         handshakes_in_flight_max, handshake_timeout, handshake_bytes_max, handshake_headers_max, \
         http_keep_alive_timeout, http_requests_per_connection_max, \
         connections_per_address_max, connects_per_address_per_second_max, \
         client_messages_per_second_max, client_bytes_per_second_max, client_subscribes_per_second_max, \
         client_refusals_per_second_max, client_burst, client_rate_policy, \
         message_bytes_max, frame_bytes_max, fragment_bytes, outbox_bytes_max, \
         buffered_bytes_max, history_bytes_max, presence_bytes_max, idle_timeout, ping_interval, ping_timeout, close_timeout, \
         channel_name_bytes_max, channels_max, patterns_max, subscriptions_per_connection_max, \
         registrations_per_connection_max, calls_per_connection_max, invocations_per_connection_max",
        "f.toml:16:9: found key with no value, expected `=`",
        "f.toml:17:9: listener.hixie: found \"true\", expected true or false; write true without \
         quotes",
        "f.toml:19:8: namespace[0].name: found \"chat:\", expected a name of 1 to 64 letters, \
         digits, '-', '_' or '.'; without the colon: \"chat\"",
        "f.toml:23:1: namespace \"a\".name: found \"a\" a second time, expected another name than \
         that of line 21",
        "f.toml:24:1: namespace[3]: found no name, expected the key name; name = \"chat\" is for \
         the channels chat:…",
        "f.toml:25:11: namespace[3].publish: found \"none\", expected \"anyone\", \
         \"authenticated\", \"granted\", \"subscribers\", \"hook\" or \"nobody\"",
    ];
    assert_eq!(lines(text), dead_ends);
    assert!(errors(text).to_string().ends_with("\n16 mistakes"));
}

#[test]
fn one_mistake_is_blamed_once() {
    // The message's size cannot be read: whether the frame's is too large is not known.
    for broken in ["\"64KB\"", "", "\"64KiB"] {
        let text = format!("[limits]\nmessage_bytes_max = {broken}\nframe_bytes_max = \"2MiB\"\n");
        assert_eq!(errors(&text).len(), 1, "{}", errors(&text));
    }
    // A broken header takes the keys below it out of the game, up to the next.
    let text =
        "[server]\nreactors = 1\n[listener\nreactors = 0\ndemo_page = true\n[log]\nlevel = 1\n";
    let found = lines(text);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("f.toml:3:10: found unclosed table"),
        "{}",
        found[0]
    );
    assert!(
        found[1].starts_with("f.toml:7:9: log.level: "),
        "{}",
        found[1]
    );
}

#[test]
fn columns_count_characters() {
    let found = lines("[wamp]\nrealms = [\"äöü\", \"€\", \"a b\"]\n");
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("f.toml:2:23: wamp.realms: "),
        "{}",
        found[0]
    );
    // A long line, where the column is counted from a mark inside it.
    let realms = "\"ä\", ".repeat(500);
    let found = lines(&format!("[wamp]\nrealms = [{realms}\"a b\"]\n"));
    assert!(found[0].starts_with("f.toml:2:2511: "), "{}", found[0]);
}

#[test]
fn doubled_keys_and_sections() {
    let doubled = "found `limits` a second time, expected each key and each section once";
    let text = "[limits]\nclose_timeout = \"7s\"\n[log]\n[limits]\nping_timeout = \"x\"\n";
    let found = lines(text);
    assert_eq!(found[0], format!("f.toml:4:2: {doubled}"));
    assert!(
        found[1].starts_with("f.toml:5:16: limits.ping_timeout: "),
        "{}",
        found[1]
    );
    assert_eq!(found.len(), 2);
    let found = lines("limits = 1\nlimits = 2\n");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("limits: found the number 1, expected the section [limits]"));
    let found = lines("limits = { close_timeout = \"7s\", close_timeout = \"8s\" }");
    assert!(
        found[0].contains("`close_timeout` a second time"),
        "{found:?}"
    );
}

#[test]
fn sections_of_another_shape() {
    let found = lines("namespace = 1\n[[limits]]\n[server.driver]\n");
    assert!(
        found[0].starts_with("f.toml:1:13: namespace: found the number 1"),
        "{}",
        found[0]
    );
    assert!(
        found[1].starts_with("f.toml:2:1: limits: found a list"),
        "{}",
        found[1]
    );
    assert!(found[2].starts_with("f.toml:3:"), "{}", found[2]);
    assert!(
        found[2].contains("server.driver: found a table"),
        "{}",
        found[2]
    );
    let found = lines("[namespace]\nname = \"a\"\n");
    assert!(
        found[0].contains("found a table, expected sections [[namespace]]"),
        "{}",
        found[0]
    );
    let found = lines("namespace = [1]\n");
    assert!(
        found[0].contains("namespace[0]: found the number 1"),
        "{}",
        found[0]
    );
}

#[test]
fn hints_at_the_nearest_name() {
    for (text, hint) in [
        ("[limits]\nidel_timeout = 1", "did you mean `idle_timeout`?"),
        (
            "[limits]\nmesage_bytes_mx = 1",
            "did you mean `message_bytes_max`?",
        ),
        ("[listener]\nadress = 1", "did you mean `address`?"),
        (
            "[log]\nfrobnicate = 1",
            "expected a key of [log]: level, format",
        ),
        (
            "[listener]\nstats = true",
            "the counters are at /stats of the admin listener now: see [admin]",
        ),
        ("[lgo]\nlevel = \"info\"", "did you mean [log]?"),
        ("[sevrer]\nreactors = 1", "did you mean [server]?"),
        (
            "[[namespaces]]\nname = \"a\"",
            "did you mean [[namespace]]?",
        ),
        (
            "[server]\nallowed_origin = []",
            "did you mean `allowed_origins` in [[listener]]?",
        ),
        ("[server]\nname = \"x\"", "`name` belongs to [[listener]]"),
    ] {
        let found = lines(text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].ends_with(hint), "{}", found[0]);
    }
}

#[test]
fn contradictions_between_keys() {
    let found = lines("[limits]\nmessage_bytes_max = \"4KiB\"\nframe_bytes_max = \"8KiB\"");
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("f.toml:3:1: limits.frame_bytes_max: "),
        "{}",
        found[0]
    );

    let found = lines(
        "[channels]\npublish = \"subscribers\"\n[[namespace]]\nname = \"a\"\n\
                       subscribe = \"nobody\"\n",
    );
    assert_eq!(found.len(), 1);
    // Its publish is not written: the place is that of the key beside it.
    assert!(
        found[0].starts_with("f.toml:5:1: namespace \"a\".publish: "),
        "{}",
        found[0]
    );
}

#[test]
fn an_inherited_contradiction_is_reported_once() {
    let namespaces =
        "[[namespace]]\nname = \"a\"\n[[namespace]]\nname = \"b\"\nreceive_own = true\n";
    // In [channels]: the namespaces that inherit both keys are not named.
    let text =
        format!("{namespaces}[channels]\npublish = \"subscribers\"\nsubscribe = \"nobody\"\n");
    let found = lines(&text);
    assert_eq!(
        found,
        [
            "f.toml:7:1: channels.publish: found \"subscribers\", expected another value while \
             channels.subscribe is \"nobody\"; without subscribers no subscriber publishes"
        ]
    );
    let text = format!(
        "{namespaces}[channels]\noutbox_bytes_max = \"2MiB\"\n[limits]\noutbox_bytes_max = \"1MiB\"\n"
    );
    let found = lines(&text);
    assert_eq!(
        found,
        [
            "f.toml:7:1: channels.outbox_bytes_max: found \"2MiB\", expected at most \
             limits.outbox_bytes_max, which is \"1MiB\"; that one holds for all that waits for a \
             connection"
        ]
    );
    // A namespace that adds to it is named, with what it wrote.
    let text = format!("{namespaces}outbox_bytes_max = \"3MiB\"\n");
    let found = lines(&text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("f.toml:6:1: namespace \"b\".outbox_bytes_max: found \"3MiB\""),
        "{}",
        found[0]
    );
    // One that follows: the place is that of the leader.
    let text = "[limits]\nmessage_bytes_max = \"4MiB\"\nbuffered_bytes_max = \"1MiB\"\n";
    let found = lines(text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("f.toml:3:1: limits.buffered_bytes_max: "),
        "{}",
        found[0]
    );
}

#[test]
fn a_namespace_that_is_no_table_does_not_shift_the_others() {
    let found = lines("namespace = [1, { name = \"a\", publish = \"x\" }, { name = \"a\" }]\n");
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(
        found[0].starts_with("f.toml:1:14: namespace[0]: found the number 1"),
        "{}",
        found[0]
    );
    assert!(
        found[1].starts_with("f.toml:1:41: namespace \"a\".publish: "),
        "{}",
        found[1]
    );
    assert!(
        found[2].contains("namespace \"a\".name: found \"a\" a second time"),
        "{}",
        found[2]
    );
}

#[test]
fn what_is_no_text_at_all() {
    let errors = parse_bytes(b"[log]\n# \xC3\xA4 \xFF\n", "f.toml").expect_err("not UTF-8");
    assert_eq!(
        errors.to_string(),
        "f.toml:2:5: found the byte 0xFF, expected UTF-8\n1 mistake"
    );
    let long = "#".repeat((1 << 20) + 1);
    let errors = parse(&long, "f.toml").expect_err("too long");
    assert_eq!(
        errors.to_string(),
        "f.toml: found a longer file, expected at most 1 MiB\n1 mistake"
    );
    let path = std::env::temp_dir().join("roost-config-test-there-is-no-such-file.toml");
    let errors = load(&path, &Overrides::new()).expect_err("no such file");
    let mistake = errors.iter().next().expect("one");
    assert!(
        matches!(mistake.place, Place::WholeFile { .. }),
        "{mistake}"
    );
    assert!(mistake.to_string().contains("No such file"), "{mistake}");
}

#[test]
fn deep_and_long_input_is_refused_in_time() {
    let start = std::time::Instant::now();
    let deep_key = format!(
        "[limits]\nclose_timeout = \"x\"\n{}b = 1\n",
        "a.".repeat(100_000)
    );
    let found = lines(&deep_key);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[1].starts_with("f.toml:3:1: "), "{}", found[1]);
    let deep_list = format!("a = {}", "[".repeat(500_000));
    assert!(!lines(&deep_list).is_empty());
    let one_line: String = (0..5_000).map(|n| format!("k{n} = 1, ")).collect();
    assert_eq!(lines(&format!("limits = {{ {one_line} }}")).len(), 5_000);
    let broken_lines = "= 1\n".repeat(10_000);
    assert_eq!(lines(&broken_lines).len(), 10_000);
    assert!(start.elapsed().as_secs() < 60, "took {:?}", start.elapsed());
}
