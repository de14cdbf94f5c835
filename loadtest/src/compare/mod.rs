//! Several servers, one scenario, alternately: A B A B. Each is started, measured and ended by itself,
//! and what is printed are ratios within a round, so that what else the machine did in the meantime
//! falls out as far as it can.

mod outcome;
mod peers;
mod table;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::machine::Machine;
use crate::output::Document;
use crate::plan::{Plan, Role, Settings, Step, Target};
use crate::progress::Progress;
use crate::run;
use crate::scenario::Scenario;

use peers::{Peer, Peers};

pub use outcome::{Comparison, FORMAT, Figures, Run};
pub use table::{Row, Spread, median, rows};

/// What to compare, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory with `run` and `servers.toml`.
    pub peers: PathBuf,
    /// The servers by name.
    pub servers: Vec<String>,
    /// Those of them that ratios are to; none: the first.
    pub against: Vec<String>,
    /// How often each runs.
    pub rounds: usize,
    /// How the clients connect. The server's process is filled in.
    pub settings: Settings,
}

/// Carries out all rounds. A server that cannot be started or measured ends the comparison; one
/// that loses something does not: its figures are not shown, and why. `progress` is told each run.
///
/// # Errors
/// When the scenario is none to compare, or a server does not run.
pub fn compare(
    scenario: &Scenario,
    options: &Options,
    progress: &Progress,
) -> Result<Comparison, String> {
    let measured = measured_phase(scenario)?;
    let peers = Peers::read(&options.peers)?;
    let mut comparison = Comparison {
        format: FORMAT.to_owned(),
        name: scenario.name.clone(),
        command: std::env::args().collect(),
        began_unix_s: SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
        machine: Machine::read(),
        against: bases(options)?,
        ..Comparison::default()
    };
    // All mistakes before the first run.
    let mut plans = Vec::new();
    for name in &options.servers {
        let peer = peers.named(name)?;
        plans.push((peer, plan_for(peer, scenario, options)?));
        comparison
            .servers
            .push((name.clone(), peers.version(peer)?));
    }
    for round in 0..options.rounds {
        for (server, (peer, plan)) in plans.iter().enumerate() {
            let document = run_once(&peers, peer, plan.clone())?;
            let figures = Figures::of(&document, measured, plan.connections());
            let (round_of, name) = (options.rounds, &peer.name);
            progress.say(&[format!(
                "round {} of {round_of}: {name}: {figures}",
                round + 1
            )]);
            comparison.runs.push(Run {
                round,
                server,
                figures,
                document,
            });
        }
    }
    Ok(comparison)
}

fn bases(options: &Options) -> Result<Vec<usize>, String> {
    if options.against.is_empty() {
        return Ok(vec![0]);
    }
    let place = |name: &String| {
        let found = options.servers.iter().position(|server| server == name);
        found.ok_or_else(|| format!("against {name}: it is not among the servers"))
    };
    options.against.iter().map(place).collect()
}

fn run_once(peers: &Peers, peer: &Peer, mut plan: Plan) -> Result<Document, String> {
    let wrong = |error: String| format!("{}: {error}", peer.name);
    let running = peers.start(peer).map_err(wrong)?;
    plan.target = Target::parse(&format!("ws://{}", running.address()), &[])?;
    plan.settings.server_pid = Some(running.pid());
    let document = run::run(&plan, &mut Progress::new(true)).map_err(wrong)?;
    drop(running);
    Ok(document)
}

/// The scenario as this server understands it.
fn plan_for(peer: &Peer, scenario: &Scenario, options: &Options) -> Result<Plan, String> {
    let mut groups = scenario.groups.clone();
    for group in &mut groups {
        group.dialect = peer
            .dialect_for(group.dialect)
            .map_err(|why| format!("{}: group {}: {why}", peer.name, group.name))?;
    }
    let plan = Plan {
        name: scenario.name.clone(),
        // Its address is known when it runs.
        target: Target::parse("ws://127.0.0.1:1", &[])?,
        settings: Settings {
            // Memory is read at the end of traffic, where nothing is waited for.
            memory_wait: Duration::ZERO,
            ..options.settings.clone()
        },
        topics: scenario.topics.clone(),
        groups,
        phases: scenario.phases.clone(),
        after: None,
    };
    plan.check()?;
    Ok(plan)
}

/// The phase whose figures count: the last with traffic.
fn measured_phase(scenario: &Scenario) -> Result<usize, String> {
    let does = |wanted: fn(Role) -> bool| scenario.groups.iter().any(|group| wanted(group.role));
    if does(|role| matches!(role, Role::Echo(_))) && does(|role| matches!(role, Role::Publish(_))) {
        return Err("a scenario to compare has echoes or deliveries, not both".to_owned());
    }
    let traffic = |step: &Step| matches!(step, Step::Traffic(..));
    scenario
        .phases
        .iter()
        .rposition(|phase| traffic(&phase.step))
        .ok_or_else(|| "a scenario to compare needs a phase with traffic".to_owned())
}
