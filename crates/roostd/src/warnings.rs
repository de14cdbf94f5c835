//! Settings that do less than was asked for, or more than was meant: said once, at the start.

use roost_config::{self as config, Publish};
use roost_control::HookUrl;
use roost_net::ports;
use tracing::warn;

/// Logs them. `connections_max` is what will be held.
pub(crate) fn warn_of_settings(from: &config::Settings, reactors: usize, connections_max: u32) {
    if let Some(asked) = from
        .server
        .connections_max
        .filter(|asked| *asked > connections_max)
    {
        warn!(
            "server.connections_max asks for {asked}, and the limit on open files allows \
             {connections_max}. Remedy: raise it (ulimit -n, LimitNOFILE= in the unit)"
        );
    }
    let backlogs = from.listeners.iter().map(|listener| listener.backlog);
    let asked = backlogs.max().unwrap_or_default();
    if let Some(allowed) = somaxconn().filter(|allowed| asked > *allowed) {
        warn!(
            "listener.backlog asks for {asked}, and net.core.somaxconn allows {allowed}. Remedy: \
             raise it with sysctl, or lower the key"
        );
    }
    let per_address = from.limits.connections_per_address_max;
    if per_address > 0 && reactors > 1 {
        let most = u64::from(per_address) * reactors as u64;
        warn!(
            "limits.connections_per_address_max is counted by each of {reactors} reactors: one \
             address may have up to {most} connections"
        );
    }
    for hook in &from.hooks {
        if HookUrl::parse(&hook.url).is_ok_and(|url| url.is_open_to_others()) {
            warn!(
                "hook.url {} is http:// to another machine: what can change an answer on its way decides \
                 who may do what. Remedy: https://, unless that network is trusted",
                hook.url
            );
        }
    }
    if let Some(url) = &from.events.url
        && HookUrl::parse(url).is_ok_and(|url| url.is_open_to_others())
    {
        warn!(
            "events.url {url} is http:// to another machine: who connects and subscribes can be read on \
             its way. Remedy: https://, unless that network is trusted"
        );
    }
    warn_of_blocked_ports(from);
    for listener in &from.listeners {
        let open = open_to_all(listener, from);
        if open.is_empty() {
            continue;
        }
        let address = &listener.address;
        let open = open.join(", ");
        warn!(
            "listening on {address}, not only for this machine, and open to any client that reaches it: \
             {open}. Remedy: switch off what is not meant for all, or listen on 127.0.0.1"
        );
    }
}

/// Of addresses that no browser can connect to.
fn warn_of_blocked_ports(from: &config::Settings) {
    let clients = from
        .listeners
        .iter()
        .map(|listener| listener.address.clone());
    let admin = from.admin.listen.map(config::ListenAddress::Tcp);
    let api = from.api.listen.iter().cloned();
    for address in clients.chain(admin).chain(api).filter(is_blocked) {
        warn!(
            "listening on {address}: browsers and Node's fetch refuse to connect to this port (Fetch \
             Standard, \"port blocking\"). Remedy: another port, unless clients are neither or connect to a \
             proxy"
        );
    }
}

fn is_blocked(address: &config::ListenAddress) -> bool {
    match address {
        config::ListenAddress::Tcp(address) => {
            address.port() != 0 && ports::is_blocked(address.port())
        }
        config::ListenAddress::Unix(_) => false,
    }
}

/// What any client that can connect may do or see, by its keys; empty where only this machine can.
fn open_to_all(listener: &config::Listener, from: &config::Settings) -> Vec<String> {
    let mut open = Vec::new();
    if listener.address.is_local() {
        return open;
    }
    for (is_on, key) in [
        (
            listener.demo_page,
            "the demonstration page (listener.demo_page)",
        ),
        (
            from.echo.enabled && listener.serves("echo"),
            "echo (echo.enabled)",
        ),
    ] {
        if is_on {
            open.push(key.to_owned());
        }
    }
    let serves = |dialect, enabled| enabled && listener.serves(dialect);
    let publishing = [
        ("raw", from.raw.enabled),
        ("wamp", from.wamp.enabled),
        ("soap", from.soap.enabled),
        ("centrifugo", from.centrifugo.enabled),
    ];
    if !publishing
        .into_iter()
        .any(|(dialect, is_on)| serves(dialect, is_on))
    {
        return open;
    }
    let anyone = |policy: &config::ChannelPolicy| policy.publish == Publish::Anyone;
    let mut sections = Vec::new();
    if anyone(&from.channels) {
        sections.push("[channels]".to_owned());
    }
    let namespaces = from.namespaces.iter().filter(|space| anyone(&space.policy));
    sections.extend(namespaces.map(|space| format!("namespace {}", space.name)));
    if !sections.is_empty() {
        let sections = sections.join(" and ");
        open.push(format!("publishing (publish = \"anyone\" in {sections})"));
    }
    open
}

/// The kernel's limit on `listener.backlog`; none where it cannot be read.
fn somaxconn() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_browsers_refuse_are_known_and_port_0_is_none() {
        let of = |text: &str| config::ListenAddress::Tcp(text.parse().expect("an address"));
        assert!(is_blocked(&of("127.0.0.1:6000")) && is_blocked(&of("[::]:6667")));
        assert!(!is_blocked(&of("127.0.0.1:0")) && !is_blocked(&of("0.0.0.0:443")));
        let unix = config::ListenAddress::Unix("/run/roost/clients.sock".to_owned());
        assert!(!is_blocked(&unix));
    }

    #[test]
    fn what_is_open_is_named_unless_only_this_machine_can_connect() {
        let mut settings = config::Settings::default();
        settings.listeners[0].demo_page = true;
        settings.echo.enabled = true;
        let tcp = |text: &str| config::ListenAddress::Tcp(text.parse().expect("an address"));
        let unix = config::ListenAddress::Unix("/run/roost/clients.sock".to_owned());
        let local = ["127.0.0.1:80", "127.9.9.9:80", "[::1]:80"].map(tcp);
        for quiet in local.into_iter().chain([unix]) {
            settings.listeners[0].address = quiet.clone();
            assert!(
                open_to_all(&settings.listeners[0], &settings).is_empty(),
                "{quiet}"
            );
        }
        for open in ["0.0.0.0:80", "[::]:80", "192.0.2.7:80"] {
            settings.listeners[0].address = tcp(open);
            let all = open_to_all(&settings.listeners[0], &settings).join("; ");
            for part in ["listener.demo_page", "echo.enabled", "[channels]"] {
                assert!(all.contains(part), "{open}: {all}");
            }
        }
        settings.listeners[0].demo_page = false;
        settings.listeners[0].dialects = vec!["raw".to_owned()];
        let all = open_to_all(&settings.listeners[0], &settings).join("; ");
        assert!(!all.contains("echo") && all.contains("[channels]"), "{all}");
        settings.channels.publish = Publish::Nobody;
        assert!(open_to_all(&settings.listeners[0], &settings).is_empty());
    }
}
