//! [`Driver`] on the simulated network: a handle to one [`Port`](super::port::Port) of the world.

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::ids::SockId;
use super::kernel::Kernel;
use super::port::{Port, Queued};
use super::world::{SimDriverId, World};
use crate::{
    Chunk, CloseMode, ConnKey, ConnectOptions, Driver, DriverStats, Event, ListenAddr,
    ListenOptions, ListenerId, OpenListener, SendStatus, Waker,
};

/// A driver of a [`SimNet`](super::SimNet). Dropping it closes its sockets and listeners, as the
/// end of a process would.
pub struct SimDriver {
    world: Rc<RefCell<World>>,
    id: SimDriverId,
    /// The bytes of the event last given out.
    lease: Option<Vec<u8>>,
}

/// A simulated socket without a driver. Dropping it closes it.
pub struct SimSocket {
    world: Rc<RefCell<World>>,
    /// None once it was adopted or refused.
    sock: Option<SockId>,
}

impl SimDriver {
    pub(super) fn new(world: Rc<RefCell<World>>, id: SimDriverId) -> SimDriver {
        SimDriver {
            world,
            id,
            lease: None,
        }
    }

    /// The name by which the net calls this driver.
    pub fn id(&self) -> SimDriverId {
        self.id
    }

    /// Whether a call of [`Driver::wait`] would yield something, or is due by its timeout.
    pub fn is_due(&self) -> bool {
        self.world.borrow().is_due(self.id)
    }

    fn with<R>(&self, call: impl FnOnce(&mut Port, &mut Kernel) -> R) -> R {
        let mut world = self.world.borrow_mut();
        let (port, kernel) = split(&mut world, self.id);
        call(port, kernel)
    }

    /// The address from which the other end of an accepted connection has dialled, by a unix socket too:
    /// for a simulation to know its peers by.
    pub fn other_end(&self, key: ConnKey) -> Option<SocketAddr> {
        self.with(|port, k| port.other_end(k, key))
    }

    /// A call that changes something, hence by somebody who is awake.
    fn act<R>(&mut self, call: impl FnOnce(&mut Port, &mut Kernel) -> R) -> R {
        self.with(|port, k| {
            port.return_from_wait(k);
            port.stay_awake(k);
            call(port, k)
        })
    }

    fn end_lease(&mut self) {
        if let Some(buffer) = self.lease.take() {
            self.with(|port, _| port.end_lease(buffer));
        }
    }
}

/// A driver's port and the kernel, at the same time.
fn split<'a>(world: &'a mut RefMut<'_, World>, id: SimDriverId) -> (&'a mut Port, &'a mut Kernel) {
    let World { kernel, ports, .. } = &mut **world;
    let port = ports[id.0 as usize].as_mut();
    (port.expect("a port lives as long as its driver"), kernel)
}

impl Driver for SimDriver {
    type Socket = SimSocket;

    fn name(&self) -> &'static str {
        "sim"
    }

    fn listen(&mut self, options: &ListenOptions) -> io::Result<(ListenerId, ListenAddr)> {
        self.act(|port, k| port.listen(k, options))
    }

    fn adopt_listener(&mut self, listener: OpenListener) -> io::Result<ListenerId> {
        let (id, _) = self.listen(listener.options())?;
        Ok(id)
    }

    fn close_listener(&mut self, id: ListenerId) {
        self.act(|port, k| port.close_listener(k, id));
    }

    fn set_want_peer(&mut self, id: ListenerId, want_peer: bool) {
        self.act(|port, k| port.set_want_peer(k, id, want_peer));
    }

    fn set_accepting(&mut self, accepting: bool) {
        self.act(|port, _| port.set_accepting(accepting));
    }

    fn stop_listening(&mut self) {
        self.act(|port, k| port.stop_listening(k));
    }

    fn waker(&self) -> Waker {
        self.with(|port, _| Waker::new(port.wake.clone()))
    }

    /// Never blocks: notes when it wants to be called again, and lets a little time pass, so that
    /// a caller that spins is seen to spin. See [`SimNet::step`](super::SimNet::step).
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.end_lease();
        let timeout_ns = timeout.map(|t| u64::try_from(t.as_nanos()).unwrap_or(u64::MAX));
        self.with(|port, k| {
            let turn_ns = port.rng.between(TURN_NS_MIN, TURN_NS_MAX);
            k.run_until(k.now + turn_ns);
            port.wait(k, timeout_ns);
        });
        Ok(())
    }

    fn next_event(&mut self) -> Option<Event<'_, SimSocket>> {
        self.end_lease();
        let event = {
            let mut world = self.world.borrow_mut();
            let (port, kernel) = split(&mut world, self.id);
            port.return_from_wait(kernel);
            let event = port.pop()?;
            world.trace(self.id, &event);
            event
        };
        let socket = |sock| SimSocket {
            world: self.world.clone(),
            sock: Some(sock),
        };
        Some(match event {
            Queued::Accepted(listener, sock, peer) => Event::Accepted {
                listener,
                socket: socket(sock),
                peer,
            },
            Queued::Connected(key) => Event::Connected(key),
            Queued::Bytes(key, buffer, n) => Event::Bytes(key, &mut self.lease.insert(buffer)[..n]),
            Queued::ReadClosed(key) => Event::ReadClosed(key),
            Queued::Sent(key) => Event::Sent(key),
            Queued::Closed(key, cause) => Event::Closed(key, cause),
            Queued::Released(key, sock) => Event::Released(key, socket(sock)),
            Queued::Woken => Event::Woken,
        })
    }

    fn now(&self) -> u64 {
        self.with(|port, k| {
            port.return_from_wait(k);
            port.clock.now()
        })
    }

    fn read_clock(&self) -> u64 {
        self.with(|_, k| k.now)
    }

    fn polled_until(&self) -> u64 {
        self.with(|port, k| {
            port.return_from_wait(k);
            port.clock.polled_until()
        })
    }

    fn resumed_at(&self) -> u64 {
        self.with(|port, k| {
            port.return_from_wait(k);
            port.clock.resumed_at()
        })
    }

    fn has_unread(&self, key: ConnKey) -> bool {
        self.with(|port, _| port.has_unread(key))
    }

    fn adopt(&mut self, key: ConnKey, socket: SimSocket) -> io::Result<()> {
        let sock = socket.into_sock(&self.world);
        self.act(|port, k| port.adopt(k, key, sock))
    }

    fn refuse(&mut self, socket: SimSocket) {
        let sock = socket.into_sock(&self.world);
        self.act(|_, k| k.abort(sock));
    }

    fn connect(&mut self, key: ConnKey, options: &ConnectOptions) -> io::Result<()> {
        self.act(|port, k| port.connect(k, key, options))
    }

    fn send(&mut self, key: ConnKey, chunks: &[Chunk]) -> SendStatus {
        self.act(|port, k| port.send(k, key, chunks))
    }

    fn send_copy(&mut self, key: ConnKey, bytes: &[u8]) -> SendStatus {
        self.act(|port, k| port.send_copy(k, key, bytes))
    }

    fn pinned_bytes(&self, key: ConnKey) -> usize {
        self.with(|port, _| port.pinned_bytes(key))
    }

    fn each_pinned(&self, visit: &mut dyn FnMut(usize, usize)) {
        self.with(|port, _| port.each_pinned(visit));
    }

    fn unsent_bytes(&self, key: ConnKey) -> usize {
        self.with(|port, _| port.unsent_bytes(key))
    }

    fn pause(&mut self, key: ConnKey) {
        self.act(|port, _| port.pause(key));
    }

    fn resume(&mut self, key: ConnKey) {
        self.act(|port, _| port.resume(key));
    }

    fn shutdown_write(&mut self, key: ConnKey) {
        self.act(|port, _| port.shutdown_write(key));
    }

    fn close(&mut self, key: ConnKey, mode: CloseMode) {
        self.act(|port, k| port.close(k, key, mode));
    }

    fn release(&mut self, key: ConnKey) {
        self.act(|port, _| port.release(key));
    }

    fn peer_addr(&self, key: ConnKey) -> Option<SocketAddr> {
        self.with(|port, k| port.peer_addr(k, key))
    }

    fn stats(&self) -> DriverStats {
        self.with(|port, _| DriverStats {
            pinned_bytes: port.all_pinned_bytes() as u64,
            ..port.stats
        })
    }
}

impl Drop for SimDriver {
    fn drop(&mut self) {
        // A failed test has no use for an orderly end, and may have left the world half changed.
        if std::thread::panicking() {
            return;
        }
        let World { kernel, ports, .. } = &mut *self.world.borrow_mut();
        if let Some(mut port) = ports[self.id.0 as usize].take() {
            port.shut(kernel);
        }
    }
}

impl SimSocket {
    fn into_sock(mut self, world: &Rc<RefCell<World>>) -> SockId {
        assert!(
            Rc::ptr_eq(&self.world, world),
            "a socket belongs to one SimNet"
        );
        self.sock.take().expect("taken only here")
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        if let Some(sock) = self.sock.take()
            && !std::thread::panicking()
        {
            self.world.borrow_mut().kernel.close(sock);
        }
    }
}

impl fmt::Debug for SimDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimDriver").field(&self.id).finish()
    }
}

impl fmt::Debug for SimSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimSocket").field(&self.sock).finish()
    }
}

/// What one iteration costs in virtual time.
const TURN_NS_MIN: u64 = 500;
const TURN_NS_MAX: u64 = 5_000;
