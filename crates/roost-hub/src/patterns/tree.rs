//! Patterns of levels: a tree, and a walk that follows a name and all wildcards beside it.

use crate::names::{Name, NameHash, NameHasher};
use crate::patterns::pattern::{Level, Pattern, PatternKind};
use crate::patterns::shards::Shards;
use crate::table::Table;

/// All patterns of one kind that has levels.
///
/// A node's children by text stand in one table of edges for the whole tree, so a node costs the
/// same with one child as with a million.
#[derive(Debug)]
pub(crate) struct Tree {
    kind: PatternKind,
    hasher: NameHasher,
    nodes: Table<Node>,
    /// Nodes by parent and text.
    edges: Shards<u32>,
    /// Of the walk: the nodes that the levels so far lead to, and those of one level more.
    reached: Vec<u32>,
    next: Vec<u32>,
}

#[derive(Debug)]
struct Node {
    /// The level's text; empty in the root and where any text matches.
    text: Name,
    parent: u32,
    /// Children by text.
    children: u32,
    /// The child that any text leads to.
    one: u32,
    /// The pattern that ends here.
    end: u32,
    /// The pattern that ends here with a tail.
    tail: u32,
}

const _: () = assert!(size_of::<Node>() <= 40);

/// No node, and no pattern.
const NONE: u32 = u32::MAX;
const ROOT: u32 = 0;

impl Tree {
    pub(crate) fn new(kind: PatternKind, hasher: NameHasher) -> Self {
        let mut nodes = Table::new();
        let root = nodes.insert(Node::new(Name::new(), NONE));
        debug_assert_eq!(root, ROOT);
        Tree {
            kind,
            hasher,
            nodes,
            edges: Shards::new(),
            reached: Vec::new(),
            next: Vec::new(),
        }
    }

    /// Adds a pattern that is not there yet.
    pub(crate) fn insert(&mut self, pattern: Pattern<'_>, number: u32) {
        let mut at = ROOT;
        for level in pattern.levels() {
            at = match level {
                Level::Literal(text) => self.child_or_new(at, text),
                Level::One => self.one_or_new(at),
                Level::Tail => {
                    self.node_mut(at).tail = number;
                    return;
                }
            };
        }
        self.node_mut(at).end = number;
    }

    /// The number of a pattern.
    pub(crate) fn find(&self, pattern: Pattern<'_>) -> Option<u32> {
        let (at, is_tail) = self.find_node(pattern)?;
        let node = self.node(at);
        let number = if is_tail { node.tail } else { node.end };
        (number != NONE).then_some(number)
    }

    /// Takes a pattern out, and the nodes that only it needed.
    pub(crate) fn remove(&mut self, pattern: Pattern<'_>) -> Option<u32> {
        let (mut at, is_tail) = self.find_node(pattern)?;
        let node = self.node_mut(at);
        let slot = if is_tail {
            &mut node.tail
        } else {
            &mut node.end
        };
        let number = std::mem::replace(slot, NONE);
        while at != ROOT && self.node(at).is_bare() {
            at = self.unlink(at);
        }
        (number != NONE).then_some(number)
    }

    /// Adds the numbers of the patterns that match a name, each once. No wildcard matches a level that begins
    /// within the first `guarded_bytes`. Returns how many nodes were visited.
    ///
    /// A level leads to one node for each arrangement of wildcards before it, at most: see
    /// [`Shapes`](super::shapes::Shapes).
    pub(crate) fn collect(
        &mut self,
        name: &str,
        guarded_bytes: usize,
        found: &mut Vec<u32>,
    ) -> usize {
        let separator = self.kind.separator().expect("a tree has levels");
        let mut reached = std::mem::take(&mut self.reached);
        let mut next = std::mem::take(&mut self.next);
        reached.clear();
        reached.push(ROOT);
        let (mut steps, mut begin) = (0, 0);
        while let Some(rest) = name.get(begin..) {
            // By bytes: most names are short, and a separator is one.
            let end = rest.bytes().position(|byte| char::from(byte) == separator);
            let text = &rest[..end.unwrap_or(rest.len())];
            let mut hash = None;
            let may_match_any = begin >= guarded_bytes;
            next.clear();
            for &at in &reached {
                let node = self.node(at);
                if may_match_any {
                    found.extend((node.tail != NONE).then_some(node.tail));
                    next.extend((node.one != NONE).then_some(node.one));
                }
                if node.children > 0 {
                    let hash = *hash.get_or_insert_with(|| self.hasher.hash(text));
                    next.extend(self.child(at, text, hash));
                }
            }
            steps += reached.len();
            std::mem::swap(&mut reached, &mut next);
            if reached.is_empty() {
                break;
            }
            begin += text.len() + separator.len_utf8();
        }
        steps += reached.len();
        for &at in &reached {
            let node = self.node(at);
            found.extend((node.end != NONE).then_some(node.end));
            if self.kind.tail_may_be_empty() {
                found.extend((node.tail != NONE).then_some(node.tail));
            }
        }
        self.reached = reached;
        self.next = next;
        steps
    }

    /// All patterns, with their numbers.
    pub(crate) fn patterns(&self) -> impl Iterator<Item = (String, u32)> {
        self.nodes.iter().flat_map(|(at, node)| {
            let end = (node.end != NONE).then(|| (self.text(at, false), node.end));
            let tail = (node.tail != NONE).then(|| (self.text(at, true), node.tail));
            end.into_iter().chain(tail)
        })
    }

    /// Heap bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let nodes = self.nodes.iter();
        let texts = nodes
            .map(|(_, node)| node.text.len())
            .filter(|&len| len > 15);
        let texts: usize = texts.map(|len| len + 16).sum();
        texts + self.nodes.memory_bytes() + self.edges.memory_bytes()
    }

    pub(crate) fn check_invariants(&self) {
        assert_eq!(
            self.edges.iter().count(),
            self.nodes
                .iter()
                .map(|(_, node)| node.children as usize)
                .sum(),
            "each edge is counted"
        );
        for (at, node) in self.nodes.iter() {
            assert!(at == ROOT || !node.is_bare(), "a node is needed");
            if at == ROOT {
                continue;
            }
            let parent = self.node(node.parent);
            let hash = self.hasher.hash(&node.text);
            let by_text = self.child(node.parent, &node.text, hash) == Some(at);
            assert!(by_text != (parent.one == at), "a node has one place");
        }
    }

    /// The node where a pattern ends, and whether it is its tail.
    fn find_node(&self, pattern: Pattern<'_>) -> Option<(u32, bool)> {
        let mut at = ROOT;
        for level in pattern.levels() {
            at = match level {
                Level::Literal(text) => self.child(at, text, self.hasher.hash(text))?,
                Level::One => Some(self.node(at).one).filter(|&one| one != NONE)?,
                Level::Tail => return Some((at, true)),
            };
        }
        Some((at, false))
    }

    fn child(&self, parent: u32, text: &str, hash: NameHash) -> Option<u32> {
        let is_it = |&at: &u32| {
            let node = self.node(at);
            node.parent == parent && node.text == text
        };
        self.edges.find(hash.beside(parent), is_it).copied()
    }

    fn child_or_new(&mut self, parent: u32, text: &str) -> u32 {
        let hash = self.hasher.hash(text);
        if let Some(at) = self.child(parent, text, hash) {
            return at;
        }
        let at = self.nodes.insert(Node::new(Name::from(text), parent));
        self.node_mut(parent).children += 1;
        let rehash = rehash(&self.hasher, &self.nodes);
        self.edges.insert(hash.beside(parent), at, rehash);
        at
    }

    fn one_or_new(&mut self, parent: u32) -> u32 {
        let one = self.node(parent).one;
        if one != NONE {
            return one;
        }
        let at = self.nodes.insert(Node::new(Name::new(), parent));
        self.node_mut(parent).one = at;
        at
    }

    /// Takes a node out that nothing needs; returns its parent.
    fn unlink(&mut self, at: u32) -> u32 {
        let parent = self.node(at).parent;
        if self.node(parent).one == at {
            self.node_mut(parent).one = NONE;
        } else {
            let hash = self.hasher.hash(&self.node(at).text).beside(parent);
            let rehash = rehash(&self.hasher, &self.nodes);
            let removed = self.edges.remove(hash, |&other| other == at, rehash);
            debug_assert!(removed.is_some(), "a child by text has an edge");
            self.node_mut(parent).children -= 1;
        }
        self.nodes.remove(at);
        parent
    }

    /// A pattern as it was written.
    fn text(&self, mut at: u32, is_tail: bool) -> String {
        let (one, tail) = self.kind.wildcards();
        let mut levels: Vec<&str> = is_tail.then_some(tail).into_iter().collect();
        while at != ROOT {
            let node = self.node(at);
            let is_one = self.node(node.parent).one == at;
            levels.push(if is_one { one } else { &node.text });
            at = node.parent;
        }
        levels.reverse();
        let separator = self.kind.separator().expect("a tree has levels");
        levels.join(separator.encode_utf8(&mut [0; 4]))
    }

    fn node(&self, at: u32) -> &Node {
        self.nodes.get(at).expect("a node lives while it is needed")
    }

    fn node_mut(&mut self, at: u32) -> &mut Node {
        let node = self.nodes.get_mut(at);
        node.expect("a node lives while it is needed")
    }
}

impl Node {
    fn new(text: Name, parent: u32) -> Node {
        Node {
            text,
            parent,
            children: 0,
            one: NONE,
            end: NONE,
            tail: NONE,
        }
    }

    /// No pattern needs it.
    fn is_bare(&self) -> bool {
        self.children == 0 && [self.one, self.end, self.tail] == [NONE; 3]
    }
}

/// What the table of edges asks for when a shard changes its size.
fn rehash(hasher: &NameHasher, nodes: &Table<Node>) -> impl Fn(&u32) -> NameHash {
    |&at| {
        let node = nodes.get(at).expect("edges lead to living nodes");
        hasher.hash(&node.text).beside(node.parent)
    }
}
