//! `/metrics`, read by rules of its own, by Prometheus' tool where there is one, and by many at once.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use roost_testkit::client::Checked;
use roost_testkit::server::{Backend, TestServer};

use crate::harness::{Admin, server};

/// Families by name: type, and samples by labels.
struct Exposition {
    families: HashMap<String, (String, HashMap<String, f64>)>,
}

impl Exposition {
    /// <https://prometheus.io/docs/instrumenting/exposition_formats/#text-format-details>
    fn parse(text: &str) -> Exposition {
        assert!(text.ends_with('\n'), "the last line ends");
        let mut families: HashMap<String, (String, HashMap<String, f64>)> = HashMap::new();
        let (mut described, mut current) = (HashSet::new(), String::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a name and a text");
                assert!(!help.trim().is_empty(), "{name} has no help");
                assert!(
                    described.insert(name.to_owned()),
                    "{name} is described twice"
                );
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and a type");
                assert!(described.contains(name), "{name}: HELP stands before TYPE");
                assert!(
                    matches!(kind, "counter" | "gauge" | "histogram"),
                    "{name} is a {kind}"
                );
                assert_eq!(
                    kind == "counter",
                    name.ends_with("_total"),
                    "{name} is a {kind}"
                );
                current = name.to_owned();
                let family = (kind.to_owned(), HashMap::new());
                assert!(families.insert(current.clone(), family).is_none());
            } else {
                let (series, value) = line.rsplit_once(' ').expect("a series and a value");
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                let labels = labels.strip_suffix('}').expect("labels end");
                let of_histogram = ["_bucket", "_sum", "_count"]
                    .into_iter()
                    .find_map(|part| name.strip_suffix(part))
                    .filter(|family| *family == current && families[*family].0 == "histogram");
                let part = name;
                let name = of_histogram.unwrap_or(name);
                assert_eq!(name, current, "samples stand behind their TYPE");
                assert!(name.starts_with("roost_") && is_name(name), "{name}");
                for label in labels.split(',').filter(|label| !label.is_empty()) {
                    let (label, text) = label.split_once('=').expect("a label and its value");
                    assert!(is_name(label) && !label.contains(':'), "{label}");
                    assert!(text.len() >= 2 && text.starts_with('"') && text.ends_with('"'));
                }
                let value: f64 = value.parse().expect("a number");
                let samples = &mut families.get_mut(name).expect("a family").1;
                let labels = match part.strip_prefix(name).unwrap_or_default() {
                    "" => labels.to_owned(),
                    part => format!("{part}:{labels}"),
                };
                let doubled = samples.insert(labels, value).is_some();
                assert!(!doubled, "{series} comes twice");
            }
        }
        for (name, (_, samples)) in &families {
            assert!(!samples.is_empty(), "{name} has no sample");
        }
        Exposition { families }
    }

    fn value(&self, name: &str, labels: &str) -> Option<f64> {
        self.families.get(name)?.1.get(labels).copied()
    }
}

fn is_name(name: &str) -> bool {
    let good = |(at, byte): (usize, u8)| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'_' | b':' => true,
        b'0'..=b'9' => at > 0,
        _ => false,
    };
    !name.is_empty() && name.bytes().enumerate().all(good)
}

fn with_namespaces() -> TestServer {
    TestServer::with(Backend::Epoll, 2, |settings| {
        let policy = settings.channels.default.clone();
        settings.channels.namespaces = vec![("chat.eu".to_owned(), policy)];
    })
}

#[test]
fn every_counter_is_a_family_with_help_and_type() -> Checked {
    let server = with_namespaces();
    let admin = Admin::of(server.shared());
    let _client = server.open("/echo")?;
    server.wait_for_count("websockets_open", |open| open == 1);
    let answer = admin.get("/metrics");
    let content_type = answer.header("content-type");
    assert_eq!(
        content_type,
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let sums = Exposition::parse(&answer.body);
    assert_eq!(sums.value("roost_websockets_open", ""), Some(1.0));
    assert_eq!(sums.value("roost_reactors", ""), Some(2.0));
    let build = "version=\"1.2.3\",driver=\"epoll\"";
    assert_eq!(sums.value("roost_build_info", build), Some(1.0));
    for namespace in ["", "chat.eu"] {
        let labels = format!("namespace=\"{namespace}\"");
        let dropped = sums.value("roost_namespace_dropped_oldest_total", &labels);
        assert_eq!(dropped, Some(0.0), "{namespace:?}");
    }
    for description in roost_metrics::DESCRIPTIONS {
        let name = format!("roost_{}", description.name);
        assert!(sums.value(&name, "").is_some(), "{name} is missing");
    }
    let each = Exposition::parse(&admin.get("/metrics?reactors=1").body);
    let open = ["reactor=\"0\"", "reactor=\"1\""]
        .map(|labels| each.value("roost_websockets_open", labels));
    assert_eq!(open.into_iter().flatten().sum::<f64>(), 1.0);
    assert_eq!(each.value("roost_websockets_open", ""), None);
    assert_eq!(admin.get("/metrics?reactors=2").status, 400);
    assert_eq!(admin.get("/metrics?channel=x").status, 400);
    Ok(())
}

#[test]
fn promtool_finds_nothing_to_say() {
    let server = with_namespaces();
    let admin = Admin::of(server.shared());
    for target in ["/metrics", "/metrics?reactors=1"] {
        let spawned = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut promtool) = spawned else {
            return println!("skipped: promtool is not installed (Debian's package prometheus)");
        };
        let mut stdin = promtool.stdin.take().expect("it is piped");
        stdin
            .write_all(admin.get(target).body.as_bytes())
            .expect("it reads");
        drop(stdin);
        let output = promtool.wait_with_output().expect("it ends");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && stderr.is_empty(),
            "{target}: {stderr}"
        );
    }
}

#[test]
fn a_hundred_scrape_at_once_during_traffic() -> Checked {
    let server = server();
    let admin = Admin::of(server.shared());
    let mut subscriber = server.open("/raw/busy")?;
    let mut publisher = server.open("/raw/busy")?;
    let go_on = AtomicBool::new(true);
    let published = thread::scope(|scope| {
        let traffic = scope.spawn(|| -> Result<u32, roost_testkit::client::Failure> {
            let mut published = 0;
            while go_on.load(Ordering::Relaxed) {
                publisher.send_text(&published.to_string())?;
                subscriber.expect_text(&published.to_string())?;
                published += 1;
            }
            Ok(published)
        });
        let scrapes: Vec<_> = (0..100)
            .map(|_| scope.spawn(|| admin.get("/metrics")))
            .collect();
        for scrape in scrapes {
            let answer = scrape.join().expect("it is answered");
            assert_eq!(answer.status, 200);
            let scraped = Exposition::parse(&answer.body);
            assert_eq!(scraped.value("roost_websockets_open", ""), Some(2.0));
        }
        go_on.store(false, Ordering::Relaxed);
        traffic.join().expect("the traffic goes on")
    })?;
    assert!(published > 0);
    let after = Exposition::parse(&admin.get("/metrics").body);
    let total = after.value("roost_publishes_total", "");
    assert_eq!(total, Some(f64::from(published)));
    Ok(())
}
