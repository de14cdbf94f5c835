//! Listening sockets that no driver accepts from yet: opened on a thread that may wait and fail, and
//! handed to the drivers when nothing can fail any more.

use std::io;

use socket2::Socket;

use crate::{ListenAddr, ListenOptions, socket};

/// A listening socket without a driver, for [`Driver::adopt_listener`](crate::Driver::adopt_listener).
/// Clients may connect already, and wait in its backlog. Dropping it closes it, and they are reset.
#[derive(Debug)]
pub struct OpenListener {
    socket: Option<Socket>,
    options: ListenOptions,
}

impl OpenListener {
    /// Listens.
    ///
    /// # Errors
    /// As [`Driver::listen`](crate::Driver::listen).
    pub fn open(options: &ListenOptions) -> io::Result<OpenListener> {
        let (socket, addr) = socket::listen(options)?;
        Ok(OpenListener {
            socket: Some(socket),
            options: ListenOptions {
                addr,
                ..options.clone()
            },
        })
    }

    /// Whether [`OpenListener::open`] would succeed, as far as can be told without listening: an address
    /// of TCP is bound and let go.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn check(options: &ListenOptions) -> io::Result<()> {
        socket::check(options)
    }

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

    /// The socket, opened if it was not, with its bound address.
    pub(crate) fn into_socket(self) -> io::Result<(Socket, ListenAddr)> {
        match self.socket {
            Some(socket) => Ok((socket, self.options.addr)),
            None => socket::listen(&self.options),
        }
    }
}
