//! Writes manual pages and completions of all programs into a directory:
//!
//!     cargo run -q -p roost-load --example pages -- DIRECTORY
//!
//! `man1/*.1`, `bash/*`, `zsh/*` and `fish/*`, made of the programs' own command lines. An example, so that
//! what it needs slows no build.

use std::error::Error;
use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate_to};

/// The daemon is no library: its command line stands in a file of its own.
#[path = "../../crates/roostd/src/cli.rs"]
mod cli;

/// What the daemon's command line parses with; nothing is parsed here.
mod token {
    pub(crate) fn parse_seconds(text: &str) -> Result<u64, String> {
        Err(format!("{text}: not parsed here"))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args_os().nth(1);
    let directory = directory.ok_or("usage: pages DIRECTORY")?;
    let directory = Path::new(&directory);
    let programs = [
        cli::Cli::command(),
        roost_ctl::command(),
        roost_load::cli::Cli::command(),
    ];
    for program in programs {
        write_program(directory, program)?;
    }
    Ok(())
}

fn write_program(directory: &Path, mut program: Command) -> Result<(), Box<dyn Error>> {
    let name = program.get_name().to_owned();
    for (shell, folder) in [
        (Shell::Bash, "bash"),
        (Shell::Zsh, "zsh"),
        (Shell::Fish, "fish"),
    ] {
        let folder = directory.join(folder);
        fs::create_dir_all(&folder)?;
        generate_to(shell, &mut program, &name, folder)?;
    }
    let pages = directory.join("man1");
    fs::create_dir_all(&pages)?;
    clap_mangen::generate_to(program, pages)?;
    Ok(())
}
