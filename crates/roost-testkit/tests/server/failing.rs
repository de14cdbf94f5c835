//! A reactor whose driver fails takes the others with it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use roost_net::epoll::{EpollDriver, EpollOptions};
use roost_net::{
    Chunk, CloseMode, ConnKey, ConnectOptions, Driver, DriverStats, Event, ListenAddr,
    ListenOptions, ListenerId, OpenListener, SendStatus, Waker,
};
use roost_reactor::{Server, Settings};
use roost_testkit::client::{Checked, Client, Message};
use roost_testkit::server::wait_until;

/// An epoll driver whose wait fails when a test asks for it.
struct Failing {
    driver: EpollDriver,
    fails: Option<Arc<AtomicBool>>,
}

type Socket = <EpollDriver as Driver>::Socket;

impl Driver for Failing {
    type Socket = Socket;

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.driver.wait(timeout)?;
        match &self.fails {
            Some(fails) if fails.load(Ordering::Relaxed) => Err(io::Error::other("it broke")),
            _ => Ok(()),
        }
    }

    fn name(&self) -> &'static str {
        self.driver.name()
    }
    fn listen(&mut self, options: &ListenOptions) -> io::Result<(ListenerId, ListenAddr)> {
        self.driver.listen(options)
    }
    fn adopt_listener(&mut self, listener: OpenListener) -> io::Result<ListenerId> {
        self.driver.adopt_listener(listener)
    }
    fn close_listener(&mut self, id: ListenerId) {
        self.driver.close_listener(id);
    }
    fn set_want_peer(&mut self, id: ListenerId, want_peer: bool) {
        self.driver.set_want_peer(id, want_peer);
    }
    fn set_accepting(&mut self, accepting: bool) {
        self.driver.set_accepting(accepting);
    }
    fn stop_listening(&mut self) {
        self.driver.stop_listening();
    }
    fn waker(&self) -> Waker {
        self.driver.waker()
    }
    fn next_event(&mut self) -> Option<Event<'_, Socket>> {
        self.driver.next_event()
    }
    fn now(&self) -> u64 {
        self.driver.now()
    }
    fn read_clock(&self) -> u64 {
        self.driver.read_clock()
    }
    fn polled_until(&self) -> u64 {
        self.driver.polled_until()
    }
    fn resumed_at(&self) -> u64 {
        self.driver.resumed_at()
    }
    fn has_unread(&self, key: ConnKey) -> bool {
        self.driver.has_unread(key)
    }
    fn adopt(&mut self, key: ConnKey, socket: Socket) -> io::Result<()> {
        self.driver.adopt(key, socket)
    }
    fn refuse(&mut self, socket: Socket) {
        self.driver.refuse(socket);
    }
    fn connect(&mut self, key: ConnKey, options: &ConnectOptions) -> io::Result<()> {
        self.driver.connect(key, options)
    }
    fn send(&mut self, key: ConnKey, chunks: &[Chunk]) -> SendStatus {
        self.driver.send(key, chunks)
    }
    fn send_copy(&mut self, key: ConnKey, bytes: &[u8]) -> SendStatus {
        self.driver.send_copy(key, bytes)
    }
    fn unsent_bytes(&self, key: ConnKey) -> usize {
        self.driver.unsent_bytes(key)
    }
    fn pinned_bytes(&self, key: ConnKey) -> usize {
        self.driver.pinned_bytes(key)
    }
    fn each_pinned(&self, visit: &mut dyn FnMut(usize, usize)) {
        self.driver.each_pinned(visit);
    }
    fn pause(&mut self, key: ConnKey) {
        self.driver.pause(key);
    }
    fn resume(&mut self, key: ConnKey) {
        self.driver.resume(key);
    }
    fn shutdown_write(&mut self, key: ConnKey) {
        self.driver.shutdown_write(key);
    }
    fn close(&mut self, key: ConnKey, mode: CloseMode) {
        self.driver.close(key, mode);
    }
    fn release(&mut self, key: ConnKey) {
        self.driver.release(key);
    }
    fn peer_addr(&self, key: ConnKey) -> Option<SocketAddr> {
        self.driver.peer_addr(key)
    }
    fn stats(&self) -> DriverStats {
        self.driver.stats()
    }
}

#[test]
fn a_reactor_that_ends_with_an_error_stops_the_others() -> Checked {
    let (fails, made) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU32::new(0)),
    );
    let failing = Arc::clone(&fails);
    let server = Server::start(Settings::for_tests(), 3, move || {
        let is_second = made.fetch_add(1, Ordering::Relaxed) == 1;
        Ok(Failing {
            driver: EpollDriver::new(&EpollOptions::default())?,
            fails: is_second.then(|| Arc::clone(&failing)),
        })
    });
    let server = server.expect("a free port");
    let registry = server.registry().clone();
    let mut clients = Vec::new();
    let open = |reactor| registry.reactor(reactor).websockets_open.get();
    while (0..3).any(|reactor| open(reactor) == 0) {
        assert!(clients.len() < 1_000, "no client for one of three reactors");
        clients.push(Client::open(server.address(), "/echo")?);
    }
    let (left, survivors) = (open(1), open(0) + open(2));
    let ended = std::thread::spawn(move || server.join());
    fails.store(true, Ordering::Relaxed);
    // Wakes the reactor that fails: some of its clients write.
    for client in &mut clients {
        client.send_text("hello")?;
    }
    wait_until(|| ended.is_finished(), || "the others go on".to_owned());
    let error = ended.join().expect("it does not panic");
    assert_eq!(error.expect_err("one has failed").to_string(), "it broke");
    let mut closed_1001 = 0;
    for client in &mut clients {
        while let Ok(message) = client.receive() {
            closed_1001 += u64::from(matches!(message, Message::Close(Some(1001), _)));
        }
    }
    assert_eq!(
        closed_1001,
        survivors,
        "of {} clients, {left} of the one that failed",
        clients.len()
    );
    Ok(())
}
