//! `recover`: subscribers lose their connections while messages go on, come back at once, and must receive
//! what they missed.

use std::time::Duration;

use clap::Args;

use crate::dialect::Dialect;
use crate::plan::{Group, Loss, Phase, Plan, Publish, Role, Step, Target};
use crate::scenario;

use super::common::{Common, listeners, named, one_topic, phase};

/// `recover`.
#[derive(Args)]
pub struct Recover {
    #[command(flatten)]
    common: Common,
    /// How many subscribers
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1_000)]
    subscribers: u32,
    /// How many channels, the subscribers dealt out to them, with a publisher each
    #[arg(long, short = 'c', value_name = "N", default_value_t = 1)]
    channels: u32,
    /// The share of subscribers to drop, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    share: f64,
    /// Messages a second in all, while they are away
    #[arg(long, value_name = "PER_SECOND", default_value_t = 10.0)]
    rate: f64,
    /// Payload bytes
    #[arg(long, value_name = "BYTES", default_value_t = 125)]
    size: usize,
    /// How long they are away
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = scenario::duration)]
    away: Duration,
    /// How often
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: u32,
    /// What subscribers speak: centrifugo or sse
    #[arg(long, default_value = "sse", value_parser = named)]
    dialect: &'static dyn Dialect,
    /// What publishers speak [default: the same, or raw where that cannot publish]
    #[arg(long, value_name = "DIALECT", value_parser = named)]
    publish_dialect: Option<&'static dyn Dialect>,
}

impl Recover {
    pub(super) fn common(&self) -> &Common {
        &self.common
    }

    /// In each round they come back once to nothing missed, are published to, and come back once to what was
    /// published meanwhile: the difference of the first and the last is what recovery takes.
    pub(super) fn plan(&self) -> Result<Plan, String> {
        if !(0.0..=1.0).contains(&self.share) {
            return Err(format!("--share {}: expected 0 to 1", self.share));
        }
        let usual = match self.dialect.publishes() {
            true => self.dialect,
            false => named("raw")?,
        };
        let publish = Publish {
            topic: 0,
            rate: Some(self.rate),
            window: 1,
            together: false,
            size: self.size,
        };
        let publishers = Group {
            name: "publishers".to_owned(),
            count: self.channels,
            dialect: self.publish_dialect.unwrap_or(usual),
            subscribe: Vec::new(),
            recovers: false,
            role: Role::Publish(publish),
        };
        let subscribers = Group {
            recovers: true,
            ..listeners("subscribers", self.subscribers, self.dialect)
        };
        let mut phases = vec![phase("open", Step::Open(None))];
        for round in 1..=self.rounds {
            phases.extend(self.round(round));
        }
        phases.push(phase("publish: all are there", Step::PublishEach(1, None)));
        phases.push(phase("close", Step::Close));
        Ok(Plan {
            name: "recover".to_owned(),
            target: Target::parse(&self.common.url, &self.common.address)?,
            settings: self.common.settings(),
            topics: vec![one_topic(self.channels)],
            groups: vec![subscribers, publishers],
            phases,
            after: None,
        })
    }

    fn round(&self, round: u32) -> Vec<Phase> {
        let loss = Loss {
            group: 0,
            share: self.share,
        };
        // Each channel's part of what is published while they are away.
        let messages = self.rate * self.away.as_secs_f64() / f64::from(self.channels.max(1));
        let bytes = (messages.round().max(1.0) * self.size as f64) as usize;
        let named = |what: &str, step| phase(&format!("{round}: {what}"), step);
        vec![
            named("leave", Step::Leave(loss)),
            named("away, nothing missed", Step::Hold(self.away)),
            named("return to nothing missed", Step::Return),
            named("publish the same bytes", Step::PublishEach(1, Some(bytes))),
            named("leave again", Step::Leave(loss)),
            named("away, messages go on", Step::Traffic(self.away, None)),
            named("away, still", Step::Hold(STILL)),
            named("return and recover", Step::Return),
        ]
    }
}

/// So that the server has done with what was published when its CPU time is read.
const STILL: Duration = Duration::from_millis(500);
