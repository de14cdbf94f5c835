//! What a person sees while a run goes on: one line on a terminal, nothing elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::Sample;
use crate::preflight::mebibytes;
use crate::terminal;

/// The line, and what is said beside it. All of it goes to standard error.
pub struct Progress {
    bar: ProgressBar,
    terminal: bool,
    quiet: bool,
    phase: String,
    target: u64,
    last: Sample,
}

impl Progress {
    /// Shows progress if standard error is a terminal, and says facts unless `quiet`.
    pub fn new(quiet: bool) -> Progress {
        let terminal = std::io::stderr().is_terminal() && !quiet;
        let bar = if terminal {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {msg}") {
                bar.set_style(style);
            }
            bar
        } else {
            ProgressBar::hidden()
        };
        Progress {
            bar,
            terminal,
            quiet,
            phase: String::new(),
            target: 0,
            last: Sample::default(),
        }
    }

    /// Lines that stay.
    pub fn say(&self, lines: &[String]) {
        if self.quiet {
            return;
        }
        for line in lines {
            if self.terminal {
                self.bar.println(line);
            } else {
                terminal::say(line);
            }
        }
    }

    /// A phase begins, in a run that wants `target` connections.
    pub fn phase(&mut self, name: &str, target: u64) {
        name.clone_into(&mut self.phase);
        self.target = target;
        if !self.terminal {
            self.say(&[format!("… {name}")]);
        }
    }

    /// The state at a moment.
    pub fn show(&mut self, sample: &Sample) {
        let seconds = (sample.s - self.last.s).max(1e-3);
        let opened = sample.held.saturating_sub(self.last.held) as f64 / seconds;
        let received = sample.received.saturating_sub(self.last.received) as f64 / seconds;
        let pss = sample.pss_bytes.or(self.last.pss_bytes);
        let memory = pss.map_or_else(String::new, |pss| format!("  server {}", mebibytes(pss)));
        self.bar.set_message(format!(
            "{:<12} {:>9}/{} held  {:>5} opening  {:>5} lost  {opened:>7.0} new/s  \
             {received:>9.0} received/s{memory}",
            self.phase, sample.held, self.target, sample.opening, sample.lost
        ));
        self.bar.tick();
        self.last = Sample {
            pss_bytes: pss,
            ..*sample
        };
    }

    /// The run is over.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
