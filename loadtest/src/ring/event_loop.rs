//! The loop: commands, what is due, a wait, events; and the only calls of the driver.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use roost_net::{CloseMode, ConnectOptions, Driver, Event, SendStatus};

use crate::plan::Plan;
use crate::shared::Shared;

use super::conn::{FIN_OWED, WRITING};
use super::{Command, Core, DriverOp, Share, records};

pub(crate) struct Ring<D: Driver> {
    driver: D,
    core: Core,
    commands: Receiver<Command>,
}

impl<D: Driver> Ring<D> {
    pub(crate) fn new(
        driver: D,
        id: usize,
        plan: Arc<Plan>,
        shared: Arc<Shared>,
        shares: Vec<Share>,
        commands: Receiver<Command>,
    ) -> Ring<D> {
        let mut core = Core::new(id, plan, shared, shares);
        core.rounds_waits = driver.name() == "epoll";
        Ring {
            driver,
            core,
            commands,
        }
    }

    /// Runs until told to quit.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        self.core.now = self.driver.now();
        loop {
            if !self.obey() {
                return Ok(());
            }
            self.open_next();
            self.core.close_next();
            self.core.send_due();
            self.carry_out();
            let timeout = self.core.wait_ns();
            self.driver.wait(Some(Duration::from_nanos(timeout)))?;
            let before = self.core.now;
            self.core.now = self.driver.now();
            self.core.input_until = self.driver.polled_until();
            if self.driver.resumed_at() != self.core.resumed_at {
                self.core.resumed_at = self.driver.resumed_at();
                self.core.results.note_pause(self.core.now - before);
            }
            while let Some(event) = self.driver.next_event() {
                handle(&mut self.core, event);
                if !self.core.driver_ops.is_empty() {
                    self.carry_out();
                }
            }
            if self.core.tls.is_some() {
                records::advance_one(&mut self.core);
            }
            self.core.end_iteration();
            self.carry_out();
        }
    }

    /// False when told to quit.
    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Quit) | Err(TryRecvError::Disconnected) => return false,
                Ok(command) => self.core.handle_command(command),
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    /// Begins as many connections as rate and limits allow.
    fn open_next(&mut self) {
        while let Some(slot) = self.core.next_to_open() {
            let key = self.core.begin(slot);
            let options = ConnectOptions {
                addr: self.core.address_of(slot),
                local: None,
            };
            if let Err(error) = self.driver.connect(key, &options) {
                self.core.handle_no_start(slot, &error);
            }
        }
    }

    fn carry_out(&mut self) {
        for at in 0..self.core.driver_ops.len() {
            match self.core.driver_ops[at] {
                DriverOp::Send { slot, start, end } => self.send(slot, start, end),
                DriverOp::Close(slot, mode) => {
                    if mode == CloseMode::Graceful {
                        self.send_close_notify(slot);
                    }
                    let key = self.core.conns[slot as usize].key(slot);
                    self.driver.close(key, mode);
                }
                DriverOp::Fin(slot) if self.core.conns[slot as usize].has(WRITING) => {
                    self.core.conns[slot as usize].flags |= FIN_OWED;
                }
                DriverOp::Fin(slot) => {
                    self.send_close_notify(slot);
                    let key = self.core.conns[slot as usize].key(slot);
                    self.driver.shutdown_write(key);
                }
            }
        }
        self.core.driver_ops.clear();
        self.core.scratch.clear();
    }

    fn send(&mut self, slot: u32, start: usize, end: usize) {
        let core = &mut self.core;
        let mut bytes = &core.scratch[start..end];
        let conn = &mut core.conns[slot as usize];
        if conn.has(WRITING) {
            // Sealed when it is sent. What TLS has to send is noted there.
            if !bytes.is_empty() {
                let rare = core.rare.entry(slot).or_default();
                rare.outbox.extend_from_slice(bytes);
            }
            return;
        }
        if let Some(tls) = &mut core.tls {
            bytes = tls.seal(slot, bytes);
            if bytes.is_empty() {
                return;
            }
        }
        match self.driver.send_copy(conn.key(slot), bytes) {
            SendStatus::Pending => conn.flags |= WRITING,
            // If it is gone, its end is reported by an event.
            SendStatus::Done | SendStatus::Gone => {}
        }
    }

    /// With TLS, and nothing in flight: close_notify, if it has not been sent.
    fn send_close_notify(&mut self, slot: u32) {
        let core = &mut self.core;
        let conn = &mut core.conns[slot as usize];
        if let Some(tls) = &mut core.tls
            && !conn.has(WRITING)
            && let bytes = tls.close(slot)
            && !bytes.is_empty()
            && self.driver.send_copy(conn.key(slot), bytes) == SendStatus::Pending
        {
            conn.flags |= WRITING;
        }
    }
}

fn handle<S>(core: &mut Core, event: Event<'_, S>) {
    let is_plain = core.tls.is_none();
    match event {
        Event::Connected(key) => core.on_connected(key.slot()),
        Event::Bytes(key, lease) if is_plain => core.on_bytes(key.slot(), lease),
        Event::Bytes(key, lease) => records::handle_bytes(core, key.slot(), lease),
        Event::ReadClosed(key) if is_plain => core.on_read_closed(key.slot()),
        Event::ReadClosed(key) => records::handle_read_closed(core, key.slot()),
        Event::Sent(key) => core.on_sent(key.slot()),
        Event::Closed(key, cause) if is_plain => core.on_closed(key.slot(), cause),
        Event::Closed(key, cause) => records::handle_closed(core, key.slot(), cause),
        // Clients neither listen nor release.
        Event::Accepted { .. } | Event::Released(..) | Event::Woken => {}
    }
}
