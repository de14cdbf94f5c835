//! Prometheus' text exposition format 0.0.4, from the counters that there are.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>. Each family stands together, with
//! its HELP and TYPE. Labels name a namespace or listener of the configuration, a reactor or the build:
//! never what a client chooses, so that their number is bounded.

use std::fmt::{Display, Write as _};

use roost_metrics::{
    CANARY_DESCRIPTIONS, DESCRIPTIONS, Description, HISTOGRAM_DESCRIPTIONS, HistogramReading,
    NAMESPACE_DESCRIPTIONS, Registry, process, seconds,
};

/// What `/metrics` says of the build.
#[derive(Debug, Clone, Copy)]
pub struct Build {
    /// The daemon's version.
    pub version: &'static str,
    /// The driver that runs.
    pub driver: &'static str,
}

/// `Content-Type` of the format.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All counters, summed over the reactors or for each of them.
pub(crate) fn encode(registry: &Registry, build: Build, per_reactor: bool) -> String {
    let mut out = String::with_capacity(16 << 10);
    family(
        &mut out,
        "build_info",
        "The build that runs; always 1.",
        "gauge",
    );
    sample(
        &mut out,
        "build_info",
        &[("version", build.version), ("driver", build.driver)],
        1,
    );
    family(&mut out, "reactors", "Reactors of the server.", "gauge");
    sample(&mut out, "reactors", &[], registry.reactors() as u64);
    let reactors: Vec<String> = (0..registry.reactors()).map(|n| n.to_string()).collect();
    let of_reactors: Vec<Vec<u64>> = (0..registry.reactors())
        .map(|reactor| registry.reactor(reactor).values().collect())
        .collect();
    for (at, description) in DESCRIPTIONS.iter().enumerate() {
        describe(&mut out, "", description);
        if per_reactor {
            for (reactor, values) in reactors.iter().zip(&of_reactors) {
                sample(
                    &mut out,
                    description.name,
                    &[("reactor", reactor)],
                    values[at],
                );
            }
        } else {
            let sum = of_reactors
                .iter()
                .fold(0u64, |sum, v| sum.wrapping_add(v[at]));
            sample(&mut out, description.name, &[], sum);
        }
    }
    for (description, value) in process::values() {
        describe(&mut out, "", &description);
        sample(&mut out, description.name, &[], value);
    }
    canary(&mut out, registry);
    histograms(&mut out, registry, per_reactor);
    let certificates = process::TLS_CERTIFICATES.seconds_left();
    // A family without a sample is a mistake to some readers.
    let of_listeners = match certificates.is_empty() {
        true => &[],
        false => process::LISTENER_DESCRIPTIONS,
    };
    for description in of_listeners {
        describe(&mut out, "", description);
        for (listener, left) in &certificates {
            let labels = [("listener", listener.as_str())];
            sample(&mut out, description.name, &labels, *left);
        }
    }
    for description in NAMESPACE_DESCRIPTIONS {
        describe(&mut out, NAMESPACE, description);
        let name = format!("{NAMESPACE}{}", description.name);
        for namespace in &*registry.namespace_names() {
            // `None` cannot be: both names are the registry's own.
            let sum = registry.namespace_sum(namespace, description.name);
            let labels = [("namespace", namespace.as_str())];
            sample(&mut out, &name, &labels, sum.unwrap_or_default());
        }
    }
    out
}

/// What is known of each reactor by its canary.
fn canary(out: &mut String, registry: &Registry) {
    for (at, description) in CANARY_DESCRIPTIONS.iter().enumerate() {
        describe(out, "", description);
        for home in 0..registry.reactors() {
            let timings = registry.timings(home);
            let labels = [("home", &*home.to_string())];
            match at {
                0 => sample_of(
                    out,
                    description.name,
                    &labels,
                    seconds(timings.canary_ns.get()),
                ),
                1 => sample(out, description.name, &labels, timings.canary_misses.get()),
                _ => sample(
                    out,
                    description.name,
                    &labels,
                    timings.canary_misses_total.get(),
                ),
            }
        }
    }
}

/// All histograms, summed over the reactors or for each of them.
fn histograms(out: &mut String, registry: &Registry, per_reactor: bool) {
    let readings = (0..registry.reactors()).map(|reactor| registry.timings(reactor).histograms());
    let readings: Vec<_> = readings.collect();
    for (at, description) in HISTOGRAM_DESCRIPTIONS.iter().enumerate() {
        family(out, description.name, description.help, "histogram");
        if per_reactor {
            for (reactor, reading) in readings.iter().enumerate() {
                let reactor = reactor.to_string();
                histogram(
                    out,
                    description.name,
                    &[("reactor", &reactor)],
                    &reading[at],
                );
            }
        } else {
            let mut sum = HistogramReading::default();
            readings.iter().for_each(|reading| sum.add(&reading[at]));
            histogram(out, description.name, &[], &sum);
        }
    }
}

fn histogram(out: &mut String, name: &str, labels: &[(&str, &str)], reading: &HistogramReading) {
    let bucket = format!("{name}_bucket");
    for (bound, below) in reading.buckets() {
        let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| bound.to_string());
        let labels = [labels, &[("le", &*bound)]].concat();
        sample(out, &bucket, &labels, below);
    }
    sample_of(out, &format!("{name}_sum"), labels, reading.sum_seconds());
    sample(out, &format!("{name}_count"), labels, reading.count());
}

fn describe(out: &mut String, prefix: &str, description: &Description) {
    let name = format!("{prefix}{}", description.name);
    family(out, &name, description.help.trim(), description.kind());
}

fn family(out: &mut String, name: &str, help: &str, kind: &str) {
    let help = help.replace('\\', r"\\").replace('\n', r"\n");
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "# HELP roost_{name} {help}\n# TYPE roost_{name} {kind}"
    );
}

fn sample(out: &mut String, name: &str, labels: &[(&str, &str)], value: u64) {
    sample_of(out, name, labels, value);
}

fn sample_of(out: &mut String, name: &str, labels: &[(&str, &str)], value: impl Display) {
    let _ = write!(out, "roost_{name}");
    for (at, (label, text)) in labels.iter().enumerate() {
        let opening = if at == 0 { '{' } else { ',' };
        let _ = write!(out, "{opening}{label}=\"{}\"", escaped(text));
    }
    let _ = writeln!(out, "{} {value}", if labels.is_empty() { "" } else { "}" });
}

fn escaped(text: &str) -> String {
    text.replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', r"\n")
}

/// Before the names of what is counted by namespace: two families must not share a name.
const NAMESPACE: &str = "namespace_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut out = String::new();
        sample(&mut out, "x", &[("a", "b\"c\\d\ne"), ("f", "")], 7);
        assert_eq!(out, "roost_x{a=\"b\\\"c\\\\d\\ne\",f=\"\"} 7\n");
        out.clear();
        family(&mut out, "x", "one\ntwo \\ three", "gauge");
        assert_eq!(
            out,
            "# HELP roost_x one\\ntwo \\\\ three\n# TYPE roost_x gauge\n"
        );
    }

    #[test]
    fn reactors_are_summed_or_named() {
        let registry = Registry::with_namespaces(2, vec![String::new(), "chat".to_owned()]);
        registry.reactor(0).pings_sent_total.add(2);
        registry.reactor(1).pings_sent_total.add(3);
        registry.namespaces(1)[1].replaced_total.add(4);
        let build = Build {
            version: "1.2.3",
            driver: "epoll",
        };
        let sums = encode(&registry, build, false);
        assert!(
            sums.contains("\n# TYPE roost_pings_sent_total counter\nroost_pings_sent_total 5\n")
        );
        assert!(sums.contains("\nroost_namespace_replaced_total{namespace=\"chat\"} 4\n"));
        assert!(sums.contains("\nroost_build_info{version=\"1.2.3\",driver=\"epoll\"} 1\n"));
        assert!(!sums.contains("reactor="));
        let each = encode(&registry, build, true);
        assert!(each.contains("\nroost_pings_sent_total{reactor=\"1\"} 3\n"));
        assert!(!each.contains("\nroost_pings_sent_total 5\n"));
    }
}
