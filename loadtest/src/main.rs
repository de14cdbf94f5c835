//! `roost-load`: the command line of the load harness.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use roost_load::cli::{self, AcceptLoop, Cli, Command};
use roost_load::output::Document;
use roost_load::progress::Progress;
use roost_load::{bare, run};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match carry_out(&cli.command) {
        Ok(code) => code,
        Err(message) => {
            eprintln!("roost-load: {message}");
            ExitCode::from(EXIT_NOT_RUN)
        }
    }
}

fn carry_out(command: &Command) -> Result<ExitCode, String> {
    if let Command::AcceptLoop(options) = command {
        return accept_loop(options);
    }
    let Some((plan, common)) = cli::plan_of(command)? else {
        return Err("report is not there yet".to_owned());
    };
    let mut progress = Progress::new(common.quiet);
    let document = run::run(&plan, &mut progress)?;
    if let Some(file) = &common.json {
        write_json(&document, file)?;
    }
    print(&document.table());
    Ok(if document.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn write_json(document: &Document, file: &std::path::Path) -> Result<(), String> {
    let wrong = |error: String| format!("{}: {error}", file.display());
    let text = serde_json::to_string(document).map_err(|error| wrong(error.to_string()))?;
    std::fs::write(file, text + "\n").map_err(|error| wrong(error.to_string()))
}

fn accept_loop(options: &AcceptLoop) -> Result<ExitCode, String> {
    let started = |address| print(&format!("{address}\n"));
    bare::accept_loop(options.listen, options.loops, options.direct_slots, started)
        .map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// A closed standard output is no reason to fail.
fn print(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

const EXIT_NOT_RUN: u8 = 2;
