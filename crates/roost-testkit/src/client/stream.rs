//! A socket with a deadline on every wait, in the clear or with TLS.
//!
//! TLS is rustls' own connection, so that records are judged by another's reading of RFC 8446 than
//! `roost-tls`. It trusts every certificate: tests make theirs anew.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

/// A socket, and the TLS on it if there is any.
pub(super) struct Stream {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Stream {
    pub(super) fn plain(socket: TcpStream) -> Stream {
        Stream { socket, tls: None }
    }

    /// The handshake begins with the first use: until then the server meets a silent connection.
    pub(super) fn tls(socket: TcpStream) -> Stream {
        let mut tls = client_connection();
        // What a test sends at once is its own affair.
        tls.set_buffer_limit(None);
        let tls = Some(Box::new(tls));
        Stream { socket, tls }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Sends all of it, over TLS in records as long as they may be.
    pub(super) fn write_all(&mut self, bytes: &[u8], until: Instant) -> io::Result<()> {
        let mut sent = 0;
        while sent < bytes.len() {
            sent += self.write(&bytes[sent..], until)?;
        }
        Ok(())
    }

    /// Sends all of it past TLS.
    pub(super) fn write_in_the_clear(&mut self, bytes: &[u8], until: Instant) -> io::Result<()> {
        self.wait_at_most(until)?;
        self.socket.write_all(bytes)
    }

    /// Sends some of it; returns how much.
    pub(super) fn write(&mut self, bytes: &[u8], until: Instant) -> io::Result<usize> {
        if self.tls.is_none() {
            self.wait_at_most(until)?;
            return self.socket.write(bytes);
        }
        self.handshake(until)?;
        self.flush(until)?;
        let taken = &bytes[..bytes.len().min(RECORD_BYTES)];
        let tls = self.tls.as_mut().expect("checked above");
        tls.writer().write_all(taken)?;
        match self.flush(until) {
            // The rest of the record goes out with the next one: these bytes are taken.
            Err(error) if is_timeout(&error) => Ok(taken.len()),
            other => other.map(|()| taken.len()),
        }
    }

    /// Reads some; 0 at FIN. Over TLS a FIN counts only behind a close_notify: without one the end
    /// is an error (RFC 8446 §6.1), as are bytes behind it.
    pub(super) fn read(&mut self, buffer: &mut [u8], until: Instant) -> io::Result<usize> {
        if self.tls.is_none() {
            self.wait_at_most(until)?;
            return self.socket.read(buffer);
        }
        self.handshake(until)?;
        loop {
            let tls = self.tls.as_mut().expect("checked above");
            match tls.reader().read(buffer) {
                Ok(0) => return self.read_fin(until),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
            self.read_records(until)?;
        }
    }

    /// No more is sent: over TLS close_notify, then FIN.
    pub(super) fn half_close(&mut self, until: Instant) -> io::Result<()> {
        if self.tls.is_some() {
            self.handshake(until)?;
            self.tls
                .as_mut()
                .expect("checked above")
                .send_close_notify();
            self.flush(until)?;
        }
        self.socket.shutdown(Shutdown::Write)
    }

    fn handshake(&mut self, until: Instant) -> io::Result<()> {
        while self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
            self.flush(until)?;
            if self.read_records(until)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Sends what TLS has to send.
    fn flush(&mut self, until: Instant) -> io::Result<()> {
        while self.tls.as_ref().is_some_and(|tls| tls.wants_write()) {
            self.wait_at_most(until)?;
            let tls = self.tls.as_mut().expect("checked above");
            tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }

    /// Reads once, and lets TLS look at it; 0 at FIN.
    fn read_records(&mut self, until: Instant) -> io::Result<usize> {
        self.wait_at_most(until)?;
        let tls = self.tls.as_mut().expect("only TLS has records");
        let read = tls.read_tls(&mut self.socket)?;
        let state = tls.process_new_packets();
        // An alert for the server, or the answer to its KeyUpdate. Not every server waits for it.
        let flushed = self.flush(until);
        state.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        flushed.map(|()| read)
    }

    /// After close_notify nothing but FIN may come.
    fn read_fin(&mut self, until: Instant) -> io::Result<usize> {
        self.wait_at_most(until)?;
        match self.socket.read(&mut [0])? {
            0 => Ok(0),
            _ => Err(io::Error::new(
                ErrorKind::InvalidData,
                "bytes behind close_notify",
            )),
        }
    }

    fn wait_at_most(&self, until: Instant) -> io::Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.socket.set_read_timeout(Some(left))?;
        self.socket.set_write_timeout(Some(left))
    }
}

/// The time was over, which says nothing of the connection.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn client_connection() -> ClientConnection {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the provider has suites of both versions")
        .dangerous()
        .with_custom_certificate_verifier(roost_tls::any_server(provider))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    ClientConnection::new(Arc::new(config), name).expect("a configuration that is whole")
}

/// The most plaintext that a record holds (RFC 8446 §5.1).
const RECORD_BYTES: usize = 1 << 14;
