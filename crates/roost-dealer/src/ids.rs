//! The numbers by which reactors name clients, calls and invocations. Plain values.

use roost_hub::ReactorId;

/// A client as its reactor names it: opaque here, with the generation of its connection's slot, so
/// that a client that has gone is never taken for the next one there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client(pub u64);

/// A client of any reactor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address {
    /// Its reactor.
    pub reactor: ReactorId,
    /// Its name there.
    pub client: Client,
}

/// An open call, as all reactors name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallRef {
    /// Who called.
    pub caller: Address,
    /// The caller's number of the call.
    pub request: u64,
    /// Told from another call of the same number, one that has been answered: it is the same again
    /// after 4,294,967,296 calls on that reactor, and no item is under way for so long.
    pub serial: u32,
}

/// An invocation, as all reactors name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InvocationRef {
    /// Who was invoked.
    pub callee: Address,
    /// The callee's number of the invocation: from 1, without a gap.
    pub invocation: u64,
}

/// A registration's number in the whole server, below 2^53: a procedure has the same for all its
/// callees.
pub(crate) fn registration_number(home: ReactorId, serial: u64) -> u64 {
    1 + (serial << 8 | u64::from(home.0))
}
