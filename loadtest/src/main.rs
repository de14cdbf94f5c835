//! `roost-load`: the command line of the load harness.

#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use roost_load::cli::{self, AcceptLoop, Cli, Command, Compare, Floor, MillionTable, Report};
use roost_load::compare::{self, Comparison};
use roost_load::output::{Document, FORMAT};
use roost_load::progress::Progress;
use roost_load::terminal::{self, print};
use roost_load::{bare, floor, million, report, run, scenario};
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

fn main() -> ExitCode {
    let cli: Cli = terminal::parse_command_line();
    carry_out(&cli.command).unwrap_or_else(|message| terminal::fail(&message, EXIT_NOT_RUN))
}

fn carry_out(command: &Command) -> Result<ExitCode, String> {
    match command {
        Command::AcceptLoop(options) => return accept_loop(options),
        Command::Floor(options) => return serve_floor(options),
        Command::Report(options) => return write_report(options),
        Command::MillionTable(options) => return million_table(options),
        Command::Compare(options) => return compare_servers(options),
        _ => {}
    }
    let Some((plan, common)) = cli::plan_of(command)? else {
        unreachable!("subcommands without a plan are carried out above");
    };
    let mut progress = Progress::new(common.quiet);
    let stop = stop_on_signals().map_err(|error| format!("signals: {error}"))?;
    let document = run::run_until(&plan, &mut progress, &stop)?;
    if let Some(file) = &common.json {
        write_json(&document, file)?;
    }
    print(&document.table())?;
    Ok(if document.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Set by the first SIGINT or SIGTERM, so that what was found is written; the second ends the
/// process at once.
fn stop_on_signals() -> std::io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

fn compare_servers(options: &Compare) -> Result<ExitCode, String> {
    let scenario = scenario::read(&options.file)?;
    let comparison =
        compare::compare(&scenario, &options.options(), &Progress::new(options.quiet))?;
    if let Some(file) = &options.json {
        write_json(&comparison, file)?;
    }
    print(&comparison.table())?;
    Ok(if comparison.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn write_json(document: &impl Serialize, file: &std::path::Path) -> Result<(), String> {
    let wrong = |error: String| format!("{}: {error}", file.display());
    let text = serde_json::to_string(document).map_err(|error| wrong(error.to_string()))?;
    std::fs::write(file, text + "\n").map_err(|error| wrong(error.to_string()))
}

/// The mark that all our files have.
#[derive(Deserialize)]
struct Marked {
    format: String,
}

fn write_report(options: &Report) -> Result<ExitCode, String> {
    let mut runs: Vec<Document> = Vec::new();
    for file in &options.files {
        let wrong = |error: String| format!("{}: {error}", file.display());
        let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
        let wrong_json = |error: serde_json::Error| wrong(error.to_string());
        let Marked { format } = serde_json::from_str(&text).map_err(wrong_json)?;
        match format.as_str() {
            FORMAT => runs.push(serde_json::from_str(&text).map_err(wrong_json)?),
            compare::FORMAT => {
                let comparison: Comparison = serde_json::from_str(&text).map_err(wrong_json)?;
                runs.extend(comparison.into_documents());
            }
            format => return Err(wrong(format!("format {format}, expected {FORMAT}"))),
        }
    }
    let out = options.out.display();
    std::fs::write(&options.out, report::page(&runs)).map_err(|e| format!("{out}: {e}"))?;
    print(&format!("{out}\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn million_table(options: &MillionTable) -> Result<ExitCode, String> {
    let rows = million::rows(&options.dir, &options.runs, options.connections)?;
    print(&million::table(&rows))?;
    let failed = rows.iter().any(|row| row.verdict == million::Verdict::Fail);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn accept_loop(options: &AcceptLoop) -> Result<ExitCode, String> {
    let started = |address| say_address(address);
    bare::accept_loop(options.listen, options.loops, options.direct_slots, started)
        .map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn serve_floor(options: &Floor) -> Result<ExitCode, String> {
    let started = |address| say_address(address);
    floor::serve(options.listen, options.join, started).map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// Where a server of ours listens. It serves though that may not be read.
fn say_address(address: SocketAddr) {
    if let Err(message) = print(&format!("{address}\n")) {
        terminal::say(&format!("roost-load: {message}"));
    }
}

const EXIT_NOT_RUN: u8 = 2;
