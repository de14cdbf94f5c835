//! What a role or a token allows: permissions by name and pattern, in sets that connections share.

use std::collections::HashSet;
use std::sync::Arc;

use crate::{Pattern, PatternRef};

/// What is done with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Operation {
    /// Subscribe to a channel.
    Subscribe,
    /// Publish on a channel.
    Publish,
    /// Call a procedure.
    Call,
    /// Offer a procedure.
    Register,
    /// Ask who is in a channel.
    ReadPresence,
}

impl Operation {
    /// All of them.
    pub const ALL: [Operation; 5] = [
        Operation::Subscribe,
        Operation::Publish,
        Operation::Call,
        Operation::Register,
        Operation::ReadPresence,
    ];

    /// As the configuration and messages have it.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Subscribe => "subscribe",
            Operation::Publish => "publish",
            Operation::Call => "call",
            Operation::Register => "register",
            Operation::ReadPresence => "presence_read",
        }
    }
}

/// A set of operations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Operations(u8);

impl Operations {
    /// What is in the set.
    pub fn has(self, operation: Operation) -> bool {
        self.0 & (1 << operation as u8) != 0
    }
}

impl FromIterator<Operation> for Operations {
    fn from_iter<I: IntoIterator<Item = Operation>>(all: I) -> Operations {
        let bits = all.into_iter().map(|operation| 1 << operation as u8);
        Operations(bits.fold(0, |set, bit: u8| set | bit))
    }
}

/// Operations that are allowed on what a pattern matches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Permission {
    /// The names.
    pub pattern: Pattern,
    /// What is allowed on them.
    pub allow: Operations,
}

/// Where a set of permissions comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// A role of the configuration.
    Role,
    /// A token's own; all tokens have the role [`TOKEN_ROLE`].
    Token,
}

/// What all connections of a role may do. Connections share one of it: see [`PermissionSets`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PermissionSet {
    source: Source,
    role: Box<str>,
    permissions: Box<[Permission]>,
    subscriptions: Arc<[Box<str>]>,
    info: Option<Arc<str>>,
}

impl PermissionSet {
    /// The permissions of a role.
    pub fn of_role(role: &str, permissions: Vec<Permission>) -> PermissionSet {
        PermissionSet {
            source: Source::Role,
            role: role.into(),
            permissions: permissions.into(),
            subscriptions: Arc::default(),
            info: None,
        }
    }

    /// The permissions of a token.
    pub fn of_token(permissions: Vec<Permission>) -> PermissionSet {
        PermissionSet {
            source: Source::Token,
            role: TOKEN_ROLE.into(),
            permissions: permissions.into(),
            subscriptions: Arc::default(),
            info: None,
        }
    }

    /// The same with channels that a client is subscribed to without asking, where its dialect has a place
    /// for that.
    #[must_use]
    pub fn with_subscriptions(self, subscriptions: Vec<Box<str>>) -> PermissionSet {
        PermissionSet {
            subscriptions: subscriptions.into(),
            ..self
        }
    }

    /// The channels that a client is subscribed to without asking.
    pub fn subscriptions(&self) -> &Arc<[Box<str>]> {
        &self.subscriptions
    }

    /// The same with what other clients are told of this one beside its user, as JSON, where its dialect has a place
    /// for that.
    #[must_use]
    pub fn with_info(self, info: Option<Arc<str>>) -> PermissionSet {
        PermissionSet { info, ..self }
    }

    /// What other clients are told of this one beside its user, as JSON.
    pub fn info(&self) -> Option<&Arc<str>> {
        self.info.as_ref()
    }

    /// Where it comes from.
    pub fn source(&self) -> Source {
        self.source
    }

    /// The role's name.
    pub fn role(&self) -> &str {
        &self.role
    }

    /// Bytes of memory that it holds, nearly.
    pub fn memory_bytes(&self) -> usize {
        let texts = self.permissions.iter();
        let texts: usize = texts.map(|one| one.pattern.borrowed().text.len()).sum();
        let each = size_of::<Permission>() + ALLOCATION_BYTES;
        let names = self.subscriptions.iter();
        let names: usize = names.map(|name| name.len() + ALLOCATION_BYTES).sum();
        let info = self.info.as_ref();
        let info = info.map_or(0, |info| info.len() + ALLOCATION_BYTES);
        size_of::<PermissionSet>() + self.permissions.len() * each + texts + names + info
    }

    /// The first permission for an operation on all that is asked for. One permission has to cover the
    /// whole of a pattern: what only several cover together is not covered.
    pub fn find(&self, operation: Operation, asked: PatternRef<'_>) -> Option<&Permission> {
        self.permissions.iter().find(|permission| {
            permission.allow.has(operation) && permission.pattern.borrowed().contains(asked)
        })
    }
}

/// Sets of permissions, each once: connections with equal ones share it.
#[derive(Debug, Default)]
pub struct PermissionSets {
    sets: HashSet<Arc<PermissionSet>>,
    /// At so many, those that no connection has are dropped.
    cleaned_at: usize,
}

impl PermissionSets {
    /// The one of all that are equal to this.
    pub fn intern(&mut self, set: PermissionSet) -> Arc<PermissionSet> {
        if let Some(known) = self.sets.get(&set) {
            return known.clone();
        }
        if self.sets.len() >= self.cleaned_at {
            self.sets.retain(|set| Arc::strong_count(set) > 1);
            self.cleaned_at = (2 * self.sets.len()).max(SETS_KEPT);
        }
        let set = Arc::new(set);
        self.sets.insert(set.clone());
        set
    }

    /// How many there are, those included that no connection has any longer.
    pub fn len(&self) -> usize {
        self.sets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }
}

/// What an allocation takes beside its bytes, nearly.
const ALLOCATION_BYTES: usize = 16;
/// The role of clients that show a token in their handshake.
pub const TOKEN_ROLE: &str = "token";
/// Below so many sets none is looked for that could be dropped.
const SETS_KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Matching;

    fn set(role: &str, prefix: &str) -> PermissionSet {
        let permission = Permission {
            pattern: Pattern::new(Matching::Prefix, prefix),
            allow: Operations::from_iter([Operation::Call]),
        };
        PermissionSet::of_role(role, vec![permission])
    }

    #[test]
    fn equal_sets_are_one() {
        let mut sets = PermissionSets::default();
        let first = sets.intern(set("a", "x"));
        assert!(Arc::ptr_eq(&first, &sets.intern(set("a", "x"))));
        assert!(!Arc::ptr_eq(&first, &sets.intern(set("a", "y"))));
        assert!(!Arc::ptr_eq(&first, &sets.intern(set("b", "x"))));
        assert_eq!(sets.len(), 3);
    }

    #[test]
    fn sets_that_no_connection_has_go() {
        let mut sets = PermissionSets::default();
        let kept = sets.intern(set("kept", "x"));
        for n in 0..10_000 {
            sets.intern(set(&n.to_string(), "x"));
            assert!(sets.len() <= SETS_KEPT + 1, "{n}: {}", sets.len());
        }
        assert!(Arc::ptr_eq(&kept, &sets.intern(set("kept", "x"))));
    }

    #[test]
    fn operations_are_a_set() {
        let set = Operations::from_iter([Operation::Publish, Operation::Register]);
        let has = Operation::ALL.map(|operation| set.has(operation));
        assert_eq!(has, [false, true, false, true, false]);
    }
}
