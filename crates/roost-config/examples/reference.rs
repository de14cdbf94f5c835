//! Makes `config/roost.toml` and the tables of `docs/configuration.md` from the table of keys.
//!
//! Without an argument it prints the tables; `--write` rewrites both files.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            print!("{}", roost_config::reference());
            ExitCode::SUCCESS
        }
        ["--write"] => match write() {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => {
                eprintln!("{message}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!("expected nothing, or --write");
            ExitCode::FAILURE
        }
    }
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
