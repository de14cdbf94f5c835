//! `roostctl`: what a person on call asks a running daemon, and has it do.
//!
//! It speaks HTTP over the daemon's admin socket (`docs/operating.md`), one request a connection, and owns
//! nothing but how answers look. What is true of a connection, and what is wrong with it, the daemon
//! says.
//!
//! | to read about | look at |
//! |---|---|
//! | the command line | `cli.rs` |
//! | requests, and what keeps them from being answered | `client.rs` |
//! | what each command asks and prints | `commands.rs` |
//! | the screen about one connection | `why.rs` |
//! | the live screen | `top.rs` |
//! | tables and numbers for people | `table.rs` |

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod cli;
mod client;
mod commands;
mod drain;
mod output;
mod table;
mod tail;
mod top;
mod why;

use std::process::ExitCode;

/// Does what the command line asks for.
pub fn run() -> ExitCode {
    let cli: cli::Cli = output::parse_command_line();
    match commands::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::fail(&error),
    }
}

/// The command line, for completions and manual pages.
pub fn command() -> clap::Command {
    <cli::Cli as clap::CommandFactory>::command()
}
