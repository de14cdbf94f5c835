//! How the server is when all is over, against how it should be.

use std::collections::BTreeMap;
use std::time::Duration;

use roost_net::clock::now_ns;

use crate::machine;
use crate::output::AfterResult;
use crate::plan::After;
use crate::preflight;
use crate::progress::Progress;
use crate::stats;

use super::{Run, nanos};

impl Run {
    /// Waits until the server is as it was, and says what is not.
    pub(super) fn look_after(&mut self, progress: &mut Progress) -> Result<(), String> {
        let Some(after) = self.plan.after.clone() else {
            return Ok(());
        };
        progress.phase("after", 0);
        let start = now_ns();
        loop {
            let (result, wrong) = self.after_now(&after)?;
            let waited = now_ns() - start;
            if wrong.is_empty() || waited > nanos(after.within) {
                self.document.after = Some(AfterResult {
                    seconds: waited as f64 / 1e9,
                    ..result
                });
                let wrong = wrong.into_iter().map(|what| format!("after: {what}"));
                self.document.problems.extend(wrong);
                return Ok(());
            }
            self.wait_for(AFTER_TICK, progress)?;
        }
    }

    fn after_now(&self, after: &After) -> Result<(AfterResult, Vec<String>), String> {
        let mut wrong = Vec::new();
        let mut result = AfterResult {
            server: self.plan.settings.server_pid.and_then(machine::process),
            ..AfterResult::default()
        };
        let base = match &after.memory_of {
            None => self.document.server_before,
            Some(name) => {
                let phase = self
                    .document
                    .phases
                    .iter()
                    .find(|phase| phase.name == *name);
                phase.and_then(|phase| phase.server)
            }
        };
        if let (Some(before), Some(now)) = (base, result.server)
            && now.pss_bytes as f64 > before.pss_bytes as f64 * (1.0 + after.memory_within)
        {
            wrong.push(format!(
                "the server's memory was {} and is {}",
                preflight::mebibytes(before.pss_bytes),
                preflight::mebibytes(now.pss_bytes)
            ));
        }
        if let Some(before) = &self.document.counters_before
            && let Some(admin) = &self.plan.settings.server_stats
        {
            let now = match stats::fetch(admin) {
                Ok(now) => now,
                Err(error) => {
                    wrong.push(error);
                    return Ok((result, wrong));
                }
            };
            for name in &after.counters_return {
                let value = |of: &BTreeMap<String, u64>| of.get(name).copied();
                let (Some(before), Some(now)) = (value(before), value(&now)) else {
                    wrong.push(format!("the server has no counter {name}"));
                    continue;
                };
                if before != now {
                    wrong.push(format!("{name} was {before} and is {now}"));
                }
                result.counters.push((name.clone(), before, now));
            }
        }
        Ok((result, wrong))
    }
}

/// How often the server is looked at when all is over.
const AFTER_TICK: Duration = Duration::from_millis(500);
