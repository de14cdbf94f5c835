//! The ring itself: set-up, requests, completions. Knows operations and descriptors, but no
//! connection and no rule of the contract.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use io_uring::types::{CancelBuilder, DestinationSlot, Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, Probe, cqueue, opcode, squeue};

use super::options::UringOptions;
use super::setup::{explain_call, explain_setup, register_slots};
use crate::memory::{HighWater, shrink_queue};

/// What a request works on: an ordinary descriptor, or a slot of the ring's own table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Fd(i32),
    Slot(u32),
}

impl From<OwnedFd> for Target {
    /// The keeper of the target owns the descriptor from here on.
    fn from(fd: OwnedFd) -> Target {
        Target::Fd(fd.into_raw_fd())
    }
}

/// A completion, copied out of the shared queue so that the kernel can go on writing there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cqe {
    pub(super) user_data: u64,
    pub(super) result: i32,
    flags: u32,
}

impl Cqe {
    /// One that the kernel did not write: a note to ourselves, in line with the others.
    pub(super) fn note(user_data: u64) -> Cqe {
        Cqe {
            user_data,
            result: 0,
            flags: 0,
        }
    }

    /// The request stays armed and more completions follow.
    pub(super) fn more(self) -> bool {
        cqueue::more(self.flags)
    }

    /// The provided buffer this completion has used up.
    pub(super) fn buffer(self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }

    /// The socket held more bytes, or FIN, when the receive returned.
    pub(super) fn socket_nonempty(self) -> bool {
        cqueue::sock_nonempty(self.flags)
    }
}

/// What one call of the kernel came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entered {
    /// Completions collected.
    pub(super) collected: usize,
    /// A signal ended the wait.
    pub(super) interrupted: bool,
    /// The timeout did.
    pub(super) timed_out: bool,
}

/// Submission and completion queue.
pub(super) struct Ring {
    io: IoUring,
    /// False until the first submission, whose thread becomes the one that owns the ring.
    enabled: bool,
    /// Completions taken from the shared queue, oldest first.
    arrived: VecDeque<Cqe>,
    arrived_water: HighWater,
    can_bind: bool,
}

impl Ring {
    /// Sets a ring up, disabled, with the table of direct descriptors if there is to be one.
    pub(super) fn new(options: &UringOptions) -> io::Result<Ring> {
        let io: IoUring = IoUring::builder()
            // Linux 6.0 and 6.1: completions are only made when we ask for them, on our thread.
            // That order is relied upon: what was polled before a receive was submitted comes
            // out before the receive's own completion.
            .setup_single_issuer()
            .setup_defer_taskrun()
            // Linux 5.10: the first submission names the owning thread, not the set-up.
            .setup_r_disabled()
            // Linux 5.18: one failing request does not hold back those behind it.
            .setup_submit_all()
            .setup_clamp()
            .setup_cqsize(options.cq_entries.max(options.entries))
            .build(options.entries.max(ENTRIES_MIN))
            .map_err(explain_setup)?;
        let mut probe = Probe::new();
        io.submitter()
            .register_probe(&mut probe)
            .map_err(|e| explain_call("probing", e))?;
        if let Some(slots) = options.direct_slots {
            register_slots(&io, &probe, slots)?;
        }
        Ok(Ring {
            io,
            enabled: false,
            arrived: VecDeque::new(),
            arrived_water: HighWater::default(),
            can_bind: probe.is_supported(opcode::Bind::CODE),
        })
    }

    /// Registers `entries` (a power of two, at most 32,768) provided buffers' worth of ring at
    /// `memory`, as group 0.
    ///
    /// # Safety
    /// `memory` points to `entries` buffer entries on whole pages that stay mapped as long as
    /// this ring lives, and that nothing else writes but by the rules of buffer rings.
    pub(super) unsafe fn register_buffers(&self, memory: *mut u8, entries: u16) -> io::Result<()> {
        let submitter = self.io.submitter();
        // SAFETY: passed on to our caller.
        let result = unsafe {
            submitter.register_buf_ring_with_flags(memory as u64, entries, BUFFER_GROUP, 0)
        };
        result.map_err(|e| explain_call("registering the receive buffers", e))
    }

    /// Whether a direct descriptor can be bound to a local address (Linux 6.11).
    pub(super) fn can_bind(&self) -> bool {
        self.can_bind
    }

    /// True once a request has been submitted: only then the kernel may hold memory of ours.
    pub(super) fn enabled(&self) -> bool {
        self.enabled
    }

    /// The oldest completion not yet looked at.
    pub(super) fn next_arrived(&mut self) -> Option<Cqe> {
        self.arrived.pop_front()
    }

    /// True if completions wait in [`Ring::next_arrived`].
    pub(super) fn has_arrived(&self) -> bool {
        !self.arrived.is_empty()
    }

    /// True if requests wait for submission.
    pub(super) fn has_queued(&mut self) -> bool {
        !self.io.submission().is_empty()
    }

    /// Submits all that is queued, lets the kernel finish what is ready, and collects. Waits for
    /// one completion up to `timeout` if `wait`.
    pub(super) fn enter(&mut self, wait: bool, timeout: Option<Duration>) -> io::Result<Entered> {
        self.enable()?;
        let (mut interrupted, mut timed_out) = (false, false);
        let mut collected = 0;
        let mut tries = 0;
        loop {
            let queued = self.io.submission().len() as u32;
            match self.enter_once(queued, u32::from(wait), timeout) {
                Ok(_) => break,
                Err(error) => match error.raw_os_error() {
                    // The time is over, or a signal: both end the wait and nothing else.
                    Some(libc::ETIME) => {
                        timed_out = true;
                        break;
                    }
                    Some(libc::EINTR) => {
                        interrupted = true;
                        break;
                    }
                    // The kernel wants its completions taken first, or is short of memory.
                    Some(libc::EBUSY | libc::EAGAIN) if tries < BUSY_TRIES_MAX => tries += 1,
                    _ => return Err(explain_call("submitting and waiting", error)),
                },
            }
            collected += self.collect();
        }
        collected += self.collect();
        Ok(Entered {
            collected,
            interrupted,
            timed_out,
        })
    }

    fn enter_once(&self, queued: u32, want: u32, timeout: Option<Duration>) -> io::Result<usize> {
        let submitter = self.io.submitter();
        // Without GETEVENTS a ring with DEFER_TASKRUN makes no completion.
        let flags = EnterFlags::GETEVENTS;
        let Some(timeout) = timeout.filter(|_| want > 0) else {
            // SAFETY: no argument is passed; queued requests were vouched for when pushed.
            return unsafe { submitter.enter::<libc::sigset_t>(queued, want, flags.bits(), None) };
        };
        let timespec = Timespec::from(timeout);
        let args = SubmitArgs::new().timespec(&timespec);
        let flags = flags | EnterFlags::EXT_ARG;
        // SAFETY: EXT_ARG announces the argument's type, and it lives through the call; queued
        // requests were vouched for when pushed.
        unsafe { submitter.enter(queued, want, flags.bits(), Some(&args)) }
    }

    fn enable(&mut self) -> io::Result<()> {
        if !self.enabled {
            self.io
                .submitter()
                .register_enable_rings()
                .map_err(|e| explain_call("enabling the ring", e))?;
            self.enabled = true;
        }
        Ok(())
    }

    fn collect(&mut self) -> usize {
        let before = self.arrived.len();
        let queue = self.io.completion();
        self.arrived.extend(queue.map(|cqe| Cqe {
            user_data: cqe.user_data(),
            result: cqe.result(),
            flags: cqe.flags(),
        }));
        self.arrived_water.note(self.arrived.len());
        self.arrived.len() - before
    }

    /// Frees what the queue of completions did not need since the last call; in bytes.
    pub(super) fn shrink(&mut self) -> usize {
        shrink_queue(&mut self.arrived, &mut self.arrived_water)
    }

    /// Submits the queue unless it has room for `requests` more: linked requests must be
    /// submitted together.
    fn make_room(&mut self, requests: usize) {
        let queue = self.io.submission();
        if queue.capacity() - queue.len() >= requests {
            return;
        }
        drop(queue);
        // A fan-out fills the queue many times in one iteration. Completions are collected as we go,
        // so that they do not overflow the kernel's queue.
        self.enter(false, None)
            .expect("a ring that was set up takes requests");
    }

    /// Queues a request; submits the queue first if it is full.
    ///
    /// # Safety
    /// All memory the entry points to stays valid until its last completion, and what the kernel
    /// writes to is not read or written by us until then.
    unsafe fn push(&mut self, entry: squeue::Entry) {
        loop {
            // SAFETY: passed on to our caller.
            if unsafe { self.io.submission().push(&entry) }.is_ok() {
                return;
            }
            self.make_room(1);
        }
    }

    /// Queues a request that points to no memory of ours, or to `'static` memory.
    fn push_plain(&mut self, entry: squeue::Entry) {
        // SAFETY: see above; the methods that call this build the entry themselves.
        unsafe { self.push(entry) }
    }

    /// Asks for a completion and nothing else.
    pub(super) fn do_nothing(&mut self, user_data: u64) {
        self.push_plain(opcode::Nop::new().build().user_data(user_data));
    }

    /// Watches for bytes, FIN and faults, by edges: one completion for each change.
    pub(super) fn watch(&mut self, target: Target, user_data: u64) {
        let entry = opcode::PollAdd::new(Fd(raw(target)), WATCH_EVENTS)
            .multi(true)
            .build();
        self.push_plain(on(target, entry).user_data(user_data));
    }

    /// Watches for one change: a connection waiting in a listener, or an eventfd written.
    pub(super) fn watch_once(&mut self, fd: i32, user_data: u64) {
        let entry = opcode::PollAdd::new(Fd(fd), libc::POLLIN as u32).build();
        self.push_plain(entry.user_data(user_data));
    }

    /// Ends a request, found by its `user_data`. Its last completion is ECANCELED, or what it had
    /// come to before.
    pub(super) fn cancel(&mut self, user_data: u64) {
        // Cancelling by descriptor would look at every armed request of the ring, this at one
        // hash bucket of at most 256. PollRemove would not do for a watch: it gives up (EALREADY)
        // on one that has something to report.
        let entry = opcode::AsyncCancel2::new(CancelBuilder::user_data(user_data)).build();
        self.push_plain(quiet(entry));
    }

    /// Receives into a provided buffer what is there now; EAGAIN if nothing is.
    pub(super) fn receive(&mut self, target: Target, bytes_max: u32, user_data: u64) {
        let entry = opcode::Recv::new(Fd(raw(target)), ptr::null_mut(), bytes_max)
            // With MSG_DONTWAIT the request never arms a watch of its own: 864 bytes.
            .flags(libc::MSG_DONTWAIT)
            .buf_group(BUFFER_GROUP)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT);
        self.push_plain(on(target, entry).user_data(user_data));
    }

    /// Accepts connections until something ends it.
    pub(super) fn accept_many(&mut self, listener: i32, user_data: u64) {
        let entry = opcode::AcceptMulti::new(Fd(listener))
            .flags(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)
            .build();
        self.push_plain(entry.user_data(user_data));
    }

    /// Accepts one connection.
    pub(super) fn accept_one(&mut self, listener: i32, user_data: u64) {
        let entry = opcode::Accept::new(Fd(listener), ptr::null_mut(), ptr::null_mut())
            .flags(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)
            .build();
        self.push_plain(entry.user_data(user_data));
    }

    /// Accepts one connection into a slot the kernel chooses. `addr` is for the peer's address;
    /// both pointers may be null.
    ///
    /// # Safety
    /// The pointers are null, or to memory that stays valid and unused until the completion;
    /// `len` is then the size of what `addr` points to.
    pub(super) unsafe fn accept_direct(
        &mut self,
        listener: i32,
        addr: *mut libc::sockaddr_storage,
        len: *mut libc::socklen_t,
        user_data: u64,
    ) {
        let entry = opcode::Accept::new(Fd(listener), addr.cast(), len)
            .file_index(Some(DestinationSlot::auto_target()))
            .flags(libc::SOCK_NONBLOCK)
            .build();
        // SAFETY: passed on to our caller.
        unsafe { self.push(entry.user_data(user_data)) }
    }

    /// Makes a TCP socket in a slot the kernel chooses.
    pub(super) fn open_direct(&mut self, domain: i32, user_data: u64) {
        let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK;
        let entry = opcode::Socket::new(domain, kind, libc::IPPROTO_TCP)
            .file_index(Some(DestinationSlot::auto_target()))
            .build();
        self.push_plain(entry.user_data(user_data));
    }

    /// Binds to a local address. What comes next in the queue is not done if this fails.
    ///
    /// # Safety
    /// `addr` points to an address of `len` bytes that stays valid until the completion.
    pub(super) unsafe fn bind_then(
        &mut self,
        target: Target,
        addr: *const libc::sockaddr,
        len: libc::socklen_t,
        user_data: u64,
    ) {
        let entry = opcode::Bind::new(Fd(raw(target)), addr, len).build();
        let entry = on(target, entry).flags(squeue::Flags::IO_LINK);
        self.make_room(2);
        // SAFETY: passed on to our caller.
        unsafe { self.push(entry.user_data(user_data)) }
    }

    /// Connects.
    ///
    /// # Safety
    /// `addr` points to an address of `len` bytes that stays valid until the completion.
    pub(super) unsafe fn connect(
        &mut self,
        target: Target,
        addr: *const libc::sockaddr,
        len: libc::socklen_t,
        user_data: u64,
    ) {
        let entry = opcode::Connect::new(Fd(raw(target)), addr, len).build();
        // SAFETY: passed on to our caller.
        unsafe { self.push(on(target, entry).user_data(user_data)) }
    }

    /// Sends `len` bytes from `bytes`, or fewer.
    ///
    /// # Safety
    /// The bytes stay valid and unchanged until the completion.
    pub(super) unsafe fn send(
        &mut self,
        target: Target,
        bytes: *const u8,
        len: u32,
        user_data: u64,
    ) {
        let entry = opcode::Send::new(Fd(raw(target)), bytes, len)
            .flags(libc::MSG_NOSIGNAL)
            .build();
        // SAFETY: passed on to our caller.
        unsafe { self.push(on(target, entry).user_data(user_data)) }
    }

    /// Sends what the slices of `message` point to, or less.
    ///
    /// # Safety
    /// The message, its slices and their bytes stay valid and unchanged until the completion.
    pub(super) unsafe fn send_message(
        &mut self,
        target: Target,
        message: *const libc::msghdr,
        user_data: u64,
    ) {
        let entry = opcode::SendMsg::new(Fd(raw(target)), message)
            .flags(libc::MSG_NOSIGNAL as u32)
            .build();
        // SAFETY: passed on to our caller.
        unsafe { self.push(on(target, entry).user_data(user_data)) }
    }

    /// Sets a socket option (Linux 6.7). A failure goes unseen.
    pub(super) fn set_option(&mut self, target: Target, option: &SocketOption) {
        let entry = opcode::SetSockOpt::new(
            Fd(raw(target)),
            option.level as u32,
            option.name as u32,
            option.value,
            option.len,
        )
        .build();
        self.push_plain(quiet(on(target, entry)));
    }

    /// Sends FIN. The kernel hands this to a worker thread, always.
    pub(super) fn shutdown_write(&mut self, target: Target, user_data: u64) {
        let entry = opcode::Shutdown::new(Fd(raw(target)), libc::SHUT_WR).build();
        self.push_plain(on(target, entry).user_data(user_data));
    }

    /// Makes an ordinary descriptor for the socket in a slot (Linux 6.8). The slot keeps it too.
    pub(super) fn install(&mut self, slot: u32, user_data: u64) {
        let entry = opcode::FixedFdInstall::new(Fixed(slot), 0).build();
        self.push_plain(entry.user_data(user_data));
    }

    /// The same at once, for a request that the kernel never waits with. `None` if it fails, or its
    /// completion has not come: then it comes with the others.
    pub(super) fn install_now(&mut self, slot: u32, user_data: u64) -> Option<OwnedFd> {
        self.install(slot, user_data);
        for _ in 0..LOOKS_MAX {
            self.enter(false, None).ok()?;
            let at = self
                .arrived
                .iter()
                .rposition(|cqe| cqe.user_data == user_data);
            if let Some(cqe) = at.and_then(|at| self.arrived.remove(at)) {
                return own_installed(cqe.result);
            }
        }
        None
    }

    /// Closes a descriptor or frees a slot. `user_data` `None`: no event when it is done.
    pub(super) fn close(&mut self, target: Target, user_data: Option<u64>) {
        let entry = match target {
            Target::Fd(fd) => opcode::Close::new(Fd(fd)).build(),
            Target::Slot(slot) => opcode::Close::new(Fixed(slot)).build(),
        };
        self.push_plain(match user_data {
            Some(user_data) => entry.user_data(user_data),
            None => quiet(entry),
        });
    }
}

/// A socket option with a value that lives forever.
pub(super) struct SocketOption {
    level: i32,
    name: i32,
    value: *const libc::c_void,
    len: u32,
}

impl SocketOption {
    const fn new<T>(level: i32, name: i32, value: &'static T) -> SocketOption {
        SocketOption {
            level,
            name,
            value: ptr::from_ref(value).cast(),
            len: size_of::<T>() as u32,
        }
    }

    /// Send small messages at once.
    pub(super) const NO_DELAY: SocketOption =
        SocketOption::new(libc::IPPROTO_TCP, libc::TCP_NODELAY, &ONE);

    /// Choose the local port at connect (Linux 4.2).
    pub(super) const BIND_NO_PORT: SocketOption =
        SocketOption::new(libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, &ONE);

    /// Closing sends RST and drops what is unsent.
    pub(super) const RESET_ON_CLOSE: SocketOption =
        SocketOption::new(libc::SOL_SOCKET, libc::SO_LINGER, &LINGER_NONE);
}

static ONE: libc::c_int = 1;
static LINGER_NONE: libc::linger = libc::linger {
    l_onoff: 1,
    l_linger: 0,
};

/// The descriptor that a request to install one has made, if it has.
pub(super) fn own_installed(result: i32) -> Option<OwnedFd> {
    if result < 0 {
        return None;
    }
    // SAFETY: the kernel has just made this descriptor for us; it is known nowhere else.
    Some(unsafe { OwnedFd::from_raw_fd(result) })
}

fn raw(target: Target) -> i32 {
    match target {
        Target::Fd(fd) => fd,
        Target::Slot(slot) => slot as i32,
    }
}

fn on(target: Target, entry: squeue::Entry) -> squeue::Entry {
    match target {
        Target::Fd(_) => entry,
        Target::Slot(_) => entry.flags(squeue::Flags::FIXED_FILE),
    }
}

/// A request whose success makes no completion (Linux 5.17), and whose failure is ignored.
fn quiet(entry: squeue::Entry) -> squeue::Entry {
    entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(IGNORED)
}

/// `user_data` of requests that nothing waits for.
pub(super) const IGNORED: u64 = u64::MAX;

/// The one group of provided buffers.
const BUFFER_GROUP: u16 = 0;

/// POLLRDHUP reports FIN; POLLERR and POLLHUP are always reported.
const WATCH_EVENTS: u32 = (libc::POLLIN | libc::POLLRDHUP) as u32;

/// Room for a link of two requests, and for cancelling.
const ENTRIES_MIN: u32 = 8;

/// How often one submission is tried again when the kernel is short of memory.
const BUSY_TRIES_MAX: u32 = 100;

/// How often the kernel is asked for a completion that it makes at once.
const LOOKS_MAX: u32 = 3;
