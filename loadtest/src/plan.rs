//! What a run does: topics, groups of connections, and phases. Every subcommand makes one of these,
//! and one engine carries it out.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::ops::Range;
use std::time::Duration;

use roost_tls::Trust;

use crate::dialect::Dialect;

/// A whole run.
#[derive(Clone)]
pub struct Plan {
    /// The subcommand, or the scenario's name.
    pub name: String,
    /// Where to connect.
    pub target: Target,
    /// How to connect, and what to watch.
    pub settings: Settings,
    /// What is spoken about. Topic `t` has channels numbered from `topics[..t]`'s sum.
    pub topics: Vec<Topic>,
    /// The clients that connect.
    pub groups: Vec<Group>,
    /// What happens, in order.
    pub phases: Vec<Phase>,
    /// How the server should be at the end.
    pub after: Option<After>,
}

/// How the server should be when all is over: what it was before anything was opened.
#[derive(Debug, Clone, PartialEq)]
pub struct After {
    /// By which share its memory may be above that, if it is watched.
    pub memory_within: f64,
    /// The phase at whose end the memory is what it should come back to, instead of that before
    /// anything was opened: one that warmed the server up.
    pub memory_of: Option<String>,
    /// Counters of [`Settings::server_stats`] that must be back where they were.
    pub counters_return: Vec<String>,
    /// How long it may take.
    pub within: Duration,
}

/// Channels of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// The channel's name; with several channels, `{}` in it is the channel's index, or the index
    /// is appended.
    pub name: String,
    /// How many channels. Subscribers and publishers are dealt out to them in turn.
    pub channels: u32,
}

/// Connections of one kind.
#[derive(Clone)]
pub struct Group {
    /// For people.
    pub name: String,
    /// How many connections.
    pub count: u32,
    /// What they speak.
    pub dialect: &'static dyn Dialect,
    /// The topics each is subscribed to: one channel of each.
    pub subscribe: Vec<usize>,
    /// Connections that were dropped come back with the position they had in each channel, and go on from
    /// there. Otherwise they begin anew.
    pub recovers: bool,
    /// What they do while there is traffic.
    pub role: Role,
}

/// What the connections of a group do while there is traffic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Role {
    /// They listen.
    Listen,
    /// They publish.
    Publish(Publish),
    /// They send to themselves.
    Echo(Echo),
}

/// Publishing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Publish {
    /// The topic. Publisher `p` publishes in channel `p % channels`.
    pub topic: usize,
    /// Messages a second of the whole group; `None`: as fast as they are delivered.
    pub rate: Option<f64>,
    /// Messages of one publisher not yet delivered to all, where there is no rate.
    pub window: u32,
    /// The window is filled only when it is empty: so many messages at once, and the next when all
    /// have been delivered to all.
    pub together: bool,
    /// Payload bytes.
    pub size: usize,
}

/// Echoing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Echo {
    /// Messages a second of the whole group; `None`: the next as soon as one is back.
    pub rate: Option<f64>,
    /// Messages in flight on one connection.
    pub in_flight: u32,
    /// Payload bytes.
    pub size: usize,
}

/// A part of the run, measured by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// For people.
    pub name: String,
    /// What happens.
    pub step: Step,
}

/// What happens in a phase.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// Opens connections, group by group, until so many are held; `None`: all.
    Open(Option<u32>),
    /// Nothing is sent but answers to pings.
    Hold(Duration),
    /// Publishers and echoing connections work, and at the beginning some connections are dropped
    /// and come again.
    Traffic(Duration, Option<Loss>),
    /// Each publisher publishes so many messages, of so many bytes if that is another size than usual.
    PublishEach(u32, Option<usize>),
    /// Connections are dropped and come again.
    Reconnect(Loss),
    /// Connections are dropped and stay away.
    Leave(Loss),
    /// Those that are away come back, all at once, and receive what they have missed.
    Return,
    /// All connections close, as RFC 6455 has it.
    Close,
}

/// Connections to drop without a word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss {
    /// Of which group.
    pub group: usize,
    /// Which part of it, 0 to 1.
    pub share: f64,
}

/// How to connect, and what to watch.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The driver of the clients' sockets.
    pub driver: DriverChoice,
    /// Rings: threads with a driver each; `None`: as many as are needed.
    pub rings: Option<usize>,
    /// New connections a second; `None`: as fast as the server takes them.
    pub connect_rate: Option<f64>,
    /// Handshakes in flight at once, all rings together; `None`: see
    /// [`Plan::connects_in_flight_max`].
    pub connects_in_flight_max: Option<u32>,
    /// A handshake that takes longer has failed.
    pub connect_timeout: Duration,
    /// Connect TCP only: a connection counts as held without a WebSocket handshake.
    pub bare: bool,
    /// A process to watch.
    pub server_pid: Option<u32>,
    /// Read the server's counters from `GET /stats` of this admin listener, a unix socket's path or
    /// an address and port.
    pub server_stats: Option<String>,
    /// Which servers to trust, with `wss://`; `None`: those that the system's authorities vouch for.
    pub trust: Option<Trust>,
    /// How long to wait at the end of a phase before memory is read.
    pub memory_wait: Duration,
    /// Run although the machine does not allow it.
    pub force: bool,
    /// Seed of masks, keys and choices.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            driver: DriverChoice::Auto,
            rings: None,
            connect_rate: None,
            connects_in_flight_max: None,
            connect_timeout: Duration::from_secs(30),
            bare: false,
            server_pid: None,
            server_stats: None,
            trust: None,
            memory_wait: Duration::from_secs(1),
            force: false,
            seed: 1,
        }
    }
}

/// Which driver the clients use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriverChoice {
    /// epoll where it suffices, io_uring for precise schedules and more connections than files.
    Auto,
    /// epoll, all sockets in one limit on open files.
    Epoll,
    /// io_uring with direct descriptors: the limit on open files holds for each ring.
    Uring,
}

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// TLS below WebSocket: `wss://`.
    pub tls: bool,
    /// Host and port as in the URL.
    pub authority: String,
    /// The host alone, a name or an address: what a certificate must be for.
    pub host: String,
    /// Path and query as in the URL; empty: the dialect's own.
    pub path: String,
    /// Addresses to dial, in turn.
    pub addresses: Vec<SocketAddr>,
}

impl Target {
    /// Reads `ws://host:port/path`, or the same with `wss`. `addresses` replaces the host's when not
    /// empty: addresses or ranges of IPv4 addresses (`127.0.0.1-127.0.0.60`).
    ///
    /// # Errors
    /// What cannot be used of it.
    pub fn parse(url: &str, addresses: &[String]) -> Result<Target, String> {
        let (tls, rest) = match (url.strip_prefix("ws://"), url.strip_prefix("wss://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => {
                return Err(format!(
                    "{url}: expected ws://HOST:PORT/PATH or wss://HOST:PORT/PATH"
                ));
            }
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (host, dial) = match authority.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => (host, authority.to_owned()),
            _ if tls => (authority, format!("{authority}:443")),
            _ => (authority, format!("{authority}:80")),
        };
        let address = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = address.unwrap_or(host).to_owned();
        let mut resolved = dial
            .to_socket_addrs()
            .map_err(|error| format!("{dial}: {error}"))?;
        let first = resolved
            .next()
            .ok_or_else(|| format!("{dial}: has no address"))?;
        let addresses = if addresses.is_empty() {
            vec![first]
        } else {
            let mut all = Vec::new();
            for range in addresses {
                for ip in ip_range(range)? {
                    all.push(SocketAddr::new(ip, first.port()));
                }
            }
            all
        };
        Ok(Target {
            tls,
            authority: authority.to_owned(),
            host,
            path: if path == "/" {
                String::new()
            } else {
                path.to_owned()
            },
            addresses,
        })
    }

    /// Takes more addresses of 127.0.0.0/8 until `connections` fit the source ports of each, if
    /// the one there is lies in it.
    pub fn spread(&mut self, connections: u64, ports: u64) {
        let [only] = self.addresses[..] else {
            return;
        };
        let IpAddr::V4(ip) = only.ip() else { return };
        if !ip.is_loopback() {
            return;
        }
        // The kernel looks for a free port by trying every second one, and tries the other half only
        // when all of those are taken: from there on each connect takes milliseconds of CPU time
        // (100,000 connections to three addresses stood still at 97,000).
        let each = (ports * 4 / 10).max(1);
        let wanted = connections.div_ceil(each).clamp(1, 250);
        self.addresses = (0..wanted)
            .map(|n| {
                let ip = Ipv4Addr::from_bits(ip.to_bits() + n as u32);
                SocketAddr::new(IpAddr::V4(ip), only.port())
            })
            .collect();
    }
}

fn ip_range(text: &str) -> Result<Vec<IpAddr>, String> {
    let parse = |part: &str| {
        part.trim()
            .parse::<IpAddr>()
            .map_err(|_| format!("{part}: not an IP address"))
    };
    match text.split_once('-') {
        None => Ok(vec![parse(text)?]),
        Some((first, last)) => match (parse(first)?, parse(last)?) {
            (IpAddr::V4(first), IpAddr::V4(last))
                if first <= last && last.to_bits() - first.to_bits() < 65_536 =>
            {
                Ok((first.to_bits()..=last.to_bits())
                    .map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)))
                    .collect())
            }
            _ => Err(format!("{text}: not a range of IPv4 addresses")),
        },
    }
}

impl Topic {
    /// The name of channel `index`.
    pub fn channel_name(&self, index: u32) -> String {
        if self.name.contains("{}") {
            self.name.replace("{}", &index.to_string())
        } else if self.channels == 1 {
            self.name.clone()
        } else {
            format!("{}{index}", self.name)
        }
    }
}

impl Plan {
    /// Connections of all groups.
    pub fn connections(&self) -> u64 {
        self.groups.iter().map(|group| u64::from(group.count)).sum()
    }

    /// Handshakes in flight at once, all rings together. A client's part of one with TLS is about
    /// half a millisecond of a core: more at once only wait for each other, for a time that looks
    /// like the server's.
    pub fn connects_in_flight_max(&self) -> u32 {
        let usual = if self.target.tls { 64 } else { 1_024 };
        self.settings.connects_in_flight_max.unwrap_or(usual)
    }

    /// The numbers of a topic's channels.
    pub fn channels_of(&self, topic: usize) -> Range<u32> {
        let start = self.topics[..topic].iter().map(|t| t.channels).sum();
        start..start + self.topics[topic].channels
    }

    /// The group that publishes in a topic.
    pub fn publishers_of(&self, topic: usize) -> Option<(usize, Publish)> {
        self.groups
            .iter()
            .enumerate()
            .find_map(|(index, group)| match group.role {
                Role::Publish(publish) if publish.topic == topic => Some((index, publish)),
                _ => None,
            })
    }

    /// The number of a group's first member among all connections: a publisher's number in
    /// payloads is this plus its index.
    pub fn first_of(&self, group: usize) -> u32 {
        self.groups[..group].iter().map(|group| group.count).sum()
    }

    /// One more than the highest number of a publisher; 0 without publishers.
    pub fn publishers_end(&self) -> u32 {
        let publishing = |group: &Group| matches!(group.role, Role::Publish(_));
        (0..self.groups.len())
            .filter(|&index| publishing(&self.groups[index]))
            .map(|index| self.first_of(index) + self.groups[index].count)
            .max()
            .unwrap_or(0)
    }

    /// Subscribers of one channel of a topic, at least (some channels have one more).
    pub fn subscribers_each(&self, topic: usize) -> u64 {
        let all: u64 = self
            .groups
            .iter()
            .filter(|group| group.subscribe.contains(&topic))
            .map(|group| u64::from(group.count))
            .sum();
        all / u64::from(self.topics[topic].channels)
    }

    /// Whether echoes go by a schedule. epoll waits in whole milliseconds, which is too coarse for
    /// one message's way; io_uring receives by more requests, which is too slow for a fan-out.
    pub fn wants_fine_waits(&self) -> bool {
        let by_schedule =
            |group: &Group| matches!(group.role, Role::Echo(echo) if echo.rate.is_some());
        self.groups.iter().any(by_schedule)
    }

    /// Finds what contradicts itself.
    ///
    /// # Errors
    /// All mistakes, a line each.
    pub fn check(&self) -> Result<(), String> {
        let mut mistakes = Vec::new();
        if self.connections() == 0 {
            mistakes.push("there are no connections".to_owned());
        }
        for topic in &self.topics {
            if topic.channels == 0 {
                mistakes.push(format!("topic {}: no channels", topic.name));
            }
        }
        for topic in 0..self.topics.len() {
            let publishing = self.groups.iter().filter(
                |group| matches!(group.role, Role::Publish(publish) if publish.topic == topic),
            );
            if publishing.count() > 1 {
                let name = &self.topics[topic].name;
                mistakes.push(format!("topic {name}: more than one group publishes"));
            }
        }
        for group in &self.groups {
            self.check_group(group, &mut mistakes);
        }
        if mistakes.is_empty() {
            Ok(())
        } else {
            Err(mistakes.join("\n"))
        }
    }

    fn check_group(&self, group: &Group, mistakes: &mut Vec<String>) {
        let name = &group.name;
        let dialect = group.dialect.name();
        let mut mistake = |text: String| mistakes.push(format!("group {name}: {text}"));
        let max = group.dialect.channels_max();
        if group.subscribe.len() > max {
            mistake(format!("dialect {dialect} takes at most {max} channels"));
        }
        if group.recovers && !group.dialect.recovers() {
            mistake(format!(
                "dialect {dialect} has no positions to recover from"
            ));
        }
        if group.recovers && group.role != Role::Listen {
            mistake("only a group that listens recovers".to_owned());
        }
        match group.role {
            Role::Listen => {}
            Role::Publish(_) if !group.subscribe.is_empty() => {
                mistake("a publisher does not subscribe as well: use two groups".to_owned());
            }
            Role::Publish(_) if max == 0 => {
                mistake(format!("dialect {dialect} has no channels to publish in"));
            }
            Role::Publish(_) if !group.dialect.publishes() => {
                mistake(format!(
                    "dialect {dialect} cannot publish: use another for publishers"
                ));
            }
            Role::Publish(publish) => {
                if publish.together && (publish.rate.is_some() || group.count > 1) {
                    mistake("together is for one publisher without a rate".to_owned());
                }
                if publish
                    .rate
                    .is_some_and(|rate| !(rate > 0.0 && rate.is_finite()))
                {
                    mistake("the rate must be positive".to_owned());
                }
            }
            Role::Echo(echo) => {
                let own = match group.subscribe[..] {
                    [topic] => self.topics[topic].channels >= group.count,
                    _ => false,
                };
                match group.dialect.receives_own() {
                    true if !own => mistake(format!(
                        "dialect {dialect} echoes in a channel of each connection's own: subscribe to one \
                         topic with as many channels as connections"
                    )),
                    false if !group.dialect.echoes() => {
                        mistake(format!("dialect {dialect} does not echo"));
                    }
                    _ => {}
                }
                if echo.in_flight == 0 {
                    mistake("nothing in flight echoes nothing".to_owned());
                }
                if echo
                    .rate
                    .is_some_and(|rate| !(rate > 0.0 && rate.is_finite()))
                {
                    mistake("the rate must be positive".to_owned());
                }
            }
        }
    }
}
