//! What travels between two ends, and how an end ends.

use super::Kernel;
use crate::sim::agenda::Action;
use crate::sim::ids::SockId;
use crate::sim::link::{Doom, Owner, Segment};

impl Kernel {
    /// Sends as much as the window allows, then the FIN if it is time.
    pub(super) fn pump(&mut self, id: SockId) {
        loop {
            let size = self.rng.between(
                u64::from(*self.faults.segment_bytes.start()),
                u64::from(*self.faults.segment_bytes.end()),
            ) as usize;
            let Some(link) = self.link_mut(id) else {
                return;
            };
            let pipe = &mut link.pipes[id.index()];
            if pipe.over || !link.ends[id.index()].connected {
                return;
            }
            if link.cut {
                if pipe.unsent() > 0 || (pipe.fin_wanted && !pipe.fin_sent) {
                    self.start_give_up(id);
                }
                return;
            }
            let n = pipe.launch(size);
            if n > 0 {
                self.send(id, Segment::Data(n));
                continue;
            }
            if pipe.fin_wanted && !pipe.fin_sent && pipe.unsent() == 0 {
                pipe.fin_sent = true;
                self.send(id, Segment::Fin);
            } else {
                break;
            }
        }
        if self.room(id) > 0 {
            self.note_room(id);
        }
    }

    pub(super) fn send(&mut self, from: SockId, segment: Segment) {
        let at = self.now + self.draw_latency();
        let Some(link) = self.link_mut(from) else {
            return;
        };
        let pipe = &mut link.pipes[from.index()];
        pipe.flight.push_back(segment);
        pipe.last_arrival = at.max(pipe.last_arrival + 1);
        let at = pipe.last_arrival;
        let struck = match &mut link.doom {
            Some(doom) if segment != Segment::Rst => {
                doom.segments_left = doom.segments_left.saturating_sub(1);
                link.doom.take_if(|doom| doom.segments_left == 0)
            }
            _ => None,
        };
        self.agenda.add(at, Action::Arrive(from));
        match struck {
            Some(Doom { cut: true, .. }) => {
                self.counts.cuts += 1;
                self.link_mut(from).expect("just used").cut = true;
            }
            Some(Doom { cut: false, .. }) => {
                self.counts.resets += 1;
                self.send_rst(from);
                self.send_rst(from.peer());
            }
            None => {}
        }
    }

    pub(super) fn send_rst(&mut self, from: SockId) {
        let Some(link) = self.link_mut(from) else {
            return;
        };
        let pipe = &mut link.pipes[from.index()];
        pipe.over = true;
        pipe.drop_unsent();
        if !std::mem::replace(&mut link.ends[from.index()].rst_sent, true) {
            self.send(from, Segment::Rst);
        }
    }

    pub(super) fn handle_arrival(&mut self, from: SockId) {
        let to = from.peer();
        let link = self.link_mut(from).expect("the caller looked it up");
        let pipe = &mut link.pipes[from.index()];
        let segment = pipe
            .flight
            .pop_front()
            .expect("each arrival has its segment");
        let unowned = link.ends[to.index()].owner == Owner::Unowned;
        match segment {
            _ if link.cut => {
                if let Segment::Data(n) = segment {
                    pipe.lose(n);
                }
                self.start_give_up(from);
            }
            Segment::SynAck => {
                link.ends[to.index()].connected = true;
                self.counts.connections += 1;
                self.note(to);
                self.pump(to);
            }
            Segment::Data(n) if unowned => {
                pipe.lose(n);
                if link.ends[to.index()].error.is_none() {
                    self.send_rst(to);
                }
                self.die(to);
            }
            Segment::Data(n) => {
                pipe.land(n);
                self.counts.segments += 1;
                self.note(to);
            }
            Segment::Fin => {
                pipe.fin_arrived = true;
                link.ends[to.index()].fin_arrived = true;
                self.note(to);
                self.end_if_delivered(from);
                self.end_if_delivered(to);
            }
            Segment::Rst => {
                let connected = link.ends[to.index()].connected;
                let errno = match connected {
                    true => libc::ECONNRESET,
                    false => libc::ECONNREFUSED,
                };
                self.fail(to, errno);
            }
        }
    }

    /// The end learns that its connection broke; what it had not sent is lost, and perhaps what
    /// it had not read.
    pub(super) fn fail(&mut self, id: SockId, errno: i32) {
        let keeps_received = self.rng.per_mille(500);
        let Some(link) = self.link_mut(id) else {
            return;
        };
        let end = &mut link.ends[id.index()];
        if end.error.is_none() {
            end.error = Some(errno);
            link.pipes[id.index()].over = true;
            link.pipes[id.index()].drop_unsent();
            if !keeps_received {
                link.pipes[id.peer().index()].drop_readable();
            }
        }
        if end.owner == Owner::Unowned {
            self.die(id);
        } else {
            self.note(id);
        }
    }

    // The end of a socket.

    pub(super) fn start_give_up(&mut self, id: SockId) {
        if self.end(id).is_some_and(|e| e.timer.is_none() && !e.dead) {
            let timer = self.agenda.add(self.now + GIVE_UP_NS, Action::GiveUp(id));
            self.end_mut(id).expect("just seen").timer = Some(timer);
        }
    }

    pub(super) fn handle_give_up(&mut self, id: SockId) {
        let link = self.link_mut(id).expect("the caller looked it up");
        let all_arrived = link.pipes[id.index()].fin_arrived;
        let end = &mut link.ends[id.index()];
        end.timer = None;
        if end.owner != Owner::Unowned {
            return self.fail(id, libc::ETIMEDOUT);
        }
        // Linux leaves FIN_WAIT2 in silence; what comes later is answered with RST.
        if !all_arrived {
            self.send_rst(id);
        }
        self.die(id);
    }

    /// An orphan is done when each FIN has reached the other side.
    pub(super) fn end_if_delivered(&mut self, id: SockId) {
        let Some(link) = self.link(id) else { return };
        let end = &link.ends[id.index()];
        if end.owner == Owner::Unowned && end.fin_arrived && link.pipes[id.index()].fin_arrived {
            self.die(id);
        }
    }

    pub(super) fn die(&mut self, id: SockId) {
        let Some(link) = self.link_mut(id) else {
            return;
        };
        let end = &mut link.ends[id.index()];
        debug_assert!(end.owner == Owner::Unowned, "a held socket died");
        end.dead = true;
        let timer = end.timer.take();
        link.pipes[id.index()].drop_unsent();
        link.pipes[id.peer().index()].drop_readable();
        let over = link.ends.iter().all(|end| end.dead);
        if let Some(timer) = timer {
            self.agenda.cancel(timer);
        }
        if over {
            let slot = &mut self.links[id.link as usize];
            slot.link = None;
            slot.generation += 1;
            self.links_free.push(id.link);
        }
    }
}

/// How long unanswered bytes and orphans are kept: `tcp_fin_timeout` is 60 s. Linux repeats data
/// for 15 minutes; a simulation need not wait that long to see it.
const GIVE_UP_NS: u64 = 60_000_000_000;
