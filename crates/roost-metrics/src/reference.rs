//! `docs/counters.md`, made from the descriptions.

use std::fmt::Write as _;

use crate::{
    CANARY_DESCRIPTIONS, DESCRIPTIONS, Description, HISTOGRAM_DESCRIPTIONS, NAMESPACE_DESCRIPTIONS,
    process,
};

/// The whole document.
pub fn markdown() -> String {
    let mut out = String::from(HEAD);
    table(DESCRIPTIONS, &mut out);
    out.push_str(PROCESS);
    table(
        &process::values().map(|(description, _)| description),
        &mut out,
    );
    out.push_str(LISTENERS);
    table(process::LISTENER_DESCRIPTIONS, &mut out);
    out.push_str(NAMESPACES);
    table(NAMESPACE_DESCRIPTIONS, &mut out);
    out.push_str(CANARY);
    table(CANARY_DESCRIPTIONS, &mut out);
    out.push_str(HISTOGRAMS);
    for row in HISTOGRAM_DESCRIPTIONS {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "| `{}` | histogram | seconds | {} |",
            row.name, row.help
        );
    }
    out
}

fn table(rows: &[Description], out: &mut String) {
    out.push_str("\n| name | kind | unit | meaning |\n|---|---|---|---|\n");
    for row in rows {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} |",
            row.name,
            row.kind(),
            row.unit(),
            row.help.trim()
        );
    }
}

const HEAD: &str = "\
# Counters

`GET /stats` of the admin listener answers one JSON object. Each value is the sum over all \
reactors. A `counter` only grows and starts from 0 with the process; a `gauge` is the value of now. \
`cargo run -q -p roost-metrics --example counters` prints this page, and a test fails when it differs.

| key | unit | meaning |
|---|---|---|
| `version` | | The daemon's version. |
| `uptime_seconds` | seconds | Time since the daemon began to listen. |
| `driver` | | `epoll` or `io_uring`: what runs, whatever `server.driver` asked for. |
| `limits.connections_max` | connections | The most connections that are held at once. |
| `limits.open_files` | files | The limit on open files of the process. |
| `reactors` | threads | Number of reactors. |

## Of the server
";

const PROCESS: &str = "
## Of the process
";

const LISTENERS: &str = "
## Of each TLS listener

`tls_listeners` is an object with one object for each listener with TLS, by its name, or by its \
address if it has none; `/metrics` has them with the label `listener`.
";

const NAMESPACES: &str = "
## Of each namespace

`default_namespace` is an object with these counters for the channels without a namespace; \
`namespaces` is an object with one such object for each `[[namespace]]`, by its name: \
`stats[\"namespaces\"][\"chat\"][\"replaced_total\"]`.
";

const CANARY: &str = "
## Of each reactor, by the canary

Only `/metrics` has these, with the label `home`: the reactor's number. [operating.md](operating.md#canary) \
says what the canary does; `admin.canary_interval = \"0s\"` turns it off.
";

const HISTOGRAMS: &str = "
## Histograms

Only `/metrics` has these: for each bound (powers of two from 4 µs to 8.6 s) how many times were not above it, \
as `roost_NAME_bucket{le=\"SECONDS\"}`, and `roost_NAME_sum` and `roost_NAME_count`. They are sums over all \
reactors; `?reactors=1` gives each its own, with the label `reactor`.

| name | kind | unit | meaning |
|---|---|---|---|
";

#[cfg(test)]
mod tests {
    #[test]
    fn the_document_is_that_of_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/counters.md");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == super::markdown(),
            "docs/counters.md is not what the code says; \
             cargo run -q -p roost-metrics --example counters > docs/counters.md"
        );
    }
}
