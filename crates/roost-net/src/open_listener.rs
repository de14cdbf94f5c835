//! Listening sockets that no driver accepts from yet: opened on a thread that may wait and fail
//! ([`crate::socket`]), and handed to the drivers when nothing can fail any more.

use socket2::Socket;

use crate::listen_addr::{ListenAddr, ListenOptions};

/// A listening socket without a driver, for [`Driver::adopt_listener`](crate::Driver::adopt_listener).
/// Clients may connect already, and wait in its backlog. Dropping it closes it, and they are reset.
#[derive(Debug)]
pub struct OpenListener {
    /// `None`: it is opened by the driver that adopts it.
    pub(crate) socket: Option<Socket>,
    /// With the address that it is bound to.
    pub(crate) options: ListenOptions,
}

impl OpenListener {
    /// One that its driver opens when it adopts it: for the simulator, whose sockets are not the
    /// kernel's.
    pub fn unopened(options: ListenOptions) -> OpenListener {
        OpenListener {
            socket: None,
            options,
        }
    }

    /// The bound address: port 0 is resolved, and a unix socket is held by it.
    pub fn addr(&self) -> &ListenAddr {
        &self.options.addr
    }

    /// How it listens, or is to.
    pub(crate) fn options(&self) -> &ListenOptions {
        &self.options
    }
}
