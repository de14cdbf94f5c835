//! Channels that the control thread subscribes to, and who listens to them here.

use std::sync::Arc;

use roost_reactor::{ControlPeer, Name, RingFull, Tap, Tapped};

/// Told what is published on a channel. Called while the peer is locked: it must not call it.
pub(crate) trait Listener: Send + Sync {
    /// What is published from now on is heard.
    fn listening(&self);
    /// A publication.
    fn hear(&self, heard: &Tapped);
}

/// All subscriptions. There are few: the canary's, one for each reactor, and those of administrators.
#[derive(Default)]
pub(crate) struct Taps {
    channels: Vec<Listened>,
    /// Those that have ended, and whose channel's home did not take that yet.
    ended: Vec<(Name, Tap)>,
    last_number: u32,
}

/// One channel.
struct Listened {
    channel: Name,
    tap: Tap,
    /// Its home has answered.
    is_heard: bool,
    listeners: Vec<Arc<dyn Listener>>,
}

impl Taps {
    /// One more listens to a channel. On an error nothing has changed.
    pub(crate) fn begin(
        &mut self,
        peer: &mut ControlPeer,
        channel: &Name,
        is_gathered: bool,
        listener: Arc<dyn Listener>,
    ) -> Result<(), RingFull> {
        if let Some(known) = self.channels.iter_mut().find(|one| one.channel == *channel) {
            if known.is_heard {
                listener.listening();
            }
            known.listeners.push(listener);
            return Ok(());
        }
        self.send_ends(peer);
        if self.ended.iter().any(|(ended, _)| ended == channel) {
            return Err(RingFull); // a home is told of the end before it is told of another begin
        }
        self.last_number += 1;
        let tap = Tap {
            number: self.last_number,
            is_gathered,
        };
        peer.listen(channel, tap)?;
        self.channels.push(Listened {
            channel: channel.clone(),
            tap,
            is_heard: false,
            listeners: vec![listener],
        });
        Ok(())
    }

    /// One listens no longer.
    pub(crate) fn end(
        &mut self,
        peer: &mut ControlPeer,
        channel: &Name,
        listener: &Arc<dyn Listener>,
    ) {
        let Some(at) = self.channels.iter().position(|one| one.channel == *channel) else {
            return;
        };
        let listeners = &mut self.channels[at].listeners;
        listeners.retain(|one| !Arc::ptr_eq(one, listener));
        if listeners.is_empty() {
            let Listened { channel, tap, .. } = self.channels.swap_remove(at);
            self.ended.push((channel, tap));
            self.send_ends(peer);
        }
    }

    /// Tells homes of what has ended, as far as their rings take it.
    pub(crate) fn send_ends(&mut self, peer: &mut ControlPeer) {
        self.ended
            .retain(|(channel, tap)| peer.stop_listening(channel, *tap).is_err());
    }

    /// A channel's home has answered.
    pub(crate) fn listening(&mut self, number: u32) {
        if let Some(known) = self.numbered(number) {
            known.is_heard = true;
            known.listeners.iter().for_each(|one| one.listening());
        }
    }

    /// Hands over what was heard; what is for none any more is dropped.
    pub(crate) fn hear(&mut self, heard: &[Tapped]) {
        for one in heard {
            if let Some(known) = self.numbered(one.tap) {
                known.listeners.iter().for_each(|own| own.hear(one));
            }
        }
    }

    fn numbered(&mut self, number: u32) -> Option<&mut Listened> {
        self.channels
            .iter_mut()
            .find(|one| one.tap.number == number)
    }
}
