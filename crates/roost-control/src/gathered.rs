//! Single publications on their way to their channels' homes.
//!
//! A batch costs both threads a wake-up, however much is in it. So while one batch is under way to a home,
//! what is published there meanwhile waits for its answer and then leaves together: one publication alone
//! leaves at once, and the more there are, the larger the batches. An answer that does not come holds up
//! nothing for longer than [`HOLD_MAX`].

use std::mem;
use std::time::Duration;

use roost_reactor::{
    ControlPublication, PUBLICATIONS_BYTES_MAX, PUBLICATIONS_MAX, Placement, Token,
};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::ask_error::AskError;

/// What has become of a publication; `None`: it is sent, and more was not asked for.
pub(crate) type Outcome = Result<Option<Placement>, AskError>;

/// Publications that are not sent yet, by home.
pub(crate) struct Gathered {
    homes: Vec<Home>,
}

/// Those for one reactor.
#[derive(Default)]
struct Home {
    pending: Vec<Pending>,
    /// Bytes of them.
    bytes: usize,
    /// The batch that was sent last, and when, until it is answered.
    under_way: Option<(Token, Instant)>,
}

/// One publication that is sent with others.
pub(crate) struct Pending {
    publication: ControlPublication,
    publisher: Publisher,
    until: Until,
}

/// Who waits for the outcome of a publication.
pub(crate) struct Publisher {
    pub(crate) caller: oneshot::Sender<Outcome>,
    pub(crate) deadline: Instant,
}

/// What a publisher waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// The publication has its place in the channel's order.
    Placed,
    /// The ring of the channel's home has it.
    Sent,
}

/// As many wait to be sent as may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// Publications that are sent together, and who waits for each.
pub(crate) type Batch = (Vec<ControlPublication>, Vec<(Publisher, Until)>);

impl Gathered {
    pub(crate) fn new(reactors: usize) -> Gathered {
        let homes = (0..reactors).map(|_| Home::default());
        Gathered {
            homes: homes.collect(),
        }
    }

    pub(crate) fn homes(&self) -> usize {
        self.homes.len()
    }

    /// One more for a reactor. Whether there is something to be sent to it now.
    pub(crate) fn push(&mut self, home: usize, pending: Pending) -> Result<bool, Full> {
        let home = &mut self.homes[home];
        if home.pending.len() >= PENDING_MAX {
            return Err(Full);
        }
        home.bytes += pending.publication.bytes();
        home.pending.push(pending);
        Ok(home.is_due())
    }

    /// What is to be sent to a reactor now, in order; [`Gathered::sent`] says that it was.
    pub(crate) fn take_due(&mut self, home: usize) -> Option<Batch> {
        let home = &mut self.homes[home];
        home.is_due().then(|| home.take_batch())
    }

    /// A batch for a reactor is in its ring.
    pub(crate) fn sent(&mut self, home: usize, token: Token, now: Instant) {
        self.homes[home].under_way = Some((token, now));
    }

    /// The request with this token is answered.
    pub(crate) fn answered(&mut self, token: Token) {
        for home in &mut self.homes {
            home.under_way = home.under_way.filter(|&(sent, _)| sent != token);
        }
    }

    /// Sends no longer wait for batches that were not answered in time.
    pub(crate) fn stop_waiting(&mut self, now: Instant) {
        for home in &mut self.homes {
            home.under_way = home.under_way.filter(|&(_, sent)| now < sent + HOLD_MAX);
        }
    }

    /// Whether a batch is not answered.
    pub(crate) fn is_under_way(&self) -> bool {
        self.homes.iter().any(|home| home.under_way.is_some())
    }
}

impl Home {
    fn is_due(&self) -> bool {
        match self.under_way {
            None => !self.pending.is_empty(),
            Some(_) => {
                self.pending.len() >= PUBLICATIONS_MAX || self.bytes >= PUBLICATIONS_BYTES_MAX
            }
        }
    }

    fn take_batch(&mut self) -> Batch {
        let (mut count, mut bytes) = (0, 0);
        for pending in &self.pending {
            if count >= PUBLICATIONS_MAX || bytes >= PUBLICATIONS_BYTES_MAX {
                break;
            }
            bytes += pending.publication.bytes();
            count += 1;
        }
        let rest = self.pending.split_off(count);
        self.bytes -= bytes;
        let batch = mem::replace(&mut self.pending, rest).into_iter();
        let batch = batch.map(|one| (one.publication, (one.publisher, one.until)));
        batch.unzip()
    }
}

impl Pending {
    pub(crate) fn new(
        publication: ControlPublication,
        publisher: Publisher,
        until: Until,
    ) -> Pending {
        Pending {
            publication,
            publisher,
            until,
        }
    }
}

impl Publisher {
    pub(crate) fn tell(self, outcome: Outcome) {
        let _ = self.caller.send(outcome); // it may just have ended
    }

    pub(crate) fn is_wanted(&self) -> bool {
        !self.caller.is_closed()
    }
}

/// For so long a batch that is not answered holds up what follows it.
pub(crate) const HOLD_MAX: Duration = Duration::from_millis(5);
/// Publications to one reactor that wait to be sent: more than requests can be under way.
const PENDING_MAX: usize = 1 << 17;

#[cfg(test)]
mod tests {
    use roost_dialect::PayloadRef;

    use super::*;

    /// The publisher's end, for as long as the publication is wanted.
    fn pending(text: &str) -> (Pending, oneshot::Receiver<Outcome>) {
        let publication = ControlPublication {
            channel: "c".into(),
            payload: PayloadRef::Text(text).freeze(),
            is_limited: true,
            repeat_key: None,
        };
        let (caller, answer) = oneshot::channel();
        let deadline = Instant::now();
        let publisher = Publisher { caller, deadline };
        (Pending::new(publication, publisher, Until::Placed), answer)
    }

    fn push(gathered: &mut Gathered, home: usize, text: &str) -> bool {
        let (pending, _) = pending(text);
        gathered.push(home, pending).expect("there is room")
    }

    /// How many leave with the next batch.
    fn taken(gathered: &mut Gathered, home: usize) -> Option<usize> {
        let (publications, publishers) = gathered.take_due(home)?;
        assert_eq!(publications.len(), publishers.len());
        Some(publications.len())
    }

    #[test]
    fn what_is_published_while_a_batch_is_under_way_leaves_with_its_answer() {
        let mut gathered = Gathered::new(2);
        let (now, tokens) = (Instant::now(), [Token::new(1), Token::new(2)]);
        assert!(push(&mut gathered, 0, "a"), "alone it leaves at once");
        assert_eq!(taken(&mut gathered, 0), Some(1));
        gathered.sent(0, tokens[0], now);
        assert!(!push(&mut gathered, 0, "b"));
        assert!(!push(&mut gathered, 0, "c"));
        assert_eq!(taken(&mut gathered, 0), None);
        assert!(
            push(&mut gathered, 1, "d"),
            "the other reactor is not asked"
        );
        gathered.answered(tokens[1]);
        assert_eq!(taken(&mut gathered, 0), None, "another's answer");
        gathered.answered(tokens[0]);
        assert_eq!(taken(&mut gathered, 0), Some(2));
        assert_eq!(taken(&mut gathered, 1), Some(1));
        assert_eq!(taken(&mut gathered, 0), None, "nothing is left");
    }

    #[test]
    fn an_answer_that_does_not_come_holds_up_what_follows_for_a_while() {
        let mut gathered = Gathered::new(1);
        let now = Instant::now();
        push(&mut gathered, 0, "a");
        assert_eq!(taken(&mut gathered, 0), Some(1));
        gathered.sent(0, Token::new(1), now);
        push(&mut gathered, 0, "b");
        gathered.stop_waiting(now + HOLD_MAX / 2);
        assert_eq!(taken(&mut gathered, 0), None);
        assert!(gathered.is_under_way());
        gathered.stop_waiting(now + HOLD_MAX);
        assert!(!gathered.is_under_way());
        assert_eq!(taken(&mut gathered, 0), Some(1));
    }

    #[test]
    fn a_whole_batch_waits_for_no_answer() {
        let mut gathered = Gathered::new(1);
        push(&mut gathered, 0, "first");
        assert_eq!(taken(&mut gathered, 0), Some(1));
        gathered.sent(0, Token::new(1), Instant::now());
        for n in 1..PUBLICATIONS_MAX {
            assert!(!push(&mut gathered, 0, "x"), "{n}");
        }
        assert!(push(&mut gathered, 0, "x"));
        push(&mut gathered, 0, "y");
        assert_eq!(taken(&mut gathered, 0), Some(PUBLICATIONS_MAX));
        assert_eq!(taken(&mut gathered, 0), None, "the rest waits");
        let large = "x".repeat(PUBLICATIONS_BYTES_MAX);
        assert!(push(&mut gathered, 0, &large), "it is a batch by its bytes");
        assert_eq!(taken(&mut gathered, 0), Some(2));
        assert_eq!(gathered.homes[0].bytes, 0);
    }
}
