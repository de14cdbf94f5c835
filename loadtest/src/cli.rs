//! The command line, and the plans its subcommands stand for.

mod common;
mod recover;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::compare;
use crate::dialect::Dialect;
use crate::plan::{Echo, Group, Loss, Phase, Plan, Publish, Role, Settings, Step, Target, Topic};
use crate::scenario;

pub use common::{CliDriver, Common};
use common::{DEFAULT_URL, listeners, named, one_topic, phase};

/// Opens very many WebSockets, keeps them busy or quiet, and checks every message.
///
/// Works against any WebSocket server: give its URL, with {channel} in the path where the channel's
/// name goes. Exit status 1 if a connection or a message was lost, 2 if nothing was run.
#[derive(Parser)]
#[command(name = "roost-load", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Open connections and hold them
    Idle(Idle),
    /// Send messages that come back
    #[command(name = "echo")]
    EchoBack(EchoBack),
    /// Publish to subscribers and check every delivery
    Fanout(Fanout),
    /// Drop a share of the subscribers at once while messages go on
    Storm(Storm),
    /// Drop all subscribers, publish meanwhile, and have them recover what they missed
    Recover(recover::Recover),
    /// Run a scenario from a file
    Mixed(Mixed),
    /// Run a scenario against several servers in turn
    Compare(Compare),
    /// Write one HTML page about runs
    Report(Report),
    /// Hold the results of loadtest/million.sh against their bars
    MillionTable(MillionTable),
    /// Accept TCP connections and hold them: a floor to compare a server with
    AcceptLoop(AcceptLoop),
    /// Send every message to every connection and nothing else: a floor likewise
    Floor(Floor),
}

/// `idle`.
#[derive(Args)]
pub struct Idle {
    #[command(flatten)]
    common: Common,
    /// How many connections
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1_000)]
    connections: u32,
    /// Stop at these numbers on the way, and say what memory they take
    #[arg(
        long,
        value_name = "N,N,…",
        value_delimiter = ',',
        conflicts_with = "connections"
    )]
    steps: Vec<u32>,
    /// How long to hold them
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = scenario::duration)]
    hold: Duration,
    /// Spread them over so many channels
    #[arg(long, value_name = "N", default_value_t = 1)]
    channels: u32,
    /// Each on a channel of its own
    #[arg(long, conflicts_with = "channels")]
    own_channels: bool,
    /// What they speak
    #[arg(long, default_value = "raw", value_parser = named)]
    dialect: &'static dyn Dialect,
    /// TCP only, without a WebSocket handshake
    #[arg(long)]
    bare: bool,
}

/// `echo`.
#[derive(Args)]
pub struct EchoBack {
    #[command(flatten)]
    common: Common,
    /// How many connections
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    connections: u32,
    /// Messages in flight on each
    #[arg(long, short = 'm', value_name = "N", default_value_t = 1)]
    in_flight: u32,
    /// Payload bytes
    #[arg(long, value_name = "BYTES", default_value_t = 125)]
    size: usize,
    /// Messages a second in all, by a schedule that does not wait for answers [default: as fast as they
    /// come back]
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// echo, or a dialect whose publishers receive what they publish in a channel of their own: centrifugo
    #[arg(long, default_value = "echo", value_parser = named)]
    dialect: &'static dyn Dialect,
    /// How long
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = scenario::duration)]
    time: Duration,
    /// Not measured before that
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = scenario::duration)]
    warm_up: Duration,
    /// Quiet connections beside them, on one raw channel
    #[arg(long, value_name = "N", default_value_t = 0)]
    beside: u32,
}

/// `fanout`.
#[derive(Args)]
pub struct Fanout {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    talk: Talk,
    /// How long
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = scenario::duration)]
    time: Duration,
    /// Not measured before that
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = scenario::duration)]
    warm_up: Duration,
}

/// `storm`.
#[derive(Args)]
pub struct Storm {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    talk: Talk,
    /// The share of subscribers to drop, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    share: f64,
    /// How long each of before, storm and after
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = scenario::duration)]
    time: Duration,
}

/// Subscribers and publishers.
#[derive(Args)]
struct Talk {
    /// How many subscribers
    #[arg(long, short = 'n', value_name = "N", default_value_t = 500)]
    subscribers: u32,
    /// How many channels, the subscribers dealt out to them
    #[arg(long, short = 'c', value_name = "N", default_value_t = 1)]
    channels: u32,
    /// How many publishers, dealt out likewise
    #[arg(long, short = 'p', value_name = "N", default_value_t = 1)]
    publishers: u32,
    /// Messages a second in all [default of fanout: as fast as they are delivered; of storm: 100]
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// Messages of a publisher under way where there is no rate
    #[arg(long, value_name = "N", default_value_t = 8)]
    window: u32,
    /// Publish so many at once, and again when all have been delivered to all (one publisher)
    #[arg(long, conflicts_with = "rate")]
    together: bool,
    /// Payload bytes
    #[arg(long, value_name = "BYTES", default_value_t = 125)]
    size: usize,
    /// What subscribers speak: all dialects but echo
    #[arg(long, default_value = "raw", value_parser = named)]
    dialect: &'static dyn Dialect,
    /// What publishers speak [default: the same, or raw where that cannot publish]
    #[arg(long, value_name = "DIALECT", value_parser = named)]
    publish_dialect: Option<&'static dyn Dialect>,
    /// Subscribers that were dropped go on where they were: centrifugo and sse
    #[arg(long)]
    recover: bool,
}

/// `mixed`.
#[derive(Args)]
pub struct Mixed {
    /// The scenario
    #[arg(value_name = "SCENARIO.toml")]
    pub file: PathBuf,
    #[command(flatten)]
    common: Common,
}

/// `compare`.
#[derive(Args)]
pub struct Compare {
    /// The scenario, with groups that speak raw or echo
    #[arg(value_name = "SCENARIO.toml")]
    pub file: PathBuf,
    /// The servers, by their names in servers.toml
    #[arg(value_name = "SERVER", required = true)]
    servers: Vec<String>,
    /// One of them that ratios are to; several times, if you like [default: the first]
    #[arg(long, value_name = "SERVER")]
    against: Vec<String>,
    /// How often each runs
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// The directory of the servers: run and servers.toml
    #[arg(long, value_name = "DIR", default_value = "loadtest/peers")]
    peers: PathBuf,
    /// Driver of the clients' sockets
    #[arg(long, value_enum, default_value_t = CliDriver::Auto)]
    driver: CliDriver,
    /// Threads of clients with a driver each [default: as many as are needed]
    #[arg(long, value_name = "N")]
    rings: Option<usize>,
    /// Write all runs to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Seed of masks and keys
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Say nothing but the table
    #[arg(long, short)]
    pub quiet: bool,
}

impl Compare {
    /// What the options stand for.
    pub fn options(&self) -> compare::Options {
        compare::Options {
            peers: self.peers.clone(),
            servers: self.servers.clone(),
            against: self.against.clone(),
            rounds: self.rounds,
            settings: Settings {
                driver: self.driver.choice(),
                rings: self.rings,
                seed: self.seed,
                ..Settings::default()
            },
        }
    }
}

/// `floor`.
#[derive(Args)]
pub struct Floor {
    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Join what comes together into one send to each
    #[arg(long)]
    pub join: bool,
}

/// `report`.
#[derive(Args)]
pub struct Report {
    /// Results of runs (--json)
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// The page to write
    #[arg(long, short, value_name = "FILE", default_value = "report.html")]
    pub out: PathBuf,
}

/// `million-table`.
#[derive(Args)]
pub struct MillionTable {
    /// The directory of the results: million-RUN.json
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// The runs that must be there, and the only ones that count [default: what is there]
    #[arg(value_name = "RUN")]
    pub runs: Vec<String>,
    /// How many connections should have been held
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1_000_000)]
    pub connections: u64,
}

/// `accept-loop`.
#[derive(Args)]
pub struct AcceptLoop {
    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Threads with a driver each
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub loops: usize,
    /// io_uring with so many direct slots in each [default: epoll]
    #[arg(long, value_name = "N")]
    pub direct_slots: Option<u32>,
}

impl Idle {
    /// Opens, holds, closes.
    fn plan(&self) -> Result<Plan, String> {
        let mut steps = self.steps.clone();
        steps.sort_unstable();
        let connections = steps.last().copied().unwrap_or(self.connections);
        let topic = match self.own_channels {
            true => Topic {
                name: "own:{}".to_owned(),
                channels: connections,
            },
            false => Topic {
                name: "load".to_owned(),
                channels: self.channels,
            },
        };
        let mut phases: Vec<Phase> = if steps.is_empty() {
            vec![phase("open", Step::Open(None))]
        } else {
            // A first wave takes what is taken once: the slope is that of connections alone.
            let warm_up = [
                phase("warm-up", Step::Open(steps.first().copied())),
                phase("warm-up: close", Step::Close),
            ];
            let open = |&upto: &u32| phase(&format!("open {upto}"), Step::Open(Some(upto)));
            warm_up.into_iter().chain(steps.iter().map(open)).collect()
        };
        phases.push(phase("hold", Step::Hold(self.hold)));
        phases.push(phase("close", Step::Close));
        Ok(Plan {
            name: "idle".to_owned(),
            target: Target::parse(&self.common.url, &self.common.address)?,
            settings: Settings {
                bare: self.bare,
                ..self.common.settings()
            },
            topics: vec![topic],
            groups: vec![Group {
                name: "quiet".to_owned(),
                count: connections,
                dialect: self.dialect,
                subscribe: if self.dialect.channels_max() > 0 {
                    vec![0]
                } else {
                    Vec::new()
                },
                recovers: false,
                role: Role::Listen,
            }],
            phases,
            after: None,
        })
    }
}

impl EchoBack {
    fn plan(&self) -> Result<Plan, String> {
        let mut groups = Vec::new();
        if self.beside > 0 {
            groups.push(listeners("quiet", self.beside, named("raw")?));
        }
        let mut topics = vec![one_topic(1)];
        let mut subscribe = Vec::new();
        if self.dialect.receives_own() {
            subscribe.push(topics.len());
            topics.push(Topic {
                name: "echo:{}".to_owned(),
                channels: self.connections,
            });
        }
        groups.push(Group {
            name: "busy".to_owned(),
            count: self.connections,
            dialect: self.dialect,
            subscribe,
            recovers: false,
            role: Role::Echo(Echo {
                rate: self.rate,
                in_flight: self.in_flight,
                size: self.size,
            }),
        });
        Ok(Plan {
            name: "echo".to_owned(),
            target: Target::parse(&self.common.url, &self.common.address)?,
            settings: self.common.settings(),
            topics,
            groups,
            phases: measured(self.warm_up, self.time),
            after: None,
        })
    }
}

impl Fanout {
    fn plan(&self) -> Result<Plan, String> {
        self.talk.plan(
            "fanout",
            &self.common,
            self.talk.rate,
            measured(self.warm_up, self.time),
        )
    }
}

impl Storm {
    fn plan(&self) -> Result<Plan, String> {
        if !(0.0..=1.0).contains(&self.share) {
            return Err(format!("--share {}: expected 0 to 1", self.share));
        }
        let loss = Loss {
            group: 0,
            share: self.share,
        };
        let phases = vec![
            phase("open", Step::Open(None)),
            phase("before", Step::Traffic(self.time, None)),
            phase("storm", Step::Traffic(self.time, Some(loss))),
            phase("after", Step::Traffic(self.time, None)),
            phase("close", Step::Close),
        ];
        let rate = self.talk.rate.unwrap_or(STORM_RATE);
        self.talk.plan("storm", &self.common, Some(rate), phases)
    }
}

impl Talk {
    fn plan(
        &self,
        name: &str,
        common: &Common,
        rate: Option<f64>,
        phases: Vec<Phase>,
    ) -> Result<Plan, String> {
        let usual = match self.dialect.publishes() {
            true => self.dialect,
            false => named("raw")?,
        };
        Ok(Plan {
            name: name.to_owned(),
            target: Target::parse(&common.url, &common.address)?,
            settings: common.settings(),
            topics: vec![one_topic(self.channels)],
            groups: vec![
                Group {
                    recovers: self.recover,
                    ..listeners("subscribers", self.subscribers, self.dialect)
                },
                Group {
                    name: "publishers".to_owned(),
                    count: self.publishers,
                    dialect: self.publish_dialect.unwrap_or(usual),
                    subscribe: Vec::new(),
                    recovers: false,
                    role: Role::Publish(Publish {
                        topic: 0,
                        rate,
                        window: self.window,
                        together: self.together,
                        size: self.size,
                    }),
                },
            ],
            phases,
            after: None,
        })
    }
}

impl Mixed {
    fn plan(&self) -> Result<Plan, String> {
        let scenario = scenario::read(&self.file)?;
        let url = match (&scenario.url, self.common.url.as_str()) {
            (Some(url), DEFAULT_URL) => url,
            (_, url) => url,
        };
        Ok(Plan {
            name: scenario.name,
            target: Target::parse(url, &self.common.address)?,
            settings: self.common.settings(),
            topics: scenario.topics,
            groups: scenario.groups,
            phases: scenario.phases,
            after: scenario.after,
        })
    }
}

/// The plan a subcommand stands for, with where to write and whether to be quiet; `None` for those
/// that run nothing.
///
/// # Errors
/// What cannot be understood, for people.
pub fn plan_of(command: &Command) -> Result<Option<(Plan, &Common)>, String> {
    Ok(Some(match command {
        Command::Idle(idle) => (idle.plan()?, &idle.common),
        Command::EchoBack(echo) => (echo.plan()?, &echo.common),
        Command::Fanout(fanout) => (fanout.plan()?, &fanout.common),
        Command::Storm(storm) => (storm.plan()?, &storm.common),
        Command::Recover(recover) => (recover.plan()?, recover.common()),
        Command::Mixed(mixed) => (mixed.plan()?, &mixed.common),
        Command::Compare(_)
        | Command::Report(_)
        | Command::MillionTable(_)
        | Command::AcceptLoop(_)
        | Command::Floor(_) => return Ok(None),
    }))
}

fn measured(warm_up: Duration, time: Duration) -> Vec<Phase> {
    let mut phases = vec![phase("open", Step::Open(None))];
    if !warm_up.is_zero() {
        phases.push(phase("warm-up", Step::Traffic(warm_up, None)));
    }
    phases.push(phase("traffic", Step::Traffic(time, None)));
    phases.push(phase("close", Step::Close));
    phases
}

/// A rate that leaves a server time for new connections.
const STORM_RATE: f64 = 100.0;
