//! `[auth]`: what contradicts itself.

use roost_config::parse;

#[test]
fn keys_of_tokens_that_contradict_others_are_refused() {
    let jwt = "[auth.jwt]\nhmac_secrets_file = \"s\"\n";
    let listed = "[listener]\nallowed_origins = [\"https://a.example\"]\n";
    let url = "jwks_url = \"https://id.example/keys\"\n";
    for (text, said) in [
        ("[auth]\nrequired = true\n".to_owned(), "auth.required"),
        (format!("[auth]\ncookie = \"t\"\n{jwt}"), "allowed_origins"),
        (format!("{jwt}{url}"), "the key audience"),
        (format!("{jwt}{url}audience = \"a\"\n"), "the key issuer"),
        (
            format!("[auth]\ntoken_bytes_max = \"8KiB\"\n{jwt}"),
            "limits.handshake_bytes_max",
        ),
        (
            format!("[auth]\ncookie = \"a b\"\n{jwt}{listed}"),
            "auth.cookie",
        ),
    ] {
        let errors = parse(&text, "t").expect_err(&text).to_string();
        assert!(errors.contains(said), "{text}: {errors}");
    }
    for text in [
        format!("[auth]\nrequired = true\n{jwt}"),
        format!("[auth]\ncookie = \"t\"\n{jwt}{listed}"),
        format!("{jwt}{url}audience = \"a\"\nissuer = \"b\"\n"),
    ] {
        let loaded = parse(&text, "t");
        assert!(loaded.expect("no mistake").settings.auth.is_on(), "{text}");
    }
    // A certificate names a client as well as a token does.
    let text = "[auth]\nrequired = true\n[listener.tls]\ncertificate = \"c\"\nkey = \"k\"\n\
                client_auth = \"optional\"\nclient_ca = \"ca\"\nclient_user = \"cn\"\n";
    assert!(!parse(text, "t").expect("no mistake").settings.auth.is_on());
}
