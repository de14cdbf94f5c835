//! What a caller and a callee say to each other, in any dialect: borrowed as it arrives
//! ([`CallBodyRef`]), owned as it travels ([`CallBody`]).

use std::borrow::Cow;

use roost_hub::Name;

use crate::{PayloadRef, Publication};

/// What a call or an answer says, as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallBodyRef<'a> {
    /// The arguments, the result or what is said of the error.
    pub payload: PayloadRef<'a>,
    /// Of a call: who calls, if the callee is to know.
    pub caller: Option<Box<Caller>>,
    /// Of an error: its name, a URI in WAMP.
    pub error: Option<Cow<'a, str>>,
}

impl CallBodyRef<'_> {
    /// Owns it.
    pub fn freeze(self) -> CallBody {
        CallBody {
            payload: self.payload.freeze(),
            caller: self.caller,
            error: self.error.map(|error| Name::from(&*error)),
        }
    }
}

/// What a call or an answer says, as it travels.
#[derive(Debug, Clone)]
pub struct CallBody {
    /// The arguments, the result or what is said of the error.
    pub payload: Publication,
    /// Of a call: who calls, if the callee is to know.
    pub caller: Option<Box<Caller>>,
    /// Of an error: its name, a URI in WAMP.
    pub error: Option<Name>,
}

impl CallBody {
    /// Bytes of memory it holds beside itself.
    pub fn bytes(&self) -> usize {
        let caller = self.caller.as_ref().map_or(0, |caller| {
            size_of::<Caller>() + caller.authid.len() + caller.authrole.len()
        });
        self.payload.bytes() + caller + self.error.as_ref().map_or(0, |error| error.len())
    }
}

/// Who calls, for a callee that is to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The session's number.
    pub session: u64,
    /// As whom it has been authenticated.
    pub authid: String,
    /// In which role.
    pub authrole: String,
}
