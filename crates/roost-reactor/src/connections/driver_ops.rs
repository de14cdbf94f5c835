//! What connections want of the driver while it lends bytes: done when it has its lease back.

use roost_net::{CloseMode, ConnKey, Driver, SendStatus};

use super::conn::Flags;
use super::table::Table;

/// What the driver shall do, in order; its memory is used again.
#[derive(Debug, Default)]
pub(super) struct DriverOps {
    ops: Vec<DriverOp>,
}

/// Something for the driver.
#[derive(Debug)]
enum DriverOp {
    Pause(ConnKey),
    Resume(ConnKey),
    Close(ConnKey, CloseMode),
    Fin(ConnKey),
    /// The connection's last words, of its transport.
    Send(ConnKey, Vec<u8>),
}

impl DriverOps {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    pub(super) fn pause(&mut self, key: ConnKey) {
        self.ops.push(DriverOp::Pause(key));
    }

    pub(super) fn resume(&mut self, key: ConnKey) {
        self.ops.push(DriverOp::Resume(key));
    }

    pub(super) fn close(&mut self, key: ConnKey, mode: CloseMode) {
        self.ops.push(DriverOp::Close(key, mode));
    }

    pub(super) fn shutdown_write(&mut self, key: ConnKey) {
        self.ops.push(DriverOp::Fin(key));
    }

    /// Sends the last words of a connection's transport.
    pub(super) fn send(&mut self, key: ConnKey, bytes: Vec<u8>) {
        self.ops.push(DriverOp::Send(key, bytes));
    }

    /// All, done. Apart, so that the look whether there are any stays small enough to be inlined.
    #[inline(never)]
    pub(super) fn run<D: Driver>(&mut self, driver: &mut D, table: &mut Table) {
        for op in self.ops.drain(..) {
            match op {
                DriverOp::Pause(key) => driver.pause(key),
                DriverOp::Resume(key) => driver.resume(key),
                DriverOp::Close(key, mode) => driver.close(key, mode),
                DriverOp::Fin(key) => driver.shutdown_write(key),
                DriverOp::Send(key, bytes) => {
                    if driver.send_copy(key, &bytes) == SendStatus::Pending
                        && let Some(conn) = table.get_mut(key)
                    {
                        conn.flags.set(Flags::IN_FLIGHT);
                    }
                }
            }
        }
    }

    /// Drops memory that is only kept for the next loop iteration; returns the bytes.
    pub(super) fn shrink(&mut self) -> usize {
        crate::memory::drop_empty(&mut self.ops)
    }
}
