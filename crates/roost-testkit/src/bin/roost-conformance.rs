//! Asks a WebSocket server all that RFC 6455 wants of it, and says what it answered.

#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::fs;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use roost_testkit::client::Failure;
use roost_testkit::conformance::{self, Finding, Target, Verdict};
use roost_testkit::server::{Backend, TestServer};

/// Asks a WebSocket server all that RFC 6455 wants of it, and says what it answered.
///
/// The server must send each message on the echo path back as it came. What it lacks besides is
/// skipped. The exit status is 1 when a case fails.
#[derive(Debug, Parser)]
#[command(name = "roost-conformance", version)]
struct Arguments {
    /// The server, as `ws://HOST[:PORT]` or `wss://HOST[:PORT]`. Any certificate will do.
    #[arg(required_unless_present_any = ["own", "list"])]
    url: Option<String>,
    /// Asks Roost itself, started in this process, on each driver, without TLS and with it.
    #[arg(long, conflicts_with = "url")]
    own: bool,
    /// The path that sends each message back.
    #[arg(long, default_value = "/echo")]
    echo: String,
    /// A path whose clients receive each other's messages, not their own; names are made by appending "-N".
    #[arg(long)]
    raw: Option<String>,
    /// A subprotocol that the server speaks.
    #[arg(long)]
    subprotocol: Option<String>,
    /// The path where it speaks that, if not the echo path.
    #[arg(long, requires = "subprotocol")]
    subprotocol_path: Option<String>,
    /// The one origin that the server allows, such as `https://app.example`.
    #[arg(long)]
    origin: Option<String>,
    /// Asks only the cases with this in their id or title.
    #[arg(long, default_value = "")]
    filter: String,
    /// How long a case waits for an answer.
    #[arg(long, default_value_t = 5000)]
    timeout_ms: u64,
    /// Cases asked at the same time.
    #[arg(long, default_value_t = 8)]
    jobs: usize,
    /// Lists the cases and asks nothing.
    #[arg(long)]
    list: bool,
    /// Shows passed cases too.
    #[arg(long)]
    all: bool,
    /// Writes the findings to this file as JSON.
    #[arg(long)]
    json: Option<String>,
    /// Prints docs/conformance.md; with --own.
    #[arg(long, requires = "own")]
    markdown: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            // There is nowhere to report a failure to.
            let _ = writeln!(io::stderr(), "{failure}");
            ExitCode::FAILURE
        }
    }
}

/// True when no case failed.
fn run(arguments: &Arguments) -> Result<bool, Failure> {
    if arguments.list {
        for case in conformance::cases() {
            print(&format!("{:34} {} ({})\n", case.id, case.title, case.rfc))?;
        }
        return Ok(true);
    }
    let runs = match &arguments.url {
        Some(url) => vec![("", ask_url(arguments, url)?)],
        None => Backend::ALL
            .iter()
            .map(|&backend| (backend.name(), ask_own(arguments, backend)))
            .collect(),
    };
    if arguments.markdown {
        print(&document(&runs))?;
    } else {
        for (name, findings) in &runs {
            let table = conformance::table(findings, arguments.all);
            print(&format!("{name}\n{table}\n"))?;
        }
    }
    if let Some(file) = &arguments.json {
        let all: String = runs
            .iter()
            .map(|(_, findings)| conformance::json(findings))
            .collect();
        fs::write(file, all)?;
    }
    let failed = |finding: &Finding| matches!(finding.verdict, Verdict::Fail(_));
    Ok(!runs.iter().any(|(_, findings)| findings.iter().any(failed)))
}

/// Writes results. A reader that has gone is a quiet end; results that are lost otherwise are an
/// error. `println!` would panic at both.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

fn ask_url(arguments: &Arguments, url: &str) -> Result<Vec<Finding>, Failure> {
    let target = Target {
        echo: arguments.echo.clone(),
        raw: arguments.raw.clone(),
        subprotocol: arguments.subprotocol.clone(),
        subprotocol_path: arguments.subprotocol_path.clone(),
        origin: arguments.origin.clone(),
        timeout: Duration::from_millis(arguments.timeout_ms),
        ..Target::from_url(url)?
    };
    Ok(conformance::run(&target, &arguments.filter, arguments.jobs))
}

fn ask_own(arguments: &Arguments, backend: Backend) -> Vec<Finding> {
    let server = TestServer::with(backend, 2, conformance::own_settings);
    let target = conformance::own_target(server.address());
    conformance::run(&target, &arguments.filter, arguments.jobs)
}

fn document(runs: &[(&str, Vec<Finding>)]) -> String {
    format!(
        "# Conformance\n\n\
         What a WebSocket server owes its clients, asked case by case. The same program asks any \
         server:\n\n\
         <!-- check: skip tests/conformance asks Roost all of it -->\n\
         ```sh\n\
         cargo run -p roost-testkit --bin roost-conformance -- ws://127.0.0.1:8080 --raw /raw/x\n\
         ```\n\n\
         `--list` names the cases, `--filter masking` asks some, `--help` says the rest. A case is \
         `pass`, `loose` (a SHOULD or a recommendation was not kept), `skip` (the server lacks what \
         it needs) or `FAIL`; the exit status is 1 if one failed. Autobahn's TestSuite asks other \
         things; neither makes the other superfluous.\n\n\
         A server with TLS is asked as `wss://HOST`, whatever its certificate says.\n\n\
         This table is what Roost answers, on each driver, without TLS and with it. It is written by the program, and a test \
         sees that it has all cases:\n\n\
         <!-- check: skip writes this document -->\n\
         ```sh\n\
         cargo run -p roost-testkit --bin roost-conformance -- --own --markdown \
         > docs/conformance.md\n\
         ```\n\n{}",
        conformance::markdown(runs)
    )
}
