//! Makes `config/roost.toml` and the tables of `docs/configuration.md` from the table of keys.
//!
//! Without an argument it prints the tables; `--write` rewrites both files.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => ended(print()),
        ["--write"] => ended(write()),
        _ => ended(Err("expected nothing, or --write".to_owned())),
    }
}

fn ended(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Where this cannot be written either, the status says it.
            let _ = writeln!(std::io::stderr(), "{message}");
            ExitCode::FAILURE
        }
    }
}

fn print() -> Result<(), String> {
    let text = roost_config::reference();
    let written = std::io::stdout().write_all(text.as_bytes());
    written.map_err(|error| format!("standard output: {error}"))
}

fn write() -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (path, make) in roost_config::generated::FILES {
        let path = root.join(path);
        let shown = path.display();
        let old = std::fs::read_to_string(&path).map_err(|error| format!("{shown}: {error}"))?;
        let new = make(&old).ok_or_else(|| format!("{shown}: the marks are missing"))?;
        std::fs::write(&path, new).map_err(|error| format!("{shown}: {error}"))?;
    }
    Ok(())
}
